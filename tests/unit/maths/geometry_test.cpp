// Sizes and offsets against the documented table, the oracle's integers, and TensorFlow's rule.
#include "maths/geometry.hpp"

#include <gtest/gtest.h>

#include "maths/pool.hpp"
#include "oracle/padding.hpp"

namespace kovar::test {
namespace {

using maths::AxisFit;
using maths::PaddingAlign;
using maths::PaddingAxis;
using maths::PaddingSize;

TEST(Geometry, TableOfDocumentedCases) {
  struct Row {
    std::int64_t in, stride, kernel;
    PaddingSize size;
    std::int64_t out, offsetFar, offsetNear;
  };
  const Row rows[] = {
      {224, 2, 3, PaddingSize::Same, 112, 1, 0},   {5, 1, 2, PaddingSize::Same, 5, 1, 0},
      {8, 2, 2, PaddingSize::Same, 4, 1, 1},       {7, 1, 4, PaddingSize::Same, 7, 1, 0},
      {10, 2, 3, PaddingSize::ValidOnly, 4, 1, 1}, {8, 3, 1, PaddingSize::Same, 3, 0, 0},
      {12, 4, 1, PaddingSize::ValidOnly, 3, 1, 1}, {6, 1, 3, PaddingSize::Full, 8, -1, -1},
  };
  for (const Row& r : rows)
    for (const bool near : {false, true}) {
      const AxisFit fit = maths::fitForward(r.in, r.kernel, r.stride, {PaddingAlign::Centered, r.size, near});
      EXPECT_EQ(fit.out, r.out) << r.in << " " << r.stride << " " << r.kernel;
      EXPECT_EQ(fit.offset, near ? r.offsetNear : r.offsetFar) << r.in << " " << r.stride << " " << r.kernel;
    }
}

TEST(Geometry, AgreesWithTheOracleForEveryPolicy) {
  int valid = 0;
  for (std::uint32_t method = 0; method < 64; ++method) {
    if (!maths::validPaddingBits(method)) continue;
    for (const bool vertical : {false, true}) {
      const PaddingAxis axis = vertical ? maths::paddingAxisY(method) : maths::paddingAxisX(method);
      for (long in = 1; in <= 20; ++in)
        for (long s = 1; s <= 4; ++s)
          for (long k = 1; k <= 7; ++k)
            for (long d = 1; d <= 3; ++d) {
              const std::int64_t extent = maths::dilatedExtent(k, d);
              const oracle::AxisPadding f = oracle::forwardPadding(method, vertical, in, s, extent);
              const AxisFit fit = maths::fitForward(in, extent, s, axis);
              ASSERT_EQ(fit.out >= 1, f.size >= 1) << method << " " << in << " " << s << " " << k << " " << d;
              if (f.size >= 1) {
                ++valid;
                ASSERT_EQ(fit.out, f.size) << method << " " << in << " " << s << " " << k << " " << d;
                ASSERT_EQ(fit.offset, f.offset) << method << " " << in << " " << s << " " << k << " " << d;
                ASSERT_EQ(fit.before, f.left) << method << " " << in << " " << s << " " << k << " " << d;
                // The window of pixel 0 begins `before` pixels ahead of the source.
                ASSERT_EQ(maths::windowStart(fit.offset, extent), -fit.before);
                ASSERT_EQ(maths::windowPad(extent, fit.offset), fit.before);
              }
              const oracle::AxisPadding r = oracle::reversePadding(method, vertical, in, s, extent);
              const AxisFit reverse = maths::fitReverse(in, extent, s, axis);
              ASSERT_EQ(reverse.out, r.size);
              if (r.size >= 1) {
                ASSERT_EQ(reverse.offset, r.kernelOffset);
              }
            }
    }
  }
  EXPECT_GT(valid, 10000);
}

TEST(Geometry, SameWithTheRemainderFarIsTensorFlowsRule) {
  for (std::int64_t in = 1; in <= 20; ++in)
    for (std::int64_t s = 1; s <= 4; ++s)
      for (std::int64_t k = 1; k <= 7; ++k) {
        const AxisFit fit = maths::fitForward(in, k, s, {PaddingAlign::Centered, PaddingSize::Same, false});
        EXPECT_EQ(fit.out, (in + s - 1) / s);
        const std::int64_t extra = (fit.out - 1) * s + k - in;
        if (extra >= 0) {
          EXPECT_EQ(fit.before, extra / 2);
        }
      }
}

TEST(Geometry, PolicyBits) {
  EXPECT_EQ(maths::paddingAxisX(1u << 4), (PaddingAxis{PaddingAlign::Centered, PaddingSize::Same, true}));
  EXPECT_EQ(maths::paddingAxisX(1u << 4 | 1u << 2), (PaddingAxis{PaddingAlign::Centered, PaddingSize::Same, false}));
  EXPECT_EQ(maths::paddingAxisY(1u << 4 | 1u << 2), (PaddingAxis{PaddingAlign::Centered, PaddingSize::Same, true}));
  EXPECT_EQ(maths::paddingAxisY(2u << 4 | 1u << 3 | 2u),
            (PaddingAxis{PaddingAlign::BottomRight, PaddingSize::Full, false}));
  EXPECT_FALSE(maths::validPaddingBits(3u));
  EXPECT_FALSE(maths::validPaddingBits(3u << 4));
  EXPECT_TRUE(maths::validPaddingBits(1u << 15));
  EXPECT_EQ(maths::inverse(PaddingSize::ValidOnly), PaddingSize::Full);
  EXPECT_EQ(maths::inverse(PaddingSize::Full), PaddingSize::ValidOnly);
  EXPECT_EQ(maths::inverse(PaddingSize::Same), PaddingSize::Same);
}

TEST(Geometry, GradientPlaces) {
  EXPECT_EQ(maths::firstPooledPixel(3, 3), 2);
  EXPECT_EQ(maths::firstPooledPixel(0, 3), 0);
  EXPECT_EQ(maths::firstPooledPixel(4, 4), 2);
  EXPECT_EQ(maths::convolutionGradientOffset(1, 3), 0);
  EXPECT_EQ(maths::convolutionGradientOffset(0, 5), -2);
}

// Divisors by counting positions one by one.
TEST(Geometry, AverageDivisors) {
  for (std::int64_t in = 1; in <= 6; ++in)
    for (std::int64_t kernel = 1; kernel <= 5; ++kernel)
      for (std::int64_t pad = 0; pad <= 2; ++pad)
        for (std::int64_t start = -8; start <= 8; ++start) {
          std::int64_t count = 0;
          for (std::int64_t p = start; p < start + kernel; ++p) count += p >= -pad && p < in + pad;
          EXPECT_EQ(maths::shrunkCount(start, kernel, in, pad), count);
        }
  EXPECT_EQ(maths::averageDivisor(true, 3, 2, 1, 1), 6);
  EXPECT_EQ(maths::averageDivisor(false, 3, 2, 2, 1), 2);
  EXPECT_EQ(maths::averageDivisor(false, 3, 2, 0, 1), 0);
}

}  // namespace
}  // namespace kovar::test
