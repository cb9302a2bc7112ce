// The vocabulary of lanes; lane.hpp lists and explains it.
#include "maths/lane.hpp"

#if !KOVAR_LANES_VECTOR && defined(HWY_HIGHWAY_INCLUDED)
#error "include hwy/highway.h before the first maths/*-inl.hpp of a file"
#endif

#if defined(KOVAR_MATHS_LANE_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef KOVAR_MATHS_LANE_INL
#undef KOVAR_MATHS_LANE_INL
#else
#define KOVAR_MATHS_LANE_INL
#endif

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

KOVAR_LANES_BEGIN

// ---- V = float
// ----------------------------------------------------------------------------------------------------------

KOVAR_LANE std::uint32_t bitsOf(float x) {
#ifdef __CUDA_ARCH__
  return __float_as_uint(x);
#else
  std::uint32_t b;
  std::memcpy(&b, &x, sizeof b);
  return b;
#endif
}
KOVAR_LANE float fromBits(std::uint32_t b) {
#ifdef __CUDA_ARCH__
  return __uint_as_float(b);
#else
  float x;
  std::memcpy(&x, &b, sizeof x);
  return x;
#endif
}
KOVAR_LANE float fma(float a, float b, float c) {
#ifdef __CUDA_ARCH__
  return __fmaf_rn(a, b, c);
#elif KOVAR_LANES_FUSED
  return __builtin_fmaf(a, b, c);
#else
  return a * b + c;
#endif
}
KOVAR_LANE float sqrt(float x) {
#ifdef __CUDA_ARCH__
  return __fsqrt_rn(x);
#else
  return __builtin_sqrtf(x);
#endif
}
KOVAR_LANE float abs(float x) { return fromBits(bitsOf(x) & 0x7fffffffu); }
KOVAR_LANE float copySign(float magnitude, float sign) {
  return fromBits((bitsOf(magnitude) & 0x7fffffffu) | (bitsOf(sign) & 0x80000000u));
}
KOVAR_LANE float floor(float x) { return ::floorf(x); }
KOVAR_LANE float trunc(float x) { return ::truncf(x); }
KOVAR_LANE float roundEven(float x) { return ::rintf(x); }
KOVAR_LANE float pickLess(float a, float b) { return a < b ? a : b; }
KOVAR_LANE float pickGreater(float a, float b) { return a > b ? a : b; }
KOVAR_LANE float select(bool m, float yes, float no) { return m ? yes : no; }
KOVAR_LANE std::uint32_t select(bool m, std::uint32_t yes, std::uint32_t no) { return m ? yes : no; }
KOVAR_LANE bool both(bool m, bool n) { return m && n; }
KOVAR_LANE bool either(bool m, bool n) { return m || n; }
KOVAR_LANE bool invert(bool m) { return !m; }
KOVAR_LANE bool anyOf(bool m) { return m; }
KOVAR_LANE bool allOf(bool m) { return m; }
KOVAR_LANE float signedToFloat(std::uint32_t b) { return static_cast<float>(static_cast<std::int32_t>(b)); }
KOVAR_LANE std::uint32_t floatToSigned(float x) { return static_cast<std::uint32_t>(static_cast<std::int32_t>(x)); }
template <int kBits>
KOVAR_LANE std::uint32_t shiftLeft(std::uint32_t b) {
  return b << kBits;
}
template <int kBits>
KOVAR_LANE std::uint32_t shiftRight(std::uint32_t b) {
  return b >> kBits;
}
KOVAR_LANE std::uint32_t mulHigh(std::uint32_t a, std::uint32_t b) {
  return static_cast<std::uint32_t>((static_cast<std::uint64_t>(a) * b) >> 32);
}
KOVAR_LANE void store(float v, float* p) { *p = v; }
KOVAR_LANE void storeBits(std::uint32_t b, std::uint32_t* p) { *p = b; }

