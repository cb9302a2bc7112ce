// Normalization stages in graphs: inference against the kernels, training against differences of the loss, running
// values, both update styles.

#include "graph/graph_case.hpp"
#include "kovar/MPS/NN/CNNNormalization.hpp"

namespace kovar {
namespace {

using namespace kovar::MPS;  // NOLINT: a test reads better without the prefix
using namespace kovar::test;

constexpr std::size_t kSide = 5, kChannels = 6, kImages = 3;

ImageBatch pictures(Random& random, std::vector<float>* all = nullptr) {
  ImageBatch batch;
  const auto d = ImageDescriptor::imageDescriptor(kFloat, kSide, kSide, kChannels);
  for (std::size_t i = 0; i < kImages; ++i) {
    const std::vector<float> v = values(random, kSide * kSide * kChannels, 2);
    auto image = std::make_shared<Image>(device(), d);
    image->writeBytes(v.data(), kHwc, 0);
    batch.push_back(image);
    if (all) all->insert(all->end(), v.begin(), v.end());
  }
  return batch;
}

std::vector<float> read(const ImageBatch& batch) {
  std::vector<float> all;
  for (const auto& image : batch) {
    std::vector<float> v(image->width() * image->height() * image->featureChannels());
    image->readBytes(v.data(), kHwc, 0);
    all.insert(all.end(), v.begin(), v.end());
  }
  return all;
}

/// Values of any of the three kinds, trained by plain descent of rate 1 in either style.
struct Learned {
  std::vector<float> g, b, m, v;
  float epsilonValue = 0.1f, momentum = 0.75f;
  int updates = 0;

  explicit Learned(Random& r) {
    g = test::values(r, kChannels), b = test::values(r, kChannels), m = test::values(r, kChannels, 0.5);
    v.assign(kChannels, 1.25f);
  }
  /// After the work of an update on the device is done.
  Ref<CNNNormalizationGammaAndBetaState> kept;
  Ref<CNNNormalizationMeanAndVarianceState> running;

