#include "oracle/tensor.hpp"

#include <algorithm>
#include <stdexcept>

namespace kovar::oracle {

std::string Tensor::shape() const {
  return std::to_string(n) + "x" + std::to_string(h) + "x" + std::to_string(w) + "x" + std::to_string(c);
}

namespace {

void clipAxis(long origin, long extent, size_t limit, long& from, long& count) {
  const long end = static_cast<long>(limit);
  from = std::min(origin, end);
  // extent may be "unbounded": compare by what is left, never by the sum
  count = std::min(extent, end - from);
}

long mod(long a, long m) { return ((a % m) + m) % m; }

}  // namespace

Region effectiveRegion(const ClipRect& clip, const Tensor& destination, long sourceFirst, size_t sourceImages) {
  if (clip.x < 0 || clip.y < 0 || clip.z < 0) throw std::invalid_argument("oracle: a clip origin is never negative");
  if (sourceFirst < 0) throw std::invalid_argument("oracle: offset.z is never negative");
  Region r;
  clipAxis(clip.x, clip.width, destination.w, r.x, r.w);
  clipAxis(clip.y, clip.height, destination.h, r.y, r.h);
  r.z = clip.z;
  const long left = static_cast<long>(destination.n) - clip.z;
  const long available = static_cast<long>(sourceImages) - sourceFirst;
  r.d = clip.depth == kNoClip ? std::max(0L, std::min(left, available)) : clip.depth;
  if (r.d > left || r.d > available)
    throw std::invalid_argument("oracle: clip depth does not fit source or destination");
  return r;
}

double readEdge(const Tensor& s, EdgeMode mode, size_t n, long y, long x, size_t c, double constant) {
  const long w = static_cast<long>(s.w), h = static_cast<long>(s.h);
  if (x < 0 || x >= w || y < 0 || y >= h) {
    auto mirror = [](long p, long extent) {
      if (extent == 1) return 0L;
      const long period = 2 * (extent - 1), q = mod(p, period);
      return q < extent ? q : period - q;
    };
    auto mirrorWithEdge = [](long p, long extent) {
      const long q = mod(p, 2 * extent);
      return q < extent ? q : 2 * extent - 1 - q;
    };
    switch (mode) {
      case EdgeMode::Zero:
        return 0.0;
      case EdgeMode::Constant:
        return constant;
      case EdgeMode::Clamp:
        x = std::clamp(x, 0L, w - 1);
        y = std::clamp(y, 0L, h - 1);
        break;
      case EdgeMode::Mirror:
        x = mirror(x, w);
        y = mirror(y, h);
        break;
      case EdgeMode::MirrorWithEdge:
        x = mirrorWithEdge(x, w);
        y = mirrorWithEdge(y, h);
        break;
    }
  }
  return s.at(n, static_cast<size_t>(y), static_cast<size_t>(x), c);
}

size_t usedChannels(const Tensor& s, size_t channelOffset, size_t maxCount) {
  if (channelOffset >= s.c) throw std::invalid_argument("oracle: channel offset beyond the image");
  return std::min(maxCount, s.c - channelOffset);
}

Tensor slice(const Tensor& s, size_t y0, size_t x0, size_t height, size_t width, size_t c0, size_t channels) {
  Tensor out(s.n, height, width, channels);
  for (size_t n = 0; n < s.n; ++n)
    for (size_t y = 0; y < height; ++y)
      for (size_t x = 0; x < width; ++x)
        for (size_t c = 0; c < channels; ++c) out.at(n, y, x, c) = s.at(n, y0 + y, x0 + x, c0 + c);
  return out;
}

}  // namespace kovar::oracle
