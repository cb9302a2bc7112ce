#pragma once

#include "kovar/MPS/NN/CNNKernel.hpp"

namespace kovar::MPS {

/// Softmax over the feature channels of each pixel: D[k] = exp(S[k] - m) / sum of exp(S[j] - m), m the largest S[j].
/// Implements MPSCNNSoftMax.
class CNNSoftMax : public CNNKernel {
 public:
  explicit CNNSoftMax(const Ref<MTL::Device>& device);
  /// As an archive holds it.
  CNNSoftMax(Archive& coder, const Ref<MTL::Device>& device) : CNNSoftMax(device) { decode(coder); }

 protected:
  void doEncode(nn::Call& call) override;
  Ref<State> doResultState(const nn::StateRequest& request) override;
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  const char* className() const override { return "CNNSoftMax"; }
  friend class Kernel;
};

/// Logarithm of the softmax: D[k] = S[k] - m - log(sum of exp(S[j] - m)). Implements MPSCNNLogSoftMax.
class CNNLogSoftMax : public CNNKernel {
 public:
  explicit CNNLogSoftMax(const Ref<MTL::Device>& device);
  /// As an archive holds it.
  CNNLogSoftMax(Archive& coder, const Ref<MTL::Device>& device) : CNNLogSoftMax(device) { decode(coder); }

 protected:
  void doEncode(nn::Call& call) override;
  Ref<State> doResultState(const nn::StateRequest& request) override;
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  const char* className() const override { return "CNNLogSoftMax"; }
  friend class Kernel;
};

/// dS[k] = y[k] * (g[k] - sum of g[j] * y[j]). Unlike other gradients the secondary image is the forward RESULT y.
/// Implements MPSCNNSoftMaxGradient.
class CNNSoftMaxGradient : public CNNGradientKernel {
 public:
  explicit CNNSoftMaxGradient(const Ref<MTL::Device>& device);
  /// As an archive holds it.
  CNNSoftMaxGradient(Archive& coder, const Ref<MTL::Device>& device) : CNNSoftMaxGradient(device) { decode(coder); }

 protected:
  void doEncode(nn::Call& call) override;
  void doAdopt(const nn::ForwardRecord& record, const std::vector<Ref<Image>>& sourceImages) override;
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  const char* className() const override { return "CNNSoftMaxGradient"; }
  friend class Kernel;
};

/// dS[k] = g[k] - exp(y[k]) * sum of g[j]; the secondary image is the forward RESULT y.
/// Implements MPSCNNLogSoftMaxGradient.
class CNNLogSoftMaxGradient : public CNNGradientKernel {
 public:
  explicit CNNLogSoftMaxGradient(const Ref<MTL::Device>& device);
  /// As an archive holds it.
  CNNLogSoftMaxGradient(Archive& coder, const Ref<MTL::Device>& device) : CNNLogSoftMaxGradient(device) {
    decode(coder);
  }

 protected:
  void doEncode(nn::Call& call) override;
  void doAdopt(const nn::ForwardRecord& record, const std::vector<Ref<Image>>& sourceImages) override;
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  const char* className() const override { return "CNNLogSoftMaxGradient"; }
  friend class Kernel;
};

}  // namespace kovar::MPS
