#pragma once
// Values combined over the 32 threads of a warp. All of them must come along.

#include <cuda_runtime.h>

namespace kovar::cuda {

inline constexpr int kWarp = 32;

/// Every lane gets the combination of the kGroup neighbouring lanes it belongs to, in the same order every time.
template <int kGroup, class F>
__device__ float groupAll(float v, const F& combine) {
#pragma unroll
  for (int s = kGroup / 2; s > 0; s /= 2) {
    const float other = __shfl_xor_sync(0xffffffffu, v, s);
    // The lower lane's value stands first, so that all lanes compute the same.
    const bool low = (threadIdx.x & static_cast<unsigned>(s)) == 0;
    v = low ? combine(v, other) : combine(other, v);
  }
  return v;
}

/// The same over all lanes.
template <class F>
__device__ float warpAll(float v, const F& combine) {
  return groupAll<kWarp>(v, combine);
}

}  // namespace kovar::cuda
