// Normalization by neighbours. Across channels: pixel by pixel, in a small buffer with zeros on both sides. Across
// pixels: in tiles of rows whose border is filled with zeros; a row of a tile is one run of floats, pixels and channels
// alike, so a neighbouring pixel lies a fixed number of floats further.

#include <algorithm>
#include <array>

#include "backend/cpu/cpu.hpp"
#include "backend/cpu/failure_flag.hpp"
#include "backend/cpu/loops.hpp"
#include "backend/cpu/norm.hpp"
#include "backend/cpu/targets.hpp"
#include "backend/cpu/thread_scratch.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/local_norm.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backend/cpu/rows.hpp"
#include "maths/norm-inl.hpp"

#ifndef KOVAR_BACKEND_CPU_LOCAL_NORM_ONCE
#define KOVAR_BACKEND_CPU_LOCAL_NORM_ONCE
namespace kovar::cpu {

/// Pixels that go through a step together: what one step has stored is out of the store buffer when the next one loads
/// it, unaligned and across two stores.
inline constexpr std::int64_t kPixelsTogether = 16;
inline constexpr std::int64_t kVectorRoom = 64;  ///< floats that a last vector may read or write beyond a run

/// What follows from the shapes. `given` is the gradient of a Data pass, `out` what is written.
struct LocalNormPlan {
  prim::LocalNorm desc;
  maths::InversePower power;
  NormImage given, source, out;
  std::int64_t images = 1, channels = 1;
  std::int64_t height = 1, width = 1;                ///< of the source
  std::int64_t windowsHeight = 1, windowsWidth = 1;  ///< of the result or its gradient
  std::int64_t rows = 1, part = 1;                   ///< rows and channels of one tile

