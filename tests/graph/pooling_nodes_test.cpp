// Pooling stages in graphs: inference against the kernels, gradients against differences.

#include "graph/graph_case.hpp"
#include "kovar/MPS/NN/CNNPoolingNode.hpp"

namespace kovar {
namespace {

using namespace kovar::MPS;  // NOLINT: a test reads better without the prefix
using namespace kovar::test;

Ref<NNImageNode> named(const char* name) { return NNImageNode::create(std::make_shared<NamedHandle>(name)); }

ImageBatch encoded(const Ref<NNGraph>& graph, const std::vector<ImageBatch>& sources) {
  graph->setFormat(kFloat);
  ImageBatch result;
  run([&](const auto& commands) { result = graph->encodeBatch(commands, sources, {}); });
  return result;
}

/// The node's result is the kernel's with edge mode Clamp, and its gradient the derivative of its result.
void expectNode(const std::function<Ref<NNFilterNode>(const Ref<NNImageNode>&)>& make,
                const std::shared_ptr<CNNPooling>& kernel) {
  Random r(41);
  const ImageBatch x = images(r, 2, 7, 6, 5);
  const auto inference = NNGraph::graph(device(), make(named("x"))->resultImage(), true);
  const ImageBatch y = encoded(inference, {x});
  kernel->setEdgeMode(ImageEdgeMode::Clamp);
  kernel->setDestinationImageAllocator(Image::defaultAllocator());
  ImageBatch byKernel;
  run([&](const auto& commands) {
    for (const auto& image : x) {
      const auto d = kernel->destinationImageDescriptor({image}, {});
      d->setChannelFormat(kFloat);
      byKernel.push_back(std::make_shared<Image>(device(), d));
      kernel->encode(commands, image, byKernel.back());
    }
  });
  EXPECT_EQ(read(y), read(byKernel));

  const auto source = named("x"), incoming = named("g");
  const auto ends = make(source)->trainingGraph(incoming, nullptr);
  ASSERT_EQ(ends.size(), 1u);
  const auto training = NNGraph::graph(device(), ends[0]->resultImage(), true);
  const ImageBatch g = images(r, 2, y[0]->width(), y[0]->height(), 5);
  std::vector<ImageBatch> sources;
  for (const auto& h : training->sourceImageHandles()) sources.push_back(h->label() == "x" ? x : g);
  const std::vector<float> d = read(encoded(training, sources)), at = read(x[1]), weights = read(g[1]);
  ASSERT_EQ(d.size(), 2 * at.size());
  for (std::size_t i = 0; i < at.size(); i += 13) {
    const auto moved = [&](float by) {
      std::vector<float> v = at;
      v[i] += by;
      const auto image = std::make_shared<Image>(device(), ImageDescriptor::imageDescriptor(kFloat, 7, 6, 5));
      image->writeBytes(v.data(), kHwc, 0);
      double sum = 0;
      const auto result = read(encoded(inference, {{image}}));
      for (std::size_t k = 0; k < result.size(); ++k) sum += double{result[k]} * double{weights[k]};
      return sum;
    };
    const double expected = (moved(1e-3f) - moved(-1e-3f)) / 2e-3;
    EXPECT_NEAR(d[at.size() + i], expected, 5e-3) << i;
  }
}

TEST(PoolingNodes, EachTrains) {
  expectNode([](const auto& s) { return CNNPoolingMaxNode::create(s, 2); },
             std::make_shared<CNNPoolingMax>(device(), 2, 2, 2, 2));
  expectNode([](const auto& s) { return CNNPoolingAverageNode::create(s, 3, 2); },
             std::make_shared<CNNPoolingAverage>(device(), 3, 3, 2, 2));
  expectNode([](const auto& s) { return CNNPoolingL2NormNode::create(s, 3, 2); },
             std::make_shared<CNNPoolingL2Norm>(device(), 3, 3, 2, 2));
  expectNode([](const auto& s) { return CNNDilatedPoolingMaxNode::create(s, 2, 1, 3); },
             std::make_shared<CNNDilatedPoolingMax>(device(), 2, 2, 3, 3, 1, 1));
}

TEST(PoolingNodes, TellWhatTheyWereGiven) {
  const auto s = named("x");
  const auto one = CNNDilatedPoolingMaxNode::create(s, 3);
  EXPECT_EQ(one->dilationRateX(), 3u);
  EXPECT_EQ(one->dilationRateY(), 3u);
  const CNNDilatedPoolingMaxNode all(s, 2, 3, 1, 2, 4, 5);
  EXPECT_EQ(all.dilationRateX() * 10 + all.dilationRateY(), 45u);
  const auto norm = CNNPoolingL2NormNode::create(s, 4);
  EXPECT_EQ(norm->kernelWidth() * 10 + norm->strideInPixelsY(), 44u);
  const auto back = CNNDilatedPoolingMaxGradientNode::create(s, s, nullptr, 2, 3, 4, 5, 6, 7);
  EXPECT_EQ(back->kernelWidth() * 10 + back->kernelHeight(), 23u);
  EXPECT_EQ(back->strideInPixelsX() * 10 + back->strideInPixelsY(), 45u);
  EXPECT_EQ(back->dilationRateX() * 10 + back->dilationRateY(), 67u);
}

}  // namespace
}  // namespace kovar
