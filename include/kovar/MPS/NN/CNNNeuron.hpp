#pragma once

#include <cstddef>
#include <vector>

#include "kovar/MPS/NN/CNNKernel.hpp"
#include "kovar/MPS/NN/CNNNeuronDescriptor.hpp"

namespace kovar::MPS {

/// Applies an activation function to every feature channel: D = f(S). The functions and their parameters are those of
/// NNNeuronDescriptor. NaN stays NaN. Implements MPSCNNNeuron.
///
/// Errors: a PReLU with fewer slopes than channels.
class CNNNeuron : public CNNKernel {
 public:
  CNNNeuron(const Ref<MTL::Device>& device, const Ref<NNNeuronDescriptor>& neuronDescriptor);
  /// As an archive holds it.
  CNNNeuron(Archive& coder, const Ref<MTL::Device>& device) : CNNNeuron(Unset{}, device) { decode(coder); }
  CNNNeuronType neuronType() const { return descriptor_->neuronType(); }
  float a() const { return descriptor_->a(); }
  float b() const { return descriptor_->b(); }
  float c() const { return descriptor_->c(); }
  /// The slopes of a PReLU as float32 bytes; empty for other types.
  std::vector<std::byte> data() const { return descriptor_->data(); }

 protected:
  void doEncode(nn::Call& call) override;
  Ref<State> doResultState(const nn::StateRequest& request) override;
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return copyOf(*this, device); }
  void doCode(Archive& coder) override;
  CNNNeuron(Unset, const Ref<MTL::Device>& device) : CNNKernel(device) {}
  /// A clone of `original`'s own class, with the slopes on `device`.
  template <class T>
  static Ref<Kernel> copyOf(const T& original, const Ref<MTL::Device>& device) {
    Ref<Kernel> copy = clone(original, device);
    static_cast<CNNNeuron&>(*copy).moveSlopes();
    return copy;
  }
  const char* className() const override { return "CNNNeuron"; }

 private:
  void moveSlopes();

  Ref<NNNeuronDescriptor> descriptor_;
  std::shared_ptr<rt::Storage> slopes_;  // of a PReLU, on the device
  friend class Kernel;
};

/// dS = g * f'(S): primary is the gradient, secondary the forward SOURCE. No gradient for a PReLU's slopes is made.
/// f' at the kinks: 1 for ReLU, ELU at 0; a for HardSigmoid at both ends; 0 for Absolute at 0 and for ReLUN at b.
/// Implements MPSCNNNeuronGradient.
class CNNNeuronGradient : public CNNGradientKernel {
 public:
  CNNNeuronGradient(const Ref<MTL::Device>& device, const Ref<NNNeuronDescriptor>& neuronDescriptor);
  /// As an archive holds it.
  CNNNeuronGradient(Archive& coder, const Ref<MTL::Device>& device) : CNNGradientKernel(device) { decode(coder); }
  CNNNeuronType neuronType() const { return descriptor_->neuronType(); }
  float a() const { return descriptor_->a(); }
  float b() const { return descriptor_->b(); }
  float c() const { return descriptor_->c(); }
  std::vector<std::byte> data() const { return descriptor_->data(); }

 protected:
  void doEncode(nn::Call& call) override;
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override;
  void doCode(Archive& coder) override;
  const char* className() const override { return "CNNNeuronGradient"; }

 private:
  Ref<NNNeuronDescriptor> descriptor_;
  std::shared_ptr<rt::Storage> slopes_;
  friend class Kernel;
};

// The classes of one function each. Their constructors are deprecated in the documented API in favour of CNNNeuron's,
// which they inherit; parameters as in NNNeuronDescriptor.

/// a * x + b. Implements MPSCNNNeuronLinear.
class CNNNeuronLinear : public CNNNeuron {
 public:
  using CNNNeuron::CNNNeuron;
  CNNNeuronLinear(const Ref<MTL::Device>& device, float a, float b);
  /// As an archive holds it.
  CNNNeuronLinear(Archive& coder, const Ref<MTL::Device>& device) : CNNNeuron(Unset{}, device) { decode(coder); }

