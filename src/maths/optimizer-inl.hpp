// The optimizers' update rules on lanes; optimizer.hpp describes the interface.
#include "maths/lane-inl.hpp"
#include "maths/optimizer.hpp"

#if defined(KOVAR_MATHS_OPTIMIZER_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef KOVAR_MATHS_OPTIMIZER_INL
#undef KOVAR_MATHS_OPTIMIZER_INL
#else
#define KOVAR_MATHS_OPTIMIZER_INL
#endif

KOVAR_LANES_BEGIN

struct Preprocess {
  PreprocessParams p;
  /// d: raw gradient, v: current value of the parameter.
  template <class V>
  KOVAR_LANE V apply(V d, V v) const {
    if (p.clip) d = clamp(d, V(p.clipMin), V(p.clipMax));
    const V g = d * V(p.rescale);
    if (p.regularization == RegularizationType::L1) return fma(V(p.regularizationScale), sign(v), g);
    if (p.regularization == RegularizationType::L2) return fma(V(p.regularizationScale), v, g);
    return g;
  }
};

struct Sgd {
  float learningRate;
  template <class V>
  KOVAR_LANE V step(V v, V g) const {
    return fma(V(-learningRate), g, v);
  }
};

/// The momentum holds the learning rate: m = momentum * m + lr * g.
struct SgdMomentum {
  float learningRate, momentum;
  template <class V>
  KOVAR_LANE V step(V v, V g, V& m) const {
    m = fma(V(momentum), m, V(learningRate) * g);
    return v - m;
  }
};

/// The momentum is free of the learning rate: m = momentum * m + g.
struct SgdNesterov {
  float learningRate, momentum;
  template <class V>
  KOVAR_LANE V step(V v, V g, V& m) const {
    m = fma(V(momentum), m, g);
    return fma(V(-learningRate), fma(V(momentum), m, g), v);
  }
};

struct RmsProp {
  float learningRate;
  Decay decay;
  float epsilon;
  template <class V>
  KOVAR_LANE V step(V v, V g, V& s) const {
    s = fma(V(decay.keep), s, V(decay.add) * g * g);
    return v - V(learningRate) * g / (sqrt(s) + V(epsilon));
  }
};

/// learningRate: the step's own, from adamLearningRate.
struct Adam {
  float learningRate;
  Decay beta1, beta2;
  float epsilon;
  template <class V>
  KOVAR_LANE V step(V v, V g, V& m, V& u) const {
    m = fma(V(beta1.keep), m, V(beta1.add) * g);
    u = fma(V(beta2.keep), u, V(beta2.add) * g * g);
    return v - V(learningRate) * m / (sqrt(u) + V(epsilon));
  }
};

/// Adam with the largest second moment so far, x, under the root. A NaN moment passes into x.
struct AmsGrad {
  Adam adam;
  template <class V>
  KOVAR_LANE V step(V v, V g, V& m, V& u, V& x) const {
    m = fma(V(adam.beta1.keep), m, V(adam.beta1.add) * g);
    u = fma(V(adam.beta2.keep), u, V(adam.beta2.add) * g * g);
    x = pickGreater(x, u);
    return v - V(adam.learningRate) * m / (sqrt(x) + V(adam.epsilon));
  }
};

KOVAR_LANES_END

#endif  // per lane set
