#include "base/edge.hpp"
#include "graph/layer.hpp"
#include "kovar/MPS/NN/CNNMath.hpp"
#include "kovar/MPS/NN/NNArithmeticNode.hpp"

namespace kovar::MPS {
namespace {

class BinaryLayer final : public nn::GraphLayer {
 public:
  explicit BinaryLayer(Ref<CNNBinaryKernel> kernel) : kernel_(std::move(kernel)) {}
  void build(nn::GraphBuild&) override {}
  ImageBatch encode(nn::LayerCall& call) override {
    if (call.batch) return kernel_->encodeBatch(call.commandBuffer, call.sources[0], call.sources[1]);
    return ImageBatch{kernel_->encode(call.commandBuffer, call.sources[0][0], call.sources[1][0])};
  }

 protected:
  CNNKernelBase* kernel() override { return kernel_.get(); }

 private:
  Ref<CNNBinaryKernel> kernel_;
};

const std::vector<Ref<NNImageNode>>& two(const std::vector<Ref<NNImageNode>>& sources) {
  if (sources.size() != 2)
    base::raise("NNAdditionNode: " + std::to_string(sources.size()) + " sources given; it adds two");
  return sources;
}

}  // namespace

NNAdditionNode::NNAdditionNode(const Ref<NNImageNode>& leftSource, const Ref<NNImageNode>& rightSource)
    : NNBinaryArithmeticNode(leftSource, rightSource) {}
NNAdditionNode::NNAdditionNode(const std::vector<Ref<NNImageNode>>& sources)
    : NNAdditionNode(two(sources)[0], sources[1]) {}

std::unique_ptr<nn::GraphLayer> NNAdditionNode::doMakeLayer(const Ref<MTL::Device>& device) {
  auto add = std::make_shared<CNNAdd>(device);
  add->setPrimaryScale(primaryScale_);
  add->setSecondaryScale(secondaryScale_);
  add->setBias(bias_);
  add->setMinimumValue(minimum_);
  add->setMaximumValue(maximum_);
  return std::make_unique<BinaryLayer>(add);
}

}  // namespace kovar::MPS
