// The pooling gradients: against the oracle (from the state and set by hand), finite
// differences and PyTorch.

#include "gradient_case.hpp"
#include "pooling_case.hpp"

namespace kovar::test {
namespace {

/// A gradient image batch for a forward case: as large as the forward destination.
Tensor gradientFor(Random& r, const PoolCase& p, Format f) {
  return randomTensor(r, p.destination.n, p.destination.h, p.destination.w, p.destination.c, {-2, 2, false}, f);
}

void expectAutomatic(Case& c, PoolKind kind, long dilation = 1) {
  Random& r = c.random;
  PoolCase p = randomPoolCase(r, kind, false, dilation);
  c.text = p.text();
  const Format gradientFormat = r.pick({Format::Float32, Format::Float32, Format::Float16});
  const Tensor gradient = gradientFor(r, p, gradientFormat);
  const auto forward = poolingOf(p.pool);
  const auto backward = poolingGradientOf(p.pool, false);  // the divisor comes from the state
  test::apply(p.pool.at, *forward);
  const auto resultOffset = r.pick<std::size_t>({0, 0, 4});
  backward->setDestinationFeatureChannelOffset(resultOffset);
  backward->setDestinationImageAllocator(float32Images());
  const auto source = imagesOf(p.source, p.sourceFormat, p.arrangement),
             forwardResult = imagesOf(p.destination, p.destinationFormat, p.arrangement),
             gradients = imagesOf(gradient, gradientFormat, p.arrangement);
  MPS::ImageBatch result;
  runOnCpu([&](const auto& buffer) {
    const auto states = forward->resultStateBatch(source, {}, forwardResult);
    ASSERT_EQ(states.size(), source.size());
    if (p.arrangement == Arrangement::Array)
      result = {backward->encode(buffer, gradients[0], source[0], states[0])};
    else
      result = backward->encodeBatch(buffer, gradients, source, states);
  });
  const oracle::Region region = oracle::effectiveRegion(p.pool.at.clip, gradient, 0, gradient.n);
  oracle::PoolGradient how;
  how.primaryOffsetX = region.x, how.primaryOffsetY = region.y;
  how.sourceSizeX = region.w, how.sourceSizeY = region.h;
  how.gradientChannelOffset = p.pool.at.destinationChannelOffset;
  how.destinationChannelOffset = resultOffset;
  const Tensor before(p.source.n, p.source.h, p.source.w, resultOffset + p.channels);
  EXPECT_TRUE(matches(tensorOf(result), oracle::poolGradient(p.pool, how, gradient, p.source, before), Format::Float32,
                      oracle::Pool::gradientTolerance()));
  EXPECT_EQ(backward->secondaryOffset(), publicOffset(p.pool.at.offset));
  EXPECT_EQ(backward->primaryOffset(), (MPS::Offset{region.x, region.y, 0}));
  EXPECT_EQ(backward->sourceSize().width, static_cast<std::size_t>(region.w));
}

TEST(PoolingGradient, MaxFromTheStateMatchesTheOracle) {
  forCases(250, [](Case& c) { expectAutomatic(c, PoolKind::Max); });
}
TEST(PoolingGradient, AverageFromTheStateMatchesTheOracle) {
  forCases(250, [](Case& c) { expectAutomatic(c, PoolKind::Average); });
}
TEST(PoolingGradient, L2NormFromTheStateMatchesTheOracle) {
  forCases(250, [](Case& c) { expectAutomatic(c, PoolKind::L2Norm); });
}
TEST(PoolingGradient, DilatedMaxFromTheStateMatchesTheOracle) {
  forCases(250, [](Case& c) { expectAutomatic(c, PoolKind::Max, 4); });
}

// Any primary offset, source size, secondary offset and clip rectangle, related to a forward kernel or not.
void expectManual(Case& c, PoolKind kind, long dilation = 1) {
  Random& r = c.random;
  PoolCase p = randomPoolCase(r, kind, false, dilation);
  p.pool.at.clip = {};
  c.text = p.text();
  const Format gradientFormat = r.pick({Format::Float32, Format::Float32, Format::Float16});
  const auto gradientOffset = r.pick<std::size_t>({0, 4});
  const Tensor gradient = randomTensor(r, p.source.n, p.destination.h, p.destination.w, gradientOffset + p.channels,
                                       {-2, 2, false}, gradientFormat);
  oracle::PoolGradient how;
  how.manual = true;
  how.gradientChannelOffset = gradientOffset;
  how.destinationChannelOffset = p.pool.at.destinationChannelOffset;
  if (r.chance(0.5)) {
    how.primaryOffsetX = r.integer(-2, 3), how.primaryOffsetY = r.integer(-2, 3);
    if (r.chance(0.5)) how.sourceSizeX = r.integer(0, 5), how.sourceSizeY = r.integer(1, 5);
  }
  const bool asSource = r.chance(0.4);
  const Tensor before =
      randomTensor(r, p.source.n, asSource ? p.source.h : r.size(1, 9), asSource ? p.source.w : r.size(1, 9),
                   aroundChannels(how.destinationChannelOffset, p.channels, r), {-1, 1, false}, Format::Float32);
  if (r.chance(0.4)) randomClip(r, how.clip, before.w, before.h);
  c.text += " gradient " + gradient.shape() + " first " + std::to_string(how.primaryOffsetX) + "," +
            std::to_string(how.primaryOffsetY) + " size " + std::to_string(how.sourceSizeX) + "," +
            std::to_string(how.sourceSizeY) + " -> " + before.shape();
  const auto kernel = poolingGradientOf(p.pool);
  kernel->setPrimaryOffset({how.primaryOffsetX, how.primaryOffsetY, 0});
  kernel->setSecondaryOffset(publicOffset(p.pool.at.offset));
  const auto extent = [](long v) {
    return v == oracle::kNoClip ? MPS::RectNoClip.size.width : static_cast<std::size_t>(v);
  };
  kernel->setSourceSize({extent(how.sourceSizeX), extent(how.sourceSizeY), 1});
  kernel->setSecondaryEdgeMode(static_cast<MPS::ImageEdgeMode>(p.pool.at.edge));
  kernel->setClipRect(publicClip(how.clip));
  kernel->setPrimarySourceFeatureChannelOffset(gradientOffset);
  kernel->setSecondarySourceFeatureChannelOffset(p.pool.at.sourceChannelOffset);
  kernel->setSecondarySourceFeatureChannelMaxCount(p.channels);
  kernel->setDestinationFeatureChannelOffset(how.destinationChannelOffset);
  p.pool.at.sourceChannelMaxCount = p.channels;
  const auto destination = imagesOf(before, Format::Float32, p.arrangement);
  runOnCpu([&](const auto& buffer) {
    encodeAs(p.arrangement, *kernel, buffer, imagesOf(gradient, gradientFormat, p.arrangement),
             imagesOf(p.source, p.sourceFormat, p.arrangement), {}, destination);
  });
  EXPECT_TRUE(matches(tensorOf(destination), oracle::poolGradient(p.pool, how, gradient, p.source, before),
                      Format::Float32, oracle::Pool::gradientTolerance()));
}

TEST(PoolingGradient, MaxSetByHandMatchesTheOracle) {
  forCases(250, [](Case& c) { expectManual(c, PoolKind::Max); });
}
TEST(PoolingGradient, AverageSetByHandMatchesTheOracle) {
  forCases(250, [](Case& c) { expectManual(c, PoolKind::Average); });
}

TEST(PoolingGradient, L2NormSetByHandMatchesTheOracle) {
  forCases(250, [](Case& c) { expectManual(c, PoolKind::L2Norm); });
}
TEST(PoolingGradient, DilatedMaxSetByHandMatchesTheOracle) {
  forCases(250, [](Case& c) { expectManual(c, PoolKind::Max, 4); });
}

TEST(PoolingGradient, IsTheNumericDerivative) {
  forCases(300, [](Case& c) {
    Random& r = c.random;
    static constexpr PoolKind kKinds[] = {PoolKind::Max, PoolKind::Average, PoolKind::L2Norm, PoolKind::Max};
    PoolCase p = randomPoolCase(r, kKinds[c.index % 4], false, c.index % 4 == 3 ? 3 : 1);
    const std::size_t h = r.size(1, 5), w = r.size(1, 5);
    AutomaticCase a;
    a.at = p.pool.at;
    a.at.sourceChannelMaxCount = p.channels = r.size(1, 2);
    p.pool.at = a.at;
    a.arrangement = p.arrangement;
    const std::size_t n = r.size(1, 2);
    a.source = poolSource(r, n, h, w, a.at.sourceChannelOffset + p.channels, Format::Float32, false);
    a.destination = Tensor(n, p.destination.h, p.destination.w, a.at.destinationChannelOffset + p.channels);
    a.gradient = randomTensor(r, n, a.destination.h, a.destination.w, a.destination.c, {-2, 2, false});
    p.source = a.source;
    c.text = p.text() + " n" + std::to_string(n);
    const auto forward = poolingOf(p.pool);
    const auto backward = poolingGradientOf(p.pool);
    const Tensor expected =
        numericSourceGradient(a, [&](const Tensor& s) { return oracle::poolForward(p.pool, s, a.destination).value; });
    expectAutomaticGradient(a, *forward, *backward, expected, false, r.chance(0.5));
  });
}

TEST(PoolingGradient, MatchesPyTorch) {
  int compared = 0;
  for (const GoldenCase& g : goldenPoolings()) {
    SCOPED_TRACE(g.name);
    const oracle::Pool pool = goldenPool(g);
    const auto forward = poolingOf(pool);
    const auto backward = poolingGradientOf(pool, false);
    test::apply(pool.at, *forward);
    backward->setDestinationImageAllocator(float32Images());
    const Tensor &source = g.tensor("source"), &gradient = g.tensor("gradient");
    const auto s = imageOf(source);
    Ref<MPS::Image> result;
    runOnCpu([&](const auto& buffer) {
      const auto dy = imageOf(gradient);
      result = backward->encode(buffer, dy, s, forward->resultState(s, {}, dy));
    });
    const Tensor zeros(source.n, source.h, source.w, source.c);
    const oracle::Result scale = oracle::poolGradient(pool, {}, gradient, source, zeros);
    EXPECT_TRUE(matches(tensorOf(*result), {g.tensor("sourceGradient"), scale.magnitude}, Format::Float32,
                        oracle::Pool::gradientTolerance()));
    ++compared;
  }
  EXPECT_EQ(compared, 48);
}

// The same numbers where forward result and source are parts of larger images: a clip rectangle, channel offsets.
TEST(PoolingGradient, MatchesPyTorchInsideLargerImages) {
  Random r(suiteSeed());
  for (const GoldenCase& g : goldenPoolings()) {
    SCOPED_TRACE(g.name);
    const oracle::Pool pool = goldenPool(g);
    const Tensor &source = g.tensor("source"), &gradient = g.tensor("gradient");
    const auto forward = poolingOf(pool);
    const auto backward = poolingGradientOf(pool, false);
    test::apply(pool.at, *forward);
    forward->setSourceFeatureChannelOffset(4);
    forward->setSourceFeatureChannelMaxCount(source.c);
    forward->setDestinationFeatureChannelOffset(8);
    forward->setClipRect({{2, 1, 0}, {gradient.w, gradient.h, source.n}});
    backward->setDestinationImageAllocator(float32Images());
    const auto s = imageOf(within(r, source, 0, 0, 0, 0, 4, 3)), dy = imageOf(within(r, gradient, 1, 2, 2, 1, 8, 2));
    Ref<MPS::Image> result;
    runOnCpu([&](const auto& buffer) { result = backward->encode(buffer, dy, s, forward->resultState(s, {}, dy)); });
    const oracle::Result scale =
        oracle::poolGradient(pool, {}, gradient, source, Tensor(source.n, source.h, source.w, source.c));
    EXPECT_TRUE(matches(tensorOf(*result), {g.tensor("sourceGradient"), scale.magnitude}, Format::Float32,
                        oracle::Pool::gradientTolerance()));
  }
}

// Where the first window touches the left and top edge, taking the settings from the state and setting them by hand
// give the same bits.
TEST(PoolingGradient, AutomaticAndManualFormAgree) {
  forCases(100, [](Case& c) {
    Random& r = c.random;
    PoolCase p = randomPoolCase(r, r.pick({PoolKind::Max, PoolKind::Average, PoolKind::L2Norm}), false);
    oracle::Attributes& at = p.pool.at;
    at = {};
    at.edge = r.pick({oracle::EdgeMode::Zero, oracle::EdgeMode::Clamp});
    at.offset.x = r.integer(0, p.pool.kernelWidth / 2), at.offset.y = r.integer(0, p.pool.kernelHeight / 2);
    const std::size_t channels = p.source.c;
    const Tensor gradient = randomTensor(r, p.source.n, p.destination.h, p.destination.w, channels, {-2, 2, false});
    c.text = p.text();
    const auto forward = poolingOf(p.pool);
    const auto backward = poolingGradientOf(p.pool), byHand = poolingGradientOf(p.pool);
    test::apply(at, *forward);
    backward->setDestinationImageAllocator(float32Images());
    byHand->setSecondaryOffset(publicOffset(at.offset));
    byHand->setSecondaryEdgeMode(static_cast<MPS::ImageEdgeMode>(at.edge));
    const auto s = imageOf(p.source, p.sourceFormat), g = imageOf(gradient),
               manual = imageOf(Tensor(p.source.n, p.source.h, p.source.w, channels, 9.0));
    Ref<MPS::Image> automatic;
    runOnCpu([&](const auto& buffer) {
      byHand->encode(buffer, g, s, manual);
      automatic = backward->encode(buffer, g, s, forward->resultState(s, {}, g));
    });
    EXPECT_EQ(tensorOf(*automatic).v, tensorOf(*manual).v);
  });
}

TEST(PoolingGradient, TheFirstOfEqualValuesTakesAll) {
  Tensor s(1, 2, 2, 1, 3.0);
  MPS::CNNPoolingMaxGradient kernel(cpuDevice(), 2, 2, 2, 2);
  kernel.setSecondaryOffset({1, 1, 0});
  const auto d = imageOf(Tensor(1, 2, 2, 1, 7.0));
  const auto encode = [&](const Tensor& source) {
    runOnCpu([&](const auto& buffer) { kernel.encode(buffer, imageOf(Tensor(1, 1, 1, 1, 5.0)), imageOf(source), d); });
    return tensorOf(*d).v;
  };
  EXPECT_EQ(encode(s), (std::vector<double>{5, 0, 0, 0}));
  s.v = {0, 3, 3, 1};
  EXPECT_EQ(encode(s), (std::vector<double>{0, 5, 0, 0}));
  // The window reaches over the border: a zero outside beats all below it, and loses a tie.
  kernel.setSecondaryOffset({0, 0, 0});
  s.v = {-1, 0, 0, 0};
  EXPECT_EQ(encode(s), (std::vector<double>{0, 0, 0, 0}));
  s.v = {0, 9, 9, 9};
  EXPECT_EQ(encode(s), (std::vector<double>{5, 0, 0, 0}));
}

TEST(PoolingGradient, L2NormGivesNothingWhereTheNormIsZero) {
  Tensor s(1, 1, 4, 1);
  s.v = {0, 0, 3, 4};
  MPS::CNNPoolingL2NormGradient kernel(cpuDevice(), 2, 1, 2, 1);
  kernel.setSecondaryOffset({1, 0, 0});
  const auto d = imageOf(Tensor(1, 1, 4, 1, 7.0));
  runOnCpu([&](const auto& buffer) { kernel.encode(buffer, imageOf(Tensor(1, 1, 2, 1, 5.0)), imageOf(s), d); });
  EXPECT_EQ(tensorOf(*d).v, (std::vector<double>{0, 0, 3, 4}));
}

TEST(PoolingGradient, UsesUpGradientSourceAndState) {
  runOnCpu([](const auto& buffer) {
    MPS::CNNPoolingAverage forward(cpuDevice(), 2, 2, 2, 2);
    MPS::CNNPoolingAverageGradient backward(cpuDevice(), 2, 2, 2, 2);
    const auto images = temporariesOf(buffer, {imageOf(Tensor(1, 4, 4, 3, 1.0))});
    const auto source = std::dynamic_pointer_cast<MPS::TemporaryImage>(images[0]);
    source->setReadCount(2);
    Ref<MPS::State> state;
    const auto y = forward.encode(buffer, source, &state, true);
    EXPECT_EQ(source->readCount(), 1u);
    EXPECT_EQ(state->readCount(), 1u);
    const auto d = backward.encode(buffer, y, source, state);
    EXPECT_EQ(readCounts({y, source, d}), (std::vector<std::size_t>{0, 0, 1}));
    EXPECT_EQ(state->readCount(), 0u);
    expectError([&] { backward.encode(buffer, d, source, state); }, {"secondary source", "is used up"});
  });
}

TEST(PoolingGradient, TellsWhatItIs) {
  const MPS::CNNPoolingAverageGradient kernel(cpuDevice(), 2, 3, 4, 5);
  EXPECT_TRUE(kernel.isBackwards());
  EXPECT_EQ(kernel.sourceSize(), MPS::RectNoClip.size);
  EXPECT_EQ(kernel.primaryKernelWidth(), 2u);
  EXPECT_EQ(kernel.secondaryKernelHeight(), 3u);
  EXPECT_EQ(kernel.primaryStrideInPixelsX(), 4u);
  EXPECT_EQ(kernel.secondaryStrideInPixelsY(), 5u);
  EXPECT_EQ(kernel.zeroPadSizeX() + kernel.zeroPadSizeY(), 0u);
  const auto buffer = cpuQueue()->commandBuffer();
  const auto image = imageOf(Tensor(1, 2, 2, 1));
  MPS::CNNPoolingGradient base(cpuDevice(), 2, 2);
  expectError([&] { base.encode(buffer, image, image, imageOf(Tensor(1, 2, 2, 1))); },
              {"CNNPoolingGradient: the base class computes nothing"});
  MPS::CNNPoolingMaxGradient max(cpuDevice(), 2, 2);
  max.setLabel("p1");
  expectError([&] { max.encode(buffer, image, image, Ref<MPS::State>()); },
              {"CNNPoolingMaxGradient \"p1\"", "needs the state that the forward kernel"});
}

}  // namespace
}  // namespace kovar::test
