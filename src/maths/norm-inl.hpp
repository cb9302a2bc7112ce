// Normalizations on lanes: what is done for every value; norm.hpp forms the factors.
//   normApply            D  = (S - mean) * scale + shift
//   normGradient         dS = g * gradient + (S - mean) * source + constant
//   inversePower         T to the power -beta, for T > 0
// The windows' sums stand in the kernels; localNorm... are the formulas around them:
//   T = localNormBase(sum of squares, alpha / N, delta), D = S T^-beta (spatial and cross-channel),
//   D = contrast(S, M, T^-beta, p0, pm, ps)
#include "maths/functions-inl.hpp"
#include "maths/norm.hpp"

#if defined(KOVAR_MATHS_NORM_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef KOVAR_MATHS_NORM_INL
#undef KOVAR_MATHS_NORM_INL
#else
#define KOVAR_MATHS_NORM_INL
#endif

KOVAR_LANES_BEGIN

template <class V>
KOVAR_LANE V normApply(V s, V mean, V scale, V shift) {
  return fma(s - mean, scale, shift);
}
template <class V>
KOVAR_LANE V normGradient(V g, V s, V mean, V gradient, V source, V constant) {
  return fma(s - mean, source, fma(g, gradient, constant));
}

/// x to the power -1/4 for 1e-30 <= x <= 1e30, to one unit in the last place: a first guess from the exponent, then two
/// steps along the series of (1 - r)^(-1/4) for what is missing. Without division and square root, which cost more than
/// all of it.
template <class V>
KOVAR_LANE V inverseFourthRoot(V x) {
  using B = BitsOf<V>;
  V y = fromBits(B(0x4f58cae5u) - shiftRight<2>(bitsOf(x)));
  V square = y * y;
  V r = fma(-(x * square), square, V(1.f));
  y = fma(y * r, polynomial(r, 0.25f, 0.15625f, 0.1171875f), y);
  square = y * y;
  r = fma(-(x * square), square, V(1.f));
  return fma(y * r, polynomial(r, 0.25f, 0.15625f), y);
}

/// T to the power -beta. Not above 0: what pow gives (infinity at 0, NaN below, but for whole beta).
template <class V>
KOVAR_LANE V inversePower(V t, const InversePower& p) {
  if (p.whole < 0) return pow(t, V(-p.beta));
  V power(1.f);
  for (int i = 0; i < p.whole; ++i) power = power * t;
  V result = p.whole > 0 ? V(1.f) / power : V(1.f);
  if (p.quarters > 0) {
    const V root = inverseFourthRoot(t);
    const V square = root * root;
    const V part = p.quarters == 1 ? root : p.quarters == 2 ? square : square * root;
    result = p.whole > 0 ? result * part : part;
    const MaskOf<V> usual = both(t >= V(1e-30f), t <= V(1e30f));
    if (!allOf(usual)) result = select(usual, result, pow(t, V(-p.beta)));
  }
  return result;
}

/// T of a window whose squares sum up to `squares`; share = alpha / N.
template <class V>
KOVAR_LANE V localNormBase(V squares, V share, V delta) {
  return fma(squares, share, delta);
}
template <class V>
KOVAR_LANE V contrast(V s, V mean, V power, V p0, V pm, V ps) {
  return fma(ps * (s - p0 * mean), power, pm);
}
/// What one window passes on to its taps: u = g S T^-beta / T.
template <class V>
KOVAR_LANE V localNormShare(V g, V s, V t, V power) {
  return g * s * (power / t);
}

KOVAR_LANES_END

#endif  // per lane set
