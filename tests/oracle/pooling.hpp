#pragma once
// Pooling: maximum (also dilated), average with its divisor rules, L2 norm; and their gradients.

#include "oracle/tensor.hpp"

namespace kovar::oracle {

enum class PoolKind { Max, Average, L2Norm };

/// A pooling kernel.
struct Pool {
  Attributes at;
  PoolKind kind = PoolKind::Max;
  long kernelWidth = 2, kernelHeight = 2;
  long strideX = 1, strideY = 1;
  long dilationX = 1, dilationY = 1;        ///< dilated maximum only
  long zeroPadSizeX = 0, zeroPadSizeY = 0;  ///< average with edge Clamp only

  long extentX() const { return (kernelWidth - 1) * dilationX + 1; }
  long extentY() const { return (kernelHeight - 1) * dilationY + 1; }

  /// A maximum is exact; sums carry rounding.
  Tolerance tolerance() const { return kind == PoolKind::Max ? Tolerance{0.0, 1e-37} : Tolerance{4e-6, 1e-37}; }
  static Tolerance gradientTolerance() { return {4e-6, 1e-37}; }
  /// Gradients of a maximum need distinct values.
  Domain domain() const { return {-4, 4, kind == PoolKind::Max}; }
};

/// Average: edge Zero divides by the whole window; edge Clamp by the window positions inside the image grown by
/// zeroPadSize, never replicating pixels (0 where the window misses the image). Maximum and L2 replicate under Clamp.
/// A NaN tap is ignored by the maximum unless all taps are NaN.
Result poolForward(const Pool& pool, const Tensor& source, const Tensor& destination);

/// Geometry of a gradient. Defaults: the automatic form, destination pixel (0,0) = source pixel (0,0).
struct PoolGradient {
  long primaryOffsetX = 0, primaryOffsetY = 0;  ///< first gradient pixel that counts; automatic: forward clip origin
  long sourceSizeX = kNoClip, sourceSizeY = kNoClip;  ///< how many count; automatic: forward clip size
  /// Set by hand: destination pixel clip.origin + (X,Y) is source pixel p0 + (X,Y), p0 = max(0, forward offset - extent
  /// div 2), which is the automatic alignment only where the first window touches the left and top edge.
  bool manual = false;
  ClipRect clip;  ///< of the destination
  size_t gradientChannelOffset = 0, destinationChannelOffset = 0;
};

/// The gradient by the source image. pool.at gives forward offset (secondaryOffset), edge mode and channels of the
/// source. Ties go to the first maximum in row-major order; where the zero outside wins strictly the gradient is
/// dropped. Pixels inside the clip rectangle that no window covers become 0.
Result poolGradient(const Pool& pool, const PoolGradient& how, const Tensor& gradient, const Tensor& source,
                    const Tensor& destination);

}  // namespace kovar::oracle
