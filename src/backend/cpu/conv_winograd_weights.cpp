// Weight gradients by Winograd's algorithm: the products of transformed tiles are summed over the tiles, and the sums
// are transformed once. Parts of the tiles have sums of their own, added in order.

#include <algorithm>

#include "backend/cpu/conv_winograd.hpp"
#include "backend/cpu/failure_flag.hpp"
#include "backend/cpu/thread_scratch.hpp"

namespace kovar::cpu::winograd {

using base::Failure;
using base::Status;
using prim::Invocation;

namespace {

/// Parts at most, and tiles of a part at least: its sums are read and written once more than they would be without.
constexpr std::int64_t kParts = 16, kPartTiles = 128;
/// Floats of all sums at most, and of those of one part: larger ones leave the cache between blocks.
constexpr std::int64_t kSumFloats = 8 << 20, kPartFloats = 1 << 20;
/// Output channels of a chunk of the last transform.
constexpr std::int64_t kOutputs = 8;

struct WeightGradient {
  ConvShape shape;
  TileGrid grid;
  std::int64_t tiles = 0, parts = 1, block = 0;
  std::int64_t columns = 0, sumPoint = 0;  // of the sums: [point][output channel][column]
  std::int64_t partFloats() const { return kPoints * sumPoint; }
};

FailureFlag::Reason runPart(const WeightGradient& plan, std::int64_t part, const Invocation& inv) {
  const ConvShape& s = plan.shape;
  TileImage source = imageOf(s.src), gradient = imageOf(s.dst);
  source.data = at<float>(inv, s.srcArg, s.src), gradient.data = at<float>(inv, s.dstArg, s.dst);
  TilePoints a, b;
  a.row = wholeVectors(s.co), b.row = plan.columns;
  a.point = pointFloats(plan.block, a.row), b.point = pointFloats(plan.block, b.row);
  const std::int64_t zeroFloats = std::max(a.row, b.row);
  float* room = threadFloats(static_cast<std::size_t>(kPoints * (a.point + b.point) + zeroFloats));
  if (room == nullptr) return FailureFlag::kMemory;
  a.data = room, b.data = room + kPoints * a.point;
  float* zeros = b.data + kPoints * b.point;
  std::fill_n(zeros, zeroFloats, 0.f);
  TileProduct product;
  product.a = a.data, product.b = b.data;
  product.c = reinterpret_cast<float*>(inv.scratch) + part * plan.partFloats();
  product.m = s.co, product.n = plan.columns;
  product.aPoint = a.point, product.bPoint = b.point, product.cPoint = plan.sumPoint;
  product.aRow = 1, product.aStep = a.row;
  product.bPanel = panelFloats(), product.bStep = b.row;
  product.cRow = plan.columns;
  const std::int64_t first = part * plan.tiles / plan.parts, last = (part + 1) * plan.tiles / plan.parts;
  for (std::int64_t t = first; t < last; t += plan.block) {
    product.k = std::min(plan.block, last - t);
    product.add = t > first;
    sourceTiles(source, plan.grid, t, product.k, zeros, b);
    gradientTiles(gradient, plan.grid, t, product.k, zeros, a);
    multiplyPoints(product);
  }
  return FailureFlag::kNone;
}

Status run(const WeightGradient& plan, Context& context, const Invocation& inv) {
  const ConvShape& s = plan.shape;
  FailureFlag failure;
  context.pool.run(static_cast<std::size_t>(plan.parts), [&](std::size_t i) {
    const auto reason = runPart(plan, static_cast<std::int64_t>(i), inv);
    if (reason != FailureFlag::kNone) failure.raise(reason);
  });
  KOVAR_TRY(failure.status("cpu:conv:winograd"));
  TileWeights weights = weightsOf(s);
  weights.data = at<float>(inv, s.weightsArg, s.weights);
  const TilePoints sums{reinterpret_cast<float*>(inv.scratch), plan.sumPoint, plan.columns};
  context.pool.run(static_cast<std::size_t>((s.co + kOutputs - 1) / kOutputs), [&](std::size_t i) {
    const std::int64_t first = static_cast<std::int64_t>(i) * kOutputs;
    weightResults(sums, plan.parts, plan.partFloats(), first, std::min(first + kOutputs, s.co), s.desc.accumulate,
                  weights);
  });
  if (s.desc.bias) biasGradient(context, s, at<const float>(inv, s.dstArg, s.dst), at<float>(inv, s.biasArg, s.bias));
  return {};
}

}  // namespace

Status prepareWeightsF32(const prim::Conv& desc, std::span<const prim::View> views, const prim::PrepareOptions& options,
                         CpuPlan& plan) {
  auto conv = std::make_shared<WeightGradient>();
  conv->shape = describe(desc, views);
  const ConvShape& s = conv->shape;
  KOVAR_TRY(takes(s, options));
  conv->grid = gridOf(s.kh, s.hd, s.wd, desc.y.pad, desc.x.pad);
  conv->tiles = s.n * conv->grid.perImage;
  conv->columns = wholeVectors(s.ci);
  conv->sumPoint = pointFloats(s.co, conv->columns);
  conv->block = blockTiles(wholeVectors(s.co) + conv->columns);
  if (options.only.empty() && conv->partFloats() > kPartFloats) return Failure{"too many weights to sum them in cache"};
  conv->parts =
      std::clamp<std::int64_t>(std::min(conv->tiles / kPartTiles, kSumFloats / conv->partFloats()), 1, kParts);
  plan.scratchBytes = static_cast<std::size_t>(conv->parts * conv->partFloats()) * sizeof(float);
  plan.body = [conv](Context& context, const Invocation& inv) { return run(*conv, context, inv); };
  return {};
}

}  // namespace kovar::cpu::winograd
