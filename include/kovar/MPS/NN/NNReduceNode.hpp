#pragma once

#include "kovar/MPS/NN/NNFilterNode.hpp"

namespace kovar::MPS {

/// Base of the stages that reduce one image; see the kernel of the same name. They have no gradient but the spatial
/// mean: trainingGraph stops at the others. Implements MPSNNUnaryReductionNode.
class NNUnaryReductionNode : public NNFilterNode {
 public:
  explicit NNUnaryReductionNode(const Ref<NNImageNode>& source);
  static Ref<NNUnaryReductionNode> create(const Ref<NNImageNode>& source);
  /// The part of the source that is reduced; all of it by default.
  MTL::Region clipRectSource() const { return clipRectSource_; }
  void setClipRectSource(MTL::Region clipRectSource) { clipRectSource_ = clipRectSource; }

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  const char* className() const override { return "NNUnaryReductionNode"; }

  MTL::Region clipRectSource_ = RectNoClip;
};

/// Implements MPSNNReductionRowMinNode.
class NNReductionRowMinNode : public NNUnaryReductionNode {
 public:
  using NNUnaryReductionNode::NNUnaryReductionNode;
  static Ref<NNReductionRowMinNode> create(const Ref<NNImageNode>& source);

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  const char* className() const override { return "NNReductionRowMinNode"; }
};

/// Implements MPSNNReductionColumnMinNode.
class NNReductionColumnMinNode : public NNUnaryReductionNode {
 public:
  using NNUnaryReductionNode::NNUnaryReductionNode;
  static Ref<NNReductionColumnMinNode> create(const Ref<NNImageNode>& source);

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  const char* className() const override { return "NNReductionColumnMinNode"; }
};

/// Implements MPSNNReductionFeatureChannelsMinNode.
class NNReductionFeatureChannelsMinNode : public NNUnaryReductionNode {
 public:
  using NNUnaryReductionNode::NNUnaryReductionNode;
  static Ref<NNReductionFeatureChannelsMinNode> create(const Ref<NNImageNode>& source);

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  const char* className() const override { return "NNReductionFeatureChannelsMinNode"; }
};

/// Implements MPSNNReductionFeatureChannelsArgumentMinNode.
class NNReductionFeatureChannelsArgumentMinNode : public NNUnaryReductionNode {
 public:
  using NNUnaryReductionNode::NNUnaryReductionNode;
  static Ref<NNReductionFeatureChannelsArgumentMinNode> create(const Ref<NNImageNode>& source);

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  const char* className() const override { return "NNReductionFeatureChannelsArgumentMinNode"; }
};

/// Implements MPSNNReductionRowMaxNode.
class NNReductionRowMaxNode : public NNUnaryReductionNode {
 public:
  using NNUnaryReductionNode::NNUnaryReductionNode;
  static Ref<NNReductionRowMaxNode> create(const Ref<NNImageNode>& source);

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  const char* className() const override { return "NNReductionRowMaxNode"; }
};

/// Implements MPSNNReductionColumnMaxNode.
class NNReductionColumnMaxNode : public NNUnaryReductionNode {
 public:
  using NNUnaryReductionNode::NNUnaryReductionNode;
  static Ref<NNReductionColumnMaxNode> create(const Ref<NNImageNode>& source);

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  const char* className() const override { return "NNReductionColumnMaxNode"; }
};

/// Implements MPSNNReductionFeatureChannelsMaxNode.
class NNReductionFeatureChannelsMaxNode : public NNUnaryReductionNode {
 public:
  using NNUnaryReductionNode::NNUnaryReductionNode;
  static Ref<NNReductionFeatureChannelsMaxNode> create(const Ref<NNImageNode>& source);

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  const char* className() const override { return "NNReductionFeatureChannelsMaxNode"; }
};

/// Implements MPSNNReductionFeatureChannelsArgumentMaxNode.
class NNReductionFeatureChannelsArgumentMaxNode : public NNUnaryReductionNode {
 public:
  using NNUnaryReductionNode::NNUnaryReductionNode;
  static Ref<NNReductionFeatureChannelsArgumentMaxNode> create(const Ref<NNImageNode>& source);

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  const char* className() const override { return "NNReductionFeatureChannelsArgumentMaxNode"; }
};

/// Implements MPSNNReductionRowMeanNode.
class NNReductionRowMeanNode : public NNUnaryReductionNode {
 public:
  using NNUnaryReductionNode::NNUnaryReductionNode;
  static Ref<NNReductionRowMeanNode> create(const Ref<NNImageNode>& source);

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  const char* className() const override { return "NNReductionRowMeanNode"; }
};

/// Implements MPSNNReductionColumnMeanNode.
class NNReductionColumnMeanNode : public NNUnaryReductionNode {
 public:
  using NNUnaryReductionNode::NNUnaryReductionNode;
  static Ref<NNReductionColumnMeanNode> create(const Ref<NNImageNode>& source);

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  const char* className() const override { return "NNReductionColumnMeanNode"; }
};

/// Implements MPSNNReductionFeatureChannelsMeanNode.
class NNReductionFeatureChannelsMeanNode : public NNUnaryReductionNode {
 public:
  using NNUnaryReductionNode::NNUnaryReductionNode;
  static Ref<NNReductionFeatureChannelsMeanNode> create(const Ref<NNImageNode>& source);

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  const char* className() const override { return "NNReductionFeatureChannelsMeanNode"; }
};

/// Implements MPSNNReductionRowSumNode.
class NNReductionRowSumNode : public NNUnaryReductionNode {
 public:
  using NNUnaryReductionNode::NNUnaryReductionNode;
  static Ref<NNReductionRowSumNode> create(const Ref<NNImageNode>& source);

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  const char* className() const override { return "NNReductionRowSumNode"; }
};

/// Implements MPSNNReductionColumnSumNode.
class NNReductionColumnSumNode : public NNUnaryReductionNode {
 public:
  using NNUnaryReductionNode::NNUnaryReductionNode;
  static Ref<NNReductionColumnSumNode> create(const Ref<NNImageNode>& source);

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  const char* className() const override { return "NNReductionColumnSumNode"; }
};

/// Implements MPSNNReductionFeatureChannelsSumNode.
class NNReductionFeatureChannelsSumNode : public NNUnaryReductionNode {
 public:
  using NNUnaryReductionNode::NNUnaryReductionNode;
  static Ref<NNReductionFeatureChannelsSumNode> create(const Ref<NNImageNode>& source);
  /// Multiplies the sum; 1 by default.
  float weight() const { return weight_; }
  void setWeight(float weight) { weight_ = weight; }

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  const char* className() const override { return "NNReductionFeatureChannelsSumNode"; }

