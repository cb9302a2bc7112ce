#include "backend/cuda/cuda.hpp"
#include "backend/cuda/nests.hpp"

namespace kovar::cuda {
namespace {

using prim::View;

base::Status prepareSample(Device&, const prim::Sample& desc, std::span<const View> views, const prim::PrepareOptions&,
                           CudaPlan& plan) {
  SampleParams p;
  p.src = stridedOf(views[0]);
  p.y = stridedOf(views[1]);
  p.x = stridedOf(views[2]);
  p.dst = stridedOf(views[3]);
  for (int a = 0; a < 4; ++a) p.dims[a] = views[3].dim(a);
  p.height = views[0].dim(1), p.width = views[0].dim(2);
  p.startY = desc.startY, p.startX = desc.startX;
  p.relative = desc.relative;
  p.edge = desc.edge;
  plan.body = [p, v = std::vector<View>(views.begin(), views.end())](const Context& context,
                                                                     const prim::Invocation& inv) {
    SampleParams now = p;
    now.src.data = cuda::at(inv, 0, v[0]);
    now.y.data = cuda::at(inv, 1, v[1]);
    now.x.data = cuda::at(inv, 2, v[2]);
    now.dst.data = cuda::at(inv, 3, v[3]);
    return check(runSample(now, context.stream), "sampling");
  };
  return {};
}

constexpr Candidate<prim::Sample> kCandidates[] = {{"cuda:sample:elements", prepareSample}};

}  // namespace

std::span<const Candidate<prim::Sample>> sampleCandidates() { return kCandidates; }

}  // namespace kovar::cuda
