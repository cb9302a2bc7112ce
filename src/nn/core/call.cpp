#include "nn/core/call.hpp"

#include <algorithm>
#include <utility>

#include "base/edge.hpp"

namespace kovar::nn {

Recorder::Recorder(const Ref<MTL::CommandBuffer>& commandBuffer)
    : state_(*rt::Access::state(commandBuffer)), predicates_(rt::Access::predicates(commandBuffer)) {}

void Recorder::op(const prim::Prim& prim, std::span<const rt::Operand> operands, const prim::Scalars& scalars) {
  // A predicate may skip the work: what it would have written is then read as it was.
  if (predicates_.empty()) {
    base::unwrap(state_.append(prim, operands, scalars, predicates_));
    return;
  }
  std::vector<rt::Operand> kept(operands.begin(), operands.end());
  for (rt::Operand& o : kept)
    if (o.access == prim::Access::Write && !o.storage->temporary()) o.access = prim::Access::ReadWrite;
  base::unwrap(state_.append(prim, kept, scalars, predicates_));
}

Tensor Recorder::temporary(prim::DType dtype, std::initializer_list<std::int64_t> dims) {
  const prim::View view = prim::View::contiguous(dtype, dims);
  return {state_.newTemporary(static_cast<std::size_t>(view.elements()) * prim::sizeOf(dtype), false), view};
}

Tensor Recorder::temporaryImage(prim::DType dtype, std::int64_t n, std::int64_t h, std::int64_t w, std::int64_t c) {
  const prim::View view = prim::View::image(dtype, n, h, w, c, roundUp4(c));
  const auto bytes = static_cast<std::size_t>(n * h * w * roundUp4(c)) * prim::sizeOf(dtype);
  return {state_.newTemporary(bytes, dtype == prim::DType::F16), view};
}

Tensor Call::aligned(std::size_t index) const {
  const SourceGeometry& g = geometry[index];
  return window(index, g.offsetY, g.offsetX, destination.h(), destination.w());
}

Tensor Call::window(std::size_t index, std::int64_t y0, std::int64_t x0, std::int64_t height,
                    std::int64_t width) const {
  const Tensor& src = sources[index];
  if (y0 >= 0 && x0 >= 0 && y0 + height <= src.h() && x0 + width <= src.w()) {
    Tensor part = src;
    part.view.cut(1, y0, height);
    part.view.cut(2, x0, width);
    return part;
  }
  prim::Copy copy;
  copy.shift = {0, static_cast<std::int32_t>(y0), static_cast<std::int32_t>(x0), 0};
  copy.edge = static_cast<prim::Edge>(geometry[index].edgeMode);
  Tensor padded = list.temporaryImage(src.view.dtype, src.n(), height, width, src.c());
  list.op(copy, {src.read(), padded.write()});
  return padded;
}

}  // namespace kovar::nn
