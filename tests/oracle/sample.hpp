#pragma once
// Reading between pixels (resize, crop and resize, grid sample), Gram matrices and local correlation.

#include "oracle/tensor.hpp"

namespace kovar::oracle {

/// Bilinear value at (v, u); the pixels outside follow the edge mode. Not a number lies outside.
double bilinearAt(const Tensor& s, size_t n, double v, double u, size_t c, EdgeMode edge);

/// Coordinates x * in / out, or with aligned corners x * (in - 1) / (out - 1); the border is repeated.
Tensor resizeBilinear(const Tensor& s, size_t height, size_t width, bool alignCorners);

/// A box in units of the image.
struct Box {
  double x = 0, y = 0, width = 1, height = 1;
};
/// One image for each box, for each source image in turn; 0 where a coordinate leaves the image.
Tensor cropAndResize(const Tensor& s, const std::vector<Box>& boxes, size_t height, size_t width);

/// grid: channel 0 x, channel 1 y; `relative` adds the result pixel's own position.
Tensor gridSample(const Tensor& s, const Tensor& grid, bool relative, EdgeMode edge);

/// Pixel f, channel c: alpha * sum over the pixels of channel f * channel c.
Tensor gramMatrix(const Tensor& s, double alpha);
Tensor gramMatrixGradient(const Tensor& s, const Tensor& gradient, double alpha);

/// Channel n * (2 wx + 1) + m of pixel (y, x): dot product of a's pixel and b's at (n - wy) * sy, (m - wx) * sx from
/// it.
Tensor localCorrelation(const Tensor& a, const Tensor& b, long wx, long wy, long sx, long sy, EdgeMode edge);

}  // namespace kovar::oracle
