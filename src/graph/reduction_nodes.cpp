// The nodes of the reductions.

#include "base/edge.hpp"
#include "graph/layer.hpp"
#include "kovar/MPS/NN/NNReduceNode.hpp"
#include "nn/reduce.hpp"

namespace kovar::MPS {
namespace {

template <class K>
std::unique_ptr<nn::GraphLayer> reduction(const Ref<K>& kernel, const MTL::Region& clip) {
  kernel->setClipRectSource(clip);
  return std::make_unique<nn::UnaryLayer>(kernel);
}

}  // namespace

NNUnaryReductionNode::NNUnaryReductionNode(const Ref<NNImageNode>& source) : NNFilterNode({source}, {}) {}
Ref<NNUnaryReductionNode> NNUnaryReductionNode::create(const Ref<NNImageNode>& source) {
  return std::make_shared<NNUnaryReductionNode>(source);
}
std::unique_ptr<nn::GraphLayer> NNUnaryReductionNode::doMakeLayer(const Ref<MTL::Device>&) {
  base::raise(described() + ": the base class computes nothing; use a subclass, such as NNReductionRowMeanNode");
}

Ref<NNReductionRowMinNode> NNReductionRowMinNode::create(const Ref<NNImageNode>& source) {
  return std::make_shared<NNReductionRowMinNode>(source);
}
std::unique_ptr<nn::GraphLayer> NNReductionRowMinNode::doMakeLayer(const Ref<MTL::Device>& device) {
  return reduction(std::make_shared<NNReduceRowMin>(device), clipRectSource_);
}
Ref<NNReductionColumnMinNode> NNReductionColumnMinNode::create(const Ref<NNImageNode>& source) {
  return std::make_shared<NNReductionColumnMinNode>(source);
}
std::unique_ptr<nn::GraphLayer> NNReductionColumnMinNode::doMakeLayer(const Ref<MTL::Device>& device) {
  return reduction(std::make_shared<NNReduceColumnMin>(device), clipRectSource_);
}
Ref<NNReductionFeatureChannelsMinNode> NNReductionFeatureChannelsMinNode::create(const Ref<NNImageNode>& source) {
  return std::make_shared<NNReductionFeatureChannelsMinNode>(source);
}
std::unique_ptr<nn::GraphLayer> NNReductionFeatureChannelsMinNode::doMakeLayer(const Ref<MTL::Device>& device) {
  return reduction(std::make_shared<NNReduceFeatureChannelsMin>(device), clipRectSource_);
}
Ref<NNReductionFeatureChannelsArgumentMinNode> NNReductionFeatureChannelsArgumentMinNode::create(
    const Ref<NNImageNode>& source) {
  return std::make_shared<NNReductionFeatureChannelsArgumentMinNode>(source);
}
std::unique_ptr<nn::GraphLayer> NNReductionFeatureChannelsArgumentMinNode::doMakeLayer(const Ref<MTL::Device>& device) {
  return reduction(std::make_shared<NNReduceFeatureChannelsArgumentMin>(device), clipRectSource_);
}
Ref<NNReductionRowMaxNode> NNReductionRowMaxNode::create(const Ref<NNImageNode>& source) {
  return std::make_shared<NNReductionRowMaxNode>(source);
}
std::unique_ptr<nn::GraphLayer> NNReductionRowMaxNode::doMakeLayer(const Ref<MTL::Device>& device) {
  return reduction(std::make_shared<NNReduceRowMax>(device), clipRectSource_);
}
Ref<NNReductionColumnMaxNode> NNReductionColumnMaxNode::create(const Ref<NNImageNode>& source) {
  return std::make_shared<NNReductionColumnMaxNode>(source);
}
std::unique_ptr<nn::GraphLayer> NNReductionColumnMaxNode::doMakeLayer(const Ref<MTL::Device>& device) {
  return reduction(std::make_shared<NNReduceColumnMax>(device), clipRectSource_);
}
Ref<NNReductionFeatureChannelsMaxNode> NNReductionFeatureChannelsMaxNode::create(const Ref<NNImageNode>& source) {
  return std::make_shared<NNReductionFeatureChannelsMaxNode>(source);
}
std::unique_ptr<nn::GraphLayer> NNReductionFeatureChannelsMaxNode::doMakeLayer(const Ref<MTL::Device>& device) {
  return reduction(std::make_shared<NNReduceFeatureChannelsMax>(device), clipRectSource_);
}
Ref<NNReductionFeatureChannelsArgumentMaxNode> NNReductionFeatureChannelsArgumentMaxNode::create(
    const Ref<NNImageNode>& source) {
  return std::make_shared<NNReductionFeatureChannelsArgumentMaxNode>(source);
}
std::unique_ptr<nn::GraphLayer> NNReductionFeatureChannelsArgumentMaxNode::doMakeLayer(const Ref<MTL::Device>& device) {
  return reduction(std::make_shared<NNReduceFeatureChannelsArgumentMax>(device), clipRectSource_);
}
Ref<NNReductionRowMeanNode> NNReductionRowMeanNode::create(const Ref<NNImageNode>& source) {
  return std::make_shared<NNReductionRowMeanNode>(source);
}
std::unique_ptr<nn::GraphLayer> NNReductionRowMeanNode::doMakeLayer(const Ref<MTL::Device>& device) {
  return reduction(std::make_shared<NNReduceRowMean>(device), clipRectSource_);
}
Ref<NNReductionColumnMeanNode> NNReductionColumnMeanNode::create(const Ref<NNImageNode>& source) {
  return std::make_shared<NNReductionColumnMeanNode>(source);
}
std::unique_ptr<nn::GraphLayer> NNReductionColumnMeanNode::doMakeLayer(const Ref<MTL::Device>& device) {
  return reduction(std::make_shared<NNReduceColumnMean>(device), clipRectSource_);
}
Ref<NNReductionFeatureChannelsMeanNode> NNReductionFeatureChannelsMeanNode::create(const Ref<NNImageNode>& source) {
  return std::make_shared<NNReductionFeatureChannelsMeanNode>(source);
}
std::unique_ptr<nn::GraphLayer> NNReductionFeatureChannelsMeanNode::doMakeLayer(const Ref<MTL::Device>& device) {
  return reduction(std::make_shared<NNReduceFeatureChannelsMean>(device), clipRectSource_);
}
Ref<NNReductionRowSumNode> NNReductionRowSumNode::create(const Ref<NNImageNode>& source) {
  return std::make_shared<NNReductionRowSumNode>(source);
}
std::unique_ptr<nn::GraphLayer> NNReductionRowSumNode::doMakeLayer(const Ref<MTL::Device>& device) {
  return reduction(std::make_shared<NNReduceRowSum>(device), clipRectSource_);
}
Ref<NNReductionColumnSumNode> NNReductionColumnSumNode::create(const Ref<NNImageNode>& source) {
  return std::make_shared<NNReductionColumnSumNode>(source);
}
std::unique_ptr<nn::GraphLayer> NNReductionColumnSumNode::doMakeLayer(const Ref<MTL::Device>& device) {
  return reduction(std::make_shared<NNReduceColumnSum>(device), clipRectSource_);
}
Ref<NNReductionFeatureChannelsSumNode> NNReductionFeatureChannelsSumNode::create(const Ref<NNImageNode>& source) {
  return std::make_shared<NNReductionFeatureChannelsSumNode>(source);
}
std::unique_ptr<nn::GraphLayer> NNReductionFeatureChannelsSumNode::doMakeLayer(const Ref<MTL::Device>& device) {
  const auto kernel = std::make_shared<NNReduceFeatureChannelsSum>(device);
  kernel->setWeight(weight_);
  return reduction(kernel, clipRectSource_);
}

NNReductionSpatialMeanNode::NNReductionSpatialMeanNode(const Ref<NNImageNode>& source) : NNUnaryReductionNode(source) {
  addResultState(std::make_unique<NNGradientStateNode>());
}
Ref<NNReductionSpatialMeanNode> NNReductionSpatialMeanNode::create(const Ref<NNImageNode>& source) {
  return std::make_shared<NNReductionSpatialMeanNode>(source);
}
std::unique_ptr<nn::GraphLayer> NNReductionSpatialMeanNode::doMakeLayer(const Ref<MTL::Device>& device) {
  return reduction(std::make_shared<nn::SpatialMean>(device), clipRectSource_);
}
std::vector<Ref<NNGradientFilterNode>> NNReductionSpatialMeanNode::doGradientFilters(const Ref<NNImageNode>& g) {
  return {NNReductionSpatialMeanGradientNode::create(g, sources_[0],
                                                     std::static_pointer_cast<NNGradientStateNode>(resultState()))};
}

NNReductionSpatialMeanGradientNode::NNReductionSpatialMeanGradientNode(const Ref<NNImageNode>& sourceGradient,
                                                                       const Ref<NNImageNode>& sourceImage,
                                                                       const Ref<NNGradientStateNode>& gradientState)
    : NNGradientFilterNode({sourceGradient, sourceImage}, {gradientState}) {}
Ref<NNReductionSpatialMeanGradientNode> NNReductionSpatialMeanGradientNode::create(
    const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
    const Ref<NNGradientStateNode>& gradientState) {
  return std::make_shared<NNReductionSpatialMeanGradientNode>(sourceGradient, sourceImage, gradientState);
}
std::unique_ptr<nn::GraphLayer> NNReductionSpatialMeanGradientNode::doMakeLayer(const Ref<MTL::Device>& device) {
  return std::make_unique<nn::GradientLayer>(std::make_shared<nn::SpatialMeanGradient>(device));
}

}  // namespace kovar::MPS
