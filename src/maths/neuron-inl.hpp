// The neurons' formulas, forward and backward side by side; neuron.hpp describes the interface.
#include "maths/functions-inl.hpp"
#include "maths/neuron.hpp"

#if defined(KOVAR_MATHS_NEURON_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef KOVAR_MATHS_NEURON_INL
#undef KOVAR_MATHS_NEURON_INL
#else
#define KOVAR_MATHS_NEURON_INL
#endif

KOVAR_LANES_BEGIN

#define KOVAR_NEURON \
  template <class V> \
  KOVAR_LANE V
// The largest float: inputs limited to it turn infinity into the formula's limit, where IEEE would give NaN.
#define KOVAR_LARGEST 3.40282347e+38f

struct Identity {
  static constexpr bool kPerChannel = false;
  KOVAR_NEURON fwd(V x) const { return x; }
  KOVAR_NEURON bwd(V, V g) const { return g; }
};

struct ReLU {
  float a;
  static constexpr bool kPerChannel = false;
  KOVAR_NEURON fwd(V x) const { return select(x >= V(0.f), x, V(a) * x); }
  KOVAR_NEURON bwd(V x, V g) const { return select(x >= V(0.f), g, select(x < V(0.f), V(a) * g, x)); }
};

/// ReLU with a == 0: one instruction, and 0 for -infinity.
struct ReLUZero {
  static constexpr bool kPerChannel = false;
  KOVAR_NEURON fwd(V x) const { return pickGreater(V(0.f), x); }
  KOVAR_NEURON bwd(V x, V g) const { return select(x >= V(0.f), g, pickGreater(V(0.f), x)); }
};

struct PReLU {
  static constexpr bool kPerChannel = true;
  KOVAR_NEURON fwd(V x, V a) const { return select(x >= V(0.f), x, a * x); }
  KOVAR_NEURON bwd(V x, V g, V a) const { return select(x >= V(0.f), g, select(x < V(0.f), a * g, x)); }
};

/// Below: the rectifier that b cuts off, ReLU or ReLUZero. The derivative is 0 wherever the minimum picks b.
template <class Below>
struct ReLUN {
  Below below;
  float b;
  static constexpr bool kPerChannel = false;
  KOVAR_NEURON fwd(V x) const { return pickLess(V(b), below.fwd(x)); }
  KOVAR_NEURON bwd(V x, V g) const { return select(below.fwd(x) >= V(b), V(0.f), below.bwd(x, g)); }
};

struct Linear {
  float a, b;
  static constexpr bool kPerChannel = false;
  KOVAR_NEURON fwd(V x) const { return fma(V(a), x, V(b)); }
  KOVAR_NEURON bwd(V, V g) const { return g * V(a); }
};

struct Sigmoid {
  static constexpr bool kPerChannel = false;
  KOVAR_NEURON fwd(V x) const { return sigmoid(x); }
  // s (1 - s) from e^-|x| alone, so that nothing cancels in the tails.
  KOVAR_NEURON bwd(V x, V g) const {
    const V e = exp(-abs(x)), d = e + V(1.f);
    return g * (e / (d * d));
  }
};

struct HardSigmoid {
  float a, b;
  static constexpr bool kPerChannel = false;
  KOVAR_NEURON fwd(V x) const { return clamp(fma(V(a), x, V(b)), V(0.f), V(1.f)); }
  KOVAR_NEURON bwd(V x, V g) const {
    const V u = fma(V(a), x, V(b));
    return select(both(u >= V(0.f), u <= V(1.f)), g * V(a), select(isNaN(u), u, V(0.f)));
  }
};

struct TanH {
  float a, b;
  static constexpr bool kPerChannel = false;
  KOVAR_NEURON fwd(V x) const { return V(a) * tanh(V(b) * x); }
  // 1 - tanh^2 = 4 e / (1 + e)^2 with e = e^(-2|bx|).
  KOVAR_NEURON bwd(V x, V g) const {
    const V e = exp(abs(V(b) * x) * V(-2.f)), d = e + V(1.f);
    return g * (V(a) * V(b) * (V(4.f) * e / (d * d)));
  }
};

struct Absolute {
  static constexpr bool kPerChannel = false;
  KOVAR_NEURON fwd(V x) const { return abs(x); }
  KOVAR_NEURON bwd(V x, V g) const { return select(x > V(0.f), g, select(x < V(0.f), -g, x + V(0.f))); }
};

struct SoftPlus {
  float a, b;
  static constexpr bool kPerChannel = false;
  KOVAR_NEURON fwd(V x) const {
    const V u = V(b) * x;
    return V(a) * (pickGreater(V(0.f), u) + log1p(exp(-abs(u))));
  }
  KOVAR_NEURON bwd(V x, V g) const { return g * (V(a) * V(b) * sigmoid(V(b) * x)); }
};

struct SoftSign {
  static constexpr bool kPerChannel = false;
  KOVAR_NEURON fwd(V x) const {
    const V u = clamp(x, V(-KOVAR_LARGEST), V(KOVAR_LARGEST));
    return u / (abs(u) + V(1.f));
  }
  KOVAR_NEURON bwd(V x, V g) const {
    const V d = abs(x) + V(1.f);
    return g * (V(1.f) / d / d);
  }
};

