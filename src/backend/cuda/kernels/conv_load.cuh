#pragma once
// What the tiles of convolutions share: loads that may have nothing to read (none of them branches, so that many are on
// their way at once), and the product of two tiles in shared memory.

#include "backend/cuda/kernels/elements.cuh"

namespace kovar::cuda {

inline constexpr std::int32_t kNowhere = -1;
/// A row that lies outside of every image, whatever a tap adds to it.
inline constexpr std::int32_t kOutside = -(1 << 30);

__device__ inline bool isInside(std::int32_t at, std::uint32_t extent) { return static_cast<std::uint32_t>(at) < extent; }

/// Float number `index` from base on if it is wanted, else 0; the first one can always be read.
__device__ inline float loadIf(bool wanted, const std::byte* base, std::int32_t index) {
  const float v = reinterpret_cast<const float*>(base)[wanted ? index : 0];
  return wanted ? v : 0.f;
}
/// The same with an offset of any size, in bytes.
__device__ inline float loadIf(bool wanted, const std::byte* base, std::int64_t offset) {
  const float v = *reinterpret_cast<const float*>(base + (wanted ? offset : 0));
  return wanted ? v : 0.f;
}

/// The tile's column of a thread's result `j`: threads take neighbouring columns four (or kN) at a time.
template <int kN, int kThreadsN>
__device__ constexpr int tileColumn(int column, int j) {
  constexpr int kVector = kN < 4 ? kN : 4;
  return j / kVector * (kThreadsN * kVector) + column * kVector + j % kVector;
}

/// Adds the product of two tiles to a thread's results: rows row * kM and behind, columns by tileColumn().
template <int kThreadsN, int kDepth, int kA, int kB, int kM, int kN>
__device__ void addProduct(const float (&a)[kDepth][kA], const float (&b)[kDepth][kB], int row, int column,
                           float (&sums)[kM][kN]) {
#pragma unroll
  for (int k = 0; k < kDepth; ++k) {
    float left[kM], right[kN];
#pragma unroll
    for (int i = 0; i < kM; ++i) left[i] = a[k][row * kM + i];
#pragma unroll
    for (int j = 0; j < kN; ++j) right[j] = b[k][tileColumn<kN, kThreadsN>(column, j)];
#pragma unroll
    for (int i = 0; i < kM; ++i)
#pragma unroll
      for (int j = 0; j < kN; ++j) sums[i][j] = m::fma(left[i], right[j], sums[i][j]);
  }
}

}  // namespace kovar::cuda
