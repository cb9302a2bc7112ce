// Losses over images and the anchor-box loss in graphs: gradients against differences, the callback, label gradients.

#include <array>
#include <map>
#include <string>

#include "graph/graph_case.hpp"
#include "kovar/MPS/NN/CNNLossNode.hpp"
#include "kovar/MPS/NN/NNLossNode.hpp"
#include "kovar/Support/LossLabels.hpp"

namespace kovar {
namespace {

using namespace kovar::MPS;  // NOLINT: a test reads better without the prefix
using namespace kovar::test;

Ref<NNImageNode> named(const char* name) { return NNImageNode::create(std::make_shared<NamedHandle>(name)); }

/// Runs a graph whose sources are called x, t and w.
std::vector<float> encoded(const Ref<NNGraph>& graph, const std::map<std::string, ImageBatch>& given) {
  graph->setFormat(kFloat);
  std::vector<ImageBatch> sources;
  for (const auto& h : graph->sourceImageHandles()) sources.push_back(given.at(h->label()));
  ImageBatch result;
  run([&](const auto& commands) { result = graph->encodeBatch(commands, sources, {}); });
  return read(result);
}

class Doubled final : public Object, public NNLossCallback {
 public:
  float scalarWeight(const Ref<Image>& sourceImage, const Ref<Image>& destinationImage) override {
    ++asked;
    EXPECT_TRUE(sourceImage && destinationImage);
    return 2.f;
  }
  int asked = 0;
};

Ref<CNNLossDescriptor> squared(CNNReductionType reduction) {
  return CNNLossDescriptor::cnnLossDescriptor(CNNLossType::MeanSquaredError, reduction);
}

TEST(LossNodes, AForwardLossTrainsThroughTheInitialGradient) {
  Random r(59);
  const std::map<std::string, ImageBatch> given{
      {"x", images(r, 2, 3, 2, 4)}, {"t", images(r, 2, 3, 2, 4)}, {"w", images(r, 2, 3, 2, 4)}};
  const auto x = read(given.at("x")), t = read(given.at("t")), w = read(given.at("w"));
  const auto source = named("x"), labels = named("t"), weights = named("w");
  const auto loss = NNForwardLossNode::create(source, labels, weights, squared(CNNReductionType::Mean));
  const auto callback = std::make_shared<Doubled>();
  loss->setPropertyCallBack(callback);
  const auto value = encoded(NNGraph::graph(device(), loss->resultImage(), true), given);
  ASSERT_EQ(value.size(), 2u);
  EXPECT_EQ(callback->asked, 1);
  double mean = 0;
  for (std::size_t i = 0; i < 24; ++i) mean += 2 * double{w[i]} * (x[i] - t[i]) * (x[i] - t[i]) / 24;
  EXPECT_NEAR(value[0], mean, 1e-5);

  const auto ends = NNInitialGradientNode::create(loss->resultImage())->trainingGraph(nullptr, nullptr);
  ASSERT_EQ(ends.size(), 2u) << "the gradients of predictions and labels";
  const std::array<float, 2> sign{1.f, -1.f};
  for (std::size_t k = 0; k < 2; ++k) {
    EXPECT_EQ(std::dynamic_pointer_cast<NNLossGradientNode>(ends[k])->isLabelsGradientFilter(), k == 1);
    const auto d = encoded(NNGraph::graph(device(), ends[k]->resultImage(), true), given);
    ASSERT_EQ(d.size(), x.size());
    for (std::size_t i = 0; i < d.size(); ++i)
      EXPECT_NEAR(d[i], double{sign[k]} * 2 * double{w[i]} * 2 * (x[i] - t[i]) / 24, 1e-5) << i;
  }
}

TEST(LossNodes, LabelsThatStopTheGradientHaveNone) {
  const auto source = named("x"), labels = named("t");
  labels->setStopGradient(true);
  const auto loss = NNForwardLossNode::create(source, labels, squared(CNNReductionType::Sum));
  EXPECT_EQ(NNInitialGradientNode::create(loss->resultImage())->trainingGraph(nullptr, nullptr).size(), 1u);
  EXPECT_EQ(loss->gradientFilters(named("g")).size(), 2u);
  EXPECT_FALSE(loss->gradientFilter(named("g"))->isLabelsGradientFilter());
  EXPECT_EQ(loss->lossType(), CNNLossType::MeanSquaredError);
  EXPECT_EQ(loss->reductionType(), CNNReductionType::Sum);
  EXPECT_EQ(loss->numberOfClasses(), 1u);
}

TEST(LossNodes, TheAnchorBoxLossTrains) {
  Random r(61);
  const std::vector<float> anchors{1.f, 1.f, 2.f, 0.5f};
  const auto d = CNNYOLOLossDescriptor::cnnLossDescriptor(
      CNNLossType::MeanSquaredError, CNNLossType::Huber, CNNLossType::SigmoidCrossEntropy,
      CNNLossType::SoftMaxCrossEntropy, CNNReductionType::Sum, std::as_bytes(std::span(anchors)), 2);
  const auto source = named("x");
  const auto node = CNNYOLOLossNode::create(source, d);
  // The gradient alone: what a training graph would go on from.
  const auto graph = NNGraph::graph(device(), node->resultImage(), true);
  graph->setFormat(kFloat);
  const ImageBatch x = images(r, 2, 3, 3, 14);
  ImageBatch t;
  for (int i = 0; i < 2; ++i) {
    std::vector<float> v(9 * 14, 0.f);
    for (const std::size_t a : {std::size_t{0}, std::size_t{7}}) {  // an object in the middle cell
      float* to = &v[4 * 14 + a];
      to[0] = 0.5f, to[1] = 0.25f, to[2] = 1.1f, to[3] = 0.9f, to[4] = 1, to[5] = 1;
    }
    t.push_back(std::make_shared<Image>(device(), ImageDescriptor::imageDescriptor(kFloat, 3, 3, 14)));
    t.back()->writeBytes(v.data(), kHwc, 0);
  }
  CNNLossLabelsBatch labels;
  for (const auto& image : t)
    labels.push_back(std::make_shared<CNNLossLabels>(device(), MTL::Size{1, 1, 1}, image, nullptr));
  ImageBatch byGraph;
  run([&](const auto& commands) {
    byGraph = graph->encodeBatch(commands, {x}, {StateBatch(labels.begin(), labels.end())});
  });
  const float loss = read(labels[0]->lossImage()).at(0);
  ImageBatch byKernel;
  run([&](const auto& commands) {
    CNNYOLOLoss kernel(device(), d);
    for (int i = 0; i < 2; ++i)
      byKernel.push_back(std::make_shared<Image>(device(), ImageDescriptor::imageDescriptor(kFloat, 3, 3, 14)));
    kernel.encodeBatch(commands, x, labels, byKernel);
  });
  EXPECT_EQ(read(byGraph), read(byKernel));
  EXPECT_EQ(loss, read(labels[0]->lossImage()).at(0));
  EXPECT_GT(loss, 0.f);
  EXPECT_TRUE(node->inputLabels());
}

}  // namespace
}  // namespace kovar
