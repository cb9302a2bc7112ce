#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "kovar/MPS/NN/CNNKernel.hpp"

namespace kovar::nn {
struct LabelAccess;
}

namespace kovar::MPS {

/// Which loss, how its value is reduced, and its constants. Kernels copy it. Implements MPSCNNLossDescriptor.
class CNNLossDescriptor final : public Object {
 public:
  CNNLossType lossType() const { return lossType_; }
  void setLossType(CNNLossType lossType) { lossType_ = lossType; }
  /// How the values of one image become one number. It never changes the gradient that CNNLoss writes.
  CNNReductionType reductionType() const { return reductionType_; }
  void setReductionType(CNNReductionType reductionType) { reductionType_ = reductionType; }
  /// True, with a reduction: the values of all images go to the first image's loss, the others become 0; Mean divides
  /// by the images too.
  bool reduceAcrossBatch() const { return reduceAcrossBatch_; }
  void setReduceAcrossBatch(bool reduceAcrossBatch) { reduceAcrossBatch_ = reduceAcrossBatch; }
  /// Multiplies every value and gradient, on top of a weights image. Default 1.
  float weight() const { return weight_; }
  void setWeight(float weight) { weight_ = weight; }
  /// s of t(1-s) + s/classes, for the two cross entropies with logits (sigmoid: 2 classes). Default 0.
  float labelSmoothing() const { return labelSmoothing_; }
  void setLabelSmoothing(float labelSmoothing) { labelSmoothing_ = labelSmoothing; }
  /// For the smoothing of SoftMaxCrossEntropy alone; it does not follow from the images. Default 1.
  std::size_t numberOfClasses() const { return numberOfClasses_; }
  void setNumberOfClasses(std::size_t numberOfClasses) { numberOfClasses_ = numberOfClasses; }
  /// Added inside the logarithms of Log. Default 1e-7.
  float epsilon() const { return epsilon_; }
  void setEpsilon(float epsilon) { epsilon_ = epsilon; }
  /// Where Huber turns from a parabola into a line. Default 1.
  float delta() const { return delta_; }
  void setDelta(float delta) { delta_ = delta; }

  static Ref<CNNLossDescriptor> cnnLossDescriptor(CNNLossType type, CNNReductionType reductionType);
  Ref<CNNLossDescriptor> copy() const;

 private:
  CNNLossType lossType_ = CNNLossType::MeanSquaredError;
  CNNReductionType reductionType_ = CNNReductionType::None;
  bool reduceAcrossBatch_ = false;
  float weight_ = 1.f, labelSmoothing_ = 0.f;
  std::size_t numberOfClasses_ = 1;
  float epsilon_ = 1e-7f, delta_ = 1.f;
};

/// Float32 labels or weights in the caller's layout; holds a copy of the bytes. Implements MPSCNNLossDataDescriptor.
class CNNLossDataDescriptor final : public Object {
 public:
  DataLayout layout() const { return layout_; }
  /// Width, height and feature channels (as depth).
  MTL::Size size() const { return size_; }
  /// From one row of pixels (channels-first: of one plane) to the next. Default: dense.
  std::size_t bytesPerRow() const { return bytesPerRow_; }
  void setBytesPerRow(std::size_t bytesPerRow) { bytesPerRow_ = bytesPerRow; }
  /// Channels-first: from one plane to the next. Channels-last: bytes of the whole image. Default: dense.
  std::size_t bytesPerImage() const { return bytesPerImage_; }
  void setBytesPerImage(std::size_t bytesPerImage) { bytesPerImage_ = bytesPerImage; }

  /// Throws Error when a side of `size` is 0 or `data` is shorter than a dense array of that size.
  static Ref<CNNLossDataDescriptor> cnnLossDataDescriptor(std::span<const std::byte> data, DataLayout layout,
                                                          MTL::Size size);
  Ref<CNNLossDataDescriptor> copy() const;
  /// The values as a dense array, channels last. Throws Error when the distances set do not fit the data.
  std::vector<float> denseValues() const;

 private:
  std::vector<std::byte> data_;
  DataLayout layout_ = DataLayout::HeightxWidthxFeatureChannels;
  MTL::Size size_;
  std::size_t bytesPerRow_ = 0, bytesPerImage_ = 0;
};

/// Labels, and weights where wanted, of one image, and the image that receives its loss. Implements MPSCNNLossLabels.
///
/// Labels may be larger than the prediction in every direction: only the part the prediction covers is read. The same
/// holds for weights, whose sides of 1 also stretch over the prediction. Labels and weights are read when the work
/// runs: writing to labelsImage() or its texture() between steps changes the next step.
///
/// Errors: null descriptors or images, temporary images, images of several images or another device, a loss image of no
/// size.
class CNNLossLabels final : public State {
 public:
  /// The loss is one number.
  CNNLossLabels(const Ref<MTL::Device>& device, const Ref<CNNLossDataDescriptor>& labelsDescriptor);
  /// lossImageSize {1, 1, 1}: the loss is one number; as large as the prediction (width, height, channels as depth):
  /// one value per element, not reduced. weightsDescriptor may be null.
  CNNLossLabels(const Ref<MTL::Device>& device, MTL::Size lossImageSize,
                const Ref<CNNLossDataDescriptor>& labelsDescriptor,
                const Ref<CNNLossDataDescriptor>& weightsDescriptor);
  /// Over images, which are used themselves, not copied. weightsImage may be null.
  CNNLossLabels(const Ref<MTL::Device>& device, MTL::Size lossImageSize, const Ref<Image>& labelsImage,
                const Ref<Image>& weightsImage);

