// Every gradient oracle against numeric derivatives of its forward oracle, and against exact identities.

#include <gtest/gtest.h>

#include "oracle/arithmetic.hpp"
#include "oracle/conv.hpp"
#include "oracle/conv_transpose.hpp"
#include "oracle/loss.hpp"
#include "oracle/neuron.hpp"
#include "oracle/pooling.hpp"
#include "oracle/softmax.hpp"
#include "support/compare.hpp"
#include "support/finite_difference.hpp"
#include "support/geometry.hpp"

namespace kovar::oracle {
namespace {

using test::agree;
using test::Case;
using test::dot;
using test::forCases;
using test::Geometry;
using test::GeometryLimits;
using test::numericGradient;
using test::Random;
using test::randomTensor;
using test::randomValues;

std::vector<double> constant(size_t count, double v) { return std::vector<double>(count, v); }

Tensor like(const Tensor& t, const std::vector<double>& values) {
  Tensor out = t;
  out.v = values;
  return out;
}

// What a gradient of a clipped forward pass receives: the clip rectangle alone, its channels from 0 on.
Tensor clipped(const Tensor& d, const Attributes& at, size_t channels) {
  const Region r = effectiveRegion(at.clip, d, 0, d.n);
  return slice(d, static_cast<size_t>(r.y), static_cast<size_t>(r.x), static_cast<size_t>(r.h),
               static_cast<size_t>(r.w), at.destinationChannelOffset, channels);
}

GeometryLimits small() {
  GeometryLimits l;
  l.source = 6;
  l.kernel = 4;
  l.images = 2;
  return l;
}

struct ConvCase {
  Geometry g;
  Conv c;
  Tensor source, destination;
  std::vector<double> weights, bias;
};

ConvCase convCase(Case& k, const GeometryLimits& limits = small()) {
  ConvCase x;
  x.g = test::randomGeometry(k.random, limits);
  x.g.applyTo(x.c);
  test::randomChannels(k.random, x.c, 4);
  if (x.c.groups == 1 && k.random.chance(0.3)) {
    x.c.depthwise = true;
    x.c.outputChannels = x.c.inputChannels * k.random.size(1, 2);
  }
  k.text = test::describe(x.g, x.c);
  x.source = randomTensor(k.random, x.g.images, x.g.sourceHeight, x.g.sourceWidth,
                          x.c.inputChannels + x.c.at.sourceChannelOffset, Conv::domain());
  x.destination = Tensor(x.g.images, x.g.destinationHeight, x.g.destinationWidth,
                         x.c.outputChannels + x.c.at.destinationChannelOffset, -7.0);
  x.weights = randomValues(k.random, x.c.weightCount(), Conv::domain());
  x.bias = randomValues(k.random, x.c.outputChannels, Conv::domain());
  return x;
}

TEST(OracleGradients, ConvolutionIsLinearSoDotProductsAgree) {
  forCases(120, [](Case& k) {
    const ConvCase x = convCase(k);
    const Tensor out =
        clipped(convForward(x.c, x.source, x.weights, {}, x.destination).value, x.c.at, x.c.outputChannels);
    const Tensor g = randomTensor(k.random, out.n, out.h, out.w, out.c, Conv::domain());
    // <conv(x), g> = <x, dx(g)> = <w, dw(g)>, as the convolution is linear in each
    Tensor source = slice(x.source, 0, 0, x.source.h, x.source.w, x.c.at.sourceChannelOffset, x.c.inputChannels);
    const Result dx = convDataGradient(x.c, x.weights, g, like(source, constant(source.size(), 3.0)));
    const WeightGradient dw = convWeightGradient(x.c, x.source, g);
    const double want = dot(out.v, g.v), scale = 1e-12 * (1 + dot(dw.weightsMagnitude, constant(dw.weights.size(), 4)));
    EXPECT_NEAR(dot(source.v, dx.value.v), want, scale);
    EXPECT_NEAR(dot(x.weights, dw.weights), want, scale);
    const Result biased = convForward(x.c, x.source, x.weights, x.bias, x.destination);
    EXPECT_NEAR(dot(clipped(biased.value, x.c.at, x.c.outputChannels).v, g.v) - want, dot(x.bias, dw.bias), scale);
  });
}

TEST(OracleGradients, ConvolutionWeightsNumerically) {
  forCases(15, [](Case& k) {
    const ConvCase x = convCase(k);
    const Tensor g =
        clipped(randomTensor(k.random, x.g.images, x.destination.h, x.destination.w, x.destination.c, Conv::domain()),
                x.c.at, x.c.outputChannels);
    const WeightGradient dw = convWeightGradient(x.c, x.source, g);
    const auto numeric = numericGradient(
        [&](const std::vector<double>& w) {
          return dot(clipped(convForward(x.c, x.source, w, x.bias, x.destination).value, x.c.at, x.c.outputChannels).v,
                     g.v);
        },
        x.weights);
    EXPECT_TRUE(agree(dw.weights, numeric, constant(numeric.size(), 1 + dot(g.v, g.v)), 1e-6));
  });
}

TEST(OracleGradients, HandConfiguredConvolutionEqualsAutomatic) {
  GeometryLimits limits = small();
  limits.clampEdge = false;
  limits.clip = false;
  forCases(100, [&](Case& k) {
    const ConvCase x = convCase(k, limits);
    const Tensor g =
        randomTensor(k.random, x.g.images, x.destination.h, x.destination.w, x.c.outputChannels, Conv::domain());
    const Tensor into(x.source.n, x.source.h, x.source.w, x.c.inputChannels + 4, 11.0);
    ConvManualGradient how;
    how.kernelOffsetX = -x.c.at.offset.x + (x.c.extentX() % 2 == 0);
    how.kernelOffsetY = -x.c.at.offset.y + (x.c.extentY() % 2 == 0);
    how.destinationChannelOffset = 4;
    const Result manual = convDataGradientManual(x.c, how, x.weights, g, into);
    const Result automatic = convDataGradient(x.c, x.weights, g, into, 0, 4);
    EXPECT_TRUE(agree(manual.value.v, automatic.value.v, automatic.magnitude.v));
    EXPECT_EQ(manual.value.at(0, 0, 0, 0), 11.0);
  });
}

TEST(OracleGradients, TransposedFromForwardStateIsTheDataGradient) {
  GeometryLimits limits = small();
  limits.clampEdge = limits.clip = limits.channelOffsets = false;
  forCases(60, [&](Case& k) {
    ConvCase x = convCase(k, limits);
    if (x.c.groups != 1 || x.c.depthwise) return;
    const Tensor g =
        randomTensor(k.random, x.g.images, x.destination.h, x.destination.w, x.c.outputChannels, Conv::domain());
    ConvTranspose t;
    t.conv = x.c;
    std::swap(t.conv.inputChannels, t.conv.outputChannels);
    configureFromForward(x.c, t);
    // the transposed operation correlates: its weights are the forward ones, rotated, with inputs and outputs exchanged
    std::vector<double> weights(x.weights.size());
    for (size_t o = 0; o < x.c.outputChannels; ++o)
      for (size_t i = 0; i < x.c.inputChannels; ++i)
        for (long q = 0; q < x.c.kernelHeight; ++q)
          for (long p = 0; p < x.c.kernelWidth; ++p)
            weights[t.conv.weightIndex(i, x.c.kernelHeight - 1 - q, x.c.kernelWidth - 1 - p, o)] =
                x.weights[x.c.weightIndex(o, q, p, i)];
    const Result a = convTransposeForward(t, g, weights, {}, x.source);
    const Result b = convDataGradient(x.c, x.weights, g, x.source);
    EXPECT_TRUE(agree(a.value.v, b.value.v, b.magnitude.v));
  });
}

TEST(OracleGradients, TransposedConvolutionIsLinearSoDotProductsAgree) {
  GeometryLimits limits = small();
  limits.clip = false;
  forCases(80, [&](Case& k) {
    const ConvCase x = convCase(k, limits);
    ConvTranspose t;
    t.conv = x.c;
    t.kernelOffsetX = k.random.integer(-3, 3);
    t.kernelOffsetY = k.random.integer(-3, 3);
    const Tensor out =
        clipped(convTransposeForward(t, x.source, x.weights, {}, x.destination).value, x.c.at, x.c.outputChannels);
    const Tensor g = randomTensor(k.random, out.n, out.h, out.w, out.c, Conv::domain());
    const Tensor source = slice(x.source, 0, 0, x.source.h, x.source.w, x.c.at.sourceChannelOffset, x.c.inputChannels);
    const Result dx = convTransposeDataGradient(t, x.weights, g, source);
    const WeightGradient dw = convTransposeWeightGradient(t, x.source, g);
    const double want = dot(out.v, g.v), scale = 1e-12 * (1 + dot(dw.weightsMagnitude, constant(dw.weights.size(), 4)));
    EXPECT_NEAR(dot(source.v, dx.value.v), want, scale);
    EXPECT_NEAR(dot(x.weights, dw.weights), want, scale);
  });
}

TEST(OracleGradients, FullyConnected) {
  forCases(30, [](Case& k) {
    Conv c;
    c.kernelWidth = k.random.integer(1, 4);
    c.kernelHeight = k.random.integer(1, 4);
    c.inputChannels = k.random.size(1, 5);
    c.outputChannels = k.random.size(1, 5);
    c.at.offset.x = 99;  // ignored
    const Tensor s = randomTensor(k.random, 2, static_cast<size_t>(c.kernelHeight), static_cast<size_t>(c.kernelWidth),
                                  c.inputChannels, Conv::domain());
    const auto weights = randomValues(k.random, c.weightCount(), Conv::domain());
    const auto bias = randomValues(k.random, c.outputChannels, Conv::domain());
    const Result y = fullyConnectedForward(c, s, weights, bias, Tensor(2, 1, 1, c.outputChannels));
    const size_t per = s.size() / 2;
    for (size_t n = 0; n < 2; ++n)
      for (size_t o = 0; o < c.outputChannels; ++o) {
        double want = bias[o];
        for (size_t i = 0; i < per; ++i) want += weights[o * per + i] * s.v[n * per + i];
        EXPECT_NEAR(y.value.at(n, 0, 0, o), want, 1e-12 * y.magnitude.at(n, 0, 0, o));
      }
    const Tensor g = randomTensor(k.random, 2, 1, 1, c.outputChannels, Conv::domain());
    const Result dx = fullyConnectedDataGradient(c, weights, g, s);
    const WeightGradient dw = fullyConnectedWeightGradient(c, s, g);
    for (size_t i = 0; i < per; ++i) {
      double want = 0;
      for (size_t o = 0; o < c.outputChannels; ++o) {
        want += weights[o * per + i] * g.v[o];
        EXPECT_NEAR(dw.weights[o * per + i], g.v[o] * s.v[i] + g.v[c.outputChannels + o] * s.v[per + i], 1e-11);
      }
      EXPECT_NEAR(dx.value.v[i], want, 1e-11);
    }
  });
}

TEST(OracleGradients, PoolingNumerically) {
  GeometryLimits limits = small();
  limits.channelOffsets = false;
  forCases(90, [&](Case& k) {
    Pool p;
    Geometry g = test::randomGeometry(k.random, limits);
    p.kind = k.random.pick({PoolKind::Max, PoolKind::Average, PoolKind::L2Norm});
    if (p.kind != PoolKind::Max) g.dilationX = g.dilationY = 1;
    g.applyTo(p);
    if (k.random.chance(0.5)) p.zeroPadSizeX = k.random.integer(0, 2), p.zeroPadSizeY = k.random.integer(0, 2);
    k.text = test::describe(g, p, 2);
    Tensor s = randomTensor(k.random, g.images, g.sourceHeight, g.sourceWidth, 2, {-4, 4, true});
    for (double& v : s.v) v += 0.01;  // never the zero of the border
    const Tensor d(g.images, g.destinationHeight, g.destinationWidth, 2, 0.0);
    const Tensor dy = randomTensor(k.random, d.n, d.h, d.w, 2, Conv::domain());
    const Region r = effectiveRegion(p.at.clip, d, 0, d.n);
    PoolGradient how;
    how.primaryOffsetX = r.x;
    how.primaryOffsetY = r.y;
    how.sourceSizeX = r.w;
    how.sourceSizeY = r.h;
    const Result dx = poolGradient(p, how, dy, s, Tensor(s.n, s.h, s.w, 2, 5.0));
    const auto numeric = numericGradient(
        [&](const std::vector<double>& v) { return dot(poolForward(p, like(s, v), d).value.v, dy.v); }, s.v);
    EXPECT_TRUE(agree(dx.value.v, numeric, constant(numeric.size(), 10.0), 1e-6));
  });
}

TEST(OracleGradients, PoolingByHandIsShiftedByTheFirstWindow) {
  Pool p;
  p.kind = PoolKind::Average;
  p.kernelHeight = 1;
  p.at.offset.x = 3;  // windows {2,3} {3,4}: the first pixel touched is 2
  Tensor s(1, 1, 6, 1, 1.0), g(1, 1, 2, 1);
  g.v = {2, 4};
  PoolGradient how;
  EXPECT_EQ(poolGradient(p, how, g, s, s).value.v, (std::vector<double>{0, 0, 1, 3, 2, 0}));
  how.manual = true;
  EXPECT_EQ(poolGradient(p, how, g, s, s).value.v, (std::vector<double>{1, 3, 2, 0, 0, 0}));
  how.sourceSizeX = 1;
  EXPECT_EQ(poolGradient(p, how, g, s, s).value.v, (std::vector<double>{1, 1, 0, 0, 0, 0}));
}

TEST(OracleGradients, MaximumTies) {
  Pool p;
  p.kernelWidth = p.kernelHeight = 2;
  p.at.offset = {1, 1, 0};
  Tensor s(1, 2, 2, 1, 3.0), g(1, 1, 1, 1, 1.0);
  // all equal: the first in row-major order wins
  EXPECT_EQ(poolGradient(p, {}, g, s, s).value.v, (std::vector<double>{1, 0, 0, 0}));
  s.v = {1, 3, 3, 2};
  EXPECT_EQ(poolGradient(p, {}, g, s, s).value.v, (std::vector<double>{0, 1, 0, 0}));
  // the zero outside: wins strictly over negative values, loses a tie
  p.at.offset = {0, 0, 0};
  s.v = {-1, 5, 5, 5};
  EXPECT_EQ(poolGradient(p, {}, g, s, s).value.v, (std::vector<double>{0, 0, 0, 0}));
  s.v = {0, 5, 5, 5};
  EXPECT_EQ(poolGradient(p, {}, g, s, s).value.v, (std::vector<double>{1, 0, 0, 0}));
  // NaN is no maximum unless nothing else is there
  s.v = {NAN, 5, 5, 5};
  p.at.offset = {1, 1, 0};
  EXPECT_EQ(poolForward(p, s, g).value.v[0], 5.0);
  s.v = constant(4, NAN);
  EXPECT_TRUE(std::isnan(poolForward(p, s, g).value.v[0]));
}

TEST(OracleGradients, NeuronsNumerically) {
  forCases(kNeuronTypeCount * 4, [](Case& k) {
    Neuron n = Neuron::plain(static_cast<NeuronType>(k.index % kNeuronTypeCount));
    if (k.index >= kNeuronTypeCount) {
      n.a = k.random.real(0.2, 1.5);
      n.b = k.random.real(0.5, 2);
      n.c = k.random.real(1.5, 3);
    }
    n.data = randomValues(k.random, 3, {0.1, 1, false});
    k.text = n.name();
    const Domain domain = n.domain();
    const Tensor s = randomTensor(k.random, 1, 2, 2, 3, domain);
    const Tensor g = randomTensor(k.random, 1, 2, 2, 3, Conv::domain());
    const Result d = neuronGradient(n, {}, g, s, s);
    const auto numeric = numericGradient(
        [&](const std::vector<double>& v) { return dot(neuronForward(n, {}, like(s, v), s).value.v, g.v); }, s.v);
    EXPECT_TRUE(
        agree(d.value.v, numeric, constant(numeric.size(), 10.0 + dot(d.magnitude.v, constant(s.size(), 1))), 1e-6));
  });
}

TEST(OracleGradients, NeuronKinksAndExtremes) {
  auto make = [](NeuronType t, double a, double b, double c) { return Neuron{t, a, b, c, {0.25}}; };
  EXPECT_EQ(make(NeuronType::ReLU, 0.5, 0, 0).derivative(0), 1);
  EXPECT_EQ(make(NeuronType::PReLU, 0, 0, 0).derivative(0), 1);
  EXPECT_EQ(make(NeuronType::ELU, 2, 0, 0).derivative(0), 1);
  EXPECT_EQ(make(NeuronType::Absolute, 0, 0, 0).derivative(0), 0);
  const Neuron hard = make(NeuronType::HardSigmoid, 0.25, 0.5, 0);
  EXPECT_EQ(hard.derivative(2), 0.25);
  EXPECT_EQ(hard.derivative(-2), 0.25);
  EXPECT_EQ(hard.derivative(2.5), 0);
  const Neuron reluN = make(NeuronType::ReLUN, 0.5, 6, 0);
  EXPECT_EQ(reluN.value(7), 6);
  EXPECT_EQ(reluN.derivative(6), 0);
  EXPECT_EQ(reluN.derivative(5.5), 1);
  EXPECT_EQ(reluN.derivative(0), 1);
  EXPECT_EQ(reluN.derivative(-1), 0.5);
  // a bound below zero: 0.5 * -1 lies above -1, so the bound is taken
  EXPECT_EQ(make(NeuronType::ReLUN, 0.5, -1, 0).value(-1), -1);
  EXPECT_EQ(make(NeuronType::ReLUN, 0.5, -1, 0).derivative(-1), 0);
  EXPECT_EQ(make(NeuronType::ReLUN, 0.5, -1, 0).derivative(-4), 0.5);
  for (int i = 0; i < kNeuronTypeCount; ++i) {
    Neuron n = Neuron::plain(static_cast<NeuronType>(i));
    n.data = {0.25};
    EXPECT_TRUE(std::isnan(n.value(NAN))) << n.name();
  }
  EXPECT_EQ(Neuron::plain(NeuronType::Sigmoid).value(-1000), 0);
  EXPECT_EQ(Neuron::plain(NeuronType::SoftPlus).value(1000), 1000);
  EXPECT_TRUE(std::isnan(make(NeuronType::Power, 1, 0, 0.5).value(-1)));
}

TEST(OracleGradients, SoftmaxNumerically) {
  forCases(20, [](Case& k) {
    const Softmax op{k.index % 2 == 1};
    const Tensor s = randomTensor(k.random, 1, 2, 1, k.random.size(1, 6), {-3, 3, false});
    const Tensor g = randomTensor(k.random, 1, 2, 1, s.c, Conv::domain());
    const Result d = softmaxGradient(op, {}, g, softmaxForward(op, {}, s, s).value, s);
    const auto numeric = numericGradient(
        [&](const std::vector<double>& v) { return dot(softmaxForward(op, {}, like(s, v), s).value.v, g.v); }, s.v);
    EXPECT_TRUE(agree(d.value.v, numeric, constant(numeric.size(), 10.0), 1e-7));
  });
}

TEST(OracleGradients, LossesNumerically) {
  forCases(kLossTypeCount * 16, [](Case& k) {
    Loss l;
    l.type = static_cast<LossType>(k.index % kLossTypeCount);
    l.reduction =
        l.type == LossType::CosineDistance
            ? Reduction::Sum
            : k.random.pick({Reduction::None, Reduction::Sum, Reduction::Mean, Reduction::SumByNonZeroWeights});
    l.reduceAcrossBatch = k.random.chance(0.5);
    l.weight = k.random.real(0.5, 2);
    l.delta = 0.75;
    l.epsilon = 1e-3;
    if (k.random.chance(0.5)) {
      l.labelSmoothing = 0.125;
      l.numberOfClasses = 3;
    }
    LossInput in;
    in.predictions = randomTensor(k.random, 2, 2, 1, 3, l.predictions());
    in.labels = randomTensor(k.random, 2, 2, 1, 3, l.labels());
    if (k.random.chance(0.5)) {
      in.weights = randomTensor(k.random, 2, 2, 1, 3, {0.5, 2, false});
      in.weights.v[1] = in.weights.v[4] = in.weights.v[5] = in.weights.v[3] = 0;  // one whole pixel among them
    }
    k.text = std::string(l.name()) + " reduction " + std::to_string(static_cast<int>(l.reduction));
    const Tensor value = forwardLoss(l, in).value;
    const Tensor g = randomTensor(k.random, value.n, value.h, value.w, value.c, Conv::domain());
    auto check = [&](Tensor LossInput::*side, bool byLabel) {
      const Result d = forwardLossGradient(l, in, g, byLabel);
      const auto numeric = numericGradient(
          [&](const std::vector<double>& v) {
            LossInput moved = in;
            (moved.*side).v = v;
            return dot(forwardLoss(l, moved).value.v, g.v);
          },
          (in.*side).v, 1e-6);
      EXPECT_TRUE(agree(d.value.v, numeric, constant(numeric.size(), 20.0), 1e-6))
          << (byLabel ? "by label" : "by prediction");
    };
    check(&LossInput::predictions, false);
    check(&LossInput::labels, true);
  });
}

TEST(OracleGradients, ArithmeticNumerically) {
  forCases(120, [](Case& k) {
    Random& r = k.random;
    Arithmetic a;
    a.op = r.pick({ArithmeticOp::Add, ArithmeticOp::Subtract, ArithmeticOp::Multiply});
    const size_t h = r.size(1, 3), w = r.size(1, 3), c = r.size(1, 3);
    auto operand = [&](Operand& o) {
      o.strideX = r.integer(0, 1);
      o.strideY = r.integer(0, 1);
      o.strideC = r.size(0, 1);
      o.scale = r.real(0.5, 2);
      o.offset.x = r.integer(0, 1);
      if (r.chance(0.3)) o.edge = EdgeMode::Clamp;
      return randomTensor(r, 2, h, w, c, {-2, 2, false});
    };
    const Tensor x = operand(a.primary), y = operand(a.secondary);
    a.bias = 0.25;
    if (r.chance(0.5)) a.minimum = -1, a.maximum = 1.5;
    k.text = a.name();
    const Tensor d(2, h, w, arithmeticChannels(a, x, y));
    const Tensor g = randomTensor(r, d.n, d.h, d.w, d.c, Conv::domain());
    for (bool second : {false, true}) {
      const Tensor& own = second ? y : x;
      Tensor into = own;
      const Result grad = arithmeticGradient(a, second, true, g, x, y, into);
      const auto numeric = numericGradient(
          [&](const std::vector<double>& v) {
            return dot(arithmeticForward(a, second ? x : like(x, v), second ? like(y, v) : y, d).value.v, g.v);
          },
          own.v, 1e-7);
      // channels that a broadcast operand never reads stay as they were
      const size_t used = (second ? a.secondary : a.primary).strideC == 0 ? 1 : d.c;
      for (size_t i = 0; i < own.size(); ++i) {
        if (i % own.c < used) {
          EXPECT_NEAR(grad.value.v[i], numeric[i], 1e-5) << i;
        } else {
          EXPECT_EQ(grad.value.v[i], own.v[i]);
        }
      }
    }
  });
}

}  // namespace
}  // namespace kovar::oracle
