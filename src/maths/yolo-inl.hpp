// The anchor-box loss: overlaps and the role of an anchor, on floats.
#include "maths/functions-inl.hpp"
#include "maths/yolo.hpp"

#if defined(KOVAR_MATHS_YOLO_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef KOVAR_MATHS_YOLO_INL
#undef KOVAR_MATHS_YOLO_INL
#else
#define KOVAR_MATHS_YOLO_INL
#endif

KOVAR_LANES_BEGIN

/// Intersection over union of two boxes with the same centre.
KOVAR_LANE float sizeOverlap(float aw, float ah, float gw, float gh) {
  const float inter = pickLess(aw, gw) * pickLess(ah, gh);
  return inter / (aw * ah + gw * gh - inter);
}

/// Intersection over union of two boxes given by centre and size; 0 where they do not meet.
KOVAR_LANE float boxOverlap(const YoloBox& a, const YoloBox& b) {
  const float w = pickLess(a.x + a.w * 0.5f, b.x + b.w * 0.5f) - pickGreater(a.x - a.w * 0.5f, b.x - b.w * 0.5f);
  const float h = pickLess(a.y + a.h * 0.5f, b.y + b.h * 0.5f) - pickGreater(a.y - a.h * 0.5f, b.y - b.h * 0.5f);
  const float inter = pickGreater(w, 0.f) * pickGreater(h, 0.f);
  return inter / (a.w * a.h + b.w * b.h - inter);
}

/// The box that raw predictions stand for, in cells from the cell's corner.
KOVAR_LANE YoloBox predictedBox(const float* p, float anchorWidth, float anchorHeight) {
  return {sigmoid(p[0]), sigmoid(p[1]), exp(p[2]) * anchorWidth, exp(p[3]) * anchorHeight};
}

/// What the raw size of a box should be.
KOVAR_LANE float sizeTarget(float size, float anchor) { return log(size / anchor + 1e-5f); }

/// The logarithm of a softmax over `count` scores.
KOVAR_LANE void logSoftmax(const float* scores, std::int64_t count, float* out) {
  float most = scores[0], sum = 0.f;
  for (std::int64_t i = 1; i < count; ++i) most = pickGreater(scores[i], most);
  for (std::int64_t i = 0; i < count; ++i) sum += exp(scores[i] - most);
  const float shift = most + log(sum);
  for (std::int64_t i = 0; i < count; ++i) out[i] = scores[i] - shift;
}

KOVAR_LANES_END

#endif  // per lane set
