// Optimizers against the oracle: vectors, matrices with gaps, float16, convolution states, several steps in a row.

#include "kovar/MPS/NN/NNOptimizers.hpp"

#include <cmath>
#include <limits>

#include "kovar/Support/DataSources.hpp"
#include "nn_case.hpp"
#include "oracle/optimizer.hpp"
#include "support/golden.hpp"

namespace kovar::test {
namespace {

using MPS::DataType;
using MPS::Matrix;
using MPS::Vector;
using oracle::Regularization;

enum class Rule { Sgd, Momentum, Nesterov, RmsProp, Adam, AmsGrad };

std::size_t statesOf(Rule rule) {
  return rule == Rule::Sgd ? 0 : rule == Rule::Adam ? 2 : rule == Rule::AmsGrad ? 3 : 1;
}

/// An optimizer with the oracle's parameters, both drawn alike.
struct Drawn {
  Rule rule = Rule::Sgd;
  oracle::Optimizer common;
  oracle::Adam adam;
  double momentum = 0.5, decay = 0.9, epsilon = 1e-3;

  Ref<MPS::NNOptimizerDescriptor> descriptor() const {
    const auto f = [](double v) { return static_cast<float>(v); };
    return MPS::NNOptimizerDescriptor::optimizerDescriptor(
        f(common.learningRate), f(common.gradientRescale), common.applyGradientClipping, f(common.gradientClipMax),
        f(common.gradientClipMin), static_cast<MPS::NNRegularizationType>(common.regularization),
        f(common.regularizationScale));
  }

  /// States in the order of the encode methods.
  using States = std::vector<std::vector<double>>;
  oracle::StepResult step(const std::vector<double>& gradient, const std::vector<double>& values,
                          const States& s) const {
    switch (rule) {
      case Rule::Sgd:
        return oracle::sgdStep(common, 0, false, gradient, values, {});
      case Rule::Momentum:
        return oracle::sgdStep(common, momentum, false, gradient, values, s[0]);
      case Rule::Nesterov:
        return oracle::sgdStep(common, momentum, true, gradient, values, s[0]);
      case Rule::RmsProp:
        return oracle::rmsPropStep(common, decay, epsilon, gradient, values, s[0]);
      case Rule::Adam:
        return oracle::adamStep(common, adam, gradient, values, s[0], s[1], {});
      case Rule::AmsGrad:
        break;
    }
    return oracle::adamStep(common, adam, gradient, values, s[0], s[1], s[2]);
  }
};

double asFloat(double v) { return static_cast<double>(static_cast<float>(v)); }

Drawn randomRule(Random& r) {
  Drawn d;
  d.rule = static_cast<Rule>(r.integer(0, 5));
  d.common.learningRate = asFloat(r.real(-0.2, 0.5));
  if (r.chance(0.5)) d.common.gradientRescale = asFloat(r.real(-1, 2));
  if (r.chance(0.5)) {
    d.common.applyGradientClipping = true;
    d.common.gradientClipMin = asFloat(r.real(-1, 0));
    d.common.gradientClipMax = asFloat(r.real(0, 1));
  }
  d.common.regularization = static_cast<Regularization>(r.integer(0, 2));
  d.common.regularizationScale = asFloat(r.real(-0.5, 0.5));
  d.momentum = asFloat(r.real(0, 1));
  d.decay = r.pick({0.9, 0.99, 0.0, 0.5});
  d.epsilon = asFloat(1e-3);
  d.adam.beta1 = r.pick({0.9, 0.5, 0.0});
  d.adam.beta2 = r.pick({0.999, 0.9});
  d.adam.epsilon = asFloat(1e-3);
  d.adam.timeStep = static_cast<std::size_t>(r.integer(0, 5));
  return d;
}

/// Vector or matrix over a buffer with an offset and gaps that hold NaN; knows where its values are.
struct Held {
  Ref<MTL::Buffer> buffer;
  std::size_t offset = 0, rows = 1, columns = 1, rowBytes = 0, matrices = 1, matrixBytes = 0;
  Format type = Format::Float32;