  /// Float32; written by CNNLoss.
  Ref<Image> lossImage() { return lossImage_; }
  Ref<Image> labelsImage() { return labelsImage_; }
  /// One pixel of 1 where no weights were given.
  Ref<Image> weightsImage() { return weightsImage_; }

 protected:
  const char* className() const override { return "CNNLossLabels"; }

 private:
  CNNLossLabels(const Ref<MTL::Device>& device, Ref<Image> lossImage, const Ref<Image>& labelsImage,
                const Ref<Image>& weightsImage);

  Ref<Image> lossImage_, labelsImage_, weightsImage_;
  bool hasWeights_ = false;
  friend struct nn::LabelAccess;
  friend struct nn::Access;
};
using CNNLossLabelsBatch = Batch<CNNLossLabels>;

/// Loss and its gradient in one kernel. The source holds predictions y, the labels t. The DESTINATION receives the
/// gradient weight * w * dl/dy of every element, never divided by a reduction; labels.lossImage() receives the loss.
/// With w the weights image (or 1):
///   MeanAbsoluteError |y-t| (gradient 0 at 0)         MeanSquaredError (y-t)^2
///   SoftMaxCrossEntropy -t log softmax(y) over the channels of a pixel, gradient softmax(y) - t
///   SigmoidCrossEntropy max(y,0) - y t + log(1 + exp(-|y|))      CategoricalCrossEntropy -t log(y)
///   Hinge max(1 - (2t-1) y, 0)     Huber e^2/2 up to delta, then a line, e = y-t
///   CosineDistance 1 - sum of y t over the image      Log -t log(y+epsilon) - (1-t) log(1-y+epsilon)
///   KullbackLeiblerDivergence t (log t - y), y being log-probabilities
/// Reduction to one number: None counts as Sum; Mean divides by the elements (SoftMaxCrossEntropy: by the pixels);
/// SumByNonZeroWeights by the elements (pixels) whose weight is not 0. Only elements inside clipRect count.
/// Implements MPSCNNLoss.
///
/// Errors at construction: an unknown loss or reduction; CosineDistance with another reduction than Sum. At encode:
/// labels smaller than the prediction, a loss image of another size, a region that reaches outside the source;
/// CosineDistance with a weights image.
class CNNLoss : public CNNKernel {
 public:
  CNNLoss(const Ref<MTL::Device>& device, const Ref<CNNLossDescriptor>& lossDescriptor);
  /// As an archive holds it.
  CNNLoss(Archive& coder, const Ref<MTL::Device>& device) : CNNKernel(device) { decode(coder); }

  CNNLossType lossType() const { return descriptor_->lossType(); }
  CNNReductionType reductionType() const { return descriptor_->reductionType(); }
  float weight() const { return descriptor_->weight(); }
  float labelSmoothing() const { return descriptor_->labelSmoothing(); }
  std::size_t numberOfClasses() const { return descriptor_->numberOfClasses(); }
  float epsilon() const { return descriptor_->epsilon(); }
  float delta() const { return descriptor_->delta(); }
  bool reduceAcrossBatch() const { return descriptor_->reduceAcrossBatch(); }

  void encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Image>& sourceImage,
              const Ref<CNNLossLabels>& labels, const Ref<Image>& destinationImage);
  /// Into a new image of the source's size.
  Ref<Image> encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Image>& sourceImage,
                    const Ref<CNNLossLabels>& labels);
  /// One CNNLossLabels for each image.
  void encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& sourceImages,
                   const CNNLossLabelsBatch& labels, const ImageBatch& destinationImages);
  ImageBatch encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& sourceImages,
                         const CNNLossLabelsBatch& labels);

 protected:
  void doEncode(nn::Call& call) override;
  bool doAppendBatchBarrier() override { return reduceAcrossBatch(); }
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  void doCode(Archive& coder) override;
  const char* className() const override { return "CNNLoss"; }

 private:
  Ref<CNNLossDescriptor> descriptor_;  // never changed
  friend class Kernel;
};

}  // namespace kovar::MPS
