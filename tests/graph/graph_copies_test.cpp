// Copies of graphs, and graphs read from archives: both compute what the original computes, and go their own ways.

#include <cstring>

#include "graph/graph_case.hpp"

namespace kovar {
namespace {

using namespace kovar::MPS;  // NOLINT: a test reads better without the prefix
using namespace kovar::test;

const Ref<MTL::Device>& distantDevice() {
  static const Ref<MTL::Device> d = MTL::deviceNamed("distant");
  return d;
}

class BatchValues final : public Object, public CNNBatchNormalizationDataSource {
 public:
  std::size_t numberOfFeatureChannels() override { return 8; }
  const float* gamma() override { return values_.data(); }
  const float* beta() override { return values_.data() + 8; }
  const float* mean() override { return values_.data() + 8; }
  const float* variance() override { return values_.data(); }
  bool load() override { return true; }
  void purge() override {}
  std::string label() override { return "bn"; }

 private:
  std::vector<float> values_ = std::vector<float>(16, 0.75f);
};
class InstanceValues final : public Object, public CNNInstanceNormalizationDataSource {
 public:
  std::size_t numberOfFeatureChannels() const override { return 8; }
  const float* gamma() override { return nullptr; }
  const float* beta() override { return nullptr; }
  std::string label() override { return "in"; }
};

/// One stage of every kind, with two sources, exports and handles.
struct Wide {
  Random random{5};
  Ref<NNImageNode> first = NNImageNode::create(std::make_shared<NamedHandle>("first"));
  Ref<NNImageNode> second = NNImageNode::create(std::make_shared<NamedHandle>("second"));
  Ref<NNImageNode> result;
  std::vector<float> firstValues = values(random, 6 * 6 * 4), secondValues = values(random, 6 * 6 * 8);

