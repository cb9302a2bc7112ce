#pragma once

#include "kovar/MPS/NN/CNNKernel.hpp"

namespace kovar::MPS {

/// Base of the kernels that enlarge an image by whole factors, channel by channel. Destination pixel x of the clip
/// rectangle reads the source coordinate offset + x / scaleFactorX, y likewise; outside the source edgeMode decides
/// (Zero by default). Results that the kernel makes itself have the source's size times the factors, whatever the
/// padding policy, and offset 0. Implements MPSCNNUpsampling.
///
/// Errors: a factor of 0 or above 2^20.
class CNNUpsampling : public CNNKernel {
 public:
  /// Whole numbers.
  double scaleFactorX() const { return static_cast<double>(sources_[0].strideX); }
  double scaleFactorY() const { return static_cast<double>(sources_[0].strideY); }
  /// True where the first and last pixels of source and destination lie on each other: the coordinate is then offset +
  /// x (W - 1) / (W scaleFactorX - 1), W the source's width. Bilinear only.
  bool alignCorners() const { return alignCorners_; }

 protected:
  CNNUpsampling(const Ref<MTL::Device>& device, std::size_t scaleFactorX, std::size_t scaleFactorY, bool alignCorners,
                const char* who);
  void doEncode(nn::Call& call) override;
  Ref<State> doResultState(const nn::StateRequest& request) override;
  Ref<ImageDescriptor> doDestinationImageDescriptor(const std::vector<Ref<Image>>& sourceImages,
                                                    const std::vector<Ref<State>>& sourceStates) override;
  void doCode(Archive& coder) override;
  virtual bool bilinear() const = 0;

 private:
  bool alignCorners_;
};

/// Repeats pixels: the one at or before the coordinate. Implements MPSCNNUpsamplingNearest.
class CNNUpsamplingNearest : public CNNUpsampling {
 public:
  CNNUpsamplingNearest(const Ref<MTL::Device>& device, std::size_t integerScaleFactorX,
                       std::size_t integerScaleFactorY);
  /// As an archive holds it.
  CNNUpsamplingNearest(Archive& coder, const Ref<MTL::Device>& device) : CNNUpsamplingNearest(device, 1, 1) {
    decode(coder);
  }

 protected:
  bool bilinear() const override { return false; }
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  const char* className() const override { return "CNNUpsamplingNearest"; }
  friend class Kernel;
};

/// Mixes the pixels around the coordinate. Without alignCorners and with edge mode Zero the last scaleFactor - 1 rows
/// and columns fade into zeros; set Clamp for the usual result. Implements MPSCNNUpsamplingBilinear.
class CNNUpsamplingBilinear : public CNNUpsampling {
 public:
  /// Corners are not aligned.
  CNNUpsamplingBilinear(const Ref<MTL::Device>& device, std::size_t integerScaleFactorX,
                        std::size_t integerScaleFactorY);
  CNNUpsamplingBilinear(const Ref<MTL::Device>& device, std::size_t integerScaleFactorX,
                        std::size_t integerScaleFactorY, bool alignCorners);
  /// As an archive holds it.
  CNNUpsamplingBilinear(Archive& coder, const Ref<MTL::Device>& device) : CNNUpsamplingBilinear(device, 1, 1) {
    decode(coder);
  }

 protected:
  bool bilinear() const override { return true; }
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  const char* className() const override { return "CNNUpsamplingBilinear"; }
  friend class Kernel;
};

/// Base of the upsampling gradients: primary is the gradient, secondary the forward source, of which only the size
/// counts. Each source pixel takes the sum of the gradients it had a share in, times its share. Gradient pixel
/// primaryOffset is that of the forward clip rectangle's origin, secondaryOffset the forward offset; destination pixel
/// clipRect.origin is source pixel (0, 0). From a state all of these are taken, alignCorners too; set by hand corners
/// are not aligned. Implements MPSCNNUpsamplingGradient.
///
/// Errors: a factor of 0 or above 2^20.
class CNNUpsamplingGradient : public CNNGradientKernel {
 public:
  double scaleFactorX() const { return static_cast<double>(sources_[1].strideX); }
  double scaleFactorY() const { return static_cast<double>(sources_[1].strideY); }

 protected:
  CNNUpsamplingGradient(const Ref<MTL::Device>& device, std::size_t scaleFactorX, std::size_t scaleFactorY,
                        const char* who);
  void doEncode(nn::Call& call) override;
  void doAdopt(const nn::ForwardRecord& record, const std::vector<Ref<Image>>& sourceImages) override;
  void doCode(Archive& coder) override;
  virtual bool bilinear() const = 0;
};

/// The sum over each pixel's repetitions. Implements MPSCNNUpsamplingNearestGradient.
class CNNUpsamplingNearestGradient : public CNNUpsamplingGradient {
 public:
  CNNUpsamplingNearestGradient(const Ref<MTL::Device>& device, std::size_t integerScaleFactorX,
                               std::size_t integerScaleFactorY);
  /// As an archive holds it.
  CNNUpsamplingNearestGradient(Archive& coder, const Ref<MTL::Device>& device)
      : CNNUpsamplingNearestGradient(device, 1, 1) {
    decode(coder);
  }

 protected:
  bool bilinear() const override { return false; }
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  const char* className() const override { return "CNNUpsamplingNearestGradient"; }
  friend class Kernel;
};

/// The adjoint of bilinear upsampling. Implements MPSCNNUpsamplingBilinearGradient.
class CNNUpsamplingBilinearGradient : public CNNUpsamplingGradient {
 public:
  CNNUpsamplingBilinearGradient(const Ref<MTL::Device>& device, std::size_t integerScaleFactorX,
                                std::size_t integerScaleFactorY);
  /// As an archive holds it.
  CNNUpsamplingBilinearGradient(Archive& coder, const Ref<MTL::Device>& device)
      : CNNUpsamplingBilinearGradient(device, 1, 1) {
    decode(coder);
  }

 protected:
  bool bilinear() const override { return true; }
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  const char* className() const override { return "CNNUpsamplingBilinearGradient"; }
  friend class Kernel;
};

}  // namespace kovar::MPS
