#pragma once
// Running a post-op program over a piece of a producer's result while it is still in cache.

#include <cstdint>
#include <memory>
#include <span>

#include "prim/backend.hpp"
#include "prim/program.hpp"
#include "prim/view.hpp"

namespace kovar::cpu {

/// The post-op program of a producer whose destination is `dst` (rank 2 or 4) and whose own arguments number
/// `firstArg`; program argument i is the operation's argument firstArg + i. Views of equal dims as dst, stride 0
/// broadcasts.
class PostOps {
 public:
  PostOps() = default;
  PostOps(const prim::Program& program, const prim::View& dst, std::span<const prim::View> allViews,
          std::size_t firstArg);

  bool empty() const { return plan_ == nullptr; }

  /// Applies the program to `length` consecutive channels (last axis) of one row of dst, in place or through `values`:
  /// `index` is the position on the leading axes (rank - 1 of them), `channel` the first one, `values` float32 input
  /// (register 0). The result, register 0 after the program, is written to `out` (may equal `values`).
  void apply(const prim::Invocation& inv, const std::int64_t* index, std::int64_t channel, std::int64_t length,
             const float* values, float* out) const;

  /// Applies the program to a block of dst: leading axis positions [begin, end) of axis 0, everything below, in place.
  /// dst must be float32; `dstBase` is its storage's first float, before the view's offset.
  void applyBlock(const prim::Invocation& inv, float* dstBase, std::int64_t begin, std::int64_t end) const;

 private:
  struct Plan;
  std::shared_ptr<const Plan> plan_;  // null when the program is empty
};

}  // namespace kovar::cpu
