#include "backend/cpu/conv_pieces.hpp"

#include <algorithm>
#include <cmath>

namespace kovar::cpu {
namespace {

/// Floating-point operations that are worth a chunk of their own: some tens of microseconds.
constexpr double kChunkWork = 4e6, kLeastChunkWork = 1e6;
/// Chunks wanted at least where the work allows it.
constexpr std::int64_t kChunks = 16;
/// Weights up to this size stay in a core's second-level cache while rows pass by.
constexpr std::int64_t kResidentWeights = 160 * 1024;
/// Channel blocks are multiples of this: what the kernels block by.
constexpr std::int64_t kChannelBlock = 64;

std::int64_t divideUp(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

/// The whole convolution as one piece.
ConvPiece whole(const ConvShape& s) {
  ConvPiece p;
  p.n = s.n, p.hs = s.hs, p.hd = s.hd, p.ci = s.ci, p.co = s.co, p.groups = s.groups;
  const prim::Window &y = s.desc.y, &x = s.desc.x;
  p.padTop = y.pad, p.padBottom = (s.hd - 1) * y.stride + y.extent() - s.hs - y.pad;
  p.padLeft = x.pad, p.padRight = (s.wd - 1) * x.stride + x.extent() - s.ws - x.pad;
  return p;
}

/// Rows [first, last) of the destination, with the source rows they read.
ConvPiece dstRows(const ConvShape& s, ConvPiece p, std::int64_t first, std::int64_t last) {
  const prim::Window& y = s.desc.y;
  const std::int64_t top = first * y.stride - y.pad, bottom = (last - 1) * y.stride - y.pad + y.extent();
  p.firstDstRow = first, p.hd = last - first;
  p.firstSrcRow = std::max<std::int64_t>(0, top);
  p.hs = std::min(s.hs, bottom) - p.firstSrcRow;
  p.padTop = p.firstSrcRow - top, p.padBottom = bottom - p.firstSrcRow - p.hs;
  return p;
}

/// Rows [first, last) of the source, with the destination rows that have a tap in them.
ConvPiece srcRows(const ConvShape& s, ConvPiece p, std::int64_t first, std::int64_t last) {
  const prim::Window& y = s.desc.y;
  const std::int64_t lowest = first + y.pad - y.extent() + 1, highest = last - 1 + y.pad;
  p.firstDstRow = lowest <= 0 ? 0 : divideUp(lowest, y.stride);
  p.hd = std::min(s.hd - 1, highest / y.stride) - p.firstDstRow + 1;
  p.firstSrcRow = first, p.hs = last - first;
  p.padTop = first + y.pad - p.firstDstRow * y.stride;
  p.padBottom = (p.hd - 1) * y.stride + y.extent() - p.hs - p.padTop;
  return p;
}

/// Cuts `count` into parts whose sizes differ by at most one.
std::int64_t startOf(std::int64_t part, std::int64_t parts, std::int64_t count) { return part * count / parts; }

void addImages(std::vector<ConvPiece>& pieces, const ConvPiece& one, std::int64_t parts) {
  for (std::int64_t i = 0; i < parts; ++i) {
    ConvPiece p = one;
    p.firstImage = startOf(i, parts, one.n);
    p.n = startOf(i + 1, parts, one.n) - p.firstImage;
    pieces.push_back(p);
  }
}

}  // namespace

prim::View ConvPiece::srcOf(const prim::View& src) const {
  return src.slice(0, firstImage, n).slice(1, firstSrcRow, hs).slice(3, firstSrcChannel, ci);
}

prim::View ConvPiece::dstOf(const prim::View& dst) const {
  return dst.slice(0, firstImage, n).slice(1, firstDstRow, hd).slice(3, firstDstChannel, co);
}

std::vector<ConvPiece> resultPieces(const ConvShape& s) {
  const bool forward = s.desc.direction == prim::Direction::Forward;
  const double work = 2 * s.work();
  const ConvPiece all = whole(s);
  std::vector<ConvPiece> pieces;
  const auto most = static_cast<std::int64_t>(std::min(1e6, work / kLeastChunkWork));
  if (most <= 1) return {all};
  if (s.n >= kChunks / 2) {
    const auto wanted = std::max(std::min(most, kChunks), static_cast<std::int64_t>(std::min(1e6, work / kChunkWork)));
    addImages(pieces, all, std::min(s.n, wanted));
    return pieces;
  }
  const std::int64_t parts = std::max<std::int64_t>(1, std::min(most, kChunks) / s.n);
  const std::int64_t channels = forward ? s.co : s.ci, rows = forward ? s.hd : s.hs;
  const bool byChannels = s.groups == 1 && channels >= 2 * kChannelBlock && s.co * s.taps() * s.ci > kResidentWeights;
  for (std::int64_t image = 0; image < s.n; ++image) {
    ConvPiece one = all;
    one.firstImage = image, one.n = 1;
    if (byChannels) {
      const std::int64_t step = std::max<std::int64_t>(1, channels / parts / kChannelBlock) * kChannelBlock;
      for (std::int64_t c = 0, block = 0; c < channels; c += step, ++block) {
        ConvPiece p = one;
        (forward ? p.firstDstChannel : p.firstSrcChannel) = c;
        (forward ? p.co : p.ci) = std::min(step, channels - c);
        p.block = static_cast<std::size_t>(block);
        pieces.push_back(p);
      }
    } else {
      const std::int64_t step = divideUp(rows, std::min(parts, rows));
      for (std::int64_t r = 0; r < rows; r += step) {
        const std::int64_t end = std::min(rows, r + step);
        pieces.push_back(forward ? dstRows(s, one, r, end) : srcRows(s, one, r, end));
        // A part that no tap reaches is for the loops that think about every edge.
        if (pieces.back().hs < 1 || pieces.back().hd < 1) return {all};
      }
    }
  }
  return pieces;
}

WeightPieces weightPieces(const ConvShape& s) {
  WeightPieces result;
  const ConvPiece all = whole(s);
  const auto most = static_cast<std::int64_t>(std::min(1e6, 2 * s.work() / kLeastChunkWork));
  // A batch part costs a pass over its own copy of the weights: it must bring this many pixels to each weight.
  constexpr std::int64_t kPixels = 700;
  std::int64_t parts = 1;
  while (parts < kChunks && 2 * parts <= s.n && 2 * parts <= most && s.n * s.hd * s.wd / (2 * parts) >= kPixels)
    parts *= 2;
  std::int64_t blocks = 1;
  if (s.groups == 1) {
    while (blocks * parts < kChunks && 2 * blocks * parts <= most && s.co / (2 * blocks) >= 32) blocks *= 2;
  } else {
    const std::int64_t least = std::max<std::int64_t>(1, divideUp(16, std::min(s.cig, s.cog)));  // groups of a block
    while (blocks * parts < kChunks && 2 * blocks * parts <= most && s.groups / (2 * blocks) >= least) blocks *= 2;
  }
  const std::int64_t units = s.groups == 1 ? divideUp(s.co, 16) : s.groups;  // what blocks are made of
  blocks = std::min(blocks, units);
  for (std::int64_t b = 0; b < blocks; ++b) {
    ConvPiece p = all;
    const std::int64_t first = startOf(b, blocks, units), last = startOf(b + 1, blocks, units);
    if (s.groups == 1) {
      p.firstDstChannel = first * 16;
      p.co = std::min(s.co, last * 16) - p.firstDstChannel;
    } else {
      p.groups = last - first;
      p.firstSrcChannel = first * s.cig, p.ci = p.groups * s.cig;
      p.firstDstChannel = first * s.cog, p.co = p.groups * s.cog;
    }
    p.block = static_cast<std::size_t>(b);
    addImages(result.pieces, p, parts);
  }
  result.batchParts = static_cast<std::size_t>(parts);
  return result;
}

}  // namespace kovar::cpu
