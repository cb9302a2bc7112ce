#pragma once
// Sizes, offsets and windows of sliding kernels: every formula of the padding policies, one axis at a time, in pixels.

#include <algorithm>
#include <cstdint>

namespace kovar::maths {

/// Where the padding goes (or, when pixels are left over, where they stay unread).
enum class PaddingAlign : std::uint8_t { Centered = 0, TopLeft = 1, BottomRight = 2 };

/// How the result's size follows from the source's.
enum class PaddingSize : std::int8_t { ValidOnly = -1, Same = 0, Full = 1 };

/// One axis of a padding policy.
struct PaddingAxis {
  PaddingAlign align = PaddingAlign::Centered;
  PaddingSize size = PaddingSize::Same;
  bool remainderNear = true;  ///< an odd pixel of padding goes to the left or top side
  bool operator==(const PaddingAxis&) const = default;
};

/// A policy's bits: 0-1 align, 2 remainder right, 3 remainder bottom, 4-5 size. Reserved values read as their default
/// (centred, same); whoever takes bits from a user refuses them first, see validPaddingBits.
constexpr PaddingAxis paddingAxis(std::uint32_t method, bool vertical) {
  PaddingAxis axis;
  const std::uint32_t align = method & 3u, size = (method >> 4) & 3u;
  if (align < 3u) axis.align = static_cast<PaddingAlign>(align);
  if (size < 3u) axis.size = static_cast<PaddingSize>(static_cast<int>(size) - 1);
  axis.remainderNear = ((method >> (vertical ? 3 : 2)) & 1u) == 0;
  return axis;
}
constexpr PaddingAxis paddingAxisX(std::uint32_t method) { return paddingAxis(method, false); }
constexpr PaddingAxis paddingAxisY(std::uint32_t method) { return paddingAxis(method, true); }
constexpr bool validPaddingBits(std::uint32_t method) { return (method & 3u) != 3u && ((method >> 4) & 3u) != 3u; }

/// The policy of a filter that undoes another: valid-only and full change places, same stays.
constexpr PaddingSize inverse(PaddingSize size) { return static_cast<PaddingSize>(-static_cast<int>(size)); }

/// Pixels that a kernel of `kernel` taps spans.
constexpr std::int64_t dilatedExtent(std::int64_t kernel, std::int64_t dilation) { return (kernel - 1) * dilation + 1; }

/// First pixel of the window around `centre`: an even window reaches one pixel further to the left or top.
constexpr std::int64_t windowStart(std::int64_t centre, std::int64_t extent) { return centre - extent / 2; }

/// The window of destination pixel x starts at x * stride - windowPad(extent, offset).
constexpr std::int64_t windowPad(std::int64_t extent, std::int64_t offset) { return extent / 2 - offset; }

/// Result size of a forward filter. Less than 1 means that the policy does not fit the source.
constexpr std::int64_t outputSize(std::int64_t in, std::int64_t extent, std::int64_t stride, PaddingSize size) {
  // A ceiling; where nothing fits the division truncates to 0 or less.
  return (in + static_cast<int>(size) * (extent - 1) + stride - 1) / stride;
}

/// Result size of a filter that runs backwards (transposed convolution).
constexpr std::int64_t reverseOutputSize(std::int64_t in, std::int64_t extent, std::int64_t stride, PaddingSize size) {
  return (in - 1) * stride + 1 + static_cast<int>(size) * (extent - 1);
}

/// Of `extra` pixels of padding (negative: pixels left unread), those on the left or top side. Halves truncate towards
/// 0.
constexpr std::int64_t paddingBefore(std::int64_t extra, const PaddingAxis& axis) {
  switch (axis.align) {
    case PaddingAlign::TopLeft:
      return extra;
    case PaddingAlign::BottomRight:
      return 0;
    case PaddingAlign::Centered:
      break;
  }
  return axis.remainderNear ? (extra + 1) / 2 : extra / 2;
}

/// What a policy decides for one axis of a forward filter.
struct AxisFit {
  std::int64_t out = 0;     ///< result size; less than 1: invalid
  std::int64_t offset = 0;  ///< the kernel's offset property
  std::int64_t before = 0;  ///< padding on the left or top side, negative where pixels are skipped
};
constexpr AxisFit fitForward(std::int64_t in, std::int64_t extent, std::int64_t stride, const PaddingAxis& axis) {
  AxisFit fit;
  fit.out = outputSize(in, extent, stride, axis.size);
  fit.before = paddingBefore((fit.out - 1) * stride + extent - in, axis);
  fit.offset = extent / 2 - fit.before;
  return fit;
}

/// The same for a reverse filter without a state: `offset` is then the kernelOffset, on the source's grid spread by the
/// stride; the offset property stays 0.
constexpr AxisFit fitReverse(std::int64_t in, std::int64_t extent, std::int64_t stride, const PaddingAxis& axis) {
  const std::int64_t spread = (in - 1) * stride + 1;
  AxisFit fit;
  fit.out = reverseOutputSize(in, extent, stride, axis.size);
  fit.before = paddingBefore(fit.out - 1 + extent - spread, axis);
  fit.offset = extent / 2 - fit.before;
  return fit;
}

/// Source pixel that a pooling gradient's first destination pixel stands for, when sizes are set by hand.
constexpr std::int64_t firstPooledPixel(std::int64_t offset, std::int64_t extent) {
  return std::max<std::int64_t>(0, windowStart(offset, extent));
}

/// The offset that a convolution's gradient kernel takes over from the forward one.
constexpr std::int64_t convolutionGradientOffset(std::int64_t forwardOffset, std::int64_t extent) {
  return windowStart(forwardOffset, extent);
}

}  // namespace kovar::maths
