#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kovar/MPS/Core/Handle.hpp"
#include "kovar/MPS/Core/Image.hpp"
#include "kovar/MPS/Core/Padding.hpp"
#include "kovar/MPS/Core/State.hpp"

namespace kovar::nn {
class GraphLayer;
struct NodeAccess;
}  // namespace kovar::nn

namespace kovar::MPS {

class NNFilterNode;
class NNGradientFilterNode;

/// Stands for an image in a graph: one given to encode (made by the user with a handle) or the result of a filter node.
/// Implements MPSNNImageNode.
class NNImageNode : public Object {
 public:
  explicit NNImageNode(const Ref<Handle>& handle) : handle_(handle) {}
  static Ref<NNImageNode> create(const Ref<Handle>& handle) { return std::make_shared<NNImageNode>(handle); }
  /// With exportFromGraph set.
  static Ref<NNImageNode> createExported(const Ref<Handle>& handle);

  /// The caller's tag, or null.
  Ref<Handle> handle() const { return handle_; }
  void setHandle(const Ref<Handle>& handle) { handle_ = handle; }
  /// Format of the image; None takes the graph's. A filter node made from this image passes a format that is set on.
  ImageFeatureChannelFormat format() const { return format_; }
  void setFormat(ImageFeatureChannelFormat format) { format_ = format; }
  /// Makes the image; temporary by default. The graph's own allocator makes its first result.
  Ref<ImageAllocator> imageAllocator() const { return allocator_; }
  void setImageAllocator(const Ref<ImageAllocator>& imageAllocator) { allocator_ = imageAllocator; }
  /// The graph hands the image out among its intermediate images.
  bool exportFromGraph() const { return exported_; }
  void setExportFromGraph(bool exportFromGraph) { exported_ = exportFromGraph; }
  /// The graph makes the image readable by the host.
  bool synchronizeResource() const { return synchronized_; }
  void setSynchronizeResource(bool synchronizeResource) { synchronized_ = synchronizeResource; }
  /// Building a training graph does not go on beyond this image.
  bool stopGradient() const { return stopGradient_; }
  void setStopGradient(bool stopGradient) { stopGradient_ = stopGradient; }

 private:
  Ref<Handle> handle_;
  ImageFeatureChannelFormat format_ = ImageFeatureChannelFormat::None;
  Ref<ImageAllocator> allocator_ = TemporaryImage::defaultAllocator();
  bool exported_ = false, synchronized_ = false, stopGradient_ = false;
  NNFilterNode* producer_ = nullptr;  // the node that this one lives inside, if any
  friend class NNFilterNode;
  friend struct nn::NodeAccess;
};

/// Stands for a state in a graph. Implements MPSNNStateNode.
class NNStateNode : public Object {
 public:
  NNStateNode() = default;
  Ref<Handle> handle() const { return handle_; }
  void setHandle(const Ref<Handle>& handle) { handle_ = handle; }
  bool exportFromGraph() const { return exported_; }
  void setExportFromGraph(bool exportFromGraph) { exported_ = exportFromGraph; }
  bool synchronizeResource() const { return synchronized_; }
  void setSynchronizeResource(bool synchronizeResource) { synchronized_ = synchronizeResource; }