  Ref<CNNNormalizationGammaAndBetaState> newValues() {
    kept = std::make_shared<CNNNormalizationGammaAndBetaState>(device()->newBuffer(kChannels * 4),
                                                               device()->newBuffer(kChannels * 4));
    return kept;
  }
  void descend(const Ref<MTL::Buffer>& gamma, const Ref<MTL::Buffer>& beta) {
    for (std::size_t i = 0; i < kChannels; ++i) g[i] -= floatsOf(gamma)[i], b[i] -= floatsOf(beta)[i];
  }
};

class BatchValues final : public Object, public CNNBatchNormalizationDataSource, public Learned {
 public:
  explicit BatchValues(Random& r) : Learned(r) {}
  std::size_t numberOfFeatureChannels() override { return kChannels; }
  const float* gamma() override { return g.data(); }
  const float* beta() override { return b.data(); }
  const float* mean() override { return m.data(); }
  const float* variance() override { return v.data(); }
  bool load() override { return true; }
  void purge() override {}
  std::string label() override { return "bn"; }
  float epsilon() override { return epsilonValue; }
  Ref<CNNNormalizationGammaAndBetaState> updateGammaAndBeta(const Ref<MTL::CommandBuffer>& commands,
                                                            const Ref<CNNBatchNormalizationState>& state) override {
    ++updates;
    auto result = newValues();
    NNOptimizerStochasticGradientDescent(device(), 1.f).encode(commands, state, {}, result);
    return result;
  }
  /// run = momentum * run + (1 - momentum) * statistics, as one descent step with a negative rate and weight decay.
  Ref<CNNNormalizationMeanAndVarianceState> updateMeanAndVariance(
      const Ref<MTL::CommandBuffer>& commands, const Ref<CNNBatchNormalizationState>& state) override {
    const auto d = NNOptimizerDescriptor::optimizerDescriptor(-(1 - momentum), 1.f, NNRegularizationType::L2, -1.f);
    NNOptimizerStochasticGradientDescent average(device(), 0.f, false, d);
    running = std::make_shared<CNNNormalizationMeanAndVarianceState>(device()->newBuffer(m.data(), kChannels * 4),
                                                                     device()->newBuffer(v.data(), kChannels * 4));
    const auto shape = VectorDescriptor::vectorDescriptor(kChannels, DataType::Float32);
    const auto vector = [&](const Ref<MTL::Buffer>& b) { return std::make_shared<Vector>(b, shape); };
    average.encode(commands, vector(state->mean()), vector(running->mean()), nullptr, vector(running->mean()));
    average.encode(commands, vector(state->variance()), vector(running->variance()), nullptr,
                   vector(running->variance()));
    if (state->isTemporary()) state->setReadCount(state->readCount() - 1);
    return running;
  }
  bool updateGammaAndBeta(const Ref<CNNBatchNormalizationState>& state) override {
    ++updates;
    descend(state->gradientForGamma(), state->gradientForBeta());
    return true;
  }
  bool updateMeanAndVariance(const Ref<CNNBatchNormalizationState>& state) override {
    for (std::size_t i = 0; i < kChannels; ++i) {
      m[i] = momentum * m[i] + (1 - momentum) * floatsOf(state->mean())[i];
      v[i] = momentum * v[i] + (1 - momentum) * floatsOf(state->variance())[i];
    }
    return true;
  }
};

template <class Base, class State>
class RegionValues final : public Object, public Base, public Learned {
 public:
  explicit RegionValues(Random& r) : Learned(r) {}
  std::size_t numberOfFeatureChannels() const override { return kChannels; }
  const float* gamma() override { return g.data(); }
  const float* beta() override { return b.data(); }
  std::string label() override { return "norm"; }
  float epsilon() override { return epsilonValue; }
  /// The sums of all images, one after the other.
  Ref<CNNNormalizationGammaAndBetaState> updateGammaAndBeta(const Ref<MTL::CommandBuffer>& commands,
                                                            const Batch<State>& states) override {
    ++updates;
    auto result = newValues();
    const auto shape = VectorDescriptor::vectorDescriptor(kChannels, DataType::Float32);
    const auto vector = [&](const Ref<MTL::Buffer>& b) { return std::make_shared<Vector>(b, shape); };
    NNOptimizerStochasticGradientDescent descent(device(), 1.f);
    bool first = true;
    for (const auto& s : states) {
      descent.encode(commands, vector(s->gradientForGamma()), vector(first ? s->gamma() : result->gamma()), nullptr,
                     vector(result->gamma()));
      descent.encode(commands, vector(s->gradientForBeta()), vector(first ? s->beta() : result->beta()), nullptr,
                     vector(result->beta()));
      first = false;
      if (s->isTemporary()) s->setReadCount(s->readCount() - 1);
    }
    return result;
  }
  bool updateGammaAndBeta(const Batch<State>& states) override {
    ++updates;
    for (const auto& s : states) descend(s->gradientForGamma(), s->gradientForBeta());
    return true;
  }
};
using InstanceValues = RegionValues<CNNInstanceNormalizationDataSource, CNNInstanceNormalizationGradientState>;
using GroupValues = RegionValues<CNNGroupNormalizationDataSource, CNNGroupNormalizationGradientState>;

/// A normalization node, and a training graph whose incoming gradient is a second source image.
struct Training {
  explicit Training(const std::function<Ref<NNFilterNode>(const Ref<NNImageNode>&)>& make, NNTrainingStyle style) {
    source = NNImageNode::create(std::make_shared<NamedHandle>("x"));
    incoming = NNImageNode::create(std::make_shared<NamedHandle>("g"));
    forward = make(source);
    if (auto* t = dynamic_cast<NNTrainableNode*>(forward.get())) t->setTrainingStyle(style);
    const auto ends = forward->trainingGraph(incoming, nullptr);
    EXPECT_EQ(ends.size(), 1u);
    forward->resultImage()->setImageAllocator(Image::defaultAllocator());
    graph = NNGraph::graph(device(), {ends.at(0)->resultImage(), forward->resultImage()}, {true, true});
    graph->setFormat(kFloat);
  }
  /// Runs a step; returns the gradient of the source. `result`: the forward stage's.
  std::vector<float> step(const ImageBatch& x, const ImageBatch& g, std::vector<float>* result = nullptr) {
    const auto commands = queue()->commandBuffer();
    std::vector<ImageBatch> sources, exported;
    for (const auto& h : graph->sourceImageHandles()) sources.push_back(h->label() == "x" ? x : g);
    const ImageBatch d = graph->encodeBatch(commands, sources, {}, &exported, nullptr);
    commands->commit();
    commands->waitUntilCompleted();
    EXPECT_EQ(commands->status(), MTL::CommandBufferStatus::Completed)
        << (commands->error() ? commands->error()->what() : "");
    if (result) *result = read(exported.at(0));
    return read(d);
  }
  Ref<NNImageNode> source, incoming;
  Ref<NNFilterNode> forward;
  Ref<NNGraph> graph;
};

/// sum(gradient * forward(x)) through a graph that trains nothing but takes batch statistics where the training does.
double lossOf(const std::function<Ref<NNFilterNode>(const Ref<NNImageNode>&)>& make, const ImageBatch& x,
              const std::vector<float>& g) {
  Random r(1);
  Training frozen(make, NNTrainingStyle::UpdateDeviceNone);
  std::vector<float> y;
  frozen.step(x, pictures(r), &y);
  double sum = 0;
  for (std::size_t i = 0; i < y.size(); ++i) sum += static_cast<double>(y[i]) * static_cast<double>(g[i]);
  return sum;
}

template <class V>
void expectTrains(const std::function<Ref<NNFilterNode>(const Ref<NNImageNode>&, const Ref<V>&)>& make) {
  for (const NNTrainingStyle style : {NNTrainingStyle::UpdateDeviceGPU, NNTrainingStyle::UpdateDeviceCPU}) {
    Random r(11);
    const auto learned = std::make_shared<V>(r);
    const auto node = [&](const Ref<NNImageNode>& s) { return make(s, learned); };
    std::vector<float> gradient;
    const ImageBatch x = pictures(r), g = pictures(r, &gradient);
    // Differences of the loss by some of gamma and beta.
    std::vector<double> differences;
    for (std::vector<float>* values : {&learned->g, &learned->b})
      for (std::size_t i = 0; i < kChannels; ++i) {
        const float h = 1e-2f, before = (*values)[i];
        (*values)[i] = before + h;
        const double up = lossOf(node, x, gradient);
        (*values)[i] = before - h;
        const double down = lossOf(node, x, gradient);
        (*values)[i] = before;
        differences.push_back((up - down) / 0.02);
      }
    const std::vector<float> gamma = learned->g, beta = learned->b, mean = learned->m, variance = learned->v;
    Training training(node, style);
    training.step(x, g);
    EXPECT_EQ(learned->updates, 1);
    const bool host = style == NNTrainingStyle::UpdateDeviceCPU;
    for (std::size_t i = 0; i < kChannels; ++i) {
      const float newGamma = host ? learned->g[i] : floatsOf(learned->kept->gamma())[i];
      const float newBeta = host ? learned->b[i] : floatsOf(learned->kept->beta())[i];
      EXPECT_NEAR(gamma[i] - newGamma, differences[i], 2e-2 + 1e-2 * std::abs(differences[i])) << "gamma " << i;
      EXPECT_NEAR(beta[i] - newBeta, differences[kChannels + i], 2e-2 + 1e-2 * std::abs(differences[kChannels + i]));
    }
    // The second step computes with the new values.
    std::vector<float> y;
    training.step(x, g, &y);
    EXPECT_EQ(learned->updates, 2);
  }
}

TEST(NormalizationNodes, BatchTrainsGammaAndBeta) {
  expectTrains<BatchValues>([](const auto& s, const Ref<BatchValues>& v) -> Ref<NNFilterNode> {
    return CNNBatchNormalizationNode::create(s, v);
  });
}
TEST(NormalizationNodes, InstanceTrainsGammaAndBeta) {
  expectTrains<InstanceValues>([](const auto& s, const Ref<InstanceValues>& v) -> Ref<NNFilterNode> {
    return CNNInstanceNormalizationNode::create(s, v);
  });
}
TEST(NormalizationNodes, GroupTrainsGammaAndBeta) {
  expectTrains<GroupValues>([](const auto& s, const Ref<GroupValues>& v) -> Ref<NNFilterNode> {
    v->setNumberOfGroups(3);
    return CNNGroupNormalizationNode::create(s, v);
  });
}

/// The gradient of the source, in a few places, against differences.
void expectSourceGradient(const std::function<Ref<NNFilterNode>(const Ref<NNImageNode>&)>& make) {
  Random r(17);
  std::vector<float> at, gradient;
  const ImageBatch x = pictures(r, &at), g = pictures(r, &gradient);
  Training training(make, NNTrainingStyle::UpdateDeviceNone);
  const std::vector<float> d = training.step(x, g);
  ASSERT_EQ(d.size(), at.size());
  const std::size_t perImage = kSide * kSide * kChannels;
  for (const std::size_t i : {std::size_t{0}, std::size_t{77}, perImage + 5, 2 * perImage + 101, 3 * perImage - 1}) {
    const auto moved = [&](float by) {
      std::vector<float> v(at.begin() + static_cast<std::ptrdiff_t>(i / perImage * perImage),
                           at.begin() + static_cast<std::ptrdiff_t>((i / perImage + 1) * perImage));
      v[i % perImage] += by;
      x[i / perImage]->writeBytes(v.data(), kHwc, 0);
      return lossOf(make, x, gradient);
    };
    const double expected = (moved(1e-2f) - moved(-1e-2f)) / 0.02;
    moved(0);
    EXPECT_NEAR(d[i], expected, 1e-2 + 1e-2 * std::abs(expected)) << i;
  }
}

TEST(NormalizationNodes, SourceGradients) {
  Random r(23);
  const auto batch = std::make_shared<BatchValues>(r);
  const auto group = std::make_shared<GroupValues>(r);
  group->setNumberOfGroups(2);
  expectSourceGradient([&](const auto& s) { return CNNBatchNormalizationNode::create(s, batch); });
  expectSourceGradient([&](const auto& s) { return CNNGroupNormalizationNode::create(s, group); });
  expectSourceGradient([](const auto& s) { return CNNCrossChannelNormalizationNode::create(s, 3); });
  expectSourceGradient([](const auto& s) { return CNNSpatialNormalizationNode::create(s, 3); });
  expectSourceGradient([](const auto& s) {
    auto node = CNNLocalContrastNormalizationNode::create(s, 3);
    node->setP0(0.75f);
    return node;
  });
}

TEST(NormalizationNodes, NodesGiveTheirParametersToTheKernels) {
  Random r(29);
  const ImageBatch x = pictures(r);
  const auto source = NNImageNode::create(std::make_shared<NamedHandle>("x"));
  const auto node = CNNLocalContrastNormalizationNode::create(source, 3);
  EXPECT_EQ(node->alpha(), 1.f) << "the kernel's default is 0";
  EXPECT_EQ(node->beta(), 0.5f);
  EXPECT_EQ(node->delta(), 1.f / 1024.f);
  EXPECT_EQ(CNNSpatialNormalizationNode::create(source, 3)->beta(), 5.f);
  EXPECT_EQ(std::make_shared<CNNCrossChannelNormalizationNode>(source)->kernelSizeInFeatureChannels(), 5u);
  node->setAlpha(2.f), node->setBeta(0.75f), node->setDelta(0.5f);
  node->setP0(0.5f), node->setPm(0.125f), node->setPs(2.f);
  CNNLocalContrastNormalization kernel(device(), 3, 3);
  kernel.setAlpha(2.f), kernel.setBeta(0.75f), kernel.setDelta(0.5f);
  kernel.setP0(0.5f), kernel.setPm(0.125f), kernel.setPs(2.f);
  const auto graph = NNGraph::graph(device(), node->resultImage(), true);
  graph->setFormat(kFloat);
  const auto commands = queue()->commandBuffer();
  const ImageBatch byGraph = graph->encodeBatch(commands, {x}, {});
  ImageBatch byHand;
  for (const auto& image : x) {
    byHand.push_back(
        std::make_shared<Image>(device(), ImageDescriptor::imageDescriptor(kFloat, kSide, kSide, kChannels)));
    kernel.encode(commands, image, byHand.back());
  }
  commands->commit();
  commands->waitUntilCompleted();
  EXPECT_EQ(read(byGraph), read(byHand));
}

/// Inference uses the data source's statistics; the flags say otherwise.
TEST(NormalizationNodes, BatchFlags) {
  Random r(31);
  const auto learned = std::make_shared<BatchValues>(r);
  const ImageBatch x = pictures(r);
  const auto run = [&](CNNBatchNormalizationFlags flags) {
    const auto source = NNImageNode::create(std::make_shared<NamedHandle>("x"));
    const auto node = CNNBatchNormalizationNode::create(source, learned);
    node->setFlags(flags);
    const auto graph = NNGraph::graph(device(), node->resultImage(), true);
    graph->setFormat(kFloat);
    const auto commands = queue()->commandBuffer();
    const ImageBatch y = graph->encodeBatch(commands, {x}, {});
    commands->commit();
    commands->waitUntilCompleted();
    return read(y);
  };
  const auto meanOf = [&](const std::vector<float>& y, std::size_t c) {
    double sum = 0;
    for (std::size_t i = c; i < y.size(); i += kChannels) sum += static_cast<double>(y[i]);
    const std::size_t count = y.size() / kChannels;
    return sum / static_cast<double>(count);
  };
  const std::vector<float> automatic = run(CNNBatchNormalizationFlags::Default),
                           always = run(CNNBatchNormalizationFlags::CalculateStatisticsAlways);
  EXPECT_EQ(automatic, run(CNNBatchNormalizationFlags::CalculateStatisticsNever));
  for (std::size_t c = 0; c < kChannels; ++c) {
    EXPECT_NEAR(meanOf(always, c), static_cast<double>(learned->b[c]), 1e-4);
    EXPECT_GT(std::abs(meanOf(automatic, c) - static_cast<double>(learned->b[c])), 1e-3);
  }
}

TEST(NormalizationNodes, RunningValuesFollowTheBatches) {
  for (const NNTrainingStyle style : {NNTrainingStyle::UpdateDeviceGPU, NNTrainingStyle::UpdateDeviceCPU}) {
    Random r(37);
    const auto learned = std::make_shared<BatchValues>(r);
    std::vector<float> all;
    const ImageBatch x = pictures(r, &all), g = pictures(r);
    const std::vector<float> mean = learned->m, variance = learned->v;
    Training training([&](const auto& s) { return CNNBatchNormalizationNode::create(s, learned); }, style);
    training.step(x, g);
    const bool host = style == NNTrainingStyle::UpdateDeviceCPU;
    const std::size_t count = all.size() / kChannels;
    const auto n = static_cast<double>(count);
    for (std::size_t c = 0; c < kChannels; ++c) {
      double sum = 0, squares = 0;
      for (std::size_t i = c; i < all.size(); i += kChannels) sum += static_cast<double>(all[i]) / n;
      for (std::size_t i = c; i < all.size(); i += kChannels)
        squares += (static_cast<double>(all[i]) - sum) * (static_cast<double>(all[i]) - sum) / n;
      const double newMean = static_cast<double>(host ? learned->m[c] : floatsOf(learned->running->mean())[c]);
      const double newVariance = static_cast<double>(host ? learned->v[c] : floatsOf(learned->running->variance())[c]);
      EXPECT_NEAR(newMean, 0.75 * static_cast<double>(mean[c]) + 0.25 * sum, 1e-5);
      EXPECT_NEAR(newVariance, 0.75 * static_cast<double>(variance[c]) + 0.25 * squares, 1e-5);
    }
  }
}

TEST(NormalizationNodes, TheBaseComputesNothing) {
  const auto source = NNImageNode::create(std::make_shared<NamedHandle>("x"));
  const auto node = CNNNormalizationNode::create(source);
  try {
    NNGraph::graph(device(), node->resultImage(), true);
    FAIL() << "nothing was thrown";
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), testing::HasSubstr("CNNNormalizationNode: the base class computes nothing"));
  }
}

}  // namespace
}  // namespace kovar
