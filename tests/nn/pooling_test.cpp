// The pooling kernels against the oracle and PyTorch: any window, offset, clip rectangle, channels,
// edge mode, divisor, arrangement; policies; errors.

#include "pooling_case.hpp"

#include <cmath>

#include "oracle/padding.hpp"

namespace kovar::test {
namespace {

void expectForward(Case& c, PoolKind kind, long dilation = 1) {
  const PoolCase p = randomPoolCase(c.random, kind, true, dilation);
  c.text = p.text();
  const auto kernel = poolingOf(p.pool);
  test::apply(p.pool.at, *kernel);
  const MPS::ImageBatch destination = imagesOf(p.destination, p.destinationFormat, p.arrangement);
  runOnCpu([&](const auto& buffer) {
    encodeAs(p.arrangement, *kernel, buffer, imagesOf(p.source, p.sourceFormat, p.arrangement), destination);
  });
  EXPECT_TRUE(matches(tensorOf(destination), oracle::poolForward(p.pool, p.source, p.destination), p.destinationFormat,
                      p.pool.tolerance()));
}

TEST(CnnPooling, MaxMatchesTheOracle) {
  forCases(300, [](Case& c) { expectForward(c, PoolKind::Max); });
}

TEST(CnnPooling, AverageMatchesTheOracle) {
  forCases(300, [](Case& c) { expectForward(c, PoolKind::Average); });
}

TEST(CnnPooling, L2NormMatchesTheOracle) {
  forCases(300, [](Case& c) { expectForward(c, PoolKind::L2Norm); });
}

TEST(CnnPooling, DilatedMaxMatchesTheOracle) {
  forCases(300, [](Case& c) { expectForward(c, PoolKind::Max, 4); });
}

TEST(CnnPooling, MatchesPyTorch) {
  int compared = 0;
  for (const GoldenCase& g : goldenPoolings()) {
    SCOPED_TRACE(g.name);
    const oracle::Pool pool = goldenPool(g);
    const auto kernel = poolingOf(pool);
    test::apply(pool.at, *kernel);
    const Tensor& wanted = g.tensor("result");
    const auto y = imageOf(Tensor(wanted.n, wanted.h, wanted.w, wanted.c));
    runOnCpu([&](const auto& buffer) { kernel->encode(buffer, imageOf(g.tensor("source")), y); });
    const oracle::Result scale =
        oracle::poolForward(pool, g.tensor("source"), Tensor(wanted.n, wanted.h, wanted.w, wanted.c));
    EXPECT_TRUE(matches(tensorOf(*y), {wanted, scale.magnitude}, Format::Float32, pool.tolerance()));
    ++compared;
  }
  EXPECT_EQ(compared, 48);
}

// Worked by hand: 3 x 3 pixels 1..9 under a 3 x 3 window.
TEST(CnnPooling, TheDivisorFollowsTheEdgeMode) {
  Tensor s(1, 3, 3, 1);
  for (std::size_t i = 0; i < 9; ++i) s.v[i] = static_cast<double>(i + 1);
  const auto corner = [&](MPS::ImageEdgeMode edge, std::size_t zeroPad) {
    MPS::CNNPoolingAverage kernel(cpuDevice(), 3, 3);
    EXPECT_EQ(kernel.zeroPadSizeX(), 0u);
    EXPECT_EQ(kernel.zeroPadSizeY(), 0u);
    kernel.setEdgeMode(edge);
    kernel.setZeroPadSizeX(zeroPad);
    kernel.setZeroPadSizeY(zeroPad);
    const auto y = imageOf(s);
    runOnCpu([&](const auto& buffer) { kernel.encode(buffer, imageOf(s), y); });
    return tensorOf(*y).v[0];
  };
  const double sum = 1 + 2 + 4 + 5;
  EXPECT_FLOAT_EQ(static_cast<float>(corner(MPS::ImageEdgeMode::Zero, 0)), static_cast<float>(sum / 9));
  EXPECT_FLOAT_EQ(static_cast<float>(corner(MPS::ImageEdgeMode::Zero, 1)), static_cast<float>(sum / 9));
  EXPECT_FLOAT_EQ(static_cast<float>(corner(MPS::ImageEdgeMode::Clamp, 0)), static_cast<float>(sum / 4));
  EXPECT_FLOAT_EQ(static_cast<float>(corner(MPS::ImageEdgeMode::Clamp, 1)), static_cast<float>(sum / 9));
}

// Vectors worked out apart from any program: two taps three pixels apart, at -2 and +1.
TEST(CnnPooling, DilatedWindowsLeanLeftAndClampEachTap) {
  const auto row = [](std::vector<double> v, MPS::ImageEdgeMode edge) {
    Tensor s(1, 1, v.size(), 1);
    s.v = std::move(v);
    MPS::CNNDilatedPoolingMax kernel(cpuDevice(), 2, 1, 3, 1, 1, 1);
    kernel.setEdgeMode(edge);
    const auto y = imageOf(s);
    runOnCpu([&](const auto& buffer) { kernel.encode(buffer, imageOf(s), y); });
    return tensorOf(*y).v;
  };
  EXPECT_EQ(row({5, 1, 1, 1, 9, 1}, MPS::ImageEdgeMode::Clamp), (std::vector<double>{5, 5, 5, 9, 1, 1}));
  EXPECT_EQ(row({-5, -1, -1, -1, -9, -1}, MPS::ImageEdgeMode::Zero), (std::vector<double>{0, 0, -1, -1, -1, 0}));
}

TEST(CnnPooling, TheAverageOfARowAgreesWithWorkedVectors) {
  const auto row = [](MPS::ImageEdgeMode edge, std::size_t zeroPad, std::size_t stride) {
    Tensor s(1, 1, 4, 1);
    s.v = {3, 6, 9, 12};
    MPS::CNNPoolingAverage kernel(cpuDevice(), 3, 1, stride, 1);
    kernel.setEdgeMode(edge);
    kernel.setZeroPadSizeX(zeroPad);
    const auto y = imageOf(Tensor(1, 1, stride == 1 ? 4 : 3, 1));
    runOnCpu([&](const auto& buffer) { kernel.encode(buffer, imageOf(s), y); });
    return tensorOf(*y).v;
  };
  using V = std::vector<double>;
  constexpr auto kZero = MPS::ImageEdgeMode::Zero, kClamp = MPS::ImageEdgeMode::Clamp;
  EXPECT_EQ(row(kZero, 0, 1), (V{3, 6, 9, 7}));
  EXPECT_EQ(row(kClamp, 0, 1), (V{4.5, 6, 9, 10.5}));
  EXPECT_EQ(row(kClamp, 1, 1), (V{3, 6, 9, 7}));
  EXPECT_EQ(row(kZero, 0, 2), (V{3, 9, 4}));
  EXPECT_EQ(row(kClamp, 0, 2), (V{4.5, 9, 12}));
  EXPECT_EQ(row(kClamp, 1, 2), (V{3, 9, 6}));
}

TEST(CnnPooling, ZerosOutsideTakePartInAMaximum) {
  const Tensor s(1, 2, 2, 1, -5.0);
  MPS::CNNPoolingMax kernel(cpuDevice(), 3, 3);
  EXPECT_EQ(kernel.edgeMode(), MPS::ImageEdgeMode::Zero);
  const auto zero = imageOf(s), clamp = imageOf(s);
  runOnCpu([&](const auto& buffer) {
    kernel.encode(buffer, imageOf(s), zero);
    kernel.setEdgeMode(MPS::ImageEdgeMode::Clamp);
    kernel.encode(buffer, imageOf(s), clamp);
  });
  EXPECT_EQ(tensorOf(*zero).v, (std::vector<double>(4, 0)));
  EXPECT_EQ(tensorOf(*clamp).v, (std::vector<double>(4, -5)));
}

TEST(CnnPooling, AMaximumLeavesNaNOutUnlessThereIsNothingElse) {
  Tensor s(1, 1, 4, 1);
  s.v = {NAN, -3, NAN, NAN};
  MPS::CNNPoolingMax kernel(cpuDevice(), 2, 1, 2, 1);
  kernel.setOffset({1, 0, 0});
  const auto y = imageOf(Tensor(1, 1, 2, 1));
  runOnCpu([&](const auto& buffer) { kernel.encode(buffer, imageOf(s), y); });
  EXPECT_EQ(tensorOf(*y).v[0], -3);
  EXPECT_TRUE(std::isnan(tensorOf(*y).v[1]));
}

TEST(CnnPooling, ABatchEqualsItsImagesOneByOne) {
  forCases(60, [](Case& c) {
    const PoolCase p =
        randomPoolCase(c.random, c.random.pick({PoolKind::Max, PoolKind::Average, PoolKind::L2Norm}), false);
    c.text = p.text();
    const auto kernel = poolingOf(p.pool);
    test::apply(p.pool.at, *kernel);
    const auto source = imagesOf(p.source, p.sourceFormat, Arrangement::Separate);
    const auto together = imagesOf(p.destination, p.destinationFormat, Arrangement::Joined),
               single = imagesOf(p.destination, p.destinationFormat, Arrangement::Separate);
    runOnCpu([&](const auto& buffer) {
      kernel->encodeBatch(buffer, source, together);
      for (std::size_t i = 0; i < single.size(); ++i) kernel->encode(buffer, source[i], single[i]);
    });
    EXPECT_EQ(tensorOf(together).v, tensorOf(single).v);
  });
}

// With the exclude-edges bit the divisor counts the policy's padding and nothing beyond it.
TEST(CnnPooling, ResultsOfItsOwnFollowThePolicy) {
  forCases(150, [](Case& c) {
    Random& r = c.random;
    oracle::Pool pool;
    pool.kind = r.pick({PoolKind::Max, PoolKind::Average, PoolKind::L2Norm});
    pool.kernelWidth = r.integer(1, 4), pool.kernelHeight = r.integer(1, 4);
    if (pool.kind == PoolKind::Max && r.chance(0.5)) {
      pool.kernelWidth = r.integer(1, 2), pool.kernelHeight = r.integer(1, 2);
      pool.dilationX = r.integer(1, 3), pool.dilationY = r.integer(1, 3);
    }
    pool.strideX = r.integer(1, 3), pool.strideY = r.integer(1, 3);
    const Tensor source = poolSource(r, 2, r.size(4, 9), r.size(4, 9), 3, Format::Float32, false);
    std::uint32_t method = r.pick({oracle::padding::kSame, oracle::padding::kValidOnly, oracle::padding::kFull}) |
                           r.pick({0u, 4u, 8u, 12u}) | r.pick({0u, 1u, 2u});
    const bool exclude = pool.kind == PoolKind::Average && r.chance(0.5);
    if (exclude) method |= oracle::padding::kExcludeEdges;
    const auto x = oracle::forwardPadding(method, false, static_cast<long>(source.w), pool.strideX, pool.extentX()),
               y = oracle::forwardPadding(method, true, static_cast<long>(source.h), pool.strideY, pool.extentY());
    c.text = source.shape() + " method " + std::to_string(method);
    const auto kernel = poolingOf(pool);
    kernel->setPadding(MPS::NNDefaultPadding::padding(static_cast<MPS::NNPaddingMethod>(method)));
    kernel->setDestinationImageAllocator(float32Images());
    Ref<MPS::Image> result;
    runOnCpu([&](const auto& buffer) { result = kernel->encode(buffer, imageOf(source)); });
    pool.at.offset = {x.offset, y.offset, 0};
    if (exclude) {
      pool.at.edge = oracle::EdgeMode::Clamp;
      pool.zeroPadSizeX = std::max(0L, x.left);
      pool.zeroPadSizeY = std::max(0L, y.left);
    }
    ASSERT_EQ(result->width(), static_cast<std::size_t>(x.size));
    ASSERT_EQ(result->height(), static_cast<std::size_t>(y.size));
    EXPECT_EQ(kernel->offset(), (MPS::Offset{x.offset, y.offset, 0})) << "left behind for the caller";
    const Tensor before(2, result->height(), result->width(), 3);
    EXPECT_TRUE(
        matches(tensorOf(*result), oracle::poolForward(pool, source, before), Format::Float32, pool.tolerance()));
  });
}

TEST(CnnPooling, TellsWhatItIsAndRefusesEmptyWindows) {
  const auto kernel = std::make_shared<MPS::CNNPoolingMax>(cpuDevice(), 2, 3);
  EXPECT_EQ(kernel->kernelWidth(), 2u);
  EXPECT_EQ(kernel->kernelHeight(), 3u);
  EXPECT_EQ(kernel->strideInPixelsX(), 1u);
  EXPECT_EQ(kernel->strideInPixelsY(), 1u);
  EXPECT_EQ(kernel->dilationRateX(), 1u);
  EXPECT_FALSE(kernel->isBackwards());
  EXPECT_FALSE(kernel->isStateModified());
  EXPECT_FALSE(kernel->isResultStateReusedAcrossBatch());
  EXPECT_FALSE(kernel->appendBatchBarrier());
  const auto copy = std::dynamic_pointer_cast<MPS::CNNPoolingMax>(kernel->copy(cpuDevice()));
  ASSERT_TRUE(copy);
  EXPECT_EQ(copy->kernelHeight(), 3u);

  const auto dilated = std::make_shared<MPS::CNNDilatedPoolingMax>(cpuDevice(), 2, 3, 4, 5, 6, 7);
  const auto same = std::dynamic_pointer_cast<MPS::CNNDilatedPoolingMax>(dilated->copy(cpuDevice()));
  ASSERT_TRUE(same);
  EXPECT_EQ(same->kernelWidth() * 10 + same->kernelHeight(), 23u);
  EXPECT_EQ(same->dilationRateX() * 10 + same->dilationRateY(), 45u);
  EXPECT_EQ(same->strideInPixelsX() * 10 + same->strideInPixelsY(), 67u);

  expectError([] { MPS::CNNPoolingMax(cpuDevice(), 0, 3); }, {"CNNPooling: window of 0 x 3", "must be at least 1"});
  expectError([] { MPS::CNNPoolingAverage(cpuDevice(), 2, 2, 1, 0); }, {"window of 2 x 2 with strides 1, 0"});
  expectError([] { MPS::CNNPoolingMaxGradient(cpuDevice(), 2, 0); }, {"CNNPoolingGradient: window of 2 x 0"});
  const auto buffer = cpuQueue()->commandBuffer();
  const auto image = imageOf(Tensor(1, 2, 2, 1));
  expectError([&] { MPS::CNNPooling(cpuDevice(), 2, 2).encode(buffer, image, imageOf(Tensor(1, 2, 2, 1))); },
              {"CNNPooling: the base class computes nothing", "use a subclass, such as CNNPoolingMax"});
  kernel->setPadding(MPS::NNDefaultPadding::padding(MPS::NNPaddingMethod::SizeValidOnly));
  expectError([&] { kernel->encode(buffer, image); },
              {"CNNPoolingMax", "a window of 3 rows finds no place in a source of 2 rows"});
}

}  // namespace
}  // namespace kovar::test
