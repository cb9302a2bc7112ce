// Weight gradients of a convolution in float32: the product of the gradient's channels by the source's taps, summed over
// all positions. A block takes a tile of that product and a share of the positions; shares are added in a fixed order.

#include "backend/cuda/kernels/conv_load.cuh"
#include "backend/cuda/kernels/launch.cuh"

namespace kovar::cuda {
namespace {

constexpr int kThreadsM = 8, kThreadsN = 16, kTileThreads = kThreadsM * kThreadsN, kDepth = 16;

/// Where the values of one position lie, in floats; one load of 16 bytes.
struct alignas(16) Position {
  std::int32_t gradient = kNowhere, source = 0;  ///< source: of the window's first tap
  std::int32_t y = kOutside, x = 0;              ///< of that tap
};

__device__ Position positionOf(const ConvWeightsParams& p, std::int64_t index, std::int64_t end) {
  Position at;
  if (index >= end) return at;
  std::int64_t x = 0, y = 0;
  const std::int64_t n = divide(y, divide(x, index, p.wd), p.hd);
  at.gradient = static_cast<std::int32_t>((n * p.dst.step[0] + y * p.dst.step[1] + x * p.dst.step[2]) / 4);
  at.y = static_cast<std::int32_t>(y * p.y.stride - p.y.pad);
  at.x = static_cast<std::int32_t>(x * p.x.stride - p.x.pad);
  at.source = static_cast<std::int32_t>((n * p.src.step[0] + at.y * p.src.step[1] + at.x * p.src.step[2]) / 4);
  return at;
}

/// A thread has kM rows (gradient channels) by kN columns (tap and source channel) of the tile.
template <int kM, int kN>
__global__ void __launch_bounds__(kTileThreads, 3) convWeightsTile(const __grid_constant__ ConvWeightsParams p) {
  constexpr int kRows = kThreadsM * kM, kColumns = kThreadsN * kN;
  alignas(16) __shared__ float gradients[kDepth][kRows];
  alignas(16) __shared__ float sources[kDepth][kColumns];
  __shared__ Position positions[kDepth];
  const int t = static_cast<int>(threadIdx.x), row = t / kThreadsN, column = t % kThreadsN;
  const std::int64_t group = blockIdx.z / p.splits, split = blockIdx.z % p.splits;
  const std::int64_t firstRow = static_cast<std::int64_t>(blockIdx.y) * kRows;
  const auto rowsLeft = static_cast<int>(p.rows - firstRow < kRows ? p.rows - firstRow : kRows);
  const std::byte* gradient = p.dst.data + (group * p.rows + firstRow) * 4;
  const std::byte* source = p.src.data + group * p.inputs * 4;
  // The column that this thread loads: one tap of one channel.
  std::int64_t c = 0, kx = 0;
  const std::int64_t loads = static_cast<std::int64_t>(blockIdx.x) * kColumns + t % kColumns;
  const std::int64_t ky = divide(kx, divide(c, loads, p.inputs), p.x.kernel);
  const auto dy = static_cast<std::int32_t>(ky * p.y.dilation), dx = static_cast<std::int32_t>(kx * p.x.dilation);
  const bool counts = loads < p.columns;
  const auto tap = static_cast<std::int32_t>((dy * p.src.step[1] + dx * p.src.step[2]) / 4 + c);

  float sums[kM][kN] = {};
  double bias = 0;
  const std::int64_t begin = split * p.perSplit;
  const std::int64_t end = begin + p.perSplit < p.positions ? begin + p.perSplit : p.positions;
  for (std::int64_t base = begin; base < end; base += kDepth) {
    if (t < kDepth) positions[t] = positionOf(p, base + t, end);
    __syncthreads();
    // All loads are on their way before the first one is waited for.
    float a[kDepth * kRows / kTileThreads], b[kDepth * kColumns / kTileThreads];
#pragma unroll
    for (int i = 0; i < kDepth * kRows / kTileThreads; ++i) {
      const int e = t + i * kTileThreads, m = e % kRows;
      const std::int32_t at = positions[e / kRows].gradient;
      a[i] = loadIf((at != kNowhere) & (m < rowsLeft), gradient, at + m);
    }
#pragma unroll
    for (int i = 0; i < kDepth * kColumns / kTileThreads; ++i) {
      const Position at = positions[t / kColumns + i * (kTileThreads / kColumns)];
      b[i] = loadIf(counts & isInside(at.y + dy, p.hs) & isInside(at.x + dx, p.ws), source, at.source + tap);
    }
#pragma unroll
    for (int i = 0; i < kDepth * kRows / kTileThreads; ++i)
      gradients[(t + i * kTileThreads) / kRows][(t + i * kTileThreads) % kRows] = a[i];
#pragma unroll
    for (int i = 0; i < kDepth * kColumns / kTileThreads; ++i)
      sources[t / kColumns + i * (kTileThreads / kColumns)][t % kColumns] = b[i];
    __syncthreads();
    addProduct<kThreadsN>(gradients, sources, row, column, sums);
    if (p.biasPartials != nullptr && blockIdx.x == 0 && t < kRows)
#pragma unroll
      for (int k = 0; k < kDepth; ++k) bias += static_cast<double>(gradients[k][t]);
  }
  float* to = p.partials + (group * p.splits + split) * p.rows * p.columns;
#pragma unroll
  for (int i = 0; i < kM; ++i)
#pragma unroll
    for (int j = 0; j < kN; ++j) {
      const std::int64_t r = firstRow + row * kM + i;
      const std::int64_t at = static_cast<std::int64_t>(blockIdx.x) * kColumns + tileColumn<kN, kThreadsN>(column, j);
      if (r < p.rows && at < p.columns) to[r * p.columns + at] = sums[i][j];
    }
  if (p.biasPartials != nullptr && blockIdx.x == 0 && t < kRows && firstRow + t < p.rows)
    p.biasPartials[(group * p.splits + split) * p.rows + firstRow + t] = bias;
}

constexpr int kJoined = 32, kJoiners = kBlockThreads / kJoined;  // results of a block, threads that share one

/// Adds up the shares of the weights, and behind them those of the bias.
__global__ void __launch_bounds__(kBlockThreads) joinKernel(const __grid_constant__ ConvWeightsParams p) {
  __shared__ double room[kJoiners][kJoined];
  const int lane = static_cast<int>(threadIdx.x) / kJoined, mine = static_cast<int>(threadIdx.x) % kJoined;
  const std::int64_t weights = p.groups * p.rows * p.columns;
  const std::int64_t all = weights + (p.biasPartials != nullptr ? p.groups * p.rows : 0);
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kJoined + mine;
  double sum = 0;
  if (i < weights) {
    std::int64_t rest = 0;
    const std::int64_t group = divide(rest, i, p.rows * p.columns);
    const float* from = p.partials + group * p.splits * p.rows * p.columns + rest;
    for (std::int64_t s = lane; s < p.splits; s += kJoiners)
      sum += static_cast<double>(from[s * p.rows * p.columns]);
  } else if (i < all) {
    std::int64_t rest = 0;
    const std::int64_t group = divide(rest, i - weights, p.rows);
    const double* from = p.biasPartials + group * p.splits * p.rows + rest;
    for (std::int64_t s = lane; s < p.splits; s += kJoiners) sum += from[s * p.rows];
  }
  room[lane][mine] = sum;
  __syncthreads();
  if (lane != 0 || i >= all) return;
  for (int l = 1; l < kJoiners; ++l) sum += room[l][mine];
  std::byte* to = nullptr;
  DType type = p.weights.type;
  if (i < weights) {
    std::int64_t column = 0, c = 0, kx = 0;
    const std::int64_t o = divide(column, i, p.columns);
    const std::int64_t ky = divide(kx, divide(c, column, p.inputs), p.x.kernel);
    to = p.weights.data + o * p.weights.step[0] + ky * p.weights.step[1] + kx * p.weights.step[2] +
         c * p.weights.step[3];
  } else {
    to = p.bias.data + (i - weights) * p.bias.step[0];
    type = p.bias.type;
  }
  const float v = static_cast<float>(sum);
  storeElement(type, to, p.accumulate ? loadElement(type, to) + v : v);
}

}  // namespace

cudaError_t runConvWeightsTiles(const ConvWeightsParams& p, cudaStream_t stream) {
  const auto rows = static_cast<std::int64_t>(kThreadsM) * (p.small ? 4 : 8);
  const auto columns = static_cast<std::int64_t>(kThreadsN) * (p.small ? 2 : 8);
  const dim3 grid(static_cast<unsigned>((p.columns + columns - 1) / columns),
                  static_cast<unsigned>((p.rows + rows - 1) / rows), static_cast<unsigned>(p.groups * p.splits));
  const auto kernel = p.small ? convWeightsTile<4, 2> : convWeightsTile<8, 8>;
  if (const auto e = launchBlocks(kernel, grid, dim3(kTileThreads), stream, p)) return e;
  const std::int64_t results = p.groups * p.rows * (p.columns + (p.biasPartials != nullptr ? 1 : 0));
  return launchBlocks(joinKernel, dim3(blocksFor(results, kJoined, INT32_MAX)), dim3(kBlockThreads), stream, p);
}

}  // namespace kovar::cuda
