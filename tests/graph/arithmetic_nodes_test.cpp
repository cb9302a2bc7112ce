// Arithmetic stages in graphs: what they compute, what a training graph makes of them, with repeated operands.

#include <map>

#include "graph/graph_case.hpp"
#include "kovar/MPS/NN/CNNMath.hpp"

namespace kovar {
namespace {

using namespace kovar::MPS;  // NOLINT: a test reads better without the prefix
using namespace kovar::test;

constexpr std::size_t kSide = 4, kChannels = 5, kImages = 2, kPixels = kSide * kSide;

Ref<NNImageNode> named(const char* name) { return NNImageNode::create(std::make_shared<NamedHandle>(name)); }

/// Runs a graph with its sources by name; results in the order of the nodes.
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

std::vector<float> floats(const ImageBatch& b) { return read(b); }

struct Sources {
  Random random{5};
  ImageBatch a = images(random, kImages, kSide, kSide, kChannels), b = images(random, kImages, 1, 1, kChannels),
             g = images(random, kImages, kSide, kSide, kChannels);
};

TEST(ArithmeticNodes, ForwardIsWhatTheKernelsCompute) {
  const Sources s;
  const auto a = named("a"), b = named("g");
  const auto quotient = NNDivisionNode::create(a, b);
  quotient->setPrimaryScale(2.f);
  quotient->setMinimumValue(-3.f);
  quotient->setMaximumValue(3.f);
  const auto compare = NNComparisonNode::create({a, b});
  compare->setComparisonType(NNComparisonType::Less);
  compare->setBias(7.f);  // not used
  const auto r = runGraph({quotient->resultImage(), compare->resultImage()}, {{"a", s.a}, {"g", s.g}});
  const auto x = floats(s.a), y = floats(s.g);
  for (std::size_t i = 0; i < x.size(); ++i) {
    EXPECT_FLOAT_EQ(r[0][i], std::min(std::max(2.f * x[i] / y[i], -3.f), 3.f));
    EXPECT_EQ(r[1][i], x[i] < y[i] ? 1.f : 0.f);
  }
}

// y = a * b - 0.5 a with b one value per channel: dy/da = g (b - 0.5), dy/db = sum of g a over the pixels.
TEST(ArithmeticNodes, TrainingSumsTheGradientOfARepeatedOperand) {
  const Sources s;
  const auto a = named("a"), b = named("b"), g = named("g");
  const auto product = NNMultiplicationNode::create(a, b);
  product->setSecondaryStrideInPixelsX(0);
  product->setSecondaryStrideInPixelsY(0);
  const auto difference = NNSubtractionNode::create(product->resultImage(), a);
  difference->setSecondaryScale(0.5f);
  const auto ends = difference->trainingGraph(g, nullptr);
  ASSERT_EQ(ends.size(), 2u);
  const bool firstIsB = std::dynamic_pointer_cast<NNMultiplicationGradientNode>(ends[0]) != nullptr;
  const auto r = runGraph({ends[0]->resultImage(), ends[1]->resultImage()}, {{"a", s.a}, {"b", s.b}, {"g", s.g}});
  const auto &da = r[firstIsB ? 1 : 0], &db = r[firstIsB ? 0 : 1];
  const auto x = floats(s.a), y = floats(s.b), e = floats(s.g);
  ASSERT_EQ(da.size(), x.size());
  ASSERT_EQ(db.size(), y.size());
  std::vector<double> sums(y.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    const std::size_t image = i / (kPixels * kChannels), c = i % kChannels, at = image * kChannels + c;
    EXPECT_NEAR(da[i], e[i] * (y[at] - 0.5f), 1e-6);
    sums[at] += static_cast<double>(e[i]) * static_cast<double>(x[i]);
  }
  for (std::size_t i = 0; i < sums.size(); ++i) EXPECT_NEAR(db[i], sums[i], 1e-5);
}

TEST(ArithmeticNodes, LimitsOfAStageStopItsGradient) {
  const Sources s;
  const auto a = named("a"), b = named("a2"), g = named("g");
  const auto sum = NNAdditionNode::create(a, b);
  sum->setMinimumValue(-0.25f);
  sum->setMaximumValue(0.5f);
  const auto ends = sum->trainingGraph(g, nullptr);
  ASSERT_EQ(ends.size(), 2u);
  Random random(9);
  const ImageBatch other = images(random, kImages, kSide, kSide, kChannels);
  const auto r = runGraph({ends[0]->resultImage(), ends[1]->resultImage()}, {{"a", s.a}, {"a2", other}, {"g", s.g}});
  const auto x = floats(s.a), y = floats(other), e = floats(s.g);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const float v = x[i] + y[i], wanted = v > -0.25f && v < 0.5f ? e[i] : 0.f;
    EXPECT_EQ(r[0][i], wanted);
    EXPECT_EQ(r[1][i], wanted);
  }
}

TEST(ArithmeticNodes, ADivisionEndsATrainingGraph) {
  const auto a = named("a"), b = named("b"), g = named("g");
  const auto quotient = NNDivisionNode::create(a, b);
  const auto sum = NNAdditionNode::create(quotient->resultImage(), a);
  const auto ends = sum->trainingGraph(g, nullptr);
  ASSERT_EQ(ends.size(), 2u) << "the gradients by the quotient and by a: nothing goes on behind the quotient";
  for (const auto& e : ends) EXPECT_TRUE(std::dynamic_pointer_cast<NNAdditionGradientNode>(e));
  EXPECT_THROW(quotient->gradientFilters(g), Error);
}

TEST(ArithmeticNodes, GradientNodesByHand) {
  const auto a = named("a"), b = named("b"), g = named("g");
  const auto product = NNMultiplicationNode::create(a, b);
  const NNMultiplicationGradientNode fromFilter({g}, product, true);
  EXPECT_TRUE(fromFilter.isSecondarySourceFilter());
  EXPECT_EQ(fromFilter.primaryScale(), 1.f);
  const auto byHand = NNAdditionGradientNode::create(
      g, a, std::static_pointer_cast<NNBinaryGradientStateNode>(product->resultState()), false);
  EXPECT_FALSE(byHand->isSecondarySourceFilter());
  EXPECT_THROW(NNAdditionGradientNode({g}, CNNNeuronReLUNode::create(a), false), Error);
  EXPECT_THROW(NNAdditionGradientNode(g, a, nullptr, false), Error);
  EXPECT_THROW(NNAdditionNode::create({a}), Error);
  EXPECT_THROW(NNGraph::graph(device(), NNBinaryArithmeticNode::create(a, b)->resultImage()), Error);
}

TEST(ArithmeticNodes, DefaultsAreThoseOfTheKernels) {
  const NNSubtractionNode n(named("a"), named("b"));
  EXPECT_EQ(n.primaryScale(), 1.f);
  EXPECT_EQ(n.secondaryScale(), 1.f);
  EXPECT_EQ(n.bias(), 0.f);
  EXPECT_EQ(n.primaryStrideInPixelsX(), 1u);
  EXPECT_EQ(n.secondaryStrideInFeatureChannels(), 1u);
  EXPECT_EQ(n.maximumValue(), std::numeric_limits<float>::max());
}

}  // namespace
}  // namespace kovar
