#pragma once

#include <limits>
#include <memory>
#include <optional>

#include "kovar/MPS/NN/CNNKernel.hpp"
#include "kovar/MPS/NN/GradientState.hpp"
#include "kovar/MPS/NN/Types.hpp"

namespace kovar::nn {
enum class ArithmeticOp;
struct ArithmeticRecord;
}  // namespace kovar::nn

namespace kovar::MPS {

/// How a forward arithmetic kernel was set when it was encoded, and where its limits left a value alone; both gradient
/// kernels, one per operand, read it. A temporary one therefore needs a read count of 2 when both are encoded.
/// Implements MPSCNNArithmeticGradientState.
class CNNArithmeticGradientState final : public NNBinaryGradientState {
 public:
  ~CNNArithmeticGradientState() override;

 protected:
  CNNArithmeticGradientState(const Ref<MTL::Device>& device, std::shared_ptr<const nn::ArithmeticRecord> record);
  CNNArithmeticGradientState(const Ref<MTL::CommandBuffer>& commandBuffer,
                             std::shared_ptr<const nn::ArithmeticRecord> record);
  const char* className() const override { return "CNNArithmeticGradientState"; }

 private:
  std::shared_ptr<const nn::ArithmeticRecord> record_;
  std::shared_ptr<rt::Storage> mask_;  // shared by the states of a batch; null where the limits are the default ones
  std::size_t firstElement_ = 0, elements_ = 0;
  MTL::Size maskExtents_;  // of one image: width, height, channels
  friend class CNNArithmetic;
  friend class CNNArithmeticGradient;
  friend struct nn::Access;
};
using CNNArithmeticGradientStateBatch = Batch<CNNArithmeticGradientState>;

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

  using CNNBinaryKernel::encode;
  using CNNBinaryKernel::encodeBatch;
  /// Into an image of the caller's, recording into a state made by resultState (null: none) for the gradient kernels.
  void encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Image>& primaryImage,
              const Ref<Image>& secondaryImage, const Ref<CNNArithmeticGradientState>& destinationState,
              const Ref<Image>& destinationImage);
  void encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& primaryImages,
                   const ImageBatch& secondaryImages, const CNNArithmeticGradientStateBatch& destinationStates,
                   const ImageBatch& destinationImages);

 protected:
  CNNArithmetic(const Ref<MTL::Device>& device, nn::ArithmeticOp op);
  void doEncode(nn::Call& call) override;
  Ref<State> doResultState(const nn::StateRequest& request) override;
  std::size_t doDestinationChannels(const std::vector<std::size_t>& used) override;
  Ref<ImageDescriptor> doDestinationImageDescriptor(const std::vector<Ref<Image>>& sourceImages,
                                                    const std::vector<Ref<State>>& sourceStates) override;
  void doCode(Archive& coder) override;

  NNComparisonType comparison_ = NNComparisonType::Equal;  // NNCompare's
  float threshold_ = 0;

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
  /// As an archive holds it.
  CNNAdd(Archive& coder, const Ref<MTL::Device>& device) : CNNAdd(device) { decode(coder); }

 protected:
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  const char* className() const override { return "CNNAdd"; }
  friend class Kernel;
};

/// primaryScale * A - secondaryScale * B + bias. Implements MPSCNNSubtract.
class CNNSubtract final : public CNNArithmetic {
 public:
  explicit CNNSubtract(const Ref<MTL::Device>& device);
  /// As an archive holds it.
  CNNSubtract(Archive& coder, const Ref<MTL::Device>& device) : CNNSubtract(device) { decode(coder); }

 protected:
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  const char* className() const override { return "CNNSubtract"; }
  friend class Kernel;
};

/// (primaryScale * A) * (secondaryScale * B) + bias. Implements MPSCNNMultiply.
class CNNMultiply final : public CNNArithmetic {
 public:
  explicit CNNMultiply(const Ref<MTL::Device>& device);
  /// As an archive holds it.
  CNNMultiply(Archive& coder, const Ref<MTL::Device>& device) : CNNMultiply(device) { decode(coder); }

 protected:
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  const char* className() const override { return "CNNMultiply"; }
  friend class Kernel;
};

/// (primaryScale * A) / (secondaryScale * B) + bias. Implements MPSCNNDivide.
class CNNDivide final : public CNNArithmetic {
 public:
  explicit CNNDivide(const Ref<MTL::Device>& device);
  /// As an archive holds it.
  CNNDivide(Archive& coder, const Ref<MTL::Device>& device) : CNNDivide(device) { decode(coder); }

 protected:
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  const char* className() const override { return "CNNDivide"; }
  friend class Kernel;
};

/// 1 where the comparison holds, else 0; then clamped. Values are equal when they differ by no more than the threshold;
/// Less and Greater exclude equal values, LessOrEqual and GreaterOrEqual include them. Against NaN only NotEqual holds.
/// Scales and bias are not used. Has no gradient. Implements MPSNNCompare.
class NNCompare final : public CNNArithmetic {
 public:
  explicit NNCompare(const Ref<MTL::Device>& device);
  /// As an archive holds it.
  NNCompare(Archive& coder, const Ref<MTL::Device>& device) : NNCompare(device) { decode(coder); }
  /// Equal by default.
  NNComparisonType comparisonType() const { return comparison_; }
  /// Throws Error for a value that is none of the named ones.
  void setComparisonType(NNComparisonType comparisonType);
  /// 0 by default.
  float threshold() const { return threshold_; }
  void setThreshold(float threshold) { threshold_ = threshold; }

