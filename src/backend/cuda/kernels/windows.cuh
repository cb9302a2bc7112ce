#pragma once
// Where windows of a convolution lie: rows and columns as 32-bit numbers that may be outside of the image.

#include "backend/cuda/kernels/elements.cuh"

namespace kovar::cuda {

/// No element; a row that lies outside of every image, whatever a tap adds to it.
inline constexpr std::int32_t kNowhere = -1, kOutside = -(1 << 30);

__device__ inline bool isInside(std::int32_t at, std::uint32_t extent) { return static_cast<std::uint32_t>(at) < extent; }

}  // namespace kovar::cuda
