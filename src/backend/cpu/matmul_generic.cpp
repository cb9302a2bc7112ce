// Straightforward loops for anything valid: the last candidate, and the one that the others are compared with.

#include <algorithm>

#include "backend/cpu/failure_flag.hpp"
#include "backend/cpu/matmul.hpp"
#include "backend/cpu/post_ops.hpp"
#include "backend/cpu/thread_scratch.hpp"
#include "backend/cpu/via_f32.hpp"

namespace kovar::cpu {
namespace {

using base::Status;
using prim::Invocation;

/// Rows of C that one chunk computes.
constexpr std::int64_t kRows = 4;

/// One row of C, with `sum` as room for it.
void rowOf(const MatmulShape& s, const PostOps& post, const MatmulUpdate& update, const Invocation& inv, std::int64_t m,
           float* sum) {
  const auto* a = at<const float>(inv, 0, s.a) + m * s.a.stride(0);
  const auto* b = at<const float>(inv, 1, s.b);
  auto* c = at<float>(inv, s.cArg, s.c) + m * s.c.stride(0);
  std::fill_n(sum, s.n, 0.f);
  const bool alongK = s.b.stride(0) < s.b.stride(1);
  for (std::int64_t n = 0; n < s.n && alongK; ++n)
    for (std::int64_t k = 0; k < s.k; ++k) sum[n] += a[k * s.a.stride(1)] * b[k * s.b.stride(0) + n * s.b.stride(1)];
  for (std::int64_t k = 0; k < s.k && !alongK; ++k) {
    const float v = a[k * s.a.stride(1)];
    for (std::int64_t n = 0; n < s.n; ++n) sum[n] += v * b[k * s.b.stride(0) + n * s.b.stride(1)];
  }
  if (s.desc.update) return update.run(stepRuleOf(s.desc.step, *inv.scalars), inv, sum, m, 0, s.n);
  for (std::int64_t n = 0; n < s.n; ++n) {
    float& v = sum[n];
    if (s.desc.bias) v += at<const float>(inv, s.biasArg, s.bias)[n * s.bias.stride(0)];
    if (s.desc.accumulate) v += c[n * s.c.stride(1)];
  }
  const std::int64_t index[1] = {m};
  if (!post.empty()) post.apply(inv, index, 0, s.n, sum, sum);
  for (std::int64_t n = 0; n < s.n; ++n) c[n * s.c.stride(1)] = sum[n];
}

Status prepareF32(const prim::Matmul& desc, std::span<const prim::View> views, const prim::PrepareOptions&,
                  CpuPlan& plan) {
  const MatmulShape s = describe(desc, views);
  const PostOps post(desc.post, s.c, views, s.ownArgs);
  const MatmulUpdate update = desc.update ? MatmulUpdate(s, views) : MatmulUpdate();
  plan.body = [s, post, update](Context& context, const Invocation& inv) -> Status {
    FailureFlag failure;
    context.pool.run(static_cast<std::size_t>((s.m + kRows - 1) / kRows), [&](std::size_t chunk) {
      float* room = threadFloats(static_cast<std::size_t>(s.n));
      if (room == nullptr) return failure.raise(FailureFlag::kMemory);
      const std::int64_t first = static_cast<std::int64_t>(chunk) * kRows;
      for (std::int64_t m = first; m < std::min(s.m, first + kRows); ++m) rowOf(s, post, update, inv, m, room);
    });
    if (s.desc.rowSum) rowSums(context, s, at<const float>(inv, 0, s.a), at<float>(inv, s.rowSumArg, s.rowSum));
    return failure.status("cpu:matmul:generic");
  };
  return {};
}

}  // namespace

Status prepareMatmulGeneric(const prim::Matmul& desc, std::span<const prim::View> views,
                            const prim::PrepareOptions& options, CpuPlan& plan) {
  return viaF32(desc, views, options, plan, matmulAccess(desc), prepareF32);
}

}  // namespace kovar::cpu