  Wide() {
    const auto conv = CNNConvolutionNode::create(first, trained(random, 3, 4, 8, "conv"))->resultImage();
    const auto batch = CNNBatchNormalizationNode::create(conv, std::make_shared<BatchValues>())->resultImage();
    const auto instance =
        CNNInstanceNormalizationNode::create(batch, std::make_shared<InstanceValues>())->resultImage();
    const auto sum = NNAdditionNode::create(instance, second)->resultImage();
    sum->setExportFromGraph(true);
    sum->setHandle(std::make_shared<NamedHandle>("sum"));
    sum->setImageAllocator(Image::defaultAllocator());
    const auto pool = CNNPoolingMaxNode::create(sum, 2)->resultImage();
    const auto large = CNNUpsamplingNearestNode::create(pool, 2, 2)->resultImage();
    const auto dropped = std::make_shared<CNNDropoutNode>(large, 0.75f)->resultImage();
    const auto both = NNConcatenationNode::create({dropped, sum})->resultImage();
    const auto turned =
        CNNConvolutionTransposeNode::create(both, nullptr, trained(random, 3, 16, 8, "up"))->resultImage();
    const auto gram = NNGramMatrixCalculationNode::create(turned, 0.5f)->resultImage();
    const auto flat = NNReshapeNode::create(gram, 4, 4, 4)->resultImage();
    const auto mean = NNReductionSpatialMeanNode::create(flat)->resultImage();
    result = CNNSoftMaxNode::create(mean)->resultImage();
  }
  Ref<NNGraph> graph() const {
    auto g = NNGraph::graph(device(), result, true);
    g->setFormat(kFloat);
    g->setLabel("wide");
    return g;
  }
  /// The result and the exported image of one run, wherever the graph lives.
  std::vector<float> run(const Ref<NNGraph>& graph) const {
    const auto d = graph->device();
    const auto given = [&](const std::vector<float>& v, std::size_t channels) {
      auto image = std::make_shared<Image>(d, ImageDescriptor::imageDescriptor(kFloat, 6, 6, channels));
      image->writeBytes(v.data(), kHwc, 0);
      return image;
    };
    const auto commands = d->newCommandQueue()->commandBuffer();
    std::vector<Ref<Image>> exported;
    const auto y = graph->encode(commands, {given(firstValues, 4), given(secondValues, 8)}, {}, &exported, nullptr);
    commands->commit();
    commands->waitUntilCompleted();
    EXPECT_EQ(commands->status(), MTL::CommandBufferStatus::Completed)
        << (commands->error() ? commands->error()->what() : "");
    std::vector<float> all = read(y);
    EXPECT_EQ(exported.size(), 1u);
    for (const auto& image : exported) {
      const auto more = read(image);
      all.insert(all.end(), more.begin(), more.end());
    }
    return all;
  }
};

std::vector<std::string> labelsOf(const std::vector<Ref<Handle>>& handles) {
  std::vector<std::string> all;
  all.reserve(handles.size());
  for (const auto& h : handles) all.push_back(h->label());
  return all;
}

template <class F>
std::string errorOf(F use) {
  try {
    use();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

std::vector<std::byte> written(const Ref<NNGraph>& graph) {
  Archive archive;
  graph->encodeWithCoder(archive);
  return archive.data();
}

void expectSame(const NNGraph& a, const NNGraph& b) {
  EXPECT_EQ(labelsOf(a.sourceImageHandles()), labelsOf(b.sourceImageHandles()));
  EXPECT_EQ(labelsOf(a.intermediateImageHandles()), labelsOf(b.intermediateImageHandles()));
  EXPECT_EQ(a.format(), b.format());
  EXPECT_EQ(a.label(), b.label());
  EXPECT_EQ(a.resultImageIsNeeded(), b.resultImageIsNeeded());
}

/// The distant device computes the processor's bits; a GPU that the suite runs on adds in another order.
void expectResults(const std::vector<float>& got, const std::vector<float>& wanted,
                   const Ref<MTL::Device>& computedOn) {
  const std::string here = device()->identifier();
  if (computedOn == device() || here == "cpu" || here.rfind("distant", 0) == 0)
    EXPECT_EQ(got, wanted);
  else
    EXPECT_THAT(got, testing::Pointwise(testing::FloatNear(1e-5f), wanted));
}

TEST(GraphCopies, ComputeTheSameHereAndElsewhere) {
  const Wide net;
  const auto graph = net.graph();
  const auto same = std::static_pointer_cast<NNGraph>(graph->copy(nullptr));
  const auto there = std::static_pointer_cast<NNGraph>(graph->copy(distantDevice()));
  const auto wanted = net.run(graph);
  for (const auto& copy : {same, there}) {
    expectSame(*copy, *graph);
    expectResults(net.run(copy), wanted, copy->device());
  }
  EXPECT_EQ(there->device(), distantDevice());
  EXPECT_EQ(same->sourceImageHandles(), graph->sourceImageHandles()) << "handles are shared";
}

TEST(GraphCopies, LiveWithoutTheOriginalAndItsNodes) {
  Ref<NNGraph> copy;
  std::vector<float> wanted;
  {
    auto net = std::make_unique<Wide>();
    const auto graph = net->graph();
    copy = std::static_pointer_cast<NNGraph>(graph->copy(nullptr));
    wanted = net->run(graph);
  }
  EXPECT_EQ(Wide().run(copy), wanted);
}

TEST(GraphCopies, TrainOnTheirOwn) {
  SmallNet net;
  const auto graph = net.training();
  const auto copy = std::static_pointer_cast<NNGraph>(graph->copy(nullptr));
  const double first = net.step(graph), second = net.step(graph);
  EXPECT_LT(second, first);
  EXPECT_EQ(net.step(copy), first) << "the copy has the weights of its making";
  EXPECT_EQ(net.step(copy), second) << "and trains all its kernels of one data source together";
}

TEST(GraphCopies, HaveTheWeightsInUse) {
  SmallNet net;
  const auto graph = net.training();
  net.step(graph);
  const auto copy = std::static_pointer_cast<NNGraph>(graph->copy(nullptr));
  EXPECT_EQ(net.step(copy), net.step(graph));
}

/// Says how often it was copied, and gives copies that count their own updates.
class Copied final : public Trained {
 public:
  using Trained::Trained;
  int copies = 0;
  Ref<Copied> last;
  Ref<CNNConvolutionDataSource> copy(const Ref<MTL::Device>&) override {
    ++copies;
    last = std::make_shared<Copied>(descriptor(), std::vector<float>(weightValues().begin(), weightValues().end()),
                                    std::vector<float>(biasValues().begin(), biasValues().end()), "copied");
    return last;
  }
};

TEST(GraphCopies, CopyEachDataSourceOnce) {
  SmallNet net;
  const auto own = std::make_shared<Copied>(net.conv->descriptor(), values(net.random, 3 * 3 * 4 * 8, 0.4),
                                            values(net.random, 8, 0.2), "own");
  const auto conv = CNNConvolutionNode::create(net.source, own);
  const auto full = CNNFullyConnectedNode::create(
      CNNPoolingAverageNode::create(CNNNeuronTanHNode::create(conv->resultImage())->resultImage(), 2)->resultImage(),
      net.full);
  const auto loss = CNNLossNode::create(
      full->resultImage(),
      CNNLossDescriptor::cnnLossDescriptor(CNNLossType::SoftMaxCrossEntropy, CNNReductionType::Sum));
  const auto graph = NNGraph::graph(device(), loss->trainingGraph(nullptr, nullptr).at(0)->resultImage(), false);
  const auto copy = std::static_pointer_cast<NNGraph>(graph->copy(nullptr));
  EXPECT_EQ(own->copies, 1) << "for the convolution and its gradient together";
  net.step(copy);
  EXPECT_EQ(own->updates, 0);
  EXPECT_EQ(own->last->updates, 1);
}

TEST(GraphArchives, ComputeTheSame) {
  const Wide net;
  const auto graph = net.graph();
  const auto bytes = written(graph);
  EXPECT_EQ(written(graph), bytes) << "writing changes nothing";
  Archive here(bytes), there(bytes);
  EXPECT_EQ(here.nextClassName(), "NNGraph");
  const auto a = std::make_shared<NNGraph>(here, device()), b = std::make_shared<NNGraph>(there, distantDevice());
  EXPECT_EQ(written(a), bytes) << "what was read is written alike";
  const auto wanted = net.run(graph);
  for (const auto& read : {a, b, std::static_pointer_cast<NNGraph>(a->copy(distantDevice()))}) {
    expectSame(*read, *graph);
    expectResults(net.run(read), wanted, read->device());
  }
  EXPECT_THAT(errorOf([&] { a->reloadFromDataSources(); }), testing::HasSubstr("no data source"));
  Archive again(bytes);
  EXPECT_THAT(errorOf([&] { again.decodeKernel(device()); }), testing::HasSubstr("holds a NNGraph here"));
}

TEST(GraphArchives, GradientsWithoutTraining) {
  SmallNet net;
  net.convNode->setTrainingStyle(NNTrainingStyle::UpdateDeviceNone);
  net.fullNode->setTrainingStyle(NNTrainingStyle::UpdateDeviceNone);
  const auto gradient = net.loss()->trainingGraph(nullptr, nullptr).at(0)->resultImage();
  const auto graph = NNGraph::graph(device(), gradient, true);
  graph->setFormat(kFloat);
  Archive archive(written(graph));
  const auto back = std::make_shared<NNGraph>(archive, device());
  const auto run = [&](const Ref<NNGraph>& g) {
    const auto labels = test::labelsOf(SmallNet::kImages, SmallNet::kClasses);
    ImageBatch out;
    test::run([&](const auto& c) { out = g->encodeBatch(c, {net.batch}, {StateBatch(labels.begin(), labels.end())}); });
    auto all = read(out);
    for (const auto& l : labels) all.push_back(read(l->lossImage()).at(0));
    return all;
  };
  EXPECT_EQ(run(back), run(graph));
}

TEST(GraphArchives, RefuseWhatCannotBeWritten) {
  SmallNet net;
  EXPECT_THAT(errorOf([&] { written(net.training()); }),
              testing::AllOf(testing::HasSubstr("trains weights"), testing::HasSubstr("\"full\"")));
  const auto inference = net.inference();
  class Own final : public Object, public ImageAllocator {
   public:
    Ref<Image> image(const Ref<MTL::CommandBuffer>& c, const Ref<ImageDescriptor>& d, const Ref<Kernel>& k) override {
      return Image::defaultAllocator()->image(c, d, k);
    }
  };
  inference->setDestinationImageAllocator(std::make_shared<Own>());
  EXPECT_THAT(errorOf([&] { written(inference); }), testing::HasSubstr("image allocator is of the caller's own class"));
  inference->setDestinationImageAllocator(Image::defaultAllocator());
  const auto before = net.lossOf(inference);
  written(inference);
  EXPECT_EQ(net.lossOf(inference), before) << "the graph goes on";
}

TEST(GraphArchives, ForgedBytesAreReadOrRefused) {
  const auto bytes = written(Wide().graph());
  const auto sealed = [](std::vector<std::byte> b) {
    std::uint64_t hash = 0xcbf29ce484222325u;
    for (std::size_t i = 32; i < b.size(); ++i) hash = (hash ^ static_cast<std::uint64_t>(b[i])) * 0x100000001b3u;
    const std::uint64_t size = b.size() - 32;
    std::memcpy(b.data() + 16, &size, sizeof size);
    std::memcpy(b.data() + 24, &hash, sizeof hash);
    return b;
  };
  const auto tried = [](const std::vector<std::byte>& b) {
    try {
      Archive archive(b);
      const NNGraph graph(archive, device());
      return true;
    } catch (const Error&) {
      return false;
    }
  };
  Random r(4);
  for (int i = 0; i < 1500; ++i) {
    const std::size_t at = r.size(32, bytes.size() - 1);
    auto changed = bytes;
    changed[at] = static_cast<std::byte>(r.pick({0, 1, 255, 127, 128}));
    tried(sealed(changed));  // an Error or a graph, nothing else
    EXPECT_FALSE(tried(sealed({bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(at)}))) << at;
  }
}

}  // namespace
}  // namespace kovar
