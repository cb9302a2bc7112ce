#pragma once

#include "kovar/MPS/NN/CNNKernel.hpp"

namespace kovar::nn {
enum class PoolKind;
}

namespace kovar::MPS {

/// Base of the kernels that put one value per window and feature channel. The window of destination pixel (x, y) is
/// centred at offset + (x, y) * stride: taps from centre - kernelWidth div 2 to centre + (kernelWidth - 1) div 2.
/// Outside the source edgeMode decides (Zero by default). Implements MPSCNNPooling.
///
/// Errors: a kernel size or stride of 0.
class CNNPooling : public CNNKernel {
 public:
  /// Stride 1.
  CNNPooling(const Ref<MTL::Device>& device, std::size_t kernelWidth, std::size_t kernelHeight);
  CNNPooling(const Ref<MTL::Device>& device, std::size_t kernelWidth, std::size_t kernelHeight,
             std::size_t strideInPixelsX, std::size_t strideInPixelsY);
  /// As an archive holds it.
  CNNPooling(Archive& coder, const Ref<MTL::Device>& device) : CNNPooling(device, 1, 1) { decode(coder); }

 protected:
  void doEncode(nn::Call& call) override;
  Ref<State> doResultState(const nn::StateRequest& request) override;
  Ref<ImageDescriptor> doDestinationImageDescriptor(const std::vector<Ref<Image>>& sourceImages,
                                                    const std::vector<Ref<State>>& sourceStates) override;
  /// The documented base computes nothing itself; its subclasses say what.
  virtual nn::PoolKind poolKind() const;
  virtual std::size_t zeroPadX() const { return 0; }
  virtual std::size_t zeroPadY() const { return 0; }
  /// Padding that the exclude-edges bit of a policy gives (average pooling).
  virtual void doSetZeroPad(std::size_t, std::size_t) {}
  void doCode(Archive& coder) override;
  const char* className() const override { return "CNNPooling"; }
};

/// Largest value of each window. With edge mode Zero the zeros outside take part; with Clamp the window is in effect
/// cut at the border. NaN is ignored unless a window holds nothing else. Implements MPSCNNPoolingMax.
class CNNPoolingMax : public CNNPooling {
 public:
  using CNNPooling::CNNPooling;
  /// As an archive holds it.
  CNNPoolingMax(Archive& coder, const Ref<MTL::Device>& device) : CNNPoolingMax(device, 1, 1) { decode(coder); }

 protected:
  nn::PoolKind poolKind() const override;
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  const char* className() const override { return "CNNPoolingMax"; }
  friend class Kernel;
};

/// Mean of each window. Edge mode Zero divides by kernelWidth * kernelHeight always; Clamp divides by the part of the
/// window that lies inside the image grown by zeroPadSize on each side. Implements MPSCNNPoolingAverage.
class CNNPoolingAverage : public CNNPooling {
 public:
  using CNNPooling::CNNPooling;
  /// As an archive holds it.
  CNNPoolingAverage(Archive& coder, const Ref<MTL::Device>& device) : CNNPoolingAverage(device, 1, 1) { decode(coder); }
  /// 0 by default.
  std::size_t zeroPadSizeX() const { return zeroPadSizeX_; }
  void setZeroPadSizeX(std::size_t zeroPadSizeX) { zeroPadSizeX_ = zeroPadSizeX; }
  std::size_t zeroPadSizeY() const { return zeroPadSizeY_; }
  void setZeroPadSizeY(std::size_t zeroPadSizeY) { zeroPadSizeY_ = zeroPadSizeY; }

 protected:
  nn::PoolKind poolKind() const override;
  std::size_t zeroPadX() const override { return zeroPadSizeX_; }
  std::size_t zeroPadY() const override { return zeroPadSizeY_; }
  void doSetZeroPad(std::size_t x, std::size_t y) override;
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  void doCode(Archive& coder) override;
  const char* className() const override { return "CNNPoolingAverage"; }

