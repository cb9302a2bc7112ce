#include "oracle/reshape.hpp"

#include <algorithm>
#include <stdexcept>

namespace kovar::oracle {

Tensor reshape(const Tensor& a, size_t height, size_t width, size_t channels) {
  if (a.h * a.w * a.c != height * width * channels) throw std::invalid_argument("oracle: reshape of other sizes");
  Tensor b(a.n, height, width, channels);
  for (size_t n = 0; n < a.n; ++n)
    for (size_t y = 0; y < a.h; ++y)
      for (size_t x = 0; x < a.w; ++x)
        for (size_t c = 0; c < a.c; ++c) {
          const size_t j = (y * a.w + x) * a.c + c;
          b.at(n, j / (width * channels), j / channels % width, j % channels) = a.at(n, y, x, c);
        }
  return b;
}

long padSource(long i, long extent, EdgeMode mode) {
  if (i >= 0 && i < extent) return i;
  switch (mode) {
    case EdgeMode::Zero:
    case EdgeMode::Constant:
      return -1;
    case EdgeMode::Clamp:
      return i < 0 ? 0 : extent - 1;
    case EdgeMode::Mirror:
    case EdgeMode::MirrorWithEdge:
      break;
  }
  // A walk from the border outwards that turns around at both ends; with the edge the end is stood on twice.
  const bool twice = mode == EdgeMode::MirrorWithEdge;
  long at = i < 0 ? 0 : extent - 1, step = i < 0 ? 1 : -1;
  if (extent == 1) return 0;
  if (!twice) at += step;
  for (long k = i < 0 ? -1 : extent; k != i; k += i < 0 ? -1 : 1) {
    if (at + step < 0 || at + step >= extent) {
      step = -step;
      if (twice) continue;
    }
    at += step;
  }
  return at;
}

Result padForward(const Pad& op, const Tensor& source, const Tensor& destination) {
  Result out = Result::over(destination);
  const Region r = effectiveRegion(op.at.clip, destination, op.at.offset.z, source.n);
  const auto used = static_cast<long>(usedChannels(source, op.at.sourceChannelOffset, op.at.sourceChannelMaxCount));
  for (long i = 0; i < r.d; ++i)
    for (long y = 0; y < r.h; ++y)
      for (long x = 0; x < r.w; ++x)
        for (long j = 0; j < op.before.c + used + op.after.c; ++j) {
          const long sy = padSource(op.at.offset.y + y, static_cast<long>(source.h), op.at.edge),
                     sx = padSource(op.at.offset.x + x, static_cast<long>(source.w), op.at.edge),
                     sc = padSource(j - op.before.c, used, op.at.edge);
          double v = op.at.edge == EdgeMode::Constant ? op.fill : 0;
          if (op.at.edge == EdgeMode::Constant && !op.fills.empty()) v = op.fills[static_cast<size_t>(j)];
          if (sy >= 0 && sx >= 0 && sc >= 0)
            v = source.at(static_cast<size_t>(op.at.offset.z + i), static_cast<size_t>(sy), static_cast<size_t>(sx),
                          op.at.sourceChannelOffset + static_cast<size_t>(sc));
          const size_t k =
              destination.index(static_cast<size_t>(r.z + i), static_cast<size_t>(r.y + y),
                                static_cast<size_t>(r.x + x), op.at.destinationChannelOffset + static_cast<size_t>(j));
          out.value.v[k] = v;
          out.magnitude.v[k] = std::max(std::abs(v), 1e-30);
        }
  return out;
}

Tensor padGradient(const Pad& op, const Tensor& source, const Tensor& gradient) {
  const size_t used = usedChannels(source, op.at.sourceChannelOffset, op.at.sourceChannelMaxCount);
  Tensor out(gradient.n, source.h, source.w, used);
  for (size_t n = 0; n < gradient.n; ++n)
    for (size_t y = 0; y < gradient.h; ++y)
      for (size_t x = 0; x < gradient.w; ++x)
        for (size_t j = 0; j < gradient.c; ++j) {
          const long sy = padSource(op.at.offset.y + static_cast<long>(y), static_cast<long>(source.h), op.at.edge),
                     sx = padSource(op.at.offset.x + static_cast<long>(x), static_cast<long>(source.w), op.at.edge),
                     sc = padSource(static_cast<long>(j) - op.before.c, static_cast<long>(used), op.at.edge);
          if (sy >= 0 && sx >= 0 && sc >= 0)
            out.at(n, static_cast<size_t>(sy), static_cast<size_t>(sx), static_cast<size_t>(sc)) +=
                gradient.at(n, y, x, j);
        }
  return out;
}

Result sliceForward(const Attributes& at, const Tensor& source, const Tensor& destination) {
  Result out = Result::over(destination);
  const Region r = effectiveRegion(at.clip, destination, at.offset.z, source.n);
  const size_t used = std::min(usedChannels(source, at.sourceChannelOffset, at.sourceChannelMaxCount),
                               destination.c - at.destinationChannelOffset);
  for (long i = 0; i < r.d; ++i)
    for (long y = 0; y < r.h; ++y)
      for (long x = 0; x < r.w; ++x)
        for (size_t c = 0; c < used; ++c) {
          const size_t k = destination.index(static_cast<size_t>(r.z + i), static_cast<size_t>(r.y + y),
                                             static_cast<size_t>(r.x + x), at.destinationChannelOffset + c);
          out.value.v[k] = readEdge(source, at.edge, static_cast<size_t>(at.offset.z + i), at.offset.y + y,
                                    at.offset.x + x, at.sourceChannelOffset + c);
          out.magnitude.v[k] = std::max(std::abs(out.value.v[k]), 1e-30);
        }
  return out;
}

Tensor concatenate(const std::vector<Tensor>& sources) {
  size_t channels = 0;
  for (size_t i = 0; i < sources.size(); ++i)
    channels += i + 1 < sources.size() ? (sources[i].c + 3) / 4 * 4 : sources[i].c;
  const Tensor& first = sources.front();
  Tensor out(first.n, first.h, first.w, channels);
  size_t at = 0;
  for (const Tensor& s : sources) {
    for (size_t n = 0; n < s.n; ++n)
      for (size_t y = 0; y < s.h; ++y)
        for (size_t x = 0; x < s.w; ++x)
          for (size_t c = 0; c < s.c; ++c) out.at(n, y, x, at + c) = s.at(n, y, x, c);
    at += (s.c + 3) / 4 * 4;
  }
  return out;
}

}  // namespace kovar::oracle
