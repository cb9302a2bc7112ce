// The losses' formulas on lanes: value, gradient and label gradient side by side; loss.hpp describes the interface.
#include "maths/functions-inl.hpp"
#include "maths/loss.hpp"

#if defined(KOVAR_MATHS_LOSS_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef KOVAR_MATHS_LOSS_INL
#undef KOVAR_MATHS_LOSS_INL
#else
#define KOVAR_MATHS_LOSS_INL
#endif

KOVAR_LANES_BEGIN

#define KOVAR_LOSS(name) \
  template <class V>     \
  KOVAR_LANE V name(V y, V t) const
#define KOVAR_UNUSED(v) static_cast<void>(v)

struct MeanAbsoluteError {
  KOVAR_LOSS(value) { return abs(y - t); }
  KOVAR_LOSS(gradient) { return sign(y - t); }
  KOVAR_LOSS(labelGradient) { return -sign(y - t); }
};

struct MeanSquaredError {
  KOVAR_LOSS(value) {
    const V e = y - t;
    return e * e;
  }
  KOVAR_LOSS(gradient) { return V(2.f) * (y - t); }
  KOVAR_LOSS(labelGradient) { return V(-2.f) * (y - t); }
};

/// t (1 - s) + share, with share = s / (number of classes), or s / 2 for two-sided labels.
struct LabelSmoothing {
  float keep = 1.f, share = 0.f;
  template <class V>
  KOVAR_LANE V smooth(V t) const {
    return fma(t, V(keep), V(share));
  }
};

struct SoftMaxCrossEntropy {
  LabelSmoothing labels;
  // A label of 0 contributes nothing, also where the log-softmax is -infinity.
  KOVAR_LOSS(value) {
    const V u = labels.smooth(t);
    return select(u == V(0.f), V(0.f), -(u * y));
  }
  KOVAR_LOSS(gradient) { return exp(y) - labels.smooth(t); }
  KOVAR_LOSS(labelGradient) {
    KOVAR_UNUSED(t);
    return -y * V(labels.keep);
  }
};

/// The exact derivative of a pixel's weighted cross entropies by one prediction: softmax * sum - weightedLabel, where
/// weightedLabel is incoming gradient * weight * smoothed label of this channel and sum is its sum over the channels.
template <class V>
KOVAR_LANE V softmaxGradient(V logSoftmaxValue, V weightedLabel, V sum) {
  return fma(exp(logSoftmaxValue), sum, -weightedLabel);
}

struct SigmoidCrossEntropy {
  LabelSmoothing labels;
  KOVAR_LOSS(value) { return fma(-y, labels.smooth(t), pickGreater(V(0.f), y)) + log1p(exp(-abs(y))); }
  KOVAR_LOSS(gradient) { return sigmoid(y) - labels.smooth(t); }
  KOVAR_LOSS(labelGradient) {
    KOVAR_UNUSED(t);
    return -y * V(labels.keep);
  }
};

struct CategoricalCrossEntropy {
  KOVAR_LOSS(value) { return select(t == V(0.f), V(0.f), -t * log(y)); }
  KOVAR_LOSS(gradient) { return select(t == V(0.f), V(0.f), -t / pickGreater(V(1.17549435e-38f), y)); }
  KOVAR_LOSS(labelGradient) {
    KOVAR_UNUSED(t);
    return -log(y);
  }
};

/// Labels 0 and 1 stand for the sides -1 and 1; the margin is 1 - side * y.
struct Hinge {
  KOVAR_LOSS(value) { return pickGreater(V(0.f), margin(y, t)); }
  KOVAR_LOSS(gradient) { return select(margin(y, t) > V(0.f), minusSide(t), V(0.f)); }
  KOVAR_LOSS(labelGradient) { return select(margin(y, t) > V(0.f), V(-2.f) * y, V(0.f)); }

 private:
  template <class V>
  KOVAR_LANE static V minusSide(V t) {
    return fma(t, V(-2.f), V(1.f));
  }
  template <class V>
  KOVAR_LANE static V margin(V y, V t) {
    return fma(minusSide(t), y, V(1.f));
  }
};

struct Huber {
  float delta;
  KOVAR_LOSS(value) {
    const V e = abs(y - t), d = V(delta);
    return select(e <= d, V(0.5f) * (e * e), fma(d, e - d, V(0.5f) * (d * d)));
  }
  KOVAR_LOSS(gradient) { return clamp(y - t, V(-delta), V(delta)); }
  KOVAR_LOSS(labelGradient) { return -clamp(y - t, V(-delta), V(delta)); }
};

struct CosineDistance {
  KOVAR_LOSS(value) { return -(y * t); }
  KOVAR_LOSS(gradient) {
    KOVAR_UNUSED(y);
    return -t;
  }
  KOVAR_LOSS(labelGradient) {
    KOVAR_UNUSED(t);
    return -y;
  }
};

struct LogLoss {
  float epsilon;
  KOVAR_LOSS(value) { return -t * log(y + V(epsilon)) - (V(1.f) - t) * log(V(1.f) - y + V(epsilon)); }
  // Formed from the two quotients of the derivative: the documented single fraction, without its cancellation.
  KOVAR_LOSS(gradient) { return (V(1.f) - t) / (V(1.f) - y + V(epsilon)) - t / (y + V(epsilon)); }
  KOVAR_LOSS(labelGradient) {
    KOVAR_UNUSED(t);
    return log(V(1.f) - y + V(epsilon)) - log(y + V(epsilon));
  }
};

/// y holds log-probabilities; a label of 0 contributes nothing.
struct KullbackLeiblerDivergence {
  KOVAR_LOSS(value) { return select(t == V(0.f), V(0.f), t * (log(t) - y)); }
  KOVAR_LOSS(gradient) {
    KOVAR_UNUSED(y);
    return -t;
  }
  KOVAR_LOSS(labelGradient) { return log(t) + V(1.f) - y; }
};

/// Calls f with the functor of params.type; a number that is no loss counts as MeanSquaredError.
KOVAR_LANE_VISITOR
template <class F>
KOVAR_LANE decltype(auto) visitLoss(const LossParams& p, F&& f) {
  const float s = p.labelSmoothing > 0.f ? p.labelSmoothing : 0.f;
  switch (p.type) {
    case LossType::MeanAbsoluteError:
      return f(MeanAbsoluteError{});
    case LossType::SoftMaxCrossEntropy:
      return f(SoftMaxCrossEntropy{{1.f - s, s / static_cast<float>(p.numberOfClasses)}});
    case LossType::SigmoidCrossEntropy:
      return f(SigmoidCrossEntropy{{1.f - s, s * 0.5f}});
    case LossType::CategoricalCrossEntropy:
      return f(CategoricalCrossEntropy{});
    case LossType::Hinge:
      return f(Hinge{});
    case LossType::Huber:
      return f(Huber{p.delta});
    case LossType::CosineDistance:
      return f(CosineDistance{});
    case LossType::Log:
      return f(LogLoss{p.epsilon});
    case LossType::KullbackLeiblerDivergence:
      return f(KullbackLeiblerDivergence{});
    case LossType::MeanSquaredError:
    case LossType::Count:
      break;
  }
  return f(MeanSquaredError{});
}

#undef KOVAR_LOSS
#undef KOVAR_UNUSED

KOVAR_LANES_END

#endif  // per lane set
