// Normalization by neighbours: a thread for each element. The gradient goes in two steps: every window leaves what it
// passes on in scratch, then every element collects from the windows that hold it. Sums run in the processor's order.

#include "backend/cuda/kernels/lanes.cuh"
#include "backend/cuda/kernels/launch.cuh"
#include "maths/norm-inl.hpp"

namespace kovar::cuda {
namespace {

using prim::LocalNormKind;

/// A source value; 0 outside.
__device__ float tapOf(const LocalNormParams& p, std::int64_t n, std::int64_t y, std::int64_t x, std::int64_t c) {
  if (y < 0 || y >= p.height || x < 0 || x >= p.width || c < 0 || c >= p.channels) return 0.f;
  return loadElement(p.source.type, p.source.data + n * p.source.step[0] + y * p.source.step[1] +
                                        x * p.source.step[2] + c * p.source.step[3]);
}

/// T, the mean (contrast), and the value at the centre of one window.
struct Base {
  float t, mean, centre;
};

__device__ Base baseOf(const LocalNormParams& p, const Pixel<1>& w) {
  const prim::LocalNorm& d = p.desc;
  if (d.kind == LocalNormKind::CrossChannel) {
    float sum = 0.f;
    for (int k = 0; k < d.channels; ++k) {
      const float e = tapOf(p, w.n, w.y, w.x, w.c - d.channels / 2 + k);
      sum = k == 0 ? e * e : sum + e * e;
    }
    return {m::localNormBase(sum, d.alpha / static_cast<float>(d.channels), d.delta), 0.f,
            tapOf(p, w.n, w.y, w.x, w.c)};
  }
  const std::int64_t y = w.y - d.y.pad, x = w.x - d.x.pad;
  const float taps = static_cast<float>(d.y.kernel) * static_cast<float>(d.x.kernel);
  const bool contrast = d.kind == LocalNormKind::Contrast;
  float sum = 0.f;
  for (int k = 0; k < d.x.kernel; ++k) {
    float column = 0.f;
    for (int q = 0; q < d.y.kernel; ++q) {
      const float e = tapOf(p, w.n, y + q, x + k, w.c);
      column = contrast ? column + e : m::fma(e, e, column);
    }
    sum = k == 0 ? column : sum + column;
  }
  Base b{0.f, 0.f, tapOf(p, w.n, y + d.y.kernel / 2, x + d.x.kernel / 2, w.c)};
  if (contrast) {
    b.mean = sum * (1.f / taps);
    sum = 0.f;  // of the squares around the mean: nothing cancels
    for (int q = 0; q < d.y.kernel; ++q)
      for (int k = 0; k < d.x.kernel; ++k) {
        const float e = tapOf(p, w.n, y + q, x + k, w.c) - b.mean;
        sum = m::fma(e, e, sum);
      }
  }
  b.t = m::localNormBase(sum, d.alpha / taps, d.delta);
  return b;
}

__global__ void __launch_bounds__(kBlockThreads) localNormForward(const __grid_constant__ LocalNormParams p) {
  const std::int64_t count = p.images * p.windowsY * p.windowsX * p.channels;
  for (std::int64_t i = globalThread(); i < count; i += globalThreads()) {
    const Pixel<1> w(i, p.windowsY, p.windowsX, p.channels);
    const Base b = baseOf(p, w);
    const float power = m::inversePower(b.t, p.power);
    const prim::LocalNorm& d = p.desc;
    const float value = d.kind == LocalNormKind::Contrast ? m::contrast(b.centre, b.mean, power, d.p0, d.pm, d.ps)
                                                          : b.centre * power;
    storeElement(p.out.type, p.out.data + w.in(p.out), value);
  }
}

__global__ void __launch_bounds__(kBlockThreads) localNormShares(const __grid_constant__ LocalNormParams p) {
  const std::int64_t count = p.images * p.windowsY * p.windowsX * p.channels;
  const prim::LocalNorm& d = p.desc;
  const float taps = static_cast<float>(d.y.kernel) * static_cast<float>(d.x.kernel);
  for (std::int64_t i = globalThread(); i < count; i += globalThreads()) {
    const Pixel<1> w(i, p.windowsY, p.windowsX, p.channels);
    const Base b = baseOf(p, w);
    const float power = m::inversePower(b.t, p.power);
    const float g = loadElement(p.given.type, p.given.data + w.in(p.given));
    float s = b.centre;
    if (d.kind == LocalNormKind::Contrast) {
      s = s - d.p0 * b.mean;
      p.means[i] = b.mean;
      p.constants[i] = g * power * (d.p0 / taps);
    }
    const float share = m::localNormShare(g, s, b.t, power);
    p.shares[i] = d.kind == LocalNormKind::CrossChannel ? share : share * (2.f * d.alpha * d.beta / taps);
    p.direct[i] = g * power;
  }
}

/// The source's gradient across channels.
__device__ float acrossGradient(const LocalNormParams& p, std::int64_t i, const Pixel<1>& at, float s) {
  const prim::LocalNorm& d = p.desc;
  const std::int64_t first = at.c - (d.channels - 1) / 2;
  float sum = 0.f;
  for (int k = 0; k < d.channels; ++k) {
    const std::int64_t c = first + k;
    const float share = c < 0 || c >= p.channels ? 0.f : p.shares[i - at.c + c];
    sum = k == 0 ? share : sum + share;
  }
  return m::fma(s * (-2.f * d.alpha * d.beta / static_cast<float>(d.channels)), sum, p.direct[i]);
}

/// The source's gradient across pixels.
__device__ float aroundGradient(const LocalNormParams& p, const Pixel<1>& at, float s) {
  const prim::LocalNorm& d = p.desc;
  // Windows that hold the pixel: it is their last tap first.
  const std::int64_t y = at.y + d.y.pad - d.y.kernel + 1, x = at.x + d.x.pad - d.x.kernel + 1;
  const auto inside = [&](std::int64_t wy, std::int64_t wx) {
    return wy >= 0 && wy < p.windowsY && wx >= 0 && wx < p.windowsX;
  };
  const auto index = [&](std::int64_t wy, std::int64_t wx) {
    return ((at.n * p.windowsY + wy) * p.windowsX + wx) * p.channels + at.c;
  };
  const std::int64_t cy = at.y + d.y.pad - d.y.kernel / 2, cx = at.x + d.x.pad - d.x.kernel / 2;
  const float own = inside(cy, cx) ? p.direct[index(cy, cx)] : 0.f;
  float sum = 0.f;
  if (d.kind == LocalNormKind::Spatial) {
    for (int k = 0; k < d.x.kernel; ++k) {
      float column = 0.f;
      for (int q = 0; q < d.y.kernel; ++q) {
        const float share = inside(y + q, x + k) ? p.shares[index(y + q, x + k)] : 0.f;
        column = q == 0 ? share : column + share;
      }
      sum = k == 0 ? column : sum + column;
    }
    return m::fma(-s, sum, own);
  }
  for (int q = 0; q < d.y.kernel; ++q)
    for (int k = 0; k < d.x.kernel; ++k) {
      if (!inside(y + q, x + k)) continue;
      const std::int64_t w = index(y + q, x + k);
      sum = sum + m::fma(p.shares[w], s - p.means[w], p.constants[w]);
    }
  return d.ps * (own - sum);
}

__global__ void __launch_bounds__(kBlockThreads) localNormGradient(const __grid_constant__ LocalNormParams p) {
  const std::int64_t count = p.images * p.height * p.width * p.channels;
  for (std::int64_t i = globalThread(); i < count; i += globalThreads()) {
    const Pixel<1> at(i, p.height, p.width, p.channels);
    const float s = tapOf(p, at.n, at.y, at.x, at.c);
    const float value =
        p.desc.kind == LocalNormKind::CrossChannel ? acrossGradient(p, i, at, s) : aroundGradient(p, at, s);
    storeElement(p.out.type, p.out.data + at.in(p.out), value);
  }
}

}  // namespace

cudaError_t runLocalNorm(const LocalNormParams& p, cudaStream_t stream) {
  const dim3 windows(blocksFor(p.images * p.windowsY * p.windowsX * p.channels, kBlockThreads, 1 << 18));
  if (p.desc.direction == prim::Direction::Forward)
    return launch(localNormForward, windows, dim3(kBlockThreads), stream, p);
  if (const cudaError_t e = launch(localNormShares, windows, dim3(kBlockThreads), stream, p); e != cudaSuccess)
    return e;
  return launch(localNormGradient, dim3(blocksFor(p.images * p.height * p.width * p.channels, kBlockThreads, 1 << 18)),
                dim3(kBlockThreads), stream, p);
}

}  // namespace kovar::cuda
