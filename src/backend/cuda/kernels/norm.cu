// Normalization with the moments of regions: blocks read parts of a region, a few threads put the parts together in a
// fixed order and form the factors of every channel, blocks write. Neighbouring threads take neighbouring channels.

#include <type_traits>

#include "backend/cuda/kernels/lanes.cuh"
#include "backend/cuda/kernels/launch.cuh"
#include "maths/norm-inl.hpp"

namespace kovar::cuda {
namespace {

using maths::Moments;

/// Values that are added up in float before they join a sum in double precision.
constexpr int kRun = 64;
constexpr int kAtOnce = 4;  ///< pixels on their way at the same time

/// Where a thread of a block over [region and part, channels] works.
template <int kLanes>
struct Post {
  std::int64_t region, part, begin, end, channel;
  int lane, lanes;  ///< among the threads with the same channels
  bool valid;

  __device__ Post(const NormParams& p, std::int64_t parts, std::int64_t perPart) {
    const int t = static_cast<int>(threadIdx.x);
    lanes = kBlockThreads / p.across;
    lane = t / p.across;
    channel = (static_cast<std::int64_t>(blockIdx.y) * p.across + t % p.across) * kLanes;
    valid = channel < p.channels;
    region = divide(part, blockIdx.x, parts);
    begin = part * perPart;
    end = begin + perPart < p.regionPixels ? begin + perPart : p.regionPixels;
  }
  /// Where a pixel of the region lies in a view.
  __device__ std::int64_t offset(const NormParams& p, const Strided& s, std::int64_t pixel) const {
    const std::int64_t start = region * p.regionImages * s.step[0] + channel * s.step[3];
    if (p.flat) return start + pixel * s.step[2];
    std::int64_t in, x;
    const std::int64_t image = divide(in, pixel, p.pixels), y = divide(x, in, p.width);
    return start + image * s.step[0] + y * s.step[1] + x * s.step[2];
  }
};

__device__ float valueOf(const NormVector& v, std::int64_t region, std::int64_t channel) {
  return v.data[region * v.region + channel * v.channel];
}

__device__ Moments momentsOf(const NormPartial& p) {
  Moments m;
  m.count = p.first, m.mean = p.second, m.squares = p.third;
  return m;
}
__device__ NormPartial partialOf(const Moments& m) { return {m.count, m.mean, m.squares}; }

/// Two parts of the same channel, the former first.
template <bool kBackward>
__device__ NormPartial joined(const NormPartial& a, const NormPartial& b) {
  if constexpr (kBackward) {
    return {a.first + b.first, a.second + b.second, 0};
  } else {
    Moments m = momentsOf(a);
    m.join(momentsOf(b));
    return partialOf(m);
  }
}

/// The moments of a thread's pixels. Distances are taken from the first of them: nothing cancels, and equal values have
/// a variance of exactly 0.
template <int kLanes>
__device__ void collect(const NormParams& p, const Post<kLanes>& post, NormPartial (&result)[kLanes]) {
  Moments all[kLanes];
  std::int64_t q = post.begin + post.lane;
  if (q < post.end) {
    const Lanes<kLanes> origin = loadLanes<kLanes>(p.source, post.offset(p, p.source, q));
    while (q < post.end) {
      float sum[kLanes] = {}, squares[kLanes] = {};
      int taken = 0;
      for (; taken < kRun && q + (kAtOnce - 1) * post.lanes < post.end; taken += kAtOnce, q += kAtOnce * post.lanes) {
        Lanes<kLanes> x[kAtOnce];
#pragma unroll
        for (int k = 0; k < kAtOnce; ++k)
          x[k] = loadLanes<kLanes>(p.source, post.offset(p, p.source, q + k * post.lanes));
#pragma unroll
        for (int k = 0; k < kAtOnce; ++k)
#pragma unroll
          for (int i = 0; i < kLanes; ++i) {
            const float d = x[k].v[i] - origin.v[i];
            sum[i] += d;
            squares[i] = m::fma(d, d, squares[i]);
          }
      }
      for (; taken < kRun && q < post.end; ++taken, q += post.lanes) {
        const Lanes<kLanes> x = loadLanes<kLanes>(p.source, post.offset(p, p.source, q));
#pragma unroll
        for (int i = 0; i < kLanes; ++i) {
          const float d = x.v[i] - origin.v[i];
          sum[i] += d;
          squares[i] = m::fma(d, d, squares[i]);
        }
      }
#pragma unroll
      for (int i = 0; i < kLanes; ++i) {
        const double total = static_cast<double>(sum[i]), off = total / taken;
        const double rest = static_cast<double>(squares[i]) - total * off;
        Moments run;
        run.count = taken;
        run.mean = static_cast<double>(origin.v[i]) + off;
        run.squares = rest < 0 ? 0 : rest;  // NaN stays
        all[i].join(run);
      }
    }
  }
#pragma unroll
  for (int i = 0; i < kLanes; ++i) result[i] = partialOf(all[i]);
}

/// The sums of a thread's pixels.
template <int kLanes>
__device__ void collectSums(const NormParams& p, const Post<kLanes>& post, NormPartial (&result)[kLanes]) {
  const std::int64_t perGroup = p.channels / p.groups;
  float mean[kLanes];
#pragma unroll
  for (int i = 0; i < kLanes; ++i) {
    std::int64_t rest;
    mean[i] = valueOf(p.mean, post.region, divide(rest, post.channel + i, perGroup));
    result[i] = {};
  }
  for (std::int64_t q = post.begin + post.lane; q < post.end;) {
    float sumG[kLanes] = {}, sumGX[kLanes] = {};
    for (int taken = 0; taken < kRun && q < post.end; taken += kAtOnce) {
      Lanes<kLanes> g[kAtOnce], x[kAtOnce];
#pragma unroll
      for (int k = 0; k < kAtOnce; ++k) {
        const std::int64_t at = q + k * post.lanes;
        if (at >= post.end) break;
        g[k] = loadLanes<kLanes>(p.given, post.offset(p, p.given, at));
        x[k] = loadLanes<kLanes>(p.source, post.offset(p, p.source, at));
      }
#pragma unroll
      for (int k = 0; k < kAtOnce; ++k, q += post.lanes) {
        if (q >= post.end) break;
#pragma unroll
        for (int i = 0; i < kLanes; ++i) {
          sumG[i] += g[k].v[i];
          sumGX[i] = m::fma(g[k].v[i], x[k].v[i] - mean[i], sumGX[i]);
        }
      }
    }
#pragma unroll
    for (int i = 0; i < kLanes; ++i) {
      result[i].first += static_cast<double>(sumG[i]);
      result[i].second += static_cast<double>(sumGX[i]);
    }
  }
}

template <bool kBackward, int kLanes>
__global__ void __launch_bounds__(kBlockThreads) normReadKernel(const __grid_constant__ NormParams p) {
  __shared__ NormPartial room[kBlockThreads];
  const Post<kLanes> post(p, p.splits, p.perSplit);
  NormPartial mine[kLanes] = {};
  if (post.valid) {
    if constexpr (kBackward)
      collectSums<kLanes>(p, post, mine);
    else
      collect<kLanes>(p, post, mine);
  }
  const int t = static_cast<int>(threadIdx.x);
  NormPartial* const to = p.partials + (post.region * p.splits + post.part) * p.channels + post.channel;
#pragma unroll
  for (int i = 0; i < kLanes; ++i) {
    room[t] = mine[i];
    for (int s = post.lanes / 2; s > 0; s /= 2) {
      __syncthreads();
      if (post.lane < s) room[t] = joined<kBackward>(room[t], room[t + s * p.across]);
    }
    if (post.lane == 0 && post.valid) to[i] = room[t];
    __syncthreads();
  }
}

/// Puts the parts of groups together, joiners threads for each, and forms the factors of their channels.
__global__ void __launch_bounds__(kBlockThreads) normFinishKernel(const __grid_constant__ NormParams p) {
  __shared__ NormPartial room[kBlockThreads];
  const int t = static_cast<int>(threadIdx.x), lane = t % p.joiners;
  const std::int64_t number = static_cast<std::int64_t>(blockIdx.x) * (kBlockThreads / p.joiners) + t / p.joiners;
  std::int64_t group;
  const std::int64_t region = divide(group, number, p.groups), perGroup = p.channels / p.groups;
  const bool valid = number < p.regions * p.groups;
  const std::int64_t first = group * perGroup;
  const auto partial = [&](std::int64_t split, std::int64_t channel) -> const NormPartial& {
    return p.partials[(region * p.splits + split) * p.channels + channel];
  };
  // All threads come along: there are barriers in it.
  const auto joinAll = [&](const NormPartial& mine, auto backward) -> NormPartial {
    room[t] = mine;
    for (int s = p.joiners / 2; s > 0; s /= 2) {
      __syncthreads();
      if (lane < s) room[t] = joined<decltype(backward)::value>(room[t], room[t + s]);
    }
    __syncthreads();
    const NormPartial all = room[t - lane];
    __syncthreads();
    return all;
  };
  const std::int64_t meanAt = region * p.mean.region + group * p.mean.channel;
  const std::int64_t varianceAt = region * p.variance.region + group * p.variance.channel;
  const std::uint64_t count = scalarsOf(p.scalars).u[0];

  if (p.reads() && !p.backward()) {
    NormPartial mine = {};
    for (std::int64_t i = lane; valid && i < p.splits * perGroup; i += p.joiners) {
      std::int64_t split;
      const std::int64_t channel = first + divide(split, i, p.splits);
      mine = joined<false>(mine, partial(split, channel));
    }
    const NormPartial found = joinAll(mine, std::false_type{});
    if (valid && lane == 0) {
      Moments all;
      if (p.accumulate && count > 0) {
        const auto before = static_cast<double>(count);
        all.count = before;
        all.mean = static_cast<double>(p.mean.data[meanAt]);
        all.squares = static_cast<double>(p.variance.data[varianceAt]) * before;
      }
      all.join(momentsOf(found));
      p.mean.data[meanAt] = static_cast<float>(all.mean);
      p.variance.data[varianceAt] = static_cast<float>(all.variance());
    }
    __syncthreads();
  }
  const float mean = valid ? p.mean.data[meanAt] : 0.f, variance = valid ? p.variance.data[varianceAt] : 0.f;

  if (p.reads() && p.backward()) {
    for (std::int64_t c = first; c < first + perGroup; ++c) {
      NormPartial mine = {};
      for (std::int64_t split = lane; valid && split < p.splits; split += p.joiners)
        mine = joined<true>(mine, partial(split, c));
      const NormPartial all = joinAll(mine, std::true_type{});
      if (valid && lane == 0) {
        float& toGamma = p.diffGamma.data[region * p.diffGamma.region + c * p.diffGamma.channel];
        float& toBeta = p.diffBeta.data[region * p.diffBeta.region + c * p.diffBeta.channel];
        // Where all values are equal the distances are 0, whatever the deviation.
        double gamma = all.second == 0 ? 0 : all.second * maths::inverseDeviation(variance, p.epsilon);
        double beta = all.first;
        if (p.accumulate) gamma += static_cast<double>(toGamma), beta += static_cast<double>(toBeta);
        toGamma = static_cast<float>(gamma);
        toBeta = static_cast<float>(beta);
      }
    }
    __syncthreads();
  }
  if (!p.writes()) return;

  float* const factors = p.factors + region * kNormFactors * p.channels;
  if (!p.backward()) {
    if (!valid) return;
    for (std::int64_t c = first + lane; c < first + perGroup; c += p.joiners) {
      const maths::NormFactors f =
          maths::normFactors(mean, variance, p.epsilon, valueOf(p.gamma, 0, c), valueOf(p.beta, 0, c));
      factors[c] = f.mean;
      factors[p.channels + c] = f.scale;
      factors[2 * p.channels + c] = f.shift;
    }
    return;
  }
  NormPartial mine = {};
  for (std::int64_t c = first + lane; valid && c < first + perGroup; c += p.joiners) {
    const auto gamma = static_cast<double>(valueOf(p.gamma, 0, c));
    mine.first += gamma * static_cast<double>(valueOf(p.diffBeta, region, c));
    mine.second += gamma * static_cast<double>(valueOf(p.diffGamma, region, c));
  }
  const NormPartial sums = joinAll(mine, std::true_type{});
  if (!valid) return;
  for (std::int64_t c = first + lane; c < first + perGroup; c += p.joiners) {
    const maths::NormGradientFactors f =
        maths::normGradientFactors(mean, variance, p.epsilon, valueOf(p.gamma, 0, c), sums.first, sums.second,
                                   static_cast<double>(count));
    factors[c] = f.mean;
    factors[p.channels + c] = f.gradient;
    factors[2 * p.channels + c] = f.source;
    factors[3 * p.channels + c] = f.constant;
  }
}

template <bool kBackward, int kLanes>
__global__ void __launch_bounds__(kBlockThreads) normWriteKernel(const __grid_constant__ NormParams p) {
  const Post<kLanes> post(p, p.writers, p.perWriter);
  if (!post.valid) return;
  const float* const f = p.factors + post.region * kNormFactors * p.channels + post.channel;
  float a[kLanes], b[kLanes], c[kLanes], d[kLanes];
#pragma unroll
  for (int i = 0; i < kLanes; ++i) {
    a[i] = f[i];
    b[i] = f[p.channels + i];
    c[i] = f[2 * p.channels + i];
    d[i] = kBackward ? f[3 * p.channels + i] : 0.f;
  }
  for (std::int64_t q = post.begin + post.lane; q < post.end; q += kAtOnce * post.lanes) {
    Lanes<kLanes> x[kAtOnce], g[kAtOnce];
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k) {
      const std::int64_t at = q + k * post.lanes;
      if (at >= post.end) break;
      x[k] = loadLanes<kLanes>(p.source, post.offset(p, p.source, at));
      if constexpr (kBackward) g[k] = loadLanes<kLanes>(p.given, post.offset(p, p.given, at));
    }
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k) {
      const std::int64_t at = q + k * post.lanes;
      if (at >= post.end) break;
#pragma unroll
      for (int i = 0; i < kLanes; ++i) {
        if constexpr (kBackward)
          x[k].v[i] = m::normGradient(g[k].v[i], x[k].v[i], a[i], b[i], c[i], d[i]);
        else
          x[k].v[i] = m::normApply(x[k].v[i], a[i], b[i], c[i]);
      }
      storeLanes<kLanes>(p.out, post.offset(p, p.out, at), x[k]);
    }
  }
}

