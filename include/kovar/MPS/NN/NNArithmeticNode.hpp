#pragma once

#include <limits>
#include <vector>

#include "kovar/MPS/NN/NNFilterNode.hpp"

namespace kovar::MPS {

/// Base of the stages that combine two images; the properties are CNNArithmetic's. Implements
/// MPSNNBinaryArithmeticNode.
class NNBinaryArithmeticNode : public NNFilterNode {
 public:
  float primaryScale() const { return primaryScale_; }
  void setPrimaryScale(float primaryScale) { primaryScale_ = primaryScale; }
  float secondaryScale() const { return secondaryScale_; }
  void setSecondaryScale(float secondaryScale) { secondaryScale_ = secondaryScale; }
  float bias() const { return bias_; }
  void setBias(float bias) { bias_ = bias; }
  float minimumValue() const { return minimum_; }
  void setMinimumValue(float minimumValue) { minimum_ = minimumValue; }
  float maximumValue() const { return maximum_; }
  void setMaximumValue(float maximumValue) { maximum_ = maximumValue; }

 protected:
  NNBinaryArithmeticNode(const Ref<NNImageNode>& leftSource, const Ref<NNImageNode>& rightSource)
      : NNFilterNode({leftSource, rightSource}, {}) {}

  float primaryScale_ = 1, secondaryScale_ = 1, bias_ = 0;
  float minimum_ = -std::numeric_limits<float>::max(), maximum_ = std::numeric_limits<float>::max();
};

/// Element-wise sum. Training graphs insert it where an image has several readers. Implements MPSNNAdditionNode.
class NNAdditionNode final : public NNBinaryArithmeticNode {
 public:
  NNAdditionNode(const Ref<NNImageNode>& leftSource, const Ref<NNImageNode>& rightSource);
  explicit NNAdditionNode(const std::vector<Ref<NNImageNode>>& sources);
  static Ref<NNAdditionNode> create(const Ref<NNImageNode>& leftSource, const Ref<NNImageNode>& rightSource) {
    return std::make_shared<NNAdditionNode>(leftSource, rightSource);
  }
  static Ref<NNAdditionNode> create(const std::vector<Ref<NNImageNode>>& sources) {
    return std::make_shared<NNAdditionNode>(sources);
  }

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  const char* className() const override { return "NNAdditionNode"; }
};

}  // namespace kovar::MPS
