// CNNDropout and CNNDropoutGradient: masks against the published generator, the gradient through the mask, the sequence
// of masks.

#include "oracle/dropout.hpp"

#include <cmath>
#include <limits>
#include <set>

#include "gradient_case.hpp"
#include "kovar/MPS/NN/CNNDropout.hpp"

namespace kovar::test {
namespace {

oracle::Dropout randomDropout(Random& r) {
  oracle::Dropout d;
  d.keepProbability = r.pick({0.5, 0.25, 0.9, 0.125});
  d.seed = r.bits();
  d.maskStrideX = r.size(0, 1);
  d.maskStrideY = r.size(0, 1);
  d.maskStrideC = r.chance(0.7) ? 1 : 0;
  return d;
}

MTL::Size strideOf(const oracle::Dropout& d) { return {d.maskStrideX, d.maskStrideY, d.maskStrideC}; }

MPS::CNNDropout forwardOf(const oracle::Dropout& d) {
  return {cpuDevice(), static_cast<float>(d.keepProbability), d.seed, strideOf(d)};
}

MPS::CNNDropoutGradient backwardOf(const oracle::Dropout& d) {
  return {cpuDevice(), static_cast<float>(d.keepProbability), d.seed, strideOf(d)};
}

/// Masks of all images of one encode; the first belongs to source image `before`.
Tensor masksOf(const oracle::Dropout& d, std::size_t images, std::size_t before, const oracle::Region& region,
               std::size_t channels, std::uint64_t sequence) {
  Tensor all;
  for (std::size_t i = 0; i < images; ++i) {
    const Tensor one =
        oracle::dropoutMask(d, static_cast<std::size_t>(region.h), static_cast<std::size_t>(region.w), channels,
                            static_cast<std::uint32_t>(i >= before ? i - before : 0), sequence);
    all.h = one.h, all.w = one.w, all.c = one.c;
    all.v.insert(all.v.end(), one.v.begin(), one.v.end());
  }
  all.n = images;
  return all;
}

std::vector<double> numbersOf(const std::vector<std::byte>& bytes) {
  std::vector<double> v;
  v.reserve(bytes.size());
  for (std::byte b : bytes) v.push_back(static_cast<double>(b));
  return v;
}

TEST(CnnDropout, MatchesTheOracle) {
  forCases(300, [](Case& c) {
    Random& r = c.random;
    const oracle::Dropout d = randomDropout(r);
    const PointCase p = randomPointCase(r, oracle::Dropout::domain());
    c.text = p.text();
    MPS::CNNDropout kernel = forwardOf(d);
    test::apply(p.at, kernel);
    const MPS::ImageBatch source = imagesOf(p.source, p.sourceFormat, p.arrangement);
    const std::size_t encodes = r.size(1, 3);
    for (std::size_t sequence = 0; sequence < encodes; ++sequence) {
      const MPS::ImageBatch destination = imagesOf(p.destination, p.destinationFormat, p.arrangement);
      runOnCpu([&](const auto& buffer) { encodeAs(p.arrangement, kernel, buffer, source, destination); });
      const oracle::Region region = oracle::effectiveRegion(p.at.clip, p.destination, p.at.offset.z, p.source.n);
      const Tensor masks =
          masksOf(d, p.source.n, static_cast<std::size_t>(p.at.offset.z), region,
                  oracle::usedChannels(p.source, p.at.sourceChannelOffset, p.at.sourceChannelMaxCount), sequence);
      EXPECT_TRUE(matches(tensorOf(destination), oracle::dropoutApply(d, p.at, p.source, masks, p.destination),
                          p.destinationFormat, oracle::Dropout::tolerance()))
          << "encode " << sequence;
    }
  });
}

TEST(CnnDropout, StatesHoldTheMasks) {
  forCases(150, [](Case& c) {
    Random& r = c.random;
    const oracle::Dropout d = randomDropout(r);
    AutomaticCase p = randomAutomaticCase(r, oracle::Dropout::domain());
    p.arrangement = r.pick({Arrangement::Separate, Arrangement::Joined});
    c.text = p.text();
    MPS::CNNDropout kernel = forwardOf(d);
    test::apply(p.at, kernel);
    const MPS::ImageBatch source = imagesOf(p.source, Format::Float32, p.arrangement),
                          destination = imagesOf(p.destination, Format::Float32, p.arrangement);
    const auto states = kernel.resultStateBatch(source, {}, destination);
    ASSERT_EQ(states.size(), source.size());
    EXPECT_TRUE(states[0]->maskData().empty()) << "nothing was encoded yet";
    runOnCpu([&](const auto& buffer) { kernel.encodeBatch(buffer, source, states, destination); });
    const oracle::Region region = oracle::effectiveRegion(p.at.clip, p.destination, 0, p.source.n);
    const std::size_t used = oracle::usedChannels(p.source, p.at.sourceChannelOffset, p.at.sourceChannelMaxCount);
    for (std::size_t i = 0; i < states.size(); ++i)
      EXPECT_EQ(numbersOf(states[i]->maskData()),
                oracle::dropoutMask(d, static_cast<std::size_t>(region.h), static_cast<std::size_t>(region.w), used,
                                    static_cast<std::uint32_t>(i), 0)
                    .v);
  });
}

TEST(CnnDropout, AutomaticGradientIsTheDerivative) {
  forCases(200, [](Case& c) {
    Random& r = c.random;
    const oracle::Dropout d = randomDropout(r);
    const AutomaticCase p = randomAutomaticCase(r, oracle::Dropout::domain());
    c.text = p.text();
    MPS::CNNDropout forward = forwardOf(d);
    MPS::CNNDropoutGradient backward = backwardOf(d);
    const oracle::Region region = oracle::effectiveRegion(p.at.clip, p.destination, 0, p.source.n);
    const Tensor masks =
        masksOf(d, p.source.n, 0, region,
                oracle::usedChannels(p.source, p.at.sourceChannelOffset, p.at.sourceChannelMaxCount), 0);
    const Tensor expected = numericSourceGradient(
        p, [&](const Tensor& s) { return oracle::dropoutApply(d, p.at, s, masks, p.destination).value; });
    expectAutomaticGradient(p, forward, backward, expected, false, r.chance(0.5));
  });
}

// The mask is read from secondaryOffset on; the gradient from primaryOffset on.
TEST(CnnDropout, GradientSetByHandMatchesTheOracle) {
  forCases(200, [](Case& c) {
    Random& r = c.random;
    const oracle::Dropout d = randomDropout(r);
    const std::size_t n = r.size(1, 3), channels = r.size(1, 9);
    const Tensor source = randomTensor(r, n, r.size(1, 6), r.size(1, 6), channels, oracle::Dropout::domain());
    const long dx = r.integer(0, static_cast<long>(source.w) - 1), dy = r.integer(0, static_cast<long>(source.h) - 1);
    oracle::Attributes at;
    at.offset = {r.integer(-2, 2), r.integer(-2, 2), 0};
    at.edge = r.pick({oracle::EdgeMode::Zero, oracle::EdgeMode::Clamp});
    at.sourceChannelOffset = r.pick<std::size_t>({0, 4});
    at.sourceChannelMaxCount = channels;
    at.destinationChannelOffset = r.pick<std::size_t>({0, 4});
    const Tensor gradient = randomTensor(r, n, r.size(1, 6), r.size(1, 6), at.sourceChannelOffset + channels, {-2, 2});
    const Tensor before =
        randomTensor(r, n, source.h - static_cast<std::size_t>(dy), source.w - static_cast<std::size_t>(dx),
                     at.destinationChannelOffset + channels, {-2, 2});
    const Arrangement arrangement = r.pick({Arrangement::Separate, Arrangement::Joined});
    c.text = source.shape() + " gradient " + gradient.shape() + " mask from " + std::to_string(dx) + "," +
             std::to_string(dy) + " " + nameOf(arrangement);
    MPS::CNNDropout forward = forwardOf(d);
    MPS::CNNDropoutGradient backward = backwardOf(d);
    backward.setPrimaryOffset(publicOffset(at.offset));
    backward.setPrimaryEdgeMode(static_cast<MPS::ImageEdgeMode>(at.edge));
    backward.setSecondaryOffset({dx, dy, 0});
    backward.setPrimarySourceFeatureChannelOffset(at.sourceChannelOffset);
    backward.setDestinationFeatureChannelOffset(at.destinationChannelOffset);
    const auto s = imagesOf(source, Format::Float32, arrangement), g = imagesOf(gradient, Format::Float32, arrangement),
               y = imagesOf(source, Format::Float32, arrangement),
               result = imagesOf(before, Format::Float32, arrangement);
    // A state of its own for each image, or those of one batch encode.
    const bool single = r.chance(0.3);
    MPS::StateBatch states;
    Tensor masks;
    runOnCpu([&](const auto& buffer) {
      states = forward.resultStateBatch(s, {}, y);
      if (single)
        for (std::size_t i = 0; i < n; ++i) forward.encode(buffer, s[i], states[i], y[i]);
      else
        forward.encodeBatch(buffer, s, states, y);
      backward.encodeBatch(buffer, g, s, states, result);
    });
    for (std::size_t i = 0; i < n; ++i) {
      const Tensor one = oracle::dropoutMask(d, source.h, source.w, channels,
                                             single ? 0 : static_cast<std::uint32_t>(i), single ? i : 0);
      masks.h = one.h, masks.w = one.w, masks.c = one.c, masks.n = i + 1;
      masks.v.insert(masks.v.end(), one.v.begin(), one.v.end());
    }
    EXPECT_TRUE(matches(tensorOf(result), oracle::dropoutApply(d, at, gradient, masks, before, dx, dy), Format::Float32,
                        oracle::Dropout::tolerance()));
  });
}

TEST(CnnDropout, KeepsTheAskedShare) {
  for (const float keep : {0.1f, 0.5f, 0.875f}) {
    MPS::CNNDropout kernel(cpuDevice(), keep, 77, {1, 1, 1});
    const Tensor ones(2, 64, 64, 12, 1.0);
    const auto y = imageOf(ones);
    runOnCpu([&](const auto& buffer) { kernel.encode(buffer, imageOf(ones), y); });
    const Tensor t = tensorOf(*y);
    double kept = 0, sameTwice = 0;
    const std::size_t half = t.size() / 2;
    for (std::size_t i = 0; i < t.size(); ++i) kept += t.v[i] != 0;
    for (std::size_t i = 0; i < half; ++i) sameTwice += (t.v[i] != 0) == (t.v[half + i] != 0);
    const auto p = static_cast<double>(keep), count = static_cast<double>(t.size());
    EXPECT_NEAR(kept / count, p, 5 * std::sqrt(p * (1 - p) / count));
    const double q = p * p + (1 - p) * (1 - p);
    EXPECT_NEAR(sameTwice / (count / 2), q, 5 * std::sqrt(q * (1 - q) / (count / 2))) << "images are independent";
    for (double v : t.v) ASSERT_TRUE(v == 0 || v == static_cast<double>(1.f / keep));
  }
}

/// The result for an image of ones, as bytes of the mask.
std::vector<double> maskBy(const Ref<MPS::CNNDropout>& kernel, std::size_t images = 1) {
  const Tensor ones(images, 8, 8, 8, 1.0);
  const auto y = imageOf(ones);
  runOnCpu([&](const auto& buffer) { kernel->encode(buffer, imageOf(ones), y); });
  return tensorOf(*y).v;
}

TEST(CnnDropout, MasksFollowSeedAndNumberOfEncodes) {
  const auto make = [](std::size_t seed) {
    return std::make_shared<MPS::CNNDropout>(cpuDevice(), 0.5f, seed, MTL::Size{1, 1, 1});
  };
  const auto a = make(5), b = make(5);
  std::set<std::vector<double>> seen;
  for (int i = 0; i < 4; ++i) {
    const std::vector<double> mask = maskBy(a);
    EXPECT_EQ(mask, maskBy(b)) << "encode " << i;
    EXPECT_TRUE(seen.insert(mask).second) << "a mask came twice";
  }
  EXPECT_TRUE(seen.insert(maskBy(make(6))).second);
  EXPECT_TRUE(seen.insert(maskBy(make(5 + (std::size_t{1} << 32)))).second) << "the seed has 64 bits";
  // A copy goes on where its original stands.
  const auto copy = std::dynamic_pointer_cast<MPS::CNNDropout>(a->copy(nullptr));
  EXPECT_EQ(maskBy(copy), maskBy(a));
  const std::vector<double> fifth = maskBy(b);
  EXPECT_TRUE(seen.insert(fifth).second);
  EXPECT_NE(maskBy(copy), fifth);
}

TEST(CnnDropout, AnEncodeThatIsRefusedDoesNotCount) {
  const auto kernel = std::make_shared<MPS::CNNDropout>(cpuDevice(), 0.5f, 5, MTL::Size{1, 1, 1});
  const auto fresh = std::make_shared<MPS::CNNDropout>(cpuDevice(), 0.5f, 5, MTL::Size{1, 1, 1});
  const auto image = imageOf(Tensor(1, 2, 2, 2)), other = imageOf(Tensor(1, 2, 2, 2));
  const auto buffer = cpuQueue()->commandBuffer();
  expectError([&] { kernel->encode(buffer, image, std::make_shared<MPS::State>(cpuDevice(), 4), other); },
              {"CNNDropout.encode", "not a CNNDropoutGradientState", "make it with resultState"});
  EXPECT_EQ(maskBy(kernel), maskBy(fresh));
}

TEST(CnnDropout, WhatIsDroppedIsZeroEvenForInfinityAndNaN) {
  const double inf = std::numeric_limits<double>::infinity();
  for (const double value : {inf, -inf, static_cast<double>(NAN), -3.0}) {
    MPS::CNNDropout kernel(cpuDevice(), 0.5f, 1, {1, 1, 1});
    const Tensor s(1, 4, 4, 4, value);
    const auto y = imageOf(s);
    runOnCpu([&](const auto& buffer) { kernel.encode(buffer, imageOf(s), y); });
    std::size_t zeros = 0;
    for (double v : tensorOf(*y).v) {
      if (v == 0) EXPECT_FALSE(std::signbit(v));
      zeros += v == 0;
    }
    EXPECT_GT(zeros, 10u);
    EXPECT_LT(zeros, 54u);
  }
}

TEST(CnnDropout, ErrorsTellWhatIsWrong) {
  for (const float keep : {0.f, 1.f, -1.f, 2.f, std::nanf("")}) {
    expectError(
        [&] {
          MPS::CNNDropout(cpuDevice(), keep, 0, {1, 1, 1});
        },
        {"CNNDropout: keepProbability is", "strictly between 0 and 1"});
    expectError([&] { MPS::CNNDropoutGradient(cpuDevice(), keep, 0, {1, 1, 1}); }, {"CNNDropoutGradient"});
  }
  expectError(
      [] {
        MPS::CNNDropout(cpuDevice(), 0.5f, 0, {1, 2, 1});
      },
      {"maskStrideInPixels is {1, 2, 1}", "each must be 0 (shared) or 1"});
  MPS::CNNDropout forward(cpuDevice(), 0.5f, 3, {1, 1, 1});
  EXPECT_EQ(forward.keepProbability(), 0.5f);
  EXPECT_EQ(forward.seed(), 3u);
  EXPECT_EQ(forward.maskStrideInPixels(), (MTL::Size{1, 1, 1}));
  EXPECT_FALSE(forward.isResultStateReusedAcrossBatch());
  MPS::CNNDropoutGradient backward(cpuDevice(), 0.5f, 3, {1, 1, 1});
  const auto image = imageOf(Tensor(1, 2, 2, 2)), other = imageOf(Tensor(1, 2, 2, 2)),
             big = imageOf(Tensor(1, 3, 3, 2));
  const auto buffer = cpuQueue()->commandBuffer();
  expectError([&] { backward.encode(buffer, image, image, nullptr, other); },
              {"needs the state of the forward CNNDropout"});
  const auto empty = forward.resultState(image, {}, other);
  expectError([&] { backward.encode(buffer, image, image, empty, other); }, {"a state without a mask"});
  const auto temporary = forward.temporaryResultState(buffer, image, {}, other);
  forward.encode(buffer, image, temporary, other);
  expectError([&] { temporary->maskData(); }, {"CNNDropoutGradientState.maskData", "temporary state"});
  expectError([&] { backward.encode(buffer, big, big, temporary, imageOf(Tensor(1, 3, 3, 2))); },
              {"does not lie inside the mask of 2 x 2", "set secondaryOffset and clipRect"});
}

}  // namespace
}  // namespace kovar::test
