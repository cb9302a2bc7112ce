// Pooling by rows of pixels, vectorised over channels. Work is cut into (image, rows, channels) pieces; arguments that
// are not float runs pass through a piece of scratch as floats.

#include "backend/cpu/pool.hpp"

#include <array>
#include <memory>

#include "backend/cpu/cpu.hpp"
#include "backend/cpu/loops.hpp"
#include "backend/cpu/post_ops.hpp"
#include "backend/cpu/row_io.hpp"
#include "backend/cpu/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/pool.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backend/cpu/rows.hpp"
#include "maths/neuron-inl.hpp"
#include "maths/pool-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace kovar::cpu {
namespace HWY_NAMESPACE {
namespace {

using prim::PoolKind;

/// The taps of one window that lie in the image (or are replicated there).
struct Taps {
  std::span<const std::int32_t> y, x;
  bool outside;
  float divisor;
};

HWY_INLINE Taps tapsOf(const PoolGeometry& g, std::int64_t wy, std::int64_t wx) {
  const auto y = static_cast<std::size_t>(wy), x = static_cast<std::size_t>(wx);
  return {g.y.of(wy), g.x.of(wx), (g.y.outside[y] | g.x.outside[x]) != 0,
          static_cast<float>(g.y.divisor[y]) * static_cast<float>(g.x.divisor[x])};
}

template <PoolKind kKind>
using Rule = std::conditional_t<kKind == PoolKind::Max, m::MaxPool,
                                std::conditional_t<kKind == PoolKind::Average, m::AveragePool, m::L2Pool>>;

/// A source pixel as it is pooled.
template <bool kRectified>
HWY_INLINE Floats pixelLanes(const float* p, std::int64_t part) {
  const Floats x = loadLanes(p, part);
  return kRectified ? m::ReLUZero{}.fwd(x) : x;
}

/// Combines the taps of one window for kCount vectors of channels from `channel` on. part: lanes of a lone last vector,
/// 0 = all.
template <PoolKind kKind, bool kRectified, int kCount>
HWY_INLINE void combineTaps(const PoolTile<const float>& src, const Taps& t, std::int64_t channel, std::int64_t part,
                            Floats (&acc)[kCount]) {
  for (int k = 0; k < kCount; ++k) acc[k] = Rule<kKind>::template start<Floats>();
  for (const std::int32_t y : t.y) {
    const float* row = src.row(y) + channel;
    for (const std::int32_t x : t.x) {
      const float* p = row + x * src.pixelStep;
      for (int k = 0; k < kCount; ++k)
        acc[k] = Rule<kKind>::combine(acc[k], pixelLanes<kRectified>(p + k * kLanes, part));
    }
  }
}

/// Values of one window.
template <PoolKind kKind, bool kRectified, int kCount>
HWY_INLINE void window(const PoolTile<const float>& src, const Taps& t, std::int64_t channel, std::int64_t part,
                       Floats (&acc)[kCount]) {
  combineTaps<kKind, kRectified, kCount>(src, t, channel, part, acc);
  for (int k = 0; k < kCount; ++k) {
    // A sum does not change by the zeros outside; a maximum may.
    if (kKind == PoolKind::Max && t.outside) acc[k] = Rule<kKind>::combine(acc[k], Floats(0.f));
    if constexpr (kKind == PoolKind::Average)
      acc[k] = m::AveragePool::finish(acc[k], Floats(t.divisor));
    else
      acc[k] = Rule<kKind>::finish(acc[k]);
  }
}

/// Calls fn(count of vectors, channel, lanes of a lone last vector or 0) for all channels.
template <class F>
HWY_INLINE void forChannels(std::int64_t channels, const F& fn) {
  std::int64_t c = 0;
  for (; c + 4 * kLanes <= channels; c += 4 * kLanes) fn(std::integral_constant<int, 4>{}, c, 0);
  if (c + 2 * kLanes <= channels) {
    fn(std::integral_constant<int, 2>{}, c, 0);
    c += 2 * kLanes;
  }
  for (; c + kLanes <= channels; c += kLanes) fn(std::integral_constant<int, 1>{}, c, 0);
  if (c < channels) fn(std::integral_constant<int, 1>{}, c, channels - c);
}

/// Calls fn(kind, rectified) with both as types.
template <class F>
void withPool(const PoolGeometry& g, const F& fn) {
  const auto withKind = [&](auto rectified) {
    switch (g.kind) {
      case PoolKind::Max:
        return fn(std::integral_constant<PoolKind, PoolKind::Max>{}, rectified);
      case PoolKind::Average:
        return fn(std::integral_constant<PoolKind, PoolKind::Average>{}, rectified);
      case PoolKind::L2:
        return fn(std::integral_constant<PoolKind, PoolKind::L2>{}, rectified);
    }
  };
  return g.rectified ? withKind(std::true_type{}) : withKind(std::false_type{});
}

template <PoolKind kKind, bool kRectified>
void forwardRows(const PoolGeometry& g, const PoolTile<const float>& src, const PoolTile<float>& dst,
                 std::int64_t begin, std::int64_t end, std::int64_t channels) {
  const auto windows = static_cast<std::int64_t>(g.x.divisor.size());
  for (std::int64_t y = begin; y < end; ++y) {
    for (std::int64_t x = 0; x < windows; ++x) {
      const Taps t = tapsOf(g, y, x);
      float* out = dst.row(y) + x * dst.pixelStep;
      forChannels(channels, [&](auto count, std::int64_t c, std::int64_t part) HWY_ATTR {
        Floats acc[count()];
        window<kKind, kRectified, count()>(src, t, c, part, acc);
        for (int k = 0; k < count(); ++k) storeLanes(acc[k], out + c + k * kLanes, part);
      });
    }
  }
}

void poolForward(const PoolGeometry& g, const PoolTile<const float>& src, const PoolTile<float>& dst,
                 std::int64_t begin, std::int64_t end, std::int64_t channels) {
  withPool(g, [&](auto kind, auto rectified) { forwardRows<kind(), rectified()>(g, src, dst, begin, end, channels); });
}

/// What one window gives to its pixels in the source rows [begin, end), for kCount vectors of channels. kOnce: these
/// pixels have no other window and get their whole gradient here; otherwise it is added to.
template <PoolKind kKind, bool kRectified, bool kOnce, int kCount>
HWY_INLINE void windowGradient(const Taps& t, const float* given, const PoolTile<const float>& src,
                               const PoolTile<float>& diff, std::int64_t channel, std::int64_t part, std::int64_t begin,
                               std::int64_t end) {
  Floats g[kCount], result[kCount];
  for (int k = 0; k < kCount; ++k) g[k] = loadLanes(given + channel + k * kLanes, part);
  if constexpr (kKind == PoolKind::Max) {
    combineTaps<kKind, kRectified, kCount>(src, t, channel, part, result);
    // A zero outside that beats every pixel takes the gradient with it.
    for (int k = 0; t.outside && k < kCount; ++k) g[k] = m::select(result[k] >= Floats(0.f), g[k], Floats(0.f));
  } else if constexpr (kKind == PoolKind::L2) {
    window<kKind, kRectified, kCount>(src, t, channel, part, result);
  } else {
    for (int k = 0; k < kCount; ++k) g[k] = m::AveragePool::bwd(g[k], Floats(t.divisor));
  }
  constexpr bool kReads = kKind != PoolKind::Average || (kOnce && kRectified);
  for (const std::int32_t y : t.y) {
    const bool mine = y >= begin && y < end;
    if (kKind != PoolKind::Max && !mine) continue;
    for (const std::int32_t x : t.x) {
      const float* from = kReads ? src.row(y) + x * src.pixelStep + channel : nullptr;
      float* to = diff.row(y) + x * diff.pixelStep + channel;
      for (int k = 0; k < kCount; ++k) {
        Floats share = g[k], source(0.f);
        if constexpr (kReads) source = loadLanes(from + k * kLanes, part);
        const Floats pooled = kRectified ? m::ReLUZero{}.fwd(source) : source;
        if constexpr (kKind == PoolKind::Max) {
          // The first tap that equals the maximum takes all; the later ones find nothing left.
          const auto wins = pooled == result[k];
          share = m::select(wins, g[k], Floats(0.f));
          g[k] = m::select(wins, Floats(0.f), g[k]);
        } else if constexpr (kKind == PoolKind::L2) {
          share = m::L2Pool::bwd(g[k], pooled, result[k]);
        }
        if (!mine) continue;
        if constexpr (!kOnce)
          share = loadLanes(to + k * kLanes, part) + share;
        else if constexpr (kRectified)
          share = m::ReLUZero{}.bwd(source, share);
        storeLanes(share, to + k * kLanes, part);
      }
    }
  }
}

template <PoolKind kKind, bool kRectified, bool kOnce>
void gradientRows(const PoolGeometry& g, const PoolTile<const float>& diffDst, const PoolTile<const float>& src,
                  const PoolTile<float>& diff, std::int64_t firstWindow, std::int64_t endWindow, std::int64_t begin,
                  std::int64_t end, std::int64_t channels) {
  const auto windows = static_cast<std::int64_t>(g.x.divisor.size());
  for (std::int64_t y = firstWindow; y < endWindow; ++y)
    for (std::int64_t x = 0; x < windows; ++x) {
      const Taps t = tapsOf(g, y, x);
      const float* given = diffDst.row(y) + x * diffDst.pixelStep;
      forChannels(channels, [&](auto count, std::int64_t c, std::int64_t part) HWY_ATTR {
        windowGradient<kKind, kRectified, kOnce, count()>(t, given, src, diff, c, part, begin, end);
      });
    }
}

/// The finished gradient of the pooled pixels becomes that of the source, `width` pixels a row.
void throughRectifier(const PoolTile<const float>& src, const PoolTile<float>& diff, std::int64_t begin,
                      std::int64_t end, std::int64_t width, std::int64_t channels) {
  for (std::int64_t y = begin; y < end; ++y)
    for (std::int64_t x = 0; x < width; ++x) {
      const float* from = src.row(y) + x * src.pixelStep;
      float* to = diff.row(y) + x * diff.pixelStep;
      forChannels(channels, [&](auto count, std::int64_t c, std::int64_t part) HWY_ATTR {
        for (std::int64_t i = c; i < c + count() * kLanes; i += kLanes)
          storeLanes(m::ReLUZero{}.bwd(loadLanes(from + i, part), loadLanes(to + i, part)), to + i, part);
      });
    }
}

void poolGradient(const PoolGeometry& g, const PoolTile<const float>& diffDst, const PoolTile<const float>& src,
                  const PoolTile<float>& diff, std::int64_t firstWindow, std::int64_t endWindow, std::int64_t begin,
                  std::int64_t end, std::int64_t width, std::int64_t channels) {
  withPool(g, [&](auto kind, auto rectified) {
    if (g.once)
      return gradientRows<kind(), rectified(), true>(g, diffDst, src, diff, firstWindow, endWindow, begin, end,
                                                     channels);
    gradientRows<kind(), rectified(), false>(g, diffDst, src, diff, firstWindow, endWindow, begin, end, channels);
    if (rectified()) throughRectifier(src, diff, begin, end, width, channels);
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace kovar::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kovar::cpu {

PoolAxis::PoolAxis(const prim::Window& window, std::int64_t windows, std::int64_t extent, std::int64_t zeroPad,
                   const prim::Pool& desc) {
  const bool zeros = desc.zeroEdge || desc.kind == prim::PoolKind::Average;
  for (std::int64_t w = 0; w < windows; ++w) {
    first.push_back(static_cast<std::int32_t>(tap.size()));
    std::int32_t counted = 0;
    bool out = false;
    for (std::int64_t p = 0; p < window.kernel; ++p) {
      const std::int64_t at = w * window.stride - window.pad + p * window.dilation;
      const bool inside = at >= 0 && at < extent;
      counted += desc.zeroEdge || (at >= -zeroPad && at < extent + zeroPad) ? 1 : 0;
      out = out || !inside;
      if (inside || !zeros) tap.push_back(static_cast<std::int32_t>(std::clamp<std::int64_t>(at, 0, extent - 1)));
    }
    outside.push_back(out && zeros ? 1 : 0);
    divisor.push_back(counted);
  }
  first.push_back(static_cast<std::int32_t>(tap.size()));
}

bool PoolAxis::once(std::int64_t extent) const {
  // Taps in order and without gaps.
  if (static_cast<std::int64_t>(tap.size()) != extent) return false;
  for (std::size_t i = 0; i < tap.size(); ++i)
    if (tap[i] != static_cast<std::int32_t>(i)) return false;
  return true;
}

namespace {

HWY_EXPORT(poolForward);
HWY_EXPORT(poolGradient);

using prim::DType;
using prim::View;

/// A grid of pieces (image, rows, channels) over an image of the given extents.
struct Grid {
  std::int64_t rows, channels;  ///< of one piece
  std::int64_t rowPieces, channelPieces, pieces;

  /// A piece has a multiple of `unit` rows.
  Grid(const View& image, std::int64_t workPerElement, std::int64_t unit) {
    constexpr std::int64_t kWork = 65536;
    const std::int64_t rowWork = image.dim(2) * image.dim(3) * workPerElement;
    rows = std::clamp<std::int64_t>(kWork / std::max<std::int64_t>(1, rowWork * unit), 1, image.dim(1)) * unit;
    // Rows of very much work are cut by channels; 64 keep whole cache lines together.
    const std::int64_t perChannel = image.dim(2) * workPerElement;
    const std::int64_t wanted =
        divideUp(std::max<std::int64_t>(1, kWork / std::max<std::int64_t>(1, perChannel)), 64) * 64;
    channels = rowWork > 2 * kWork ? std::min(image.dim(3), wanted) : image.dim(3);
    rowPieces = divideUp(image.dim(1), rows);
    channelPieces = divideUp(image.dim(3), channels);
    pieces = image.dim(0) * rowPieces * channelPieces;
  }
};

struct Piece {
  std::int64_t n, firstRow, endRow, firstChannel, channels;
};

Piece pieceOf(const Grid& grid, const View& image, std::size_t index) {
  const auto i = static_cast<std::int64_t>(index);
  Piece p;
  p.firstChannel = i % grid.channelPieces * grid.channels;
  p.channels = std::min(grid.channels, image.dim(3) - p.firstChannel);
  p.firstRow = i / grid.channelPieces % grid.rowPieces * grid.rows;
  p.endRow = std::min(image.dim(1), p.firstRow + grid.rows);
  p.n = i / grid.channelPieces / grid.rowPieces;
  return p;
}

bool isDirect(const View& v) { return v.dtype == DType::F32 && (v.stride(3) == 1 || v.dim(3) == 1); }

std::byte* pixel(const View& v, std::byte* storage, std::int64_t n, std::int64_t y, std::int64_t x, std::int64_t c) {
  return storage + (v.offset + n * v.stride(0) + y * v.stride(1) + x * v.stride(2) + c * v.stride(3)) *
                       static_cast<std::int64_t>(sizeOf(v.dtype));
}

/// Rows [first, end) of one piece's image and channels as floats, where they lie or converted into `buffer`.
PoolTile<const float> readTile(const View& v, std::byte* storage, const Piece& p, std::int64_t first, std::int64_t end,
                               std::vector<float>& buffer) {
  if (isDirect(v)) {
    const auto* data = reinterpret_cast<const float*>(pixel(v, storage, p.n, first, 0, p.firstChannel));
    return {data, first, v.stride(1), v.stride(2)};
  }
  const std::int64_t width = v.dim(2), size = static_cast<std::int64_t>(sizeOf(v.dtype));
  buffer.resize(static_cast<std::size_t>(std::max<std::int64_t>(0, end - first) * width * p.channels));
  float* out = buffer.data();
  for (std::int64_t y = first; y < end; ++y)
    for (std::int64_t x = 0; x < width; ++x, out += p.channels)
      readRow(v.dtype, pixel(v, storage, p.n, y, x, p.firstChannel), v.stride(3) * size, p.channels, out);
  return {buffer.data(), first, width * p.channels, p.channels};
}

/// Where a piece's result is formed: in place, or in `buffer`.
PoolTile<float> writeTile(const View& v, std::byte* storage, const Piece& p, std::vector<float>& buffer) {
  if (isDirect(v))
    return {reinterpret_cast<float*>(pixel(v, storage, p.n, p.firstRow, 0, p.firstChannel)), p.firstRow, v.stride(1),
            v.stride(2)};
  buffer.resize(static_cast<std::size_t>((p.endRow - p.firstRow) * v.dim(2) * p.channels));
  return {buffer.data(), p.firstRow, v.dim(2) * p.channels, p.channels};
}

void finishTile(const View& v, std::byte* storage, const Piece& p, const PoolTile<float>& tile, const PostOps& post,
                const prim::Invocation& inv) {
  const bool direct = isDirect(v);
  if (direct && post.empty()) return;
  const auto size = static_cast<std::int64_t>(sizeOf(v.dtype));
  for (std::int64_t y = p.firstRow; y < p.endRow; ++y)
    for (std::int64_t x = 0; x < v.dim(2); ++x) {
      float* values = tile.row(y) + x * tile.pixelStep;
      const std::int64_t index[3] = {p.n, y, x};
      if (!post.empty()) post.apply(inv, index, p.firstChannel, p.channels, values, values);
      if (!direct)
        writeRow(v.dtype, values, p.channels, pixel(v, storage, p.n, y, x, p.firstChannel), v.stride(3) * size);
    }
}

/// First and last source row that windows [begin, end) touch, as a half-open range.
std::pair<std::int64_t, std::int64_t> rowsTouched(const PoolAxis& axis, std::int64_t begin, std::int64_t end) {
  std::int64_t low = std::numeric_limits<std::int64_t>::max(), high = -1;
  for (std::int64_t w = begin; w < end; ++w)
    for (const std::int32_t t : axis.of(w)) {
      low = std::min<std::int64_t>(low, t);
      high = std::max<std::int64_t>(high, t);
    }
  return high < 0 ? std::pair<std::int64_t, std::int64_t>{0, 0} : std::pair<std::int64_t, std::int64_t>{low, high + 1};
}

void preparePoolForward(const PoolGeometry& geometry, std::int64_t taps, const PostOps& post, const View& src,
                        const View& dst, CpuPlan& plan) {
  const Grid grid(dst, taps, 1);
  plan.body = [geometry, grid, src, dst, post](Context& context, const prim::Invocation& inv) -> base::Status {
    context.pool.run(static_cast<std::size_t>(grid.pieces), [&](std::size_t i) {
      thread_local std::vector<float> in, out;
      const Piece p = pieceOf(grid, dst, i);
      const auto [first, end] = rowsTouched(geometry.y, p.firstRow, p.endRow);
      const PoolTile<const float> from = readTile(src, inv.args[0].data, p, first, end, in);
      const PoolTile<float> to = writeTile(dst, inv.args[1].data, p, out);
      HWY_DYNAMIC_DISPATCH(poolForward)(geometry, from, to, p.firstRow, p.endRow, p.channels);
      finishTile(dst, inv.args[1].data, p, to, post, inv);
    });
    return {};
  };
}

void preparePoolGradient(const PoolGeometry& geometry, std::int64_t taps, std::int64_t rowsPerWindow,
                         const View& diffDst, const View& src, const View& diffSrc, CpuPlan& plan) {
  // A window's work counts once per window, not per source pixel. Windows that lie apart stay whole.
  const Grid grid(diffSrc,
                  std::max<std::int64_t>(1, taps * diffDst.dim(1) * diffDst.dim(2) / (src.dim(1) * src.dim(2))),
                  geometry.once ? rowsPerWindow : 1);
  plan.body = [geometry, grid, diffDst, src, diffSrc](Context& context, const prim::Invocation& inv) -> base::Status {
    context.pool.run(static_cast<std::size_t>(grid.pieces), [&](std::size_t i) {
      thread_local std::vector<float> given, in, out;
      const Piece p = pieceOf(grid, diffSrc, i);
      // Windows that reach into the piece's rows; taps grow with the window, so they are neighbours.
      std::int64_t firstWindow = -1, endWindow = 0;
      for (std::int64_t w = 0; w < diffDst.dim(1); ++w) {
        const auto t = geometry.y.of(w);
        if (t.empty() || t.back() < p.firstRow || t.front() >= p.endRow) continue;
        if (firstWindow < 0) firstWindow = w;
        endWindow = w + 1;
      }
      firstWindow = std::max<std::int64_t>(firstWindow, 0);
      const PoolTile<float> to = writeTile(diffSrc, inv.args[2].data, p, out);
      for (std::int64_t y = p.firstRow; y < p.endRow && !geometry.once; ++y) {
        if (to.pixelStep == p.channels)
          std::fill_n(to.row(y), diffSrc.dim(2) * p.channels, 0.f);
        else
          for (std::int64_t x = 0; x < diffSrc.dim(2); ++x) std::fill_n(to.row(y) + x * to.pixelStep, p.channels, 0.f);
      }
      auto [first, end] = rowsTouched(geometry.y, firstWindow, endWindow);
      if (geometry.rectified) first = std::min(first, p.firstRow), end = std::max(end, p.endRow);
      const PoolTile<const float> from = readTile(src, inv.args[1].data, p, first, end, in);
      const PoolTile<const float> g = readTile(diffDst, inv.args[0].data, p, firstWindow, endWindow, given);
      HWY_DYNAMIC_DISPATCH(poolGradient)
      (geometry, g, from, to, firstWindow, endWindow, p.firstRow, p.endRow, diffSrc.dim(2), p.channels);
      finishTile(diffSrc, inv.args[2].data, p, to, PostOps(), inv);
    });
    return {};
  };
}

base::Status preparePool(const prim::Pool& desc, std::span<const View> views, const prim::PrepareOptions&,
                         CpuPlan& plan) {
  const bool forward = desc.direction == prim::Direction::Forward;
  const View &image = forward ? views[0] : views[1], &windows = forward ? views[1] : views[0];
  if (std::max(image.dim(1), image.dim(2)) > std::numeric_limits<std::int32_t>::max() / 2)
    return base::Failure{"image extents do not fit 32 bits"};
  PoolGeometry geometry{desc.kind, desc.rectified, false,
                        PoolAxis(desc.y, windows.dim(1), image.dim(1), desc.zeroPadY, desc),
                        PoolAxis(desc.x, windows.dim(2), image.dim(2), desc.zeroPadX, desc)};
  geometry.once = geometry.y.once(image.dim(1)) && geometry.x.once(image.dim(2));
  const std::int64_t taps = std::int64_t{desc.y.kernel} * desc.x.kernel;
  plan.cacheBytes += (geometry.y.tap.size() + geometry.x.tap.size()) * sizeof(std::int32_t);
  if (forward)
    preparePoolForward(geometry, taps, PostOps(desc.post, views[1], views, 2), views[0], views[1], plan);
  else
    preparePoolGradient(geometry, taps, desc.y.kernel, views[0], views[1], views[2], plan);
  return {};
}

constexpr Candidate<prim::Pool> kCandidates[] = {{"cpu:pool:rows", preparePool}};

}  // namespace

std::span<const Candidate<prim::Pool>> poolCandidates() { return kCandidates; }

}  // namespace kovar::cpu
#endif
