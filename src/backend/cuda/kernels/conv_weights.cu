// Weight gradients of a convolution in float32: the product of the gradient's channels by the source's taps, summed over
// all positions. A block takes a tile of that product and a share of the positions; shares are added in a fixed order.

#include "backend/cuda/kernels/launch.cuh"
#include "backend/cuda/kernels/tensor.cuh"
#include "backend/cuda/kernels/windows.cuh"

namespace kovar::cuda {
namespace {

constexpr int kTileThreads = 128, kWarps = kTileThreads / 32;

/// Where the values of one position lie, in floats; one load of 16 bytes.
struct alignas(16) Position {
  std::int32_t gradient = kNowhere, source = 0;  ///< source: of the window's first tap
  std::int32_t y = kOutside, x = 0;              ///< of that tap
};

/// Every kTileStep-th position, from one on.
class PositionWalk {
 public:
  __device__ PositionWalk(const ConvWeightsParams& p, std::int64_t first, std::int64_t end) : left_(end - first) {
    std::int64_t x = 0, y = 0;
    n_ = static_cast<std::int32_t>(divide(y, divide(x, first, p.wd), p.hd));
    y_ = static_cast<std::int32_t>(y), x_ = static_cast<std::int32_t>(x);
  }
  __device__ Position next(const ConvWeightsParams& p) {
    if (left_ <= 0) return {};
    const std::int32_t y = y_ * p.y.stride - p.y.pad, x = x_ * p.x.stride - p.x.pad;
    const Position at{n_ * p.gradientImage + y_ * p.gradientY + x_ * p.gradientX,
                      n_ * p.sourceImage + y * p.sourceY + x * p.sourceX, y, x};
    left_ -= kTileStep;
    n_ += p.stepImages, y_ += p.stepRows, x_ += p.stepColumns;
    if (x_ >= p.wd) x_ -= static_cast<std::int32_t>(p.wd), ++y_;
    if (y_ >= p.hd) y_ -= static_cast<std::int32_t>(p.hd), ++n_;
    return at;
  }

