// Resampling and its adjoint: one thread an element, down the columns first, as on the processor.

#include "backend/cuda/kernels/lanes.cuh"
#include "backend/cuda/kernels/launch.cuh"

namespace kovar::cuda {
namespace {

__global__ void __launch_bounds__(kBlockThreads) resampleKernel(const __grid_constant__ ResampleParams p) {
  const std::int64_t count = p.dims[0] * p.dims[1] * p.dims[2] * p.dims[3];
  for (std::int64_t i = globalThread(); i < count; i += globalThreads()) {
    const Pixel<1> at(i, p.dims[1], p.dims[2], p.dims[3]);
    const std::byte* from = p.src.data + at.n * p.src.step[0] + at.c * p.src.step[3];
    const std::int32_t beginY = p.firstY[at.y], endY = p.firstY[at.y + 1], beginX = p.firstX[at.x], endX = p.firstX[at.x + 1];
    float sum = 0.f;
    for (std::int32_t kx = beginX; kx < endX && beginY < endY; ++kx) {
      const std::byte* column = from + p.positionX[kx] * p.src.step[2];
      float down = 0.f;
      for (std::int32_t ky = beginY; ky < endY; ++ky) {
        const float v = loadElement(p.src.type, column + p.positionY[ky] * p.src.step[1]);
        down = ky == beginY ? p.weightY[ky] * v : m::fma(p.weightY[ky], v, down);
      }
      sum = kx == beginX ? p.weightX[kx] * down : m::fma(p.weightX[kx], down, sum);
    }
    storeElement(p.dst.type, p.dst.data + at.in(p.dst), sum);
  }
}

}  // namespace

cudaError_t runResample(const ResampleParams& p, cudaStream_t stream) {
  const std::int64_t count = p.dims[0] * p.dims[1] * p.dims[2] * p.dims[3];
  return launch(resampleKernel, dim3(blocksFor(count, kBlockThreads)), dim3(kBlockThreads), stream, p);
}

}  // namespace kovar::cuda
