#pragma once
// Depthwise convolution in vectors over the channels: a row of results, or a row's share of a weight gradient.

#include <cstdint>
#include <vector>

namespace kovar::cpu::depthwise {

/// A tap and the source position that it reads.
struct Tap {
  std::int32_t tap = 0, at = 0;
};

/// Positions first, first + step, first + 2 step ... of a row that have the same taps; what tap t reads moves on by
/// `sourceStep` from one to the next.
struct Run {
  std::int64_t first = 0, count = 0, step = 1, sourceStep = 1;
  std::vector<Tap> taps;
};

/// Rows of pixels, channels beside each other.
struct Rows {
  float* data = nullptr;
  std::int64_t row = 0, pixel = 0;  // strides in floats
};

/// One row of results: for the positions of `columns`, the sum over the taps of `rows` and of the run of weight *
/// source.
struct ResultRow {
  Rows source;
  float* result = nullptr;  ///< the row's first pixel
  std::int64_t resultPixel = 0;
  const float* weights = nullptr;  ///< tap (p, q) of channel c at [(p * width + q) * tapFloats + c]
  std::int64_t width = 1, tapFloats = 0;
  const float* bias = nullptr;  ///< a value a channel, or null
  std::int64_t channels = 0;
  /// Source rows that the next row of results reads for the first time, to be fetched ahead; 0: all is in the cache.
  std::int64_t newRows = 0;
};

void resultRow(const ResultRow& r, const std::vector<Tap>& rows, const std::vector<Run>& columns);

/// One row's share of a weight gradient, added to `sums` (laid out like the weights of ResultRow). `gradient` is the
/// row's first pixel; runs are those of the forward direction.
struct WeightRow {
  Rows source;
  const float* gradient = nullptr;
  std::int64_t gradientPixel = 0;
  float* sums = nullptr;
  std::int64_t width = 1, tapFloats = 0;
  std::int64_t channels = 0;
};

void weightRow(const WeightRow& r, const std::vector<Tap>& rows, const std::vector<Run>& columns);

}  // namespace kovar::cpu::depthwise
