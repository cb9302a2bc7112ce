// NNGramMatrixCalculation with its gradient, and NNLocalCorrelation, against the oracle and PyTorch.

#include "kovar/MPS/NN/NNGramMatrix.hpp"

#include <cmath>

#include "gradient_case.hpp"
#include "kovar/MPS/NN/NNLocalCorrelation.hpp"
#include "oracle/sample.hpp"
#include "support/golden.hpp"

namespace kovar::test {
namespace {

oracle::Result sums(const Tensor& t, double terms) {
  oracle::Result r{t, t};
  for (double& m : r.magnitude.v) m = terms;
  return r;
}

TEST(GramMatrix, ForwardAndGradientMatchTheOracle) {
  forCases(250, [](Case& k) {
    Random& r = k.random;
    const bool array = r.chance(0.5), temporary = r.chance(0.5), own = r.chance(0.3);
    const Arrangement arrangement = array ? Arrangement::Array : r.pick({Arrangement::Separate, Arrangement::Joined});
    const std::size_t n = r.size(1, 3), h = r.size(1, 7), w = r.size(1, 7), c = r.size(1, 9),
                      before = r.chance(0.2) ? 4 : 0;
    const double alpha = r.pick({1.0, 0.25, -2.0});
    const Format from = r.pick({Format::Float32, Format::Float16});
    const Tensor source = randomTensor(r, n, h, w, before + c, {-2, 2, false}, from);
    const Tensor used = oracle::slice(source, 0, 0, h, w, before, c);
    const Tensor g = randomTensor(r, n, 1, c, c, {-2, 2, false});
    k.text = source.shape() + " " + nameOf(arrangement) + " alpha " + std::to_string(alpha);
    MPS::NNGramMatrixCalculation forward(cpuDevice(), static_cast<float>(alpha));
    // A state's alpha goes before the gradient kernel's own.
    MPS::NNGramMatrixCalculationGradient backward(cpuDevice(), own ? static_cast<float>(alpha) : 17.f);
    forward.setSourceFeatureChannelOffset(before);
    backward.setSecondarySourceFeatureChannelOffset(before);
    forward.setDestinationImageAllocator(float32Images());
    backward.setDestinationImageAllocator(float32Images());
    const auto x = imagesOf(source, from, arrangement), dy = imagesOf(g, Format::Float32, arrangement);
    MPS::ImageBatch y, dx = imagesOf(Tensor(n, h, w, c), Format::Float32, arrangement);
    runOnCpu([&](const auto& buffer) {
      if (array) {
        Ref<MPS::State> state;
        y = {forward.encode(buffer, x[0], &state, temporary)};
        if (own)
          backward.encode(buffer, dy[0], x[0], nullptr, dx[0]);
        else
          dx = {backward.encode(buffer, dy[0], x[0], state)};
      } else {
        MPS::StateBatch states;
        y = forward.encodeBatch(buffer, x, &states, temporary);
        if (own)
          backward.encodeBatch(buffer, dy, x, {}, dx);
        else
          dx = backward.encodeBatch(buffer, dy, x, states);
      }
    });
    const auto terms = static_cast<double>(h * w) * 8;
    EXPECT_TRUE(matches(tensorOf(y), sums(oracle::gramMatrix(used, alpha), terms), Format::Float32, {1e-6, 1e-37}));
    EXPECT_TRUE(matches(tensorOf(dx), sums(oracle::gramMatrixGradient(used, g, alpha), 16.0 * static_cast<double>(c)),
                        Format::Float32, {1e-6, 1e-37}));
  });
}

TEST(GramMatrix, MatchesPyTorch) {
  int compared = 0;
  for (const GoldenCase& golden : readGolden(KOVAR_SOURCE_DIR "/tests/golden/ops/resample.txt")) {
    if (golden.word("kind") != "gram") continue;
    SCOPED_TRACE(golden.name);
    const auto alpha = static_cast<float>(golden.number("alpha"));
    const Tensor &x = golden.tensor("source"), &y = golden.tensor("result"), &dx = golden.tensor("sourceGradient");
    const auto d = imageOf(Tensor(y.n, y.h, y.w, y.c)), s = imageOf(Tensor(x.n, x.h, x.w, x.c));
    runOnCpu([&](const auto& buffer) {
      MPS::NNGramMatrixCalculation(cpuDevice(), alpha).encode(buffer, imageOf(x), d);
      MPS::NNGramMatrixCalculationGradient(cpuDevice(), alpha)
          .encode(buffer, imageOf(golden.tensor("gradient")), imageOf(x), nullptr, s);
    });
    EXPECT_TRUE(matches(tensorOf(*d), sums(y, 100), Format::Float32, {1e-6, 1e-37}));
    EXPECT_TRUE(matches(tensorOf(*s), sums(dx, 100), Format::Float32, {1e-6, 1e-37}));
    ++compared;
  }
  EXPECT_EQ(compared, 6);
}

TEST(GramMatrix, IsTheDerivative) {
  Random r(12);
  const Tensor x = randomTensor(r, 1, 3, 2, 4, {-1, 1, false}), g = randomTensor(r, 1, 1, 4, 4, {-1, 1, false});
  const Tensor exact = oracle::gramMatrixGradient(x, g, 0.5);
  const auto numeric = numericGradient(
      [&](const std::vector<double>& v) {
        Tensor moved = x;
        moved.v = v;
        return dot(oracle::gramMatrix(moved, 0.5).v, g.v);
      },
      x.v);
  for (std::size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(exact.v[i], numeric[i], 1e-6);
}

TEST(GramMatrix, DefaultsAndErrors) {
  MPS::NNGramMatrixCalculation k(cpuDevice());
  EXPECT_EQ(k.alpha(), 1.f);
  EXPECT_EQ(MPS::NNGramMatrixCalculationGradient(cpuDevice()).alpha(), 1.f);
  const auto buffer = cpuQueue()->commandBuffer();
  expectError(
      [&] { k.encode(buffer, imageOf(Tensor(1, 2, 2, 3)), imageOf(Tensor(1, 2, 2, 3))); },
      {"NNGramMatrixCalculation.encode: the destination is 2 x 2; the Gram matrix of 3 feature channels is 3 x 1"});
  k.setOffset({1, 0, 0});
  expectError([&] { k.encode(buffer, imageOf(Tensor(1, 2, 2, 3)), imageOf(Tensor(1, 1, 3, 3))); },
              {"leave offset and clipRect at their defaults"});
}

TEST(LocalCorrelation, MatchesTheOracle) {
  forCases(200, [](Case& k) {
    Random& r = k.random;
    const Arrangement arrangement = randomArrangement(r);
    const std::size_t n = r.size(1, 2), h = r.size(1, 6), w = r.size(1, 6), c = r.size(1, 9);
    const long wx = r.integer(0, 3), wy = r.integer(0, 3), sx = r.integer(1, 2), sy = r.integer(1, 2);
    const bool clamp = r.chance(0.5);
    const Format from = r.pick({Format::Float32, Format::Float16});
    const Tensor a = randomTensor(r, n, h, w, c, {-2, 2, false}, from),
                 b = randomTensor(r, n, h, w, c, {-2, 2, false}, from);
    k.text = a.shape() + " window " + std::to_string(wx) + "," + std::to_string(wy) + " stride " + std::to_string(sx) +
             "," + std::to_string(sy) + (clamp ? " clamp" : "");
    const auto size = [](long v) { return static_cast<std::size_t>(v); };
    MPS::NNLocalCorrelation kernel(cpuDevice(), size(wx), size(wy), size(sx), size(sy));
    if (clamp) kernel.setSecondaryEdgeMode(MPS::ImageEdgeMode::Clamp);
    const auto y = imagesOf(Tensor(n, h, w, size((2 * wx + 1) * (2 * wy + 1))), Format::Float32, arrangement);
    const auto ia = imagesOf(a, from, arrangement), ib = imagesOf(b, from, arrangement);
    runOnCpu([&](const auto& buffer) {
      if (arrangement == Arrangement::Array)
        kernel.encode(buffer, ia[0], ib[0], y[0]);
      else
        kernel.encodeBatch(buffer, ia, ib, y);
    });
    const Tensor wanted =
        oracle::localCorrelation(a, b, wx, wy, sx, sy, clamp ? oracle::EdgeMode::Clamp : oracle::EdgeMode::Zero);
    EXPECT_TRUE(matches(tensorOf(y), sums(wanted, 4.0 * static_cast<double>(c)), Format::Float32, {1e-6, 1e-37}));
  });
}

TEST(LocalCorrelation, DefaultsAndErrors) {
  MPS::NNLocalCorrelation k(cpuDevice());
  EXPECT_EQ(k.windowInX(), 0u);
  EXPECT_EQ(k.windowInY(), 0u);
  EXPECT_EQ(k.strideInX(), 1u);
  EXPECT_EQ(k.strideInY(), 1u);
  const auto buffer = cpuQueue()->commandBuffer();
  const auto a = imageOf(Tensor(1, 2, 2, 3)), b = imageOf(Tensor(1, 2, 2, 4));
  expectError([&] { k.encode(buffer, a, b, imageOf(Tensor(1, 2, 2, 1))); },
              {"NNLocalCorrelation.encode: the primary source has 3 feature channels, the secondary 4"});
  k.setStrideInX(0);
  expectError([&] { k.encode(buffer, a, a, imageOf(Tensor(1, 2, 2, 1))); }, {"a stride of 0 x 1"});
  k.setStrideInX(1);
  k.setWindowInY(65);
  expectError([&] { k.encode(buffer, a, a, imageOf(Tensor(1, 2, 2, 1))); }, {"a window of 0 x 65; each may be 64"});
}

}  // namespace
}  // namespace kovar::test
