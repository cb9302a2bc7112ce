// Convolutions in float32, forward and by the data with stride 1, as a product by tiles: rows are positions of the
// result, columns its channels, and the depth runs over taps and channels read. What the next step of the depth needs is
// fetched while this one is multiplied.

#include <type_traits>

#include "backend/cuda/kernels/conv_load.cuh"
#include "backend/cuda/kernels/lanes.cuh"
#include "backend/cuda/kernels/launch.cuh"
#include "maths/neuron-inl.hpp"

namespace kovar::cuda {
namespace {

constexpr int kTileThreads = 128, kThreadsN = 8, kThreadsM = kTileThreads / kThreadsN, kDepth = 16;

/// One step of the depth: a tap of one channel.
struct Tap {
  std::int64_t source = 0;  ///< bytes from channel 0 of the window's first tap
  std::int64_t weight = 0;  ///< bytes from a filter's first weight
  std::int32_t y = kOutside, x = 0;
  bool counts = false;
};

__device__ Tap tapOf(const ConvTilesParams& p, std::int64_t index) {
  Tap tap;
  if (index >= p.depth) return tap;
  std::int64_t c = 0, kx = 0;
  const std::int64_t ky = divide(kx, divide(c, index, p.inputs), p.x.kernel);
  tap.y = static_cast<std::int32_t>(ky * p.y.dilation);
  tap.x = static_cast<std::int32_t>(kx * p.x.dilation);
  tap.source = tap.y * p.src.step[1] + tap.x * p.src.step[2] + c * 4;
  tap.weight = ky * p.weightY + kx * p.weightX + c * p.weightInput;
  tap.counts = true;
  return tap;
}

/// The position whose taps a thread fetches.
struct Window {
  std::int64_t source = 0;
  std::int32_t y = kOutside, x = 0;
};

__device__ Window windowOf(const ConvTilesParams& p, std::int64_t index) {
  Window w;
  if (index >= p.positions) return w;
  std::int64_t x = 0, y = 0;
  const std::int64_t n = divide(y, divide(x, index, p.wd), p.hd);
  w.y = static_cast<std::int32_t>(y * p.y.stride - p.y.pad);
  w.x = static_cast<std::int32_t>(x * p.x.stride - p.x.pad);
  w.source = n * p.src.step[0] + w.y * p.src.step[1] + w.x * p.src.step[2];
  return w;
}

/// kM, kN: rows and columns of a thread. kWhole: kDepth divides the channels and they can be read four at a time, so that
/// a step lies in one tap.
template <int kM, int kN, bool kWhole>
__global__ void __launch_bounds__(kTileThreads, 3) convTile(const __grid_constant__ ConvTilesParams p) {
  constexpr int kRows = kThreadsM * kM, kColumns = kThreadsN * kN;
  constexpr int kSharers = kTileThreads / kRows;          // threads that fetch for one row
  constexpr int kFetched = kDepth / kSharers;             // and what each fetches
  constexpr int kWeights = kDepth * kColumns / kTileThreads;
  alignas(16) __shared__ float sources[kDepth][kRows];
  alignas(16) __shared__ float weights[kDepth][kColumns + 4];  // padded against bank conflicts
  __shared__ Tap taps[2][kDepth];
  const int t = static_cast<int>(threadIdx.x), row = t / kThreadsN, column = t % kThreadsN;
  const std::int64_t group = blockIdx.z;
  const std::int64_t firstRow = static_cast<std::int64_t>(blockIdx.x) * kRows;
  const std::int64_t firstColumn = static_cast<std::int64_t>(blockIdx.y) * kColumns;
  const std::byte* source = p.src.data + group * p.inputs * 4;
  const std::byte* filters = p.weights + group * p.weightGroup + firstColumn * p.weightOutput;
  const int mine = t % kRows, part = t / kRows * kFetched;
  const Window window = windowOf(p, firstRow + mine);

  float fetchedSources[kFetched], fetchedWeights[kWeights];
  // Neighbouring threads fetch neighbouring weights.
  const auto weightAt = [&](int i, int& k, int& n) {
    const int e = t + i * kTileThreads;
    k = p.alongInputs ? e % kDepth : e / kColumns;
    n = p.alongInputs ? e / kDepth : e % kColumns;
  };
  // Both may lie outside: twice kOutside still does.
  const auto inside = [&](const Tap& tap) {
    return isInside(window.y + tap.y, p.hs) & isInside(window.x + tap.x, p.ws);
  };
  const auto fetch = [&](const Tap* step) {
    if constexpr (kWhole) {
      const bool in = inside(step[0]);
      const std::byte* from = source + (in ? window.source + step[0].source + part * 4 : 0);
#pragma unroll
      for (int k = 0; k < kFetched; k += 4) {
        const Lanes<4> v = *reinterpret_cast<const Lanes<4>*>(from + k * 4);
#pragma unroll
        for (int l = 0; l < 4; ++l) fetchedSources[k + l] = in ? v.v[l] : 0.f;
      }
    } else {
#pragma unroll
      for (int k = 0; k < kFetched; ++k) {
        const Tap& tap = step[part + k];
        fetchedSources[k] = loadIf(inside(tap), source, window.source + tap.source);
      }
    }
#pragma unroll
    for (int i = 0; i < kWeights; ++i) {
      int k = 0, n = 0;
      weightAt(i, k, n);
      const Tap& tap = step[k];
      fetchedWeights[i] =
          loadIf(tap.counts & (firstColumn + n < p.outputs), filters, n * p.weightOutput + tap.weight);
    }
  };

  float sums[kM][kN] = {};
  if (t < kDepth) taps[0][t] = tapOf(p, t);
  __syncthreads();
  fetch(taps[0]);
  int now = 0;
  for (std::int64_t base = 0; base < p.depth; base += kDepth, now = 1 - now) {
#pragma unroll
    for (int k = 0; k < kFetched; ++k) sources[part + k][mine] = fetchedSources[k];
#pragma unroll
    for (int i = 0; i < kWeights; ++i) {
      int k = 0, n = 0;
      weightAt(i, k, n);
      weights[k][n] = fetchedWeights[i];
    }
    if (t < kDepth) taps[1 - now][t] = tapOf(p, base + kDepth + t);
    __syncthreads();
    if (base + kDepth < p.depth) fetch(taps[1 - now]);
    addProduct<kThreadsN>(sources, weights, row, column, sums);
    __syncthreads();
  }

  const std::int64_t first = firstRow + row * kM, c = firstColumn + column * 4;
  Pixel<1> at(first, p.hd, p.wd, 1);
  at.c = group * p.outputs + c;
  const auto bias = [&](int j) {
    const int further = tileColumn<kN, kThreadsN>(0, j);
    return p.bias != nullptr && c + further < p.outputs ? p.bias[(at.c + further) * p.biasStep] : 0.f;
  };
  float summands[kN];
#pragma unroll
  for (int j = 0; j < kN; ++j) summands[j] = bias(j);
#pragma unroll
  for (int i = 0; i < kM; ++i) {
    if (first + i >= p.positions) return;
    std::byte* to = p.dst.data + at.in(p.dst);
#pragma unroll
    for (int j = 0; j < kN; j += 4) {
      const int further = tileColumn<kN, kThreadsN>(0, j);
      const std::int64_t left = p.outputs - c - further;
      Lanes<4> v;
#pragma unroll
      for (int l = 0; l < 4; ++l) {
        v.v[l] = p.bias != nullptr ? sums[i][j + l] + summands[j + l] : sums[i][j + l];
        if (p.rectified) v.v[l] = p.slope == 0.f ? m::ReLUZero{}.fwd(v.v[l]) : m::ReLU{p.slope}.fwd(v.v[l]);
      }
      std::byte* four = to + further * p.dst.step[3];
      if (p.vectors && left >= 4) {
        *reinterpret_cast<Lanes<4>*>(four) = v;
      } else {
#pragma unroll
        for (int l = 0; l < 4; ++l)
          if (l < left) *reinterpret_cast<float*>(four + l * p.dst.step[3]) = v.v[l];
      }
    }
    // The next position.
    if (++at.x < p.wd) continue;
    at.x = 0;
    if (++at.y < p.hd) continue;
    at.y = 0;
    ++at.n;
  }
}

}  // namespace

cudaError_t runConvTiles(const ConvTilesParams& p, cudaStream_t stream) {
  const auto run = [&]<int kM, int kN>(std::integral_constant<int, kM>, std::integral_constant<int, kN>) {
    constexpr std::int64_t kRows = kThreadsM * kM, kColumns = kThreadsN * kN;
    const dim3 grid(static_cast<unsigned>((p.positions + kRows - 1) / kRows),
                    static_cast<unsigned>((p.outputs + kColumns - 1) / kColumns), static_cast<unsigned>(p.groups));
    const auto kernel = p.whole ? convTile<kM, kN, true> : convTile<kM, kN, false>;
    return launchBlocks(kernel, grid, dim3(kTileThreads), stream, p);
  };
  using Few = std::integral_constant<int, 4>;
  using Many = std::integral_constant<int, 8>;
  if (p.narrow) return p.low ? run(Few{}, Few{}) : run(Many{}, Few{});
  return p.low ? run(Few{}, Many{}) : run(Many{}, Many{});
}

}  // namespace kovar::cuda
