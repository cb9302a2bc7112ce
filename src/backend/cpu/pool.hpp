#pragma once
// The geometry of a pooling, worked out once per plan, and what its inner loops see of memory.

#include <cstdint>
#include <span>
#include <vector>

#include "prim/desc.hpp"

namespace kovar::cpu {

/// One axis of the windows: for each window the source positions of its taps.
struct PoolAxis {
  std::vector<std::int32_t> tap;      ///< taps of all windows, in order
  std::vector<std::int32_t> first;    ///< taps of window w: tap[first[w] .. first[w + 1])
  std::vector<std::uint8_t> outside;  ///< window w has taps outside that count as zeros
  std::vector<std::int32_t> divisor;  ///< this axis' factor of the average's divisor

  PoolAxis(const prim::Window& window, std::int64_t windows, std::int64_t extent, std::int64_t zeroPad,
           const prim::Pool& desc);

  /// True when each of `extent` positions is a tap of exactly one window.
  bool once(std::int64_t extent) const;

  std::span<const std::int32_t> of(std::int64_t w) const {
    const auto i = static_cast<std::size_t>(w);
    return {tap.data() + first[i], tap.data() + first[i + 1]};
  }
};

/// Float pixels of some rows: position (y, x) starts at data + (y - firstRow) * rowStep + x * pixelStep.
template <class T>
struct PoolTile {
  T* data = nullptr;
  std::int64_t firstRow = 0, rowStep = 0, pixelStep = 0;
  T* row(std::int64_t y) const { return data + (y - firstRow) * rowStep; }
};

struct PoolGeometry {
  prim::PoolKind kind;
  bool rectified;  ///< max(src, 0) is pooled
  bool once;       ///< every source pixel lies in exactly one window
  PoolAxis y, x;
};

}  // namespace kovar::cpu
