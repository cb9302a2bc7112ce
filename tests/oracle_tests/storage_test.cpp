// Formats, buffer layouts, regions and edges.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "oracle/conv.hpp"
#include "oracle/formats.hpp"
#include "oracle/layout.hpp"
#include "oracle/neuron.hpp"
#include "support/random.hpp"

namespace kovar::oracle {
namespace {

TEST(OracleFormats, HalfKnownValues) {
  EXPECT_EQ(toHalfBits(0.0), 0x0000);
  EXPECT_EQ(toHalfBits(-0.0), 0x8000);
  EXPECT_EQ(toHalfBits(1.0), 0x3c00);
  EXPECT_EQ(toHalfBits(-2.0), 0xc000);
  EXPECT_EQ(toHalfBits(65504.0), 0x7bff);
  EXPECT_EQ(toHalfBits(65519.0), 0x7bff);
  EXPECT_EQ(toHalfBits(65520.0), 0x7c00);
  EXPECT_EQ(toHalfBits(-INFINITY), 0xfc00);
  EXPECT_EQ(toHalfBits(2049.0), toHalfBits(2048.0));  // tie to even
  EXPECT_EQ(toHalfBits(2051.0), toHalfBits(2052.0));
  EXPECT_EQ(toHalfBits(0x1p-24), 0x0001);
  EXPECT_EQ(toHalfBits(0x1p-25), 0x0000);  // tie to even
  EXPECT_EQ(toHalfBits(0x1.8p-24), 0x0002);
  EXPECT_EQ(toHalfBits(0x1.ffcp-15), 0x03ff + 1);  // largest subnormal's upper neighbour is the smallest normal
  EXPECT_TRUE(std::isnan(roundToHalf(NAN)));
}

TEST(OracleFormats, HalfRoundTripAndMonotone) {
  double last = -INFINITY;
  for (uint32_t b = 0xfbff; b >= 0x8000; --b) {  // negative numbers, rising
    const double v = fromHalfBits(static_cast<uint16_t>(b));
    EXPECT_EQ(toHalfBits(v), b);
    EXPECT_GT(v, last);
    last = v;
  }
  last = -1;
  for (uint32_t b = 0; b < 0x7c00; ++b) {
    const double v = fromHalfBits(static_cast<uint16_t>(b));
    EXPECT_EQ(toHalfBits(v), b);
    EXPECT_GT(v, last);
    // halfway between neighbours goes to the even one
    if (b > 0) {
      EXPECT_EQ(toHalfBits((last + v) / 2), b % 2 == 0 ? b : b - 1);
    }
    last = v;
  }
}

#ifndef __clang__  // clang 14 has no such type on x86-64
TEST(OracleFormats, HalfAgreesWithTheCompilers) {
  test::forCases(1, [](test::Case& k) {
    for (int i = 0; i < 20000; ++i) {
      const double v = std::ldexp(k.random.real(-1, 1), static_cast<int>(k.random.integer(-28, 17)));
      EXPECT_EQ(roundToHalf(v), static_cast<double>(static_cast<_Float16>(v))) << v;
    }
  });
}
#endif

TEST(OracleFormats, Unorm) {
  for (int i = 0; i < 256; ++i) EXPECT_EQ(toUnorm8(fromUnorm8(static_cast<uint8_t>(i))), i);
  for (int i = 0; i < 65536; ++i) EXPECT_EQ(toUnorm16(fromUnorm16(static_cast<uint16_t>(i))), i);
  EXPECT_EQ(toUnorm8(-3), 0);
  EXPECT_EQ(toUnorm8(7), 255);
  EXPECT_EQ(toUnorm8(NAN), 0);
  EXPECT_EQ(toUnorm16(NAN), 0);
  EXPECT_EQ(toUnorm8(INFINITY), 255);
  EXPECT_EQ(toUnorm8(0.5), 128);     // 127.5: to the even code
  EXPECT_EQ(toUnorm16(0.5), 32768);  // 32767.5
  EXPECT_EQ(toUnorm8(2.5 / 255), 2);
}

TEST(OracleLayout, AddressesOfAWholeImage) {
  Tensor image(1, 2, 3, 4);
  for (size_t i = 0; i < image.size(); ++i) image.v[i] = static_cast<double>(i);
  const Transfer hwc = wholeImage(image, DataLayout::HeightxWidthxFeatureChannels, 4);
  EXPECT_EQ(readBytes(hwc, image, std::vector<double>(24)), image.v);
  const Transfer chw = wholeImage(image, DataLayout::FeatureChannelsxHeightxWidth, 2);
  EXPECT_EQ(chw.address(0, 1, 2, 3), ((3u * 2 + 1) * 3 + 2) * 2);
  const std::vector<double> planes = readBytes(chw, image, std::vector<double>(24));
  EXPECT_EQ(planes[1], 4.0);  // second pixel of plane 0
  EXPECT_EQ(planes[6], 1.0);  // first pixel of plane 1
  EXPECT_EQ(writeBytes(chw, planes, Tensor(1, 2, 3, 4)).v, image.v);
}

TEST(OracleLayout, StridesLeaveGaps) {
  Tensor image(3, 4, 5, 8);
  for (size_t i = 0; i < image.size(); ++i) image.v[i] = static_cast<double>(i);
  for (DataLayout layout : {DataLayout::HeightxWidthxFeatureChannels, DataLayout::FeatureChannelsxHeightxWidth}) {
    Transfer t;
    t.layout = layout;
    t.elementSize = 2;
    t.x0 = 1, t.y0 = 2, t.width = 3, t.height = 2, t.depth = 2;
    t.firstChannel = 4, t.channels = 4, t.imageIndex = 1;
    t.bytesPerColumn = 10, t.bytesPerRow = 34, t.bytesPerImage = 400;
    std::set<size_t> seen;
    for (size_t i = 0; i < 2; ++i)
      for (size_t y = 0; y < 2; ++y)
        for (size_t x = 0; x < 3; ++x)
          for (size_t f = 0; f < 4; ++f) EXPECT_TRUE(seen.insert(t.address(i, y, x, f)).second);
    std::vector<double> buffer = readBytes(t, image, std::vector<double>(t.length() / 2, -1.0));
    EXPECT_EQ(static_cast<size_t>(std::count(buffer.begin(), buffer.end(), -1.0)), buffer.size() - 48);
    EXPECT_EQ(buffer[t.address(1, 1, 2, 3) / 2], image.at(2, 3, 3, 7));
    const Tensor back = writeBytes(t, buffer, Tensor(3, 4, 5, 8, -2.0));
    EXPECT_EQ(static_cast<size_t>(std::count(back.v.begin(), back.v.end(), -2.0)), back.size() - 48);
    EXPECT_EQ(back.at(2, 3, 3, 7), image.at(2, 3, 3, 7));
    t.imageIndex = 0, t.z0 = 1;  // the first image may be named either way
    EXPECT_EQ(readBytes(t, image, std::vector<double>(buffer.size(), -1.0)), buffer);
    EXPECT_EQ(writeBytes(t, buffer, Tensor(3, 4, 5, 8, -2.0)).v, back.v);
  }
}

TEST(OracleRegion, ClipsToTheDestination) {
  const Tensor d(3, 4, 5, 1);
  Region r = effectiveRegion({}, d, 0, 7);
  EXPECT_EQ(r.w, 5);
  EXPECT_EQ(r.h, 4);
  EXPECT_EQ(r.d, 3);
  r = effectiveRegion({2, 3, 1, 9, 9, kNoClip}, d, 5, 6);
  EXPECT_EQ(r.w, 3);
  EXPECT_EQ(r.h, 1);
  EXPECT_EQ(r.d, 1);  // one source image is left
  EXPECT_TRUE(effectiveRegion({5, 0, 0, 1, 1, kNoClip}, d, 0, 3).empty());
  EXPECT_TRUE(effectiveRegion({0, 0, 0, 0, 1, kNoClip}, d, 0, 3).empty());
  EXPECT_THROW(effectiveRegion({0, 0, 1, 1, 1, 3}, d, 0, 9), std::invalid_argument);
  EXPECT_THROW(effectiveRegion({0, 0, 0, 1, 1, 3}, d, 0, 2), std::invalid_argument);
  EXPECT_THROW(effectiveRegion({}, d, -1, 2), std::invalid_argument);
}

TEST(OracleRegion, EdgeModes) {
  Tensor t(1, 1, 3, 1);
  t.v = {1, 2, 3};
  auto read = [&](EdgeMode m) {
    std::vector<double> v;
    for (long x = -4; x <= 6; ++x) v.push_back(readEdge(t, m, 0, 0, x, 0, 9));
    return v;
  };
  EXPECT_EQ(read(EdgeMode::Zero), (std::vector<double>{0, 0, 0, 0, 1, 2, 3, 0, 0, 0, 0}));
  EXPECT_EQ(read(EdgeMode::Clamp), (std::vector<double>{1, 1, 1, 1, 1, 2, 3, 3, 3, 3, 3}));
  EXPECT_EQ(read(EdgeMode::Mirror), (std::vector<double>{1, 2, 3, 2, 1, 2, 3, 2, 1, 2, 3}));
  EXPECT_EQ(read(EdgeMode::MirrorWithEdge), (std::vector<double>{3, 3, 2, 1, 1, 2, 3, 3, 2, 1, 1}));
  EXPECT_EQ(read(EdgeMode::Constant), (std::vector<double>{9, 9, 9, 9, 1, 2, 3, 9, 9, 9, 9}));
  EXPECT_EQ(readEdge(slice(t, 0, 1, 1, 1, 0, 1), EdgeMode::Mirror, 0, 0, -5, 0), 2.0);
}

TEST(OracleRegion, OffsetIsRelativeToTheClipOriginAndTheRestStays) {
  Tensor s(2, 1, 4, 5), d(3, 1, 6, 8, -1.0);
  for (size_t i = 0; i < s.size(); ++i) s.v[i] = static_cast<double>(i) + 1;
  Attributes at;
  at.offset = {1, 0, 1};
  at.clip = {2, 0, 2, 2, 1, 1};
  at.sourceChannelOffset = 4;
  at.destinationChannelOffset = 4;
  const Result r = neuronForward(Neuron{}, at, s, d);
  EXPECT_EQ(r.value.at(2, 0, 2, 4), s.at(1, 0, 1, 4));
  EXPECT_EQ(r.value.at(2, 0, 3, 4), s.at(1, 0, 2, 4));
  EXPECT_EQ(std::count(r.value.v.begin(), r.value.v.end(), -1.0), static_cast<long>(d.size()) - 2);
  EXPECT_EQ(std::count(r.magnitude.v.begin(), r.magnitude.v.end(), 0.0), static_cast<long>(d.size()) - 2);
}

TEST(OracleRegion, FoldedBatchNormAndNeuronOrder) {
  Conv c;
  c.kernelWidth = c.kernelHeight = 1;
  c.normalise = true;
  c.batchNorm = {{3}, {15}, {2}, {10}, 1};  // (v - 3) / 4 * 2 + 10
  c.neuron = {NeuronType::ReLU, 0.5, 0, 0, {}};
  Tensor s(1, 1, 2, 1);
  s.v = {5, -50};
  EXPECT_EQ(convForward(c, s, {2}, {1}, Tensor(1, 1, 2, 1)).value.v, (std::vector<double>{14, -0.5 * 41}));
}

TEST(OracleRegion, ConvolutionRefusesWhatDoesNotFit) {
  Conv c;
  c.inputChannels = 3;
  c.kernelWidth = c.kernelHeight = 1;
  const Tensor s(1, 2, 2, 3), d(1, 2, 2, 1);
  EXPECT_THROW(convForward(c, s, {1, 2}, {}, d), std::invalid_argument);
  EXPECT_THROW(convForward(c, s, {1, 2, 3}, {1, 2}, d), std::invalid_argument);
  EXPECT_THROW(convForward(c, Tensor(1, 2, 2, 2), {1, 2, 3}, {}, d), std::invalid_argument);
  c.at.destinationChannelOffset = 4;
  EXPECT_THROW(convForward(c, s, {1, 2, 3}, {}, d), std::invalid_argument);
  c.at.destinationChannelOffset = 0;
  c.at.edge = EdgeMode::Mirror;
  EXPECT_THROW(convDataGradient(c, {1, 2, 3}, Tensor(1, 9, 9, 1), s), std::invalid_argument);
}

}  // namespace
}  // namespace kovar::oracle
