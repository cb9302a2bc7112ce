#pragma once
// Training steps, two in flight: while one runs the next is written and encoded.

#include <array>
#include <cstdint>
#include <functional>
#include <vector>

#include "kovar/digits/network.hpp"
#include "kovar/digits/order.hpp"
#include "kovar/digits/picture_batch.hpp"

namespace kovar::tools {

struct TrainerOptions {
  std::size_t batch = 40;
  float dropoutKeep = 0.5f;
  std::uint64_t seed = 0;
  SampleOrder::Kind order = SampleOrder::Kind::Shuffled;
  std::uint64_t stepsDone = 0;  ///< by an earlier run that this one continues
};

/// What a step reported when it was over.
struct StepResult {
  std::uint64_t step = 0;   ///< counted from 1
  float loss = 0.f;         ///< mean cross entropy of the batch, before its update
  std::size_t correct = 0;  ///< pictures of the batch told right, with dropout
};

/// Bytes of one step's temporaries.
struct StepMemory {
  std::size_t arena = 0;          ///< as laid out, scratch included
  std::size_t intermediates = 0;  ///< side by side
};

class Trainer {
 public:
  /// `network` must hold its start weights. `over` is called in order of the steps, on the calling thread.
  Trainer(const Ref<MTL::CommandQueue>& queue, const DigitNetwork& network, const base::io::LabelledImages& pictures,
          const TrainerOptions& options, std::function<void(const StepResult&)> over);
  ~Trainer();

  /// Encodes and commits the next step; waits for the one before the last. keep: the network's values are those after
  /// this step once finish() has returned. Throws Error when a step failed.
  void step(bool keep);
  /// Waits for everything.
  void finish();
  std::uint64_t encoded() const { return encoded_; }
  StepMemory memory() const { return memory_; }

 private:
  struct Slot {
    explicit Slot(const Ref<MTL::Device>& device, std::size_t batch);
    PictureBatch pictures;
    Ref<MPS::Image> labelValues;
    MPS::CNNLossLabelsBatch labels;
    std::vector<std::uint8_t> truth;
    Ref<MTL::CommandBuffer> running;
    MPS::ImageBatch logits;
    std::uint64_t step = 0;
  };
  void write(Slot& slot);
  void complete(Slot& slot);

  Ref<MTL::CommandQueue> queue_;
  const DigitNetwork& network_;
  const base::io::LabelledImages& set_;
  TrainerOptions options_;
  std::function<void(const StepResult&)> over_;
  SampleOrder order_;
  Ref<MPS::NNGraph> graph_;
  std::array<Slot, 2> slots_;
  std::uint64_t encoded_ = 0;
  StepMemory memory_;
};

}  // namespace kovar::tools
