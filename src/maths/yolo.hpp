#pragma once
// The anchor-box loss: its parameters, and what an anchor of a cell stands for. yolo-inl.hpp has the formulas.

#include <cstdint>

#include "maths/lane.hpp"
#include "maths/loss.hpp"

namespace kovar::maths {

/// Centre and size, in cells.
struct YoloBox {
  float x, y, w, h;
};

enum class YoloRole : std::uint8_t {
  None,    ///< contributes nothing
  Absent,  ///< should say that there is no object
  Object,
};

/// An element-wise loss and what it is multiplied by.
struct YoloTerm {
  LossParams loss;
  float weight = 1.f;
};

struct YoloParams {
  YoloTerm xy, wh, confidence, classes;
  float scaleXY = 10.f, scaleWH = 10.f, scaleNoObject = 5.f, scaleObject = 100.f, scaleClass = 2.f;
  float minForPresence = 0.7f, maxForAbsence = 0.3f;
  bool rescore = true;  ///< an object's confidence should be the overlap of the boxes; else 1
  std::int32_t anchors = 1;
};

/// fit: overlap of the anchor with the label's box, by size alone; best: the largest of the cell's anchors. Anchors
/// within 1e-6 of it count as equal.
KOVAR_LANE YoloRole yoloRole(bool present, float fit, float best, float minForPresence, float maxForAbsence) {
  if (present && (fit >= best - 1e-6f || fit > minForPresence)) return YoloRole::Object;
  return fit < maxForAbsence ? YoloRole::Absent : YoloRole::None;
}

}  // namespace kovar::maths