 private:
  std::size_t zeroPadSizeX_ = 0, zeroPadSizeY_ = 0;
  friend class Kernel;
};

/// Square root of the sum of squares of each window, not divided by anything. Edge mode Clamp repeats the pixels at the
/// border. Implements MPSCNNPoolingL2Norm.
class CNNPoolingL2Norm : public CNNPooling {
 public:
  using CNNPooling::CNNPooling;
  /// As an archive holds it.
  CNNPoolingL2Norm(Archive& coder, const Ref<MTL::Device>& device) : CNNPoolingL2Norm(device, 1, 1) { decode(coder); }

 protected:
  nn::PoolKind poolKind() const override;
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  const char* className() const override { return "CNNPoolingL2Norm"; }
  friend class Kernel;
};

/// Largest value of each window whose taps lie dilationRate pixels apart: tap p is read at
/// centre - ((kernelWidth - 1) * dilationRateX + 1) div 2 + p * dilationRateX. With edge mode Clamp each tap outside
/// reads the nearest pixel, which may be none of the window's own. Implements MPSCNNDilatedPoolingMax.
///
/// Errors: a kernel size, dilation rate or stride of 0.
class CNNDilatedPoolingMax : public CNNPooling {
 public:
  CNNDilatedPoolingMax(const Ref<MTL::Device>& device, std::size_t kernelWidth, std::size_t kernelHeight,
                       std::size_t dilationRateX, std::size_t dilationRateY, std::size_t strideInPixelsX,
                       std::size_t strideInPixelsY);
  /// As an archive holds it.
  CNNDilatedPoolingMax(Archive& coder, const Ref<MTL::Device>& device)
      : CNNDilatedPoolingMax(device, 1, 1, 1, 1, 1, 1) {
    decode(coder);
  }

 protected:
  nn::PoolKind poolKind() const override;
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  const char* className() const override { return "CNNDilatedPoolingMax"; }
  friend class Kernel;
};

/// Base of the pooling gradients: primary is the gradient, secondary the forward source. Gradient pixel v counts if it
/// lies in [primaryOffset, primaryOffset + sourceSize); its window is centred at secondaryOffset + (v - primaryOffset)
/// * stride. By hand, destination pixel clipRect.origin holds the first source pixel of the first window; taken from
/// the state, the result lies as the forward source does. Pixels that no window reaches are 0. Implements
/// MPSCNNPoolingGradient.
class CNNPoolingGradient : public CNNGradientKernel {
 public:
  CNNPoolingGradient(const Ref<MTL::Device>& device, std::size_t kernelWidth, std::size_t kernelHeight);
  CNNPoolingGradient(const Ref<MTL::Device>& device, std::size_t kernelWidth, std::size_t kernelHeight,
                     std::size_t strideInPixelsX, std::size_t strideInPixelsY);
  /// As an archive holds it.
  CNNPoolingGradient(Archive& coder, const Ref<MTL::Device>& device) : CNNPoolingGradient(device, 1, 1) {
    decode(coder);
  }
  /// Size of the forward kernel's clip rectangle; everything by default.
  MTL::Size sourceSize() const { return sourceSize_; }
  void setSourceSize(MTL::Size sourceSize) { sourceSize_ = sourceSize; }

 protected:
  void doEncode(nn::Call& call) override;
  void doAdopt(const nn::ForwardRecord& record, const std::vector<Ref<Image>>& sourceImages) override;
  virtual nn::PoolKind poolKind() const;
  virtual std::size_t zeroPadX() const { return 0; }
  virtual std::size_t zeroPadY() const { return 0; }
  virtual void doSetZeroPad(std::size_t, std::size_t) {}
  void doCode(Archive& coder) override;
  const char* className() const override { return "CNNPoolingGradient"; }

