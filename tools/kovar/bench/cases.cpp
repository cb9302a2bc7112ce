#include "kovar/bench/cases.hpp"

#include <cmath>
#include <memory>
#include <span>
#include <utility>

#include <kovar/kovar.hpp>
#include "kovar/data_sources.hpp"
#include "kovar/digits/network.hpp"
#include "kovar/digits/picture_batch.hpp"

namespace kovar::tools {
namespace {

using Device = Ref<MTL::Device>;
using Commands = Ref<MTL::CommandBuffer>;
constexpr auto kLayout = MPS::DataLayout::HeightxWidthxFeatureChannels;

/// Values from 0 to 1 without a pattern; the same each time.
std::vector<float> noise(std::size_t count, float scale = 1.f) {
  std::vector<float> values(count);
  std::uint32_t state = 1;
  for (float& v : values) {
    state = state * 1664525u + 1013904223u;
    v = static_cast<float>(state >> 8) * 0x1p-24f * scale;
  }
  return values;
}

/// Images of one array, filled; and what a batch of them is.
struct Images {
  Ref<MPS::Image> all;
  MPS::ImageBatch batch;
};

Images imagesOf(const Device& device, std::size_t n, std::size_t h, std::size_t w, std::size_t c) {
  const auto descriptor =
      MPS::ImageDescriptor::imageDescriptor(MPS::ImageFeatureChannelFormat::Float32, w, h, c, n,
                                            MTL::TextureUsage::ShaderRead | MTL::TextureUsage::ShaderWrite);
  Images images{std::make_shared<MPS::Image>(device, descriptor), {}};
  const std::vector<float> values = noise(h * w * c);
  for (std::size_t i = 0; i < n; ++i) images.all->writeBytes(values.data(), kLayout, i);
  images.batch = images.all->batchRepresentation();
  return images;
}

/// gamma 1, beta 0.
class NeutralBatch final : public Object, public MPS::CNNBatchNormalizationDataSource {
 public:
  explicit NeutralBatch(std::size_t channels) : channels_(channels) {}
  std::size_t numberOfFeatureChannels() override { return channels_; }
  const float* gamma() override { return nullptr; }
  const float* beta() override { return nullptr; }
  const float* mean() override { return nullptr; }
  const float* variance() override { return nullptr; }
  bool load() override { return true; }
  void purge() override {}
  std::string label() override { return "bench"; }
  float epsilon() override { return 1e-5f; }

