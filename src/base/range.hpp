#pragma once

#include <cstddef>
#include <limits>

namespace kovar::base {

/// Does [from, from + count) lie within [0, extent)? Right for any numbers: the sum, which could wrap, is never made.
constexpr bool fits(std::size_t from, std::size_t count, std::size_t extent) {
  return from <= extent && count <= extent - from;
}

/// Sum and product that stop at the largest number instead of wrapping around, for sizes that are compared with a
/// limit.
constexpr std::size_t boundedSum(std::size_t a, std::size_t b) {
  constexpr std::size_t kMost = std::numeric_limits<std::size_t>::max();
  return b > kMost - a ? kMost : a + b;
}
constexpr std::size_t boundedProduct(std::size_t a, std::size_t b) {
  constexpr std::size_t kMost = std::numeric_limits<std::size_t>::max();
  return b != 0 && a > kMost / b ? kMost : a * b;
}

}  // namespace kovar::base
