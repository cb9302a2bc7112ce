// Pooling and its gradients: a thread for each result, or for four neighbouring channels. Taps in row-major order, so
// that the bits are the processor's.

#include "backend/cuda/kernels/lanes.cuh"
#include "backend/cuda/kernels/launch.cuh"
#include "maths/neuron-inl.hpp"
#include "maths/pool-inl.hpp"

namespace kovar::cuda {
namespace {

using prim::PoolKind;

/// A pixel as it is pooled.
template <int kLanes>
__device__ Lanes<kLanes> loadPixel(const PoolParams& p, std::int64_t offset) {
  Lanes<kLanes> v = loadLanes<kLanes>(p.src, offset);
  if (p.rectified) {
#pragma unroll
    for (int i = 0; i < kLanes; ++i) v.v[i] = m::ReLUZero{}.fwd(v.v[i]);
  }
  return v;
}

/// The positions of one axis that a window touches.
struct Taps {
  std::int64_t first, extent;
  std::int32_t kernel, dilation;
  bool zeros;

  __device__ Taps(const prim::Window& w, std::int64_t window, std::int64_t size, bool zeroOutside)
      : first(window * w.stride - w.pad), extent(size), kernel(w.kernel), dilation(w.dilation), zeros(zeroOutside) {}

  /// Where tap number `tap` reads, or -1 where it reads nothing.
  __device__ std::int64_t at(int tap) const {
    const std::int64_t p = first + static_cast<std::int64_t>(tap) * dilation;
    if (p >= 0 && p < extent) return p;
    return zeros ? -1 : (p < 0 ? 0 : extent - 1);
  }
  __device__ bool reachesOut() const {
    return first < 0 || first + static_cast<std::int64_t>(kernel - 1) * dilation >= extent;
  }
  /// Taps that count in the average's divisor.
  __device__ std::int64_t counted(bool all, std::int64_t pad) const {
    if (all) return kernel;
    std::int64_t n = 0;
    for (int tap = 0; tap < kernel; ++tap) {
      const std::int64_t p = first + static_cast<std::int64_t>(tap) * dilation;
      n += p >= -pad && p < extent + pad ? 1 : 0;
    }
    return n;
  }
};

template <PoolKind kKind>
struct RuleOf {
  using Type = m::MaxPool;
};
template <>
struct RuleOf<PoolKind::Average> {
  using Type = m::AveragePool;
};
template <>
struct RuleOf<PoolKind::L2> {
  using Type = m::L2Pool;
};

template <PoolKind kKind, int kLanes>
__device__ Lanes<kLanes> combineTaps(const PoolParams& p, std::int64_t base, const Taps& y, const Taps& x) {
  using Rule = typename RuleOf<kKind>::Type;
  Lanes<kLanes> acc;
#pragma unroll
  for (int i = 0; i < kLanes; ++i) acc.v[i] = Rule::template start<float>();
  for (int ty = 0; ty < y.kernel; ++ty) {
    const std::int64_t sy = y.at(ty);
    if (sy < 0) continue;
    for (int tx = 0; tx < x.kernel; ++tx) {
      const std::int64_t sx = x.at(tx);
      if (sx < 0) continue;
      const Lanes<kLanes> tap = loadPixel<kLanes>(p, base + sy * p.src.step[1] + sx * p.src.step[2]);
#pragma unroll
      for (int i = 0; i < kLanes; ++i) acc.v[i] = Rule::combine(acc.v[i], tap.v[i]);
    }
  }
  return acc;
}

__device__ float divisorOf(const PoolParams& p, const Taps& y, const Taps& x) {
  return static_cast<float>(y.counted(p.zeroEdge, p.zeroPadY)) * static_cast<float>(x.counted(p.zeroEdge, p.zeroPadX));
}

/// A window of kSize x kSize neighbouring pixels inside the image: all taps are on their way at once.
template <PoolKind kKind, int kLanes, int kSize>
__device__ Lanes<kLanes> insideWindow(const PoolParams& p, std::int64_t corner) {
  using Rule = typename RuleOf<kKind>::Type;
  Lanes<kLanes> taps[kSize * kSize], acc;
#pragma unroll
  for (int t = 0; t < kSize * kSize; ++t)
    taps[t] = loadPixel<kLanes>(p, corner + (t / kSize) * p.src.step[1] + (t % kSize) * p.src.step[2]);
#pragma unroll
  for (int i = 0; i < kLanes; ++i) {
    acc.v[i] = Rule::template start<float>();
#pragma unroll
    for (int t = 0; t < kSize * kSize; ++t) acc.v[i] = Rule::combine(acc.v[i], taps[t].v[i]);
    if constexpr (kKind == PoolKind::Average)
      acc.v[i] = Rule::finish(acc.v[i], static_cast<float>(kSize * kSize));
    else
      acc.v[i] = Rule::finish(acc.v[i]);
  }
  return acc;
}

template <PoolKind kKind, int kLanes>
__device__ Lanes<kLanes> windowOf(const PoolParams& p, std::int64_t base, const Taps& y, const Taps& x) {
  Lanes<kLanes> acc = combineTaps<kKind, kLanes>(p, base, y, x);
#pragma unroll
  for (int i = 0; i < kLanes; ++i) {
    if constexpr (kKind == PoolKind::Max) {
      // A sum does not change by the zeros outside; a maximum may.
      if (p.zeros && (y.reachesOut() || x.reachesOut())) acc.v[i] = m::MaxPool::combine(acc.v[i], 0.f);
    } else if constexpr (kKind == PoolKind::Average) {
      acc.v[i] = m::AveragePool::finish(acc.v[i], divisorOf(p, y, x));
    } else {
      acc.v[i] = m::L2Pool::finish(acc.v[i]);
    }
  }
  return acc;
}

template <PoolKind kKind, int kLanes, int kSize>
__global__ void __launch_bounds__(kBlockThreads) poolForwardKernel(const __grid_constant__ PoolParams p) {
  const std::int64_t count = p.images * p.windowsY * p.windowsX * (p.channels / kLanes);
  for (std::int64_t i = globalThread(); i < count; i += globalThreads()) {
    const Pixel<kLanes> w(i, p.windowsY, p.windowsX, p.channels);
    const Taps y(p.y, w.y, p.height, p.zeros), x(p.x, w.x, p.width, p.zeros);
    const std::int64_t base = w.n * p.src.step[0] + w.c * p.src.step[3];
    Lanes<kLanes> r;
    if (kSize > 0 && !y.reachesOut() && !x.reachesOut())
      r = insideWindow<kKind, kLanes, kSize == 0 ? 1 : kSize>(
          p, base + y.first * p.src.step[1] + x.first * p.src.step[2]);
    else
      r = windowOf<kKind, kLanes>(p, base, y, x);
    storeLanes<kLanes>(p.dst, w.in(p.dst), r);
  }
}

/// Windows [first, last] of an axis that may touch a position.
struct Range {
  std::int64_t first, last;
  __device__ Range(const prim::Window& w, std::int64_t position, std::int64_t extent, std::int64_t windows, bool zeros) {
    const std::int64_t reach = static_cast<std::int64_t>(w.kernel - 1) * w.dilation;
    const std::int64_t low = position + w.pad - reach;
    first = low <= 0 ? 0 : (low + w.stride - 1) / w.stride;
    const std::int64_t high = position + w.pad;
    last = high < 0 ? -1 : high / w.stride;
    // Repeated edges: what lies beyond comes back to the outermost positions.
    if (!zeros && position == 0) first = 0;
    if (!zeros && position == extent - 1) last = windows - 1;
    if (last > windows - 1) last = windows - 1;
  }
};

/// Adds what one window gives to the pixel (py, px), for every tap of it that reads there.
template <PoolKind kKind, int kLanes>
__device__ void addShare(const PoolParams& p, std::int64_t base, const Taps& y, const Taps& x, std::int64_t py,
                         std::int64_t px, const Lanes<kLanes>& given, Lanes<kLanes>& sum) {
  Lanes<kLanes> g = given, result;
  if constexpr (kKind == PoolKind::Max) {
    result = combineTaps<kKind, kLanes>(p, base, y, x);
    if (p.zeros && (y.reachesOut() || x.reachesOut())) {
      // A zero outside that beats every pixel takes the gradient with it.
#pragma unroll
      for (int i = 0; i < kLanes; ++i) g.v[i] = result.v[i] >= 0.f ? g.v[i] : 0.f;
    }
  } else if constexpr (kKind == PoolKind::L2) {
    result = windowOf<kKind, kLanes>(p, base, y, x);
  } else {
#pragma unroll
    for (int i = 0; i < kLanes; ++i) g.v[i] = m::AveragePool::bwd(g.v[i], divisorOf(p, y, x));
  }
  for (int ty = 0; ty < y.kernel; ++ty) {
    const std::int64_t sy = y.at(ty);
    if (sy < 0 || (kKind != PoolKind::Max && sy != py)) continue;
    for (int tx = 0; tx < x.kernel; ++tx) {
      const std::int64_t sx = x.at(tx);
      if (sx < 0) continue;
      const bool mine = sy == py && sx == px;
      if (kKind != PoolKind::Max && !mine) continue;
      Lanes<kLanes> tap;
      if constexpr (kKind != PoolKind::Average)
        tap = loadPixel<kLanes>(p, base + sy * p.src.step[1] + sx * p.src.step[2]);
#pragma unroll
      for (int i = 0; i < kLanes; ++i) {
        float share = g.v[i];
        if constexpr (kKind == PoolKind::Max) {
          // The first tap that equals the maximum takes all; the later ones find nothing left.
          // Where nothing but NaN is pooled, the first tap does.
          const bool wins = tap.v[i] == result.v[i] || result.v[i] != result.v[i];
          share = wins ? g.v[i] : 0.f;
          g.v[i] = wins ? 0.f : g.v[i];
        } else if constexpr (kKind == PoolKind::L2) {
          share = m::L2Pool::bwd(g.v[i], tap.v[i], result.v[i]);
        }
        if (mine) sum.v[i] += share;
      }
    }
  }
}

template <PoolKind kKind, int kLanes>
__global__ void __launch_bounds__(kBlockThreads) poolGradientKernel(const __grid_constant__ PoolParams p) {
  const std::int64_t count = p.images * p.height * p.width * (p.channels / kLanes);
  for (std::int64_t i = globalThread(); i < count; i += globalThreads()) {
    const Pixel<kLanes> s(i, p.height, p.width, p.channels);
    const Range rows(p.y, s.y, p.height, p.windowsY, p.zeros), columns(p.x, s.x, p.width, p.windowsX, p.zeros);
    Lanes<kLanes> sum = {};
    for (std::int64_t wy = rows.first; wy <= rows.last; ++wy) {
      const Taps y(p.y, wy, p.height, p.zeros);
      for (std::int64_t wx = columns.first; wx <= columns.last; ++wx) {
        const Taps x(p.x, wx, p.width, p.zeros);
        const Lanes<kLanes> given = loadLanes<kLanes>(
            p.dst, s.n * p.dst.step[0] + wy * p.dst.step[1] + wx * p.dst.step[2] + s.c * p.dst.step[3]);
        addShare<kKind, kLanes>(p, s.n * p.src.step[0] + s.c * p.src.step[3], y, x, s.y, s.x, given, sum);
      }
    }
    if (p.rectified) {
      const Lanes<kLanes> from = loadLanes<kLanes>(p.src, s.in(p.src));
#pragma unroll
      for (int i = 0; i < kLanes; ++i) sum.v[i] = m::ReLUZero{}.bwd(from.v[i], sum.v[i]);
    }
    storeLanes<kLanes>(p.diffSrc, s.in(p.diffSrc), sum);
  }
}

/// Where one block of the tiled gradient works: kTile x kTile pixels, kGroups groups of four channels.
constexpr int kTile = 8, kGroups = 16;

/// Gradients of windows without dilation, each of which meets the image: a block first finds what every window it sees
/// gives and to which of its taps, then every pixel collects. Repeated edges need no care: a tap outside reads a pixel
/// that the window holds too, in the same order. kSide: windows of a tile along one axis, at most.
template <PoolKind kKind, int kSide>
__global__ void __launch_bounds__(kBlockThreads) poolGradientTiles(const __grid_constant__ PoolParams p) {
  __shared__ Lanes<4> share[kSide * kSide * kGroups];
  __shared__ std::uint32_t winner[kKind == PoolKind::Max ? kSide * kSide * kGroups : 1];
  const auto height = static_cast<int>(p.height), width = static_cast<int>(p.width);
  const int tilesX = (width + kTile - 1) / kTile, tilesY = (height + kTile - 1) / kTile;
  const int allGroups = static_cast<int>(p.channels / 4), parts = (allGroups + kGroups - 1) / kGroups;
  const unsigned part = blockIdx.x % parts, tile = blockIdx.x / parts;
  const int x0 = static_cast<int>(tile % tilesX) * kTile, y0 = static_cast<int>(tile / tilesX % tilesY) * kTile;
  const std::int64_t image = tile / tilesX / tilesY;
  const int firstGroup = static_cast<int>(part) * kGroups;
  const int groups = allGroups - firstGroup < kGroups ? allGroups - firstGroup : kGroups;
  const int y1 = y0 + kTile < height ? y0 + kTile : height, x1 = x0 + kTile < width ? x0 + kTile : width;
  const auto wy0 = static_cast<int>(Range(p.y, y0, height, p.windowsY, true).first);
  const auto wx0 = static_cast<int>(Range(p.x, x0, width, p.windowsX, true).first);
  const int ny = static_cast<int>(Range(p.y, y1 - 1, height, p.windowsY, true).last) + 1 - wy0;
  const int nx = static_cast<int>(Range(p.x, x1 - 1, width, p.windowsX, true).last) + 1 - wx0;
  const std::int64_t dst0 = image * p.dst.step[0], src0 = image * p.src.step[0];
  for (int t = static_cast<int>(threadIdx.x); t < ny * nx * groups; t += kBlockThreads) {
    const int g = t % groups, w = t / groups, wx = wx0 + w % nx, wy = wy0 + w / nx;
    const std::int64_t channel = 16 * static_cast<std::int64_t>(firstGroup + g);
    const Taps y(p.y, wy, p.height, true), x(p.x, wx, p.width, true);
    Lanes<4> given = loadLanes<4>(p.dst, dst0 + wy * p.dst.step[1] + wx * p.dst.step[2] + channel);
    if constexpr (kKind == PoolKind::Max) {
      Lanes<4> best = {};
      std::uint32_t taken[4] = {};
      bool first = true;
      for (int ty = 0; ty < p.y.kernel; ++ty) {
        const std::int64_t sy = y.at(ty);
        if (sy < 0) continue;
        for (int tx = 0; tx < p.x.kernel; ++tx) {
          const std::int64_t sx = x.at(tx);
          if (sx < 0) continue;
          const Lanes<4> tap = loadPixel<4>(p, src0 + sy * p.src.step[1] + sx * p.src.step[2] + channel);
          const auto number = static_cast<std::uint32_t>(ty * p.x.kernel + tx);
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            if (first || m::MaxPool::better(tap.v[i], best.v[i])) best.v[i] = tap.v[i], taken[i] = number;
          }
          first = false;
        }
      }
      const bool zeros = p.zeros && (y.reachesOut() || x.reachesOut());
#pragma unroll
      for (int i = 0; i < 4; ++i)
        // A zero outside that beats every pixel takes the gradient with it.
        if (zeros && !(best.v[i] >= 0.f)) given.v[i] = 0.f;
      winner[t] = taken[0] | taken[1] << 8 | taken[2] << 16 | taken[3] << 24;
    } else {
      const float divisor = divisorOf(p, y, x);
#pragma unroll
      for (int i = 0; i < 4; ++i) given.v[i] = m::AveragePool::bwd(given.v[i], divisor);
    }
    share[t] = given;
  }
  __syncthreads();
  for (int t = static_cast<int>(threadIdx.x); t < kTile * kTile * groups; t += kBlockThreads) {
    const int g = t % groups, at = t / groups, px = x0 + at % kTile, py = y0 + at / kTile;
    if (px >= x1 || py >= y1) continue;
    const Range rows(p.y, py, height, p.windowsY, true), columns(p.x, px, width, p.windowsX, true);
    Lanes<4> sum = {};
    for (int wy = static_cast<int>(rows.first); wy <= static_cast<int>(rows.last); ++wy)
      for (int wx = static_cast<int>(columns.first); wx <= static_cast<int>(columns.last); ++wx) {
        const int slot = ((wy - wy0) * nx + wx - wx0) * groups + g;
        const Lanes<4> given = share[slot];
        if constexpr (kKind == PoolKind::Max) {
          const auto mine = static_cast<std::uint32_t>((py - (wy * p.y.stride - p.y.pad)) * p.x.kernel + px -
                                                       (wx * p.x.stride - p.x.pad));
          const std::uint32_t taken = winner[slot];
#pragma unroll
          for (int i = 0; i < 4; ++i) sum.v[i] += (taken >> (8 * i) & 255u) == mine ? given.v[i] : 0.f;
        } else {
#pragma unroll
          for (int i = 0; i < 4; ++i) sum.v[i] += given.v[i];
        }
      }
    const std::int64_t channel = 16 * static_cast<std::int64_t>(firstGroup + g);
    if (p.rectified) {
      const Lanes<4> from = loadLanes<4>(p.src, src0 + py * p.src.step[1] + px * p.src.step[2] + channel);
#pragma unroll
      for (int i = 0; i < 4; ++i) sum.v[i] = m::ReLUZero{}.bwd(from.v[i], sum.v[i]);
    }
    storeLanes<4>(p.diffSrc,
                  image * p.diffSrc.step[0] + py * p.diffSrc.step[1] + px * p.diffSrc.step[2] + channel, sum);
  }
}

/// Windows of one axis that a tile sees, at most; 0 where the tiled gradient cannot be used.
std::int64_t tileSide(const prim::Window& w, std::int64_t windows, std::int64_t extent) {
  const bool meets = w.pad < w.kernel && (windows - 1) * w.stride - w.pad < extent;
  if (w.dilation != 1 || w.kernel > 15 || !meets || extent > INT32_MAX) return 0;
  return (kTile + w.kernel - 2) / w.stride + 1;
}

template <PoolKind kKind, int kSize>
cudaError_t forwardOf(const PoolParams& p, cudaStream_t stream) {
  const std::int64_t results = p.images * p.windowsY * p.windowsX * p.channels;
  if (p.vectors)
    return launch(poolForwardKernel<kKind, 4, kSize>, dim3(blocksFor(results / 4, kBlockThreads)), dim3(kBlockThreads),
                  stream, p);
  return launch(poolForwardKernel<kKind, 1, 0>, dim3(blocksFor(results, kBlockThreads)), dim3(kBlockThreads), stream,
                p);
}

template <PoolKind kKind>
cudaError_t forward(const PoolParams& p, cudaStream_t stream) {
  const bool square = p.y.kernel == p.x.kernel && p.y.dilation == 1 && p.x.dilation == 1;
  if (square && p.y.kernel == 2) return forwardOf<kKind, 2>(p, stream);
  if (square && p.y.kernel == 3) return forwardOf<kKind, 3>(p, stream);
  return forwardOf<kKind, 0>(p, stream);
}

template <PoolKind kKind>
cudaError_t gradient(const PoolParams& p, cudaStream_t stream) {
  const std::int64_t results = p.images * p.height * p.width * p.channels;
  if constexpr (kKind != PoolKind::L2) {
    const std::int64_t sideY = tileSide(p.y, p.windowsY, p.height), sideX = tileSide(p.x, p.windowsX, p.width);
    const std::int64_t side = sideY == 0 || sideX == 0 ? 0 : sideY > sideX ? sideY : sideX;
    const std::int64_t blocks = p.images * ((p.height + kTile - 1) / kTile) * ((p.width + kTile - 1) / kTile) *
                                ((p.channels / 4 + kGroups - 1) / kGroups);
    if (p.vectors && side > 0 && side <= 10 && blocks <= INT32_MAX) {
      const dim3 grid(static_cast<unsigned>(blocks));
      return side <= 5 ? launchBlocks(poolGradientTiles<kKind, 5>, grid, dim3(kBlockThreads), stream, p)
                       : launchBlocks(poolGradientTiles<kKind, 10>, grid, dim3(kBlockThreads), stream, p);
    }
  }
  if (p.vectors)
    return launch(poolGradientKernel<kKind, 4>, dim3(blocksFor(results / 4, kBlockThreads)), dim3(kBlockThreads),
                  stream, p);
  return launch(poolGradientKernel<kKind, 1>, dim3(blocksFor(results, kBlockThreads)), dim3(kBlockThreads), stream, p);
}

}  // namespace

cudaError_t runPoolForward(const PoolParams& p, cudaStream_t stream) {
  switch (p.kind) {
    case PoolKind::Max:
      return forward<PoolKind::Max>(p, stream);
    case PoolKind::Average:
      return forward<PoolKind::Average>(p, stream);
    case PoolKind::L2:
      return forward<PoolKind::L2>(p, stream);
  }
  return cudaErrorInvalidValue;
}

cudaError_t runPoolGradient(const PoolParams& p, cudaStream_t stream) {
  switch (p.kind) {
    case PoolKind::Max:
      return gradient<PoolKind::Max>(p, stream);
    case PoolKind::Average:
      return gradient<PoolKind::Average>(p, stream);
    case PoolKind::L2:
      return gradient<PoolKind::L2>(p, stream);
  }
  return cudaErrorInvalidValue;
}

}  // namespace kovar::cuda