 protected:
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  const char* className() const override { return "NNCompare"; }
  friend class Kernel;
};

/// Base of the gradients of arithmetic kernels, one object per operand. The first image is the incoming gradient g. The
/// second is, for a sum or a difference, the operand itself (only its size counts), for a product the OTHER operand.
/// Result: (primaryScale * g) [* (secondaryScale * other)], summed along the axes where the operand was repeated.
///
/// With the forward kernel's state (needed when the result is made here) repeated axes, offsets and scales are the
/// forward kernel's, and values that its limits changed pass no gradient; a scale set on this object replaces the one
/// of the state. Without a state the scales are this object's own, an axis is summed where the destination is 1 wide
/// and g wider, and the second image repeats where its strides are 0. bias, minimumValue and maximumValue of this
/// object do nothing. Implements MPSCNNArithmeticGradient.
class CNNArithmeticGradient : public CNNGradientKernel {
 public:
  /// Factor of the incoming gradient. Reads 1 until it is set, also for the secondary operand of a difference, whose
  /// minus sign is in the kernel as long as this is not set.
  float primaryScale() const { return primaryScale_.value_or(1.f); }
  void setPrimaryScale(float primaryScale) { primaryScale_ = primaryScale; }
  /// Factor of the other operand of a product.
  float secondaryScale() const { return secondaryScale_.value_or(1.f); }
  void setSecondaryScale(float secondaryScale) { secondaryScale_ = secondaryScale; }
  float bias() const { return bias_; }
  void setBias(float bias) { bias_ = bias; }
  /// 0: the second image repeats its first channel.
  std::size_t secondaryStrideInFeatureChannels() const { return secondaryChannelStride_; }
  void setSecondaryStrideInFeatureChannels(std::size_t secondaryStrideInFeatureChannels);
  float minimumValue() const { return minimum_; }
  void setMinimumValue(float minimumValue) { minimum_ = minimumValue; }
  float maximumValue() const { return maximum_; }
  void setMaximumValue(float maximumValue) { maximum_ = maximumValue; }
  /// True: the gradient of the forward kernel's secondary operand.
  bool isSecondarySourceFilter() const { return isSecondary_; }

 protected:
  CNNArithmeticGradient(const Ref<MTL::Device>& device, nn::ArithmeticOp op, bool isSecondarySourceFilter);
  void doEncode(nn::Call& call) override;
  std::size_t doWrittenChannels(const std::vector<std::size_t>& used, const BatchView<State>& states,
                                const Image& destination, bool automatic) override;
  Ref<ImageDescriptor> doDestinationImageDescriptor(const std::vector<Ref<Image>>& sourceImages,
                                                    const std::vector<Ref<State>>& sourceStates) override;
  void doCode(Archive& coder) override;

 private:
  CNNArithmeticGradientState* stateOf(const Ref<State>& state) const;

  nn::ArithmeticOp op_;
  bool isSecondary_;
  std::optional<float> primaryScale_, secondaryScale_;
  float bias_ = 0;
  float minimum_ = -std::numeric_limits<float>::max(), maximum_ = std::numeric_limits<float>::max();
  std::size_t secondaryChannelStride_ = 1;
};

/// primaryScale * g. Implements MPSCNNAddGradient.
class CNNAddGradient final : public CNNArithmeticGradient {
 public:
  CNNAddGradient(const Ref<MTL::Device>& device, bool isSecondarySourceFilter);
  /// As an archive holds it.
  CNNAddGradient(Archive& coder, const Ref<MTL::Device>& device) : CNNAddGradient(device, false) { decode(coder); }

 protected:
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  const char* className() const override { return "CNNAddGradient"; }
  friend class Kernel;
};

/// primaryScale * g, or minus that for the secondary operand (see primaryScale). Implements MPSCNNSubtractGradient.
class CNNSubtractGradient final : public CNNArithmeticGradient {
 public:
  CNNSubtractGradient(const Ref<MTL::Device>& device, bool isSecondarySourceFilter);
  /// As an archive holds it.
  CNNSubtractGradient(Archive& coder, const Ref<MTL::Device>& device) : CNNSubtractGradient(device, false) {
    decode(coder);
  }

 protected:
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  const char* className() const override { return "CNNSubtractGradient"; }
  friend class Kernel;
};

/// primaryScale * g * secondaryScale * other operand. Implements MPSCNNMultiplyGradient.
class CNNMultiplyGradient final : public CNNArithmeticGradient {
 public:
  CNNMultiplyGradient(const Ref<MTL::Device>& device, bool isSecondarySourceFilter);
  /// As an archive holds it.
  CNNMultiplyGradient(Archive& coder, const Ref<MTL::Device>& device) : CNNMultiplyGradient(device, false) {
    decode(coder);
  }

 protected:
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  const char* className() const override { return "CNNMultiplyGradient"; }
  friend class Kernel;
};

}  // namespace kovar::MPS
