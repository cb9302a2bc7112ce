// Binary convolution stages.

#include <utility>

#include "graph/layer.hpp"
#include "kovar/MPS/NN/CNNConvolutionNode.hpp"
#include "nn/binary_weights.hpp"

namespace kovar::MPS {
namespace {

using Type = CNNBinaryConvolutionType;
using Flags = CNNBinaryConvolutionFlags;

std::shared_ptr<const nn::BinarySettings> kept(nn::BinarySettings settings) {
  return std::make_shared<const nn::BinarySettings>(std::move(settings));
}

}  // namespace

CNNBinaryConvolutionNode::CNNBinaryConvolutionNode(const Ref<NNImageNode>& source,
                                                   const Ref<CNNConvolutionDataSource>& weights, float scaleValue,
                                                   Type type, Flags flags)
    : CNNConvolutionNode(source, weights, {}, nullptr, "CNNBinaryConvolutionNode"),
      settings_(kept(nn::binarySettings(scaleValue, type, flags))) {}

CNNBinaryConvolutionNode::CNNBinaryConvolutionNode(const Ref<NNImageNode>& source,
                                                   const Ref<CNNConvolutionDataSource>& weights,
                                                   const float* outputBiasTerms, const float* outputScaleTerms,
                                                   const float* inputBiasTerms, const float* inputScaleTerms, Type type,
                                                   Flags flags)
    : CNNConvolutionNode(source, weights, {}, nullptr, "CNNBinaryConvolutionNode"),
      settings_(kept(nn::binarySettings(weights.get(), "CNNBinaryConvolutionNode", outputBiasTerms, outputScaleTerms,
                                        inputBiasTerms, inputScaleTerms, type, flags))) {}

Ref<CNNBinaryConvolutionNode> CNNBinaryConvolutionNode::create(const Ref<NNImageNode>& source,
                                                               const Ref<CNNConvolutionDataSource>& weights,
                                                               float scaleValue, Type type, Flags flags) {
  return std::make_shared<CNNBinaryConvolutionNode>(source, weights, scaleValue, type, flags);
}
Ref<CNNBinaryConvolutionNode> CNNBinaryConvolutionNode::create(
    const Ref<NNImageNode>& source, const Ref<CNNConvolutionDataSource>& weights, const float* outputBiasTerms,
    const float* outputScaleTerms, const float* inputBiasTerms, const float* inputScaleTerms, Type type, Flags flags) {
  return std::make_shared<CNNBinaryConvolutionNode>(source, weights, outputBiasTerms, outputScaleTerms, inputBiasTerms,
                                                    inputScaleTerms, type, flags);
}
std::unique_ptr<nn::GraphLayer> CNNBinaryConvolutionNode::doMakeLayer(const Ref<MTL::Device>& device) {
  return std::make_unique<nn::UnaryLayer>(nn::BinaryAccess::convolution(device, weights_, *settings_));
}

Ref<CNNBinaryFullyConnectedNode> CNNBinaryFullyConnectedNode::create(const Ref<NNImageNode>& source,
                                                                     const Ref<CNNConvolutionDataSource>& weights,
                                                                     float scaleValue, Type type, Flags flags) {
  return std::make_shared<CNNBinaryFullyConnectedNode>(source, weights, scaleValue, type, flags);
}
Ref<CNNBinaryFullyConnectedNode> CNNBinaryFullyConnectedNode::create(
    const Ref<NNImageNode>& source, const Ref<CNNConvolutionDataSource>& weights, const float* outputBiasTerms,
    const float* outputScaleTerms, const float* inputBiasTerms, const float* inputScaleTerms, Type type, Flags flags) {
  return std::make_shared<CNNBinaryFullyConnectedNode>(source, weights, outputBiasTerms, outputScaleTerms,
                                                       inputBiasTerms, inputScaleTerms, type, flags);
}
std::unique_ptr<nn::GraphLayer> CNNBinaryFullyConnectedNode::doMakeLayer(const Ref<MTL::Device>& device) {
  return std::make_unique<nn::UnaryLayer>(nn::BinaryAccess::fullyConnected(device, weights_, *settings_));
}

}  // namespace kovar::MPS
