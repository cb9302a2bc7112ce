#include <array>
#include <cstring>
#include <vector>

#include "backend/cuda/cuda.hpp"
#include "backend/cuda/nests.hpp"
#include "prim/resample.hpp"

namespace kovar::cuda {
namespace {

using prim::View;

base::Status prepareResample(Device& device, const prim::Resample& desc, std::span<const View> views,
                             const prim::PrepareOptions&, CudaPlan& plan) {
  const bool forward = desc.direction == prim::Direction::Forward;
  const View &from = views[0], &to = views[1], &reads = forward ? to : from, &read = forward ? from : to;
  const std::array<prim::TapTable, 2> tables{prim::tableOf(desc, desc.y, reads.dim(1), read.dim(1)),
                                             prim::tableOf(desc, desc.x, reads.dim(2), read.dim(2))};
  // Integers and floats of both axes one after the other: they are all of four bytes.
  std::vector<std::byte> bytes;
  std::array<std::size_t, 6> at{};
  std::size_t next = 0;
  const auto append = [&](const auto& values) {
    at[next++] = bytes.size();
    const std::size_t size = values.size() * sizeof(values[0]);
    bytes.resize(bytes.size() + size);
    if (size > 0) std::memcpy(bytes.data() + at[next - 1], values.data(), size);
  };
  for (const prim::TapTable& t : tables) append(t.first), append(t.position), append(t.weight);
  KOVAR_TRY_ASSIGN(prim::MemoryRef memory, device.allocateFor(bytes.size()));
  KOVAR_TRY(device.upload(*memory, bytes.data(), bytes.size()));
  const auto integers = [&](std::size_t i) { return reinterpret_cast<const std::int32_t*>(memory->data() + at[i]); };
  const auto floats = [&](std::size_t i) { return reinterpret_cast<const float*>(memory->data() + at[i]); };
  ResampleParams p;
  p.src = stridedOf(from);
  p.dst = stridedOf(to);
  for (int a = 0; a < 4; ++a) p.dims[a] = to.dim(a);
  p.firstY = integers(0), p.positionY = integers(1), p.weightY = floats(2);
  p.firstX = integers(3), p.positionX = integers(4), p.weightX = floats(5);
  plan.cacheBytes += memory->bytes();
  plan.body = [p, memory, from, to](const Context& context, const prim::Invocation& inv) {
    ResampleParams now = p;
    now.src.data = cuda::at(inv, 0, from);
    now.dst.data = cuda::at(inv, 1, to);
    return check(runResample(now, context.stream), "resampling");
  };
  return {};
}

constexpr Candidate<prim::Resample> kCandidates[] = {{"cuda:resample:taps", prepareResample}};

}  // namespace

std::span<const Candidate<prim::Resample>> resampleCandidates() { return kCandidates; }

}  // namespace kovar::cuda
