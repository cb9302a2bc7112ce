// Element-wise programs: an interpreter whose registers stand in shared memory, four elements to a thread.

#include "backend/cuda/kernels/four.cuh"
#include "backend/cuda/kernels/launch.cuh"
#include "maths/arithmetic-inl.hpp"

namespace kovar::cuda {
namespace {

using prim::EwOp;
using prim::EwStep;

struct CompareFour {
  Four x, y;
  template <class C>
  __device__ Four operator()(const C& c) const {
    Four r;
    for (int i = 0; i < 4; ++i) r.v[i] = c.fwd(x.v[i], y.v[i]);
    return r;
  }
};

__device__ Four loadFour(const ElementwiseParams& p, int view, const std::byte* at, int count) {
  Four r;
  const Reach reach = p.reach[view];
  const DType type = p.type[view];
  if (reach == Reach::Floats && count == 4) return *reinterpret_cast<const Four*>(at);
  if (reach == Reach::Same) {
    const float v = loadElement(type, at);
    for (int i = 0; i < 4; ++i) r.v[i] = v;
    return r;
  }
  if (reach == Reach::Halves && count == 4) {
    const uint2 raw = *reinterpret_cast<const uint2*>(at);
    r.v[0] = floatOfHalf(raw.x & 0xffffu);
    r.v[1] = floatOfHalf(raw.x >> 16);
    r.v[2] = floatOfHalf(raw.y & 0xffffu);
    r.v[3] = floatOfHalf(raw.y >> 16);
    return r;
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) r.v[i] = i < count ? loadElement(type, at + i * p.element[view]) : 0.f;
  return r;
}

__device__ void storeFour(const ElementwiseParams& p, int view, std::byte* at, int count, const Four& v) {
  const Reach reach = p.reach[view];
  const DType type = p.type[view];
  if (reach == Reach::Floats && count == 4) {
    *reinterpret_cast<Four*>(at) = v;
    return;
  }
  if (reach == Reach::Halves && count == 4) {
    uint2 raw;
    raw.x = halfOfFloat(v.v[0]) | halfOfFloat(v.v[1]) << 16;
    raw.y = halfOfFloat(v.v[2]) | halfOfFloat(v.v[3]) << 16;
    *reinterpret_cast<uint2*>(at) = raw;
    return;
  }
#pragma unroll
  for (int i = 0; i < 4; ++i)
    if (i < count) storeElement(type, at + i * p.element[view], v.v[i]);
}

template <int kRank>
__global__ void __launch_bounds__(kBlockThreads) elementwiseKernel(const __grid_constant__ ElementwiseParams p) {
  __shared__ Four registers[prim::kMaxRegisters][kBlockThreads];
  const int t = static_cast<int>(threadIdx.x);
  const int rank = p.nest.rank;
  for (std::int64_t g = globalThread(); g < p.groups; g += globalThreads()) {
    const Place<kRank> place(p.nest, rank, g);
    const std::int64_t first = 4 * place.last;
    const int count = static_cast<int>(p.columns - first < 4 ? p.columns - first : 4);
    if (p.load) registers[0][t] = loadFour(p, 0, p.data[0] + place.offset(p.nest, rank, 0), count);
    for (int k = 0; k < p.program.count; ++k) {
      const EwStep& s = p.program.steps[k];
      if (s.op == EwOp::Load) {
        registers[s.dst][t] = loadFour(p, s.arg, p.data[s.arg] + place.offset(p.nest, rank, s.arg), count);
        continue;
      }
      if (s.op == EwOp::Store) {
        storeFour(p, s.arg, p.data[s.arg] + place.offset(p.nest, rank, s.arg), count, registers[s.a][t]);
        continue;
      }
      // Steps that read fewer registers have 0 in the others' places.
      const Four a = registers[s.a][t], b = registers[s.b][t];
      const float p0 = s.p[0], p1 = s.p[1];
      Four r;
      switch (s.op) {
        case EwOp::Const:
          r = each(a, b, [p0](float, float) { return p0; });
          break;
        case EwOp::Neuron:
          r = neuronOfFour(s, a, b, a, false);
          break;
        case EwOp::NeuronGrad:
          r = neuronOfFour(s, a, b, registers[s.c][t], true);
          break;
        case EwOp::Affine:
          r = each(a, b, [p0, p1](float x, float) { return m::Affine{p0, p1}.fwd(x); });
          break;
        case EwOp::Add:
          r = each(a, b, [](float x, float y) { return m::Add{}.fwd(x, y); });
          break;
        case EwOp::Sub:
          r = each(a, b, [](float x, float y) { return m::Sub{}.fwd(x, y); });
          break;
        case EwOp::Mul:
          r = each(a, b, [](float x, float y) { return m::Mul{}.fwd(x, y); });
          break;
        case EwOp::Div:
          r = each(a, b, [](float x, float y) { return m::Div{}.fwd(x, y); });
          break;
        case EwOp::Min:
          r = each(a, b, [](float x, float y) { return m::Min{}.fwd(x, y); });
          break;
        case EwOp::Max:
          r = each(a, b, [](float x, float y) { return m::Max{}.fwd(x, y); });
          break;
        case EwOp::Clamp:
          r = each(a, b, [p0, p1](float x, float) { return m::clamp(x, p0, p1); });
          break;
        case EwOp::Compare:
          r = m::visitComparison(static_cast<maths::ComparisonType>(s.code), p0, CompareFour{a, b});
          break;
        default:  // InRange
          r = each(a, b, [p0, p1](float x, float) { return m::insideRange(x, p0, p1); });
          break;
      }
      registers[s.dst][t] = r;
    }
    if (p.store) storeFour(p, 1, p.data[1] + place.offset(p.nest, rank, 1), count, registers[0][t]);
  }
}

}  // namespace

cudaError_t runElementwise(const ElementwiseParams& p, cudaStream_t stream) {
  if (cudaError_t result = cudaSuccess; runShortProgram(p, stream, result)) return result;
  const dim3 blocks(blocksFor(p.groups, kBlockThreads));
  if (p.nest.rank == 1) return launch(elementwiseKernel<1>, blocks, dim3(kBlockThreads), stream, p);
  if (p.nest.rank <= 3) return launch(elementwiseKernel<3>, blocks, dim3(kBlockThreads), stream, p);
  return launch(elementwiseKernel<prim::kMaxRank>, blocks, dim3(kBlockThreads), stream, p);
}

}  // namespace kovar::cuda
