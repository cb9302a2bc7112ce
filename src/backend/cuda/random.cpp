#include <cstdint>
#include <vector>

#include "backend/cuda/cuda.hpp"
#include "backend/cuda/nests.hpp"

namespace kovar::cuda {
namespace {

using prim::View;

/// Four channels of each lie together; the mask has one byte for each of them.
bool inFoursWith(const View& mask, const View& src, const View& dst) {
  return inFours(std::vector<View>{src, dst}) && channelsInFours(mask);
}

/// Where the memory of this run starts so that it can be read like that. A null mask is not written.
bool startInFours(const DropoutParams& p) {
  return alignedTo16({p.src.data, p.dst.data}) && reinterpret_cast<std::uintptr_t>(p.mask.data) % 4 == 0;
}

base::Status prepareApply(const prim::Random& desc, std::span<const View> views, DropoutParams p, CudaPlan& plan) {
  const View &src = views[0], &mask = views[1], &dst = views[2];
  for (std::size_t a = 0; a < 3; ++a) p.maskStride[a] = desc.maskStride[a];
  p.maskOffset[0] = desc.maskOffsetY;
  p.maskOffset[1] = desc.maskOffsetX;
  const std::int64_t lastY = (p.height - 1) * p.maskStride[0] + p.maskOffset[0];
  const std::int64_t lastX = (p.width - 1) * p.maskStride[1] + p.maskOffset[1];
  const std::int64_t lastC = (p.channels - 1) * p.maskStride[2];
  if (p.maskOffset[0] < 0 || p.maskOffset[1] < 0 || lastY >= mask.dim(1) || lastX >= mask.dim(2) ||
      lastC >= mask.dim(3))
    return base::Failure{"the gradient " + src.text() + " reads outside the mask " + mask.text()};
  p.src = stridedOf(src);
  p.mask = stridedOf(mask);
  p.dst = stridedOf(dst);
  p.fours = p.maskStride[2] == 1 && inFoursWith(mask, src, dst);
  plan.body = [p, src, mask, dst](const Context& context, const prim::Invocation& inv) {
    DropoutParams now = p;
    now.src.data = at(inv, 0, src);
    now.mask.data = at(inv, 1, mask);
    now.dst.data = at(inv, 2, dst);
    now.fours = p.fours && startInFours(now);
    return check(runApplyMask(now, context.stream), "dropout gradient");
  };
  return {};
}

base::Status prepareDropout(const prim::Random& desc, std::span<const View> views, CudaPlan& plan) {
  DropoutParams p;
  p.keep = desc.keep;
  const View& src = views[0];
  p.images = src.dim(0), p.height = src.dim(1), p.width = src.dim(2), p.channels = src.dim(3);
  if (desc.direction == prim::Direction::Data) return prepareApply(desc, views, p, plan);
  const View& dst = views[1];
  bool full = true;
  for (int a = 0; a < 3; ++a) {
    const auto i = static_cast<std::size_t>(a);
    p.maskStride[i] = desc.maskStride[i];
    p.maskDims[i] = desc.maskStride[i] != 0 ? src.dim(a + 1) : 1;
    full = full && p.maskDims[i] == src.dim(a + 1);
  }
  View mask = View::contiguous(prim::DType::U8, {p.images, p.maskDims[0], p.maskDims[1], p.maskDims[2]});
  if (desc.writeMask) {
    for (int a = 0; a < 3; ++a)
      if (views[2].dim(a + 1) != p.maskDims[static_cast<std::size_t>(a)])
        return base::Failure{"the mask " + views[2].text() + " does not fit " + src.text() + " and the mask strides"};
    mask = views[2];
  }
  p.src = stridedOf(src);
  p.dst = stridedOf(dst);
  p.mask = stridedOf(mask);
  p.fours = p.maskStride[2] != 0 && inFoursWith(mask, src, dst);
  // A mask that several elements share is drawn first, in its own small extents, then applied.
  const std::size_t room =
      !full && !desc.writeMask ? plan.reserve(static_cast<std::size_t>(mask.elements())) : std::size_t{0};
  plan.body = [p, full, room, src, dst, mask, written = desc.writeMask](const Context& context,
                                                                        const prim::Invocation& inv) {
    DropoutParams now = p;
    now.src.data = at(inv, 0, src);
    now.dst.data = at(inv, 1, dst);
    if (written)
      now.mask.data = at(inv, 2, mask);
    else if (!full)
      now.mask.data = inv.scratch + room;
    now.scalars = context.scalars(inv);
    now.fours = p.fours && startInFours(now);
    if (full) return check(runDropout(now, context.stream), "dropout");
    const cudaError_t e = runDrawMask(now, context.stream);
    return check(e != cudaSuccess ? e : runApplyMask(now, context.stream), "dropout");
  };
  return {};
}

base::Status prepareRandom(Device&, const prim::Random& desc, std::span<const View> views, const prim::PrepareOptions&,
                           CudaPlan& plan) {
  if (desc.kind == prim::RandomKind::Dropout) return prepareDropout(desc, views, plan);
  RandomParams p;
  p.normal = desc.kind == prim::RandomKind::Normal;
  p.rows = views[0].dim(0);
  p.columns = views[0].dim(1);
  p.minimum = desc.minimum;
  p.maximum = desc.maximum;
  p.dst = stridedOf(views[0]);
  plan.body = [p, dst = views[0]](const Context& context, const prim::Invocation& inv) {
    RandomParams now = p;
    now.dst.data = at(inv, 0, dst);
    now.scalars = context.scalars(inv);
    return check(runRandom(now, context.stream), "random numbers");
  };
  return {};
}

constexpr Candidate<prim::Random> kCandidates[] = {{"cuda:random:philox", prepareRandom}};

}  // namespace

std::span<const Candidate<prim::Random>> randomCandidates() { return kCandidates; }

}  // namespace kovar::cuda
