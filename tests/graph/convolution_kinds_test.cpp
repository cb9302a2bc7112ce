// An auto-encoder: a convolution, a depthwise one, and a transposed one that the first one's state sizes. Its gradients
// against differences of the loss, in both styles of training.

#include "graph/graph_case.hpp"

namespace kovar {
namespace {

using namespace kovar::MPS;  // NOLINT: a test reads better without the prefix
using namespace kovar::test;

struct AutoEncoder : SmallNet {
  Ref<Trained> depthwise, transpose, last;
  Ref<CNNConvolutionTransposeNode> transposeNode;
  std::vector<Ref<CNNConvolutionNode>> nodes;

  AutoEncoder() {
    const auto down = CNNConvolutionDescriptor::cnnConvolutionDescriptor(3, 3, 4, 8);
    down->setStrideInPixelsX(2);
    down->setStrideInPixelsY(2);
    conv = std::make_shared<Trained>(down, values(random, 9 * 4 * 8, 0.4), values(random, 8, 0.2), "conv");
    depthwise = std::make_shared<Trained>(CNNDepthWiseConvolutionDescriptor::cnnConvolutionDescriptor(3, 3, 8, 16),
                                          values(random, 9 * 16, 0.5), values(random, 16, 0.2), "depthwise");
    const auto up = CNNConvolutionDescriptor::cnnConvolutionDescriptor(3, 2, 16, 4);
    up->setStrideInPixelsX(2);
    up->setStrideInPixelsY(2);
    transpose = std::make_shared<Trained>(up, values(random, 6 * 16 * 4, 0.4), values(random, 4, 0.2), "transpose");
    last = std::make_shared<Trained>(CNNConvolutionDescriptor::cnnConvolutionDescriptor(7, 7, 4, kClasses),
                                     values(random, 49 * 4 * kClasses, 0.3), values(random, kClasses, 0.2), "last");
    batch = images(random, kImages, 7, 7, 4);

    convNode = CNNConvolutionNode::create(source, conv);
    const auto a = CNNNeuronTanHNode::create(convNode->resultImage());
    const auto depthwiseNode = CNNConvolutionNode::create(a->resultImage(), depthwise);
    const auto b = CNNNeuronTanHNode::create(depthwiseNode->resultImage());
    transposeNode =
        CNNConvolutionTransposeNode::create(b->resultImage(), convNode->convolutionGradientState(), transpose);
    const auto c = CNNNeuronTanHNode::create(transposeNode->resultImage());
    fullNode = CNNFullyConnectedNode::create(c->resultImage(), last);
    logits = fullNode->resultImage();
    nodes = {convNode, depthwiseNode, transposeNode, fullNode};
  }
};

void expectGradientsAgree(NNTrainingStyle style) {
  AutoEncoder net;
  for (const auto& node : net.nodes) node->setTrainingStyle(style);
  const auto training = net.training(), inference = net.inference();
  const double loss = net.lossOf(inference);
  struct Wanted {
    Ref<Trained> source;
    bool biases;
    std::size_t index;
    float before;
    double gradient;
  };
  std::vector<Wanted> wanted;
  for (const auto& source : {net.conv, net.depthwise, net.transpose, net.last}) {
    source->rate = 1.f;
    for (const bool biases : {false, true}) {
      const std::span<float> v = biases ? source->biasValues() : source->weightValues();
      for (std::size_t k = 0; k < 6; ++k) {
        const std::size_t i = k * (v.size() - 1) / 5;
        const float h = 1e-2f, x = v[i];
        v[i] = x + h;
        const double up = net.lossOf(inference);
        v[i] = x - h;
        const double down = net.lossOf(inference);
        v[i] = x;
        wanted.push_back({source, biases, i, x, (up - down) / (2.0 * h)});
      }
    }
  }
  inference->reloadFromDataSources();
  EXPECT_NEAR(net.step(training), loss, 1e-5);
  for (const Wanted& w : wanted) {
    const float after = (w.biases ? w.source->latestBiases() : w.source->latestWeights())[w.index];
    EXPECT_NEAR(static_cast<double>(w.before) - after, w.gradient, 2e-3 + 1e-2 * std::abs(w.gradient))
        << w.source->label() << (w.biases ? " bias " : " weight ") << w.index;
  }
  for (const auto& source : {net.conv, net.depthwise, net.transpose, net.last}) EXPECT_EQ(source->updates, 1);
}

TEST(GraphConvolutionKinds, GradientsAgreeWithDifferencesGpuStyle) {
  expectGradientsAgree(NNTrainingStyle::UpdateDeviceGPU);
}
TEST(GraphConvolutionKinds, GradientsAgreeWithDifferencesCpuStyle) {
  expectGradientsAgree(NNTrainingStyle::UpdateDeviceCPU);
}

TEST(GraphConvolutionKinds, LossFallsOverSteps) {
  AutoEncoder net;
  const auto training = net.training();
  const double first = net.step(training);
  double last = first;
  for (int i = 0; i < 10; ++i) last = net.step(training);
  EXPECT_LT(last, 0.7 * first);
}

/// Random bits for 40 input and 3 output channels.
class Bits final : public Object, public CNNConvolutionDataSource {
 public:
  explicit Bits(std::size_t kernel)
      : descriptor_(CNNConvolutionDescriptor::cnnConvolutionDescriptor(kernel, kernel, 40, 3)) {
    Random random(3);
    for (std::size_t i = 0; i < 3 * kernel * kernel * 2; ++i)
      words_.push_back(static_cast<std::uint32_t>(random.bits()));
  }
  DataType dataType() override { return DataType::UInt32; }
  Ref<CNNConvolutionDescriptor> descriptor() override { return descriptor_; }
  const void* weights() override { return words_.data(); }
  const float* biasTerms() override { return nullptr; }
  bool load() override { return true; }
  void purge() override {}
  std::string label() override { return "bits"; }

