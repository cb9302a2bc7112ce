#pragma once
// The order in which a graph runs its layers, and who reads what.

#include <cstddef>
#include <memory>
#include <vector>

#include "graph/layer.hpp"

namespace kovar::nn {

class GraphPlan {
 public:
  GraphPlan(const Ref<MTL::Device>& device, const std::vector<Ref<MPS::NNImageNode>>& results,
            const std::vector<bool>& needed);

  struct Run {
    Ref<MTL::CommandBuffer> commandBuffer;
    const std::vector<MPS::ImageBatch>& sourceImages;
    const std::vector<MPS::StateBatch>& sourceStates;
    std::vector<MPS::ImageBatch>* intermediateImages;
    std::vector<MPS::StateBatch>* destinationStates;
    bool batch;
  };
  MPS::ImageBatch encode(const Run& run, const std::string& who);
  void reload();

  std::vector<Ref<MPS::Handle>> sourceImageHandles() const;
  std::vector<Ref<MPS::Handle>> sourceStateHandles() const;
  std::vector<Ref<MPS::Handle>> intermediateHandles() const;
  std::vector<Ref<MPS::Handle>> resultStateHandles() const;
  Ref<MPS::Handle> resultHandle() const { return results_[0]->handle(); }
  std::size_t sourceCount() const { return sources_.size(); }
  std::size_t stateCount() const { return sourceStates_.size(); }
  std::vector<MPS::CNNKernelBase*> kernels() const;

  bool resultNeeded = true;
  bool outputStateIsTemporary = false;
  MPS::ImageFeatureChannelFormat format = MPS::ImageFeatureChannelFormat::Float16;
  Ref<MPS::ImageAllocator> destinationAllocator = MPS::Image::defaultAllocator();

 private:
  static constexpr std::size_t kNone = static_cast<std::size_t>(-1);
  struct ImageSlot {
    MPS::NNImageNode* node = nullptr;
    std::size_t readers = 0;
    bool kept = false;  ///< exported or a needed result: one more read is the caller's
  };
  struct StateSlot {
    MPS::NNStateNode* node = nullptr;
    std::size_t readers = 0;
    bool lasting = false;  ///< must outlive the command buffer
  };
  struct Step {
    MPS::NNFilterNode* node = nullptr;
    std::unique_ptr<GraphLayer> layer;
    std::vector<std::size_t> images, states;
    std::size_t result = 0;
    std::size_t resultState = kNone;
  };
  class FormatAllocator;

  std::size_t slotOf(MPS::NNImageNode* node);
  std::size_t slotOf(MPS::NNStateNode* node);
  std::vector<MPS::NNFilterNode*> order(const std::vector<Ref<MPS::NNImageNode>>& results) const;
  void findExports();
  /// True where somebody reads the step's image or state.
  bool runsForItsResults(const Step& step) const;
  void check(const Run& run, const std::string& who) const;
  void runSteps(const Run& run, std::vector<MPS::ImageBatch>& images, std::vector<MPS::StateBatch>& states);

  std::vector<Ref<MPS::NNImageNode>> results_;  // keep every node alive
  std::vector<Step> steps_;
  std::vector<ImageSlot> images_;
  std::vector<StateSlot> states_;
  std::vector<std::size_t> sources_, sourceStates_, exports_, exportedStates_;
  std::shared_ptr<FormatAllocator> formats_;
};

}  // namespace kovar::nn