struct ELU {
  float a;
  static constexpr bool kPerChannel = false;
  KOVAR_NEURON fwd(V x) const { return select(x >= V(0.f), x, V(a) * expm1(x)); }
  KOVAR_NEURON bwd(V x, V g) const { return select(x >= V(0.f), g, g * (V(a) * exp(x))); }
};

struct Power {
  float a, b, c;
  static constexpr bool kPerChannel = false;
  KOVAR_NEURON fwd(V x) const { return pow(fma(V(a), x, V(b)), V(c)); }
  KOVAR_NEURON bwd(V x, V g) const {
    // With c == 0 the result is constant; exponent 0 keeps the factor finite where the base is 0.
    const float exponent = c == 0.f ? 0.f : c - 1.f;
    return g * (V(a * c) * pow(fma(V(a), x, V(b)), V(exponent)));
  }
};

struct ExponentialE {
  float a, b;
  static constexpr bool kPerChannel = false;
  KOVAR_NEURON fwd(V x) const { return exp(fma(V(a), x, V(b))); }
  KOVAR_NEURON bwd(V x, V g) const { return g * (V(a) * exp(fma(V(a), x, V(b)))); }
};

struct Exponential {
  float a, b, c;
  float logC;  ///< log(c)
  static constexpr bool kPerChannel = false;
  KOVAR_NEURON fwd(V x) const { return pow(V(c), fma(V(a), x, V(b))); }
  KOVAR_NEURON bwd(V x, V g) const { return g * (V(a * logC) * pow(V(c), fma(V(a), x, V(b)))); }
};

struct Logarithm {
  float a, b;
  float logC;  ///< log(c); 1 for the natural logarithm
  static constexpr bool kPerChannel = false;
  KOVAR_NEURON fwd(V x) const { return log(fma(V(a), x, V(b))) / V(logC); }
  KOVAR_NEURON bwd(V x, V g) const { return g * (V(a) / (V(logC) * fma(V(a), x, V(b)))); }
};

/// x Phi(x) and Phi(x) + x phi(x), with Phi(x) = (1 + erf(x / sqrt 2)) / 2 taken from its tail: accurate for negative
/// x, where 1 + erf cancels.
struct GeLU {
  static constexpr bool kPerChannel = false;
  KOVAR_NEURON fwd(V x) const {
    const NormalTail<V> n = normalTail(abs(x));
    const V upper = n.tail * n.density;
    const V limited = pickGreater(V(-KOVAR_LARGEST), x);
    return limited * select(x < V(0.f), upper, V(1.f) - upper);
  }
  KOVAR_NEURON bwd(V x, V g) const {
    const NormalTail<V> n = normalTail(abs(x));
    const V upper = n.tail * n.density;
    const V limited = clamp(x, V(-KOVAR_LARGEST), V(KOVAR_LARGEST));
    return g * fma(limited * V(0.398942292f), n.density, select(x < V(0.f), upper, V(1.f) - upper));
  }
};

/// Calls f with the functor of params.type; a number that is no neuron counts as None.
KOVAR_LANE_VISITOR
template <class F>
KOVAR_LANE decltype(auto) visitNeuron(const NeuronParams& params, F&& f) {
  const float a = params.a, b = params.b, c = params.c;
  switch (params.type) {
    case NeuronType::ReLU:
      return a == 0.f ? f(ReLUZero{}) : f(ReLU{a});
    case NeuronType::Linear:
      return f(Linear{a, b});
    case NeuronType::Sigmoid:
      return f(Sigmoid{});
    case NeuronType::HardSigmoid:
      return f(HardSigmoid{a, b});
    case NeuronType::TanH:
      return f(TanH{a, b});
    case NeuronType::Absolute:
      return f(Absolute{});
    case NeuronType::SoftPlus:
      return f(SoftPlus{a, b});
    case NeuronType::SoftSign:
      return f(SoftSign{});
    case NeuronType::ELU:
      return f(ELU{a});
    case NeuronType::PReLU:
      return f(PReLU{});
    case NeuronType::ReLUN:
      return a == 0.f ? f(ReLUN<ReLUZero>{{}, b}) : f(ReLUN<ReLU>{{a}, b});
    case NeuronType::Power:
      return f(Power{a, b, c});
    case NeuronType::Exponential:
      return c == -1.f ? f(ExponentialE{a, b}) : f(Exponential{a, b, c, log(c)});
    case NeuronType::Logarithm:
      return f(Logarithm{a, b, c == -1.f ? 1.f : log(c)});
    case NeuronType::GeLU:
      return f(GeLU{});
    case NeuronType::None:
    case NeuronType::Count:
      break;
  }
  return f(Identity{});
}

template <class F, class V>
KOVAR_LANE V neuronForward(const F& functor, V x, V a) {
  if constexpr (F::kPerChannel)
    return functor.fwd(x, a);
  else
    return functor.fwd(x);
}
template <class F, class V>
KOVAR_LANE V neuronBackward(const F& functor, V x, V g, V a) {
  if constexpr (F::kPerChannel)
    return functor.bwd(x, g, a);
  else
    return functor.bwd(x, g);
}

#undef KOVAR_NEURON
#undef KOVAR_LARGEST

KOVAR_LANES_END

#endif  // per lane set
