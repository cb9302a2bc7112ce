#include "nn/binary_weights.hpp"

#include <utility>

#include "nn/archive/values.hpp"
#include "nn/core/pointwise.hpp"

namespace kovar::nn {
namespace {

std::vector<float> copied(const float* values, std::size_t count) {
  return values ? std::vector<float>(values, values + count) : std::vector<float>();
}

rt::StorageRef uploaded(const Ref<MTL::Device>& device, const std::vector<float>& values) {
  return values.empty() ? nullptr : uploadFloats(device, values.data(), values.size());
}

void checkSettings(const BinarySettings& s, const std::string& who) {
  if (s.type > MPS::CNNBinaryConvolutionType::AND)
    base::raise(who + ": type " + std::to_string(static_cast<std::size_t>(s.type)) +
                " is not a CNNBinaryConvolutionType; use one of its names");
  if ((s.flags & ~MPS::CNNBinaryConvolutionFlags::UseBetaScaling) != MPS::CNNBinaryConvolutionFlags::None)
    base::raise(who + ": flags " + std::to_string(static_cast<std::size_t>(s.flags)) +
                " are not CNNBinaryConvolutionFlags; use its names");
}

void checkDescriptor(const BinaryParts& p, const std::string& who) {
  const ConvolutionShape& s = p.shape;
  if (s.channelMultiplier != 0 || s.subPixelScale != 1)
    base::raise(who + ": the descriptor is " +
                (s.channelMultiplier != 0 ? "depthwise" : "that of a sub-pixel convolution") +
                "; a binary convolution takes a CNNConvolutionDescriptor");
  if (s.groups != 1)
    base::raise(who + ": the descriptor has " + std::to_string(s.groups) + " groups; a binary convolution has 1");
  if (ConvolutionAccess::batchNorm(*p.descriptor))
    base::raise(
        who +
        ": the descriptor has a batch normalisation, which does not fold into bits; give it as outputScaleTerms "
        "and outputBiasTerms");
}

/// Puts everything but the words' meaning on the device.
void upload(BinaryParts& p) {
  p.outputBias = uploaded(p.device, p.settings.outputBias);
  p.outputScale = uploaded(p.device, p.settings.outputScale);
  const auto inputs = static_cast<std::size_t>(p.shape.inputs);
  if (!p.settings.inputBias.empty() || !p.settings.inputScale.empty()) {
    p.inputBias = uploaded(p.device, p.settings.inputBias.empty() ? std::vector<float>(inputs) : p.settings.inputBias);
    p.inputScale =
        uploaded(p.device, p.settings.inputScale.empty() ? std::vector<float>(inputs, 1.f) : p.settings.inputScale);
  }
  if (p.descriptor->fusedNeuronDescriptor()->neuronType() == MPS::CNNNeuronType::PReLU) {
    const std::vector<std::byte> slopes = p.descriptor->fusedNeuronDescriptor()->data();
    p.slopes = uploadFloats(p.device, reinterpret_cast<const float*>(slopes.data()), slopes.size() / sizeof(float));
  }
  if (p.isBits()) {
    p.weights = std::make_shared<rt::Storage>(rt::Access::state(p.device), p.words.size() * sizeof(std::uint32_t));
    base::unwrap(p.weights->write(0, p.words.data(), p.words.size() * sizeof(std::uint32_t)));
    return;
  }
  std::vector<float> signs;
  signs.reserve(static_cast<std::size_t>(p.shape.outputs * p.shape.taps()));
  const auto perTap = static_cast<std::size_t>(p.wordsOfPixel());
  for (std::size_t tap = 0; tap < p.words.size(); tap += perTap)
    for (std::size_t f = 0; f < inputs; ++f) signs.push_back((p.words[tap + f / 32] >> (f % 32) & 1u) ? 1.f : -1.f);
  p.weights = uploaded(p.device, signs);
}

}  // namespace

BinarySettings binarySettings(MPS::CNNConvolutionDataSource* source, const char* who, const float* outputBias,
                              const float* outputScale, const float* inputBias, const float* inputScale,
                              MPS::CNNBinaryConvolutionType type, MPS::CNNBinaryConvolutionFlags flags) {
  BinarySettings s;
  s.type = type;
  s.flags = flags;
  if (!outputBias && !outputScale && !inputBias && !inputScale) return s;
  if (!source) return s;  // refused where it is loaded
  const LoadedWeights loaded(*source, who);
  const Ref<MPS::CNNConvolutionDescriptor> d = source->descriptor();
  if (!d) base::raise(std::string(who) + ": the data source's descriptor() is null; return a CNNConvolutionDescriptor");
  s.outputBias = copied(outputBias, d->outputFeatureChannels());
  s.outputScale = copied(outputScale, d->outputFeatureChannels());
  s.inputBias = copied(inputBias, d->inputFeatureChannels());
  s.inputScale = copied(inputScale, d->inputFeatureChannels());
  return s;
}

BinarySettings binarySettings(float scaleValue, MPS::CNNBinaryConvolutionType type,
                              MPS::CNNBinaryConvolutionFlags flags) {
  BinarySettings s;
  s.scaleValue = scaleValue;
  s.sourceBiases = true;
  s.type = type;
  s.flags = flags;
  return s;
}

std::shared_ptr<const BinaryParts> loadBinary(const Ref<MTL::Device>& device,
                                              const Ref<MPS::CNNConvolutionDataSource>& source,
                                              const BinarySettings& settings, const char* who) {
  const std::string name = who;
  if (!device) base::raise(name + ": device is null; take one from MTL::createSystemDefaultDevice()");
  if (!source) base::raise(name + ": convolutionData is null; give a CNNConvolutionDataSource");
  checkSettings(settings, name);
  auto p = std::make_shared<BinaryParts>();
  p->device = device;
  p->settings = settings;
  const LoadedWeights loaded(*source, name);
  p->label = source->label();
  const std::string described = p->label.empty() ? name : name + " \"" + p->label + "\"";
  const Ref<MPS::CNNConvolutionDescriptor> d = source->descriptor();
  if (!d) base::raise(described + ": the data source's descriptor() is null; return a CNNConvolutionDescriptor");
  p->descriptor = d->copy();
  p->shape = shapeOf(*p->descriptor, described);
  checkDescriptor(*p, described);
  if (source->dataType() != MPS::DataType::UInt32)
    base::raise(described + ": the data source's dataType() is " + nameOf(source->dataType()) +
                "; binary weights are bits in UInt32 words, [O][kernelHeight][kernelWidth][ceil(I / 32)]");
  const auto* words = static_cast<const std::uint32_t*>(source->weights());
  if (!words)
    base::raise(described + ": the data source's weights() is null after load(); return the address of the weights");
  const ConvolutionShape& s = p->shape;
  p->words.assign(words, words + s.outputs * s.kernelHeight * s.kernelWidth * p->wordsOfPixel());
  if (settings.sourceBiases) p->settings.outputBias = copied(source->biasTerms(), static_cast<std::size_t>(s.outputs));
  upload(*p);
  return p;
}

void codeBinary(MPS::Archive& coder, const Ref<MTL::Device>& device, std::shared_ptr<const BinaryParts>& parts,
                const char* who) {
  auto p = parts ? std::make_shared<BinaryParts>(*parts) : std::make_shared<BinaryParts>();
  BinarySettings& s = p->settings;
  code(coder, p->descriptor);
  coder.code("dataSourceLabel", p->label);
  coder.code("weights", p->words);
  coder.code("outputBiasTerms", s.outputBias);
  coder.code("outputScaleTerms", s.outputScale);
  coder.code("inputBiasTerms", s.inputBias);
  coder.code("inputScaleTerms", s.inputScale);
  coder.code("scaleValue", s.scaleValue);
  coder.code("type", s.type, MPS::CNNBinaryConvolutionType::AND);
  coder.code("flags", s.flags, MPS::CNNBinaryConvolutionFlags::UseBetaScaling);
  if (!coder.isReading()) return;
  p->device = device;
  p->shape = shapeOf(*p->descriptor, who);
  checkDescriptor(*p, who);
  const ConvolutionShape& shape = p->shape;
  const auto count = [](std::int64_t n) { return static_cast<std::size_t>(n); };
  coder.require(p->words.size() == count(shape.outputs * shape.kernelHeight * shape.kernelWidth * p->wordsOfPixel()),
                "weights", "must be as many words as the descriptor says");
  const auto fits = [&](const std::vector<float>& values, std::int64_t channels, const char* name) {
    coder.require(values.empty() || values.size() == count(channels), name, "must be one for each channel, or none");
  };
  fits(s.outputBias, shape.outputs, "outputBiasTerms");
  fits(s.outputScale, shape.outputs, "outputScaleTerms");
  fits(s.inputBias, shape.inputs, "inputBiasTerms");
  fits(s.inputScale, shape.inputs, "inputScaleTerms");
  upload(*p);
  parts = p;
}

std::shared_ptr<const BinaryParts> BinaryParts::on(const Ref<MTL::Device>& other) const {
  auto p = std::make_shared<BinaryParts>(*this);
  p->device = other;
  upload(*p);
  return p;
}

}  // namespace kovar::nn
