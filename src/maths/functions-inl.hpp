// Elementary functions on lanes. Largest errors over all floats are tested and listed in docs/numerics.md.
// Coefficients are minimax fits over the stated range, rounded to float one after the other.
#include "maths/lane-inl.hpp"

#if defined(KOVAR_MATHS_FUNCTIONS_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef KOVAR_MATHS_FUNCTIONS_INL
#undef KOVAR_MATHS_FUNCTIONS_INL
#else
#define KOVAR_MATHS_FUNCTIONS_INL
#endif

KOVAR_LANES_BEGIN

// log(2) in two parts: the upper has 15 bits, so its product with an exponent is exact.
#define KOVAR_LN2_HIGH 0.693145752f
#define KOVAR_LN2_LOW 1.42860677e-6f
// 1.5 * 2^23: adding it leaves the nearest integer in the low bits of the sum.
#define KOVAR_ROUNDER 12582912.f

/// exp(r) - 1 for |r| <= log(2) / 2.
template <class V>
KOVAR_LANE V expm1Reduced(V r) {
  const V q = polynomial(r, 0.5f, 0.166666657f, 0.0416664928f, 0.00833354332f, 0.00139323657f, 0.000197643531f);
  return fma(r * r, q, r);
}

/// p * 2^n for -150 <= n <= 128, where t = n + KOVAR_ROUNDER; in two steps, so that subnormal results round once.
template <class V>
KOVAR_LANE V scaleByPower(V p, V t) {
  using B = BitsOf<V>;
  const B n = bitsOf(t) - B(0x4b400000u - 256u);
  const B half = shiftRight<1>(n);
  const V first = fromBits(shiftLeft<23>(half - B(1u)));
  const V second = fromBits(shiftLeft<23>(n - half - B(1u)));
  return p * first * second;
}

/// exp(x + low), |low| much smaller than 1. Overflows to infinity, underflows through the subnormals to 0.
template <class V>
KOVAR_LANE V expExtended(V x, V low) {
  const V c = clamp(x, V(-104.f), V(89.f));
  const V t = fma(c, V(1.44269502f), V(KOVAR_ROUNDER));
  const V n = t - V(KOVAR_ROUNDER);
  const V r = fma(n, V(-KOVAR_LN2_LOW), fma(n, V(-KOVAR_LN2_HIGH), c)) + low;
  return scaleByPower(expm1Reduced(r) + V(1.f), t);
}

template <class V>
KOVAR_LANE V exp(V x) {
  const V c = clamp(x, V(-104.f), V(89.f));
  const V t = fma(c, V(1.44269502f), V(KOVAR_ROUNDER));
  const V n = t - V(KOVAR_ROUNDER);
  const V r = fma(n, V(-KOVAR_LN2_LOW), fma(n, V(-KOVAR_LN2_HIGH), c));
  return scaleByPower(expm1Reduced(r) + V(1.f), t);
}

/// exp(x) - 1, exact to the last places near 0 as well.
template <class V>
KOVAR_LANE V expm1(V x) {
  using B = BitsOf<V>;
  const V c = clamp(x, V(-30.f), V(89.f));
  const V t = fma(c, V(1.44269502f), V(KOVAR_ROUNDER));
  const V n = t - V(KOVAR_ROUNDER);
  const V r = fma(n, V(-KOVAR_LN2_LOW), fma(n, V(-KOVAR_LN2_HIGH), c));
  // Half of 2^n, which is finite up to the overflow.
  const V s = fromBits(shiftLeft<23>(bitsOf(t) - B(0x4b400000u - 126u)));
  const V y = fma(s, expm1Reduced(r), s - V(0.5f)) * V(2.f);
  return select(abs(x) < V(2.98023224e-8f), x, y);
}

/// log(1 + f) for -1/3 <= f <= 1/3.
template <class V>
KOVAR_LANE V log1pReduced(V f) {
  const V p = polynomial(f, 0.333332151f, -0.249998063f, 0.200104266f, -0.166801974f, 0.140057325f, -0.121874467f,
                         0.139846101f, -0.12880218f);
  return fma(f * f, fma(f, p, V(-0.5f)), f);
}

