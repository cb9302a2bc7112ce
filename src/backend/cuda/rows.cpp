// Softmax and the optimizers' steps.

#include <algorithm>
#include <vector>

#include "backend/cuda/cuda.hpp"
#include "backend/cuda/nests.hpp"

namespace kovar::cuda {
namespace {

using prim::View;

base::Status prepareSoftmax(Device&, const prim::Softmax& desc, std::span<const View> views,
                            const prim::PrepareOptions&, CudaPlan& plan) {
  SoftmaxParams p;
  p.log = desc.log;
  p.gradient = desc.direction == prim::Direction::Data;
  const int last = views[0].rank - 1;
  p.length = views[0].dim(last);
  p.rows = views[0].elements() / p.length;
  std::vector<View> leading;
  for (std::size_t v = 0; v < views.size(); ++v) {
    leading.push_back(views[v].slice(last, 0, 1));
    p.view[v].type = views[v].dtype;
    p.view[v].step[0] = views[v].stride(last) * bytesOf(views[v]);
  }
  p.nest = nestOf<3>(leading);
  p.vectors = p.length % 4 == 0;
  for (std::size_t v = 0; v < views.size(); ++v) {
    p.vectors = p.vectors && views[v].dtype == prim::DType::F32 && views[v].stride(last) == 1;
    for (int a = 0; a < p.nest.rank; ++a)
      p.vectors = p.vectors && p.nest.step[static_cast<std::size_t>(a)][v] % 16 == 0;
  }
  plan.body = [p, all = std::vector<View>(views.begin(), views.end())](const Context& context,
                                                                       const prim::Invocation& inv) {
    SoftmaxParams now = p;
    for (std::size_t v = 0; v < all.size(); ++v) {
      now.view[v].data = at(inv, v, all[v]);
      now.vectors = now.vectors && reinterpret_cast<std::uintptr_t>(now.view[v].data) % 16 == 0;
    }
    return check(runSoftmax(now, context.stream), "softmax");
  };
  return {};
}

base::Status prepareStep(Device&, const prim::Step& desc, std::span<const View> views, const prim::PrepareOptions&,
                         CudaPlan& plan) {
  StepParams p;
  p.desc = desc;
  p.nest = nestOf<6>(views);
  p.elements = views[0].elements();
  p.views = static_cast<std::int32_t>(views.size());
  for (std::size_t v = 0; v < views.size(); ++v) p.type[v] = views[v].dtype;
  p.vectors = std::all_of(views.begin(), views.end(), [&](const View& v) {
    return v.dtype == prim::DType::F32 && v.offset % 4 == 0 && p.nest.rank == 1;
  });
  for (std::size_t v = 0; v < views.size() && p.elements > 1; ++v) p.vectors = p.vectors && p.nest.step[0][v] == 4;
  plan.body = [p, all = std::vector<View>(views.begin(), views.end())](const Context& context,
                                                                       const prim::Invocation& inv) {
    StepParams now = p;
    for (std::size_t v = 0; v < all.size(); ++v) {
      now.data[v] = at(inv, v, all[v]);
      now.vectors = now.vectors && reinterpret_cast<std::uintptr_t>(now.data[v]) % 16 == 0;
    }
    now.scalars = context.scalars(inv);
    return check(runStep(now, context.stream), "optimizer step");
  };
  return {};
}

constexpr Candidate<prim::Softmax> kSoftmax[] = {{"cuda:softmax:warps", prepareSoftmax}};
constexpr Candidate<prim::Step> kStep[] = {{"cuda:step:threads", prepareStep}};

}  // namespace

std::span<const Candidate<prim::Softmax>> softmaxCandidates() { return kSoftmax; }
std::span<const Candidate<prim::Step>> stepCandidates() { return kStep; }

}  // namespace kovar::cuda
