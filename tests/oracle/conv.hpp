#pragma once
// Convolution (regular, grouped, depthwise, sub-pixel), its gradients, and the fully connected layer.
// Weights are [output][ky][kx][input per group] (depthwise: [output][ky][kx]), correlation, never flipped.

#include "oracle/neuron.hpp"
#include "oracle/tensor.hpp"

namespace kovar::oracle {

/// Batch normalisation folded into a convolution: one value an output channel. Empty gamma = 1, empty beta = 0.
struct FoldedBatchNorm {
  std::vector<double> mean, variance, gamma, beta;
  double epsilon = 0;
};

/// A convolution kernel.
struct Conv {
  Attributes at;
  size_t inputChannels = 1, outputChannels = 1;
  long kernelWidth = 3, kernelHeight = 3;
  long strideX = 1, strideY = 1;
  long dilationX = 1, dilationY = 1;
  size_t groups = 1;
  bool depthwise = false;  ///< output channel j reads input channel j / (outputs / inputs)
  long subPixelScale = 1;  ///< r > 1 spreads r*r channel blocks over an r x r block of pixels
  bool normalise = false;  ///< batchNorm applies, before the neuron
  FoldedBatchNorm batchNorm;
  Neuron neuron;
  bool roundWeightsToHalf = false;  ///< strict formats: folded weights rounded to binary16

  /// kernel extent with the gaps of dilation
  long extentX() const { return (kernelWidth - 1) * dilationX + 1; }
  long extentY() const { return (kernelHeight - 1) * dilationY + 1; }
  size_t inputsPerFilter() const { return depthwise ? 1 : inputChannels / groups; }
  /// first input channel (from the source channel offset) that output channel c reads
  size_t firstInput(size_t c) const;
  size_t weightCount() const;
  size_t weightIndex(size_t c, long q, long p, size_t i) const;
  /// channels the destination receives
  size_t writtenChannels() const { return outputChannels / static_cast<size_t>(subPixelScale * subPixelScale); }

  static Tolerance tolerance() { return {1e-5, 1e-37}; }
  static Domain domain() { return {-4, 4, false}; }
};

/// bias may be empty (zeros). The destination gives size and the values that stay.
Result convForward(const Conv& conv, const Tensor& source, const std::vector<double>& weights,
                   const std::vector<double>& bias, const Tensor& destination);

/// The exact derivative by the source: what a gradient kernel configured from the forward state writes. Destination
/// pixel (0,0) is source pixel (0,0). `gradient` has the size of the forward clip rectangle and holds its channels from
/// gradientChannelOffset on; the used input channels go to the destination from destinationChannelOffset on; nothing
/// else of the destination changes. Contributions of clamped reads go to the edge pixel.
Result convDataGradient(const Conv& forward, const std::vector<double>& weights, const Tensor& gradient,
                        const Tensor& destination, size_t gradientChannelOffset = 0,
                        size_t destinationChannelOffset = 0);

/// The hand-configured form: a unit-stride correlation over the gradient spread out by the stride (zeros between), with
/// rotated weights; contributions from outside the image are dropped. Tap centre of destination pixel R.origin + X:
/// primaryOffset*stride + kernelOffset + X. at.* of `forward` is not used.
struct ConvManualGradient {
  Offset primaryOffset;
  long kernelOffsetX = 0, kernelOffsetY = 0;
  ClipRect clip;
  size_t gradientChannelOffset = 0, destinationChannelOffset = 0;
};
Result convDataGradientManual(const Conv& forward, const ConvManualGradient& how, const std::vector<double>& weights,
                              const Tensor& gradient, const Tensor& destination);

/// Sums over all images and gradient pixels, in the layout of the weights.
struct WeightGradient {
  std::vector<double> weights, bias;
  std::vector<double> weightsMagnitude, biasMagnitude;
};

/// Adds to nothing: the caller adds several calls where an accumulation is tested. Uses forward.at (offset, edge,
/// source channel offset). The kernel property secondaryOffset is the first tap: forward offset - extent div 2.
WeightGradient convWeightGradient(const Conv& forward, const Tensor& source, const Tensor& gradient,
                                  size_t gradientChannelOffset = 0);

/// Fully connected: kernel as large as the source, offset ignored, one pixel written at the clip origin.
Result fullyConnectedForward(const Conv& conv, const Tensor& source, const std::vector<double>& weights,
                             const std::vector<double>& bias, const Tensor& destination);
Result fullyConnectedDataGradient(const Conv& forward, const std::vector<double>& weights, const Tensor& gradient,
                                  const Tensor& destination, size_t gradientChannelOffset = 0,
                                  size_t destinationChannelOffset = 0);
WeightGradient fullyConnectedWeightGradient(const Conv& forward, const Tensor& source, const Tensor& gradient,
                                            size_t gradientChannelOffset = 0);

}  // namespace kovar::oracle
