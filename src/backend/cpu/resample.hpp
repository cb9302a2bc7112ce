#pragma once
// A resampling as its plan sees it.

#include <cstdint>
#include <vector>

#include "prim/resample.hpp"
#include "prim/view.hpp"

namespace kovar::cpu {

/// One argument: steps in bytes.
struct ResampleSide {
  prim::DType type{};
  std::int64_t start = 0, image = 0, row = 0, pixel = 0, channel = 0;
  bool floats = false;  ///< float32, channels side by side

  std::byte* at(std::byte* storage, std::int64_t n, std::int64_t y, std::int64_t x, std::int64_t c) const {
    return storage + start + n * image + y * row + x * pixel + c * channel;
  }
};

/// Result columns that are formed from one piece of a blended row.
struct ResampleTile {
  std::int64_t begin = 0, end = 0;    ///< result columns
  std::int64_t first = 0, width = 0;  ///< source columns that they read
};

struct ResamplePlan {
  prim::TapTable y, x;
  ResampleSide in, out;
  std::int64_t images = 1, channels = 1;
  std::int64_t chunk = 1, chunks = 1;  ///< channels of one piece of work
  std::int64_t rows = 1, rowPieces = 1;
  std::vector<ResampleTile> tiles;
  std::int64_t lineFloats = 0;  ///< of the widest tile
};

}  // namespace kovar::cpu
