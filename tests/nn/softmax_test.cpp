// CNNSoftMax, CNNLogSoftMax and their gradients against the oracle.

#include "oracle/softmax.hpp"

#include <cmath>
#include <limits>

#include "gradient_case.hpp"
#include "kovar/MPS/NN/CNNSoftMax.hpp"
#include "support/golden.hpp"

namespace kovar::test {
namespace {

/// The kernel pair of one kind.
struct Pair {
  explicit Pair(bool logarithm) {
    op.logarithm = logarithm;
    if (logarithm) {
      forward = std::make_shared<MPS::CNNLogSoftMax>(cpuDevice());
      backward = std::make_shared<MPS::CNNLogSoftMaxGradient>(cpuDevice());
    } else {
      forward = std::make_shared<MPS::CNNSoftMax>(cpuDevice());
      backward = std::make_shared<MPS::CNNSoftMaxGradient>(cpuDevice());
    }
  }
  oracle::Softmax op;
  Ref<MPS::CNNKernel> forward;
  Ref<MPS::CNNGradientKernel> backward;
};

TEST(CnnSoftMax, MatchesTheOracle) {
  forCases(300, [](Case& c) {
    const Pair pair(c.random.chance(0.5));
    const PointCase p = randomPointCase(c.random, oracle::Softmax::domain());
    c.text = p.text();
    test::apply(p.at, *pair.forward);
    const MPS::ImageBatch destination = imagesOf(p.destination, p.destinationFormat, p.arrangement);
    runOnCpu([&](const auto& buffer) {
      encodeAs(p.arrangement, *pair.forward, buffer, imagesOf(p.source, p.sourceFormat, p.arrangement), destination);
    });
    EXPECT_TRUE(matches(tensorOf(destination), oracle::softmaxForward(pair.op, p.at, p.source, p.destination),
                        p.destinationFormat, oracle::Softmax::tolerance()));
  });
}

TEST(CnnSoftMax, GradientMatchesTheOracle) {
  forCases(300, [](Case& c) {
    const Pair pair(c.random.chance(0.5));
    const PointGradientCase p = randomPointGradientCase(
        c.random, pair.op.logarithm ? oracle::Domain{-8, -0.01, false} : oracle::Domain{0.01, 0.99, false});
    c.text = p.text();
    expectGradient(p, *pair.backward, {},
                   oracle::softmaxGradient(pair.op, p.at, p.gradient, p.secondary, p.destination),
                   oracle::Softmax::tolerance());
  });
}

TEST(CnnSoftMax, AutomaticGradientIsTheDerivative) {
  forCases(200, [](Case& c) {
    const Pair pair(c.random.chance(0.5));
    const AutomaticCase p = randomAutomaticCase(c.random, {-3, 3, false});
    c.text = std::string(pair.op.logarithm ? "log " : "") + p.text();
    const Tensor expected = numericSourceGradient(p, [&](const Tensor& s) {
      return oracle::softmaxForward(pair.op, p.at, s,
                                    Tensor(p.destination.n, p.destination.h, p.destination.w, p.destination.c))
          .value;
    });
    expectAutomaticGradient(p, *pair.forward, *pair.backward, expected, true, c.random.chance(0.5));
  });
}

// The clip rectangle moves the result, not what was read: the gradient finds the result where the forward kernel put
// it.
TEST(CnnSoftMax, GradientFindsAResultThatTheClipRectangleMoved) {
  for (const bool logarithm : {false, true}) {
    const Pair pair(logarithm);
    Random r(4);
    const Tensor source = randomTensor(r, 1, 2, 3, 3, {-2, 2}), gradient = randomTensor(r, 1, 4, 5, 3, {-2, 2});
    oracle::Attributes at;
    at.clip.x = 2, at.clip.y = 1, at.clip.width = 3, at.clip.height = 2;
    test::apply(at, *pair.forward);
    pair.backward->setDestinationImageAllocator(float32Images());
    const auto s = imageOf(source), y = imageOf(Tensor(1, 4, 5, 3));
    Ref<MPS::Image> d;
    runOnCpu([&](const auto& buffer) {
      const auto state = pair.forward->resultState(s, {}, y);
      pair.forward->encode(buffer, s, state, y);
      d = pair.backward->encode(buffer, imageOf(gradient), y, state);
    });
    const Tensor none(1, 2, 3, 3), result = oracle::softmaxForward(pair.op, {}, source, none).value;
    EXPECT_TRUE(matches(tensorOf(*d),
                        oracle::softmaxGradient(pair.op, {}, oracle::slice(gradient, 1, 2, 2, 3, 0, 3), result, none),
                        Format::Float32, {4e-6, 1e-37}));
  }
}

TEST(CnnSoftMax, LargeInputsStayFinite) {
  Tensor s(1, 1, 1, 3);
  s.v = {1000, 0, -1000};
  const auto y = imageOf(s), ly = imageOf(s);
  runOnCpu([&](const auto& buffer) {
    MPS::CNNSoftMax(cpuDevice()).encode(buffer, imageOf(s), y);
    MPS::CNNLogSoftMax(cpuDevice()).encode(buffer, imageOf(s), ly);
  });
  EXPECT_EQ(tensorOf(*y).v, (std::vector<double>{1, 0, 0}));
  EXPECT_EQ(tensorOf(*ly).v, (std::vector<double>{0, -1000, -2000}));
}

TEST(CnnSoftMax, OneChannelAndRowsWithoutAFiniteValue) {
  const double inf = std::numeric_limits<double>::infinity();
  Tensor one(1, 1, 2, 1), rows(1, 1, 3, 2);
  one.v = {-1000, 5};
  rows.v = {-inf, -inf, -inf, 3, 1, NAN};
  const auto y = imageOf(one), z = imageOf(rows);
  runOnCpu([&](const auto& buffer) {
    MPS::CNNSoftMax(cpuDevice()).encode(buffer, imageOf(one), y);
    MPS::CNNSoftMax(cpuDevice()).encode(buffer, imageOf(rows), z);
  });
  EXPECT_EQ(tensorOf(*y).v, (std::vector<double>{1, 1}));
  const std::vector<double> v = tensorOf(*z).v;
  EXPECT_TRUE(std::isnan(v[0]) && std::isnan(v[1])) << "all inputs at minus infinity";
  EXPECT_EQ(v[2], 0);
  EXPECT_EQ(v[3], 1);
  EXPECT_TRUE(std::isnan(v[5]));
}

TEST(CnnSoftMax, MatchesPyTorch) {
  int compared = 0;
  for (const GoldenCase& g : readGolden(KOVAR_SOURCE_DIR "/tests/golden/ops/softmax.txt")) {
    SCOPED_TRACE(g.name);
    const Pair pair(g.word("kind") == "log_softmax");
    const Tensor& x = g.tensor("source");
    const Tensor zeros(x.n, x.h, x.w, x.c);
    const auto y = imageOf(zeros), d = imageOf(zeros), gradient = imageOf(g.tensor("gradient"));
    runOnCpu([&](const auto& buffer) {
      pair.forward->encode(buffer, imageOf(x), y);
      pair.backward->encode(buffer, gradient, y, d);
    });
    const oracle::Result scale = oracle::softmaxForward(pair.op, {}, x, zeros);
    EXPECT_TRUE(
        matches(tensorOf(*y), {g.tensor("result"), scale.magnitude}, Format::Float32, oracle::Softmax::tolerance()));
    // the gradient reads the float32 result: what that lost comes on top
    oracle::Result expected = oracle::softmaxGradient(pair.op, {}, g.tensor("gradient"), g.tensor("result"), zeros);
    expected.value = g.tensor("sourceGradient");
    EXPECT_TRUE(matches(tensorOf(*d), expected, Format::Float32, {4e-6, 1e-37}));
    ++compared;
  }
  EXPECT_EQ(compared, 12);
}

// Nothing translated: the form that reads its settings from the state and the one set by hand give the same bits.
TEST(CnnSoftMax, AutomaticAndManualGradientAgree) {
  forCases(40, [](Case& c) {
    Random& r = c.random;
    const Pair pair(r.chance(0.5));
    const std::size_t channels = r.size(1, 11);
    const Tensor source = randomTensor(r, 2, 3, 4, channels, oracle::Softmax::domain()),
                 gradient = randomTensor(r, 2, 3, 4, channels, {-3, 3, false});
    pair.forward->setDestinationImageAllocator(float32Images());
    pair.backward->setDestinationImageAllocator(float32Images());
    const auto s = imageOf(source), g = imageOf(gradient), manual = imageOf(Tensor(2, 3, 4, channels));
    Ref<MPS::Image> automatic;
    runOnCpu([&](const auto& buffer) {
      Ref<MPS::State> state;
      const auto y = pair.forward->encode(buffer, s, &state, false);
      ASSERT_TRUE(state);
      pair.backward->encode(buffer, g, y, manual);
      automatic = pair.backward->encode(buffer, g, y, state);
    });
    EXPECT_EQ(tensorOf(*automatic).v, tensorOf(*manual).v);
  });
}

TEST(CnnSoftMax, AutomaticGradientNeedsAState) {
  const Pair pair(false);
  const auto image = imageOf(Tensor(1, 1, 1, 4));
  const auto buffer = cpuQueue()->commandBuffer();
  expectError([&] { pair.backward->encode(buffer, image, image, Ref<MPS::State>()); },
              {"CNNSoftMaxGradient", "needs the state that the forward kernel's encode or resultState made"});
}

}  // namespace
}  // namespace kovar::test
