#pragma once
// Philox4x32-10 and the dropout masks made from it; applying a mask.

#include <array>
#include <cstdint>

#include "oracle/tensor.hpp"

namespace kovar::oracle {

/// The published counter-based generator: ten rounds over a 128-bit counter with a 64-bit key.
std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

struct Dropout {
  double keepProbability = 0.5;
  uint64_t seed = 0;
  size_t maskStrideX = 1, maskStrideY = 1, maskStrideC = 1;  ///< 0 = one mask value for the whole axis
  static Tolerance tolerance() { return {2.5e-7, 1e-37}; }
  static Domain domain() { return {-4, 4, false}; }
};

/// Mask of one image, 0 or 1, extents 1 along the axes of stride 0. Element e (row, column, channel; channel fastest)
/// is word e mod 4 of counter (e div 4, image in batch, low and high half of the encode sequence number), key (seed
/// low, seed high); it is kept iff its top 24 bits / 2^24 < keepProbability.
Tensor dropoutMask(const Dropout& op, size_t height, size_t width, size_t channels, uint32_t imageInBatch,
                   uint64_t encodeSequence);

/// source (or gradient) * mask * float32(1 / p); +0 where dropped, even for infinities and NaN. The mask has one image
/// for each source image.
Result dropoutApply(const Dropout& op, const Attributes& at, const Tensor& source, const Tensor& mask,
                    const Tensor& destination, long maskOffsetX = 0, long maskOffsetY = 0);

}  // namespace kovar::oracle
