#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "kovar/MPS/NN/CNNNeuronDescriptor.hpp"
#include "kovar/MPS/NN/Types.hpp"
#include "kovar/Object.hpp"

namespace kovar::nn {
struct BatchNormConstants;
struct ConvolutionAccess;
}  // namespace kovar::nn

namespace kovar::MPS {

class Archive;
class CNNNeuron;

/// Window, channels, groups and fused activation of a convolution. Kernels copy it when they are made, derived classes
/// as what they are; later changes do not reach them. What does not fit together is refused there. Implements
/// MPSCNNConvolutionDescriptor.
///
/// Weights belong to it as [outputFeatureChannels][kernelHeight][kernelWidth][inputFeatureChannels / groups]. With
/// groups > 1 both channel counts must divide by groups, into multiples of 4.
class CNNConvolutionDescriptor : public Object {
 public:
  /// Stride, dilation and groups 1, no activation.
  static Ref<CNNConvolutionDescriptor> cnnConvolutionDescriptor(std::size_t kernelWidth, std::size_t kernelHeight,
                                                                std::size_t inputFeatureChannels,
                                                                std::size_t outputFeatureChannels);
  /// With the activation of `neuronFilter` (may be null). Deprecated in the documented API.
  static Ref<CNNConvolutionDescriptor> cnnConvolutionDescriptor(std::size_t kernelWidth, std::size_t kernelHeight,
                                                                std::size_t inputFeatureChannels,
                                                                std::size_t outputFeatureChannels,
                                                                const Ref<CNNNeuron>& neuronFilter);
  /// As an archive holds it. neuron() is null then; the activation is fusedNeuronDescriptor().
  explicit CNNConvolutionDescriptor(Archive& coder);
  ~CNNConvolutionDescriptor() override;
  /// Writes the descriptor. Subclasses are read by their own constructors.
  void encodeWithCoder(Archive& coder);

  std::size_t kernelWidth() const { return kernelWidth_; }
  void setKernelWidth(std::size_t kernelWidth) { kernelWidth_ = kernelWidth; }
  std::size_t kernelHeight() const { return kernelHeight_; }
  void setKernelHeight(std::size_t kernelHeight) { kernelHeight_ = kernelHeight; }
  std::size_t inputFeatureChannels() const { return inputFeatureChannels_; }
  void setInputFeatureChannels(std::size_t inputFeatureChannels) { inputFeatureChannels_ = inputFeatureChannels; }
  std::size_t outputFeatureChannels() const { return outputFeatureChannels_; }
  void setOutputFeatureChannels(std::size_t outputFeatureChannels) { outputFeatureChannels_ = outputFeatureChannels; }
  std::size_t strideInPixelsX() const { return strideInPixelsX_; }
  void setStrideInPixelsX(std::size_t strideInPixelsX) { strideInPixelsX_ = strideInPixelsX; }
  std::size_t strideInPixelsY() const { return strideInPixelsY_; }
  void setStrideInPixelsY(std::size_t strideInPixelsY) { strideInPixelsY_ = strideInPixelsY; }
  std::size_t groups() const { return groups_; }
  void setGroups(std::size_t groups) { groups_ = groups; }
  /// Source pixels from one tap to the next; the dilated window is centred on its whole extent.
  std::size_t dilationRateX() const { return dilationRateX_; }
  void setDilationRateX(std::size_t dilationRateX) { dilationRateX_ = dilationRateX; }
  std::size_t dilationRateY() const { return dilationRateY_; }
  void setDilationRateY(std::size_t dilationRateY) { dilationRateY_ = dilationRateY; }

  /// Applied last, after bias and batch normalisation. Never null: type None where there is none. A PReLU has its own
  /// setter; here it throws Error.
  Ref<NNNeuronDescriptor> fusedNeuronDescriptor() const { return fusedNeuron_; }
  void setFusedNeuronDescriptor(const Ref<NNNeuronDescriptor>& fusedNeuronDescriptor);
  /// Folded into weights and biases when a kernel is made: gamma * (x - mean) / sqrt(variance + epsilon) + beta per
  /// output channel. Each array holds outputFeatureChannels values and is copied; gamma may be null (all 1), beta too
  /// (all 0); mean and variance both null take the normalisation away.
  void setBatchNormalizationParametersForInference(const float* mean, const float* variance, const float* gamma,
                                                   const float* beta, float epsilon);

  // Deprecated in the documented API: other spellings of fusedNeuronDescriptor.
  Ref<CNNNeuron> neuron() const { return neuron_; }
  void setNeuron(const Ref<CNNNeuron>& neuron);
  void setNeuronType(CNNNeuronType neuronType, float parameterA, float parameterB);
  /// One float32 slope for each output channel.
  void setNeuronToPReLU(std::span<const std::byte> parametersA);
  CNNNeuronType neuronType() { return fusedNeuron_->neuronType(); }
  float neuronParameterA() { return fusedNeuron_->a(); }
  float neuronParameterB() { return fusedNeuron_->b(); }

