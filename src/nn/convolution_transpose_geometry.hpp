#pragma once
// What transposed convolution and its gradient share. With turned weights (WeightsForm::Turned) it is the data gradient
// of a convolution, and its own gradient that convolution. Where Clamp matters, both work on the spread source itself.

#include "nn/convolution_geometry.hpp"

namespace kovar::nn {

/// The record of a transposed convolution: position of the first result's centre tap in the spread source, in parts.
struct TransposeRecord : ForwardRecord {
  std::ptrdiff_t kernelOffsetX = 0, kernelOffsetY = 0;
};

/// Where the windows of one encode lie: first results' centre taps in the spread source.
struct TransposeGeometry {
  prim::Conv conv;              ///< windows and groups, padding set: reads as a convolution with turned weights does
  std::int64_t y0 = 0, x0 = 0;  ///< first tap of the first window in the spread source
  bool spread = false;          ///< some window reads beyond the spread source and the edge mode repeats its border
};
TransposeGeometry transposeGeometry(const WeightsCell& cell, std::int64_t centreY, std::int64_t centreX,
                                    MPS::ImageEdgeMode edge, const Tensor& source, std::int64_t height,
                                    std::int64_t width);

/// Pixels of the spread source.
inline std::int64_t spreadExtent(std::int64_t extent, std::int32_t stride) { return (extent - 1) * stride + 1; }

/// Those of a spread source that are the source's own.
Tensor pixelsOf(const Tensor& spread, const Tensor& source, const TransposeGeometry& g);

/// The part of the spread source that `height` x `width` results read, its border repeated.
Tensor spreadWindow(Recorder& list, const Tensor& source, const TransposeGeometry& g, std::int64_t height,
                    std::int64_t width);

/// The same convolution over spreadWindow(): stride 1, every tap inside. turned: as the data gradient reads.
prim::Conv overSpread(const TransposeGeometry& g);

/// Refuses sub-pixel convolutions.
std::shared_ptr<WeightsCell> transposable(std::shared_ptr<WeightsCell> cell, const char* who);

}  // namespace kovar::nn
