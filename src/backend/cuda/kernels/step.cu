// Optimizer updates: one pass over gradient, values and states.

#include "backend/cuda/kernels/elements.cuh"
#include "backend/cuda/kernels/launch.cuh"
#include "maths/optimizer-inl.hpp"

namespace kovar::cuda {
namespace {

using prim::StepKind;

/// The update of one run, made from its scalars.
struct Rule {
  maths::PreprocessParams preprocess;
  float learningRate, momentum, epsilon;
  maths::Decay first, second;
};

__device__ maths::Decay decayOf(float rate, std::uint64_t exact) {
  auto r = static_cast<double>(rate);
  if (exact != 0) memcpy(&r, &exact, sizeof r);
  return {static_cast<float>(r), static_cast<float>(1.0 - r)};
}

__device__ Rule ruleOf(const StepParams& p) {
  const prim::Scalars& s = scalarsOf(p.scalars);
  Rule r;
  r.learningRate = s.f[0];
  r.momentum = s.f[1];
  r.first = decayOf(s.f[1], s.u[0]);
  r.second = decayOf(s.f[2], s.u[1]);
  r.epsilon = s.f[3];
  r.preprocess.rescale = s.f[4];
  r.preprocess.clip = p.desc.clip;
  r.preprocess.clipMin = s.f[5];
  r.preprocess.clipMax = s.f[6];
  r.preprocess.regularization = static_cast<maths::RegularizationType>(p.desc.regularization);
  r.preprocess.regularizationScale = s.f[7];
  return r;
}

/// d: raw gradient, v: value; returns the new value, changes the states.
__device__ float stepOnce(StepKind kind, const Rule& r, float d, float v, float (&state)[3]) {
  const float g = m::Preprocess{r.preprocess}.apply(d, v);
  const m::Adam adam{r.learningRate, r.first, r.second, r.epsilon};
  switch (kind) {
    case StepKind::Sgd:
      return m::Sgd{r.learningRate}.step(v, g);
    case StepKind::SgdMomentum:
      return m::SgdMomentum{r.learningRate, r.momentum}.step(v, g, state[0]);
    case StepKind::SgdNesterov:
      return m::SgdNesterov{r.learningRate, r.momentum}.step(v, g, state[0]);
    case StepKind::RmsProp:
      return m::RmsProp{r.learningRate, r.first, r.epsilon}.step(v, g, state[0]);
    case StepKind::Adam:
      return adam.step(v, g, state[0], state[1]);
    case StepKind::AmsGrad:
      return m::AmsGrad{adam}.step(v, g, state[0], state[1], state[2]);
  }
  return v;
}

__global__ void __launch_bounds__(kBlockThreads) stepKernel(const __grid_constant__ StepParams p) {
  const Rule rule = ruleOf(p);
  const int states = p.views - 3;
  for (std::int64_t i = globalThread(); i < p.elements; i += globalThreads()) {
    const Offsets offset(p.nest, i);
    const auto at = [&](int view) { return p.data[view] + offset.of[view]; };
    float state[3] = {};
#pragma unroll
    for (int k = 0; k < 3; ++k)
      if (k < states) state[k] = loadElement(p.type[2 + k], at(2 + k));
    const float v = stepOnce(p.desc.kind, rule, loadElement(p.type[0], at(0)), loadElement(p.type[1], at(1)), state);
#pragma unroll
    for (int k = 0; k < 3; ++k)
      if (k < states) storeElement(p.type[2 + k], at(2 + k), state[k]);
#pragma unroll
    for (int k = 2; k < 6; ++k)
      if (k == p.views - 1) storeElement(p.type[k], at(k), v);
  }
}

template <StepKind kKind>
__global__ void __launch_bounds__(kBlockThreads) stepVectorKernel(const __grid_constant__ StepParams p) {
  const Rule rule = ruleOf(p);
  constexpr int states = static_cast<int>(prim::statesOf(kKind));
  for (std::int64_t i = globalThread(); i < (p.elements + 3) / 4; i += globalThreads()) {
    const std::int64_t left = p.elements - 4 * i;
    // Arrays are indexed by constants only: others would lie in memory instead of registers.
    const auto read = [&](int view, float (&v)[4]) {
      const float* from = reinterpret_cast<const float*>(p.data[view]) + 4 * i;
      if (left >= 4) {
        const float4 four = *reinterpret_cast<const float4*>(from);
        v[0] = four.x, v[1] = four.y, v[2] = four.z, v[3] = four.w;
      } else {
#pragma unroll
        for (int e = 0; e < 4; ++e) v[e] = e < left ? from[e] : 0.f;
      }
    };
    const auto write = [&](int view, const float (&v)[4]) {
      float* to = reinterpret_cast<float*>(p.data[view]) + 4 * i;
      if (left >= 4) {
        *reinterpret_cast<float4*>(to) = make_float4(v[0], v[1], v[2], v[3]);
      } else {
#pragma unroll
        for (int e = 0; e < 4; ++e)
          if (e < left) to[e] = v[e];
      }
    };
    float d[4], v[4], state[3][4] = {};
    read(0, d);
    read(1, v);
#pragma unroll
    for (int k = 0; k < 3; ++k)
      if (k < states) read(2 + k, state[k]);
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      float one[3] = {state[0][e], state[1][e], state[2][e]};
      v[e] = stepOnce(kKind, rule, d[e], v[e], one);
#pragma unroll
      for (int k = 0; k < 3; ++k) state[k][e] = one[k];
    }
#pragma unroll
    for (int k = 0; k < 3; ++k)
      if (k < states) write(2 + k, state[k]);
    write(p.views - 1, v);
  }
}

}  // namespace

cudaError_t runStep(const StepParams& p, cudaStream_t stream) {
  if (!p.vectors)
    return launch(stepKernel, dim3(blocksFor(p.elements, kBlockThreads)), dim3(kBlockThreads), stream, p);
  // Each thread works out the rule once: enough threads to fill the device, no more.
  const dim3 blocks(blocksFor((p.elements + 3) / 4, kBlockThreads, 2048));
  const auto run = [&](auto kernel) { return launch(kernel, blocks, dim3(kBlockThreads), stream, p); };
  switch (p.desc.kind) {
    case StepKind::Sgd:
      return run(stepVectorKernel<StepKind::Sgd>);
    case StepKind::SgdMomentum:
      return run(stepVectorKernel<StepKind::SgdMomentum>);
    case StepKind::SgdNesterov:
      return run(stepVectorKernel<StepKind::SgdNesterov>);
    case StepKind::RmsProp:
      return run(stepVectorKernel<StepKind::RmsProp>);
    case StepKind::Adam:
      return run(stepVectorKernel<StepKind::Adam>);
    case StepKind::AmsGrad:
      break;
  }
  return run(stepVectorKernel<StepKind::AmsGrad>);
}

}  // namespace kovar::cuda
