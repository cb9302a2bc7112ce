#pragma once
// One step of the optimizers over plain vectors.

#include "oracle/tensor.hpp"

namespace kovar::oracle {

enum class Regularization { None = 0, L1 = 1, L2 = 2 };

/// What all optimizers share. Order: clip, rescale, regularize. Negative rates and scales are legal.
struct Optimizer {
  double learningRate = 1e-3;
  double gradientRescale = 1;
  bool applyGradientClipping = false;
  double gradientClipMin = -3.4028234663852886e38, gradientClipMax = 3.4028234663852886e38;
  Regularization regularization = Regularization::None;
  double regularizationScale = 0;

  /// Gradient after the three steps, v being the parameter's present value.
  double gradient(double raw, double v) const;
  static Tolerance tolerance() { return {4e-6, 1e-37}; }
  static Domain domain() { return {-2, 2, false}; }
};

/// New values and states of one step, with the error scale of the values and of the first state.
struct StepResult {
  std::vector<double> values;
  std::vector<double> state, secondState, thirdState;
  std::vector<double> valuesMagnitude, stateMagnitude, secondStateMagnitude;
};

/// Empty momentum: plain descent. The momentum holds the learning rate in the plain mode, not in Nesterov's.
StepResult sgdStep(const Optimizer& o, double momentumScale, bool nesterov, const std::vector<double>& gradient,
                   const std::vector<double>& values, const std::vector<double>& momentum);

/// state = decayed sum of squares.
StepResult rmsPropStep(const Optimizer& o, double decay, double epsilon, const std::vector<double>& gradient,
                       const std::vector<double>& values, const std::vector<double>& sumOfSquares);

struct Adam {
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
  size_t timeStep = 0;  ///< updates done before this one
};
/// state = momentum, secondState = velocity, thirdState = maximum velocity (AMSGrad; empty = plain Adam).
StepResult adamStep(const Optimizer& o, const Adam& adam, const std::vector<double>& gradient,
                    const std::vector<double>& values, const std::vector<double>& momentum,
                    const std::vector<double>& velocity, const std::vector<double>& maximumVelocity);

}  // namespace kovar::oracle
