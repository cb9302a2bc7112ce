#pragma once
// Transposed convolution: a plain correlation, weights not rotated, over the source spread out by the stride.

#include "oracle/conv.hpp"

namespace kovar::oracle {

/// Uses of Conv: offset, channel attributes, sizes, strides, dilations, groups, batch norm, neuron.
struct ConvTranspose {
  Conv conv;
  long kernelOffsetX = 0, kernelOffsetY = 0;  ///< position in the spread-out source, added to offset * stride
};

/// Edge Clamp clamps in the spread-out source.
Result convTransposeForward(const ConvTranspose& op, const Tensor& source, const std::vector<double>& weights,
                            const std::vector<double>& bias, const Tensor& destination);

/// Exact derivative by the source; destination pixel (0,0) is source pixel (0,0).
Result convTransposeDataGradient(const ConvTranspose& forward, const std::vector<double>& weights,
                                 const Tensor& gradient, const Tensor& destination, size_t gradientChannelOffset = 0,
                                 size_t destinationChannelOffset = 0);

WeightGradient convTransposeWeightGradient(const ConvTranspose& forward, const Tensor& source, const Tensor& gradient,
                                           size_t gradientChannelOffset = 0);

/// What a transposed convolution takes over from the state of a forward convolution, so that it has the geometry of
/// that convolution's data gradient.
void configureFromForward(const Conv& forward, ConvTranspose& transpose);

/// Framework weights [input][output per group][ky][kx] of a transposed convolution in the layout wanted here: rotated
/// by 180 degrees, [output][ky][kx][input per group].
std::vector<double> rotateFrameworkWeights(const Conv& conv, const std::vector<double>& weights);

}  // namespace kovar::oracle
