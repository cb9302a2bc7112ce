#pragma once

#include <cstddef>

namespace kovar::base {

/// Does [from, from + count) lie within [0, extent)? Right for any numbers: the sum, which could wrap, is never made.
constexpr bool fits(std::size_t from, std::size_t count, std::size_t extent) {
  return from <= extent && count <= extent - from;
}

}  // namespace kovar::base
