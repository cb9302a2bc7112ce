#pragma once
// Moving a matrix whose rows are contiguous in one place and whose columns are in the other.

#include <cstddef>
#include <cstdint>

namespace kovar::cpu {

/// Element (i, j), of `size` bytes (1, 2 or 4): from src + i * size + j * srcStep to dst + i * dstStep + j * size.
void transpose(std::size_t size, const std::byte* src, std::int64_t srcStep, std::byte* dst, std::int64_t dstStep,
               std::int64_t rows, std::int64_t columns);

}  // namespace kovar::cpu
