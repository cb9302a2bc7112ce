#pragma once
// Loads that may have nothing to read. None of them branches, so that many are on their way at once.

#include "backend/cuda/kernels/elements.cuh"

namespace kovar::cuda {

inline constexpr std::int64_t kNowhere = -1;
/// A row that lies outside of every image, whatever a tap adds to it.
inline constexpr std::int32_t kOutside = -(1 << 30);

__device__ inline bool isInside(std::int32_t at, std::uint32_t extent) { return static_cast<std::uint32_t>(at) < extent; }

/// The float at base + offset if it is wanted, else 0; base itself can always be read.
__device__ inline float loadIf(bool wanted, const std::byte* base, std::int64_t offset) {
  const float v = *reinterpret_cast<const float*>(base + (wanted ? offset : 0));
  return wanted ? v : 0.f;
}

}  // namespace kovar::cuda
