#pragma once
// Float32 code made to work on other element types: arguments are copied to and from float32 scratch around it.

#include <cstdint>
#include <span>
#include <vector>

#include "backend/cpu/cpu.hpp"

namespace kovar::cpu {

/// Prepares `inner`, a float32 plan for `f32Views`, as a plan for `views`: each of the first access.size() arguments
/// whose type is not float32 is converted. Used by viaF32().
base::Status wrapConversions(std::span<const prim::View> views, std::span<const prim::View> f32Views,
                             std::span<const prim::Access> access, CpuPlan inner, CpuPlan& plan);

/// The views with the first `own` ones in float32: dense where the type had to change, untouched otherwise.
std::vector<prim::View> asF32(std::span<const prim::View> views, std::size_t own);

/// Prepares with `prepare`, which handles float32 arguments only, whatever the types of the operation's own arguments
/// are. `access` lists those arguments; the post-op arguments after them keep their types.
template <class D, class F>
base::Status viaF32(const D& desc, std::span<const prim::View> views, const prim::PrepareOptions& options,
                    CpuPlan& plan, std::span<const prim::Access> access, F prepare) {
  bool plain = true;
  for (std::size_t i = 0; i < access.size(); ++i) plain = plain && views[i].dtype == prim::DType::F32;
  if (plain) return prepare(desc, views, options, plan);
  const std::vector<prim::View> f32Views = asF32(views, access.size());
  CpuPlan inner;
  KOVAR_TRY(prepare(desc, std::span<const prim::View>(f32Views), options, inner));
  return wrapConversions(views, f32Views, access, std::move(inner), plan);
}

constexpr std::size_t roundUp(std::size_t bytes, std::size_t alignment) {
  return (bytes + alignment - 1) / alignment * alignment;
}

}  // namespace kovar::cpu
