// Convolutions in float32, forward and by the data, as a product by tiles: rows are positions of the result, columns its
// channels, and the depth runs over taps and channels read.

#include <type_traits>

#include "backend/cuda/kernels/launch.cuh"
#include "backend/cuda/kernels/tensor.cuh"
#include "backend/cuda/kernels/windows.cuh"
#include "maths/neuron-inl.hpp"

namespace kovar::cuda {
namespace {

using Copies = ConvTilesParams::Copies;

constexpr int kTileThreads = 128, kWarps = kTileThreads / 32;

/// A tap of one channel or of a step's, in floats from the window's first tap and from a filter's first weight.
struct Tap {
  std::int32_t source = 0, weight = 0, y = kOutside, x = 0;
};

__device__ Tap tapOf(const ConvTilesParams& p, int ky, int kx, int c) {
  const std::int32_t y = ky * p.y.dilation, x = kx * p.x.dilation;
  return {y * p.sourceY + x * p.sourceX + c, ky * p.weightY + kx * p.weightX + c * p.weightInput, y, x};
}

__device__ Tap tapAt(const ConvTilesParams& p, std::int64_t depth) {
  if (depth >= p.depth) return {};
  std::int64_t c = 0, kx = 0;
  const std::int64_t ky = divide(kx, divide(c, depth, p.inputs), p.x.kernel);
  return tapOf(p, static_cast<int>(ky), static_cast<int>(kx), static_cast<int>(c));
}

/// The taps of steps that lie in one each.
struct TapWalk {
  int ky = 0, kx = 0, c = 0;
  __device__ Tap next(const ConvTilesParams& p) {
    const Tap tap = tapOf(p, ky, kx, c);
    c += kTileStep;
    if (c < p.inputs) return tap;
    c = 0;
    if (++kx < p.x.kernel) return tap;
    kx = 0;
    ++ky;
    return tap;
  }
};

/// A position of the result: its window's first tap and its own place, in floats from channel 0.
struct alignas(16) Position {
  std::int32_t source = 0, target = 0, y = kOutside, x = 0;
  /// Both may lie outside: twice kOutside still does.
  __device__ bool reads(const ConvTilesParams& p, const Tap& tap) const {
    return isInside(y + tap.y, p.hs) & isInside(x + tap.x, p.ws);
  }
};

__device__ Position positionAt(const ConvTilesParams& p, std::int64_t index) {
  if (index >= p.positions) return {};
  std::int64_t column = 0, row = 0;
  const auto n = static_cast<std::int32_t>(divide(row, divide(column, index, p.wd), p.hd));
  const auto v = static_cast<std::int32_t>(row), u = static_cast<std::int32_t>(column);
  const std::int32_t y = v * p.y.stride - p.y.pad, x = u * p.x.stride - p.x.pad;
  return {n * p.sourceImage + y * p.sourceY + x * p.sourceX, n * p.targetImage + v * p.targetY + u * p.targetX, y, x};
}

/// -0 where there is no bias: adding it changes nothing.
__device__ float biasOf(const ConvTilesParams& p, std::int64_t output) {
  if (p.bias == nullptr || output >= p.outputs) return -0.f;
  return p.bias[(blockIdx.z * p.outputs + output) * p.biasStep];
}

__device__ float finished(const ConvTilesParams& p, float sum, float bias) {
  const float v = sum + bias;
  if (!p.rectified) return v;
  return p.slope == 0.f ? m::ReLUZero{}.fwd(v) : m::ReLU{p.slope}.fwd(v);
}

/// kM, kN: 16 rows and 8 columns of the result, that often for a warp. kWarpsN: warps side by side.
template <int kM, int kN, int kWarpsN, Copies kCopies>
__global__ void __launch_bounds__(kTileThreads, kM > 2 ? 3 : 4) convTile(const __grid_constant__ ConvTilesParams p) {
  constexpr int kWarpRows = 16 * kM, kWarpColumns = 8 * kN;
  constexpr int kRows = kWarpRows * (kWarps / kWarpsN), kColumns = kWarpColumns * kWarpsN;
  constexpr bool kByDepth = kCopies == Copies::AlongOutputs;
  constexpr int kStride = kByDepth ? kColumns + 8 : kTileStep;
  constexpr int kStages = stagesOf(kRows + kColumns);
  using Right = std::conditional_t<kByDepth, ByDepth<kStride>, ByRow>;
  alignas(16) __shared__ float sources[kStages][kRows * kTileStep];
  alignas(16) __shared__ float filters[kStages][kByDepth ? kTileStep * kStride : kColumns * kTileStep];
  __shared__ Position positions[kRows];
  const int t = static_cast<int>(threadIdx.x), warp = t / 32;
  const int warpRow = warp / kWarpsN * kWarpRows, warpColumn = warp % kWarpsN * kWarpColumns;
  const std::int64_t firstRow = static_cast<std::int64_t>(blockIdx.x) * kRows;
  const std::int64_t firstColumn = static_cast<std::int64_t>(blockIdx.y) * kColumns;
  const float* source = p.source + blockIdx.z * p.inputs;
  const float* weights = p.weights + blockIdx.z * static_cast<std::int64_t>(p.weightGroup) + firstColumn * p.weightOutput;
  for (int r = t; r < kRows; r += kTileThreads) positions[r] = positionAt(p, firstRow + r);
  __syncthreads();

  const auto steps = static_cast<int>((p.depth + kTileStep - 1) / kTileStep);
  TapWalk walk;
  const auto copySources = [&](const Tap& tap, float* to, int part, auto bytes) {
    constexpr int kBytes = decltype(bytes)::value, kSharers = 4 * kTileStep / kBytes;
#pragma unroll
    for (int r = t / kSharers; r < kRows; r += kTileThreads / kSharers) {
      const Position at = positions[r];
      const bool in = at.reads(p, tap);
      startCopy<kBytes>(to + r * kTileStep + part, source + (in ? at.source + tap.source + part : 0), in);
    }
  };
  const auto copyRows = [&](const Tap& tap, float* to, int part, auto bytes) {
    constexpr int kBytes = decltype(bytes)::value, kSharers = 4 * kTileStep / kBytes;
#pragma unroll
    for (int place = t / kSharers; place < kColumns; place += kTileThreads / kSharers) {
      const int n = ByRow::columnAt<kN>(place);
      const bool in = tap.y != kOutside && firstColumn + n < p.outputs;
      startCopy<kBytes>(to + place * kTileStep + part, weights + (in ? n * p.weightOutput + tap.weight + part : 0), in);
    }
  };
  // Steps are fetched in their order.
  const auto fetch = [&](int step) {
    if (step < steps) {
      float *rows = sources[step % kStages], *columns = filters[step % kStages];
      if constexpr (kCopies == Copies::Singles) {
        constexpr std::integral_constant<int, 4> kOne;
        const Tap tap = tapAt(p, static_cast<std::int64_t>(step) * kTileStep + t % kTileStep);
        copySources(tap, rows + t % kTileStep, 0, kOne);
        copyRows(tap, columns + t % kTileStep, 0, kOne);
      } else {
        constexpr std::integral_constant<int, 16> kFour;
        const Tap tap = walk.next(p);
        copySources(tap, rows, t % 4 * 4, kFour);
        if constexpr (kByDepth) {
#pragma unroll
          for (int e = t; e < kTileStep * kColumns / 4; e += kTileThreads) {
            const int n = e % (kColumns / 4) * 4, d = e / (kColumns / 4);
            const bool in = firstColumn + n < p.outputs;
            startCopy<16>(columns + slotOf(d) * kStride + n, weights + (in ? n + tap.weight + d * p.weightInput : 0), in);
          }
        } else {
          copyRows(tap, columns, t % 4 * 4, kFour);
        }
      }
    }
    endCopies();
  };

  float sums[kM][kN][4] = {};
  for (int s = 0; s < kStages - 1; ++s) fetch(s);
  for (int step = 0; step < steps; ++step) {
    awaitCopies<kStages - 2>();
    __syncthreads();
    fetch(step + kStages - 1);
    addProduct<ByRow, Right>(sources[step % kStages] + warpRow * kTileStep,
                             filters[step % kStages] + warpColumn * (kByDepth ? 1 : kTileStep), sums);
  }

  // Results of lane 4 g + t: leftRow(i, h), and kN columns from kN (2 t + e) on.
  const std::int64_t mine = firstColumn + warpColumn + 2 * kN * laneInGroup();
  float* target = p.target + (blockIdx.z * p.outputs + mine) * p.targetChannel;
  float bias[2][kN];
#pragma unroll
  for (int e = 0; e < 2; ++e)
#pragma unroll
    for (int j = 0; j < kN; ++j) bias[e][j] = biasOf(p, mine + e * kN + j);
  bool numbers = true;
#pragma unroll
  for (int i = 0; i < kM; ++i)
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int r = warpRow + ByRow::leftRow<kM>(i, h);
      if (firstRow + r >= p.positions) continue;
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        float* to = target + positions[r].target + e * kN * p.targetChannel;
        const std::int64_t left = p.outputs - mine - e * kN;
        Lanes<kN> v;
#pragma unroll
        for (int j = 0; j < kN; ++j) {
          v.v[j] = finished(p, sums[i][j][2 * h + e], bias[e][j]);
          numbers &= v.v[j] == v.v[j];
        }
        if (kN == 4 && p.vectors && left >= 4) {
          *reinterpret_cast<Lanes<kN>*>(to) = v;
        } else {
#pragma unroll
          for (int j = 0; j < kN; ++j)
            if (j < left) to[j * p.targetChannel] = v.v[j];
        }
      }
    }
  if (numbers) return;
  // An infinity has parts that are not numbers: such results are summed again as plain floats.
#pragma unroll 1
  for (int i = 0; i < kM * 2 * 2 * kN; ++i) {
    const int r = warpRow + ByRow::leftRow<kM>(i / (4 * kN), i / (2 * kN) % 2), n = i % (2 * kN);
    if (firstRow + r >= p.positions || mine + n >= p.outputs) continue;
    const Position at = positions[r];
    float& to = target[at.target + n * p.targetChannel];
    if (to == to) continue;
    const float* filter = weights + (mine - firstColumn + n) * p.weightOutput;
    float sum = 0.f;
    for (std::int64_t d = 0; d < p.depth; ++d) {
      const Tap tap = tapAt(p, d);
      if (at.reads(p, tap)) sum = m::fma(source[at.source + tap.source], filter[tap.weight], sum);
    }
    to = finished(p, sum, biasOf(p, mine + n));
  }
}

