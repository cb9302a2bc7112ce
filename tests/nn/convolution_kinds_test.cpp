// Depthwise and sub-pixel convolutions, 8-bit weights: what their descriptors say, against the oracle and worked
// examples. Depthwise ones also take part in the random cases of the other convolution tests.

#include <gtest/gtest.h>

#include "convolution_support.hpp"
#include "kovar/MPS/NN/CNNConvolution.hpp"

namespace kovar::test {
namespace {

ConvolutionCase randomSubPixel(Random& r, const GeometryLimits& limits = {}) {
  ConvolutionCase k = randomConvolution(r, limits);
  k.conv.depthwise = false;
  k.conv.subPixelScale = r.integer(1, 3);
  const auto area = static_cast<std::size_t>(k.conv.subPixelScale * k.conv.subPixelScale);
  if (k.conv.groups > 1)
    k.conv.outputChannels = k.conv.groups * area * 4;
  else
    k.conv.outputChannels = area * r.size(1, 5);
  k.sourceChannels = k.conv.at.sourceChannelOffset + k.conv.inputChannels;
  k.destinationChannels =
      k.conv.at.destinationChannelOffset + k.conv.writtenChannels() + (r.chance(0.3) ? r.size(1, 5) : 0);
  return k;
}

TEST(SubPixelConvolution, AgreesWithTheOracle) {
  forCases(250, [&](Case& c) {
    Random& r = c.random;
    ConvolutionCase k = randomSubPixel(r);
    const Arrangement arrangement = randomArrangement(r);
    const ImageRange n = randomImageRange(r, arrangement, k.conv.at.offset.z, k.conv.at.clip);
    addRandomNeuron(r, k.conv);
    if (r.chance(0.2)) addRandomBatchNorm(r, k.conv);
    const Format sourceFormat = randomFormat(r, oracle::Conv::domain());
    const Format resultFormat = r.pick({Format::Float32, Format::Float32, Format::Float16, Format::Unorm8});
    c.text = k.text() + " " + nameOf(arrangement);
    const Tensor source = k.randomSource(r, n.source, sourceFormat),
                 before = k.randomDestination(r, n.destination, resultFormat);
    const std::vector<double> weights = k.randomWeights(r);
    const std::vector<double> bias = r.chance(0.7) ? k.randomBiases(r) : std::vector<double>();
    auto kernel = convolution(k.conv, weights, bias);
    test::apply(k.conv.at, *kernel);
    const auto src = imagesOf(source, sourceFormat, arrangement), dst = imagesOf(before, resultFormat, arrangement);
    runOnCpu([&](const auto& commands) { encodeAs(arrangement, *kernel, commands, src, dst); });
    EXPECT_TRUE(matches(tensorOf(dst), oracle::convForward(k.conv, source, weights, bias, before), resultFormat,
                        oracle::Conv::tolerance()));
  });
}

TEST(SubPixelConvolution, MakesResultsThatMuchLarger) {
  forCases(40, [&](Case& c) {
    Random& r = c.random;
    GeometryLimits limits;
    limits.clip = limits.wildOffset = false;
    ConvolutionCase k = randomSubPixel(r, limits);
    const Tensor source = k.randomSource(r, 1);
    const std::vector<double> weights = k.randomWeights(r), bias = k.randomBiases(r);
    auto kernel = convolution(k.conv, weights, bias);
    test::apply(k.conv.at, *kernel);
    kernel->setDestinationImageAllocator(MPS::Image::defaultAllocator());
    Ref<MPS::Image> dst;
    runOnCpu([&](const auto& commands) { dst = kernel->encode(commands, imageOf(source)); });
    const auto scale = static_cast<std::size_t>(k.conv.subPixelScale);
    const auto sizeOf = [&](std::size_t in, long stride) {
      return (in + static_cast<std::size_t>(stride) - 1) / static_cast<std::size_t>(stride) * scale;
    };
    ASSERT_EQ(dst->width(), sizeOf(source.w, k.conv.strideX));
    ASSERT_EQ(dst->height(), sizeOf(source.h, k.conv.strideY));
    k.conv.at.offset = {kernel->offset().x, kernel->offset().y, 0};
    c.text = k.text();
    const Tensor before(1, dst->height(), dst->width(), dst->featureChannels());
    EXPECT_TRUE(matches(tensorOf(*dst), oracle::convForward(k.conv, source, weights, bias, before), Format::Float16,
                        oracle::Conv::tolerance()));
  });
}

TEST(SubPixelConvolution, AgreesWithPyTorch) {
  for (const GoldenCase& g : readGolden(std::string(KOVAR_SOURCE_DIR) + "/tests/golden/ops/conv_sub_pixel.txt")) {
    SCOPED_TRACE(g.name);
    oracle::Conv conv = goldenSquareConvolution(g, g.tensor("bias").v.size());
    conv.subPixelScale = g.integer("scale");
    auto kernel = convolution(conv, g.tensor("weights").v, g.tensor("bias").v);
    test::apply(conv.at, *kernel);
    const auto src = imageOf(g.tensor("source")), dst = imageOf(g.tensor("result"));
    runOnCpu([&](const auto& commands) { kernel->encode(commands, src, dst); });
    const oracle::Result own =
        oracle::convForward(conv, g.tensor("source"), g.tensor("weights").v, g.tensor("bias").v, g.tensor("result"));
    EXPECT_TRUE(
        matches(tensorOf(*dst), {g.tensor("result"), own.magnitude}, Format::Float32, oracle::Conv::tolerance()));
    for (std::size_t i = 0; i < own.value.v.size(); ++i)  // the oracle itself
      EXPECT_NEAR(own.value.v[i], g.tensor("result").v[i], 2e-9 * own.magnitude.v[i] + 1e-12);
  }
}

// One pixel with channels 0 to 7 becomes 2 x 2 pixels of two channels: the column runs faster than the row, the channel
// fastest.
TEST(SubPixelConvolution, WorkedExample) {
  oracle::Conv conv;
  conv.kernelWidth = conv.kernelHeight = 1;
  conv.inputChannels = 1, conv.outputChannels = 8, conv.subPixelScale = 2;
  auto kernel = convolution(conv, {0, 1, 2, 3, 4, 5, 6, 7}, {});
  EXPECT_EQ(kernel->subPixelScaleFactor(), 2u);
  EXPECT_EQ(kernel->outputFeatureChannels(), 8u);
  const auto src = imageOf(Tensor(1, 1, 1, 1, 1.0)), dst = imageOf(Tensor(1, 2, 2, 2));
  runOnCpu([&](const auto& commands) { kernel->encode(commands, src, dst); });
  EXPECT_EQ(tensorOf(*dst).v, (std::vector<double>{0, 1, 2, 3, 4, 5, 6, 7}));
}

TEST(SubPixelConvolution, RefusesWhatDoesNotFit) {
  const auto make = [](std::size_t scale, std::size_t outputs, std::size_t groups) {
    const auto d = MPS::CNNSubPixelConvolutionDescriptor::cnnConvolutionDescriptor(1, 1, 8, outputs);
    d->setSubPixelScaleFactor(scale);
    d->setGroups(groups);
    return std::make_shared<ConvolutionWeights>(d, std::vector<float>(8 * outputs / groups));
  };
  expectError([&] { make(2, 6, 1); },
              {"6 outputFeatureChannels with subPixelScaleFactor 2", "make them a multiple of 4"});
  expectError([&] { make(0, 4, 1); }, {"subPixelScaleFactor is 0; it must be at least 1"});
  expectError([&] { make(2, 8, 2); }, {"give 2 channels a pixel", "must be a multiple of 4"});
  expectError([&] { MPS::CNNConvolutionGradient(cpuDevice(), make(2, 8, 1)); },
              {"CNNConvolutionGradient: a sub-pixel convolution (subPixelScaleFactor 2) has no gradient"});
  EXPECT_NO_THROW(MPS::CNNConvolutionGradient(cpuDevice(), make(1, 8, 1)));
  expectError([&] { MPS::CNNFullyConnected(cpuDevice(), make(2, 8, 1)); },
              {"CNNFullyConnected: the descriptor's subPixelScaleFactor is 2"});
  MPS::CNNConvolution kernel(cpuDevice(), make(2, 16, 1));
  const auto commands = cpuQueue()->commandBuffer();
  expectError([&] { kernel.encode(commands, imageOf(Tensor(1, 2, 2, 8)), imageOf(Tensor(1, 4, 4, 3))); },
              {"the destination has 3 feature channels, the kernel writes 4"});
}

TEST(DepthwiseConvolution, TellsItsMultiplier) {
  const auto d = MPS::CNNDepthWiseConvolutionDescriptor::cnnConvolutionDescriptor(3, 1, 4, 8);
  EXPECT_EQ(d->channelMultiplier(), 2u);
  d->setOutputFeatureChannels(12);
  EXPECT_EQ(d->channelMultiplier(), 3u);
  const auto copy = std::dynamic_pointer_cast<MPS::CNNDepthWiseConvolutionDescriptor>(d->copy());
  ASSERT_TRUE(copy) << "a copy keeps its class";
  EXPECT_EQ(copy->channelMultiplier(), 3u);
  const auto source = std::make_shared<ConvolutionWeights>(d, std::vector<float>(3 * 12));
  const MPS::CNNConvolution forward(cpuDevice(), source);
  EXPECT_EQ(forward.channelMultiplier(), 3u);
  EXPECT_EQ(forward.groups(), 1u);
  EXPECT_EQ(forward.subPixelScaleFactor(), 1u);
  const MPS::CNNConvolutionGradient backward(cpuDevice(), source);
  EXPECT_EQ(backward.channelMultiplier(), 3u);
  EXPECT_EQ(backward.groups(), 1u);
  // Weights and biases of a state have the sizes of the depthwise layout.
  const MPS::CNNConvolutionWeightsAndBiasesState state(cpuDevice(), d);
  EXPECT_EQ(state.weights()->length(), 3 * 12 * sizeof(float));
  EXPECT_EQ(state.biases()->length(), 12 * sizeof(float));
}

// Output channel j * M + q reads input channel j.
TEST(DepthwiseConvolution, WorkedExample) {
  oracle::Conv conv;
  conv.kernelWidth = conv.kernelHeight = 1;
  conv.inputChannels = 2, conv.outputChannels = 4, conv.depthwise = true;
  auto kernel = convolution(conv, {1, 10, 100, 1000}, {});
  Tensor source(1, 1, 1, 2);
  source.v = {3, 7};
  const auto dst = imageOf(Tensor(1, 1, 1, 4));
  runOnCpu([&](const auto& commands) { kernel->encode(commands, imageOf(source), dst); });
  EXPECT_EQ(tensorOf(*dst).v, (std::vector<double>{3, 30, 700, 7000}));
}

TEST(DepthwiseConvolution, RefusesWhatDoesNotFit) {
  const auto make = [](std::size_t inputs, std::size_t outputs, std::size_t groups) {
    const auto d = MPS::CNNDepthWiseConvolutionDescriptor::cnnConvolutionDescriptor(1, 1, inputs, outputs);
    d->setGroups(groups);
    return std::make_shared<ConvolutionWeights>(d, std::vector<float>(outputs));
  };
  expectError([&] { make(4, 6, 1); }, {"a depthwise descriptor with 4 input and 6 output channels", "a multiple of"});
  expectError([&] { make(8, 8, 2); }, {"a depthwise descriptor with 2 groups; leave groups at 1"});
  expectError([&] { MPS::CNNFullyConnected(cpuDevice(), make(4, 4, 1)); },
              {"CNNFullyConnected: the descriptor is depthwise; a fully connected layer's filters read all channels"});
}

// 8-bit codes through ranges and tables, folded or not, reloaded and exported as what they stand for.
TEST(ConvolutionWeights, TakesEightBitWeights) {
  forCases(100, [](Case& c) {
    Random& r = c.random;
    ConvolutionCase k = randomConvolution(r);
    if (r.chance(0.3)) addRandomBatchNorm(r, k.conv);
    auto source = std::make_shared<AnySource>();
    source->described = descriptorOf(k.conv);
    source->type = MPS::DataType::UInt8;
    const bool byTable = r.chance(0.5);
    std::vector<double> weights;
    const auto draw = [&] {
      source->codes.clear();
      for (std::size_t i = 0; i < k.conv.weightCount(); ++i)
        source->codes.push_back(static_cast<std::uint8_t>(r.pick({0L, 255L, r.integer(0, 255), r.integer(0, 255)})));
      source->table = source->quantization == MPS::CNNWeightsQuantizationType::Linear || !byTable
                          ? std::vector<float>()
                          : toFloat(randomValues(r, 256, {-2, 2}));
      source->ranges.clear();
      for (std::size_t o = 0; o < k.conv.outputChannels; ++o)
        source->ranges.push_back({static_cast<float>(r.real(-2, 0)), static_cast<float>(r.real(-1, 3))});
      weights.clear();
      const std::size_t perFilter = k.conv.weightCount() / k.conv.outputChannels;
      for (std::size_t i = 0; i < k.conv.weightCount(); ++i) {
        const MPS::Float2 range = source->ranges[i / perFilter];
        const double u = source->codes[i] / 255.0, least = range.x, most = range.y;
        weights.push_back(byTable ? static_cast<double>(source->table[source->codes[i]]) : least + u * (most - least));
      }
      if (byTable && r.chance(0.5)) source->ranges.clear();
    };
    // The type may be left out: the table comes first.
    if (r.chance(0.5))
      source->quantization =
          byTable ? MPS::CNNWeightsQuantizationType::LookupTable : MPS::CNNWeightsQuantizationType::Linear;
    draw();
    auto kernel = std::make_shared<MPS::CNNConvolution>(cpuDevice(), source);
    test::apply(k.conv.at, *kernel);
    const Tensor image = k.randomSource(r, 1), before = k.randomDestination(r, 1);
    for (const bool again : {false, true}) {
      if (again) {
        draw();
        kernel->reloadWeightsAndBiasesFromDataSource();
      }
      const auto src = imageOf(image), dst = imageOf(before);
      Ref<MPS::CNNConvolutionWeightsAndBiasesState> state;
      runOnCpu([&](const auto& commands) {
        kernel->encode(commands, src, dst);
        state = kernel->exportWeightsAndBiases(commands, false);
      });
      oracle::Conv conv = k.conv;
      EXPECT_TRUE(matches(tensorOf(*dst), oracle::convForward(conv, image, weights, {}, before), Format::Float32,
                          oracle::Conv::tolerance()));
      const std::vector<float> exported = readFloats(state->weights());
      for (std::size_t i = 0; i < weights.size(); ++i) EXPECT_NEAR(exported[i], weights[i], 1e-6);
    }
    EXPECT_EQ(source->loaded, source->purged);
  });
}

}  // namespace
}  // namespace kovar::test
