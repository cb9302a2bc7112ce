#pragma once

#include "kovar/MPS/NN/CNNKernel.hpp"

namespace kovar::prim {
struct LocalNorm;
}

namespace kovar::MPS {

/// Divides by the energy of a window: T = delta + alpha / N * sum(S^2) over the kernelWidth x kernelHeight pixels
/// around, in the same feature channel, N of them also at the border; D = S * T^-beta. The window reaches from
/// kernelWidth div 2 pixels to the left to (kernelWidth - 1) div 2 to the right, likewise above and below; edgeMode
/// (Zero or Clamp) says what lies outside. T must stay above 0: take delta > 0 and alpha >= 0. Implements
/// MPSCNNSpatialNormalization.
///
/// Errors: kernelWidth other than kernelHeight, a size of 0 or above 4096.
class CNNSpatialNormalization : public CNNKernel {
 public:
  CNNSpatialNormalization(const Ref<MTL::Device>& device, std::size_t kernelWidth, std::size_t kernelHeight);
  /// As an archive holds it.
  CNNSpatialNormalization(Archive& coder, const Ref<MTL::Device>& device) : CNNSpatialNormalization(device, 1, 1) {
    decode(coder);
  }
  /// 1 by default.
  float alpha() const { return alpha_; }
  void setAlpha(float alpha) { alpha_ = alpha; }
  /// 5 by default.
  float beta() const { return beta_; }
  void setBeta(float beta) { beta_ = beta; }
  /// 1 by default.
  float delta() const { return delta_; }
  void setDelta(float delta) { delta_ = delta; }

 protected:
  void doEncode(nn::Call& call) override;
  Ref<State> doResultState(const nn::StateRequest& request) override;
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  void doCode(Archive& coder) override;
  const char* className() const override { return "CNNSpatialNormalization"; }

 private:
  prim::LocalNorm describe() const;
  float alpha_ = 1.f, beta_ = 5.f, delta_ = 1.f;
  friend class Kernel;
};

/// The exact derivative of CNNSpatialNormalization: primary source the gradient of its result, secondary its source.
/// From a state the parameters are the forward kernel's; by hand set them alike. With edge mode Clamp a pixel of the
/// border also gets the share of the pixels that repeat it. Implements MPSCNNSpatialNormalizationGradient.
///
/// Errors: as the forward kernel; a state of a kernel with another window.
class CNNSpatialNormalizationGradient : public CNNGradientKernel {
 public:
  CNNSpatialNormalizationGradient(const Ref<MTL::Device>& device, std::size_t kernelWidth, std::size_t kernelHeight);
  /// As an archive holds it.
  CNNSpatialNormalizationGradient(Archive& coder, const Ref<MTL::Device>& device)
      : CNNSpatialNormalizationGradient(device, 1, 1) {
    decode(coder);
  }
  float alpha() const { return alpha_; }
  void setAlpha(float alpha) { alpha_ = alpha; }
  float beta() const { return beta_; }
  void setBeta(float beta) { beta_ = beta; }
  float delta() const { return delta_; }
  void setDelta(float delta) { delta_ = delta; }

 protected:
  void doEncode(nn::Call& call) override;
  void doAdopt(const nn::ForwardRecord& record, const std::vector<Ref<Image>>& sourceImages) override;
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  void doCode(Archive& coder) override;
  const char* className() const override { return "CNNSpatialNormalizationGradient"; }

 private:
  float alpha_ = 1.f, beta_ = 5.f, delta_ = 1.f;
  friend class Kernel;
};

/// Subtracts the mean of a window and divides by its contrast. Over the window's N pixels of the same feature channel:
/// M = sum(S) / N, V = sum((S - M)^2) / N, T = delta + alpha * V; D = pm + ps * (S - p0 * M) * T^-beta. Window, edge
/// modes and limits as CNNSpatialNormalization. Note that alpha is 0 by default: the mean is subtracted and the
/// difference scaled by delta^-beta = 32. Implements MPSCNNLocalContrastNormalization.
///
/// Errors: kernelWidth other than kernelHeight, a size of 0 or above 4096.
class CNNLocalContrastNormalization : public CNNKernel {
 public:
  CNNLocalContrastNormalization(const Ref<MTL::Device>& device, std::size_t kernelWidth, std::size_t kernelHeight);
  /// As an archive holds it.
  CNNLocalContrastNormalization(Archive& coder, const Ref<MTL::Device>& device)
      : CNNLocalContrastNormalization(device, 1, 1) {
    decode(coder);
  }
  /// 0 by default.
  float alpha() const { return alpha_; }
  void setAlpha(float alpha) { alpha_ = alpha; }
  /// 0.5 by default.
  float beta() const { return beta_; }
  void setBeta(float beta) { beta_ = beta; }
  /// 1/1024 by default.
  float delta() const { return delta_; }
  void setDelta(float delta) { delta_ = delta; }
  /// Share of the mean that is subtracted, 1 by default.
  float p0() const { return p0_; }
  void setP0(float p0) { p0_ = p0; }
  /// Mean of the result, 0 by default.
  float pm() const { return pm_; }
  void setPm(float pm) { pm_ = pm; }
  /// Scale of the result, 1 by default.
  float ps() const { return ps_; }
  void setPs(float ps) { ps_ = ps; }

