#pragma once

#include <memory>

#include "kovar/MPS/NN/CNNConvolution.hpp"

namespace kovar::MPS {

/// A convolution whose window is the whole source image: every output channel is the inner product of one filter with
/// all pixels and channels, D[0,0,c] = neuron(bias[c] + sum w[c][y][x][i] * S[y][x][i]). The result is one pixel,
/// written at clipRect.origin; offset is ignored. Weights are [O][kernelHeight][kernelWidth][I] (one page of the
/// documents says [O][width][height][I]: the same for square sources). Padding is valid-only at first. Implements
/// MPSCNNFullyConnected.
///
/// Errors: stride or groups other than 1; at encode a kernel size other than the source's, a clip rectangle of more
/// than one pixel.
class CNNFullyConnected : public CNNConvolution {
 public:
  CNNFullyConnected(const Ref<MTL::Device>& device, const Ref<CNNConvolutionDataSource>& weights);
  /// Over float32 arrays, copied; biasTerms may be null. Deprecated in the documented API.
  CNNFullyConnected(const Ref<MTL::Device>& device, const Ref<CNNConvolutionDescriptor>& convolutionDescriptor,
                    const float* kernelWeights, const float* biasTerms, CNNConvolutionFlags flags);
  /// As an archive holds it.
  CNNFullyConnected(Archive& coder, const Ref<MTL::Device>& device) : CNNConvolution(Unset{}, device) { decode(coder); }

 protected:
  explicit CNNFullyConnected(std::shared_ptr<nn::WeightsCell> cell);
  CNNFullyConnected(const CNNFullyConnected&) = default;
  void doEncode(nn::Call& call) override;
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override;
  void doCode(Archive& coder) override;
  const char* className() const override { return "CNNFullyConnected"; }
  friend class Kernel;
  friend struct nn::ConvolutionAccess;
};

/// Derivatives of a fully connected layer; offsets are ignored. Implements MPSCNNFullyConnectedGradient.
class CNNFullyConnectedGradient : public CNNConvolutionGradient {
 public:
  CNNFullyConnectedGradient(const Ref<MTL::Device>& device, const Ref<CNNConvolutionDataSource>& weights);
  /// As an archive holds it.
  CNNFullyConnectedGradient(Archive& coder, const Ref<MTL::Device>& device) : CNNConvolutionGradient(Unset{}, device) {
    decode(coder);
  }

 protected:
  explicit CNNFullyConnectedGradient(std::shared_ptr<nn::WeightsCell> cell);
  CNNFullyConnectedGradient(const CNNFullyConnectedGradient&) = default;
  void doEncode(nn::Call& call) override;
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override;
  void doCode(Archive& coder) override;
  const char* className() const override { return "CNNFullyConnectedGradient"; }
  friend class Kernel;
  friend struct nn::ConvolutionAccess;
};

}  // namespace kovar::MPS
