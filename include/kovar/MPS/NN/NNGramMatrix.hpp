#pragma once

#include <cstddef>
#include <vector>

#include "kovar/MPS/NN/CNNKernel.hpp"
#include "kovar/MPS/NN/GradientState.hpp"

namespace kovar::MPS {

/// Inner products of every pair of feature-channel planes of an image: pixel f, channel c of the result is alpha times
/// the sum of channel f * channel c over all pixels. The result is as wide as the source has channels, 1 high, and has
/// as many channels; nothing divides by the number of pixels but alpha. Implements MPSNNGramMatrixCalculation.
///
/// Errors: an offset or a clip rectangle, a destination of another size.
class NNGramMatrixCalculation final : public CNNKernel {
 public:
  NNGramMatrixCalculation(const Ref<MTL::Device>& device, float alpha);
  /// alpha 1.
  explicit NNGramMatrixCalculation(const Ref<MTL::Device>& device);
  /// As an archive holds it.
  NNGramMatrixCalculation(Archive& coder, const Ref<MTL::Device>& device) : NNGramMatrixCalculation(device) {
    decode(coder);
  }
  float alpha() const { return alpha_; }
  void setAlpha(float alpha) { alpha_ = alpha; }

 protected:
  void doEncode(nn::Call& call) override;
  Ref<State> doResultState(const nn::StateRequest& request) override;
  Ref<ImageDescriptor> doDestinationImageDescriptor(const std::vector<Ref<Image>>& sourceImages,
                                                    const std::vector<Ref<State>>& sourceStates) override;
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  void doCode(Archive& coder) override;
  const char* className() const override { return "NNGramMatrixCalculation"; }

 private:
  float alpha_;
  friend class Kernel;
};

/// Gradient of the Gram matrix: channel c of a pixel gets alpha times the sum over f of (g[f, c] + g[c, f]) * channel f
/// of the source's pixel. alpha is the forward kernel's where its state is given, else this object's. Implements
/// MPSNNGramMatrixCalculationGradient.
class NNGramMatrixCalculationGradient final : public CNNGradientKernel {
 public:
  NNGramMatrixCalculationGradient(const Ref<MTL::Device>& device, float alpha);
  /// alpha 1.
  explicit NNGramMatrixCalculationGradient(const Ref<MTL::Device>& device);
  /// As an archive holds it.
  NNGramMatrixCalculationGradient(Archive& coder, const Ref<MTL::Device>& device)
      : NNGramMatrixCalculationGradient(device) {
    decode(coder);
  }
  float alpha() const { return alpha_; }
  void setAlpha(float alpha) { alpha_ = alpha; }

 protected:
  void doEncode(nn::Call& call) override;
  std::size_t doDestinationChannels(const std::vector<std::size_t>& used) override;
  void doAdopt(const nn::ForwardRecord& record, const std::vector<Ref<Image>>& sourceImages) override;
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  void doCode(Archive& coder) override;
  const char* className() const override { return "NNGramMatrixCalculationGradient"; }

 private:
  float alpha_;
  friend class Kernel;
};

}  // namespace kovar::MPS
