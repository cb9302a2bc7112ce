#pragma once

#include "kovar/MPS/NN/CNNLoss.hpp"
#include "kovar/MPS/NN/NNFilterNode.hpp"

namespace kovar::MPS {

/// Gives a loss stage its weight before each encode. Implements MPSNNLossCallback.
class NNLossCallback {
 public:
  virtual ~NNLossCallback() = default;
  /// Replaces the weight of the loss. The images are the first of the batch.
  virtual float scalarWeight(const Ref<Image>& sourceImage, const Ref<Image>& destinationImage) = 0;
};

/// Graph stage of NNLossGradient. Its sources are the incoming gradient, predictions, labels and, where given, weights.
/// Implements MPSNNLossGradientNode.
class NNLossGradientNode : public NNGradientFilterNode {
 public:
  /// weights may be null.
  NNLossGradientNode(const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
                     const Ref<NNImageNode>& labels, const Ref<NNImageNode>& weights,
                     const Ref<NNGradientStateNode>& gradientState, const Ref<CNNLossDescriptor>& lossDescriptor,
                     bool isLabelsGradientFilter);
  NNLossGradientNode(const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
                     const Ref<NNImageNode>& labels, const Ref<NNGradientStateNode>& gradientState,
                     const Ref<CNNLossDescriptor>& lossDescriptor, bool isLabelsGradientFilter);
  /// Three sources, or four with weights.
  NNLossGradientNode(const std::vector<Ref<NNImageNode>>& sources, const Ref<NNGradientStateNode>& gradientState,
                     const Ref<CNNLossDescriptor>& lossDescriptor, bool isLabelsGradientFilter);
  static Ref<NNLossGradientNode> create(const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
                                        const Ref<NNImageNode>& labels, const Ref<NNImageNode>& weights,
                                        const Ref<NNGradientStateNode>& gradientState,
                                        const Ref<CNNLossDescriptor>& lossDescriptor, bool isLabelsGradientFilter);
  static Ref<NNLossGradientNode> create(const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
                                        const Ref<NNImageNode>& labels, const Ref<NNGradientStateNode>& gradientState,
                                        const Ref<CNNLossDescriptor>& lossDescriptor, bool isLabelsGradientFilter);
  static Ref<NNLossGradientNode> create(const std::vector<Ref<NNImageNode>>& sources,
                                        const Ref<NNGradientStateNode>& gradientState,
                                        const Ref<CNNLossDescriptor>& lossDescriptor, bool isLabelsGradientFilter);

  CNNLossType lossType() const { return descriptor_->lossType(); }
  CNNReductionType reductionType() const { return descriptor_->reductionType(); }
  std::size_t numberOfClasses() const { return descriptor_->numberOfClasses(); }
  bool reduceAcrossBatch() const { return descriptor_->reduceAcrossBatch(); }
  float weight() const { return descriptor_->weight(); }
  float labelSmoothing() const { return descriptor_->labelSmoothing(); }
  float epsilon() const { return descriptor_->epsilon(); }
  float delta() const { return descriptor_->delta(); }
  /// True: the result is the gradient of the labels.
  bool isLabelsGradientFilter() const { return byLabels_; }
  /// Null by default: the weight is the descriptor's. Given, it is asked before each encode; a state of the forward
  /// stage goes before its answer.
  Ref<NNLossCallback> propertyCallBack() const { return callback_; }
  void setPropertyCallBack(const Ref<NNLossCallback>& propertyCallBack) { callback_ = propertyCallBack; }

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  const char* className() const override { return "NNLossGradientNode"; }

 private:
  Ref<CNNLossDescriptor> descriptor_;
  bool byLabels_;
  Ref<NNLossCallback> callback_;
};

/// Graph stage of NNForwardLoss. Its sources are predictions, labels and, where given, weights; all are images of the
/// graph. Its gradient nodes are that of the predictions and that of the labels: set stopGradient on the labels' node
/// where they are data. Implements MPSNNForwardLossNode.
class NNForwardLossNode : public NNFilterNode {
 public:
  /// weights may be null.
  NNForwardLossNode(const Ref<NNImageNode>& source, const Ref<NNImageNode>& labels, const Ref<NNImageNode>& weights,
                    const Ref<CNNLossDescriptor>& lossDescriptor);
  NNForwardLossNode(const Ref<NNImageNode>& source, const Ref<NNImageNode>& labels,
                    const Ref<CNNLossDescriptor>& lossDescriptor);
  /// Two sources, or three with weights.
  NNForwardLossNode(const std::vector<Ref<NNImageNode>>& sources, const Ref<CNNLossDescriptor>& lossDescriptor);
  static Ref<NNForwardLossNode> create(const Ref<NNImageNode>& source, const Ref<NNImageNode>& labels,
                                       const Ref<NNImageNode>& weights, const Ref<CNNLossDescriptor>& lossDescriptor);
  static Ref<NNForwardLossNode> create(const Ref<NNImageNode>& source, const Ref<NNImageNode>& labels,
                                       const Ref<CNNLossDescriptor>& lossDescriptor);
  static Ref<NNForwardLossNode> create(const std::vector<Ref<NNImageNode>>& sources,
                                       const Ref<CNNLossDescriptor>& lossDescriptor);

  CNNLossType lossType() const { return descriptor_->lossType(); }
  CNNReductionType reductionType() const { return descriptor_->reductionType(); }
  std::size_t numberOfClasses() const { return descriptor_->numberOfClasses(); }
  bool reduceAcrossBatch() const { return descriptor_->reduceAcrossBatch(); }
  float weight() const { return descriptor_->weight(); }
  float labelSmoothing() const { return descriptor_->labelSmoothing(); }
  float epsilon() const { return descriptor_->epsilon(); }
  float delta() const { return descriptor_->delta(); }
  /// Null by default: the weight is the descriptor's. Given, it is asked before each encode; gradient nodes take it
  /// over.
  Ref<NNLossCallback> propertyCallBack() const { return callback_; }
  void setPropertyCallBack(const Ref<NNLossCallback>& propertyCallBack) { callback_ = propertyCallBack; }

  /// That of the predictions.
  Ref<NNLossGradientNode> gradientFilter(const std::vector<Ref<NNImageNode>>& sources);
  Ref<NNLossGradientNode> gradientFilter(const Ref<NNImageNode>& source);
  /// That of the predictions and that of the labels.
  std::vector<Ref<NNLossGradientNode>> gradientFilters(const std::vector<Ref<NNImageNode>>& sources);
  std::vector<Ref<NNLossGradientNode>> gradientFilters(const Ref<NNImageNode>& source);

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  std::vector<Ref<NNGradientFilterNode>> doGradientFilters(const Ref<NNImageNode>& gradient) override;
  const char* className() const override { return "NNForwardLossNode"; }

 private:
  Ref<CNNLossDescriptor> descriptor_;
  Ref<NNLossCallback> callback_;
};

/// Graph stage of NNInitialGradient: starts a training graph after the last stage. Implements MPSNNInitialGradientNode.
class NNInitialGradientNode : public NNFilterNode {
 public:
  explicit NNInitialGradientNode(const Ref<NNImageNode>& source);
  static Ref<NNInitialGradientNode> create(const Ref<NNImageNode>& source);

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  bool doIsItsOwnGradient() const override { return true; }
  const char* className() const override { return "NNInitialGradientNode"; }
};

}  // namespace kovar::MPS
