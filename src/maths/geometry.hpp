#pragma once
// Sizes and positions of sliding windows, one axis at a time: the one place for these rules.

#include <cstdint>

namespace kovar::maths {

/// Extent of a window whose taps lie `dilation` apart.
constexpr std::int64_t dilatedExtent(std::int64_t kernel, std::int64_t dilation) { return (kernel - 1) * dilation + 1; }

/// First tap of a window centred at `centre`: even extents reach one further to the left.
constexpr std::int64_t windowStart(std::int64_t centre, std::int64_t dilatedKernel) { return centre - dilatedKernel / 2; }

enum class SizeStyle { Valid = -1, Same = 0, Full = 1 };
enum class Align { Centred, Near, Far };  ///< where padding appears: both sides, all left/top, all right/bottom

/// Destination extent of a kernel that shrinks by its stride; less than 1 means there is no result.
constexpr std::int64_t forwardSize(std::int64_t in, std::int64_t dilatedKernel, std::int64_t stride, SizeStyle style) {
  const std::int64_t n = in + static_cast<std::int64_t>(style) * (dilatedKernel - 1) + stride - 1;
  return n < 0 ? 0 : n / stride;
}

/// Destination extent of a kernel that grows by its stride (transposed convolution).
constexpr std::int64_t reverseSize(std::int64_t in, std::int64_t dilatedKernel, std::int64_t stride, SizeStyle style) {
  return (in - 1) * stride + 1 + static_cast<std::int64_t>(style) * (dilatedKernel - 1);
}

/// Padding on the near (left, top) side when `extra` pixels beyond the source are spanned; negative: source pixels unread.
/// Division truncates toward zero.
constexpr std::int64_t nearPadding(std::int64_t extra, Align align, bool remainderNear) {
  switch (align) {
    case Align::Near: return extra;
    case Align::Far: return 0;
    case Align::Centred: break;
  }
  return (extra + (remainderNear ? 1 : 0)) / 2;
}

/// Offset (position of the centre tap of the first window) of a shrinking kernel.
constexpr std::int64_t forwardOffset(std::int64_t in, std::int64_t out, std::int64_t dilatedKernel, std::int64_t stride,
                                     Align align, bool remainderNear) {
  const std::int64_t extra = (out - 1) * stride + dilatedKernel - in;
  return dilatedKernel / 2 - nearPadding(extra, align, remainderNear);
}

/// Kernel offset of a growing kernel in the zero-filled source of (in - 1) * stride + 1 pixels.
constexpr std::int64_t reverseKernelOffset(std::int64_t in, std::int64_t out, std::int64_t dilatedKernel, std::int64_t stride,
                                           Align align, bool remainderNear) {
  const std::int64_t filled = (in - 1) * stride + 1;
  const std::int64_t extra = out - 1 + dilatedKernel - filled;
  return dilatedKernel / 2 - nearPadding(extra, align, remainderNear);
}

}  // namespace kovar::maths
