// CNNConvolution: the forward kernel against the oracle.

#include <gtest/gtest.h>

#include "kovar/MPS/NN/CNNConvolution.hpp"
#include "kovar/MPS/NN/CNNNeuron.hpp"
#include "kovar/Support/DataSources.hpp"
#include "convolution_support.hpp"
#include "support/golden.hpp"

namespace kovar::test {
namespace {

TEST(Convolution, AgreesWithTheOracle) {
  const ConvolutionFixture f;
  forCases(300, [&](Case& c) {
    Random& r = c.random;
    ConvolutionCase k = randomConvolution(r);
    addRandomNeuron(r, k.conv);
    if (r.chance(0.2)) addRandomBatchNorm(r, k.conv);
    const auto sourceFormat = r.pick({oracle::Format::Float32, oracle::Format::Float32, oracle::Format::Float16, oracle::Format::Unorm8});
    const auto resultFormat = r.pick({oracle::Format::Float32, oracle::Format::Float32, oracle::Format::Float16});
    const auto holding = r.pick({Holding::Array, Holding::Separate, Holding::Views});
    c.text = k.text();
    const oracle::Tensor source = k.randomSource(r, sourceFormat), before = k.randomDestination(r, resultFormat);
    const std::vector<double> weights = k.randomWeights(r);
    const std::vector<double> bias = r.chance(0.7) ? k.randomBiases(r) : std::vector<double>();

    auto kernel = f.convolution(k.conv, weights, bias);
    applyAttributes(*kernel, k.conv.at);
    const Images src = newImages(f.device, source, holding, sourceFormat);
    const Images dst = newImages(f.device, before, r.chance(0.5) ? holding : Holding::Separate == holding ? Holding::Views : holding, resultFormat);
    run(f.queue, [&](const auto& commands) {
      if (holding == Holding::Array) kernel->encode(commands, src.image(), dst.image());
      else kernel->encodeBatch(commands, src.batch, dst.batch);
    });
    Compare how{oracle::Conv::tolerance(), resultFormat};
    how.maxZeroShare = 1;
    EXPECT_TRUE(compare(dst.read(), oracle::convForward(k.conv, source, weights, bias, before), how));
  });
}

TEST(Convolution, ReadsAndWritesTheImagesThatOffsetAndClipName) {
  const ConvolutionFixture f;
  forCases(40, [&](Case& c) {
    Random& r = c.random;
    ConvolutionCase k = randomConvolution(r);
    k.geometry.images = 4;
    k.conv.at.offset.z = r.integer(0, 2);
    k.conv.at.clip.z = r.integer(0, 2);
    if (r.chance(0.5)) k.conv.at.clip.depth = r.integer(1, 2);
    c.text = k.text();
    const oracle::Tensor source = k.randomSource(r), before = k.randomDestination(r);
    const std::vector<double> weights = k.randomWeights(r), bias = k.randomBiases(r);
    auto kernel = f.convolution(k.conv, weights, bias);
    applyAttributes(*kernel, k.conv.at);
    const Images src = newImages(f.device, source), dst = newImages(f.device, before);
    run(f.queue, [&](const auto& commands) { kernel->encode(commands, src.image(), dst.image()); });
    Compare how{oracle::Conv::tolerance()};
    how.maxZeroShare = 1;
    EXPECT_TRUE(compare(dst.read(), oracle::convForward(k.conv, source, weights, bias, before), how));
  });
}

TEST(Convolution, MakesItsOwnResult) {
  const ConvolutionFixture f;
  forCases(60, [&](Case& c) {
    Random& r = c.random;
    ConvolutionCase k = randomConvolution(r, {.clip = false, .wildOffset = false});
    const auto size = r.pick({MPS::NNPaddingMethod::SizeSame, MPS::NNPaddingMethod::SizeFull});
    const auto remainder = r.pick({MPS::NNPaddingMethod::AddRemainderToTopLeft, MPS::NNPaddingMethod::AddRemainderToBottomRight});
    const oracle::Tensor source = k.randomSource(r);
    const std::vector<double> weights = k.randomWeights(r), bias = k.randomBiases(r);
    auto kernel = f.convolution(k.conv, weights, bias);
    applyAttributes(*kernel, k.conv.at);
    kernel->setPadding(MPS::NNDefaultPadding::padding(size | remainder));
    kernel->setDestinationImageAllocator(MPS::Image::defaultAllocator());
    const Holding holding = r.pick({Holding::Array, Holding::Separate});
    const Images src = newImages(f.device, source, holding);
    Images dst{holding, {}};
    Ref<MPS::CNNConvolutionGradientState> state;
    MPS::CNNConvolutionGradientStateBatch states;
    run(f.queue, [&](const auto& commands) {
      if (holding == Holding::Array) dst.batch = {kernel->encode(commands, src.image(), &state, false)};
      else dst.batch = kernel->encodeBatch(commands, src.batch, &states, false);
    });
    if (holding == Holding::Separate) {
      ASSERT_EQ(states.size(), source.n);
      for (const auto& s : states) EXPECT_EQ(s, states[0]) << "one state serves the batch";
      state = states[0];
    }
    ASSERT_TRUE(state);
    EXPECT_EQ(state->sourceWidth(), source.w);
    EXPECT_EQ(state->convolution(), kernel);
    // The kernel is left with the offset it used, so the oracle can follow.
    k.conv.at.offset = {kernel->offset().x, kernel->offset().y, 0};
    c.text = k.text();
    const oracle::Tensor before(source.n, dst.image()->height(), dst.image()->width(), dst.image()->featureChannels());
    const auto sizeOf = [&](size_t in, long extent, long stride) {
      const size_t span = in + (size == MPS::NNPaddingMethod::SizeFull ? static_cast<size_t>(extent - 1) : 0);
      return (span + static_cast<size_t>(stride) - 1) / static_cast<size_t>(stride);
    };
    EXPECT_EQ(before.w, sizeOf(source.w, k.conv.extentX(), k.conv.strideX));
    EXPECT_EQ(before.h, sizeOf(source.h, k.conv.extentY(), k.conv.strideY));
    Compare how{oracle::Conv::tolerance(), oracle::Format::Float16};
    how.maxZeroShare = 1;
    EXPECT_TRUE(compare(dst.read(), oracle::convForward(k.conv, source, weights, bias, before), how));
  });
}

TEST(Convolution, AgreesWithPyTorch) {
  const ConvolutionFixture f;
  int compared = 0;
  for (const GoldenCase& g : readGolden(std::string(KOVAR_SOURCE_DIR) + "/tests/golden/ops/conv.txt")) {
    if (g.number("depthwise") != 0) continue;
    const oracle::Conv conv = goldenConvolution(g);
    const std::size_t perGroup = std::min(conv.inputChannels, conv.outputChannels) / conv.groups;
    if (conv.groups > 1 && perGroup % 4 != 0) continue;
    SCOPED_TRACE(g.name);
    auto kernel = f.convolution(conv, g.tensor("weights").v, g.tensor("bias").v);
    applyAttributes(*kernel, conv.at);
    const Images src = newImages(f.device, g.tensor("source")), dst = newImages(f.device, g.tensor("result"));
    run(f.queue, [&](const auto& commands) { kernel->encode(commands, src.image(), dst.image()); });
    const oracle::Result scale = oracle::convForward(conv, g.tensor("source"), g.tensor("weights").v, g.tensor("bias").v, g.tensor("result"));
    EXPECT_TRUE(compare(dst.read(), g.tensor("result").v, scale.magnitude.v, {oracle::Conv::tolerance()}));
    ++compared;
  }
  EXPECT_GT(compared, 3);
}

// One-dimensional cases worked out by hand.
TEST(Convolution, WorkedExamples) {
  const ConvolutionFixture f;
  struct Row {
    std::vector<double> weights;
    long dilation, stride, offset;
    MPS::ImageEdgeMode edge;
    std::vector<float> result;
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
    auto kernel = f.convolution(conv, row.weights, {});
    kernel->setOffset({row.offset, 0, 0});
    kernel->setEdgeMode(row.edge);
    oracle::Tensor source(1, 1, 5, 1);
    source.v = {1, 2, 3, 4, 5};
    const Images src = newImages(f.device, source), dst = newImages(f.device, oracle::Tensor(1, 1, row.result.size(), 1));
    run(f.queue, [&](const auto& commands) { kernel->encode(commands, src.image(), dst.image()); });
    EXPECT_EQ(dst.read(), row.result);
  }
}

TEST(Convolution, ABatchIsItsImagesOneByOne) {
  const ConvolutionFixture f;
  Random r(7);
  oracle::Conv conv;
  conv.inputChannels = 5, conv.outputChannels = 6;
  const oracle::Tensor source = integerTensor(r, 3, 9, 7, 5), weights = integerTensor(r, 1, 1, 1, conv.weightCount());
  auto kernel = f.convolution(conv, weights.v, {});
  const Images src = newImages(f.device, source, Holding::Separate);
  const Images together = newImages(f.device, oracle::Tensor(3, 9, 7, 6), Holding::Separate),
               single = newImages(f.device, oracle::Tensor(3, 9, 7, 6), Holding::Separate);
  run(f.queue, [&](const auto& commands) {
    kernel->encodeBatch(commands, src.batch, together.batch);
    for (std::size_t i = 0; i < 3; ++i) kernel->encode(commands, src.batch[i], single.batch[i]);
  });
  EXPECT_EQ(together.read(), single.read());
}

TEST(Convolution, LowersTheReadCountOfTemporariesOnce) {
  const ConvolutionFixture f;
  auto kernel = f.convolution(oracle::Conv{}, std::vector<double>(9, 1), {});
  kernel->setEdgeMode(MPS::ImageEdgeMode::Clamp);  // several primitives, one read
  const Images src = newImages(f.device, oracle::Tensor(1, 4, 4, 1, 1.0)), dst = newImages(f.device, oracle::Tensor(1, 4, 4, 1));
  run(f.queue, [&](const auto& commands) {
    auto t = std::dynamic_pointer_cast<MPS::TemporaryImage>(kernel->encode(commands, src.image()));
    ASSERT_TRUE(t);
    t->setReadCount(2);
    kernel->encode(commands, t, dst.image());
    EXPECT_EQ(t->readCount(), 1u);
    kernel->encode(commands, t, dst.image());
    EXPECT_EQ(t->readCount(), 0u);
    EXPECT_NE(errorOf([&] { kernel->encode(commands, t, dst.image()); }).find("is used up"), std::string::npos);
  });
  EXPECT_FLOAT_EQ(dst.read()[5], 81.f);
}

TEST(Convolution, TellsWhatItIs) {
  const ConvolutionFixture f;
  auto d = MPS::CNNConvolutionDescriptor::cnnConvolutionDescriptor(5, 3, 8, 12);
  d->setStrideInPixelsX(2);
  d->setDilationRateY(3);
  d->setGroups(1);
  d->setFusedNeuronDescriptor(MPS::NNNeuronDescriptor::cnnNeuronDescriptor(MPS::CNNNeuronType::ReLUN, 0.25f));
  auto source = std::make_shared<ConvolutionWeights>(d, std::vector<float>(5 * 3 * 8 * 12), std::vector<float>(12), "edges");
  MPS::CNNConvolution kernel(f.device, source);
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
  EXPECT_NE(errorOf([] { D::cnnNeuronDescriptor(static_cast<T>(99)); }).find("type 99 is not a CNNNeuronType"), std::string::npos);
  EXPECT_NE(errorOf([] { D::cnnNeuronPReLUDescriptor({}, true); }).find("0 bytes of slopes"), std::string::npos);
}

TEST(Convolution, TheDeprecatedNeuronFilterIsTakenOver) {
  const ConvolutionFixture f;
  auto relu = std::make_shared<MPS::CNNNeuronReLU>(f.device, 0.5f);
  auto d = MPS::CNNConvolutionDescriptor::cnnConvolutionDescriptor(1, 1, 1, 1, relu);
  EXPECT_EQ(d->neuron(), relu);
  EXPECT_EQ(d->neuronType(), MPS::CNNNeuronType::ReLU);
  const float weight = 2, bias = -3;
  auto kernel = std::make_shared<MPS::CNNConvolution>(f.device, d, &weight, &bias, MPS::CNNConvolutionFlags::None);
  EXPECT_EQ(kernel->neuron(), relu);
  ASSERT_TRUE(kernel->dataSource());
  oracle::Tensor source(1, 1, 2, 1);
  source.v = {1, 5};
  const Images src = newImages(f.device, source), dst = newImages(f.device, source);
  run(f.queue, [&](const auto& commands) { kernel->encode(commands, src.image(), dst.image()); });
  EXPECT_EQ(dst.read(), (std::vector<float>{-0.5f, 7.f}));
}

}  // namespace
}  // namespace kovar::test
