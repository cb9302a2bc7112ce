#pragma once
// The activation functions and their derivatives.

#include "oracle/tensor.hpp"

namespace kovar::oracle {

/// Numbers are the documented enum values.
enum class NeuronType {
  None = 0,
  ReLU,
  Linear,
  Sigmoid,
  HardSigmoid,
  TanH,
  Absolute,
  SoftPlus,
  SoftSign,
  ELU,
  PReLU,
  ReLUN,
  Power,
  Exponential,
  Logarithm,
  GeLU
};
inline constexpr int kNeuronTypeCount = 16;

/// One activation function with its parameters.
struct Neuron {
  NeuronType type = NeuronType::None;
  double a = 0, b = 0, c = 0;
  std::vector<double> data;  ///< PReLU: one slope a channel, counted from the first channel used

  /// The type with the parameters it takes when a caller gives none (base e for Exponential and Logarithm).
  static Neuron plain(NeuronType type);
  const char* name() const;

  double value(double x, size_t channel = 0) const;
  /// df/dx. At a kink: ReLU and ELU 1, HardSigmoid a at both ends, Absolute 0, ReLUN 0 at b.
  double derivative(double x, size_t channel = 0) const;
  /// Sum of the absolute terms of value(): what a float32 evaluation's error is proportional to.
  double valueMagnitude(double x, size_t channel = 0) const;
  double derivativeMagnitude(double x, size_t channel = 0) const;

  /// Inputs for which a float32 evaluation stays finite and within tolerance().
  Domain domain() const;
  Tolerance tolerance() const { return {4e-6, 1e-37}; }
};

/// Applies a neuron to an image. Every pixel reads source pixel offset + (x, y).
Result neuronForward(const Neuron& neuron, const Attributes& at, const Tensor& source, const Tensor& destination);

/// gradient * f'(source), source being the forward kernel's source image.
Result neuronGradient(const Neuron& neuron, const GradientAttributes& at, const Tensor& gradient, const Tensor& source,
                      const Tensor& destination);

/// Error scale of neuron(pre) when pre itself is only known to a multiple of preMagnitude (fused activations).
double fusedMagnitude(const Neuron& neuron, double pre, double preMagnitude, size_t channel);

}  // namespace kovar::oracle