template <int kM, int kN, int kWarpsN>
cudaError_t run(const ConvTilesParams& p, cudaStream_t stream) {
  constexpr std::int64_t kRows = 16 * kM * (kWarps / kWarpsN), kColumns = 8 * kN * kWarpsN;
  const dim3 grid(static_cast<unsigned>((p.positions + kRows - 1) / kRows),
                  static_cast<unsigned>((p.outputs + kColumns - 1) / kColumns), static_cast<unsigned>(p.groups));
  const auto kernel = p.copies == Copies::Singles       ? convTile<kM, kN, kWarpsN, Copies::Singles>
                      : p.copies == Copies::AlongInputs ? convTile<kM, kN, kWarpsN, Copies::AlongInputs>
                                                        : convTile<kM, kN, kWarpsN, Copies::AlongOutputs>;
  return launchBlocks(kernel, grid, dim3(kTileThreads), stream, p);
}

}  // namespace

cudaError_t runConvTiles(const ConvTilesParams& p, cudaStream_t stream) {
  switch (p.tile) {
    case ConvTilesParams::Tile::Rows128Columns64:
      return run<4, 4, 2>(p, stream);
    case ConvTilesParams::Tile::Rows64Columns64:
      return run<2, 4, 2>(p, stream);
    case ConvTilesParams::Tile::Rows128Columns32:
      return run<2, 4, 1>(p, stream);
    case ConvTilesParams::Tile::Rows64Columns32:
      return run<1, 4, 1>(p, stream);
    case ConvTilesParams::Tile::Rows128Columns8:
      break;
  }
  return run<2, 1, 1>(p, stream);
}

}  // namespace kovar::cuda
