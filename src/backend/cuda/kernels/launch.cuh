#pragma once
// How kernels are started. Every kernel takes one plain struct by value. Those whose threads do not talk to each other
// go through launch(), the others through launchBlocks(): the emulation that tests run on a machine without a GPU
// (tests/emulation) loops over the threads of the former and makes each thread of the latter a fiber.

#include <cuda_runtime.h>

namespace kovar::cuda {

inline constexpr int kThreads = 256;  ///< of a block, unless a kernel says otherwise

#ifdef __CUDACC__

template <class P>
cudaError_t launch(void (*kernel)(P), dim3 grid, dim3 block, cudaStream_t stream, const P& params) {
  kernel<<<grid, block, 0, stream>>>(params);
  return cudaGetLastError();
}

template <class P>
cudaError_t launchBlocks(void (*kernel)(P), dim3 grid, dim3 block, cudaStream_t stream, const P& params) {
  return launch(kernel, grid, block, stream, params);
}

#else

template <class P>
cudaError_t launch(void (*kernel)(P), dim3 grid, dim3 block, cudaStream_t, const P& params) {
  return emulation::runThreads(grid, block, [kernel, params] { kernel(params); });
}

template <class P>
cudaError_t launchBlocks(void (*kernel)(P), dim3 grid, dim3 block, cudaStream_t, const P& params) {
  return emulation::runFibers(grid, block, [kernel, params] { kernel(params); });
}

#endif

/// Blocks for `count` items at `perBlock` each, at most `most`: kernels walk on in strides of the grid.
inline unsigned blocksFor(long long count, long long perBlock, long long most = 1 << 20) {
  const long long blocks = (count + perBlock - 1) / perBlock;
  return static_cast<unsigned>(blocks < 1 ? 1 : blocks < most ? blocks : most);
}

}  // namespace kovar::cuda
