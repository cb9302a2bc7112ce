// CNNNeuron and its gradient against the oracle: every function, offset, clip rectangle, channel window, format,
// arrangement.

#include "oracle/neuron.hpp"

#include <cmath>
#include <limits>
#include <stdexcept>

#include "gradient_case.hpp"
#include "kovar/MPS/NN/CNNNeuron.hpp"
#include "support/golden.hpp"

namespace kovar::test {
namespace {

using oracle::NeuronType;

/// Parameters that float32 holds exactly.
oracle::Neuron randomNeuron(Random& r, NeuronType type) {
  oracle::Neuron n;
  n.type = type;
  switch (type) {
    case NeuronType::ReLU:
      n.a = r.pick({0.0, 0.125, -0.5});
      break;
    case NeuronType::Linear:
      n.a = r.pick({-1.5, 2.0}), n.b = r.pick({0.0, 0.75});
      break;
    case NeuronType::HardSigmoid:
      n.a = r.pick({0.25, -0.5}), n.b = 0.5;
      break;
    case NeuronType::TanH:
      n.a = 1.5, n.b = r.pick({0.5, -1.0});
      break;
    case NeuronType::SoftPlus:
      n.a = 1.5, n.b = 0.75;
      break;
    case NeuronType::ELU:
      n.a = r.pick({1.0, 0.5});
      break;
    case NeuronType::ReLUN:
      n.a = r.pick({0.0, 0.25}), n.b = r.pick({2.0, 6.0});
      break;
    case NeuronType::Power:
      n.a = 0.5, n.b = 6, n.c = r.pick({2.0, 0.5, -1.0, 3.0});
      break;
    case NeuronType::Exponential:
      n.a = 0.5, n.b = 0.25, n.c = r.pick({-1.0, 2.0});
      break;
    case NeuronType::Logarithm:
      n.a = 0.5, n.b = 6, n.c = r.pick({-1.0, 10.0});
      break;
    case NeuronType::PReLU:
      for (int i = 0; i < 32; ++i) n.data.push_back(r.integer(-8, 8) / 8.0);
      break;
    default:
      break;
  }
  return n;
}

Ref<MPS::NNNeuronDescriptor> publicDescriptor(const oracle::Neuron& n) {
  if (n.type == NeuronType::PReLU) {
    const std::vector<float> slopes = toFloat(n.data);
    return MPS::NNNeuronDescriptor::cnnNeuronPReLUDescriptor(std::as_bytes(std::span(slopes)), false);
  }
  return MPS::NNNeuronDescriptor::cnnNeuronDescriptor(static_cast<MPS::CNNNeuronType>(n.type), static_cast<float>(n.a),
                                                      static_cast<float>(n.b), static_cast<float>(n.c));
}

NeuronType typeOf(int index) { return static_cast<NeuronType>(index % oracle::kNeuronTypeCount); }

TEST(CnnNeuron, MatchesTheOracle) {
  forCases(oracle::kNeuronTypeCount * 25, [](Case& c) {
    const oracle::Neuron neuron = randomNeuron(c.random, typeOf(c.index));
    const PointCase p = randomPointCase(c.random, neuron.domain());
    c.text = std::string(neuron.name()) + " " + p.text();
    MPS::CNNNeuron kernel(cpuDevice(), publicDescriptor(neuron));
    test::apply(p.at, kernel);
    const MPS::ImageBatch destination = imagesOf(p.destination, p.destinationFormat, p.arrangement);
    runOnCpu([&](const auto& buffer) {
      encodeAs(p.arrangement, kernel, buffer, imagesOf(p.source, p.sourceFormat, p.arrangement), destination);
    });
    EXPECT_TRUE(matches(tensorOf(destination), oracle::neuronForward(neuron, p.at, p.source, p.destination),
                        p.destinationFormat, neuron.tolerance()));
  });
}

TEST(CnnNeuron, GradientMatchesTheOracle) {
  forCases(oracle::kNeuronTypeCount * 20, [](Case& c) {
    const oracle::Neuron neuron = randomNeuron(c.random, typeOf(c.index));
    const PointGradientCase p = randomPointGradientCase(c.random, neuron.domain());
    c.text = std::string(neuron.name()) + " " + p.text();
    MPS::CNNNeuronGradient kernel(cpuDevice(), publicDescriptor(neuron));
    expectGradient(p, kernel, {}, oracle::neuronGradient(neuron, p.at, p.gradient, p.secondary, p.destination),
                   neuron.tolerance());
  });
}

TEST(CnnNeuron, AutomaticGradientIsTheDerivative) {
  forCases(oracle::kNeuronTypeCount * 15, [](Case& c) {
    const oracle::Neuron neuron = randomNeuron(c.random, typeOf(c.index));
    oracle::Domain domain = neuron.domain();
    domain.low = std::max(domain.low, -3.0);
    domain.high = std::min(domain.high, 3.0);
    const AutomaticCase p = randomAutomaticCase(c.random, domain);
    c.text = std::string(neuron.name()) + " " + p.text();
    MPS::CNNNeuron forward(cpuDevice(), publicDescriptor(neuron));
    MPS::CNNNeuronGradient backward(cpuDevice(), publicDescriptor(neuron));
    const Tensor expected = numericSourceGradient(p, [&](const Tensor& s) {
      return oracle::neuronForward(neuron, p.at, s,
                                   Tensor(p.destination.n, p.destination.h, p.destination.w, p.destination.c))
          .value;
    });
    expectAutomaticGradient(p, forward, backward, expected, false, c.random.chance(0.5));
  });
}

// Where nothing was translated, taking everything from the state and setting it by hand give the same bits.
TEST(CnnNeuron, AutomaticAndManualGradientAgree) {
  forCases(oracle::kNeuronTypeCount * 4, [](Case& c) {
    Random& r = c.random;
    const oracle::Neuron neuron = randomNeuron(r, typeOf(c.index));
    const Tensor source = randomTensor(r, 2, 3, 4, 9, {-3, 3, false}),
                 gradient = randomTensor(r, 2, 3, 4, 9, {-3, 3, false});
    MPS::CNNNeuron forward(cpuDevice(), publicDescriptor(neuron));
    MPS::CNNNeuronGradient backward(cpuDevice(), publicDescriptor(neuron));
    backward.setDestinationImageAllocator(MPS::Image::defaultAllocator());
    const auto s = imageOf(source), g = imageOf(gradient), manual = imageOf(Tensor(2, 3, 4, 9), Format::Float16);
    Ref<MPS::Image> automatic;
    runOnCpu([&](const auto& buffer) {
      Ref<MPS::State> state;
      forward.encode(buffer, s, &state, false);
      backward.encode(buffer, g, s, manual);
      automatic = backward.encode(buffer, g, s, state);
    });
    EXPECT_EQ(tensorOf(*automatic).v, tensorOf(*manual).v);
  });
}

NeuronType typeNamed(const std::string& name) {
  for (int i = 0; i < oracle::kNeuronTypeCount; ++i) {
    oracle::Neuron n;
    n.type = typeOf(i);
    if (name == n.name()) return n.type;
  }
  throw std::runtime_error("no neuron " + name);
}

TEST(CnnNeuron, MatchesPyTorch) {
  int compared = 0;
  for (const GoldenCase& g : readGolden(KOVAR_SOURCE_DIR "/tests/golden/ops/neuron.txt")) {
    SCOPED_TRACE(g.name);
    oracle::Neuron n{typeNamed(g.word("type")), g.number("a"), g.number("b"), g.number("c"), {}};
    if (g.has("slopes")) n.data = g.tensor("slopes").v;
    const Tensor& x = g.tensor("source");
    const Tensor ones(x.n, x.h, x.w, x.c, 1), zeros(x.n, x.h, x.w, x.c);
    MPS::CNNNeuron forward(cpuDevice(), publicDescriptor(n));
    MPS::CNNNeuronGradient backward(cpuDevice(), publicDescriptor(n));
    const auto s = imageOf(x), y = imageOf(zeros), d = imageOf(zeros);
    runOnCpu([&](const auto& buffer) {
      forward.encode(buffer, s, y);
      backward.encode(buffer, imageOf(ones), s, d);
    });
    EXPECT_TRUE(matches(tensorOf(*y), {g.tensor("result"), oracle::neuronForward(n, {}, x, zeros).magnitude},
                        Format::Float32, n.tolerance()));
    EXPECT_TRUE(matches(tensorOf(*d), {g.tensor("derivative"), oracle::neuronGradient(n, {}, ones, x, zeros).magnitude},
                        Format::Float32, n.tolerance()));
    ++compared;
  }
  EXPECT_GE(compared, oracle::kNeuronTypeCount);
}

/// One row of values through a kernel and its gradient (for a gradient of 1).
struct Curve {
  std::vector<double> value, derivative;
};
Curve curve(const Ref<MPS::NNNeuronDescriptor>& d, const std::vector<double>& x) {
  Tensor s(1, 1, x.size(), 1);
  s.v = x;
  const auto source = imageOf(s), y = imageOf(s), dx = imageOf(s), g = imageOf(Tensor(1, 1, x.size(), 1, 1.0));
  MPS::CNNNeuron forward(cpuDevice(), d);
  MPS::CNNNeuronGradient backward(cpuDevice(), d);
  runOnCpu([&](const auto& buffer) {
    forward.encode(buffer, source, y);
    backward.encode(buffer, g, source, dx);
  });
  return {tensorOf(*y).v, tensorOf(*dx).v};
}

TEST(CnnNeuron, KinksBelongToOneSide) {
  using Type = MPS::CNNNeuronType;
  using Values = std::vector<double>;
  const auto make = [](Type t, float a, float b) { return MPS::NNNeuronDescriptor::cnnNeuronDescriptor(t, a, b); };
  EXPECT_EQ(curve(make(Type::ReLU, 0.5f, 0), {-1, 0, 1}).derivative, (Values{0.5, 1, 1}));
  EXPECT_EQ(curve(make(Type::ELU, 0.5f, 0), {0, 1}).derivative, (Values{1, 1}));
  EXPECT_EQ(curve(make(Type::Absolute, 0, 0), {-2, 0, 2}).derivative, (Values{-1, 0, 1}));
  EXPECT_EQ(curve(make(Type::HardSigmoid, 0.25f, 0.5f), {-2.5, -2, 2, 2.5}).derivative, (Values{0, 0.25, 0.25, 0}));
  EXPECT_EQ(curve(make(Type::ReLUN, 0.5f, 6), {-1, 0, 5.5, 6, 7}).derivative, (Values{0.5, 1, 1, 0, 0}));
  EXPECT_EQ(curve(make(Type::ReLUN, 0.5f, -1), {-4, -1, 3}).value, (Values{-2, -1, -1}));
  EXPECT_EQ(curve(make(Type::ReLUN, 0.5f, -1), {-4, -1, 3}).derivative, (Values{0.5, 0, 0}));
}

TEST(CnnNeuron, FarAwayNothingOverflowsAndNaNStays) {
  const double inf = std::numeric_limits<double>::infinity();
  for (int i = 0; i < oracle::kNeuronTypeCount; ++i) {
    oracle::Neuron n = oracle::Neuron::plain(typeOf(i));
    n.data = {0.25};
    SCOPED_TRACE(n.name());
    const std::vector<double> x{-1000, -100, 100, 1000, NAN};
    const Curve c = curve(publicDescriptor(n), x);
    for (std::size_t k = 0; k + 1 < x.size(); ++k) {
      double wanted = n.value(x[k]);
      if (std::fabs(wanted) > 3.4e38) wanted = std::copysign(inf, wanted);
      if (std::isnan(wanted))
        EXPECT_TRUE(std::isnan(c.value[k])) << x[k];
      else if (std::isinf(wanted))
        EXPECT_EQ(c.value[k], wanted) << x[k];
      else
        EXPECT_NEAR(c.value[k], wanted, 1e-5 * std::fabs(wanted) + 1e-37) << x[k];
      if (!std::isnan(n.derivative(x[k]))) EXPECT_FALSE(std::isnan(c.derivative[k])) << x[k];
    }
    EXPECT_TRUE(std::isnan(c.value.back()));
  }
}

// The slope belongs to the channel's place among those that the kernel reads.
TEST(CnnNeuron, SlopesCountFromTheFirstChannelRead) {
  const std::vector<float> slopes{2, 3, 5};
  const auto d = MPS::NNNeuronDescriptor::cnnNeuronPReLUDescriptor(std::as_bytes(std::span(slopes)), true);
  MPS::CNNNeuron kernel(cpuDevice(), d);
  kernel.setSourceFeatureChannelOffset(4);
  kernel.setDestinationFeatureChannelOffset(4);
  const auto y = imageOf(Tensor(1, 1, 1, 7));
  runOnCpu([&](const auto& buffer) { kernel.encode(buffer, imageOf(Tensor(1, 1, 1, 7, -1.0)), y); });
  EXPECT_EQ(tensorOf(*y).v, (std::vector<double>{0, 0, 0, 0, -2, -3, -5}));

  kernel.setLabel("slopes");
  kernel.setSourceFeatureChannelOffset(0);
  const auto buffer = cpuQueue()->commandBuffer();
  expectError([&] { kernel.encode(buffer, imageOf(Tensor(1, 1, 1, 4)), imageOf(Tensor(1, 1, 1, 8))); },
              {"CNNNeuron \"slopes\".encode", "3 slopes", "4 feature channels", "give one slope per channel"});
}

}  // namespace
}  // namespace kovar::test
