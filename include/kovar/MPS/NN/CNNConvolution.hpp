#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "kovar/MPS/NN/CNNConvolutionDataSource.hpp"
#include "kovar/MPS/NN/CNNKernel.hpp"
#include "kovar/MPS/NN/GradientState.hpp"

namespace kovar::nn {
class WeightsCell;
struct ConvolutionAccess;
struct Tensor;
}  // namespace kovar::nn

namespace kovar::MPS {

class CNNConvolution;
class CNNNeuron;

/// What a convolution was set to, and the buffers that its gradient kernel sums weight and bias gradients into:
/// float32, weights as [O][ky][kx][I / groups]. One state serves a whole batch. The sums start at zero; every gradient
/// encode with this state adds to them. Make a new one for the next batch. Implements MPSCNNConvolutionGradientState.
///
/// Encoding the gradient does not lower the read count of a temporary state: whoever reads the sums does.
class CNNConvolutionGradientState : public NNGradientState, public ImageSizeEncodingState {
 public:
  Ref<MTL::Buffer> gradientForWeights() const { return buffer(0); }
  /// One float per output channel, also where the data source has no biases.
  Ref<MTL::Buffer> gradientForBiases() const { return buffer(1); }
  /// The kernel that made the state.
  Ref<CNNConvolution> convolution() const { return convolution_; }
  CNNConvolutionWeightsLayout gradientForWeightsLayout() const { return CNNConvolutionWeightsLayout::OHWI; }

 protected:
  CNNConvolutionGradientState(const Ref<MTL::Device>& device, std::shared_ptr<const nn::ForwardRecord> record,
                              const Ref<CNNConvolution>& convolution, std::size_t weightBytes, std::size_t biasBytes);
  CNNConvolutionGradientState(const Ref<MTL::CommandBuffer>& commandBuffer,
                              std::shared_ptr<const nn::ForwardRecord> record, const Ref<CNNConvolution>& convolution,
                              std::size_t weightBytes, std::size_t biasBytes);
  Ref<ImageDescriptor> doDestinationImageDescriptor(const std::vector<Ref<Image>>& sourceImages,
                                                    const std::vector<Ref<State>>& sourceStates,
                                                    const Ref<Kernel>& kernel,
                                                    const Ref<ImageDescriptor>& suggestedDescriptor) override;
  const char* className() const override { return "CNNConvolutionGradientState"; }

 private:
  void addSums(std::size_t weightBytes, std::size_t biasBytes);
  Ref<CNNConvolution> convolution_;
  bool holdsSums_ = false;  // some encode has written the buffers
  friend struct nn::Access;
  friend struct nn::ConvolutionAccess;
};

/// Weights and biases of a convolution in buffers, float32, weights as [O][ky][kx][I / groups]: what export gives,
/// optimizers change and reload takes. Implements MPSCNNConvolutionWeightsAndBiasesState.
///
/// Errors: a null weights buffer; with offsets: not a multiple of 4, or the values reach beyond the buffer.
class CNNConvolutionWeightsAndBiasesState : public State {
 public:
  /// Over buffers of exactly the right size. biases may be null.
  CNNConvolutionWeightsAndBiasesState(const Ref<MTL::Buffer>& weights, const Ref<MTL::Buffer>& biases);
  /// Over parts of buffers (of one buffer, if you like); offsets in bytes.
  CNNConvolutionWeightsAndBiasesState(const Ref<MTL::Buffer>& weights, std::size_t weightsOffset,
                                      const Ref<MTL::Buffer>& biases, std::size_t biasesOffset,
                                      const Ref<CNNConvolutionDescriptor>& cnnConvolutionDescriptor);
  /// With buffers of its own, all zero.
  CNNConvolutionWeightsAndBiasesState(const Ref<MTL::Device>& device,
                                      const Ref<CNNConvolutionDescriptor>& cnnConvolutionDescriptor);
  static Ref<CNNConvolutionWeightsAndBiasesState> temporaryCNNConvolutionWeightsAndBiasesState(
      const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<CNNConvolutionDescriptor>& cnnConvolutionDescriptor);

