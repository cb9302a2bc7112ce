#pragma once
// One channel of a pixel, or four neighbouring ones where they lie together, and which pixel an index means.

#include "backend/cuda/kernels/elements.cuh"

namespace kovar::cuda {

template <int kLanes>
struct alignas(4 * kLanes) Lanes {
  float v[kLanes];
};

template <int kLanes>
__device__ Lanes<kLanes> loadLanes(const Strided& s, std::int64_t offset) {
  if constexpr (kLanes == 4) {
    return *reinterpret_cast<const Lanes<4>*>(s.data + offset);
  } else {
    return {{loadElement(s.type, s.data + offset)}};
  }
}

template <int kLanes>
__device__ void storeLanes(const Strided& s, std::int64_t offset, const Lanes<kLanes>& v) {
  if constexpr (kLanes == 4)
    *reinterpret_cast<Lanes<4>*>(s.data + offset) = v;
  else
    storeElement(s.type, s.data + offset, v.v[0]);
}

/// Number of an element or group of four channels -> image, row, column, first channel.
template <int kLanes>
struct Pixel {
  std::int64_t n, y, x, c;
  Pixel() = default;
  __device__ Pixel(std::int64_t i, std::int64_t height, std::int64_t width, std::int64_t channels) {
    i = divide(c, i, channels / kLanes);
    c *= kLanes;
    i = divide(x, i, width);
    n = divide(y, i, height);
  }
  /// Bytes from the view's first element.
  __device__ std::int64_t in(const Strided& s) const {
    return n * s.step[0] + y * s.step[1] + x * s.step[2] + c * s.step[3];
  }
};

}  // namespace kovar::cuda
