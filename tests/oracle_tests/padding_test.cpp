// Sizes and offsets of the padding policies.

#include "oracle/padding.hpp"

#include <gtest/gtest.h>

#include <cmath>

namespace kovar::oracle {
namespace {

using namespace padding;
constexpr uint32_t kFar = kRemainderRight | kRemainderBottom;

TEST(OraclePadding, TableOfTheDocumentation) {
  struct Row {
    long in, stride, kernel;
    uint32_t size;
    long out, offsetFar, offsetNear;
  };
  const Row rows[] = {{224, 2, 3, kSame, 112, 1, 0},   {5, 1, 2, kSame, 5, 1, 0},       {8, 2, 2, kSame, 4, 1, 1},
                      {7, 1, 4, kSame, 7, 1, 0},       {10, 2, 3, kValidOnly, 4, 1, 1}, {8, 3, 1, kSame, 3, 0, 0},
                      {12, 4, 1, kValidOnly, 3, 1, 1}, {6, 1, 3, kFull, 8, -1, -1}};
  for (const Row& r : rows) {
    SCOPED_TRACE(testing::Message() << r.in << " " << r.stride << " " << r.kernel);
    for (bool vertical : {false, true}) {
      const AxisPadding nearSide = forwardPadding(r.size, vertical, r.in, r.stride, r.kernel);
      const AxisPadding farSide = forwardPadding(r.size | kFar, vertical, r.in, r.stride, r.kernel);
      EXPECT_EQ(nearSide.size, r.out);
      EXPECT_EQ(farSide.size, r.out);
      EXPECT_EQ(farSide.offset, r.offsetFar);
      EXPECT_EQ(nearSide.offset, r.offsetNear);
    }
  }
}

TEST(OraclePadding, SizesByCeilingAndFloor) {
  for (long in = 1; in <= 20; ++in)
    for (long s = 1; s <= 4; ++s)
      for (long k = 1; k <= 7; ++k) {
        SCOPED_TRACE(testing::Message() << in << " " << s << " " << k);
        const auto i = static_cast<double>(in), st = static_cast<double>(s), kd = static_cast<double>(k);
        EXPECT_EQ(forwardPadding(kSame, false, in, s, k).size, std::ceil(i / st));
        EXPECT_EQ(forwardPadding(kValidOnly, false, in, s, k).size, std::floor((i - kd) / st) + 1);
        EXPECT_EQ(forwardPadding(kFull, false, in, s, k).size, std::ceil((i + kd - 1) / st));
      }
}

TEST(OraclePadding, SameWithFarRemainderIsTensorFlows) {
  for (long in = 1; in <= 20; ++in)
    for (long s = 1; s <= 4; ++s)
      for (long k = 1; k <= 7; ++k) {
        const AxisPadding a = forwardPadding(kSame | kFar, true, in, s, k);
        const long extra = (a.size - 1) * s + k - in;
        if (extra < 0) continue;  // TensorFlow leaves unread pixels at the end
        EXPECT_EQ(a.offset, k / 2 - extra / 2) << in << " " << s << " " << k;
      }
}

TEST(OraclePadding, EachAxisHasItsRemainderBit) {
  EXPECT_EQ(forwardPadding(kSame | kRemainderRight, false, 5, 1, 2).offset, 1);
  EXPECT_EQ(forwardPadding(kSame | kRemainderRight, true, 5, 1, 2).offset, 0);
  EXPECT_EQ(forwardPadding(kSame | kRemainderBottom, false, 5, 1, 2).offset, 0);
  EXPECT_EQ(forwardPadding(kSame | kRemainderBottom, true, 5, 1, 2).offset, 1);
}

TEST(OraclePadding, AlignmentPutsAllOnOneSide) {
  EXPECT_EQ(forwardPadding(kSame | kAlignTopLeft, false, 7, 1, 4).offset, 2 - 3);
  EXPECT_EQ(forwardPadding(kSame | kAlignBottomRight, false, 7, 1, 4).offset, 2);
  // unread pixels stay at the end, as in the frameworks
  EXPECT_EQ(forwardPadding(kValidOnly | kAlignBottomRight, false, 12, 4, 1).offset, 0);
}

TEST(OraclePadding, ReverseUndoesForward) {
  // valid forward, full back; where the stride leaves no rest the sizes meet again
  for (long in = 3; in <= 20; ++in)
    for (long s = 1; s <= 4; ++s)
      for (long k = 1; k <= 3; ++k) {
        const long out = forwardPadding(kValidOnly, false, in, s, k).size;
        if ((in - k) % s != 0) continue;
        EXPECT_EQ(reversePadding(kFull, false, out, s, k).size, in);
      }
  EXPECT_EQ(reversePadding(kFull, false, 3, 2, 3).kernelOffset, -1);
  EXPECT_EQ(reversePadding(kSame, false, 3, 2, 3).kernelOffset, 0);
  EXPECT_EQ(reversePadding(kValidOnly, false, 3, 2, 3).kernelOffset, 1);
  EXPECT_EQ(reversePadding(kFull, false, 3, 2, 3).size, 7);
  EXPECT_EQ(reversePadding(kSame, false, 3, 2, 3).size, 5);
  EXPECT_EQ(reversePadding(kValidOnly, false, 3, 2, 3).size, 3);
}

}  // namespace
}  // namespace kovar::oracle