template <bool kBackward, int kLanes>
cudaError_t runTask(const NormParams& p, cudaStream_t stream) {
  const auto tiles = static_cast<unsigned>((p.channels + p.across * kLanes - 1) / (p.across * kLanes));
  if (p.reads()) {
    const dim3 grid(static_cast<unsigned>(p.regions * p.splits), tiles);
    const cudaError_t e = launchBlocks(normReadKernel<kBackward, kLanes>, grid, dim3(kBlockThreads), stream, p);
    if (e != cudaSuccess) return e;
  }
  const dim3 blocks(blocksFor(p.regions * p.groups, kBlockThreads / p.joiners, INT32_MAX));
  if (const cudaError_t e = launchBlocks(normFinishKernel, blocks, dim3(kBlockThreads), stream, p); e != cudaSuccess)
    return e;
  if (!p.writes()) return cudaSuccess;
  return launch(normWriteKernel<kBackward, kLanes>, dim3(static_cast<unsigned>(p.regions * p.writers), tiles),
                dim3(kBlockThreads), stream, p);
}

}  // namespace

cudaError_t runNorm(const NormParams& p, cudaStream_t stream) {
  if (p.backward()) return p.vectors ? runTask<true, 4>(p, stream) : runTask<true, 1>(p, stream);
  return p.vectors ? runTask<false, 4>(p, stream) : runTask<false, 1>(p, stream);
}

}  // namespace kovar::cuda
