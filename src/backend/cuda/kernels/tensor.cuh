#pragma once
// Products of float32 tiles on tensor cores, at about float32's precision: a factor is the sum of two TF32 numbers, and
// of the four products of two such sums the three larger ones are added up. Tiles come to shared memory while others are
// multiplied.
//
// A step is kTileStep values of the depth. Tiles lie either row by row, [row][kTileStep], or by depth, [slot][kStride]; the
// warp's lane 4 g + t then has
//   - of the left factor's rows those that leftRow() names, of the right factor's columns kN g to kN g + kN - 1;
//   - of the result the columns kN (2 t + e) + j, in sums[i][j][2 h + e] for row leftRow(i, h).
// A row's value number d stands for the same depth as slot slotOf(d).

#include "backend/cuda/kernels/lanes.cuh"

namespace kovar::cuda {

/// Steps in shared memory: small tiles come in larger numbers at once, or few of them hide less of the way to memory.
__host__ __device__ constexpr int stagesOf(int rowsAndColumns) {
  return rowsAndColumns > 128 ? 3 : rowsAndColumns > 96 ? 4 : 6;
}

/// Starts a copy of kBytes to shared memory, or of zeros. Both addresses are aligned to kBytes.
template <int kBytes>
__device__ inline void startCopy(float* shared, const float* from, bool wanted) {
#ifdef __CUDA_ARCH__
  const auto to = static_cast<unsigned>(__cvta_generic_to_shared(shared));
  if constexpr (kBytes == 16)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(wanted ? 16 : 0) : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to), "l"(from), "r"(wanted ? 4 : 0) : "memory");
#else
  for (int i = 0; i < kBytes / 4; ++i) shared[i] = wanted ? from[i] : 0.f;
#endif
}

/// Ends a group of copies, which may be empty.
__device__ inline void endCopies() {
#ifdef __CUDA_ARCH__
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

/// Waits for this thread's copies but for the last kGroups groups.
template <int kGroups>
__device__ inline void awaitCopies() {
#ifdef __CUDA_ARCH__
  asm volatile("cp.async.wait_group %0;" ::"n"(kGroups) : "memory");
#endif
}

/// high + low is v but for the last bit: high is the nearest TF32 number (ten bits behind the point), of low the product
/// leaves out what TF32 does not hold. NaN where v is not finite, or rounds to infinity.
struct Parts {
  std::uint32_t high, low;
  __device__ static Parts of(float v) {
    // By integers: conversion instructions run at half the speed.
    const std::uint32_t high = (m::bitsOf(v) + 0x1000u) & ~0x1fffu;
    return {high, m::bitsOf(v - m::fromBits(high))};
  }
};

/// g and t of this thread.
__device__ inline int laneGroup() { return static_cast<int>(threadIdx.x) % 32 / 4; }
__device__ inline int laneInGroup() { return static_cast<int>(threadIdx.x) % 4; }

/// result = a b + c for 16 x 8 by 8 x 8, spread over a warp as PTX says of mma.m16n8k8.
__device__ inline void multiply(float (&result)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
                                const float (&c)[4]) {
#ifdef __CUDA_ARCH__
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%11,%12,%13};"
      : "=f"(result[0]), "=f"(result[1]), "=f"(result[2]), "=f"(result[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c[0]), "f"(c[1]), "f"(c[2]), "f"(c[3]));
#elif !defined(__CUDACC__)
  const std::uint32_t mine[6] = {a[0], a[1], a[2], a[3], b[0], b[1]};
  std::uint32_t all[32][6];
  emulation::gather(mine, 6, all[0]);
  const auto held = [](std::uint32_t bits) { return m::fromBits(bits & ~0x1fffu); };
  const int g = laneGroup(), t = laneInGroup();
  for (int i = 0; i < 4; ++i) {
    float sum = c[i];
    for (int k = 0; k < 8; ++k)
      sum = m::fma(held(all[g * 4 + k % 4][i / 2 + k / 4 * 2]), held(all[(2 * t + i % 2) * 4 + k % 4][4 + k / 4]), sum);
    result[i] = sum;
  }
#endif
}

/// What a thread holds of one step: [tile][half of the step][number], as multiply() wants it.
template <int kM>
using LeftValues = float[kM][2][4];
template <int kN>
using RightValues = float[kN][2][2];

__device__ constexpr int slotOf(int d) { return d % 4 * 4 + d / 4; }

