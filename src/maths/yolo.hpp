#pragma once
// The anchor-box loss: what an anchor of a cell stands for. yolo-inl.hpp has the formulas.

#include <cstdint>

#include "maths/lane.hpp"

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

/// fit: overlap of the anchor with the label's box, by size alone; best: the largest of the cell's anchors. Anchors
/// within 1e-6 of it count as equal.
KOVAR_LANE YoloRole yoloRole(bool present, float fit, float best, float minForPresence, float maxForAbsence) {
  if (present && (fit >= best - 1e-6f || fit > minForPresence)) return YoloRole::Object;
  return fit < maxForAbsence ? YoloRole::Absent : YoloRole::None;
}

}  // namespace kovar::maths
