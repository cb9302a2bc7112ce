// Runs of elements of any type, read and written as float vectors. Included once per instruction set.

#if defined(KOVAR_BACKEND_CPU_ROWS_HPP_) == defined(HWY_TARGET_TOGGLE)
#ifdef KOVAR_BACKEND_CPU_ROWS_HPP_
#undef KOVAR_BACKEND_CPU_ROWS_HPP_
#else
#define KOVAR_BACKEND_CPU_ROWS_HPP_
#endif

#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "maths/formats-inl.hpp"
#include "prim/view.hpp"

HWY_BEFORE_NAMESPACE();
namespace kovar::cpu {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using prim::DType;

namespace m = kovar::maths::HWY_NAMESPACE;
using m::Floats;

using Tag = hn::ScalableTag<float>;
inline constexpr Tag kTag{};
/// Floats in one vector.
inline constexpr std::int64_t kLanes = m::kWidth<Floats>;
/// Bytes of n elements.
template <DType T>
constexpr std::int64_t kSize = static_cast<std::int64_t>(prim::sizeOf(T));

/// Fewer than a whole vector of floats: nothing is read beyond p[n), the other lanes are 0.
HWY_INLINE Floats loadPart(const float* p, std::int64_t n) {
#if HWY_TARGET <= HWY_AVX2
  return Floats(hn::MaskedLoad(hn::FirstN(kTag, static_cast<std::size_t>(n)), kTag, p));
#else
  HWY_ALIGN float lanes[kLanes] = {};
  std::memcpy(lanes, p, static_cast<std::size_t>(n) * sizeof(float));
  return Floats(hn::Load(kTag, lanes));
#endif
}

/// The same with `other` in the lanes beyond n.
HWY_INLINE Floats loadPartOr(const float* p, std::int64_t n, Floats other) {
  return Floats(hn::IfThenElse(hn::FirstN(kTag, static_cast<std::size_t>(n)), loadPart(p, n).raw, other.raw));
}

/// Writes the first n lanes only.
HWY_INLINE void storePart(Floats v, float* p, std::int64_t n) {
#if HWY_TARGET <= HWY_AVX2
  hn::BlendedStore(v.raw, hn::FirstN(kTag, static_cast<std::size_t>(n)), kTag, p);
#else
  HWY_ALIGN float lanes[kLanes];
  hn::Store(v.raw, kTag, lanes);
  std::memcpy(p, lanes, static_cast<std::size_t>(n) * sizeof(float));
#endif
}

/// A whole vector, or its first `part` lanes where that is not 0.
HWY_INLINE Floats loadLanes(const float* p, std::int64_t part) {
  return part == 0 ? m::load<Floats>(p) : loadPart(p, part);
}
HWY_INLINE void storeLanes(Floats v, float* p, std::int64_t part) {
  if (part == 0)
    m::store(v, p);
  else
    storePart(v, p, part);
}

/// One whole vector of elements of type T.
template <DType T>
HWY_INLINE Floats loadWhole(const std::byte* p) {
  if constexpr (T == DType::F32) {
    return m::load<Floats>(reinterpret_cast<const float*>(p));
  } else if constexpr (T == DType::F16) {
    return m::loadHalf<Floats>(reinterpret_cast<const std::uint16_t*>(p));
  } else if constexpr (T == DType::Unorm8) {
    return m::loadUnorm<Floats>(reinterpret_cast<const std::uint8_t*>(p));
  } else if constexpr (T == DType::Unorm16) {
    return m::loadUnorm<Floats>(reinterpret_cast<const std::uint16_t*>(p));
  } else if constexpr (T == DType::U8) {
    return m::signedToFloat(m::loadCodes<Floats>(reinterpret_cast<const std::uint8_t*>(p)));
  } else {
    HWY_ALIGN float lanes[kLanes];
    for (std::int64_t i = 0; i < kLanes; ++i) {
      std::uint32_t u;
      std::memcpy(&u, p + i * kSize<T>, sizeof(u));
      lanes[i] = static_cast<float>(u);
    }
    return m::load<Floats>(lanes);
  }
}

/// n < kLanes elements of type T; nothing is read beyond them.
template <DType T>
HWY_INLINE Floats loadSome(const std::byte* p, std::int64_t n) {
  if constexpr (T == DType::F32) {
    return loadPart(reinterpret_cast<const float*>(p), n);
  } else {
    HWY_ALIGN std::byte lanes[kLanes * kSize<T>] = {};
    std::memcpy(lanes, p, static_cast<std::size_t>(n) * prim::sizeOf(T));
    return loadWhole<T>(lanes);
  }
}

/// Integers (U8, U32) are rounded to the nearest and limited to what the type holds; NaN gives 0.
template <DType T>
HWY_INLINE void storeWhole(Floats v, std::byte* p) {
  if constexpr (T == DType::F32) {
    m::store(v, reinterpret_cast<float*>(p));
  } else if constexpr (T == DType::F16) {
    m::storeHalf(v, reinterpret_cast<std::uint16_t*>(p));
  } else if constexpr (T == DType::Unorm8) {
    m::storeUnorm(v, reinterpret_cast<std::uint8_t*>(p));
  } else if constexpr (T == DType::Unorm16) {
    m::storeUnorm(v, reinterpret_cast<std::uint16_t*>(p));
  } else if constexpr (T == DType::U8) {
    const Floats whole = m::roundEven(m::pickLess(m::pickGreater(v, Floats(0.f)), Floats(255.f)));
    m::storeCodes(m::floatToSigned(whole), reinterpret_cast<std::uint8_t*>(p));
  } else {
    // The largest float below 2^32.
    const Floats whole = m::roundEven(m::pickLess(m::pickGreater(v, Floats(0.f)), Floats(4294967040.f)));
    HWY_ALIGN float lanes[kLanes];
    m::store(whole, lanes);
    for (std::int64_t i = 0; i < kLanes; ++i) {
      const auto u = static_cast<std::uint32_t>(lanes[i]);
      std::memcpy(p + i * kSize<T>, &u, sizeof(u));
    }
  }
}

/// Writes the first n < kLanes elements only.
template <DType T>
HWY_INLINE void storeSome(Floats v, std::byte* p, std::int64_t n) {
  if constexpr (T == DType::F32) {
    storePart(v, reinterpret_cast<float*>(p), n);
  } else {
    HWY_ALIGN std::byte lanes[kLanes * kSize<T>];
    storeWhole<T>(v, lanes);
    std::memcpy(p, lanes, static_cast<std::size_t>(n) * prim::sizeOf(T));
  }
}

template <DType T>
HWY_INLINE void loadRun(const std::byte* p, std::int64_t n, float* out) {
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) m::store(loadWhole<T>(p + i * kSize<T>), out + i);
  if (i < n) storePart(loadSome<T>(p + i * kSize<T>, n - i), out + i, n - i);
}

