#include <algorithm>
#include <string>
#include <utility>

#include "base/edge.hpp"
#include "kovar/MPS/Core/Image.hpp"
#include "nn/core/access.hpp"
#include "nn/weights_cell.hpp"

namespace kovar::MPS {

// --- CNNConvolutionGradientState
// --------------------------------------------------------------------------------------

CNNConvolutionGradientState::CNNConvolutionGradientState(const Ref<MTL::Device>& device,
                                                         std::shared_ptr<const nn::ForwardRecord> record,
                                                         const Ref<CNNConvolution>& convolution,
                                                         std::size_t weightBytes, std::size_t biasBytes)
    : NNGradientState(device, std::move(record)), convolution_(convolution) {
  addSums(weightBytes, biasBytes);
}

CNNConvolutionGradientState::CNNConvolutionGradientState(const Ref<MTL::CommandBuffer>& commandBuffer,
                                                         std::shared_ptr<const nn::ForwardRecord> record,
                                                         const Ref<CNNConvolution>& convolution,
                                                         std::size_t weightBytes, std::size_t biasBytes)
    : NNGradientState(commandBuffer, std::move(record)), convolution_(convolution) {
  addSums(weightBytes, biasBytes);
}

void CNNConvolutionGradientState::addSums(std::size_t weightBytes, std::size_t biasBytes) {
  addBuffer(weightBytes);
  addBuffer(biasBytes);
  sourceWidth_ = record_->sourceWidth;
  sourceHeight_ = record_->sourceHeight;
}

Ref<ImageDescriptor> CNNConvolutionGradientState::doDestinationImageDescriptor(
    const std::vector<Ref<Image>>&, const std::vector<Ref<State>>&, const Ref<Kernel>&,
    const Ref<ImageDescriptor>& suggestedDescriptor) {
  suggestedDescriptor->setWidth(sourceWidth_);
  suggestedDescriptor->setHeight(sourceHeight_);
  return suggestedDescriptor;
}

// --- CNNConvolutionWeightsAndBiasesState
// ------------------------------------------------------------------------------

namespace {

constexpr const char* kName = "CNNConvolutionWeightsAndBiasesState";

std::vector<Ref<MTL::Resource>> given(const Ref<MTL::Buffer>& weights, const Ref<MTL::Buffer>& biases) {
  if (!weights) base::raise(std::string(kName) + ": weights is null; only biases may be");
  if (biases && biases->device() != weights->device())
    base::raise(std::string(kName) + ": weights and biases belong to different devices");
  return {weights, biases};
}

nn::ConvolutionShape shapeOf(const Ref<CNNConvolutionDescriptor>& descriptor) {
  if (!descriptor) base::raise(std::string(kName) + ": cnnConvolutionDescriptor is null");
  return nn::shapeOf(*descriptor, kName);
}

void checkPart(const char* what, const MTL::Buffer& buffer, std::size_t offset, std::size_t bytes) {
  if (offset % 4 == 0 && offset <= buffer.length() && bytes <= buffer.length() - offset) return;
  base::raise(std::string(kName) + ": " + what + "Offset " + std::to_string(offset) + " with " + std::to_string(bytes) +
              " bytes of " + what + " behind it in a buffer of " + std::to_string(buffer.length()) +
              " bytes; the offset must be a multiple of 4, the values within the buffer");
}

}  // namespace

CNNConvolutionWeightsAndBiasesState::CNNConvolutionWeightsAndBiasesState(const Ref<MTL::Buffer>& weights,
                                                                         const Ref<MTL::Buffer>& biases)
    : State(given(weights, biases)), weightBytes_(weights->length()), biasBytes_(biases ? biases->length() : 0) {}

CNNConvolutionWeightsAndBiasesState::CNNConvolutionWeightsAndBiasesState(
    const Ref<MTL::Buffer>& weights, std::size_t weightsOffset, const Ref<MTL::Buffer>& biases,
    std::size_t biasesOffset, const Ref<CNNConvolutionDescriptor>& cnnConvolutionDescriptor)
    : State(given(weights, biases)), weightsOffset_(weightsOffset), biasesOffset_(biasesOffset) {
  const nn::ConvolutionShape shape = shapeOf(cnnConvolutionDescriptor);
  weightBytes_ = shape.weightBytes();
  biasBytes_ = biases ? shape.biasBytes() : 0;
  checkPart("weights", *weights, weightsOffset, weightBytes_);
  if (biases) checkPart("biases", *biases, biasesOffset, biasBytes_);
}

CNNConvolutionWeightsAndBiasesState::CNNConvolutionWeightsAndBiasesState(
    const Ref<MTL::Device>& device, const Ref<CNNConvolutionDescriptor>& cnnConvolutionDescriptor)
    : CNNConvolutionWeightsAndBiasesState(device, shapeOf(cnnConvolutionDescriptor).weightBytes(),
                                          shapeOf(cnnConvolutionDescriptor).biasBytes()) {}

Ref<CNNConvolutionWeightsAndBiasesState>
CNNConvolutionWeightsAndBiasesState::temporaryCNNConvolutionWeightsAndBiasesState(
    const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<CNNConvolutionDescriptor>& cnnConvolutionDescriptor) {
  const nn::ConvolutionShape shape = shapeOf(cnnConvolutionDescriptor);
  return nn::Access::make<CNNConvolutionWeightsAndBiasesState>(commandBuffer, shape.weightBytes(), shape.biasBytes());
}

CNNConvolutionWeightsAndBiasesState::CNNConvolutionWeightsAndBiasesState(const Ref<MTL::Device>& device,
                                                                         std::size_t weightBytes, std::size_t biasBytes)
    : State(device), weightBytes_(weightBytes), biasBytes_(biasBytes) {
  addBuffer(weightBytes);
  if (biasBytes > 0) addBuffer(biasBytes);
}

CNNConvolutionWeightsAndBiasesState::CNNConvolutionWeightsAndBiasesState(const Ref<MTL::CommandBuffer>& commandBuffer,
                                                                         std::size_t weightBytes, std::size_t biasBytes)
    : State(commandBuffer), weightBytes_(weightBytes), biasBytes_(biasBytes) {
  addBuffer(weightBytes);
  if (biasBytes > 0) addBuffer(biasBytes);
}

}  // namespace kovar::MPS
