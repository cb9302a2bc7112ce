#pragma once

#include <limits>

#include "kovar/MPS/NN/CNNKernel.hpp"

namespace kovar::nn {
enum class ArithmeticOp;
}

namespace kovar::MPS {

/// Base of the kernels that combine two images element by element: D = clamp(op(primaryScale * A, secondaryScale * B) +
/// bias). A stride of 0 repeats the operand's element at its offset along that axis; other strides are 1. The number of
/// channels is that of the operand that is not repeated along channels. NaN stays NaN in the clamp; with the default
/// limits infinities become the largest floats. Implements MPSCNNArithmetic.
///
/// Errors: a stride other than 0 and 1, operands with different channel counts where neither is repeated.
class CNNArithmetic : public CNNBinaryKernel {
 public:
  float primaryScale() const { return primaryScale_; }
  void setPrimaryScale(float primaryScale) { primaryScale_ = primaryScale; }
  float secondaryScale() const { return secondaryScale_; }
  void setSecondaryScale(float secondaryScale) { secondaryScale_ = secondaryScale; }
  float bias() const { return bias_; }
  void setBias(float bias) { bias_ = bias; }
  std::size_t primaryStrideInFeatureChannels() const { return primaryChannelStride_; }
  void setPrimaryStrideInFeatureChannels(std::size_t primaryStrideInFeatureChannels);
  std::size_t secondaryStrideInFeatureChannels() const { return secondaryChannelStride_; }
  void setSecondaryStrideInFeatureChannels(std::size_t secondaryStrideInFeatureChannels);
  float minimumValue() const { return minimum_; }
  void setMinimumValue(float minimumValue) { minimum_ = minimumValue; }
  float maximumValue() const { return maximum_; }
  void setMaximumValue(float maximumValue) { maximum_ = maximumValue; }

 protected:
  CNNArithmetic(const Ref<MTL::Device>& device, nn::ArithmeticOp op);
  void doEncode(nn::Call& call) override;
  std::size_t doDestinationChannels(const std::vector<std::size_t>& used) override;
  Ref<ImageDescriptor> doDestinationImageDescriptor(const std::vector<Ref<Image>>& sourceImages,
                                                    const std::vector<Ref<State>>& sourceStates) override;

 private:
  nn::ArithmeticOp op_;
  float primaryScale_ = 1, secondaryScale_ = 1, bias_ = 0;
  float minimum_ = -std::numeric_limits<float>::max(), maximum_ = std::numeric_limits<float>::max();
  std::size_t primaryChannelStride_ = 1, secondaryChannelStride_ = 1;
};

/// primaryScale * A + secondaryScale * B + bias. Implements MPSCNNAdd.
class CNNAdd final : public CNNArithmetic {
 public:
  explicit CNNAdd(const Ref<MTL::Device>& device);

 protected:
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  const char* className() const override { return "CNNAdd"; }
  friend class Kernel;
};

/// primaryScale * A - secondaryScale * B + bias. Implements MPSCNNSubtract.
class CNNSubtract final : public CNNArithmetic {
 public:
  explicit CNNSubtract(const Ref<MTL::Device>& device);

 protected:
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  const char* className() const override { return "CNNSubtract"; }
  friend class Kernel;
};

/// (primaryScale * A) * (secondaryScale * B) + bias. Implements MPSCNNMultiply.
class CNNMultiply final : public CNNArithmetic {
 public:
  explicit CNNMultiply(const Ref<MTL::Device>& device);

 protected:
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  const char* className() const override { return "CNNMultiply"; }
  friend class Kernel;
};

/// (primaryScale * A) / (secondaryScale * B) + bias. Implements MPSCNNDivide.
class CNNDivide final : public CNNArithmetic {
 public:
  explicit CNNDivide(const Ref<MTL::Device>& device);

 protected:
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  const char* className() const override { return "CNNDivide"; }
  friend class Kernel;
};

}  // namespace kovar::MPS
