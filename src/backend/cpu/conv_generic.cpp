// Straightforward loops for anything valid: the last candidate, and the one that the others are compared with.

#include <algorithm>
#include <vector>

#include "backend/cpu/conv.hpp"
#include "backend/cpu/post_ops.hpp"
#include "backend/cpu/via_f32.hpp"

namespace kovar::cpu {
namespace {

using base::Status;
using prim::Invocation;

/// One destination row: dst[n, y, :, :].
void forwardRow(const ConvShape& s, const PostOps& post, const Invocation& inv, std::int64_t n, std::int64_t y) {
  const auto* src = at<const float>(inv, s.srcArg, s.src) + n * s.src.stride(0);
  const auto* weights = at<const float>(inv, s.weightsArg, s.weights);
  const auto* bias = s.desc.bias ? at<const float>(inv, s.biasArg, s.bias) : nullptr;
  auto* dst = at<float>(inv, s.dstArg, s.dst) + n * s.dst.stride(0) + y * s.dst.stride(1);
  std::vector<float> sum(static_cast<std::size_t>(s.co));
  for (std::int64_t x = 0; x < s.wd; ++x) {
    for (std::int64_t o = 0; o < s.co; ++o) sum[static_cast<std::size_t>(o)] = bias ? bias[o * s.bias.stride(0)] : 0.f;
    for (std::int64_t p = 0; p < s.kh; ++p) {
      const std::int64_t sy = y * s.desc.y.stride - s.desc.y.pad + p * s.desc.y.dilation;
      if (sy < 0 || sy >= s.hs) continue;
      for (std::int64_t q = 0; q < s.kw; ++q) {
        const std::int64_t sx = x * s.desc.x.stride - s.desc.x.pad + q * s.desc.x.dilation;
        if (sx < 0 || sx >= s.ws) continue;
        const float* pixel = src + sy * s.src.stride(1) + sx * s.src.stride(2);
        const float* tap = weights + p * s.weights.stride(1) + q * s.weights.stride(2);
        for (std::int64_t o = 0; o < s.co; ++o) {
          const float* w = tap + o * s.weights.stride(0);
          const float* v = pixel + o / s.cog * s.cig * s.src.stride(3);
          float part = 0.f;
          for (std::int64_t i = 0; i < s.cig; ++i) part += v[i * s.src.stride(3)] * w[i * s.weights.stride(3)];
          sum[static_cast<std::size_t>(o)] += part;
        }
      }
    }
    const std::int64_t index[3] = {n, y, x};
    if (!post.empty()) post.apply(inv, index, 0, s.co, sum.data(), sum.data());
    float* out = dst + x * s.dst.stride(2);
    for (std::int64_t o = 0; o < s.co; ++o) out[o * s.dst.stride(3)] = sum[static_cast<std::size_t>(o)];
  }
}

/// One row of the data gradient, gathered: diffSrc[n, y, :, :].
void dataRow(const ConvShape& s, const PostOps& post, const Invocation& inv, std::int64_t n, std::int64_t y) {
  const auto* dst = at<const float>(inv, s.dstArg, s.dst) + n * s.dst.stride(0);
  const auto* weights = at<const float>(inv, s.weightsArg, s.weights);
  auto* src = at<float>(inv, s.srcArg, s.src) + n * s.src.stride(0) + y * s.src.stride(1);
  std::vector<float> sum(static_cast<std::size_t>(s.ci));
  for (std::int64_t x = 0; x < s.ws; ++x) {
    std::fill(sum.begin(), sum.end(), 0.f);
    for (std::int64_t p = 0; p < s.kh; ++p) {
      const std::int64_t fromY = y + s.desc.y.pad - p * s.desc.y.dilation;
      if (fromY < 0 || fromY % s.desc.y.stride != 0 || fromY / s.desc.y.stride >= s.hd) continue;
      for (std::int64_t q = 0; q < s.kw; ++q) {
        const std::int64_t fromX = x + s.desc.x.pad - q * s.desc.x.dilation;
        if (fromX < 0 || fromX % s.desc.x.stride != 0 || fromX / s.desc.x.stride >= s.wd) continue;
        const float* pixel = dst + fromY / s.desc.y.stride * s.dst.stride(1) + fromX / s.desc.x.stride * s.dst.stride(2);
        const float* tap = weights + p * s.weights.stride(1) + q * s.weights.stride(2);
        for (std::int64_t o = 0; o < s.co; ++o) {
          const float g = pixel[o * s.dst.stride(3)];
          const float* w = tap + o * s.weights.stride(0);
          float* to = sum.data() + o / s.cog * s.cig;
          for (std::int64_t i = 0; i < s.cig; ++i) to[i] += g * w[i * s.weights.stride(3)];
        }
      }
    }
    const std::int64_t index[3] = {n, y, x};
    if (!post.empty()) post.apply(inv, index, 0, s.ci, sum.data(), sum.data());
    float* out = src + x * s.src.stride(2);
    for (std::int64_t i = 0; i < s.ci; ++i) out[i * s.src.stride(3)] = sum[static_cast<std::size_t>(i)];
  }
}

/// The weight gradient of one output channel.
void weightsOf(const ConvShape& s, const Invocation& inv, std::int64_t o) {
  const auto* src = at<const float>(inv, s.srcArg, s.src) + o / s.cog * s.cig * s.src.stride(3);
  const auto* dst = at<const float>(inv, s.dstArg, s.dst) + o * s.dst.stride(3);
  auto* weights = at<float>(inv, s.weightsArg, s.weights) + o * s.weights.stride(0);
  std::vector<float> sum(static_cast<std::size_t>(s.cig)), row(static_cast<std::size_t>(s.cig));
  for (std::int64_t p = 0; p < s.kh; ++p) {
    const TapRange rows = tapRange(s.desc.y, p, s.hs, s.hd);
    for (std::int64_t q = 0; q < s.kw; ++q) {
      const TapRange columns = tapRange(s.desc.x, q, s.ws, s.wd);
      std::fill(sum.begin(), sum.end(), 0.f);
      for (std::int64_t n = 0; n < s.n; ++n) {
        for (std::int64_t y = rows.first; y < rows.last; ++y) {
          // Rows are summed apart, so that long sums lose less.
          std::fill(row.begin(), row.end(), 0.f);
          const std::int64_t sy = y * s.desc.y.stride - s.desc.y.pad + p * s.desc.y.dilation;
          const float* g = dst + n * s.dst.stride(0) + y * s.dst.stride(1);
          const float* v = src + n * s.src.stride(0) + sy * s.src.stride(1);
          for (std::int64_t x = columns.first; x < columns.last; ++x) {
            const std::int64_t sx = x * s.desc.x.stride - s.desc.x.pad + q * s.desc.x.dilation;
            const float scale = g[x * s.dst.stride(2)];
            for (std::int64_t i = 0; i < s.cig; ++i)
              row[static_cast<std::size_t>(i)] += scale * v[sx * s.src.stride(2) + i * s.src.stride(3)];
          }
          for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += row[i];
        }
      }
      float* out = weights + p * s.weights.stride(1) + q * s.weights.stride(2);
      for (std::int64_t i = 0; i < s.cig; ++i) {
        float& w = out[i * s.weights.stride(3)];
        w = (s.desc.accumulate ? w : 0.f) + sum[static_cast<std::size_t>(i)];
      }
    }
  }
}

Status prepareF32(const prim::Conv& desc, std::span<const prim::View> views, const prim::PrepareOptions&, CpuPlan& plan) {
  const ConvShape s = describe(desc, views);
  switch (desc.direction) {
    case prim::Direction::Forward:
    case prim::Direction::Data: {
      const bool forward = desc.direction == prim::Direction::Forward;
      const PostOps post(desc.post, forward ? s.dst : s.src, views, s.ownArgs);
      const std::int64_t rows = forward ? s.hd : s.hs;
      plan.body = [s, post, forward, rows](Context& context, const Invocation& inv) -> Status {
        context.pool.run(static_cast<std::size_t>(s.n * rows), [&](std::size_t chunk) {
          const auto row = static_cast<std::int64_t>(chunk);
          if (forward) forwardRow(s, post, inv, row / rows, row % rows);
          else dataRow(s, post, inv, row / rows, row % rows);
        });
        return {};
      };
      break;
    }
    case prim::Direction::Weights:
      plan.body = [s](Context& context, const Invocation& inv) -> Status {
        context.pool.run(static_cast<std::size_t>(s.co),
                         [&](std::size_t chunk) { weightsOf(s, inv, static_cast<std::int64_t>(chunk)); });
        if (s.desc.bias) biasGradient(context, s, at<const float>(inv, s.dstArg, s.dst), at<float>(inv, s.biasArg, s.bias));
        return {};
      };
      break;
  }
  return {};
}

}  // namespace

Status prepareConvGeneric(const prim::Conv& desc, std::span<const prim::View> views, const prim::PrepareOptions& options,
                          CpuPlan& plan) {
  return viaF32(desc, views, options, plan, convAccess(desc), prepareF32);
}

}  // namespace kovar::cpu