  std::size_t count() const { return rows * columns * matrices; }
  std::byte* at(std::size_t i) const {
    return static_cast<std::byte*>(buffer->contents()) + offset + i / (rows * columns) * matrixBytes +
           i / columns % rows * rowBytes + i % columns * bytesOf(type);
  }
  std::vector<double> values() const {
    std::vector<double> v(count());
    for (std::size_t i = 0; i < v.size(); ++i) v[i] = getElement(type, at(i));
    return v;
  }
  void set(const std::vector<double>& v) const {
    for (std::size_t i = 0; i < v.size(); ++i) putElement(type, at(i), v[i]);
  }
  std::vector<std::byte> bytes() const {
    const auto* first = static_cast<const std::byte*>(buffer->contents());
    return {first, first + buffer->length()};
  }
  DataType dataType() const { return type == Format::Float32 ? DataType::Float32 : DataType::Float16; }
  Ref<Vector> vector() const {
    return std::make_shared<Vector>(buffer, offset,
                                    MPS::VectorDescriptor::vectorDescriptor(columns, rows, rowBytes, dataType()));
  }
  Ref<Matrix> matrix() const {
    return std::make_shared<Matrix>(
        buffer, offset,
        MPS::MatrixDescriptor::matrixDescriptor(rows, columns, matrices, rowBytes, matrixBytes, dataType()));
  }
};

Held randomHeld(Random& r, std::size_t rows, std::size_t columns, std::size_t matrices, Format type,
                const oracle::Domain& domain) {
  Held h;
  h.rows = rows;
  h.columns = columns;
  h.matrices = matrices;
  h.type = type;
  const std::size_t element = bytesOf(type);
  h.offset = r.chance(0.3) ? element * r.size(1, 5) : 0;
  h.rowBytes = element * (columns + (r.chance(0.3) ? r.size(1, 4) : 0));
  h.matrixBytes = h.rowBytes * (rows + (r.chance(0.3) ? 1 : 0));
  h.buffer = cpuDevice()->newBuffer(h.offset + matrices * h.matrixBytes + 16);
  std::memset(h.buffer->contents(), 0xff, h.buffer->length());
  h.set(randomValues(r, h.count(), domain, type));
  return h;
}

testing::AssertionResult holds(const std::vector<double>& actual, const std::vector<double>& expected,
                               const std::vector<double>& magnitude, Format f) {
  Compare how;
  how.tolerance = oracle::Optimizer::tolerance();
  how.storage = f;
  how.maxZeroShare = 1.0;
  return compare(toFloat(actual), expected, magnitude, how);
}

/// Encodes one step; M is Vector or Matrix.
template <class M>
void encodeStep(const Drawn& d, MPS::NNOptimizer& o, const Ref<MTL::CommandBuffer>& b, const Ref<M>& g, const Ref<M>& v,
                const std::vector<Ref<M>>& s, const Ref<M>& out) {
  switch (d.rule) {
    case Rule::Sgd:
      return dynamic_cast<MPS::NNOptimizerStochasticGradientDescent&>(o).encode(b, g, v, nullptr, out);
    case Rule::Momentum:
    case Rule::Nesterov:
      return dynamic_cast<MPS::NNOptimizerStochasticGradientDescent&>(o).encode(b, g, v, s[0], out);
    case Rule::RmsProp:
      return dynamic_cast<MPS::NNOptimizerRMSProp&>(o).encode(b, g, v, s[0], out);
    case Rule::Adam:
      return dynamic_cast<MPS::NNOptimizerAdam&>(o).encode(b, g, v, s[0], s[1], out);
    case Rule::AmsGrad:
      return dynamic_cast<MPS::NNOptimizerAdam&>(o).encode(b, g, v, s[0], s[1], s[2], out);
  }
}

Ref<MPS::NNOptimizer> makeOptimizer(const Drawn& d) {
  switch (d.rule) {
    case Rule::Sgd:
    case Rule::Momentum:
    case Rule::Nesterov:
      return std::make_shared<MPS::NNOptimizerStochasticGradientDescent>(cpuDevice(), static_cast<float>(d.momentum),
                                                                         d.rule == Rule::Nesterov, d.descriptor());
    case Rule::RmsProp:
      return std::make_shared<MPS::NNOptimizerRMSProp>(cpuDevice(), d.decay, static_cast<float>(d.epsilon),
                                                       d.descriptor());
    case Rule::Adam:
    case Rule::AmsGrad:
      break;
  }
  return std::make_shared<MPS::NNOptimizerAdam>(cpuDevice(), d.adam.beta1, d.adam.beta2,
                                                static_cast<float>(d.adam.epsilon), d.adam.timeStep, d.descriptor());
}

class NnOptimizers : public testing::Test {};

TEST_F(NnOptimizers, VectorsAndMatricesMatchTheOracle) {
  forCases(300, [](Case& c) {
    Random& r = c.random;
    Drawn d = randomRule(r);
    const bool matrix = r.chance(0.5);
    const std::size_t rows = matrix ? r.size(1, 5) : 1, columns = r.size(1, 40),
                      matrices = matrix && r.chance(0.3) ? 2 : 1;
    const auto type = [&] { return r.chance(0.8) ? Format::Float32 : Format::Float16; };
    const Held g = randomHeld(r, rows, columns, matrices, type(), oracle::Optimizer::domain());
    const Held v = randomHeld(r, rows, columns, matrices, type(), oracle::Optimizer::domain());
    const bool inPlace = r.chance(0.4);
    const Held out = inPlace ? v : randomHeld(r, rows, columns, matrices, type(), oracle::Optimizer::domain());
    std::vector<Held> s;
    for (std::size_t i = 0; i < statesOf(d.rule); ++i)
      s.push_back(randomHeld(r, rows, columns, matrices, type(), {0.1, 2, false}));
    c.text = "rule " + std::to_string(static_cast<int>(d.rule)) + (matrix ? " matrix " : " vector ") +
             std::to_string(matrices) + "x" + std::to_string(rows) + "x" + std::to_string(columns) +
             (inPlace ? " in place" : "");
    Drawn::States before;
    for (const Held& h : s) before.push_back(h.values());
    const oracle::StepResult expected = d.step(g.values(), v.values(), before);
    const std::vector<std::byte> gradientBytes = g.bytes(), valueBytes = v.bytes();

    const Ref<MPS::NNOptimizer> o = makeOptimizer(d);
    runOnCpu([&](const auto& buffer) {
      if (matrix) {
        std::vector<Ref<Matrix>> states;
        states.reserve(s.size());
        for (const Held& h : s) states.push_back(h.matrix());
        encodeStep<Matrix>(d, *o, buffer, g.matrix(), v.matrix(), states, out.matrix());
      } else {
        std::vector<Ref<Vector>> states;
        states.reserve(s.size());
        for (const Held& h : s) states.push_back(h.vector());
        encodeStep<Vector>(d, *o, buffer, g.vector(), v.vector(), states, out.vector());
      }
    });
    EXPECT_TRUE(holds(out.values(), expected.values, expected.valuesMagnitude, out.type));
    if (!s.empty())
      EXPECT_TRUE(holds(s[0].values(), expected.state, expected.stateMagnitude, s[0].type)) << "first state";
    if (s.size() > 1)
      EXPECT_TRUE(holds(s[1].values(), expected.secondState, expected.secondStateMagnitude, s[1].type))
          << "second state";
    if (s.size() > 2)
      EXPECT_TRUE(holds(s[2].values(), expected.thirdState, expected.secondStateMagnitude, s[2].type)) << "third state";
    EXPECT_TRUE(g.bytes() == gradientBytes);
    if (!inPlace) EXPECT_TRUE(v.bytes() == valueBytes);
    // Only elements are written: the gaps still hold what they held.
    Held gaps = out;
    gaps.buffer = cpuDevice()->newBuffer(out.bytes().data(), out.buffer->length());
    gaps.set(std::vector<double>(gaps.count(), std::numeric_limits<double>::quiet_NaN()));
    std::size_t notNan = 0;
    const std::vector<std::byte> left = gaps.bytes();
    const std::size_t size = bytesOf(out.type);
    for (std::size_t i = 0; i < left.size() / size; ++i)
      notNan += std::isnan(getElement(out.type, left.data() + i * size)) ? 0 : 1;
    EXPECT_EQ(notNan, 0u) << "something beside the elements was written";
    if (d.rule == Rule::Adam || d.rule == Rule::AmsGrad)
      EXPECT_EQ(dynamic_cast<MPS::NNOptimizerAdam&>(*o).timeStep(), d.adam.timeStep + 1);
  });
}

// Many vectors of one object are one matrix.
TEST_F(NnOptimizers, SeveralVectorsAreUpdatedWhole) {
  forCases(20, [](Case& c) {
    Random& r = c.random;
    const Drawn d = [&] {
      Drawn x = randomRule(r);
      x.rule = Rule::Sgd;
      return x;
    }();
    const Held g = randomHeld(r, 3, 7, 1, Format::Float32, {-1, 1, false}),
               v = randomHeld(r, 3, 7, 1, Format::Float32, {-1, 1, false});
    const oracle::StepResult expected = d.step(g.values(), v.values(), {});
    runOnCpu(
        [&](const auto& b) { encodeStep<Vector>(d, *makeOptimizer(d), b, g.vector(), v.vector(), {}, v.vector()); });
    EXPECT_TRUE(holds(v.values(), expected.values, expected.valuesMagnitude, Format::Float32));
  });
}

// Ten steps in one command buffer: each reads what the one before wrote, each with its own rate.
TEST_F(NnOptimizers, StepsInARowFollowOneAnother) {
  forCases(60, [](Case& c) {
    Random& r = c.random;
    Drawn d = randomRule(r);
    c.text = "rule " + std::to_string(static_cast<int>(d.rule));
    const Held g = randomHeld(r, 1, 9, 1, Format::Float32, {-1, 1, false}),
               v = randomHeld(r, 1, 9, 1, Format::Float32, {-1, 1, false});
    std::vector<Held> s;
    std::vector<Ref<Vector>> states;
    Drawn::States expected;
    for (std::size_t i = 0; i < statesOf(d.rule); ++i) {
      s.push_back(randomHeld(r, 1, 9, 1, Format::Float32, {0.1, 1, false}));
      states.push_back(s.back().vector());
      expected.push_back(s.back().values());
    }
    std::vector<double> values = v.values();
    const std::vector<double> gradient = g.values();
    const Ref<MPS::NNOptimizer> o = makeOptimizer(d);
    runOnCpu([&](const auto& buffer) {
      for (int i = 0; i < 10; ++i) {
        d.common.learningRate = asFloat(0.1 / (i + 1));
        o->setLearningRate(static_cast<float>(d.common.learningRate));
        encodeStep<Vector>(d, *o, buffer, g.vector(), v.vector(), states, v.vector());
        const oracle::StepResult step = d.step(gradient, values, expected);
        values = step.values;
        if (!expected.empty()) expected[0] = step.state;
        if (expected.size() > 1) expected[1] = step.secondState;
        if (expected.size() > 2) expected[2] = step.thirdState;
        ++d.adam.timeStep;
      }
    });
    const std::vector<double> actual = v.values();
    for (std::size_t i = 0; i < values.size(); ++i)
      EXPECT_NEAR(actual[i], values[i], 5e-5 * (1 + std::fabs(values[i])));
  });
}

// --- convolution states
// -----------------------------------------------------------------------------------------------

struct ConvolutionCase {
  Ref<MPS::CNNConvolutionDescriptor> descriptor = MPS::CNNConvolutionDescriptor::cnnConvolutionDescriptor(3, 2, 4, 5);
  std::size_t weights = 5 * 2 * 3 * 4, biases = 5;
  Ref<MPS::CNNConvolution> kernel = std::make_shared<MPS::CNNConvolution>(
      cpuDevice(), std::make_shared<ConvolutionWeights>(descriptor, std::vector<float>(weights, 0.f),
                                                        std::vector<float>(biases, 0.f)));
  Ref<MPS::Image> source = imageOf(Tensor(1, 4, 4, 4)), destination = imageOf(Tensor(1, 4, 4, 5));

