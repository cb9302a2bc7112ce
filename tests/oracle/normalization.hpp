#pragma once
// Normalizations: by a window of neighbours (spatial, local contrast, cross channel), and by the mean and variance of a
// region (batch, instance, group), with their derivatives.

#include "oracle/tensor.hpp"

namespace kovar::oracle {

enum class LocalNormKind { CrossChannel, Spatial, Contrast };

/// Defaults are those of the spatial and cross-channel kernels.
struct LocalNorm {
  LocalNormKind kind = LocalNormKind::CrossChannel;
  long kernelWidth = 1, kernelHeight = 1;  ///< windows of pixels
  long kernelSize = 5;                     ///< channels
  double alpha = 1, beta = 5, delta = 1;
  double p0 = 1, pm = 0, ps = 1;
  Attributes at;
  static Tolerance tolerance() { return {3e-6, 1e-37}; }
};

Result localNormForward(const LocalNorm& op, const Tensor& source, const Tensor& destination);

/// Derivative of sum(gradient * forward) by the channels of `source` that the kernel reads: gradient is as large as the
/// destination of the forward kernel. Shaped as the source, with the used channels only.
Result localNormGradient(const LocalNorm& op, const Tensor& source, const Tensor& gradient);

/// Mean and (biased) variance of regions: groups of channels in one image each, or in all images.
struct Moments {
  size_t regions = 1, groups = 1;
  double count = 0;  ///< values of one region
  std::vector<double> mean, variance;
  double meanOf(size_t image, size_t c, size_t channels) const { return mean[index(image, c, channels)]; }
  double varianceOf(size_t image, size_t c, size_t channels) const { return variance[index(image, c, channels)]; }
  size_t index(size_t image, size_t c, size_t channels) const {
    return (regions == 1 ? 0 : image) * groups + c / (channels / groups);
  }
};
Moments momentsOf(const Tensor& source, bool perImage, size_t groups);

struct Affine {
  std::vector<double> gamma, beta;
  double epsilon = 0;
};

/// Every value of the source normalized.
Result normalize(const Affine& a, const Moments& moments, const Tensor& source);

/// A kernel's forward encode: mean and variance of whole source images (or as given), results at offset and clip
/// rectangle. The affine's channels are the kernel's.
Result normForward(const Affine& a, const Attributes& at, bool perImage, size_t groups, const Tensor& source,
                   const Tensor& destination, const Moments* given = nullptr);

/// Sums per region and channel, [regions][channels].
struct NormSums {
  std::vector<double> gamma, beta, gammaMagnitude, betaMagnitude;
};
NormSums normSums(const Affine& a, const Moments& moments, const Tensor& gradient, const Tensor& source);

/// Derivative by the source, where mean and variance come from moments.count values each (constant: they do not depend
/// on the source).
Result normGradient(const Affine& a, const Moments& moments, const NormSums& sums, const Tensor& gradient,
                    const Tensor& source, bool constant = false);

}  // namespace kovar::oracle
