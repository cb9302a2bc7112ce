#pragma once
// Neurons (activation functions): their types, parameters and table. The formulas are functors in neuron-inl.hpp:
//
//   struct ReLU { float a;  V fwd(V x) const;  V bwd(V x, V g) const; };     bwd = g * f'(x), x is the forward source
//   struct PReLU { V fwd(V x, V a) const;  V bwd(V x, V g, V a) const; };    a: the slope of the value's channel
//   visitNeuron(params, f)              calls f(functor) with the functor of params.type and returns what f returns
//   neuronForward(functor, x, a)        the same call for every functor: a is used by PReLU alone
//   neuronBackward(functor, x, g, a)
//
// All of them take V = Floats and V = float. A NaN source gives a NaN result, backward too (but for None and
// Linear, whose derivative does not read it); infinities give the limit of the formula.

#include <array>
#include <cstddef>

namespace kovar::maths {

/// Numbers as documented for MPSCNNNeuronType.
enum class NeuronType : int {
  None = 0,
  ReLU,         ///< x >= 0 ? x : a x
  Linear,       ///< a x + b
  Sigmoid,      ///< 1 / (1 + e^-x)
  HardSigmoid,  ///< a x + b limited to [0, 1]
  TanH,         ///< a tanh(b x)
  Absolute,     ///< |x|
  SoftPlus,     ///< a log(1 + e^(b x))
  SoftSign,     ///< x / (1 + |x|)
  ELU,          ///< x >= 0 ? x : a (e^x - 1)
  PReLU,        ///< ReLU with a slope for each channel
  ReLUN,        ///< min(ReLU(x), b)
  Power,        ///< (a x + b)^c
  Exponential,  ///< c^(a x + b); base e where c == -1
  Logarithm,    ///< log of a x + b to base c; natural where c == -1
  GeLU,         ///< x Phi(x), Phi the normal distribution
  Count
};
inline constexpr std::size_t kNeuronTypes = static_cast<std::size_t>(NeuronType::Count);

/// A neuron without PReLU's slopes, which are data and travel beside it.
struct NeuronParams {
  NeuronType type = NeuronType::None;
  float a = 0.f, b = 0.f, c = 0.f;
  bool operator==(const NeuronParams&) const = default;
};

/// One line of the table: the name as documented, how many of a, b, c the type reads, and their plain values.
struct NeuronRow {
  NeuronType type;
  const char* name;
  int parameters;
  float a, b, c;
};

inline constexpr std::array<NeuronRow, kNeuronTypes> kNeuronRows{{
    {NeuronType::None, "None", 0, 0.f, 0.f, 0.f},
    {NeuronType::ReLU, "ReLU", 1, 0.f, 0.f, 0.f},
    {NeuronType::Linear, "Linear", 2, 1.f, 0.f, 0.f},
    {NeuronType::Sigmoid, "Sigmoid", 0, 0.f, 0.f, 0.f},
    {NeuronType::HardSigmoid, "HardSigmoid", 2, 0.2f, 0.5f, 0.f},
    {NeuronType::TanH, "TanH", 2, 1.f, 1.f, 0.f},
    {NeuronType::Absolute, "Absolute", 0, 0.f, 0.f, 0.f},
    {NeuronType::SoftPlus, "SoftPlus", 2, 1.f, 1.f, 0.f},
    {NeuronType::SoftSign, "SoftSign", 0, 0.f, 0.f, 0.f},
    {NeuronType::ELU, "ELU", 1, 1.f, 0.f, 0.f},
    {NeuronType::PReLU, "PReLU", 0, 0.f, 0.f, 0.f},
    {NeuronType::ReLUN, "ReLUN", 2, 1.f, 6.f, 0.f},
    {NeuronType::Power, "Power", 3, 1.f, 0.f, 1.f},
    {NeuronType::Exponential, "Exponential", 3, 1.f, 0.f, -1.f},
    {NeuronType::Logarithm, "Logarithm", 3, 1.f, 0.f, -1.f},
    {NeuronType::GeLU, "GeLU", 0, 0.f, 0.f, 0.f},
}};

/// The row of a type, or nullptr for a number that is no neuron.
constexpr const NeuronRow* neuronRow(NeuronType type) {
  const auto i = static_cast<std::size_t>(type);
  return i < kNeuronTypes ? &kNeuronRows[i] : nullptr;
}

/// The type with its documented plain values, for descriptors that give no parameters.
constexpr NeuronParams plainNeuron(NeuronType type) {
  const NeuronRow* row = neuronRow(type);
  return row ? NeuronParams{type, row->a, row->b, row->c} : NeuronParams{};
}

}  // namespace kovar::maths
