#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "kovar/MPS/NN/Types.hpp"
#include "kovar/Object.hpp"

namespace kovar::MPS {

/// An activation function and its parameters. Kernels copy it when they are made; later changes do not reach them.
///
/// A factory without some parameter takes the documented plain value: ReLU a = 0; Linear 1, 0; HardSigmoid 0.2, 0.5;
/// TanH 1, 1; SoftPlus 1, 1; ELU 1; ReLUN a = 1, b = 6; Power, Exponential and Logarithm a = 1, b = 0 with c = 1 for
/// Power and c = -1 (base e) for the others; everything else 0. A ReLU6 needs a = 0, b = 6.
/// Implements MPSNNNeuronDescriptor.
class NNNeuronDescriptor final : public Object {
 public:
  CNNNeuronType neuronType() const { return type_; }
  void setNeuronType(CNNNeuronType neuronType) { type_ = neuronType; }
  float a() const { return a_; }
  void setA(float a) { a_ = a; }
  float b() const { return b_; }
  void setB(float b) { b_ = b; }
  float c() const { return c_; }
  void setC(float c) { c_ = c; }
  /// The slopes of a PReLU: float32, one per feature channel. Empty for other types.
  std::vector<std::byte> data() const { return data_; }
  void setData(std::span<const std::byte> data) { data_.assign(data.begin(), data.end()); }

  /// Throw Error for a number that is no CNNNeuronType.
  static Ref<NNNeuronDescriptor> cnnNeuronDescriptor(CNNNeuronType type);
  static Ref<NNNeuronDescriptor> cnnNeuronDescriptor(CNNNeuronType type, float a);
  static Ref<NNNeuronDescriptor> cnnNeuronDescriptor(CNNNeuronType type, float a, float b);
  static Ref<NNNeuronDescriptor> cnnNeuronDescriptor(CNNNeuronType type, float a, float b, float c);
  /// A PReLU with these slopes (float32). They are copied whatever noCopy says. Throws Error when there are none, or
  /// when the bytes are not whole floats.
  static Ref<NNNeuronDescriptor> cnnNeuronPReLUDescriptor(std::span<const std::byte> data, bool noCopy);

  Ref<NNNeuronDescriptor> copy() const;

 private:
  NNNeuronDescriptor(CNNNeuronType type, float a, float b, float c) : type_(type), a_(a), b_(b), c_(c) {}
  NNNeuronDescriptor(const NNNeuronDescriptor&) = default;

  CNNNeuronType type_ = CNNNeuronType::None;
  float a_ = 0, b_ = 0, c_ = 0;
  std::vector<std::byte> data_;
};

}  // namespace kovar::MPS
