#pragma once

#include <string>
#include <vector>

#include "kovar/MPS/NN/Types.hpp"
#include "kovar/Object.hpp"

namespace kovar::MPS {

class Image;
class ImageDescriptor;
class Kernel;
class State;

/// Decides how large the result of a kernel is and where its window starts, when the kernel makes its own result.
/// Users may derive their own. Implements MPSNNPadding.
class NNPadding {
 public:
  virtual ~NNPadding() = default;
  virtual NNPaddingMethod paddingMethod() = 0;
  virtual std::string label() { return {}; }
  /// Called last, when paddingMethod() has the Custom bit: may change the kernel (offset, edge mode, clip rectangle)
  /// and returns the descriptor to use.
  virtual Ref<ImageDescriptor> destinationImageDescriptor(const std::vector<Ref<Image>>& sourceImages,
                                                          const std::vector<Ref<State>>& sourceStates,
                                                          const Ref<Kernel>& kernel,
                                                          const Ref<ImageDescriptor>& suggestedDescriptor);
  /// The policy of a kernel that undoes this one: valid becomes full, full becomes valid. Null where there is none.
  virtual Ref<NNPadding> inverse() { return nullptr; }
};

/// The ready-made policies. Implements MPSNNDefaultPadding.
class NNDefaultPadding : public Object, public NNPadding {
 public:
  /// One shared object per method.
  static Ref<NNDefaultPadding> padding(NNPaddingMethod method);
  /// Size same, remainder bottom right as TensorFlow has it; sets the kernel's edge mode to Clamp, so that average
  /// pooling divides by the pixels that exist.
  static Ref<NNDefaultPadding> paddingForTensorflowAveragePooling();
  /// The same with valid size.
  static Ref<NNDefaultPadding> paddingForTensorflowAveragePoolingValidOnly();

  NNPaddingMethod paddingMethod() override { return method_; }
  std::string label() override;
  Ref<ImageDescriptor> destinationImageDescriptor(const std::vector<Ref<Image>>& sourceImages,
                                                  const std::vector<Ref<State>>& sourceStates,
                                                  const Ref<Kernel>& kernel,
                                                  const Ref<ImageDescriptor>& suggestedDescriptor) override;
  Ref<NNPadding> inverse() override;

 private:
  explicit NNDefaultPadding(NNPaddingMethod method) : method_(method) {}
  NNPaddingMethod method_;
};

}  // namespace kovar::MPS
