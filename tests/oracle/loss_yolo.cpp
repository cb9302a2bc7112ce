#include "oracle/loss_yolo.hpp"

#include <algorithm>
#include <cmath>

namespace kovar::oracle {

namespace {

struct Box {
  double x, y, w, h;  // centre and size
};

double overlap(const Box& a, const Box& b) {
  const double w = std::min(a.x + a.w / 2, b.x + b.w / 2) - std::max(a.x - a.w / 2, b.x - b.w / 2);
  const double h = std::min(a.y + a.h / 2, b.y + b.h / 2) - std::max(a.y - a.h / 2, b.y - b.h / 2);
  const double inter = std::max(w, 0.0) * std::max(h, 0.0);
  return inter / (a.w * a.h + b.w * b.h - inter);
}

double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

// Overlap of each anchor with the label box, both centred on the same point.
std::vector<double> anchorOverlaps(const YoloLoss& loss, const double* labels, size_t per) {
  std::vector<double> v;
  for (size_t a = 0; a < loss.anchors.size(); ++a)
    v.push_back(overlap({0, 0, loss.anchors[a].width, loss.anchors[a].height},
                        {0, 0, labels[a * per + 2], labels[a * per + 3]}));
  return v;
}

struct Terms {
  std::vector<double> value, gradient, valueMagnitude, gradientMagnitude;
};

// The element-wise loss over a few channels that belong together.
Terms apply(Loss loss, const std::vector<double>& y, const std::vector<double>& t) {
  loss.reduction = Reduction::None;
  LossInput in{Tensor(1, 1, 1, y.size()), Tensor(1, 1, 1, y.size()), {}};
  in.predictions.v = y;
  in.labels.v = t;
  const Result e = lossElements(loss, in), g = lossGradient(loss, in);
  return {e.value.v, g.value.v, e.magnitude.v, g.magnitude.v};
}

}  // namespace

YoloLoss YoloLoss::usual(std::vector<Anchor> anchors) {
  YoloLoss l;
  l.xy.type = LossType::MeanSquaredError;
  l.wh.type = LossType::Huber;
  l.confidence.type = LossType::SigmoidCrossEntropy;
  l.classes.type = LossType::SoftMaxCrossEntropy;
  l.anchors = std::move(anchors);
  return l;
}

YoloResult yoloElements(const YoloLoss& loss, const LossInput& in) {
  const Tensor& p = in.predictions;
  const Tensor zero(p.n, p.h, p.w, p.c);
  YoloResult out{{zero, zero}, {zero, zero}};
  const size_t per = p.c / loss.anchors.size(), classes = per - 5;
  Loss unit;  // for the weights image alone
  for (size_t n = 0; n < p.n; ++n)
    for (size_t y = 0; y < p.h; ++y)
      for (size_t x = 0; x < p.w; ++x) {
        const double* labels = &in.labels.at(n, y, x, 0);
        const std::vector<double> fit = anchorOverlaps(loss, labels, per);
        const double best = *std::max_element(fit.begin(), fit.end());
        for (size_t a = 0; a < loss.anchors.size(); ++a) {
          const size_t first = a * per;
          const double* t = labels + first;
          const double* v = &p.at(n, y, x, first);
          const bool object = t[4] == 1 && (fit[a] >= best - 1e-6 || fit[a] > loss.minIouForObjectPresence);
          const bool absent = !object && fit[a] < loss.maxIouForObjectAbsence;
          // writes a term into its channel; inner is the slope of what the loss was applied to
          auto put = [&](size_t channel, double scale, double inner, const Terms& terms, size_t k) {
            const double w = scale * in.weight(unit, n, y, x, first + channel);
            const size_t at = p.index(n, y, x, first + channel);
            out.elements.value.v[at] = w * terms.value[k];
            out.elements.magnitude.v[at] = std::fabs(w) * terms.valueMagnitude[k];
            out.gradient.value.v[at] = w * terms.gradient[k] * inner;
            out.gradient.magnitude.v[at] = std::fabs(w * inner) * terms.gradientMagnitude[k];
          };
          if (object) {
            const double sx = sigmoid(v[0]), sy = sigmoid(v[1]);
            const Terms xy = apply(loss.xy, {sx, sy}, {t[0], t[1]});
            put(0, loss.scaleXY, sx * (1 - sx), xy, 0);
            put(1, loss.scaleXY, sy * (1 - sy), xy, 1);
            const Terms wh =
                apply(loss.wh, {v[2], v[3]},
                      {std::log(t[2] / loss.anchors[a].width + 1e-5), std::log(t[3] / loss.anchors[a].height + 1e-5)});
            put(2, loss.scaleWH, 1, wh, 0);
            put(3, loss.scaleWH, 1, wh, 1);
            const Terms c = apply(loss.classes, {v + 5, v + 5 + classes}, {t + 5, t + 5 + classes});
            for (size_t k = 0; k < classes; ++k) put(5 + k, loss.scaleClass, 1, c, k);
          }
          if (object || absent) {
            const Box predicted{sigmoid(v[0]), sigmoid(v[1]), std::exp(v[2]) * loss.anchors[a].width,
                                std::exp(v[3]) * loss.anchors[a].height};
            const double target = !object ? 0.0 : loss.rescore ? overlap(predicted, {t[0], t[1], t[2], t[3]}) : 1.0;
            put(4, object ? loss.scaleObject : loss.scaleNoObject, 1, apply(loss.confidence, {v[4]}, {target}), 0);
          }
        }
      }
  return out;
}

Result yoloReduced(const YoloLoss& loss, const LossInput& in) {
  const Result e = yoloElements(loss, in).elements;
  Loss shape;  // no pixel-wise divisor: every channel counts
  shape.reduction = loss.reduction;
  shape.reduceAcrossBatch = loss.reduceAcrossBatch;
  const bool across = loss.reduceAcrossBatch && loss.reduction != Reduction::None;
  const size_t images = in.predictions.n, per = e.value.size() / images;
  Result out{Tensor(images, 1, 1, 1), Tensor(images, 1, 1, 1)};
  for (size_t n = 0; n < images; ++n) {
    const double divisor = reductionDivisor(shape, in, n);
    if (divisor == 0) continue;
    for (size_t k = 0; k < per; ++k) {
      out.value.v[across ? 0 : n] += e.value.v[n * per + k] / divisor;
      out.magnitude.v[across ? 0 : n] += e.magnitude.v[n * per + k] / divisor;
    }
  }
  return out;
}

bool yoloIsNearDecision(const YoloLoss& loss, const Tensor& labels, double margin) {
  const size_t per = labels.c / loss.anchors.size();
  for (size_t cell = 0; cell < labels.n * labels.h * labels.w; ++cell) {
    const std::vector<double> fit = anchorOverlaps(loss, &labels.v[cell * labels.c], per);
    const double best = *std::max_element(fit.begin(), fit.end());
    for (double f : fit)
      if (std::fabs(f - loss.minIouForObjectPresence) < margin || std::fabs(f - loss.maxIouForObjectAbsence) < margin ||
          (f != best && best - f < margin))
        return true;
  }
  return false;
}

}  // namespace kovar::oracle
