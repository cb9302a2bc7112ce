// Softmax and log-softmax over the last axis, one row at a time: a pass for the maximum, one for the sum, one to
// finish.

#include <array>
#include <vector>

#include "backend/cpu/cpu.hpp"
#include "backend/cpu/loops.hpp"
#include "backend/cpu/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/softmax.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backend/cpu/rows.hpp"
#include "backend/cpu/softmax_row.hpp"

#ifndef KOVAR_BACKEND_CPU_SOFTMAX_ONCE
#define KOVAR_BACKEND_CPU_SOFTMAX_ONCE
namespace kovar::cpu {

/// Rows of up to three views; `loops` walks the positions of all axes but the last.
struct SoftmaxRows {
  prim::Softmax desc;
  Loops loops;
  std::array<prim::DType, 3> types{};
  std::array<std::int64_t, 3> step{};  ///< bytes between elements of the last axis
  std::size_t views = 0;
  std::int64_t length = 0;
};

}  // namespace kovar::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace kovar::cpu {
namespace HWY_NAMESPACE {
namespace {

void softmaxGradientRow(const float* g, const float* y, float* out, std::int64_t n, bool log) {
  Floats sum(0.f);
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const auto d = m::load<Floats>(g + i);
    sum = log ? sum + d : m::fma(d, m::load<Floats>(y + i), sum);
  }
  if (i < n) {
    const Floats d = loadPart(g + i, n - i);
    sum = log ? sum + d : m::fma(d, loadPart(y + i, n - i), sum);
  }
  const Floats total = sumOfLanes(sum);
  for (i = 0; i + kLanes <= n; i += kLanes) {
    const auto d = m::load<Floats>(g + i), v = m::load<Floats>(y + i);
    m::store(log ? m::logSoftmaxBwd(d, v, total) : m::softmaxBwd(d, v, total), out + i);
  }
  if (i < n) {
    const Floats d = loadPart(g + i, n - i), v = loadPart(y + i, n - i);
    storePart(log ? m::logSoftmaxBwd(d, v, total) : m::softmaxBwd(d, v, total), out + i, n - i);
  }
}

void softmaxRows(const SoftmaxRows& rows, std::byte* const* storage, std::int64_t begin, std::int64_t end) {
  thread_local std::vector<float> buffers[3];
  const std::int64_t n = rows.length;
  const LoopAxis& inner = rows.loops.columns();
  const bool forward = rows.desc.direction == prim::Direction::Forward;
  const std::size_t views = forward ? 2 : 3, last = views - 1;
  auto at = rows.loops.position(begin, rows.loops.rank);
  for (std::int64_t i = begin, next = begin % inner.count; i < end; ++i, ++next) {
    if (next == inner.count) {
      at = rows.loops.position(i, rows.loops.rank);
      next = 0;
    }
    float* row[3] = {};
    for (std::size_t v = 0; v < views; ++v) {
      std::byte* p = storage[v] + at[v];
      if (isFloatRun(rows.types[v], rows.step[v])) {
        row[v] = reinterpret_cast<float*>(p);
        continue;
      }
      buffers[v].resize(static_cast<std::size_t>(n));
      row[v] = buffers[v].data();
      if (v < last) loadRow(rows.types[v], p, rows.step[v], n, row[v]);
    }
    if (forward)
      softmaxRow(row[0], row[1], n, rows.desc.log);
    else
      softmaxGradientRow(row[0], row[1], row[2], n, rows.desc.log);
    if (!isFloatRun(rows.types[last], rows.step[last]))
      storeRow(rows.types[last], row[last], n, storage[last] + at[last], rows.step[last]);
    for (std::size_t v = 0; v < views; ++v) at[v] += inner.step[v];
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace kovar::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kovar::cpu {
namespace {

HWY_EXPORT(softmaxRows);

base::Status prepareSoftmax(const prim::Softmax& desc, std::span<const prim::View> views, const prim::PrepareOptions&,
                            CpuPlan& plan) {
  SoftmaxRows rows;
  rows.desc = desc;
  rows.views = views.size();
  const int last = views[0].rank - 1;
  rows.length = views[0].dim(last);
  std::array<prim::View, 3> leading;
  for (std::size_t v = 0; v < views.size(); ++v) {
    rows.types[v] = views[v].dtype;
    rows.step[v] = views[v].stride(last) * static_cast<std::int64_t>(sizeOf(views[v].dtype));
    leading[v] = views[v].slice(last, 0, 1);
  }
  rows.loops = mergeLoops(std::span(leading).first(views.size()));
  const std::int64_t count = views[0].elements() / rows.length;
  plan.body = [rows, count](Context& context, const prim::Invocation& inv) -> base::Status {
    std::array<std::byte*, 3> storage{};
    for (std::size_t v = 0; v < rows.views; ++v) storage[v] = inv.args[v].data;
    const std::int64_t grain = std::max<std::int64_t>(1, kChunkElements / rows.length);
    forRanges(context.pool, count, grain, [&](std::int64_t begin, std::int64_t end) {
      HWY_DYNAMIC_DISPATCH(softmaxRows)(rows, storage.data(), begin, end);
    });
    return {};
  };
  return {};
}

constexpr Candidate<prim::Softmax> kCandidates[] = {{"cpu:softmax:rows", prepareSoftmax}};

}  // namespace

std::span<const Candidate<prim::Softmax>> softmaxCandidates() { return kCandidates; }

}  // namespace kovar::cpu
#endif
