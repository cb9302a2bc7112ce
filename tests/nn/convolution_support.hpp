#pragma once
// Random convolutions, and kernels made from the oracle's description of one.

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kovar/MPS/NN/CNNFullyConnected.hpp"
#include "kovar/Support/DataSources.hpp"
#include "nn_case.hpp"
#include "oracle/conv.hpp"
#include "support/compare.hpp"
#include "support/geometry.hpp"
#include "support/golden.hpp"

namespace kovar::test {

/// A data source whose every answer a test can choose, and that counts its calls.
class AnySource : public Object, public MPS::CNNConvolutionDataSource {
 public:
  MPS::DataType type = MPS::DataType::Float32;
  MPS::DataType precision = MPS::DataType::Float16;
  Ref<MPS::CNNConvolutionDescriptor> described = MPS::CNNConvolutionDescriptor::cnnConvolutionDescriptor(1, 1, 1, 1);
  std::vector<float> values{2};
  std::vector<std::uint16_t> halves;
  std::vector<std::uint8_t> codes;
  std::vector<MPS::Float2> ranges;
  std::vector<float> table;
  MPS::CNNWeightsQuantizationType quantization = MPS::CNNWeightsQuantizationType::None;
  std::vector<float> biases{};
  bool loads = true, withWeights = true;
  int loaded = 0, purged = 0, copies = 0;
  Ref<AnySource> copied;

  MPS::DataType dataType() override { return type; }
  Ref<MPS::CNNConvolutionDescriptor> descriptor() override { return described; }
  const void* weights() override {
    if (!withWeights) return nullptr;
    if (type == MPS::DataType::UInt8) return codes.data();
    return type == MPS::DataType::Float16 ? static_cast<const void*>(halves.data()) : values.data();
  }
  const MPS::Float2* rangesForUInt8Kernel() override { return ranges.empty() ? nullptr : ranges.data(); }
  const float* lookupTableForUInt8Kernel() override { return table.empty() ? nullptr : table.data(); }
  MPS::CNNWeightsQuantizationType weightsQuantizationType() override { return quantization; }
  const float* biasTerms() override { return biases.empty() ? nullptr : biases.data(); }
  bool load() override {
    loaded += loads;
    return loads;
  }
  void purge() override { ++purged; }
  std::string label() override { return "layer"; }
  MPS::DataType kernelWeightsDataType() override { return precision; }
  Ref<MPS::CNNConvolutionDataSource> copy(const Ref<MTL::Device>&) override {
    ++copies;
    return copied;
  }
};

struct ConvolutionCase {
  Geometry geometry;
  oracle::Conv conv;
  std::size_t sourceChannels = 1, destinationChannels = 1;

