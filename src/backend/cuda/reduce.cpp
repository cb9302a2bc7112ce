#include "backend/cuda/reduce.hpp"

#include <algorithm>
#include <vector>

#include "backend/cuda/nests.hpp"

namespace kovar::cuda {
namespace {

using prim::View;

/// Only the axes where `keep` says so.
View axesOf(const View& v, const View& dst, bool kept) {
  View r = v;
  r.rank = 0;
  for (int a = 0; a < v.rank; ++a) {
    const bool reduced = dst.dim(a) == 1;
    if (reduced == kept) continue;
    r.dims[r.rank] = v.dim(a);
    r.strides[r.rank++] = v.stride(a);
  }
  if (r.rank == 0) {
    r.rank = 1;
    r.dims[0] = 1;
    r.strides[0] = 0;
  }
  return r;
}

}  // namespace

PreparedReduce::PreparedReduce(const prim::Reduce& desc, const View& src, const View& dst, int multiprocessors,
                               CudaPlan& plan)
    : srcStart_(src.offset * bytesOf(src)), dstStart_(dst.offset * bytesOf(dst)) {
  ReduceParams& p = params_;
  p.kind = desc.kind;
  p.accumulate = desc.accumulate;
  // An axis where both have one element is kept as well as reduced; it counts once either way.
  const std::vector<View> kept{axesOf(src, dst, true), axesOf(dst, dst, true)};
  const std::vector<View> reduced{axesOf(src, dst, false)};
  p.kept = nestOf<2>(kept);
  p.reduced = nestOf<1>(reduced);
  p.results = kept[0].elements();
  p.count = reduced[0].elements();
  p.src.type = src.dtype;
  p.dst.type = dst.dtype;
  const bool arg = desc.kind == prim::ReduceKind::ArgMin || desc.kind == prim::ReduceKind::ArgMax;
  p.factor = arg ? 1.f : desc.scale;
  if (desc.kind == prim::ReduceKind::Mean)
    p.factor = static_cast<float>(static_cast<double>(p.factor) / static_cast<double>(p.count));

  const std::int64_t keptStep = p.kept.step[p.kept.rank - 1][0], reducedStep = p.reduced.step[p.reduced.rank - 1][0];
  p.across = p.results > 1 && (p.count == 1 || keptStep < reducedStep);
  p.fours = !p.across && p.reduced.rank == 1 && reducedStep == 4 && src.dtype == prim::DType::F32 && p.count % 4 == 0 &&
            srcStart_ % 16 == 0;
  for (int a = 0; a < p.kept.rank; ++a) p.fours = p.fours && p.kept.step[a][0] % 16 == 0;
  const bool few = p.fours && p.count <= 64;  // four loads a thread
  p.lanes = p.across ? 8 : p.count > 1024 ? kBlockThreads : p.count > 128 ? 32 : few ? 4 : 8;
  // Few results of many elements each: several blocks share one.
  const std::int64_t blocks = (p.results + kBlockThreads / p.lanes - 1) / (kBlockThreads / p.lanes);
  const std::int64_t wanted = std::max<std::int64_t>(1, 4 * multiprocessors / blocks);
  const std::int64_t most = std::max<std::int64_t>(1, p.count / (16 * p.lanes));
  p.splits = std::min({wanted, most, std::int64_t{1024}});
  p.perSplit = ((p.count + p.splits - 1) / p.splits + 3) / 4 * 4;
  p.splits = (p.count + p.perSplit - 1) / p.perSplit;
  if (p.splits > 1) partials_ = plan.reserve(static_cast<std::size_t>(p.results * p.splits) * sizeof(Partial));
}

cudaError_t PreparedReduce::run(cudaStream_t stream, std::byte* src, std::byte* dst, std::byte* scratch) const {
  ReduceParams p = params_;
  p.src.data = src + srcStart_;
  p.dst.data = dst + dstStart_;
  p.fours = p.fours && alignedTo16({p.src.data});
  if (p.splits > 1) p.partials = reinterpret_cast<Partial*>(scratch + partials_);
  return runReduce(p, stream);
}

namespace {

base::Status prepareReduce(Device& device, const prim::Reduce& desc, std::span<const View> views,
                           const prim::PrepareOptions&, CudaPlan& plan) {
  plan.body = [reduce = PreparedReduce(desc, views[0], views[1], device.multiprocessors(), plan)](
                  const Context& context, const prim::Invocation& inv) {
    return check(reduce.run(context.stream, inv.args[0].data, inv.args[1].data, inv.scratch), "reduction");
  };
  return {};
}

constexpr Candidate<prim::Reduce> kCandidates[] = {{"cuda:reduce:blocks", prepareReduce}};

}  // namespace

std::span<const Candidate<prim::Reduce>> reduceCandidates() { return kCandidates; }

}  // namespace kovar::cuda
