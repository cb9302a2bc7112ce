#include "backend/cpu/transpose.hpp"

#include <algorithm>
#include <cstring>

#include "backend/cpu/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/transpose.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace kovar::cpu {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

/// Elements along each side of a tile: a cache line of floats, so that every line is fetched once.
constexpr std::int64_t kTile = 16;

/// Four by four 32-bit elements.
HWY_INLINE void transposeFour(const std::byte* src, std::int64_t srcStep, std::byte* dst, std::int64_t dstStep) {
  const hn::FixedTag<std::uint32_t, 4> d;
  const hn::FixedTag<std::uint64_t, 2> d64;
  const auto load = [&](std::int64_t j)
                        HWY_ATTR { return hn::LoadU(d, reinterpret_cast<const std::uint32_t*>(src + j * srcStep)); };
  const auto a = load(0), b = load(1), c = load(2), e = load(3);
  const auto ab0 = hn::BitCast(d64, hn::InterleaveLower(d, a, b)), ab1 = hn::BitCast(d64, hn::InterleaveUpper(d, a, b));
  const auto ce0 = hn::BitCast(d64, hn::InterleaveLower(d, c, e)), ce1 = hn::BitCast(d64, hn::InterleaveUpper(d, c, e));
  const auto at = [&](std::int64_t i) HWY_ATTR { return reinterpret_cast<std::uint64_t*>(dst + i * dstStep); };
  hn::StoreU(hn::InterleaveLower(d64, ab0, ce0), d64, at(0));
  hn::StoreU(hn::InterleaveUpper(d64, ab0, ce0), d64, at(1));
  hn::StoreU(hn::InterleaveLower(d64, ab1, ce1), d64, at(2));
  hn::StoreU(hn::InterleaveUpper(d64, ab1, ce1), d64, at(3));
}

template <std::size_t kSize>
HWY_INLINE void transposeOne(const std::byte* src, std::int64_t srcStep, std::byte* dst, std::int64_t dstStep,
                             std::int64_t rows, std::int64_t columns) {
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = 0; j < columns; ++j)
      std::memcpy(dst + i * dstStep + j * static_cast<std::int64_t>(kSize),
                  src + i * static_cast<std::int64_t>(kSize) + j * srcStep, kSize);
}

template <std::size_t kSize>
void transposeTiles(const std::byte* src, std::int64_t srcStep, std::byte* dst, std::int64_t dstStep, std::int64_t rows,
                    std::int64_t columns) {
  constexpr auto kBytes = static_cast<std::int64_t>(kSize);
  for (std::int64_t j0 = 0; j0 < columns; j0 += kTile)
    for (std::int64_t i0 = 0; i0 < rows; i0 += kTile) {
      const std::int64_t ni = std::min(kTile, rows - i0), nj = std::min(kTile, columns - j0);
      const std::byte* from = src + i0 * kBytes + j0 * srcStep;
      std::byte* to = dst + i0 * dstStep + j0 * kBytes;
      if constexpr (kSize == 4) {
        if (ni == kTile && nj == kTile) {
          for (std::int64_t j = 0; j < kTile; j += 4)
            for (std::int64_t i = 0; i < kTile; i += 4)
              transposeFour(from + i * kBytes + j * srcStep, srcStep, to + i * dstStep + j * kBytes, dstStep);
          continue;
        }
      }
      transposeOne<kSize>(from, srcStep, to, dstStep, ni, nj);
    }
}

void transposeHere(std::size_t size, const std::byte* src, std::int64_t srcStep, std::byte* dst, std::int64_t dstStep,
                   std::int64_t rows, std::int64_t columns) {
  if (size == 4) return transposeTiles<4>(src, srcStep, dst, dstStep, rows, columns);
  if (size == 2) return transposeTiles<2>(src, srcStep, dst, dstStep, rows, columns);
  return transposeTiles<1>(src, srcStep, dst, dstStep, rows, columns);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace kovar::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kovar::cpu {
namespace {

HWY_EXPORT(transposeHere);

}  // namespace

void transpose(std::size_t size, const std::byte* src, std::int64_t srcStep, std::byte* dst, std::int64_t dstStep,
               std::int64_t rows, std::int64_t columns) {
  HWY_DYNAMIC_DISPATCH(transposeHere)(size, src, srcStep, dst, dstStep, rows, columns);
}

}  // namespace kovar::cpu
#endif
