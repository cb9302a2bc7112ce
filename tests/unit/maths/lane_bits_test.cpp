// The same bits on every set of lanes with FMA; no fusing of multiplications and additions behind the source's back.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>

#include "cuda/lane_bits_cases.hpp"
#include "lane_targets.hpp"

namespace kovar::test {
namespace {

bool same(float a, float b) {
  return (std::isnan(a) && std::isnan(b)) || std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b);
}

TEST(LaneBits, FusedTargetsAgreeWithPlainFloats) {
  const LaneInputs in = laneInputs();
  std::vector<float> plain(in.x.size()), vector(in.x.size()), singly(in.x.size());
  int fused = 0;
  for (const LaneSet& set : laneSets()) {
    if (!set.fused) continue;
    ++fused;
    for (int id = 0; id < kLaneCases; ++id) {
      laneSets().front().run(id, in.x.data(), in.y.data(), plain.data(), plain.size());
      set.run(id, in.x.data(), in.y.data(), vector.data(), vector.size());
      set.runSingly(id, in.x.data(), in.y.data(), singly.data(), singly.size());
      for (std::size_t i = 0; i < plain.size(); ++i) {
        ASSERT_TRUE(same(plain[i], vector[i])) << set.name << " " << laneCaseName(id) << " of " << in.x[i] << ", "
                                               << in.y[i] << ": " << vector[i] << ", plain floats give " << plain[i];
        ASSERT_TRUE(same(plain[i], singly[i])) << set.name << ", V = float, " << laneCaseName(id) << " of " << in.x[i]
                                               << ", " << in.y[i] << ": " << singly[i] << " instead of " << plain[i];
      }
    }
  }
  EXPECT_GE(fused, 1);
}

// Without FMA, vectors and floats of one target still agree with each other.
TEST(LaneBits, VectorsAgreeWithFloatsOfTheirOwnTarget) {
  const LaneInputs in = laneInputs();
  std::vector<float> vector(in.x.size()), singly(in.x.size());
  for (const LaneSet& set : laneSets()) {
    if (set.fused) continue;
    for (int id = 0; id < kLaneCases; ++id) {
      set.run(id, in.x.data(), in.y.data(), vector.data(), vector.size());
      set.runSingly(id, in.x.data(), in.y.data(), singly.data(), singly.size());
      for (std::size_t i = 0; i < vector.size(); ++i)
        ASSERT_TRUE(same(vector[i], singly[i])) << set.name << " " << laneCaseName(id) << " of " << in.x[i] << ", "
                                                << in.y[i] << ": " << vector[i] << " and " << singly[i];
    }
  }
}

// The number that the GPU's program compares with too: tests/cuda/lane_bits.cu.
TEST(LaneBits, ChecksumIsTheRecordedOne) {
  const LaneInputs in = laneInputs();
  std::vector<float> out(in.x.size());
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (int id = 0; id < kLaneCases; ++id) {
    laneSets().front().run(id, in.x.data(), in.y.data(), out.data(), out.size());
    hash = laneChecksum(out.data(), out.size(), hash);
  }
  EXPECT_EQ(hash, kLaneChecksum) << std::hex << "0x" << hash
                                 << ": if a formula was changed on purpose, record this in cuda/lane_bits_cases.hpp";
}

// (1 + 2^-12)^2 - (1 + 2^-11) is 2^-24 when the product is kept exact and 0 when it is rounded first.
TEST(LaneBits, ProductsAreRoundedBeforeTheyAreAdded) {
  const float x = 1.f + 0x1p-12f, z = -(1.f + 0x1p-11f);
  volatile float a = x, b = x, c = z;
  const float product = a * b;
  EXPECT_EQ(product + c, 0.f) << "compiled with contraction: -ffp-contract=off is missing";
  for (const LaneSet& set : laneSets()) {
    // arithmetic: (1.1 x) / (0.7 y) + 0.2 has no multiply-add; Sgd's 0.1 y + 0.9 m has one on purpose. MSE's value e*e
    // summed outside is covered by AveragePool; here Preprocess: 0.3 d + 0.01 v with the sum fused and 0.3 d rounded.
    const float d = 1.f / 3.f, v = 1e4f;
    float out = 0;
    set.run(kPreprocess, &d, &v, &out, 1);
    const float scaled = d * 0.3f;
    const float expected = set.fused ? std::fma(0.01f, v, scaled) : 0.01f * v + scaled;
    EXPECT_EQ(out, expected) << set.name;
  }
}

TEST(LaneBits, EveryCaseHasAName) {
  for (int id = 0; id < kLaneCases; ++id) EXPECT_FALSE(laneCaseName(id).empty());
  EXPECT_EQ(laneCaseName(kUniform), "uniform");
  EXPECT_EQ(laneCaseName(kMaxPool), "MaxPool");
  EXPECT_EQ(laneCaseName(kAmsGrad), "AmsGrad");
}

}  // namespace
}  // namespace kovar::test
