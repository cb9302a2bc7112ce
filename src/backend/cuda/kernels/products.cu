// Convolution and matrix product for any views: the last candidates, and what works without vendor libraries.

#include "backend/cuda/kernels/elements.cuh"
#include "backend/cuda/kernels/launch.cuh"

namespace kovar::cuda {
namespace {

__device__ float at4(const Strided& s, std::int64_t a, std::int64_t b, std::int64_t c, std::int64_t d) {
  return loadElement(s.type, s.data + a * s.step[0] + b * s.step[1] + c * s.step[2] + d * s.step[3]);
}

__global__ void __launch_bounds__(kBlockThreads) convForwardKernel(const __grid_constant__ ConvParams p) {
  const std::int64_t count = p.images * p.hd * p.wd * p.co, cog = p.co / p.groups, cig = p.ci / p.groups;
  for (std::int64_t i = globalThread(); i < count; i += globalThreads()) {
    std::int64_t o, x, y;
    std::int64_t rest = divide(o, i, p.co);
    rest = divide(x, rest, p.wd);
    const std::int64_t n = divide(y, rest, p.hd);
    float sum = p.bias.data != nullptr ? loadElement(p.bias.type, p.bias.data + o * p.bias.step[0]) : 0.f;
    for (int ky = 0; ky < p.y.kernel; ++ky) {
      const std::int64_t sy = y * p.y.stride - p.y.pad + static_cast<std::int64_t>(ky) * p.y.dilation;
      if (sy < 0 || sy >= p.hs) continue;
      for (int kx = 0; kx < p.x.kernel; ++kx) {
        const std::int64_t sx = x * p.x.stride - p.x.pad + static_cast<std::int64_t>(kx) * p.x.dilation;
        if (sx < 0 || sx >= p.ws) continue;
        // A tap is summed apart, so that long sums lose less.
        float part = 0.f;
        for (std::int64_t c = 0; c < cig; ++c)
          part = m::fma(at4(p.src, n, sy, sx, o / cog * cig + c), at4(p.weights, o, ky, kx, c), part);
        sum += part;
      }
    }
    storeElement(p.dst.type,
                 p.dst.data + n * p.dst.step[0] + y * p.dst.step[1] + x * p.dst.step[2] + o * p.dst.step[3], sum);
  }
}

__global__ void __launch_bounds__(kBlockThreads) convDataKernel(const __grid_constant__ ConvParams p) {
  const std::int64_t count = p.images * p.hs * p.ws * p.ci, cog = p.co / p.groups, cig = p.ci / p.groups;
  for (std::int64_t i = globalThread(); i < count; i += globalThreads()) {
    std::int64_t c, x, y;
    std::int64_t rest = divide(c, i, p.ci);
    rest = divide(x, rest, p.ws);
    const std::int64_t n = divide(y, rest, p.hs), group = c / cig;
    float sum = 0.f;
    for (int ky = 0; ky < p.y.kernel; ++ky) {
      const std::int64_t fromY = y + p.y.pad - static_cast<std::int64_t>(ky) * p.y.dilation;
      if (fromY < 0 || fromY % p.y.stride != 0 || fromY / p.y.stride >= p.hd) continue;
      for (int kx = 0; kx < p.x.kernel; ++kx) {
        const std::int64_t fromX = x + p.x.pad - static_cast<std::int64_t>(kx) * p.x.dilation;
        if (fromX < 0 || fromX % p.x.stride != 0 || fromX / p.x.stride >= p.wd) continue;
        float part = 0.f;
        for (std::int64_t o = group * cog; o < (group + 1) * cog; ++o)
          part = m::fma(at4(p.dst, n, fromY / p.y.stride, fromX / p.x.stride, o),
                        at4(p.weights, o, ky, kx, c - group * cig), part);
        sum += part;
      }
    }
    storeElement(p.src.type,
                 p.src.data + n * p.src.step[0] + y * p.src.step[1] + x * p.src.step[2] + c * p.src.step[3], sum);
  }
}

/// A block for each weight: its threads walk the positions of the result.
__global__ void __launch_bounds__(kBlockThreads) convWeightsKernel(const __grid_constant__ ConvParams p) {
  __shared__ double room[kBlockThreads];
  const std::int64_t cig = p.ci / p.groups, cog = p.co / p.groups;
  std::int64_t c, kx, ky;
  std::int64_t rest = divide(c, static_cast<std::int64_t>(blockIdx.x), cig);
  rest = divide(kx, rest, p.x.kernel);
  const std::int64_t o = divide(ky, rest, p.y.kernel);
  double sum = 0;
  for (std::int64_t i = threadIdx.x; i < p.images * p.hd * p.wd; i += kBlockThreads) {
    std::int64_t x, y;
    rest = divide(x, i, p.wd);
    const std::int64_t n = divide(y, rest, p.hd);
    const std::int64_t sy = y * p.y.stride - p.y.pad + ky * p.y.dilation;
    const std::int64_t sx = x * p.x.stride - p.x.pad + kx * p.x.dilation;
    if (sy < 0 || sy >= p.hs || sx < 0 || sx >= p.ws) continue;
    sum += static_cast<double>(at4(p.dst, n, y, x, o)) * static_cast<double>(at4(p.src, n, sy, sx, o / cog * cig + c));
  }
  const double all = blockSum(sum, room);
  if (threadIdx.x != 0) return;
  std::byte* to =
      p.weights.data + o * p.weights.step[0] + ky * p.weights.step[1] + kx * p.weights.step[2] + c * p.weights.step[3];
  const float before = p.accumulate ? loadElement(p.weights.type, to) : 0.f;
  storeElement(p.weights.type, to, before + static_cast<float>(all));
}

constexpr int kTile = 16;

/// A 16 x 16 tile of C for each block, 16 steps of k at a time through shared memory.
__global__ void __launch_bounds__(kBlockThreads) matmulKernel(const __grid_constant__ MatmulParams p) {
  __shared__ float a[kTile][kTile + 1], b[kTile][kTile + 1];
  const int column = static_cast<int>(threadIdx.x) % kTile, row = static_cast<int>(threadIdx.x) / kTile;
  const std::int64_t tilesN = (p.n + kTile - 1) / kTile;
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) / tilesN * kTile + row;
  const std::int64_t j = static_cast<std::int64_t>(blockIdx.x) % tilesN * kTile + column;
  float sum = 0.f;
  for (std::int64_t k = 0; k < p.k; k += kTile) {
    a[row][column] =
        i < p.m && k + column < p.k ? loadElement(p.a.type, p.a.data + i * p.a.step[0] + (k + column) * p.a.step[1]) : 0.f;
    b[row][column] =
        j < p.n && k + row < p.k ? loadElement(p.b.type, p.b.data + (k + row) * p.b.step[0] + j * p.b.step[1]) : 0.f;
    __syncthreads();
    float part = 0.f;
#pragma unroll
    for (int t = 0; t < kTile; ++t) part = m::fma(a[row][t], b[t][column], part);
    sum += part;
    __syncthreads();
  }
  if (i >= p.m || j >= p.n) return;
  std::byte* to = p.c.data + i * p.c.step[0] + j * p.c.step[1];
  if (p.bias.data != nullptr) sum += loadElement(p.bias.type, p.bias.data + j * p.bias.step[0]);
  if (p.accumulate) sum += loadElement(p.c.type, to);
  storeElement(p.c.type, to, sum);
}

}  // namespace

cudaError_t runConvForward(const ConvParams& p, cudaStream_t stream) {
  return launch(convForwardKernel, dim3(blocksFor(p.images * p.hd * p.wd * p.co, kBlockThreads)), dim3(kBlockThreads),
                stream, p);
}

cudaError_t runConvData(const ConvParams& p, cudaStream_t stream) {
  return launch(convDataKernel, dim3(blocksFor(p.images * p.hs * p.ws * p.ci, kBlockThreads)), dim3(kBlockThreads),
                stream, p);
}

cudaError_t runConvWeights(const ConvParams& p, cudaStream_t stream) {
  const std::int64_t weights = p.co * p.y.kernel * p.x.kernel * (p.ci / p.groups);
  return launchBlocks(convWeightsKernel, dim3(static_cast<unsigned>(weights)), dim3(kBlockThreads), stream, p);
}

cudaError_t runMatmul(const MatmulParams& p, cudaStream_t stream) {
  const std::int64_t tiles = (p.m + kTile - 1) / kTile * ((p.n + kTile - 1) / kTile);
  return launchBlocks(matmulKernel, dim3(static_cast<unsigned>(tiles)), dim3(kBlockThreads), stream, p);
}

}  // namespace kovar::cuda