  bool backward() const { return desc.direction == prim::Direction::Data; }
  std::int64_t outHeight() const { return backward() ? height : windowsHeight; }
  std::int64_t outWidth() const { return backward() ? width : windowsWidth; }
  std::int64_t below() const { return desc.channels / 2; }
  std::int64_t above() const { return (desc.channels - 1) / 2; }
};

/// A part of an image as floats: pixels without a gap, zeros where there is no image.
struct LocalTile {
  float* data = nullptr;
  std::int64_t step = 0;  ///< floats of a row
  float* row(std::int64_t y) const { return data + y * step; }
};

}  // namespace kovar::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace kovar::cpu {
namespace HWY_NAMESPACE {
namespace {

/// The sum of `count` floats from p[i] on, for a vector of i.
HWY_INLINE Floats windowSum(const float* p, std::int64_t count) {
  auto sum = m::load<Floats>(p);
  for (std::int64_t k = 1; k < count; ++k) sum = sum + m::load<Floats>(p + k);
  return sum;
}

/// Squares of `pixels` source pixels from `first` on, a row of `pitch` floats each, with room before for the channels
/// below. sources: where the values of each pixel lie; in: rows for those that are not floats side by side.
void squarePixels(const LocalNormPlan& plan, std::byte* storage, std::int64_t n, std::int64_t first,
                  std::int64_t pixels, std::int64_t pitch, float* in, const float** sources, float* squares) {
  const std::int64_t channels = plan.channels;
  for (std::int64_t k = 0; k < pixels; ++k) {
    const float* s = sources[k] = floatRow(plan.source.type, plan.source.at(storage, n, first + k), plan.source.channel,
                                           channels, in + k * pitch);
    for (std::int64_t c = 0; c < channels; c += kLanes) {
      const Floats x = loadLanes(s + c, channels - c < kLanes ? channels - c : 0);
      m::store(x * x, squares + k * pitch + plan.below() + c);
    }
  }
}

/// `count` pixels of image n, forward. squares: kPixelsTogether rows of `pitch` floats, zeros where no channel lies; in
/// and result: as many rows of `channels` + room.
void acrossForward(const LocalNormPlan& plan, const prim::Invocation& inv, std::int64_t n, std::int64_t first,
                   std::int64_t count, std::int64_t pitch, float* squares, float* in, float* result) {
  const std::int64_t channels = plan.channels, window = plan.desc.channels;
  const Floats share(plan.desc.alpha / static_cast<float>(window)), delta(plan.desc.delta);
  const maths::InversePower power = plan.power;
  for (std::int64_t p = first; p < first + count; p += kPixelsTogether) {
    const std::int64_t pixels = std::min(kPixelsTogether, first + count - p);
    const float* sources[kPixelsTogether];
    squarePixels(plan, inv.args[0].data, n, p, pixels, pitch, in, sources, squares);
    for (std::int64_t k = 0; k < pixels; ++k) {
      const float *s = sources[k], *around = squares + k * pitch;
      std::byte* const to = plan.out.at(inv.args[1].data, n, p + k);
      float* d = plan.out.run ? reinterpret_cast<float*>(to) : result;
      for (std::int64_t c = 0; c < channels; c += kLanes) {
        const std::int64_t part = channels - c < kLanes ? channels - c : 0;
        const Floats sum = window == 5 ? windowSum(around + c, 5) : windowSum(around + c, window);
        storeLanes(loadLanes(s + c, part) * m::inversePower(m::localNormBase(sum, share, delta), power), d + c, part);
      }
      if (!plan.out.run) storeRow(plan.out.type, d, channels, to, plan.out.channel);
    }
  }
}

/// The same for the gradient. shares: as squares, for the windows turned round.
void acrossGradient(const LocalNormPlan& plan, const prim::Invocation& inv, std::int64_t n, std::int64_t first,
                    std::int64_t count, std::int64_t pitch, float* squares, float* shares, float* given, float* in,
                    float* direct, float* result) {
  const std::int64_t channels = plan.channels, window = plan.desc.channels, above = plan.above();
  const Floats share(plan.desc.alpha / static_cast<float>(window)), delta(plan.desc.delta);
  const Floats factor(-2.f * plan.desc.alpha * plan.desc.beta / static_cast<float>(window));
  const maths::InversePower power = plan.power;
  for (std::int64_t p = first; p < first + count; p += kPixelsTogether) {
    const std::int64_t pixels = std::min(kPixelsTogether, first + count - p);
    const float* sources[kPixelsTogether];
    squarePixels(plan, inv.args[1].data, n, p, pixels, pitch, in, sources, squares);
    for (std::int64_t k = 0; k < pixels; ++k) {
      const float *s = sources[k], *around = squares + k * pitch;
      const float* g =
          floatRow(plan.given.type, plan.given.at(inv.args[0].data, n, p + k), plan.given.channel, channels, given);
      for (std::int64_t c = 0; c < channels; c += kLanes) {
        const std::int64_t part = channels - c < kLanes ? channels - c : 0;
        const Floats sum = window == 5 ? windowSum(around + c, 5) : windowSum(around + c, window);
        const Floats t = m::localNormBase(sum, share, delta);
        const Floats root = m::inversePower(t, power), gradient = loadLanes(g + c, part);
        const Floats u = m::localNormShare(gradient, loadLanes(s + c, part), t, root);
        m::store(part == 0 ? u : firstLanes(u, part), shares + k * pitch + above + c);
        m::store(gradient * root, direct + k * pitch + c);
      }
    }
    for (std::int64_t k = 0; k < pixels; ++k) {
      const float *s = sources[k], *around = shares + k * pitch;
      std::byte* const to = plan.out.at(inv.args[2].data, n, p + k);
      float* d = plan.out.run ? reinterpret_cast<float*>(to) : result;
      for (std::int64_t c = 0; c < channels; c += kLanes) {
        const std::int64_t part = channels - c < kLanes ? channels - c : 0;
        const Floats sum = window == 5 ? windowSum(around + c, 5) : windowSum(around + c, window);
        storeLanes(m::fma(loadLanes(s + c, part) * factor, sum, m::load<Floats>(direct + k * pitch + c)), d + c, part);
      }
      if (!plan.out.run) storeRow(plan.out.type, d, channels, to, plan.out.channel);
    }
  }
}

/// Fills a tile of rows [y0, y0 + rows) and columns [x0, x0 + columns) of an image of the given extents.
void loadTile(const NormImage& v, std::byte* storage, std::int64_t n, std::int64_t height, std::int64_t width,
              std::int64_t y0, std::int64_t rows, std::int64_t x0, std::int64_t columns, std::int64_t firstChannel,
              std::int64_t channels, const LocalTile& tile) {
  const std::int64_t from = std::clamp<std::int64_t>(-x0, 0, columns), to = std::clamp(width - x0, from, columns);
  const auto size = static_cast<std::int64_t>(prim::sizeOf(v.type));
  for (std::int64_t r = 0; r < rows; ++r) {
    float* out = tile.row(r);
    const std::int64_t y = y0 + r;
    if (y < 0 || y >= height) {
      std::fill_n(out, tile.step, 0.f);
      continue;
    }
    std::fill_n(out, from * channels, 0.f);
    std::fill(out + to * channels, out + tile.step, 0.f);
    const std::byte* p = storage + v.start + n * v.image + y * v.row + (x0 + from) * v.pixel + firstChannel * v.channel;
    if (v.channel == size && v.pixel == channels * size) {
      if (to > from) loadRow(v.type, p, size, (to - from) * channels, out + from * channels);
      continue;
    }
    for (std::int64_t x = from; x < to; ++x, p += v.pixel) loadRow(v.type, p, v.channel, channels, out + x * channels);
  }
}

/// Writes a row of floats as `columns` pixels.
void storePixels(const NormImage& v, std::byte* storage, std::int64_t n, std::int64_t y, std::int64_t firstChannel,
                 std::int64_t columns, std::int64_t channels, const float* row) {
  std::byte* p = storage + v.start + n * v.image + y * v.row + firstChannel * v.channel;
  const auto size = static_cast<std::int64_t>(prim::sizeOf(v.type));
  if (v.channel == size && v.pixel == channels * size) return storeRow(v.type, row, columns * channels, p, size);
  for (std::int64_t x = 0; x < columns; ++x, p += v.pixel) storeRow(v.type, row + x * channels, channels, p, v.channel);
}

/// out[j] = sum of `count` floats `step` apart from in[j] on, for j in [0, n).
HWY_INLINE void stridedSums(const float* in, std::int64_t count, std::int64_t step, std::int64_t n, float* out) {
  for (std::int64_t j = 0; j < n; j += kLanes) {
    auto sum = m::load<Floats>(in + j);
    for (std::int64_t k = 1; k < count; ++k) sum = sum + m::load<Floats>(in + j + k * step);
    m::store(sum, out + j);
  }
}

/// Window values of one row of windows: `n` floats of T (and for contrast of M) from ky rows of a tile.
/// column: room for one row of the tile.
void windowRow(const LocalNormPlan& plan, const LocalTile& tile, std::int64_t y, std::int64_t channels, std::int64_t n,
               float* column, float* mean, float* base) {
  const std::int64_t ky = plan.desc.y.kernel, kx = plan.desc.x.kernel;
  const float taps = static_cast<float>(ky) * static_cast<float>(kx);
  const Floats share(plan.desc.alpha / taps), delta(plan.desc.delta), inverse(1.f / taps);
  const bool contrast = plan.desc.kind == prim::LocalNormKind::Contrast;
  for (std::int64_t j = 0; j < n + (kx - 1) * channels; j += kLanes) {
    Floats sum(0.f);
    for (std::int64_t q = 0; q < ky; ++q) {
      const auto e = m::load<Floats>(tile.row(y + q) + j);
      sum = contrast ? sum + e : m::fma(e, e, sum);
    }
    m::store(sum, column + j);
  }
  stridedSums(column, kx, channels, n, base);
  if (!contrast) {
    for (std::int64_t j = 0; j < n; j += kLanes)
      m::store(m::localNormBase(m::load<Floats>(base + j), share, delta), base + j);
    return;
  }
  for (std::int64_t j = 0; j < n; j += kLanes) {
    const Floats mu = m::load<Floats>(base + j) * inverse;
    m::store(mu, mean + j);
    Floats squares(0.f);  // around the mean: nothing cancels
    for (std::int64_t q = 0; q < ky; ++q)
      for (std::int64_t k = 0; k < kx; ++k) {
        const Floats e = m::load<Floats>(tile.row(y + q) + j + k * channels) - mu;
        squares = m::fma(e, e, squares);
      }
    m::store(m::localNormBase(squares, share, delta), base + j);
  }
}

/// One tile of results: `rows` rows from `y0` on, forward. work: see localNormFloats.
void localForward(const LocalNormPlan& plan, const prim::Invocation& inv, std::int64_t n, std::int64_t y0,
                  std::int64_t rows, std::int64_t firstChannel, std::int64_t channels, float* work) {
  const prim::LocalNorm& d = plan.desc;
  const std::int64_t ky = d.y.kernel, kx = d.x.kernel, columns = plan.windowsWidth + kx - 1;
  const std::int64_t length = plan.windowsWidth * channels;
  const LocalTile tile{work, columns * channels + kVectorRoom};
  float* const column = tile.row(rows + ky - 1);
  float *const mean = column + tile.step, *const base = mean + tile.step, *const result = base + tile.step;
  loadTile(plan.source, inv.args[0].data, n, plan.height, plan.width, y0 - d.y.pad, rows + ky - 1, -d.x.pad, columns,
           firstChannel, channels, tile);
  const Floats p0(d.p0), pm(d.pm), ps(d.ps);
  for (std::int64_t y = 0; y < rows; ++y) {
    windowRow(plan, tile, y, channels, length, column, mean, base);
    const float* centre = tile.row(y + ky / 2) + kx / 2 * channels;
    for (std::int64_t j = 0; j < length; j += kLanes) {
      const auto s = m::load<Floats>(centre + j);
      const Floats power = m::inversePower(m::load<Floats>(base + j), plan.power);
      m::store(d.kind == prim::LocalNormKind::Contrast ? m::contrast(s, m::load<Floats>(mean + j), power, p0, pm, ps)
                                                       : s * power,
               result + j);
    }
    storePixels(plan.out, inv.args[1].data, n, y0 + y, firstChannel, plan.windowsWidth, channels, result);
  }
}

/// One tile of the source's gradient: `rows` source rows from `y0` on.
void localGradient(const LocalNormPlan& plan, const prim::Invocation& inv, std::int64_t n, std::int64_t y0,
                   std::int64_t rows, std::int64_t firstChannel, std::int64_t channels, float* work) {
  const prim::LocalNorm& d = plan.desc;
  const bool contrast = d.kind == prim::LocalNormKind::Contrast;
  const std::int64_t ky = d.y.kernel, kx = d.x.kernel;
  // Windows that hold these rows, and the source rows that those windows hold.
  const std::int64_t windowRows = rows + ky - 1, windowColumns = plan.width + kx - 1;
  const std::int64_t columns = windowColumns + kx - 1, length = windowColumns * channels;
  const LocalTile tile{work, columns * channels + kVectorRoom};
  float* const column = tile.row(windowRows + ky - 1);
  float *const base = column + tile.step, *const result = base + tile.step, *next = result + tile.step;
  const auto windowTile = [&] {
    const LocalTile t{next, length + kVectorRoom};
    next = t.row(windowRows);
    return t;
  };
  const LocalTile given = windowTile(), share = windowTile(), mean = windowTile(), constant = windowTile();
  loadTile(plan.source, inv.args[1].data, n, plan.height, plan.width, y0 - ky + 1, windowRows + ky - 1, 1 - kx, columns,
           firstChannel, channels, tile);
  loadTile(plan.given, inv.args[0].data, n, plan.windowsHeight, plan.windowsWidth, y0 + d.y.pad - ky + 1, windowRows,
           d.x.pad - kx + 1, windowColumns, firstChannel, channels, given);
  const float taps = static_cast<float>(ky) * static_cast<float>(kx);
  const Floats p0(d.p0), average(d.p0 / taps), ps(d.ps), two(2.f * d.alpha * d.beta / taps);
  for (std::int64_t t = 0; t < windowRows; ++t) {
    windowRow(plan, tile, t, channels, length, column, mean.row(t), base);
    const float* centre = tile.row(t + ky / 2) + kx / 2 * channels;
    for (std::int64_t j = 0; j < length; j += kLanes) {
      const Floats b = m::load<Floats>(base + j), power = m::inversePower(b, plan.power);
      const auto g = m::load<Floats>(given.row(t) + j);
      auto s = m::load<Floats>(centre + j);
      if (contrast) {
        s = s - p0 * m::load<Floats>(mean.row(t) + j);
        m::store(g * power * average, constant.row(t) + j);
      }
      m::store(m::localNormShare(g, s, b, power) * two, share.row(t) + j);
      m::store(g * power, given.row(t) + j);
    }
  }
  const std::int64_t written = plan.width * channels;
  for (std::int64_t y = 0; y < rows; ++y) {
    const float* own = given.row(y + ky - 1 - ky / 2) + (kx - 1 - kx / 2) * channels;
    const float* source = tile.row(y + ky - 1) + (kx - 1) * channels;
    if (!contrast) {
      for (std::int64_t j = 0; j < written + (kx - 1) * channels; j += kLanes) {
        auto sum = m::load<Floats>(share.row(y) + j);
        for (std::int64_t q = 1; q < ky; ++q) sum = sum + m::load<Floats>(share.row(y + q) + j);
        m::store(sum, column + j);
      }
      stridedSums(column, kx, channels, written, base);
      for (std::int64_t j = 0; j < written; j += kLanes)
        m::store(m::fma(-m::load<Floats>(source + j), m::load<Floats>(base + j), m::load<Floats>(own + j)), result + j);
    } else {
      for (std::int64_t j = 0; j < written; j += kLanes) {
        const auto s = m::load<Floats>(source + j);
        Floats sum(0.f);
        for (std::int64_t q = 0; q < ky; ++q)
          for (std::int64_t k = 0; k < kx; ++k) {
            const std::int64_t at = j + k * channels;
            const auto mu = m::load<Floats>(mean.row(y + q) + at);
            sum =
                sum + m::fma(m::load<Floats>(share.row(y + q) + at), s - mu, m::load<Floats>(constant.row(y + q) + at));
          }
        m::store(ps * (m::load<Floats>(own + j) - sum), result + j);
      }
    }
    storePixels(plan.out, inv.args[2].data, n, y0 + y, firstChannel, plan.width, channels, result);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace kovar::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kovar::cpu {
namespace {

HWY_EXPORT(acrossForward);
HWY_EXPORT(acrossGradient);
HWY_EXPORT(localForward);
HWY_EXPORT(localGradient);

using prim::View;

LocalNormPlan planOf(const prim::LocalNorm& desc, std::span<const View> views) {
  LocalNormPlan p;
  p.desc = desc;
  p.power = maths::InversePower::of(desc.beta);
  const bool backward = p.backward();
  const View &src = views[backward ? 1 : 0], &windows = views[backward ? 0 : 1];
  p.source = NormImage(src);
  p.out = NormImage(views[backward ? 2 : 1]);
  p.given = NormImage(views[0]);
  p.images = src.dim(0);
  p.height = src.dim(1);
  p.width = src.dim(2);
  p.channels = src.dim(3);
  p.windowsHeight = windows.dim(1);
  p.windowsWidth = windows.dim(2);
  return p;
}

base::Status prepareAcross(const prim::LocalNorm& desc, std::span<const View> views, CpuPlan& plan) {
  const LocalNormPlan p = planOf(desc, views);
  const std::int64_t pitch = p.channels + desc.channels + kVectorRoom;
  plan.body = [p, pitch](Context& context, const prim::Invocation& inv) -> base::Status {
    FailureFlag failure;
    const std::int64_t pixels = p.height * p.width, grain = std::max<std::int64_t>(1, kChunkElements / p.channels);
    const std::int64_t perImage = divideUp(pixels, grain), rows = kPixelsTogether * pitch;
    context.pool.run(static_cast<std::size_t>(p.images * perImage), [&](std::size_t i) {
      float* squares = threadFloats(static_cast<std::size_t>(4 * rows + 2 * pitch));
      if (squares == nullptr) return failure.raise(FailureFlag::kMemory);
      float *shares = squares + rows, *in = shares + rows, *direct = in + rows, *given = direct + rows;
      std::fill(squares, in, 0.f);
      const std::int64_t n = static_cast<std::int64_t>(i) / perImage,
                         first = static_cast<std::int64_t>(i) % perImage * grain;
      const std::int64_t count = std::min(grain, pixels - first);
      if (p.backward()) HWY_DYNAMIC_DISPATCH(acrossGradient)
      (p, inv, n, first, count, pitch, squares, shares, given, in, direct, given + pitch);
      else HWY_DYNAMIC_DISPATCH(acrossForward)(p, inv, n, first, count, pitch, squares, in, given + pitch);
    });
    return failure.status("cpu:localNorm:tiles");
  };
  return {};
}

/// Floats of working memory that a tile needs.
std::int64_t tileFloats(const LocalNormPlan& p) {
  const std::int64_t ky = p.desc.y.kernel, kx = p.desc.x.kernel;
  if (!p.backward()) {
    const std::int64_t step = (p.windowsWidth + kx - 1) * p.part + kVectorRoom;
    return (p.rows + ky - 1 + 4) * step + kVectorRoom;
  }
  const std::int64_t windowRows = p.rows + ky - 1, windowColumns = p.width + kx - 1;
  const std::int64_t step = (windowColumns + kx - 1) * p.part + kVectorRoom;
  return (windowRows + ky - 1 + 3) * step + 4 * windowRows * (windowColumns * p.part + kVectorRoom) + kVectorRoom;
}

base::Status prepareLocalNorm(const prim::LocalNorm& desc, std::span<const View> views, const prim::PrepareOptions&,
                              CpuPlan& plan) {
  if (desc.kind == prim::LocalNormKind::CrossChannel) return prepareAcross(desc, views, plan);
  LocalNormPlan p = planOf(desc, views);
  // Rows of a tile stay in a core's cache; channels are cut by whole cache lines.
  constexpr std::int64_t kRow = 8192, kTile = 32768;
  const std::int64_t width = p.outWidth();
  p.part = width * p.channels <= kRow ? p.channels
                                      : std::min(p.channels, std::max<std::int64_t>(16, kRow / width / 16 * 16));
  p.rows = std::min(p.outHeight(), std::max<std::int64_t>({kTile / (width * p.part), 4, desc.y.kernel}));
  const std::int64_t parts = divideUp(p.channels, p.part), bands = divideUp(p.outHeight(), p.rows);
  plan.body = [p, parts, bands](Context& context, const prim::Invocation& inv) -> base::Status {
    FailureFlag failure;
    context.pool.run(static_cast<std::size_t>(p.images * bands * parts), [&](std::size_t i) {
      float* work = threadFloats(static_cast<std::size_t>(tileFloats(p)));
      if (work == nullptr) return failure.raise(FailureFlag::kMemory);
      const auto at = static_cast<std::int64_t>(i);
      const std::int64_t c = at % parts * p.part, y = at / parts % bands * p.rows, n = at / parts / bands;
      const std::int64_t rows = std::min(p.rows, p.outHeight() - y), channels = std::min(p.part, p.channels - c);
      if (p.backward())
        HWY_DYNAMIC_DISPATCH(localGradient)(p, inv, n, y, rows, c, channels, work);
      else
        HWY_DYNAMIC_DISPATCH(localForward)(p, inv, n, y, rows, c, channels, work);
    });
    return failure.status("cpu:localNorm:tiles");
  };
  return {};
}

constexpr Candidate<prim::LocalNorm> kCandidates[] = {{"cpu:localNorm:tiles", prepareLocalNorm}};

}  // namespace

std::span<const Candidate<prim::LocalNorm>> localNormCandidates() { return kCandidates; }

}  // namespace kovar::cpu
#endif
