#pragma once

#include <limits>
#include <optional>
#include <vector>

#include "kovar/MPS/NN/NNFilterNode.hpp"
#include "kovar/MPS/NN/Types.hpp"

namespace kovar::MPS {

class CNNArithmetic;
class CNNArithmeticGradient;

/// Joins an arithmetic stage and its two gradient stages. Implements MPSNNArithmeticGradientStateNode.
class NNArithmeticGradientStateNode final : public NNBinaryGradientStateNode {};

/// Base of the stages that combine two images; the properties are CNNArithmetic's, with the same defaults. Computes
/// nothing itself. Implements MPSNNBinaryArithmeticNode.
class NNBinaryArithmeticNode : public NNFilterNode {
 public:
  NNBinaryArithmeticNode(const Ref<NNImageNode>& leftSource, const Ref<NNImageNode>& rightSource);
  /// Throws Error unless there are two sources.
  explicit NNBinaryArithmeticNode(const std::vector<Ref<NNImageNode>>& sources);
  static Ref<NNBinaryArithmeticNode> create(const Ref<NNImageNode>& leftSource, const Ref<NNImageNode>& rightSource);
  static Ref<NNBinaryArithmeticNode> create(const std::vector<Ref<NNImageNode>>& sources);

  float primaryScale() const { return primaryScale_; }
  void setPrimaryScale(float primaryScale) { primaryScale_ = primaryScale; }
  float secondaryScale() const { return secondaryScale_; }
  void setSecondaryScale(float secondaryScale) { secondaryScale_ = secondaryScale; }
  float bias() const { return bias_; }
  void setBias(float bias) { bias_ = bias; }
  /// 1, or 0 to repeat the operand along this axis.
  std::size_t primaryStrideInPixelsX() const { return primary_.x; }
  void setPrimaryStrideInPixelsX(std::size_t primaryStrideInPixelsX) { primary_.x = primaryStrideInPixelsX; }
  std::size_t primaryStrideInPixelsY() const { return primary_.y; }
  void setPrimaryStrideInPixelsY(std::size_t primaryStrideInPixelsY) { primary_.y = primaryStrideInPixelsY; }
  std::size_t primaryStrideInFeatureChannels() const { return primary_.c; }
  void setPrimaryStrideInFeatureChannels(std::size_t primaryStrideInFeatureChannels) {
    primary_.c = primaryStrideInFeatureChannels;
  }
  std::size_t secondaryStrideInPixelsX() const { return secondary_.x; }
  void setSecondaryStrideInPixelsX(std::size_t secondaryStrideInPixelsX) { secondary_.x = secondaryStrideInPixelsX; }
  std::size_t secondaryStrideInPixelsY() const { return secondary_.y; }
  void setSecondaryStrideInPixelsY(std::size_t secondaryStrideInPixelsY) { secondary_.y = secondaryStrideInPixelsY; }
  std::size_t secondaryStrideInFeatureChannels() const { return secondary_.c; }
  void setSecondaryStrideInFeatureChannels(std::size_t secondaryStrideInFeatureChannels) {
    secondary_.c = secondaryStrideInFeatureChannels;
  }
  float minimumValue() const { return minimum_; }
  void setMinimumValue(float minimumValue) { minimum_ = minimumValue; }
  float maximumValue() const { return maximum_; }
  void setMaximumValue(float maximumValue) { maximum_ = maximumValue; }

 protected:
  struct Strides {
    std::size_t x = 1, y = 1, c = 1;
  };
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  /// A layer over `kernel` with this node's properties.
  std::unique_ptr<nn::GraphLayer> layerOf(const Ref<CNNArithmetic>& kernel) const;
  const char* className() const override { return "NNBinaryArithmeticNode"; }

