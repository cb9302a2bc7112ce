// Optimizer steps against the same recurrences in double, over many steps; preprocessing in its order.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "maths/optimizer-inl.hpp"
#include "oracle/optimizer.hpp"
#include "support/random.hpp"

namespace kovar::test {
namespace {

namespace m = maths::scalar;
using maths::Decay;
using maths::PreprocessParams;
using maths::RegularizationType;

TEST(Optimizer, PreprocessClipsThenRescalesThenRegularises) {
  const PreprocessParams p{true, -1.f, 2.f, 0.5f, RegularizationType::L2, 0.25f};
  EXPECT_EQ(m::Preprocess{p}.apply(8.f, 4.f), 2.f);    // 8 -> 2 -> 1 -> 1 + 0.25 * 4
  EXPECT_EQ(m::Preprocess{p}.apply(-8.f, 4.f), 0.5f);  // -8 -> -1 -> -0.5 -> 0.5
  PreprocessParams l1 = p;
  l1.regularization = RegularizationType::L1;
  EXPECT_EQ(m::Preprocess{l1}.apply(1.f, -4.f), 0.25f);
  EXPECT_EQ(m::Preprocess{l1}.apply(1.f, 0.f), 0.5f);
  PreprocessParams off;
  EXPECT_EQ(m::Preprocess{off}.apply(-123.f, 7.f), -123.f);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(std::isnan(m::Preprocess{p}.apply(nan, 1.f)));
}

/// Forty steps side by side. Float rounding accumulates, so the bound is loose; a wrong formula is off by far more.
TEST(Optimizer, StepsFollowTheOracle) {
  forCases(20, [](Case& c) {
    oracle::Optimizer o;
    o.learningRate = static_cast<double>(static_cast<float>(c.random.real(0.001, 0.1)));
    const double momentum = 0.9, rho = 0.9;
    oracle::Adam adam;
    const auto rate = static_cast<float>(o.learningRate);
    struct State {
      std::vector<double> v{1.0}, a{0.0}, b{0.0}, x{0.0};
      float fv = 1.f, fa = 0.f, fb = 0.f, fx = 0.f;
    } plain, heavy, nesterov, rms, ad, ams;
    for (int step = 1; step <= 40; ++step) {
      // Smaller later on, so that the largest moment is not the latest.
      const auto g = static_cast<float>(c.random.real(-1, 1) * (step > 20 ? 0.05 : 1));
      const std::vector<double> grad{static_cast<double>(g)};
      adam.timeStep = static_cast<std::size_t>(step - 1);
      auto r = oracle::sgdStep(o, 0, false, grad, plain.v, {});
      plain.v = r.values;
      plain.fv = m::Sgd{rate}.step(plain.fv, g);
      r = oracle::sgdStep(o, momentum, false, grad, heavy.v, heavy.a);
      heavy.v = r.values, heavy.a = r.state;
      heavy.fv = m::SgdMomentum{rate, 0.9f}.step(heavy.fv, g, heavy.fa);
      r = oracle::sgdStep(o, momentum, true, grad, nesterov.v, nesterov.a);
      nesterov.v = r.values, nesterov.a = r.state;
      nesterov.fv = m::SgdNesterov{rate, 0.9f}.step(nesterov.fv, g, nesterov.fa);
      r = oracle::rmsPropStep(o, rho, 1e-8, grad, rms.v, rms.a);
      rms.v = r.values, rms.a = r.state;
      rms.fv = m::RmsProp{rate, Decay::of(rho), 1e-8f}.step(rms.fv, g, rms.fa);
      const float corrected =
          maths::adamLearningRate(o.learningRate, adam.beta1, adam.beta2, static_cast<std::uint64_t>(step));
      const m::Adam rule{corrected, Decay::of(adam.beta1), Decay::of(adam.beta2), 1e-8f};
      r = oracle::adamStep(o, adam, grad, ad.v, ad.a, ad.b, {});
      ad.v = r.values, ad.a = r.state, ad.b = r.secondState;
      ad.fv = rule.step(ad.fv, g, ad.fa, ad.fb);
      r = oracle::adamStep(o, adam, grad, ams.v, ams.a, ams.b, ams.x);
      ams.v = r.values, ams.a = r.state, ams.b = r.secondState, ams.x = r.thirdState;
      ams.fv = m::AmsGrad{rule}.step(ams.fv, g, ams.fa, ams.fb, ams.fx);
      const auto check = [&](const char* name, const State& s) {
        EXPECT_NEAR(s.fv, s.v[0], 4e-6 * (1 + std::fabs(s.v[0]))) << name << " step " << step;
        EXPECT_NEAR(s.fa, s.a[0], 4e-6 * (0.1 + std::fabs(s.a[0]))) << name << " first state, step " << step;
        EXPECT_NEAR(s.fb, s.b[0], 4e-6 * std::fabs(s.b[0])) << name << " second state, step " << step;
        EXPECT_NEAR(s.fx, s.x[0], 4e-6 * std::fabs(s.x[0])) << name << " third state, step " << step;
      };
      check("sgd", plain);
      check("momentum", heavy);
      check("nesterov", nesterov);
      check("rmsprop", rms);
      check("adam", ad);
      check("amsgrad", ams);
    }
    EXPECT_NE(ad.fv, ams.fv);
    EXPECT_NE(heavy.fv, nesterov.fv);
  });
}

// 0.001 from double, not 1 - 0.999f.
TEST(Optimizer, DecaysKeepTheSmallPartExact) {
  EXPECT_EQ(Decay::of(0.999).add, 0.001f);
  EXPECT_NE(1.f - Decay::of(0.999).keep, 0.001f);
  EXPECT_NEAR(maths::adamLearningRate(1e-3, 0.9, 0.999, 1), 1e-3 * std::sqrt(0.001) / 0.1, 1e-10);
  EXPECT_NEAR(maths::adamLearningRate(1e-3, 0.9, 0.999, 1000000), 1e-3, 1e-9);
}

TEST(Optimizer, ANaNMomentPassesIntoTheLargestOne) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  float a = 0, b = 0, x = 1;
  EXPECT_TRUE(std::isnan(m::AmsGrad{{0.1f, {0.9f, 0.1f}, {0.9f, 0.1f}, 1e-8f}}.step(1.f, nan, a, b, x)));
  EXPECT_TRUE(std::isnan(x));
}

}  // namespace
}  // namespace kovar::test