 private:
  std::size_t channels_;
};

/// Bits without a pattern for the filters of a descriptor.
Ref<BitWeights> noiseBits(const Ref<MPS::CNNConvolutionDescriptor>& d) {
  std::vector<std::uint32_t> words(d->outputFeatureChannels() * d->kernelWidth() * d->kernelHeight() *
                                   ((d->inputFeatureChannels() + 31) / 32));
  std::uint32_t state = 1;
  for (std::uint32_t& w : words) w = state = state * 1664525u + 1013904223u;
  return std::make_shared<BitWeights>(d, std::move(words));
}

struct ConvShape {
  const char* name;
  std::size_t in, out, kernel, stride;
  bool depthwise;
  std::size_t side;
  std::size_t resultSide() const { return (side + stride - 1) / stride; }  // padding of kernel / 2
};
constexpr ConvShape kConvs[] = {
    {"conv7x7s2_3_64_224", 3, 64, 7, 2, false, 224},   {"conv1x1_64_256_56", 64, 256, 1, 1, false, 56},
    {"conv3x3_128_128_28", 128, 128, 3, 1, false, 28}, {"conv1x1_1024_256_14", 1024, 256, 1, 1, false, 14},
    {"conv3x3_512_512_7", 512, 512, 3, 1, false, 7},   {"conv3x3_256_256_28", 256, 256, 3, 1, false, 28},
    {"dw3x3s2_96_112", 96, 96, 3, 2, true, 112},       {"dw3x3_384_14", 384, 384, 3, 1, true, 14},
};

Ref<MPS::CNNConvolutionDescriptor> descriptorOf(const ConvShape& s) {
  Ref<MPS::CNNConvolutionDescriptor> d;
  if (s.depthwise)
    d = MPS::CNNDepthWiseConvolutionDescriptor::cnnConvolutionDescriptor(s.kernel, s.kernel, s.in, s.out);
  else
    d = MPS::CNNConvolutionDescriptor::cnnConvolutionDescriptor(s.kernel, s.kernel, s.in, s.out);
  d->setStrideInPixelsX(s.stride);
  d->setStrideInPixelsY(s.stride);
  return d;
}

std::size_t weightsOf(const ConvShape& s) { return s.kernel * s.kernel * s.out * (s.depthwise ? 1 : s.in); }

Ref<ConvolutionWeights> sourceOf(const Ref<MPS::CNNConvolutionDescriptor>& d, std::size_t count, std::size_t outputs) {
  return std::make_shared<ConvolutionWeights>(d, noise(count, 0.1f), noise(outputs));
}

struct Cost {
  double flops, bytes;
};
Cost costOf(const ConvShape& s, std::size_t n) {
  const auto pixels = static_cast<double>(n * s.resultSide() * s.resultSide());
  return {2.0 * pixels * static_cast<double>(weightsOf(s)),
          4.0 * (static_cast<double>(n * s.in * s.side * s.side) + pixels * static_cast<double>(s.out) +
                 static_cast<double>(weightsOf(s)))};
}

BenchRun convolution(const Device& device, const ConvShape& s, std::size_t n) {
  const auto kernel = std::make_shared<MPS::CNNConvolution>(device, sourceOf(descriptorOf(s), weightsOf(s), s.out));
  const Images from = imagesOf(device, n, s.side, s.side, s.in),
               to = imagesOf(device, n, s.resultSide(), s.resultSide(), s.out);
  return [=](const Commands& commands) { kernel->encodeBatch(commands, from.batch, to.batch); };
}

/// Forward, and the gradients of source, weights and biases.
BenchRun convolutionTraining(const Device& device, const ConvShape& s, std::size_t n) {
  const auto source = sourceOf(descriptorOf(s), weightsOf(s), s.out);
  const auto forward = std::make_shared<MPS::CNNConvolution>(device, source);
  const auto gradient = std::make_shared<MPS::CNNConvolutionGradient>(device, source);
  const auto first = -static_cast<std::ptrdiff_t>(s.kernel / 2);
  gradient->setSecondaryOffset({first, first, 0});
  const Images from = imagesOf(device, n, s.side, s.side, s.in),
               to = imagesOf(device, n, s.resultSide(), s.resultSide(), s.out),
               given = imagesOf(device, n, s.resultSide(), s.resultSide(), s.out),
               back = imagesOf(device, n, s.side, s.side, s.in);
  return [=](const Commands& commands) {
    const auto state = forward->resultStateBatch(from.batch, {}, to.batch);
    forward->encodeBatch(commands, from.batch, to.batch);
    gradient->encodeBatch(commands, given.batch, from.batch, MPS::StateBatch(state), back.batch);
  };
}

/// 4 x 4, stride 2: twice as large.
BenchRun transposed(const Device& device, std::size_t in, std::size_t out, std::size_t side, std::size_t n) {
  const auto d = MPS::CNNConvolutionDescriptor::cnnConvolutionDescriptor(4, 4, in, out);
  d->setStrideInPixelsX(2);
  d->setStrideInPixelsY(2);
  const auto kernel = std::make_shared<MPS::CNNConvolutionTranspose>(device, sourceOf(d, 16 * in * out, out));
  const Images from = imagesOf(device, n, side, side, in), to = imagesOf(device, n, 2 * side, 2 * side, out);
  return [=](const Commands& commands) { kernel->encodeBatch(commands, from.batch, to.batch); };
}

BenchRun binaryConvolution(const Device& device, std::size_t channels, std::size_t side, std::size_t n) {
  const auto weights = noiseBits(MPS::CNNConvolutionDescriptor::cnnConvolutionDescriptor(3, 3, channels, channels));
  const auto kernel = std::make_shared<MPS::CNNBinaryConvolution>(
      device, weights, 1.f, MPS::CNNBinaryConvolutionType::XNOR, MPS::CNNBinaryConvolutionFlags::None);
  const Images from = imagesOf(device, n, side, side, channels), to = imagesOf(device, n, side, side, channels);
  return [=](const Commands& commands) { kernel->encodeBatch(commands, from.batch, to.batch); };
}

BenchRun fullyConnected(const Device& device, std::size_t in, std::size_t out, std::size_t n) {
  const auto d = MPS::CNNConvolutionDescriptor::cnnConvolutionDescriptor(1, 1, in, out);
  const auto kernel = std::make_shared<MPS::CNNFullyConnected>(device, sourceOf(d, in * out, out));
  const Images from = imagesOf(device, n, 1, 1, in), to = imagesOf(device, n, 1, 1, out);
  return [=](const Commands& commands) { kernel->encodeBatch(commands, from.batch, to.batch); };
}

/// A kernel of one source: images of h x w x c become images of h2 x w2 x c2.
struct Sizes {
  std::size_t h, w, c, h2, w2, c2;
};
BenchRun unary(const Device& device, const Ref<MPS::CNNKernel>& kernel, const Sizes& s, std::size_t n,
               MPS::ImageEdgeMode edges = MPS::ImageEdgeMode::Clamp) {
  kernel->setEdgeMode(edges);
  const Images from = imagesOf(device, n, s.h, s.w, s.c), to = imagesOf(device, n, s.h2, s.w2, s.c2);
  return [=](const Commands& commands) { kernel->encodeBatch(commands, from.batch, to.batch); };
}

/// The sum of an image and another, or one value for each channel.
BenchRun sum(const Device& device, std::size_t side, std::size_t channels, bool repeated) {
  const auto kernel = std::make_shared<MPS::CNNAdd>(device);
  if (repeated) {
    kernel->setSecondaryStrideInPixelsX(0);
    kernel->setSecondaryStrideInPixelsY(0);
  }
  const std::size_t other = repeated ? 1 : side;
  const Images a = imagesOf(device, 1, side, side, channels), b = imagesOf(device, 1, other, other, channels),
               to = imagesOf(device, 1, side, side, channels);
  return [=](const Commands& commands) { kernel->encodeBatch(commands, a.batch, b.batch, to.batch); };
}

/// Statistics, normalization, and both gradients.
BenchRun batchNormTraining(const Device& device, std::size_t side, std::size_t channels, std::size_t n) {
  const auto forward = std::make_shared<MPS::CNNBatchNormalization>(device, std::make_shared<NeutralBatch>(channels));
  const auto statistics = std::make_shared<MPS::CNNBatchNormalizationStatistics>(device);
  const auto sums = std::make_shared<MPS::CNNBatchNormalizationStatisticsGradient>(device, nullptr);
  const auto gradient = std::make_shared<MPS::CNNBatchNormalizationGradient>(device, nullptr);
  const Images from = imagesOf(device, n, side, side, channels), to = imagesOf(device, n, side, side, channels),
               given = imagesOf(device, n, side, side, channels), back = imagesOf(device, n, side, side, channels);
  const auto state = forward->resultState(from.batch[0], {}, to.batch[0]);
  return [=](const Commands& commands) {
    statistics->encodeBatch(commands, from.batch, state);
    forward->encodeBatch(commands, from.batch, state, to.batch);
    sums->encodeBatch(commands, given.batch, from.batch, state);
    gradient->encodeBatch(commands, given.batch, from.batch, state, back.batch);
  };
}

BenchRun adam(const Device& device, std::size_t count) {
  const auto kernel = std::make_shared<MPS::NNOptimizerAdam>(device, 1e-3f);
  const auto vector = [&](float scale) {
    const std::vector<float> values = noise(count, scale);
    return std::make_shared<MPS::Vector>(device->newBuffer(values.data(), count * sizeof(float)),
                                         MPS::VectorDescriptor::vectorDescriptor(count, MPS::DataType::Float32));
  };
  const auto gradient = vector(1), values = vector(1), momentum = vector(0), velocity = vector(0);
  return [=](const Commands& commands) { kernel->encode(commands, gradient, values, momentum, velocity, values); };
}

BenchRun digitsTraining(const Device& device, std::size_t n) {
  const auto network = std::make_shared<DigitNetwork>(device, 1e-3f);
  network->initialise(device->newCommandQueue(), Init::He, 0);
  const auto graph = makeTrainingGraph(device, *network, n, 0.5f, 0);
  const auto pictures = std::make_shared<PictureBatch>(device, n);
  const Images truth = imagesOf(device, n, 1, 1, kDigits);
  return [=](const Commands& commands) { graph->encodeBatch(commands, {pictures->images()}, {lossLabels(truth.all)}); };
}

BenchRun digitsInference(const Device& device, std::size_t n) {
  const auto network = std::make_shared<DigitNetwork>(device, 1e-3f);
  network->initialise(device->newCommandQueue(), Init::He, 0);
  const auto graph = makeInferenceGraph(device, *network);
  const auto pictures = std::make_shared<PictureBatch>(device, n);
  return [=](const Commands& commands) { graph->encodeBatch(commands, {pictures->images()}, {}); };
}

double number(std::size_t n) { return static_cast<double>(n); }

void addConvolutions(std::vector<BenchCase>& cases, std::size_t n) {
  for (const ConvShape& s : kConvs) {
    const Cost cost = costOf(s, n);
    cases.push_back({s.name, n, cost.flops, cost.bytes, Traffic::Copy,
                     [=](const Device& device) { return convolution(device, s, n); }});
  }
  cases.push_back({"deconv4x4s2_64_32_56", n, 2.0 * number(n * 56 * 56 * 64 * 32 * 16),
                   4.0 * number(n * (64 * 56 * 56 + 32 * 112 * 112) + 64 * 32 * 16), Traffic::Copy,
                   [=](const Device& device) { return transposed(device, 64, 32, 56, n); }});
  cases.push_back({"binary3x3_256_256_28", n, 2.0 * number(n * 28 * 28 * 256 * 256 * 9),
                   4.0 * number(n * 2 * 256 * 28 * 28 + 8 * 256 * 9), Traffic::Copy,
                   [=](const Device& device) { return binaryConvolution(device, 256, 28, n); }});
}

void addFeatures(std::vector<BenchCase>& cases, std::size_t n) {
  const auto add = [&](const char* name, const Sizes& s, std::size_t reads, auto make) {
    cases.push_back({name, n, 0, 4.0 * number(n) * number(reads * s.h * s.w * s.c + s.h2 * s.w2 * s.c2), Traffic::Copy,
                     [=](const Device& device) { return unary(device, make(device), s, n); }});
  };
  const Sizes halves{112, 112, 64, 56, 56, 64}, doubles{56, 56, 64, 112, 112, 64}, same{56, 56, 64, 56, 56, 64};
  add("maxpool3x3s2_64_112", halves, 1,
      [](const Device& d) -> Ref<MPS::CNNKernel> { return std::make_shared<MPS::CNNPoolingMax>(d, 3, 3, 2, 2); });
  add("avgpool3x3s2_64_112", halves, 1,
      [](const Device& d) -> Ref<MPS::CNNKernel> { return std::make_shared<MPS::CNNPoolingAverage>(d, 3, 3, 2, 2); });
  add("lrn5_96_55", {55, 55, 96, 55, 55, 96}, 1, [](const Device& d) -> Ref<MPS::CNNKernel> {
    const auto kernel = std::make_shared<MPS::CNNCrossChannelNormalization>(d, 5);
    kernel->setAlpha(1e-4f);
    kernel->setBeta(0.75f);
    return kernel;
  });
  add("instnorm_64_56", same, 2, [](const Device& d) -> Ref<MPS::CNNKernel> {
    return std::make_shared<MPS::CNNInstanceNormalization>(d, std::make_shared<UniformInstance>(64, 1.f, 0.f));
  });
  add("upsample2x_bilinear_64_56", doubles, 1,
      [](const Device& d) -> Ref<MPS::CNNKernel> { return std::make_shared<MPS::CNNUpsamplingBilinear>(d, 2, 2); });
}

void addSoftMax(std::vector<BenchCase>& cases, std::size_t n) {
  cases.push_back({"softmax1000", n, 0, 8.0 * number(n * 1000), Traffic::Copy, [=](const Device& device) {
                     return unary(device, std::make_shared<MPS::CNNSoftMax>(device), {1, 1, 1000, 1, 1, 1000}, n);
                   }});
}

void addFlat(std::vector<BenchCase>& cases) {
  constexpr std::size_t kSide = 256, kChannels = 64;
  const double all = number(kSide * kSide * kChannels);
  const auto reduce = [&](const char* name, const Sizes& s, auto make) {
    cases.push_back({name, 1, 0, 4.0 * (all + number(s.h2 * s.w2 * s.c2)), Traffic::Read,
                     [=](const Device& device) { return unary(device, make(device), s, 1); }});
  };
  reduce("sum_h_256_256_64", {kSide, kSide, kChannels, 1, kSide, kChannels},
         [](const Device& d) -> Ref<MPS::CNNKernel> { return std::make_shared<MPS::NNReduceColumnSum>(d); });
  reduce("sum_w_256_256_64", {kSide, kSide, kChannels, kSide, 1, kChannels},
         [](const Device& d) -> Ref<MPS::CNNKernel> { return std::make_shared<MPS::NNReduceRowSum>(d); });
  reduce("sum_c_256_256_64", {kSide, kSide, kChannels, kSide, kSide, 1},
         [](const Device& d) -> Ref<MPS::CNNKernel> { return std::make_shared<MPS::NNReduceFeatureChannelsSum>(d); });
  reduce("argmax_c_256_256_64", {kSide, kSide, kChannels, kSide, kSide, 1}, [](const Device& d) -> Ref<MPS::CNNKernel> {
    return std::make_shared<MPS::NNReduceFeatureChannelsArgumentMax>(d);
  });
  for (const bool repeated : {false, true})
    cases.push_back({repeated ? "add_bcast_c_256_256_64" : "add_same_256_256_64", 1, 0, (repeated ? 8.0 : 12.0) * all,
                     Traffic::Copy, [=](const Device& device) { return sum(device, kSide, kChannels, repeated); }});
}

void addTraining(std::vector<BenchCase>& cases) {
  constexpr std::size_t kBatch = 16;
  for (const ConvShape& s : kConvs) {
    const std::string name = s.name;
    if (name == "conv7x7s2_3_64_224" || name == "conv3x3_256_256_28") continue;  // the first layer has no data gradient
    const Cost cost = costOf(s, kBatch);
    cases.push_back({name + "_fwdbwd", kBatch, 3 * cost.flops, 3 * cost.bytes, Traffic::Copy,
                     [=](const Device& device) { return convolutionTraining(device, s, kBatch); }});
  }
  cases.push_back({"batchnorm_train_fwdbwd_64_56", kBatch, 0, 8 * 4.0 * number(kBatch * 56 * 56 * 64), Traffic::Copy,
                   [](const Device& device) { return batchNormTraining(device, 56, 64, kBatch); }});
  constexpr std::size_t kParameters = 10'000'000;
  cases.push_back({"adam_10M", 1, 0, 7 * 4.0 * number(kParameters), Traffic::InPlace,
                   [](const Device& device) { return adam(device, kParameters); }});
}

void addModels(std::vector<BenchCase>& cases) {
  // Multiply-adds of one picture: 41 million forward and backward, no data gradient of the first layer.
  double forward = 0;
  for (const LayerShape& l : kDigitLayers) {
    const std::size_t side = l.kernel != 5 ? 1 : l.inputs == 1 ? 28 : 14;
    forward += 2.0 * number(l.kernel * l.kernel * l.inputs * l.outputs * side * side);
  }
  const double first = 2.0 * 25 * 32 * 28 * 28;
  for (const std::size_t n : {std::size_t{40}, std::size_t{128}})
    cases.push_back({"digits_training_step", n, number(n) * (3 * forward - first), 0, Traffic::Copy,
                     [n](const Device& device) { return digitsTraining(device, n); }});
  for (const std::size_t n : {std::size_t{1}, std::size_t{128}})
    cases.push_back({"digits_inference", n, number(n) * forward, 0, Traffic::Copy,
                     [n](const Device& device) { return digitsInference(device, n); }});
}

}  // namespace

std::vector<BenchCase> benchCases() {
  std::vector<BenchCase> cases;
  for (const std::size_t n : {std::size_t{1}, std::size_t{16}}) {
    addConvolutions(cases, n);
    addFeatures(cases, n);
    addSoftMax(cases, n);
  }
  addSoftMax(cases, 1024);
  for (const std::size_t n : {std::size_t{1}, std::size_t{64}})
    cases.push_back({"fc4096", n, 2.0 * number(n) * 4096 * 4096, 4.0 * (4096.0 * 4096 + 2 * number(n) * 4096),
                     Traffic::Read, [n](const Device& device) { return fullyConnected(device, 4096, 4096, n); }});
  addFlat(cases);
  addTraining(cases);
  addModels(cases);
  return cases;
}

}  // namespace kovar::tools