  Ref<MTL::Buffer> weights() const { return buffer(0); }
  /// Null where there are none.
  Ref<MTL::Buffer> biases() const { return buffer(1); }
  std::size_t weightsOffset() const { return weightsOffset_; }
  std::size_t biasesOffset() const { return biasesOffset_; }

 protected:
  /// With buffers of these sizes; no biases where biasBytes is 0.
  CNNConvolutionWeightsAndBiasesState(const Ref<MTL::Device>& device, std::size_t weightBytes, std::size_t biasBytes);
  CNNConvolutionWeightsAndBiasesState(const Ref<MTL::CommandBuffer>& commandBuffer, std::size_t weightBytes,
                                      std::size_t biasBytes);
  const char* className() const override { return "CNNConvolutionWeightsAndBiasesState"; }

 private:
  std::size_t weightsOffset_ = 0, biasesOffset_ = 0;
  std::size_t weightBytes_ = 0, biasBytes_ = 0;  // of the values
  friend struct nn::Access;
  friend struct nn::ConvolutionAccess;
};

using CNNConvolutionGradientStateBatch = Batch<CNNConvolutionGradientState>;
using CNNConvolutionWeightsAndBiasesStateBatch = Batch<CNNConvolutionWeightsAndBiasesState>;

/// Convolution (correlation: the filter is not flipped), with groups, stride and dilation:
///   D[x,y,c] = neuron(bias[c] + sum over taps p, q and input channels i of
///              w[c][q][p][i] * S[offset.x + x*sx - extentX div 2 + p*dx, offset.y + y*sy - extentY div 2 + q*dy, i])
/// where extent = (kernel - 1) * dilation + 1. It reads exactly inputFeatureChannels from sourceFeatureChannelOffset on
/// and writes outputFeatureChannels. A batch normalisation of the descriptor is folded into weights and biases.
/// Descriptors of depthwise and sub-pixel convolutions say what these compute instead; a sub-pixel convolution makes
/// results subPixelScaleFactor times as large, and its windows are those of the blocks that the clip rectangle begins.
/// Arithmetic is float32. Implements MPSCNNConvolution.
///
/// Errors at construction: a data source that does not load or gives no weights, sizes that do not fit together, 8-bit
/// weights without ranges and table. At encode: fewer source channels than inputFeatureChannels.
class CNNConvolution : public CNNKernel {
 public:
  CNNConvolution(const Ref<MTL::Device>& device, const Ref<CNNConvolutionDataSource>& weights);
  /// Over float32 arrays, copied; biasTerms may be null. Deprecated in the documented API.
  CNNConvolution(const Ref<MTL::Device>& device, const Ref<CNNConvolutionDescriptor>& convolutionDescriptor,
                 const float* kernelWeights, const float* biasTerms, CNNConvolutionFlags flags);
  /// As an archive holds it.
  CNNConvolution(Archive& coder, const Ref<MTL::Device>& device) : CNNConvolution(Unset{}, device) { decode(coder); }

  std::size_t inputFeatureChannels() const;
  std::size_t outputFeatureChannels() const;
  std::size_t groups() const;
  /// Where the weights came from; for the deprecated constructor a source over the copied arrays.
  Ref<CNNConvolutionDataSource> dataSource() const;
  /// Of a CNNSubPixelConvolutionDescriptor; 1 for others.
  std::size_t subPixelScaleFactor() const;
  /// Of a CNNDepthWiseConvolutionDescriptor; 0 for others.
  std::size_t channelMultiplier() const;
  /// The activation, type None where there is none. A copy: changing it changes nothing.
  Ref<NNNeuronDescriptor> fusedNeuronDescriptor() const;
  /// Half allows the device to multiply and accumulate in half, as KernelOptions::AllowReducedPrecision does; Float is
  /// the default and what the CPU always does.
  NNConvolutionAccumulatorPrecisionOption accumulatorPrecisionOption() const { return accumulatorPrecision_; }
  void setAccumulatorPrecisionOption(NNConvolutionAccumulatorPrecisionOption accumulatorPrecisionOption) {
    accumulatorPrecision_ = accumulatorPrecisionOption;
  }
  // Deprecated in the documented API. Parameters read 1 where there is no activation.
  Ref<CNNNeuron> neuron() const;
  CNNNeuronType neuronType() const;
  float neuronParameterA() const;
  float neuronParameterB() const;
  float neuronParameterC() const;

