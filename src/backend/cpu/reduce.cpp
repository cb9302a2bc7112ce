// Reductions over any axes. The reduced positions are cut into fixed blocks, each gives a partial result, and the
// partial results are combined in order: the same sums for any number of threads.

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
template <ReduceKind kKind>
struct Combine {
  template <class V>
  HWY_INLINE V operator()(V a, V b) const {
    if constexpr (isSum(kKind))
      return a + b;
    else if constexpr (kKind == ReduceKind::Min)
      return m::minNumber(a, b);
    else
      return m::maxNumber(a, b);
  }
};

/// True where v is to replace `best` of a lower index.
template <ReduceKind kKind, class V>
HWY_INLINE auto beats(V v, V best) {
  const auto first = m::both(m::isNaN(best), m::invert(m::isNaN(v)));
  if constexpr (kKind == ReduceKind::ArgMin)
    return m::either(v < best, first);
  else
    return m::either(v > best, first);
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
        const auto best = m::load<Floats>(out.value + i);
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

/// Eight rows of floats, `step` apart, added as a tree and then to the partial result: fewer roundings and less
/// traffic than one by one.
HWY_INLINE Floats sumEight(const float* x, std::int64_t step, std::int64_t part) {
  const Floats a = loadLanes(x, part) + loadLanes(x + step, part);
  const Floats b = loadLanes(x + 2 * step, part) + loadLanes(x + 3 * step, part);
  const Floats c = loadLanes(x + 4 * step, part) + loadLanes(x + 5 * step, part);
  const Floats d = loadLanes(x + 6 * step, part) + loadLanes(x + 7 * step, part);
  return (a + b) + (c + d);
}
void addEightRows(const float* x, std::int64_t step, std::int64_t n, bool first, float* out) {
  for (std::int64_t i = 0; i < n; i += kLanes) {
    const Floats sum = sumEight(x + i, step, n - i < kLanes ? n - i : 0);
    m::store(first ? sum : m::load<Floats>(out + i) + sum, out + i);
  }
}

template <ReduceKind kKind>
void combineRun(const float* x, std::int64_t n, bool first, std::uint32_t index, const ReducePartial& out) {
  if constexpr (isArg(kKind)) {
    float best = first ? x[0] : out.value[0];
    std::uint32_t where = first ? index : out.index[0];
    std::int64_t i = 0;
    if (n >= 2 * kLanes) {
      // Each lane keeps the first of its own best values; then the lanes are compared, the lower index before the
      // higher.
      auto bests = m::load<Floats>(x);
      m::Bits lane(hn::Iota(hn::ScalableTag<std::uint32_t>(), index));
      m::Bits places = lane;
      for (i = kLanes; i + kLanes <= n; i += kLanes) {
        lane = lane + m::Bits(static_cast<std::uint32_t>(kLanes));
        const auto v = m::load<Floats>(x + i);
        const auto better = beats<kKind>(v, bests);
        bests = m::select(better, v, bests);
        places = m::select(better, lane, places);
      }
      HWY_ALIGN float values[kLanes];
      HWY_ALIGN std::uint32_t at[kLanes];
      m::store(bests, values);
      m::storeBits(places, at);
      for (std::int64_t k = 0; k < kLanes; ++k) {
        const bool tie = values[k] == best && at[k] < where;
        if (!beats<kKind>(values[k], best) && !tie) continue;
        best = values[k];
        where = at[k];
      }
    }
    for (; i < n; ++i) {
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
  const Floats together = combine(combine(acc[0], acc[1]), combine(acc[2], acc[3]));
  const float all = isSum(kKind) ? hn::GetLane(sumOfLanes(together).raw) : acrossLanes(together, combine);
  out.value[0] = first ? all : combine(out.value[0], all);
}

/// Position `index` among the reduced axes, in bytes from the first one.
std::int64_t reducedOffset(const ReducePlan& plan, std::int64_t index) {
  std::int64_t at = 0;
  for (std::size_t a = plan.reduced.size(); a-- > 0;) {
    at += index % plan.reduced[a].count * plan.reduced[a].srcStep;
    index /= plan.reduced[a].count;
  }
  return at;
}

/// One partial result of rows: columns [first, first + n) of steps [begin, end).
template <ReduceKind kKind>
void reduceRows(const ReducePlan& plan, const std::byte* src, std::int64_t n, std::int64_t begin, std::int64_t end,
                const ReducePartial& out) {
  HWY_ALIGN float buffer[8 * kTile];
  const auto size = static_cast<std::int64_t>(prim::sizeOf(plan.srcType));
  const std::int64_t columnStep = n == 1 ? size : plan.row.srcStep;
  const ReduceAxis inner = plan.reduced.empty() ? ReduceAxis{} : plan.reduced.back();
  for (std::int64_t s = begin; s < end;) {
    const std::byte* p = src + reducedOffset(plan, s);
    if (isSum(kKind) && s % inner.count + 8 <= inner.count && s + 8 <= end) {
      if (isFloatRun(plan.srcType, columnStep)) {
        addEightRows(reinterpret_cast<const float*>(p), inner.srcStep / 4, n, s == begin, out.value);
      } else {
        for (std::int64_t r = 0; r < 8; ++r)
          loadRow(plan.srcType, p + r * inner.srcStep, columnStep, n, buffer + r * kTile);
        addEightRows(buffer, kTile, n, s == begin, out.value);
      }
      s += 8;
      continue;
    }
    const float* x = floatRow(plan.srcType, p, columnStep, n, buffer);
    combineRow<kKind>(x, n, s == begin, static_cast<std::uint32_t>(s), out);
    ++s;
  }
}

/// One partial result of a run: steps [begin, end), each a piece of it.
template <ReduceKind kKind>
void reduceRuns(const ReducePlan& plan, const std::byte* src, std::int64_t begin, std::int64_t end,
                const ReducePartial& out) {
  HWY_ALIGN float buffer[kRunPiece];
  const auto size = static_cast<std::int64_t>(prim::sizeOf(plan.srcType));
  for (std::int64_t s = begin; s < end; ++s) {
    const std::int64_t position = s / plan.runPieces, piece = s % plan.runPieces * kRunPiece;
    const std::int64_t n = std::min(kRunPiece, plan.run.count - piece);
    const std::byte* p = src + reducedOffset(plan, position) + piece * plan.run.srcStep;
    const float* x = floatRow(plan.srcType, p, plan.run.count == 1 ? size : plan.run.srcStep, n, buffer);
    combineRun<kKind>(x, n, s == begin, static_cast<std::uint32_t>(position * plan.run.count + piece), out);
  }
}

/// Partial results of block `block` for `count` neighbours: tiles of the row from `first` on, or elements of it.
template <ReduceKind kKind>
void reduceUnits(const ReducePlan& plan, const std::byte* src, std::int64_t first, std::int64_t count,
                 std::int64_t block, const ReducePartial& out, std::int64_t outStep) {
  const std::int64_t begin = block * plan.stepsPerBlock, end = std::min(plan.steps, begin + plan.stepsPerBlock);
  for (std::int64_t u = first; u < first + count; ++u) {
    const ReducePartial to{out.value + (u - first) * outStep,
                           out.index == nullptr ? nullptr : out.index + (u - first) * outStep};
    const std::byte* p = src + u * plan.tile * plan.row.srcStep;
    if (plan.acrossRows)
      reduceRows<kKind>(plan, p, std::min(plan.tile, plan.row.count - u * plan.tile), begin, end, to);
    else
      reduceRuns<kKind>(plan, p, begin, end, to);
  }
}

void reduceBlock(const ReducePlan& plan, const std::byte* src, std::int64_t first, std::int64_t count,
                 std::int64_t block, const ReducePartial& out, std::int64_t outStep) {
  switch (plan.desc.kind) {
    case ReduceKind::Sum:
    case ReduceKind::Mean:
      return reduceUnits<ReduceKind::Sum>(plan, src, first, count, block, out, outStep);
    case ReduceKind::Min:
      return reduceUnits<ReduceKind::Min>(plan, src, first, count, block, out, outStep);
    case ReduceKind::Max:
      return reduceUnits<ReduceKind::Max>(plan, src, first, count, block, out, outStep);
    case ReduceKind::ArgMin:
      return reduceUnits<ReduceKind::ArgMin>(plan, src, first, count, block, out, outStep);
    case ReduceKind::ArgMax:
      return reduceUnits<ReduceKind::ArgMax>(plan, src, first, count, block, out, outStep);
  }
}

/// The partial results of one element, from `at` on and `step` apart, in order. Sums in double: there may be many
/// blocks. index: null unless the kind asks for it.
template <ReduceKind kKind>
float finishOf(const ReducePlan& plan, const float* value, const std::uint32_t* index, std::int64_t at,
               std::int64_t step) {
  value += at;
  if constexpr (isSum(kKind)) {
    double sum = 0;
    for (std::int64_t b = 0; b < plan.blocks; ++b) sum += static_cast<double>(value[b * step]);
    return static_cast<float>(sum);
  } else if constexpr (isArg(kKind)) {
    float best = value[0];
    index += at;
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

float finishOne(const ReducePlan& plan, const float* value, const std::uint32_t* index, std::int64_t at,
                std::int64_t step) {
  switch (plan.desc.kind) {
    case ReduceKind::Sum:
    case ReduceKind::Mean:
      return finishOf<ReduceKind::Sum>(plan, value, index, at, step);
    case ReduceKind::Min:
      return finishOf<ReduceKind::Min>(plan, value, index, at, step);
    case ReduceKind::Max:
      return finishOf<ReduceKind::Max>(plan, value, index, at, step);
    case ReduceKind::ArgMin:
      return finishOf<ReduceKind::ArgMin>(plan, value, index, at, step);
    case ReduceKind::ArgMax:
      return finishOf<ReduceKind::ArgMax>(plan, value, index, at, step);
  }
  return 0.f;
}

void finishRow(const ReducePlan& plan, const float* value, const std::uint32_t* index, std::int64_t elementStep,
               std::int64_t blockStep, std::int64_t n, float factor, float* out) {
  for (std::int64_t i = 0; i < n; ++i) out[i] = finishOne(plan, value, index, i * elementStep, blockStep) * factor;
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
  const auto srcSize = static_cast<std::int64_t>(sizeOf(src.dtype)),
             dstSize = static_cast<std::int64_t>(sizeOf(dst.dtype));
  plan.srcStart = src.offset * srcSize;
  plan.dstStart = dst.offset * dstSize;
  const auto append = [](std::vector<ReduceAxis>& axes, const ReduceAxis& next, bool adjacent) {
    if (adjacent && !axes.empty() && axes.back().srcStep == next.srcStep * next.count &&
        axes.back().dstStep == next.dstStep * next.count)
      axes.back() = {axes.back().count * next.count, next.srcStep, next.dstStep};
    else
      axes.push_back(next);
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
  // Units are kept elements, or tiles of the kept row; neighbours in the row are handled together.
  const std::int64_t perRow = plan.acrossRows ? plan.tiles : plan.row.count;
  const std::int64_t work =
      plan.acrossRows ? plan.tile * plan.stepsPerBlock : plan.stepsPerBlock * std::min(plan.run.count, kRunPiece);
  const std::int64_t group = std::clamp<std::int64_t>(kChunkElements / work, 1, perRow),
                     groups = divideUp(perRow, group);
  const std::int64_t grain = std::max<std::int64_t>(1, kChunkElements / (work * group));
  forRanges(context.pool, plan.rows * groups * plan.blocks, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t block = i % plan.blocks, first = i / plan.blocks % groups * group,
                         row = i / plan.blocks / groups;
      const std::int64_t at = ((row * perRow + first) * plan.blocks + block) * layout.width;
      const ReducePartial out{values + at, arg ? indices + at : nullptr};
      HWY_DYNAMIC_DISPATCH(reduceBlock)
      (plan, inv.args[0].data + keptOffset(plan, row).first, first, std::min(group, perRow - first), block, out,
       plan.blocks * layout.width);
    }
  });
  std::int64_t reducedCount = plan.run.count;
  for (const ReduceAxis& a : plan.reduced) reducedCount *= a.count;
  float factor = arg ? 1.f : plan.desc.scale;
  if (plan.desc.kind == prim::ReduceKind::Mean)
    factor = static_cast<float>(static_cast<double>(factor) / static_cast<double>(reducedCount));
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
                  for (std::int64_t k = 0; k < n; ++k)
                    row[static_cast<std::size_t>(k)] += old[static_cast<std::size_t>(k)];
                }
                writeRow(plan.dstType, row.data(), n, to, plan.row.dstStep);
              }
            });
}

base::Status prepareReduce(const prim::Reduce& desc, std::span<const View> views, const prim::PrepareOptions&,
                           CpuPlan& plan) {
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
