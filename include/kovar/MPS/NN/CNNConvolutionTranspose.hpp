#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "kovar/MPS/NN/CNNConvolution.hpp"

namespace kovar::MPS {

class CNNConvolutionTranspose;

/// What a transposed convolution was set to, and the sums of its weight and bias gradients, laid out like its weights.
/// sourceWidth and sourceHeight are those of the transposed convolution's source; convolution() is the convolution
/// whose state sized the result, if any. Implements MPSCNNConvolutionTransposeGradientState.
class CNNConvolutionTransposeGradientState : public CNNConvolutionGradientState {
 public:
  /// The kernel that made the state.
  Ref<CNNConvolutionTranspose> convolutionTranspose() const { return convolutionTranspose_; }

 protected:
  CNNConvolutionTransposeGradientState(const Ref<MTL::Device>& device, std::shared_ptr<const nn::ForwardRecord> record,
                                       const Ref<CNNConvolutionTranspose>& convolutionTranspose,
                                       const Ref<CNNConvolutionGradientState>& coupled, std::size_t weightBytes,
                                       std::size_t biasBytes);
  CNNConvolutionTransposeGradientState(const Ref<MTL::CommandBuffer>& commandBuffer,
                                       std::shared_ptr<const nn::ForwardRecord> record,
                                       const Ref<CNNConvolutionTranspose>& convolutionTranspose,
                                       const Ref<CNNConvolutionGradientState>& coupled, std::size_t weightBytes,
                                       std::size_t biasBytes);
  const char* className() const override { return "CNNConvolutionTransposeGradientState"; }

 private:
  Ref<CNNConvolutionTranspose> convolutionTranspose_;
  Ref<CNNConvolutionGradientState> coupled_;  // of the convolution that this one undoes
  friend struct nn::Access;
  friend struct nn::ConvolutionAccess;
};

using CNNConvolutionTransposeGradientStateBatch = Batch<CNNConvolutionTransposeGradientState>;

/// Transposed convolution: a correlation over the source with stride - 1 zeros between its pixels. With Z that spread
/// source (width (Ws - 1) * sx + 1, Z[sx * X] = S[X]), t = offset * stride + kernelOffset and extent = (kernel - 1) *
/// dilation + 1:
///   D[x,y,c] = neuron(bias[c] + sum over taps p, q and input channels i of
///              w[c][q][p][i] * Z[t.x + x - extentX div 2 + p*dx, t.y + y - extentY div 2 + q*dy, i])
/// The weights are not turned round: those of other frameworks' transposed convolutions must be rotated by 180 degrees.
/// For their left padding P: offset 0, kernelOffset = extent div 2 - extent + 1 + P. Outside Z the edge mode decides;
/// Clamp repeats its first and last pixel. Batch normalisation and activation of the descriptor are taken, groups and
/// depthwise descriptors too. Implements MPSCNNConvolutionTranspose.
///
/// Results that the kernel makes itself have the size of the convolution's source whose state is given, and offset and
/// kernelOffset become those of that convolution's data gradient; without a state the padding policy decides, for a
/// filter that runs backwards. Each encode lowers the read count of a temporary convolution state by one.
///
/// Errors: as CNNConvolution; weights of another type than Float32; a sub-pixel convolution.
class CNNConvolutionTranspose : public CNNKernel {
 public:
  CNNConvolutionTranspose(const Ref<MTL::Device>& device, const Ref<CNNConvolutionDataSource>& weights);
  /// As an archive holds it.
  CNNConvolutionTranspose(Archive& coder, const Ref<MTL::Device>& device) : CNNKernel(device) {
    isBackwards_ = true;
    decode(coder);
  }

