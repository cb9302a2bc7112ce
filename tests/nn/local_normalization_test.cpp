// Cross-channel, spatial and local-contrast normalization and their gradients against the oracle.

#include <cmath>

#include "gradient_case.hpp"
#include "kovar/MPS/NN/CNNNormalization.hpp"
#include "oracle/normalization.hpp"
#include "support/golden.hpp"

namespace kovar::test {
namespace {

using oracle::LocalNormKind;

/// Kernels of one kind with the oracle's parameters.
struct Pair {
  explicit Pair(const oracle::LocalNorm& o, bool withParameters = true) : op(o) {
    const auto size = static_cast<std::size_t>(op.kernelWidth), channels = static_cast<std::size_t>(op.kernelSize);
    const auto set = [&](auto& k) {
      k.setAlpha(static_cast<float>(op.alpha)), k.setBeta(static_cast<float>(op.beta));
      k.setDelta(static_cast<float>(op.delta));
    };
    const auto setContrast = [&](auto& k) {
      set(k);
      k.setP0(static_cast<float>(op.p0)), k.setPm(static_cast<float>(op.pm)), k.setPs(static_cast<float>(op.ps));
    };
    if (op.kind == LocalNormKind::CrossChannel) {
      const auto f = std::make_shared<MPS::CNNCrossChannelNormalization>(cpuDevice(), channels);
      const auto b = std::make_shared<MPS::CNNCrossChannelNormalizationGradient>(cpuDevice(), channels);
      set(*f);
      if (withParameters) set(*b);
      forward = f, backward = b;
    } else if (op.kind == LocalNormKind::Spatial) {
      const auto f = std::make_shared<MPS::CNNSpatialNormalization>(cpuDevice(), size, size);
      const auto b = std::make_shared<MPS::CNNSpatialNormalizationGradient>(cpuDevice(), size, size);
      set(*f);
      if (withParameters) set(*b);
      forward = f, backward = b;
    } else {
      const auto f = std::make_shared<MPS::CNNLocalContrastNormalization>(cpuDevice(), size, size);
      const auto b = std::make_shared<MPS::CNNLocalContrastNormalizationGradient>(cpuDevice(), size, size);
      setContrast(*f);
      if (withParameters) setContrast(*b);
      forward = f, backward = b;
    }
  }
  oracle::LocalNorm op;
  Ref<MPS::CNNKernel> forward;
  Ref<MPS::CNNGradientKernel> backward;
};

oracle::LocalNorm randomOp(Random& r) {
  oracle::LocalNorm op;
  op.kind = r.pick({LocalNormKind::CrossChannel, LocalNormKind::Spatial, LocalNormKind::Contrast});
  op.kernelSize = r.integer(1, 7);
  op.kernelWidth = op.kernelHeight = r.integer(1, 5);
  op.alpha = r.pick({0.0, 0.5, 1.0, 2.0});
  op.beta = r.pick({5.0, 0.75, 0.5, 1.5});
  op.delta = r.pick({1.0, 0.5, 2.0});
  op.p0 = r.pick({1.0, 0.5}), op.pm = r.pick({0.0, 0.25}), op.ps = r.pick({1.0, -1.5});
  return op;
}

const oracle::Domain kDomain{-2, 2, false};

TEST(CnnLocalNormalization, MatchesTheOracle) {
  forCases(400, [](Case& c) {
    oracle::LocalNorm op = randomOp(c.random);
    const Pair pair(op);
    const PointCase p = randomPointCase(c.random, kDomain);
    c.text = "kind " + std::to_string(static_cast<int>(op.kind)) + " " + p.text();
    op.at = p.at;
    test::apply(p.at, *pair.forward);
    const MPS::ImageBatch destination = imagesOf(p.destination, p.destinationFormat, p.arrangement);
    runOnCpu([&](const auto& buffer) {
      encodeAs(p.arrangement, *pair.forward, buffer, imagesOf(p.source, p.sourceFormat, p.arrangement), destination);
    });
    EXPECT_TRUE(matches(tensorOf(destination), oracle::localNormForward(op, p.source, p.destination),
                        p.destinationFormat, oracle::LocalNorm::tolerance()));
  });
}

// The gradient kernel's own parameters are left at their defaults: the state brings the forward kernel's.
TEST(CnnLocalNormalization, AutomaticGradientIsTheDerivative) {
  forCases(300, [](Case& c) {
    oracle::LocalNorm op = randomOp(c.random);
    const Pair pair(op, false);
    const AutomaticCase p = randomAutomaticCase(c.random, {-1, 1, false});
    c.text = "kind " + std::to_string(static_cast<int>(op.kind)) + " " + p.text();
    op.at = p.at;
    const Tensor expected = numericSourceGradient(p, [&](const Tensor& s) {
      return oracle::localNormForward(op, s, Tensor(p.destination.n, p.destination.h, p.destination.w, p.destination.c))
          .value;
    });
    expectAutomaticGradient(p, *pair.forward, *pair.backward, expected, false, c.random.chance(0.5));
  });
}

// By hand: a part of the gradient, moved against source and destination, is that part of the whole gradient.
TEST(CnnLocalNormalization, GradientByHandOfAPart) {
  forCases(200, [](Case& c) {
    Random& r = c.random;
    oracle::LocalNorm op = randomOp(r);
    const std::size_t h = r.size(2, 7), w = r.size(2, 7), channels = r.size(1, 6);
    op.at.edge = r.pick({oracle::EdgeMode::Zero, oracle::EdgeMode::Clamp});
    const Tensor source = randomTensor(r, 2, h, w, channels, kDomain), g = randomTensor(r, 2, h, w, channels, kDomain);
    const oracle::Result whole = oracle::localNormGradient(op, source, g);
    const long x0 = r.integer(0, static_cast<long>(w) - 1), y0 = r.integer(0, static_cast<long>(h) - 1);
    const std::size_t pw = r.size(1, w - static_cast<std::size_t>(x0)),
                      ph = r.size(1, h - static_cast<std::size_t>(y0));
    const Pair pair(op);
    pair.backward->setPrimaryOffset({x0, y0, 0});
    pair.backward->setSecondaryOffset({x0, y0, 0});
    pair.backward->setSecondaryEdgeMode(static_cast<MPS::ImageEdgeMode>(op.at.edge));
    const auto d = imageOf(Tensor(2, ph, pw, channels));
    c.text = "kind " + std::to_string(static_cast<int>(op.kind)) + " k" + std::to_string(op.kernelWidth) + " " +
             source.shape() + " part " + std::to_string(x0) + "," + std::to_string(y0) + "+" + std::to_string(pw) +
             "x" + std::to_string(ph) + " edge " + std::to_string(static_cast<int>(op.at.edge));
    runOnCpu([&](const auto& buffer) { pair.backward->encode(buffer, imageOf(g), imageOf(source), d); });
    const auto part = [&](const Tensor& t) {
      return oracle::slice(t, static_cast<std::size_t>(y0), static_cast<std::size_t>(x0), ph, pw, 0, channels);
    };
    EXPECT_TRUE(matches(tensorOf(*d), {part(whole.value), part(whole.magnitude)}, Format::Float32, {6e-6, 1e-37}));
  });
}

TEST(CnnLocalNormalization, MatchesPyTorch) {
  int compared = 0;
  for (const GoldenCase& g : readGolden(KOVAR_SOURCE_DIR "/tests/golden/ops/local_normalization.txt")) {
    SCOPED_TRACE(g.name);
    oracle::LocalNorm op;
    const std::string& kind = g.word("kind");
    op.kind = kind == "cross"     ? LocalNormKind::CrossChannel
              : kind == "spatial" ? LocalNormKind::Spatial
                                  : LocalNormKind::Contrast;
    op.kernelSize = op.kernelWidth = op.kernelHeight = g.integer("kernelSize");
    op.alpha = g.number("alpha"), op.beta = g.number("beta"), op.delta = g.number("delta");
    op.p0 = g.number("p0"), op.pm = g.number("pm"), op.ps = g.number("ps");
    const Pair pair(op);
    const Tensor& x = g.tensor("source");
    const Tensor zeros(x.n, x.h, x.w, x.c);
    const auto y = imageOf(zeros), d = imageOf(zeros);
    runOnCpu([&](const auto& buffer) {
      pair.forward->encode(buffer, imageOf(x), y);
      pair.backward->encode(buffer, imageOf(g.tensor("gradient")), imageOf(x), d);
    });
    EXPECT_TRUE(matches(tensorOf(*y), {g.tensor("result"), oracle::localNormForward(op, x, zeros).magnitude},
                        Format::Float32, oracle::LocalNorm::tolerance()));
    EXPECT_TRUE(matches(tensorOf(*d),
                        {g.tensor("sourceGradient"), oracle::localNormGradient(op, x, g.tensor("gradient")).magnitude},
                        Format::Float32, {6e-6, 1e-37}));
    ++compared;
  }
  EXPECT_EQ(compared, 24);
}

TEST(CnnLocalNormalization, DocumentedDefaults) {
  const MPS::CNNCrossChannelNormalization across(cpuDevice(), 5);
  EXPECT_EQ(across.alpha(), 1.f);
  EXPECT_EQ(across.beta(), 5.f);
  EXPECT_EQ(across.delta(), 1.f);
  EXPECT_EQ(across.kernelSize(), 5u);
  const MPS::CNNSpatialNormalizationGradient spatial(cpuDevice(), 3, 3);
  EXPECT_EQ(spatial.alpha(), 1.f);
  EXPECT_EQ(spatial.beta(), 5.f);
  EXPECT_EQ(spatial.delta(), 1.f);
  EXPECT_EQ(spatial.secondaryKernelWidth(), 3u);
  const MPS::CNNLocalContrastNormalization contrast(cpuDevice(), 9, 9);
  EXPECT_EQ(contrast.alpha(), 0.f);
  EXPECT_EQ(contrast.beta(), 0.5f);
  EXPECT_EQ(contrast.delta(), 1.f / 1024.f);
  EXPECT_EQ(contrast.p0(), 1.f);
  EXPECT_EQ(contrast.pm(), 0.f);
  EXPECT_EQ(contrast.ps(), 1.f);
  EXPECT_EQ(contrast.kernelHeight(), 9u);
}

TEST(CnnLocalNormalization, CopiesKeepTheirParameters) {
  MPS::CNNCrossChannelNormalization original(cpuDevice(), 3);
  original.setBeta(0.75f);
  const auto copy = std::dynamic_pointer_cast<MPS::CNNCrossChannelNormalization>(original.copy(otherDevice()));
  ASSERT_TRUE(copy);
  EXPECT_EQ(copy->beta(), 0.75f);
  EXPECT_EQ(copy->kernelSize(), 3u);
  EXPECT_EQ(copy->device(), otherDevice());
}

TEST(CnnLocalNormalization, AStateOfAnotherWindowIsRefused) {
  oracle::LocalNorm op;
  op.kind = LocalNormKind::Spatial;
  op.kernelWidth = op.kernelHeight = 3;
  const Pair small(op);
  op.kernelWidth = op.kernelHeight = 5;
  const Pair large(op);
  const auto image = imageOf(Tensor(1, 6, 6, 4));
  const auto state = small.forward->resultState(image, {}, image);
  const auto buffer = cpuQueue()->commandBuffer();
  expectError([&] { large.backward->encode(buffer, image, image, state); },
              {"CNNSpatialNormalizationGradient", "window has another size"});
}

}  // namespace
}  // namespace kovar::test
