#include "oracle/normalization.hpp"

#include <algorithm>
#include <cmath>

namespace kovar::oracle {
namespace {

/// One value of a window: where it is read and what it is.
struct Tap {
  long y, x;
  size_t c;
  double value;
  bool centre;
};

/// What a window amounts to.
struct Window {
  std::vector<Tap> taps;
  double own = 0, count = 1, mean = 0, squares = 0, base = 0, power = 0, magnitude = 0;
};

Window windowAt(const LocalNorm& op, const Tensor& s, size_t n, long y, long x, size_t c, size_t channels) {
  Window w;
  const size_t first = op.at.sourceChannelOffset;
  if (op.kind == LocalNormKind::CrossChannel) {
    w.count = static_cast<double>(op.kernelSize);
    const long low = static_cast<long>(c) - op.kernelSize / 2, high = static_cast<long>(c) + (op.kernelSize - 1) / 2;
    for (long q = std::max(0L, low); q <= std::min(static_cast<long>(channels) - 1, high); ++q) {
      const auto k = static_cast<size_t>(q);
      w.taps.push_back({y, x, k, readEdge(s, op.at.edge, n, y, x, first + k), k == c});
    }
  } else {
    w.count = static_cast<double>(op.kernelWidth * op.kernelHeight);
    for (long q = 0; q < op.kernelHeight; ++q)
      for (long p = 0; p < op.kernelWidth; ++p) {
        const long ty = y - op.kernelHeight / 2 + q, tx = x - op.kernelWidth / 2 + p;
        w.taps.push_back({ty, tx, c, readEdge(s, op.at.edge, n, ty, tx, first + c), ty == y && tx == x});
      }
  }
  double energy = 0;
  for (const Tap& t : w.taps) {
    w.mean += t.value / w.count;
    energy += t.value * t.value;
    if (t.centre) w.own = t.value;
  }
  if (op.kind == LocalNormKind::Contrast)
    for (const Tap& t : w.taps) w.squares += (t.value - w.mean) * (t.value - w.mean);
  else
    w.squares = energy;
  w.base = op.delta + op.alpha / w.count * w.squares;
  w.power = std::pow(w.base, -op.beta);
  // Rounding of the base comes out beta times as large; centred values lose against the mean.
  const double centring = op.kind == LocalNormKind::Contrast ? op.alpha / w.count * energy / w.base : 0;
  w.magnitude = w.power * (1 + std::fabs(op.beta) * (1 + centring));
  return w;
}

}  // namespace

Result localNormForward(const LocalNorm& op, const Tensor& source, const Tensor& destination) {
  Result out = Result::over(destination);
  const Region r = effectiveRegion(op.at.clip, destination, op.at.offset.z, source.n);
  const size_t channels = usedChannels(source, op.at.sourceChannelOffset, op.at.sourceChannelMaxCount);
  for (long i = 0; i < r.d; ++i)
    for (long y = 0; y < r.h; ++y)
      for (long x = 0; x < r.w; ++x)
        for (size_t c = 0; c < channels; ++c) {
          const Window w = windowAt(op, source, static_cast<size_t>(op.at.offset.z + i), op.at.offset.y + y,
                                    op.at.offset.x + x, c, channels);
          const size_t k = destination.index(static_cast<size_t>(r.z + i), static_cast<size_t>(r.y + y),
                                             static_cast<size_t>(r.x + x), op.at.destinationChannelOffset + c);
          double sizes = 0;
          for (const Tap& t : w.taps) sizes += std::fabs(t.value) / w.count;
          if (op.kind == LocalNormKind::Contrast) {
            out.value.v[k] = op.pm + op.ps * (w.own - op.p0 * w.mean) * w.power;
            out.magnitude.v[k] =
                std::fabs(op.pm) + std::fabs(op.ps) * (std::fabs(w.own) + std::fabs(op.p0) * sizes) * w.magnitude;
          } else {
            out.value.v[k] = w.own * w.power;
            out.magnitude.v[k] = std::fabs(w.own) * w.magnitude;
          }
        }
  return out;
}

Result localNormGradient(const LocalNorm& op, const Tensor& source, const Tensor& gradient) {
  const size_t channels = usedChannels(source, op.at.sourceChannelOffset, op.at.sourceChannelMaxCount);
  const Tensor zeros(source.n, source.h, source.w, channels);
  Result out = Result::over(zeros);
  const Region r = effectiveRegion(op.at.clip, gradient, op.at.offset.z, source.n);
  for (long i = 0; i < r.d; ++i)
    for (long y = 0; y < r.h; ++y)
      for (long x = 0; x < r.w; ++x)
        for (size_t c = 0; c < channels; ++c) {
          const auto image = static_cast<size_t>(op.at.offset.z + i);
          const Window w = windowAt(op, source, image, op.at.offset.y + y, op.at.offset.x + x, c, channels);
          const double g = gradient.at(static_cast<size_t>(r.z + i), static_cast<size_t>(r.y + y),
                                       static_cast<size_t>(r.x + x), op.at.destinationChannelOffset + c);
          for (const Tap& t : w.taps) {
            const bool inside =
                t.y >= 0 && t.x >= 0 && t.y < static_cast<long>(source.h) && t.x < static_cast<long>(source.w);
            if (!inside && op.at.edge == EdgeMode::Zero) continue;
            const size_t k =
                out.value.index(image, static_cast<size_t>(std::clamp(t.y, 0L, static_cast<long>(source.h) - 1)),
                                static_cast<size_t>(std::clamp(t.x, 0L, static_cast<long>(source.w) - 1)), t.c);
            const double slope = op.beta * w.power / w.base * 2 * op.alpha / w.count;
            double d = 0, m = 0;
            if (t.centre) d += w.power, m += w.magnitude;
            if (op.kind == LocalNormKind::Contrast) {
              d = op.ps * (d - op.p0 / w.count * w.power - (w.own - op.p0 * w.mean) * slope * (t.value - w.mean));
              m = std::fabs(op.ps) * (m + std::fabs(op.p0) / w.count * w.magnitude +
                                      (std::fabs(w.own) + std::fabs(op.p0 * w.mean)) * std::fabs(slope) * w.magnitude /
                                          w.power * (std::fabs(t.value) + std::fabs(w.mean)));
            } else {
              d -= w.own * slope * t.value;
              m += std::fabs(w.own * slope * t.value) * w.magnitude / w.power;
            }
            out.value.v[k] += g * d;
            out.magnitude.v[k] += std::fabs(g) * m;
          }
        }
  return out;
}

Moments momentsOf(const Tensor& source, bool perImage, size_t groups) {
  Moments m;
  m.regions = perImage ? source.n : 1;
  m.groups = groups;
  m.mean.assign(m.regions * groups, 0.0);
  m.variance = m.mean;
  m.count = static_cast<double>(source.size()) / static_cast<double>(m.regions * groups);
  const auto each = [&](auto&& fn) {
    for (size_t i = 0; i < source.size(); ++i) {
      const size_t c = i % source.c, image = i / (source.c * source.w * source.h);
      fn(m.index(image, c, source.c), source.v[i]);
    }
  };
  each([&](size_t k, double v) { m.mean[k] += v / m.count; });
  each([&](size_t k, double v) { m.variance[k] += (v - m.mean[k]) * (v - m.mean[k]) / m.count; });
  return m;
}

Result normalize(const Affine& a, const Moments& moments, const Tensor& source) {
  Result out = Result::over(source);
  for (size_t i = 0; i < source.size(); ++i) {
    const size_t c = i % source.c, image = i / (source.c * source.w * source.h);
    const double r = 1 / std::sqrt(moments.varianceOf(image, c, source.c) + a.epsilon);
    const double mean = moments.meanOf(image, c, source.c);
    out.value.v[i] = (source.v[i] - mean) * a.gamma[c] * r + a.beta[c];
    out.magnitude.v[i] = (std::fabs(source.v[i]) + std::fabs(mean)) * std::fabs(a.gamma[c]) * r + std::fabs(a.beta[c]);
  }
  return out;
}

Result normForward(const Affine& a, const Attributes& at, bool perImage, size_t groups, const Tensor& source,
                   const Tensor& destination, const Moments* given) {
  Result out = Result::over(destination);
  const size_t channels = a.gamma.size();
  const Tensor used = slice(source, 0, 0, source.h, source.w, at.sourceChannelOffset, channels);
  const Moments moments = given ? *given : momentsOf(used, perImage, groups);
  const Region r = effectiveRegion(at.clip, destination, at.offset.z, source.n);
  for (long i = 0; i < r.d; ++i)
    for (long y = 0; y < r.h; ++y)
      for (long x = 0; x < r.w; ++x)
        for (size_t c = 0; c < channels; ++c) {
          const auto image = static_cast<size_t>(at.offset.z + i);
          const double s = readEdge(used, at.edge, image, at.offset.y + y, at.offset.x + x, c);
          const double scale = a.gamma[c] / std::sqrt(moments.varianceOf(image, c, channels) + a.epsilon);
          const double mean = moments.meanOf(image, c, channels);
          const size_t k = destination.index(static_cast<size_t>(r.z + i), static_cast<size_t>(r.y + y),
                                             static_cast<size_t>(r.x + x), at.destinationChannelOffset + c);
          out.value.v[k] = (s - mean) * scale + a.beta[c];
          out.magnitude.v[k] = (std::fabs(s) + std::fabs(mean)) * std::fabs(scale) + std::fabs(a.beta[c]);
        }
  return out;
}

NormSums normSums(const Affine& a, const Moments& moments, const Tensor& gradient, const Tensor& source) {
  NormSums s;
  s.gamma.assign(moments.regions * source.c, 0.0);
  s.beta = s.gammaMagnitude = s.betaMagnitude = s.gamma;
  for (size_t i = 0; i < source.size(); ++i) {
    const size_t c = i % source.c, image = i / (source.c * source.w * source.h);
    const size_t k = (moments.regions == 1 ? 0 : image) * source.c + c;
    const double r = 1 / std::sqrt(moments.varianceOf(image, c, source.c) + a.epsilon);
    const double mean = moments.meanOf(image, c, source.c);
    s.beta[k] += gradient.v[i];
    s.gamma[k] += gradient.v[i] * (source.v[i] - mean) * r;
    s.betaMagnitude[k] += std::fabs(gradient.v[i]);
    s.gammaMagnitude[k] += std::fabs(gradient.v[i]) * (std::fabs(source.v[i]) + std::fabs(mean)) * r;
  }
  return s;
}

Result normGradient(const Affine& a, const Moments& moments, const NormSums& sums, const Tensor& gradient,
                    const Tensor& source, bool constant) {
  Result out = Result::over(source);
  const size_t perGroup = source.c / moments.groups;
  for (size_t i = 0; i < source.size(); ++i) {
    const size_t c = i % source.c, image = i / (source.c * source.w * source.h);
    const double r = 1 / std::sqrt(moments.varianceOf(image, c, source.c) + a.epsilon);
    const double mean = moments.meanOf(image, c, source.c), xh = (source.v[i] - mean) * r;
    const double reach = (std::fabs(source.v[i]) + std::fabs(mean)) * r;
    double value = gradient.v[i] * a.gamma[c], magnitude = std::fabs(value);
    if (!constant)
      for (size_t k = c / perGroup * perGroup; k < (c / perGroup + 1) * perGroup; ++k) {
        const size_t at = (moments.regions == 1 ? 0 : image) * source.c + k;
        value -= a.gamma[k] * (sums.beta[at] + xh * sums.gamma[at]) / moments.count;
        magnitude += std::fabs(a.gamma[k]) * (sums.betaMagnitude[at] + reach * sums.gammaMagnitude[at]) / moments.count;
      }
    out.value.v[i] = value * r;
    out.magnitude.v[i] = magnitude * r;
  }
  return out;
}

}  // namespace kovar::oracle
