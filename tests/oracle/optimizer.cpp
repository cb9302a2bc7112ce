#include "oracle/optimizer.hpp"

#include <algorithm>
#include <cmath>

namespace kovar::oracle {

namespace {

double sign(double x) { return x > 0 ? 1.0 : x < 0 ? -1.0 : 0.0; }

StepResult sized(size_t count) {
  StepResult r;
  r.values.resize(count);
  r.valuesMagnitude.resize(count);
  r.stateMagnitude.resize(count);
  r.secondStateMagnitude.resize(count);
  return r;
}

// absolute terms of the preprocessed gradient
double gradientTerms(const Optimizer& o, double raw, double v) {
  Optimizer plain = o;
  plain.regularization = Regularization::None;
  const double own = std::fabs(plain.gradient(raw, v));
  return own + std::fabs(o.gradient(raw, v) - plain.gradient(raw, v));
}

// 1 - decay where decay is a float near 1: its own rounding is large beside the difference
double complementTerms(double decay) { return std::fabs(1 - decay) + 0.02; }

}  // namespace

double Optimizer::gradient(double raw, double v) const {
  double d = raw;
  if (applyGradientClipping) d = std::min(std::max(d, gradientClipMin), gradientClipMax);
  d *= gradientRescale;
  if (regularization == Regularization::L1) d += regularizationScale * sign(v);
  if (regularization == Regularization::L2) d += regularizationScale * v;
  return d;
}

StepResult sgdStep(const Optimizer& o, double momentumScale, bool nesterov, const std::vector<double>& gradient,
                   const std::vector<double>& values, const std::vector<double>& momentum) {
  StepResult r = sized(values.size());
  r.state = momentum;
  for (size_t i = 0; i < values.size(); ++i) {
    const double g = o.gradient(gradient[i], values[i]), terms = gradientTerms(o, gradient[i], values[i]);
    const double lr = o.learningRate;
    double step = lr * g, stepTerms = std::fabs(lr) * terms;
    if (!momentum.empty()) {
      const double kept = momentumScale * momentum[i];
      if (nesterov) {
        r.state[i] = kept + g;
        r.stateMagnitude[i] = std::fabs(kept) + terms;
        step = lr * (g + momentumScale * r.state[i]);
        stepTerms = std::fabs(lr) * (terms + std::fabs(momentumScale) * r.stateMagnitude[i]);
      } else {
        r.state[i] = kept + lr * g;
        r.stateMagnitude[i] = std::fabs(kept) + stepTerms;
        step = r.state[i];
        stepTerms = r.stateMagnitude[i];
      }
    }
    r.values[i] = values[i] - step;
    r.valuesMagnitude[i] = std::fabs(values[i]) + stepTerms;
  }
  return r;
}

StepResult rmsPropStep(const Optimizer& o, double decay, double epsilon, const std::vector<double>& gradient,
                       const std::vector<double>& values, const std::vector<double>& sumOfSquares) {
  StepResult r = sized(values.size());
  r.state = sumOfSquares;
  for (size_t i = 0; i < values.size(); ++i) {
    const double g = o.gradient(gradient[i], values[i]), terms = gradientTerms(o, gradient[i], values[i]);
    r.state[i] = decay * sumOfSquares[i] + (1 - decay) * g * g;
    r.stateMagnitude[i] = std::fabs(decay * sumOfSquares[i]) + complementTerms(decay) * terms * terms;
    const double root = std::sqrt(r.state[i]) + epsilon;
    r.values[i] = values[i] - o.learningRate * g / root;
    const double shift = r.state[i] > 0 ? r.stateMagnitude[i] / r.state[i] : 0;  // relative error of the root
    r.valuesMagnitude[i] =
        std::fabs(values[i]) + std::fabs(o.learningRate) * (terms + std::fabs(g) * (1 + shift)) / root;
  }
  return r;
}

StepResult adamStep(const Optimizer& o, const Adam& adam, const std::vector<double>& gradient,
                    const std::vector<double>& values, const std::vector<double>& momentum,
                    const std::vector<double>& velocity, const std::vector<double>& maximumVelocity) {
  StepResult r = sized(values.size());
  r.state = momentum;
  r.secondState = velocity;
  r.thirdState = maximumVelocity;
  const auto k = static_cast<double>(adam.timeStep + 1);
  const double rate = o.learningRate * std::sqrt(1 - std::pow(adam.beta2, k)) / (1 - std::pow(adam.beta1, k));
  for (size_t i = 0; i < values.size(); ++i) {
    const double g = o.gradient(gradient[i], values[i]), terms = gradientTerms(o, gradient[i], values[i]);
    r.state[i] = adam.beta1 * momentum[i] + (1 - adam.beta1) * g;
    r.stateMagnitude[i] = std::fabs(adam.beta1 * momentum[i]) + complementTerms(adam.beta1) * terms;
    r.secondState[i] = adam.beta2 * velocity[i] + (1 - adam.beta2) * g * g;
    r.secondStateMagnitude[i] = std::fabs(adam.beta2 * velocity[i]) + complementTerms(adam.beta2) * terms * terms;
    double u = r.secondState[i];
    if (!maximumVelocity.empty()) u = r.thirdState[i] = std::max(maximumVelocity[i], u);
    const double root = std::sqrt(u) + adam.epsilon;
    r.values[i] = values[i] - rate * r.state[i] / root;
    const double shift = u > 0 ? r.secondStateMagnitude[i] / u : 0;
    r.valuesMagnitude[i] =
        std::fabs(values[i]) + std::fabs(rate) * (r.stateMagnitude[i] + std::fabs(r.state[i]) * (1 + shift)) / root;
  }
  return r;
}

}  // namespace kovar::oracle