 private:
  std::int64_t left_;
  std::int32_t n_, y_, x_;
};

/// A column of the product: one tap of a source channel.
struct Tap {
  std::int32_t source = 0, y = kOutside, x = 0;
  __device__ Tap(const ConvWeightsParams& p, std::int64_t column) {
    if (column >= p.columns) return;
    std::int64_t c = 0, kx = 0;
    const std::int64_t ky = divide(kx, divide(c, column, p.inputs), p.x.kernel);
    y = static_cast<std::int32_t>(ky) * p.y.dilation, x = static_cast<std::int32_t>(kx) * p.x.dilation;
    source = y * p.sourceY + x * p.sourceX + static_cast<std::int32_t>(c);
  }
  /// Both may lie outside: twice kOutside still does.
  __device__ bool isReadAt(const ConvWeightsParams& p, const Position& at) const {
    return isInside(at.y + y, p.hs) & isInside(at.x + x, p.ws);
  }
};

/// kM, kN: 16 rows and 8 columns of the product, that often for a warp. kWarpsN: warps side by side. kFloats: how many
/// neighbouring channels are copied at once.
template <int kM, int kN, int kWarpsN, int kFloats>
__global__ void __launch_bounds__(kTileThreads, kM > 2 ? 3 : 4) convWeightsTile(const __grid_constant__ ConvWeightsParams p) {
  constexpr int kWarpRows = 16 * kM, kWarpColumns = 8 * kN;
  constexpr int kRows = kWarpRows * (kWarps / kWarpsN), kColumns = kWarpColumns * kWarpsN;
  constexpr int kStages = stagesOf(kRows + kColumns);
  using Left = ByDepth<kRows + 8>;
  using Right = ByDepth<kColumns + 8>;
  alignas(16) __shared__ float gradients[kStages][kTileStep * Left::kStride];
  alignas(16) __shared__ float sources[kStages][kTileStep * Right::kStride];
  __shared__ Position positions[2][kTileStep];
  const int t = static_cast<int>(threadIdx.x), warp = t / 32;
  const int warpRow = warp / kWarpsN * kWarpRows, warpColumn = warp % kWarpsN * kWarpColumns;
  const std::int64_t group = blockIdx.z / p.splits, split = blockIdx.z % p.splits;
  const std::int64_t firstRow = static_cast<std::int64_t>(blockIdx.y) * kRows;
  const std::int64_t firstColumn = static_cast<std::int64_t>(blockIdx.x) * kColumns;
  const float* gradient = p.gradient + group * p.rows + firstRow;
  const float* source = p.source + group * p.inputs;
  const std::int64_t begin = split * p.perSplit;
  const std::int64_t end = begin + p.perSplit < p.positions ? begin + p.perSplit : p.positions;
  const auto steps = static_cast<int>((end - begin + kTileStep - 1) / kTileStep);

  // The first threads say where the positions of a step lie, a step before they are read.
  PositionWalk walk(p, begin + t % kTileStep, end);
  const auto announce = [&](int step) {
    if (t < kTileStep) positions[step % 2][t] = walk.next(p);
  };
  constexpr int kColumnCopiers = kColumns / kFloats, kRowCopiers = kRows / kFloats;
  const int column = t % kColumnCopiers * kFloats;
  const Tap tap(p, firstColumn + column);
  const auto fetch = [&](int step) {
    if (step < steps) {
      float *left = gradients[step % kStages], *right = sources[step % kStages];
#pragma unroll
      for (int e = t; e < kTileStep * kRowCopiers; e += kTileThreads) {
        const int d = e / kRowCopiers, r = e % kRowCopiers * kFloats;
        const std::int32_t at = positions[step % 2][d].gradient;
        const bool in = (at != kNowhere) & (firstRow + r < p.rows);
        startCopy<4 * kFloats>(left + d * Left::kStride + r, gradient + (in ? at + r : 0), in);
      }
#pragma unroll
      for (int d = t / kColumnCopiers; d < kTileStep; d += kTileThreads / kColumnCopiers) {
        const Position at = positions[step % 2][d];
        const bool in = tap.isReadAt(p, at);
        startCopy<4 * kFloats>(right + d * Right::kStride + column, source + (in ? at.source + tap.source : 0), in);
      }
    }
    endCopies();
  };

  float sums[kM][kN][4] = {};
  double bias = 0;
  for (int s = 0; s < kStages - 1; ++s) {
    announce(s);
    __syncthreads();
    fetch(s);
  }
  announce(kStages - 1);
  for (int step = 0; step < steps; ++step) {
    awaitCopies<kStages - 2>();
    __syncthreads();
    fetch(step + kStages - 1);
    announce(step + kStages);
    const float *left = gradients[step % kStages], *right = sources[step % kStages];
    addProduct<Left, Right>(left + warpRow, right + warpColumn, sums);
    if (p.biasPartials != nullptr && blockIdx.x == 0 && t < kRows)
#pragma unroll
      for (int d = 0; d < kTileStep; ++d) bias += static_cast<double>(left[d * Left::kStride + t]);
  }

  const std::int64_t share = group * p.splits + split;
  float* partials = p.partials + (share * p.rows + firstRow) * p.columns + firstColumn;
  const int mine = warpColumn + 2 * kN * laneInGroup();
  bool numbers = true;
#pragma unroll
  for (int i = 0; i < kM; ++i)
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int r = warpRow + Left::template leftRow<kM>(i, h);
      if (firstRow + r >= p.rows) continue;
#pragma unroll
      for (int n = 0; n < 2 * kN; ++n) {
        const float v = sums[i][n % kN][2 * h + n / kN];
        numbers &= v == v;
        if (firstColumn + mine + n < p.columns) partials[r * p.columns + mine + n] = v;
      }
    }
  if (p.biasPartials != nullptr && blockIdx.x == 0 && t < kRows && firstRow + t < p.rows)
    p.biasPartials[share * p.rows + firstRow + t] = bias;
  if (numbers) return;
  // An infinity has parts that are not numbers: such results are summed again as plain floats.
#pragma unroll 1
  for (int i = 0; i < kM * 2 * 2 * kN; ++i) {
    const int r = warpRow + Left::template leftRow<kM>(i / (4 * kN), i / (2 * kN) % 2), n = mine + i % (2 * kN);
    if (firstRow + r >= p.rows || firstColumn + n >= p.columns) continue;
    float& to = partials[r * p.columns + n];
    if (to == to) continue;
    const Tap again(p, firstColumn + n);
    float sum = 0.f;
    for (std::int64_t index = begin; index < end; ++index) {
      const Position at = PositionWalk(p, index, end).next(p);
      if (again.isReadAt(p, at)) sum = m::fma(gradient[at.gradient + r], source[at.source + again.source], sum);
    }
    to = sum;
  }
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
  const auto v = static_cast<float>(sum);
  storeElement(type, to, p.accumulate ? loadElement(type, to) + v : v);
}

template <int kM, int kN, int kWarpsN>
cudaError_t run(const ConvWeightsParams& p, cudaStream_t stream) {
  constexpr std::int64_t kRows = 16 * kM * (kWarps / kWarpsN), kColumns = 8 * kN * kWarpsN;
  const dim3 grid(static_cast<unsigned>((p.columns + kColumns - 1) / kColumns),
                  static_cast<unsigned>((p.rows + kRows - 1) / kRows), static_cast<unsigned>(p.groups * p.splits));
  const auto kernel = p.fours ? convWeightsTile<kM, kN, kWarpsN, 4> : convWeightsTile<kM, kN, kWarpsN, 1>;
  return launchBlocks(kernel, grid, dim3(kTileThreads), stream, p);
}

}  // namespace

cudaError_t runConvWeightsTiles(const ConvWeightsParams& p, cudaStream_t stream) {
  if (const auto e = p.small ? run<1, 2, 2>(p, stream) : run<4, 4, 4>(p, stream)) return e;
  const std::int64_t results = p.groups * p.rows * (p.columns + (p.biasPartials != nullptr ? 1 : 0));
  return launchBlocks(joinKernel, dim3(blocksFor(results, kJoined, INT32_MAX)), dim3(kBlockThreads), stream, p);
}

}  // namespace kovar::cuda
