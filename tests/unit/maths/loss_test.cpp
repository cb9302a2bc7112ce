// Losses against formulas in double and against finite differences of themselves; divisors against counting.
#include <gtest/gtest.h>

#include <cfloat>
#include <cmath>
#include <limits>

#include "cuda/lane_bits_cases.hpp"
#include "lane_targets.hpp"
#include "oracle/loss.hpp"
#include "support/random.hpp"

namespace kovar::test {
namespace {

namespace m = maths::scalar;
using maths::LossParams;
using maths::LossReductionType;
using maths::LossType;

constexpr float kInf = std::numeric_limits<float>::infinity();

struct Value {
  float y, t;
  template <class F>
  float operator()(const F& f) const {
    return f.value(y, t);
  }
};
struct Gradient {
  float y, t;
  template <class F>
  float operator()(const F& f) const {
    return f.gradient(y, t);
  }
};
struct LabelGradient {
  float y, t;
  template <class F>
  float operator()(const F& f) const {
    return f.labelGradient(y, t);
  }
};
float value(LossType type, float y, float t) {
  LossParams p;
  p.type = type;
  return m::visitLoss(p, Value{y, t});
}
float gradient(LossType type, float y, float t) {
  LossParams p;
  p.type = type;
  return m::visitLoss(p, Gradient{y, t});
}

/// One element as the oracle sees it: an image of one pixel and one channel. SoftMaxCrossEntropy there takes logits;
/// over one channel its log-softmax is always 0, so that type has its own test below.
oracle::Result oracleOf(oracle::Result (*f)(const oracle::Loss&, const oracle::LossInput&), const oracle::Loss& loss,
                        float y, float t) {
  oracle::LossInput in{oracle::Tensor(1, 1, 1, 1), oracle::Tensor(1, 1, 1, 1), {}};
  in.predictions.v = {static_cast<double>(y)};
  in.labels.v = {static_cast<double>(t)};
  return f(loss, in);
}
oracle::Result labelGradientOf(const oracle::Loss& loss, const oracle::LossInput& in) {
  oracle::Tensor ones(1, 1, 1, 1);
  ones.v = {1};
  return oracle::forwardLossGradient(loss, in, ones, true);
}

TEST(Loss, AgreesWithTheOracleOnEverySetOfLanes) {
  forCases(2, [](Case& c) {
    for (int type = 0; type < oracle::kLossTypeCount; ++type) {
      if (type == static_cast<int>(LossType::SoftMaxCrossEntropy)) continue;
      oracle::Loss loss;
      loss.type = static_cast<oracle::LossType>(type);
      loss.labelSmoothing = static_cast<double>(0.1f);
      loss.numberOfClasses = 7;
      loss.epsilon = static_cast<double>(1e-5f);
      loss.delta = 0.75;
      const std::vector<float> y = toFloat(randomValues(c.random, 1003, loss.predictions()));
      const std::vector<float> t = toFloat(randomValues(c.random, 1003, loss.labels()));
      std::vector<float> out(y.size());
      for (const LaneSet& set : laneSets())
        for (int which = 0; which < 3; ++which) {
          // One-image losses have no elements to take derivatives of in the oracle's forward form.
          if (which == 2 && type == static_cast<int>(LossType::CosineDistance)) continue;
          const int id = kSimpleCases + 2 * kNeuronCaseCount + 3 * type + which;
          set.run(id, y.data(), t.data(), out.data(), out.size());
          for (std::size_t i = 0; i < out.size(); ++i) {
            const oracle::Result exact = oracleOf(which == 0   ? oracle::lossElements
                                                  : which == 1 ? oracle::lossGradient
                                                               : labelGradientOf,
                                                  loss, y[i], t[i]);
            ASSERT_NEAR(out[i], exact.value.v[0], 1e-6 * exact.magnitude.v[0] + 1e-37)
                << set.name << " " << loss.name() << " part " << which << " of " << y[i] << ", " << t[i];
          }
        }
    }
  });
}

TEST(Loss, CosineDistanceParts) {
  EXPECT_EQ(value(LossType::CosineDistance, 0.5f, -0.25f), 0.125f);
  EXPECT_EQ(gradient(LossType::CosineDistance, 0.5f, -0.25f), 0.25f);
  LossParams p;
  p.type = LossType::CosineDistance;
  EXPECT_EQ(m::visitLoss(p, LabelGradient{0.5f, -0.25f}), -0.5f);
}

// Whole pixels of SoftMaxCrossEntropy: value and both gradients from the log-softmax of the prediction.
TEST(Loss, SoftMaxCrossEntropyOfPixels) {
  forCases(50, [](Case& c) {
    const std::size_t channels = c.random.size(1, 12);
    oracle::Loss loss;
    loss.type = oracle::LossType::SoftMaxCrossEntropy;
    loss.labelSmoothing = c.random.chance(0.5) ? 0.25 : 0.0;
    loss.numberOfClasses = static_cast<double>(channels);
    oracle::LossInput in{randomTensor(c.random, 1, 1, 1, channels, {-9, 9, false}),
                         randomTensor(c.random, 1, 1, 1, channels, {0, 1, false}),
                         {}};
    LossParams p;
    p.type = LossType::SoftMaxCrossEntropy;
    p.labelSmoothing = static_cast<float>(loss.labelSmoothing);
    p.numberOfClasses = static_cast<int>(channels);
    const oracle::Result values = oracle::lossElements(loss, in), shorter = oracle::lossGradient(loss, in);
    const oracle::Tensor incoming = randomTensor(c.random, 1, 1, 1, channels, {-2, 2, false});
    const oracle::Result full = oracle::forwardLossGradient(loss, in, incoming);
    double sum = 0, sumOfLabels = 0;
    for (const double y : in.predictions.v) sum += std::exp(y);
    for (std::size_t k = 0; k < channels; ++k) sumOfLabels += incoming.v[k] * in.label(loss, 0, 0, 0, k);
    for (std::size_t k = 0; k < channels; ++k) {
      const auto y = static_cast<float>(in.predictions.v[k] - std::log(sum)), t = static_cast<float>(in.labels.v[k]);
      EXPECT_NEAR(m::visitLoss(p, Value{y, t}), values.value.v[k], 1e-6 * values.magnitude.v[k]);
      EXPECT_NEAR(m::visitLoss(p, Gradient{y, t}), shorter.value.v[k], 1e-6 * shorter.magnitude.v[k]);
      const auto weighted = static_cast<float>(incoming.v[k] * in.label(loss, 0, 0, 0, k));
      EXPECT_NEAR(m::softmaxGradient(y, weighted, static_cast<float>(sumOfLabels)), full.value.v[k],
                  2e-6 * (full.magnitude.v[k] + std::fabs(sumOfLabels)));
    }
  });
}

// Derivatives of the formulas as they stand, in float, away from kinks.
TEST(Loss, GradientsAreDerivativesOfTheValues) {
  forCases(20, [](Case& c) {
    for (int type = 0; type < oracle::kLossTypeCount; ++type) {
      if (type == static_cast<int>(LossType::SoftMaxCrossEntropy)) continue;
      oracle::Loss domains;
      domains.type = static_cast<oracle::LossType>(type);
      LossParams p;
      p.type = static_cast<LossType>(type);
      p.epsilon = 1e-3f;
      const float y = toFloat(randomValues(c.random, 1, domains.predictions()))[0];
      const float t = toFloat(randomValues(c.random, 1, domains.labels()))[0];
      const float h = 1e-2f;
      const auto slope = [&](bool label) {
        const float a = label ? m::visitLoss(p, Value{y, t + h}) : m::visitLoss(p, Value{y + h, t});
        const float b = label ? m::visitLoss(p, Value{y, t - h}) : m::visitLoss(p, Value{y - h, t});
        return (a - b) / (2 * h);
      };
      const float kink =
          type == static_cast<int>(LossType::Hinge) ? 1 - (2 * t - 1) * y : std::fabs(y - t) * (std::fabs(y - t) - 1);
      if (std::fabs(kink) < 0.2f) continue;
      EXPECT_NEAR(m::visitLoss(p, Gradient{y, t}), slope(false), 0.03 * (1 + std::fabs(slope(false))))
          << domains.name();
      EXPECT_NEAR(m::visitLoss(p, LabelGradient{y, t}), slope(true), 0.03 * (1 + std::fabs(slope(true))))
          << domains.name();
    }
  });
}

TEST(Loss, EdgesOfTheDomains) {
  EXPECT_EQ(gradient(LossType::MeanAbsoluteError, 2.f, 2.f), 0.f);
  EXPECT_EQ(value(LossType::CategoricalCrossEntropy, 0.f, 0.f), 0.f);
  EXPECT_EQ(value(LossType::CategoricalCrossEntropy, 0.f, 0.5f), kInf);
  EXPECT_EQ(gradient(LossType::CategoricalCrossEntropy, 0.f, 0.f), 0.f);
  EXPECT_EQ(gradient(LossType::CategoricalCrossEntropy, 0.f, 0.5f), -0.5f / FLT_MIN);
  EXPECT_EQ(value(LossType::KullbackLeiblerDivergence, -3.f, 0.f), 0.f);
  EXPECT_EQ(gradient(LossType::Hinge, 1.f, 1.f), 0.f);
  EXPECT_EQ(gradient(LossType::Hinge, 0.999f, 1.f), -1.f);
  EXPECT_EQ(gradient(LossType::Hinge, -0.5f, 0.f), 1.f);
  EXPECT_EQ(value(LossType::Hinge, -3.f, 0.f), 0.f);
  EXPECT_EQ(value(LossType::Huber, 3.f, 1.f), 1.5f);
  EXPECT_EQ(gradient(LossType::Huber, 3.f, 1.f), 1.f);
  EXPECT_EQ(gradient(LossType::Huber, -3.f, 1.f), -1.f);
  EXPECT_EQ(value(LossType::SigmoidCrossEntropy, 1e4f, 1.f), 0.f);
  EXPECT_EQ(value(LossType::SigmoidCrossEntropy, -1e4f, 1.f), 1e4f);
  // A label of 0 and a probability of 0 (log -infinity) meet without NaN.
  EXPECT_EQ(value(LossType::SoftMaxCrossEntropy, -kInf, 0.f), 0.f);
  // A saturated prediction of the log loss: finite, and of the sign that moves it back.
  EXPECT_GT(gradient(LossType::Log, 1.f, 0.f), 1e6f);
  EXPECT_LT(gradient(LossType::Log, 0.f, 1.f), -1e6f);
  // An unknown number counts as the mean squared error.
  EXPECT_EQ(value(static_cast<LossType>(77), 3.f, 1.f), 4.f);
}

TEST(Loss, DivisorsCountElementsPixelsOrWeights) {
  using maths::lossDivisor;
  const auto mse = LossType::MeanSquaredError, ce = LossType::SoftMaxCrossEntropy;
  EXPECT_EQ(lossDivisor(mse, LossReductionType::None, 3, 4, 5, 2, false, 1, -1), 1);
  EXPECT_EQ(lossDivisor(mse, LossReductionType::Sum, 3, 4, 5, 2, true, 1, -1), 1);
  EXPECT_EQ(lossDivisor(mse, LossReductionType::Mean, 3, 4, 5, 2, false, 1, -1), 60);
  EXPECT_EQ(lossDivisor(mse, LossReductionType::Mean, 3, 4, 5, 2, true, 1, -1), 120);
  EXPECT_EQ(lossDivisor(ce, LossReductionType::Mean, 3, 4, 5, 2, false, 1, -1), 12);
  EXPECT_EQ(lossDivisor(ce, LossReductionType::Mean, 3, 4, 5, 2, true, 1, -1), 24);
  EXPECT_EQ(lossDivisor(mse, LossReductionType::SumByNonZeroWeights, 3, 4, 5, 2, false, 1, 17), 17);
  EXPECT_EQ(lossDivisor(mse, LossReductionType::SumByNonZeroWeights, 3, 4, 5, 2, false, 1, 0), 0);
  EXPECT_EQ(lossDivisor(mse, LossReductionType::SumByNonZeroWeights, 3, 4, 5, 2, false, 0.5f, -1), 60);
  EXPECT_EQ(lossDivisor(mse, LossReductionType::SumByNonZeroWeights, 3, 4, 5, 2, false, 0.f, -1), 0);
}

}  // namespace
}  // namespace kovar::test
