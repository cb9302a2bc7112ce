#pragma once
// Softmax and log-softmax over the used feature channels of each pixel, and their gradients.

#include "oracle/tensor.hpp"

namespace kovar::oracle {

/// Tolerance and inputs of both.
struct Softmax {
  bool logarithm = false;
  static Tolerance tolerance() { return {2e-6, 1e-37}; }
  static Domain domain() { return {-10, 10, false}; }
};

/// The maximum is subtracted first, so that large inputs stay finite. Pixels are read at offset + (x, y).
Result softmaxForward(const Softmax& op, const Attributes& at, const Tensor& source, const Tensor& destination);

/// The secondary image is the forward RESULT, unlike in other gradients.
Result softmaxGradient(const Softmax& op, const GradientAttributes& at, const Tensor& gradient,
                       const Tensor& forwardResult, const Tensor& destination);

/// Of a row of values: log(sum(exp)). Shared with the losses.
double logSumExp(const double* v, size_t count);

}  // namespace kovar::oracle
