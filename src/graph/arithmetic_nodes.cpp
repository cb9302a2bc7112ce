// Arithmetic stages and their gradients.

#include "kovar/MPS/NN/NNArithmeticNode.hpp"

#include <utility>

#include "base/edge.hpp"
#include "graph/layer.hpp"
#include "kovar/MPS/NN/CNNMath.hpp"

namespace kovar::MPS {
namespace {

const std::vector<Ref<NNImageNode>>& two(const std::vector<Ref<NNImageNode>>& sources) {
  if (sources.size() != 2)
    base::raise("NNBinaryArithmeticNode: " + std::to_string(sources.size()) +
                " source images given; an arithmetic stage combines two");
  return sources;
}

const NNBinaryArithmeticNode& arithmetic(const Ref<NNFilterNode>& forward) {
  const auto* node = dynamic_cast<const NNBinaryArithmeticNode*>(forward.get());
  if (!node)
    base::raise(
        "NNArithmeticGradientNode: forwardFilter is not an arithmetic node; give the node whose gradient this is");
  return *node;
}

/// The image that the gradient by one operand reads beside the gradient.
const Ref<NNImageNode>& besideGradient(const NNBinaryArithmeticNode& forward, bool isSecondary) {
  const bool product = dynamic_cast<const NNMultiplicationNode*>(&forward) != nullptr;
  return nn::NodeAccess::sources(forward)[isSecondary != product ? 1 : 0];
}

const Ref<NNImageNode>& first(const std::vector<Ref<NNImageNode>>& gradients) {
  if (gradients.empty())
    base::raise("NNArithmeticGradientNode: no gradient image given; give that of the forward result");
  return gradients[0];
}

/// Null where the filter is not one of arithmetic, which others refuse in words.
Ref<NNBinaryGradientStateNode> stateOf(const NNFilterNode& forward) {
  return std::dynamic_pointer_cast<NNBinaryGradientStateNode>(forward.resultState());
}

/// The gradients by both operands.
template <class G>
std::vector<Ref<NNGradientFilterNode>> both(const NNBinaryArithmeticNode& forward, const Ref<NNImageNode>& gradient) {
  std::vector<Ref<NNGradientFilterNode>> nodes;
  for (const bool secondary : {false, true}) {
    nodes.push_back(G::create(gradient, besideGradient(forward, secondary), stateOf(forward), secondary));
    nodes.back()->setPaddingPolicy(forward.paddingPolicy());
  }
  return nodes;
}

}  // namespace

NNBinaryArithmeticNode::NNBinaryArithmeticNode(const Ref<NNImageNode>& leftSource, const Ref<NNImageNode>& rightSource)
    : NNFilterNode({leftSource, rightSource}, {}) {
  addResultState(std::make_unique<NNArithmeticGradientStateNode>());
}
NNBinaryArithmeticNode::NNBinaryArithmeticNode(const std::vector<Ref<NNImageNode>>& sources)
    : NNBinaryArithmeticNode(two(sources)[0], sources[1]) {}
Ref<NNBinaryArithmeticNode> NNBinaryArithmeticNode::create(const Ref<NNImageNode>& leftSource,
                                                           const Ref<NNImageNode>& rightSource) {
  return std::make_shared<NNBinaryArithmeticNode>(leftSource, rightSource);
}
Ref<NNBinaryArithmeticNode> NNBinaryArithmeticNode::create(const std::vector<Ref<NNImageNode>>& sources) {
  return std::make_shared<NNBinaryArithmeticNode>(sources);
}

std::unique_ptr<nn::GraphLayer> NNBinaryArithmeticNode::doMakeLayer(const Ref<MTL::Device>&) {
  base::raise(described() + ": the base class computes nothing; use NNAdditionNode or one of its kin");
}
std::unique_ptr<nn::GraphLayer> NNBinaryArithmeticNode::layerOf(const Ref<CNNArithmetic>& kernel) const {
  kernel->setPrimaryScale(primaryScale_);
  kernel->setSecondaryScale(secondaryScale_);
  kernel->setBias(bias_);
  kernel->setMinimumValue(minimum_);
  kernel->setMaximumValue(maximum_);
  kernel->setPrimaryStrideInPixelsX(primary_.x);
  kernel->setPrimaryStrideInPixelsY(primary_.y);
  kernel->setPrimaryStrideInFeatureChannels(primary_.c);
  kernel->setSecondaryStrideInPixelsX(secondary_.x);
  kernel->setSecondaryStrideInPixelsY(secondary_.y);
  kernel->setSecondaryStrideInFeatureChannels(secondary_.c);
  return std::make_unique<nn::BinaryLayer>(kernel);
}

NNArithmeticGradientNode::NNArithmeticGradientNode(const Ref<NNImageNode>& sourceGradient,
                                                   const Ref<NNImageNode>& sourceImage,
                                                   const Ref<NNBinaryGradientStateNode>& gradientState,
                                                   bool isSecondarySourceFilter)
    : NNGradientFilterNode({sourceGradient, sourceImage}, {gradientState}), isSecondary_(isSecondarySourceFilter) {
  if (!gradientState) base::raise("NNArithmeticGradientNode: gradientState is null; take it from the forward node");
}
NNArithmeticGradientNode::NNArithmeticGradientNode(const std::vector<Ref<NNImageNode>>& gradientImages,
                                                   const Ref<NNFilterNode>& forwardFilter, bool isSecondarySourceFilter)
    : NNArithmeticGradientNode(first(gradientImages),
                               besideGradient(arithmetic(forwardFilter), isSecondarySourceFilter),
                               stateOf(*forwardFilter), isSecondarySourceFilter) {}
Ref<NNArithmeticGradientNode> NNArithmeticGradientNode::create(const Ref<NNImageNode>& sourceGradient,
                                                               const Ref<NNImageNode>& sourceImage,
                                                               const Ref<NNBinaryGradientStateNode>& gradientState,
                                                               bool isSecondarySourceFilter) {
  return std::make_shared<NNArithmeticGradientNode>(sourceGradient, sourceImage, gradientState,
                                                    isSecondarySourceFilter);
}

std::unique_ptr<nn::GraphLayer> NNArithmeticGradientNode::doMakeLayer(const Ref<MTL::Device>&) {
  base::raise(described() + ": the base class computes nothing; use NNAdditionGradientNode or one of its kin");
}
std::unique_ptr<nn::GraphLayer> NNArithmeticGradientNode::layerOf(const Ref<CNNArithmeticGradient>& kernel) const {
  if (primaryScale_) kernel->setPrimaryScale(*primaryScale_);
  if (secondaryScale_) kernel->setSecondaryScale(*secondaryScale_);
  return std::make_unique<nn::GradientLayer>(kernel);
}

Ref<NNAdditionNode> NNAdditionNode::create(const Ref<NNImageNode>& leftSource, const Ref<NNImageNode>& rightSource) {
  return std::make_shared<NNAdditionNode>(leftSource, rightSource);
}
Ref<NNAdditionNode> NNAdditionNode::create(const std::vector<Ref<NNImageNode>>& sources) {
  return std::make_shared<NNAdditionNode>(sources);
}
std::unique_ptr<nn::GraphLayer> NNAdditionNode::doMakeLayer(const Ref<MTL::Device>& device) {
  return layerOf(std::make_shared<CNNAdd>(device));
}
std::vector<Ref<NNGradientFilterNode>> NNAdditionNode::doGradientFilters(const Ref<NNImageNode>& gradient) {
  return both<NNAdditionGradientNode>(*this, gradient);
}
Ref<NNAdditionGradientNode> NNAdditionGradientNode::create(const Ref<NNImageNode>& sourceGradient,
                                                           const Ref<NNImageNode>& sourceImage,
                                                           const Ref<NNBinaryGradientStateNode>& gradientState,
                                                           bool isSecondarySourceFilter) {
  return std::make_shared<NNAdditionGradientNode>(sourceGradient, sourceImage, gradientState, isSecondarySourceFilter);
}
std::unique_ptr<nn::GraphLayer> NNAdditionGradientNode::doMakeLayer(const Ref<MTL::Device>& device) {
  return layerOf(std::make_shared<CNNAddGradient>(device, isSecondarySourceFilter()));
}

Ref<NNSubtractionNode> NNSubtractionNode::create(const Ref<NNImageNode>& leftSource,
                                                 const Ref<NNImageNode>& rightSource) {
  return std::make_shared<NNSubtractionNode>(leftSource, rightSource);
}
Ref<NNSubtractionNode> NNSubtractionNode::create(const std::vector<Ref<NNImageNode>>& sources) {
  return std::make_shared<NNSubtractionNode>(sources);
}
std::unique_ptr<nn::GraphLayer> NNSubtractionNode::doMakeLayer(const Ref<MTL::Device>& device) {
  return layerOf(std::make_shared<CNNSubtract>(device));
}
std::vector<Ref<NNGradientFilterNode>> NNSubtractionNode::doGradientFilters(const Ref<NNImageNode>& gradient) {
  return both<NNSubtractionGradientNode>(*this, gradient);
}
Ref<NNSubtractionGradientNode> NNSubtractionGradientNode::create(const Ref<NNImageNode>& sourceGradient,
                                                                 const Ref<NNImageNode>& sourceImage,
                                                                 const Ref<NNBinaryGradientStateNode>& gradientState,
                                                                 bool isSecondarySourceFilter) {
  return std::make_shared<NNSubtractionGradientNode>(sourceGradient, sourceImage, gradientState,
                                                     isSecondarySourceFilter);
}
std::unique_ptr<nn::GraphLayer> NNSubtractionGradientNode::doMakeLayer(const Ref<MTL::Device>& device) {
  return layerOf(std::make_shared<CNNSubtractGradient>(device, isSecondarySourceFilter()));
}

Ref<NNMultiplicationNode> NNMultiplicationNode::create(const Ref<NNImageNode>& leftSource,
                                                       const Ref<NNImageNode>& rightSource) {
  return std::make_shared<NNMultiplicationNode>(leftSource, rightSource);
}
Ref<NNMultiplicationNode> NNMultiplicationNode::create(const std::vector<Ref<NNImageNode>>& sources) {
  return std::make_shared<NNMultiplicationNode>(sources);
}
std::unique_ptr<nn::GraphLayer> NNMultiplicationNode::doMakeLayer(const Ref<MTL::Device>& device) {
  return layerOf(std::make_shared<CNNMultiply>(device));
}
std::vector<Ref<NNGradientFilterNode>> NNMultiplicationNode::doGradientFilters(const Ref<NNImageNode>& gradient) {
  return both<NNMultiplicationGradientNode>(*this, gradient);
}
Ref<NNMultiplicationGradientNode> NNMultiplicationGradientNode::create(
    const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
    const Ref<NNBinaryGradientStateNode>& gradientState, bool isSecondarySourceFilter) {
  return std::make_shared<NNMultiplicationGradientNode>(sourceGradient, sourceImage, gradientState,
                                                        isSecondarySourceFilter);
}
std::unique_ptr<nn::GraphLayer> NNMultiplicationGradientNode::doMakeLayer(const Ref<MTL::Device>& device) {
  return layerOf(std::make_shared<CNNMultiplyGradient>(device, isSecondarySourceFilter()));
}

Ref<NNDivisionNode> NNDivisionNode::create(const Ref<NNImageNode>& leftSource, const Ref<NNImageNode>& rightSource) {
  return std::make_shared<NNDivisionNode>(leftSource, rightSource);
}
Ref<NNDivisionNode> NNDivisionNode::create(const std::vector<Ref<NNImageNode>>& sources) {
  return std::make_shared<NNDivisionNode>(sources);
}
std::unique_ptr<nn::GraphLayer> NNDivisionNode::doMakeLayer(const Ref<MTL::Device>& device) {
  return layerOf(std::make_shared<CNNDivide>(device));
}

Ref<NNComparisonNode> NNComparisonNode::create(const Ref<NNImageNode>& leftSource,
                                               const Ref<NNImageNode>& rightSource) {
  return std::make_shared<NNComparisonNode>(leftSource, rightSource);
}
Ref<NNComparisonNode> NNComparisonNode::create(const std::vector<Ref<NNImageNode>>& sources) {
  return std::make_shared<NNComparisonNode>(sources);
}
std::unique_ptr<nn::GraphLayer> NNComparisonNode::doMakeLayer(const Ref<MTL::Device>& device) {
  const auto compare = std::make_shared<NNCompare>(device);
  compare->setComparisonType(comparisonType_);
  return layerOf(compare);
}

}  // namespace kovar::MPS
