#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "kovar/Error.hpp"
#include "kovar/MPS/Core/Kernel.hpp"
#include "kovar/MPS/NN/NNFilterNode.hpp"

namespace kovar::nn {
class GraphPlan;
struct GraphAccess;
}  // namespace kovar::nn
namespace kovar::MTL {
class CommandQueue;
}

namespace kovar::MPS {

/// Called when executeAsync's work has run: the result, or null and what went wrong.
using NNGraphCompletionHandler =
    std::function<void(const Ref<Image>& result, const std::shared_ptr<const Error>& error)>;

/// Runs everything that result nodes depend on. Made once from filter nodes: their kernels are built and data sources
/// loaded now. Encoded any number of times, for any source sizes. Sources are given in the order of sourceImageHandles
/// and sourceStateHandles: that in which the filters first read them. A training graph updates the weights of trainable
/// nodes: with the GPU style each data source's update hook is called during encode, right after that layer's gradient;
/// with the CPU style when the command buffer has completed. What the nodes say is copied: later changes to them do not
/// reach the graph. Implements MPSNNGraph.
///
/// A copy runs on its own: each kernel is copied as its copy() does, on the same device with the weights in use, on
/// another one with those of the data sources' copies; kernels that shared weights share the copy's. Handles,
/// allocators and callbacks are shared. encodeWithCoder writes graphs that train nothing; those with trainable nodes,
/// callbacks or allocators of the caller's own are refused.
///
/// Errors: a null node, a data source that does not load, sources that do not match in number or batch size.
class NNGraph : public Kernel {
 public:
  /// resultImageIsNeeded false: the last image is not made available; the graph runs for its side effects.
  NNGraph(const Ref<MTL::Device>& device, const Ref<NNImageNode>& resultImage, bool resultImageIsNeeded);
  /// Several results; those after the first are among the intermediate images. resultsAreNeeded too short: the rest
  /// are.
  NNGraph(const Ref<MTL::Device>& device, const std::vector<Ref<NNImageNode>>& resultImages,
          const std::vector<bool>& resultsAreNeeded);
  /// The result is needed. Deprecated in the documented API.
  NNGraph(const Ref<MTL::Device>& device, const Ref<NNImageNode>& resultImage);
  /// As an archive holds it: it computes the same, and has no data sources. Its handles have the labels of the written
  /// ones.
  NNGraph(Archive& coder, const Ref<MTL::Device>& device);
  static Ref<NNGraph> graph(const Ref<MTL::Device>& device, const Ref<NNImageNode>& resultImage,
                            bool resultImageIsNeeded);
  static Ref<NNGraph> graph(const Ref<MTL::Device>& device, const std::vector<Ref<NNImageNode>>& resultImages,
                            const std::vector<bool>& resultsAreNeeded);
  static Ref<NNGraph> graph(const Ref<MTL::Device>& device, const Ref<NNImageNode>& resultImage);
  ~NNGraph() override;

  std::vector<Ref<Handle>> sourceImageHandles() const;
  std::vector<Ref<Handle>> sourceStateHandles() const;
  /// Exported images from the first result backwards, then the further results.
  std::vector<Ref<Handle>> intermediateImageHandles() const;
  std::vector<Ref<Handle>> resultStateHandles() const;
  /// Handle of the first result, or null.
  Ref<Handle> resultHandle() const;
  /// Exported states are temporary. False by default.
  bool outputStateIsTemporary() const;
  void setOutputStateIsTemporary(bool outputStateIsTemporary);
  /// Makes the first result; ordinary images by default.
  Ref<ImageAllocator> destinationImageAllocator() const;
  void setDestinationImageAllocator(const Ref<ImageAllocator>& destinationImageAllocator);
  /// Format of images whose nodes set none. Float16 by default.
  ImageFeatureChannelFormat format() const;
  void setFormat(ImageFeatureChannelFormat format);
  bool resultImageIsNeeded() const;

  /// Reads all data sources again, now. Finish work that still uses the old weights first.
  void reloadFromDataSources();
  Ref<Image> encode(const Ref<MTL::CommandBuffer>& commandBuffer, const std::vector<Ref<Image>>& sourceImages,
                    const std::vector<Ref<State>>& sourceStates, std::vector<Ref<Image>>* intermediateImages,
                    std::vector<Ref<State>>* destinationStates);
  /// All batches have the same number of images. Intermediate images and states are appended. Returns the first result,
  /// empty when it is not needed.
  ImageBatch encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const std::vector<ImageBatch>& sourceImages,
                         const std::vector<StateBatch>& sourceStates, std::vector<ImageBatch>* intermediateImages,
                         std::vector<StateBatch>* destinationStates);
  Ref<Image> encode(const Ref<MTL::CommandBuffer>& commandBuffer, const std::vector<Ref<Image>>& sourceImages);
  ImageBatch encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const std::vector<ImageBatch>& sourceImages,
                         const std::vector<StateBatch>& sourceStates);
  /// Encodes and commits on a queue of the graph's own. The handler runs on the device's handler thread.
  Ref<Image> executeAsync(const std::vector<Ref<Image>>& sourceImages, NNGraphCompletionHandler completionHandler);
  /// How many read counts of a temporary source one encode uses up: 1.
  std::size_t readCountForSourceImage(std::size_t index);
  std::size_t readCountForSourceState(std::size_t index);

 protected:
  void doCode(Archive& coder) override;
  /// Shares nothing that changes: each kernel is copied as its copy() does, kernels that share weights share the
  /// copies.
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override;
  const char* className() const override { return "NNGraph"; }

 private:
  NNGraph(const NNGraph& original, const Ref<MTL::Device>& device);
  std::unique_ptr<nn::GraphPlan> plan_;
  Ref<MTL::CommandQueue> ownQueue_;
  friend struct nn::GraphAccess;
};

}  // namespace kovar::MPS
