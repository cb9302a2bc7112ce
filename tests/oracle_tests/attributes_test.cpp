// Offset, clip rectangle, image ranges and channel offsets mean the same for every kernel; magnitudes cover float32.

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "oracle/arithmetic.hpp"
#include "oracle/conv.hpp"
#include "oracle/dropout.hpp"
#include "oracle/layout.hpp"
#include "oracle/loss.hpp"
#include "oracle/neuron.hpp"
#include "oracle/pooling.hpp"
#include "oracle/softmax.hpp"
#include "support/compare.hpp"
#include "support/geometry.hpp"

namespace kovar::oracle {
namespace {

using test::Case;
using test::forCases;
using test::Random;
using test::randomTensor;

// The pixels an unwindowed kernel reads, as an image of their own.
Tensor readPart(const Tensor& s, Offset o, EdgeMode edge, size_t c0, size_t channels, const Region& r) {
  Tensor out(static_cast<size_t>(r.d), static_cast<size_t>(r.h), static_cast<size_t>(r.w), channels);
  for (size_t n = 0; n < out.n; ++n)
    for (size_t y = 0; y < out.h; ++y)
      for (size_t x = 0; x < out.w; ++x)
        for (size_t c = 0; c < channels; ++c)
          out.at(n, y, x, c) = readEdge(s, edge, static_cast<size_t>(o.z) + n, o.y + static_cast<long>(y),
                                        o.x + static_cast<long>(x), c0 + c);
  return out;
}

Tensor paste(Tensor into, const Tensor& part, const Region& r, size_t channel) {
  for (size_t n = 0; n < part.n; ++n)
    for (size_t y = 0; y < part.h; ++y)
      for (size_t x = 0; x < part.w; ++x)
        for (size_t c = 0; c < part.c; ++c)
          into.at(static_cast<size_t>(r.z) + n, static_cast<size_t>(r.y) + y, static_cast<size_t>(r.x) + x,
                  channel + c) = part.at(n, y, x, c);
  return into;
}

Attributes randomAttributes(Random& r) {
  Attributes at;
  at.offset = {r.integer(-2, 3), r.integer(-2, 3), r.integer(0, 1)};
  at.clip = {r.integer(0, 2), r.integer(0, 2), r.integer(0, 1), r.integer(1, 4), r.integer(1, 4), r.integer(1, 2)};
  at.edge = r.pick({EdgeMode::Zero, EdgeMode::Clamp});
  at.sourceChannelOffset = r.size(0, 3);
  at.sourceChannelMaxCount = r.size(1, 4);
  at.destinationChannelOffset = r.size(0, 3);
  return at;
}

using Unary =
    std::function<Result(const Attributes&, const Tensor& source, const Tensor& destination, const Tensor& mask)>;

TEST(OracleAttributes, UnaryKernelsActOnTheirPart) {
  Neuron neuron{NeuronType::PReLU, 0, 0, 0, {0.25, 0.5, 0.75, 1.5}};  // slopes count from the first used channel
  const Unary kernels[] = {[&](const Attributes& at, const Tensor& s, const Tensor& d, const Tensor&) {
                             return neuronForward(neuron, at, s, d);
                           },
                           [](const Attributes& at, const Tensor& s, const Tensor& d, const Tensor&) {
                             return softmaxForward({}, at, s, d);
                           },
                           [](const Attributes& at, const Tensor& s, const Tensor& d, const Tensor& mask) {
                             return dropoutApply({}, at, s, mask, d);
                           },
                           [](const Attributes& at, const Tensor& s, const Tensor& d, const Tensor&) {
                             Pool p;
                             p.kernelWidth = p.kernelHeight = 1;
                             p.at = at;
                             return poolForward(p, s, d);
                           },
                           [](const Attributes& at, const Tensor& s, const Tensor& d, const Tensor&) {
                             Arithmetic a;  // both operands the same image, each read in its own way
                             a.clip = at.clip;
                             a.destinationChannelOffset = at.destinationChannelOffset;
                             for (Operand* o : {&a.primary, &a.secondary}) {
                               o->offset = at.offset;
                               o->edge = at.edge;
                               o->channelOffset = at.sourceChannelOffset;
                               o->channelMaxCount = at.sourceChannelMaxCount;
                             }
                             return arithmeticForward(a, s, s, d);
                           }};
  forCases(200, [&](Case& k) {
    const Attributes at = randomAttributes(k.random);
    const Tensor s = randomTensor(k.random, 3, 4, 5, 8, {-2, 2, false});
    const Tensor d = randomTensor(k.random, 3, 5, 4, 8, {-2, 2, false});
    const Region r = effectiveRegion(at.clip, d, at.offset.z, s.n);
    ASSERT_FALSE(r.empty());
    const Tensor part = readPart(s, at.offset, at.edge, at.sourceChannelOffset, at.sourceChannelMaxCount, r);
    Tensor mask(s.n, part.h, part.w, part.c);  // one for each source image
    for (double& m : mask.v) m = k.random.chance(0.5);
    Tensor maskPart = mask;
    maskPart.v.erase(maskPart.v.begin(), maskPart.v.begin() + at.offset.z * static_cast<long>(mask.size() / s.n));
    maskPart.n -= static_cast<size_t>(at.offset.z);
    for (size_t i = 0; i < std::size(kernels); ++i) {
      const Result whole = kernels[i](at, s, d, mask);
      const Result plain = kernels[i]({}, part, Tensor(part.n, part.h, part.w, part.c), maskPart);
      EXPECT_EQ(whole.value.v, paste(d, plain.value, r, at.destinationChannelOffset).v) << "kernel " << i;
      const Tensor untouched(d.n, d.h, d.w, d.c);
      EXPECT_EQ(whole.magnitude.v, paste(untouched, plain.magnitude, r, at.destinationChannelOffset).v)
          << "kernel " << i;
    }
  });
}

TEST(OracleAttributes, GradientKernelsActOnTheirPart) {
  forCases(200, [](Case& k) {
    Random& r = k.random;
    GradientAttributes at;
    const Attributes a = randomAttributes(r), b = randomAttributes(r);
    at.primaryOffset = a.offset;
    at.secondaryOffset = b.offset;
    at.primaryEdge = a.edge;
    at.secondaryEdge = b.edge;
    at.primaryChannelOffset = a.sourceChannelOffset;
    at.secondaryChannelOffset = b.sourceChannelOffset;
    at.channelMaxCount = a.sourceChannelMaxCount;
    at.destinationChannelOffset = a.destinationChannelOffset;
    at.clip = a.clip;
    const Tensor g = randomTensor(r, 3, 4, 5, 8, {-2, 2, false}), s = randomTensor(r, 3, 5, 3, 8, {-2, 2, false});
    const Tensor d = randomTensor(r, 3, 5, 4, 8, {-2, 2, false});
    const Region region = effectiveRegion(at.clip, d, at.primaryOffset.z, g.n);
    const Tensor gp =
        readPart(g, at.primaryOffset, at.primaryEdge, at.primaryChannelOffset, at.channelMaxCount, region);
    const Tensor sp =
        readPart(s, at.secondaryOffset, at.secondaryEdge, at.secondaryChannelOffset, at.channelMaxCount, region);
    const Neuron tanh{NeuronType::TanH, 1, 1, 0, {}};
    EXPECT_EQ(neuronGradient(tanh, at, g, s, d).value.v,
              paste(d, neuronGradient(tanh, {}, gp, sp, gp).value, region, at.destinationChannelOffset).v);
    EXPECT_EQ(softmaxGradient({}, at, g, s, d).value.v,
              paste(d, softmaxGradient({}, {}, gp, sp, gp).value, region, at.destinationChannelOffset).v);
  });
}

TEST(OracleAttributes, WindowedKernelsReadTheirImageRange) {
  forCases(50, [](Case& k) {
    Attributes at = randomAttributes(k.random);
    at.sourceChannelMaxCount = 4;
    const Tensor s = randomTensor(k.random, 3, 4, 5, 8, {-2, 2, false});
    const Tensor d = randomTensor(k.random, 3, 5, 4, 8, {-2, 2, false});
    const Region r = effectiveRegion(at.clip, d, at.offset.z, s.n);
    Conv conv;
    conv.at = at;
    conv.kernelWidth = conv.kernelHeight = 1;
    conv.inputChannels = 4;  // exactly what the maximum count allows
    conv.outputChannels = 2;
    const std::vector<double> weights = test::randomValues(k.random, conv.weightCount(), {});
    const Result whole = convForward(conv, s, weights, {}, d);
    conv.at = {};
    const Tensor part = readPart(s, at.offset, at.edge, at.sourceChannelOffset, 4, r);
    const Result plain = convForward(conv, part, weights, {}, Tensor(part.n, part.h, part.w, 2));
    EXPECT_EQ(whole.value.v, paste(d, plain.value, r, at.destinationChannelOffset).v);
    // the weight gradient reads the same images
    conv.at.offset.z = 1;
    const Tensor g = randomTensor(k.random, 1, 4, 5, 2, {});
    Tensor second = slice(s, 0, 0, 4, 5, 0, 8);
    second.v.erase(second.v.begin(), second.v.begin() + 160);
    second.n = 2;
    const std::vector<double> ranged = convWeightGradient(conv, s, g).weights;
    conv.at.offset.z = 0;
    EXPECT_EQ(ranged, convWeightGradient(conv, second, g).weights);
    conv.at.sourceChannelMaxCount = 3;
    EXPECT_THROW(convForward(conv, s, weights, {}, d), std::invalid_argument);
  });
}

TEST(OracleAttributes, PrimaryOffsetSkipsABorderOfTheGradient) {
  forCases(40, [](Case& k) {
    Conv c;
    c.kernelWidth = k.random.integer(1, 4);
    c.kernelHeight = k.random.integer(1, 4);
    c.strideX = k.random.integer(1, 3);
    c.strideY = k.random.integer(1, 3);
    const auto weights = test::randomValues(k.random, c.weightCount(), {});
    const Tensor g = randomTensor(k.random, 1, 3, 3, 1, {}), d(1, 7, 8, 1);
    ConvManualGradient how;
    how.kernelOffsetX = how.kernelOffsetY = 1;
    const Result plain = convDataGradientManual(c, how, weights, g, d);
    Tensor framed(2, 5, 6, 1);  // the same gradient in the second image, behind one row and two columns of zeros
    for (size_t y = 0; y < 3; ++y)
      for (size_t x = 0; x < 3; ++x) framed.at(1, y + 1, x + 2, 0) = g.at(0, y, x, 0);
    how.primaryOffset = {2, 1, 1};
    EXPECT_EQ(convDataGradientManual(c, how, weights, framed, d).value.v, plain.value.v);
    // and a clip rectangle moves the picture in the destination
    how.clip = {2, 1, 0, 5, 6, 1};
    const Tensor moved = convDataGradientManual(c, how, weights, framed, d).value;
    EXPECT_EQ(slice(moved, 1, 2, 6, 5, 0, 1).v, slice(plain.value, 0, 0, 6, 5, 0, 1).v);
  });
}

TEST(OracleAttributes, PoolingGradientCountsOnlyItsRange) {
  forCases(40, [](Case& k) {
    Pool p;
    p.kind = k.random.pick({PoolKind::Max, PoolKind::Average, PoolKind::L2Norm});
    p.at.offset = {1, 1, 0};
    const Tensor s = randomTensor(k.random, 1, 6, 6, 2, {-4, 4, true});
    const Tensor g = randomTensor(k.random, 1, 4, 5, 2, {});
    PoolGradient how;
    how.primaryOffsetX = 2;
    how.primaryOffsetY = 1;
    how.sourceSizeX = 2;
    how.sourceSizeY = k.random.integer(1, 9);  // may be larger than what is left
    const size_t rows = static_cast<size_t>(std::min(3L, how.sourceSizeY));
    const Result part = poolGradient(p, how, g, s, s);
    EXPECT_EQ(part.value.v, poolGradient(p, {}, slice(g, 1, 2, rows, 2, 0, 2), s, s).value.v);
    // destination channels and rectangle
    how.destinationChannelOffset = 4;
    how.clip = {1, 2, 0, 3, 3, 1};
    const Tensor into(1, 6, 6, 8, 9.0);
    const Tensor want = paste(into, slice(part.value, 0, 0, 3, 3, 0, 2), {1, 2, 0, 3, 3, 1}, 4);
    EXPECT_EQ(poolGradient(p, how, g, s, into).value.v, want.v);
  });
}

TEST(OracleAttributes, SecondImageOfATransferIsPackedBehindTheFirst) {
  Tensor image(3, 2, 3, 5);
  for (size_t i = 0; i < image.size(); ++i) image.v[i] = static_cast<double>(i);
  Transfer t = wholeImage(image, DataLayout::HeightxWidthxFeatureChannels, 1);
  t.depth = 3;
  EXPECT_EQ(readBytes(t, image, std::vector<double>(90)), image.v);
  t.layout = DataLayout::FeatureChannelsxHeightxWidth;
  EXPECT_EQ(t.address(2, 0, 0, 0), 60u);
  EXPECT_EQ(t.length(), 90u);
  t.bytesPerRow = 7;  // given rows, images not given: rows times height times planes
  EXPECT_EQ(t.address(1, 0, 0, 0), 7u * 2 * 5);
  t.layout = DataLayout::HeightxWidthxFeatureChannels;
  t.bytesPerRow = 20;
  EXPECT_EQ(t.address(1, 0, 0, 0), 40u);
}

TEST(OracleAttributes, ComparisonAtTheThreshold) {
  Arithmetic a;
  a.op = ArithmeticOp::Compare;
  Tensor x(1, 1, 1, 1, 1.0), y(1, 1, 1, 1, 1.5);
  auto run = [&](Comparison c) {
    a.comparison = c;
    return arithmeticForward(a, x, y, x).value.v[0];
  };
  a.threshold = 0.5;  // a difference equal to it still counts as equal
  EXPECT_EQ(run(Comparison::Equal), 1);
  EXPECT_EQ(run(Comparison::Less), 0);
  y.v[0] = 1;
  a.threshold = 0;
  EXPECT_EQ(run(Comparison::Equal), 1);
  EXPECT_EQ(run(Comparison::GreaterOrEqual), 1);
  EXPECT_EQ(run(Comparison::Greater), 0);
}

// What float32 does to an input may not be more than the tolerance forgives; and no magnitude is so large that it
// forgives a wrong formula.
TEST(OracleMagnitudes, CoverTheRoundingOfInputsAndLittleMore) {
  forCases(kNeuronTypeCount * 30, [](Case& k) {
    Neuron n = Neuron::plain(static_cast<NeuronType>(k.index % kNeuronTypeCount));
    n.data = {0.3};
    if (k.index >= kNeuronTypeCount) {
      n.a = static_cast<float>(k.random.real(0.2, 1.5));
      n.b = static_cast<float>(k.random.real(0.5, 2));
      n.c = static_cast<float>(k.random.real(1.5, 3));
    }
    k.text = n.name();
    const Domain domain = n.domain();
    const double x = k.random.real(domain.low, domain.high), near = x * (1 + 0x1p-23);
    const double forgiven = n.tolerance().relative;
    ASSERT_LT(domain.low, domain.high);
    EXPECT_TRUE(std::isfinite(n.value(x)) && std::isfinite(n.derivative(x))) << x;
    EXPECT_LE(std::fabs(n.value(near) - n.value(x)), forgiven * n.valueMagnitude(x)) << x;
    EXPECT_LE(std::fabs(n.derivative(near) - n.derivative(x)), forgiven * n.derivativeMagnitude(x)) << x;
    EXPECT_LE(n.valueMagnitude(x), 200 * std::fabs(n.value(x)) + 40) << x;
    EXPECT_LE(n.derivativeMagnitude(x), 200 * std::fabs(n.derivative(x)) + 4) << x;
  });
}

TEST(OracleMagnitudes, LossesCoverTheRoundingOfInputs) {
  forCases(kLossTypeCount * 20, [](Case& k) {
    Loss l;
    l.type = static_cast<LossType>(k.index % kLossTypeCount);
    k.text = l.name();
    const LossInput in{
        randomTensor(k.random, 1, 1, 1, 4, l.predictions()), randomTensor(k.random, 1, 1, 1, 4, l.labels()), {}};
    LossInput moved = in;
    for (double& v : moved.predictions.v) v *= 1 + 0x1p-23;
    const double forgiven = Loss::tolerance().relative;
    const Result a = lossElements(l, in), b = lossElements(l, moved);
    const Result c = lossGradient(l, in), d = lossGradient(l, moved);
    for (size_t i = 0; i < 4; ++i) {
      EXPECT_LE(std::fabs(a.value.v[i] - b.value.v[i]), forgiven * a.magnitude.v[i]);
      EXPECT_LE(std::fabs(c.value.v[i] - d.value.v[i]), forgiven * c.magnitude.v[i]);
      EXPECT_LE(a.magnitude.v[i], 100 * std::fabs(a.value.v[i]) + 100);
      EXPECT_LE(c.magnitude.v[i], 100 * std::fabs(c.value.v[i]) + 100);
    }
  });
}

}  // namespace
}  // namespace kovar::oracle