/// Tiles [row][kTileStep].
struct ByRow {
  template <int kM>
  __device__ static int leftRow(int i, int h) {
    return 16 * i + 8 * h + laneGroup();
  }
  /// Which column of the right factor lies at a place, so that a lane's columns are neighbours in the result.
  template <int kN>
  __device__ static constexpr int columnAt(int place) {
    return place / (8 * kN) * (8 * kN) + place % 8 * kN + place % (8 * kN) / 8;
  }
  template <int kM>
  __device__ static void left(const float* tile, LeftValues<kM>& v) {
#pragma unroll
    for (int i = 0; i < kM; ++i)
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const auto row = *reinterpret_cast<const Lanes<4>*>(tile + leftRow<kM>(i, h) * kTileStep + 4 * laneInGroup());
#pragma unroll
        for (int d = 0; d < 4; ++d) v[i][d / 2][h + d % 2 * 2] = row.v[d];
      }
  }
  template <int kN>
  __device__ static void right(const float* tile, RightValues<kN>& v) {
#pragma unroll
    for (int j = 0; j < kN; ++j) {
      const auto row = *reinterpret_cast<const Lanes<4>*>(tile + (8 * j + laneGroup()) * kTileStep + 4 * laneInGroup());
#pragma unroll
      for (int d = 0; d < 4; ++d) v[j][d / 2][d % 2] = row.v[d];
    }
  }
};

/// Tiles [slot][kStride]; no bank conflicts where kStride is 8 more than a multiple of 32.
template <int kRowStride>
struct ByDepth {
  static constexpr int kStride = kRowStride;
  template <int kM>
  __device__ static int leftRow(int i, int h) {
    constexpr int kPer = kM < 2 ? 1 : 2;  // tiles that a load serves
    return i / kPer * 16 * kPer + 2 * kPer * laneGroup() + 2 * (i % kPer) + h;
  }
  template <int kM>
  __device__ static void left(const float* tile, LeftValues<kM>& v) {
    constexpr int kPer = kM < 2 ? 1 : 2;
#pragma unroll
    for (int i = 0; i < kM; i += kPer)
#pragma unroll
      for (int d = 0; d < 4; ++d) {
        const auto some =
            *reinterpret_cast<const Lanes<2 * kPer>*>(tile + (4 * d + laneInGroup()) * kStride + leftRow<kM>(i, 0));
#pragma unroll
        for (int r = 0; r < 2 * kPer; ++r) v[i + r / 2][d / 2][r % 2 + d % 2 * 2] = some.v[r];
      }
  }
  template <int kN>
  __device__ static void right(const float* tile, RightValues<kN>& v) {
#pragma unroll
    for (int d = 0; d < 4; ++d) {
      const auto some =
          *reinterpret_cast<const Lanes<kN>*>(tile + (4 * d + laneInGroup()) * kStride + kN * laneGroup());
#pragma unroll
      for (int j = 0; j < kN; ++j) v[j][d / 2][d % 2] = some.v[j];
    }
  }
};

/// Adds the product of a warp's tiles to its sums. A step is summed for itself and added as float32: tensor cores do not
/// round sums to the nearest.
template <class Left, class Right, int kM, int kN>
__device__ void addProduct(const float* leftTile, const float* rightTile, float (&sums)[kM][kN][4]) {
  RightValues<kN> right;
  Right::template right<kN>(rightTile, right);
  std::uint32_t highs[2][kN][2], lows[2][kN][2];
#pragma unroll
  for (int s = 0; s < 2; ++s)
#pragma unroll
    for (int j = 0; j < kN; ++j)
#pragma unroll
      for (int q = 0; q < 2; ++q) {
        const Parts p = Parts::of(right[j][s][q]);
        highs[s][j][q] = p.high, lows[s][j][q] = p.low;
      }
  LeftValues<kM> left;
  Left::template left<kM>(leftTile, left);
#pragma unroll
  for (int i = 0; i < kM; ++i) {
    float sum[kN][4] = {};
#pragma unroll
    for (int s = 0; s < 2; ++s) {
      std::uint32_t high[4], low[4];
#pragma unroll
      for (int q = 0; q < 4; ++q) {
        const Parts p = Parts::of(left[i][s][q]);
        high[q] = p.high, low[q] = p.low;
      }
#pragma unroll
      for (int j = 0; j < kN; ++j) multiply(sum[j], low, highs[s][j], sum[j]);
#pragma unroll
      for (int j = 0; j < kN; ++j) multiply(sum[j], high, lows[s][j], sum[j]);
#pragma unroll
      for (int j = 0; j < kN; ++j) multiply(sum[j], high, highs[s][j], sum[j]);
    }
#pragma unroll
    for (int j = 0; j < kN; ++j)
#pragma unroll
      for (int e = 0; e < 4; ++e) sums[i][j][e] += sum[j][e];
  }
}

}  // namespace kovar::cuda