// ---- V = Floats
// ---------------------------------------------------------------------------------------------------------

#if KOVAR_LANES_VECTOR
namespace hn = hwy::HWY_NAMESPACE;
using FloatTag = hn::ScalableTag<float>;
using BitsTag = hn::ScalableTag<std::uint32_t>;
using SignedTag = hn::ScalableTag<std::int32_t>;

struct Mask {
  hn::Mask<FloatTag> raw;
};

struct Bits {
  hn::Vec<BitsTag> raw;
  Bits() = default;
  KOVAR_LANE Bits(std::uint32_t c) : raw(hn::Set(BitsTag(), c)) {}  // NOLINT(google-explicit-constructor)
  KOVAR_LANE explicit Bits(hn::Vec<BitsTag> v) : raw(v) {}
};

struct Floats {
  hn::Vec<FloatTag> raw;
  Floats() = default;
  KOVAR_LANE Floats(float c) : raw(hn::Set(FloatTag(), c)) {}  // NOLINT(google-explicit-constructor)
  KOVAR_LANE explicit Floats(hn::Vec<FloatTag> v) : raw(v) {}
};

KOVAR_LANE Floats operator+(Floats a, Floats b) { return Floats(hn::Add(a.raw, b.raw)); }
KOVAR_LANE Floats operator-(Floats a, Floats b) { return Floats(hn::Sub(a.raw, b.raw)); }
KOVAR_LANE Floats operator*(Floats a, Floats b) { return Floats(hn::Mul(a.raw, b.raw)); }
KOVAR_LANE Floats operator/(Floats a, Floats b) { return Floats(hn::Div(a.raw, b.raw)); }
KOVAR_LANE Floats operator-(Floats a) { return Floats(hn::Neg(a.raw)); }
KOVAR_LANE Mask operator<(Floats a, Floats b) { return {hn::Lt(a.raw, b.raw)}; }
KOVAR_LANE Mask operator<=(Floats a, Floats b) { return {hn::Le(a.raw, b.raw)}; }
KOVAR_LANE Mask operator>(Floats a, Floats b) { return {hn::Gt(a.raw, b.raw)}; }
KOVAR_LANE Mask operator>=(Floats a, Floats b) { return {hn::Ge(a.raw, b.raw)}; }
KOVAR_LANE Mask operator==(Floats a, Floats b) { return {hn::Eq(a.raw, b.raw)}; }
KOVAR_LANE Mask operator!=(Floats a, Floats b) { return {hn::Not(hn::Eq(a.raw, b.raw))}; }
KOVAR_LANE Floats fma(Floats a, Floats b, Floats c) { return Floats(hn::MulAdd(a.raw, b.raw, c.raw)); }
KOVAR_LANE Floats sqrt(Floats x) { return Floats(hn::Sqrt(x.raw)); }
KOVAR_LANE Floats abs(Floats x) { return Floats(hn::Abs(x.raw)); }
KOVAR_LANE Floats copySign(Floats magnitude, Floats sign) { return Floats(hn::CopySign(magnitude.raw, sign.raw)); }
KOVAR_LANE Floats floor(Floats x) { return Floats(hn::Floor(x.raw)); }
KOVAR_LANE Floats trunc(Floats x) { return Floats(hn::Trunc(x.raw)); }
KOVAR_LANE Floats roundEven(Floats x) { return Floats(hn::Round(x.raw)); }

KOVAR_LANE Mask both(Mask m, Mask n) { return {hn::And(m.raw, n.raw)}; }
KOVAR_LANE Mask either(Mask m, Mask n) { return {hn::Or(m.raw, n.raw)}; }
KOVAR_LANE Mask invert(Mask m) { return {hn::Not(m.raw)}; }
KOVAR_LANE bool anyOf(Mask m) { return !hn::AllFalse(FloatTag(), m.raw); }
KOVAR_LANE bool allOf(Mask m) { return hn::AllTrue(FloatTag(), m.raw); }
KOVAR_LANE Floats select(Mask m, Floats yes, Floats no) { return Floats(hn::IfThenElse(m.raw, yes.raw, no.raw)); }
KOVAR_LANE Bits select(Mask m, Bits yes, Bits no) {
  return Bits(hn::IfThenElse(hn::RebindMask(BitsTag(), m.raw), yes.raw, no.raw));
}

