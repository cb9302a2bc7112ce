// Dropout and random matrices: a thread for each block of four numbers of the counter-based generator.

#include "backend/cuda/kernels/elements.cuh"
#include "backend/cuda/kernels/launch.cuh"
#include "maths/philox-inl.hpp"

namespace kovar::cuda {
namespace {

__device__ maths::RandomStream streamOf(const ScalarSource& scalars, std::int64_t item) {
  const prim::Scalars& s = scalarsOf(scalars);
  return {s.u[0], static_cast<std::uint32_t>(item), s.u[1]};
}

/// Where element e of an image of the given extents lies.
__device__ std::int64_t offsetIn(const Strided& s, std::int64_t image, std::int64_t e, std::int64_t width,
                                 std::int64_t channels) {
  std::int64_t c, x;
  e = divide(c, e, channels);
  const std::int64_t y = divide(x, e, width);
  return image * s.step[0] + y * s.step[1] + x * s.step[2] + c * s.step[3];
}

template <bool kMaskOnly>
__device__ void drawFour(const DropoutParams& p, std::int64_t image, std::int64_t block, std::int64_t perImage,
                         std::int64_t width, std::int64_t channels) {
  float u[4];
  m::storeUniform<float>(streamOf(p.scalars, image), static_cast<std::uint64_t>(block), u);
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const std::int64_t e = 4 * block + i;
    if (e >= perImage) return;
    if (p.mask.data != nullptr)
      p.mask.data[offsetIn(p.mask, image, e, width, channels)] = u[i] < p.keep ? std::byte{1} : std::byte{0};
    if constexpr (!kMaskOnly) {
      const float x = loadElement(p.src.type, p.src.data + offsetIn(p.src, image, e, width, channels));
      storeElement(p.dst.type, p.dst.data + offsetIn(p.dst, image, e, width, channels), m::dropout(x, u[i], p.keep));
    }
  }
}

template <bool kMaskOnly>
__global__ void __launch_bounds__(kBlockThreads) drawKernel(const __grid_constant__ DropoutParams p) {
  const std::int64_t height = kMaskOnly ? p.maskDims[0] : p.height, width = kMaskOnly ? p.maskDims[1] : p.width;
  const std::int64_t channels = kMaskOnly ? p.maskDims[2] : p.channels;
  const std::int64_t perImage = height * width * channels, blocks = (perImage + 3) / 4;
  for (std::int64_t i = globalThread(); i < p.images * blocks; i += globalThreads()) {
    std::int64_t block;
    const std::int64_t image = divide(block, i, blocks);
    drawFour<kMaskOnly>(p, image, block, perImage, width, channels);
  }
}

__global__ void __launch_bounds__(kBlockThreads) applyMaskKernel(const __grid_constant__ DropoutParams p) {
  for (std::int64_t i = globalThread(); i < p.images * p.height * p.width * p.channels; i += globalThreads()) {
    std::int64_t c, x, y;
    std::int64_t rest = divide(c, i, p.channels);
    rest = divide(x, rest, p.width);
    const std::int64_t n = divide(y, rest, p.height);
    const auto at = [&](const Strided& s) { return n * s.step[0] + y * s.step[1] + x * s.step[2] + c * s.step[3]; };
    const std::int64_t mask = n * p.mask.step[0] + (y * p.maskStride[0] + p.maskOffset[0]) * p.mask.step[1] +
                              (x * p.maskStride[1] + p.maskOffset[1]) * p.mask.step[2] +
                              c * p.maskStride[2] * p.mask.step[3];
    // As if the uniform number were 0 where the mask keeps and 1 where it drops.
    const float u = 1.f - static_cast<float>(static_cast<std::uint8_t>(p.mask.data[mask]));
    storeElement(p.dst.type, p.dst.data + at(p.dst),
                 m::dropout(loadElement(p.src.type, p.src.data + at(p.src)), u, p.keep));
  }
}

__global__ void __launch_bounds__(kBlockThreads) randomKernel(const __grid_constant__ RandomParams p) {
  const std::int64_t count = p.rows * p.columns;
  const prim::Scalars& s = scalarsOf(p.scalars);
  for (std::int64_t i = globalThread(); i < (count + 3) / 4; i += globalThreads()) {
    float v[4];
    if (p.normal)
      m::storeNormal<float>(streamOf(p.scalars, 0), static_cast<std::uint64_t>(i), v);
    else
      m::storeUniform<float>(streamOf(p.scalars, 0), static_cast<std::uint64_t>(i), v);
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      if (4 * i + k >= count) return;
      std::int64_t column;
      const std::int64_t row = divide(column, 4 * i + k, p.columns);
      storeElement(p.dst.type, p.dst.data + row * p.dst.step[0] + column * p.dst.step[1],
                   p.normal ? m::scaleNormal(v[k], s.f[0], s.f[1], p.minimum, p.maximum)
                            : m::scaleUniform(v[k], s.f[0], s.f[1]));
    }
  }
}

}  // namespace

cudaError_t runDropout(const DropoutParams& p, cudaStream_t stream) {
  const std::int64_t work = p.images * ((p.height * p.width * p.channels + 3) / 4);
  return launch(drawKernel<false>, dim3(blocksFor(work, kBlockThreads)), dim3(kBlockThreads), stream, p);
}

cudaError_t runDrawMask(const DropoutParams& p, cudaStream_t stream) {
  const std::int64_t work = p.images * ((p.maskDims[0] * p.maskDims[1] * p.maskDims[2] + 3) / 4);
  return launch(drawKernel<true>, dim3(blocksFor(work, kBlockThreads)), dim3(kBlockThreads), stream, p);
}

cudaError_t runApplyMask(const DropoutParams& p, cudaStream_t stream) {
  const std::int64_t work = p.images * p.height * p.width * p.channels;
  return launch(applyMaskKernel, dim3(blocksFor(work, kBlockThreads)), dim3(kBlockThreads), stream, p);
}

cudaError_t runRandom(const RandomParams& p, cudaStream_t stream) {
  return launch(randomKernel, dim3(blocksFor((p.rows * p.columns + 3) / 4, kBlockThreads)), dim3(kBlockThreads), stream,
                p);
}

}  // namespace kovar::cuda
