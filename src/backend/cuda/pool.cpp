#include <array>

#include "backend/cuda/cuda.hpp"
#include "backend/cuda/nests.hpp"
#include "backend/cuda/program.hpp"

namespace kovar::cuda {
namespace {

using prim::View;

base::Status preparePool(Device&, const prim::Pool& desc, std::span<const View> views, const prim::PrepareOptions&,
                         CudaPlan& plan) {
  const bool forward = desc.direction == prim::Direction::Forward;
  const View &image = forward ? views[0] : views[1], &windows = forward ? views[1] : views[0];
  PoolParams p;
  p.kind = desc.kind;
  p.zeros = desc.zeroEdge || desc.kind == prim::PoolKind::Average;
  p.zeroEdge = desc.zeroEdge;
  p.rectified = desc.rectified;
  p.y = desc.y;
  p.x = desc.x;
  p.zeroPadY = desc.zeroPadY;
  p.zeroPadX = desc.zeroPadX;
  p.images = image.dim(0), p.height = image.dim(1), p.width = image.dim(2), p.channels = image.dim(3);
  p.windowsY = windows.dim(1), p.windowsX = windows.dim(2);
  if (!forward) {
    p.src = stridedOf(image);
    p.dst = stridedOf(windows);
    p.diffSrc = stridedOf(views[2]);
    p.vectors = inFours(views);
    plan.body = [p, given = views[0], src = views[1], diffSrc = views[2]](const Context& context,
                                                                          const prim::Invocation& inv) {
      PoolParams now = p;
      now.dst.data = at(inv, 0, given);
      now.src.data = at(inv, 1, src);
      now.diffSrc.data = at(inv, 2, diffSrc);
      now.vectors = p.vectors && alignedTo16({now.dst.data, now.src.data, now.diffSrc.data});
      return check(runPoolGradient(now, context.stream), "pooling gradient");
    };
    return {};
  }
  const Epilogue epilogue(desc.post, views, 1, 2, {}, plan);
  const View target = epilogue.target();
  p.src = stridedOf(image);
  p.dst = stridedOf(target);
  p.vectors = inFours(std::array<View, 2>{image, target});
  plan.body = [p, epilogue, src = views[0], target](const Context& context, const prim::Invocation& inv) {
    PoolParams now = p;
    now.src.data = at(inv, 0, src);
    now.dst.data = epilogue.targetData(inv) + target.offset * bytesOf(target);
    now.vectors = p.vectors && alignedTo16({now.src.data, now.dst.data});
    const cudaError_t e = runPoolForward(now, context.stream);
    return check(e != cudaSuccess ? e : epilogue.finish(context.stream, inv), "pooling");
  };
  return {};
}

constexpr Candidate<prim::Pool> kCandidates[] = {{"cuda:pool:windows", preparePool}};

}  // namespace

std::span<const Candidate<prim::Pool>> poolCandidates() { return kCandidates; }

}  // namespace kovar::cuda
