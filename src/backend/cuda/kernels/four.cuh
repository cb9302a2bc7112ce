#pragma once
// Four neighbouring values, and formulas on them.

#include "backend/cuda/kernels/lanes.cuh"
#include "maths/neuron-inl.hpp"

namespace kovar::cuda {

using Four = Lanes<4>;

struct NeuronOfFour {
  Four x, slope, gradient;
  bool backward;
  template <class N>
  __device__ Four operator()(const N& f) const {
    Four r;
#pragma unroll
    for (int i = 0; i < 4; ++i)
      r.v[i] = backward ? m::neuronBackward(f, x.v[i], gradient.v[i], slope.v[i]) : m::neuronForward(f, x.v[i], slope.v[i]);
    return r;
  }
};

// Not inlined: an interpreter would carry sixteen formulas twice.
__device__ __noinline__ inline Four neuronOfFour(const prim::EwStep& s, Four x, Four slope, Four gradient, bool backward) {
  const maths::NeuronParams params{static_cast<maths::NeuronType>(s.code), s.p[0], s.p[1], s.p[2]};
  return m::visitNeuron(params, NeuronOfFour{x, slope, gradient, backward});
}

template <class F>
__device__ Four each(const Four& x, const Four& y, F f) {
  Four r;
#pragma unroll
  for (int i = 0; i < 4; ++i) r.v[i] = f(x.v[i], y.v[i]);
  return r;
}

}  // namespace kovar::cuda
