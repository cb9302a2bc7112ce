#pragma once
// What reads between pixels at coordinates that are data find outside; sample_tap.hpp has the formula.

#include <cstdint>

namespace kovar::maths {

/// Zeros, the border repeated, or nothing at all: a coordinate outside the outermost pixel centres gives 0, with no
/// blending towards it.
enum class SampleEdge : std::uint8_t { Zero, Clamp, Inside };

}  // namespace kovar::maths