 private:
  Ref<CNNConvolutionDescriptor> descriptor_;
  std::vector<std::uint32_t> words_;
};

// Nodes do what the kernels do, and training stops before them.
TEST(GraphConvolutionKinds, BinaryNodesEqualTheirKernels) {
  using Type = CNNBinaryConvolutionType;
  using Flags = CNNBinaryConvolutionFlags;
  Random random(5);
  const float outputBias[3] = {1, 2, 3}, outputScale[3] = {0.5f, 2, 1};
  const std::vector<float> inputBias(40, 0.25f), inputScale(40, -1.f);
  const auto source = images(random, 2, 5, 5, 40);
  const auto expectEqual = [&](const Ref<CNNBinaryConvolutionNode>& node, CNNBinaryConvolution& kernel) {
    const auto graph = NNGraph::graph(device(), node->resultImage(), true);
    graph->setFormat(kFloat);
    ImageBatch got, wanted;
    run([&](const auto& commands) {
      got = graph->encodeBatch(commands, {source}, {});
      const auto d = kernel.destinationImageDescriptor({source[0]}, {});
      d->setChannelFormat(kFloat);
      for (std::size_t i = 0; i < source.size(); ++i) wanted.push_back(std::make_shared<Image>(device(), d));
      kernel.encodeBatch(commands, source, wanted);
    });
    EXPECT_EQ(read(got), read(wanted));
  };
  const auto node = [] { return NNImageNode::create(std::make_shared<NamedHandle>("source")); };
  const auto small = std::make_shared<Bits>(3), whole = std::make_shared<Bits>(5);
  CNNBinaryConvolution a(device(), small, 0.5f, Type::XNOR, Flags::UseBetaScaling);
  expectEqual(CNNBinaryConvolutionNode::create(node(), small, 0.5f, Type::XNOR, Flags::UseBetaScaling), a);
  CNNBinaryConvolution b(device(), small, outputBias, outputScale, inputBias.data(), inputScale.data(), Type::AND,
                         Flags::None);
  expectEqual(CNNBinaryConvolutionNode::create(node(), small, outputBias, outputScale, inputBias.data(),
                                               inputScale.data(), Type::AND, Flags::None),
              b);
  CNNBinaryFullyConnected c(device(), whole, 2.f, Type::BinaryWeights, Flags::None);
  expectEqual(CNNBinaryFullyConnectedNode::create(node(), whole, 2.f, Type::BinaryWeights, Flags::None), c);
  CNNBinaryFullyConnected d(device(), whole, outputBias, outputScale, nullptr, nullptr, Type::XNOR, Flags::None);
  expectEqual(CNNBinaryFullyConnectedNode::create(node(), whole, outputBias, outputScale, nullptr, nullptr, Type::XNOR,
                                                  Flags::None),
              d);
  EXPECT_EQ(CNNBinaryConvolutionNode::create(node(), small, 1.f, Type::AND, Flags::None)->resultState(), nullptr);
}

// Without a state the padding policy of the node decides, also for one image.
TEST(GraphConvolutionKinds, ATransposeWithoutAStateFollowsItsPolicy) {
  AutoEncoder net;
  const auto node = CNNConvolutionTransposeNode::create(net.source, nullptr, net.transpose);
  const auto wide = std::make_shared<NNImageNode>(std::make_shared<NamedHandle>("wide"));
  const auto standalone = CNNConvolutionTransposeNode::create(wide, nullptr, net.transpose);
  standalone->setPaddingPolicy(NNDefaultPadding::padding(NNPaddingMethod::SizeFull));
  const auto graph = NNGraph::graph(device(), standalone->resultImage(), true);
  graph->setFormat(kFloat);
  const auto source = images(net.random, 1, 3, 2, 16);
  Ref<Image> result;
  run([&](const auto& commands) { result = graph->encode(commands, {source[0]}); });
  EXPECT_EQ(result->width(), 7u);   // (3 - 1) * 2 + 1 + 2
  EXPECT_EQ(result->height(), 4u);  // (2 - 1) * 2 + 1 + 1
  CNNConvolutionTranspose kernel(device(), net.transpose);
  kernel.setPadding(NNDefaultPadding::padding(NNPaddingMethod::SizeFull));
  const auto same = images(net.random, 1, 7, 4, 4)[0];
  run([&](const auto& commands) {
    const auto d = kernel.destinationImageDescriptor({source[0]}, {});
    EXPECT_EQ(d->width(), 7u);
    kernel.encode(commands, source[0], same);
  });
  EXPECT_EQ(read(result), read(same));
}

}  // namespace
}  // namespace kovar
