#pragma once
// Where the results of an upsampling or a resize read, one axis at a time. Coordinates are exact fractions.

#include <cstdint>

namespace kovar::maths {

/// Position i stands for the source coordinate start + (i + first) * numerator / denominator.
struct Sampling {
  std::int32_t start = 0, first = 0;
  std::int64_t numerator = 1, denominator = 1;
  bool operator==(const Sampling&) const = default;
};

/// A value between two pixels: weight before of pixel `pixel`, weight after of the next one. Their sum is 1.
struct BetweenPixels {
  std::int64_t pixel;
  float before, after;
};

constexpr BetweenPixels betweenPixels(const Sampling& s, std::int64_t i) {
  const std::int64_t scaled = (i + s.first) * s.numerator;
  std::int64_t whole = scaled / s.denominator, rest = scaled % s.denominator;
  if (rest < 0) --whole, rest += s.denominator;
  const auto after = static_cast<float>(static_cast<double>(rest) / static_cast<double>(s.denominator));
  return {s.start + whole, 1.f - after, after};
}

/// Enlarging by a whole factor without aligned corners, and the repetition of pixels.
constexpr Sampling enlarging(std::int64_t factor) { return {0, 0, 1, factor}; }
/// Enlarging `extent` pixels so that the first and last pixels of both images lie on each other.
constexpr Sampling enlargingAligned(std::int64_t extent, std::int64_t factor) {
  return extent * factor == 1 ? Sampling{0, 0, 0, 1} : Sampling{0, 0, extent - 1, extent * factor - 1};
}

}  // namespace kovar::maths
