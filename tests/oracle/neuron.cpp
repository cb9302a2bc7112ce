#include "oracle/neuron.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace kovar::oracle {

namespace {

constexpr double kSqrtHalf = 0.70710678118654752440;
constexpr double kInvSqrtTwoPi = 0.39894228040143267794;

double sigmoid(double x) { return x >= 0 ? 1.0 / (1.0 + std::exp(-x)) : std::exp(x) / (1.0 + std::exp(x)); }

// ln(1 + e^x) without overflow
double softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::fabs(x))); }

double logOfBase(double c) { return c == -1.0 ? 1.0 : std::log(c); }

}  // namespace

Neuron Neuron::plain(NeuronType type) {
  switch (type) {
    case NeuronType::Linear:
      return {type, 1, 0, 0, {}};
    case NeuronType::HardSigmoid:
      return {type, 0.2, 0.5, 0, {}};
    case NeuronType::TanH:
    case NeuronType::SoftPlus:
      return {type, 1, 1, 0, {}};
    case NeuronType::ELU:
      return {type, 1, 0, 0, {}};
    case NeuronType::ReLUN:
      return {type, 1, 6, 0, {}};
    case NeuronType::Power:
      return {type, 1, 0, 1, {}};
    case NeuronType::Exponential:
    case NeuronType::Logarithm:
      return {type, 1, 0, -1, {}};
    default:
      return {type, 0, 0, 0, {}};
  }
}

const char* Neuron::name() const {
  static const char* const kNames[] = {"None",     "ReLU",        "Linear",    "Sigmoid", "HardSigmoid", "TanH",
                                       "Absolute", "SoftPlus",    "SoftSign",  "ELU",     "PReLU",       "ReLUN",
                                       "Power",    "Exponential", "Logarithm", "GeLU"};
  return kNames[static_cast<int>(type)];
}

double Neuron::value(double x, size_t channel) const {
  if (std::isnan(x)) return x;
  switch (type) {
    case NeuronType::None:
      return x;
    case NeuronType::ReLU:
      return x >= 0 ? x : a * x;
    case NeuronType::Linear:
      return a * x + b;
    case NeuronType::Sigmoid:
      return sigmoid(x);
    case NeuronType::HardSigmoid:
      return std::clamp(a * x + b, 0.0, 1.0);
    case NeuronType::TanH:
      return a * std::tanh(b * x);
    case NeuronType::Absolute:
      return std::fabs(x);
    case NeuronType::SoftPlus:
      return a * softplus(b * x);
    case NeuronType::SoftSign:
      return x / (1.0 + std::fabs(x));
    case NeuronType::ELU:
      return x >= 0 ? x : a * std::expm1(x);
    case NeuronType::PReLU:
      return x >= 0 ? x : data.at(channel) * x;
    case NeuronType::ReLUN:
      return std::min(x >= 0 ? x : a * x, b);
    case NeuronType::Power:
      return std::pow(a * x + b, c);
    case NeuronType::Exponential:
      return c == -1.0 ? std::exp(a * x + b) : std::pow(c, a * x + b);
    case NeuronType::Logarithm:
      return std::log(a * x + b) / logOfBase(c);
    case NeuronType::GeLU:
      return 0.5 * x * std::erfc(-x * kSqrtHalf);
  }
  throw std::invalid_argument("oracle: no such neuron");
}