template <DType T>
HWY_INLINE void storeRun(const float* in, std::int64_t n, std::byte* p) {
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) storeWhole<T>(m::load<Floats>(in + i), p + i * kSize<T>);
  if (i < n) storeSome<T>(loadPart(in + i, n - i), p + i * kSize<T>, n - i);
}

/// One element, by the same conversion as a whole vector.
template <DType T>
HWY_INLINE float loadOne(const std::byte* p) {
  if constexpr (T == DType::F32) {
    float f;
    std::memcpy(&f, p, sizeof(f));
    return f;
  } else {
    return hn::GetLane(loadSome<T>(p, 1).raw);
  }
}

/// n elements that lie `step` bytes apart (0: the same element again), converted to float.
template <DType T>
void loadStrided(const std::byte* p, std::int64_t step, std::int64_t n, float* out) {
  if (step == kSize<T>) return loadRun<T>(p, n, out);
  if (step == 0) {
    const float f = loadOne<T>(p);
    for (std::int64_t i = 0; i < n; ++i) out[i] = f;
    return;
  }
  if constexpr (T == DType::F32) {
    for (std::int64_t i = 0; i < n; ++i) std::memcpy(out + i, p + i * step, sizeof(float));
  } else {
    HWY_ALIGN std::byte lanes[kLanes * kSize<T>] = {};
    for (std::int64_t i = 0; i < n; i += kLanes) {
      const std::int64_t part = n - i < kLanes ? n - i : kLanes;
      for (std::int64_t k = 0; k < part; ++k) std::memcpy(lanes + k * kSize<T>, p + (i + k) * step, prim::sizeOf(T));
      const Floats v = loadWhole<T>(lanes);
      if (part == kLanes)
        m::store(v, out + i);
      else
        storePart(v, out + i, part);
    }
  }
}

