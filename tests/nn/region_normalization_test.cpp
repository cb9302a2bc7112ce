// Instance and group normalization, their states and gradients, against the oracle.

#include <cfloat>
#include <cmath>

#include "gradient_case.hpp"
#include "kovar/MPS/NN/CNNGroupNormalization.hpp"
#include "kovar/MPS/NN/CNNInstanceNormalization.hpp"
#include "oracle/normalization.hpp"
#include "support/golden.hpp"

namespace kovar::test {
namespace {

struct Values {
  std::vector<float> gamma, beta;
  float epsilonValue = 1e-3f;
  bool loads = true, hasValues = true;
  int loaded = 0, purged = 0;
};

class InstanceSource : public Object, public MPS::CNNInstanceNormalizationDataSource, public Values {
 public:
  const float* gamma() override { return hasValues ? Values::gamma.data() : nullptr; }
  const float* beta() override { return hasValues ? Values::beta.data() : nullptr; }
  std::size_t numberOfFeatureChannels() const override { return Values::gamma.size(); }
  std::string label() override { return "in1"; }
  float epsilon() override { return epsilonValue; }
  bool load() override {
    ++loaded;
    return loads;
  }
  void purge() override { ++purged; }
};

class GroupSource : public Object, public MPS::CNNGroupNormalizationDataSource, public Values {
 public:
  const float* gamma() override { return hasValues ? Values::gamma.data() : nullptr; }
  const float* beta() override { return hasValues ? Values::beta.data() : nullptr; }
  std::size_t numberOfFeatureChannels() const override { return Values::gamma.size(); }
  std::string label() override { return "gn1"; }
  float epsilon() override { return epsilonValue; }
};

/// Kernels of one kind over random values.
struct Pair {
  Pair(Random& r, std::size_t channels) : Pair(r, channels, r.chance(0.5)) {}
  Pair(Random& r, std::size_t channels, bool isInstance) : instance(isInstance) {
    Values values;
    for (std::size_t c = 0; c < channels; ++c) {
      values.gamma.push_back(static_cast<float>(r.real(-2, 2)));
      values.beta.push_back(static_cast<float>(r.real(-1, 1)));
    }
    values.epsilonValue = r.pick({1e-3f, 0.25f});
    groups = channels;
    if (!instance) {
      groups = r.size(1, channels);
      while (channels % groups != 0) --groups;
    }
    make(values);
  }
  explicit Pair(const Values& values, bool isInstance, std::size_t groupCount)
      : instance(isInstance), groups(groupCount) {
    make(values);
  }
  void make(const Values& values) {
    affine.gamma.assign(values.gamma.begin(), values.gamma.end());
    affine.beta.assign(values.beta.begin(), values.beta.end());
    affine.epsilon = static_cast<double>(values.epsilonValue);
    if (instance) {
      const auto source = std::make_shared<InstanceSource>();
      static_cast<Values&>(*source) = values;
      forward = std::make_shared<MPS::CNNInstanceNormalization>(cpuDevice(), source);
      backward = std::make_shared<MPS::CNNInstanceNormalizationGradient>(cpuDevice());
    } else {
      const auto source = std::make_shared<GroupSource>();
      static_cast<Values&>(*source) = values;
      source->setNumberOfGroups(groups);
      forward = std::make_shared<MPS::CNNGroupNormalization>(cpuDevice(), source);
      backward = std::make_shared<MPS::CNNGroupNormalizationGradient>(cpuDevice());
    }
  }
  bool instance;
  std::size_t groups = 1;
  oracle::Affine affine;
  Ref<MPS::CNNKernel> forward;
  Ref<MPS::CNNGradientKernel> backward;