 private:
  float weight_ = 1.f;
};

/// The mean of all pixels of each channel: the result is 1 x 1 x C. Implements MPSNNReductionSpatialMeanNode.
class NNReductionSpatialMeanNode : public NNUnaryReductionNode {
 public:
  explicit NNReductionSpatialMeanNode(const Ref<NNImageNode>& source);
  static Ref<NNReductionSpatialMeanNode> create(const Ref<NNImageNode>& source);

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  std::vector<Ref<NNGradientFilterNode>> doGradientFilters(const Ref<NNImageNode>& gradient) override;
  const char* className() const override { return "NNReductionSpatialMeanNode"; }
};

/// Each pixel of the part takes the gradient over the number of its pixels. Implements
/// MPSNNReductionSpatialMeanGradientNode.
class NNReductionSpatialMeanGradientNode : public NNGradientFilterNode {
 public:
  NNReductionSpatialMeanGradientNode(const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
                                     const Ref<NNGradientStateNode>& gradientState);
  static Ref<NNReductionSpatialMeanGradientNode> create(const Ref<NNImageNode>& sourceGradient,
                                                        const Ref<NNImageNode>& sourceImage,
                                                        const Ref<NNGradientStateNode>& gradientState);

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  const char* className() const override { return "NNReductionSpatialMeanGradientNode"; }
};

}  // namespace kovar::MPS
