// Resampling and its adjoint. Both are sums of a few weighted rows, then of a few weighted pixels of that row: the rows
// of a piece are blended into a line that stays in the first-level cache, and the result's pixels are read from it.

#include "backend/cpu/resample.hpp"

#include <algorithm>
#include <memory>

#include "backend/cpu/cpu.hpp"
#include "backend/cpu/loops.hpp"
#include "backend/cpu/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/resample.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backend/cpu/rows.hpp"

HWY_BEFORE_NAMESPACE();
namespace kovar::cpu {
namespace HWY_NAMESPACE {
namespace {

/// to = wa * a + wb * b, or wa * a alone.
void blend(const float* a, float wa, const float* b, float wb, std::int64_t n, float* to) {
  const Floats va(wa), vb(wb);
  for (std::int64_t i = 0; i < n; i += kLanes) {
    const std::int64_t part = n - i < kLanes ? n - i : 0;
    Floats v = va * loadLanes(a + i, part);
    if (b != nullptr) v = m::fma(vb, loadLanes(b + i, part), v);
    storeLanes(v, to + i, part);
  }
}

/// to += w * a.
void addWeighted(const float* a, float w, std::int64_t n, float* to) {
  const Floats weight(w);
  for (std::int64_t i = 0; i < n; i += kLanes) {
    const std::int64_t part = n - i < kLanes ? n - i : 0;
    storeLanes(m::fma(weight, loadLanes(a + i, part), loadLanes(to + i, part)), to + i, part);
  }
}

/// A blended row: pixel x of the tile starts at data + x * pitch.
struct Line {
  const float* data;
  std::int64_t pitch;
};

/// The rows that result row y reads, blended over the columns of a tile. line, other: room for them.
Line blendRows(const ResamplePlan& plan, std::byte* storage, std::int64_t n, std::int64_t y, const ResampleTile& tile,
               std::int64_t channel, std::int64_t channels, float* line, float* other) {
  const auto positions = plan.y.positions(y);
  const auto weights = plan.y.weights(y);
  const ResampleSide& in = plan.in;
  const auto at = [&](std::size_t k) { return in.at(storage, n, positions[k], tile.first, channel); };
  if (in.floats && positions.size() == 1 && weights[0] == 1.f)
    return {reinterpret_cast<const float*>(at(0)), in.pixel / static_cast<std::int64_t>(sizeof(float))};
  const auto size = static_cast<std::int64_t>(prim::sizeOf(in.type));
  const bool dense = in.channel == size && in.pixel == channels * size;
  const std::int64_t runs = dense ? 1 : tile.width, run = dense ? tile.width * channels : channels;
  const std::int64_t step = run == 1 ? size : in.channel;
  for (std::int64_t r = 0; r < runs; ++r) {
    float* const to = line + r * channels;
    const std::byte* const base = at(0) + r * in.pixel;
    if (!in.floats && positions.size() == 1 && weights[0] == 1.f) {
      loadRow(in.type, base, step, run, to);
      continue;
    }
    const float* const a = floatRow(in.type, base, step, run, to);
    const float* const b = positions.size() > 1 ? floatRow(in.type, at(1) + r * in.pixel, step, run, other) : nullptr;
    blend(a, weights[0], b, b != nullptr ? weights[1] : 0.f, run, to);
    for (std::size_t k = 2; k < positions.size(); ++k)
      addWeighted(floatRow(in.type, at(k) + r * in.pixel, step, run, other), weights[k], run, to);
  }
  return {line, channels};
}

/// kCount vectors of channels of one result pixel. part: lanes of a lone last vector, 0 = all.
template <int kCount>
HWY_INLINE void sumPixels(const Line& line, std::int64_t first, std::span<const std::int32_t> positions,
                          std::span<const float> weights, std::int64_t channel, std::int64_t part, float* out) {
  Floats acc[kCount];
  const float* p = line.data + (positions[0] - first) * line.pitch + channel;
  for (int k = 0; k < kCount; ++k) acc[k] = Floats(weights[0]) * loadLanes(p + k * kLanes, part);
  for (std::size_t t = 1; t < positions.size(); ++t) {
    p = line.data + (positions[t] - first) * line.pitch + channel;
    for (int k = 0; k < kCount; ++k) acc[k] = m::fma(Floats(weights[t]), loadLanes(p + k * kLanes, part), acc[k]);
  }
  for (int k = 0; k < kCount; ++k) storeLanes(acc[k], out + k * kLanes, part);
}

void resamplePixel(const Line& line, std::int64_t first, std::span<const std::int32_t> positions,
                   std::span<const float> weights, std::int64_t channels, float* out) {
  std::int64_t c = 0;
  for (; c + 4 * kLanes <= channels; c += 4 * kLanes) sumPixels<4>(line, first, positions, weights, c, 0, out + c);
  for (; c + kLanes <= channels; c += kLanes) sumPixels<1>(line, first, positions, weights, c, 0, out + c);
  if (c < channels) sumPixels<1>(line, first, positions, weights, c, channels - c, out + c);
}

/// Result rows [begin, end) of image n, `channels` channels from `channel` on. line, other: lineFloats each; pixel:
/// room for the channels.
void resampleRows(const ResamplePlan& plan, std::byte* source, std::byte* result, std::int64_t n, std::int64_t begin,
                  std::int64_t end, std::int64_t channel, std::int64_t channels, float* line, float* other,
                  float* pixel) {
  const ResampleSide& out = plan.out;
  for (std::int64_t y = begin; y < end; ++y)
    for (const ResampleTile& tile : plan.tiles) {
      const bool none = plan.y.positions(y).empty() || tile.width == 0;
      const Line blended = none ? Line{} : blendRows(plan, source, n, y, tile, channel, channels, line, other);
      for (std::int64_t x = tile.begin; x < tile.end; ++x) {
        std::byte* const to = out.at(result, n, y, x, channel);
        float* const values = out.floats ? reinterpret_cast<float*>(to) : pixel;
        const auto positions = plan.x.positions(x);
        if (none || positions.empty())
          std::fill_n(values, channels, 0.f);
        else
          resamplePixel(blended, tile.first, positions, plan.x.weights(x), channels, values);
        if (!out.floats) storeRow(out.type, values, channels, to, out.channel);
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

HWY_EXPORT(resampleRows);

using prim::View;

constexpr std::int64_t kLineFloats = 4096;    ///< of a blended row, where one pixel needs no more
constexpr std::int64_t kPieceFloats = 65536;  ///< of the result that one piece of work forms

ResampleSide sideOf(const View& v) {
  const auto size = static_cast<std::int64_t>(sizeOf(v.dtype));
  ResampleSide s{
      v.dtype, v.offset * size, v.stride(0) * size, v.stride(1) * size, v.stride(2) * size, v.stride(3) * size, false};
  s.floats = v.dtype == prim::DType::F32 && (v.stride(3) == 1 || v.dim(3) == 1);
  return s;
}

/// Source columns that result column x reads.
std::int64_t spanOf(const prim::TapTable& taps, std::int64_t x) {
  const auto p = taps.positions(x);
  return p.empty() ? 0 : p.back() - p.front() + 1;
}

void cutIntoTiles(ResamplePlan& plan) {
  for (std::int64_t x = 0; x < plan.x.results(); ++x) {
    const auto p = plan.x.positions(x);
    if (plan.tiles.empty()) plan.tiles.push_back({});
    ResampleTile* tile = &plan.tiles.back();
    if (!p.empty()) {
      const std::int64_t low = tile->width == 0 ? p.front() : std::min<std::int64_t>(tile->first, p.front());
      const std::int64_t high = std::max<std::int64_t>(tile->width == 0 ? 0 : tile->first + tile->width, p.back() + 1);
      if (tile->width > 0 && (high - low) * plan.chunk > kLineFloats) {
        plan.tiles.push_back({x, x, p.front(), p.back() + 1 - p.front()});
        tile = &plan.tiles.back();
      } else {
        tile->first = low;
        tile->width = high - low;
      }
    }
    tile->end = x + 1;
    plan.lineFloats = std::max(plan.lineFloats, tile->width * plan.chunk);
  }
}

base::Status prepareResample(const prim::Resample& desc, std::span<const View> views, const prim::PrepareOptions&,
                             CpuPlan& plan) {
  const bool forward = desc.direction == prim::Direction::Forward;
  const View &from = views[0], &to = views[1], &reads = forward ? to : from, &read = forward ? from : to;
  auto p = std::make_shared<ResamplePlan>();
  p->y = prim::tableOf(desc, desc.y, reads.dim(1), read.dim(1));
  p->x = prim::tableOf(desc, desc.x, reads.dim(2), read.dim(2));
  p->in = sideOf(from);
  p->out = sideOf(to);
  p->images = to.dim(0);
  p->channels = to.dim(3);
  std::int64_t widest = 1;
  for (std::int64_t x = 0; x < to.dim(2); ++x) widest = std::max(widest, spanOf(p->x, x));
  p->chunk = std::min(p->channels, std::max<std::int64_t>(64, kLineFloats / widest / 64 * 64));
  p->chunks = divideUp(p->channels, p->chunk);
  cutIntoTiles(*p);
  p->rows = std::clamp<std::int64_t>(kPieceFloats / std::max<std::int64_t>(1, to.dim(2) * p->chunk), 1, to.dim(1));
  p->rowPieces = divideUp(to.dim(1), p->rows);
  plan.cacheBytes += (p->y.position.size() + p->x.position.size()) * 12 + p->tiles.size() * sizeof(ResampleTile);
  plan.body = [p = std::shared_ptr<const ResamplePlan>(p), height = to.dim(1)](
                  Context& context, const prim::Invocation& inv) -> base::Status {
    const auto pieces = static_cast<std::size_t>(p->images * p->rowPieces * p->chunks);
    context.pool.run(pieces, [&](std::size_t index) {
      thread_local std::vector<float> room;
      room.resize(static_cast<std::size_t>(2 * p->lineFloats + p->chunk));
      const auto i = static_cast<std::int64_t>(index);
      const std::int64_t channel = i % p->chunks * p->chunk, begin = i / p->chunks % p->rowPieces * p->rows;
      HWY_DYNAMIC_DISPATCH(resampleRows)
      (*p, inv.args[0].data, inv.args[1].data, i / p->chunks / p->rowPieces, begin, std::min(height, begin + p->rows),
       channel, std::min(p->chunk, p->channels - channel), room.data(), room.data() + p->lineFloats,
       room.data() + 2 * p->lineFloats);
    });
    return {};
  };
  return {};
}

constexpr Candidate<prim::Resample> kCandidates[] = {{"cpu:resample:lines", prepareResample}};

}  // namespace

std::span<const Candidate<prim::Resample>> resampleCandidates() { return kCandidates; }

}  // namespace kovar::cpu
#endif