// On x86 the machine's own min and max have just this rule: the second operand on equality and on NaN.
#if HWY_TARGET == HWY_SSSE3 || HWY_TARGET == HWY_SSE4 || HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || \
    HWY_TARGET == HWY_AVX3_DL
KOVAR_LANE Floats pickLess(Floats a, Floats b) { return Floats(hn::Min(a.raw, b.raw)); }
KOVAR_LANE Floats pickGreater(Floats a, Floats b) { return Floats(hn::Max(a.raw, b.raw)); }
#else
KOVAR_LANE Floats pickLess(Floats a, Floats b) { return select(a < b, a, b); }
KOVAR_LANE Floats pickGreater(Floats a, Floats b) { return select(a > b, a, b); }
#endif

KOVAR_LANE Bits operator+(Bits a, Bits b) { return Bits(hn::Add(a.raw, b.raw)); }
KOVAR_LANE Bits operator-(Bits a, Bits b) { return Bits(hn::Sub(a.raw, b.raw)); }
KOVAR_LANE Bits operator*(Bits a, Bits b) { return Bits(hn::Mul(a.raw, b.raw)); }
KOVAR_LANE Bits operator&(Bits a, Bits b) { return Bits(hn::And(a.raw, b.raw)); }
KOVAR_LANE Bits operator|(Bits a, Bits b) { return Bits(hn::Or(a.raw, b.raw)); }
KOVAR_LANE Bits operator^(Bits a, Bits b) { return Bits(hn::Xor(a.raw, b.raw)); }
KOVAR_LANE Bits operator~(Bits a) { return Bits(hn::Not(a.raw)); }
template <int kBits>
KOVAR_LANE Bits shiftLeft(Bits b) {
  return Bits(hn::ShiftLeft<kBits>(b.raw));
}
template <int kBits>
KOVAR_LANE Bits shiftRight(Bits b) {
  return Bits(hn::ShiftRight<kBits>(b.raw));
}
KOVAR_LANE Bits bitsOf(Floats x) { return Bits(hn::BitCast(BitsTag(), x.raw)); }
KOVAR_LANE Floats fromBits(Bits b) { return Floats(hn::BitCast(FloatTag(), b.raw)); }
KOVAR_LANE Floats signedToFloat(Bits b) { return Floats(hn::ConvertTo(FloatTag(), hn::BitCast(SignedTag(), b.raw))); }
KOVAR_LANE Bits floatToSigned(Floats x) { return Bits(hn::BitCast(BitsTag(), hn::ConvertTo(SignedTag(), x.raw))); }
KOVAR_LANE Bits mulHigh(Bits a, Bits b) {
#if HWY_TARGET == HWY_SCALAR
  return Bits(hn::Set(BitsTag(), mulHigh(hn::GetLane(a.raw), hn::GetLane(b.raw))));
#else
  // Products of the even lanes, then of the odd ones moved down; their upper halves are put back in place.
  using Wide = hn::ScalableTag<std::uint64_t>;
  const Wide wide;
  const BitsTag narrow;
  const auto aOdd = hn::BitCast(narrow, hn::ShiftRight<32>(hn::BitCast(wide, a.raw)));
  const auto bOdd = hn::BitCast(narrow, hn::ShiftRight<32>(hn::BitCast(wide, b.raw)));
  const auto even = hn::ShiftRight<32>(hn::MulEven(a.raw, b.raw));
  const auto odd = hn::And(hn::MulEven(aOdd, bOdd), hn::Set(wide, 0xffffffff00000000ull));
  return Bits(hn::BitCast(narrow, hn::Or(even, odd)));
#endif
}
KOVAR_LANE void store(Floats v, float* p) { hn::StoreU(v.raw, FloatTag(), p); }
KOVAR_LANE void storeBits(Bits b, std::uint32_t* p) { hn::StoreU(b.raw, BitsTag(), p); }
#else
using Floats = float;
using Bits = std::uint32_t;
using Mask = bool;
#endif