 private:
  Ref<Handle> handle_;
  bool exported_ = false, synchronized_ = false;
  NNFilterNode* producer_ = nullptr;
  friend class NNFilterNode;
  friend struct nn::NodeAccess;
};

/// The states that join a filter node and its gradient node. Implement MPSNNGradientStateNode and its kin.
class NNGradientStateNode : public NNStateNode {};
class NNBinaryGradientStateNode : public NNStateNode {};
class NNMultiaryGradientStateNode : public NNStateNode {};

/// Called for each gradient node that trainingGraph makes. inferenceNode is null for additions that the graph inserts
/// where an image has several readers. The handler may set formats, allocators, handles, training styles, padding
/// policies, or stop a branch with stopGradient. Implements MPSGradientNodeBlock.
using GradientNodeBlock =
    std::function<void(const Ref<NNFilterNode>& gradientNode, const Ref<NNFilterNode>& inferenceNode,
                       const Ref<NNImageNode>& inferenceSource, const Ref<NNImageNode>& gradientSource)>;

/// One stage of a graph: reads image nodes, makes one. Nodes only describe; NNGraph makes the kernels. A node keeps the
/// nodes before it alive; its result lives inside it, and holding the result keeps the node. Implements
/// MPSNNFilterNode.
class NNFilterNode : public Object {
 public:
  ~NNFilterNode() override;
  Ref<NNImageNode> resultImage() const;
  /// The first result state, or null.
  Ref<NNStateNode> resultState() const;
  std::vector<Ref<NNStateNode>> resultStates() const;
  Ref<NNPadding> paddingPolicy() const { return padding_; }
  void setPaddingPolicy(const Ref<NNPadding>& paddingPolicy) { padding_ = paddingPolicy; }
  std::string label() const { return label_; }
  void setLabel(std::string_view label) { label_ = label; }

  /// The gradient node of a filter with one source, given the gradient of its result. Throws Error for classes without
  /// one.
  Ref<NNGradientFilterNode> gradientFilter(const Ref<NNImageNode>& source);
  Ref<NNGradientFilterNode> gradientFilter(const std::vector<Ref<NNImageNode>>& sources);
  /// One gradient node per source.
  std::vector<Ref<NNGradientFilterNode>> gradientFilters(const std::vector<Ref<NNImageNode>>& sources);
  std::vector<Ref<NNGradientFilterNode>> gradientFilters(const Ref<NNImageNode>& source);
  /// Makes gradient nodes for everything before this node, in reverse; returns those whose results nobody reads: the
  /// gradients of the graph's sources. sourceGradient: gradient of this node's result (null: the result itself, as
  /// after a loss node). Empty when there is nothing to make.
  std::vector<Ref<NNFilterNode>> trainingGraph(const Ref<NNImageNode>& sourceGradient, GradientNodeBlock nodeHandler);

 protected:
  NNFilterNode(std::vector<Ref<NNImageNode>> sources, std::vector<Ref<NNStateNode>> sourceStates);
  /// The kernel and what the graph must know to run it.
  virtual std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) = 0;
  virtual std::vector<Ref<NNGradientFilterNode>> doGradientFilters(const Ref<NNImageNode>& gradient);
  /// True for loss and initial-gradient nodes, whose result is a gradient already.
  virtual bool doIsItsOwnGradient() const { return false; }
  virtual const char* className() const = 0;
  /// Called by constructors of nodes that have result states.
  void addResultState(std::unique_ptr<NNStateNode> state);
  std::string described() const;

  std::vector<Ref<NNImageNode>> sources_;
  std::vector<Ref<NNStateNode>> sourceStates_;
  Ref<NNPadding> padding_;  // null: the kernel's own default
  std::string label_;

 private:
  NNImageNode result_{nullptr};
  std::vector<std::unique_ptr<NNStateNode>> resultStates_;
  friend struct nn::NodeAccess;
};

/// Base of the backward stages. Implements MPSNNGradientFilterNode.
class NNGradientFilterNode : public NNFilterNode {
 protected:
  using NNFilterNode::NNFilterNode;
};

/// A stage with weights. trainingStyle says who updates them; a gradient node takes it from its forward node.
/// Implements MPSNNTrainableNode.
class NNTrainableNode {
 public:
  virtual ~NNTrainableNode() = default;
  virtual NNTrainingStyle trainingStyle() const { return trainingStyle_; }
  void setTrainingStyle(NNTrainingStyle trainingStyle) { trainingStyle_ = trainingStyle; }

 protected:
  NNTrainingStyle trainingStyle_ = NNTrainingStyle::UpdateDeviceGPU;
};

}  // namespace kovar::MPS
