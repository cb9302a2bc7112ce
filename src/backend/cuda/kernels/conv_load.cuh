#pragma once
// Loads that may have nothing to read. None of them branches, so that many are on their way at once.

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

}  // namespace kovar::cuda
