// Upsampling stages in graphs: forward by worked values, gradients as the adjoint.

#include "graph/graph_case.hpp"
#include "kovar/MPS/NN/CNNUpsamplingNode.hpp"

namespace kovar {
namespace {

using namespace kovar::MPS;  // NOLINT: a test reads better without the prefix
using namespace kovar::test;

Ref<NNImageNode> named(const char* name) { return NNImageNode::create(std::make_shared<NamedHandle>(name)); }

std::vector<float> encoded(const Ref<NNGraph>& graph, const ImageBatch& x, const ImageBatch& g) {
  graph->setFormat(kFloat);
  std::vector<ImageBatch> sources;
  for (const auto& h : graph->sourceImageHandles()) sources.push_back(h->label() == "x" ? x : g);
  ImageBatch result;
  run([&](const auto& commands) { result = graph->encodeBatch(commands, sources, {}); });
  return read(result);
}

double dot(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  double sum = 0;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) sum += double{a[i]} * double{b[i]};
  return sum;
}

/// <g, A x> = <A' g, x>: the gradient stage is the adjoint of the forward one.
void expectAdjoint(const std::function<Ref<NNFilterNode>(const Ref<NNImageNode>&)>& make, std::size_t sx,
                   std::size_t sy) {
  Random r(43);
  const ImageBatch x = images(r, 2, 5, 4, 6), g = images(r, 2, 5 * sx, 4 * sy, 6);
  const std::vector<float> y = encoded(NNGraph::graph(device(), make(named("x"))->resultImage(), true), x, {});
  const auto ends = make(named("x"))->trainingGraph(named("g"), nullptr);
  ASSERT_EQ(ends.size(), 1u);
  const std::vector<float> d = encoded(NNGraph::graph(device(), ends[0]->resultImage(), true), x, g);
  EXPECT_NEAR(dot(y, read(g)), dot(d, read(x)), 1e-3);
}

TEST(UpsamplingNodes, GradientsAreAdjoints) {
  expectAdjoint([](const auto& s) { return CNNUpsamplingNearestNode::create(s, 2, 3); }, 2, 3);
  expectAdjoint([](const auto& s) { return CNNUpsamplingBilinearNode::create(s, 3, 2); }, 3, 2);
  expectAdjoint([](const auto& s) { return CNNUpsamplingBilinearNode::create(s, 3, 4, true); }, 3, 4);
}

TEST(UpsamplingNodes, NearestRepeats) {
  const auto x = std::make_shared<Image>(device(), ImageDescriptor::imageDescriptor(kFloat, 2, 1, 1));
  const std::vector<float> v{1, 2};
  x->writeBytes(v.data(), kHwc, 0);
  const auto graph = NNGraph::graph(device(), CNNUpsamplingNearestNode::create(named("x"), 2, 2)->resultImage(), true);
  EXPECT_EQ(encoded(graph, {x}, {}), (std::vector<float>{1, 1, 2, 2, 1, 1, 2, 2}));
}

TEST(UpsamplingNodes, TellWhatTheyWereGiven) {
  const auto s = named("x");
  const auto bilinear = CNNUpsamplingBilinearNode::create(s, 2, 3, true);
  EXPECT_EQ(bilinear->scaleFactorX() * 10 + bilinear->scaleFactorY(), 23);
  EXPECT_TRUE(bilinear->alignCorners());
  EXPECT_FALSE(CNNUpsamplingBilinearNode::create(s, 2, 3)->alignCorners());
  const auto back = CNNUpsamplingNearestGradientNode::create(s, s, nullptr, 4, 5);
  EXPECT_EQ(back->scaleFactorX() * 10 + back->scaleFactorY(), 45);
}

}  // namespace
}  // namespace kovar
