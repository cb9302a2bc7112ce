#pragma once
// What the network says about a labelled set.

#include <array>
#include <cstdint>
#include <vector>

#include "kovar/digits/network.hpp"
#include "kovar/digits/picture_batch.hpp"

namespace kovar::tools {

struct Mistake {
  std::uint64_t picture = 0;
  int said = 0, truth = 0;
  float probability = 0.f;  ///< of what was said
};

struct Evaluation {
  std::int64_t pictures = 0, correct = 0;
  std::array<std::array<std::int64_t, kDigits>, kDigits> confusion{};  ///< [truth][said]
  std::vector<Mistake> mistakes;
  double accuracy() const { return pictures ? static_cast<double>(correct) / static_cast<double>(pictures) : 0.0; }
};

/// Runs an inference graph over sets of pictures, batch by batch, two in flight.
class Evaluator {
 public:
  explicit Evaluator(const Ref<MTL::CommandQueue>& queue, const DigitNetwork& network);
  /// Takes the network's values as they are now. Throws Error when a batch fails.
  Evaluation evaluate(const base::io::LabelledImages& set);

 private:
  Ref<MTL::CommandQueue> queue_;
  Ref<MPS::NNGraph> graph_;
  std::array<PictureBatch, 2> batches_;
};

}  // namespace kovar::tools
