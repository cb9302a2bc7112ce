#pragma once
// Convolution of bits: packing values into bits, and counting the bits that two rows of words share or do not share.

#include <cstdint>

namespace kovar::cpu::binary {

/// Channels of one pixel to bits: bit f of word f / 32 is 0 where (value + bias) * scale is below 0, and beyond the
/// channels. bias and scale: a value a channel, or null for none. `step`: floats from one channel to the next.
void packPixel(const float* values, std::int64_t step, std::int64_t channels, const float* bias, const float* scale,
               std::uint32_t* words);

/// Filters that one call of countRow() works on side by side; packed weights come in blocks of as many.
std::int64_t filterBlock();

/// One row of results: for each of `positions` windows and each filter the number of bits set in `bits ^ weights`, or
/// with `common` in `bits & weights`.
struct CountRow {
  const std::uint32_t* bits = nullptr;     ///< first word of the first window of the row
  std::int64_t bitsRow = 0, bitsTap = 0;   ///< words from one row of taps, and from one tap, to the next
  std::int64_t bitsPosition = 0;           ///< words from one window to the next
  const std::uint32_t* weights = nullptr;  ///< [block of filters][tap row][tap][word][filter of the block]
  std::int64_t tapRows = 1, taps = 1, words = 1, blocks = 1;
  std::int64_t positions = 0;
  bool common = false;
  /// Of each result: counts * factor + summand as a float, at results[position * resultRow + filter].
  float factor = 1, summand = 0;
  float* results = nullptr;
  std::int64_t resultRow = 0;
};
void countRow(const CountRow& r);

}  // namespace kovar::cpu::binary