/// log(x): -infinity at 0, NaN below.
template <class V>
KOVAR_LANE V log(V x) {
  using B = BitsOf<V>;
  const MaskOf<V> subnormal = x < V(1.17549435e-38f);
  const B b = bitsOf(select(subnormal, x * V(8388608.f), x));
  // x = m * 2^e with m in [2/3, 4/3).
  const B e = (b - B(0x3f2aaaabu)) & B(0xff800000u);
  const V exponent = fma(signedToFloat(e), V(1.1920929e-7f), select(subnormal, V(-23.f), V(0.f)));
  const V r = log1pReduced(fromBits(b - e) - V(1.f));
  const V y = fma(exponent, V(KOVAR_LN2_HIGH), fma(exponent, V(KOVAR_LN2_LOW), r));
  const V special = select(x > V(0.f), x, select(x == V(0.f), -infinity<V>(), quietNaN<V>()));
  return select(both(x > V(0.f), x < infinity<V>()), y, special);
}

/// log(1 + x), exact to the last places near 0 as well.
template <class V>
KOVAR_LANE V log1p(V x) {
  using B = BitsOf<V>;
  // 1 + x = m * 2^e up to a rounding that only moves the choice of e; f = m - 1 is then formed without it.
  const B e = (bitsOf(x + V(1.f)) - B(0x3f2aaaabu)) & B(0xff800000u);
  const V scaleLess1 = fma(fromBits(B(0x40800000u) - e), V(0.25f), V(-1.f));
  const V r = log1pReduced(fromBits(bitsOf(x) - e) + scaleLess1);
  const V exponent = signedToFloat(e) * V(1.1920929e-7f);
  const V y = copySign(fma(exponent, V(KOVAR_LN2_HIGH), fma(exponent, V(KOVAR_LN2_LOW), r)), x);
  const V special = select(x > V(0.f), x, select(x == V(-1.f), -infinity<V>(), quietNaN<V>()));
  return select(both(x > V(-1.f), x < infinity<V>()), y, special);
}

template <class V>
KOVAR_LANE V tanh(V x) {
  const V t = expm1(pickLess(V(10.f), abs(x)) * V(2.f));
  return copySign(t / (t + V(2.f)), x);
}

template <class V>
KOVAR_LANE V erf(V x) {
  const V q = x * x;
  const V nearZero = fma(x,
                         polynomial(q, 0.128379166f, -0.37612626f, 0.112835787f, -0.0268533472f, 0.0051871622f,
                                    -0.00079978531f, 7.80690316e-05f),
                         x);
  const V a = pickLess(V(4.f), abs(x));
  const V logErfc = polynomial(a, -0.000341514649f, -1.12708926f, -0.638144672f, -0.103106909f, 0.0218381323f,
                               -0.00294767041f, 0.00018637949f);
  return select(a < V(1.f), nearZero, copySign(V(1.f) - exp(logErfc), x));
}

/// 1 / (1 + exp(-x)) without overflow; full relative accuracy on both sides.
template <class V>
KOVAR_LANE V sigmoid(V x) {
  const V e = exp(-abs(x));
  return select(x < V(0.f), e, V(1.f)) / (e + V(1.f));
}

/// The normal distribution at a >= 0: density = exp(-a^2/2) and tail, P(X > a) = tail * density for a standard normal
/// X. a is limited to 15, where the density is below every float.
template <class V>
struct NormalTail {
  V density, tail;
};
template <class V>
KOVAR_LANE NormalTail<V> normalTail(V a) {
  const V c = pickLess(V(15.f), a);
  // The square is carried with its rounding error: at a = 13 that error alone would move the density by 1e-5.
  const V square = c * c;
  const V density = expExtended(square * V(-0.5f), productError(c, c, square) * V(-0.5f));
  const V t = (c - V(3.f)) / (c + V(3.f));
  const V tail =
      polynomial(t, 0.121513948f, -0.206402615f, 0.123225003f, -0.0462132879f, 0.00613234332f, 0.00290419138f,
                 -0.000984786893f, -0.000338024518f, 0.000117530057f, 5.20560352e-05f, -1.72272132e-06f);
  return {density, tail};
}

