// The generator against its published vectors, lanes against the plain form, and the numbers' statistics.
#include "maths/philox.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "lane_targets.hpp"
#include "maths/philox-inl.hpp"
#include "oracle/dropout.hpp"

namespace kovar::test {
namespace {

using maths::PhiloxBlock;
using maths::RandomStream;

// Vectors of the Random123 distribution for philox4x32-10.
TEST(Philox, PublishedVectors) {
  EXPECT_EQ(maths::philox({0, 0, 0, 0}, 0, 0), (PhiloxBlock{0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u}));
  const std::uint32_t f = 0xffffffffu;
  EXPECT_EQ(maths::philox({f, f, f, f}, f, f), (PhiloxBlock{0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu}));
  EXPECT_EQ(maths::philox({0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u}, 0xa4093822u, 0x299f31d0u),
            (PhiloxBlock{0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u}));
}

TEST(Philox, LanesGiveTheStreamInOrder) {
  const RandomStream stream{0x123456789abcdef0u, 5, 0x1f00000003u};
  for (const LaneSet& set : laneSets()) {
    std::vector<float> out(1001);
    set.random(stream.seed, stream.item, stream.sequence, false, out.data(), out.size());
    for (std::size_t e = 0; e < out.size(); ++e) {
      ASSERT_EQ(out[e], maths::uniformFromWord(stream.word(e))) << set.name << " element " << e;
      ASSERT_EQ(out[e], static_cast<float>(stream.word(e) >> 8) / 16777216.f);
    }
  }
}

// Blocks beyond 2^32 wrap around; the position of a vector within the stream does not matter.
TEST(Philox, BlocksAreNumberedByTheirLowWord) {
  const RandomStream stream{1, 2, 3};
  EXPECT_EQ(stream.block(7), stream.block(7 + (std::uint64_t{1} << 32)));
  const auto words = maths::scalar::randomWords<float>(stream, 0xffffffffu);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(words.word[i], stream.block(0xffffffffu)[static_cast<std::size_t>(i)]);
}

TEST(Philox, DropoutMasksAreTheDocumentedOnes) {
  oracle::Dropout op;
  op.keepProbability = static_cast<double>(0.7f);
  op.seed = 77;
  const oracle::Tensor mask = oracle::dropoutMask(op, 5, 6, 7, 2, 9);
  for (std::size_t e = 0; e < mask.size(); ++e)
    EXPECT_EQ(maths::dropoutKeeps({77, 2, 9}, e, 0.7f), mask.v[e] != 0) << e;
  // A number equal to the probability is dropped.
  const float drawn = maths::uniformFromWord(RandomStream{77, 2, 9}.word(3));
  EXPECT_FALSE(maths::dropoutKeeps({77, 2, 9}, 3, drawn));
  EXPECT_TRUE(maths::dropoutKeeps({77, 2, 9}, 3, std::nextafterf(drawn, 2.f)));
  EXPECT_EQ(maths::scalar::dropout(3.f, 0.69f, 0.7f), 3.f * (1.f / 0.7f));
  EXPECT_EQ(maths::scalar::dropout(INFINITY, 0.7f, 0.7f), 0.f);
  EXPECT_FALSE(std::signbit(maths::scalar::dropout(-1.f, 0.9f, 0.7f)));
}

TEST(Philox, UniformNumbersAreSpreadEvenly) {
  std::vector<float> u(1 << 18);
  laneSets().back().random(42, 0, 0, false, u.data(), u.size());
  const auto n = static_cast<double>(u.size());
  double mean = 0;
  std::vector<double> bins(64);
  for (const float v : u) {
    ASSERT_GE(v, 0.f);
    ASSERT_LT(v, 1.f);
    mean += static_cast<double>(v) / n;
    bins[static_cast<std::size_t>(v * 64)] += 1;
  }
  EXPECT_NEAR(mean, 0.5, 5 / std::sqrt(12 * n));
  double chi = 0;
  for (const double b : bins) chi += (b - n / 64) * (b - n / 64) / (n / 64);
  EXPECT_LT(chi, 63 + 5 * std::sqrt(2 * 63.0));
}

TEST(Philox, NormalNumbersAreNormal) {
  std::vector<float> z(1 << 18);
  laneSets().back().random(42, 1, 0, true, z.data(), z.size());
  const auto n = static_cast<double>(z.size());
  double mean = 0, square = 0, third = 0, fourth = 0, neighbours = 0;
  for (std::size_t i = 0; i < z.size(); ++i) {
    const auto v = static_cast<double>(z[i]);
    ASSERT_TRUE(std::isfinite(v));
    mean += v / n;
    square += v * v / n;
    third += v * v * v / n;
    fourth += v * v * v * v / n;
    if (i) neighbours += v * static_cast<double>(z[i - 1]) / n;
  }
  EXPECT_NEAR(mean, 0, 5 / std::sqrt(n));
  EXPECT_NEAR(square, 1, 5 * std::sqrt(2 / n));
  EXPECT_NEAR(third, 0, 5 * std::sqrt(15 / n));
  EXPECT_NEAR(fourth, 3, 5 * std::sqrt(96 / n));
  EXPECT_NEAR(neighbours, 0, 5 / std::sqrt(n));
  // The distribution function at every rank (Kolmogorov and Smirnov).
  std::sort(z.begin(), z.end());
  double distance = 0;
  for (std::size_t i = 0; i < z.size(); ++i)
    distance = std::max(
        distance, std::fabs(0.5 * std::erfc(-static_cast<double>(z[i]) * std::sqrt(0.5)) - static_cast<double>(i) / n));
  EXPECT_LT(distance, 1.95 / std::sqrt(n));
}

TEST(Philox, NormalNumbersFollowBoxAndMuller) {
  const RandomStream stream{3, 4, 5};
  for (const LaneSet& set : laneSets()) {
    std::vector<float> z(4096);
    set.random(3, 4, 5, true, z.data(), z.size());
    for (std::size_t e = 0; e < z.size(); e += 2) {
      const double u = (static_cast<double>(stream.word(e) >> 8) + 1) / 16777216.0;
      const double v = static_cast<double>(stream.word(e + 1) >> 8) / 16777216.0 * 2 * std::acos(-1.0);
      const double r = std::sqrt(-2 * std::log(u));
      ASSERT_NEAR(z[e], r * std::cos(v), 2e-6) << set.name << " " << e;
      ASSERT_NEAR(z[e + 1], r * std::sin(v), 2e-6) << set.name << " " << e;
    }
  }
}

TEST(Philox, ScalingKeepsToItsBounds) {
  namespace m = maths::scalar;
  EXPECT_EQ(m::scaleUniform(0.f, -2.f, 3.f), -2.f);
  EXPECT_EQ(m::scaleUniform(0.5f, -2.f, 3.f), 0.5f);
  EXPECT_LE(m::scaleUniform(0x1.fffffep-1f, 0.1f, 0.3f), 0.3f);
  EXPECT_EQ(m::scaleNormal(2.f, 1.f, 3.f, -5.f, 6.f), 6.f);
  EXPECT_EQ(m::scaleNormal(-1.f, 1.f, 3.f, -5.f, 6.f), -2.f);
}

}  // namespace
}  // namespace kovar::test
