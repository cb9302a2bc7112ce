// Neurons against the oracle's formulas in double, on every set of lanes; then their tails, kinks, infinities and NaN.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "cuda/lane_bits_cases.hpp"
#include "lane_targets.hpp"
#include "oracle/neuron.hpp"
#include "support/random.hpp"

namespace kovar::test {
namespace {

namespace m = maths::scalar;
using maths::NeuronParams;
using maths::NeuronType;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

oracle::Neuron oracleOf(const NeuronParams& p) {
  oracle::Neuron n{static_cast<oracle::NeuronType>(p.type), p.a, p.b, p.c, {}};
  if (p.type == NeuronType::PReLU) n.data = {static_cast<double>(0.3f)};
  return n;
}

struct Forward {
  float x, a;
  template <class F>
  float operator()(const F& f) const {
    return m::neuronForward(f, x, a);
  }
};
struct Backward {
  float x, g, a;
  template <class F>
  float operator()(const F& f) const {
    return m::neuronBackward(f, x, g, a);
  }
};
float forward(const NeuronParams& p, float x) { return m::visitNeuron(p, Forward{x, 0.3f}); }
float backward(const NeuronParams& p, float x, float g = 1.f) { return m::visitNeuron(p, Backward{x, g, 0.3f}); }

TEST(Neuron, AgreesWithTheOracleOnEverySetOfLanes) {
  forCases(3, [](Case& c) {
    for (int i = 0; i < kNeuronCaseCount; ++i) {
      const oracle::Neuron oracle = oracleOf(kNeuronCases[i]);
      const std::vector<float> x = toFloat(randomValues(c.random, 4001, oracle.domain()));
      std::vector<float> g = toFloat(randomValues(c.random, 4001, {-2, 2, false})), y(x.size()), dx(x.size());
      for (const LaneSet& set : laneSets()) {
        set.run(kSimpleCases + 2 * i, x.data(), g.data(), y.data(), x.size());
        set.run(kSimpleCases + 2 * i + 1, x.data(), g.data(), dx.data(), x.size());
        for (std::size_t k = 0; k < x.size(); ++k) {
          const auto at = static_cast<double>(x[k]), incoming = static_cast<double>(g[k]);
          const double value = oracle.value(at), slope = oracle.derivative(at);
          ASSERT_NEAR(y[k], value, 1e-6 * oracle.valueMagnitude(at) + 1e-37)
              << set.name << " " << laneCaseName(kSimpleCases + 2 * i) << " of " << x[k];
          // A rounding may fall on the other side of HardSigmoid's kinks and ReLUN's limit.
          if (std::fabs(oracle.derivative(at * (1 + 1e-6)) - slope) > 0.01 ||
              std::fabs(oracle.derivative(at * (1 - 1e-6)) - slope) > 0.01)
            continue;
          ASSERT_NEAR(dx[k], incoming * slope, std::fabs(incoming) * 1.5e-6 * oracle.derivativeMagnitude(at) + 1e-37)
              << set.name << " " << laneCaseName(kSimpleCases + 2 * i + 1) << " of " << x[k] << " with gradient "
              << g[k];
        }
      }
    }
  });
}

// Nothing may cancel in the tails: the error is bounded relative to the result itself, down to the smallest normal
// float.
TEST(Neuron, TailsKeepTheirRelativeAccuracy) {
  struct Tail {
    NeuronParams neuron;
    double low, high;
    bool derivative;
    double ulps;
  };
  const Tail tails[] = {
      {{NeuronType::Sigmoid, 0, 0, 0}, -87, 20, false, 3},    {{NeuronType::Sigmoid, 0, 0, 0}, -87, 87, true, 5},
      {{NeuronType::TanH, 1, 1, 0}, -43, 43, true, 6},        {{NeuronType::SoftPlus, 1, 1, 0}, -87, 20, false, 4},
      {{NeuronType::SoftPlus, 1, 1, 0}, -87, 20, true, 4},    {{NeuronType::ELU, 1, 0, 0}, -20, 0, false, 3},
      {{NeuronType::ELU, 1, 0, 0}, -87, 0, true, 2},          {{NeuronType::GeLU, 0, 0, 0}, -13, 20, false, 10},
      {{NeuronType::SoftSign, 0, 0, 0}, -1e6, 1e6, false, 2}, {{NeuronType::SoftSign, 0, 0, 0}, -1e6, 1e6, true, 4},
  };
  forCases(1, [&](Case& c) {
    for (const Tail& t : tails) {
      const oracle::Neuron oracle = oracleOf(t.neuron);
      for (int i = 0; i < 20000; ++i) {
        const auto x = static_cast<float>(c.random.real(t.low, t.high));
        const auto at = static_cast<double>(x);
        const double exact = t.derivative ? oracle.derivative(at) : oracle.value(at);
        const float got = t.derivative ? backward(t.neuron, x) : forward(t.neuron, x);
        ASSERT_NEAR(got, exact, std::fabs(exact) * t.ulps * 0x1p-23)
            << oracle.name() << (t.derivative ? " derivative of " : " of ") << x;
      }
    }
    // GeLU's derivative crosses 0 near -0.75, where its two terms cancel; elsewhere it is as accurate.
    for (int i = 0; i < 20000; ++i) {
      const auto x = static_cast<float>(c.random.real(-12, 12));
      const double at = static_cast<double>(x), exact = oracleOf({NeuronType::GeLU, 0, 0, 0}).derivative(at);
      const double terms =
          0.5 * std::erfc(-at * std::sqrt(0.5)) + std::fabs(at) * std::exp(-0.5 * at * at) * 0.398942280401432678;
      ASSERT_NEAR(backward({NeuronType::GeLU, 0, 0, 0}, x), exact, terms * 10 * 0x1p-23) << x;
    }
  });
}

TEST(Neuron, Kinks) {
  EXPECT_EQ(backward({NeuronType::ReLU, 0.25f, 0, 0}, 0.f), 1.f);
  EXPECT_EQ(backward({NeuronType::ReLU, 0.f, 0, 0}, 0.f), 1.f);
  EXPECT_EQ(backward({NeuronType::ReLU, 0.f, 0, 0}, -1.f), 0.f);
  EXPECT_EQ(backward({NeuronType::ELU, 2.f, 0, 0}, 0.f), 1.f);
  EXPECT_EQ(backward({NeuronType::Absolute, 0, 0, 0}, 0.f), 0.f);
  EXPECT_EQ(backward({NeuronType::Absolute, 0, 0, 0}, -0.f), 0.f);
  const NeuronParams hard{NeuronType::HardSigmoid, 0.25f, 0.5f, 0};
  EXPECT_EQ(backward(hard, 2.f), 0.25f);
  EXPECT_EQ(backward(hard, -2.f), 0.25f);
  EXPECT_EQ(backward(hard, 2.0001f), 0.f);
  EXPECT_EQ(backward(hard, -2.0001f), 0.f);
  const NeuronParams relu6{NeuronType::ReLUN, 0.f, 6.f, 0}, negative{NeuronType::ReLUN, 0.5f, -1.f, 0};
  EXPECT_EQ(backward(relu6, 6.f), 0.f);
  EXPECT_EQ(backward(relu6, 5.9999995f), 1.f);
  EXPECT_EQ(backward(relu6, 0.f), 1.f);
  EXPECT_EQ(backward(relu6, -1.f), 0.f);
  EXPECT_EQ(forward(negative, 3.f), -1.f);
  EXPECT_EQ(backward(negative, 3.f), 0.f);
  EXPECT_EQ(forward(negative, -4.f), -2.f);
  EXPECT_EQ(backward(negative, -4.f), 0.5f);
  // A constant: no derivative, also where the base is 0.
  EXPECT_EQ(backward({NeuronType::Power, 1.f, 0.f, 0.f}, 0.f), 0.f);
  EXPECT_TRUE(std::isnan(forward({NeuronType::Power, 1.f, 0.f, 0.5f}, -2.f)));
  EXPECT_EQ(forward({NeuronType::Power, 1.f, 0.f, 2.f}, -3.f), 9.f);
}

TEST(Neuron, NaNStaysNaNForwardAndBackward) {
  for (int i = 0; i < kNeuronCaseCount; ++i) {
    const NeuronParams& p = kNeuronCases[i];
    EXPECT_TRUE(std::isnan(forward(p, kNaN))) << laneCaseName(kSimpleCases + 2 * i);
    if (p.type == NeuronType::None || p.type == NeuronType::Linear) continue;
    EXPECT_TRUE(std::isnan(backward(p, kNaN))) << laneCaseName(kSimpleCases + 2 * i + 1);
  }
}

TEST(Neuron, InfinitiesGiveLimits) {
  struct Limit {
    NeuronParams neuron;
    float atMinus, atPlus, slopeAtMinus, slopeAtPlus;
  };
  const Limit limits[] = {
      {{NeuronType::ReLU, 0.f, 0, 0}, 0.f, kInf, 0.f, 1.f},
      {{NeuronType::ReLU, 0.5f, 0, 0}, -kInf, kInf, 0.5f, 1.f},
      {{NeuronType::Sigmoid, 0, 0, 0}, 0.f, 1.f, 0.f, 0.f},
      {{NeuronType::HardSigmoid, 0.2f, 0.5f, 0}, 0.f, 1.f, 0.f, 0.f},
      {{NeuronType::TanH, 2.f, 1.f, 0}, -2.f, 2.f, 0.f, 0.f},
      {{NeuronType::SoftPlus, 1.f, 1.f, 0}, 0.f, kInf, 0.f, 1.f},
      {{NeuronType::SoftSign, 0, 0, 0}, -1.f, 1.f, 0.f, 0.f},
      {{NeuronType::ELU, 1.5f, 0, 0}, -1.5f, kInf, 0.f, 1.f},
      {{NeuronType::ReLUN, 0.f, 6.f, 0}, 0.f, 6.f, 0.f, 0.f},
      {{NeuronType::Exponential, 1.f, 0.f, -1.f}, 0.f, kInf, 0.f, kInf},
      {{NeuronType::GeLU, 0, 0, 0}, 0.f, kInf, 0.f, 1.f},
  };
  for (const Limit& l : limits) {
    const char* name = maths::neuronRow(l.neuron.type)->name;
    EXPECT_EQ(forward(l.neuron, -kInf), l.atMinus) << name;
    EXPECT_EQ(forward(l.neuron, kInf), l.atPlus) << name;
    EXPECT_EQ(backward(l.neuron, -kInf), l.slopeAtMinus) << name;
    EXPECT_EQ(backward(l.neuron, kInf), l.slopeAtPlus) << name;
  }
  // Large and finite: no overflow on the way.
  for (const float x : {1e4f, 1e20f, 3e38f}) {
    EXPECT_EQ(forward({NeuronType::SoftPlus, 1.f, 1.f, 0}, x), x);
    EXPECT_EQ(forward({NeuronType::SoftPlus, 1.f, 1.f, 0}, -x), 0.f);
    EXPECT_EQ(forward({NeuronType::GeLU, 0, 0, 0}, x), x);
    EXPECT_EQ(forward({NeuronType::GeLU, 0, 0, 0}, -x), 0.f);
    EXPECT_EQ(forward({NeuronType::SoftSign, 0, 0, 0}, -x), -1.f * (x / (1.f + x)));
    EXPECT_EQ(backward({NeuronType::TanH, 1, 1, 0}, x), 0.f);
  }
}

TEST(Neuron, TableListsTheDocumentedPlainValues) {
  const float e = -1.f;  // stands for base e
  const NeuronParams expected[] = {{NeuronType::None, 0, 0, 0},
                                   {NeuronType::ReLU, 0, 0, 0},
                                   {NeuronType::Linear, 1, 0, 0},
                                   {NeuronType::Sigmoid, 0, 0, 0},
                                   {NeuronType::HardSigmoid, 0.2f, 0.5f, 0},
                                   {NeuronType::TanH, 1, 1, 0},
                                   {NeuronType::Absolute, 0, 0, 0},
                                   {NeuronType::SoftPlus, 1, 1, 0},
                                   {NeuronType::SoftSign, 0, 0, 0},
                                   {NeuronType::ELU, 1, 0, 0},
                                   {NeuronType::PReLU, 0, 0, 0},
                                   {NeuronType::ReLUN, 1, 6, 0},
                                   {NeuronType::Power, 1, 0, 1},
                                   {NeuronType::Exponential, 1, 0, e},
                                   {NeuronType::Logarithm, 1, 0, e},
                                   {NeuronType::GeLU, 0, 0, 0}};
  ASSERT_EQ(std::size(expected), maths::kNeuronTypes);
  for (std::size_t i = 0; i < maths::kNeuronTypes; ++i) {
    EXPECT_EQ(static_cast<std::size_t>(expected[i].type), i);
    EXPECT_EQ(maths::plainNeuron(static_cast<NeuronType>(i)), expected[i]);
    EXPECT_EQ(maths::neuronRow(static_cast<NeuronType>(i))->type, expected[i].type);
  }
  EXPECT_EQ(maths::neuronRow(NeuronType::Count), nullptr);
  EXPECT_EQ(maths::neuronRow(static_cast<NeuronType>(-1)), nullptr);
  EXPECT_EQ(maths::plainNeuron(NeuronType::Count), NeuronParams{});
  // A number that is no neuron changes nothing.
  EXPECT_EQ(forward({static_cast<NeuronType>(99), 1, 1, 1}, 0.75f), 0.75f);
}

TEST(Neuron, EveryTypeHasACase) {
  for (std::size_t i = 0; i < maths::kNeuronTypes; ++i) {
    bool found = false;
    for (const NeuronParams& p : kNeuronCases) found |= static_cast<std::size_t>(p.type) == i;
    EXPECT_TRUE(found) << maths::kNeuronRows[i].name;
  }
}

}  // namespace
}  // namespace kovar::test