// ---- Either
// -------------------------------------------------------------------------------------------------------------

template <class V>
using BitsOf = std::conditional_t<std::is_same_v<V, float>, std::uint32_t, Bits>;
template <class V>
using MaskOf = std::conditional_t<std::is_same_v<V, float>, bool, Mask>;

#if KOVAR_LANES_VECTOR
/// Values in one V.
template <class V>
inline constexpr int kWidth = std::is_same_v<V, float> ? 1 : static_cast<int>(HWY_LANES(float));
#else
template <class V>
inline constexpr int kWidth = 1;
#endif

template <class V>
KOVAR_LANE V load(const float* p) {
#if KOVAR_LANES_VECTOR
  if constexpr (!std::is_same_v<V, float>)
    return V(hn::LoadU(FloatTag(), p));
  else
    return *p;
#else
  return *p;
#endif
}
template <class B>
KOVAR_LANE B loadBits(const std::uint32_t* p) {
#if KOVAR_LANES_VECTOR
  if constexpr (!std::is_same_v<B, std::uint32_t>)
    return B(hn::LoadU(BitsTag(), p));
  else
    return *p;
#else
  return *p;
#endif
}

template <class V>
KOVAR_LANE V infinity() {
  return fromBits(BitsOf<V>(0x7f800000u));
}
template <class V>
KOVAR_LANE V quietNaN() {
  return fromBits(BitsOf<V>(0x7fc00000u));
}
template <class V>
KOVAR_LANE MaskOf<V> isNaN(V x) {
  return x != x;  // NOLINT(misc-redundant-expression): what NaN alone does
}
template <class V>
KOVAR_LANE MaskOf<V> isFinite(V x) {
  return abs(x) < infinity<V>();
}
template <class V>
KOVAR_LANE V maxNumber(V a, V b) {
  return select(isNaN(b), a, pickGreater(a, b));
}
template <class V>
KOVAR_LANE V minNumber(V a, V b) {
  return select(isNaN(b), a, pickLess(a, b));
}
/// x limited to [lo, hi]; NaN stays NaN.
template <class V>
KOVAR_LANE V clamp(V x, V lo, V hi) {
  return pickLess(hi, pickGreater(lo, x));
}
template <class V>
KOVAR_LANE V sign(V x) {
  return select(x > V(0.f), V(1.f), select(x < V(0.f), V(-1.f), x * V(0.f) + V(0.f)));
}

/// a*b - p without rounding, for p = a*b rounded; needs |a*b| between 1e-30 and 1e30 or so.
template <class V>
KOVAR_LANE V productError(V a, V b, V p) {
#if KOVAR_LANES_FUSED
  return fma(a, b, -p);
#else
  // Dekker: both factors cut into halves of 12 bits, whose products are exact.
  const V ah = fromBits(bitsOf(a) & BitsOf<V>(0xfffff000u)), al = a - ah;
  const V bh = fromBits(bitsOf(b) & BitsOf<V>(0xfffff000u)), bl = b - bh;
  return ((ah * bh - p) + ah * bl + al * bh) + al * bl;
#endif
}

template <class V>
KOVAR_LANE V polynomial(V, float c) {
  return V(c);
}
template <class V, class... Rest>
KOVAR_LANE V polynomial(V x, float c, Rest... rest) {
  return fma(polynomial(x, rest...), x, V(c));
}

KOVAR_LANES_END

#endif  // per lane set
