#pragma once
// A normalization as its plan sees it. Pixels of an image are cut into fixed blocks; a block gives partial results per
// channel, which are joined in order: the same bits for any number of threads.

#include <cstddef>
#include <cstdint>

#include "prim/desc.hpp"
#include "prim/view.hpp"

namespace kovar::cpu {

inline constexpr std::int64_t kNormBlock = 128;     ///< pixels of one partial result
inline constexpr std::int64_t kNormRows = 4;        ///< pixels that one step of a partial result takes
inline constexpr std::int64_t kNormFactors = 4;     ///< most factors per channel
inline constexpr std::int64_t kNormFactorPad = 64;  ///< channels are rounded up to whole vectors of any instruction set

/// Where the pixels of an argument lie, in bytes.
struct NormImage {
  prim::DType type{};
  std::int64_t start = 0, image = 0, row = 0, pixel = 0, channel = 0, width = 1;
  bool run = false;   ///< channels are floats, one after another
  bool line = false;  ///< rows follow each other without a gap

  NormImage() = default;
  explicit NormImage(const prim::View& v);
  std::byte* at(std::byte* storage, std::int64_t n, std::int64_t p) const {
    const std::int64_t in = line ? p * pixel : p / width * row + p % width * pixel;
    return storage + start + n * image + in;
  }
};

/// Values per region and channel, float32.
struct NormVector {
  std::int64_t offset = 0, region = 0, channel = 0;  ///< in elements

  NormVector() = default;
  explicit NormVector(const prim::View& v)
      : offset(v.offset), region(v.dim(0) == 1 ? 0 : v.stride(0)), channel(v.dim(3) == 1 ? 0 : v.stride(3)) {}
  float* at(std::byte* storage, std::int64_t r, std::int64_t c) const {
    return reinterpret_cast<float*>(storage) + offset + r * region + c * channel;
  }
};

}  // namespace kovar::cpu
