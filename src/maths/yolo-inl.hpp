// The anchor-box loss of one anchor of one cell, on floats.
#include "maths/functions-inl.hpp"
#include "maths/loss-inl.hpp"
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

/// What is subtracted from `count` scores, score(i), to give the logarithms of their softmax.
template <class F>
KOVAR_LANE float logSoftmaxShift(std::int64_t count, const F& score) {
  float most = score(0), sum = 0.f;
  for (std::int64_t i = 1; i < count; ++i) most = pickGreater(score(i), most);
  for (std::int64_t i = 0; i < count; ++i) sum += exp(score(i) - most);
  return most + log(sum);
}

struct YoloSlope {
  float value, gradient;
};

/// One element of a term, y and t as its functor takes them.
KOVAR_LANE_VISITOR
KOVAR_LANE YoloSlope yoloSlope(const YoloTerm& term, float y, float t) {
  const YoloSlope s = visitLoss(term.loss, [&](const auto& loss) {
    return YoloSlope{loss.value(y, t), loss.gradient(y, t)};
  });
  return {s.value * term.weight, s.gradient * term.weight};
}

/// How well anchor `a` of a cell fits the box of its label. `anchors`: width and height of each.
template <class Cell>
KOVAR_LANE float yoloFit(const Cell& cell, const float* anchors, std::int64_t per, std::int64_t a) {
  return sizeOverlap(anchors[2 * a], anchors[2 * a + 1], cell.label(a * per + 2), cell.label(a * per + 3));
}

/// The largest fit of a cell's anchors.
template <class Cell>
KOVAR_LANE float yoloBestFit(const YoloParams& d, const Cell& cell, const float* anchors, std::int64_t per) {
  float best = yoloFit(cell, anchors, per, 0);
  for (std::int64_t a = 1; a < d.anchors; ++a) best = pickGreater(yoloFit(cell, anchors, per, a), best);
  return best;
}

/// One anchor of one cell, `per` channels. The cell gives prediction(c), label(c) and weight(c), and takes
/// put(c, value, gradient) once for every channel; a prediction is not read again once its channel was put.
KOVAR_LANE_VISITOR
template <class Cell>
KOVAR_LANE void yoloAnchor(const YoloParams& d, const Cell& cell, const float* anchors, std::int64_t per, float best,
                           std::int64_t a) {
  const std::int64_t first = a * per;
  const auto put = [&](std::int64_t c, float scale, const YoloSlope& s, float inner) {
    const float weight = scale * cell.weight(first + c);
    cell.put(first + c, weight * s.value, weight * s.gradient * inner);
  };
  const float confidence = cell.prediction(first + 4);
  const YoloRole role =
      yoloRole(cell.label(first + 4) == 1.f, yoloFit(cell, anchors, per, a), best, d.minForPresence, d.maxForAbsence);
  if (role != YoloRole::Object) {
    for (std::int64_t i = 0; i < per; ++i)
      if (role == YoloRole::Absent && i == 4)
        put(4, d.scaleNoObject, yoloSlope(d.confidence, confidence, 0.f), 1.f);
      else
        cell.put(first + i, 0.f, 0.f);
    return;
  }
  float box[4], label[4];
  for (std::int64_t i = 0; i < 4; ++i) box[i] = cell.prediction(first + i), label[i] = cell.label(first + i);
  const float* anchor = anchors + 2 * a;
  for (std::int64_t i = 0; i < 2; ++i) {
    const float s = sigmoid(box[i]);
    put(i, d.scaleXY, yoloSlope(d.xy, s, label[i]), s * (1.f - s));
    put(2 + i, d.scaleWH, yoloSlope(d.wh, box[2 + i], sizeTarget(label[2 + i], anchor[i])), 1.f);
  }
  const float target =
      d.rescore ? boxOverlap(predictedBox(box, anchor[0], anchor[1]), {label[0], label[1], label[2], label[3]}) : 1.f;
  put(4, d.scaleObject, yoloSlope(d.confidence, confidence, target), 1.f);
  const std::int64_t classes = per - 5;
  const auto score = [&](std::int64_t k) { return cell.prediction(first + 5 + k); };
  const bool softmax = d.classes.loss.type == LossType::SoftMaxCrossEntropy;
  const float shift = softmax ? logSoftmaxShift(classes, score) : 0.f;
  for (std::int64_t k = 0; k < classes; ++k)
    put(5 + k, d.scaleClass, yoloSlope(d.classes, score(k) - shift, cell.label(first + 5 + k)), 1.f);
}

KOVAR_LANES_END

#endif  // per lane set