  MTL::Size sourceSize_ = RectNoClip.size;
};

/// The gradient goes to the largest pixel of each window: the first one in rows, then columns, where several are equal;
/// to none where a zero outside is larger. Implements MPSCNNPoolingMaxGradient.
class CNNPoolingMaxGradient : public CNNPoolingGradient {
 public:
  using CNNPoolingGradient::CNNPoolingGradient;
  /// As an archive holds it.
  CNNPoolingMaxGradient(Archive& coder, const Ref<MTL::Device>& device) : CNNPoolingMaxGradient(device, 1, 1) {
    decode(coder);
  }

 protected:
  nn::PoolKind poolKind() const override;
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  const char* className() const override { return "CNNPoolingMaxGradient"; }
  friend class Kernel;
};

/// The gradient is shared by the window's pixels, divided as forward. Only the size of the secondary image matters.
/// Implements MPSCNNPoolingAverageGradient.
class CNNPoolingAverageGradient : public CNNPoolingGradient {
 public:
  using CNNPoolingGradient::CNNPoolingGradient;
  /// As an archive holds it.
  CNNPoolingAverageGradient(Archive& coder, const Ref<MTL::Device>& device) : CNNPoolingAverageGradient(device, 1, 1) {
    decode(coder);
  }
  std::size_t zeroPadSizeX() const { return zeroPadSizeX_; }
  void setZeroPadSizeX(std::size_t zeroPadSizeX) { zeroPadSizeX_ = zeroPadSizeX; }
  std::size_t zeroPadSizeY() const { return zeroPadSizeY_; }
  void setZeroPadSizeY(std::size_t zeroPadSizeY) { zeroPadSizeY_ = zeroPadSizeY; }

 protected:
  nn::PoolKind poolKind() const override;
  std::size_t zeroPadX() const override { return zeroPadSizeX_; }
  std::size_t zeroPadY() const override { return zeroPadSizeY_; }
  void doSetZeroPad(std::size_t x, std::size_t y) override;
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  void doCode(Archive& coder) override;
  const char* className() const override { return "CNNPoolingAverageGradient"; }

 private:
  std::size_t zeroPadSizeX_ = 0, zeroPadSizeY_ = 0;
  friend class Kernel;
};

/// Each pixel of a window takes the gradient times its value over the window's result; nothing where that is 0.
/// Implements MPSCNNPoolingL2NormGradient.
class CNNPoolingL2NormGradient : public CNNPoolingGradient {
 public:
  using CNNPoolingGradient::CNNPoolingGradient;
  /// As an archive holds it.
  CNNPoolingL2NormGradient(Archive& coder, const Ref<MTL::Device>& device) : CNNPoolingL2NormGradient(device, 1, 1) {
    decode(coder);
  }

 protected:
  nn::PoolKind poolKind() const override;
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  const char* className() const override { return "CNNPoolingL2NormGradient"; }
  friend class Kernel;
};

/// As CNNPoolingMaxGradient, over a window with gaps. Implements MPSCNNDilatedPoolingMaxGradient.
///
/// Errors: a kernel size, dilation rate or stride of 0.
class CNNDilatedPoolingMaxGradient : public CNNPoolingGradient {
 public:
  CNNDilatedPoolingMaxGradient(const Ref<MTL::Device>& device, std::size_t kernelWidth, std::size_t kernelHeight,
                               std::size_t dilationRateX, std::size_t dilationRateY, std::size_t strideInPixelsX,
                               std::size_t strideInPixelsY);
  /// As an archive holds it.
  CNNDilatedPoolingMaxGradient(Archive& coder, const Ref<MTL::Device>& device)
      : CNNDilatedPoolingMaxGradient(device, 1, 1, 1, 1, 1, 1) {
    decode(coder);
  }

 protected:
  nn::PoolKind poolKind() const override;
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  const char* className() const override { return "CNNDilatedPoolingMaxGradient"; }
  friend class Kernel;
};

}  // namespace kovar::MPS
