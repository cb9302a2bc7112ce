// Batch normalization: statistics, states, running values, activations and gradients, against the oracle.

#include <cfloat>
#include <cmath>

#include "gradient_case.hpp"
#include "kovar/MPS/NN/CNNBatchNormalization.hpp"
#include "kovar/MPS/NN/NNOptimizers.hpp"
#include "oracle/neuron.hpp"
#include "oracle/normalization.hpp"
#include "support/golden.hpp"

namespace kovar::test {
namespace {

class Source : public Object, public MPS::CNNBatchNormalizationDataSource {
 public:
  std::vector<float> g, b, m, v;
  float e = 1e-3f;
  bool loads = true, hasMoments = true;
  int loaded = 0, purged = 0;
  std::size_t numberOfFeatureChannels() override { return g.size(); }
  const float* gamma() override { return g.data(); }
  const float* beta() override { return b.data(); }
  const float* mean() override { return hasMoments ? m.data() : nullptr; }
  const float* variance() override { return hasMoments ? v.data() : nullptr; }
  bool load() override {
    ++loaded;
    return loads;
  }
  void purge() override { ++purged; }
  std::string label() override { return "bn1"; }
  float epsilon() override { return e; }
};

Ref<Source> randomSource(Random& r, std::size_t channels) {
  auto s = std::make_shared<Source>();
  for (std::size_t c = 0; c < channels; ++c) {
    s->g.push_back(static_cast<float>(r.real(-2, 2)));
    s->b.push_back(static_cast<float>(r.real(-1, 1)));
    s->m.push_back(static_cast<float>(r.real(-1, 1)));
    s->v.push_back(static_cast<float>(r.real(0.1, 2)));
  }
  s->e = r.pick({1e-3f, 0.25f});
  return s;
}

oracle::Affine affineOf(const Source& s) {
  return {{s.g.begin(), s.g.end()}, {s.b.begin(), s.b.end()}, static_cast<double>(s.e)};
}
oracle::Moments runningOf(const Source& s) {
  oracle::Moments m;
  m.groups = s.g.size();
  m.mean.assign(s.m.begin(), s.m.end());
  m.variance.assign(s.v.begin(), s.v.end());
  return m;
}
std::vector<double> floatsOf(const Ref<MTL::Buffer>& b, std::size_t count) {
  const auto* f = static_cast<const float*>(b->contents());
  return {f, f + count};
}

const oracle::Domain kDomain{-2, 2, false};

TEST(CnnBatchNormalization, InferenceMatchesTheOracle) {
  forCases(250, [](Case& c) {
    const PointCase p = randomPointCase(c.random, kDomain);
    const auto source =
        randomSource(c.random, oracle::usedChannels(p.source, p.at.sourceChannelOffset, p.at.sourceChannelMaxCount));
    const auto kernel = std::make_shared<MPS::CNNBatchNormalization>(cpuDevice(), source);
    c.text = p.text();
    test::apply(p.at, *kernel);
    const MPS::ImageBatch destination = imagesOf(p.destination, p.destinationFormat, p.arrangement);
    runOnCpu([&](const auto& buffer) {
      encodeAs(p.arrangement, *kernel, buffer, imagesOf(p.source, p.sourceFormat, p.arrangement), destination);
    });
    const oracle::Moments running = runningOf(*source);
    EXPECT_TRUE(matches(
        tensorOf(destination),
        oracle::normForward(affineOf(*source), p.at, false, source->g.size(), p.source, p.destination, &running),
        p.destinationFormat, {1e-6, 1e-37}));
  });
}

/// One training step by hand, the batch in parts: statistics of all, then the forward encode, then both gradients.
struct Step {
  Step(Random& r, bool withNeuron) {
    n = r.size(2, 7), h = r.size(1, 6), w = r.size(1, 6), channels = r.size(1, 9);
    if (r.chance(0.2)) h = 20, w = 21;
    source = randomSource(r, channels);
    if (withNeuron) {
      using T = MPS::CNNNeuronType;
      const auto type = r.pick({T::ReLU, T::Sigmoid, T::TanH, T::PReLU});
      if (type == T::PReLU) {
        std::vector<float> slopes;
        for (std::size_t c = 0; c < channels; ++c) slopes.push_back(static_cast<float>(r.real(0, 1)));
        neuron = MPS::NNNeuronDescriptor::cnnNeuronPReLUDescriptor(std::as_bytes(std::span(slopes)), false);
        prelu = toDouble(slopes);
      } else {
        neuron = MPS::NNNeuronDescriptor::cnnNeuronDescriptor(type);
      }
    }
    x = randomTensor(r, n, h, w, channels, kDomain);
    g = randomTensor(r, n, h, w, channels, kDomain);
    kernel = std::make_shared<MPS::CNNBatchNormalization>(cpuDevice(), source, neuron);
  }
  /// f(pre) or f'(pre) of the activation, in double.
  double activation(double pre, std::size_t c, bool derivative) const {
    if (!neuron) return derivative ? 1 : pre;
    switch (neuron->neuronType()) {
      case MPS::CNNNeuronType::ReLU:
        return pre >= 0 ? (derivative ? 1 : pre) : 0;
      case MPS::CNNNeuronType::PReLU:
        return pre >= 0 ? (derivative ? 1 : pre) : prelu[c] * (derivative ? 1 : pre);
      case MPS::CNNNeuronType::Sigmoid: {
        const double s = 1 / (1 + std::exp(-pre));
        return derivative ? s * (1 - s) : s;
      }
      default: {
        const double t = std::tanh(pre);
        return derivative ? 1 - t * t : t;
      }
    }
  }
  std::vector<std::size_t> parts(Random& r) const {
    std::vector<std::size_t> sizes;
    for (std::size_t left = n; left > 0; left -= sizes.back()) sizes.push_back(r.size(1, left));
    return sizes;
  }
  MPS::ImageBatch part(const MPS::ImageBatch& all, std::size_t first, std::size_t count) const {
    MPS::ImageBatch batch;
    for (std::size_t i = 0; i < count; ++i) batch.push_back(all[first + i]);
    return batch;
  }
  std::size_t n, h, w, channels;
  Ref<Source> source;
  Ref<MPS::NNNeuronDescriptor> neuron;
  std::vector<double> prelu;
  Tensor x, g;
  Ref<MPS::CNNBatchNormalization> kernel;
};

TEST(CnnBatchNormalization, TrainingInPartsMatchesTheOracle) {
  forCases(200, [](Case& c) {
    Random& r = c.random;
    const Step s(r, r.chance(0.4));
    c.text = s.x.shape() + (s.neuron ? " neuron " + std::to_string(static_cast<int>(s.neuron->neuronType())) : "");
    MPS::CNNBatchNormalizationStatistics statistics(cpuDevice());
    MPS::CNNBatchNormalizationStatisticsGradient sums(cpuDevice(), s.neuron);
    MPS::CNNBatchNormalizationGradient backward(cpuDevice(), s.neuron);
    const Arrangement arrangement = r.pick({Arrangement::Separate, Arrangement::Joined});
    const MPS::ImageBatch x = imagesOf(s.x, Format::Float32, arrangement),
                          y = imagesOf(s.x, Format::Float32, arrangement),
                          g = imagesOf(s.g, Format::Float32, arrangement),
                          d = imagesOf(s.x, Format::Float32, arrangement);
    const auto state = s.kernel->resultState(x[0], {}, y[0]);
    EXPECT_FALSE(state->gradientForGamma());
    // The same state again: what the last round left must be gone.
    for (int round = 0; round < 2; ++round) {
      runOnCpu([&](const auto& buffer) {
        std::size_t first = 0;
        for (const std::size_t count : s.parts(r)) {
          statistics.encodeBatch(buffer, s.part(x, first, count), state);
          first += count;
        }
        s.kernel->encodeBatch(buffer, x, state, y);
        first = 0;
        for (const std::size_t count : s.parts(r)) {
          sums.encodeBatch(buffer, s.part(g, first, count), s.part(x, first, count), state);
          first += count;
        }
        first = 0;
        for (const std::size_t count : {std::size_t{1}, s.n - 1}) {
          backward.encodeBatch(buffer, s.part(g, first, count), s.part(x, first, count), state,
                               s.part(d, first, count));
          first += count;
        }
      });
    }
    const oracle::Affine a = affineOf(*s.source);
    const oracle::Moments m = oracle::momentsOf(s.x, false, s.channels);
    const std::vector<double> mean = floatsOf(state->mean(), s.channels),
                              variance = floatsOf(state->variance(), s.channels);
    for (std::size_t k = 0; k < s.channels; ++k) {
      EXPECT_NEAR(mean[k], m.mean[k], 2e-6);
      EXPECT_NEAR(variance[k], m.variance[k], 1e-5 * (1 + m.variance[k]));
    }
    oracle::Result forward = oracle::normalize(a, m, s.x);
    Tensor h = s.g;
    for (std::size_t i = 0; i < h.size(); ++i) {
      const double pre = forward.value.v[i];
      // Close to a kink either side may be right.
      if (s.neuron && std::fabs(pre) < 1e-4) return;
      h.v[i] *= s.activation(pre, i % s.channels, true);
      forward.value.v[i] = s.activation(pre, i % s.channels, false);
    }
    EXPECT_TRUE(matches(tensorOf(y), forward, Format::Float32, {1e-5, 1e-37}));
    const oracle::NormSums expected = oracle::normSums(a, m, h, s.x);
    const std::vector<double> gamma = floatsOf(state->gradientForGamma(), s.channels),
                              beta = floatsOf(state->gradientForBeta(), s.channels);
    for (std::size_t k = 0; k < s.channels; ++k) {
      EXPECT_NEAR(gamma[k], expected.gamma[k], 1e-4 * (1 + expected.gammaMagnitude[k]));
      EXPECT_NEAR(beta[k], expected.beta[k], 1e-5 * (1 + expected.betaMagnitude[k]));
    }
    EXPECT_TRUE(matches(tensorOf(d), oracle::normGradient(a, m, expected, h, s.x), Format::Float32, {5e-5, 1e-37}));
  });
}

// Offset, clip rectangle, edge mode and channels of the forward kernel reach both gradients through the state.
TEST(CnnBatchNormalization, GradientOfATranslatedEncodeIsTheDerivative) {
  forCases(200, [](Case& c) {
    Random& r = c.random;
    AutomaticCase p = randomAutomaticCase(r, {-1, 1, false});
    p.arrangement = r.pick({Arrangement::Separate, Arrangement::Joined});
    const std::size_t used = oracle::usedChannels(p.source, p.at.sourceChannelOffset, p.at.sourceChannelMaxCount);
    const auto source = randomSource(r, used);
    source->e = 0.25f;
    const bool constant = r.chance(0.3);
    const oracle::Moments running = runningOf(*source);
    c.text = p.text() + (constant ? " constant" : "");
    const Tensor expected = numericSourceGradient(p, [&](const Tensor& s) {
      return oracle::normForward(affineOf(*source), p.at, false, used, s,
                                 Tensor(p.destination.n, p.destination.h, p.destination.w, p.destination.c),
                                 constant ? &running : nullptr)
          .value;
    });
    const auto kernel = std::make_shared<MPS::CNNBatchNormalization>(cpuDevice(), source);
    MPS::CNNBatchNormalizationStatistics statistics(cpuDevice());
    MPS::CNNBatchNormalizationStatisticsGradient sums(cpuDevice(), nullptr);
    MPS::CNNBatchNormalizationGradient backward(cpuDevice(), nullptr);
    test::apply(p.at, *kernel);
    statistics.setSourceFeatureChannelOffset(p.at.sourceChannelOffset);
    backward.setDestinationImageAllocator(float32Images());
    const MPS::ImageBatch x = imagesOf(p.source, Format::Float32, p.arrangement),
                          y = imagesOf(p.destination, Format::Float32, p.arrangement),
                          g = imagesOf(p.gradient, Format::Float32, p.arrangement);
    MPS::ImageBatch d;
    runOnCpu([&](const auto& buffer) {
      const auto state = kernel->temporaryResultState(buffer, x[0], {}, y[0]);
      state->setReadCount(constant ? 3 : 4);
      if (!constant) statistics.encodeBatch(buffer, x, state);
      kernel->encodeBatch(buffer, x, state, y);
      sums.encodeBatch(buffer, g, x, state);
      d = backward.encodeBatch(buffer, g, x, state);
      EXPECT_EQ(state->readCount(), 0u) << "each encode reads once";
    });
    const Tensor actual = tensorOf(d);
    ASSERT_TRUE(actual.sameShape(expected)) << actual.shape() << ", wanted " << expected.shape();
    for (std::size_t i = 0; i < expected.size(); ++i)
      ASSERT_NEAR(actual.v[i], expected.v[i], 2e-4 * (1 + std::fabs(expected.v[i])));
  });
}

TEST(CnnBatchNormalization, MatchesPyTorch) {
  int compared = 0;
  for (const GoldenCase& g : readGolden(KOVAR_SOURCE_DIR "/tests/golden/ops/normalization.txt")) {
    const std::string& kind = g.word("kind");
    if (kind != "batch" && kind != "inference") continue;
    SCOPED_TRACE(g.name);
    const auto source = std::make_shared<Source>();
    source->g = toFloat(g.tensor("gamma").v), source->b = toFloat(g.tensor("beta").v);
    source->m = toFloat(g.tensor("mean").v), source->v = toFloat(g.tensor("variance").v);
    source->e = static_cast<float>(g.number("epsilon"));
    const auto kernel = std::make_shared<MPS::CNNBatchNormalization>(cpuDevice(), source);
    MPS::CNNBatchNormalizationStatistics statistics(cpuDevice());
    MPS::CNNBatchNormalizationStatisticsGradient sums(cpuDevice(), nullptr);
    MPS::CNNBatchNormalizationGradient backward(cpuDevice(), nullptr);
    const Tensor& x = g.tensor("source");
    const MPS::ImageBatch in = imagesOf(x, Format::Float32, Arrangement::Joined),
                          y = imagesOf(x, Format::Float32, Arrangement::Joined),
                          d = imagesOf(x, Format::Float32, Arrangement::Joined),
                          dy = imagesOf(g.tensor("gradient"), Format::Float32, Arrangement::Joined);
    const auto state = kernel->resultState(in[0], {}, y[0]);
    runOnCpu([&](const auto& buffer) {
      if (kind == "batch") statistics.encodeBatch(buffer, in, state);
      kernel->encodeBatch(buffer, in, state, y);
      sums.encodeBatch(buffer, dy, in, state);
      backward.encodeBatch(buffer, dy, in, state, d);
    });
    const oracle::Affine a = affineOf(*source);
    const oracle::Moments m = kind == "batch" ? oracle::momentsOf(x, false, x.c) : runningOf(*source);
    const oracle::NormSums s = oracle::normSums(a, m, g.tensor("gradient"), x);
    EXPECT_TRUE(matches(tensorOf(y), {g.tensor("result"), oracle::normalize(a, m, x).magnitude}, Format::Float32,
                        {1e-5, 1e-37}));
    EXPECT_TRUE(matches(
        tensorOf(d),
        {g.tensor("sourceGradient"), oracle::normGradient(a, m, s, g.tensor("gradient"), x, kind != "batch").magnitude},
        Format::Float32, {1e-5, 1e-37}));
    const std::vector<double> gamma = floatsOf(state->gradientForGamma(), x.c),
                              beta = floatsOf(state->gradientForBeta(), x.c);
    for (std::size_t k = 0; k < x.c; ++k) {
      EXPECT_NEAR(gamma[k], g.tensor("gammaGradient").v[k], 1e-5 * s.gammaMagnitude[k]);
      EXPECT_NEAR(beta[k], g.tensor("betaGradient").v[k], 1e-5 * s.betaMagnitude[k]);
    }
    ++compared;
  }
  EXPECT_EQ(compared, 12);
}

std::vector<double> normalized(MPS::CNNBatchNormalization& kernel, const Tensor& x) {
  const auto y = imageOf(x);
  runOnCpu([&](const auto& buffer) { kernel.encode(buffer, imageOf(x), y); });
  return tensorOf(*y).v;
}

TEST(CnnBatchNormalization, ValuesAndRunningValuesAreReloadedSeparately) {
  const auto source = std::make_shared<Source>();
  source->g = {2}, source->b = {1}, source->m = {1}, source->v = {4}, source->e = 0;
  source->hasMoments = false;
  const auto kernel = std::make_shared<MPS::CNNBatchNormalization>(cpuDevice(), source);
  EXPECT_EQ(source->loaded, 1);
  EXPECT_EQ(source->purged, 1);
  Tensor x(1, 1, 1, 1);
  x.v = {5};
  EXPECT_EQ(normalized(*kernel, x), (std::vector<double>{11})) << "null mean and variance are 0 and 1";
  source->hasMoments = true;
  source->g = {3};
  kernel->reloadMeanAndVarianceFromDataSource();
  EXPECT_EQ(normalized(*kernel, x), (std::vector<double>{5}));
  kernel->reloadGammaAndBetaFromDataSource();
  EXPECT_EQ(normalized(*kernel, x), (std::vector<double>{7}));
  const auto buffer = [](float v) { return cpuDevice()->newBuffer(&v, sizeof v); };
  runOnCpu([&](const auto& commands) {
    kernel->reloadMeanAndVariance(
        commands, std::make_shared<MPS::CNNNormalizationMeanAndVarianceState>(buffer(3.f), buffer(1.f)));
  });
  EXPECT_EQ(normalized(*kernel, x), (std::vector<double>{7}));
  runOnCpu([&](const auto& commands) {
    const auto t = MPS::CNNNormalizationGammaAndBetaState::temporaryState(commands, 1);
    EXPECT_EQ(t->readCount(), 1u);
    kernel->reloadGammaAndBeta(commands,
                               std::make_shared<MPS::CNNNormalizationGammaAndBetaState>(buffer(10.f), buffer(0.5f)));
  });
  EXPECT_EQ(normalized(*kernel, x), (std::vector<double>{20.5}));
  EXPECT_TRUE(kernel->isResultStateReusedAcrossBatch());
}

TEST(CnnBatchNormalization, EqualValuesGiveBeta) {
  const auto source = std::make_shared<Source>();
  source->g = {3, -2}, source->b = {0.3f, 0.7f}, source->m = {0, 0}, source->v = {1, 1}, source->e = FLT_MIN;
  const auto kernel = std::make_shared<MPS::CNNBatchNormalization>(cpuDevice(), source);
  MPS::CNNBatchNormalizationStatistics statistics(cpuDevice());
  Tensor x(1, 11, 13, 2, static_cast<double>(0.1f));
  const auto in = imageOf(x), y = imageOf(x);
  runOnCpu([&](const auto& buffer) {
    const auto state = kernel->resultState(in, {}, y);
    statistics.encodeBatch(buffer, {in}, state);
    kernel->encode(buffer, in, state, y);
  });
  const std::vector<double> v = tensorOf(*y).v;
  for (std::size_t i = 0; i < v.size(); ++i) EXPECT_EQ(v[i], static_cast<double>(i % 2 ? 0.7f : 0.3f));
}

TEST(CnnBatchNormalization, ResetForgets) {
  Random r(5);
  const Step s(r, false);
  MPS::CNNBatchNormalizationStatistics statistics(cpuDevice());
  const auto x = imageOf(s.x), y = imageOf(s.x);
  const auto state = s.kernel->resultState(x, {}, y);
  const Tensor other = randomTensor(r, 1, 2, 2, s.channels, kDomain);
  runOnCpu([&](const auto& buffer) {
    statistics.encodeBatch(buffer, {imageOf(other)}, state);
    state->reset();
    statistics.encodeBatch(buffer, {x}, state);
  });
  const std::vector<double> mean = floatsOf(state->mean(), s.channels);
  const oracle::Moments m = oracle::momentsOf(s.x, false, s.channels);
  for (std::size_t k = 0; k < s.channels; ++k) EXPECT_NEAR(mean[k], m.mean[k], 1e-6);
  EXPECT_TRUE(statistics.appendBatchBarrier());
}

// Every optimizer takes the state: the same numbers as with the vectors in it.
TEST(CnnBatchNormalization, OptimizersTakeTheState) {
  Random r(8);
  const Step s(r, false);
  const std::size_t n = s.channels;
  MPS::CNNBatchNormalizationStatistics statistics(cpuDevice());
  MPS::CNNBatchNormalizationStatisticsGradient sums(cpuDevice(), nullptr);
  const auto x = imageOf(s.x), y = imageOf(s.x), g = imageOf(s.g);
  const auto state = s.kernel->resultState(x, {}, y);
  const auto shape = MPS::VectorDescriptor::vectorDescriptor(n, MPS::DataType::Float32);
  const auto over = [&](const Ref<MTL::Buffer>& b) { return std::make_shared<MPS::Vector>(b, shape); };
  const auto fresh = [&] { return over(cpuDevice()->newBuffer(n * sizeof(float))); };
  const auto values = [&] {
    return std::make_shared<MPS::CNNNormalizationGammaAndBetaState>(cpuDevice()->newBuffer(n * sizeof(float)),
                                                                    cpuDevice()->newBuffer(n * sizeof(float)));
  };
  const auto byState = std::array{values(), values(), values(), values()};
  const auto byVector = std::array{fresh(), fresh(), fresh(), fresh()};
  runOnCpu([&](const auto& buffer) {
    statistics.encodeBatch(buffer, {x}, state);
    s.kernel->encode(buffer, x, state, y);
    sums.encodeBatch(buffer, {g}, {x}, state);
    const auto gamma = over(state->gamma()), gradient = over(state->gradientForGamma());
    MPS::NNOptimizerStochasticGradientDescent sgd(cpuDevice(), 0.1f), sgd2(cpuDevice(), 0.1f);
    sgd.encode(buffer, state, {fresh(), fresh()}, byState[0]);
    sgd2.encode(buffer, gradient, gamma, fresh(), byVector[0]);
    MPS::NNOptimizerRMSProp rms(cpuDevice(), 0.1f);
    rms.encode(buffer, state, state, {fresh(), fresh()}, byState[1]);
    rms.encode(buffer, gradient, gamma, fresh(), byVector[1]);
    MPS::NNOptimizerAdam adam(cpuDevice(), 0.1f), adam2(cpuDevice(), 0.1f);
    adam.encode(buffer, state, {fresh(), fresh()}, {fresh(), fresh()}, byState[2]);
    adam2.encode(buffer, gradient, gamma, fresh(), fresh(), byVector[2]);
    MPS::NNOptimizerAdam ams(cpuDevice(), 0.1f), ams2(cpuDevice(), 0.1f);
    ams.encode(buffer, state, {fresh(), fresh()}, {fresh(), fresh()}, {fresh(), fresh()}, byState[3]);
    ams2.encode(buffer, gradient, gamma, fresh(), fresh(), fresh(), byVector[3]);
  });
  for (std::size_t i = 0; i < byState.size(); ++i) {
    EXPECT_EQ(floatsOf(byState[i]->gamma(), n), floatsOf(byVector[i]->data(), n)) << "optimizer " << i;
    EXPECT_NE(floatsOf(byState[i]->gamma(), n), floatsOf(state->gamma(), n));
    EXPECT_NE(floatsOf(byState[i]->beta(), n), floatsOf(state->beta(), n));
  }
}

TEST(CnnBatchNormalization, WrongUses) {
  Random r(6);
  const auto source = randomSource(r, 3);
  const auto kernel = std::make_shared<MPS::CNNBatchNormalization>(cpuDevice(), source);
  MPS::CNNBatchNormalizationStatistics statistics(cpuDevice());
  MPS::CNNBatchNormalizationStatisticsGradient sums(cpuDevice(), nullptr);
  MPS::CNNBatchNormalizationGradient backward(cpuDevice(), nullptr);
  const auto a = imageOf(Tensor(1, 2, 2, 3)), b = imageOf(Tensor(1, 2, 2, 3)), narrow = imageOf(Tensor(1, 2, 2, 2));
  const auto buffer = cpuQueue()->commandBuffer();
  const auto state = kernel->resultState(a, {}, b);
  expectError([&] { kernel->encode(buffer, narrow, b); },
              {"CNNBatchNormalization \"bn1\".encode", "gives 2 feature channels, 3 are needed"});
  expectError([&] { statistics.encodeBatch(buffer, {a}, nullptr); }, {"batchNormalizationState is null"});
  expectError([&] { sums.encodeBatch(buffer, {a}, {b}, state); }, {"has been through no forward encode"});
  statistics.encodeBatch(buffer, {a}, state);
  kernel->encode(buffer, a, state, b);
  const auto d = imageOf(Tensor(1, 2, 2, 3));
  expectError([&] { backward.encode(buffer, b, a, state, d); },
              {"no gradients of gamma and beta yet", "CNNBatchNormalizationStatisticsGradient"});
  expectError([&] { backward.encode(buffer, b, a, Ref<MPS::CNNBatchNormalizationState>(), d); },
              {"batchNormalizationState is null"});
  source->loads = false;
  expectError([&] { kernel->reloadGammaAndBetaFromDataSource(); }, {"load() returned false"});
  const float one = 1;
  const auto slopes = MPS::NNNeuronDescriptor::cnnNeuronPReLUDescriptor(std::as_bytes(std::span(&one, 1)), false);
  source->loads = true;
  expectError([&] { MPS::CNNBatchNormalization(cpuDevice(), source, slopes); }, {"1 slopes for 3 feature channels"});
}

}  // namespace
}  // namespace kovar::test
