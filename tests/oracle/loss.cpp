#include "oracle/loss.hpp"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <stdexcept>

#include "oracle/softmax.hpp"

namespace kovar::oracle {

namespace {

double sigmoid(double x) { return x >= 0 ? 1.0 / (1.0 + std::exp(-x)) : std::exp(x) / (1.0 + std::exp(x)); }
double sign(double x) { return x > 0 ? 1.0 : x < 0 ? -1.0 : 0.0; }

// A value and the sum of its absolute terms.
struct Term {
  double value, magnitude;
};

// What an element needs beside prediction and label: the softmax of its pixel.
struct Pixel {
  double logSum = 0;  // log(sum(exp(y)))
};

Term element(const Loss& l, double y, double t, const Pixel& px) {
  switch (l.type) {
    case LossType::MeanAbsoluteError:
      return {std::fabs(y - t), std::fabs(y) + std::fabs(t)};
    case LossType::MeanSquaredError: {
      const double e = y - t, s = std::fabs(y) + std::fabs(t);
      return {e * e, s * s};
    }
    case LossType::SoftMaxCrossEntropy:
      return {-t * (y - px.logSum), std::fabs(t) * (std::fabs(y) + std::fabs(px.logSum) + 1)};
    case LossType::SigmoidCrossEntropy: {
      const double soft = std::log1p(std::exp(-std::fabs(y)));
      return {std::max(y, 0.0) - y * t + soft, std::max(y, 0.0) + std::fabs(y * t) + soft};
    }
    case LossType::CategoricalCrossEntropy: {
      if (t == 0) return {0, 0};
      return {-t * std::log(y), std::fabs(t) * (std::fabs(std::log(y)) + 1e-1)};
    }
    case LossType::Hinge: {
      const double s = 2 * t - 1;
      return {std::max(1 - s * y, 0.0), 1 + (2 * std::fabs(t) + 1) * std::fabs(y)};
    }
    case LossType::Huber: {
      const double e = std::fabs(y - t), s = std::fabs(y) + std::fabs(t);
      if (e <= l.delta) return {0.5 * e * e, 0.5 * s * s};
      return {0.5 * l.delta * l.delta + l.delta * (e - l.delta), l.delta * (s + l.delta)};
    }
    case LossType::CosineDistance:
      return {-y * t, std::fabs(y * t)};
    case LossType::Log: {
      const double p = y + l.epsilon, q = 1 - y + l.epsilon;
      // 1-y rounds to the terms of the difference
      return {-t * std::log(p) - (1 - t) * std::log(q),
              std::fabs(t) * (std::fabs(std::log(p)) + 1) +
                  std::fabs(1 - t) * (std::fabs(std::log(q)) + (1 + std::fabs(y)) / std::fabs(q))};
    }
    case LossType::KullbackLeiblerDivergence: {
      if (t == 0) return {0, 0};
      return {t * (std::log(t) - y), std::fabs(t) * (std::fabs(std::log(t)) + 0.1 + std::fabs(y))};
    }
  }
  throw std::invalid_argument("oracle: no such loss");
}

Term byPrediction(const Loss& l, double y, double t, const Pixel& px) {
  switch (l.type) {
    case LossType::MeanAbsoluteError:
      return {sign(y - t), 1};
    case LossType::MeanSquaredError:
      return {2 * (y - t), 2 * (std::fabs(y) + std::fabs(t))};
    case LossType::SoftMaxCrossEntropy: {
      const double p = std::exp(y - px.logSum);
      return {p - t, p * (1 + std::fabs(y - px.logSum)) + std::fabs(t)};
    }
    case LossType::SigmoidCrossEntropy:
      return {sigmoid(y) - t, sigmoid(y) + std::fabs(t)};
    case LossType::CategoricalCrossEntropy: {
      const double v = t == 0 ? 0 : -t / std::max(y, static_cast<double>(FLT_MIN));
      return {v, std::fabs(v)};
    }
    case LossType::Hinge: {
      const double s = 2 * t - 1;
      return {1 - s * y > 0 ? -s : 0.0, 2 * std::fabs(t) + 1};
    }
    case LossType::Huber:
      return {std::clamp(y - t, -l.delta, l.delta), std::fabs(y) + std::fabs(t)};
    case LossType::CosineDistance:
      return {-t, std::fabs(t)};
    case LossType::Log: {
      const double p = y + l.epsilon, q = 1 - y + l.epsilon;
      const double v = -t / p + (1 - t) / q;
      const double terms = std::fabs(y) + std::fabs(t) + l.epsilon * (1 + 2 * std::fabs(t));
      const double below = std::fabs(y) * (1 + std::fabs(y)) + l.epsilon * (1 + l.epsilon);
      return {v, (terms + std::fabs(v) * below) / std::fabs(p * q)};
    }
    case LossType::KullbackLeiblerDivergence:
      return {-t, std::fabs(t)};
  }
  throw std::invalid_argument("oracle: no such loss");
}

Term byLabel(const Loss& l, double y, double t, const Pixel& px) {
  switch (l.type) {
    case LossType::MeanAbsoluteError:
      return {-sign(y - t), 1};
    case LossType::MeanSquaredError:
      return {-2 * (y - t), 2 * (std::fabs(y) + std::fabs(t))};
    case LossType::Huber:
      return {-std::clamp(y - t, -l.delta, l.delta), std::fabs(y) + std::fabs(t)};
    case LossType::SoftMaxCrossEntropy: {
      const double k = 1 - l.labelSmoothing;
      return {-(y - px.logSum) * k, (std::fabs(y) + std::fabs(px.logSum) + 1) * std::fabs(k)};
    }
    case LossType::SigmoidCrossEntropy: {
      const double k = 1 - l.labelSmoothing;
      return {-y * k, std::fabs(y * k)};
    }
    case LossType::CategoricalCrossEntropy:
      return {-std::log(y), std::fabs(std::log(y)) + 0.1};
    case LossType::Hinge:
      return {1 - (2 * t - 1) * y > 0 ? -2 * y : 0.0, 2 * std::fabs(y)};
    case LossType::CosineDistance:
      return {-y, std::fabs(y)};
    case LossType::Log: {
      const double p = y + l.epsilon, q = 1 - y + l.epsilon;
      return {std::log(q) - std::log(p), std::fabs(std::log(q)) + std::fabs(std::log(p)) + 2 / std::fabs(q)};
    }
    case LossType::KullbackLeiblerDivergence:
      return {std::log(t) + 1 - y, std::fabs(std::log(t)) + 1 + std::fabs(y)};
  }
  throw std::invalid_argument("oracle: no such loss");
}

Pixel pixelOf(const Loss& l, const LossInput& in, size_t n, size_t y, size_t x) {
  Pixel px;
  if (l.type == LossType::SoftMaxCrossEntropy) px.logSum = logSumExp(&in.predictions.at(n, y, x, 0), in.predictions.c);
  return px;
}

void checkSizes(const LossInput& in) {
  const Tensor &y = in.predictions, &t = in.labels;
  if (t.n != y.n || t.h < y.h || t.w < y.w || t.c < y.c)
    throw std::invalid_argument("oracle: labels " + t.shape() + " do not cover predictions " + y.shape());
}

Result perElement(const Loss& l, const LossInput& in, Term (*formula)(const Loss&, double, double, const Pixel&)) {
  checkSizes(in);
  const Tensor& p = in.predictions;
  Result out{Tensor(p.n, p.h, p.w, p.c), Tensor(p.n, p.h, p.w, p.c)};
  for (size_t n = 0; n < p.n; ++n)
    for (size_t y = 0; y < p.h; ++y)
      for (size_t x = 0; x < p.w; ++x) {
        const Pixel px = pixelOf(l, in, n, y, x);
        for (size_t c = 0; c < p.c; ++c) {
          const Term e = formula(l, p.at(n, y, x, c), in.label(l, n, y, x, c), px);
          const double w = in.weight(l, n, y, x, c);
          out.value.at(n, y, x, c) = w * e.value;
          out.magnitude.at(n, y, x, c) = std::fabs(w) * e.magnitude;
        }
      }
  return out;
}

// elements (SoftMax cross entropy: pixels) with a weight other than 0
double nonZeroWeights(const Loss& l, const LossInput& in, size_t n) {
  const Tensor& p = in.predictions;
  double count = 0;
  for (size_t y = 0; y < p.h; ++y)
    for (size_t x = 0; x < p.w; ++x) {
      size_t here = 0;
      for (size_t c = 0; c < p.c; ++c) here += in.weight(l, n, y, x, c) != 0;
      if (l.type == LossType::SoftMaxCrossEntropy) here = here > 0;
      count += static_cast<double>(here);
    }
  return count;
}

}  // namespace

const char* Loss::name() const {
  static const char* const kNames[] = {"MeanAbsoluteError",
                                       "MeanSquaredError",
                                       "SoftMaxCrossEntropy",
                                       "SigmoidCrossEntropy",
                                       "CategoricalCrossEntropy",
                                       "Hinge",
                                       "Huber",
                                       "CosineDistance",
                                       "Log",
                                       "KullbackLeiblerDivergence"};
  return kNames[static_cast<int>(type)];
}

Domain Loss::predictions() const {
  switch (type) {
    case LossType::CategoricalCrossEntropy:
    case LossType::Log:
      return {0.05, 0.95, false};
    case LossType::KullbackLeiblerDivergence:
      return {-5, 0, false};
    case LossType::CosineDistance:
      return {-1, 1, false};
    default:
      return {-4, 4, false};
  }
}

Domain Loss::labels() const {
  switch (type) {
    case LossType::MeanAbsoluteError:
    case LossType::MeanSquaredError:
    case LossType::Huber:
      return {-4, 4, false};
    case LossType::CosineDistance:
      return {-1, 1, false};
    case LossType::KullbackLeiblerDivergence:
      return {0.05, 1, false};
    default:
      return {0, 1, false};
  }
}

double LossInput::label(const Loss& loss, size_t n, size_t y, size_t x, size_t c) const {
  const double t = labels.at(n, y, x, c), s = loss.labelSmoothing;
  if (s <= 0) return t;
  if (loss.type == LossType::SoftMaxCrossEntropy) return t * (1 - s) + s / loss.numberOfClasses;
  if (loss.type == LossType::SigmoidCrossEntropy) return t * (1 - s) + s / 2;
  return t;
}

double LossInput::weight(const Loss& loss, size_t n, size_t y, size_t x, size_t c) const {
  if (weights.size() == 0) return loss.weight;
  return loss.weight *
         weights.at(weights.n == 1 ? 0 : n, weights.h == 1 ? 0 : y, weights.w == 1 ? 0 : x, weights.c == 1 ? 0 : c);
}

double reductionDivisor(const Loss& loss, const LossInput& in, size_t image) {
  const Tensor& p = in.predictions;
  if (loss.reduction == Reduction::Mean) {
    auto d = static_cast<double>(p.w * p.h);
    if (loss.type != LossType::SoftMaxCrossEntropy) d *= static_cast<double>(p.c);
    return loss.reduceAcrossBatch ? d * static_cast<double>(p.n) : d;
  }
  if (loss.reduction == Reduction::SumByNonZeroWeights) {
    if (!loss.reduceAcrossBatch) return nonZeroWeights(loss, in, image);
    double count = 0;
    for (size_t n = 0; n < p.n; ++n) count += nonZeroWeights(loss, in, n);
    return count;
  }
  return 1;
}

Result lossElements(const Loss& loss, const LossInput& in) { return perElement(loss, in, element); }

Result lossReduced(const Loss& loss, const LossInput& in) {
  if (loss.type == LossType::CosineDistance && loss.reduction != Reduction::Sum)
    throw std::invalid_argument("oracle: CosineDistance takes reduction Sum only");
  const Result e = lossElements(loss, in);
  const size_t images = in.predictions.n, per = e.value.size() / images;
  const bool across = loss.reduceAcrossBatch && loss.reduction != Reduction::None;
  Result out{Tensor(images, 1, 1, 1), Tensor(images, 1, 1, 1)};
  for (size_t n = 0; n < images; ++n) {
    double sum = 0, terms = 0;
    if (loss.type == LossType::CosineDistance) sum = loss.weight, terms = std::fabs(loss.weight);
    for (size_t k = 0; k < per; ++k) {
      sum += e.value.v[n * per + k];
      terms += e.magnitude.v[n * per + k];
    }
    const double divisor = reductionDivisor(loss, in, n);
    const size_t to = across ? 0 : n;
    if (divisor == 0) continue;
    out.value.v[to] += sum / divisor;
    out.magnitude.v[to] += terms / divisor;
  }
  return out;
}

Result lossGradient(const Loss& loss, const LossInput& in) { return perElement(loss, in, byPrediction); }

Result forwardLoss(const Loss& loss, const LossInput& in) {
  const bool elements = loss.reduction == Reduction::None && loss.type != LossType::CosineDistance;
  return elements ? lossElements(loss, in) : lossReduced(loss, in);
}

Result forwardLossGradient(const Loss& loss, const LossInput& in, const Tensor& incoming, bool labelSide,
                           bool meanInGradient) {
  const bool across = loss.reduceAcrossBatch && loss.reduction != Reduction::None;
  Result out = perElement(loss, in, labelSide ? byLabel : byPrediction);
  const Tensor& p = in.predictions;
  for (size_t n = 0; n < p.n; ++n) {
    const double divisor = meanInGradient ? reductionDivisor(loss, in, n) : 1;
    for (size_t y = 0; y < p.h; ++y)
      for (size_t x = 0; x < p.w; ++x) {
        auto scale = [&](size_t c) {  // incoming gradient of an element, after the reduction
          const double g =
              incoming.at(across ? 0 : n, incoming.h == 1 ? 0 : y, incoming.w == 1 ? 0 : x, incoming.c == 1 ? 0 : c);
          return divisor == 0 ? 0.0 : g / divisor;
        };
        if (loss.type == LossType::SoftMaxCrossEntropy && !labelSide) {
          // every channel's loss holds every channel's logit: softmax * sum(G w t) - G w t
          const double logSum = logSumExp(&p.at(n, y, x, 0), p.c);
          double sum = 0, terms = 0;
          for (size_t c = 0; c < p.c; ++c) {
            const double v = scale(c) * in.weight(loss, n, y, x, c) * in.label(loss, n, y, x, c);
            sum += v;
            terms += std::fabs(v);
          }
          for (size_t c = 0; c < p.c; ++c) {
            const double gap = p.at(n, y, x, c) - logSum, soft = std::exp(gap);
            const double own = scale(c) * in.weight(loss, n, y, x, c) * in.label(loss, n, y, x, c);
            out.value.at(n, y, x, c) = soft * sum - own;
            out.magnitude.at(n, y, x, c) = soft * terms * (1 + std::fabs(gap)) + std::fabs(own);
          }
          continue;
        }
        for (size_t c = 0; c < p.c; ++c) {
          out.value.at(n, y, x, c) *= scale(c);
          out.magnitude.at(n, y, x, c) *= std::fabs(scale(c));
        }
      }
  }
  return out;
}

}  // namespace kovar::oracle
