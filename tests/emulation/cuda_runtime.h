#pragma once
// What kernels see: the words of CUDA C++, and the two ways to run one on the processor.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>

#include "cuda_runtime_api.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __noinline__ [[gnu::noinline]]
#define __grid_constant__
#define __launch_bounds__(...)
// Blocks run one after the other, on one thread of the processor at a time.
#define __shared__ static

struct dim3 {
  unsigned x, y, z;
  explicit dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c) {}
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

namespace kovar::cuda::emulation {

struct Position {
  dim3 grid, block, blockAt, threadAt;
};
extern Position position;

/// Runs the threads of every block one after the other; a barrier among them ends the program.
cudaError_t runThreads(dim3 grid, dim3 block, const std::function<void()>& thread);
/// Runs the threads of a block in turns, from barrier to barrier.
cudaError_t runFibers(dim3 grid, dim3 block, const std::function<void()>& thread);
/// Waits until every thread of the block that still runs has come here.
void barrier();
std::uint32_t exchange(std::uint32_t value, unsigned lane);
/// `count` words of every thread of this one's warp, lane by lane. All threads of the block must come here.
void gather(const std::uint32_t* words, unsigned count, std::uint32_t* all);

}  // namespace kovar::cuda::emulation

#define gridDim (::kovar::cuda::emulation::position.grid)
#define blockDim (::kovar::cuda::emulation::position.block)
#define blockIdx (::kovar::cuda::emulation::position.blockAt)
#define threadIdx (::kovar::cuda::emulation::position.threadAt)

inline void __syncthreads() { ::kovar::cuda::emulation::barrier(); }

template <class T>
T __shfl_xor_sync(unsigned, T value, int mask) {
  static_assert(sizeof(T) == 4);
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  bits = ::kovar::cuda::emulation::exchange(bits, threadIdx.x ^ static_cast<unsigned>(mask));
  std::memcpy(&value, &bits, sizeof bits);
  return value;
}
