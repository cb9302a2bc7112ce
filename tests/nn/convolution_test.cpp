// CNNConvolution: the forward kernel against the oracle.

#include <gtest/gtest.h>

#include "convolution_support.hpp"
#include "kovar/MPS/NN/CNNConvolution.hpp"
#include "kovar/MPS/NN/CNNNeuron.hpp"
#include "kovar/Support/DataSources.hpp"

namespace kovar::test {
namespace {

TEST(Convolution, AgreesWithTheOracle) {
  forCases(300, [&](Case& c) {
    Random& r = c.random;
    ConvolutionCase k = randomConvolution(r);
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

TEST(Convolution, MakesItsOwnResult) {
  forCases(60, [&](Case& c) {
    Random& r = c.random;
    GeometryLimits limits;
    limits.clip = limits.wildOffset = false;
    ConvolutionCase k = randomConvolution(r, limits);
    const auto size = r.pick({MPS::NNPaddingMethod::SizeSame, MPS::NNPaddingMethod::SizeFull});
    const auto remainder =
        r.pick({MPS::NNPaddingMethod::AddRemainderToTopLeft, MPS::NNPaddingMethod::AddRemainderToBottomRight});
    const Tensor source = k.randomSource(r, r.size(1, 3));
    const std::vector<double> weights = k.randomWeights(r), bias = k.randomBiases(r);
    auto kernel = convolution(k.conv, weights, bias);
    test::apply(k.conv.at, *kernel);
    kernel->setPadding(MPS::NNDefaultPadding::padding(size | remainder));
    kernel->setDestinationImageAllocator(MPS::Image::defaultAllocator());
    const Arrangement arrangement = r.pick({Arrangement::Array, Arrangement::Separate});
    const auto src = imagesOf(source, Format::Float32, arrangement);
    MPS::ImageBatch dst;
    Ref<MPS::CNNConvolutionGradientState> state;
    runOnCpu([&](const auto& commands) {
      if (arrangement == Arrangement::Array) {
        dst = {kernel->encode(commands, src[0], &state, false)};
        return;
      }
      MPS::CNNConvolutionGradientStateBatch states;
      dst = kernel->encodeBatch(commands, src, &states, false);
      ASSERT_EQ(states.size(), source.n);
      for (const auto& s : states) EXPECT_EQ(s, states[0]) << "one state serves the batch";
      state = states[0];
    });
    ASSERT_TRUE(state);
    EXPECT_EQ(state->sourceWidth(), source.w);
    EXPECT_EQ(state->sourceHeight(), source.h);
    EXPECT_EQ(state->convolution(), kernel);
    // The kernel is left with the offset it used, so the oracle can follow.
    k.conv.at.offset = {kernel->offset().x, kernel->offset().y, 0};
    c.text = k.text();
    const Tensor before(source.n, dst[0]->height(), dst[0]->width(),
                        k.conv.at.destinationChannelOffset + k.conv.outputChannels);
    const auto sizeOf = [&](std::size_t in, long extent, long stride) {
      const std::size_t span = in + (size == MPS::NNPaddingMethod::SizeFull ? static_cast<std::size_t>(extent - 1) : 0);
      return (span + static_cast<std::size_t>(stride) - 1) / static_cast<std::size_t>(stride);
    };
    EXPECT_EQ(before.w, sizeOf(source.w, k.conv.extentX(), k.conv.strideX));
    EXPECT_EQ(before.h, sizeOf(source.h, k.conv.extentY(), k.conv.strideY));
    EXPECT_TRUE(matches(tensorOf(dst), oracle::convForward(k.conv, source, weights, bias, before), Format::Float16,
                        oracle::Conv::tolerance()));
  });
}

TEST(Convolution, AgreesWithPyTorch) {
  int compared = 0;
  for (const GoldenCase& g : goldenConvolutions()) {
    SCOPED_TRACE(g.name);
    const oracle::Conv conv = goldenConvolution(g);
    auto kernel = convolution(conv, g.tensor("weights").v, g.tensor("bias").v);
    test::apply(conv.at, *kernel);
    const auto src = imageOf(g.tensor("source")), dst = imageOf(g.tensor("result"));
    runOnCpu([&](const auto& commands) { kernel->encode(commands, src, dst); });
    const oracle::Result scale =
        oracle::convForward(conv, g.tensor("source"), g.tensor("weights").v, g.tensor("bias").v, g.tensor("result"));
    EXPECT_TRUE(
        matches(tensorOf(*dst), {g.tensor("result"), scale.magnitude}, Format::Float32, oracle::Conv::tolerance()));
    ++compared;
  }
  EXPECT_GT(compared, 3);
}

// One-dimensional cases worked out by hand.
TEST(Convolution, WorkedExamples) {
  struct Row {
    std::vector<double> weights;
    long dilation, stride, offset;
    MPS::ImageEdgeMode edge;
    std::vector<double> result;
  };
  const auto zero = MPS::ImageEdgeMode::Zero, clamp = MPS::ImageEdgeMode::Clamp;
  for (const Row& row : std::initializer_list<Row>{{{1, 10, 100}, 1, 1, 0, zero, {210, 321, 432, 543, 54}},
                                                   {{1, 10, 100}, 1, 1, 0, clamp, {211, 321, 432, 543, 554}},
                                                   {{1, 10}, 1, 1, 0, zero, {10, 21, 32, 43, 54}},
                                                   {{1, 10}, 1, 1, 1, zero, {21, 32, 43, 54}},
                                                   {{1, 10}, 3, 1, 0, zero, {20, 30, 41, 52, 3}},
                                                   {{1, 10, 100, 1000}, 1, 2, 1, zero, {3210, 5432}}}) {
    oracle::Conv conv;
    conv.kernelWidth = static_cast<long>(row.weights.size());
    conv.kernelHeight = 1;
    conv.strideX = row.stride;
    conv.dilationX = row.dilation;
    auto kernel = convolution(conv, row.weights, {});
    kernel->setOffset({row.offset, 0, 0});
    kernel->setEdgeMode(row.edge);
    Tensor source(1, 1, 5, 1);
    source.v = {1, 2, 3, 4, 5};
    const auto src = imageOf(source), dst = imageOf(Tensor(1, 1, row.result.size(), 1));
    runOnCpu([&](const auto& commands) { kernel->encode(commands, src, dst); });
    EXPECT_EQ(tensorOf(*dst).v, row.result);
  }
}

TEST(Convolution, ABatchIsItsImagesOneByOne) {
  Random r(7);
  oracle::Conv conv;
  conv.inputChannels = 5, conv.outputChannels = 6;
  const Tensor source = integerTensor(r, 3, 9, 7, 5), weights = integerTensor(r, 1, 1, 1, conv.weightCount()),
               none(3, 9, 7, 6);
  auto kernel = convolution(conv, weights.v, {});
  const auto src = imagesOf(source, Format::Float32, Arrangement::Separate),
             together = imagesOf(none, Format::Float32, Arrangement::Separate),
             single = imagesOf(none, Format::Float32, Arrangement::Separate);
  runOnCpu([&](const auto& commands) {
    kernel->encodeBatch(commands, src, together);
    for (std::size_t i = 0; i < 3; ++i) kernel->encode(commands, src[i], single[i]);
  });
  EXPECT_EQ(tensorOf(together).v, tensorOf(single).v);
}

TEST(Convolution, LowersTheReadCountOfTemporariesOnce) {
  auto kernel = convolution(oracle::Conv{}, std::vector<double>(9, 1), {});
  kernel->setEdgeMode(MPS::ImageEdgeMode::Clamp);  // several primitives, one read
  const auto src = imageOf(Tensor(1, 4, 4, 1, 1.0)), dst = imageOf(Tensor(1, 4, 4, 1));
  runOnCpu([&](const auto& commands) {
    auto t = std::dynamic_pointer_cast<MPS::TemporaryImage>(kernel->encode(commands, src));
    ASSERT_TRUE(t);
    t->setReadCount(2);
    kernel->encode(commands, t, dst);
    EXPECT_EQ(t->readCount(), 1u);
    kernel->encode(commands, t, dst);
    EXPECT_EQ(t->readCount(), 0u);
    expectError([&] { kernel->encode(commands, t, dst); }, {"CNNConvolution.encode: source", "is used up"});
  });
  EXPECT_EQ(tensorOf(*dst).v[5], 81);
}

TEST(Convolution, TellsWhatItIs) {
  auto d = MPS::CNNConvolutionDescriptor::cnnConvolutionDescriptor(5, 3, 8, 12);
  d->setStrideInPixelsX(2);
  d->setDilationRateY(3);
  d->setGroups(1);
  d->setFusedNeuronDescriptor(MPS::NNNeuronDescriptor::cnnNeuronDescriptor(MPS::CNNNeuronType::ReLUN, 0.25f));
  auto source =
      std::make_shared<ConvolutionWeights>(d, std::vector<float>(5 * 3 * 8 * 12), std::vector<float>(12), "edges");
  MPS::CNNConvolution kernel(cpuDevice(), source);
  EXPECT_EQ(kernel.label(), "edges");
  EXPECT_EQ(kernel.kernelWidth(), 5u);
  EXPECT_EQ(kernel.kernelHeight(), 3u);
  EXPECT_EQ(kernel.strideInPixelsX(), 2u);
  EXPECT_EQ(kernel.strideInPixelsY(), 1u);
  EXPECT_EQ(kernel.dilationRateY(), 3u);
  EXPECT_EQ(kernel.inputFeatureChannels(), 8u);
  EXPECT_EQ(kernel.outputFeatureChannels(), 12u);
  EXPECT_EQ(kernel.groups(), 1u);
  EXPECT_EQ(kernel.subPixelScaleFactor(), 1u);
  EXPECT_EQ(kernel.channelMultiplier(), 0u);
  EXPECT_EQ(kernel.dataSource(), source);
  EXPECT_EQ(kernel.neuronType(), MPS::CNNNeuronType::ReLUN);
  EXPECT_EQ(kernel.neuronParameterA(), 0.25f);
  EXPECT_EQ(kernel.neuronParameterB(), 6.f);
  EXPECT_EQ(kernel.accumulatorPrecisionOption(), MPS::NNConvolutionAccumulatorPrecisionOption::Float);
  EXPECT_TRUE(kernel.isResultStateReusedAcrossBatch());
  EXPECT_FALSE(kernel.isBackwards());
  // The kernel has a copy of its own.
  d->setStrideInPixelsX(1);
  kernel.fusedNeuronDescriptor()->setA(7);
  EXPECT_EQ(kernel.strideInPixelsX(), 2u);
  EXPECT_EQ(kernel.neuronParameterA(), 0.25f);
}

TEST(Convolution, DescriptorKeepsItsClassAndValuesWhenCopied) {
  auto d = MPS::CNNConvolutionDescriptor::cnnConvolutionDescriptor(2, 4, 8, 8, nullptr);
  d->setGroups(2);
  d->setStrideInPixelsY(3);
  const float slopes[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  d->setNeuronToPReLU(std::as_bytes(std::span(slopes)));
  auto copy = d->copy();
  EXPECT_EQ(copy->kernelWidth(), 2u);
  EXPECT_EQ(copy->kernelHeight(), 4u);
  EXPECT_EQ(copy->groups(), 2u);
  EXPECT_EQ(copy->strideInPixelsY(), 3u);
  EXPECT_EQ(copy->neuronType(), MPS::CNNNeuronType::PReLU);
  EXPECT_EQ(copy->fusedNeuronDescriptor()->data().size(), sizeof(slopes));
  EXPECT_NE(copy->fusedNeuronDescriptor(), d->fusedNeuronDescriptor());
  d->setFusedNeuronDescriptor(nullptr);
  EXPECT_EQ(d->neuronType(), MPS::CNNNeuronType::None);
  EXPECT_EQ(copy->neuronType(), MPS::CNNNeuronType::PReLU);
  d->setNeuronType(MPS::CNNNeuronType::Linear, 2, 3);
  EXPECT_EQ(d->neuronParameterA(), 2.f);
  EXPECT_EQ(d->neuronParameterB(), 3.f);
}

TEST(Convolution, NeuronDescriptorsTakeThePlainValues) {
  using D = MPS::NNNeuronDescriptor;
  using T = MPS::CNNNeuronType;
  for (int i = 0; i < static_cast<int>(T::Count); ++i) {
    if (static_cast<T>(i) == T::Power) continue;  // the oracle gives no plain values for it
    const oracle::Neuron plain = oracle::Neuron::plain(static_cast<oracle::NeuronType>(i));
    auto d = D::cnnNeuronDescriptor(static_cast<T>(i));
    EXPECT_FLOAT_EQ(d->a(), static_cast<float>(plain.a)) << plain.name();
    EXPECT_FLOAT_EQ(d->b(), static_cast<float>(plain.b)) << plain.name();
  }
  auto d = D::cnnNeuronDescriptor(T::HardSigmoid, 3);
  EXPECT_EQ(d->a(), 3.f);
  EXPECT_EQ(d->b(), 0.5f);
  expectError([] { D::cnnNeuronDescriptor(static_cast<T>(99)); }, {"type 99 is not a CNNNeuronType"});
  expectError([] { D::cnnNeuronPReLUDescriptor({}, true); }, {"0 bytes of slopes"});
}

TEST(Convolution, TheDeprecatedNeuronFilterIsTakenOver) {
  auto relu = std::make_shared<MPS::CNNNeuronReLU>(cpuDevice(), 0.5f);
  auto d = MPS::CNNConvolutionDescriptor::cnnConvolutionDescriptor(1, 1, 1, 1, relu);
  EXPECT_EQ(d->neuron(), relu);
  EXPECT_EQ(d->neuronType(), MPS::CNNNeuronType::ReLU);
  const float weight = 2, bias = -3;
  auto kernel = std::make_shared<MPS::CNNConvolution>(cpuDevice(), d, &weight, &bias, MPS::CNNConvolutionFlags::None);
  EXPECT_EQ(kernel->neuron(), relu);
  ASSERT_TRUE(kernel->dataSource());
  Tensor source(1, 1, 2, 1);
  source.v = {1, 5};
  const auto src = imageOf(source), dst = imageOf(source);
  runOnCpu([&](const auto& commands) { kernel->encode(commands, src, dst); });
  EXPECT_EQ(tensorOf(*dst).v, (std::vector<double>{-0.5, 7}));
}

}  // namespace
}  // namespace kovar::test
