// Copies: moved as they are, converted or added by a program, shifted with edge modes, gathered.

#include <algorithm>
#include <array>
#include <vector>

#include "backend/cuda/cuda.hpp"
#include "backend/cuda/nests.hpp"
#include "backend/cuda/program.hpp"
#include "prim/edge.hpp"

namespace kovar::cuda {
namespace {

using prim::Edge;
using prim::EwOp;
using prim::View;

bool plainShape(const prim::Copy& desc, const View& a, const View& b) {
  for (int axis = 0; axis < a.rank; ++axis)
    if (a.dim(axis) != b.dim(axis) || (axis < 4 && desc.shift[static_cast<std::size_t>(axis)] != 0)) return false;
  return true;
}

void setRaw(const View& src, const View& dst, CudaPlan& plan) {
  const std::array<View, 2> views{src, dst};
  RawCopyParams p;
  p.nest = nestOf<2>(views);
  p.size = static_cast<std::int32_t>(bytesOf(src));
  const auto last = static_cast<std::size_t>(p.nest.rank - 1);
  const bool run = p.nest.step[last][0] == p.size && p.nest.step[last][1] == p.size;
  const std::int64_t srcStart = src.offset * bytesOf(src), dstStart = dst.offset * bytesOf(dst);
  if (run && p.nest.rank == 1) {
    const auto bytes = static_cast<std::size_t>(p.nest.count[0] * p.size);
    plan.run = {srcStart, dstStart, bytes};
    plan.body = [=](const Context& context, const prim::Invocation& inv) {
      return check(cudaMemcpyAsync(inv.args[1].data + dstStart, inv.args[0].data + srcStart, bytes,
                                   cudaMemcpyDeviceToDevice, context.stream),
                   "copy");
    };
    return;
  }
  // Runs move in the largest pieces that all rows start and end on.
  for (const std::int32_t wide : {16, 8, 4, 2}) {
    if (!run || wide <= p.size) break;
    bool fits = p.nest.count[last] * p.size % wide == 0 && srcStart % wide == 0 && dstStart % wide == 0;
    for (std::size_t a = 0; a < last; ++a)
      fits = fits && p.nest.step[a][0] % wide == 0 && p.nest.step[a][1] % wide == 0;
    if (!fits) continue;
    p.nest.count[last] = p.nest.count[last] * p.size / wide;
    p.nest.step[last][0] = p.nest.step[last][1] = wide;
    p.size = wide;
    break;
  }
  p.elements = 1;
  for (std::size_t a = 0; a <= last; ++a) p.elements *= p.nest.count[a];
  plan.body = [=](const Context& context, const prim::Invocation& inv) -> base::Status {
    RawCopyParams now = p;
    now.src = inv.args[0].data + srcStart;
    now.dst = inv.args[1].data + dstStart;
    const auto both = reinterpret_cast<std::uintptr_t>(now.src) | reinterpret_cast<std::uintptr_t>(now.dst);
    if (both % static_cast<std::uintptr_t>(now.size) != 0)
      return base::Failure{"copy: memory given by the caller is not aligned to " + std::to_string(now.size) +
                           " bytes; align it to 16 bytes"};
    return check(runRawCopy(now, context.stream), "copy");
  };
}

void setConverting(const View& src, const View& dst, bool accumulate, CudaPlan& plan) {
  prim::Program program;
  program.push({.op = EwOp::Load, .dst = 0, .arg = 0});
  if (accumulate) {
    program.push({.op = EwOp::Load, .dst = 1, .arg = 1});
    program.push({.op = EwOp::Add, .dst = 0, .a = 1, .b = 0});
  }
  program.push({.op = EwOp::Store, .a = 0, .arg = 1});
  const std::array<View, 2> views{src, dst};
  auto prepared = std::make_shared<const PreparedProgram>(program, views);
  plan.body = [prepared = std::move(prepared)](const Context& context, const prim::Invocation& inv) {
    return check(prepared->run(context.stream, inv.args), "copy");
  };
}

/// Dims in four places, missing ones in front.
void dimsBack(const View& v, std::int64_t (&dims)[4]) {
  for (int a = 0; a < 4; ++a) dims[a] = a < 4 - v.rank ? 1 : v.dim(a - (4 - v.rank));
}

void setShifted(const View& src, const View& dst, const std::array<std::int64_t, 4>& shift, Edge edge, float fill,
                CudaPlan& plan) {
  ShiftParams p;
  p.src = stridedBack(src);
  p.dst = stridedBack(dst);
  dimsBack(src, p.srcDims);
  dimsBack(dst, p.dstDims);
  for (int a = 0; a < 4; ++a) p.shift[a] = a < 4 - src.rank ? 0 : shift[static_cast<std::size_t>(a - (4 - src.rank))];
  p.edge = edge;
  p.fill = fill;
  plan.body = [p, src, dst](const Context& context, const prim::Invocation& inv) {
    ShiftParams now = p;
    now.src.data = at(inv, 0, src);
    now.dst.data = at(inv, 1, dst);
    return check(runShift(now, context.stream), "shifted copy");
  };
}

base::Status setGather(Device& device, const prim::Copy& desc, const View& diffDst, const View& diffSrc,
                       CudaPlan& plan) {
  GatherParams p;
  p.diffDst = stridedBack(diffDst);
  p.diffSrc = stridedBack(diffSrc);
  std::int64_t read[4];
  dimsBack(diffDst, read);
  dimsBack(diffSrc, p.dims);
  std::vector<std::int32_t> table;
  std::array<std::size_t, 4> first{}, position{};
  for (std::size_t a = 0; a < 4; ++a) {
    const auto missing = static_cast<std::size_t>(4 - diffSrc.rank);
    const std::int64_t shift = a < missing ? 0 : desc.shift[a - missing], extent = p.dims[a];
    std::vector<std::vector<std::int32_t>> readers(static_cast<std::size_t>(extent));
    for (std::int64_t i = 0; i < read[a]; ++i)
      readers[static_cast<std::size_t>(prim::edgeSource(i + shift, extent, desc.edge))].push_back(
          static_cast<std::int32_t>(i));
    first[a] = table.size();
    std::int32_t next = 0;
    for (const auto& r : readers) {
      table.push_back(next);
      next += static_cast<std::int32_t>(r.size());
    }
    table.push_back(next);
    position[a] = table.size();
    for (const auto& r : readers) table.insert(table.end(), r.begin(), r.end());
  }
  KOVAR_TRY_ASSIGN(prim::MemoryRef memory, device.allocateFor(table.size() * sizeof(std::int32_t)));
  KOVAR_TRY(device.upload(*memory, table.data(), table.size() * sizeof(std::int32_t)));
  const auto* base = reinterpret_cast<const std::int32_t*>(memory->data());
  for (std::size_t a = 0; a < 4; ++a) {
    p.first[a] = base + first[a];
    p.position[a] = base + position[a];
  }
  plan.cacheBytes += memory->bytes();
  plan.body = [p, memory, diffDst, diffSrc](const Context& context, const prim::Invocation& inv) {
    GatherParams now = p;
    now.diffDst.data = at(inv, 0, diffDst);
    now.diffSrc.data = at(inv, 1, diffSrc);
    return check(runGather(now, context.stream), "adjoint copy");
  };
  return {};
}

base::Status prepareCopy(Device& device, const prim::Copy& desc, std::span<const View> views,
                         const prim::PrepareOptions&, CudaPlan& plan) {
  const View &from = views[0], &to = views[1];
  const bool plain = plainShape(desc, from, to), same = from.dtype == to.dtype;
  std::array<std::int64_t, 4> shift{};
  for (std::size_t a = 0; a < 4; ++a) shift[a] = desc.shift[a];
  if (plain) {
    if (same && !desc.accumulate)
      setRaw(from, to, plan);
    else
      setConverting(from, to, desc.accumulate, plan);
    return {};
  }
  if (desc.direction == prim::Direction::Forward) {
    setShifted(from, to, shift, desc.edge, desc.edge == Edge::Constant ? desc.fill : 0.f, plan);
    return {};
  }
  if (desc.edge != Edge::Zero && desc.edge != Edge::Constant) return setGather(device, desc, from, to, plan);
  // Every element was read once at most: the adjoint is the copy the other way, with zeros where nobody read.
  for (std::int64_t& s : shift) s = -s;
  setShifted(from, to, shift, Edge::Zero, 0.f, plan);
  return {};
}

constexpr Candidate<prim::Copy> kCandidates[] = {{"cuda:copy:strided", prepareCopy}};

}  // namespace

std::span<const Candidate<prim::Copy>> copyCandidates() { return kCandidates; }

}  // namespace kovar::cuda
