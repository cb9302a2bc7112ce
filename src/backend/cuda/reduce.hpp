#pragma once
// Reductions, also as parts of other primitives (bias gradients, sums of rows).

#include "backend/cuda/cuda.hpp"

namespace kovar::cuda {

/// A reduction ready to start.
class PreparedReduce {
 public:
  /// dst has extent 1 where src is reduced. Reserves scratch in the plan.
  PreparedReduce(const prim::Reduce& desc, const prim::View& src, const prim::View& dst, int multiprocessors,
                 CudaPlan& plan);
  cudaError_t run(cudaStream_t stream, std::byte* src, std::byte* dst, std::byte* scratch) const;

 private:
  ReduceParams params_;
  std::int64_t srcStart_, dstStart_;
  std::size_t partials_ = 0;
};

}  // namespace kovar::cuda
