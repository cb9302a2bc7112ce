#include "backend/cuda/matmul.hpp"

#include <memory>
#include <utility>

#include "backend/cuda/nests.hpp"
#include "backend/cuda/program.hpp"
#include "backend/cuda/reduce.hpp"

namespace kovar::cuda {

using prim::View;

namespace {

View swapped(View v, bool swap) {
  if (swap) {
    std::swap(v.dims[0], v.dims[1]);
    std::swap(v.strides[0], v.strides[1]);
  }
  return v;
}

}  // namespace

MatmulShape describe(const prim::Matmul& desc, std::span<const View> views) {
  MatmulShape s;
  s.desc = desc;
  s.a = swapped(views[0], desc.transposeA);
  s.b = swapped(views[1], desc.transposeB);
  s.cArg = desc.bias ? 3 : 2;
  s.rowSumArg = s.cArg + 1;
  s.own = s.cArg + (desc.rowSum ? 2 : 1);
  s.c = views[s.cArg];
  if (desc.bias) s.bias = views[s.biasArg];
  if (desc.rowSum) s.rowSum = views[s.rowSumArg];
  s.m = s.c.dim(0), s.n = s.c.dim(1), s.k = s.a.dim(1);
  return s;
}

std::shared_ptr<const PreparedReduce> prepareRowSum(Device& device, const MatmulShape& s, CudaPlan& plan) {
  if (!s.desc.rowSum) return nullptr;
  View to = s.rowSum;
  to.rank = 2;
  to.dims = {s.m, 1};
  to.strides = {s.rowSum.stride(0), 0};
  const prim::Reduce sum{prim::ReduceKind::Sum, 1.f, s.desc.accumulate};
  return std::make_shared<const PreparedReduce>(sum, s.a, to, device.multiprocessors(), plan);
}

base::Status prepareMatmulTiles(Device& device, const prim::Matmul& desc, std::span<const View> views,
                                const prim::PrepareOptions&, CudaPlan& plan) {
  const MatmulShape s = describe(desc, views);
  // A product adds to its result where that lies, unless a program follows or the result is narrow: then behind it.
  EpilogueNeeds needs;
  needs.accumulate = desc.accumulate && (!desc.post.empty() || s.c.dtype != prim::DType::F32);
  const Epilogue epilogue(desc.post, views, s.cArg, s.own, needs, plan);
  const View target = epilogue.target();
  MatmulParams p;
  p.m = s.m, p.n = s.n, p.k = s.k;
  p.a = stridedOf(s.a);
  p.b = stridedOf(s.b);
  p.c = stridedOf(target);
  if (desc.bias) p.bias = stridedOf(s.bias);
  p.accumulate = desc.accumulate && !needs.accumulate;
  auto rows = prepareRowSum(device, s, plan);
  plan.body = [p, s, epilogue, target, rows](const Context& context, const prim::Invocation& inv) {
    MatmulParams now = p;
    now.a.data = at(inv, 0, s.a);
    now.b.data = at(inv, 1, s.b);
    now.c.data = epilogue.targetData(inv) + target.offset * bytesOf(target);
    if (s.desc.bias) now.bias.data = at(inv, s.biasArg, s.bias);
    cudaError_t e = runMatmul(now, context.stream);
    if (e == cudaSuccess) e = epilogue.finish(context.stream, inv);
    if (e == cudaSuccess && rows != nullptr)
      e = rows->run(context.stream, inv.args[0].data, inv.args[s.rowSumArg].data, inv.scratch);
    return check(e, "matrix product");
  };
  return {};
}

std::span<const Candidate<prim::Matmul>> matmulCandidates() {
  static constexpr Candidate<prim::Matmul> kList[] = {
#ifdef KOVAR_HAS_CUDA
      {"cuda:matmul:cublaslt", prepareMatmulCublas},
#endif
      {"cuda:matmul:tiles", prepareMatmulTiles},
  };
  return kList;
}

}  // namespace kovar::cuda
