#pragma once
// Reading between pixels at coordinates that are data: along one axis, two pixels and their weights. CUDA device code
// too.

#include <cstdint>

#include "maths/lane.hpp"
#include "maths/sample.hpp"

namespace kovar::maths {

/// The value at a coordinate is before * pixel[first] + after * pixel[second]; a pixel of weight 0 is not to be read.
struct SampleTap {
  std::int64_t first = 0, second = 0;
  float before = 0.f, after = 0.f;
};

/// The pixels around `u` on an axis of `extent` pixels. NaN lies outside.
KOVAR_LANE SampleTap sampleTap(float u, std::int64_t extent, SampleEdge edge) {
  const auto last = static_cast<float>(extent - 1);
  SampleTap tap;
  if (edge == SampleEdge::Clamp) {
    u = u > 0.f ? (u < last ? u : last) : 0.f;
  } else if (edge == SampleEdge::Inside) {
    if (!(u >= 0.f && u <= last)) return tap;
  } else if (!(u > -1.f && u < last + 1.f)) {
    return tap;
  }
  auto whole = static_cast<std::int64_t>(u);
  if (static_cast<float>(whole) > u) --whole;
  tap.after = u - static_cast<float>(whole);
  tap.before = 1.f - tap.after;
  tap.first = whole;
  tap.second = whole + 1;
  if (whole < 0) tap.first = 0, tap.before = 0.f;
  if (whole + 1 >= extent) tap.second = extent - 1, tap.after = 0.f;
  return tap;
}

}  // namespace kovar::maths
