#include <string>
#include <utility>

#include "base/edge.hpp"
#include "kovar/MPS/NN/CNNConvolutionDataSource.hpp"
#include "kovar/MPS/NN/CNNNeuron.hpp"
#include "nn/weights_cell.hpp"

namespace kovar::MPS {
namespace {

Ref<NNNeuronDescriptor> noNeuron() { return NNNeuronDescriptor::cnnNeuronDescriptor(CNNNeuronType::None); }

std::vector<float> values(const float* p, std::size_t count) {
  return p ? std::vector<float>(p, p + count) : std::vector<float>();
}

}  // namespace

CNNConvolutionDescriptor::CNNConvolutionDescriptor(std::size_t kernelWidth, std::size_t kernelHeight,
                                                   std::size_t inputFeatureChannels, std::size_t outputFeatureChannels)
    : kernelWidth_(kernelWidth),
      kernelHeight_(kernelHeight),
      inputFeatureChannels_(inputFeatureChannels),
      outputFeatureChannels_(outputFeatureChannels),
      fusedNeuron_(noNeuron()) {}

CNNConvolutionDescriptor::CNNConvolutionDescriptor(const CNNConvolutionDescriptor& other)
    : Object(other),
      kernelWidth_(other.kernelWidth_),
      kernelHeight_(other.kernelHeight_),
      inputFeatureChannels_(other.inputFeatureChannels_),
      outputFeatureChannels_(other.outputFeatureChannels_),
      strideInPixelsX_(other.strideInPixelsX_),
      strideInPixelsY_(other.strideInPixelsY_),
      dilationRateX_(other.dilationRateX_),
      dilationRateY_(other.dilationRateY_),
      groups_(other.groups_),
      fusedNeuron_(other.fusedNeuron_->copy()),
      neuron_(other.neuron_),
      batchNorm_(other.batchNorm_) {}

CNNConvolutionDescriptor::~CNNConvolutionDescriptor() = default;

Ref<CNNConvolutionDescriptor> CNNConvolutionDescriptor::cnnConvolutionDescriptor(std::size_t kernelWidth,
                                                                                 std::size_t kernelHeight,
                                                                                 std::size_t inputFeatureChannels,
                                                                                 std::size_t outputFeatureChannels) {
  return Ref<CNNConvolutionDescriptor>(
      new CNNConvolutionDescriptor(kernelWidth, kernelHeight, inputFeatureChannels, outputFeatureChannels));
}

Ref<CNNConvolutionDescriptor> CNNConvolutionDescriptor::cnnConvolutionDescriptor(std::size_t kernelWidth,
                                                                                 std::size_t kernelHeight,
                                                                                 std::size_t inputFeatureChannels,
                                                                                 std::size_t outputFeatureChannels,
                                                                                 const Ref<CNNNeuron>& neuronFilter) {
  auto d = cnnConvolutionDescriptor(kernelWidth, kernelHeight, inputFeatureChannels, outputFeatureChannels);
  d->setNeuron(neuronFilter);
  return d;
}

Ref<CNNConvolutionDescriptor> CNNConvolutionDescriptor::doCopy() const {
  return Ref<CNNConvolutionDescriptor>(new CNNConvolutionDescriptor(*this));
}

Ref<CNNDepthWiseConvolutionDescriptor> CNNDepthWiseConvolutionDescriptor::cnnConvolutionDescriptor(
    std::size_t kernelWidth, std::size_t kernelHeight, std::size_t inputFeatureChannels,
    std::size_t outputFeatureChannels) {
  return Ref<CNNDepthWiseConvolutionDescriptor>(
      new CNNDepthWiseConvolutionDescriptor(kernelWidth, kernelHeight, inputFeatureChannels, outputFeatureChannels));
}

std::size_t CNNDepthWiseConvolutionDescriptor::channelMultiplier() const {
  return inputFeatureChannels() == 0 ? 0 : outputFeatureChannels() / inputFeatureChannels();
}

Ref<CNNConvolutionDescriptor> CNNDepthWiseConvolutionDescriptor::doCopy() const {
  return Ref<CNNConvolutionDescriptor>(new CNNDepthWiseConvolutionDescriptor(*this));
}

Ref<CNNSubPixelConvolutionDescriptor> CNNSubPixelConvolutionDescriptor::cnnConvolutionDescriptor(
    std::size_t kernelWidth, std::size_t kernelHeight, std::size_t inputFeatureChannels,
    std::size_t outputFeatureChannels) {
  return Ref<CNNSubPixelConvolutionDescriptor>(
      new CNNSubPixelConvolutionDescriptor(kernelWidth, kernelHeight, inputFeatureChannels, outputFeatureChannels));
}

Ref<CNNConvolutionDescriptor> CNNSubPixelConvolutionDescriptor::doCopy() const {
  return Ref<CNNConvolutionDescriptor>(new CNNSubPixelConvolutionDescriptor(*this));
}

void CNNConvolutionDescriptor::setFusedNeuronDescriptor(const Ref<NNNeuronDescriptor>& descriptor) {
  if (descriptor && descriptor->neuronType() == CNNNeuronType::PReLU)
    base::raise(std::string(className()) +
                ".fusedNeuronDescriptor: a PReLU has one slope per output channel; use setNeuronToPReLU(slopes)");
  fusedNeuron_ = descriptor ? descriptor : noNeuron();
  neuron_ = nullptr;
}

void CNNConvolutionDescriptor::setNeuron(const Ref<CNNNeuron>& neuron) {
  if (!neuron) {
    setFusedNeuronDescriptor(nullptr);
    return;
  }
  fusedNeuron_ = NNNeuronDescriptor::cnnNeuronDescriptor(neuron->neuronType(), neuron->a(), neuron->b(), neuron->c());
  fusedNeuron_->setData(neuron->data());
  neuron_ = neuron;
}

void CNNConvolutionDescriptor::setNeuronType(CNNNeuronType neuronType, float parameterA, float parameterB) {
  setFusedNeuronDescriptor(NNNeuronDescriptor::cnnNeuronDescriptor(neuronType, parameterA, parameterB));
}

void CNNConvolutionDescriptor::setNeuronToPReLU(std::span<const std::byte> parametersA) {
  if (parametersA.size() != outputFeatureChannels_ * sizeof(float))
    base::raise(std::string(className()) + ".setNeuronToPReLU: " + std::to_string(parametersA.size()) +
                " bytes of slopes for " + std::to_string(outputFeatureChannels_) +
                " output channels; give one float32 (4 bytes) for each");
  fusedNeuron_ = NNNeuronDescriptor::cnnNeuronPReLUDescriptor(parametersA, false);
  neuron_ = nullptr;
}

void CNNConvolutionDescriptor::setBatchNormalizationParametersForInference(const float* mean, const float* variance,
                                                                           const float* gamma, const float* beta,
                                                                           float epsilon) {
  if (!mean && !variance && !gamma && !beta) {
    batchNorm_ = nullptr;
    return;
  }
  if (!mean || !variance)
    base::raise(std::string(className()) +
                ".setBatchNormalizationParametersForInference: " + (mean ? "variance" : "mean") +
                " is null; give mean and variance, or neither for no batch normalisation");
  const std::size_t n = outputFeatureChannels_;
  batchNorm_ = std::make_shared<const nn::BatchNormConstants>(
      nn::BatchNormConstants{values(mean, n), values(variance, n), values(gamma, n), values(beta, n), epsilon});
}

Ref<CNNConvolutionWeightsAndBiasesState> CNNConvolutionDataSource::update(
    const Ref<MTL::CommandBuffer>&, const Ref<CNNConvolutionGradientState>&,
    const Ref<CNNConvolutionWeightsAndBiasesState>&) {
  return nullptr;
}
bool CNNConvolutionDataSource::update(const Ref<CNNConvolutionGradientState>&,
                                      const Ref<CNNConvolutionWeightsAndBiasesState>&) {
  return false;
}
Ref<CNNConvolutionDataSource> CNNConvolutionDataSource::copy(const Ref<MTL::Device>&) { return nullptr; }

}  // namespace kovar::MPS