  std::string text() const { return describe(geometry, conv); }
  Tensor randomSource(Random& r, std::size_t images, Format format = Format::Float32) const {
    return randomTensor(r, images, geometry.sourceHeight, geometry.sourceWidth, sourceChannels, oracle::Conv::domain(),
                        format);
  }
  Tensor randomDestination(Random& r, std::size_t images, Format format = Format::Float32) const {
    return randomTensor(r, images, geometry.destinationHeight, geometry.destinationWidth, destinationChannels,
                        oracle::Conv::domain(), format);
  }
  std::vector<double> randomWeights(Random& r) const { return randomValues(r, conv.weightCount(), {-2, 2}); }
  std::vector<double> randomBiases(Random& r) const { return randomValues(r, conv.outputChannels, {-2, 2}); }
};

inline ConvolutionCase randomConvolution(Random& r, const GeometryLimits& limits = {}) {
  ConvolutionCase k;
  k.geometry = randomGeometry(r, limits);
  k.geometry.applyTo(k.conv);
  randomChannels(r, k.conv);
  if (r.chance(0.2)) {
    k.conv.depthwise = true;
    k.conv.groups = 1;
    k.conv.inputChannels = r.size(1, 6);
    k.conv.outputChannels = k.conv.inputChannels * r.size(1, 2);
  }
  k.sourceChannels = k.conv.at.sourceChannelOffset + k.conv.inputChannels + (r.chance(0.2) ? r.size(1, 5) : 0);
  k.destinationChannels =
      k.conv.at.destinationChannelOffset + k.conv.outputChannels + (r.chance(0.2) ? r.size(1, 5) : 0);
  return k;
}

inline void addRandomNeuron(Random& r, oracle::Conv& conv) {
  using T = oracle::NeuronType;
  conv.neuron =
      oracle::Neuron::plain(r.pick({T::None, T::None, T::ReLU, T::Linear, T::Sigmoid, T::HardSigmoid, T::TanH,
                                    T::Absolute, T::SoftPlus, T::SoftSign, T::ELU, T::PReLU, T::ReLUN, T::GeLU}));
  if (conv.neuron.type == T::PReLU) conv.neuron.data = randomValues(r, conv.outputChannels, {-1, 1});
  if (conv.neuron.type == T::ReLU) conv.neuron.a = r.pick({0., 0.25});
}

inline void addRandomBatchNorm(Random& r, oracle::Conv& conv) {
  conv.normalise = true;
  oracle::FoldedBatchNorm& bn = conv.batchNorm;
  bn.mean = randomValues(r, conv.outputChannels, {-2, 2});
  bn.variance = randomValues(r, conv.outputChannels, {0.5, 3});
  if (r.chance(0.5)) bn.gamma = randomValues(r, conv.outputChannels, {-2, 2});
  if (r.chance(0.5)) bn.beta = randomValues(r, conv.outputChannels, {-2, 2});
  bn.epsilon = 0x1p-10;
}

inline Ref<MPS::CNNConvolutionDescriptor> descriptorOf(const oracle::Conv& c) {
  const auto width = static_cast<std::size_t>(c.kernelWidth), height = static_cast<std::size_t>(c.kernelHeight);
  Ref<MPS::CNNConvolutionDescriptor> d;
  if (c.depthwise) {
    d = MPS::CNNDepthWiseConvolutionDescriptor::cnnConvolutionDescriptor(width, height, c.inputChannels,
                                                                         c.outputChannels);
  } else if (c.subPixelScale != 1) {
    const auto sub = MPS::CNNSubPixelConvolutionDescriptor::cnnConvolutionDescriptor(width, height, c.inputChannels,
                                                                                     c.outputChannels);
    sub->setSubPixelScaleFactor(static_cast<std::size_t>(c.subPixelScale));
    d = sub;
  } else {
    d = MPS::CNNConvolutionDescriptor::cnnConvolutionDescriptor(width, height, c.inputChannels, c.outputChannels);
  }
  d->setStrideInPixelsX(static_cast<std::size_t>(c.strideX));
  d->setStrideInPixelsY(static_cast<std::size_t>(c.strideY));
  d->setDilationRateX(static_cast<std::size_t>(c.dilationX));
  d->setDilationRateY(static_cast<std::size_t>(c.dilationY));
  d->setGroups(c.groups);
  if (c.neuron.type == oracle::NeuronType::PReLU) {
    const std::vector<float> slopes = toFloat(c.neuron.data);
    d->setNeuronToPReLU(std::as_bytes(std::span(slopes)));
  } else if (c.neuron.type != oracle::NeuronType::None) {
    d->setFusedNeuronDescriptor(MPS::NNNeuronDescriptor::cnnNeuronDescriptor(
        static_cast<MPS::CNNNeuronType>(c.neuron.type), static_cast<float>(c.neuron.a), static_cast<float>(c.neuron.b),
        static_cast<float>(c.neuron.c)));
  }
  if (c.normalise) {
    const auto mean = toFloat(c.batchNorm.mean), variance = toFloat(c.batchNorm.variance),
               gamma = toFloat(c.batchNorm.gamma), beta = toFloat(c.batchNorm.beta);
    d->setBatchNormalizationParametersForInference(mean.data(), variance.data(), gamma.empty() ? nullptr : gamma.data(),
                                                   beta.empty() ? nullptr : beta.data(),
                                                   static_cast<float>(c.batchNorm.epsilon));
  }
  return d;
}

inline Ref<ConvolutionWeights> sourceOf(const oracle::Conv& c, const std::vector<double>& weights,
                                        const std::vector<double>& bias) {
  return std::make_shared<ConvolutionWeights>(descriptorOf(c), toFloat(weights), toFloat(bias), "");
}

inline Ref<MPS::CNNConvolution> convolution(const oracle::Conv& c, const std::vector<double>& weights,
                                            const std::vector<double>& bias) {
  return std::make_shared<MPS::CNNConvolution>(cpuDevice(), sourceOf(c, weights, bias));
}

/// PyTorch's results, but for groups that the classes refuse.
inline std::vector<GoldenCase> goldenConvolutions() {
  std::vector<GoldenCase> cases;
  for (const GoldenCase& g : readGolden(std::string(KOVAR_SOURCE_DIR) + "/tests/golden/ops/conv.txt")) {
    const std::size_t groups = g.count("groups");
    if (groups > 1 && (g.tensor("source").c / groups % 4 != 0 || g.tensor("gradient").c / groups % 4 != 0)) continue;
    cases.push_back(g);
  }
  return cases;
}

inline oracle::Conv goldenConvolution(const GoldenCase& g) {
  oracle::Conv c;
  c.kernelWidth = g.integer("kernelWidth");
  c.kernelHeight = g.integer("kernelHeight");
  c.strideX = g.integer("strideX");
  c.strideY = g.integer("strideY");
  c.dilationX = g.integer("dilationX");
  c.dilationY = g.integer("dilationY");
  c.at.offset.x = g.integer("offsetX");
  c.at.offset.y = g.integer("offsetY");
  c.at.edge = g.word("edge") == "Clamp" ? oracle::EdgeMode::Clamp : oracle::EdgeMode::Zero;
  c.groups = g.count("groups");
  c.depthwise = g.number("depthwise") != 0;
  c.inputChannels = g.tensor("source").c;
  c.outputChannels = g.tensor("gradient").c;
  return c;
}

/// The convolution of a case of conv_sub_pixel.txt or conv_binary.txt: square windows, the same padding on all sides.
inline oracle::Conv goldenSquareConvolution(const GoldenCase& g, std::size_t outputs) {
  oracle::Conv c;
  c.kernelWidth = c.kernelHeight = g.integer("kernel");
  c.strideX = c.strideY = g.integer("stride");
  c.at.offset.x = c.at.offset.y = c.kernelWidth / 2 - g.integer("padding");
  c.inputChannels = g.tensor("source").c;
  c.outputChannels = outputs;
  return c;
}

inline std::vector<float> readFloats(const Ref<MTL::Buffer>& buffer, std::size_t offset = 0, std::size_t count = 0) {
  const auto* p = reinterpret_cast<const float*>(static_cast<const char*>(buffer->contents()) + offset);
  return {p, p + (count ? count : (buffer->length() - offset) / sizeof(float))};
}

}  // namespace kovar::test