 protected:
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return copyOf(*this, device); }
  const char* className() const override { return "CNNNeuronLinear"; }
  friend class Kernel;
};
/// x for x >= 0, else a * x. Implements MPSCNNNeuronReLU.
class CNNNeuronReLU : public CNNNeuron {
 public:
  using CNNNeuron::CNNNeuron;
  CNNNeuronReLU(const Ref<MTL::Device>& device, float a);
  /// As an archive holds it.
  CNNNeuronReLU(Archive& coder, const Ref<MTL::Device>& device) : CNNNeuron(Unset{}, device) { decode(coder); }

 protected:
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return copyOf(*this, device); }
  const char* className() const override { return "CNNNeuronReLU"; }
  friend class Kernel;
};
/// As ReLU with one slope per feature channel. Implements MPSCNNNeuronPReLU.
class CNNNeuronPReLU : public CNNNeuron {
 public:
  using CNNNeuron::CNNNeuron;
  CNNNeuronPReLU(const Ref<MTL::Device>& device, const float* a, std::size_t count);
  /// As an archive holds it.
  CNNNeuronPReLU(Archive& coder, const Ref<MTL::Device>& device) : CNNNeuron(Unset{}, device) { decode(coder); }

 protected:
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return copyOf(*this, device); }
  const char* className() const override { return "CNNNeuronPReLU"; }
  friend class Kernel;
};
/// 1 / (1 + exp(-x)). Implements MPSCNNNeuronSigmoid.
class CNNNeuronSigmoid : public CNNNeuron {
 public:
  using CNNNeuron::CNNNeuron;
  explicit CNNNeuronSigmoid(const Ref<MTL::Device>& device);
  /// As an archive holds it.
  CNNNeuronSigmoid(Archive& coder, const Ref<MTL::Device>& device) : CNNNeuron(Unset{}, device) { decode(coder); }

 protected:
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return copyOf(*this, device); }
  const char* className() const override { return "CNNNeuronSigmoid"; }
  friend class Kernel;
};
/// a * x + b, clamped to 0..1. Implements MPSCNNNeuronHardSigmoid.
class CNNNeuronHardSigmoid : public CNNNeuron {
 public:
  using CNNNeuron::CNNNeuron;
  CNNNeuronHardSigmoid(const Ref<MTL::Device>& device, float a, float b);
  /// As an archive holds it.
  CNNNeuronHardSigmoid(Archive& coder, const Ref<MTL::Device>& device) : CNNNeuron(Unset{}, device) { decode(coder); }

 protected:
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return copyOf(*this, device); }
  const char* className() const override { return "CNNNeuronHardSigmoid"; }
  friend class Kernel;
};
/// a * tanh(b * x). Implements MPSCNNNeuronTanH.
class CNNNeuronTanH : public CNNNeuron {
 public:
  using CNNNeuron::CNNNeuron;
  CNNNeuronTanH(const Ref<MTL::Device>& device, float a, float b);
  /// As an archive holds it.
  CNNNeuronTanH(Archive& coder, const Ref<MTL::Device>& device) : CNNNeuron(Unset{}, device) { decode(coder); }

 protected:
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return copyOf(*this, device); }
  const char* className() const override { return "CNNNeuronTanH"; }
  friend class Kernel;
};
/// abs(x). Implements MPSCNNNeuronAbsolute.
class CNNNeuronAbsolute : public CNNNeuron {
 public:
  using CNNNeuron::CNNNeuron;
  explicit CNNNeuronAbsolute(const Ref<MTL::Device>& device);
  /// As an archive holds it.
  CNNNeuronAbsolute(Archive& coder, const Ref<MTL::Device>& device) : CNNNeuron(Unset{}, device) { decode(coder); }

 protected:
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return copyOf(*this, device); }
  const char* className() const override { return "CNNNeuronAbsolute"; }
  friend class Kernel;
};
/// a * log(1 + exp(b * x)). Implements MPSCNNNeuronSoftPlus.
class CNNNeuronSoftPlus : public CNNNeuron {
 public:
  using CNNNeuron::CNNNeuron;
  CNNNeuronSoftPlus(const Ref<MTL::Device>& device, float a, float b);
  /// As an archive holds it.
  CNNNeuronSoftPlus(Archive& coder, const Ref<MTL::Device>& device) : CNNNeuron(Unset{}, device) { decode(coder); }

