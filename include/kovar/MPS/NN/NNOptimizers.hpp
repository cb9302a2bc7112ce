#pragma once

#include <cstddef>
#include <limits>
#include <vector>

#include "kovar/MPS/Core/Kernel.hpp"
#include "kovar/MPS/Core/Matrix.hpp"
#include "kovar/MPS/NN/CNNBatchNormalization.hpp"
#include "kovar/MPS/NN/CNNConvolution.hpp"

namespace kovar::nn {
class StepEncoder;
}

namespace kovar::MPS {

/// What all optimizers share. Each gradient value d is changed before its use, in this order: clamped to
/// [gradientClipMin, gradientClipMax] if applyGradientClipping, multiplied by gradientRescale, then regularizationScale
/// * sign(v) (L1) or regularizationScale * v (L2) is added, v being the parameter. Rates and scales may be negative.
/// Implements MPSNNOptimizerDescriptor.
///
/// Errors: a rate or scale that is not finite.
class NNOptimizerDescriptor final : public Object {
 public:
  NNOptimizerDescriptor(float learningRate, float gradientRescale, NNRegularizationType regularizationType,
                        float regularizationScale);
  NNOptimizerDescriptor(float learningRate, float gradientRescale, bool applyGradientClipping, float gradientClipMax,
                        float gradientClipMin, NNRegularizationType regularizationType, float regularizationScale);
  static Ref<NNOptimizerDescriptor> optimizerDescriptor(float learningRate, float gradientRescale,
                                                        NNRegularizationType regularizationType,
                                                        float regularizationScale);
  static Ref<NNOptimizerDescriptor> optimizerDescriptor(float learningRate, float gradientRescale,
                                                        bool applyGradientClipping, float gradientClipMax,
                                                        float gradientClipMin, NNRegularizationType regularizationType,
                                                        float regularizationScale);

  float learningRate() const { return learningRate_; }
  void setLearningRate(float learningRate);
  float gradientRescale() const { return gradientRescale_; }
  void setGradientRescale(float gradientRescale);
  bool applyGradientClipping() const { return applyGradientClipping_; }
  void setApplyGradientClipping(bool applyGradientClipping) { applyGradientClipping_ = applyGradientClipping; }
  /// Default: the largest float.
  float gradientClipMax() const { return gradientClipMax_; }
  void setGradientClipMax(float gradientClipMax) { gradientClipMax_ = gradientClipMax; }
  /// Default: the lowest float.
  float gradientClipMin() const { return gradientClipMin_; }
  void setGradientClipMin(float gradientClipMin) { gradientClipMin_ = gradientClipMin; }
  float regularizationScale() const { return regularizationScale_; }
  void setRegularizationScale(float regularizationScale);
  NNRegularizationType regularizationType() const { return regularizationType_; }
  void setRegularizationType(NNRegularizationType regularizationType) { regularizationType_ = regularizationType; }

 private:
  float learningRate_, gradientRescale_;
  bool applyGradientClipping_ = false;
  float gradientClipMax_ = std::numeric_limits<float>::max(), gradientClipMin_ = std::numeric_limits<float>::lowest();
  NNRegularizationType regularizationType_;
  float regularizationScale_;
};

/// A kernel that updates parameters from their gradients. Properties are read at encode; the learning rate may change
/// from step to step. Implements MPSNNOptimizer.
///
/// Every encode writes the new values to the result, which may be the input values themselves, and the new optimizer
/// state (momentum and the like) over the old one. Values, gradients and states are float32 or float16, computed in
/// float32. The number of elements is that of the input values; everything else must have at least as many. Vectors and
/// matrices with several members are updated whole.
///
/// The variants for convolutions take the gradient state that a CNNConvolutionGradient filled and update weights and
/// biases; of the vectors, [0] belongs to the weights and [1] to the biases. With only one vector biases are not
/// updated (a result that is another state than the source receives a copy). They lower the read counts of a temporary
/// gradient state and a temporary source state by one.
///
/// Errors at construction: a property that is not finite, gradientClipMin above gradientClipMax, an unknown
/// regularization. At encode: null or foreign arguments, too few elements, other data types, missing state vectors.
class NNOptimizer : public Kernel {
 public:
  float learningRate() const { return learningRate_; }
  float gradientRescale() const { return gradientRescale_; }
  bool applyGradientClipping() const { return applyGradientClipping_; }
  void setApplyGradientClipping(bool applyGradientClipping) { applyGradientClipping_ = applyGradientClipping; }
  float gradientClipMax() const { return gradientClipMax_; }
  float gradientClipMin() const { return gradientClipMin_; }
  float regularizationScale() const { return regularizationScale_; }
  NNRegularizationType regularizationType() const { return regularizationType_; }
  /// Throws Error when the rate is not finite.
  void setLearningRate(float newLearningRate);

