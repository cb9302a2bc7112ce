// The nodes of the pooling family.

#include "base/edge.hpp"
#include "graph/layer.hpp"
#include "kovar/MPS/NN/CNNPooling.hpp"
#include "kovar/MPS/NN/CNNPoolingNode.hpp"

namespace kovar::MPS {
namespace {

using nn::GraphLayer;

/// Pooling stages start with edge mode Clamp.
template <class K, class... A>
std::unique_ptr<GraphLayer> poolingLayer(const Ref<MTL::Device>& device, A... window) {
  auto kernel = std::make_shared<K>(device, window...);
  kernel->setEdgeMode(ImageEdgeMode::Clamp);
  return std::make_unique<nn::UnaryLayer>(kernel);
}
template <class K, class... A>
std::unique_ptr<GraphLayer> gradient(const Ref<MTL::Device>& device, A... window) {
  return std::make_unique<nn::GradientLayer>(std::make_shared<K>(device, window...));
}

Ref<NNGradientStateNode> gradientStateOf(const Ref<NNStateNode>& state) {
  return std::static_pointer_cast<NNGradientStateNode>(state);
}

}  // namespace

CNNPoolingNode::CNNPoolingNode(const Ref<NNImageNode>& source, std::size_t kernelWidth, std::size_t kernelHeight,
                               std::size_t strideInPixelsX, std::size_t strideInPixelsY)
    : NNFilterNode({source}, {}),
      kernelWidth_(kernelWidth),
      kernelHeight_(kernelHeight),
      strideX_(strideInPixelsX),
      strideY_(strideInPixelsY) {
  addResultState(std::make_unique<NNGradientStateNode>());
}
CNNPoolingNode::CNNPoolingNode(const Ref<NNImageNode>& source, std::size_t filterSize, std::size_t stride)
    : CNNPoolingNode(source, filterSize, filterSize, stride, stride) {}
CNNPoolingNode::CNNPoolingNode(const Ref<NNImageNode>& source, std::size_t filterSize)
    : CNNPoolingNode(source, filterSize, filterSize) {}

Ref<CNNPoolingNode> CNNPoolingNode::create(const Ref<NNImageNode>& s, std::size_t f) {
  return std::make_shared<CNNPoolingNode>(s, f);
}
Ref<CNNPoolingNode> CNNPoolingNode::create(const Ref<NNImageNode>& s, std::size_t f, std::size_t stride) {
  return std::make_shared<CNNPoolingNode>(s, f, stride);
}
Ref<CNNPoolingMaxNode> CNNPoolingMaxNode::create(const Ref<NNImageNode>& s, std::size_t f) {
  return std::make_shared<CNNPoolingMaxNode>(s, f);
}
Ref<CNNPoolingMaxNode> CNNPoolingMaxNode::create(const Ref<NNImageNode>& s, std::size_t f, std::size_t stride) {
  return std::make_shared<CNNPoolingMaxNode>(s, f, stride);
}
Ref<CNNPoolingAverageNode> CNNPoolingAverageNode::create(const Ref<NNImageNode>& s, std::size_t f) {
  return std::make_shared<CNNPoolingAverageNode>(s, f);
}
Ref<CNNPoolingAverageNode> CNNPoolingAverageNode::create(const Ref<NNImageNode>& s, std::size_t f, std::size_t stride) {
  return std::make_shared<CNNPoolingAverageNode>(s, f, stride);
}
Ref<CNNPoolingL2NormNode> CNNPoolingL2NormNode::create(const Ref<NNImageNode>& s, std::size_t f) {
  return std::make_shared<CNNPoolingL2NormNode>(s, f);
}
Ref<CNNPoolingL2NormNode> CNNPoolingL2NormNode::create(const Ref<NNImageNode>& s, std::size_t f, std::size_t stride) {
  return std::make_shared<CNNPoolingL2NormNode>(s, f, stride);
}

std::unique_ptr<GraphLayer> CNNPoolingNode::doMakeLayer(const Ref<MTL::Device>&) {
  base::raise(described() + ": the base class computes nothing; use a subclass, such as CNNPoolingMaxNode");
}
std::unique_ptr<GraphLayer> CNNPoolingMaxNode::doMakeLayer(const Ref<MTL::Device>& d) {
  return poolingLayer<CNNPoolingMax>(d, kernelWidth_, kernelHeight_, strideX_, strideY_);
}
std::unique_ptr<GraphLayer> CNNPoolingAverageNode::doMakeLayer(const Ref<MTL::Device>& d) {
  return poolingLayer<CNNPoolingAverage>(d, kernelWidth_, kernelHeight_, strideX_, strideY_);
}
std::unique_ptr<GraphLayer> CNNPoolingL2NormNode::doMakeLayer(const Ref<MTL::Device>& d) {
  return poolingLayer<CNNPoolingL2Norm>(d, kernelWidth_, kernelHeight_, strideX_, strideY_);
}
std::vector<Ref<NNGradientFilterNode>> CNNPoolingMaxNode::doGradientFilters(const Ref<NNImageNode>& g) {
  return {std::make_shared<CNNPoolingMaxGradientNode>(g, sources_[0], gradientStateOf(resultState()), kernelWidth_,
                                                      kernelHeight_, strideX_, strideY_, padding_)};
}
std::vector<Ref<NNGradientFilterNode>> CNNPoolingAverageNode::doGradientFilters(const Ref<NNImageNode>& g) {
  return {std::make_shared<CNNPoolingAverageGradientNode>(g, sources_[0], gradientStateOf(resultState()), kernelWidth_,
                                                          kernelHeight_, strideX_, strideY_, padding_)};
}
std::vector<Ref<NNGradientFilterNode>> CNNPoolingL2NormNode::doGradientFilters(const Ref<NNImageNode>& g) {
  return {std::make_shared<CNNPoolingL2NormGradientNode>(g, sources_[0], gradientStateOf(resultState()), kernelWidth_,
                                                         kernelHeight_, strideX_, strideY_, padding_)};
}

CNNDilatedPoolingMaxNode::CNNDilatedPoolingMaxNode(const Ref<NNImageNode>& source, std::size_t kernelWidth,
                                                   std::size_t kernelHeight, std::size_t strideInPixelsX,
                                                   std::size_t strideInPixelsY, std::size_t dilationRateX,
                                                   std::size_t dilationRateY)
    : NNFilterNode({source}, {}),
      kernelWidth_(kernelWidth),
      kernelHeight_(kernelHeight),
      strideX_(strideInPixelsX),
      strideY_(strideInPixelsY),
      dilationX_(dilationRateX),
      dilationY_(dilationRateY) {
  addResultState(std::make_unique<NNGradientStateNode>());
}
CNNDilatedPoolingMaxNode::CNNDilatedPoolingMaxNode(const Ref<NNImageNode>& source, std::size_t filterSize,
                                                   std::size_t stride, std::size_t dilationRate)
    : CNNDilatedPoolingMaxNode(source, filterSize, filterSize, stride, stride, dilationRate, dilationRate) {}
CNNDilatedPoolingMaxNode::CNNDilatedPoolingMaxNode(const Ref<NNImageNode>& source, std::size_t filterSize)
    : CNNDilatedPoolingMaxNode(source, filterSize, filterSize, filterSize) {}
Ref<CNNDilatedPoolingMaxNode> CNNDilatedPoolingMaxNode::create(const Ref<NNImageNode>& s, std::size_t f) {
  return std::make_shared<CNNDilatedPoolingMaxNode>(s, f);
}
Ref<CNNDilatedPoolingMaxNode> CNNDilatedPoolingMaxNode::create(const Ref<NNImageNode>& s, std::size_t f,
                                                               std::size_t stride, std::size_t dilationRate) {
  return std::make_shared<CNNDilatedPoolingMaxNode>(s, f, stride, dilationRate);
}
std::unique_ptr<GraphLayer> CNNDilatedPoolingMaxNode::doMakeLayer(const Ref<MTL::Device>& d) {
  return poolingLayer<CNNDilatedPoolingMax>(d, kernelWidth_, kernelHeight_, dilationX_, dilationY_, strideX_, strideY_);
}
std::vector<Ref<NNGradientFilterNode>> CNNDilatedPoolingMaxNode::doGradientFilters(const Ref<NNImageNode>& g) {
  return {std::make_shared<CNNDilatedPoolingMaxGradientNode>(g, sources_[0], gradientStateOf(resultState()),
                                                             kernelWidth_, kernelHeight_, strideX_, strideY_,
                                                             dilationX_, dilationY_)};
}

CNNPoolingGradientNode::CNNPoolingGradientNode(const Ref<NNImageNode>& sourceGradient,
                                               const Ref<NNImageNode>& sourceImage,
                                               const Ref<NNGradientStateNode>& gradientState, std::size_t kernelWidth,
                                               std::size_t kernelHeight, std::size_t strideInPixelsX,
                                               std::size_t strideInPixelsY, const Ref<NNPadding>& paddingPolicy)
    : NNGradientFilterNode({sourceGradient, sourceImage}, {gradientState}),
      kernelWidth_(kernelWidth),
      kernelHeight_(kernelHeight),
      strideX_(strideInPixelsX),
      strideY_(strideInPixelsY) {
  padding_ = paddingPolicy;
}
std::unique_ptr<GraphLayer> CNNPoolingMaxGradientNode::doMakeLayer(const Ref<MTL::Device>& d) {
  return gradient<CNNPoolingMaxGradient>(d, kernelWidth_, kernelHeight_, strideX_, strideY_);
}
std::unique_ptr<GraphLayer> CNNPoolingAverageGradientNode::doMakeLayer(const Ref<MTL::Device>& d) {
  return gradient<CNNPoolingAverageGradient>(d, kernelWidth_, kernelHeight_, strideX_, strideY_);
}
std::unique_ptr<GraphLayer> CNNPoolingL2NormGradientNode::doMakeLayer(const Ref<MTL::Device>& d) {
  return gradient<CNNPoolingL2NormGradient>(d, kernelWidth_, kernelHeight_, strideX_, strideY_);
}

CNNDilatedPoolingMaxGradientNode::CNNDilatedPoolingMaxGradientNode(
    const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
    const Ref<NNGradientStateNode>& gradientState, std::size_t kernelWidth, std::size_t kernelHeight,
    std::size_t strideInPixelsX, std::size_t strideInPixelsY, std::size_t dilationRateX, std::size_t dilationRateY)
    : CNNPoolingGradientNode(sourceGradient, sourceImage, gradientState, kernelWidth, kernelHeight, strideInPixelsX,
                             strideInPixelsY, nullptr),
      dilationX_(dilationRateX),
      dilationY_(dilationRateY) {}
Ref<CNNDilatedPoolingMaxGradientNode> CNNDilatedPoolingMaxGradientNode::create(
    const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
    const Ref<NNGradientStateNode>& gradientState, std::size_t kernelWidth, std::size_t kernelHeight,
    std::size_t strideInPixelsX, std::size_t strideInPixelsY, std::size_t dilationRateX, std::size_t dilationRateY) {
  return std::make_shared<CNNDilatedPoolingMaxGradientNode>(sourceGradient, sourceImage, gradientState, kernelWidth,
                                                            kernelHeight, strideInPixelsX, strideInPixelsY,
                                                            dilationRateX, dilationRateY);
}
std::unique_ptr<GraphLayer> CNNDilatedPoolingMaxGradientNode::doMakeLayer(const Ref<MTL::Device>& d) {
  return gradient<CNNDilatedPoolingMaxGradient>(d, kernelWidth_, kernelHeight_, dilationX_, dilationY_, strideX_,
                                                strideY_);
}

}  // namespace kovar::MPS