  using CNNKernel::encode;
  using CNNKernel::encodeBatch;
  Ref<Image> encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Image>& sourceImage,
                    Ref<CNNConvolutionGradientState>* destinationState, bool destinationStateIsTemporary);
  ImageBatch encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& sourceImages,
                         CNNConvolutionGradientStateBatch* destinationStates, bool destinationStateIsTemporary);
  Ref<CNNConvolutionGradientState> resultState(const Ref<Image>& sourceImage,
                                               const std::vector<Ref<State>>& sourceStates,
                                               const Ref<Image>& destinationImage);
  CNNConvolutionGradientStateBatch resultStateBatch(const ImageBatch& sourceImage,
                                                    const std::vector<StateBatch>& sourceStates,
                                                    const ImageBatch& destinationImage);
  Ref<CNNConvolutionGradientState> temporaryResultState(const Ref<MTL::CommandBuffer>& commandBuffer,
                                                        const Ref<Image>& sourceImage,
                                                        const std::vector<Ref<State>>& sourceStates,
                                                        const Ref<Image>& destinationImage);
  CNNConvolutionGradientStateBatch temporaryResultStateBatch(const Ref<MTL::CommandBuffer>& commandBuffer,
                                                             const ImageBatch& sourceImage,
                                                             const std::vector<StateBatch>& sourceStates,
                                                             const ImageBatch& destinationImage);

  /// Reads the data source again; encodes made after this call use the new values, encodes made before keep the old
  /// ones. Throws Error when the source does not load or its sizes have changed.
  void reloadWeightsAndBiasesFromDataSource();
  /// The same; the argument is ignored. Deprecated in the documented API.
  void reloadWeightsAndBiases(const Ref<CNNConvolutionDataSource>& dataSource);
  /// Takes the values of `state` at this place of the command buffer's work. Lowers the state's read count by one.
  void reloadWeightsAndBiases(const Ref<MTL::CommandBuffer>& commandBuffer,
                              const Ref<CNNConvolutionWeightsAndBiasesState>& state);
  /// A new state that holds the weights and biases as they are at this place of the command buffer's work (before
  /// folding of a batch normalisation). Temporary where resultStateCanBeTemporary.
  Ref<CNNConvolutionWeightsAndBiasesState> exportWeightsAndBiases(const Ref<MTL::CommandBuffer>& commandBuffer,
                                                                  bool resultStateCanBeTemporary);

 protected:
  /// Over weights that another kernel of the same data source may share.
  explicit CNNConvolution(std::shared_ptr<nn::WeightsCell> cell);
  CNNConvolution(Unset, const Ref<MTL::Device>& device) : CNNKernel(device) {}
  CNNConvolution(const CNNConvolution&) = default;
  void doEncode(nn::Call& call) override;
  std::size_t doDestinationChannels(const std::vector<std::size_t>& used) override;
  Ref<ImageDescriptor> doDestinationImageDescriptor(const std::vector<Ref<Image>>& sourceImages,
                                                    const std::vector<Ref<State>>& sourceStates) override;
  Ref<State> doResultState(const nn::StateRequest& request) override;
  bool doIsResultStateReusedAcrossBatch() override { return true; }
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override;
  void doCode(Archive& coder) override;
  const char* className() const override { return "CNNConvolution"; }

  std::shared_ptr<nn::WeightsCell> cell_;

 private:
  /// The convolution alone, before a sub-pixel convolution's channels are spread.
  void encodeConvolution(nn::Call& call, const nn::Tensor& result);
  NNConvolutionAccumulatorPrecisionOption accumulatorPrecision_ = NNConvolutionAccumulatorPrecisionOption::Float;
  friend class Kernel;
  friend struct nn::Access;
  friend struct nn::ConvolutionAccess;
};

