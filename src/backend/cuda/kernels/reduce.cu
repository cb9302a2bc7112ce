// Reductions over any axes: some threads share one result, partial results are combined in a fixed order. Sums are
// formed in double precision.

#include <type_traits>

#include "backend/cuda/kernels/lanes.cuh"
#include "backend/cuda/kernels/launch.cuh"

namespace kovar::cuda {
namespace {

using prim::ReduceKind;

constexpr std::uint32_t kNowhere = 0xffffffffu;

__device__ bool isArg(ReduceKind k) { return k == ReduceKind::ArgMin || k == ReduceKind::ArgMax; }
__host__ __device__ bool isSum(ReduceKind k) { return k == ReduceKind::Sum || k == ReduceKind::Mean; }

/// What a thread has found; of sums only the value counts, which is then a double.
template <class V>
struct Found {
  V value;
  std::uint32_t index;
};

template <class F>
__device__ F nothing(ReduceKind k) {
  // NaN loses against any number, so it stands for no value at all.
  return {isSum(k) ? 0 : m::quietNaN<float>(), kNowhere};
}

template <class F>
__device__ F combine(ReduceKind k, const F& a, const F& b) {
  if (isSum(k)) return {a.value + b.value, kNowhere};
  const bool aNone = a.value != a.value, bNone = b.value != b.value;
  const bool less = k == ReduceKind::Min || k == ReduceKind::ArgMin;
  const bool better = (aNone && !bNone) || (less ? b.value < a.value : b.value > a.value);
  const bool equal = (aNone && bNone) || a.value == b.value;
  // Of equal values the first position counts. Member by member: a choice of whole structs goes through memory.
  const bool second = better || (equal && b.index < a.index);
  return {second ? b.value : a.value, second ? b.index : a.index};
}

__device__ void finish(const ReduceParams& p, const Partial& r, std::int64_t result) {
  std::byte* to = p.dst.data + Offsets(p.kept, result).of[1];
  float v = isArg(p.kind) ? static_cast<float>(r.index) : static_cast<float>(r.value) * p.factor;
  if (p.accumulate) v += loadElement(p.dst.type, to);
  storeElement(p.dst.type, to, v);
}

/// How the reduced positions lie: anyhow; at equal distances, to be read a few at a time; or as floats side by side, to be
/// read in fours.
enum class Lie { Anyhow, Evenly, InFours };

template <bool kSum, Lie kLie>
__global__ void __launch_bounds__(kBlockThreads) reduceKernel(const __grid_constant__ ReduceParams p) {
  __shared__ Partial room[kBlockThreads];
  constexpr int kUnit = kLie == Lie::InFours ? 4 : 1;  // elements of a load
  using Own = Found<std::conditional_t<kSum, double, float>>;
  const int t = static_cast<int>(threadIdx.x), lanes = p.lanes, perBlock = kBlockThreads / lanes;
  // Neighbouring threads read neighbouring addresses: along the results, or along the reduced positions.
  const int lane = p.across ? t / perBlock : t % lanes, mine = p.across ? t % perBlock : t / lanes;
  const int laneStep = p.across ? perBlock : 1;
  const std::int64_t result = static_cast<std::int64_t>(blockIdx.x) * perBlock + mine;
  Own acc = nothing<Own>(p.kind);
  const auto take = [&](float v, std::int64_t i) {
    acc = combine(p.kind, acc, Own{v, static_cast<std::uint32_t>(i)});
  };
  if (result < p.results) {
    const std::byte* from = p.src.data + Offsets(p.kept, result).of[0];
    const std::int64_t count = p.count / kUnit, perSplit = p.perSplit / kUnit;
    const std::int64_t begin = static_cast<std::int64_t>(blockIdx.y) * perSplit;
    const std::int64_t end = begin + perSplit < count ? begin + perSplit : count;
    std::int64_t i = begin + lane;
    if constexpr (kLie != Lie::Anyhow) {
      constexpr int kAtOnce = 4;
      const std::int64_t step = p.reduced.step[0][0] * kUnit;
      const auto load = [&](std::int64_t unit) {
        if constexpr (kUnit == 4)
          return *reinterpret_cast<const Lanes<4>*>(from + unit * step);
        else
          return Lanes<1>{loadElement(p.src.type, from + unit * step)};
      };
      const auto takeAll = [&](const Lanes<kUnit>& v, std::int64_t unit) {
#pragma unroll
        for (int l = 0; l < kUnit; ++l) take(v.v[l], unit * kUnit + l);
      };
      for (; i + (kAtOnce - 1) * lanes < end; i += kAtOnce * lanes) {
        Lanes<kUnit> v[kAtOnce];
#pragma unroll
        for (int k = 0; k < kAtOnce; ++k) v[k] = load(i + k * lanes);
#pragma unroll
        for (int k = 0; k < kAtOnce; ++k) takeAll(v[k], i + k * lanes);
      }
      for (; i < end; i += lanes) takeAll(load(i), i);
    } else {
      for (; i < end; i += lanes) take(loadElement(p.src.type, from + Offsets(p.reduced, i).of[0]), i);
    }
  }
  room[t] = {acc.value, acc.index};
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
  Partial acc = nothing<Partial>(p.kind);
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
  const auto by = [&]<bool kSum>(std::bool_constant<kSum>) {
    return p.fours              ? reduceKernel<kSum, Lie::InFours>
           : p.reduced.rank == 1 ? reduceKernel<kSum, Lie::Evenly>
                                 : reduceKernel<kSum, Lie::Anyhow>;
  };
  const auto kernel = isSum(p.kind) ? by(std::true_type{}) : by(std::false_type{});
  if (const cudaError_t e = launchBlocks(kernel, grid, dim3(kBlockThreads), stream, p); e != cudaSuccess) return e;
  if (p.splits == 1) return cudaSuccess;
  return launchBlocks(reduceFinishKernel, dim3(static_cast<unsigned>(p.results)), dim3(kBlockThreads), stream, p);
}

}  // namespace kovar::cuda
