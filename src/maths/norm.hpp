#pragma once
// Numbers of normalizations that are formed once per region or kernel, in double: means and variances put together from
// parts, and the factors that the formulas of norm-inl.hpp take. Include anywhere, CUDA device code too.

#include <cmath>

#include "maths/lane.hpp"

namespace kovar::maths {

/// Count, mean and sum of squared distances from the mean.
struct Moments {
  double count = 0, mean = 0, squares = 0;

  /// Those of both sets together (Chan, Golub and LeVeque). Exact where all values are equal.
  KOVAR_LANE void join(const Moments& o) {
    if (o.count == 0) return;
    const double all = count + o.count, step = o.mean - mean;
    mean += step * (o.count / all);
    squares += o.squares + step * step * (count * (o.count / all));
    count = all;
  }
  /// Biased: divided by the count.
  KOVAR_LANE double variance() const { return count > 0 ? squares / count : 0; }
};

/// 1 / sqrt(variance + epsilon).
KOVAR_LANE double inverseDeviation(float variance, float epsilon) {
  return 1.0 / ::sqrt(static_cast<double>(variance) + static_cast<double>(epsilon));
}

/// D = (S - mean) * scale + shift.
struct NormFactors {
  float mean, scale, shift;
};
KOVAR_LANE NormFactors normFactors(float mean, float variance, float epsilon, float gamma, float beta) {
  return {mean, static_cast<float>(static_cast<double>(gamma) * inverseDeviation(variance, epsilon)), beta};
}

/// dS = g * gradient + (S - mean) * source + constant, the derivative of a normalization whose mean and variance come
/// from `count` values (0: they are constants). sumG, sumGX: sums over these values of gamma g and gamma g xh, where
/// xh = (S - mean) / deviation.
struct NormGradientFactors {
  float mean, gradient, source, constant;
};
KOVAR_LANE NormGradientFactors normGradientFactors(float mean, float variance, float epsilon, float gamma, double sumG,
                                                   double sumGX, double count) {
  const double r = inverseDeviation(variance, epsilon);
  const auto gradient = static_cast<float>(static_cast<double>(gamma) * r);
  if (!(count > 0)) return {mean, gradient, 0.f, 0.f};
  const double share = r / count;
  // Where all values are equal the deviation may be so small that its square's inverse is infinite.
  return {mean, gradient, sumGX == 0 ? 0.f : static_cast<float>(-(sumGX * r) * share),
          static_cast<float>(-sumG * share)};
}

/// How T to the power -beta is computed: beta = whole + quarters / 4 where that is exact and small, else by pow.
struct InversePower {
  float beta = 0;
  int whole = -1, quarters = 0;  ///< whole < 0: pow

  KOVAR_LANE static InversePower of(float beta) {
    const float fourfold = beta * 4.f;
    if (!(fourfold >= 0.f && fourfold <= 32.f) || fourfold != static_cast<float>(static_cast<int>(fourfold)))
      return {beta, -1, 0};
    return {beta, static_cast<int>(fourfold) / 4, static_cast<int>(fourfold) % 4};
  }
};

}  // namespace kovar::maths
