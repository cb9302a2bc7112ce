#pragma once

#include "kovar/MPS/NN/CNNLoss.hpp"

namespace kovar::MPS {

/// The scalars of a loss that may be changed between encodes. Implements what MPSNNForwardLoss and MPSNNLossGradient
/// share.
struct NNLossScalars {
  float weight = 1.f, labelSmoothing = 0.f, epsilon = 1e-7f, delta = 1.f;
  bool operator==(const NNLossScalars&) const = default;
};

/// The value of a loss alone, over label and weight images; formulas and reductions are those of CNNLoss. Reduced, the
/// result is 1 x 1 x 1 for each image; with CNNReductionType::None it is as large as the source, one value per element.
/// Labels may be larger than the source: the first rows, columns and channels are read. The same holds for weights,
/// whose sides of 1 stretch over the source. With reduceAcrossBatch the first image's result has the value of all, the
/// others 0. offset and clipRect have no defined meaning here and must stay as they are. Implements MPSNNForwardLoss.
///
/// Errors at construction: those of CNNLoss. At encode: labels or weights smaller than the source, a destination of
/// another size, CosineDistance with weights.
class NNForwardLoss : public CNNKernel {
 public:
  NNForwardLoss(const Ref<MTL::Device>& device, const Ref<CNNLossDescriptor>& lossDescriptor);
  /// As an archive holds it.
  NNForwardLoss(Archive& coder, const Ref<MTL::Device>& device) : CNNKernel(device) { decode(coder); }

  CNNLossType lossType() const { return descriptor_->lossType(); }
  CNNReductionType reductionType() const { return descriptor_->reductionType(); }
  bool reduceAcrossBatch() const { return descriptor_->reduceAcrossBatch(); }
  std::size_t numberOfClasses() const { return descriptor_->numberOfClasses(); }
  float weight() const { return scalars_.weight; }
  void setWeight(float weight) { scalars_.weight = weight; }
  float labelSmoothing() const { return scalars_.labelSmoothing; }
  void setLabelSmoothing(float labelSmoothing) { scalars_.labelSmoothing = labelSmoothing; }
  float epsilon() const { return scalars_.epsilon; }
  void setEpsilon(float epsilon) { scalars_.epsilon = epsilon; }
  float delta() const { return scalars_.delta; }
  void setDelta(float delta) { scalars_.delta = delta; }

  /// weights may be empty. destinationStates, made by resultStateBatch, may be empty.
  void encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& sourceImages,
                   const ImageBatch& labels, const ImageBatch& weights, const StateBatch& destinationStates,
                   const ImageBatch& destinationImages);
  ImageBatch encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& sourceImages,
                         const ImageBatch& labels, const ImageBatch& weights, StateBatch* destinationStates,
                         bool destinationStateIsTemporary);

 protected:
  void doEncode(nn::Call& call) override;
  std::size_t doDestinationChannels(const std::vector<std::size_t>& used) override;
  Ref<ImageDescriptor> doDestinationImageDescriptor(const std::vector<Ref<Image>>& sourceImages,
                                                    const std::vector<Ref<State>>& sourceStates) override;
  Ref<State> doResultState(const nn::StateRequest& request) override;
  bool doAppendBatchBarrier() override { return reduceAcrossBatch(); }
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  void doCode(Archive& coder) override;
  const char* className() const override { return "NNForwardLoss"; }

 private:
  Ref<CNNLossDescriptor> descriptor_;  // never changed
  NNLossScalars scalars_;
  friend class Kernel;
};

/// The exact derivative of NNForwardLoss by its source (or labels), times the incoming gradient: primary is the
/// gradient of the forward result, as large as that (1 x 1 x 1 also serves an unreduced loss), secondary the forward
/// source. Unlike CNNLoss it divides as the reduction does. A state of the forward kernel gives weight, labelSmoothing,
/// epsilon and delta, instead of the kernel's own. Implements MPSNNLossGradient.
///
/// Errors: as NNForwardLoss; an incoming gradient of another size.
class NNLossGradient : public CNNBinaryKernel {
 public:
  NNLossGradient(const Ref<MTL::Device>& device, const Ref<CNNLossDescriptor>& lossDescriptor);
  /// As an archive holds it.
  NNLossGradient(Archive& coder, const Ref<MTL::Device>& device) : CNNBinaryKernel(device) {
    isBackwards_ = true;
    decode(coder);
  }

  CNNLossType lossType() const { return descriptor_->lossType(); }
  CNNReductionType reductionType() const { return descriptor_->reductionType(); }
  bool reduceAcrossBatch() const { return descriptor_->reduceAcrossBatch(); }
  std::size_t numberOfClasses() const { return descriptor_->numberOfClasses(); }
  float weight() const { return scalars_.weight; }
  void setWeight(float weight) { scalars_.weight = weight; }
  float labelSmoothing() const { return scalars_.labelSmoothing; }
  void setLabelSmoothing(float labelSmoothing) { scalars_.labelSmoothing = labelSmoothing; }
  float epsilon() const { return scalars_.epsilon; }
  void setEpsilon(float epsilon) { scalars_.epsilon = epsilon; }
  float delta() const { return scalars_.delta; }
  void setDelta(float delta) { scalars_.delta = delta; }
  /// True: the derivative by the labels. Default false.
  bool computeLabelGradients() const { return labelGradients_; }
  void setComputeLabelGradients(bool computeLabelGradients) { labelGradients_ = computeLabelGradients; }
  /// False: the divisor of Mean and SumByNonZeroWeights is left out of the gradient. Default true. An extension.
  bool lossMeanInGradient() const { return meanInGradient_; }
  void setLossMeanInGradient(bool lossMeanInGradient) { meanInGradient_ = lossMeanInGradient; }

  /// weights and sourceStates may be empty.
  ImageBatch encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& sourceGradients,
                         const ImageBatch& sourceImages, const ImageBatch& labels, const ImageBatch& weights,
                         const StateBatch& sourceStates);
  void encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& sourceGradients,
                   const ImageBatch& sourceImages, const ImageBatch& labels, const ImageBatch& weights,
                   const StateBatch& sourceStates, const ImageBatch& destinationGradients);

 protected:
  void doEncode(nn::Call& call) override;
  std::size_t doDestinationChannels(const std::vector<std::size_t>& used) override;
  Ref<ImageDescriptor> doDestinationImageDescriptor(const std::vector<Ref<Image>>& sourceImages,
                                                    const std::vector<Ref<State>>& sourceStates) override;
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  void doCode(Archive& coder) override;
  const char* className() const override { return "NNLossGradient"; }

 private:
  Ref<CNNLossDescriptor> descriptor_;  // never changed
  NNLossScalars scalars_;
  bool labelGradients_ = false, meanInGradient_ = true;
  friend class Kernel;
};

/// An image of ones, as large as the source: the derivative of a value by itself, which starts back-propagation.
/// Implements MPSNNInitialGradient.
class NNInitialGradient : public CNNKernel {
 public:
  explicit NNInitialGradient(const Ref<MTL::Device>& device);
  /// As an archive holds it.
  NNInitialGradient(Archive& coder, const Ref<MTL::Device>& device) : NNInitialGradient(device) { decode(coder); }

 protected:
  void doEncode(nn::Call& call) override;
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  const char* className() const override { return "NNInitialGradient"; }
  friend class Kernel;
};

}  // namespace kovar::MPS
