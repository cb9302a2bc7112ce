#pragma once
// Optimizers: parameters. optimizer-inl.hpp has the update rules as functors; each changes its state in place and
// returns the new value, g being what Preprocess made of the raw gradient:
//   Preprocess::apply(d, v)                       clip, then rescale, then regularise
//   Sgd::step(v, g)   SgdMomentum::step(v, g, m)   SgdNesterov::step(v, g, m)
//   RmsProp::step(v, g, s)   Adam::step(v, g, m, u)   AmsGrad::step(v, g, m, u, x)
// The functors are made from doubles where the documents have doubles: 1 - beta2 = 0.001 must not be taken from float
// 0.999, which is off by 1e-5 of it.

#include <cmath>
#include <cstdint>
#include <limits>

namespace kovar::maths {

/// Numbers as documented for MPSNNRegularizationType.
enum class RegularizationType : std::uint8_t { None = 0, L1, L2 };

struct PreprocessParams {
  bool clip = false;
  float clipMin = -std::numeric_limits<float>::max(), clipMax = std::numeric_limits<float>::max();
  float rescale = 1.f;
  RegularizationType regularization = RegularizationType::None;
  float regularizationScale = 0.f;
};

/// Adam's learning rate of update number `step` (1 for the first one): bias correction applied, epsilon outside it.
inline float adamLearningRate(double learningRate, double beta1, double beta2, std::uint64_t step) {
  const auto k = static_cast<double>(step);
  return static_cast<float>(learningRate * std::sqrt(1.0 - std::pow(beta2, k)) / (1.0 - std::pow(beta1, k)));
}

/// A decay rate and what it leaves, both rounded from double.
struct Decay {
  float keep, add;
  static constexpr Decay of(double rate) { return {static_cast<float>(rate), static_cast<float>(1.0 - rate)}; }
};

}  // namespace kovar::maths
