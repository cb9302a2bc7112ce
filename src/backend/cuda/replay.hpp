#pragma once
// Lists that repeat are recorded as CUDA graphs: one launch instead of one for each operation.

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "backend/cuda/cuda.hpp"

namespace kovar::cuda {

/// The graphs of one list on one queue. A graph is good for one set of addresses; scalars are read from the device,
/// where every run puts its own first.
class GraphReplay final : public prim::Replay {
 public:
  GraphReplay() = default;
  ~GraphReplay() override;
  GraphReplay(const GraphReplay&) = delete;
  GraphReplay& operator=(const GraphReplay&) = delete;

  /// Starts the list. The first run with new addresses starts the operations one by one, the second one records.
  base::Status run(Device& device, cudaStream_t stream, std::span<const prim::Work> list);

 private:
  struct Graph {
    std::vector<const std::byte*> addresses;
    cudaGraphExec_t executable = nullptr;
    bool recorded = false;  ///< the executable has these addresses
  };

  base::Status runEach(cudaStream_t stream, std::span<const prim::Work> list, const prim::Scalars* deviceScalars);
  base::Status record(cudaStream_t stream, std::span<const prim::Work> list, Graph& graph);
  base::Status reserveScalars(Device& device, std::size_t count);
  base::Status sendScalars(cudaStream_t stream, std::span<const prim::Work> list);

  std::vector<Graph> graphs_;  // the latest first
  bool refuses_ = false;       // something in the list cannot be recorded
  prim::MemoryRef scalars_, staging_;
  std::size_t slot_ = 0;
};

}  // namespace kovar::cuda
