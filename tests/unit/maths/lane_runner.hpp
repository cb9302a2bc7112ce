// The loops behind LaneSet; once per set of lanes.
#include "cuda/lane_bits_cases.hpp"

#if defined(KOVAR_TESTS_LANE_RUNNER) == defined(HWY_TARGET_TOGGLE)
#ifdef KOVAR_TESTS_LANE_RUNNER
#undef KOVAR_TESTS_LANE_RUNNER
#else
#define KOVAR_TESTS_LANE_RUNNER
#endif

#include <algorithm>

KOVAR_LANES_BEGIN

template <class V>
void runLaneCase(int id, const float* x, const float* y, float* out, std::size_t n) {
  using namespace kovar::test;
  NeuronParams neuron;
  if (id >= kSimpleCases && id < kSimpleCases + 2 * kNeuronCaseCount) neuron = kNeuronCases[(id - kSimpleCases) / 2];
  constexpr std::size_t kStep = static_cast<std::size_t>(kWidth<V>);
  for (std::size_t i = 0; i < n; i += kStep) {
    float a[kStep] = {}, b[kStep] = {}, r[kStep];
    const std::size_t count = std::min(kStep, n - i);
    std::copy_n(x + i, count, a);
    std::copy_n(y + i, count, b);
    store(evaluateLaneCase(id, neuron, load<V>(a), load<V>(b)), r);
    std::copy_n(r, count, out + i);
  }
}

inline void runRandom(std::uint64_t seed, std::uint32_t item, std::uint64_t sequence, bool normal, float* out,
                      std::size_t n) {
  constexpr std::size_t kStep = 4 * static_cast<std::size_t>(kWidth<Floats>);
  const RandomStream stream{seed, item, sequence};
  for (std::size_t i = 0; i < n; i += kStep) {
    float r[kStep];
    if (normal)
      storeNormal<Floats>(stream, i / 4, r);
    else
      storeUniform<Floats>(stream, i / 4, r);
    std::copy_n(r, std::min(kStep, n - i), out + i);
  }
}

inline void runFormats(const float* x, std::uint16_t* half, float* back, std::uint8_t* u8, std::uint16_t* u16,
                       std::size_t n) {
  constexpr std::size_t kStep = static_cast<std::size_t>(kWidth<Floats>);
  for (std::size_t i = 0; i < n; i += kStep) {
    const std::size_t count = std::min(kStep, n - i);
    float a[kStep] = {}, r[kStep];
    std::uint16_t h[kStep], w[kStep];
    std::uint8_t c[kStep];
    std::copy_n(x + i, count, a);
    const Floats v = load<Floats>(a);
    storeHalf(v, h);
    store(loadHalf<Floats>(h), r);
    storeUnorm(v, c);
    storeUnorm(v, w);
    // Back and forth once more: loading must undo storing.
    storeUnorm(loadUnorm<Floats>(c), c);
    storeUnorm(loadUnorm<Floats>(w), w);
    std::copy_n(h, count, half + i);
    std::copy_n(r, count, back + i);
    std::copy_n(c, count, u8 + i);
    std::copy_n(w, count, u16 + i);
  }
}

KOVAR_LANES_END

#endif  // per lane set
