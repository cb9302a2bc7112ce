// Reductions over any axes: some threads share one result, partial results are combined in a fixed order. Sums are
// formed in double precision.

#include "backend/cuda/kernels/elements.cuh"
#include "backend/cuda/kernels/launch.cuh"

namespace kovar::cuda {
namespace {

using prim::ReduceKind;

constexpr std::uint32_t kNowhere = 0xffffffffu;

__device__ bool isArg(ReduceKind k) { return k == ReduceKind::ArgMin || k == ReduceKind::ArgMax; }
__device__ bool isSum(ReduceKind k) { return k == ReduceKind::Sum || k == ReduceKind::Mean; }

__device__ Partial nothing(ReduceKind k) {
  // NaN loses against any number, so it stands for no value at all.
  return {isSum(k) ? 0.0 : static_cast<double>(m::quietNaN<float>()), kNowhere};
}

__device__ Partial combine(ReduceKind k, const Partial& a, const Partial& b) {
  if (isSum(k)) return {a.value + b.value, kNowhere};
  const bool aNone = a.value != a.value, bNone = b.value != b.value;
  const bool less = k == ReduceKind::Min || k == ReduceKind::ArgMin;
  const bool better = (aNone && !bNone) || (less ? b.value < a.value : b.value > a.value);
  const bool equal = (aNone && bNone) || a.value == b.value;
  // Of equal values the first position counts.
  return better || (equal && b.index < a.index) ? b : a;
}

__device__ void finish(const ReduceParams& p, const Partial& r, std::int64_t result) {
  const Place<prim::kMaxRank> place(p.kept, p.kept.rank, result);
  std::byte* to = p.dst.data + place.offset(p.kept, p.kept.rank, 1);
  float v = isArg(p.kind) ? static_cast<float>(r.index) : static_cast<float>(r.value) * p.factor;
  if (p.accumulate) v += loadElement(p.dst.type, to);
  storeElement(p.dst.type, to, v);
}

/// kFlat: the reduced positions lie at equal distances. Their elements are then read a few at a time.
template <bool kSum, bool kFlat>
__global__ void __launch_bounds__(kBlockThreads) reduceKernel(const __grid_constant__ ReduceParams p) {
  __shared__ Partial room[kBlockThreads];
  const int t = static_cast<int>(threadIdx.x), lanes = p.lanes, perBlock = kBlockThreads / lanes;
  // Neighbouring threads read neighbouring addresses: along the results, or along the reduced positions.
  const int lane = p.across ? t / perBlock : t % lanes, mine = p.across ? t % perBlock : t / lanes;
  const int laneStep = p.across ? perBlock : 1;
  const std::int64_t result = static_cast<std::int64_t>(blockIdx.x) * perBlock + mine;
  Partial acc = nothing(p.kind);
  const auto take = [&](float v, std::int64_t i) {
    if constexpr (kSum)
      acc.value += static_cast<double>(v);
    else
      acc = combine(p.kind, acc, {static_cast<double>(v), static_cast<std::uint32_t>(i)});
  };
  if (result < p.results) {
    const Place<prim::kMaxRank> place(p.kept, p.kept.rank, result);
    const std::byte* from = p.src.data + place.offset(p.kept, p.kept.rank, 0);
    const std::int64_t begin = static_cast<std::int64_t>(blockIdx.y) * p.perSplit;
    const std::int64_t end = begin + p.perSplit < p.count ? begin + p.perSplit : p.count;
    std::int64_t i = begin + lane;
    if constexpr (kFlat) {
      constexpr int kAtOnce = 4;
      const std::int64_t step = p.reduced.step[0][0];
      for (; i + (kAtOnce - 1) * lanes < end; i += kAtOnce * lanes) {
        float v[kAtOnce];
#pragma unroll
        for (int k = 0; k < kAtOnce; ++k) v[k] = loadElement(p.src.type, from + (i + k * lanes) * step);
#pragma unroll
        for (int k = 0; k < kAtOnce; ++k) take(v[k], i + k * lanes);
      }
    }
    for (; i < end; i += lanes) {
      const Place<prim::kMaxRank> at(p.reduced, p.reduced.rank, i);
      take(loadElement(p.src.type, from + at.offset(p.reduced, p.reduced.rank, 0)), i);
    }
  }
  room[t] = acc;
  for (int s = lanes / 2; s > 0; s /= 2) {
    __syncthreads();
    if (lane < s) room[t] = combine(p.kind, room[t], room[t + s * laneStep]);
  }
  if (lane != 0 || result >= p.results) return;
  if (p.splits > 1)
    p.partials[result * p.splits + blockIdx.y] = room[t];
  else
    finish(p, room[t], result);
}

/// A block joins the parts of one result: each thread some of them, then thread with thread.
__global__ void __launch_bounds__(kBlockThreads) reduceFinishKernel(const __grid_constant__ ReduceParams p) {
  __shared__ Partial room[kBlockThreads];
  const int t = static_cast<int>(threadIdx.x);
  const Partial* parts = p.partials + static_cast<std::int64_t>(blockIdx.x) * p.splits;
  Partial acc = nothing(p.kind);
  for (std::int64_t s = t; s < p.splits; s += kBlockThreads) acc = combine(p.kind, acc, parts[s]);
  room[t] = acc;
  for (int s = kBlockThreads / 2; s > 0; s /= 2) {
    __syncthreads();
    if (t < s) room[t] = combine(p.kind, room[t], room[t + s]);
  }
  if (t == 0) finish(p, room[0], blockIdx.x);
}

}  // namespace

cudaError_t runReduce(const ReduceParams& p, cudaStream_t stream) {
  const std::int64_t perBlock = kBlockThreads / p.lanes;
  const dim3 grid(blocksFor(p.results, perBlock, INT32_MAX), static_cast<unsigned>(p.splits));
  const bool sum = p.kind == ReduceKind::Sum || p.kind == ReduceKind::Mean, flat = p.reduced.rank == 1;
  const auto kernel = sum ? (flat ? reduceKernel<true, true> : reduceKernel<true, false>)
                          : (flat ? reduceKernel<false, true> : reduceKernel<false, false>);
  if (const cudaError_t e = launchBlocks(kernel, grid, dim3(kBlockThreads), stream, p); e != cudaSuccess) return e;
  if (p.splits == 1) return cudaSuccess;
  return launchBlocks(reduceFinishKernel, dim3(static_cast<unsigned>(p.results)), dim3(kBlockThreads), stream, p);
}

}  // namespace kovar::cuda