/// Derivatives of a convolution: of the source image (the destination), and of weights and biases (summed into the
/// state over all images). Primary source: the gradient of the convolution's result; secondary: the convolution's
/// source image. Implements MPSCNNConvolutionGradient.
///
/// Set by hand, with fo the convolution's offset and extent = (kernel - 1) * dilation + 1: primaryOffset 0,
/// kernelOffset = -fo, plus 1 where extent is even, secondaryOffset = fo - extent div 2 (the first tap, not the
/// centre), and the gradient image exactly as large as the convolution's clip rectangle. The forms that take the state
/// and make the result set this themselves. With secondaryEdgeMode Clamp a pixel of the border also gets the share of
/// the pixels that repeat it.
///
/// Errors: as CNNConvolution; an activation or batch normalisation in the descriptor (put it in a kernel of its own), a
/// sub-pixel convolution; at encode a missing or foreign state when gradientOption wants weights.
class CNNConvolutionGradient : public CNNGradientKernel {
 public:
  CNNConvolutionGradient(const Ref<MTL::Device>& device, const Ref<CNNConvolutionDataSource>& weights);
  /// As an archive holds it.
  CNNConvolutionGradient(Archive& coder, const Ref<MTL::Device>& device) : CNNConvolutionGradient(Unset{}, device) {
    decode(coder);
  }

  /// Channels of the incoming gradient: the convolution's outputFeatureChannels.
  std::size_t sourceGradientFeatureChannels() const;
  /// Channels of the convolution's source: its inputFeatureChannels.
  std::size_t sourceImageFeatureChannels() const;
  std::size_t groups() const;
  /// Of a CNNDepthWiseConvolutionDescriptor; 0 for others.
  std::size_t channelMultiplier() const;
  Ref<CNNConvolutionDataSource> dataSource() const;
  /// What is computed; what is not asked for is left as it was.
  CNNConvolutionGradientOption gradientOption() const { return option_; }
  void setGradientOption(CNNConvolutionGradientOption gradientOption);
  /// Concerns archives only. Deprecated in the documented API.
  bool serializeWeightsAndBiases() const { return serializeWeightsAndBiases_; }
  void setSerializeWeightsAndBiases(bool serializeWeightsAndBiases) {
    serializeWeightsAndBiases_ = serializeWeightsAndBiases;
  }

  /// As CNNConvolution's. Forward and gradient kernels made on their own hold values of their own: reload both.
  void reloadWeightsAndBiasesFromDataSource();
  void reloadWeightsAndBiases(const Ref<MTL::CommandBuffer>& commandBuffer,
                              const Ref<CNNConvolutionWeightsAndBiasesState>& state);

 protected:
  /// Over weights that another kernel of the same data source may share.
  explicit CNNConvolutionGradient(std::shared_ptr<nn::WeightsCell> cell, const char* who = "CNNConvolutionGradient");
  CNNConvolutionGradient(Unset, const Ref<MTL::Device>& device) : CNNGradientKernel(device) { isStateModified_ = true; }
  CNNConvolutionGradient(const CNNConvolutionGradient&) = default;
  void doEncode(nn::Call& call) override;
  std::size_t doDestinationChannels(const std::vector<std::size_t>& used) override;
  void doAdopt(const nn::ForwardRecord& record, const std::vector<Ref<Image>>& sourceImages) override;
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override;
  void doCode(Archive& coder) override;
  const char* className() const override { return "CNNConvolutionGradient"; }

  bool wants(CNNConvolutionGradientOption part) const { return (option_ & part) == part; }

  std::shared_ptr<nn::WeightsCell> cell_;

 private:
  void encodeData(nn::Call& call);
  void encodeWeights(nn::Call& call);
  CNNConvolutionGradientOption option_ = CNNConvolutionGradientOption::All;
  bool serializeWeightsAndBiases_ = false;
  friend class Kernel;
  friend struct nn::Access;
  friend struct nn::ConvolutionAccess;
};

}  // namespace kovar::MPS
