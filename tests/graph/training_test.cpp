// Training through a graph: gradients against differences of the loss, both update styles, several steps, sharing.

#include "graph/graph_case.hpp"
#include "graph/layer.hpp"

namespace kovar {
namespace {

using namespace kovar::MPS;  // NOLINT: a test reads better without the prefix
using namespace kovar::test;

/// A step of plain descent moves each weight by rate * gradient, so the move tells the gradient.
void expectMovesAgainst(std::span<const float> before, std::span<const float> after, float rate,
                        const std::function<double(std::size_t)>& difference) {
  for (std::size_t k = 0; k < 9; ++k) {
    const std::size_t i = k * (before.size() - 1) / 8;
    const double gradient = (static_cast<double>(before[i]) - after[i]) / rate;
    const double expected = difference(i);
    EXPECT_NEAR(gradient, expected, 2e-3 + 1e-2 * std::abs(expected)) << "weight " << i;
  }
}

void expectGradientsAgree(NNTrainingStyle style) {
  SmallNet net;
  for (const auto& w : {net.conv, net.full}) w->rate = 1.f;
  net.convNode->setTrainingStyle(style);
  net.fullNode->setTrainingStyle(style);
  const auto training = net.training();
  const auto inference = net.inference();
  struct Part {
    Trained* owner;
    std::span<float> values;
    bool biases;
    std::vector<float> before;
    std::vector<double> differences;
  };
  std::vector<Part> parts;
  for (const auto& w : {net.conv, net.full}) {
    parts.push_back({w.get(), w->weightValues(), false, {}, {}});
    parts.push_back({w.get(), w->biasValues(), true, {}, {}});
  }
  for (Part& part : parts) {
    part.before.assign(part.values.begin(), part.values.end());
    for (std::size_t i = 0; i < part.values.size(); ++i) {
      const float h = 1e-2f, x = part.values[i];
      part.values[i] = x + h;
      const double up = net.lossOf(inference);
      part.values[i] = x - h;
      const double down = net.lossOf(inference);
      part.values[i] = x;
      part.differences.push_back((up - down) / (2.0 * h));
    }
  }
  const double before = net.lossOf(inference);
  EXPECT_NEAR(net.step(training), before, 1e-5);
  for (const Part& part : parts)
    expectMovesAgainst(part.before, part.biases ? part.owner->latestBiases() : part.owner->latestWeights(), 1.f,
                       [&](std::size_t i) { return part.differences[i]; });
  EXPECT_EQ(net.conv->updates, 1);
  EXPECT_EQ(net.full->updates, 1);
}

TEST(GraphTraining, GradientsAgreeWithDifferencesGpuStyle) { expectGradientsAgree(NNTrainingStyle::UpdateDeviceGPU); }
TEST(GraphTraining, GradientsAgreeWithDifferencesCpuStyle) { expectGradientsAgree(NNTrainingStyle::UpdateDeviceCPU); }

TEST(GraphTraining, BothStylesTrainTheSameWeights) {
  SmallNet gpu, cpu;
  for (const auto& node : {cpu.convNode, std::static_pointer_cast<CNNConvolutionNode>(cpu.fullNode)})
    node->setTrainingStyle(NNTrainingStyle::UpdateDeviceCPU);
  const auto a = gpu.training(), b = cpu.training();
  for (int step = 0; step < 5; ++step) EXPECT_NEAR(gpu.step(a), cpu.step(b), 1e-6) << "step " << step;
  const auto close = [](std::span<const float> x, std::span<const float> y) {
    EXPECT_THAT(std::vector<float>(x.begin(), x.end()), testing::Pointwise(testing::FloatNear(1e-6f), y));
  };
  close(gpu.conv->latestWeights(), cpu.conv->latestWeights());
  close(gpu.full->latestBiases(), cpu.full->latestBiases());
}

TEST(GraphTraining, LossFallsOverSteps) {
  SmallNet net;
  const auto training = net.training();
  const double first = net.step(training);
  double last = first;
  for (int i = 0; i < 40; ++i) last = net.step(training);
  EXPECT_LT(last, first / 4);
  EXPECT_EQ(net.conv->updates, 41);
}

TEST(GraphTraining, StyleNoneLeavesTheWeights) {
  SmallNet net;
  net.convNode->setTrainingStyle(NNTrainingStyle::UpdateDeviceNone);
  const auto training = net.training();
  const double first = net.step(training);
  EXPECT_LT(net.step(training), first);  // the other layer learns
  EXPECT_EQ(net.conv->updates, 0);
  EXPECT_EQ(net.full->updates, 2);
}

TEST(GraphTraining, AHookThatReturnsNothingLeavesTheWeights) {
  class Frozen : public ConvolutionWeights {
   public:
    using ConvolutionWeights::ConvolutionWeights;
  };
  Random random(3);
  const auto weights = std::make_shared<Frozen>(CNNConvolutionDescriptor::cnnConvolutionDescriptor(1, 1, 4, 5),
                                                values(random, 20), values(random, 5), "frozen");
  const auto source = NNImageNode::create(std::make_shared<NamedHandle>("source"));
  const auto logits = CNNConvolutionNode::create(source, weights)->resultImage();
  const auto loss = CNNLossNode::create(
      logits, CNNLossDescriptor::cnnLossDescriptor(CNNLossType::SoftMaxCrossEntropy, CNNReductionType::Sum));
  const auto graph = NNGraph::graph(device(), loss->trainingGraph(nullptr, nullptr).at(0)->resultImage(), false);
  const auto batch = images(random, 2, 1, 1, 4);
  double seen[2];
  for (double& value : seen) {
    const auto labels = labelsOf(2, 5);
    run([&](const auto& c) { graph->encodeBatch(c, {batch}, {StateBatch(labels.begin(), labels.end())}); });
    value = read(labels[0]->lossImage()).at(0);
  }
  EXPECT_EQ(seen[0], seen[1]);
}

/// Two layers with the same data source have the same weights, which both train.
TEST(GraphTraining, ASharedSourceIsTrainedByEveryReader) {
  Random random(11);
  const auto shared = trained(random, 1, 4, 4, "shared"), head = trained(random, 1, 4, 5, "head");
  const auto source = NNImageNode::create(std::make_shared<NamedHandle>("source"));
  const auto first = CNNConvolutionNode::create(source, shared);
  const auto second =
      CNNConvolutionNode::create(CNNNeuronTanHNode::create(first->resultImage())->resultImage(), shared);
  const auto logits = CNNConvolutionNode::create(second->resultImage(), head)->resultImage();
  const auto loss = CNNLossNode::create(
      logits, CNNLossDescriptor::cnnLossDescriptor(CNNLossType::SoftMaxCrossEntropy, CNNReductionType::Sum));
  const auto graph = NNGraph::graph(device(), loss->trainingGraph(nullptr, nullptr).at(0)->resultImage(), false);
  graph->setFormat(kFloat);
  const auto batch = images(random, 5, 1, 1, 4);
  double start = 0, end = 0;
  for (int i = 0; i < 30; ++i) {
    const auto labels = labelsOf(5, 5);
    run([&](const auto& c) { graph->encodeBatch(c, {batch}, {StateBatch(labels.begin(), labels.end())}); });
    double sum = 0;
    for (const auto& l : labels) sum += read(l->lossImage()).at(0);
    (i == 0 ? start : end) = sum;
  }
  EXPECT_EQ(shared->updates, 60);
  EXPECT_LT(end, start / 2);
}

/// A sum that hands its gradient to both operands, for graphs with branches.
class SumNode final : public NNFilterNode {
 public:
  SumNode(const Ref<NNImageNode>& left, const Ref<NNImageNode>& right)
      : NNFilterNode({left, right}, {}), sum_(NNAdditionNode::create(left, right)) {}

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& d) override {
    return nn::NodeAccess::makeLayer(*sum_, d);
  }
  std::vector<Ref<NNGradientFilterNode>> doGradientFilters(const Ref<NNImageNode>& gradient) override {
    return {std::make_shared<Same>(gradient), std::make_shared<Same>(gradient)};
  }
  const char* className() const override { return "SumNode"; }