 protected:
  void doCode(Archive& coder) override;
  NNOptimizer(const Ref<MTL::Device>& device, const Ref<NNOptimizerDescriptor>& optimizerDescriptor, const char* who);

 private:
  float learningRate_ = 0.001f, gradientRescale_ = 1.f;
  bool applyGradientClipping_ = false;
  float gradientClipMax_ = 0.f, gradientClipMin_ = 0.f;
  NNRegularizationType regularizationType_ = NNRegularizationType::None;
  float regularizationScale_ = 0.f;
};

/// Gradient descent. With rate r, momentumScale mu and g as described above:
///   without momentum vectors   v' = v - r g
///   plain momentum             m' = mu m + r g;  v' = v - m'        (the momentum contains the rate)
///   Nesterov                   m' = mu m + g;    v' = v - r (g + mu m')
/// Implements MPSNNOptimizerStochasticGradientDescent.
class NNOptimizerStochasticGradientDescent final : public NNOptimizer {
 public:
  /// Without momentum.
  NNOptimizerStochasticGradientDescent(const Ref<MTL::Device>& device, float learningRate);
  /// Both documented spellings of useNesterovMomentum.
  NNOptimizerStochasticGradientDescent(const Ref<MTL::Device>& device, float momentumScale, bool useNesterovMomentum,
                                       const Ref<NNOptimizerDescriptor>& optimizerDescriptor);
  /// As an archive holds it.
  NNOptimizerStochasticGradientDescent(Archive& coder, const Ref<MTL::Device>& device)
      : NNOptimizerStochasticGradientDescent(device, 0.f) {
    decode(coder);
  }
  float momentumScale() const { return momentumScale_; }
  bool useNesterovMomentum() const { return useNesterovMomentum_; }
  bool useNestrovMomentum() const { return useNesterovMomentum_; }

  /// inputMomentumVector may be null: no momentum.
  void encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Vector>& inputGradientVector,
              const Ref<Vector>& inputValuesVector, const Ref<Vector>& inputMomentumVector,
              const Ref<Vector>& resultValuesVector);
  void encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Matrix>& inputGradientMatrix,
              const Ref<Matrix>& inputValuesMatrix, const Ref<Matrix>& inputMomentumMatrix,
              const Ref<Matrix>& resultValuesMatrix);
  /// inputMomentumVectors may be empty: no momentum, weights and biases both updated.
  void encode(const Ref<MTL::CommandBuffer>& commandBuffer,
              const Ref<CNNConvolutionGradientState>& convolutionGradientState,
              const Ref<CNNConvolutionWeightsAndBiasesState>& convolutionSourceState,
              const std::vector<Ref<Vector>>& inputMomentumVectors,
              const Ref<CNNConvolutionWeightsAndBiasesState>& resultState);

  /// gamma and beta of a batch normalization, with gradients and values of one state or of two.
  void encode(const Ref<MTL::CommandBuffer>& commandBuffer,
              const Ref<CNNBatchNormalizationState>& batchNormalizationState,
              const std::vector<Ref<Vector>>& inputMomentumVectors,
              const Ref<CNNNormalizationGammaAndBetaState>& resultState);
  void encode(const Ref<MTL::CommandBuffer>& commandBuffer,
              const Ref<CNNBatchNormalizationState>& batchNormalizationGradientState,
              const Ref<CNNBatchNormalizationState>& batchNormalizationSourceState,
              const std::vector<Ref<Vector>>& inputMomentumVectors,
              const Ref<CNNNormalizationGammaAndBetaState>& resultState);

 protected:
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  void doCode(Archive& coder) override;
  const char* className() const override { return "NNOptimizerStochasticGradientDescent"; }

 private:
  void append(nn::StepEncoder& steps, bool momentum) const;
  float momentumScale_ = 0.f;
  bool useNesterovMomentum_ = false;
  friend class Kernel;
};

