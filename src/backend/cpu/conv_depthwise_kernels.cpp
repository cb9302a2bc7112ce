#include "backend/cpu/conv_depthwise_kernels.hpp"

#include <algorithm>

#include "backend/cpu/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/conv_depthwise_kernels.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace kovar::cpu::depthwise {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using TagF = hn::ScalableTag<float>;
using Vec = hn::Vec<TagF>;
constexpr TagF kTag{};
constexpr std::int64_t kLanes = static_cast<std::int64_t>(hn::MaxLanes(kTag));

/// A vector of floats, or with kTail its first `n` (the rest 0).
template <bool kTail>
HWY_INLINE Vec load(const float* p, std::int64_t n) {
  if constexpr (!kTail) {
    return hn::LoadU(kTag, p);
  } else {
#if HWY_TARGET <= HWY_AVX2
    return hn::MaskedLoad(hn::FirstN(kTag, static_cast<std::size_t>(n)), kTag, p);
#else
    HWY_ALIGN float lanes[kLanes] = {};
    for (std::int64_t i = 0; i < n; ++i) lanes[i] = p[i];
    return hn::Load(kTag, lanes);
#endif
  }
}

template <bool kTail>
HWY_INLINE void store(Vec v, float* p, std::int64_t n) {
  if constexpr (!kTail) {
    hn::StoreU(v, kTag, p);
  } else {
    HWY_ALIGN float lanes[kLanes];
    hn::Store(v, kTag, lanes);
    for (std::int64_t i = 0; i < n; ++i) p[i] = lanes[i];
  }
}

/// kPixels positions of a run from `i` on, kVectors vectors of channels from `c` on.
template <int kPixels, int kVectors, bool kTail>
HWY_INLINE void resultBlock(const ResultRow& r, const std::vector<Tap>& rows, const Run& run, std::int64_t i,
                            std::int64_t c) {
  const std::int64_t left = r.channels - c;
  Vec sum[kPixels][kVectors];
  for (int v = 0; v < kVectors; ++v) {
    const Vec start = r.bias ? load<kTail>(r.bias + c + v * kLanes, left) : hn::Zero(kTag);
    for (int k = 0; k < kPixels; ++k) sum[k][v] = start;
  }
  const std::int64_t next = run.sourceStep * r.source.pixel;
  for (const Tap& p : rows) {
    const float* row = r.source.data + p.at * r.source.row + i * next + c;
    const float* weights = r.weights + p.tap * r.width * r.tapFloats + c;
    for (const Tap& q : run.taps) {
      const float* from = row + q.at * r.source.pixel;
      const float* w = weights + q.tap * r.tapFloats;
      for (int v = 0; v < kVectors; ++v) {
        const Vec weight = hn::LoadU(kTag, w + v * kLanes);
        for (int k = 0; k < kPixels; ++k)
          sum[k][v] = hn::MulAdd(load<kTail>(from + k * next + v * kLanes, left), weight, sum[k][v]);
      }
    }
  }
  for (int k = 0; k < kPixels; ++k) {
    float* to = r.result + (run.first + (i + k) * run.step) * r.resultPixel + c;
    for (int v = 0; v < kVectors; ++v) store<kTail>(sum[k][v], to + v * kLanes, left);
  }
}

