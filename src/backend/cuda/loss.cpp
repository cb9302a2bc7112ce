#include <algorithm>
#include <array>

#include "backend/cuda/cuda.hpp"
#include "backend/cuda/nests.hpp"
#include "prim/yolo.hpp"

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

/// Which argument stands in which place; the start of its elements is found at run time.
class Places {
 public:
  Places(LossParamsDevice& p, std::span<const View> views) : p_(p), views_(views) {}
  void take(Strided LossParamsDevice::*place, std::size_t argument) {
    p_.*place = broadcast(views_[argument], views_[0]);
    given_.push_back({place, argument, views_[argument]});
  }
  struct Given {
    Strided LossParamsDevice::*place;
    std::size_t argument;
    View view;
  };
  const std::vector<Given>& given() const { return given_; }

 private:
  LossParamsDevice& p_;
  std::span<const View> views_;
  std::vector<Given> given_;
};

/// The images' size, how they are cut for the blocks, and what finds the addresses of a run.
std::function<LossParamsDevice(const Context&, const prim::Invocation&)> planned(Device& device, LossParamsDevice p,
                                                                                 const View& src, const Places& places,
                                                                                 bool sumsNeeded, CudaPlan& plan) {
  p.images = src.dim(0), p.height = src.dim(1), p.width = src.dim(2), p.channels = src.dim(3);
  const std::int64_t pixels = p.height * p.width;
  const std::int64_t work = std::max<std::int64_t>(1, 4096 / p.channels);
  const std::int64_t enough = (pixels * p.images + 8 * device.multiprocessors() - 1) / (8 * device.multiprocessors());
  p.perChunk = std::clamp<std::int64_t>(std::max(work, enough), 8, std::max<std::int64_t>(8, pixels));
  p.chunks = (pixels + p.perChunk - 1) / p.perChunk;
  const std::size_t sums = plan.reserve(static_cast<std::size_t>(p.images * p.chunks) * sizeof(double));
  const std::size_t counts = plan.reserve(static_cast<std::size_t>(p.images) * sizeof(std::int64_t));
  return [p, given = places.given(), sums, counts, sumsNeeded](const Context& context, const prim::Invocation& inv) {
    LossParamsDevice now = p;
    for (const Places::Given& g : given) (now.*g.place).data = at(inv, g.argument, g.view);
    if (sumsNeeded) now.sums = reinterpret_cast<double*>(inv.scratch + sums);
    now.counts = reinterpret_cast<std::int64_t*>(inv.scratch + counts);
    now.scalars = context.scalars(inv);
    return now;
  };
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
  Places places(p, views);
  places.take(&LossParamsDevice::src, 0);
  places.take(&LossParamsDevice::labels, 1);
  std::size_t next = 2;
  if (desc.weights) places.take(&LossParamsDevice::weights, next++);
  if (desc.writeLoss) {
    p.lossImages = views[next].dim(0);
    places.take(reduces ? &LossParamsDevice::lossOut : &LossParamsDevice::value, next++);
  }
  if (desc.writeGradient) places.take(&LossParamsDevice::gradient, next++);
  if (desc.incoming) places.take(&LossParamsDevice::incoming, next);
  plan.body = [bind = planned(device, p, src, places, reduces && desc.writeLoss, plan)](const Context& context,
                                                                                        const prim::Invocation& inv) {
    return check(runLoss(bind(context, inv), context.stream), "loss");
  };
  return {};
}

base::Status prepareYolo(Device& device, const prim::Yolo& desc, std::span<const View> views,
                         const prim::PrepareOptions&, CudaPlan& plan) {
  const View& src = views[0];
  if (src.dim(0) > 65535) return base::Failure{"a batch of more than 65535 images does not fit a grid"};
  YoloParamsDevice q;
  q.yolo = prim::paramsOf(desc);
  LossParamsDevice& p = q.loss;
  p.reduction = desc.reduction;
  p.reduced = desc.reduction != LossReduction::None;
  p.acrossBatch = desc.acrossBatch;
  p.countsWeights = desc.weights && desc.reduction == LossReduction::SumByNonZeroWeights;
  Places places(p, views);
  places.take(&LossParamsDevice::src, 0);
  places.take(&LossParamsDevice::labels, 1);
  std::size_t next = 2;
  if (desc.weights) places.take(&LossParamsDevice::weights, next++);
  p.lossImages = views[next].dim(0);
  places.take(p.reduced ? &LossParamsDevice::lossOut : &LossParamsDevice::value, next++);
  places.take(&LossParamsDevice::gradient, next++);
  const View& anchors = views[next];
  if (anchors.stride(1) != 1 || anchors.stride(0) != 2) return base::Failure{"anchors do not lie one behind the other"};
  plan.body = [q, anchors, next, bind = planned(device, p, src, places, p.reduced, plan)](const Context& context,
                                                                                          const prim::Invocation& inv) {
    YoloParamsDevice now = q;
    now.loss = bind(context, inv);
    now.loss.scalars = {};
    now.loss.scalars.value.f[0] = 1.f;  // weights are in the terms
    now.anchors = reinterpret_cast<const float*>(at(inv, next, anchors));
    return check(runYolo(now, context.stream), "anchor-box loss");
  };
  return {};
}  // NOLINT(clang-analyzer-cplusplus.NewDeleteLeaks): plan.body owns what it was moved into

constexpr Candidate<prim::Loss> kCandidates[] = {{"cuda:loss:blocks", prepareLoss}};
constexpr Candidate<prim::Yolo> kYolo[] = {{"cuda:yolo:anchors", prepareYolo}};

}  // namespace

std::span<const Candidate<prim::Loss>> lossCandidates() { return kCandidates; }
std::span<const Candidate<prim::Yolo>> yoloCandidates() { return kYolo; }

}  // namespace kovar::cuda
