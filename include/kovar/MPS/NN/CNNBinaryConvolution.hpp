#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "kovar/MPS/NN/CNNConvolutionDataSource.hpp"
#include "kovar/MPS/NN/CNNKernel.hpp"

namespace kovar::nn {
struct BinaryParts;
struct BinarySettings;
struct BinaryAccess;
}  // namespace kovar::nn

namespace kovar::MPS {

/// Convolution with weights of one bit, windows as CNNConvolution's. With u = (S + inputBias) * inputScale per input
/// channel, h = 0 where u < 0 and 1 elsewhere, and weight bits b:
///   BinaryWeights: sum of u where b is 1, minus sum of u where b is 0
///   XNOR:          pairs with h = b, minus pairs with h != b
///   AND:           pairs with h = b = 1
///   D = neuron(sum * outputScale[c] * beta + outputBias[c])
/// beta is 1, or with UseBetaScaling the mean of abs(u) over the channels and the window. Outside the image u is 0 (so
/// h is 1) with edge mode Zero, that of the nearest pixel with Clamp. XNOR and AND work on packed bits.
///
/// The data source's weights() are UInt32 words [O][kernelHeight][kernelWidth][ceil(I / 32)]: channel f is bit f mod
/// 32, lowest first, of word f div 32; the bits beyond the channels do not matter. Implements MPSCNNBinaryConvolution.
///
/// Errors: as CNNConvolution; a data type other than UInt32; groups; a batch normalisation, depthwise or sub-pixel
/// descriptor; an unknown type or flag.
class CNNBinaryConvolution : public CNNKernel {
 public:
  /// No input bias and scale; scaleValue for all output channels; the data source's biasTerms as output bias.
  CNNBinaryConvolution(const Ref<MTL::Device>& device, const Ref<CNNConvolutionDataSource>& convolutionData,
                       float scaleValue, CNNBinaryConvolutionType type, CNNBinaryConvolutionFlags flags);
  /// One value for each output or input channel, copied; null: biases of 0, scales of 1. The data source's biasTerms
  /// are not used.
  CNNBinaryConvolution(const Ref<MTL::Device>& device, const Ref<CNNConvolutionDataSource>& convolutionData,
                       const float* outputBiasTerms, const float* outputScaleTerms, const float* inputBiasTerms,
                       const float* inputScaleTerms, CNNBinaryConvolutionType type, CNNBinaryConvolutionFlags flags);
  /// As an archive holds it.
  CNNBinaryConvolution(Archive& coder, const Ref<MTL::Device>& device) : CNNBinaryConvolution(Unset{}, device) {
    decode(coder);
  }

  std::size_t inputFeatureChannels() const;
  std::size_t outputFeatureChannels() const;

 protected:
  CNNBinaryConvolution(const Ref<MTL::Device>& device, const Ref<CNNConvolutionDataSource>& convolutionData,
                       const nn::BinarySettings& settings, const char* who);
  CNNBinaryConvolution(Unset, const Ref<MTL::Device>& device) : CNNKernel(device) {}
  CNNBinaryConvolution(const CNNBinaryConvolution&) = default;
  void doEncode(nn::Call& call) override;
  std::size_t doDestinationChannels(const std::vector<std::size_t>& used) override;
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override;
  void doCode(Archive& coder) override;
  const char* className() const override { return "CNNBinaryConvolution"; }

  std::shared_ptr<const nn::BinaryParts> parts_;
  friend class Kernel;
  friend struct nn::BinaryAccess;
};

/// A binary convolution whose window is the whole source: one result pixel, at clipRect.origin; offset is ignored.
/// Padding is valid-only at first. Implements MPSCNNBinaryFullyConnected.
///
/// Errors: as CNNBinaryConvolution; strides or dilations other than 1; at encode a kernel size other than the source's,
/// a clip rectangle of more than one pixel.
class CNNBinaryFullyConnected : public CNNBinaryConvolution {
 public:
  CNNBinaryFullyConnected(const Ref<MTL::Device>& device, const Ref<CNNConvolutionDataSource>& convolutionData,
                          float scaleValue, CNNBinaryConvolutionType type, CNNBinaryConvolutionFlags flags);
  CNNBinaryFullyConnected(const Ref<MTL::Device>& device, const Ref<CNNConvolutionDataSource>& convolutionData,
                          const float* outputBiasTerms, const float* outputScaleTerms, const float* inputBiasTerms,
                          const float* inputScaleTerms, CNNBinaryConvolutionType type, CNNBinaryConvolutionFlags flags);
  /// As an archive holds it.
  CNNBinaryFullyConnected(Archive& coder, const Ref<MTL::Device>& device) : CNNBinaryConvolution(Unset{}, device) {
    decode(coder);
  }

 protected:
  CNNBinaryFullyConnected(const Ref<MTL::Device>& device, const Ref<CNNConvolutionDataSource>& convolutionData,
                          const nn::BinarySettings& settings);
  CNNBinaryFullyConnected(const CNNBinaryFullyConnected&) = default;
  void doEncode(nn::Call& call) override;
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override;
  void doCode(Archive& coder) override;
  const char* className() const override { return "CNNBinaryFullyConnected"; }
  friend class Kernel;
  friend struct nn::BinaryAccess;
};

}  // namespace kovar::MPS
