// Gradient by the data of a depthwise convolution: a thread for four channels of a pixel.

#include "backend/cuda/kernels/lanes.cuh"
#include "backend/cuda/kernels/launch.cuh"

namespace kovar::cuda {
namespace {

/// Four neighbouring channels of float32 or float16.
__device__ Lanes<4> loadFour(const Strided& s, std::int64_t offset) {
  if (s.type == DType::F32) return loadLanes<4>(s, offset);
  const uint2 bits = *reinterpret_cast<const uint2*>(s.data + offset);
  return {{floatOfHalf(bits.x & 0xffffu), floatOfHalf(bits.x >> 16), floatOfHalf(bits.y & 0xffffu),
           floatOfHalf(bits.y >> 16)}};
}

__device__ void storeFour(const Strided& s, std::int64_t offset, const Lanes<4>& v) {
  if (s.type == DType::F32) return storeLanes<4>(s, offset, v);
  uint2 bits;
  bits.x = halfOfFloat(v.v[0]) | halfOfFloat(v.v[1]) << 16;
  bits.y = halfOfFloat(v.v[2]) | halfOfFloat(v.v[3]) << 16;
  *reinterpret_cast<uint2*>(s.data + offset) = bits;
}

/// The taps that an element of the source meets along one axis: first, first + stride, ... each with a result, from
/// `result` on in steps of minus the dilation. Either the stride or the dilation is 1.
struct Taps {
  int first, result;
  __device__ Taps(const prim::Window& w, std::int64_t at) {
    const int padded = static_cast<int>(at) + w.pad, rest = padded % w.stride;
    first = rest < 0 ? rest + w.stride : rest;
    result = (padded - first) / w.stride;
  }
};

__global__ void __launch_bounds__(kBlockThreads) depthwiseDataKernel(const __grid_constant__ ConvParams p) {
  const std::int64_t count = p.images * p.hs * p.ws * (p.ci / 4);
  for (std::int64_t i = globalThread(); i < count; i += globalThreads()) {
    Pixel<4> at(i, p.hs, p.ws, p.ci);
    const std::int64_t target = at.in(p.src);
    const Taps rows(p.y, at.y), columns(p.x, at.x);
    const std::byte* weights = p.weights.data + at.c * p.weights.step[0];
    Lanes<4> sum{};
    at.y = rows.result;
    for (int ky = rows.first; ky < p.y.kernel; ky += p.y.stride, at.y -= p.y.dilation) {
      if (at.y < 0 || at.y >= p.hd) continue;
      at.x = columns.result;
      for (int kx = columns.first; kx < p.x.kernel; kx += p.x.stride, at.x -= p.x.dilation) {
        if (at.x < 0 || at.x >= p.wd) continue;
        const Lanes<4> gradient = loadFour(p.dst, at.in(p.dst));
        const std::byte* weight = weights + ky * p.weights.step[1] + kx * p.weights.step[2];
#pragma unroll
        for (int l = 0; l < 4; ++l)
          sum.v[l] = m::fma(gradient.v[l], *reinterpret_cast<const float*>(weight + l * p.weights.step[0]), sum.v[l]);
      }
    }
    storeFour(p.src, target, sum);
  }
}

}  // namespace

cudaError_t runDepthwiseData(const ConvParams& p, cudaStream_t stream) {
  return launch(depthwiseDataKernel, dim3(blocksFor(p.images * p.hs * p.ws * (p.ci / 4), kBlockThreads)),
                dim3(kBlockThreads), stream, p);
}

}  // namespace kovar::cuda
