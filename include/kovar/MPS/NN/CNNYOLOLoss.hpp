#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "kovar/MPS/NN/CNNLoss.hpp"

namespace kovar::MPS {

/// The terms, scales and anchor boxes of CNNYOLOLoss. Kernels copy it. Implements MPSCNNYOLOLossDescriptor.
class CNNYOLOLossDescriptor final : public Object {
 public:
  /// One loss for each term; of its descriptor the type, weight, labelSmoothing, numberOfClasses, epsilon and delta
  /// count. xy and wh: MeanAbsoluteError, MeanSquaredError or Huber; confidence: SigmoidCrossEntropy or
  /// MeanSquaredError; classes: SoftMaxCrossEntropy or SigmoidCrossEntropy.
  Ref<CNNLossDescriptor> xyLossDescriptor() const { return xy_; }
  void setXYLossDescriptor(const Ref<CNNLossDescriptor>& xyLossDescriptor) { xy_ = xyLossDescriptor; }
  Ref<CNNLossDescriptor> whLossDescriptor() const { return wh_; }
  void setWHLossDescriptor(const Ref<CNNLossDescriptor>& whLossDescriptor) { wh_ = whLossDescriptor; }
  Ref<CNNLossDescriptor> confidenceLossDescriptor() const { return confidence_; }
  void setConfidenceLossDescriptor(const Ref<CNNLossDescriptor>& confidenceLossDescriptor) {
    confidence_ = confidenceLossDescriptor;
  }
  Ref<CNNLossDescriptor> classesLossDescriptor() const { return classes_; }
  void setClassesLossDescriptor(const Ref<CNNLossDescriptor>& classesLossDescriptor) {
    classes_ = classesLossDescriptor;
  }
  /// How the values of one image become one number, all terms alike. It never changes the gradient.
  CNNReductionType reductionType() const { return reductionType_; }
  void setReductionType(CNNReductionType reductionType) { reductionType_ = reductionType; }
  bool reduceAcrossBatch() const { return reduceAcrossBatch_; }
  void setReduceAcrossBatch(bool reduceAcrossBatch) { reduceAcrossBatch_ = reduceAcrossBatch; }
  /// True (the default): the confidence of an object's anchor should be the overlap of its box with the label's; false:
  /// 1.
  bool rescore() const { return rescore_; }
  void setRescore(bool rescore) { rescore_ = rescore; }
  /// Multiply loss and gradient of a term. Defaults 10, 10, 5 (confidence where no object is), 100 (where one is), 2.
  float scaleXY() const { return scaleXY_; }
  void setScaleXY(float scaleXY) { scaleXY_ = scaleXY; }
  float scaleWH() const { return scaleWH_; }
  void setScaleWH(float scaleWH) { scaleWH_ = scaleWH; }
  float scaleNoObject() const { return scaleNoObject_; }
  void setScaleNoObject(float scaleNoObject) { scaleNoObject_ = scaleNoObject; }
  float scaleObject() const { return scaleObject_; }
  void setScaleObject(float scaleObject) { scaleObject_ = scaleObject; }
  float scaleClass() const { return scaleClass_; }
  void setScaleClass(float scaleClass) { scaleClass_ = scaleClass; }
  /// Anchors whose size overlaps the label's box by more than this hold the object too. Default 0.7.
  float minIOUForObjectPresence() const { return minIou_; }
  void setMinIOUForObjectPresence(float minIOUForObjectPresence) { minIou_ = minIOUForObjectPresence; }
  /// Anchors that overlap by less than this hold none. Default 0.3.
  float maxIOUForObjectAbsence() const { return maxIou_; }
  void setMaxIOUForObjectAbsence(float maxIOUForObjectAbsence) { maxIou_ = maxIOUForObjectAbsence; }
  std::size_t numberOfAnchorBoxes() const { return numberOfAnchorBoxes_; }
  void setNumberOfAnchorBoxes(std::size_t numberOfAnchorBoxes) { numberOfAnchorBoxes_ = numberOfAnchorBoxes; }
  /// Pairs of floats, width and height, in cells.
  std::vector<std::byte> anchorBoxes() const { return anchorBoxes_; }
  void setAnchorBoxes(std::span<const std::byte> anchorBoxes) {
    anchorBoxes_.assign(anchorBoxes.begin(), anchorBoxes.end());
  }

