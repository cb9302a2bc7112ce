// Straightforward loops for anything valid: the last candidate, and the one that the others are compared with.

#include <algorithm>

#include "backend/cpu/conv.hpp"
#include "backend/cpu/failure_flag.hpp"
#include "backend/cpu/post_ops.hpp"
#include "backend/cpu/thread_scratch.hpp"
#include "backend/cpu/via_f32.hpp"

namespace kovar::cpu {
namespace {

using base::Status;
using prim::Invocation;

/// One destination row, with `sum` as room for its channels: dst[n, y, :, :].
void forwardRow(const ConvShape& s, const PostOps& post, const Invocation& inv, std::int64_t n, std::int64_t y,
                float* sum) {
  const auto* src = at<const float>(inv, s.srcArg, s.src) + n * s.src.stride(0);
  const auto* weights = at<const float>(inv, s.weightsArg, s.weights);
  const auto* bias = s.desc.bias ? at<const float>(inv, s.biasArg, s.bias) : nullptr;
  auto* dst = at<float>(inv, s.dstArg, s.dst) + n * s.dst.stride(0) + y * s.dst.stride(1);
  for (std::int64_t x = 0; x < s.wd; ++x) {
    for (std::int64_t o = 0; o < s.co; ++o) sum[o] = bias ? bias[o * s.bias.stride(0)] : 0.f;
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
          sum[o] += part;
        }
      }
    }
    const std::int64_t index[3] = {n, y, x};
    if (!post.empty()) post.apply(inv, index, 0, s.co, sum, sum);
    float* out = dst + x * s.dst.stride(2);
    for (std::int64_t o = 0; o < s.co; ++o) out[o * s.dst.stride(3)] = sum[o];
  }
}

/// One row of the data gradient, gathered, with `sum` as room for its channels: diffSrc[n, y, :, :].
void dataRow(const ConvShape& s, const PostOps& post, const Invocation& inv, std::int64_t n, std::int64_t y,
             float* sum) {
  const auto* dst = at<const float>(inv, s.dstArg, s.dst) + n * s.dst.stride(0);
  const auto* weights = at<const float>(inv, s.weightsArg, s.weights);
  auto* src = at<float>(inv, s.srcArg, s.src) + n * s.src.stride(0) + y * s.src.stride(1);
  for (std::int64_t x = 0; x < s.ws; ++x) {
    std::fill_n(sum, s.ci, 0.f);
    for (std::int64_t p = 0; p < s.kh; ++p) {
      const std::int64_t fromY = y + s.desc.y.pad - p * s.desc.y.dilation;
      if (fromY < 0 || fromY % s.desc.y.stride != 0 || fromY / s.desc.y.stride >= s.hd) continue;
      for (std::int64_t q = 0; q < s.kw; ++q) {
        const std::int64_t fromX = x + s.desc.x.pad - q * s.desc.x.dilation;
        if (fromX < 0 || fromX % s.desc.x.stride != 0 || fromX / s.desc.x.stride >= s.wd) continue;
        const float* pixel =
            dst + fromY / s.desc.y.stride * s.dst.stride(1) + fromX / s.desc.x.stride * s.dst.stride(2);
        const float* tap = weights + p * s.weights.stride(1) + q * s.weights.stride(2);
        for (std::int64_t o = 0; o < s.co; ++o) {
          const float g = pixel[o * s.dst.stride(3)];
          const float* w = tap + o * s.weights.stride(0);
          float* to = sum + o / s.cog * s.cig;
          for (std::int64_t i = 0; i < s.cig; ++i) to[i] += g * w[i * s.weights.stride(3)];
        }
      }
    }
    const std::int64_t index[3] = {n, y, x};
    if (!post.empty()) post.apply(inv, index, 0, s.ci, sum, sum);
    float* out = src + x * s.src.stride(2);
    for (std::int64_t i = 0; i < s.ci; ++i) out[i * s.src.stride(3)] = sum[i];
  }
}