  std::size_t inputFeatureChannels() const;
  std::size_t outputFeatureChannels() const;
  /// Added to offset * stride: the position in the spread source of the first result's centre tap.
  std::ptrdiff_t kernelOffsetX() const { return kernelOffsetX_; }
  void setKernelOffsetX(std::ptrdiff_t kernelOffsetX) { kernelOffsetX_ = kernelOffsetX; }
  std::ptrdiff_t kernelOffsetY() const { return kernelOffsetY_; }
  void setKernelOffsetY(std::ptrdiff_t kernelOffsetY) { kernelOffsetY_ = kernelOffsetY; }
  std::size_t groups() const;
  /// As CNNConvolution's.
  NNConvolutionAccumulatorPrecisionOption accumulatorPrecisionOption() const { return accumulatorPrecision_; }
  void setAccumulatorPrecisionOption(NNConvolutionAccumulatorPrecisionOption accumulatorPrecisionOption) {
    accumulatorPrecision_ = accumulatorPrecisionOption;
  }
  Ref<CNNConvolutionDataSource> dataSource() const;

  using CNNKernel::encode;
  using CNNKernel::encodeBatch;
  /// Into a new image sized by the convolution's state; null as without one.
  Ref<Image> encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Image>& sourceImage,
                    const Ref<CNNConvolutionGradientState>& convolutionGradientState);
  ImageBatch encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& sourceImages,
                         const CNNConvolutionGradientStateBatch& convolutionGradientStates);
  /// With the properties as the caller set them.
  void encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Image>& sourceImage,
              const Ref<CNNConvolutionGradientState>& convolutionGradientState, const Ref<Image>& destinationImage);
  void encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& sourceImages,
                   const CNNConvolutionGradientStateBatch& convolutionGradientStates,
                   const ImageBatch& destinationImages);
  /// With a state of this kernel's, for its gradient.
  void encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Image>& sourceImage,
              const Ref<CNNConvolutionTransposeGradientState>& destinationState, const Ref<Image>& destinationImage);
  void encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& sourceImages,
                   const CNNConvolutionTransposeGradientStateBatch& destinationStates,
                   const ImageBatch& destinationImages);
  /// Into a new image, with a new state for the gradient.
  Ref<Image> encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Image>& sourceImage,
                    const Ref<CNNConvolutionGradientState>& convolutionGradientState,
                    Ref<CNNConvolutionTransposeGradientState>* destinationState, bool destinationStateIsTemporary);
  ImageBatch encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& sourceImages,
                         const CNNConvolutionGradientStateBatch& convolutionGradientStates,
                         CNNConvolutionTransposeGradientStateBatch* destinationStates,
                         bool destinationStateIsTemporary);
  Ref<CNNConvolutionTransposeGradientState> resultState(
      const Ref<Image>& sourceImage, const std::vector<Ref<CNNConvolutionGradientState>>& sourceStates,
      const Ref<Image>& destinationImage);
  CNNConvolutionTransposeGradientStateBatch resultStateBatch(
      const ImageBatch& sourceImage, const std::vector<CNNConvolutionGradientStateBatch>& sourceStates,
      const ImageBatch& destinationImage);
  Ref<CNNConvolutionTransposeGradientState> temporaryResultState(
      const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Image>& sourceImage,
      const std::vector<Ref<CNNConvolutionGradientState>>& sourceStates, const Ref<Image>& destinationImage);
  CNNConvolutionTransposeGradientStateBatch temporaryResultStateBatch(
      const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& sourceImage,
      const std::vector<CNNConvolutionGradientStateBatch>& sourceStates, const ImageBatch& destinationImage);

  /// As CNNConvolution's.
  void reloadWeightsAndBiasesFromDataSource();
  void reloadWeightsAndBiases(const Ref<MTL::CommandBuffer>& commandBuffer,
                              const Ref<CNNConvolutionWeightsAndBiasesState>& state);
  Ref<CNNConvolutionWeightsAndBiasesState> exportWeightsAndBiases(const Ref<MTL::CommandBuffer>& commandBuffer,
                                                                  bool resultStateCanBeTemporary);

 protected:
  /// Over weights that another kernel of the same data source may share.
  explicit CNNConvolutionTranspose(std::shared_ptr<nn::WeightsCell> cell);
  CNNConvolutionTranspose(const CNNConvolutionTranspose&) = default;
  void doEncode(nn::Call& call) override;
  std::size_t doDestinationChannels(const std::vector<std::size_t>& used) override;
  Ref<ImageDescriptor> doDestinationImageDescriptor(const std::vector<Ref<Image>>& sourceImages,
                                                    const std::vector<Ref<State>>& sourceStates) override;
  Ref<State> doResultState(const nn::StateRequest& request) override;
  bool doIsResultStateReusedAcrossBatch() override { return true; }
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override;
  void doCode(Archive& coder) override;
  const char* className() const override { return "CNNConvolutionTranspose"; }

  std::shared_ptr<nn::WeightsCell> cell_;

 private:
  ImageBatch encodeWith(const Ref<MTL::CommandBuffer>& commandBuffer, Images sources, const StateBatch& convolutions,
                        StateBatch* destinationStates, bool destinationStateIsTemporary, bool batch);
  void encodeInto(const Ref<MTL::CommandBuffer>& commandBuffer, Images sources, const StateBatch& convolutions,
                  Images destinations, bool batch);
  std::ptrdiff_t kernelOffsetX_ = 0, kernelOffsetY_ = 0;
  NNConvolutionAccumulatorPrecisionOption accumulatorPrecision_ = NNConvolutionAccumulatorPrecisionOption::Float;
  friend class Kernel;
  friend struct nn::Access;
  friend struct nn::ConvolutionAccess;
};