  float primaryScale_ = 1, secondaryScale_ = 1, bias_ = 0;
  Strides primary_, secondary_;
  float minimum_ = -std::numeric_limits<float>::max(), maximum_ = std::numeric_limits<float>::max();
};

/// Element-wise sum. Training graphs insert it where an image has several readers. Implements MPSNNAdditionNode.
class NNAdditionNode final : public NNBinaryArithmeticNode {
 public:
  using NNBinaryArithmeticNode::NNBinaryArithmeticNode;
  static Ref<NNAdditionNode> create(const Ref<NNImageNode>& leftSource, const Ref<NNImageNode>& rightSource);
  static Ref<NNAdditionNode> create(const std::vector<Ref<NNImageNode>>& sources);

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  std::vector<Ref<NNGradientFilterNode>> doGradientFilters(const Ref<NNImageNode>& gradient) override;
  const char* className() const override { return "NNAdditionNode"; }
};

/// Left minus right. Implements MPSNNSubtractionNode.
class NNSubtractionNode final : public NNBinaryArithmeticNode {
 public:
  using NNBinaryArithmeticNode::NNBinaryArithmeticNode;
  static Ref<NNSubtractionNode> create(const Ref<NNImageNode>& leftSource, const Ref<NNImageNode>& rightSource);
  static Ref<NNSubtractionNode> create(const std::vector<Ref<NNImageNode>>& sources);

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  std::vector<Ref<NNGradientFilterNode>> doGradientFilters(const Ref<NNImageNode>& gradient) override;
  const char* className() const override { return "NNSubtractionNode"; }
};

/// Element-wise product. Implements MPSNNMultiplicationNode.
class NNMultiplicationNode final : public NNBinaryArithmeticNode {
 public:
  using NNBinaryArithmeticNode::NNBinaryArithmeticNode;
  static Ref<NNMultiplicationNode> create(const Ref<NNImageNode>& leftSource, const Ref<NNImageNode>& rightSource);
  static Ref<NNMultiplicationNode> create(const std::vector<Ref<NNImageNode>>& sources);

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  std::vector<Ref<NNGradientFilterNode>> doGradientFilters(const Ref<NNImageNode>& gradient) override;
  const char* className() const override { return "NNMultiplicationNode"; }
};

/// Left by right. Has no gradient: a training graph stops here. Implements MPSNNDivisionNode.
class NNDivisionNode final : public NNBinaryArithmeticNode {
 public:
  using NNBinaryArithmeticNode::NNBinaryArithmeticNode;
  static Ref<NNDivisionNode> create(const Ref<NNImageNode>& leftSource, const Ref<NNImageNode>& rightSource);
  static Ref<NNDivisionNode> create(const std::vector<Ref<NNImageNode>>& sources);

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  const char* className() const override { return "NNDivisionNode"; }
};

/// 1 where the comparison of left with right holds, else 0. Has no gradient: a training graph stops here. Implements
/// MPSNNComparisonNode.
class NNComparisonNode final : public NNBinaryArithmeticNode {
 public:
  using NNBinaryArithmeticNode::NNBinaryArithmeticNode;
  static Ref<NNComparisonNode> create(const Ref<NNImageNode>& leftSource, const Ref<NNImageNode>& rightSource);
  static Ref<NNComparisonNode> create(const std::vector<Ref<NNImageNode>>& sources);
  /// Equal by default.
  NNComparisonType comparisonType() const { return comparisonType_; }
  void setComparisonType(NNComparisonType comparisonType) { comparisonType_ = comparisonType; }

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  const char* className() const override { return "NNComparisonNode"; }

 private:
  NNComparisonType comparisonType_ = NNComparisonType::Equal;
};

/// Base of the backward stages of arithmetic, one per operand. Scales and limits come with the forward stage's state; a
/// scale set here replaces the state's, the other properties are for programs that read them back. `sourceImage` is the
/// operand itself for a sum or a difference, the other operand for a product. Computes nothing itself. Implements
/// MPSNNArithmeticGradientNode.
class NNArithmeticGradientNode : public NNGradientFilterNode {
 public:
  NNArithmeticGradientNode(const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
                           const Ref<NNBinaryGradientStateNode>& gradientState, bool isSecondarySourceFilter);
  /// With images and state of `forwardFilter`, an arithmetic stage. Throws Error for another one.
  NNArithmeticGradientNode(const std::vector<Ref<NNImageNode>>& gradientImages, const Ref<NNFilterNode>& forwardFilter,
                           bool isSecondarySourceFilter);
  static Ref<NNArithmeticGradientNode> create(const Ref<NNImageNode>& sourceGradient,
                                              const Ref<NNImageNode>& sourceImage,
                                              const Ref<NNBinaryGradientStateNode>& gradientState,
                                              bool isSecondarySourceFilter);