  static void fill(const Ref<MTL::Buffer>& b, std::size_t offset, const std::vector<double>& v) {
    for (std::size_t i = 0; i < v.size(); ++i)
      putElement(Format::Float32, static_cast<std::byte*>(b->contents()) + offset + i * 4, v[i]);
  }
  static std::vector<double> read(const Ref<MTL::Buffer>& b, std::size_t offset, std::size_t n) {
    std::vector<double> v(n);
    for (std::size_t i = 0; i < n; ++i)
      v[i] = getElement(Format::Float32, static_cast<const std::byte*>(b->contents()) + offset + i * 4);
    return v;
  }
  Ref<MPS::CNNConvolutionGradientState> gradientState(const std::vector<double>& w,
                                                      const std::vector<double>& b) const {
    auto state = kernel->resultState(source, {}, destination);
    fill(state->gradientForWeights(), 0, w);
    fill(state->gradientForBiases(), 0, b);
    return state;
  }
};

Ref<Vector> vectorOf(const std::vector<double>& v) {
  const std::vector<float> f = toFloat(v);
  return std::make_shared<Vector>(cpuDevice()->newBuffer(f.data(), f.size() * 4),
                                  MPS::VectorDescriptor::vectorDescriptor(f.size(), DataType::Float32));
}
std::vector<double> valuesOf(const Ref<Vector>& v) {
  return ConvolutionCase::read(v->data(), v->offset(), v->length());
}

void encodeStep(const Drawn& d, MPS::NNOptimizer& o, const Ref<MTL::CommandBuffer>& b,
                const Ref<MPS::CNNConvolutionGradientState>& g, const Ref<MPS::CNNConvolutionWeightsAndBiasesState>& v,
                const std::vector<std::vector<Ref<Vector>>>& s,
                const Ref<MPS::CNNConvolutionWeightsAndBiasesState>& out) {
  switch (d.rule) {
    case Rule::Sgd:
      return dynamic_cast<MPS::NNOptimizerStochasticGradientDescent&>(o).encode(b, g, v, {}, out);
    case Rule::Momentum:
    case Rule::Nesterov:
      return dynamic_cast<MPS::NNOptimizerStochasticGradientDescent&>(o).encode(b, g, v, s[0], out);
    case Rule::RmsProp:
      return dynamic_cast<MPS::NNOptimizerRMSProp&>(o).encode(b, g, v, s[0], out);
    case Rule::Adam:
      return dynamic_cast<MPS::NNOptimizerAdam&>(o).encode(b, g, v, s[0], s[1], out);
    case Rule::AmsGrad:
      return dynamic_cast<MPS::NNOptimizerAdam&>(o).encode(b, g, v, s[0], s[1], s[2], out);
  }
}

TEST_F(NnOptimizers, ConvolutionsMatchTheOracle) {
  forCases(200, [](Case& c) {
    Random& r = c.random;
    const Drawn d = randomRule(r);
    const ConvolutionCase conv;
    const auto random = [&](std::size_t n) { return randomValues(r, n, oracle::Optimizer::domain()); };
    const std::vector<double> gw = random(conv.weights), gb = random(conv.biases), w = random(conv.weights),
                              b = random(conv.biases);
    const bool withBiases = r.chance(0.8), inPlace = r.chance(0.5), weightsOnly = d.rule != Rule::Sgd && r.chance(0.3);
    const auto wo = r.pick<std::size_t>({0, 4, 64}), bo = r.pick<std::size_t>({0, 8});
    c.text = "rule " + std::to_string(static_cast<int>(d.rule)) + (withBiases ? " biases" : "") +
             (inPlace ? " in place" : "") + (weightsOnly ? " weights only" : "");
    const auto stateOf = [&](const std::vector<double>& weights, const std::vector<double>& biases) {
      auto wb = cpuDevice()->newBuffer(wo + conv.weights * 4 + 8), bb = cpuDevice()->newBuffer(bo + conv.biases * 4);
      ConvolutionCase::fill(wb, wo, weights);
      ConvolutionCase::fill(bb, bo, biases);
      return std::make_shared<MPS::CNNConvolutionWeightsAndBiasesState>(wb, wo, withBiases ? bb : nullptr,
                                                                        withBiases ? bo : 0, conv.descriptor);
    };
    const auto source = stateOf(w, b);
    const auto result =
        inPlace ? source : stateOf(std::vector<double>(conv.weights, 9), std::vector<double>(conv.biases, 9));
    std::vector<std::vector<Ref<Vector>>> states;
    Drawn::States sw, sb;
    for (std::size_t i = 0; i < statesOf(d.rule); ++i) {
      sw.push_back(randomValues(r, conv.weights, {0.1, 2, false}));
      sb.push_back(randomValues(r, conv.biases, {0.1, 2, false}));
      states.push_back({vectorOf(sw.back())});
      if (!weightsOnly) states.back().push_back(vectorOf(sb.back()));
    }
    const Ref<MPS::NNOptimizer> o = makeOptimizer(d);
    runOnCpu(
        [&](const auto& buffer) { encodeStep(d, *o, buffer, conv.gradientState(gw, gb), source, states, result); });

    const oracle::StepResult ew = d.step(gw, w, sw), eb = d.step(gb, b, sb);
    EXPECT_TRUE(holds(ConvolutionCase::read(result->weights(), wo, conv.weights), ew.values, ew.valuesMagnitude,
                      Format::Float32));
    if (!states.empty()) EXPECT_TRUE(holds(valuesOf(states[0][0]), ew.state, ew.stateMagnitude, Format::Float32));
    if (withBiases) {
      const std::vector<double> biases = ConvolutionCase::read(result->biases(), bo, conv.biases);
      if (weightsOnly) {
        EXPECT_EQ(biases, b) << "not updated, but handed on";
      } else {
        EXPECT_TRUE(holds(biases, eb.values, eb.valuesMagnitude, Format::Float32));
        if (!states.empty()) EXPECT_TRUE(holds(valuesOf(states[0][1]), eb.state, eb.stateMagnitude, Format::Float32));
      }
    }
    if (!inPlace) EXPECT_EQ(ConvolutionCase::read(source->weights(), wo, conv.weights), w);
    if (d.rule == Rule::Adam)
      EXPECT_EQ(dynamic_cast<MPS::NNOptimizerAdam&>(*o).timeStep(), d.adam.timeStep + 1) << "one call, one step";
  });
}

TEST_F(NnOptimizers, ConvolutionVariantsLowerReadCounts) {
  const ConvolutionCase conv;
  MPS::NNOptimizerStochasticGradientDescent sgd(cpuDevice(), 0.5f);
  const auto result = std::make_shared<MPS::CNNConvolutionWeightsAndBiasesState>(cpuDevice(), conv.descriptor);
  MPS::CNNConvolutionGradient convolutionGradient(cpuDevice(), conv.kernel->dataSource());
  runOnCpu([&](const auto& buffer) {
    const auto gradient = conv.kernel->temporaryResultState(buffer, conv.source, {}, conv.destination);
    convolutionGradient.encode(buffer, conv.destination, conv.source, gradient);
    const auto source = conv.kernel->exportWeightsAndBiases(buffer, true);
    ASSERT_TRUE(gradient->isTemporary());
    ASSERT_TRUE(source->isTemporary());
    source->setReadCount(2);
    sgd.encode(buffer, gradient, source, {}, result);
    EXPECT_EQ(gradient->readCount(), 0u);
    EXPECT_EQ(source->readCount(), 1u);
    expectError([&] { sgd.encode(buffer, gradient, source, {}, result); },
                {"convolutionGradientState is used up", "raise readCount"});
    EXPECT_EQ(source->readCount(), 1u) << "a refused encode reads nothing";
  });
}

TEST_F(NnOptimizers, MatchPyTorch) {
  for (const GoldenCase& g : readGolden(KOVAR_SOURCE_DIR "/tests/golden/ops/optimizer.txt")) {
    SCOPED_TRACE(g.name);
    Drawn d;
    d.common.learningRate = g.number("learningRate");
    d.common.regularizationScale = g.number("l2");
    if (g.number("l2") != 0) d.common.regularization = Regularization::L2;
    if (g.name.starts_with("sgd")) {
      d.rule = g.name == "sgd" ? Rule::Sgd : g.name == "sgd_nesterov" ? Rule::Nesterov : Rule::Momentum;
      if (d.rule != Rule::Sgd) d.momentum = g.number("momentum");
    } else if (g.name.starts_with("rmsprop")) {
      d.rule = Rule::RmsProp;
      d.decay = g.number("decay");
      d.epsilon = g.number("epsilon");
    } else {
      d.rule = g.name == "amsgrad" ? Rule::AmsGrad : Rule::Adam;
      d.adam = {g.number("beta1"), g.number("beta2"), g.number("epsilon"), 0};
    }
    const Ref<MPS::NNOptimizer> o = makeOptimizer(d);
    const Ref<Vector> values = vectorOf(g.tensor("values0").v);
    std::vector<Ref<Vector>> states;
    for (std::size_t i = 0; i < statesOf(d.rule); ++i)
      states.push_back(vectorOf(std::vector<double>(values->length())));
    for (int step = 1; step <= 5; ++step) {
      const Ref<Vector> gradient = vectorOf(g.tensor("gradient" + std::to_string(step)).v);
      runOnCpu([&](const auto& buffer) { encodeStep<Vector>(d, *o, buffer, gradient, values, states, values); });
      const std::vector<double>& expected = g.tensor("values" + std::to_string(step)).v;
      const std::vector<double> actual = valuesOf(values);
      for (std::size_t i = 0; i < expected.size(); ++i)
        EXPECT_NEAR(actual[i], expected[i], 4e-6 * (1 + std::fabs(expected[i]))) << step;
    }
  }
}

TEST_F(NnOptimizers, DefaultsAreTheDocumentedOnes) {
  const MPS::NNOptimizerStochasticGradientDescent sgd(cpuDevice(), 0.25f);
  EXPECT_EQ(sgd.learningRate(), 0.25f);
  EXPECT_EQ(sgd.momentumScale(), 0.f);
  EXPECT_FALSE(sgd.useNesterovMomentum());
  EXPECT_FALSE(sgd.useNestrovMomentum());
  EXPECT_EQ(sgd.gradientRescale(), 1.f);
  EXPECT_FALSE(sgd.applyGradientClipping());
  EXPECT_EQ(sgd.gradientClipMax(), std::numeric_limits<float>::max());
  EXPECT_EQ(sgd.gradientClipMin(), std::numeric_limits<float>::lowest());
  EXPECT_EQ(sgd.regularizationType(), MPS::NNRegularizationType::None);
  EXPECT_EQ(sgd.regularizationScale(), 0.f);
  const MPS::NNOptimizerRMSProp rms(cpuDevice(), 0.25f);
  EXPECT_EQ(rms.decay(), 0.9);
  EXPECT_EQ(rms.epsilon(), 1e-8f);
  MPS::NNOptimizerAdam adam(cpuDevice(), 0.25f);
  EXPECT_EQ(adam.beta1(), 0.9);
  EXPECT_EQ(adam.beta2(), 0.999);
  EXPECT_EQ(adam.epsilon(), 1e-8f);
  EXPECT_EQ(adam.timeStep(), 0u);
  adam.setTimeStep(41);
  const auto copy = std::dynamic_pointer_cast<MPS::NNOptimizerAdam>(adam.copy(nullptr));
  ASSERT_TRUE(copy);
  EXPECT_EQ(copy->timeStep(), 41u);
}

}  // namespace
}  // namespace kovar::test
