// The nodes of the upsampling family.

#include <cmath>

#include "base/edge.hpp"
#include "graph/layer.hpp"
#include "kovar/MPS/NN/CNNUpsampling.hpp"
#include "kovar/MPS/NN/CNNUpsamplingNode.hpp"

namespace kovar::MPS {
namespace {

template <class K, class... A>
std::unique_ptr<nn::GraphLayer> unary(const Ref<MTL::Device>& device, A... how) {
  return std::make_unique<nn::UnaryLayer>(std::make_shared<K>(device, how...));
}

template <class K>
std::unique_ptr<nn::GraphLayer> gradient(const Ref<MTL::Device>& device, double x, double y) {
  return std::make_unique<nn::GradientLayer>(
      std::make_shared<K>(device, static_cast<std::size_t>(x), static_cast<std::size_t>(y)));
}

/// A factor, if it is one.
double whole(const char* who, double factor) {
  if (!(factor >= 1 && factor <= 1048576 && factor == std::floor(factor)))
    base::raise(std::string(who) + ": scale factor " + std::to_string(factor) +
                "; it must be a whole number from 1 to 1048576");
  return factor;
}

Ref<NNGradientStateNode> gradientStateOf(const Ref<NNStateNode>& state) {
  return std::static_pointer_cast<NNGradientStateNode>(state);
}

}  // namespace

CNNUpsamplingNearestNode::CNNUpsamplingNearestNode(const Ref<NNImageNode>& source, std::size_t integerScaleFactorX,
                                                   std::size_t integerScaleFactorY)
    : NNFilterNode({source}, {}), scaleX_(integerScaleFactorX), scaleY_(integerScaleFactorY) {
  addResultState(std::make_unique<NNGradientStateNode>());
}
Ref<CNNUpsamplingNearestNode> CNNUpsamplingNearestNode::create(const Ref<NNImageNode>& s, std::size_t x,
                                                               std::size_t y) {
  return std::make_shared<CNNUpsamplingNearestNode>(s, x, y);
}
std::unique_ptr<nn::GraphLayer> CNNUpsamplingNearestNode::doMakeLayer(const Ref<MTL::Device>& d) {
  return unary<CNNUpsamplingNearest>(d, scaleX_, scaleY_);
}
std::vector<Ref<NNGradientFilterNode>> CNNUpsamplingNearestNode::doGradientFilters(const Ref<NNImageNode>& g) {
  return {CNNUpsamplingNearestGradientNode::create(g, sources_[0], gradientStateOf(resultState()), scaleFactorX(),
                                                   scaleFactorY())};
}

CNNUpsamplingBilinearNode::CNNUpsamplingBilinearNode(const Ref<NNImageNode>& source, std::size_t integerScaleFactorX,
                                                     std::size_t integerScaleFactorY)
    : CNNUpsamplingBilinearNode(source, integerScaleFactorX, integerScaleFactorY, false) {}
CNNUpsamplingBilinearNode::CNNUpsamplingBilinearNode(const Ref<NNImageNode>& source, std::size_t integerScaleFactorX,
                                                     std::size_t integerScaleFactorY, bool alignCorners)
    : NNFilterNode({source}, {}),
      scaleX_(integerScaleFactorX),
      scaleY_(integerScaleFactorY),
      alignCorners_(alignCorners) {
  addResultState(std::make_unique<NNGradientStateNode>());
}
Ref<CNNUpsamplingBilinearNode> CNNUpsamplingBilinearNode::create(const Ref<NNImageNode>& s, std::size_t x,
                                                                 std::size_t y) {
  return std::make_shared<CNNUpsamplingBilinearNode>(s, x, y);
}
Ref<CNNUpsamplingBilinearNode> CNNUpsamplingBilinearNode::create(const Ref<NNImageNode>& s, std::size_t x,
                                                                 std::size_t y, bool alignCorners) {
  return std::make_shared<CNNUpsamplingBilinearNode>(s, x, y, alignCorners);
}
std::unique_ptr<nn::GraphLayer> CNNUpsamplingBilinearNode::doMakeLayer(const Ref<MTL::Device>& d) {
  return unary<CNNUpsamplingBilinear>(d, scaleX_, scaleY_, alignCorners_);
}
std::vector<Ref<NNGradientFilterNode>> CNNUpsamplingBilinearNode::doGradientFilters(const Ref<NNImageNode>& g) {
  return {CNNUpsamplingBilinearGradientNode::create(g, sources_[0], gradientStateOf(resultState()), scaleFactorX(),
                                                    scaleFactorY())};
}

CNNUpsamplingNearestGradientNode::CNNUpsamplingNearestGradientNode(const Ref<NNImageNode>& sourceGradient,
                                                                   const Ref<NNImageNode>& sourceImage,
                                                                   const Ref<NNGradientStateNode>& gradientState,
                                                                   double scaleFactorX, double scaleFactorY)
    : NNGradientFilterNode({sourceGradient, sourceImage}, {gradientState}),
      scaleX_(whole("CNNUpsamplingNearestGradientNode", scaleFactorX)),
      scaleY_(whole("CNNUpsamplingNearestGradientNode", scaleFactorY)) {}
Ref<CNNUpsamplingNearestGradientNode> CNNUpsamplingNearestGradientNode::create(
    const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
    const Ref<NNGradientStateNode>& gradientState, double scaleFactorX, double scaleFactorY) {
  return std::make_shared<CNNUpsamplingNearestGradientNode>(sourceGradient, sourceImage, gradientState, scaleFactorX,
                                                            scaleFactorY);
}
std::unique_ptr<nn::GraphLayer> CNNUpsamplingNearestGradientNode::doMakeLayer(const Ref<MTL::Device>& d) {
  return gradient<CNNUpsamplingNearestGradient>(d, scaleX_, scaleY_);
}

CNNUpsamplingBilinearGradientNode::CNNUpsamplingBilinearGradientNode(const Ref<NNImageNode>& sourceGradient,
                                                                     const Ref<NNImageNode>& sourceImage,
                                                                     const Ref<NNGradientStateNode>& gradientState,
                                                                     double scaleFactorX, double scaleFactorY)
    : NNGradientFilterNode({sourceGradient, sourceImage}, {gradientState}),
      scaleX_(whole("CNNUpsamplingBilinearGradientNode", scaleFactorX)),
      scaleY_(whole("CNNUpsamplingBilinearGradientNode", scaleFactorY)) {}
Ref<CNNUpsamplingBilinearGradientNode> CNNUpsamplingBilinearGradientNode::create(
    const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
    const Ref<NNGradientStateNode>& gradientState, double scaleFactorX, double scaleFactorY) {
  return std::make_shared<CNNUpsamplingBilinearGradientNode>(sourceGradient, sourceImage, gradientState, scaleFactorX,
                                                             scaleFactorY);
}
std::unique_ptr<nn::GraphLayer> CNNUpsamplingBilinearGradientNode::doMakeLayer(const Ref<MTL::Device>& d) {
  return gradient<CNNUpsamplingBilinearGradient>(d, scaleX_, scaleY_);
}

}  // namespace kovar::MPS
