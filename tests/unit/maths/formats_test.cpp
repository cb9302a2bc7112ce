// Storage formats: every half, every rounding case of a float, both unorms; on every set of lanes.
#include "maths/formats.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "cuda/lane_bits_cases.hpp"
#include "lane_targets.hpp"
#include "oracle/formats.hpp"

namespace kovar::test {
namespace {

/// binary16 decoded by its definition.
double halfValue(unsigned h) {
  const int exponent = static_cast<int>((h >> 10) & 31u);
  const double mantissa = static_cast<double>(h & 1023u), sign = h & 0x8000u ? -1.0 : 1.0;
  if (exponent == 31) return mantissa == 0 ? sign * INFINITY : NAN;
  return sign * (exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25));
}

TEST(Formats, EveryHalfIsReadExactly) {
  for (unsigned h = 0; h < 65536; ++h) {
    const float f = maths::floatFromHalf(static_cast<std::uint16_t>(h));
    const double exact = halfValue(h);
    if (std::isnan(exact)) {
      ASSERT_TRUE(std::isnan(f)) << h;
    } else {
      ASSERT_EQ(std::bit_cast<std::uint32_t>(f), std::bit_cast<std::uint32_t>(static_cast<float>(exact))) << h;
      ASSERT_EQ(maths::halfFromFloat(f), h);
    }
  }
}

/// Each half, the middle to its neighbour, and the floats next to both.
std::vector<float> roundingCases() {
  std::vector<float> x = laneInputs().x;
  for (unsigned h = 0; h < 0x7c00u; ++h) {
    const double a = halfValue(h), b = h == 0x7bffu ? 65536.0 : halfValue(h + 1);
    const auto at = static_cast<float>(a), middle = static_cast<float>((a + b) / 2);
    for (const float f : {at, middle})
      for (const float to : {-INFINITY, INFINITY}) {
        x.push_back(f);
        x.push_back(std::nextafterf(f, to));
        x.push_back(-f);
        x.push_back(-std::nextafterf(f, to));
      }
  }
  return x;
}

TEST(Formats, FloatsAreRoundedToTheNearestHalf) {
  const std::vector<float> x = roundingCases();
  for (const LaneSet& set : laneSets()) {
    std::vector<std::uint16_t> half(x.size()), u16(x.size());
    std::vector<float> back(x.size());
    std::vector<std::uint8_t> u8(x.size());
    set.formats(x.data(), half.data(), back.data(), u8.data(), u16.data(), x.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
      if (std::isnan(x[i])) {
        ASSERT_TRUE(std::isnan(halfValue(half[i]))) << set.name << " " << x[i];
        ASSERT_NE(half[i] & 0x200u, 0u) << set.name << ": a NaN must be stored quiet";
        ASSERT_TRUE(std::isnan(back[i]));
      } else {
        ASSERT_EQ(half[i], oracle::toHalfBits(static_cast<double>(x[i]))) << set.name << " " << x[i];
        ASSERT_EQ(static_cast<double>(back[i]), halfValue(half[i])) << set.name << " " << x[i];
      }
      ASSERT_EQ(half[i], maths::halfFromFloat(x[i])) << set.name << " " << x[i];
      const int e8 = oracle::toUnorm8(static_cast<double>(x[i])), e16 = oracle::toUnorm16(static_cast<double>(x[i]));
      ASSERT_LE(std::abs(u8[i] - e8), set.fused ? 0 : 1) << set.name << " " << x[i];
      ASSERT_LE(std::abs(u16[i] - e16), set.fused ? 0 : 1) << set.name << " " << x[i];
    }
  }
}

TEST(Formats, BordersOfHalf) {
  EXPECT_EQ(maths::halfFromFloat(65519.996f), 0x7bff);
  EXPECT_EQ(maths::halfFromFloat(65520.f), 0x7c00);
  EXPECT_EQ(maths::halfFromFloat(-65520.f), 0xfc00);
  EXPECT_EQ(maths::halfFromFloat(2049.f), 0x6800);
  EXPECT_EQ(maths::halfFromFloat(2051.f), 0x6802);
  EXPECT_EQ(maths::halfFromFloat(0x1p-25f), 0);
  EXPECT_EQ(maths::halfFromFloat(0x1.000002p-25f), 1);
  EXPECT_EQ(maths::halfFromFloat(-0x1p-24f), 0x8001);
  EXPECT_EQ(maths::halfFromFloat(-0.f), 0x8000);
}

TEST(Formats, UnormCodes) {
  for (unsigned v = 0; v < 65536; ++v) {
    EXPECT_EQ(maths::unorm16FromFloat(maths::floatFromUnorm16(static_cast<std::uint16_t>(v))), v);
    ASSERT_EQ(maths::floatFromUnorm16(static_cast<std::uint16_t>(v)), static_cast<float>(v / 65535.0));
    if (v > 255) continue;
    EXPECT_EQ(maths::unorm8FromFloat(maths::floatFromUnorm8(static_cast<std::uint8_t>(v))), v);
    EXPECT_EQ(maths::floatFromUnorm8(static_cast<std::uint8_t>(v)), static_cast<float>(v / 255.0));
  }
  EXPECT_EQ(maths::unorm8FromFloat(2.f), 255);
  EXPECT_EQ(maths::unorm8FromFloat(-1.f), 0);
  EXPECT_EQ(maths::unorm8FromFloat(std::numeric_limits<float>::quiet_NaN()), 0);
  EXPECT_EQ(maths::unorm16FromFloat(std::numeric_limits<float>::infinity()), 65535);
  EXPECT_EQ(maths::unorm16FromFloat(-std::numeric_limits<float>::quiet_NaN()), 0);
  // 0.5 * 255 = 127.5: to even.
  EXPECT_EQ(maths::unorm8FromFloat(0.5f), 128);
}

}  // namespace
}  // namespace kovar::test
