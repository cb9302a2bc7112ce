// With AVX3_DL (VPOPCNTDQ) every 32-bit lane is counted by one instruction; elsewhere bytes are counted by a table of
// nibbles and added up before they overflow.
#define HWY_WANT_AVX3_DL

#include "backend/cpu/binary_conv_kernels.hpp"

#include <algorithm>

#include "backend/cpu/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/binary_conv_kernels.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace kovar::cpu::binary {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using TagF = hn::ScalableTag<float>;
using Tag = hn::ScalableTag<std::uint32_t>;
using Bytes = hn::Repartition<std::uint8_t, Tag>;
using Vec = hn::Vec<Tag>;
using ByteVec = hn::Vec<Bytes>;
constexpr TagF kFloats{};
constexpr Tag kTag{};
constexpr Bytes kBytes{};
constexpr std::int64_t kLanes = static_cast<std::int64_t>(hn::MaxLanes(kTag));
constexpr int kVectors = 2;  // of filters, side by side
#if HWY_TARGET <= HWY_AVX3 || HWY_ARCH_ARM_A64
constexpr int kPositions = 4;
#else
constexpr int kPositions = 2;
#endif

/// Bits of kLanes floats that are not below 0.
HWY_INLINE std::uint32_t bitsOf(hn::Vec<TagF> v) {
  std::uint8_t bytes[8] = {};
  hn::StoreMaskBits(kFloats, hn::Not(hn::Lt(v, hn::Zero(kFloats))), bytes);
  return bytes[0] | static_cast<std::uint32_t>(bytes[1]) << 8;
}

HWY_INLINE std::uint32_t packWord(const float* values, const float* bias, const float* scale) {
  std::uint32_t word = 0;
  for (std::int64_t i = 0; i < 32; i += kLanes) {
    auto v = hn::LoadU(kFloats, values + i);
    if (bias != nullptr) v = hn::Mul(hn::Add(v, hn::LoadU(kFloats, bias + i)), hn::LoadU(kFloats, scale + i));
    word |= bitsOf(v) << i;
  }
  return word;
}

void packPixelTarget(const float* values, std::int64_t step, std::int64_t channels, const float* bias,
                     const float* scale, std::uint32_t* words) {
  std::int64_t c = 0;
  if (step == 1)
    for (; c + 32 <= channels; c += 32)
      *words++ = packWord(values + c, bias ? bias + c : nullptr, bias ? scale + c : nullptr);
  for (; c < channels; c += 32) {
    // The last channels, or such as lie apart: beyond them values whose bit is 0.
    HWY_ALIGN float v[32];
    const std::int64_t count = std::min<std::int64_t>(32, channels - c);
    for (std::int64_t i = 0; i < 32; ++i) {
      v[i] = i < count ? values[(c + i) * step] : -1.f;
      if (bias != nullptr && i < count) v[i] = (v[i] + bias[c + i]) * scale[c + i];
    }
    *words++ = packWord(v, nullptr, nullptr);
  }
}

/// Adds up the bits of 32-bit lanes.
class Counter {
 public:
  // Written out: a constructor that the compiler makes is not compiled for the target.
  HWY_INLINE Counter() {
    sum_ = hn::Zero(kTag);
#if HWY_TARGET != HWY_AVX3_DL
    bytes_ = hn::Zero(kBytes);
#endif
  }
  HWY_INLINE void add(Vec v) {
#if HWY_TARGET == HWY_AVX3_DL
    sum_ = hn::Add(sum_, hn::PopulationCount(v));
#else
    bytes_ = hn::Add(bytes_, hn::PopulationCount(hn::BitCast(kBytes, v)));
#endif
  }
  /// After at most 31 additions: no byte counts beyond 248.
  HWY_INLINE void flush() {
#if HWY_TARGET != HWY_AVX3_DL
    const Vec all = hn::BitCast(kTag, bytes_), even = hn::Set(kTag, 0x00ff00ffu);
    const Vec pairs = hn::Add(hn::And(all, even), hn::And(hn::ShiftRight<8>(all), even));
    sum_ = hn::Add(sum_, hn::Add(hn::And(pairs, hn::Set(kTag, 0xffffu)), hn::ShiftRight<16>(pairs)));
    bytes_ = hn::Zero(kBytes);
#endif
  }
  HWY_INLINE Vec sum() const { return sum_; }

 private:
  Vec sum_;
#if HWY_TARGET != HWY_AVX3_DL
  ByteVec bytes_;
#endif
};

template <int kCount, bool kCommon>
HWY_INLINE void countBlock(const CountRow& r, std::int64_t block, std::int64_t position) {
  Counter counters[kCount][kVectors];
  const std::uint32_t* weights = r.weights + block * r.tapRows * r.taps * r.words * kVectors * kLanes;
  const std::uint32_t* bits = r.bits + position * r.bitsPosition;
  int added = 0;
  for (std::int64_t p = 0; p < r.tapRows; ++p)
    for (std::int64_t q = 0; q < r.taps; ++q) {
      const std::uint32_t* from = bits + p * r.bitsRow + q * r.bitsTap;
      for (std::int64_t w = 0; w < r.words; ++w, weights += kVectors * kLanes) {
        for (int k = 0; k < kCount; ++k) {
          const Vec input = hn::Set(kTag, from[k * r.bitsPosition + w]);
          for (int v = 0; v < kVectors; ++v) {
            const Vec weight = hn::LoadU(kTag, weights + v * kLanes);
            counters[k][v].add(kCommon ? hn::And(weight, input) : hn::Xor(weight, input));
          }
        }
        if (++added == 31) {
          for (auto& row : counters)
            for (Counter& c : row) c.flush();
          added = 0;
        }
      }
    }
  const auto factor = hn::Set(kFloats, r.factor), summand = hn::Set(kFloats, r.summand);
  for (int k = 0; k < kCount; ++k)
    for (int v = 0; v < kVectors; ++v) {
      counters[k][v].flush();
      const auto count = hn::ConvertTo(kFloats, hn::BitCast(hn::RebindToSigned<Tag>(), counters[k][v].sum()));
      hn::StoreU(hn::Add(hn::Mul(count, factor), summand), kFloats,
                 r.results + (position + k) * r.resultRow + (block * kVectors + v) * kLanes);
    }
}

template <bool kCommon>
HWY_INLINE void countAll(const CountRow& r) {
  for (std::int64_t block = 0; block < r.blocks; ++block) {
    std::int64_t i = 0;
    for (; i + kPositions <= r.positions; i += kPositions) countBlock<kPositions, kCommon>(r, block, i);
    for (; i < r.positions; ++i) countBlock<1, kCommon>(r, block, i);
  }
}

void countRowTarget(const CountRow& r) {
  if (r.common)
    countAll<true>(r);
  else
    countAll<false>(r);
}

std::int64_t filterBlockTarget() { return kVectors * kLanes; }

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace kovar::cpu::binary
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kovar::cpu::binary {

HWY_EXPORT(packPixelTarget);
HWY_EXPORT(countRowTarget);
HWY_EXPORT(filterBlockTarget);

void packPixel(const float* values, std::int64_t step, std::int64_t channels, const float* bias, const float* scale,
               std::uint32_t* words) {
  HWY_DYNAMIC_DISPATCH(packPixelTarget)(values, step, channels, bias, scale, words);
}
std::int64_t filterBlock() { return HWY_DYNAMIC_DISPATCH(filterBlockTarget)(); }
void countRow(const CountRow& r) { HWY_DYNAMIC_DISPATCH(countRowTarget)(r); }

}  // namespace kovar::cpu::binary
#endif  // HWY_ONCE