namespace kovar::nn {

ConvolutionShape shapeOf(const MPS::CNNConvolutionDescriptor& d, const std::string& who) {
  const auto positive = [&](std::size_t value, const char* name) {
    constexpr std::size_t kLimit = std::size_t{1} << 24;  // products of two stay far from the limits of 64 bits
    if (value == 0 || value > kLimit)
      base::raise(who + ": the descriptor's " + name + " is " + std::to_string(value) +
                  "; it must be at least 1 and at most " + std::to_string(kLimit));
    return static_cast<std::int64_t>(value);
  };
  ConvolutionShape s;
  s.kernelWidth = positive(d.kernelWidth(), "kernelWidth");
  s.kernelHeight = positive(d.kernelHeight(), "kernelHeight");
  s.inputs = positive(d.inputFeatureChannels(), "inputFeatureChannels");
  s.outputs = positive(d.outputFeatureChannels(), "outputFeatureChannels");
  s.groups = positive(d.groups(), "groups");
  positive(d.strideInPixelsX(), "strideInPixelsX");
  positive(d.strideInPixelsY(), "strideInPixelsY");
  positive(d.dilationRateX(), "dilationRateX");
  positive(d.dilationRateY(), "dilationRateY");
  const auto grouped = [&](std::int64_t channels, const char* name) {
    if (s.groups == 1 || (channels % s.groups == 0 && channels / s.groups % 4 == 0)) return;
    base::raise(who + ": " + std::to_string(channels) + " " + name + " in " + std::to_string(s.groups) +
                " groups; with more than one group each must have a multiple of 4 channels");
  };
  grouped(s.inputs, "inputFeatureChannels");
  grouped(s.outputs, "outputFeatureChannels");
  if (dynamic_cast<const MPS::CNNDepthWiseConvolutionDescriptor*>(&d)) {
    if (s.groups != 1)
      base::raise(who + ": a depthwise descriptor with " + std::to_string(s.groups) +
                  " groups; leave groups at 1, every input channel is a group of its own already");
    if (s.outputs % s.inputs != 0)
      base::raise(who + ": a depthwise descriptor with " + std::to_string(s.inputs) + " input and " +
                  std::to_string(s.outputs) +
                  " output channels; every input channel has as many filters, make outputFeatureChannels a multiple of "
                  "inputFeatureChannels");
    s.groups = s.inputs;
    s.channelMultiplier = s.outputs / s.inputs;
  }
  if (const auto* sub = dynamic_cast<const MPS::CNNSubPixelConvolutionDescriptor*>(&d)) {
    s.subPixelScale = positive(sub->subPixelScaleFactor(), "subPixelScaleFactor");
    const std::int64_t area = s.subPixelScale * s.subPixelScale;
    if (s.outputs % area != 0)
      base::raise(who + ": " + std::to_string(s.outputs) + " outputFeatureChannels with subPixelScaleFactor " +
                  std::to_string(s.subPixelScale) + "; they fill blocks of " + std::to_string(area) +
                  " pixels, make them a multiple of " + std::to_string(area));
    if (s.groups > 1 && s.writtenChannels() % 4 != 0)
      base::raise(who + ": " + std::to_string(s.outputs) + " outputFeatureChannels with subPixelScaleFactor " +
                  std::to_string(s.subPixelScale) + " give " + std::to_string(s.writtenChannels()) +
                  " channels a pixel; with more than one group that must be a multiple of 4");
  }
  std::int64_t floats = 0;
  if (__builtin_mul_overflow(s.kernelHeight * s.kernelWidth, s.outputs, &floats) ||
      __builtin_mul_overflow(floats, s.inputsPerFilter(), &floats) || floats > (std::int64_t{1} << 40))
    base::raise(who +
                ": the descriptor asks for more weights than any memory holds; check its kernel size and channels");
  const auto extent = [&](std::size_t kernel, std::size_t dilation, const char* axis) {
    if ((kernel - 1) * dilation >= (std::size_t{1} << 24))
      base::raise(who + ": the dilated window of " + std::to_string(kernel) + " taps, " + std::to_string(dilation) +
                  " apart along " + axis + ", is larger than any image");
  };
  extent(d.kernelWidth(), d.dilationRateX(), "x");
  extent(d.kernelHeight(), d.dilationRateY(), "y");
  if (const BatchNormConstants* bn = ConvolutionAccess::batchNorm(d);
      bn && static_cast<std::int64_t>(bn->mean.size()) != s.outputs)
    base::raise(who + ": batch normalisation was set for " + std::to_string(bn->mean.size()) +
                " output channels, the descriptor now has " + std::to_string(s.outputs) +
                "; set it after outputFeatureChannels");
  const MPS::NNNeuronDescriptor& neuron = *d.fusedNeuronDescriptor();
  if (static_cast<std::int32_t>(neuron.neuronType()) < 0 || neuron.neuronType() >= MPS::CNNNeuronType::Count)
    base::raise(who + ": the descriptor's neuron type " +
                std::to_string(static_cast<std::int32_t>(neuron.neuronType())) + " is not a CNNNeuronType");
  if (neuron.neuronType() == MPS::CNNNeuronType::PReLU && neuron.data().size() != s.biasBytes())
    base::raise(who + ": the PReLU has " + std::to_string(neuron.data().size() / sizeof(float)) + " slopes for " +
                std::to_string(s.outputs) + " output channels; use setNeuronToPReLU with one slope for each");
  return s;
}

}  // namespace kovar::nn