  static Ref<CNNYOLOLossDescriptor> cnnLossDescriptor(CNNLossType xyLossType, CNNLossType whLossType,
                                                      CNNLossType confidenceLossType, CNNLossType classesLossType,
                                                      CNNReductionType reductionType,
                                                      std::span<const std::byte> anchorBoxes,
                                                      std::size_t numberOfAnchorBoxes);
  /// The four loss descriptors are copied too.
  Ref<CNNYOLOLossDescriptor> copy() const;

 private:
  Ref<CNNLossDescriptor> xy_, wh_, confidence_, classes_;
  CNNReductionType reductionType_ = CNNReductionType::None;
  bool reduceAcrossBatch_ = false, rescore_ = true;
  float scaleXY_ = 10.f, scaleWH_ = 10.f, scaleNoObject_ = 5.f, scaleObject_ = 100.f, scaleClass_ = 2.f;
  float minIou_ = 0.7f, maxIou_ = 0.3f;
  std::size_t numberOfAnchorBoxes_ = 0;
  std::vector<std::byte> anchorBoxes_;
};

/// Detection loss over a grid of cells with anchor boxes, and its gradient, in one kernel, used as CNNLoss is: the
/// destination receives the gradient, labels.lossImage() the loss. A pixel is a cell; the C channels are those of
/// C / numberOfAnchorBoxes for each anchor: x, y, w, h, confidence, class scores. Predictions are raw: a box is
/// sigmoid(x), sigmoid(y), exp(w) anchor width, exp(h) anchor height, in cells from the cell's corner. Labels hold the
/// box itself, a confidence of 1 where an object lies in the cell (for all its anchors), and class probabilities.
///
/// An anchor holds the object if the cell has one and the anchor's size overlaps the label's box best of all anchors
/// (up to 1e-6), or by more than minIOUForObjectPresence. Its terms are
///   scaleXY xy(sigmoid(x), label) + the same of y          scaleWH wh(w, log(label / anchor width + 1e-5)) + of h
///   scaleObject confidence(c, overlap of the boxes or 1)    scaleClass classes(scores, labels)
/// Other anchors that overlap by less than maxIOUForObjectAbsence have scaleNoObject confidence(c, 0); the rest
/// nothing. A weights image multiplies value and gradient, channel by channel. Values are reduced as CNNLoss does, over
/// all channels: Mean divides by width x height x channels. The overlap carries no gradient. Implements MPSCNNYOLOLoss.
///
/// Errors at construction: a term without descriptor or of a type that is not among those above, no anchors, fewer
/// bytes than anchors, an anchor that is not larger than 0. At encode: those of CNNLoss; channels that do not give
/// every anchor at least 6. CUDA devices refuse it when the work is planned.
class CNNYOLOLoss : public CNNKernel {
 public:
  CNNYOLOLoss(const Ref<MTL::Device>& device, const Ref<CNNYOLOLossDescriptor>& lossDescriptor);
  /// As an archive holds it.
  CNNYOLOLoss(Archive& coder, const Ref<MTL::Device>& device) : CNNKernel(device) { decode(coder); }

  /// Kernels of the four terms, for use by themselves.
  Ref<CNNLoss> lossXY() const { return xy_; }
  Ref<CNNLoss> lossWH() const { return wh_; }
  Ref<CNNLoss> lossConfidence() const { return confidence_; }
  Ref<CNNLoss> lossClasses() const { return classes_; }
  float scaleXY() const { return descriptor_->scaleXY(); }
  float scaleWH() const { return descriptor_->scaleWH(); }
  float scaleNoObject() const { return descriptor_->scaleNoObject(); }
  float scaleObject() const { return descriptor_->scaleObject(); }
  float scaleClass() const { return descriptor_->scaleClass(); }
  float minIOUForObjectPresence() const { return descriptor_->minIOUForObjectPresence(); }
  float maxIOUForObjectAbsence() const { return descriptor_->maxIOUForObjectAbsence(); }
  CNNReductionType reductionType() const { return descriptor_->reductionType(); }
  std::size_t numberOfAnchorBoxes() const { return descriptor_->numberOfAnchorBoxes(); }
  std::vector<std::byte> anchorBoxes() const { return descriptor_->anchorBoxes(); }
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
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override;
  void doCode(Archive& coder) override;
  const char* className() const override { return "CNNYOLOLoss"; }

 private:
  Ref<CNNYOLOLossDescriptor> descriptor_;  // never changed
  Ref<CNNLoss> xy_, wh_, confidence_, classes_;
  std::shared_ptr<const nn::KeptFloats> anchorsOnDevice_;
  friend class Kernel;
};

}  // namespace kovar::MPS