/// The same for positions whose kTaps taps lie beside each other, one pixel apart: each source pixel is loaded once a
/// row of taps.
template <int kPixels, int kTaps, bool kTail>
HWY_INLINE void slidingBlock(const ResultRow& r, const std::vector<Tap>& rows, const Run& run, std::int64_t i,
                             std::int64_t c) {
  const std::int64_t left = r.channels - c, pixel = r.source.pixel;
  Vec sum[kPixels];
  const Vec start = r.bias ? load<kTail>(r.bias + c, left) : hn::Zero(kTag);
  for (int k = 0; k < kPixels; ++k) sum[k] = start;
  const float* taps[kTaps];
  for (int t = 0; t < kTaps; ++t) taps[t] = r.weights + run.taps[static_cast<std::size_t>(t)].tap * r.tapFloats + c;
  for (const Tap& p : rows) {
    const float* from = r.source.data + p.at * r.source.row + (run.taps[0].at + i) * pixel + c;
    const std::int64_t tapRow = p.tap * r.width * r.tapFloats;
    Vec w[kTaps];
    for (int t = 0; t < kTaps; ++t) w[t] = hn::LoadU(kTag, taps[t] + tapRow);
    for (int s = 0; s < kPixels + kTaps - 1; ++s) {
      const Vec v = load<kTail>(from + s * pixel, left);
      for (int k = 0; k < kPixels; ++k)
        if (s - k >= 0 && s - k < kTaps) sum[k] = hn::MulAdd(v, w[s - k], sum[k]);
    }
  }
  for (int k = 0; k < kPixels; ++k)
    store<kTail>(sum[k], r.result + (run.first + (i + k) * run.step) * r.resultPixel + c, left);
}

template <int kPixels>
HWY_INLINE void slidingPixels(const ResultRow& r, const std::vector<Tap>& rows, const Run& run, std::int64_t i) {
  std::int64_t c = 0;
  if (run.taps.size() == 3) {
    for (; c + kLanes <= r.channels; c += kLanes) slidingBlock<kPixels, 3, false>(r, rows, run, i, c);
    if (c < r.channels) slidingBlock<kPixels, 3, true>(r, rows, run, i, c);
  } else {
    for (; c + kLanes <= r.channels; c += kLanes) slidingBlock<kPixels, 5, false>(r, rows, run, i, c);
    if (c < r.channels) slidingBlock<kPixels, 5, true>(r, rows, run, i, c);
  }
}

/// 3 or 5 taps beside each other.
bool slides(const Run& run) {
  if (run.taps.size() != 3 && run.taps.size() != 5) return false;
  for (std::size_t t = 1; t < run.taps.size(); ++t)
    if (run.taps[t].at != run.taps[0].at + static_cast<std::int32_t>(t)) return false;
  return run.sourceStep == 1;
}

/// Asks for what the next row of results will read first, and for the results to come: the hardware follows neither
/// across the many short pieces.
HWY_INLINE void prefetch(const ResultRow& r, const std::vector<Tap>& rows, const Run& run, std::int64_t i,
                         std::int64_t pixels) {
  constexpr std::int64_t kLine = 16;
  if (r.newRows == 0 || rows.empty() || run.taps.empty()) return;
  for (std::int64_t n = 1; n <= r.newRows; ++n) {
    const float* from = r.source.data + (rows.back().at + n) * r.source.row +
                        (run.taps.back().at + i * run.sourceStep) * r.source.pixel;
    for (std::int64_t f = 0; f < pixels * run.sourceStep * r.source.pixel; f += kLine)
      __builtin_prefetch(from + f, 0, 2);
  }
  for (std::int64_t k = 0; k < pixels; ++k) {
    const float* to = r.result + (run.first + (i + pixels + k) * run.step) * r.resultPixel;
    for (std::int64_t f = 0; f < r.channels; f += kLine) __builtin_prefetch(to + f, 1);
  }
}

template <int kPixels>
HWY_INLINE void resultPixels(const ResultRow& r, const std::vector<Tap>& rows, const Run& run, std::int64_t i) {
  std::int64_t c = 0;
  for (; c + 2 * kLanes <= r.channels; c += 2 * kLanes) resultBlock<kPixels, 2, false>(r, rows, run, i, c);
  for (; c + kLanes <= r.channels; c += kLanes) resultBlock<kPixels, 1, false>(r, rows, run, i, c);
  if (c < r.channels) resultBlock<kPixels, 1, true>(r, rows, run, i, c);
}

