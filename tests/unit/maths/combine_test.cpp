// Arithmetic, comparisons, pooling rules and softmax parts: values that can be said by hand.
#include <gtest/gtest.h>

#include <cfloat>
#include <cmath>
#include <limits>

#include "maths/arithmetic-inl.hpp"
#include "maths/pool-inl.hpp"
#include "maths/softmax-inl.hpp"
#include "support/random.hpp"

namespace kovar::test {
namespace {

namespace m = maths::scalar;
using maths::ArithmeticOp;
using maths::ArithmeticParams;
using maths::ComparisonType;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

struct Binary {
  float x, y;
  template <class F>
  float operator()(const F& f) const {
    return f.fwd(x, y);
  }
};
struct Whole {
  ArithmeticParams p;
  float x, y;
  template <class F>
  float operator()(const F& f) const {
    return m::arithmetic(f, p, x, y);
  }
};
float apply(ArithmeticOp op, float x, float y) { return m::visitArithmetic(op, Binary{x, y}); }
float compare(ComparisonType type, float threshold, float x, float y) {
  return m::visitComparison(type, threshold, Binary{x, y});
}

TEST(Arithmetic, Operations) {
  EXPECT_EQ(apply(ArithmeticOp::Add, 3.f, 4.f), 7.f);
  EXPECT_EQ(apply(ArithmeticOp::Sub, 3.f, 4.f), -1.f);
  EXPECT_EQ(apply(ArithmeticOp::Mul, 3.f, 4.f), 12.f);
  EXPECT_EQ(apply(ArithmeticOp::Div, 3.f, 4.f), 0.75f);
  EXPECT_EQ(apply(ArithmeticOp::Min, 3.f, 4.f), 3.f);
  EXPECT_EQ(apply(ArithmeticOp::Max, 3.f, 4.f), 4.f);
  EXPECT_EQ(apply(ArithmeticOp::Max, kNaN, 4.f), 4.f);
  EXPECT_EQ(apply(ArithmeticOp::Min, 3.f, kNaN), 3.f);
  EXPECT_EQ((m::Affine{2.f, 1.f}.fwd(3.f)), 7.f);
}

TEST(Arithmetic, ScalesBiasAndClamp) {
  ArithmeticParams p{2.f, 0.5f, 1.f, -10.f, 10.f};
  EXPECT_EQ(m::visitArithmetic(ArithmeticOp::Add, Whole{p, 3.f, 4.f}), 9.f);
  EXPECT_EQ(m::visitArithmetic(ArithmeticOp::Sub, Whole{p, 3.f, 4.f}), 5.f);
  EXPECT_EQ(m::visitArithmetic(ArithmeticOp::Mul, Whole{p, 3.f, 4.f}), 10.f);
  EXPECT_EQ(m::visitArithmetic(ArithmeticOp::Div, Whole{p, 3.f, 4.f}), 4.f);
  EXPECT_TRUE(std::isnan(m::visitArithmetic(ArithmeticOp::Add, Whole{p, kNaN, 4.f})));
  // The plain bounds turn infinities into the largest floats.
  EXPECT_EQ(m::visitArithmetic(ArithmeticOp::Div, Whole{{}, 1.f, 0.f}), FLT_MAX);
  EXPECT_EQ(m::visitArithmetic(ArithmeticOp::Div, Whole{{}, -1.f, 0.f}), -FLT_MAX);
  EXPECT_TRUE(std::isnan(m::visitArithmetic(ArithmeticOp::Div, Whole{{}, 0.f, 0.f})));
}

TEST(Arithmetic, TheMaskOfAClampIsStrict) {
  EXPECT_EQ(m::insideRange(0.f, -1.f, 1.f), 1.f);
  EXPECT_EQ(m::insideRange(1.f, -1.f, 1.f), 0.f);
  EXPECT_EQ(m::insideRange(-1.f, -1.f, 1.f), 0.f);
  EXPECT_EQ(m::insideRange(kNaN, -1.f, 1.f), 0.f);
}

TEST(Compare, ThresholdTakesPartInEveryType) {
  struct Row {
    ComparisonType type;
    float less, nearLess, equal, nearGreater, greater, nan;  // results for y - x = 2, 0.5, 0, -0.5, -2, NaN
  };
  const Row rows[] = {
      {ComparisonType::Equal, 0, 1, 1, 1, 0, 0},   {ComparisonType::NotEqual, 1, 0, 0, 0, 1, 1},
      {ComparisonType::Less, 1, 0, 0, 0, 0, 0},    {ComparisonType::LessOrEqual, 1, 1, 1, 1, 0, 0},
      {ComparisonType::Greater, 0, 0, 0, 0, 1, 0}, {ComparisonType::GreaterOrEqual, 0, 1, 1, 1, 1, 0},
  };
  for (const Row& r : rows) {
    const int type = static_cast<int>(r.type);
    EXPECT_EQ(compare(r.type, 0.5f, 1.f, 3.f), r.less) << type;
    EXPECT_EQ(compare(r.type, 0.5f, 1.f, 1.5f), r.nearLess) << type;
    EXPECT_EQ(compare(r.type, 0.5f, 1.f, 1.f), r.equal) << type;
    EXPECT_EQ(compare(r.type, 0.5f, 1.f, 0.5f), r.nearGreater) << type;
    EXPECT_EQ(compare(r.type, 0.5f, 1.f, -1.f), r.greater) << type;
    EXPECT_EQ(compare(r.type, 0.5f, kNaN, 1.f), r.nan) << type;
    EXPECT_EQ(compare(r.type, 0.f, kInf, kInf), r.equal) << type;
    EXPECT_EQ(compare(r.type, 0.f, -kInf, kInf), r.less) << type;
  }
}

TEST(PoolRules, MaximumIgnoresNaNUnlessAllAre) {
  const auto run = [](std::initializer_list<float> taps) {
    auto acc = m::MaxPool::start<float>();
    for (const float t : taps) acc = m::MaxPool::combine(acc, t);
    return m::MaxPool::finish(acc);
  };
  EXPECT_EQ(run({1.f, kNaN, 3.f, 2.f}), 3.f);
  EXPECT_EQ(run({kNaN, -5.f, kNaN}), -5.f);
  EXPECT_EQ(run({-kInf, -kInf}), -kInf);
  EXPECT_TRUE(std::isnan(run({kNaN, kNaN})));
  // Of two zeros the first stays.
  EXPECT_TRUE(std::signbit(run({-0.f, 0.f})));
  EXPECT_FALSE(std::signbit(run({0.f, -0.f})));
  EXPECT_FALSE(m::MaxPool::better(2.f, 2.f));
  EXPECT_TRUE(m::MaxPool::better(3.f, 2.f));
  EXPECT_TRUE(m::MaxPool::better(-kInf, kNaN));
  EXPECT_FALSE(m::MaxPool::better(kNaN, -kInf));
  EXPECT_FALSE(m::MaxPool::better(kNaN, kNaN));
}

TEST(PoolRules, AverageAndL2) {
  EXPECT_EQ(m::AveragePool::finish(
                m::AveragePool::combine(m::AveragePool::combine(m::AveragePool::start<float>(), 3.f), 6.f), 4.f),
            2.25f);
  EXPECT_EQ(m::AveragePool::finish(0.f, 0.f), 0.f);
  EXPECT_EQ(m::AveragePool::bwd(3.f, 4.f), 0.75f);
  EXPECT_EQ(m::AveragePool::bwd(3.f, 0.f), 0.f);
  EXPECT_EQ(m::L2Pool::finish(m::L2Pool::combine(m::L2Pool::combine(m::L2Pool::start<float>(), 3.f), -4.f)), 5.f);
  EXPECT_EQ(m::L2Pool::bwd(2.f, 3.f, 5.f), 6.f / 5.f);
  EXPECT_EQ(m::L2Pool::bwd(2.f, 0.f, 0.f), 0.f);
}

TEST(Softmax, PartsGiveTheDocumentedFormulas) {
  forCases(20, [](Case& c) {
    const std::size_t n = c.random.size(1, 20);
    const std::vector<double> x = toDouble(toFloat(randomValues(c.random, n, {-30, 30, false})));
    const std::vector<double> g = toDouble(toFloat(randomValues(c.random, n, {-2, 2, false})));
    float max = -kInf, sum = 0;
    for (const double v : x) max = m::softmaxMax(max, static_cast<float>(v));
    for (const double v : x) sum += m::softmaxTerm(static_cast<float>(v), max);
    double exactSum = 0, dot = 0, plain = 0;
    for (const double v : x) exactSum += std::exp(v);
    for (std::size_t i = 0; i < n; ++i) dot += g[i] * std::exp(x[i]) / exactSum, plain += g[i];
    for (std::size_t i = 0; i < n; ++i) {
      const auto xi = static_cast<float>(x[i]), gi = static_cast<float>(g[i]);
      const double y = std::exp(x[i]) / exactSum, logY = x[i] - std::log(exactSum);
      // x - max is rounded, which moves the exponential by that much of itself.
      EXPECT_NEAR(m::softmaxTerm(xi, max) / sum, y, y * (1e-6 + 1e-7 * std::fabs(x[i] - static_cast<double>(max))));
      EXPECT_NEAR(m::logSoftmax(xi, max, std::log(sum)), logY, 2e-6 * (1 + std::fabs(logY)));
      EXPECT_NEAR(m::softmaxBwd(gi, static_cast<float>(y), static_cast<float>(dot)), y * (g[i] - dot), 1e-6);
      EXPECT_NEAR(m::logSoftmaxBwd(gi, static_cast<float>(logY), static_cast<float>(plain)), g[i] - y * plain, 1e-5);
    }
  });
  EXPECT_TRUE(std::isnan(m::softmaxMax(kNaN, 3.f)));
  EXPECT_TRUE(std::isnan(m::softmaxMax(3.f, kNaN)));
  EXPECT_EQ(m::softmaxMax(-kInf, 3.f), 3.f);
  EXPECT_TRUE(std::isnan(m::softmaxTerm(-kInf, -kInf)));
}

}  // namespace
}  // namespace kovar::test
