#pragma once
// Losses: types, parameters and the divisors of the reductions. loss-inl.hpp has the formulas as functors
//   V value(V y, V t)            unweighted loss of one element, y the prediction and t the label
//   V gradient(V y, V t)         its derivative by y
//   V labelGradient(V y, V t)    its derivative by t (the label as given, so smoothing's factor is in it)
//   visitLoss(params, f)         calls f with the functor of params.type
// Smoothing of the labels happens inside. The weight of an element multiplies what they return.
//
// SoftMaxCrossEntropy takes y = log-softmax of the prediction over the channels of its pixel, and gradient() is by the
// prediction itself: softmax - t, the documented form. softmaxGradient(y, weightedLabel, sum) is the exact form.
// CosineDistance is one number an image, w (1 + sum of value()); only Sum applies to it.

#include <cstdint>

namespace kovar::maths {

/// Numbers as documented for MPSCNNLossType.
enum class LossType : std::uint8_t {
  MeanAbsoluteError = 0,
  MeanSquaredError,
  SoftMaxCrossEntropy,
  SigmoidCrossEntropy,
  CategoricalCrossEntropy,
  Hinge,
  Huber,
  CosineDistance,
  Log,
  KullbackLeiblerDivergence,
  Count
};

/// Numbers as documented for MPSCNNReductionType.
enum class LossReductionType : std::uint8_t { None = 0, Sum, Mean, SumByNonZeroWeights, Count };

struct LossParams {
  LossType type = LossType::MeanSquaredError;
  float labelSmoothing = 0.f;        ///< SoftMaxCrossEntropy, SigmoidCrossEntropy
  std::int32_t numberOfClasses = 1;  ///< SoftMaxCrossEntropy's smoothing
  float epsilon = 1e-7f;             ///< Log
  float delta = 1.f;                 ///< Huber
};

/// Whether the elements of one pixel count as one: true for SoftMaxCrossEntropy alone.
constexpr bool lossCountsPixels(LossType type) { return type == LossType::SoftMaxCrossEntropy; }

/// What the sum of the weighted elements is divided by. `nonZeroWeights` counts what SumByNonZeroWeights asks for, over
/// one image or over the batch when acrossBatch: elements of weight other than 0, or pixels that have one such element
/// where lossCountsPixels. Without a weights image the caller passes a negative number: all count when the scalar
/// weight is not 0. The result 0 means that the loss and its gradient are 0.
constexpr std::int64_t lossDivisor(LossType type, LossReductionType reduction, std::int64_t width, std::int64_t height,
                                   std::int64_t channels, std::int64_t images, bool acrossBatch, float scalarWeight,
                                   std::int64_t nonZeroWeights) {
  const std::int64_t all =
      width * height * (lossCountsPixels(type) ? 1 : channels) * (acrossBatch ? images : std::int64_t{1});
  switch (reduction) {
    case LossReductionType::Mean:
      return all;
    case LossReductionType::SumByNonZeroWeights:
      if (nonZeroWeights >= 0) return nonZeroWeights;
      return scalarWeight != 0.f ? all : 0;
    case LossReductionType::None:
    case LossReductionType::Sum:
    case LossReductionType::Count:
      break;
  }
  return 1;
}

}  // namespace kovar::maths
