#include "backend/cuda/program.hpp"

#include <algorithm>

#include "backend/cuda/nests.hpp"

namespace kovar::cuda {

using prim::EwOp;

void PreparedProgram::add(const prim::EwStep& step, int argument, const prim::View* view) {
  prim::EwStep s = step;
  if (view != nullptr) {
    auto known = std::find(argument_.begin(), argument_.end(), argument);
    s.arg = static_cast<std::uint8_t>(known - argument_.begin());
    if (known == argument_.end()) {
      argument_.push_back(argument);
      views_.push_back(*view);
    }
  }
  params_.program.push(s);
}

void PreparedProgram::finish() {
  params_.nest = nestOf<kMaxProgramViews>(views_);
  const auto last = static_cast<std::size_t>(params_.nest.rank - 1);
  params_.columns = params_.nest.count[last];
  params_.nest.count[last] = (params_.columns + 3) / 4;
  params_.groups = 1;
  for (std::size_t a = 0; a <= last; ++a) params_.groups *= params_.nest.count[a];
  for (std::size_t v = 0; v < views_.size(); ++v) {
    params_.type[v] = views_[v].dtype;
    params_.element[v] = params_.nest.step[last][v];
    params_.nest.step[last][v] *= 4;
    const std::int64_t size = bytesOf(views_[v]);
    bool aligned = true;
    for (std::size_t a = 0; a <= last; ++a) aligned = aligned && params_.nest.step[a][v] % (4 * size) == 0;
    params_.reach[v] = Reach::Strided;
    if (params_.element[v] == 0 && params_.columns > 1)
      params_.reach[v] = Reach::Same;
    else if (aligned && params_.element[v] == size && views_[v].dtype == prim::DType::F32)
      params_.reach[v] = Reach::Floats;
    else if (aligned && params_.element[v] == size && views_[v].dtype == prim::DType::F16)
      params_.reach[v] = Reach::Halves;
  }
}

PreparedProgram::PreparedProgram(const prim::Program& program, std::span<const prim::View> views) {
  for (std::size_t i = 0; i < program.count; ++i) {
    const prim::EwStep& s = program.steps[i];
    const bool named = s.op == EwOp::Load || s.op == EwOp::Store;
    add(s, s.arg, named ? &views[s.arg] : nullptr);
  }
  finish();
}

PreparedProgram::PreparedProgram(const prim::Program& program, std::span<const prim::View> views,
                                 const prim::View& from, const prim::View& to) {
  params_.load = params_.store = true;
  argument_ = {kFrom, kTo};
  views_ = {from, to};
  for (std::size_t i = 0; i < program.count; ++i) {
    const prim::EwStep& s = program.steps[i];
    const bool named = s.op == EwOp::Load || s.op == EwOp::Store;
    add(s, s.arg, named ? &views[s.arg] : nullptr);
  }
  finish();
}

cudaError_t PreparedProgram::run(cudaStream_t stream, std::span<const prim::Bound> arguments, std::byte* from,
                                 std::byte* to) const {
  ElementwiseParams p = params_;
  for (std::size_t v = 0; v < views_.size(); ++v) {
    std::byte* storage = argument_[v] == kFrom ? from
                         : argument_[v] == kTo ? to
                                               : arguments[static_cast<std::size_t>(argument_[v])].data;
    p.data[v] = storage + views_[v].offset * bytesOf(views_[v]);
    // Memory that a caller owns, and windows of images, may start anywhere.
    const auto address = reinterpret_cast<std::uintptr_t>(p.data[v]);
    if ((p.reach[v] == Reach::Floats && address % 16 != 0) || (p.reach[v] == Reach::Halves && address % 8 != 0))
      p.reach[v] = Reach::Strided;
  }
  return runElementwise(p, stream);
}

prim::View denseFloats(const prim::View& like) {
  prim::View v = like;
  v.dtype = prim::DType::F32;
  v.offset = 0;
  std::int64_t stride = 1;
  for (std::size_t a = v.rank; a-- > 0;) {
    v.strides[a] = stride;
    stride *= v.dims[a];
  }
  return v;
}

Epilogue::Epilogue(const prim::Program& post, std::span<const prim::View> views, std::size_t dstArg, std::size_t own,
                   const EpilogueNeeds& needs, CudaPlan& plan)
    : target_(views[dstArg]), dstArg_(dstArg) {
  std::vector<prim::View> all(views.begin(), views.end());
  prim::Program first, rest;
  if (needs.biasArg >= 0) {
    const auto bias = static_cast<std::size_t>(needs.biasArg);
    prim::View along = target_;
    along.dtype = views[bias].dtype;
    along.offset = views[bias].offset;
    along.strides = {};
    along.strides[static_cast<std::size_t>(along.rank - 1)] = views[bias].stride(0);
    all[bias] = along;
    first.push({.op = EwOp::Load, .dst = 1, .arg = static_cast<std::uint8_t>(bias)});
    first.push({.op = EwOp::Add, .dst = 0, .a = 0, .b = 1});
  }
  if (needs.accumulate) {
    first.push({.op = EwOp::Load, .dst = 1, .arg = static_cast<std::uint8_t>(dstArg)});
    first.push({.op = EwOp::Add, .dst = 0, .a = 1, .b = 0});
  }
  // Arguments of the post-op program are counted behind the operation's own.
  prim::Program joined = first;
  bool fits = true;
  for (std::size_t i = 0; i < post.count; ++i) {
    prim::EwStep s = post.steps[i];
    if (s.op == EwOp::Load || s.op == EwOp::Store) s.arg = static_cast<std::uint8_t>(s.arg + own);
    fits = joined.push(s) && fits;
    rest.push(s);
  }
  if (fits) {
    first = joined;
    rest = {};
  }
  const bool narrow = target_.dtype != prim::DType::F32;
  viaScratch_ = needs.accumulate || (needs.denseOnly && !(target_.dense() && !narrow)) ||
                (narrow && (needs.floatsOnly || (!first.empty() && !needs.roundsBetween)));
  if (viaScratch_) {
    target_ = denseFloats(target_);
    scratch_ = plan.reserve(static_cast<std::size_t>(target_.elements()) * sizeof(float));
  }
  if (!rest.empty()) {
    // In two parts: the first one works on the producer's result where that is.
    programs_.emplace_back(first, all, target_, target_);
    programs_.emplace_back(rest, all, target_, views[dstArg]);
  } else if (viaScratch_ || !first.empty()) {
    programs_.emplace_back(first, all, target_, views[dstArg]);
  }
}

cudaError_t Epilogue::finish(cudaStream_t stream, const prim::Invocation& inv) const {
  for (std::size_t i = 0; i < programs_.size(); ++i) {
    std::byte* from = targetData(inv);
    std::byte* to = i + 1 < programs_.size() ? from : inv.args[dstArg_].data;
    if (const cudaError_t e = programs_[i].run(stream, inv.args, from, to); e != cudaSuccess) return e;
  }
  return cudaSuccess;
}

DenseOperand::DenseOperand(const prim::View& view, std::size_t argument, bool asItIs, CudaPlan& plan, prim::DType type)
    : view_(view), argument_(argument) {
  if (asItIs) return;
  prim::View dense = denseFloats(view);
  dense.dtype = type;
  // An empty program: register 0 starts as the source and ends in the copy.
  copy_ = PreparedProgram({}, {}, view, dense);
  scratch_ = plan.reserve(static_cast<std::size_t>(dense.elements() * bytesOf(dense)));
  view_ = dense;
}

base::Result<std::byte*> DenseOperand::start(cudaStream_t stream, const prim::Invocation& inv) const {
  if (copy_.empty()) return inv.args[argument_].data + view_.offset * bytesOf(view_);
  KOVAR_TRY(check(copy_.run(stream, inv.args, inv.args[argument_].data, inv.scratch + scratch_), "copying an operand"));
  return inv.scratch + scratch_;
}

}  // namespace kovar::cuda
