// Parts of normalizations: joined moments, factors, and powers without logarithms.

#include <gtest/gtest.h>

#include <cfloat>
#include <cmath>
#include <limits>

#include "maths/norm-inl.hpp"

namespace kovar::maths {
namespace {

TEST(Norm, MomentsOfPartsAreThoseOfTheWhole) {
  const double values[] = {1e6 + 1, 1e6 + 2, 1e6 + 4, 1e6 - 3, 1e6, 1e6 + 7, 1e6 + 7};
  Moments whole, first, second;
  for (int i = 0; i < 7; ++i) {
    whole.join({1, values[i], 0});
    (i < 3 ? first : second).join({1, values[i], 0});
  }
  first.join(second);
  EXPECT_NEAR(first.mean, whole.mean, 1e-9);
  EXPECT_NEAR(first.variance(), whole.variance(), 1e-9);
  double squares = 0;
  for (const double v : values) squares += (v - whole.mean) * (v - whole.mean) / 7;
  EXPECT_NEAR(whole.variance(), squares, 1e-9);
  Moments none;
  none.join({});
  EXPECT_EQ(none.variance(), 0);
}

TEST(Norm, AVarianceOfZeroGivesFiniteFactors) {
  const NormFactors f = normFactors(0.1f, 0.f, FLT_MIN, 3.f, 0.25f);
  EXPECT_TRUE(std::isfinite(f.scale));
  EXPECT_EQ(scalar::normApply(0.1f, f.mean, f.scale, f.shift), 0.25f);
  const NormGradientFactors g = normGradientFactors(0.1f, 0.f, FLT_MIN, 3.f, 0.0, 0.0, 10);
  EXPECT_EQ(g.source, 0.f);
  EXPECT_EQ(normGradientFactors(0.f, 1.f, 0.f, 2.f, 5.0, 5.0, 0).constant, 0.f) << "constants";
}

TEST(Norm, InversePowersAreExactToAFewUnits) {
  for (int fourfold = 0; fourfold <= 32; ++fourfold) {
    const float beta = static_cast<float>(fourfold) / 4.f;
    const InversePower p = InversePower::of(beta);
    ASSERT_GE(p.whole, 0) << beta;
    for (double t = 1e-3; t < 1e4; t *= 1.0137) {
      const auto x = static_cast<float>(t);
      const double exact = std::pow(static_cast<double>(x), -static_cast<double>(beta));
      ASSERT_NEAR(scalar::inversePower(x, p) / exact, 1, 9e-7) << x << " to the power -" << beta;
    }
  }
  for (const float beta : {0.6f, -0.5f, 9.f, 0.1f}) EXPECT_LT(InversePower::of(beta).whole, 0) << beta;
  EXPECT_NEAR(scalar::inversePower(2.f, InversePower::of(0.6f)), std::pow(2.0, -0.6), 1e-6);
}

TEST(Norm, InversePowersAtTheEnds) {
  const float inf = std::numeric_limits<float>::infinity();
  for (const float beta : {0.25f, 0.75f, 1.75f}) {
    const InversePower p = InversePower::of(beta);
    EXPECT_EQ(scalar::inversePower(inf, p), 0.f);
    EXPECT_EQ(scalar::inversePower(0.f, p), inf);
    EXPECT_TRUE(std::isnan(scalar::inversePower(-1.f, p)));
    EXPECT_TRUE(std::isnan(scalar::inversePower(std::nanf(""), p)));
    EXPECT_NEAR(scalar::inversePower(1e-32f, InversePower::of(0.5f)) * 1e-16f, 1.f, 1e-5f) << "by pow";
  }
}

}  // namespace
}  // namespace kovar::maths
