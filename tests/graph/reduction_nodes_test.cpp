// Reduction stages in graphs: each against plain loops; the spatial mean trains.

#include <algorithm>

#include "graph/graph_case.hpp"
#include "kovar/MPS/NN/NNReduceNode.hpp"

namespace kovar {
namespace {

using namespace kovar::MPS;  // NOLINT: a test reads better without the prefix
using namespace kovar::test;

constexpr std::size_t kW = 5, kH = 4, kC = 3;

Ref<NNImageNode> named(const char* name) { return NNImageNode::create(std::make_shared<NamedHandle>(name)); }

std::vector<float> encoded(const Ref<NNGraph>& graph, const ImageBatch& x, const ImageBatch& g = {}) {
  graph->setFormat(kFloat);
  std::vector<ImageBatch> sources;
  for (const auto& h : graph->sourceImageHandles()) sources.push_back(h->label() == "x" ? x : g);
  ImageBatch result;
  run([&](const auto& commands) { result = graph->encodeBatch(commands, sources, {}); });
  return read(result);
}

TEST(ReductionNodes, EachGivesItsReduction) {
  Random r(47);
  const ImageBatch x = images(r, 1, kW, kH, kC);
  const std::vector<float> v = read(x);
  const auto expect = [&](const Ref<NNUnaryReductionNode>& node, char axis,
                          const std::function<double(const std::vector<float>&)>& of) {
    const auto got = encoded(NNGraph::graph(device(), node->resultImage(), true), x);
    std::vector<double> wanted;
    for (std::size_t y = 0; y < (axis == 'y' ? 1 : kH); ++y)
      for (std::size_t k = 0; k < (axis == 'x' ? 1 : kW); ++k)
        for (std::size_t c = 0; c < (axis == 'c' ? 1 : kC); ++c) {
          std::vector<float> taken;
          for (std::size_t i = 0; i < (axis == 'x' ? kW : axis == 'y' ? kH : kC); ++i)
            taken.push_back(v[((axis == 'y' ? i : y) * kW + (axis == 'x' ? i : k)) * kC + (axis == 'c' ? i : c)]);
          wanted.push_back(of(taken));
        }
    ASSERT_EQ(got.size(), wanted.size()) << axis;
    for (std::size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], wanted[i], 1e-5) << axis << i;
  };
  const auto least = [](const auto& t) { return double{*std::min_element(t.begin(), t.end())}; };
  const auto most = [](const auto& t) { return double{*std::max_element(t.begin(), t.end())}; };
  const auto sum = [](const auto& t) {
    double s = 0;
    for (const float f : t) s += double{f};
    return s;
  };
  const auto mean = [&](const auto& t) { return sum(t) / static_cast<double>(t.size()); };
  const auto s = named("x");
  expect(NNReductionRowMinNode::create(s), 'x', least);
  expect(NNReductionRowMaxNode::create(s), 'x', most);
  expect(NNReductionRowMeanNode::create(s), 'x', mean);
  expect(NNReductionRowSumNode::create(s), 'x', sum);
  expect(NNReductionColumnMinNode::create(s), 'y', least);
  expect(NNReductionColumnMaxNode::create(s), 'y', most);
  expect(NNReductionColumnMeanNode::create(s), 'y', mean);
  expect(NNReductionColumnSumNode::create(s), 'y', sum);
  expect(NNReductionFeatureChannelsMinNode::create(s), 'c', least);
  expect(NNReductionFeatureChannelsMaxNode::create(s), 'c', most);
  expect(NNReductionFeatureChannelsMeanNode::create(s), 'c', mean);
  const auto weighted = NNReductionFeatureChannelsSumNode::create(s);
  EXPECT_EQ(weighted->weight(), 1.f);
  weighted->setWeight(2.f);
  expect(weighted, 'c', [&](const auto& t) { return 2 * sum(t); });
  expect(NNReductionFeatureChannelsArgumentMinNode::create(s), 'c',
         [](const auto& t) { return static_cast<double>(std::min_element(t.begin(), t.end()) - t.begin()); });
  expect(NNReductionFeatureChannelsArgumentMaxNode::create(s), 'c',
         [](const auto& t) { return static_cast<double>(std::max_element(t.begin(), t.end()) - t.begin()); });
}

TEST(ReductionNodes, TheSpatialMeanOfAPartAndItsGradient) {
  Random r(53);
  const ImageBatch x = images(r, 2, kW, kH, kC), g = images(r, 2, 1, 1, kC);
  const std::vector<float> v = read(x), given = read(g);
  const auto make = [&](const Ref<NNImageNode>& s) {
    auto node = NNReductionSpatialMeanNode::create(s);
    node->setClipRectSource({{1, 1, 0}, {3, 2, 2}});
    return node;
  };
  const auto y = encoded(NNGraph::graph(device(), make(named("x"))->resultImage(), true), x);
  const auto ends = make(named("x"))->trainingGraph(named("g"), nullptr);
  ASSERT_EQ(ends.size(), 1u);
  const auto d = encoded(NNGraph::graph(device(), ends[0]->resultImage(), true), x, g);
  ASSERT_EQ(y.size(), 2 * kC);
  ASSERT_EQ(d.size(), v.size());
  for (std::size_t n = 0; n < 2; ++n)
    for (std::size_t c = 0; c < kC; ++c) {
      double sum = 0;
      for (std::size_t row = 0; row < kH; ++row)
        for (std::size_t k = 0; k < kW; ++k) {
          const bool inside = row >= 1 && row < 3 && k >= 1 && k < 4;
          const std::size_t at = ((n * kH + row) * kW + k) * kC + c;
          if (inside) sum += double{v[at]};
          EXPECT_NEAR(d[at], inside ? double{given[n * kC + c]} / 6 : 0.0, 1e-6);
        }
      EXPECT_NEAR(y[n * kC + c], sum / 6, 1e-5);
    }
}

TEST(ReductionNodes, OthersHaveNoGradientAndTheBaseNoKernel) {
  const auto node = NNReductionRowMaxNode::create(named("x"));
  EXPECT_TRUE(node->trainingGraph(named("g"), nullptr).empty());
  EXPECT_EQ(node->clipRectSource(), RectNoClip);
  EXPECT_THROW(NNGraph::graph(device(), NNUnaryReductionNode::create(named("x"))->resultImage(), true), Error);
}

}  // namespace
}  // namespace kovar
