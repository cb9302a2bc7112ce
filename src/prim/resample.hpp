#pragma once
// The weights of a resampling along one axis, as every back end takes them.

#include <cstdint>
#include <span>
#include <vector>

#include "prim/desc.hpp"

namespace kovar::prim {

/// Result position p is the sum of weight[k] * element position[k] for k from first[p] to first[p + 1]. Positions rise.
struct TapTable {
  std::vector<std::int32_t> first{0}, position;
  std::vector<float> weight;

  std::int64_t results() const { return static_cast<std::int64_t>(first.size()) - 1; }
  std::span<const std::int32_t> positions(std::int64_t p) const { return part(position, p); }
  std::span<const float> weights(std::int64_t p) const { return part(weight, p); }

 private:
  template <class T>
  std::span<const T> part(const std::vector<T>& all, std::int64_t p) const {
    const auto i = static_cast<std::size_t>(p);
    return std::span(all).subspan(static_cast<std::size_t>(first[i]),
                                  static_cast<std::size_t>(first[i + 1] - first[i]));
  }
};

/// The taps of axis `axis` (`dst` positions that read a source of `src` elements). Those of weight 0 are left out.
TapTable tapsOf(const Resample& desc, const maths::Sampling& axis, std::int64_t dst, std::int64_t src);
/// The same map backwards: result positions are the source's elements, `src` of them.
TapTable transposed(const TapTable& taps, std::int64_t src);
/// The table that `desc` wants in its direction. large, small: extents of what reads (dst, diffDst) and what is read.
TapTable tableOf(const Resample& desc, const maths::Sampling& axis, std::int64_t large, std::int64_t small);

}  // namespace kovar::prim