  std::vector<double> gradientOf(const Ref<MPS::State>& state, bool gamma) const {
    Ref<MTL::Buffer> b;
    if (const auto s = std::dynamic_pointer_cast<MPS::CNNInstanceNormalizationGradientState>(state))
      b = gamma ? s->gradientForGamma() : s->gradientForBeta();
    else if (const auto t = std::dynamic_pointer_cast<MPS::CNNGroupNormalizationGradientState>(state))
      b = gamma ? t->gradientForGamma() : t->gradientForBeta();
    const auto* f = static_cast<const float*>(b->contents());
    return {f, f + affine.gamma.size()};
  }
};

const oracle::Domain kDomain{-2, 2, false};

TEST(CnnRegionNormalization, MatchesTheOracle) {
  forCases(300, [](Case& c) {
    PointCase p = randomPointCase(c.random, kDomain);
    const std::size_t used = oracle::usedChannels(p.source, p.at.sourceChannelOffset, p.at.sourceChannelMaxCount);
    const Pair pair(c.random, used);
    c.text = (pair.instance ? "instance " : "group ") + p.text();
    test::apply(p.at, *pair.forward);
    const MPS::ImageBatch destination = imagesOf(p.destination, p.destinationFormat, p.arrangement);
    runOnCpu([&](const auto& buffer) {
      encodeAs(p.arrangement, *pair.forward, buffer, imagesOf(p.source, p.sourceFormat, p.arrangement), destination);
    });
    // A single pixel has a variance of 0: then the small epsilon makes much of what is outside.
    EXPECT_TRUE(matches(tensorOf(destination),
                        oracle::normForward(pair.affine, p.at, true, pair.groups, p.source, p.destination),
                        p.destinationFormat, {1e-5, 1e-37}));
  });
}

TEST(CnnRegionNormalization, AutomaticGradientIsTheDerivative) {
  forCases(300, [](Case& c) {
    const AutomaticCase p = randomAutomaticCase(c.random, {-1, 1, false});
    const Pair pair(c.random, oracle::usedChannels(p.source, p.at.sourceChannelOffset, p.at.sourceChannelMaxCount));
    c.text = (pair.instance ? "instance " : "group ") + p.text();
    const Tensor expected = numericSourceGradient(p, [&](const Tensor& s) {
      return oracle::normForward(pair.affine, p.at, true, pair.groups, s,
                                 Tensor(p.destination.n, p.destination.h, p.destination.w, p.destination.c))
          .value;
    });
    // Few pixels and an epsilon of 1e-3: differences of large terms.
    expectAutomaticGradient(p, *pair.forward, *pair.backward, expected, false, c.random.chance(0.5), 2e-3);
  });
}

TEST(CnnRegionNormalization, StatesHoldTheirOwnImagesSums) {
  forCases(60, [](Case& c) {
    Random& r = c.random;
    const std::size_t n = r.size(1, 4), h = r.size(2, 6), w = r.size(2, 6), channels = r.size(1, 9);
    const Pair pair(r, channels);
    const Tensor x = randomTensor(r, n, h, w, channels, kDomain), g = randomTensor(r, n, h, w, channels, kDomain);
    const Arrangement arrangement = r.pick({Arrangement::Separate, Arrangement::Joined});
    const MPS::ImageBatch source = imagesOf(x, Format::Float32, arrangement),
                          destination = imagesOf(x, Format::Float32, arrangement);
    MPS::StateBatch states;
    pair.backward->setDestinationImageAllocator(float32Images());
    runOnCpu([&](const auto& buffer) {
      states = pair.forward->resultStateBatch(source, {}, destination);
      // States of two encodes, given to one gradient.
      const bool together = r.chance(0.5);
      if (together) {
        pair.forward->encodeBatch(buffer, source, states, destination);
      } else {
        for (std::size_t i = 0; i < n; ++i) pair.forward->encode(buffer, source[i], states[i], destination[i]);
      }
      pair.backward->encodeBatch(buffer, imagesOf(g, Format::Float32, arrangement), source, states);
    });
    const oracle::Moments m = oracle::momentsOf(x, true, pair.groups);
    const oracle::NormSums sums = oracle::normSums(pair.affine, m, g, x);
    for (std::size_t i = 0; i < n; ++i) {
      const std::vector<double> gamma = pair.gradientOf(states[i], true), beta = pair.gradientOf(states[i], false);
      for (std::size_t k = 0; k < channels; ++k) {
        EXPECT_NEAR(gamma[k], sums.gamma[i * channels + k], 1e-5 * sums.gammaMagnitude[i * channels + k]);
        EXPECT_NEAR(beta[k], sums.beta[i * channels + k], 1e-6 * sums.betaMagnitude[i * channels + k]);
      }
    }
  });
}

TEST(CnnRegionNormalization, OneStateOfSeveralImagesHoldsTheirSum) {
  Random r(3);
  const Pair pair(r, 5, true);
  const Tensor x = randomTensor(r, 3, 4, 5, 5, kDomain), g = randomTensor(r, 3, 4, 5, 5, kDomain);
  const auto source = imageOf(x), destination = imageOf(x);
  Ref<MPS::State> state;
  runOnCpu([&](const auto& buffer) {
    state = pair.forward->resultState(source, {}, destination);
    pair.forward->encode(buffer, source, state, destination);
    pair.backward->encode(buffer, imageOf(g), source, state);
  });
  const oracle::NormSums sums = oracle::normSums(pair.affine, oracle::momentsOf(x, true, 5), g, x);
  for (std::size_t k = 0; k < 5; ++k)
    EXPECT_NEAR(pair.gradientOf(state, false)[k], sums.beta[k] + sums.beta[5 + k] + sums.beta[10 + k], 1e-4);
}

TEST(CnnRegionNormalization, MatchesPyTorch) {
  int compared = 0;
  for (const GoldenCase& g : readGolden(KOVAR_SOURCE_DIR "/tests/golden/ops/normalization.txt")) {
    const std::string& kind = g.word("kind");
    if (kind != "instance" && kind != "group") continue;
    SCOPED_TRACE(g.name);
    const Tensor& x = g.tensor("source");
    Values values;
    values.gamma = toFloat(g.tensor("gamma").v);
    values.beta = toFloat(g.tensor("beta").v);
    values.epsilonValue = static_cast<float>(g.number("epsilon"));
    const Pair pair(values, kind == "instance", kind == "instance" ? x.c : g.count("groups"));
    pair.backward->setDestinationImageAllocator(float32Images());
    const MPS::ImageBatch source = imagesOf(x, Format::Float32, Arrangement::Joined),
                          destination = imagesOf(x, Format::Float32, Arrangement::Joined);
    MPS::ImageBatch d;
    MPS::StateBatch states;
    runOnCpu([&](const auto& buffer) {
      states = pair.forward->resultStateBatch(source, {}, destination);
      pair.forward->encodeBatch(buffer, source, states, destination);
      d = pair.backward->encodeBatch(buffer, imagesOf(g.tensor("gradient"), Format::Float32, Arrangement::Joined),
                                     source, states);
    });
    const oracle::Moments m = oracle::momentsOf(x, true, pair.groups);
    const oracle::NormSums sums = oracle::normSums(pair.affine, m, g.tensor("gradient"), x);
    EXPECT_TRUE(matches(tensorOf(destination), {g.tensor("result"), oracle::normalize(pair.affine, m, x).magnitude},
                        Format::Float32, {1e-5, 1e-37}));
    EXPECT_TRUE(matches(
        tensorOf(d),
        {g.tensor("sourceGradient"), oracle::normGradient(pair.affine, m, sums, g.tensor("gradient"), x).magnitude},
        Format::Float32, {1e-5, 1e-37}));
    std::vector<double> gamma(x.c);
    for (const auto& s : states) {
      const std::vector<double> own = pair.gradientOf(s, true);
      for (std::size_t k = 0; k < x.c; ++k) gamma[k] += own[k];
    }
    for (std::size_t k = 0; k < x.c; ++k) EXPECT_NEAR(gamma[k], g.tensor("gammaGradient").v[k], 1e-3);
    ++compared;
  }
  EXPECT_EQ(compared, 12);
}

TEST(CnnRegionNormalization, DefaultsAndReloads) {
  const auto source = std::make_shared<InstanceSource>();
  source->Values::gamma = {2, 2};
  source->Values::beta = {1, -1};
  source->epsilonValue = 0.f;
  source->hasValues = false;
  const auto kernel = std::make_shared<MPS::CNNInstanceNormalization>(cpuDevice(), source);
  EXPECT_EQ(source->loaded, 1);
  EXPECT_EQ(source->purged, 1);
  Tensor x(1, 1, 2, 2);
  x.v = {-1, 5, 1, 7};  // mean 0, 6; variance 1, 1
  const auto run = [&](MPS::CNNInstanceNormalization& k) {
    const auto y = imageOf(x);
    runOnCpu([&](const auto& buffer) { k.encode(buffer, imageOf(x), y); });
    return tensorOf(*y).v;
  };
  EXPECT_EQ(run(*kernel), (std::vector<double>{-1, -1, 1, 1})) << "null gamma and beta are 1 and 0";
  source->hasValues = true;
  kernel->reloadGammaAndBetaFromDataSource();
  EXPECT_EQ(run(*kernel), (std::vector<double>{-1, -3, 3, 1}));
  // A copy keeps the values; a reload in a command buffer reaches one kernel, and the states that refer to it.
  const auto copy = std::dynamic_pointer_cast<MPS::CNNInstanceNormalization>(kernel->copy(cpuDevice()));
  const float gamma[2] = {3, 3}, beta[2] = {0, 0};
  const auto values = std::make_shared<MPS::CNNNormalizationGammaAndBetaState>(
      cpuDevice()->newBuffer(gamma, sizeof gamma), cpuDevice()->newBuffer(beta, sizeof beta));
  const auto state = kernel->resultState(imageOf(x), {}, imageOf(x));
  EXPECT_EQ(state->instanceNormalization(), kernel);
  runOnCpu([&](const auto& buffer) { kernel->reloadGammaAndBeta(buffer, values); });
  EXPECT_EQ(run(*kernel), (std::vector<double>{-3, -3, 3, 3}));
  EXPECT_EQ(run(*copy), (std::vector<double>{-1, -3, 3, 1}));
  EXPECT_EQ(static_cast<const float*>(state->gamma()->contents())[0], 3.f);
  EXPECT_EQ(kernel->epsilon(), 0.f);
  kernel->setEpsilon(3.f);
  EXPECT_EQ(run(*kernel), (std::vector<double>{-1.5, -1.5, 1.5, 1.5}));
  EXPECT_FALSE(kernel->isResultStateReusedAcrossBatch());
}

TEST(CnnRegionNormalization, EpsilonIsTheSmallestFloatUnlessGiven) {
  class Plain : public Object, public MPS::CNNGroupNormalizationDataSource {
   public:
    const float* gamma() override { return nullptr; }
    const float* beta() override { return nullptr; }
    std::size_t numberOfFeatureChannels() const override { return 4; }
    std::string label() override { return ""; }
  };
  const MPS::CNNGroupNormalization kernel(cpuDevice(), std::make_shared<Plain>());
  EXPECT_EQ(kernel.epsilon(), FLT_MIN);
}

TEST(CnnRegionNormalization, WrongUses) {
  const auto source = std::make_shared<InstanceSource>();
  source->Values::gamma = source->Values::beta = {1, 1, 1};
  const auto kernel = std::make_shared<MPS::CNNInstanceNormalization>(cpuDevice(), source);
  const auto backward = std::make_shared<MPS::CNNInstanceNormalizationGradient>(cpuDevice());
  const auto image = imageOf(Tensor(1, 2, 2, 3)), narrow = imageOf(Tensor(1, 2, 2, 2));
  const auto buffer = cpuQueue()->commandBuffer();
  expectError([&] { kernel->encode(buffer, narrow, image); },
              {"CNNInstanceNormalization \"in1\"", "2 feature channels, 3 are needed"});
  const auto other = imageOf(Tensor(1, 2, 2, 3));
  expectError([&] { backward->encode(buffer, image, image, other); }, {"needs the state that the forward kernel's"});
  const auto state = kernel->resultState(image, {}, image);
  expectError([&] { backward->encode(buffer, image, image, state, image); }, {"no kernel works in place"});
  expectError([&] { backward->encode(buffer, image, image, state, other); }, {"has not been through a forward encode"});
  expectError([&] { kernel->setEpsilon(-1.f); }, {".epsilon: -1", "at least 0"});
}

}  // namespace
}  // namespace kovar::test