/// n floats to elements that lie `step` bytes apart.
template <DType T>
void storeStrided(const float* in, std::int64_t n, std::byte* p, std::int64_t step) {
  if (step == kSize<T> || n == 1) return storeRun<T>(in, n, p);
  HWY_ALIGN std::byte lanes[kLanes * kSize<T>];
  for (std::int64_t i = 0; i < n; i += kLanes) {
    const std::int64_t part = n - i < kLanes ? n - i : kLanes;
    storeWhole<T>(part == kLanes ? m::load<Floats>(in + i) : loadPart(in + i, part), lanes);
    for (std::int64_t k = 0; k < part; ++k) std::memcpy(p + (i + k) * step, lanes + k * kSize<T>, prim::sizeOf(T));
  }
}

inline void loadRow(DType type, const std::byte* p, std::int64_t step, std::int64_t n, float* out) {
  switch (type) {
    case DType::F32:
      return loadStrided<DType::F32>(p, step, n, out);
    case DType::F16:
      return loadStrided<DType::F16>(p, step, n, out);
    case DType::Unorm8:
      return loadStrided<DType::Unorm8>(p, step, n, out);
    case DType::Unorm16:
      return loadStrided<DType::Unorm16>(p, step, n, out);
    case DType::U8:
      return loadStrided<DType::U8>(p, step, n, out);
    case DType::U32:
      return loadStrided<DType::U32>(p, step, n, out);
  }
}

inline void storeRow(DType type, const float* in, std::int64_t n, std::byte* p, std::int64_t step) {
  switch (type) {
    case DType::F32:
      return storeStrided<DType::F32>(in, n, p, step);
    case DType::F16:
      return storeStrided<DType::F16>(in, n, p, step);
    case DType::Unorm8:
      return storeStrided<DType::Unorm8>(in, n, p, step);
    case DType::Unorm16:
      return storeStrided<DType::Unorm16>(in, n, p, step);
    case DType::U8:
      return storeStrided<DType::U8>(in, n, p, step);
    case DType::U32:
      return storeStrided<DType::U32>(in, n, p, step);
  }
}

/// All lanes combined, halves onto halves.
template <class F>
HWY_INLINE float acrossLanes(Floats v, const F& combine) {
  HWY_ALIGN float lanes[kLanes];
  m::store(v, lanes);
  for (std::int64_t half = kLanes / 2; half > 0; half /= 2)
    for (std::int64_t i = 0; i < half; ++i) lanes[i] = combine(lanes[i], lanes[i + half]);
  return lanes[0];
}

/// The sum of all lanes, in every lane.
HWY_INLINE Floats sumOfLanes(Floats v) { return Floats(hn::SumOfLanes(kTag, v.raw)); }

/// v where the lane is one of the first n, else 0.
HWY_INLINE Floats firstLanes(Floats v, std::int64_t n) {
  return Floats(hn::IfThenElseZero(hn::FirstN(kTag, static_cast<std::size_t>(n)), v.raw));
}

/// True when a run of elements may be used where it lies: float32, one after another.
inline bool isFloatRun(DType type, std::int64_t step) { return type == DType::F32 && step == sizeof(float); }

/// The run itself where it is one of floats, else its values converted into `buffer`.
inline const float* floatRow(DType type, const std::byte* p, std::int64_t step, std::int64_t n, float* buffer) {
  if (isFloatRun(type, step)) return reinterpret_cast<const float*>(p);
  loadRow(type, p, step, n, buffer);
  return buffer;
}

}  // namespace HWY_NAMESPACE
}  // namespace kovar::cpu
HWY_AFTER_NAMESPACE();

#endif
