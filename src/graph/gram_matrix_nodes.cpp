// The Gram matrix stage and its gradient.

#include "base/edge.hpp"
#include "graph/layer.hpp"
#include "kovar/MPS/NN/NNGramMatrix.hpp"
#include "kovar/MPS/NN/NNGramMatrixNode.hpp"

namespace kovar::MPS {
namespace {

class GramLayer final : public nn::UnaryLayer {
 public:
  GramLayer(const Ref<MTL::Device>& device, float alpha, Ref<NNGramMatrixCallback> callback)
      : typed_(std::make_shared<NNGramMatrixCalculation>(device, alpha)), callback_(std::move(callback)) {
    kernel_ = typed_;
  }
  ImageBatch encode(nn::LayerCall& call) override {
    if (callback_) typed_->setAlpha(callback_->alpha(call.sources[0][0], nullptr));
    return UnaryLayer::encode(call);
  }

  std::unique_ptr<nn::GraphLayer> copyFor(nn::GraphCopy& copy) const override {
    auto copied = std::make_unique<GramLayer>(*this);
    copied->kernel_ = copied->typed_ = copy.kernel(typed_);
    return copied;
  }
  nn::LayerRecord record() const override {
    if (callback_) nn::refuseCallback(*typed_);
    return UnaryLayer::record();
  }

 private:
  Ref<NNGramMatrixCalculation> typed_;
  Ref<NNGramMatrixCallback> callback_;
};

}  // namespace

NNGramMatrixCalculationNode::NNGramMatrixCalculationNode(const Ref<NNImageNode>& source, float alpha)
    : NNFilterNode({source}, {}), alpha_(alpha) {
  addResultState(std::make_unique<NNGradientStateNode>());
}
NNGramMatrixCalculationNode::NNGramMatrixCalculationNode(const Ref<NNImageNode>& source)
    : NNGramMatrixCalculationNode(source, 1.f) {}
Ref<NNGramMatrixCalculationNode> NNGramMatrixCalculationNode::create(const Ref<NNImageNode>& source) {
  return std::make_shared<NNGramMatrixCalculationNode>(source);
}
Ref<NNGramMatrixCalculationNode> NNGramMatrixCalculationNode::create(const Ref<NNImageNode>& source, float alpha) {
  return std::make_shared<NNGramMatrixCalculationNode>(source, alpha);
}
std::unique_ptr<nn::GraphLayer> NNGramMatrixCalculationNode::doMakeLayer(const Ref<MTL::Device>& device) {
  return std::make_unique<GramLayer>(device, alpha_, callback_);
}
std::vector<Ref<NNGradientFilterNode>> NNGramMatrixCalculationNode::doGradientFilters(const Ref<NNImageNode>& g) {
  auto node = NNGramMatrixCalculationGradientNode::create(
      g, sources_[0], std::static_pointer_cast<NNGradientStateNode>(resultState()), alpha_);
  node->setPaddingPolicy(padding_);
  return {node};
}

NNGramMatrixCalculationGradientNode::NNGramMatrixCalculationGradientNode(const Ref<NNImageNode>& sourceGradient,
                                                                         const Ref<NNImageNode>& sourceImage,
                                                                         const Ref<NNGradientStateNode>& gradientState,
                                                                         float alpha)
    : NNGradientFilterNode({sourceGradient, sourceImage}, {gradientState}), alpha_(alpha) {
  if (!gradientState)
    base::raise("NNGramMatrixCalculationGradientNode: gradientState is null; take it from the forward node");
}
NNGramMatrixCalculationGradientNode::NNGramMatrixCalculationGradientNode(const Ref<NNImageNode>& sourceGradient,
                                                                         const Ref<NNImageNode>& sourceImage,
                                                                         const Ref<NNGradientStateNode>& gradientState)
    : NNGramMatrixCalculationGradientNode(sourceGradient, sourceImage, gradientState, 1.f) {}
Ref<NNGramMatrixCalculationGradientNode> NNGramMatrixCalculationGradientNode::create(
    const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
    const Ref<NNGradientStateNode>& gradientState) {
  return std::make_shared<NNGramMatrixCalculationGradientNode>(sourceGradient, sourceImage, gradientState);
}
Ref<NNGramMatrixCalculationGradientNode> NNGramMatrixCalculationGradientNode::create(
    const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
    const Ref<NNGradientStateNode>& gradientState, float alpha) {
  return std::make_shared<NNGramMatrixCalculationGradientNode>(sourceGradient, sourceImage, gradientState, alpha);
}
std::unique_ptr<nn::GraphLayer> NNGramMatrixCalculationGradientNode::doMakeLayer(const Ref<MTL::Device>& device) {
  return std::make_unique<nn::GradientLayer>(std::make_shared<NNGramMatrixCalculationGradient>(device, alpha_));
}

}  // namespace kovar::MPS
