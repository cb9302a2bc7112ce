#pragma once
// How long an engine takes: it runs a few times on memory of the problem's size.

#include <cuda_runtime_api.h>

#include <array>
#include <functional>
#include <span>

#include "backend/cuda/cuda.hpp"

namespace kovar::cuda {

class Trial {
 public:
  /// The operands that every candidate reads and writes.
  Trial(Device& device, std::span<const prim::View> views);
  ~Trial();
  Trial(const Trial&) = delete;
  Trial& operator=(const Trial&) = delete;

  /// Puts one run on the stream; data: the first element of each operand.
  using Start = std::function<base::Status(cudaStream_t, std::span<std::byte* const> data, std::byte* workspace)>;
  /// Seconds of one run, the best of three rounds.
  base::Result<float> seconds(std::size_t workspaceBytes, const Start& start);

 private:
  base::Status prepare();

  Device& device_;
  std::vector<prim::View> views_;
  cudaStream_t stream_ = nullptr;
  std::array<cudaEvent_t, 2> events_{};
  std::vector<prim::MemoryRef> memory_;
  std::vector<std::byte*> data_;
};

}  // namespace kovar::cuda