void resultRowTarget(const ResultRow& r, const std::vector<Tap>& rows, const std::vector<Run>& columns) {
  for (const Run& run : columns) {
    std::int64_t i = 0;
    const bool sliding = slides(run);
    for (; sliding && i + 8 <= run.count; i += 8) {
      prefetch(r, rows, run, i, 8);
      slidingPixels<8>(r, rows, run, i);
    }
    for (; i + 4 <= run.count; i += 4) {
      prefetch(r, rows, run, i, 4);
      if (sliding)
        slidingPixels<4>(r, rows, run, i);
      else
        resultPixels<4>(r, rows, run, i);
    }
    for (; i < run.count; ++i) resultPixels<1>(r, rows, run, i);
  }
}

/// kTaps taps of a run from `t` on, one row of taps, kVectors vectors of channels from `c` on.
template <int kTaps, int kVectors, bool kTail>
HWY_INLINE void weightBlock(const WeightRow& r, const Tap& p, const Run& run, std::size_t t, std::int64_t c) {
  const std::int64_t left = r.channels - c;
  Vec sum[kTaps][kVectors];
  const float* from[kTaps];
  for (int k = 0; k < kTaps; ++k) {
    from[k] = r.source.data + p.at * r.source.row + run.taps[t + static_cast<std::size_t>(k)].at * r.source.pixel + c;
    for (int v = 0; v < kVectors; ++v) sum[k][v] = hn::Zero(kTag);
  }
  const float* gradient = r.gradient + run.first * r.gradientPixel + c;
  for (std::int64_t i = 0; i < run.count; ++i) {
    const std::int64_t moved = i * run.sourceStep * r.source.pixel;
    for (int v = 0; v < kVectors; ++v) {
      const Vec g = load<kTail>(gradient + i * run.step * r.gradientPixel + v * kLanes, left);
      for (int k = 0; k < kTaps; ++k)
        sum[k][v] = hn::MulAdd(g, load<kTail>(from[k] + moved + v * kLanes, left), sum[k][v]);
    }
  }
  for (int k = 0; k < kTaps; ++k) {
    float* to = r.sums + (p.tap * r.width + run.taps[t + static_cast<std::size_t>(k)].tap) * r.tapFloats + c;
    for (int v = 0; v < kVectors; ++v)
      hn::StoreU(hn::Add(hn::LoadU(kTag, to + v * kLanes), sum[k][v]), kTag, to + v * kLanes);
  }
}

template <int kTaps>
HWY_INLINE void weightTaps(const WeightRow& r, const Tap& p, const Run& run, std::size_t t) {
  std::int64_t c = 0;
  for (; c + 2 * kLanes <= r.channels; c += 2 * kLanes) weightBlock<kTaps, 2, false>(r, p, run, t, c);
  for (; c + kLanes <= r.channels; c += kLanes) weightBlock<kTaps, 1, false>(r, p, run, t, c);
  if (c < r.channels) weightBlock<kTaps, 1, true>(r, p, run, t, c);
}

void weightRowTarget(const WeightRow& r, const std::vector<Tap>& rows, const std::vector<Run>& columns) {
  for (const Run& run : columns)
    for (const Tap& p : rows) {
      std::size_t t = 0;
      for (; t + 3 <= run.taps.size(); t += 3) weightTaps<3>(r, p, run, t);
      for (; t + 2 <= run.taps.size(); t += 2) weightTaps<2>(r, p, run, t);
      for (; t < run.taps.size(); ++t) weightTaps<1>(r, p, run, t);
    }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace kovar::cpu::depthwise
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kovar::cpu::depthwise {

HWY_EXPORT(resultRowTarget);
HWY_EXPORT(weightRowTarget);

void resultRow(const ResultRow& r, const std::vector<Tap>& rows, const std::vector<Run>& columns) {
  HWY_DYNAMIC_DISPATCH(resultRowTarget)(r, rows, columns);
}

void weightRow(const WeightRow& r, const std::vector<Tap>& rows, const std::vector<Run>& columns) {
  HWY_DYNAMIC_DISPATCH(weightRowTarget)(r, rows, columns);
}

}  // namespace kovar::cpu::depthwise
#endif  // HWY_ONCE
