// Reductions over any axes. The reduced positions are cut into fixed blocks, each gives a partial result, and the partial
// results are combined in order: the same sums for any number of threads.

#include "backend/cpu/reduce.hpp"

#include <algorithm>
#include <array>
#include <memory>

#include "backend/cpu/cpu.hpp"
#include "backend/cpu/loops.hpp"
#include "backend/cpu/row_io.hpp"
#include "backend/cpu/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/reduce.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backend/cpu/rows.hpp"

#ifndef KOVAR_BACKEND_CPU_REDUCE_ONCE
#define KOVAR_BACKEND_CPU_REDUCE_ONCE
namespace kovar::cpu {

inline constexpr std::int64_t kRunPiece = 8192;  ///< elements of a run that one step takes
inline constexpr std::int64_t kTile = 1024;      ///< columns of one partial result

}  // namespace kovar::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace kovar::cpu {
namespace HWY_NAMESPACE {
namespace {

using prim::ReduceKind;

constexpr bool isArg(ReduceKind k) { return k == ReduceKind::ArgMin || k == ReduceKind::ArgMax; }
constexpr bool isSum(ReduceKind k) { return k == ReduceKind::Sum || k == ReduceKind::Mean; }

/// Value combination of the kinds without an index; NaN loses.
template <ReduceKind kKind> struct Combine {
  template <class V> HWY_INLINE V operator()(V a, V b) const {
    if constexpr (isSum(kKind)) return a + b;
    else if constexpr (kKind == ReduceKind::Min) return m::minNumber(a, b);
    else return m::maxNumber(a, b);
  }
};

/// True where v is to replace `best` of a lower index.
template <ReduceKind kKind, class V> HWY_INLINE auto beats(V v, V best) {
  const auto first = m::both(m::isNaN(best), m::invert(m::isNaN(v)));
  if constexpr (kKind == ReduceKind::ArgMin) return m::either(v < best, first);
  else return m::either(v > best, first);
}

/// Combines one row of `n` floats into the partial result; `index` is the row's number among the reduced positions.
template <ReduceKind kKind>
void combineRow(const float* x, std::int64_t n, bool first, std::uint32_t index, const ReducePartial& out) {
  for (std::int64_t i = 0; i < n; i += kLanes) {
    const std::int64_t part = std::min(kLanes, n - i);
    const bool whole = part == kLanes;
    const Floats v = whole ? m::load<Floats>(x + i) : loadPart(x + i, part);
    Floats result = v;
    if constexpr (isArg(kKind)) {
      m::Bits where(index);
      if (!first) {
        // The partial result has room for whole vectors.
        const Floats best = m::load<Floats>(out.value + i);
        const auto better = beats<kKind>(v, best);
        result = m::select(better, v, best);
        where = m::select(better, where, m::loadBits<m::Bits>(out.index + i));
      }
      m::storeBits(where, out.index + i);
    } else if (!first) {
      result = Combine<kKind>()(m::load<Floats>(out.value + i), v);
    }
    m::store(result, out.value + i);
  }
}

template <ReduceKind kKind>
void combineRun(const float* x, std::int64_t n, bool first, std::uint32_t index, const ReducePartial& out) {
  if constexpr (isArg(kKind)) {
    float best = first ? x[0] : out.value[0];
    std::uint32_t where = first ? index : out.index[0];
    for (std::int64_t i = first ? 1 : 0; i < n; ++i) {
      if (!beats<kKind>(x[i], best)) continue;
      best = x[i];
      where = index + static_cast<std::uint32_t>(i);
    }
    out.value[0] = best;
    out.index[0] = where;
    return;
  }
  const Combine<kKind> combine;
  // Lanes without an element must not change the result.
  const Floats neutral = isSum(kKind) ? Floats(0.f) : m::quietNaN<Floats>();
  Floats acc[4] = {neutral, neutral, neutral, neutral};
  std::int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes)
    for (int k = 0; k < 4; ++k) acc[k] = combine(acc[k], m::load<Floats>(x + i + k * kLanes));
  for (; i + kLanes <= n; i += kLanes) acc[0] = combine(acc[0], m::load<Floats>(x + i));
  if (i < n) acc[1] = combine(acc[1], loadPartOr(x + i, n - i, neutral));
  const float all = acrossLanes(combine(combine(acc[0], acc[1]), combine(acc[2], acc[3])), combine);
  out.value[0] = first ? all : combine(out.value[0], all);
}

template <ReduceKind kKind>
void reduceBlockOf(const ReducePlan& plan, const std::byte* src, std::int64_t tile, std::int64_t block, const ReducePartial& out) {
  HWY_ALIGN float buffer[kRunPiece];
  const std::int64_t begin = block * plan.stepsPerBlock, end = std::min(plan.steps, begin + plan.stepsPerBlock);
  const std::int64_t size = static_cast<std::int64_t>(prim::sizeOf(plan.srcType));
  for (std::int64_t s = begin; s < end; ++s) {
    const std::byte* p = src;
    std::int64_t position = s / plan.runPieces;
    const std::int64_t piece = s % plan.runPieces * kRunPiece;
    std::int64_t number = position * plan.run.count + piece;
    for (std::size_t a = plan.reduced.size(); a-- > 0;) {
      p += position % plan.reduced[a].count * plan.reduced[a].srcStep;
      position /= plan.reduced[a].count;
    }
    if (plan.acrossRows) {
      const std::int64_t first = tile * plan.tile, n = std::min(plan.tile, plan.row.count - first);
      const float* x = floatRow(plan.srcType, p + first * plan.row.srcStep, plan.row.count == 1 ? size : plan.row.srcStep, n, buffer);
      combineRow<kKind>(x, n, s == begin, static_cast<std::uint32_t>(number), out);
    } else {
      const std::int64_t n = std::min(kRunPiece, plan.run.count - piece);
      const float* x = floatRow(plan.srcType, p + piece * plan.run.srcStep, plan.run.count == 1 ? size : plan.run.srcStep, n, buffer);
      combineRun<kKind>(x, n, s == begin, static_cast<std::uint32_t>(number), out);
    }
  }
}

void reduceBlock(const ReducePlan& plan, const std::byte* src, std::int64_t tile, std::int64_t block, const ReducePartial& out) {
  switch (plan.desc.kind) {
    case ReduceKind::Sum:
    case ReduceKind::Mean: return reduceBlockOf<ReduceKind::Sum>(plan, src, tile, block, out);
    case ReduceKind::Min: return reduceBlockOf<ReduceKind::Min>(plan, src, tile, block, out);
    case ReduceKind::Max: return reduceBlockOf<ReduceKind::Max>(plan, src, tile, block, out);
    case ReduceKind::ArgMin: return reduceBlockOf<ReduceKind::ArgMin>(plan, src, tile, block, out);
    case ReduceKind::ArgMax: return reduceBlockOf<ReduceKind::ArgMax>(plan, src, tile, block, out);
  }
}

/// The partial results of one element, `step` apart, in order. Sums in double: there may be many blocks.
template <ReduceKind kKind>
float finishOf(const ReducePlan& plan, const float* value, const std::uint32_t* index, std::int64_t step) {
  if constexpr (isSum(kKind)) {
    double sum = 0;
    for (std::int64_t b = 0; b < plan.blocks; ++b) sum += static_cast<double>(value[b * step]);
    return static_cast<float>(sum);
  } else if constexpr (isArg(kKind)) {
    float best = value[0];
    std::uint32_t where = index[0];
    for (std::int64_t b = 1; b < plan.blocks; ++b) {
      if (!beats<kKind>(value[b * step], best)) continue;
      best = value[b * step];
      where = index[b * step];
    }
    return static_cast<float>(where);
  } else {
    float best = value[0];
    for (std::int64_t b = 1; b < plan.blocks; ++b) best = Combine<kKind>()(best, value[b * step]);
    return best;
  }
}

float finishOne(const ReducePlan& plan, const float* value, const std::uint32_t* index, std::int64_t step) {
  switch (plan.desc.kind) {
    case ReduceKind::Sum:
    case ReduceKind::Mean: return finishOf<ReduceKind::Sum>(plan, value, index, step);
    case ReduceKind::Min: return finishOf<ReduceKind::Min>(plan, value, index, step);
    case ReduceKind::Max: return finishOf<ReduceKind::Max>(plan, value, index, step);
    case ReduceKind::ArgMin: return finishOf<ReduceKind::ArgMin>(plan, value, index, step);
    case ReduceKind::ArgMax: return finishOf<ReduceKind::ArgMax>(plan, value, index, step);
  }
  return 0.f;
}

void finishRow(const ReducePlan& plan, const float* value, const std::uint32_t* index, std::int64_t elementStep,
               std::int64_t blockStep, std::int64_t n, float factor, float* out) {
  for (std::int64_t i = 0; i < n; ++i)
    out[i] = finishOne(plan, value + i * elementStep, index == nullptr ? nullptr : index + i * elementStep, blockStep) * factor;
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace kovar::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kovar::cpu {
namespace {

HWY_EXPORT(reduceBlock);
HWY_EXPORT(finishRow);

using prim::View;

/// Position of number `index` among the kept axes: byte offsets of source and destination.
std::pair<std::int64_t, std::int64_t> keptOffset(const ReducePlan& plan, std::int64_t index) {
  std::int64_t src = plan.srcStart, dst = plan.dstStart;
  for (std::size_t a = plan.kept.size(); a-- > 0;) {
    const std::int64_t i = index % plan.kept[a].count;
    index /= plan.kept[a].count;
    src += i * plan.kept[a].srcStep;
    dst += i * plan.kept[a].dstStep;
  }
  return {src, dst};
}

ReducePlan planOf(const prim::Reduce& desc, const View& src, const View& dst) {
  ReducePlan plan;
  plan.desc = desc;
  plan.srcType = src.dtype;
  plan.dstType = dst.dtype;
  const auto srcSize = static_cast<std::int64_t>(sizeOf(src.dtype)), dstSize = static_cast<std::int64_t>(sizeOf(dst.dtype));
  plan.srcStart = src.offset * srcSize;
  plan.dstStart = dst.offset * dstSize;
  const auto append = [](std::vector<ReduceAxis>& axes, const ReduceAxis& next, bool adjacent) {
    if (adjacent && !axes.empty() && axes.back().srcStep == next.srcStep * next.count &&
        axes.back().dstStep == next.dstStep * next.count)
      axes.back() = {axes.back().count * next.count, next.srcStep, next.dstStep};
    else axes.push_back(next);
  };
  bool lastReduced = false, any = false;
  for (int axis = 0; axis < src.rank; ++axis) {
    if (src.dim(axis) == 1) continue;
    const bool reduces = dst.dim(axis) == 1;
    const ReduceAxis next{src.dim(axis), src.stride(axis) * srcSize, reduces ? 0 : dst.stride(axis) * dstSize};
    append(reduces ? plan.reduced : plan.kept, next, any && reduces == lastReduced);
    lastReduced = reduces;
    any = true;
  }
  plan.acrossRows = !any || !lastReduced;
  if (!plan.kept.empty()) {
    plan.row = plan.kept.back();
    plan.kept.pop_back();
  }
  if (!plan.acrossRows) {
    plan.run = plan.reduced.back();
    plan.reduced.pop_back();
    plan.runPieces = divideUp(plan.run.count, kRunPiece);
  }
  for (const ReduceAxis& a : plan.kept) plan.rows *= a.count;
  plan.steps = plan.runPieces;
  for (const ReduceAxis& a : plan.reduced) plan.steps *= a.count;
  if (plan.acrossRows) {
    plan.tile = std::min(plan.row.count, kTile);
    plan.tiles = divideUp(plan.row.count, plan.tile);
    plan.stepsPerBlock = std::clamp<std::int64_t>(kChunkElements / plan.tile, 16, 256);
  } else {
    plan.stepsPerBlock = std::max<std::int64_t>(1, kRunPiece / std::min(plan.run.count, kRunPiece));
  }
  plan.blocks = divideUp(plan.steps, plan.stepsPerBlock);
  return plan;
}

/// Where partial results stand in the scratch memory: tiles of whole vectors, block after block.
struct PartialLayout {
  static constexpr std::int64_t kVector = 16;
  std::int64_t width;    ///< floats of one tile's result
  std::int64_t results;  ///< floats of all

  explicit PartialLayout(const ReducePlan& p)
      : width(p.acrossRows ? divideUp(p.tile, kVector) * kVector : 1),
        results(p.acrossRows ? p.rows * p.tiles * p.blocks * width : p.rows * p.row.count * p.blocks) {}
};

void runReduce(const ReducePlan& plan, Context& context, const prim::Invocation& inv) {
  const PartialLayout layout(plan);
  const bool arg = plan.desc.kind == prim::ReduceKind::ArgMin || plan.desc.kind == prim::ReduceKind::ArgMax;
  auto* values = reinterpret_cast<float*>(inv.scratch);
  auto* indices = arg ? reinterpret_cast<std::uint32_t*>(values + layout.results) : nullptr;
  // Kept elements (or tiles of them) times blocks.
  const std::int64_t units = plan.acrossRows ? plan.rows * plan.tiles : plan.rows * plan.row.count;
  const std::int64_t workPerUnit = plan.acrossRows ? plan.tile * plan.stepsPerBlock : plan.stepsPerBlock * std::min(plan.run.count, kRunPiece);
  forRanges(context.pool, units * plan.blocks, std::max<std::int64_t>(1, kChunkElements / workPerUnit),
            [&](std::int64_t begin, std::int64_t end) {
              for (std::int64_t i = begin; i < end; ++i) {
                const std::int64_t unit = i / plan.blocks, block = i % plan.blocks;
                const std::int64_t perRow = plan.acrossRows ? plan.tiles : plan.row.count;
                std::int64_t at = keptOffset(plan, unit / perRow).first;
                if (!plan.acrossRows) at += unit % perRow * plan.row.srcStep;
                const ReducePartial out{values + i * layout.width, arg ? indices + i * layout.width : nullptr};
                HWY_DYNAMIC_DISPATCH(reduceBlock)(plan, inv.args[0].data + at, plan.acrossRows ? unit % perRow : 0, block, out);
              }
            });
  std::int64_t reducedCount = plan.run.count;
  for (const ReduceAxis& a : plan.reduced) reducedCount *= a.count;
  float factor = arg ? 1.f : plan.desc.scale;
  if (plan.desc.kind == prim::ReduceKind::Mean) factor = static_cast<float>(static_cast<double>(factor) / static_cast<double>(reducedCount));
  const std::int64_t piece = plan.acrossRows ? plan.tile : std::min(plan.row.count, kTile);
  const std::int64_t pieces = divideUp(plan.row.count, piece);
  forRanges(context.pool, plan.rows * pieces, std::max<std::int64_t>(1, kChunkElements / 4 / (piece * plan.blocks)),
            [&](std::int64_t begin, std::int64_t end) {
              std::array<float, kTile> row, old;
              for (std::int64_t i = begin; i < end; ++i) {
                const std::int64_t first = i % pieces * piece, n = std::min(piece, plan.row.count - first);
                const std::int64_t at = plan.acrossRows ? i * plan.blocks * layout.width
                                                        : (i / pieces * plan.row.count + first) * plan.blocks;
                HWY_DYNAMIC_DISPATCH(finishRow)
                (plan, values + at, arg ? indices + at : nullptr, plan.acrossRows ? 1 : plan.blocks,
                 plan.acrossRows ? layout.width : 1, n, factor, row.data());
                std::byte* to = inv.args[1].data + keptOffset(plan, i / pieces).second + first * plan.row.dstStep;
                if (plan.desc.accumulate) {
                  readRow(plan.dstType, to, plan.row.dstStep, n, old.data());
                  for (std::int64_t k = 0; k < n; ++k) row[static_cast<std::size_t>(k)] += old[static_cast<std::size_t>(k)];
                }
                writeRow(plan.dstType, row.data(), n, to, plan.row.dstStep);
              }
            });
}

base::Status prepareReduce(const prim::Reduce& desc, std::span<const View> views, const prim::PrepareOptions&, CpuPlan& plan) {
  const bool arg = desc.kind == prim::ReduceKind::ArgMin || desc.kind == prim::ReduceKind::ArgMax;
  auto reduce = std::make_shared<const ReducePlan>(planOf(desc, views[0], views[1]));
  plan.scratchBytes = static_cast<std::size_t>(PartialLayout(*reduce).results) * sizeof(float) * (arg ? 2 : 1);
  plan.body = [reduce = std::move(reduce)](Context& context, const prim::Invocation& inv) -> base::Status {
    runReduce(*reduce, context, inv);
    return {};
  };
  return {};
}

constexpr Candidate<prim::Reduce> kCandidates[] = {{"cpu:reduce:blocks", prepareReduce}};

}  // namespace

std::span<const Candidate<prim::Reduce>> reduceCandidates() { return kCandidates; }

}  // namespace kovar::cpu
#endif
