// CNNAddGradient, CNNSubtractGradient, CNNMultiplyGradient against the oracle, PyTorch and finite differences: taken
// from the forward kernel's state and by hand, repeated operands, limits, offsets, clip rectangles, channels.

#include <cmath>

#include "arithmetic_case.hpp"
#include "support/finite_difference.hpp"
#include "support/golden.hpp"

namespace kovar::test {
namespace {

Ref<MPS::CNNArithmeticGradient> gradientOf(ArithmeticOp op, bool secondary) {
  if (op == ArithmeticOp::Add) return std::make_shared<MPS::CNNAddGradient>(cpuDevice(), secondary);
  if (op == ArithmeticOp::Subtract) return std::make_shared<MPS::CNNSubtractGradient>(cpuDevice(), secondary);
  return std::make_shared<MPS::CNNMultiplyGradient>(cpuDevice(), secondary);
}

ArithmeticOp randomDifferentiable(Random& r) {
  return r.pick({ArithmeticOp::Add, ArithmeticOp::Subtract, ArithmeticOp::Multiply});
}

/// The second image of a gradient kernel.
template <class T>
const T& beside(ArithmeticOp op, bool secondary, const T& a, const T& b) {
  return secondary != (op == ArithmeticOp::Multiply) ? b : a;
}

struct Backward {
  Tensor primary, secondary;
};

/// Runs the forward kernel with states, then both gradients from them.
Backward runAutomatic(const ArithmeticCase& c, const Tensor& gradient, bool temporaryStates) {
  const auto forward = kernelOf(c.op);
  const auto a = imagesOf(c.primary, c.primaryFormat, c.arrangement),
             b = imagesOf(c.secondary, c.secondaryFormat, c.arrangement);
  const auto d = imagesOf(c.destination, c.destinationFormat, c.arrangement);
  const auto g = imagesOf(gradient, Format::Float32, c.arrangement);
  MPS::ImageBatch results[2];
  MPS::StateBatch states;
  runOnCpu([&](const auto& buffer) {
    states = temporaryStates ? forward->temporaryResultStateBatch(buffer, a, b, {}, d)
                             : forward->resultStateBatch(a, b, {}, d);
    ASSERT_EQ(states.size(), a.size());
    MPS::CNNArithmeticGradientStateBatch typed;
    for (const auto& s : states) typed.push_back(std::dynamic_pointer_cast<MPS::CNNArithmeticGradientState>(s));
    if (temporaryStates)
      for (const auto& s : states) s->setReadCount(2);
    const bool array = c.arrangement == Arrangement::Array;
    if (array)
      forward->encode(buffer, a[0], b[0], typed[0], d[0]);
    else
      forward->encodeBatch(buffer, a, b, typed, d);
    for (const bool secondary : {false, true}) {
      const auto backward = gradientOf(c.op.op, secondary);
      backward->setDestinationImageAllocator(float32Images());
      const auto& second = beside(c.op.op, secondary, a, b);
      results[secondary] = array ? MPS::ImageBatch{backward->encode(buffer, g[0], second[0], states[0])}
                                 : backward->encodeBatch(buffer, g, second, states);
    }
  });
  for (const auto& s : states) EXPECT_EQ(s->readCount(), 0u);
  return {tensorOf(results[0]), tensorOf(results[1])};
}

ArithmeticCase randomForward(Random& r) {
  ArithmeticCase c = randomArithmetic(r, randomDifferentiable(r));
  // Every image takes part.
  c.op.primary.offset.z = c.op.secondary.offset.z = c.op.clip.z = 0;
  c.op.clip.depth = oracle::kNoClip;
  const std::size_t n = std::min({c.primary.n, c.secondary.n, c.destination.n});
  const auto cut = [&](Tensor& t) {
    t.v.resize(n * t.h * t.w * t.c);
    t.n = n;
  };
  cut(c.primary), cut(c.secondary), cut(c.destination);
  return c;
}

/// The part of a gradient image that the forward kernel wrote.
Tensor written(const ArithmeticCase& c, const Tensor& gradient) {
  const oracle::Region r = oracle::effectiveRegion(c.op.clip, c.destination, 0, c.primary.n);
  return oracle::slice(gradient, static_cast<std::size_t>(r.y), static_cast<std::size_t>(r.x),
                       static_cast<std::size_t>(r.h), static_cast<std::size_t>(r.w), c.op.destinationChannelOffset,
                       oracle::arithmeticChannels(c.op, c.primary, c.secondary));
}

bool limited(const oracle::Arithmetic& op) { return op.minimum > -3e38 || op.maximum < 3e38; }

TEST(CnnArithmeticGradient, FromTheStateMatchesTheOracle) {
  forCases(600, [](Case& k) {
    const ArithmeticCase c = randomForward(k.random);
    const Tensor gradient =
        randomTensor(k.random, c.destination.n, c.destination.h, c.destination.w, c.destination.c, {-2, 2, false});
    const bool temporary = k.random.chance(0.5);
    k.text = c.text() + (limited(c.op) ? " limited" : "") + (temporary ? " temporary" : "");
    const Backward actual = runAutomatic(c, gradient, temporary);
    for (const bool secondary : {false, true}) {
      const oracle::Operand& own = secondary ? c.op.secondary : c.op.primary;
      const Tensor& image = secondary ? c.secondary : c.primary;
      const Tensor zeros(image.n, image.h, image.w,
                         oracle::usedChannels(image, own.channelOffset, own.channelMaxCount));
      oracle::Result expected = oracle::arithmeticGradient(c.op, secondary, limited(c.op), written(c, gradient),
                                                           c.primary, c.secondary, zeros);
      for (double& m : expected.magnitude.v) m += 1e-12;  // elements nobody read are 0, not untouched
      EXPECT_TRUE(matches(secondary ? actual.secondary : actual.primary, expected, Format::Float32, {3e-6, 1e-30}))
          << (secondary ? "secondary" : "primary");
    }
  });
}

// Against differences of the forward kernel's own oracle: nothing of the gradient's oracle takes part.
TEST(CnnArithmeticGradient, IsTheDerivative) {
  forCases(150, [](Case& k) {
    ArithmeticCase c = randomForward(k.random);
    c.primaryFormat = c.secondaryFormat = c.destinationFormat = Format::Float32;
    c.op.minimum = -1e30, c.op.maximum = 1e30;  // a mask that is 1 everywhere
    const Tensor gradient =
        randomTensor(k.random, c.destination.n, c.destination.h, c.destination.w, c.destination.c, {-2, 2, false});
    k.text = c.text();
    const Backward actual = runAutomatic(c, gradient, true);
    const Tensor zeros(c.destination.n, c.destination.h, c.destination.w, c.destination.c);
    for (const bool secondary : {false, true}) {
      const Tensor& x = secondary ? c.secondary : c.primary;
      const std::vector<double> numeric = numericGradient(
          [&](const std::vector<double>& v) {
            Tensor moved = x;
            moved.v = v;
            return dot(
                oracle::arithmeticForward(c.op, secondary ? c.primary : moved, secondary ? moved : c.secondary, zeros)
                    .value.v,
                gradient.v);
          },
          x.v);
      const oracle::Operand& own = secondary ? c.op.secondary : c.op.primary;
      const Tensor& got = secondary ? actual.secondary : actual.primary;
      for (std::size_t i = 0; i < x.size(); ++i) {
        const std::size_t channel = i % x.c;
        if (channel < own.channelOffset || channel - own.channelOffset >= got.c) {
          ASSERT_NEAR(numeric[i], 0, 1e-6) << "a channel outside the window";
          continue;
        }
        ASSERT_NEAR(got.v[i / x.c * got.c + channel - own.channelOffset], numeric[i],
                    3e-5 * (1 + std::fabs(numeric[i])))
            << (secondary ? "secondary " : "primary ") << i;
      }
    }
  });
}

TEST(CnnArithmeticGradient, MatchesPyTorch) {
  int compared = 0;
  for (const GoldenCase& golden : readGolden(KOVAR_SOURCE_DIR "/tests/golden/ops/arithmetic.txt")) {
    SCOPED_TRACE(golden.name);
    ArithmeticCase c;
    const std::string& op = golden.word("op");
    c.op.op = op == "add" ? ArithmeticOp::Add : op == "sub" ? ArithmeticOp::Subtract : ArithmeticOp::Multiply;
    c.primary = golden.tensor("primary"), c.secondary = golden.tensor("secondary");
    const Tensor& y = golden.tensor("result");
    const auto repeat = [&](oracle::Operand& o, const Tensor& t) {
      o.strideY = t.h == y.h, o.strideX = t.w == y.w, o.strideC = t.c == y.c;
    };
    repeat(c.op.primary, c.primary), repeat(c.op.secondary, c.secondary);
    c.op.primary.scale = golden.number("primaryScale"), c.op.secondary.scale = golden.number("secondaryScale");
    c.op.bias = golden.number("bias");
    c.op.minimum = golden.number("minimum"), c.op.maximum = golden.number("maximum");
    c.destination = Tensor(y.n, y.h, y.w, y.c);
    c.arrangement = Arrangement::Array;
    const auto d = imageOf(c.destination);
    runOnCpu([&](const auto& buffer) { kernelOf(c.op)->encode(buffer, imageOf(c.primary), imageOf(c.secondary), d); });
    const Tensor forward = tensorOf(*d);
    const Backward back = runAutomatic(c, golden.tensor("gradient"), false);
    const auto near = [](const Tensor& actual, const Tensor& wanted) {
      ASSERT_TRUE(actual.sameShape(wanted)) << actual.shape() << ", wanted " << wanted.shape();
      for (std::size_t i = 0; i < actual.size(); ++i)
        ASSERT_NEAR(actual.v[i], wanted.v[i], 1e-5 * (1 + std::fabs(wanted.v[i]))) << i;
    };
    near(forward, y);
    near(back.primary, golden.tensor("primaryGradient"));
    near(back.secondary, golden.tensor("secondaryGradient"));
    ++compared;
  }
  EXPECT_EQ(compared, 24);
}

// By hand: everything is the caller's; an axis is summed where the destination is 1 wide.
TEST(CnnArithmeticGradient, ByHandWithoutAState) {
  forCases(300, [](Case& k) {
    Random& r = k.random;
    oracle::Arithmetic op;
    op.op = randomDifferentiable(r);
    const bool secondary = r.chance(0.5);
    oracle::Operand &own = secondary ? op.secondary : op.primary, &other = secondary ? op.primary : op.secondary;
    const std::size_t n = r.size(1, 2), h = r.size(2, 6), w = r.size(2, 6), channels = r.size(2, 9);
    const auto repeat = [&](oracle::Operand& o) {
      o.strideY = r.integer(0, 1), o.strideX = r.integer(0, 1), o.strideC = r.size(0, 1);
    };
    repeat(own);
    if (r.chance(0.5)) repeat(other);
    // Somebody keeps each axis.
    if (own.strideY == 0) other.strideY = 1;
    if (own.strideX == 0) other.strideX = 1;
    if (own.strideC == 0) other.strideC = 1;
    const auto shaped = [&](const oracle::Operand& o) {
      return randomTensor(r, n, o.strideY ? h : 1, o.strideX ? w : 1, o.strideC ? channels : 1, {-3, 3, false});
    };
    const Tensor mine = shaped(own), theirs = shaped(other);
    const Tensor g = randomTensor(r, n, h, w, channels, {-2, 2, false});
    own.scale = r.pick({1.0, -2.0}), other.scale = r.pick({1.0, 0.5});
    const auto kernel = gradientOf(op.op, secondary);
    kernel->setPrimaryScale(static_cast<float>(own.scale * (op.op == ArithmeticOp::Subtract && secondary ? -1 : 1)));
    kernel->setSecondaryScale(static_cast<float>(other.scale));
    kernel->setSecondaryStrideInPixelsY(static_cast<std::size_t>(other.strideY));
    kernel->setSecondaryStrideInPixelsX(static_cast<std::size_t>(other.strideX));
    kernel->setSecondaryStrideInFeatureChannels(other.strideC);
    k.text =
        std::string(op.name()) + (secondary ? " secondary " : " primary ") + mine.shape() + " by " + theirs.shape();
    const auto d = imageOf(mine);
    runOnCpu([&](const auto& buffer) {
      kernel->encode(buffer, imageOf(g), imageOf(op.op == ArithmeticOp::Multiply ? theirs : mine), nullptr, d);
    });
    oracle::Result expected =
        oracle::arithmeticGradient(op, secondary, false, g, secondary ? theirs : mine, secondary ? mine : theirs, mine);
    EXPECT_TRUE(matches(tensorOf(*d), expected, Format::Float32, {3e-6, 1e-30}));
  });
}

Tensor row(std::initializer_list<double> values) {
  Tensor t(1, 1, values.size(), 1);
  t.v = values;
  return t;
}

std::vector<double> runByHand(MPS::CNNArithmeticGradient& k, const Tensor& g, const Tensor& second,
                              const Ref<MPS::State>& state = nullptr) {
  const auto d = imageOf(Tensor(1, 1, g.w, 1));
  runOnCpu([&](const auto& buffer) { k.encode(buffer, imageOf(g), imageOf(second), state, d); });
  return tensorOf(*d).v;
}

TEST(CnnArithmeticGradient, TheMinusOfADifferenceIsInTheKernelUntilAScaleIsSet) {
  MPS::CNNSubtractGradient k(cpuDevice(), true);
  EXPECT_EQ(k.primaryScale(), 1.f);
  EXPECT_TRUE(k.isSecondarySourceFilter());
  EXPECT_EQ(runByHand(k, row({1, 2}), row({0, 0})), (std::vector<double>{-1, -2}));
  k.setPrimaryScale(-1.f);
  EXPECT_EQ(runByHand(k, row({1, 2}), row({0, 0})), (std::vector<double>{-1, -2}));
  k.setPrimaryScale(3.f);
  EXPECT_EQ(runByHand(k, row({1, 2}), row({0, 0})), (std::vector<double>{3, 6}));
}

TEST(CnnArithmeticGradient, OwnScalesReplaceThoseOfTheState) {
  const auto forward = std::make_shared<MPS::CNNMultiply>(cpuDevice());
  forward->setPrimaryScale(2.f);
  forward->setSecondaryScale(5.f);
  const auto a = imageOf(row({1, 2})), b = imageOf(row({3, 4})), y = imageOf(row({0, 0}));
  const auto state = forward->resultState(a, b, {}, y);
  MPS::CNNMultiplyGradient k(cpuDevice(), false);
  EXPECT_EQ(runByHand(k, row({1, 1}), row({3, 4}), state), (std::vector<double>{30, 40}));
  k.setPrimaryScale(1.f);
  EXPECT_EQ(runByHand(k, row({1, 1}), row({3, 4}), state), (std::vector<double>{15, 20}));
  k.setSecondaryScale(1.f);
  EXPECT_EQ(runByHand(k, row({1, 1}), row({3, 4}), state), (std::vector<double>{3, 4}));
}

// What lies on a limit was clamped: strictly inside counts.
TEST(CnnArithmeticGradient, LimitsOfTheForwardKernelStopTheGradient) {
  const auto forward = std::make_shared<MPS::CNNAdd>(cpuDevice());
  forward->setMinimumValue(0.f);
  forward->setMaximumValue(6.f);
  const auto a = imageOf(row({-1, 0, 1, 5, 6, 7})), b = imageOf(row({0, 0, 0, 0, 0, 0})),
             y = imageOf(row({0, 0, 0, 0, 0, 0}));
  const auto state = std::dynamic_pointer_cast<MPS::CNNArithmeticGradientState>(forward->resultState(a, b, {}, y));
  ASSERT_TRUE(state);
  runOnCpu([&](const auto& buffer) { forward->encode(buffer, a, b, state, y); });
  MPS::CNNAddGradient k(cpuDevice(), false);
  const Tensor ones = row({1, 1, 1, 1, 1, 1});
  EXPECT_EQ(runByHand(k, ones, ones, state), (std::vector<double>{0, 0, 1, 1, 0, 0}));
  EXPECT_EQ(runByHand(k, ones, ones), (std::vector<double>{1, 1, 1, 1, 1, 1})) << "without a state: as if unlimited";
}

TEST(CnnArithmeticGradient, ErrorsTellWhatIsWrong) {
  const auto a = imageOf(Tensor(1, 2, 3, 4)), g = imageOf(Tensor(1, 2, 3, 4));
  MPS::CNNAdd add(cpuDevice());
  MPS::CNNMultiplyGradient k(cpuDevice(), false);
  k.setLabel("dm");
  const auto buffer = cpuQueue()->commandBuffer();
  const auto state = add.resultState(a, a, {}, g);
  expectError([&] { k.encode(buffer, g, a, state); },
              {"CNNMultiplyGradient \"dm\"", "made by another arithmetic class"});
  expectError([&] { k.encode(buffer, g, a, Ref<MPS::State>()); }, {"needs the state that the forward kernel's"});
  expectError([&] { k.setSecondaryStrideInFeatureChannels(2); }, {"secondaryStrideInFeatureChannels: 2"});
  add.setMinimumValue(0.f);
  const auto empty = add.resultState(a, a, {}, g);
  MPS::CNNAddGradient sum(cpuDevice(), false);
  expectError([&] { sum.encode(buffer, g, a, empty); }, {"the state has no mask of them yet"});
  MPS::CNNDivide divide(cpuDevice());
  EXPECT_FALSE(divide.resultState(a, a, {}, g));
  expectError(
      [&] { divide.encode(buffer, a, a, std::dynamic_pointer_cast<MPS::CNNArithmeticGradientState>(state), g); },
      {"CNNDivide.encode", "this class has no gradient"});
}

}  // namespace
}  // namespace kovar::test
