#include <algorithm>
#include <array>

#include "backend/cuda/cuda.hpp"
#include "backend/cuda/nests.hpp"

namespace kovar::cuda {
namespace {

using prim::LossReduction;
using prim::View;

/// Steps of a view that is read again along axes where it has one element and the source more.
Strided broadcast(const View& v, const View& src) {
  Strided s = stridedOf(v);
  for (int a = 0; a < 4; ++a)
    if (v.dim(a) == 1 && src.dim(a) != 1) s.step[a] = 0;
  return s;
}

base::Status prepareLoss(Device& device, const prim::Loss& desc, std::span<const View> views,
                         const prim::PrepareOptions&, CudaPlan& plan) {
  if (desc.type >= static_cast<std::uint8_t>(maths::LossType::Count))
    return base::Failure{"loss type " + std::to_string(desc.type) + " has no element-wise formula"};
  const View& src = views[0];
  LossParamsDevice p;
  p.loss = {static_cast<maths::LossType>(desc.type), desc.labelSmoothing, desc.numberOfClasses, desc.epsilon,
            desc.delta};
  if (p.loss.type == maths::LossType::CosineDistance && desc.writeLoss && desc.reduction != LossReduction::Sum)
    return base::Failure{"the cosine distance is one number an image: only the reduction Sum applies"};
  if (src.dim(0) > 65535) return base::Failure{"a batch of more than 65535 images does not fit a grid"};
  const bool reduces = desc.reduction != LossReduction::None;
  p.reduction = desc.reduction;
  p.acrossBatch = desc.acrossBatch;
  p.labelGradient = desc.labelGradient;
  p.divideGradient = desc.divideGradient;
  p.exactSoftmax = p.loss.type == maths::LossType::SoftMaxCrossEntropy && !desc.labelGradient && desc.writeGradient &&
                   (desc.incoming || desc.divideGradient);
  p.countsWeights = desc.weights && desc.reduction == LossReduction::SumByNonZeroWeights;
  p.reduced = reduces;
  p.images = src.dim(0), p.height = src.dim(1), p.width = src.dim(2), p.channels = src.dim(3);

  // Which argument stands in which place; the start of its elements is found at run time.
  struct Given {
    Strided LossParamsDevice::*place;
    std::size_t argument;
    View view;
  };
  std::vector<Given> given;
  const auto take = [&](Strided LossParamsDevice::*place, std::size_t argument) {
    p.*place = broadcast(views[argument], src);
    given.push_back({place, argument, views[argument]});
  };
  take(&LossParamsDevice::src, 0);
  take(&LossParamsDevice::labels, 1);
  std::size_t next = 2;
  if (desc.weights) take(&LossParamsDevice::weights, next++);
  if (desc.writeLoss) {
    p.lossImages = views[next].dim(0);
    take(reduces ? &LossParamsDevice::lossOut : &LossParamsDevice::value, next++);
  }
  if (desc.writeGradient) take(&LossParamsDevice::gradient, next++);
  if (desc.incoming) take(&LossParamsDevice::incoming, next);

  const std::int64_t pixels = p.height * p.width;
  const std::int64_t work = std::max<std::int64_t>(1, 4096 / p.channels);
  const std::int64_t enough = (pixels * p.images + 8 * device.multiprocessors() - 1) / (8 * device.multiprocessors());
  p.perChunk = std::clamp<std::int64_t>(std::max(work, enough), 8, std::max<std::int64_t>(8, pixels));
  p.chunks = (pixels + p.perChunk - 1) / p.perChunk;
  const std::size_t sums = plan.reserve(static_cast<std::size_t>(p.images * p.chunks) * sizeof(double));
  const std::size_t counts = plan.reserve(static_cast<std::size_t>(p.images) * sizeof(std::int64_t));
  plan.body = [p, given, sums, counts, sumsNeeded = reduces && desc.writeLoss](const Context& context,
                                                                               const prim::Invocation& inv) {
    LossParamsDevice now = p;
    for (const Given& g : given) (now.*g.place).data = at(inv, g.argument, g.view);
    if (sumsNeeded) now.sums = reinterpret_cast<double*>(inv.scratch + sums);
    now.counts = reinterpret_cast<std::int64_t*>(inv.scratch + counts);
    now.scalars = context.scalars(inv);
    return check(runLoss(now, context.stream), "loss");
  };
  return {};
}

constexpr Candidate<prim::Loss> kCandidates[] = {{"cuda:loss:blocks", prepareLoss}};

}  // namespace

std::span<const Candidate<prim::Loss>> lossCandidates() { return kCandidates; }

}  // namespace kovar::cuda