 private:
  class Same final : public NNGradientFilterNode {
   public:
    explicit Same(const Ref<NNImageNode>& source) : NNGradientFilterNode({source}, {}) {}

   protected:
    std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& d) override {
      return nn::NodeAccess::makeLayer(*CNNNeuronLinearNode::create(sources_[0], 1.f, 0.f), d);
    }
    const char* className() const override { return "Same"; }
  };
  Ref<NNAdditionNode> sum_;
};

/// An image with two readers: the graph adds their gradients. The source's gradient is the result.
TEST(GraphTraining, GradientsOfBranchesAdd) {
  Random random(5);
  const auto left = trained(random, 1, 4, 6, "left"), right = trained(random, 1, 4, 6, "right");
  const auto source = NNImageNode::create(std::make_shared<NamedHandle>("source"));
  const auto active = CNNNeuronTanHNode::create(source);
  const auto a = CNNConvolutionNode::create(active->resultImage(), left);
  const auto b = CNNConvolutionNode::create(active->resultImage(), right);
  a->setTrainingStyle(NNTrainingStyle::UpdateDeviceNone);
  b->setTrainingStyle(NNTrainingStyle::UpdateDeviceNone);
  const auto sum = std::make_shared<SumNode>(a->resultImage(), b->resultImage());
  const auto loss = CNNLossNode::create(
      sum->resultImage(), CNNLossDescriptor::cnnLossDescriptor(CNNLossType::MeanSquaredError, CNNReductionType::Sum));
  int additions = 0;
  const auto ends = loss->trainingGraph(nullptr, [&](const auto&, const auto& inference, const auto&, const auto&) {
    if (!inference) ++additions;
  });
  EXPECT_EQ(additions, 1);
  const auto graph = NNGraph::graph(device(), ends.at(0)->resultImage(), true);
  graph->setFormat(kFloat);

  const auto batch = images(random, 2, 1, 1, 4);
  const std::vector<float> truth = values(random, 6);
  CNNLossLabelsBatch labels;
  for (int i = 0; i < 2; ++i)
    labels.push_back(std::make_shared<CNNLossLabels>(
        device(), CNNLossDataDescriptor::cnnLossDataDescriptor(std::as_bytes(std::span(truth)), kHwc, {1, 1, 6})));
  ImageBatch gradients;
  run([&](const auto& c) { gradients = graph->encodeBatch(c, {batch}, {StateBatch(labels.begin(), labels.end())}); });
  for (std::size_t n = 0; n < 2; ++n) {
    const auto x = read(batch[n]), g = read(gradients.at(n));
    const auto lossAt = [&](const std::vector<double>& at) {
      double total = 0;
      for (std::size_t o = 0; o < 6; ++o) {
        double y = left->biasValues()[o] + static_cast<double>(right->biasValues()[o]);
        for (std::size_t i = 0; i < 4; ++i)
          y += (left->weightValues()[o * 4 + i] + static_cast<double>(right->weightValues()[o * 4 + i])) *
               std::tanh(at[i]);
        total += (y - truth[o]) * (y - truth[o]);
      }
      return total;
    };
    std::vector<double> at(x.begin(), x.end());
    for (std::size_t i = 0; i < 4; ++i) {
      auto up = at, down = at;
      up[i] += 1e-5;
      down[i] -= 1e-5;
      EXPECT_NEAR(g[i], (lossAt(up) - lossAt(down)) / 2e-5, 1e-4);
    }
  }
}

}  // namespace
}  // namespace kovar
