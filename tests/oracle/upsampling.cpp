#include "oracle/upsampling.hpp"

#include <algorithm>
#include <cmath>

namespace kovar::oracle {

namespace {

/// Source coordinate of pixel x of the region on an axis of `extent` pixels.
double coordinate(const Upsampling& u, long offset, long x, long extent, long scale) {
  if (!u.bilinear) return static_cast<double>(offset) + std::floor(static_cast<double>(x) / static_cast<double>(scale));
  if (!u.alignCorners) return static_cast<double>(offset) + static_cast<double>(x) / static_cast<double>(scale);
  if (extent * scale == 1) return static_cast<double>(offset);
  return static_cast<double>(offset) +
         static_cast<double>(x) * static_cast<double>(extent - 1) / static_cast<double>(extent * scale - 1);
}

struct Tap {
  long x, y;
  double weight;
};

/// The four pixels around a coordinate; those of weight 0 stay out, so that nothing of them is read.
std::vector<Tap> tapsOf(const Upsampling& u, const Tensor& s, long y, long x) {
  const double cx = coordinate(u, u.at.offset.x, x, static_cast<long>(s.w), u.scaleX);
  const double cy = coordinate(u, u.at.offset.y, y, static_cast<long>(s.h), u.scaleY);
  const double fx = std::floor(cx), fy = std::floor(cy);
  std::vector<Tap> taps;
  for (long j = 0; j < 2; ++j)
    for (long i = 0; i < 2; ++i) {
      const double wx = i ? cx - fx : 1 - (cx - fx), wy = j ? cy - fy : 1 - (cy - fy);
      if (wx * wy > 1e-12) taps.push_back({static_cast<long>(fx) + i, static_cast<long>(fy) + j, wx * wy});
    }
  return taps;
}

}  // namespace

Result upsample(const Upsampling& u, const Tensor& source, const Tensor& destination) {
  Result r = Result::over(destination);
  const Region region = effectiveRegion(u.at.clip, destination, u.at.offset.z, source.n);
  const size_t channels = usedChannels(source, u.at.sourceChannelOffset, u.at.sourceChannelMaxCount);
  for (long i = 0; i < region.d; ++i)
    for (long y = 0; y < region.h; ++y)
      for (long x = 0; x < region.w; ++x)
        for (size_t c = 0; c < channels; ++c) {
          double sum = 0, size = 1e-30;
          for (const Tap& t : tapsOf(u, source, y, x)) {
            const double v = readEdge(source, u.at.edge, static_cast<size_t>(u.at.offset.z + i), t.y, t.x,
                                      u.at.sourceChannelOffset + c);
            sum += t.weight * v;
            size += t.weight * std::fabs(v);
          }
          const auto n = static_cast<size_t>(region.z + i), yy = static_cast<size_t>(region.y + y),
                     xx = static_cast<size_t>(region.x + x);
          r.value.at(n, yy, xx, u.at.destinationChannelOffset + c) = sum;
          r.magnitude.at(n, yy, xx, u.at.destinationChannelOffset + c) = size;
        }
  return r;
}

Result upsampleGradient(const Upsampling& u, const UpsamplingGradient& how, const Tensor& gradient,
                        const Tensor& source, const Tensor& destination) {
  const size_t channels = usedChannels(source, u.at.sourceChannelOffset, u.at.sourceChannelMaxCount);
  Tensor sum(source.n, source.h, source.w, channels), size(source.n, source.h, source.w, channels, 1e-30);
  for (size_t n = 0; n < source.n; ++n)
    for (long gy = 0; gy < static_cast<long>(gradient.h); ++gy)
      for (long gx = 0; gx < static_cast<long>(gradient.w); ++gx) {
        const long y = gy - how.primaryOffsetY, x = gx - how.primaryOffsetX;
        if (y < 0 || x < 0 || y >= how.sizeY || x >= how.sizeX) continue;
        for (Tap t : tapsOf(u, source, y, x)) {
          if (u.at.edge == EdgeMode::Clamp) {
            t.x = std::clamp(t.x, 0L, static_cast<long>(source.w) - 1);
            t.y = std::clamp(t.y, 0L, static_cast<long>(source.h) - 1);
          }
          if (t.x < 0 || t.y < 0 || t.x >= static_cast<long>(source.w) || t.y >= static_cast<long>(source.h)) continue;
          for (size_t c = 0; c < channels; ++c) {
            const double g =
                gradient.at(n, static_cast<size_t>(gy), static_cast<size_t>(gx), how.gradientChannelOffset + c);
            sum.at(n, static_cast<size_t>(t.y), static_cast<size_t>(t.x), c) += t.weight * g;
            size.at(n, static_cast<size_t>(t.y), static_cast<size_t>(t.x), c) += t.weight * std::fabs(g);
          }
        }
      }
  Result r = Result::over(destination);
  const Region region = effectiveRegion(how.clip, destination, 0, source.n);
  for (long i = 0; i < region.d; ++i)
    for (long y = 0; y < region.h; ++y)
      for (long x = 0; x < region.w; ++x)
        for (size_t c = 0; c < channels; ++c) {
          const bool inside = y < static_cast<long>(source.h) && x < static_cast<long>(source.w);
          const auto n = static_cast<size_t>(region.z + i), yy = static_cast<size_t>(region.y + y),
                     xx = static_cast<size_t>(region.x + x), to = how.destinationChannelOffset + c;
          r.value.at(n, yy, xx, to) =
              inside ? sum.at(static_cast<size_t>(i), static_cast<size_t>(y), static_cast<size_t>(x), c) : 0;
          r.magnitude.at(n, yy, xx, to) =
              inside ? size.at(static_cast<size_t>(i), static_cast<size_t>(y), static_cast<size_t>(x), c) : 1e-30;
        }
  return r;
}

}  // namespace kovar::oracle
