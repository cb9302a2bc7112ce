// Storage formats on lanes; formats.hpp lists the functions and their rules.
#include "maths/lane-inl.hpp"

#if defined(KOVAR_MATHS_FORMATS_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef KOVAR_MATHS_FORMATS_INL
#undef KOVAR_MATHS_FORMATS_INL
#else
#define KOVAR_MATHS_FORMATS_INL
#endif

KOVAR_LANES_BEGIN

/// The lower 16 bits of each lane, read as binary16.
template <class B>
KOVAR_LANE auto halfToFloat(B half) {
  const B magnitude = half & B(0x7fffu), sign = shiftLeft<16>(half & B(0x8000u));
  const auto number = signedToFloat(magnitude);
  using V = std::remove_const_t<decltype(number)>;
  const B moved = shiftLeft<13>(magnitude);
  const B normal = moved + B(112u << 23);
  const B special = select(number > V(31744.f), moved | B(0x7fc00000u), B(0x7f800000u));
  const B subnormal = bitsOf(number * V(5.96046448e-8f));
  const B value = select(number < V(1024.f), subnormal, select(number < V(31744.f), normal, special));
  return fromBits(value | sign);
}

/// binary16 in the lower 16 bits of each lane, the upper ones 0.
template <class V>
KOVAR_LANE BitsOf<V> floatToHalf(V x) {
  using B = BitsOf<V>;
  const V a = abs(x);
  const B bits = bitsOf(a);
  const B sign = shiftRight<16>(bitsOf(x) & B(0x80000000u));
  // Half an ulp less one, and one more where the kept part is odd, carries into it just when it must round up.
  const B normal = shiftRight<13>(bits - B(112u << 23) + B(0xfffu) + (shiftRight<13>(bits) & B(1u)));
  // Sums with 1/2 are multiples of 2^-24, the smallest half.
  const B subnormal = bitsOf(a + V(0.5f)) - B(0x3f000000u);
  const B special = select(isNaN(x), (shiftRight<13>(bits) & B(0x3ffu)) | B(0x7e00u), B(0x7c00u));
  const B finite = select(a < V(6.10351562e-5f), subnormal, normal);
  return select(a < V(65536.f), finite, special) | sign;
}

template <int kBits, class B>
KOVAR_LANE auto unormToFloat(B code) {
  static_assert(kBits == 8 || kBits == 16);
  const auto number = signedToFloat(code);
  using V = std::remove_const_t<decltype(number)>;
  return number / V(static_cast<float>((1 << kBits) - 1));
}

template <int kBits, class V>
KOVAR_LANE BitsOf<V> floatToUnorm(V x) {
  static_assert(kBits == 8 || kBits == 16);
  const V limited = pickLess(pickGreater(x, V(0.f)), V(1.f));
  // The sum with 1.5 * 2^23 is a whole number, so fma rounds the exact product once, to even; the code is its low bits.
  const V shifted = fma(limited, V(static_cast<float>((1 << kBits) - 1)), V(12582912.f));
  return bitsOf(shifted) - BitsOf<V>(0x4b400000u);
}

// ---- Memory ---------------------------------------------------------------------------------------------------------

/// kWidth<V> codes of T (std::uint8_t or std::uint16_t), each in a lane of its own.
template <class V, class T>
KOVAR_LANE BitsOf<V> loadCodes(const T* p) {
#if KOVAR_LANES_VECTOR
  if constexpr (!std::is_same_v<V, float>) {
    const hn::Rebind<T, BitsTag> narrow;
    return BitsOf<V>(hn::BitCast(BitsTag(), hn::PromoteTo(SignedTag(), hn::LoadU(narrow, p))));
  } else
#endif
    return static_cast<std::uint32_t>(*p);
}
/// The lanes' values must fit T.
template <class T, class B>
KOVAR_LANE void storeCodes(B codes, T* p) {
#if KOVAR_LANES_VECTOR
  if constexpr (!std::is_same_v<B, std::uint32_t>) {
    const hn::Rebind<T, BitsTag> narrow;
    hn::StoreU(hn::DemoteTo(narrow, hn::BitCast(SignedTag(), codes.raw)), narrow, p);
  } else
#endif
    *p = static_cast<T>(codes);
}

// Machines with a conversion instruction (F16C and later): Highway uses it from AVX2 up, rounding to nearest even.
#if KOVAR_LANES_VECTOR && !defined(HWY_DISABLE_F16C) && \
    (HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL)
#define KOVAR_NATIVE_HALF 1
#else
#define KOVAR_NATIVE_HALF 0
#endif

template <class V>
KOVAR_LANE V loadHalf(const std::uint16_t* p) {
#if KOVAR_NATIVE_HALF
  if constexpr (!std::is_same_v<V, float>) {
    const hn::Rebind<hwy::float16_t, FloatTag> narrow;
    return V(hn::PromoteTo(FloatTag(), hn::BitCast(narrow, hn::LoadU(hn::Rebind<std::uint16_t, FloatTag>(), p))));
  } else
#endif
    return halfToFloat(loadCodes<V>(p));
}
template <class V>
KOVAR_LANE void storeHalf(V v, std::uint16_t* p) {
#if KOVAR_NATIVE_HALF
  if constexpr (!std::is_same_v<V, float>) {
    const hn::Rebind<std::uint16_t, FloatTag> narrow;
    hn::StoreU(hn::BitCast(narrow, hn::DemoteTo(hn::Rebind<hwy::float16_t, FloatTag>(), v.raw)), narrow, p);
  } else
#endif
    storeCodes(floatToHalf(v), p);
}
#undef KOVAR_NATIVE_HALF

template <class V, class T>
KOVAR_LANE V loadUnorm(const T* p) {
  return unormToFloat<8 * static_cast<int>(sizeof(T))>(loadCodes<V>(p));
}
template <class V, class T>
KOVAR_LANE void storeUnorm(V v, T* p) {
  storeCodes(floatToUnorm<8 * static_cast<int>(sizeof(T))>(v), p);
}

KOVAR_LANES_END

#endif  // per lane set