/// Derivatives of a transposed convolution: of its source image (the destination), and of weights and biases (summed
/// into the state over all images). Primary source: the gradient of the result; secondary: the source image. Implements
/// MPSCNNConvolutionTransposeGradient.
///
/// Set by hand: primaryOffset and kernelOffset as the forward kernel's offset and kernelOffset, secondaryOffset the
/// source pixel of the destination's first one, and the gradient image exactly as large as the forward kernel's clip
/// rectangle. The forms that take the state and make the result set this themselves.
///
/// Errors: as CNNConvolutionGradient; weights of another type than Float32.
class CNNConvolutionTransposeGradient : public CNNGradientKernel {
 public:
  CNNConvolutionTransposeGradient(const Ref<MTL::Device>& device, const Ref<CNNConvolutionDataSource>& weights);
  /// As an archive holds it.
  CNNConvolutionTransposeGradient(Archive& coder, const Ref<MTL::Device>& device) : CNNGradientKernel(device) {
    isStateModified_ = true;
    decode(coder);
  }

  /// Channels of the incoming gradient: the transposed convolution's outputFeatureChannels.
  std::size_t sourceGradientFeatureChannels() const;
  /// Channels of its source: inputFeatureChannels.
  std::size_t sourceImageFeatureChannels() const;
  std::size_t groups() const;
  Ref<CNNConvolutionDataSource> dataSource() const;
  /// What is computed; what is not asked for is left as it was.
  CNNConvolutionGradientOption gradientOption() const { return option_; }
  void setGradientOption(CNNConvolutionGradientOption gradientOption);

  /// As CNNConvolutionGradient's.
  void reloadWeightsAndBiasesFromDataSource();
  void reloadWeightsAndBiases(const Ref<MTL::CommandBuffer>& commandBuffer,
                              const Ref<CNNConvolutionWeightsAndBiasesState>& state);

 protected:
  /// Over weights that another kernel of the same data source may share.
  explicit CNNConvolutionTransposeGradient(std::shared_ptr<nn::WeightsCell> cell);
  CNNConvolutionTransposeGradient(const CNNConvolutionTransposeGradient&) = default;
  void doEncode(nn::Call& call) override;
  std::size_t doDestinationChannels(const std::vector<std::size_t>& used) override;
  void doAdopt(const nn::ForwardRecord& record, const std::vector<Ref<Image>>& sourceImages) override;
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override;
  void doCode(Archive& coder) override;
  const char* className() const override { return "CNNConvolutionTransposeGradient"; }

  std::shared_ptr<nn::WeightsCell> cell_;

 private:
  bool wants(CNNConvolutionGradientOption part) const { return (option_ & part) == part; }
  CNNConvolutionGradientOption option_ = CNNConvolutionGradientOption::All;
  friend class Kernel;
  friend struct nn::Access;
  friend struct nn::ConvolutionAccess;
};

}  // namespace kovar::MPS
