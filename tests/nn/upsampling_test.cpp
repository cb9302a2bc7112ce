// The upsampling kernels and their gradients against the oracle, PyTorch and worked vectors.

#include "oracle/upsampling.hpp"
#include "gradient_case.hpp"
#include "kovar/MPS/NN/CNNUpsampling.hpp"
#include "support/golden.hpp"

namespace kovar::test {
namespace {

Ref<MPS::CNNUpsampling> kernelOf(const oracle::Upsampling& u) {
  const auto x = static_cast<std::size_t>(u.scaleX), y = static_cast<std::size_t>(u.scaleY);
  if (!u.bilinear) return std::make_shared<MPS::CNNUpsamplingNearest>(cpuDevice(), x, y);
  if (!u.alignCorners) return std::make_shared<MPS::CNNUpsamplingBilinear>(cpuDevice(), x, y);
  return std::make_shared<MPS::CNNUpsamplingBilinear>(cpuDevice(), x, y, true);
}

Ref<MPS::CNNUpsamplingGradient> gradientOf(const oracle::Upsampling& u) {
  const auto x = static_cast<std::size_t>(u.scaleX), y = static_cast<std::size_t>(u.scaleY);
  if (u.bilinear) return std::make_shared<MPS::CNNUpsamplingBilinearGradient>(cpuDevice(), x, y);
  return std::make_shared<MPS::CNNUpsamplingNearestGradient>(cpuDevice(), x, y);
}

oracle::Upsampling randomUpsampling(Random& r) {
  oracle::Upsampling u;
  u.bilinear = r.chance(0.7);
  u.alignCorners = u.bilinear && r.chance(0.5);
  u.scaleX = r.integer(1, 4), u.scaleY = r.integer(1, 4);
  return u;
}

std::string text(const oracle::Upsampling& u) {
  return std::string(u.bilinear ? u.alignCorners ? "aligned" : "bilinear" : "nearest") + " " +
         std::to_string(u.scaleX) + "x" + std::to_string(u.scaleY) + " ";
}

TEST(CnnUpsampling, MatchesTheOracle) {
  forCases(400, [](Case& c) {
    Random& r = c.random;
    oracle::Upsampling u = randomUpsampling(r);
    PointCase p = randomPointCase(r, {-4, 4, false});
    if (r.chance(0.7))  // large enough to hold the whole result
      p.destination = randomTensor(r, p.destination.n, p.source.h * static_cast<std::size_t>(u.scaleY),
                                   p.source.w * static_cast<std::size_t>(u.scaleX), p.destination.c, {0, 1, false},
                                   p.destinationFormat);
    u.at = p.at;
    c.text = text(u) + p.text();
    const auto kernel = kernelOf(u);
    test::apply(u.at, *kernel);
    const MPS::ImageBatch destination = imagesOf(p.destination, p.destinationFormat, p.arrangement);
    runOnCpu([&](const auto& buffer) {
      encodeAs(p.arrangement, *kernel, buffer, imagesOf(p.source, p.sourceFormat, p.arrangement), destination);
    });
    EXPECT_TRUE(matches(tensorOf(destination), oracle::upsample(u, p.source, p.destination), p.destinationFormat,
                        oracle::Upsampling::tolerance()));
  });
}

TEST(CnnUpsampling, MatchesPyTorchForwardAndBackward) {
  int compared = 0;
  for (const GoldenCase& g : readGolden(KOVAR_SOURCE_DIR "/tests/golden/ops/upsampling.txt")) {
    SCOPED_TRACE(g.name);
    oracle::Upsampling u;
    u.bilinear = g.word("kind") != "nearest";
    u.alignCorners = g.word("kind") == "aligned";
    u.scaleX = g.integer("scaleX"), u.scaleY = g.integer("scaleY");
    const auto forward = kernelOf(u);
    const auto backward = gradientOf(u);
    if (g.word("kind") == "clamp") forward->setEdgeMode(MPS::ImageEdgeMode::Clamp);
    forward->setDestinationImageAllocator(float32Images());
    backward->setDestinationImageAllocator(float32Images());
    const auto s = imageOf(g.tensor("source"));
    Ref<MPS::Image> y, d;
    runOnCpu([&](const auto& buffer) {
      Ref<MPS::State> state;
      y = forward->encode(buffer, s, &state, false);
      d = backward->encode(buffer, imageOf(g.tensor("gradient")), s, state);
    });
    const auto near = [](const Tensor& got, const Tensor& wanted) {
      ASSERT_TRUE(got.sameShape(wanted)) << got.shape() << ", wanted " << wanted.shape();
      for (std::size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got.v[i], wanted.v[i], 4e-6) << i;
    };
    near(tensorOf(*y), g.tensor("result"));
    near(tensorOf(*d), g.tensor("sourceGradient"));
    ++compared;
  }
  EXPECT_EQ(compared, 32);
}

// Measured on the documented system: 2 x 2 pixels enlarged twice without aligned corners, zeros outside.
TEST(CnnUpsampling, TheCoordinateIsNotThatOfPixelCentres) {
  Tensor s(1, 2, 2, 1);
  s.v = {3, 6, 9, 12};
  MPS::CNNUpsamplingBilinear kernel(cpuDevice(), 2, 2);
  EXPECT_EQ(kernel.edgeMode(), MPS::ImageEdgeMode::Zero);
  const auto y = imageOf(Tensor(1, 4, 4, 1));
  runOnCpu([&](const auto& buffer) { kernel.encode(buffer, imageOf(s), y); });
  const auto v = tensorOf(*y).v;
  EXPECT_EQ(std::vector<double>(v.begin(), v.begin() + 8), (std::vector<double>{3, 4.5, 6, 3, 6, 7.5, 9, 4.5}));
}

// With aligned corners the last pixel is met exactly, whatever fractions lie between: a NaN beside it stays out.
TEST(CnnUpsampling, PixelsOfWeightZeroAreNotRead) {
  for (std::size_t extent = 2; extent < 40; ++extent)
    for (std::size_t factor = 1; factor < 8; ++factor) {
      Tensor s(1, 1, extent, 1, 1.0);
      s.v[extent - 2] = NAN;
      MPS::CNNUpsamplingBilinear kernel(cpuDevice(), factor, 1, true);
      const auto y = imageOf(Tensor(1, 1, extent * factor, 1));
      runOnCpu([&](const auto& buffer) { kernel.encode(buffer, imageOf(s), y); });
      ASSERT_EQ(tensorOf(*y).v.back(), 1.0) << extent << " times " << factor;
    }
}

TEST(CnnUpsampling, ABatchEqualsItsImagesOneByOne) {
  forCases(40, [](Case& c) {
    oracle::Upsampling u = randomUpsampling(c.random);
    PointCase p = randomPointCase(c.random, {-4, 4, false});
    p.at.offset.z = 0, p.at.clip = {};
    u.at = p.at;
    c.text = text(u) + p.text();
    const auto kernel = kernelOf(u);
    test::apply(u.at, *kernel);
    const auto source = imagesOf(p.source, p.sourceFormat, Arrangement::Separate);
    Tensor like = p.destination;
    like = randomTensor(c.random, source.size(), like.h, like.w, like.c, {0, 1, false}, p.destinationFormat);
    const auto together = imagesOf(like, p.destinationFormat, Arrangement::Joined),
               single = imagesOf(like, p.destinationFormat, Arrangement::Separate);
    runOnCpu([&](const auto& buffer) {
      kernel->encodeBatch(buffer, source, together);
      for (std::size_t i = 0; i < single.size(); ++i) kernel->encode(buffer, source[i], single[i]);
    });
    EXPECT_EQ(tensorOf(together).v, tensorOf(single).v);
  });
}

TEST(UpsamplingGradient, FromTheStateIsTheNumericDerivative) {
  forCases(300, [](Case& c) {
    oracle::Upsampling u = randomUpsampling(c.random);
    const AutomaticCase a = randomAutomaticCase(c.random, {-2, 2, false});
    u.at = a.at;
    c.text = text(u) + a.text();
    const auto forward = kernelOf(u);
    const auto backward = gradientOf(u);
    const Tensor expected =
        numericSourceGradient(a, [&](const Tensor& s) { return oracle::upsample(u, s, a.destination).value; });
    expectAutomaticGradient(a, *forward, *backward, expected, false, c.random.chance(0.5));
  });
}

TEST(UpsamplingGradient, SetByHandMatchesTheOracle) {
  forCases(300, [](Case& c) {
    Random& r = c.random;
    oracle::Upsampling u = randomUpsampling(r);
    u.alignCorners = false;  // a gradient without a state knows nothing of it
    const std::size_t n = r.size(1, 2), h = r.size(1, 6), w = r.size(1, 6), channels = r.size(1, 9);
    u.at.offset = {r.chance(0.5) ? 0 : r.integer(-2, 2), r.chance(0.5) ? 0 : r.integer(-2, 2), 0};
    if (r.chance(0.5)) u.at.edge = oracle::EdgeMode::Clamp;
    u.at.sourceChannelOffset = r.pick<std::size_t>({0, 4});
    oracle::UpsamplingGradient how;
    how.gradientChannelOffset = r.pick<std::size_t>({0, 4});
    how.destinationChannelOffset = r.pick<std::size_t>({0, 4});
    if (r.chance(0.4)) how.primaryOffsetX = r.integer(-2, 3), how.primaryOffsetY = r.integer(-2, 3);
    const Tensor source(n, h, w, u.at.sourceChannelOffset + channels);
    const Tensor gradient = randomTensor(r, n, r.size(1, h * static_cast<std::size_t>(u.scaleY) + 1),
                                         r.size(1, w * static_cast<std::size_t>(u.scaleX) + 1),
                                         how.gradientChannelOffset + channels, {-2, 2, false});
    const bool same = r.chance(0.5);
    const Tensor before = randomTensor(r, n, same ? h : r.size(1, 8), same ? w : r.size(1, 8),
                                       aroundChannels(how.destinationChannelOffset, channels, r), {-1, 1, false});
    if (r.chance(0.3)) randomClip(r, how.clip, before.w, before.h);
    c.text = text(u) + source.shape() + " gradient " + gradient.shape() + " first " +
             std::to_string(how.primaryOffsetX) + "," + std::to_string(how.primaryOffsetY) + " -> " + before.shape();
    const auto kernel = gradientOf(u);
    kernel->setPrimaryOffset({how.primaryOffsetX, how.primaryOffsetY, 0});
    kernel->setSecondaryOffset(publicOffset(u.at.offset));
    kernel->setSecondaryEdgeMode(static_cast<MPS::ImageEdgeMode>(u.at.edge));
    kernel->setPrimarySourceFeatureChannelOffset(how.gradientChannelOffset);
    kernel->setSecondarySourceFeatureChannelOffset(u.at.sourceChannelOffset);
    kernel->setDestinationFeatureChannelOffset(how.destinationChannelOffset);
    kernel->setClipRect(publicClip(how.clip));
    const auto d = imageOf(before);
    runOnCpu(
        [&](const auto& buffer) { kernel->encode(buffer, imageOf(gradient), imageOf(source), Ref<MPS::State>(), d); });
    EXPECT_TRUE(matches(tensorOf(*d), oracle::upsampleGradient(u, how, gradient, source, before), Format::Float32,
                        oracle::Upsampling::tolerance()));
  });
}

TEST(CnnUpsampling, TellsWhatItIs) {
  const auto kernel = std::make_shared<MPS::CNNUpsamplingBilinear>(cpuDevice(), 3, 2, true);
  kernel->setOffset({1, 1, 0});
  kernel->setPadding(MPS::NNDefaultPadding::padding(MPS::NNPaddingMethod::SizeValidOnly));
  EXPECT_EQ(kernel->scaleFactorX(), 3.0);
  EXPECT_EQ(kernel->scaleFactorY(), 2.0);
  EXPECT_TRUE(kernel->alignCorners());
  EXPECT_TRUE(kernel->isBackwards());
  EXPECT_EQ(kernel->strideInPixelsX(), 3u) << "in destination pixels";
  const auto copy = std::dynamic_pointer_cast<MPS::CNNUpsamplingBilinear>(kernel->copy(cpuDevice()));
  ASSERT_TRUE(copy);
  EXPECT_TRUE(copy->alignCorners());
  const auto d = kernel->destinationImageDescriptor({imageOf(Tensor(2, 5, 4, 3))}, {});
  EXPECT_EQ(d->width(), 12u);
  EXPECT_EQ(d->height(), 10u);
  EXPECT_EQ(d->featureChannels(), 3u);
  EXPECT_EQ(d->numberOfImages(), 2u);
  EXPECT_EQ(kernel->offset(), (MPS::Offset{0, 0, 0}));
  const MPS::CNNUpsamplingNearestGradient back(cpuDevice(), 4, 5);
  EXPECT_EQ(back.scaleFactorX(), 4.0);
  EXPECT_EQ(back.scaleFactorY(), 5.0);
  EXPECT_TRUE(back.isBackwards());
}

}  // namespace
}  // namespace kovar::test
