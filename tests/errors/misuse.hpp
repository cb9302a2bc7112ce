#pragma once
// What the table of wrong uses builds its cases from.

#include <functional>
#include <string>
#include <vector>

#include "kovar/Support/DataSources.hpp"
#include "kovar/kovar.hpp"

namespace kovar::test {

/// One wrong use and its message.
struct Misuse {
  const char* name;
  std::function<void()> use;
  std::string message;
};
/// Those of normalizations.
std::vector<Misuse> normalizationMisuses();
/// Those of pooling, upsampling and reductions.
std::vector<Misuse> shapeMisuses();
/// Those of the anchor-box loss and of losses over images.
std::vector<Misuse> lossMisuses();
/// Those of arithmetic.
std::vector<Misuse> arithmeticMisuses();
/// Those of reshape, padding, slice and concatenation.
std::vector<Misuse> reshapeMisuses();
/// Those of depthwise, sub-pixel, transposed and binary convolutions, and of 8-bit weights.
std::vector<Misuse> convolutionMisuses();
/// Those of resizes, Gram matrices and local correlation.
std::vector<Misuse> resizeMisuses();
/// Those of archives.
std::vector<Misuse> archiveMisuses();

inline Ref<MTL::Device> device() { return MTL::deviceNamed("cpu"); }
/// One that plans and computes nothing.
inline Ref<MTL::Device> otherDevice() { return MTL::deviceNamed("null"); }
inline Ref<MTL::CommandBuffer> commands() {
  static const Ref<MTL::CommandQueue> queue = device()->newCommandQueue();
  return queue->commandBuffer();
}

using Format = MPS::ImageFeatureChannelFormat;

inline Ref<MPS::ImageDescriptor> shape(std::size_t width, std::size_t height, std::size_t channels,
                                       std::size_t images = 1, Format format = Format::Float32) {
  return MPS::ImageDescriptor::imageDescriptor(format, width, height, channels, images,
                                               MTL::TextureUsage::ShaderRead | MTL::TextureUsage::ShaderWrite);
}
inline Ref<MPS::Image> image(std::size_t width, std::size_t height, std::size_t channels, std::size_t images = 1) {
  return std::make_shared<MPS::Image>(device(), shape(width, height, channels, images));
}
inline Ref<MPS::TemporaryImage> temporary(const Ref<MTL::CommandBuffer>& commandBuffer) {
  return MPS::TemporaryImage::temporaryImage(commandBuffer, shape(8, 8, 4));
}

inline Ref<MPS::CNNConvolutionDescriptor> layer(std::size_t kernel, std::size_t inputs, std::size_t outputs) {
  return MPS::CNNConvolutionDescriptor::cnnConvolutionDescriptor(kernel, kernel, inputs, outputs);
}
inline Ref<ConvolutionWeights> weights(const Ref<MPS::CNNConvolutionDescriptor>& descriptor) {
  return std::make_shared<ConvolutionWeights>(
      descriptor,
      std::vector<float>(descriptor->outputFeatureChannels() * descriptor->kernelHeight() * descriptor->kernelWidth() *
                         descriptor->inputFeatureChannels() / descriptor->groups()),
      std::vector<float>(descriptor->outputFeatureChannels()));
}
inline Ref<MPS::CNNConvolution> convolution(const Ref<MPS::CNNConvolutionDescriptor>& descriptor) {
  auto kernel = std::make_shared<MPS::CNNConvolution>(device(), weights(descriptor));
  kernel->setLabel("conv1");
  return kernel;
}
inline Ref<MPS::CNNPoolingMax> pooling() { return std::make_shared<MPS::CNNPoolingMax>(device(), 2, 2, 2, 2); }

inline Ref<MPS::CNNLoss> loss(std::size_t classes = 4) {
  const auto descriptor =
      MPS::CNNLossDescriptor::cnnLossDescriptor(MPS::CNNLossType::SoftMaxCrossEntropy, MPS::CNNReductionType::Sum);
  descriptor->setNumberOfClasses(classes);
  return std::make_shared<MPS::CNNLoss>(device(), descriptor);
}
inline Ref<MPS::CNNLossLabels> labels(std::size_t classes = 4) {
  return std::make_shared<MPS::CNNLossLabels>(device(), MTL::Size{1, 1, 1}, image(1, 1, classes), nullptr);
}

inline Ref<MPS::Vector> vector(std::size_t length, MPS::DataType type = MPS::DataType::Float32) {
  return std::make_shared<MPS::Vector>(device(), MPS::VectorDescriptor::vectorDescriptor(length, type));
}

/// Commits, waits and throws what the command buffer's error slot holds.
inline void runs(const Ref<MTL::CommandBuffer>& commandBuffer) {
  commandBuffer->commit();
  commandBuffer->waitUntilCompleted();
  // With a text of its own: copies share theirs inside the standard library, where the thread sanitizer does not see
  // who comes last.
  if (const auto error = commandBuffer->error()) throw Error(std::string(error->what()));
}

/// A data source that is wrong in one way.
class WrongSource final : public Object, public MPS::CNNConvolutionDataSource {
 public:
  bool loads = true, hasWeights = true, hasDescriptor = true;
  MPS::DataType type = MPS::DataType::Float32;

  MPS::DataType dataType() override { return type; }
  Ref<MPS::CNNConvolutionDescriptor> descriptor() override { return hasDescriptor ? layer(1, 4, 4) : nullptr; }
  const void* weights() override { return hasWeights ? values_.data() : nullptr; }
  const float* biasTerms() override { return nullptr; }
  bool load() override { return loads; }
  void purge() override {}
  std::string label() override { return "conv1"; }

 private:
  std::vector<float> values_ = std::vector<float>(16);
};

inline Ref<WrongSource> wrongSource(const std::function<void(WrongSource&)>& spoil) {
  auto source = std::make_shared<WrongSource>();
  spoil(*source);
  return source;
}

}  // namespace kovar::test
