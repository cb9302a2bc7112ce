// Dropout, reductions of losses, optimizers and arithmetic: rules that derivatives do not show.

#include <gtest/gtest.h>

#include <cfloat>
#include <cmath>

#include "oracle/arithmetic.hpp"
#include "oracle/dropout.hpp"
#include "oracle/loss.hpp"
#include "oracle/optimizer.hpp"
#include "oracle/softmax.hpp"
#include "support/random.hpp"

namespace kovar::oracle {
namespace {

using Values = std::vector<double>;
using Words = std::array<uint32_t, 4>;

Tensor row(const Values& v) {
  Tensor t(1, 1, 1, v.size());
  t.v = v;
  return t;
}

// Known answers published with the generator (Random123).
TEST(OracleDropout, PhiloxKnownAnswers) {
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  const uint32_t f = 0xffffffff;
  EXPECT_EQ(philox4x32({f, f, f, f}, {f, f}), (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(OracleDropout, MaskUsesOneWordAnElement) {
  Dropout d;
  d.seed = 0x299f31d0a4093822u;
  d.keepProbability = 0.3;
  const Tensor mask = dropoutMask(d, 3, 5, 7, 2, (uint64_t{9} << 32) | 8);
  ASSERT_EQ(mask.size(), 105u);
  for (size_t e = 0; e < mask.size(); ++e) {
    const Words w = philox4x32({static_cast<uint32_t>(e) / 4, 2, 8, 9}, {0xa4093822, 0x299f31d0});
    EXPECT_EQ(mask.v[e], (w[e % 4] >> 8) / 16777216.0 < static_cast<double>(0.3f) ? 1.0 : 0.0) << e;
  }
}

TEST(OracleDropout, MasksDifferAndKeepTheirShare) {
  Dropout d;
  d.keepProbability = 0.8;
  d.seed = 5;
  const Tensor a = dropoutMask(d, 100, 100, 4, 0, 0);
  double kept = 0;
  for (double v : a.v) kept += v;
  const auto n = static_cast<double>(a.size());
  EXPECT_NEAR(kept / n, 0.8, 5 * std::sqrt(0.8 * 0.2 / n));
  EXPECT_NE(a.v, dropoutMask(d, 100, 100, 4, 1, 0).v);
  EXPECT_NE(a.v, dropoutMask(d, 100, 100, 4, 0, 1).v);
  d.maskStrideX = d.maskStrideY = 0;
  EXPECT_EQ(dropoutMask(d, 100, 100, 4, 0, 0).size(), 4u);
}

TEST(OracleDropout, DroppedIsPositiveZeroWhateverWasThere) {
  Dropout d;
  d.keepProbability = 0.25;
  Tensor s(1, 1, 4, 1), mask(1, 1, 4, 1);
  s.v = {-3, NAN, INFINITY, 2};
  mask.v = {0, 0, 0, 1};
  const Result r = dropoutApply(d, {}, s, mask, s);
  EXPECT_EQ(r.value.v, (Values{0, 0, 0, 8}));
  EXPECT_FALSE(std::signbit(r.value.v[0]));
  d.maskStrideX = 0;  // one value for the row
  mask = Tensor(1, 1, 1, 1, 1.0);
  EXPECT_EQ(dropoutApply(d, {}, s, mask, s).value.v[0], -12);
}

LossInput lossInput(size_t images, size_t size, size_t channels) {
  return {Tensor(images, size, size, channels, 3.0), Tensor(images, size, size, channels, 1.0), {}};
}

TEST(OracleLoss, Reductions) {
  Loss l;  // mean squared error: every element 4
  LossInput in = lossInput(3, 2, 5);
  l.weight = 0.5;
  auto reduced = [&](Reduction r, bool across) {
    l.reduction = r;
    l.reduceAcrossBatch = across;
    return lossReduced(l, in).value.v;
  };
  EXPECT_EQ(reduced(Reduction::Sum, false), (Values{40, 40, 40}));
  EXPECT_EQ(reduced(Reduction::None, false), (Values{40, 40, 40}));
  EXPECT_EQ(reduced(Reduction::Mean, false), (Values{2, 2, 2}));
  EXPECT_EQ(reduced(Reduction::Sum, true), (Values{120, 0, 0}));
  EXPECT_EQ(reduced(Reduction::Mean, true), (Values{2, 0, 0}));
  EXPECT_EQ(reduced(Reduction::SumByNonZeroWeights, false), (Values{2, 2, 2}));
  in.weights = Tensor(3, 2, 2, 5, 0.0);
  in.weights.at(0, 0, 0, 0) = 1;
  in.weights.at(0, 1, 0, 3) = 3;
  in.weights.at(1, 0, 0, 0) = 1;
  EXPECT_EQ(reduced(Reduction::SumByNonZeroWeights, false), (Values{4, 2, 0}));
  EXPECT_DOUBLE_EQ(reduced(Reduction::SumByNonZeroWeights, true)[0], 10.0 / 3);
  EXPECT_EQ(reduced(Reduction::Mean, false), (Values{0.4, 0.1, 0}));
  in.weights = Tensor(1, 1, 1, 5, 0.0);  // broadcast over pixels and images
  in.weights.v[2] = 2;
  EXPECT_EQ(reduced(Reduction::SumByNonZeroWeights, false), (Values{4, 4, 4}));
}

TEST(OracleLoss, SoftmaxCrossEntropyDividesByPixels) {
  Loss l;
  l.type = LossType::SoftMaxCrossEntropy;
  LossInput in = lossInput(2, 2, 4);  // equal logits, labels all 1: 4 * ln 4 a pixel
  l.reduction = Reduction::Mean;
  const double pixel = 4 * std::log(4.0);
  EXPECT_NEAR(lossReduced(l, in).value.v[1], pixel, 1e-12);
  l.reduceAcrossBatch = true;
  EXPECT_NEAR(lossReduced(l, in).value.v[0], pixel, 1e-12);
  l.reduction = Reduction::SumByNonZeroWeights;
  l.reduceAcrossBatch = false;
  in.weights = Tensor(2, 2, 2, 4, 0.0);
  in.weights.at(0, 0, 1, 0) = in.weights.at(0, 0, 1, 1) = 1;
  EXPECT_NEAR(lossReduced(l, in).value.v[0], pixel / 2, 1e-12);
  EXPECT_EQ(lossReduced(l, in).value.v[1], 0);
}

TEST(OracleLoss, TheTwoInOneKernelNeverDivides) {
  Loss l;
  LossInput in = lossInput(2, 2, 4);
  for (Reduction r : {Reduction::None, Reduction::Sum, Reduction::Mean, Reduction::SumByNonZeroWeights}) {
    l.reduction = r;
    EXPECT_EQ(lossGradient(l, in).value.v, Values(32, 4.0));
  }
  // and takes softmax - label even where the labels do not sum to 1
  l.type = LossType::SoftMaxCrossEntropy;
  EXPECT_EQ(lossGradient(l, in).value.v, Values(32, 0.25 - 1));
}

TEST(OracleLoss, SwitchForTheDivisorInTheGradient) {
  Loss l;
  l.reduction = Reduction::Mean;
  const LossInput in = lossInput(1, 2, 4);
  EXPECT_EQ(forwardLossGradient(l, in, Tensor(1, 1, 1, 1, 1.0)).value.v, Values(16, 4.0 / 16));
  EXPECT_EQ(forwardLossGradient(l, in, Tensor(1, 1, 1, 1, 1.0), false, false).value.v, Values(16, 4.0));
}

TEST(OracleLoss, AcrossTheBatchOneIncomingGradientServesAll) {
  Loss l;
  l.reduction = Reduction::Sum;
  l.reduceAcrossBatch = true;
  Tensor g(2, 1, 1, 1);
  g.v = {3, 100};
  EXPECT_EQ(forwardLossGradient(l, lossInput(2, 1, 2), g).value.v, Values(4, 12.0));
}

TEST(OracleLoss, SpecialPoints) {
  auto value = [](LossType type, double y, double t) {
    Loss l;
    l.type = type;
    return lossElements(l, {row({y}), row({t}), {}}).value.v[0];
  };
  auto gradient = [](LossType type, double y, double t) {
    Loss l;
    l.type = type;
    return lossGradient(l, {row({y}), row({t}), {}}).value.v[0];
  };
  EXPECT_EQ(gradient(LossType::MeanAbsoluteError, 2, 2), 0);
  EXPECT_EQ(value(LossType::CategoricalCrossEntropy, 0, 0), 0);
  EXPECT_EQ(value(LossType::CategoricalCrossEntropy, 0, 1), INFINITY);
  EXPECT_EQ(gradient(LossType::CategoricalCrossEntropy, 0, 0), 0);
  EXPECT_EQ(gradient(LossType::CategoricalCrossEntropy, 0, 1), -1 / static_cast<double>(FLT_MIN));
  EXPECT_EQ(value(LossType::KullbackLeiblerDivergence, -1, 0), 0);
  EXPECT_EQ(value(LossType::Hinge, 0.25, 0), 1.25);
  EXPECT_EQ(gradient(LossType::Hinge, 0.25, 0), 1);
  EXPECT_EQ(gradient(LossType::Hinge, 1, 1), 0);
  EXPECT_EQ(value(LossType::Huber, -3, 0), 2.5);
  EXPECT_EQ(gradient(LossType::Huber, -3, 0), -1);
  EXPECT_NEAR(value(LossType::SigmoidCrossEntropy, -1000, 1), 1000, 1e-9);
  Loss cosine;
  cosine.type = LossType::CosineDistance;
  cosine.reduction = Reduction::Mean;
  EXPECT_THROW(forwardLoss(cosine, lossInput(1, 1, 2)), std::invalid_argument);
  cosine.reduction = Reduction::Sum;
  EXPECT_EQ(forwardLoss(cosine, lossInput(1, 1, 2)).value.v, (Values{1 - 6}));
  Loss smooth;
  smooth.type = LossType::SigmoidCrossEntropy;
  smooth.labelSmoothing = 0.5;
  EXPECT_EQ(LossInput({row({0}), row({1}), {}}).label(smooth, 0, 0, 0, 0), 0.75);
  smooth.type = LossType::SoftMaxCrossEntropy;  // the number of classes does not come from the image
  EXPECT_EQ(LossInput({row({0}), row({1}), {}}).label(smooth, 0, 0, 0, 0), 1.0);
  EXPECT_THROW(lossElements(smooth, {row({0, 1}), row({1}), {}}), std::invalid_argument);
}

TEST(OracleOptimizer, ClipsThenRescalesThenRegularizes) {
  Optimizer o;
  o.applyGradientClipping = true;
  o.gradientClipMin = -1;
  o.gradientClipMax = 1;
  o.gradientRescale = 10;
  o.regularization = Regularization::L2;
  o.regularizationScale = 0.5;
  EXPECT_EQ(o.gradient(3, 4), 12);
  o.regularization = Regularization::L1;
  EXPECT_EQ(o.gradient(-0.25, -4), -3);
  EXPECT_EQ(o.gradient(-0.25, 0), -2.5);
  o.applyGradientClipping = false;
  EXPECT_EQ(o.gradient(3, 0), 30);
}

// A client makes running statistics with this optimizer: negative rate, negative scale.
TEST(OracleOptimizer, RunningAverageByNegativeRate) {
  Optimizer o;
  o.learningRate = -(1 - 0.75);
  o.regularization = Regularization::L2;
  o.regularizationScale = -1;
  EXPECT_EQ(sgdStep(o, 0, false, {8}, {4}, {}).values, (Values{4 + 0.25 * (8 - 4)}));
}

TEST(OracleOptimizer, MomentumHoldsTheRateOnlyInThePlainMode) {
  Optimizer o;
  o.learningRate = 0.5;
  StepResult r = sgdStep(o, 0.25, false, {2}, {10}, {4});
  EXPECT_EQ(r.state, (Values{0.25 * 4 + 0.5 * 2}));
  EXPECT_EQ(r.values, (Values{8}));
  r = sgdStep(o, 0.25, true, {2}, {10}, {4});
  EXPECT_EQ(r.state, (Values{0.25 * 4 + 2}));
  EXPECT_EQ(r.values, (Values{10 - 0.5 * (2 + 0.25 * 3)}));
}

TEST(OracleOptimizer, AdamAddsEpsilonToTheUncorrectedRoot) {
  Optimizer o;
  o.learningRate = 1;
  const StepResult r = adamStep(o, {0.5, 0.75, 1, 1}, {2}, {10}, {4}, {8}, {});
  EXPECT_EQ(r.state, (Values{3}));
  EXPECT_EQ(r.secondState, (Values{7}));
  const double rate = std::sqrt(1 - 0.75 * 0.75) / (1 - 0.5 * 0.5);
  EXPECT_DOUBLE_EQ(r.values[0], 10 - rate * 3 / (std::sqrt(7.0) + 1));
  EXPECT_TRUE(r.thirdState.empty());
  const StepResult ams = adamStep(o, {0.5, 0.75, 1, 1}, {2}, {10}, {4}, {8}, {100});
  EXPECT_EQ(ams.thirdState, (Values{100}));
  EXPECT_DOUBLE_EQ(ams.values[0], 10 - rate * 3 / 11);
}

TEST(OracleArithmetic, ValuesAndClamp) {
  Arithmetic a;
  a.primary.scale = 2;
  a.secondary.scale = 3;
  a.bias = 0.5;
  const Tensor x = row({4, -1}), y = row({2, 0});
  auto run = [&](ArithmeticOp op) {
    a.op = op;
    return arithmeticForward(a, x, y, row({0, 0})).value.v;
  };
  EXPECT_EQ(run(ArithmeticOp::Add), (Values{14.5, -1.5}));
  EXPECT_EQ(run(ArithmeticOp::Subtract), (Values{2.5, -1.5}));
  EXPECT_EQ(run(ArithmeticOp::Multiply), (Values{48.5, 0.5}));
  const Values quotients = run(ArithmeticOp::Divide);
  EXPECT_DOUBLE_EQ(quotients[0], 8.0 / 6 + 0.5);
  EXPECT_EQ(quotients[1], -static_cast<double>(FLT_MAX));  // infinity meets the default range
  a.minimum = 0;
  a.maximum = 14;
  EXPECT_EQ(run(ArithmeticOp::Add), (Values{14, 0}));
  a.op = ArithmeticOp::Add;
  EXPECT_TRUE(std::isnan(arithmeticForward(a, row({NAN}), row({1}), row({0})).value.v[0]));
}

TEST(OracleArithmetic, BroadcastByStride) {
  Tensor x(1, 2, 2, 3), y(1, 2, 2, 3);
  for (size_t i = 0; i < 12; ++i) x.v[i] = static_cast<double>(i), y.v[i] = 100.0 * static_cast<double>(i);
  Arithmetic a;
  a.secondary.strideX = a.secondary.strideY = 0;
  a.secondary.offset = {1, 0, 0};
  Tensor d = arithmeticForward(a, x, y, x).value;
  EXPECT_EQ(d.at(0, 1, 0, 2), x.at(0, 1, 0, 2) + y.at(0, 0, 1, 2));
  a.secondary.strideC = 0;
  a.secondary.channelOffset = 1;
  d = arithmeticForward(a, x, y, x).value;
  EXPECT_EQ(d.at(0, 1, 0, 2), x.at(0, 1, 0, 2) + y.at(0, 0, 1, 1));
  a.primary.strideC = 0;
  EXPECT_EQ(arithmeticChannels(a, x, y), 1u);
  // an extent of 1 with stride 1 does not broadcast: the edge rule applies
  Arithmetic b;
  EXPECT_EQ(arithmeticForward(b, x, slice(y, 1, 1, 1, 1, 0, 3), x).value.at(0, 1, 1, 0), x.at(0, 1, 1, 0));
  b.secondary.edge = EdgeMode::Clamp;
  EXPECT_EQ(arithmeticForward(b, x, slice(y, 1, 1, 1, 1, 0, 3), x).value.at(0, 1, 1, 0), x.at(0, 1, 1, 0) + 900);
}

TEST(OracleArithmetic, Comparisons) {
  Arithmetic a;
  a.op = ArithmeticOp::Compare;
  a.threshold = 0.5;
  const Tensor x = row({1, 1, 1, 1, NAN}), y = row({1.25, 2, 0, 0.75, 1});
  auto run = [&](Comparison c) {
    a.comparison = c;
    return arithmeticForward(a, x, y, x).value.v;
  };
  EXPECT_EQ(run(Comparison::Equal), (Values{1, 0, 0, 1, 0}));
  EXPECT_EQ(run(Comparison::NotEqual), (Values{0, 1, 1, 0, 1}));
  EXPECT_EQ(run(Comparison::Less), (Values{0, 1, 0, 0, 0}));
  EXPECT_EQ(run(Comparison::LessOrEqual), (Values{1, 1, 0, 1, 0}));
  EXPECT_EQ(run(Comparison::Greater), (Values{0, 0, 1, 0, 0}));
  EXPECT_EQ(run(Comparison::GreaterOrEqual), (Values{1, 0, 1, 1, 0}));
}

TEST(OracleSoftmax, ExtremesStayFiniteAndChannelsOutsideDoNotCount) {
  const Result p = softmaxForward({false}, {}, row({1e4, -1e4, 1e4}), row({0, 0, 0}));
  EXPECT_EQ(p.value.v, (Values{0.5, 0, 0.5}));
  const Result l = softmaxForward({true}, {}, row({1e4, -1e4}), row({0, 0}));
  EXPECT_EQ(l.value.v, (Values{0, -2e4}));
  Attributes at;
  at.sourceChannelOffset = 4;
  at.sourceChannelMaxCount = 2;
  EXPECT_EQ(softmaxForward({false}, at, row({9, 9, 9, 9, 1, 1, 9}), row({0, 0})).value.v, (Values{0.5, 0.5}));
  EXPECT_TRUE(std::isnan(softmaxForward({false}, {}, row({-INFINITY, -INFINITY}), row({0, 0})).value.v[0]));
}

}  // namespace
}  // namespace kovar::oracle
