#pragma once

#include "kovar/MPS/NN/NNFilterNode.hpp"

namespace kovar::MPS {

/// Chooses the factor of a Gram matrix stage when it is encoded. Implements MPSNNGramMatrixCallback.
class NNGramMatrixCallback {
 public:
  virtual ~NNGramMatrixCallback() = default;
  /// alpha for these images; the destination may be null, it is made afterwards.
  virtual float alpha(const Ref<Image>& sourceImage, const Ref<Image>& destinationImage) = 0;
};

/// Graph stage of NNGramMatrixCalculation. Implements MPSNNGramMatrixCalculationNode.
class NNGramMatrixCalculationNode final : public NNFilterNode {
 public:
  /// alpha 1.
  explicit NNGramMatrixCalculationNode(const Ref<NNImageNode>& source);
  NNGramMatrixCalculationNode(const Ref<NNImageNode>& source, float alpha);
  static Ref<NNGramMatrixCalculationNode> create(const Ref<NNImageNode>& source);
  static Ref<NNGramMatrixCalculationNode> create(const Ref<NNImageNode>& source, float alpha);
  float alpha() const { return alpha_; }
  /// Asked at every encode, in place of alpha; null by default. The gradient uses what it said.
  Ref<NNGramMatrixCallback> propertyCallBack() const { return callback_; }
  void setPropertyCallBack(const Ref<NNGramMatrixCallback>& propertyCallBack) { callback_ = propertyCallBack; }

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  std::vector<Ref<NNGradientFilterNode>> doGradientFilters(const Ref<NNImageNode>& gradient) override;
  const char* className() const override { return "NNGramMatrixCalculationNode"; }

 private:
  float alpha_;
  Ref<NNGramMatrixCallback> callback_;
};

/// Graph stage of NNGramMatrixCalculationGradient; the factor of the forward stage comes with its state. Implements
/// MPSNNGramMatrixCalculationGradientNode.
class NNGramMatrixCalculationGradientNode final : public NNGradientFilterNode {
 public:
  /// alpha 1.
  NNGramMatrixCalculationGradientNode(const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
                                      const Ref<NNGradientStateNode>& gradientState);
  NNGramMatrixCalculationGradientNode(const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
                                      const Ref<NNGradientStateNode>& gradientState, float alpha);
  static Ref<NNGramMatrixCalculationGradientNode> create(const Ref<NNImageNode>& sourceGradient,
                                                         const Ref<NNImageNode>& sourceImage,
                                                         const Ref<NNGradientStateNode>& gradientState);
  static Ref<NNGramMatrixCalculationGradientNode> create(const Ref<NNImageNode>& sourceGradient,
                                                         const Ref<NNImageNode>& sourceImage,
                                                         const Ref<NNGradientStateNode>& gradientState, float alpha);
  float alpha() const { return alpha_; }

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  const char* className() const override { return "NNGramMatrixCalculationGradientNode"; }

 private:
  float alpha_;
};

}  // namespace kovar::MPS
