#pragma once
// The element-wise losses: value, gradient by prediction and by label, and the reductions. YOLO stands in
// loss_yolo.hpp.

#include "oracle/tensor.hpp"

namespace kovar::oracle {

/// Numbers are the documented enum values.
enum class LossType {
  MeanAbsoluteError = 0,
  MeanSquaredError,
  SoftMaxCrossEntropy,
  SigmoidCrossEntropy,
  CategoricalCrossEntropy,
  Hinge,
  Huber,
  CosineDistance,
  Log,
  KullbackLeiblerDivergence
};
inline constexpr int kLossTypeCount = 10;
enum class Reduction { None = 0, Sum = 1, Mean = 2, SumByNonZeroWeights = 3 };

/// A loss with its scalars. Defaults are the documented ones.
struct Loss {
  LossType type = LossType::MeanSquaredError;
  Reduction reduction = Reduction::None;
  bool reduceAcrossBatch = false;
  double weight = 1;
  double labelSmoothing = 0;   ///< SoftMax and Sigmoid cross entropy
  double numberOfClasses = 1;  ///< SoftMax cross entropy with smoothing
  double epsilon = 1e-7;       ///< Log
  double delta = 1;            ///< Huber

  const char* name() const;
  static Tolerance tolerance() { return {1e-5, 1e-37}; }
  /// Predictions that keep the type's logarithms and quotients finite.
  Domain predictions() const;
  Domain labels() const;
};

/// One prediction image batch with labels (at least as large; more label channels are not read) and, where given,
/// weights (empty = none; extents of 1 broadcast).
struct LossInput {
  Tensor predictions, labels, weights;
  /// label after smoothing
  double label(const Loss& loss, size_t n, size_t y, size_t x, size_t c) const;
  /// scalar weight times the weights image
  double weight(const Loss& loss, size_t n, size_t y, size_t x, size_t c) const;
};

/// w * l for every element, the size of the predictions. CosineDistance has no elements: -w * y * t, whose sum + w is
/// the loss.
Result lossElements(const Loss& loss, const LossInput& in);

/// The value as a 1x1x1 image for each image: reduction None counts as Sum. With reduceAcrossBatch everything stands in
/// the first image and the others are 0.
Result lossReduced(const Loss& loss, const LossInput& in);

/// What the two-in-one loss kernel writes to its destination: w * g, never divided by a reduction.
Result lossGradient(const Loss& loss, const LossInput& in);

/// The forward-loss kernel: elements for None, else lossReduced.
Result forwardLoss(const Loss& loss, const LossInput& in);

/// Its gradient kernel: the exact derivative of forwardLoss times the incoming gradient, which is as large as the
/// forward result. byLabel gives the derivative by the label. meanInGradient = false leaves out the divisor of Mean and
/// SumByNonZeroWeights.
Result forwardLossGradient(const Loss& loss, const LossInput& in, const Tensor& incoming, bool byLabel = false,
                           bool meanInGradient = true);

/// Divisor of the reduction for one image (or for the batch): 1 for None and Sum.
double reductionDivisor(const Loss& loss, const LossInput& in, size_t image);

}  // namespace kovar::oracle
