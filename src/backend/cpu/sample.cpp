// Reading an image between its pixels at coordinates from other arguments.

#include <algorithm>
#include <array>
#include <memory>
#include <vector>

#include "backend/cpu/cpu.hpp"
#include "backend/cpu/loops.hpp"
#include "backend/cpu/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/sample.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backend/cpu/rows.hpp"
#include "maths/sample_tap.hpp"

#ifndef KOVAR_BACKEND_CPU_SAMPLE_ONCE
#define KOVAR_BACKEND_CPU_SAMPLE_ONCE
namespace kovar::cpu {

/// The arguments in their order, and where they lie. Steps in bytes.
struct SampleRun {
  prim::Sample desc;
  std::array<prim::View, 4> views;
  std::array<std::byte*, 4> data{};

  std::byte* at(std::size_t i, std::int64_t n, std::int64_t y, std::int64_t x) const {
    const prim::View& v = views[i];
    return data[i] + (v.offset + n * v.stride(0) + y * v.stride(1) + x * v.stride(2)) *
                         static_cast<std::int64_t>(prim::sizeOf(v.dtype));
  }
  std::int64_t channelStep(std::size_t i) const {
    return views[i].stride(3) * static_cast<std::int64_t>(prim::sizeOf(views[i].dtype));
  }
};

}  // namespace kovar::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace kovar::cpu {
namespace HWY_NAMESPACE {
namespace {

/// out = the sum of kCount weighted pixels, in their order.
template <int kCount>
HWY_INLINE void weigh(const std::array<const float*, 4>& pixels, const std::array<float, 4>& weights,
                      std::int64_t channels, float* out) {
  Floats w[kCount];
  for (int k = 0; k < kCount; ++k) w[k] = Floats(weights[static_cast<std::size_t>(k)]);
  for (std::int64_t c = 0; c < channels; c += kLanes) {
    const std::int64_t part = channels - c < kLanes ? channels - c : 0;
    Floats sum = w[0] * loadLanes(pixels[0] + c, part);
    for (int k = 1; k < kCount; ++k) sum = m::fma(w[k], loadLanes(pixels[static_cast<std::size_t>(k)] + c, part), sum);
    storeLanes(sum, out + c, part);
  }
}

/// Result rows [begin, end) of all images' rows. room: two rows of coordinates, then five of channels.
void sampleRows(const SampleRun& run, std::int64_t begin, std::int64_t end, float* room) {
  const prim::View &src = run.views[0], &dst = run.views[3];
  const std::int64_t height = dst.dim(1), width = dst.dim(2), channels = dst.dim(3);
  float *const ys = room, *const xs = room + width, *const buffers = room + 2 * width,
               *const sums = buffers + 4 * channels;
  for (std::int64_t row = begin; row < end; ++row) {
    const std::int64_t n = row / height, y = row % height;
    for (const std::size_t i : {std::size_t{1}, std::size_t{2}}) {
      const prim::View& v = run.views[i];
      loadRow(v.dtype, run.at(i, n, y, 0), v.stride(2) * static_cast<std::int64_t>(prim::sizeOf(v.dtype)), width,
              i == 1 ? ys : xs);
    }
    for (std::int64_t x = 0; x < width; ++x) {
      const float v = run.desc.relative ? static_cast<float>(y + run.desc.startY) + ys[x]
                                        : static_cast<float>(run.desc.startY) + ys[x];
      const float u = run.desc.relative ? static_cast<float>(x + run.desc.startX) + xs[x]
                                        : static_cast<float>(run.desc.startX) + xs[x];
      const maths::SampleTap ty = maths::sampleTap(v, src.dim(1), run.desc.edge),
                             tx = maths::sampleTap(u, src.dim(2), run.desc.edge);
      // The pixels that count, in the order of their places.
      std::array<const float*, 4> pixels{};
      std::array<float, 4> weights{};
      int count = 0;
      const auto add = [&](std::int64_t py, std::int64_t px, float weight) {
        if (weight == 0.f) return;
        pixels[static_cast<std::size_t>(count)] =
            floatRow(src.dtype, run.at(0, n, py, px), run.channelStep(0), channels, buffers + count * channels);
        weights[static_cast<std::size_t>(count)] = weight;
        ++count;
      };
      add(ty.first, tx.first, ty.before * tx.before);
      add(ty.first, tx.second, ty.before * tx.after);
      add(ty.second, tx.first, ty.after * tx.before);
      add(ty.second, tx.second, ty.after * tx.after);
      const bool direct = isFloatRun(dst.dtype, run.channelStep(3));
      float* const out = direct ? reinterpret_cast<float*>(run.at(3, n, y, x)) : sums;
      if (count == 4)
        weigh<4>(pixels, weights, channels, out);
      else if (count == 3)  // a product of two weights may vanish
        weigh<3>(pixels, weights, channels, out);
      else if (count == 2)
        weigh<2>(pixels, weights, channels, out);
      else if (count == 1)
        weigh<1>(pixels, weights, channels, out);
      else
        std::fill_n(out, channels, 0.f);
      if (!direct) storeRow(dst.dtype, out, channels, run.at(3, n, y, x), run.channelStep(3));
    }
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace kovar::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kovar::cpu {
namespace {

HWY_EXPORT(sampleRows);

constexpr std::int64_t kPieceElements = 16384;  ///< of the result, for one piece of work

base::Status prepareSample(const prim::Sample& desc, std::span<const prim::View> views, const prim::PrepareOptions&,
                           CpuPlan& plan) {
  SampleRun run;
  run.desc = desc;
  std::copy_n(views.begin(), 4, run.views.begin());
  plan.body = [run](Context& context, const prim::Invocation& inv) -> base::Status {
    SampleRun now = run;
    for (std::size_t i = 0; i < 4; ++i) now.data[i] = inv.args[i].data;
    const prim::View& dst = now.views[3];
    const std::int64_t grain = std::max<std::int64_t>(1, kPieceElements / (dst.dim(2) * dst.dim(3)));
    forRanges(context.pool, dst.dim(0) * dst.dim(1), grain, [&](std::int64_t begin, std::int64_t end) {
      thread_local std::vector<float> room;
      room.resize(static_cast<std::size_t>(2 * dst.dim(2) + 5 * dst.dim(3)));
      HWY_DYNAMIC_DISPATCH(sampleRows)(now, begin, end, room.data());
    });
    return {};
  };
  return {};
}

constexpr Candidate<prim::Sample> kCandidates[] = {{"cpu:sample:rows", prepareSample}};

}  // namespace

std::span<const Candidate<prim::Sample>> sampleCandidates() { return kCandidates; }

}  // namespace kovar::cpu
#endif
