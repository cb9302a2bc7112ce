// One-dimensional vectors worked out by hand and by an independent script: the documented geometry in its smallest
// form.

#include <gtest/gtest.h>

#include "oracle/conv.hpp"
#include "oracle/conv_transpose.hpp"
#include "oracle/pooling.hpp"

namespace kovar::oracle {
namespace {

using Row = std::vector<double>;

Tensor row(const Row& values) {
  Tensor t(1, 1, values.size(), 1);
  t.v = values;
  return t;
}

Row convRow(const Row& weights, const Row& source, size_t outputs, long offset, EdgeMode edge, long stride = 1,
            long dilation = 1) {
  Conv c;
  c.kernelWidth = static_cast<long>(weights.size());
  c.kernelHeight = 1;
  c.strideX = stride;
  c.dilationX = dilation;
  c.at.offset.x = offset;
  c.at.edge = edge;
  return convForward(c, row(source), weights, {}, Tensor(1, 1, outputs, 1)).value.v;
}

Row poolRow(PoolKind kind, const Row& source, size_t outputs, EdgeMode edge, long kernel, long stride,
            long dilation = 1, long zeroPad = 0) {
  Pool p;
  p.kind = kind;
  p.kernelWidth = kernel;
  p.kernelHeight = 1;
  p.strideX = stride;
  p.dilationX = dilation;
  p.zeroPadSizeX = zeroPad;
  p.at.edge = edge;
  return poolForward(p, row(source), Tensor(1, 1, outputs, 1)).value.v;
}

Row transposeRow(const Row& source, size_t outputs, long kernelOffset) {
  ConvTranspose t;
  t.conv.kernelWidth = 3;
  t.conv.kernelHeight = 1;
  t.conv.strideX = 2;
  t.kernelOffsetX = kernelOffset;
  return convTransposeForward(t, row(source), {1, 10, 100}, {}, Tensor(1, 1, outputs, 1)).value.v;
}

const Row kFive{1, 2, 3, 4, 5};
const Row kPool{3, 6, 9, 12};

TEST(PublishedVectors, Convolution) {
  EXPECT_EQ(convRow({1, 10, 100}, kFive, 5, 0, EdgeMode::Zero), (Row{210, 321, 432, 543, 54}));
  EXPECT_EQ(convRow({1, 10, 100}, kFive, 5, 0, EdgeMode::Clamp), (Row{211, 321, 432, 543, 554}));
  // an even kernel leans to the left
  EXPECT_EQ(convRow({1, 10}, kFive, 5, 0, EdgeMode::Zero), (Row{10, 21, 32, 43, 54}));
  EXPECT_EQ(convRow({1, 10}, kFive, 4, 1, EdgeMode::Zero), (Row{21, 32, 43, 54}));
  EXPECT_EQ(convRow({1, 10}, kFive, 5, 0, EdgeMode::Zero, 1, 3), (Row{20, 30, 41, 52, 3}));
  EXPECT_EQ(convRow({1, 10, 100, 1000}, kFive, 2, 1, EdgeMode::Zero, 2), (Row{3210, 5432}));
}

TEST(PublishedVectors, TransposedConvolution) {
  EXPECT_EQ(transposeRow({1, 2, 3}, 5, 0), (Row{10, 201, 20, 302, 30}));
  EXPECT_EQ(transposeRow({1, 2, 3}, 7, -1), (Row{100, 10, 201, 20, 302, 30, 3}));
  EXPECT_EQ(transposeRow({1, 2, 3}, 3, 1), (Row{201, 20, 302}));
}

TEST(PublishedVectors, AveragePooling) {
  EXPECT_EQ(poolRow(PoolKind::Average, kPool, 4, EdgeMode::Zero, 3, 1), (Row{3, 6, 9, 7}));
  EXPECT_EQ(poolRow(PoolKind::Average, kPool, 4, EdgeMode::Clamp, 3, 1), (Row{4.5, 6, 9, 10.5}));
  EXPECT_EQ(poolRow(PoolKind::Average, kPool, 4, EdgeMode::Clamp, 3, 1, 1, 1), (Row{3, 6, 9, 7}));
  EXPECT_EQ(poolRow(PoolKind::Average, kPool, 3, EdgeMode::Zero, 3, 2), (Row{3, 9, 4}));
  EXPECT_EQ(poolRow(PoolKind::Average, kPool, 3, EdgeMode::Clamp, 3, 2), (Row{4.5, 9, 12}));
  EXPECT_EQ(poolRow(PoolKind::Average, kPool, 3, EdgeMode::Clamp, 3, 2, 1, 1), (Row{3, 9, 6}));
}

TEST(PublishedVectors, AverageOfAWindowOffTheImageIsZero) {
  Pool p;
  p.kind = PoolKind::Average;
  p.kernelHeight = 1;
  p.at.edge = EdgeMode::Clamp;
  p.at.offset.x = 9;
  EXPECT_EQ(poolForward(p, row(kPool), Tensor(1, 1, 2, 1, 5.0)).value.v, (Row{0, 0}));
}

TEST(PublishedVectors, DilatedMaximum) {
  EXPECT_EQ(poolRow(PoolKind::Max, {5, 1, 1, 1, 9, 1}, 6, EdgeMode::Clamp, 2, 1, 3), (Row{5, 5, 5, 9, 1, 1}));
  EXPECT_EQ(poolRow(PoolKind::Max, {-5, -1, -1, -1, -9, -1}, 6, EdgeMode::Zero, 2, 1, 3), (Row{0, 0, -1, -1, -1, 0}));
}

TEST(PublishedVectors, AverageOfOneToNineDividesTheCornerByNine) {
  Pool p;
  p.kind = PoolKind::Average;
  p.kernelWidth = p.kernelHeight = 3;
  Tensor s(1, 3, 3, 1);
  for (size_t i = 0; i < 9; ++i) s.v[i] = static_cast<double>(i + 1);
  EXPECT_DOUBLE_EQ(poolForward(p, s, Tensor(1, 3, 3, 1)).value.v[0], 12.0 / 9.0);
}

TEST(PublishedVectors, SubPixelBlocksAreRowColumnChannel) {
  Conv c;
  c.kernelWidth = c.kernelHeight = 1;
  c.outputChannels = 8;
  c.subPixelScale = 2;
  const Row weights{0, 1, 2, 3, 4, 5, 6, 7};
  EXPECT_EQ(convForward(c, row({1}), weights, {}, Tensor(1, 2, 2, 2)).value.v, weights);
}

}  // namespace
}  // namespace kovar::oracle