 protected:
  void doEncode(nn::Call& call) override;
  Ref<State> doResultState(const nn::StateRequest& request) override;
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  void doCode(Archive& coder) override;
  const char* className() const override { return "CNNLocalContrastNormalization"; }

 private:
  prim::LocalNorm describe() const;
  float alpha_ = 0.f, beta_ = 0.5f, delta_ = 1.f / 1024.f, p0_ = 1.f, pm_ = 0.f, ps_ = 1.f;
  friend class Kernel;
};

/// The exact derivative of CNNLocalContrastNormalization; otherwise as CNNSpatialNormalizationGradient. Implements
/// MPSCNNLocalContrastNormalizationGradient.
class CNNLocalContrastNormalizationGradient : public CNNGradientKernel {
 public:
  CNNLocalContrastNormalizationGradient(const Ref<MTL::Device>& device, std::size_t kernelWidth,
                                        std::size_t kernelHeight);
  /// As an archive holds it.
  CNNLocalContrastNormalizationGradient(Archive& coder, const Ref<MTL::Device>& device)
      : CNNLocalContrastNormalizationGradient(device, 1, 1) {
    decode(coder);
  }
  float alpha() const { return alpha_; }
  void setAlpha(float alpha) { alpha_ = alpha; }
  float beta() const { return beta_; }
  void setBeta(float beta) { beta_ = beta; }
  float delta() const { return delta_; }
  void setDelta(float delta) { delta_ = delta; }
  float p0() const { return p0_; }
  void setP0(float p0) { p0_ = p0; }
  float pm() const { return pm_; }
  void setPm(float pm) { pm_ = pm; }
  float ps() const { return ps_; }
  void setPs(float ps) { ps_ = ps; }

 protected:
  void doEncode(nn::Call& call) override;
  void doAdopt(const nn::ForwardRecord& record, const std::vector<Ref<Image>>& sourceImages) override;
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  void doCode(Archive& coder) override;
  const char* className() const override { return "CNNLocalContrastNormalizationGradient"; }

 private:
  float alpha_ = 0.f, beta_ = 0.5f, delta_ = 1.f / 1024.f, p0_ = 1.f, pm_ = 0.f, ps_ = 1.f;
  friend class Kernel;
};

/// Local response normalization: divides by the energy of neighbouring feature channels of the same pixel.
/// T = delta + alpha / kernelSize * sum(S^2) over the channels from kernelSize div 2 below to (kernelSize - 1) div 2
/// above, as far as they exist among the channels read; D = S * T^-beta. The divisor is kernelSize also where the
/// window is cut. T must stay above 0. Implements MPSCNNCrossChannelNormalization.
///
/// Errors: a kernelSize of 0 or above 4096.
class CNNCrossChannelNormalization : public CNNKernel {
 public:
  /// 5 is the documented default of kernelSize.
  CNNCrossChannelNormalization(const Ref<MTL::Device>& device, std::size_t kernelSize);
  /// As an archive holds it.
  CNNCrossChannelNormalization(Archive& coder, const Ref<MTL::Device>& device)
      : CNNCrossChannelNormalization(device, 1) {
    decode(coder);
  }
  /// 1 by default.
  float alpha() const { return alpha_; }
  void setAlpha(float alpha) { alpha_ = alpha; }
  /// 5 by default.
  float beta() const { return beta_; }
  void setBeta(float beta) { beta_ = beta; }
  /// 1 by default.
  float delta() const { return delta_; }
  void setDelta(float delta) { delta_ = delta; }
  std::size_t kernelSize() const { return kernelSize_; }

 protected:
  void doEncode(nn::Call& call) override;
  Ref<State> doResultState(const nn::StateRequest& request) override;
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  void doCode(Archive& coder) override;
  const char* className() const override { return "CNNCrossChannelNormalization"; }

 private:
  prim::LocalNorm describe() const;
  std::size_t kernelSize_;
  float alpha_ = 1.f, beta_ = 5.f, delta_ = 1.f;
  friend class Kernel;
};

/// The exact derivative of CNNCrossChannelNormalization: primary source the gradient of its result, secondary its
/// source. From a state the parameters are the forward kernel's; by hand set them alike. Implements
/// MPSCNNCrossChannelNormalizationGradient.
class CNNCrossChannelNormalizationGradient : public CNNGradientKernel {
 public:
  CNNCrossChannelNormalizationGradient(const Ref<MTL::Device>& device, std::size_t kernelSize);
  /// As an archive holds it.
  CNNCrossChannelNormalizationGradient(Archive& coder, const Ref<MTL::Device>& device)
      : CNNCrossChannelNormalizationGradient(device, 1) {
    decode(coder);
  }
  float alpha() const { return alpha_; }
  void setAlpha(float alpha) { alpha_ = alpha; }
  float beta() const { return beta_; }
  void setBeta(float beta) { beta_ = beta; }
  float delta() const { return delta_; }
  void setDelta(float delta) { delta_ = delta; }
  std::size_t kernelSize() const { return kernelSize_; }

 protected:
  void doEncode(nn::Call& call) override;
  void doAdopt(const nn::ForwardRecord& record, const std::vector<Ref<Image>>& sourceImages) override;
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  void doCode(Archive& coder) override;
  const char* className() const override { return "CNNCrossChannelNormalizationGradient"; }

 private:
  std::size_t kernelSize_;
  float alpha_ = 1.f, beta_ = 5.f, delta_ = 1.f;
  friend class Kernel;
};

}  // namespace kovar::MPS