/// RMSProp: s' = decay s + (1 - decay) g^2;  v' = v - r g / (sqrt(s') + epsilon). Implements MPSNNOptimizerRMSProp.
class NNOptimizerRMSProp final : public NNOptimizer {
 public:
  /// decay 0.9, epsilon 1e-8.
  NNOptimizerRMSProp(const Ref<MTL::Device>& device, float learningRate);
  NNOptimizerRMSProp(const Ref<MTL::Device>& device, double decay, float epsilon,
                     const Ref<NNOptimizerDescriptor>& optimizerDescriptor);
  /// As an archive holds it.
  NNOptimizerRMSProp(Archive& coder, const Ref<MTL::Device>& device) : NNOptimizerRMSProp(device, 0.f) {
    decode(coder);
  }
  double decay() const { return decay_; }
  float epsilon() const { return epsilon_; }

  void encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Vector>& inputGradientVector,
              const Ref<Vector>& inputValuesVector, const Ref<Vector>& inputSumOfSquaresVector,
              const Ref<Vector>& resultValuesVector);
  void encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Matrix>& inputGradientMatrix,
              const Ref<Matrix>& inputValuesMatrix, const Ref<Matrix>& inputSumOfSquaresMatrix,
              const Ref<Matrix>& resultValuesMatrix);
  void encode(const Ref<MTL::CommandBuffer>& commandBuffer,
              const Ref<CNNConvolutionGradientState>& convolutionGradientState,
              const Ref<CNNConvolutionWeightsAndBiasesState>& convolutionSourceState,
              const std::vector<Ref<Vector>>& inputSumOfSquaresVectors,
              const Ref<CNNConvolutionWeightsAndBiasesState>& resultState);

  /// gamma and beta of a batch normalization, with gradients and values of one state or of two.
  void encode(const Ref<MTL::CommandBuffer>& commandBuffer,
              const Ref<CNNBatchNormalizationState>& batchNormalizationState,
              const std::vector<Ref<Vector>>& inputSumOfSquaresVectors,
              const Ref<CNNNormalizationGammaAndBetaState>& resultState);
  void encode(const Ref<MTL::CommandBuffer>& commandBuffer,
              const Ref<CNNBatchNormalizationState>& batchNormalizationGradientState,
              const Ref<CNNBatchNormalizationState>& batchNormalizationSourceState,
              const std::vector<Ref<Vector>>& inputSumOfSquaresVectors,
              const Ref<CNNNormalizationGammaAndBetaState>& resultState);

 protected:
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  void doCode(Archive& coder) override;
  const char* className() const override { return "NNOptimizerRMSProp"; }

 private:
  void append(nn::StepEncoder& steps) const;
  double decay_ = 0.9;
  float epsilon_ = 1e-8f;
  friend class Kernel;
};

/// Adam: with k = timeStep + 1, r' = r sqrt(1 - beta2^k) / (1 - beta1^k),
///   m' = beta1 m + (1 - beta1) g;  u' = beta2 u + (1 - beta2) g^2;  v' = v - r' m' / (sqrt(u') + epsilon)
/// and with maximum velocities (AMSGrad) x' = max(x, u') in place of u' in the last line. Each call of encode, whatever
/// it updates, adds 1 to timeStep. Implements MPSNNOptimizerAdam.
///
/// Errors besides those of NNOptimizer: beta1 or beta2 outside [0, 1).
class NNOptimizerAdam final : public NNOptimizer {
 public:
  /// beta1 0.9, beta2 0.999, epsilon 1e-8, timeStep 0.
  NNOptimizerAdam(const Ref<MTL::Device>& device, float learningRate);
  NNOptimizerAdam(const Ref<MTL::Device>& device, double beta1, double beta2, float epsilon, std::size_t timeStep,
                  const Ref<NNOptimizerDescriptor>& optimizerDescriptor);
  /// As an archive holds it.
  NNOptimizerAdam(Archive& coder, const Ref<MTL::Device>& device) : NNOptimizerAdam(device, 0.f) { decode(coder); }
  double beta1() const { return beta1_; }
  double beta2() const { return beta2_; }
  float epsilon() const { return epsilon_; }
  /// Updates done so far.
  std::size_t timeStep() const { return timeStep_; }
  void setTimeStep(std::size_t timeStep) { timeStep_ = timeStep; }

