#pragma once
// The object-detection loss over anchor boxes.

#include "oracle/loss.hpp"

namespace kovar::oracle {

struct Anchor {
  double width, height;  ///< in cells
};

/// Channels of anchor a, from a * (5 + classes) on: x, y, w, h, confidence, class scores. Predictions, labels, weights
/// and gradient share this layout.
struct YoloLoss {
  Loss xy, wh, confidence, classes;  ///< of each only type and scalars count
  Reduction reduction = Reduction::Sum;
  bool reduceAcrossBatch = false;
  bool rescore = true;  ///< confidence target = overlap of prediction and label, as a constant
  double scaleXY = 10, scaleWH = 10, scaleNoObject = 5, scaleObject = 100, scaleClass = 2;
  double minIouForObjectPresence = 0.7, maxIouForObjectAbsence = 0.3;
  std::vector<Anchor> anchors;

  static Tolerance tolerance() { return {2e-5, 1e-37}; }
  /// Of the raw predictions.
  static Domain domain() { return {-2, 2, false}; }
  /// The four usual loss types: squared error, Huber, sigmoid and softmax cross entropy.
  static YoloLoss usual(std::vector<Anchor> anchors);
};

/// Weighted terms, each in the channel of its prediction, and the gradient by the predictions.
struct YoloResult {
  Result elements, gradient;
};
YoloResult yoloElements(const YoloLoss& loss, const LossInput& in);

/// A 1x1x1 value for each image (None: as Sum).
Result yoloReduced(const YoloLoss& loss, const LossInput& in);

/// Whether an overlap lies so near a threshold or another anchor's that float32 may decide otherwise: not a test's
/// input.
bool yoloIsNearDecision(const YoloLoss& loss, const Tensor& labels, double margin = 1e-3);

}  // namespace kovar::oracle
