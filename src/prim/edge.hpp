#pragma once
// Where reads beyond the ends of an axis go. Include anywhere, CUDA device code too.

#include <cstdint>

#include "maths/lane.hpp"
#include "prim/desc.hpp"

namespace kovar::prim {

/// What edgeSource says of positions that are read from nowhere.
inline constexpr std::int64_t kOutside = -1;

/// Where the element at `position` of an axis of `extent` elements is read from; kOutside with Edge::Zero and Constant.
KOVAR_LANE std::int64_t edgeSource(std::int64_t position, std::int64_t extent, Edge edge) {
  if (position >= 0 && position < extent) return position;
  if (edge == Edge::Clamp) return position < 0 ? 0 : extent - 1;
  if (edge != Edge::Mirror && edge != Edge::MirrorWithEdge) return kOutside;
  if (extent == 1) return 0;
  const std::int64_t twice = edge == Edge::MirrorWithEdge ? 1 : 0;  // whether the last element stands on both sides
  const std::int64_t period = 2 * (extent - 1 + twice);
  const std::int64_t place = ((position % period) + period) % period;
  return place < extent ? place : period - place - twice;
}

}  // namespace kovar::prim
