#pragma once
// Padding policies: result size and offset along one axis.

#include <cstdint>

namespace kovar::oracle {

/// The documented bit values of a padding method.
namespace padding {
inline constexpr uint32_t kAlignCentred = 0, kAlignTopLeft = 1, kAlignBottomRight = 2;
inline constexpr uint32_t kRemainderTopLeft = 0, kRemainderRight = 1u << 2, kRemainderBottom = 1u << 3;
inline constexpr uint32_t kValidOnly = 0, kSame = 1u << 4, kFull = 2u << 4;
inline constexpr uint32_t kExcludeEdges = 1u << 15;
}  // namespace padding

struct AxisPadding {
  long size = 0;          ///< of the destination; below 1 = invalid
  long offset = 0;        ///< of a forward filter (a reverse filter has 0)
  long kernelOffset = 0;  ///< of a reverse filter
  long left = 0;          ///< padding on the near side
};

/// One axis of a forward filter. extent is the dilated kernel extent; vertical picks the axis' remainder bit.
AxisPadding forwardPadding(uint32_t method, bool vertical, long in, long stride, long extent);

/// One axis of a reverse filter without a state (transposed convolution).
AxisPadding reversePadding(uint32_t method, bool vertical, long in, long stride, long extent);

}  // namespace kovar::oracle
