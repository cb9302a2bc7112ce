#pragma once
// Kernels that move values: reshape, padding, slice, concatenation.

#include "oracle/tensor.hpp"

namespace kovar::oracle {

/// Element (y * W + x) * C + c of a becomes that of the same number of a tensor of the given shape, image by image.
Tensor reshape(const Tensor& a, size_t height, size_t width, size_t channels);

/// Places of x, y and channel before and behind the source.
struct Padding {
  long x = 0, y = 0, c = 0;
};

struct Pad {
  Attributes at;  ///< offset and clip of an explicit destination; edge: any mode
  Padding before, after;
  double fill = 0;
  std::vector<double> fills;  ///< one per channel written, in place of fill
  static Tolerance tolerance() { return {0, 0}; }
  static Domain domain() { return {-4, 4, false}; }
};
/// Index of an axis of `extent` elements that position i reads, -1 where the mode gives a value of its own. Found by
/// walking, one step at a time, as the pictures of the documentation show it.
long padSource(long i, long extent, EdgeMode mode);
Result padForward(const Pad& op, const Tensor& source, const Tensor& destination);
/// `gradient` has the size of the forward clip rectangle and the channels written; the result those of the source that
/// were read.
Tensor padGradient(const Pad& op, const Tensor& source, const Tensor& gradient);

Result sliceForward(const Attributes& at, const Tensor& source, const Tensor& destination);

/// Channels of each source but the last rounded up to 4, zeros between.
Tensor concatenate(const std::vector<Tensor>& sources);

}  // namespace kovar::oracle
