#pragma once
// The start of the ten steps in digits_parity.txt, for a test that has no Python. README.md beside this file tells all.

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace kovar::test::digits_parity {

/// One layer of the digit classifier: shape of its weights in OHWI order, how they start, how the golden file samples.
struct Layer {
  std::string_view name;
  std::array<size_t, 4> shape;
  float bound;
  uint64_t seed;
  size_t stride;

  size_t count() const { return shape[0] * shape[1] * shape[2] * shape[3]; }
};

inline constexpr std::array<Layer, 4> kLayers{{{"conv1", {32, 5, 5, 1}, 0.5f, 140, 1},
                                               {"conv2", {64, 5, 5, 32}, 0.0625f, 141, 97},
                                               {"fc1", {1024, 7, 7, 64}, 0.125f, 142, 499},
                                               {"fc2", {10, 1, 1, 1024}, 0.015625f, 143, 7}}};

/// Every bias starts with this.
inline constexpr float kBias = 0.1f;

/// Start weights of a layer, OHWI. SplitMix64's top 24 bits, times powers of two: every step is exact in float32.
inline std::vector<float> startWeights(const Layer& layer) {
  std::vector<float> weights(layer.count());
  uint64_t state = layer.seed;
  for (float& weight : weights) {
    state += 0x9E3779B97F4A7C15u;
    uint64_t bits = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9u;
    bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EBu;
    bits ^= bits >> 31;
    const auto centred = static_cast<int32_t>(bits >> 40) - (1 << 23);
    weight = static_cast<float>(centred) * 0x1p-23f * layer.bound;
  }
  return weights;
}

}  // namespace kovar::test::digits_parity
