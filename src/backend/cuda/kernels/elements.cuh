#pragma once
// Elements of any type to and from float, strided loops over several views, sums over the threads of a block.

#include <cuda_runtime.h>

#ifdef __CUDACC__
#include <cuda_fp16.h>
#endif

#include <cstddef>
#include <cstdint>

#include "backend/cuda/kernels/params.hpp"
#include "maths/formats-inl.hpp"
#include "maths/lane-inl.hpp"

namespace kovar::cuda {

namespace m = kovar::maths::scalar;
using prim::DType;

/// The bits of a half as a float, and back.
__device__ inline float floatOfHalf(std::uint32_t bits) {
#ifdef __CUDA_ARCH__
  return __half2float(__ushort_as_half(static_cast<unsigned short>(bits)));
#else
  return m::halfToFloat(bits);
#endif
}

__device__ inline std::uint32_t halfOfFloat(float v) {
#ifdef __CUDA_ARCH__
  return __half_as_ushort(__float2half_rn(v));
#else
  return m::floatToHalf(v);
#endif
}

/// One element as a float.
__device__ inline float loadElement(DType t, const std::byte* p) {
  switch (t) {
    case DType::F32:
      return *reinterpret_cast<const float*>(p);
    case DType::F16:
      return floatOfHalf(*reinterpret_cast<const std::uint16_t*>(p));
    case DType::Unorm8:
      return m::loadUnorm<float>(reinterpret_cast<const std::uint8_t*>(p));
    case DType::Unorm16:
      return m::loadUnorm<float>(reinterpret_cast<const std::uint16_t*>(p));
    case DType::U8:
      return static_cast<float>(*reinterpret_cast<const std::uint8_t*>(p));
    case DType::U32:
      return static_cast<float>(*reinterpret_cast<const std::uint32_t*>(p));
  }
  return 0.f;
}

/// Integers are rounded to the nearest and limited to what the type holds; NaN gives 0.
__device__ inline void storeElement(DType t, std::byte* p, float v) {
  switch (t) {
    case DType::F32:
      *reinterpret_cast<float*>(p) = v;
      return;
    case DType::F16:
      *reinterpret_cast<std::uint16_t*>(p) = static_cast<std::uint16_t>(halfOfFloat(v));
      return;
    case DType::Unorm8:
      return m::storeUnorm(v, reinterpret_cast<std::uint8_t*>(p));
    case DType::Unorm16:
      return m::storeUnorm(v, reinterpret_cast<std::uint16_t*>(p));
    case DType::U8:
      *reinterpret_cast<std::uint8_t*>(p) =
          static_cast<std::uint8_t>(m::roundEven(m::pickLess(m::pickGreater(v, 0.f), 255.f)));
      return;
    case DType::U32:
      // The largest float below 2^32.
      *reinterpret_cast<std::uint32_t*>(p) =
          static_cast<std::uint32_t>(m::roundEven(m::pickLess(m::pickGreater(v, 0.f), 4294967040.f)));
      return;
  }
}

/// a / b and a % b, by 32-bit arithmetic where that is enough: 64-bit division is a long subroutine.
__device__ inline std::int64_t divide(std::int64_t& remainder, std::int64_t a, std::int64_t b) {
  if (((a | b) >> 32) == 0) {
    const auto x = static_cast<std::uint32_t>(a), y = static_cast<std::uint32_t>(b);
    const std::uint32_t q = x / y;
    remainder = x - q * y;
    return q;
  }
  const std::int64_t q = a / b;
  remainder = a - q * b;
  return q;
}

/// Bytes from each view's first element to number `index`, the last axis fastest.
template <int V>
struct Offsets {
  std::int64_t of[V] = {};

  __device__ Offsets(const Nest<V>& nest, std::int64_t index) {
    for (int a = nest.rank - 1; a > 0; --a) {
      std::int64_t at = 0;
      index = divide(at, index, nest.count[a]);
#pragma unroll
      for (int v = 0; v < V; ++v) of[v] += at * nest.step[a][v];
    }
#pragma unroll
    for (int v = 0; v < V; ++v) of[v] += index * nest.step[0][v];
  }
};

/// Where number `index` of the first `axes` axes lies in each axis. kRank bounds the axes, so that the loop unrolls.
template <int kRank>
struct Place {
  std::int64_t at[kRank];
  std::int64_t last = 0;  ///< on the innermost of the axes

  template <int V>
  __device__ Place(const Nest<V>& nest, int axes, std::int64_t index) {
#pragma unroll
    for (int a = kRank - 1; a >= 0; --a) {
      at[a] = 0;
      if (a < axes) index = divide(at[a], index, nest.count[a]);
      if (a == axes - 1) last = at[a];
    }
  }

  /// Bytes from the view's first element.
  template <int V>
  __device__ std::int64_t offset(const Nest<V>& nest, int axes, int view) const {
    std::int64_t o = 0;
#pragma unroll
    for (int a = 0; a < kRank; ++a)
      if (a < axes) o += at[a] * nest.step[a][view];
    return o;
  }
};

__device__ inline std::int64_t globalThread() {
  return static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ inline std::int64_t globalThreads() { return static_cast<std::int64_t>(gridDim.x) * blockDim.x; }

/// The sum over the block's kThreads threads, in the same order every time; valid in thread 0. `room`: kThreads values.
__device__ inline double blockSum(double v, double* room) {
  const int t = static_cast<int>(threadIdx.x);
  __syncthreads();
  room[t] = v;
  for (int s = kBlockThreads / 2; s > 0; s /= 2) {
    __syncthreads();
    if (t < s) room[t] += room[t + s];
  }
  __syncthreads();
  return room[0];
}

/// This run's scalars: in the parameters, or on the device when the launch is part of a replayed graph.
__device__ inline const prim::Scalars& scalarsOf(const ScalarSource& s) { return s.device ? *s.device : s.value; }

}  // namespace kovar::cuda
