// Depthwise convolution by our own vector code: forward, data and weights, whatever stride, dilation and padding. The
// positions of a row are grouped into runs that have the same taps, so borders and strides cost no tests inside.

#include <algorithm>

#include "backend/cpu/buffer_pool.hpp"
#include "backend/cpu/conv.hpp"
#include "backend/cpu/conv_depthwise_kernels.hpp"
#include "backend/cpu/failure_flag.hpp"
#include "backend/cpu/post_ops.hpp"
#include "backend/cpu/via_f32.hpp"
#include "prim/prim.hpp"

namespace kovar::cpu {
namespace depthwise {
namespace {

using base::Failure;
using base::Status;
using prim::Invocation;
using prim::View;

/// Multiply-adds of a chunk: some tens of microseconds.
constexpr double kChunkWork = 2e5;
/// Images of together more bytes are fetched from memory again and again.
constexpr std::int64_t kCached = 16 << 20;
/// Packed channels are rounded up to this: the longest vector.
constexpr std::int64_t kWhole = 16;
/// Chunks of a weight gradient at most; each has sums of its own.
constexpr std::int64_t kWeightChunks = 16;

std::int64_t divideUp(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

/// The taps of each result position of one axis, in the order of the source positions they read. Forward: from `extent`
/// source positions to `positions` results; else from `extent` gradients to `positions` source positions.
std::vector<std::vector<Tap>> tapsOf(const prim::Window& w, bool forward, std::int64_t extent, std::int64_t positions) {
  std::vector<std::vector<Tap>> taps(static_cast<std::size_t>(positions));
  for (std::int64_t t = 0; t < positions; ++t)
    for (std::int32_t k = 0; k < w.kernel; ++k) {
      const std::int32_t p = forward ? k : w.kernel - 1 - k;
      std::int64_t at =
          forward ? t * w.stride - w.pad + std::int64_t{p} * w.dilation : t + w.pad - std::int64_t{p} * w.dilation;
      if (at < 0 || (!forward && at % w.stride != 0)) continue;
      if (!forward) at /= w.stride;
      if (at < extent) taps[static_cast<std::size_t>(t)].push_back({p, static_cast<std::int32_t>(at)});
    }
  return taps;
}

/// Whether `b` has the taps of `a`, `moved` source positions on.
bool follows(const std::vector<Tap>& a, const std::vector<Tap>& b, std::int64_t moved) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [&](const Tap& x, const Tap& y) { return x.tap == y.tap && x.at + moved == y.at; });
}

std::vector<Run> runsOf(const prim::Window& w, bool forward, std::int64_t extent, std::int64_t positions) {
  const auto taps = tapsOf(w, forward, extent, positions);
  const std::int64_t step = forward ? 1 : w.stride, sourceStep = forward ? w.stride : 1;
  std::vector<Run> runs;
  for (std::int64_t residue = 0; residue < std::min(step, positions); ++residue)
    for (std::int64_t t = residue; t < positions;) {
      Run run{t, 1, step, sourceStep, taps[static_cast<std::size_t>(t)]};
      while ((t += step) < positions && follows(run.taps, taps[static_cast<std::size_t>(t)], run.count * sourceStep))
        ++run.count;
      runs.push_back(std::move(run));
    }
  return runs;
}

Rows rowsOf(const Invocation& inv, std::size_t arg, const View& v, std::int64_t image) {
  return {at<float>(inv, arg, v) + image * v.stride(0), v.stride(1), v.stride(2)};
}

Status takes(const ConvShape& s) {
  if (s.groups != s.ci || s.ci != s.co) return Failure{"not one filter for each channel"};
  if (s.src.stride(3) != 1 || s.dst.stride(3) != 1) return Failure{"channels do not lie beside each other"};
  if (s.desc.bias && s.bias.stride(0) != 1) return Failure{"the bias is not dense"};
  for (const View* v : {&s.src, &s.dst})
    for (int a = 0; a < 4; ++a)
      if (v->dim(a) > INT32_MAX / 2) return Failure{"an extent does not fit 32 bits"};
  return {};
}

bool beyondCache(const ConvShape& s) {
  return static_cast<std::int64_t>(sizeof(float)) * (s.src.elements() + s.dst.elements()) > kCached;
}

/// Rows [first, last) of one image.
struct Chunk {
  std::int64_t image = 0, first = 0, last = 0;
  PostOps post;
};

struct Plan {
  ConvShape shape;
  bool forward = true, fetchAhead = false;
  View source, result;
  std::size_t sourceArg = 0, resultArg = 0;
  std::int64_t tapFloats = 0;
  std::vector<std::vector<Tap>> rows;
  std::vector<Run> columns;
  std::vector<Chunk> chunks;
  std::uint64_t key = 0;
  std::shared_ptr<BufferPool> buffers;
};

/// Weights as [tap][channel], kept with the derived forms of their storage where it has them.
base::Result<std::shared_ptr<const std::byte>> packedWeights(const Plan& plan, const Invocation& inv) {
  const ConvShape& s = plan.shape;
  const prim::Bound& bound = inv.args[s.weightsArg];
  if (bound.derived != nullptr)
    if (auto form = bound.derived->find(plan.key)) return std::static_pointer_cast<const std::byte>(form);
  KOVAR_TRY_ASSIGN(const std::shared_ptr<std::byte> packed, plan.buffers->take());
  auto* to = reinterpret_cast<float*>(packed.get());
  const auto* from = at<const float>(inv, s.weightsArg, s.weights);
  for (std::int64_t p = 0; p < s.kh; ++p)
    for (std::int64_t q = 0; q < s.kw; ++q, to += plan.tapFloats) {
      const float* tap = from + p * s.weights.stride(1) + q * s.weights.stride(2);
      for (std::int64_t c = 0; c < s.co; ++c) to[c] = tap[c * s.weights.stride(0)];
      std::fill(to + s.co, to + plan.tapFloats, 0.f);
    }
  if (bound.derived != nullptr) bound.derived->put(plan.key, packed);
  return std::shared_ptr<const std::byte>(packed);
}

void runChunk(const Plan& plan, const Chunk& chunk, const Invocation& inv, const float* weights) {
  const ConvShape& s = plan.shape;
  ResultRow r;
  r.source = rowsOf(inv, plan.sourceArg, plan.source, chunk.image);
  r.weights = weights, r.width = s.kw, r.tapFloats = plan.tapFloats, r.channels = s.co;
  r.resultPixel = plan.result.stride(2);
  r.newRows = !plan.fetchAhead ? 0 : plan.forward ? std::min(s.desc.y.stride, 3) : 1;
  r.bias = s.desc.bias ? at<const float>(inv, s.biasArg, s.bias) : nullptr;
  float* result = at<float>(inv, plan.resultArg, plan.result) + chunk.image * plan.result.stride(0);
  for (std::int64_t y = chunk.first; y < chunk.last; ++y) {
    r.result = result + y * plan.result.stride(1);
    resultRow(r, plan.rows[static_cast<std::size_t>(y)], plan.columns);
  }
  if (!chunk.post.empty()) chunk.post.applyBlock(inv, reinterpret_cast<float*>(inv.args[plan.resultArg].data), 0, 1);
}

Status prepareResult(const prim::Conv& desc, std::span<const View> views, const prim::PrepareOptions&, CpuPlan& plan) {
  auto d = std::make_shared<Plan>();
  d->shape = describe(desc, views);
  const ConvShape& s = d->shape;
  KOVAR_TRY(takes(s));
  const bool forward = d->forward = desc.direction == prim::Direction::Forward;
  d->source = forward ? s.src : s.dst, d->result = forward ? s.dst : s.src;
  d->sourceArg = forward ? s.srcArg : s.dstArg, d->resultArg = forward ? s.dstArg : s.srcArg;
  d->tapFloats = divideUp(s.co, kWhole) * kWhole;
  d->rows = tapsOf(desc.y, forward, d->source.dim(1), d->result.dim(1));
  d->columns = runsOf(desc.x, forward, d->source.dim(2), d->result.dim(2));
  d->fetchAhead = beyondCache(s);
  const std::int64_t height = d->result.dim(1);
  const double rowWork = s.work() / static_cast<double>(s.n * height);
  const std::int64_t step = std::clamp<std::int64_t>(static_cast<std::int64_t>(kChunkWork / rowWork), 1, height);
  for (std::int64_t n = 0; n < s.n; ++n)
    for (std::int64_t y = 0; y < height; y += step) {
      const std::int64_t last = std::min(height, y + step);
      const auto cut = [&](const View& v) { return v.slice(0, n, 1).slice(1, y, last - y); };
      std::vector<View> args(views.begin(), views.end());
      for (std::size_t i = s.ownArgs; i < args.size(); ++i) args[i] = cut(args[i]);
      d->chunks.push_back({n, y, last, PostOps(desc.post, cut(d->result), args, s.ownArgs)});
    }
  const std::size_t bytes = static_cast<std::size_t>(s.taps() * d->tapFloats) * sizeof(float);
  d->buffers = std::make_shared<BufferPool>(bytes);
  const View& w = s.weights;
  for (const std::int64_t part :
       {std::int64_t{0xd3}, s.co, s.kh, s.kw, w.stride(0), w.stride(1), w.stride(2), w.offset})
    d->key = prim::combine(d->key, static_cast<std::uint64_t>(part));
  plan.cacheBytes += d->chunks.size() * sizeof(Chunk) + 2 * bytes;
  plan.body = [d](Context& context, const Invocation& inv) -> Status {
    KOVAR_TRY_ASSIGN(const std::shared_ptr<const std::byte> weights, packedWeights(*d, inv));
    context.pool.run(d->chunks.size(), [&](std::size_t i) {
      runChunk(*d, d->chunks[i], inv, reinterpret_cast<const float*>(weights.get()));
    });
    return {};
  };
  return {};
}

Status prepareWeights(const prim::Conv& desc, std::span<const View> views, const prim::PrepareOptions&, CpuPlan& plan) {
  const ConvShape s = describe(desc, views);
  KOVAR_TRY(takes(s));
  const std::int64_t tapFloats = divideUp(s.co, kWhole) * kWhole, sumFloats = s.taps() * tapFloats;
  const std::int64_t allRows = s.n * s.hd;
  const std::int64_t chunks =
      std::clamp<std::int64_t>(static_cast<std::int64_t>(s.work() / kChunkWork), 1, std::min(kWeightChunks, allRows));
  plan.scratchBytes = static_cast<std::size_t>(chunks * sumFloats) * sizeof(float);
  plan.body = [s, tapFloats, sumFloats, allRows, chunks, rows = tapsOf(desc.y, true, s.hs, s.hd),
               columns = runsOf(desc.x, true, s.ws, s.wd)](Context& context, const Invocation& inv) -> Status {
    auto* sums = reinterpret_cast<float*>(inv.scratch);
    context.pool.run(static_cast<std::size_t>(chunks), [&](std::size_t i) {
      const auto chunk = static_cast<std::int64_t>(i);
      WeightRow r;
      r.sums = sums + chunk * sumFloats;
      std::fill_n(r.sums, sumFloats, 0.f);
      r.width = s.kw, r.tapFloats = tapFloats, r.channels = s.co;
      r.gradientPixel = s.dst.stride(2);
      for (std::int64_t row = chunk * allRows / chunks; row < (chunk + 1) * allRows / chunks; ++row) {
        r.source = rowsOf(inv, s.srcArg, s.src, row / s.hd);
        r.gradient =
            at<const float>(inv, s.dstArg, s.dst) + row / s.hd * s.dst.stride(0) + row % s.hd * s.dst.stride(1);
        weightRow(r, rows[static_cast<std::size_t>(row % s.hd)], columns);
      }
    });
    auto* weights = at<float>(inv, s.weightsArg, s.weights);
    for (std::int64_t p = 0; p < s.kh; ++p)
      for (std::int64_t q = 0; q < s.kw; ++q)
        for (std::int64_t c = 0; c < s.co; ++c) {
          float sum = 0.f;
          for (std::int64_t k = 0; k < chunks; ++k) sum += sums[k * sumFloats + (p * s.kw + q) * tapFloats + c];
          float& w = weights[c * s.weights.stride(0) + p * s.weights.stride(1) + q * s.weights.stride(2)];
          w = (s.desc.accumulate ? w : 0.f) + sum;
        }
    if (s.desc.bias) biasGradient(context, s, at<const float>(inv, s.dstArg, s.dst), at<float>(inv, s.biasArg, s.bias));
    return {};
  };
  return {};
}

}  // namespace
}  // namespace depthwise

bool depthwiseIsFaster(const ConvShape& s) {
  const bool takesIt = depthwise::takes(s).ok();
  return takesIt && (s.desc.direction == prim::Direction::Weights || depthwise::beyondCache(s));
}

base::Status prepareConvDepthwise(const prim::Conv& desc, std::span<const prim::View> views,
                                  const prim::PrepareOptions& options, CpuPlan& plan) {
  const auto inner = desc.direction == prim::Direction::Weights ? depthwise::prepareWeights : depthwise::prepareResult;
  return viaF32(desc, views, options, plan, convAccess(desc), inner);
}

}  // namespace kovar::cpu
