#pragma once
// Runs of elements of any type as floats, for code that is not compiled per instruction set itself.

#include <cstddef>
#include <cstdint>

#include "prim/view.hpp"

namespace kovar::cpu {

/// n elements that start at p and lie `step` bytes apart (0: the same one again), converted to float.
void readRow(prim::DType type, const std::byte* p, std::int64_t step, std::int64_t n, float* out);
/// n floats converted to elements that start at p and lie `step` bytes apart.
void writeRow(prim::DType type, const float* in, std::int64_t n, std::byte* p, std::int64_t step);

}  // namespace kovar::cpu
