#pragma once
// Upsampling by whole factors, nearest and bilinear, and their gradients.

#include "oracle/tensor.hpp"

namespace kovar::oracle {

/// An upsampling kernel. Pixel x of the clip rectangle reads the source coordinate offset + x/scale, or with
/// alignCorners offset + x (W-1)/(W scale - 1), W the source's width; nearest takes the pixel at or before it, bilinear
/// mixes the two around it. Pixels outside follow the edge mode.
struct Upsampling {
  Attributes at;
  bool bilinear = false, alignCorners = false;
  long scaleX = 2, scaleY = 2;

  static Tolerance tolerance() { return {1e-6, 1e-37}; }
};

Result upsample(const Upsampling& u, const Tensor& source, const Tensor& destination);

/// Geometry of a gradient.
struct UpsamplingGradient {
  long primaryOffsetX = 0, primaryOffsetY = 0;  ///< the gradient pixel that belongs to forward pixel 0 of the region
  long sizeX = kNoClip, sizeY = kNoClip;        ///< how many count
  ClipRect clip;                                ///< of the destination; its origin is source pixel (0, 0)
  size_t gradientChannelOffset = 0, destinationChannelOffset = 0;
};

/// The gradient by the source; u.at gives forward offset, edge mode and channels of the source.
Result upsampleGradient(const Upsampling& u, const UpsamplingGradient& how, const Tensor& gradient,
                        const Tensor& source, const Tensor& destination);

}  // namespace kovar::oracle