double Neuron::derivative(double x, size_t channel) const {
  if (std::isnan(x)) return x;
  switch (type) {
    case NeuronType::None:
      return 1.0;
    case NeuronType::ReLU:
      return x >= 0 ? 1.0 : a;
    case NeuronType::Linear:
      return a;
    case NeuronType::Sigmoid:
      return sigmoid(x) * sigmoid(-x);
    case NeuronType::HardSigmoid: {
      const double t = a * x + b;
      return t >= 0.0 && t <= 1.0 ? a : 0.0;
    }
    case NeuronType::TanH: {
      const double u = 1.0 / std::cosh(b * x);
      return a * b * u * u;
    }
    case NeuronType::Absolute:
      return x > 0 ? 1.0 : x < 0 ? -1.0 : 0.0;
    case NeuronType::SoftPlus:
      return a * b * sigmoid(b * x);
    case NeuronType::SoftSign:
      return 1.0 / ((1.0 + std::fabs(x)) * (1.0 + std::fabs(x)));
    case NeuronType::ELU:
      return x >= 0 ? 1.0 : a * std::exp(x);
    case NeuronType::PReLU:
      return x >= 0 ? 1.0 : data.at(channel);
    case NeuronType::ReLUN: {
      const double t = x >= 0 ? x : a * x;
      if (t >= b) return 0.0;
      return x >= 0 ? 1.0 : a;
    }
    case NeuronType::Power:
      return a * c * std::pow(a * x + b, c - 1.0);
    case NeuronType::Exponential:
      return c == -1.0 ? a * std::exp(a * x + b) : a * std::log(c) * std::pow(c, a * x + b);
    case NeuronType::Logarithm:
      return a / (logOfBase(c) * (a * x + b));
    case NeuronType::GeLU:
      return 0.5 * std::erfc(-x * kSqrtHalf) + x * std::exp(-0.5 * x * x) * kInvSqrtTwoPi;
  }
  throw std::invalid_argument("oracle: no such neuron");
}

// How much the rounding of an inner a*x+b can move an outer function: terms of the sum, next to the sum itself.
double Neuron::valueMagnitude(double x, size_t channel) const {
  const double f = std::fabs(value(x, channel));
  const double terms = std::fabs(a * x) + std::fabs(b);
  switch (type) {
    case NeuronType::Linear:
    case NeuronType::HardSigmoid:
      return terms;
    case NeuronType::Sigmoid:
      return f;
    case NeuronType::TanH:
      return f + std::fabs(a) * std::min(1.0, std::fabs(b * x));
    case NeuronType::SoftPlus:
      return f * (1.0 + std::fabs(b * x));
    case NeuronType::ELU:
      return f * 2;
    case NeuronType::Power:
      return f * (1.0 + std::fabs(c) * terms / std::max(std::fabs(a * x + b), 1e-300));
    case NeuronType::Exponential:
      return f * (1.0 + std::fabs(logOfBase(c)) * (terms + std::fabs(a * x + b)));
    case NeuronType::Logarithm:
      return f + (1.0 + terms / std::max(std::fabs(a * x + b), 1e-300)) / std::fabs(logOfBase(c));
    // 0.5*x*(1+erf): the sum cancels for negative x
    case NeuronType::GeLU:
      return std::fabs(x);
    default:
      return f;
  }
}

double Neuron::derivativeMagnitude(double x, size_t channel) const {
  const double d = std::fabs(derivative(x, channel));
  const double terms = std::fabs(a * x) + std::fabs(b);
  switch (type) {
    // s*(1-s) and 1-tanh^2 cancel at the far ends: the error is that of the terms
    case NeuronType::Sigmoid:
      return sigmoid(x);
    case NeuronType::TanH:
      return std::fabs(a * b);
    case NeuronType::SoftPlus:
      return d * (1.0 + std::fabs(b * x));
    case NeuronType::ELU:
      return d * (1.0 + std::fabs(std::min(x, 0.0)));
    case NeuronType::Power:
      return d * (1.0 + std::fabs(c - 1.0) * terms / std::max(std::fabs(a * x + b), 1e-300));
    case NeuronType::Exponential:
      return d * (1.0 + std::fabs(logOfBase(c)) * (terms + std::fabs(a * x + b)));
    case NeuronType::Logarithm:
      return d * (1.0 + terms / std::max(std::fabs(a * x + b), 1e-300));
    case NeuronType::GeLU:
      return 1.0 + std::fabs(x) * std::exp(-0.5 * x * x);
    default:
      return d;
  }
}

