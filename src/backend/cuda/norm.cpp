// Normalizations: how a region is cut for the device, and scratch for what passes from kernel to kernel.

#include <algorithm>
#include <array>

#include "backend/cuda/cuda.hpp"
#include "backend/cuda/nests.hpp"
#include "backend/cuda/program.hpp"

namespace kovar::cuda {
namespace {

using prim::NormTask;
using prim::View;

/// Pixels of all images of a region lie at equal distances.
bool isFlat(const View& v, bool manyImages) {
  const std::int64_t row = v.dim(2) * v.stride(2);
  return (v.dim(1) == 1 || v.stride(1) == row) && (!manyImages || v.stride(0) == v.dim(1) * row) &&
         (v.dim(2) > 1 || v.dim(1) == 1 || v.stride(1) == v.stride(2));
}

/// The smallest power of two that reaches `count`, at most `most`.
std::int32_t powerOf2(std::int64_t count, std::int32_t most) {
  std::int32_t p = 1;
  while (p < count && p < most) p *= 2;
  return p;
}

/// An argument with a float for each region and channel.
struct Vector {
  std::size_t argument = 0;
  View view;
  explicit Vector(std::span<const View> views = {}, std::size_t index = 0) : argument(index) {
    if (!views.empty()) view = views[index];
  }
  NormVector in(const prim::Invocation& inv) const {
    if (view.rank == 0) return {};
    return {reinterpret_cast<float*>(at(inv, argument, view)), view.dim(0) == 1 ? 0 : view.stride(0),
            view.dim(3) == 1 ? 0 : view.stride(3)};
  }
};

/// How many blocks share a region's pixels, and how many of these each takes.
void share(const NormParams& p, std::int64_t tiles, std::int64_t wanted, std::int64_t least, std::int64_t& parts,
           std::int64_t& each) {
  parts = std::clamp<std::int64_t>(wanted / std::max<std::int64_t>(1, p.regions * tiles), 1,
                                   std::max<std::int64_t>(1, p.regionPixels / least));
  each = std::max<std::int64_t>(1, (p.regionPixels + parts - 1) / parts);
  parts = std::max<std::int64_t>(1, (p.regionPixels + each - 1) / each);
}

base::Status prepareNorm(Device& device, const prim::Norm& desc, std::span<const View> views,
                         const prim::PrepareOptions&, CudaPlan& plan) {
  NormParams p;
  p.task = desc.task;
  p.epsilon = desc.epsilon;
  p.accumulate = desc.accumulate;
  const bool backward = p.backward();
  const std::size_t src = backward ? 1 : 0, dst = backward ? 7 : 5;
  const View &source = views[src], &mean = views[src + 1];
  p.regions = mean.dim(0);
  p.groups = mean.dim(3);
  p.channels = source.dim(3);
  p.width = source.dim(2);
  p.pixels = source.dim(1) * source.dim(2);
  p.regionImages = source.dim(0) / p.regions;
  p.regionPixels = p.regionImages * p.pixels;

  Epilogue epilogue;
  if (p.writes() && !backward) epilogue = Epilogue(desc.post, views, dst, 6, {}, plan);
  const View target = !p.writes() ? View{} : backward ? views[dst] : epilogue.target();
  std::vector<View> images{source};
  if (backward) images.push_back(views[0]);
  if (p.writes()) images.push_back(target);
  p.vectors = inFours(images);
  p.flat = std::all_of(images.begin(), images.end(), [&](const View& v) { return isFlat(v, p.regionImages > 1); });
  p.source = stridedOf(source);
  if (backward) p.given = stridedOf(views[0]);
  if (p.writes()) p.out = stridedOf(target);

  const std::int64_t lanes = p.vectors ? 4 : 1;
  p.across = powerOf2(p.channels / lanes, 32);
  const std::int64_t tiles = (p.channels + p.across * lanes - 1) / (p.across * lanes), rows = kBlockThreads / p.across;
  // Enough blocks for the device, each with a few pixels per thread.
  share(p, tiles, 8 * device.multiprocessors(), 8 * rows, p.splits, p.perSplit);
  share(p, tiles, 32 * device.multiprocessors(), 4 * rows, p.writers, p.perWriter);
  p.joiners = powerOf2(std::max(p.splits * (backward ? 1 : p.channels / p.groups), p.channels / p.groups), 32);

  std::size_t partials = 0, factors = 0;
  if (p.reads())
    partials = plan.reserve(static_cast<std::size_t>(p.regions * p.splits * p.channels) * sizeof(NormPartial));
  if (p.writes())
    factors = plan.reserve(static_cast<std::size_t>(p.regions * kNormFactors * p.channels) * sizeof(float));
  const Vector means(views, src + 1), variances(views, src + 2);
  const bool scaled = p.writes();
  const Vector gamma = scaled ? Vector(views, src + 3) : Vector(),
               beta = scaled && !backward ? Vector(views, 4) : Vector();
  const std::size_t diffs = desc.task == NormTask::Sums ? 4 : 5;
  const Vector diffGamma = backward ? Vector(views, diffs) : Vector();
  const Vector diffBeta = backward ? Vector(views, diffs + 1) : Vector();
  plan.body = [=, source = source, given = views[0]](const Context& context, const prim::Invocation& inv) {
    NormParams now = p;
    now.scalars = context.scalars(inv);
    now.source.data = at(inv, src, source);
    if (backward) now.given.data = at(inv, 0, given);
    if (p.writes())
      now.out.data = backward ? at(inv, dst, target) : epilogue.targetData(inv) + target.offset * bytesOf(target);
    now.mean = means.in(inv);
    now.variance = variances.in(inv);
    now.gamma = gamma.in(inv);
    now.beta = beta.in(inv);
    now.diffGamma = diffGamma.in(inv);
    now.diffBeta = diffBeta.in(inv);
    now.partials = reinterpret_cast<NormPartial*>(inv.scratch + partials);
    now.factors = reinterpret_cast<float*>(inv.scratch + factors);
    now.vectors = p.vectors && alignedTo16({now.source.data, now.given.data, now.out.data});
    const cudaError_t e = runNorm(now, context.stream);
    return check(e != cudaSuccess || !p.writes() || backward ? e : epilogue.finish(context.stream, inv),
                 "normalization");
  };
  return {};
}

base::Status prepareLocalNorm(Device&, const prim::LocalNorm& desc, std::span<const View> views,
                              const prim::PrepareOptions&, CudaPlan& plan) {
  const bool backward = desc.direction == prim::Direction::Data;
  const std::size_t src = backward ? 1 : 0, dst = backward ? 2 : 1;
  const View &source = views[src], &windows = views[backward ? 0 : 1];
  LocalNormParams p;
  p.desc = desc;
  p.power = maths::InversePower::of(desc.beta);
  p.images = source.dim(0), p.height = source.dim(1), p.width = source.dim(2), p.channels = source.dim(3);
  p.windowsY = windows.dim(1), p.windowsX = windows.dim(2);
  p.source = stridedOf(source);
  p.given = stridedOf(windows);
  p.out = stridedOf(views[dst]);
  std::array<std::size_t, 4> rooms{};
  if (backward) {
    const auto bytes = static_cast<std::size_t>(windows.elements()) * sizeof(float);
    const std::size_t count = desc.kind == prim::LocalNormKind::Contrast ? 4 : 2;
    for (std::size_t i = 0; i < count; ++i) rooms[i] = plan.reserve(bytes);
  }
  plan.body = [p, src, dst, backward, rooms, source, given = windows, out = views[dst]](const Context& context,
                                                                                        const prim::Invocation& inv) {
    LocalNormParams now = p;
    now.source.data = at(inv, src, source);
    now.out.data = at(inv, dst, out);
    if (backward) {
      now.given.data = at(inv, 0, given);
      std::array<float**, 4> to{&now.direct, &now.shares, &now.means, &now.constants};
      for (std::size_t i = 0; i < to.size(); ++i) *to[i] = reinterpret_cast<float*>(inv.scratch + rooms[i]);
    }
    return check(runLocalNorm(now, context.stream), "local normalization");
  };
  return {};
}

constexpr Candidate<prim::Norm> kNorm[] = {{"cuda:norm:blocks", prepareNorm}};
constexpr Candidate<prim::LocalNorm> kLocalNorm[] = {{"cuda:localNorm:elements", prepareLocalNorm}};

}  // namespace

std::span<const Candidate<prim::Norm>> normCandidates() { return kNorm; }
std::span<const Candidate<prim::LocalNorm>> localNormCandidates() { return kLocalNorm; }

}  // namespace kovar::cuda