  void encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Vector>& inputGradientVector,
              const Ref<Vector>& inputValuesVector, const Ref<Vector>& inputMomentumVector,
              const Ref<Vector>& inputVelocityVector, const Ref<Vector>& resultValuesVector);
  void encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Matrix>& inputGradientMatrix,
              const Ref<Matrix>& inputValuesMatrix, const Ref<Matrix>& inputMomentumMatrix,
              const Ref<Matrix>& inputVelocityMatrix, const Ref<Matrix>& resultValuesMatrix);
  /// maximumVelocityVector may be null: plain Adam.
  void encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Vector>& inputGradientVector,
              const Ref<Vector>& inputValuesVector, const Ref<Vector>& inputMomentumVector,
              const Ref<Vector>& inputVelocityVector, const Ref<Vector>& maximumVelocityVector,
              const Ref<Vector>& resultValuesVector);
  void encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Matrix>& inputGradientMatrix,
              const Ref<Matrix>& inputValuesMatrix, const Ref<Matrix>& inputMomentumMatrix,
              const Ref<Matrix>& inputVelocityMatrix, const Ref<Matrix>& maximumVelocityMatrix,
              const Ref<Matrix>& resultValuesMatrix);
  void encode(const Ref<MTL::CommandBuffer>& commandBuffer,
              const Ref<CNNConvolutionGradientState>& convolutionGradientState,
              const Ref<CNNConvolutionWeightsAndBiasesState>& convolutionSourceState,
              const std::vector<Ref<Vector>>& inputMomentumVectors,
              const std::vector<Ref<Vector>>& inputVelocityVectors,
              const Ref<CNNConvolutionWeightsAndBiasesState>& resultState);
  /// maximumVelocityVectors may be empty: plain Adam.
  void encode(const Ref<MTL::CommandBuffer>& commandBuffer,
              const Ref<CNNConvolutionGradientState>& convolutionGradientState,
              const Ref<CNNConvolutionWeightsAndBiasesState>& convolutionSourceState,
              const std::vector<Ref<Vector>>& inputMomentumVectors,
              const std::vector<Ref<Vector>>& inputVelocityVectors,
              const std::vector<Ref<Vector>>& maximumVelocityVectors,
              const Ref<CNNConvolutionWeightsAndBiasesState>& resultState);

  /// gamma and beta of a batch normalization, with gradients and values of one state or of two.
  void encode(const Ref<MTL::CommandBuffer>& commandBuffer,
              const Ref<CNNBatchNormalizationState>& batchNormalizationState,
              const std::vector<Ref<Vector>>& inputMomentumVectors,
              const std::vector<Ref<Vector>>& inputVelocityVectors,
              const Ref<CNNNormalizationGammaAndBetaState>& resultState);
  void encode(const Ref<MTL::CommandBuffer>& commandBuffer,
              const Ref<CNNBatchNormalizationState>& batchNormalizationGradientState,
              const Ref<CNNBatchNormalizationState>& batchNormalizationSourceState,
              const std::vector<Ref<Vector>>& inputMomentumVectors,
              const std::vector<Ref<Vector>>& inputVelocityVectors,
              const Ref<CNNNormalizationGammaAndBetaState>& resultState);
  void encode(const Ref<MTL::CommandBuffer>& commandBuffer,
              const Ref<CNNBatchNormalizationState>& batchNormalizationState,
              const std::vector<Ref<Vector>>& inputMomentumVectors,
              const std::vector<Ref<Vector>>& inputVelocityVectors,
              const std::vector<Ref<Vector>>& maximumVelocityVectors,
              const Ref<CNNNormalizationGammaAndBetaState>& resultState);
  void encode(const Ref<MTL::CommandBuffer>& commandBuffer,
              const Ref<CNNBatchNormalizationState>& batchNormalizationGradientState,
              const Ref<CNNBatchNormalizationState>& batchNormalizationSourceState,
              const std::vector<Ref<Vector>>& inputMomentumVectors,
              const std::vector<Ref<Vector>>& inputVelocityVectors,
              const std::vector<Ref<Vector>>& maximumVelocityVectors,
              const Ref<CNNNormalizationGammaAndBetaState>& resultState);

 protected:
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  void doCode(Archive& coder) override;
  const char* className() const override { return "NNOptimizerAdam"; }

 private:
  void append(nn::StepEncoder& steps, bool maximum);
  double beta1_ = 0.9, beta2_ = 0.999;
  float epsilon_ = 1e-8f;
  std::size_t timeStep_ = 0;
  friend class Kernel;
};

}  // namespace kovar::MPS