Domain Neuron::domain() const {
  switch (type) {
    // the base must stay positive: a*x+b in [0.1, 10]
    case NeuronType::Power:
    case NeuronType::Logarithm: {
      if (a == 0) return {-4, 4, false};
      const double p = (0.1 - b) / a, q = (10.0 - b) / a;
      return {std::min(p, q), std::max(p, q), false};
    }
    case NeuronType::Exponential:
      return {-3, 3, false};
    default:
      return {-8, 8, false};
  }
}

Result neuronForward(const Neuron& neuron, const Attributes& at, const Tensor& source, const Tensor& destination) {
  Result out = Result::over(destination);
  const Region r = effectiveRegion(at.clip, destination, at.offset.z, source.n);
  const size_t channels = usedChannels(source, at.sourceChannelOffset, at.sourceChannelMaxCount);
  for (long i = 0; i < r.d; ++i)
    for (long y = 0; y < r.h; ++y)
      for (long x = 0; x < r.w; ++x)
        for (size_t c = 0; c < channels; ++c) {
          const double s = readEdge(source, at.edge, static_cast<size_t>(at.offset.z + i), at.offset.y + y,
                                    at.offset.x + x, at.sourceChannelOffset + c);
          const size_t k = destination.index(static_cast<size_t>(r.z + i), static_cast<size_t>(r.y + y),
                                             static_cast<size_t>(r.x + x), at.destinationChannelOffset + c);
          out.value.v[k] = neuron.value(s, c);
          out.magnitude.v[k] = neuron.valueMagnitude(s, c);
        }
  return out;
}

Result neuronGradient(const Neuron& neuron, const GradientAttributes& at, const Tensor& gradient, const Tensor& source,
                      const Tensor& destination) {
  Result out = Result::over(destination);
  const Region r = effectiveRegion(at.clip, destination, at.primaryOffset.z, gradient.n);
  const size_t channels = std::min(usedChannels(gradient, at.primaryChannelOffset, at.channelMaxCount),
                                   usedChannels(source, at.secondaryChannelOffset, at.channelMaxCount));
  for (long i = 0; i < r.d; ++i)
    for (long y = 0; y < r.h; ++y)
      for (long x = 0; x < r.w; ++x)
        for (size_t c = 0; c < channels; ++c) {
          const double g = readEdge(gradient, at.primaryEdge, static_cast<size_t>(at.primaryOffset.z + i),
                                    at.primaryOffset.y + y, at.primaryOffset.x + x, at.primaryChannelOffset + c);
          const double s = readEdge(source, at.secondaryEdge, static_cast<size_t>(at.secondaryOffset.z + i),
                                    at.secondaryOffset.y + y, at.secondaryOffset.x + x, at.secondaryChannelOffset + c);
          const size_t k = destination.index(static_cast<size_t>(r.z + i), static_cast<size_t>(r.y + y),
                                             static_cast<size_t>(r.x + x), at.destinationChannelOffset + c);
          out.value.v[k] = g * neuron.derivative(s, c);
          out.magnitude.v[k] = std::fabs(g) * neuron.derivativeMagnitude(s, c);
        }
  return out;
}

double fusedMagnitude(const Neuron& neuron, double pre, double preMagnitude, size_t channel) {
  if (neuron.type == NeuronType::None) return preMagnitude;
  // the steepest slope nearby, so that a value at a kink may fall on either side
  const double step = 1e-4 * preMagnitude;
  const double slope =
      std::max({std::fabs(neuron.derivative(pre, channel)), std::fabs(neuron.derivative(pre - step, channel)),
                std::fabs(neuron.derivative(pre + step, channel))});
  return slope * preMagnitude + neuron.valueMagnitude(pre, channel);
}

}  // namespace kovar::oracle
