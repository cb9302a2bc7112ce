// Dropout and random matrices: a thread for each block of four numbers of the counter-based generator.

#include "backend/cuda/kernels/lanes.cuh"
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

/// Four channels of a mask.
struct alignas(4) Four8 {
  std::uint8_t v[4];
};

template <bool kMaskOnly>
__device__ void drawFour(const DropoutParams& p, std::int64_t image, std::int64_t block, std::int64_t perImage,
                         std::int64_t width, std::int64_t channels) {
  float u[4];
  m::storeUniform<float>(streamOf(p.scalars, image), static_cast<std::uint64_t>(block), u);
  const auto offset = [&](const Strided& s, int i) { return offsetIn(s, image, 4 * block + i, width, channels); };
  if (!kMaskOnly && p.fours) {
    Lanes<4> v = loadLanes<4>(p.src, offset(p.src, 0));
    Four8 kept;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      kept.v[i] = u[i] < p.keep ? 1 : 0;
      v.v[i] = m::dropout(v.v[i], u[i], p.keep);
    }
    if (p.mask.data != nullptr) *reinterpret_cast<Four8*>(p.mask.data + offset(p.mask, 0)) = kept;
    storeLanes(p.dst, offset(p.dst, 0), v);
    return;
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if (4 * block + i >= perImage) return;
    if (p.mask.data != nullptr) p.mask.data[offset(p.mask, i)] = u[i] < p.keep ? std::byte{1} : std::byte{0};
    if constexpr (!kMaskOnly) {
      const float x = loadElement(p.src.type, p.src.data + offset(p.src, i));
      storeElement(p.dst.type, p.dst.data + offset(p.dst, i), m::dropout(x, u[i], p.keep));
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

template <int kLanes>
__global__ void __launch_bounds__(kBlockThreads) applyMaskKernel(const __grid_constant__ DropoutParams p) {
  const std::int64_t count = p.images * p.height * p.width * (p.channels / kLanes);
  for (std::int64_t i = globalThread(); i < count; i += globalThreads()) {
    const Pixel<kLanes> at(i, p.height, p.width, p.channels);
    const std::int64_t mask = at.n * p.mask.step[0] + (at.y * p.maskStride[0] + p.maskOffset[0]) * p.mask.step[1] +
                              (at.x * p.maskStride[1] + p.maskOffset[1]) * p.mask.step[2] +
                              at.c * p.maskStride[2] * p.mask.step[3];
    struct alignas(kLanes) Kept {
      std::uint8_t v[kLanes];
    };
    const Kept kept = *reinterpret_cast<const Kept*>(p.mask.data + mask);
    Lanes<kLanes> v = loadLanes<kLanes>(p.src, at.in(p.src));
    // As if the uniform number were 0 where the mask keeps and 1 where it drops.
#pragma unroll
    for (int l = 0; l < kLanes; ++l) v.v[l] = m::dropout(v.v[l], 1.f - static_cast<float>(kept.v[l]), p.keep);
    storeLanes<kLanes>(p.dst, at.in(p.dst), v);
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
  const std::int64_t work = p.images * p.height * p.width * p.channels / (p.fours ? 4 : 1);
  const auto kernel = p.fours ? applyMaskKernel<4> : applyMaskKernel<1>;
  return launch(kernel, dim3(blocksFor(work, kBlockThreads)), dim3(kBlockThreads), stream, p);
}

cudaError_t runRandom(const RandomParams& p, cudaStream_t stream) {
  return launch(randomKernel, dim3(blocksFor((p.rows * p.columns + 3) / 4, kBlockThreads)), dim3(kBlockThreads), stream,
                p);
}

}  // namespace kovar::cuda
