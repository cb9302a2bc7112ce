#pragma once
// What the formulas of the anchor-box loss take.

#include "maths/yolo.hpp"
#include "prim/desc.hpp"

namespace kovar::prim {

inline maths::YoloParams paramsOf(const Yolo& d) {
  const auto term = [](const YoloTerm& t) {
    return maths::YoloTerm{
        {static_cast<maths::LossType>(t.type), t.labelSmoothing, t.numberOfClasses, t.epsilon, t.delta}, t.weight};
  };
  maths::YoloParams p;
  p.xy = term(d.xy), p.wh = term(d.wh), p.confidence = term(d.confidence), p.classes = term(d.classes);
  p.scaleXY = d.scaleXY, p.scaleWH = d.scaleWH, p.scaleClass = d.scaleClass;
  p.scaleNoObject = d.scaleNoObject, p.scaleObject = d.scaleObject;
  p.minForPresence = d.minForPresence, p.maxForAbsence = d.maxForAbsence;
  p.rescore = d.rescore;
  p.anchors = d.anchors;
  return p;
}

}  // namespace kovar::prim
