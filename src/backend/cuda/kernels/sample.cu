// Reading between pixels at given coordinates: one thread an element, the pixels in the order of their places, as on the
// processor.

#include "backend/cuda/kernels/lanes.cuh"
#include "backend/cuda/kernels/launch.cuh"
#include "maths/sample_tap.hpp"

namespace kovar::cuda {
namespace {

__global__ void __launch_bounds__(kBlockThreads) sampleKernel(const __grid_constant__ SampleParams p) {
  const std::int64_t count = p.dims[0] * p.dims[1] * p.dims[2] * p.dims[3];
  for (std::int64_t i = globalThread(); i < count; i += globalThreads()) {
    const Pixel<1> at(i, p.dims[1], p.dims[2], p.dims[3]);
    const auto coordinate = [&](const Strided& s, std::int64_t own, std::int64_t start) {
      const float given = loadElement(s.type, s.data + at.n * s.step[0] + at.y * s.step[1] + at.x * s.step[2]);
      return static_cast<float>(p.relative ? own + start : start) + given;
    };
    const maths::SampleTap ty = maths::sampleTap(coordinate(p.y, at.y, p.startY), p.height, p.edge),
                           tx = maths::sampleTap(coordinate(p.x, at.x, p.startX), p.width, p.edge);
    const std::byte* from = p.src.data + at.n * p.src.step[0] + at.c * p.src.step[3];
    float sum = 0.f;
    bool first = true;
    const auto add = [&](std::int64_t py, std::int64_t px, float weight) {
      if (weight == 0.f) return;
      const float v = loadElement(p.src.type, from + py * p.src.step[1] + px * p.src.step[2]);
      sum = first ? weight * v : m::fma(weight, v, sum);
      first = false;
    };
    add(ty.first, tx.first, ty.before * tx.before);
    add(ty.first, tx.second, ty.before * tx.after);
    add(ty.second, tx.first, ty.after * tx.before);
    add(ty.second, tx.second, ty.after * tx.after);
    storeElement(p.dst.type, p.dst.data + at.in(p.dst), sum);
  }
}

}  // namespace

cudaError_t runSample(const SampleParams& p, cudaStream_t stream) {
  const std::int64_t count = p.dims[0] * p.dims[1] * p.dims[2] * p.dims[3];
  return launch(sampleKernel, dim3(blocksFor(count, kBlockThreads)), dim3(kBlockThreads), stream, p);
}

}  // namespace kovar::cuda
