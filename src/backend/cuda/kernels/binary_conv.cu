// Convolution of bits: the source becomes words of 32 channels, then bits that differ (or that both have) are counted,
// a block for 64 windows by 64 filters.

#include "backend/cuda/kernels/lanes.cuh"
#include "backend/cuda/kernels/launch.cuh"
#include "maths/bits.hpp"

namespace kovar::cuda {
namespace {

__device__ int countBits(std::uint32_t v) {
#ifdef __CUDA_ARCH__
  return __popc(v);
#else
  return __builtin_popcount(v);
#endif
}

/// One thread a word.
__global__ void __launch_bounds__(kBlockThreads) packBitsKernel(const __grid_constant__ BinaryConvParams p) {
  const std::int64_t count = p.images * p.hs * p.ws * p.words;
  for (std::int64_t i = globalThread(); i < count; i += globalThreads()) {
    Pixel<1> at(i, p.hs, p.ws, p.words);
    const std::int64_t first = at.c * 32, end = first + 32 < p.ci ? first + 32 : p.ci;
    std::uint32_t word = 0;
    for (at.c = first; at.c < end; ++at.c) {
      float v = *reinterpret_cast<const float*>(p.src.data + at.in(p.src));
      if (p.inputBias != nullptr) v = (v + p.inputBias[at.c * p.biasStep]) * p.inputScale[at.c * p.scaleStep];
      if (!(v < 0.f)) word |= 1u << (at.c - first);
    }
    p.bits[i] = word;
  }
}

constexpr int kTile = 64, kDepth = 8, kPart = kTile / 16;

__global__ void __launch_bounds__(kBlockThreads) countBitsKernel(const __grid_constant__ BinaryConvParams p) {
  __shared__ std::uint32_t windows[kDepth][kTile], filters[kDepth][kTile];
  const int t = static_cast<int>(threadIdx.x), row = t / 16, column = t % 16;
  const std::int64_t positions = p.images * p.hd * p.wd, depth = p.y.kernel * p.x.kernel * p.words;
  const std::int64_t firstWindow = static_cast<std::int64_t>(blockIdx.x) * kTile;
  const std::int64_t firstFilter = static_cast<std::int64_t>(blockIdx.y) * kTile;
  // Eight threads read neighbouring words of one window and of one filter; a thread reads of the same ones at each step.
  constexpr int kLoads = kTile * kDepth / kBlockThreads, kLoadStep = kBlockThreads / kDepth;
  Pixel<1> windowOf[kLoads];
#pragma unroll
  for (int l = 0; l < kLoads; ++l) windowOf[l] = Pixel<1>(firstWindow + t / kDepth + l * kLoadStep, p.hd, p.wd, 1);
  int counts[kPart][kPart] = {};
  for (std::int64_t base = 0; base < depth; base += kDepth) {
    const int k = t % kDepth;
    std::int64_t word = 0, kx = 0;
    const std::int64_t ky = divide(kx, divide(word, base + k, p.words), p.x.kernel);
    const std::uint32_t ones = base + k < depth ? maths::channelBits(p.ci, word) : 0u;
    __syncthreads();
#pragma unroll
    for (int l = 0; l < kLoads; ++l) {
      const int i = t / kDepth + l * kLoadStep;
      const Pixel<1>& at = windowOf[l];
      std::uint32_t a = 0, b = 0;
      if (base + k < depth && firstWindow + i < positions) {
        const std::int64_t sy = at.y * p.y.stride - p.y.pad + ky * p.y.dilation;
        const std::int64_t sx = at.x * p.x.stride - p.x.pad + kx * p.x.dilation;
        const bool inside = sy >= 0 && sy < p.hs && sx >= 0 && sx < p.ws;
        a = inside ? p.bits[((at.n * p.hs + sy) * p.ws + sx) * p.words + word] : ones;
      }
      if (base + k < depth && firstFilter + i < p.co)
        b = ones & p.weights[(firstFilter + i) * p.weightStep[0] + ky * p.weightStep[1] + kx * p.weightStep[2] +
                             word * p.weightStep[3]];
      windows[k][i] = a;
      filters[k][i] = b;
    }
    __syncthreads();
#pragma unroll
    for (int d = 0; d < kDepth; ++d)
#pragma unroll
      for (int i = 0; i < kPart; ++i)
#pragma unroll
        for (int j = 0; j < kPart; ++j) {
          const std::uint32_t a = windows[d][row + 16 * i], b = filters[d][column + 16 * j];
          counts[i][j] += countBits(p.common ? a & b : a ^ b);
        }
  }
#pragma unroll
  for (int i = 0; i < kPart; ++i) {
    const std::int64_t window = firstWindow + row + 16 * i;
    if (window >= positions) continue;
    Pixel<1> at(window, p.hd, p.wd, 1);
#pragma unroll
    for (int j = 0; j < kPart; ++j) {
      at.c = firstFilter + column + 16 * j;
      if (at.c < p.co)
        *reinterpret_cast<float*>(p.dst.data + at.in(p.dst)) =
            static_cast<float>(counts[i][j]) * p.factor + p.summand;
    }
  }
}

}  // namespace

cudaError_t runBinaryConv(const BinaryConvParams& p, cudaStream_t stream) {
  const dim3 packers(blocksFor(p.images * p.hs * p.ws * p.words, kBlockThreads));
  if (const auto e = launch(packBitsKernel, packers, dim3(kBlockThreads), stream, p)) return e;
  const dim3 grid(blocksFor(p.images * p.hd * p.wd, kTile, INT32_MAX), blocksFor(p.co, kTile));
  return launchBlocks(countBitsKernel, grid, dim3(kBlockThreads), stream, p);
}

}  // namespace kovar::cuda
