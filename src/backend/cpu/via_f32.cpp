#include "backend/cpu/via_f32.hpp"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

namespace kovar::cpu {
namespace {

using base::Status;
using prim::DType;
using prim::Invocation;
using prim::View;

/// One argument that lives in scratch while the inner plan runs.
struct Converted {
  std::size_t arg = 0;
  std::size_t scratchOffset = 0;
  CpuPlan load, store;  // body empty where the argument is not read or not written
};

base::Result<CpuPlan> prepareCopy(const View& from, const View& to) {
  const View views[] = {from, to};
  std::string reasons;
  for (const auto& candidate : copyCandidates()) {
    CpuPlan plan;
    const Status status = candidate.prepare(prim::Copy{}, std::span<const View>(views), prim::PrepareOptions{}, plan);
    if (status.ok()) return plan;
    reasons += (reasons.empty() ? "" : "; ") + status.failure().text;
  }
  return base::Failure{"no copy from " + from.text() + " to " + to.text() + ": " + reasons};
}

Status runCopy(const CpuPlan& copy, Context& context, const Invocation& inv, prim::Bound from, prim::Bound to) {
  const prim::Bound args[] = {from, to};
  Invocation inner = inv;
  inner.args = args;
  inner.predicates = {};
  return copy.body(context, inner);
}

}  // namespace

std::vector<View> asF32(std::span<const View> views, std::size_t own) {
  std::vector<View> result(views.begin(), views.end());
  for (std::size_t i = 0; i < own; ++i) {
    if (views[i].dtype == DType::F32) continue;
    View& v = result[i];
    v.dtype = DType::F32;
    v.offset = 0;
    std::int64_t stride = 1;
    for (int a = v.rank - 1; a >= 0; --a) {
      v.strides[static_cast<std::size_t>(a)] = stride;
      stride *= v.dim(a);
    }
  }
  return result;
}

Status wrapConversions(std::span<const View> views, std::span<const View> f32Views,
                       std::span<const prim::Access> access, CpuPlan inner, CpuPlan& plan) {
  constexpr std::size_t kMaxArgs = 64;
  if (views.size() > kMaxArgs) return base::Failure{"more than 64 arguments with conversions"};
  std::vector<Converted> list;
  std::size_t offset = 0, copyScratch = 0;
  for (std::size_t i = 0; i < access.size(); ++i) {
    if (views[i].dtype == DType::F32) continue;
    Converted c;
    c.arg = i;
    c.scratchOffset = offset;
    if (prim::reads(access[i])) {
      KOVAR_TRY_ASSIGN(c.load, prepareCopy(views[i], f32Views[i]));
    }
    if (prim::writes(access[i])) {
      KOVAR_TRY_ASSIGN(c.store, prepareCopy(f32Views[i], views[i]));
    }
    copyScratch = std::max({copyScratch, c.load.scratchBytes, c.store.scratchBytes});
    offset += roundUp(static_cast<std::size_t>(f32Views[i].elements()) * sizeof(float), 64);
    list.push_back(std::move(c));
  }
  // The copies and the inner plan run one after the other, so they share the rest of the scratch.
  const std::size_t innerOffset = offset;
  plan.scratchBytes = innerOffset + std::max(inner.scratchBytes, copyScratch);
  plan.cacheBytes += inner.cacheBytes;
  plan.body = [list = std::move(list), inner = std::move(inner), innerOffset](Context& context,
                                                                              const Invocation& inv) -> Status {
    std::array<prim::Bound, kMaxArgs> args;
    std::copy(inv.args.begin(), inv.args.end(), args.begin());
    Invocation f32 = inv;
    f32.args = {args.data(), inv.args.size()};
    f32.scratch = inv.scratch + innerOffset;
    for (const Converted& c : list) {
      args[c.arg] = {inv.scratch + c.scratchOffset, nullptr};
      if (c.load.body) KOVAR_TRY(runCopy(c.load, context, f32, inv.args[c.arg], args[c.arg]));
    }
    KOVAR_TRY(inner.body(context, f32));
    for (const Converted& c : list)
      if (c.store.body) KOVAR_TRY(runCopy(c.store, context, f32, args[c.arg], inv.args[c.arg]));
    return {};
  };
  return {};
}

}  // namespace kovar::cpu