/// The weight gradient of one output channel, with room for two rows of input channels.
void weightsOf(const ConvShape& s, const Invocation& inv, std::int64_t o, float* sum) {
  const auto* src = at<const float>(inv, s.srcArg, s.src) + o / s.cog * s.cig * s.src.stride(3);
  const auto* dst = at<const float>(inv, s.dstArg, s.dst) + o * s.dst.stride(3);
  auto* weights = at<float>(inv, s.weightsArg, s.weights) + o * s.weights.stride(0);
  float* row = sum + s.cig;
  for (std::int64_t p = 0; p < s.kh; ++p) {
    const TapRange rows = tapRange(s.desc.y, p, s.hs, s.hd);
    for (std::int64_t q = 0; q < s.kw; ++q) {
      const TapRange columns = tapRange(s.desc.x, q, s.ws, s.wd);
      std::fill_n(sum, s.cig, 0.f);
      for (std::int64_t n = 0; n < s.n; ++n) {
        for (std::int64_t y = rows.first; y < rows.last; ++y) {
          // Rows are summed apart, so that long sums lose less.
          std::fill_n(row, s.cig, 0.f);
          const std::int64_t sy = y * s.desc.y.stride - s.desc.y.pad + p * s.desc.y.dilation;
          const float* g = dst + n * s.dst.stride(0) + y * s.dst.stride(1);
          const float* v = src + n * s.src.stride(0) + sy * s.src.stride(1);
          for (std::int64_t x = columns.first; x < columns.last; ++x) {
            const std::int64_t sx = x * s.desc.x.stride - s.desc.x.pad + q * s.desc.x.dilation;
            const float scale = g[x * s.dst.stride(2)];
            for (std::int64_t i = 0; i < s.cig; ++i) row[i] += scale * v[sx * s.src.stride(2) + i * s.src.stride(3)];
          }
          for (std::int64_t i = 0; i < s.cig; ++i) sum[i] += row[i];
        }
      }
      float* out = weights + p * s.weights.stride(1) + q * s.weights.stride(2);
      for (std::int64_t i = 0; i < s.cig; ++i) {
        float& w = out[i * s.weights.stride(3)];
        w = (s.desc.accumulate ? w : 0.f) + sum[i];
      }
    }
  }
}

Status prepareF32(const prim::Conv& desc, std::span<const prim::View> views, const prim::PrepareOptions&,
                  CpuPlan& plan) {
  const ConvShape s = describe(desc, views);
  const bool forward = desc.direction == prim::Direction::Forward;
  if (desc.direction == prim::Direction::Weights) {
    plan.body = [s](Context& context, const Invocation& inv) -> Status {
      FailureFlag failure;
      context.pool.run(static_cast<std::size_t>(s.co), [&](std::size_t chunk) {
        float* room = threadFloats(static_cast<std::size_t>(2 * s.cig));
        if (room == nullptr) return failure.raise(FailureFlag::kMemory);
        weightsOf(s, inv, static_cast<std::int64_t>(chunk), room);
      });
      if (s.desc.bias)
        biasGradient(context, s, at<const float>(inv, s.dstArg, s.dst), at<float>(inv, s.biasArg, s.bias));
      return failure.status("cpu:conv:generic");
    };
    return {};
  }
  const PostOps post(desc.post, forward ? s.dst : s.src, views, s.ownArgs);
  const std::int64_t rows = forward ? s.hd : s.hs;
  plan.body = [s, post, forward, rows](Context& context, const Invocation& inv) -> Status {
    FailureFlag failure;
    context.pool.run(static_cast<std::size_t>(s.n * rows), [&](std::size_t chunk) {
      const auto row = static_cast<std::int64_t>(chunk);
      float* room = threadFloats(static_cast<std::size_t>(forward ? s.co : s.ci));
      if (room == nullptr) return failure.raise(FailureFlag::kMemory);
      if (forward)
        forwardRow(s, post, inv, row / rows, row % rows, room);
      else
        dataRow(s, post, inv, row / rows, row % rows, room);
    });
    return failure.status("cpu:conv:generic");
  };
  return {};
}

}  // namespace

Status prepareConvGeneric(const prim::Conv& desc, std::span<const prim::View> views,
                          const prim::PrepareOptions& options, CpuPlan& plan) {
  return viaF32(desc, views, options, plan, convAccess(desc), prepareF32);
}

}  // namespace kovar::cpu