/// sin and cos of 2 pi v for 0 <= v <= 1.
template <class V>
struct SinCos {
  V sin, cos;
};
template <class V>
KOVAR_LANE SinCos<V> sinCosTurns(V v) {
  const V quarter = roundEven(v * V(4.f));
  const V r = fma(quarter, V(-0.25f), v);
  const V q = r * r;
  const V s = r * polynomial(q, 6.28318548f, -41.3418655f, 81.6256256f, -76.7749557f);
  const V c = fma(q, polynomial(q, -19.7392082f, 64.9391479f, -85.4245071f, 58.619278f), V(1.f));
  const MaskOf<V> odd = either(quarter == V(1.f), quarter == V(3.f));
  const V sine = select(odd, c, s), cosine = select(odd, s, c);
  return {select(either(quarter == V(2.f), quarter == V(3.f)), -sine, sine),
          select(either(quarter == V(1.f), quarter == V(2.f)), -cosine, cosine)};
}

/// log(x) as high + low, to about 2^-30 of its value, for finite x > 0.
template <class V>
struct LogParts {
  V high, low;
};
template <class V>
KOVAR_LANE LogParts<V> logExtended(V x) {
  using B = BitsOf<V>;
  const MaskOf<V> subnormal = x < V(1.17549435e-38f);
  const B b = bitsOf(select(subnormal, x * V(8388608.f), x));
  // x = m * 2^e with m in [sqrt(1/2), sqrt(2)), and log(m) = 2 atanh(s) with s = (m - 1) / (m + 1).
  const B e = (b - B(0x3f3504f3u)) & B(0xff800000u);
  const V exponent = fma(signedToFloat(e), V(1.1920929e-7f), select(subnormal, V(-23.f), V(0.f)));
  const V m = fromBits(b - e);
  const V f = m - V(1.f), d = m + V(1.f), dLow = m - (d - V(1.f));
  const V s = f / d;
  const V product = s * d;
  const V sLow = (((f - product) - productError(s, d, product)) - s * dLow) / d;
  const V q = s * s;
  const V rest = fma(s * q, polynomial(q, 0.666666627f, 0.400009722f, 0.284987926f, 0.242788315f),
                     fma(sLow, V(2.f), exponent * V(KOVAR_LN2_LOW)));
  const V twoS = s + s;
  const V major = exponent * V(KOVAR_LN2_HIGH);
  const V sum = major + twoS;
  const V minor = (twoS - (sum - major)) + rest;
  const V high = sum + minor;
  return {high, minor - (high - sum)};
}

/// x to the power y, with C's rules for every special case (pow(NaN, 0) = pow(1, NaN) = 1).
template <class V>
KOVAR_LANE V pow(V x, V y) {
  const V a = abs(x);
  const LogParts<V> l = logExtended(a);
  const V big = infinity<V>();
  const MaskOf<V> edge = either(a == V(0.f), a == big);
  const V high = select(edge, select(a == V(0.f), -big, big), l.high);
  const V product = y * high;
  // Beyond +-110 the result is 0 or infinity, and the error term could be infinity minus infinity.
  const MaskOf<V> decided = invert(abs(product) < V(110.f));
  const V error = select(decided, V(0.f), fma(y, l.low, productError(y, high, product)));
  const V magnitude = expExtended(product, error);

  const MaskOf<V> whole = floor(y) == y;
  const V halfOfY = y * V(0.5f);
  const MaskOf<V> odd = both(whole, floor(halfOfY) != halfOfY);
  const V withSign = select(odd, copySign(magnitude, x), magnitude);
  const MaskOf<V> undefined = either(either(isNaN(x), isNaN(y)), both(both(x < V(0.f), a < big), invert(whole)));
  const MaskOf<V> one = either(either(y == V(0.f), x == V(1.f)), both(a == V(1.f), abs(y) == big));
  return select(one, V(1.f), select(undefined, quietNaN<V>(), withSign));
}

#undef KOVAR_LN2_HIGH
#undef KOVAR_LN2_LOW
#undef KOVAR_ROUNDER

KOVAR_LANES_END

#endif  // per lane set
