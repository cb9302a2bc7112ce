// Reshape, padding, concatenation and Gram matrix stages in graphs: forward and in training graphs.

#include <map>

#include "graph/graph_case.hpp"
#include "kovar/MPS/NN/NNReshape.hpp"

namespace kovar {
namespace {

using namespace kovar::MPS;  // NOLINT: a test reads better without the prefix
using namespace kovar::test;

Ref<NNImageNode> named(const char* name) { return NNImageNode::create(std::make_shared<NamedHandle>(name)); }

std::vector<std::vector<float>> runGraph(const std::vector<Ref<NNImageNode>>& results,
                                         const std::map<std::string, ImageBatch>& sources) {
  for (const auto& r : results) r->setImageAllocator(Image::defaultAllocator());
  const auto graph = NNGraph::graph(device(), results, std::vector<bool>(results.size(), true));
  graph->setFormat(kFloat);
  std::vector<ImageBatch> given, more;
  for (const auto& h : graph->sourceImageHandles()) given.push_back(sources.at(h->label()));
  ImageBatch one;
  test::run([&](const auto& commands) { one = graph->encodeBatch(commands, given, {}, &more, nullptr); });
  std::vector<std::vector<float>> all{read(one)};
  for (const auto& m : more) all.push_back(read(m));
  return all;
}

TEST(ReshapeNodes, ReshapeAndBack) {
  Random random(3);
  const auto x = images(random, 2, 4, 3, 5), g = images(random, 2, 1, 1, 60);
  const auto node = NNReshapeNode::create(named("x"), 1, 1, 60);
  const auto ends = node->trainingGraph(named("g"), nullptr);
  ASSERT_EQ(ends.size(), 1u);
  const auto r = runGraph({ends[0]->resultImage(), node->resultImage()}, {{"x", x}, {"g", g}});
  EXPECT_EQ(r[1], read(x));
  EXPECT_EQ(r[0], read(g));
}

TEST(ReshapeNodes, PaddingAndBack) {
  Random random(4);
  const auto x = images(random, 2, 3, 3, 4), g = images(random, 2, 6, 4, 5);
  const auto node = NNPadNode::create(named("x"), {1, 0, 0}, {2, 1, 1}, ImageEdgeMode::Constant);
  node->setFillValue(2.5f);
  const auto ends = node->trainingGraph(named("g"), nullptr);
  ASSERT_EQ(ends.size(), 1u);
  const auto r = runGraph({ends[0]->resultImage(), node->resultImage()}, {{"x", x}, {"g", g}});
  const auto xs = read(x), gs = read(g);
  for (std::size_t n = 0; n < 2; ++n)
    for (std::size_t y = 0; y < 4; ++y)
      for (std::size_t i = 0; i < 6; ++i)
        for (std::size_t c = 0; c < 5; ++c) {
          const std::size_t at = ((n * 4 + y) * 6 + i) * 5 + c;
          const bool inside = y < 3 && i >= 1 && i < 4 && c < 4;
          const std::size_t from = inside ? ((n * 3 + y) * 3 + i - 1) * 4 + c : 0;
          EXPECT_EQ(r[1][at], inside ? xs[from] : 2.5f);
          if (inside) EXPECT_EQ(r[0][from], gs[at]);
        }
}

// Channel counts that are no multiples of four leave zeros between; the gradients are each source's channels.
TEST(ReshapeNodes, ConcatenationAndBack) {
  Random random(5);
  const auto a = images(random, 2, 3, 2, 4), b = images(random, 2, 3, 2, 6), c = images(random, 2, 3, 2, 3);
  constexpr std::size_t kAll = 4 + 8 + 3, kPixels = 2 * 3 * 2;
  const auto g = images(random, 2, 3, 2, kAll);
  const auto na = named("a"), nb = named("b"), nc = named("c");
  const auto node = NNConcatenationNode::create({na, nb, nc});
  const auto ends = node->trainingGraph(named("g"), nullptr);
  ASSERT_EQ(ends.size(), 3u);
  const auto r = runGraph({node->resultImage(), ends[0]->resultImage(), ends[1]->resultImage(), ends[2]->resultImage()},
                          {{"a", a}, {"b", b}, {"c", c}, {"g", g}});
  const std::vector<float> sources[] = {read(a), read(b), read(c)}, gs = read(g);
  const std::size_t first[] = {0, 4, 12}, channels[] = {4, 6, 3};
  std::vector<float> wanted(kPixels * kAll);
  for (std::size_t i = 0; i < 3; ++i)
    for (std::size_t p = 0; p < kPixels; ++p)
      for (std::size_t k = 0; k < channels[i]; ++k) {
        wanted[p * kAll + first[i] + k] = sources[i][p * channels[i] + k];
        EXPECT_EQ(r[i + 1][p * channels[i] + k], gs[p * kAll + first[i] + k]) << i;
      }
  EXPECT_EQ(r[0], wanted);
}

// One image twice: both places send a gradient, the graph adds them.
TEST(ReshapeNodes, AnImageConcatenatedTwiceGetsBothGradients) {
  Random random(6);
  const auto a = images(random, 1, 2, 2, 4), g = images(random, 1, 2, 2, 8);
  const auto x = named("a");
  const auto node = NNConcatenationNode::create({x, x});
  const auto ends = node->trainingGraph(named("g"), nullptr);
  ASSERT_EQ(ends.size(), 1u);
  const auto r = runGraph({ends[0]->resultImage()}, {{"a", a}, {"g", g}});
  const auto gs = read(g);
  for (std::size_t p = 0; p < 4; ++p)
    for (std::size_t c = 0; c < 4; ++c) EXPECT_EQ(r[0][p * 4 + c], gs[p * 8 + c] + gs[p * 8 + 4 + c]);
}

TEST(ReshapeNodes, GradientNodesByHandAndErrors) {
  const auto a = named("a"), b = named("b"), g = named("g");
  const auto node = NNConcatenationNode::create({a, b});
  const auto state = std::static_pointer_cast<NNGradientStateNode>(node->resultState());
  EXPECT_TRUE(NNConcatenationGradientNode::create(g, b, state)->resultImage());
  EXPECT_THROW(NNConcatenationGradientNode::create(g, g, state), Error);
  EXPECT_THROW(NNConcatenationNode::create({}), Error);
  EXPECT_THROW(NNReshapeGradientNode::create(g, a, nullptr), Error);
  EXPECT_THROW(NNPadGradientNode::create(g, a, nullptr), Error);
  Random random(8);
  const auto small = images(random, 1, 2, 2, 4), large = images(random, 1, 3, 2, 4);
  EXPECT_THROW(runGraph({node->resultImage()}, {{"a", small}, {"b", large}}), Error);
}

/// alpha by the number of pixels, as style transfers want it.
class PerPixel final : public Object, public NNGramMatrixCallback {
 public:
  int asked = 0;
  float alpha(const Ref<Image>& source, const Ref<Image>&) override {
    ++asked;
    return 1.f / static_cast<float>(source->width() * source->height());
  }
};

TEST(GramMatrixNodes, TheCallbackChoosesAlphaForBothWays) {
  Random random(7);
  constexpr std::size_t kChannels = 5, kPixels = 12;
  const auto x = images(random, 2, 4, 3, kChannels), g = images(random, 2, kChannels, 1, kChannels);
  const auto node = NNGramMatrixCalculationNode::create(named("x"), 3.f);
  EXPECT_EQ(node->alpha(), 3.f);
  const auto callback = std::make_shared<PerPixel>();
  node->setPropertyCallBack(callback);
  const auto ends = node->trainingGraph(named("g"), nullptr);
  ASSERT_EQ(ends.size(), 1u);
  const auto r = runGraph({ends[0]->resultImage(), node->resultImage()}, {{"x", x}, {"g", g}});
  EXPECT_EQ(callback->asked, 1);
  const auto xs = read(x), gs = read(g);
  for (std::size_t n = 0; n < 2; ++n)
    for (std::size_t f = 0; f < kChannels; ++f) {
      for (std::size_t c = 0; c < kChannels; ++c) {
        double sum = 0;
        for (std::size_t p = 0; p < kPixels; ++p)
          sum += static_cast<double>(xs[(n * kPixels + p) * kChannels + f]) *
                 static_cast<double>(xs[(n * kPixels + p) * kChannels + c]);
        EXPECT_NEAR(r[1][(n * kChannels + f) * kChannels + c], sum / kPixels, 1e-5);
      }
      for (std::size_t p = 0; p < kPixels; ++p) {
        double sum = 0;
        for (std::size_t c = 0; c < kChannels; ++c)
          sum +=
              static_cast<double>(gs[(n * kChannels + f) * kChannels + c] + gs[(n * kChannels + c) * kChannels + f]) *
              static_cast<double>(xs[(n * kPixels + p) * kChannels + c]);
        EXPECT_NEAR(r[0][(n * kPixels + p) * kChannels + f], sum / kPixels, 1e-5);
      }
    }
  EXPECT_THROW(NNGramMatrixCalculationGradientNode::create(named("g"), named("x"), nullptr), Error);
}

}  // namespace
}  // namespace kovar
