#pragma once
// The order in which a graph runs its layers, and who reads what.

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "graph/layer.hpp"

namespace kovar::nn {

class GraphPlan {
 public:
  GraphPlan(const Ref<MTL::Device>& device, const std::vector<Ref<MPS::NNImageNode>>& results,
            const std::vector<bool>& needed);
  /// As an archive holds it; without data sources.
  GraphPlan(MPS::Archive& coder, const Ref<MTL::Device>& device);
  /// The same graph with kernels of its own on `device`.
  std::unique_ptr<GraphPlan> copyFor(const Ref<MTL::Device>& device) const;
  /// Writes the graph. Throws Error when it trains, or calls or holds what the caller made.
  void write(MPS::Archive& coder, const std::string& who);

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
  Ref<MPS::Handle> resultHandle() const { return images_[results_[0]].handle; }
  std::size_t sourceCount() const { return sources_.size(); }
  std::size_t stateCount() const { return sourceStates_.size(); }
  std::vector<MPS::CNNKernelBase*> kernels() const;

  bool resultNeeded = true;
  bool outputStateIsTemporary = false;
  MPS::ImageFeatureChannelFormat format = MPS::ImageFeatureChannelFormat::Float16;
  Ref<MPS::ImageAllocator> destinationAllocator = MPS::Image::defaultAllocator();

 private:
  static constexpr std::size_t kNone = static_cast<std::size_t>(-1);
  /// An image or state of the graph: what its node said when the graph was made.
  struct Slot {
    Ref<MPS::Handle> handle;
    std::size_t readers = 0;
    bool isExported = false, isSynchronized = false;
  };
  struct ImageSlot : Slot {
    MPS::ImageFeatureChannelFormat format = MPS::ImageFeatureChannelFormat::None;
    Ref<MPS::ImageAllocator> allocator;
    bool kept = false;  ///< exported or a needed result: one more read is the caller's
  };
  struct StateSlot : Slot {
    bool produced = false;  ///< by a layer; others are given to encode
    bool lasting = false;   ///< must outlive the command buffer
  };
  struct Step {
    std::unique_ptr<GraphLayer> layer;
    std::vector<std::size_t> images, states;
    std::size_t result = 0;
    std::size_t resultState = kNone;
  };
  class FormatAllocator;
  struct Builder;

  GraphPlan();
  /// Where the wiring is complete: layers get the allocator, and learn whether their result is wanted.
  void settle();
  /// Refuses steps that a graph cannot have, after reading.
  void checkWiring(const MPS::Archive& coder) const;
  void code(MPS::Archive& coder, const Ref<MTL::Device>& device, const std::string& who);
  /// True where somebody reads the step's image or state.
  bool runsForItsResults(const Step& step) const;
  void check(const Run& run, const std::string& who) const;
  void runSteps(const Run& run, std::vector<MPS::ImageBatch>& images, std::vector<MPS::StateBatch>& states);

  std::vector<Step> steps_;
  std::vector<ImageSlot> images_;
  std::vector<StateSlot> states_;
  std::vector<std::size_t> results_, sources_, sourceStates_, exports_, exportedStates_;
  bool hasDataSources_ = true;
  std::shared_ptr<FormatAllocator> formats_;
};

}  // namespace kovar::nn
