// Arithmetic and comparisons on lanes; arithmetic.hpp lists them.
#include "maths/arithmetic.hpp"
#include "maths/lane-inl.hpp"

#if defined(KOVAR_MATHS_ARITHMETIC_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef KOVAR_MATHS_ARITHMETIC_INL
#undef KOVAR_MATHS_ARITHMETIC_INL
#else
#define KOVAR_MATHS_ARITHMETIC_INL
#endif

KOVAR_LANES_BEGIN

#define KOVAR_BINARY \
  template <class V> \
  KOVAR_LANE V fwd(V x, V y) const

struct Add {
  KOVAR_BINARY { return x + y; }
};
struct Sub {
  KOVAR_BINARY { return x - y; }
};
struct Mul {
  KOVAR_BINARY { return x * y; }
};
struct Div {
  KOVAR_BINARY { return x / y; }
};
/// A NaN loses against a number, as in pooling and reductions.
struct Min {
  KOVAR_BINARY { return minNumber(x, y); }
};
struct Max {
  KOVAR_BINARY { return maxNumber(x, y); }
};

struct Affine {
  float scale, shift;
  template <class V>
  KOVAR_LANE V fwd(V x) const {
    return fma(x, V(scale), V(shift));
  }
};

/// Values are equal when they differ by no more than the threshold; the ordered types without "or equal" exclude those.
/// Against NaN only NotEqual holds.
template <ComparisonType kType>
struct Compare {
  float threshold;
  KOVAR_BINARY {
    // The first test makes an infinity equal to itself, where the difference is NaN.
    const MaskOf<V> equal = either(x == y, abs(x - y) <= V(threshold));
    if constexpr (kType == ComparisonType::Equal) return select(equal, V(1.f), V(0.f));
    if constexpr (kType == ComparisonType::NotEqual) return select(equal, V(0.f), V(1.f));
    if constexpr (kType == ComparisonType::Less) return select(both(x < y, invert(equal)), V(1.f), V(0.f));
    if constexpr (kType == ComparisonType::LessOrEqual) return select(either(x < y, equal), V(1.f), V(0.f));
    if constexpr (kType == ComparisonType::Greater) return select(both(x > y, invert(equal)), V(1.f), V(0.f));
    if constexpr (kType == ComparisonType::GreaterOrEqual) return select(either(x > y, equal), V(1.f), V(0.f));
  }
};

KOVAR_LANE_VISITOR
template <class F>
KOVAR_LANE decltype(auto) visitArithmetic(ArithmeticOp op, F&& f) {
  switch (op) {
    case ArithmeticOp::Add:
      break;
    case ArithmeticOp::Sub:
      return f(Sub{});
    case ArithmeticOp::Mul:
      return f(Mul{});
    case ArithmeticOp::Div:
      return f(Div{});
    case ArithmeticOp::Min:
      return f(Min{});
    case ArithmeticOp::Max:
      return f(Max{});
  }
  return f(Add{});
}

KOVAR_LANE_VISITOR
template <class F>
KOVAR_LANE decltype(auto) visitComparison(ComparisonType type, float threshold, F&& f) {
  switch (type) {
    case ComparisonType::Equal:
      break;
    case ComparisonType::NotEqual:
      return f(Compare<ComparisonType::NotEqual>{threshold});
    case ComparisonType::Less:
      return f(Compare<ComparisonType::Less>{threshold});
    case ComparisonType::LessOrEqual:
      return f(Compare<ComparisonType::LessOrEqual>{threshold});
    case ComparisonType::Greater:
      return f(Compare<ComparisonType::Greater>{threshold});
    case ComparisonType::GreaterOrEqual:
      return f(Compare<ComparisonType::GreaterOrEqual>{threshold});
  }
  return f(Compare<ComparisonType::Equal>{threshold});
}

/// One value of an arithmetic kernel. The plain bounds turn infinities into the largest floats, as documented.
template <class Op, class V>
KOVAR_LANE V arithmetic(const Op& op, const ArithmeticParams& p, V x, V y) {
  const V r = op.fwd(V(p.primaryScale) * x, V(p.secondaryScale) * y) + V(p.bias);
  return clamp(r, V(p.minimum), V(p.maximum));
}

template <class V>
KOVAR_LANE V insideRange(V r, V lo, V hi) {
  return select(both(lo < r, r < hi), V(1.f), V(0.f));
}

#undef KOVAR_BINARY

KOVAR_LANES_END

#endif  // per lane set
