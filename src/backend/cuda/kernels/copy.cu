// Copies: elements as they are, shifted with edge modes, and the adjoint of the latter.

#include "backend/cuda/kernels/elements.cuh"
#include "backend/cuda/kernels/launch.cuh"
#include "prim/edge.hpp"

namespace kovar::cuda {
namespace {


template <class T>
__device__ void rawCopy(const RawCopyParams& p) {
  for (std::int64_t i = globalThread(); i < p.elements; i += globalThreads()) {
    const Offsets offset(p.nest, i);
    *reinterpret_cast<T*>(p.dst + offset.of[1]) = *reinterpret_cast<const T*>(p.src + offset.of[0]);
  }
}

__global__ void __launch_bounds__(kBlockThreads) rawCopyKernel(const __grid_constant__ RawCopyParams p) {
  switch (p.size) {
    case 1:
      return rawCopy<std::uint8_t>(p);
    case 2:
      return rawCopy<std::uint16_t>(p);
    case 4:
      return rawCopy<std::uint32_t>(p);
    case 8:
      return rawCopy<uint2>(p);
    default:
      return rawCopy<uint4>(p);
  }
}

__global__ void __launch_bounds__(kBlockThreads) manyCopiesKernel(const __grid_constant__ ManyCopiesParams p) {
  const std::byte* from = p.from[blockIdx.x];
  std::byte* to = p.to[blockIdx.x];
  const std::uint32_t bytes = p.bytes[blockIdx.x];
  if (((reinterpret_cast<std::uintptr_t>(from) | reinterpret_cast<std::uintptr_t>(to) | bytes) & 3u) == 0) {
    for (std::uint32_t i = threadIdx.x; i < bytes / 4; i += kBlockThreads)
      reinterpret_cast<std::uint32_t*>(to)[i] = reinterpret_cast<const std::uint32_t*>(from)[i];
  } else {
    for (std::uint32_t i = threadIdx.x; i < bytes; i += kBlockThreads) to[i] = from[i];
  }
}

/// Splits a number of an element into its place, the last axis fastest.
__device__ void placeOf(std::int64_t i, const std::int64_t (&dims)[4], std::int64_t (&at)[4]) {
#pragma unroll
  for (int a = 3; a > 0; --a) i = divide(at[a], i, dims[a]);
  at[0] = i;
}

__global__ void __launch_bounds__(kBlockThreads) shiftKernel(const __grid_constant__ ShiftParams p) {
  const std::int64_t count = p.dstDims[0] * p.dstDims[1] * p.dstDims[2] * p.dstDims[3];
  const auto size = static_cast<std::int64_t>(prim::sizeOf(p.src.type));
  const bool raw = p.src.type == p.dst.type;
  for (std::int64_t i = globalThread(); i < count; i += globalThreads()) {
    std::int64_t at[4];
    placeOf(i, p.dstDims, at);
    std::int64_t from = 0, to = 0;
    bool inside = true;
#pragma unroll
    for (int a = 0; a < 4; ++a) {
      const std::int64_t s = prim::edgeSource(at[a] + p.shift[a], p.srcDims[a], p.edge);
      inside = inside && s >= 0;
      from += s * p.src.step[a];
      to += at[a] * p.dst.step[a];
    }
    if (!inside) {
      storeElement(p.dst.type, p.dst.data + to, p.fill);
    } else if (raw) {
      // Bits as they are: floats would change integers and the bits of a NaN.
      for (std::int64_t b = 0; b < size; ++b) p.dst.data[to + b] = p.src.data[from + b];
    } else {
      storeElement(p.dst.type, p.dst.data + to, loadElement(p.src.type, p.src.data + from));
    }
  }
}

__global__ void __launch_bounds__(kBlockThreads) gatherKernel(const __grid_constant__ GatherParams p) {
  const std::int64_t count = p.dims[0] * p.dims[1] * p.dims[2] * p.dims[3];
  for (std::int64_t i = globalThread(); i < count; i += globalThreads()) {
    std::int64_t at[4];
    placeOf(i, p.dims, at);
    std::int32_t begin[4], end[4];
#pragma unroll
    for (int a = 0; a < 4; ++a) {
      begin[a] = p.first[a][at[a]];
      end[a] = p.first[a][at[a] + 1];
    }
    float sum = 0.f;
    for (std::int32_t n = begin[0]; n < end[0]; ++n)
      for (std::int32_t y = begin[1]; y < end[1]; ++y)
        for (std::int32_t x = begin[2]; x < end[2]; ++x)
          for (std::int32_t c = begin[3]; c < end[3]; ++c)
            sum += loadElement(p.diffDst.type, p.diffDst.data + p.position[0][n] * p.diffDst.step[0] +
                                                   p.position[1][y] * p.diffDst.step[1] +
                                                   p.position[2][x] * p.diffDst.step[2] +
                                                   p.position[3][c] * p.diffDst.step[3]);
    std::int64_t to = 0;
#pragma unroll
    for (int a = 0; a < 4; ++a) to += at[a] * p.diffSrc.step[a];
    storeElement(p.diffSrc.type, p.diffSrc.data + to, sum);
  }
}

std::int64_t product(const std::int64_t (&d)[4]) { return d[0] * d[1] * d[2] * d[3]; }

}  // namespace

cudaError_t runRawCopy(const RawCopyParams& p, cudaStream_t stream) {
  return launch(rawCopyKernel, dim3(blocksFor(p.elements, kBlockThreads)), dim3(kBlockThreads), stream, p);
}

cudaError_t runManyCopies(const ManyCopiesParams& p, cudaStream_t stream) {
  return launch(manyCopiesKernel, dim3(static_cast<unsigned>(p.count)), dim3(kBlockThreads), stream, p);
}

cudaError_t runShift(const ShiftParams& p, cudaStream_t stream) {
  return launch(shiftKernel, dim3(blocksFor(product(p.dstDims), kBlockThreads)), dim3(kBlockThreads), stream, p);
}

cudaError_t runGather(const GatherParams& p, cudaStream_t stream) {
  return launch(gatherKernel, dim3(blocksFor(product(p.dims), kBlockThreads)), dim3(kBlockThreads), stream, p);
}

}  // namespace kovar::cuda
