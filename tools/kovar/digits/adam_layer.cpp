#include "kovar/digits/adam_layer.hpp"

#include <utility>

namespace kovar::tools {
namespace {

std::span<float> floatsOf(const Ref<MTL::Buffer>& buffer) {
  return {static_cast<float*>(buffer->contents()), buffer->length() / sizeof(float)};
}

}  // namespace

AdamLayer::AdamLayer(const Ref<MTL::Device>& device, std::string label,
                     const Ref<MPS::CNNConvolutionDescriptor>& descriptor, float learningRate)
    : label_(std::move(label)),
      descriptor_(descriptor),
      adam_(std::make_shared<MPS::NNOptimizerAdam>(device, learningRate)),
      kept_(std::make_shared<MPS::CNNConvolutionWeightsAndBiasesState>(device, descriptor)) {
  for (const auto& values : {kept_->weights(), kept_->biases()}) {
    const auto shape =
        MPS::VectorDescriptor::vectorDescriptor(values->length() / sizeof(float), MPS::DataType::Float32);
    const auto zeros = [&] { return std::make_shared<MPS::Vector>(device->newBuffer(values->length()), shape); };
    first_.push_back(zeros());
    second_.push_back(zeros());
  }
}

std::size_t AdamLayer::fanIn() const {
  return descriptor_->kernelWidth() * descriptor_->kernelHeight() * descriptor_->inputFeatureChannels();
}

std::vector<std::size_t> AdamLayer::weightShape() const {
  return {descriptor_->outputFeatureChannels(), descriptor_->kernelHeight(), descriptor_->kernelWidth(),
          descriptor_->inputFeatureChannels()};
}

std::span<float> AdamLayer::weightValues() const { return floatsOf(kept_->weights()); }
std::span<float> AdamLayer::biasValues() const { return floatsOf(kept_->biases()); }
std::span<float> AdamLayer::firstMoments(bool ofBiases) const { return floatsOf(first_[ofBiases ? 1 : 0]->data()); }
std::span<float> AdamLayer::secondMoments(bool ofBiases) const { return floatsOf(second_[ofBiases ? 1 : 0]->data()); }

Ref<MPS::Vector> AdamLayer::weightVector() const {
  const auto length = kept_->weights()->length() / sizeof(float);
  return std::make_shared<MPS::Vector>(kept_->weights(),
                                       MPS::VectorDescriptor::vectorDescriptor(length, MPS::DataType::Float32));
}

Ref<MPS::CNNConvolutionWeightsAndBiasesState> AdamLayer::update(
    const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<MPS::CNNConvolutionGradientState>& gradientState,
    const Ref<MPS::CNNConvolutionWeightsAndBiasesState>& sourceState) {
  // The optimizer uses up one read of the source state; the graph takes the new weights out of it with another.
  if (!keep_) sourceState->setReadCount(sourceState->readCount() + 1);
  const auto& result = keep_ ? kept_ : sourceState;
  adam_->encode(commandBuffer, gradientState, sourceState, first_, second_, result);
  return result;
}

}  // namespace kovar::tools