 protected:
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return copyOf(*this, device); }
  const char* className() const override { return "CNNNeuronSoftPlus"; }
  friend class Kernel;
};
/// x / (1 + abs(x)). Implements MPSCNNNeuronSoftSign.
class CNNNeuronSoftSign : public CNNNeuron {
 public:
  using CNNNeuron::CNNNeuron;
  explicit CNNNeuronSoftSign(const Ref<MTL::Device>& device);
  /// As an archive holds it.
  CNNNeuronSoftSign(Archive& coder, const Ref<MTL::Device>& device) : CNNNeuron(Unset{}, device) { decode(coder); }

 protected:
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return copyOf(*this, device); }
  const char* className() const override { return "CNNNeuronSoftSign"; }
  friend class Kernel;
};
/// x for x >= 0, else a * (exp(x) - 1). Implements MPSCNNNeuronELU.
class CNNNeuronELU : public CNNNeuron {
 public:
  using CNNNeuron::CNNNeuron;
  CNNNeuronELU(const Ref<MTL::Device>& device, float a);
  /// As an archive holds it.
  CNNNeuronELU(Archive& coder, const Ref<MTL::Device>& device) : CNNNeuron(Unset{}, device) { decode(coder); }

 protected:
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return copyOf(*this, device); }
  const char* className() const override { return "CNNNeuronELU"; }
  friend class Kernel;
};
/// ReLU with slope a, capped at b. Implements MPSCNNNeuronReLUN.
class CNNNeuronReLUN : public CNNNeuron {
 public:
  using CNNNeuron::CNNNeuron;
  CNNNeuronReLUN(const Ref<MTL::Device>& device, float a, float b);
  /// As an archive holds it.
  CNNNeuronReLUN(Archive& coder, const Ref<MTL::Device>& device) : CNNNeuron(Unset{}, device) { decode(coder); }

 protected:
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return copyOf(*this, device); }
  const char* className() const override { return "CNNNeuronReLUN"; }
  friend class Kernel;
};
/// (a * x + b) raised to c. Implements MPSCNNNeuronPower.
class CNNNeuronPower : public CNNNeuron {
 public:
  using CNNNeuron::CNNNeuron;
  CNNNeuronPower(const Ref<MTL::Device>& device, float a, float b, float c);
  /// As an archive holds it.
  CNNNeuronPower(Archive& coder, const Ref<MTL::Device>& device) : CNNNeuron(Unset{}, device) { decode(coder); }

 protected:
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return copyOf(*this, device); }
  const char* className() const override { return "CNNNeuronPower"; }
  friend class Kernel;
};
/// c raised to (a * x + b); c = -1 stands for e. Implements MPSCNNNeuronExponential.
class CNNNeuronExponential : public CNNNeuron {
 public:
  using CNNNeuron::CNNNeuron;
  CNNNeuronExponential(const Ref<MTL::Device>& device, float a, float b, float c);
  /// As an archive holds it.
  CNNNeuronExponential(Archive& coder, const Ref<MTL::Device>& device) : CNNNeuron(Unset{}, device) { decode(coder); }

 protected:
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return copyOf(*this, device); }
  const char* className() const override { return "CNNNeuronExponential"; }
  friend class Kernel;
};
/// Logarithm to base c of (a * x + b); c = -1 stands for e. Implements MPSCNNNeuronLogarithm.
class CNNNeuronLogarithm : public CNNNeuron {
 public:
  using CNNNeuron::CNNNeuron;
  CNNNeuronLogarithm(const Ref<MTL::Device>& device, float a, float b, float c);
  /// As an archive holds it.
  CNNNeuronLogarithm(Archive& coder, const Ref<MTL::Device>& device) : CNNNeuron(Unset{}, device) { decode(coder); }

 protected:
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return copyOf(*this, device); }
  const char* className() const override { return "CNNNeuronLogarithm"; }
  friend class Kernel;
};

}  // namespace kovar::MPS
