#include "oracle/pooling.hpp"

#include <algorithm>
#include <cmath>

namespace kovar::oracle {

namespace {

struct Window {
  long left, top;  // first tap
};

bool inside(const Tensor& s, long y, long x) {
  return x >= 0 && y >= 0 && x < static_cast<long>(s.w) && y < static_cast<long>(s.h);
}

double averageDivisor(const Pool& p, const Tensor& s, Window win) {
  if (p.at.edge == EdgeMode::Zero) return static_cast<double>(p.kernelWidth * p.kernelHeight);
  long count = 0;
  for (long q = 0; q < p.kernelHeight; ++q)
    for (long k = 0; k < p.kernelWidth; ++k) {
      const long x = win.left + k, y = win.top + q;
      count += x >= -p.zeroPadSizeX && x < static_cast<long>(s.w) + p.zeroPadSizeX && y >= -p.zeroPadSizeY &&
               y < static_cast<long>(s.h) + p.zeroPadSizeY;
    }
  return static_cast<double>(count);
}

struct Value {
  double value, magnitude;
};

Value poolWindow(const Pool& p, const Tensor& s, size_t n, Window win, size_t c) {
  double sum = 0, terms = 0, best = std::nan("");
  for (long q = 0; q < p.kernelHeight; ++q)
    for (long k = 0; k < p.kernelWidth; ++k) {
      const long x = win.left + k * p.dilationX, y = win.top + q * p.dilationY;
      if (p.kind == PoolKind::Average) {
        const double v = readEdge(s, EdgeMode::Zero, n, y, x, c);
        sum += v;
        terms += std::fabs(v);
        continue;
      }
      const double v = readEdge(s, p.at.edge, n, y, x, c);
      if (std::isnan(best) || v > best) best = v;
      sum += v * v;
    }
  switch (p.kind) {
    case PoolKind::Max:
      return {best, std::fabs(best)};
    case PoolKind::L2Norm:
      return {std::sqrt(sum), std::sqrt(sum)};
    case PoolKind::Average:
      break;
  }
  const double divisor = averageDivisor(p, s, win);
  return divisor == 0 ? Value{0, 0} : Value{sum / divisor, terms / divisor};
}

}  // namespace

Result poolForward(const Pool& pool, const Tensor& source, const Tensor& destination) {
  Result out = Result::over(destination);
  const Region r = effectiveRegion(pool.at.clip, destination, pool.at.offset.z, source.n);
  const size_t channels = usedChannels(source, pool.at.sourceChannelOffset, pool.at.sourceChannelMaxCount);
  for (long i = 0; i < r.d; ++i)
    for (long y = 0; y < r.h; ++y)
      for (long x = 0; x < r.w; ++x) {
        const Window win{pool.at.offset.x + x * pool.strideX - pool.extentX() / 2,
                         pool.at.offset.y + y * pool.strideY - pool.extentY() / 2};
        for (size_t c = 0; c < channels; ++c) {
          const Value v =
              poolWindow(pool, source, static_cast<size_t>(pool.at.offset.z + i), win, pool.at.sourceChannelOffset + c);
          const size_t at = destination.index(static_cast<size_t>(r.z + i), static_cast<size_t>(r.y + y),
                                              static_cast<size_t>(r.x + x), pool.at.destinationChannelOffset + c);
          out.value.v[at] = v.value;
          out.magnitude.v[at] = v.magnitude;
        }
      }
  return out;
}

Result poolGradient(const Pool& pool, const PoolGradient& how, const Tensor& gradient, const Tensor& source,
                    const Tensor& destination) {
  const size_t channels = usedChannels(source, pool.at.sourceChannelOffset, pool.at.sourceChannelMaxCount);
  // first the derivative for every source pixel, then its part that the destination asks for
  Tensor d(source.n, source.h, source.w, channels), terms = d;
  auto add = [&](size_t n, long y, long x, size_t c, double v) {
    d.at(n, static_cast<size_t>(y), static_cast<size_t>(x), c) += v;
    terms.at(n, static_cast<size_t>(y), static_cast<size_t>(x), c) += std::fabs(v);
  };
  const long w = static_cast<long>(source.w), h = static_cast<long>(source.h);
  auto end = [](long first, long count, size_t extent) {
    const long e = static_cast<long>(extent);
    return count >= e - first ? e : first + count;
  };
  const long endX = end(how.primaryOffsetX, how.sourceSizeX, gradient.w);
  const long endY = end(how.primaryOffsetY, how.sourceSizeY, gradient.h);
  for (size_t n = 0; n < gradient.n; ++n)
    for (long v = std::max(0L, how.primaryOffsetY); v < endY; ++v)
      for (long u = std::max(0L, how.primaryOffsetX); u < endX; ++u) {
        const Window win{pool.at.offset.x + (u - how.primaryOffsetX) * pool.strideX - pool.extentX() / 2,
                         pool.at.offset.y + (v - how.primaryOffsetY) * pool.strideY - pool.extentY() / 2};
        for (size_t c = 0; c < channels; ++c) {
          const size_t sc = pool.at.sourceChannelOffset + c;
          const double g =
              gradient.at(n, static_cast<size_t>(v), static_cast<size_t>(u), how.gradientChannelOffset + c);
          const double value = pool.kind == PoolKind::L2Norm ? poolWindow(pool, source, n, win, sc).value : 0;
          const double divisor = pool.kind == PoolKind::Average ? averageDivisor(pool, source, win) : 1;
          double best = std::nan("");
          long bestX = -1, bestY = -1;
          bool sawZero = false;
          for (long q = 0; q < pool.kernelHeight; ++q)
            for (long k = 0; k < pool.kernelWidth; ++k) {
              long x = win.left + k * pool.dilationX, y = win.top + q * pool.dilationY;
              const bool in = inside(source, y, x);
              if (pool.kind == PoolKind::Average) {
                if (in) add(n, y, x, c, g / divisor);
                continue;
              }
              if (!in && pool.at.edge == EdgeMode::Zero) {
                sawZero = true;
                continue;
              }
              x = std::clamp(x, 0L, w - 1);
              y = std::clamp(y, 0L, h - 1);
              const double s = source.at(n, static_cast<size_t>(y), static_cast<size_t>(x), sc);
              if (pool.kind == PoolKind::L2Norm) {
                if (value != 0) add(n, y, x, c, g * s / value);
              } else if ((std::isnan(best) && !std::isnan(s)) || s > best) {
                best = s;
                bestX = x;
                bestY = y;
              }
            }
          const bool outsideWins = sawZero && !(best >= 0);
          if (pool.kind == PoolKind::Max && bestX >= 0 && !outsideWins) add(n, bestY, bestX, c, g);
        }
      }
  Result out = Result::over(destination);
  const Region r = effectiveRegion(how.clip, destination, 0, gradient.n);
  const long p0x = how.manual ? std::max(0L, pool.at.offset.x - pool.extentX() / 2) : 0;
  const long p0y = how.manual ? std::max(0L, pool.at.offset.y - pool.extentY() / 2) : 0;
  for (long i = 0; i < r.d; ++i)
    for (long y = 0; y < r.h; ++y)
      for (long x = 0; x < r.w; ++x)
        for (size_t c = 0; c < channels; ++c) {
          const size_t at = destination.index(static_cast<size_t>(r.z + i), static_cast<size_t>(r.y + y),
                                              static_cast<size_t>(r.x + x), how.destinationChannelOffset + c);
          const bool in = inside(source, p0y + y, p0x + x);
          const size_t from =
              in ? d.index(static_cast<size_t>(i), static_cast<size_t>(p0y + y), static_cast<size_t>(p0x + x), c) : 0;
          out.value.v[at] = in ? d.v[from] : 0.0;
          out.magnitude.v[at] = in ? terms.v[from] : 0.0;
        }
  return out;
}

}  // namespace kovar::oracle