  float primaryScale() const { return primaryScale_.value_or(1.f); }
  void setPrimaryScale(float primaryScale) { primaryScale_ = primaryScale; }
  float secondaryScale() const { return secondaryScale_.value_or(1.f); }
  void setSecondaryScale(float secondaryScale) { secondaryScale_ = secondaryScale; }
  float bias() const { return bias_; }
  void setBias(float bias) { bias_ = bias; }
  std::size_t secondaryStrideInPixelsX() const { return strideX_; }
  void setSecondaryStrideInPixelsX(std::size_t secondaryStrideInPixelsX) { strideX_ = secondaryStrideInPixelsX; }
  std::size_t secondaryStrideInPixelsY() const { return strideY_; }
  void setSecondaryStrideInPixelsY(std::size_t secondaryStrideInPixelsY) { strideY_ = secondaryStrideInPixelsY; }
  std::size_t secondaryStrideInFeatureChannels() const { return strideC_; }
  void setSecondaryStrideInFeatureChannels(std::size_t secondaryStrideInFeatureChannels) {
    strideC_ = secondaryStrideInFeatureChannels;
  }
  float minimumValue() const { return minimum_; }
  void setMinimumValue(float minimumValue) { minimum_ = minimumValue; }
  float maximumValue() const { return maximum_; }
  void setMaximumValue(float maximumValue) { maximum_ = maximumValue; }
  bool isSecondarySourceFilter() const { return isSecondary_; }

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  /// A layer over `kernel` with this node's properties.
  std::unique_ptr<nn::GraphLayer> layerOf(const Ref<CNNArithmeticGradient>& kernel) const;
  const char* className() const override { return "NNArithmeticGradientNode"; }

 private:
  bool isSecondary_;
  std::optional<float> primaryScale_, secondaryScale_;
  float bias_ = 0;
  std::size_t strideX_ = 1, strideY_ = 1, strideC_ = 1;
  float minimum_ = -std::numeric_limits<float>::max(), maximum_ = std::numeric_limits<float>::max();
};

/// Graph stage of CNNAddGradient. Implements MPSNNAdditionGradientNode.
class NNAdditionGradientNode final : public NNArithmeticGradientNode {
 public:
  using NNArithmeticGradientNode::NNArithmeticGradientNode;
  static Ref<NNAdditionGradientNode> create(const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
                                            const Ref<NNBinaryGradientStateNode>& gradientState,
                                            bool isSecondarySourceFilter);

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  const char* className() const override { return "NNAdditionGradientNode"; }
};

/// Graph stage of CNNSubtractGradient. Implements MPSNNSubtractionGradientNode.
class NNSubtractionGradientNode final : public NNArithmeticGradientNode {
 public:
  using NNArithmeticGradientNode::NNArithmeticGradientNode;
  static Ref<NNSubtractionGradientNode> create(const Ref<NNImageNode>& sourceGradient,
                                               const Ref<NNImageNode>& sourceImage,
                                               const Ref<NNBinaryGradientStateNode>& gradientState,
                                               bool isSecondarySourceFilter);

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  const char* className() const override { return "NNSubtractionGradientNode"; }
};

/// Graph stage of CNNMultiplyGradient. Implements MPSNNMultiplicationGradientNode.
class NNMultiplicationGradientNode final : public NNArithmeticGradientNode {
 public:
  using NNArithmeticGradientNode::NNArithmeticGradientNode;
  static Ref<NNMultiplicationGradientNode> create(const Ref<NNImageNode>& sourceGradient,
                                                  const Ref<NNImageNode>& sourceImage,
                                                  const Ref<NNBinaryGradientStateNode>& gradientState,
                                                  bool isSecondarySourceFilter);

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  const char* className() const override { return "NNMultiplicationGradientNode"; }
};

}  // namespace kovar::MPS