  /// A descriptor of the same class with the same values.
  Ref<CNNConvolutionDescriptor> copy() const { return doCopy(); }

 protected:
  CNNConvolutionDescriptor(std::size_t kernelWidth, std::size_t kernelHeight, std::size_t inputFeatureChannels,
                           std::size_t outputFeatureChannels);
  CNNConvolutionDescriptor(const CNNConvolutionDescriptor& other);
  virtual Ref<CNNConvolutionDescriptor> doCopy() const;
  /// Writes or reads the members.
  virtual void doCode(Archive& coder);
  virtual const char* className() const { return "CNNConvolutionDescriptor"; }

 private:
  std::size_t kernelWidth_ = 3, kernelHeight_ = 3;
  std::size_t inputFeatureChannels_ = 0, outputFeatureChannels_ = 0;
  std::size_t strideInPixelsX_ = 1, strideInPixelsY_ = 1;
  std::size_t dilationRateX_ = 1, dilationRateY_ = 1;
  std::size_t groups_ = 1;
  Ref<NNNeuronDescriptor> fusedNeuron_;
  Ref<CNNNeuron> neuron_;
  std::shared_ptr<const nn::BatchNormConstants> batchNorm_;
  friend struct nn::ConvolutionAccess;
};

/// A convolution whose filters read one input channel each: output channel j * channelMultiplier + q is the correlation
/// of input channel j with filter (j, q). Weights are [outputFeatureChannels][kernelHeight][kernelWidth]. groups stays
/// 1, and outputFeatureChannels is a multiple of inputFeatureChannels (the original knows a multiplier of 1 only; here
/// any works, gradients too). Implements MPSCNNDepthWiseConvolutionDescriptor.
class CNNDepthWiseConvolutionDescriptor : public CNNConvolutionDescriptor {
 public:
  static Ref<CNNDepthWiseConvolutionDescriptor> cnnConvolutionDescriptor(std::size_t kernelWidth,
                                                                         std::size_t kernelHeight,
                                                                         std::size_t inputFeatureChannels,
                                                                         std::size_t outputFeatureChannels);
  /// As an archive holds it.
  explicit CNNDepthWiseConvolutionDescriptor(Archive& coder);
  /// Filters of one input channel: outputFeatureChannels / inputFeatureChannels; 0 where there are no input channels.
  std::size_t channelMultiplier() const;

 protected:
  using CNNConvolutionDescriptor::CNNConvolutionDescriptor;
  CNNDepthWiseConvolutionDescriptor(const CNNDepthWiseConvolutionDescriptor&) = default;
  Ref<CNNConvolutionDescriptor> doCopy() const override;
  const char* className() const override { return "CNNDepthWiseConvolutionDescriptor"; }
};

/// A convolution that enlarges: with r = subPixelScaleFactor every window gives a block of r x r pixels. Output channel
/// C * (r * row + column) + c of the convolution becomes channel c of pixel (column, row) of the block, where
/// C = outputFeatureChannels / r^2 is what the destination receives. Bias, batch normalisation and activation belong to
/// the outputFeatureChannels of the convolution. Implements MPSCNNSubPixelConvolutionDescriptor.
class CNNSubPixelConvolutionDescriptor : public CNNConvolutionDescriptor {
 public:
  static Ref<CNNSubPixelConvolutionDescriptor> cnnConvolutionDescriptor(std::size_t kernelWidth,
                                                                        std::size_t kernelHeight,
                                                                        std::size_t inputFeatureChannels,
                                                                        std::size_t outputFeatureChannels);
  /// As an archive holds it.
  explicit CNNSubPixelConvolutionDescriptor(Archive& coder);
  /// outputFeatureChannels must be a multiple of its square; 1 at first.
  std::size_t subPixelScaleFactor() const { return subPixelScaleFactor_; }
  void setSubPixelScaleFactor(std::size_t subPixelScaleFactor) { subPixelScaleFactor_ = subPixelScaleFactor; }

 protected:
  using CNNConvolutionDescriptor::CNNConvolutionDescriptor;
  CNNSubPixelConvolutionDescriptor(const CNNSubPixelConvolutionDescriptor&) = default;
  Ref<CNNConvolutionDescriptor> doCopy() const override;
  void doCode(Archive& coder) override;
  const char* className() const override { return "CNNSubPixelConvolutionDescriptor"; }

 private:
  std::size_t subPixelScaleFactor_ = 1;
};

}  // namespace kovar::MPS
