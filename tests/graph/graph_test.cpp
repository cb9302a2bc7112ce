// NNGraph against kernels encoded by hand, its book-keeping and its messages.

#include <future>

#include "graph/graph_case.hpp"

namespace kovar {
namespace {

using namespace kovar::MPS;  // NOLINT: a test reads better without the prefix
using namespace kovar::test;

Ref<NNImageNode> named(const char* name) { return NNImageNode::create(std::make_shared<NamedHandle>(name)); }

std::string messageOf(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& e) {
    return e.what();
  }
  return "nothing was thrown";
}

TEST(Graph, EqualsKernelsEncodedByHandToTheBit) {
  SmallNet net;
  const auto graph = net.inference();
  ImageBatch byGraph, byHand;
  run([&](const auto& commands) { byGraph = graph->encodeBatch(commands, {net.batch}, {}); });
  run([&](const auto& commands) {
    const auto conv = std::make_shared<CNNConvolution>(device(), net.conv);
    const auto tanh =
        std::make_shared<CNNNeuron>(device(), NNNeuronDescriptor::cnnNeuronDescriptor(CNNNeuronType::TanH, 1.f, 1.f));
    const auto pool = std::make_shared<CNNPoolingAverage>(device(), 2, 2, 2, 2);
    pool->setEdgeMode(ImageEdgeMode::Clamp);
    pool->setPadding(NNDefaultPadding::paddingForTensorflowAveragePooling());
    const auto full = std::make_shared<CNNFullyConnected>(device(), net.full);
    const auto into = [&](std::size_t w, std::size_t c) {
      ImageBatch batch;
      for (std::size_t i = 0; i < net.batch.size(); ++i)
        batch.push_back(std::make_shared<Image>(device(), ImageDescriptor::imageDescriptor(kFloat, w, w, c)));
      return batch;
    };
    const ImageBatch a = into(6, 8), b = into(6, 8), c = into(3, 8);
    byHand = into(1, 5);
    conv->setOffset({0, 0, 0});
    conv->encodeBatch(commands, net.batch, a);
    tanh->encodeBatch(commands, a, b);
    pool->setOffset({1, 1, 0});
    pool->encodeBatch(commands, b, c);
    full->setOffset({1, 1, 0});
    full->encodeBatch(commands, c, byHand);
  });
  EXPECT_EQ(read(byGraph), read(byHand));
}

TEST(Graph, ImagesAreFloat16UnlessSaidOtherwise) {
  SmallNet net;
  const auto exact = net.inference();
  const auto graph = NNGraph::graph(device(), net.logits, true);
  EXPECT_EQ(graph->format(), ImageFeatureChannelFormat::Float16);
  ImageBatch half, full;
  run([&](const auto& c) { half = graph->encodeBatch(c, {net.batch}, {}); });
  run([&](const auto& c) { full = exact->encodeBatch(c, {net.batch}, {}); });
  ASSERT_EQ(half.at(0)->featureChannelFormat(), ImageFeatureChannelFormat::Float16);
  ASSERT_EQ(full.at(0)->featureChannelFormat(), kFloat);
  EXPECT_THAT(read(half), testing::Pointwise(testing::FloatNear(5e-3f), read(full)));
}

TEST(Graph, ANodesFormatWinsOverTheGraphsAndIsPassedOn) {
  const auto first = CNNNeuronTanHNode::create(named("source"));
  first->resultImage()->setFormat(ImageFeatureChannelFormat::Unorm8);
  const auto second = CNNNeuronAbsoluteNode::create(first->resultImage());
  const auto third = CNNNeuronAbsoluteNode::create(second->resultImage());
  third->resultImage()->setFormat(kFloat);
  for (const auto& node : {first->resultImage(), second->resultImage()}) {
    node->setExportFromGraph(true);
    node->setImageAllocator(Image::defaultAllocator());
  }
  const auto graph = NNGraph::graph(device(), third->resultImage(), true);
  Random random(1);
  std::vector<ImageBatch> between;
  ImageBatch result;
  run([&](const auto& c) { result = graph->encodeBatch(c, {images(random, 2, 3, 2, 4)}, {}, &between, nullptr); });
  ASSERT_EQ(between.size(), 2u);
  for (const auto& batch : between) EXPECT_EQ(batch.at(1)->featureChannelFormat(), ImageFeatureChannelFormat::Unorm8);
  EXPECT_EQ(result.at(1)->featureChannelFormat(), kFloat);
}

TEST(Graph, EncodesForAnySizeOfSource) {
  SmallNet net;
  const auto source = named("source");
  const auto graph = NNGraph::graph(device(), CNNNeuronTanHNode::create(source)->resultImage(), true);
  graph->setFormat(kFloat);
  Random random(2);
  for (std::size_t side : {1u, 7u, 3u}) {
    const auto batch = images(random, side, side, side + 1, side);
    ImageBatch result;
    run([&](const auto& c) { result = graph->encodeBatch(c, {batch}, {}); });
    ASSERT_EQ(result.size(), side);
    EXPECT_EQ(result[0]->width(), side);
    EXPECT_EQ(result[0]->height(), side + 1);
    const auto x = read(batch), y = read(result);
    for (std::size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(y[i], std::tanh(x[i]), 1e-6);
  }
}

TEST(Graph, TrainingGraphHasOneEndAndNamesItsSources) {
  SmallNet net;
  const auto loss = net.loss();
  loss->inputLabels()->setHandle(std::make_shared<NamedHandle>("labels"));
  int handled = 0;
  const auto ends = loss->trainingGraph(
      nullptr, [&](const auto& gradient, const auto& inference, const auto& source, const auto& from) {
        EXPECT_NE(gradient, nullptr);
        EXPECT_NE(inference, nullptr);
        EXPECT_NE(source, nullptr);
        EXPECT_NE(from, nullptr);
        ++handled;
      });
  ASSERT_EQ(ends.size(), 1u);
  EXPECT_EQ(handled, 4);
  const auto graph = NNGraph::graph(device(), ends[0]->resultImage(), false);
  ASSERT_EQ(graph->sourceImageHandles().size(), 1u);
  EXPECT_EQ(graph->sourceImageHandles()[0]->label(), "source");
  ASSERT_EQ(graph->sourceStateHandles().size(), 1u);
  EXPECT_EQ(graph->sourceStateHandles()[0]->label(), "labels");
  EXPECT_FALSE(graph->resultImageIsNeeded());
}

TEST(Graph, AGraphBuiltFilterByFilterTrainsAlike) {
  SmallNet automatic, manual;
  const auto a = automatic.training();
  // The same backward pass, made from the forward nodes one by one.
  const auto tanh = CNNNeuronTanHNode::create(manual.convNode->resultImage());
  const auto pool = CNNPoolingAverageNode::create(tanh->resultImage(), 2);
  pool->setPaddingPolicy(NNDefaultPadding::paddingForTensorflowAveragePooling());
  manual.fullNode = CNNFullyConnectedNode::create(pool->resultImage(), manual.full);
  manual.logits = manual.fullNode->resultImage();
  Ref<NNImageNode> gradient = manual.loss()->resultImage();
  for (const Ref<NNFilterNode>& node : std::vector<Ref<NNFilterNode>>{manual.fullNode, pool, tanh, manual.convNode})
    gradient = node->gradientFilter(gradient)->resultImage();
  const auto b = NNGraph::graph(device(), gradient, false);
  b->setFormat(kFloat);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(automatic.step(a), manual.step(b));
  EXPECT_THAT(automatic.conv->latestWeights(), testing::ElementsAreArray(manual.conv->latestWeights()));
}

TEST(Graph, StopGradientEndsTheBranch) {
  SmallNet net;
  int made = 0;
  const auto ends =
      net.loss()->trainingGraph(nullptr, [&](const auto& gradient, const auto& inference, const auto&, const auto&) {
        ++made;
        if (inference == net.fullNode) gradient->resultImage()->setStopGradient(true);
      });
  EXPECT_EQ(made, 1);
  ASSERT_EQ(ends.size(), 1u);
  const auto graph = NNGraph::graph(device(), ends[0]->resultImage(), false);
  graph->setFormat(kFloat);
  net.step(graph);
  EXPECT_EQ(net.full->updates, 1);
  EXPECT_EQ(net.conv->updates, 0);
}

TEST(Graph, StopGradientOnTheLastResultLeavesNothingToTrain) {
  const auto last = CNNNeuronTanHNode::create(named("source"));
  EXPECT_EQ(last->trainingGraph(nullptr, {}).size(), 1u);
  last->resultImage()->setStopGradient(true);
  EXPECT_TRUE(last->trainingGraph(nullptr, {}).empty());
}

TEST(Graph, GradientsThatStopAtASourceAreNotAdded) {
  for (const bool stops : {false, true}) {
    const auto source = named("source");
    source->setStopGradient(stops);
    const auto a = CNNNeuronTanHNode::create(source), b = CNNNeuronTanHNode::create(source);
    const auto sum = NNAdditionNode::create(a->resultImage(), b->resultImage());
    EXPECT_EQ(sum->trainingGraph(nullptr, {}).size(), stops ? 2u : 1u);
  }
}

TEST(Graph, ExportedImagesComeLeftToRightWithAReadLeft) {
  const auto a = CNNNeuronTanHNode::create(named("left")), b = CNNNeuronTanHNode::create(named("right"));
  const auto sum = NNAdditionNode::create(a->resultImage(), b->resultImage());
  std::vector<Ref<Handle>> handles;
  for (const auto& node : {a, b}) {
    handles.push_back(std::make_shared<NamedHandle>("exported"));
    node->resultImage()->setHandle(handles.back());
    node->resultImage()->setExportFromGraph(true);
  }
  const auto graph = NNGraph::graph(device(), sum->resultImage(), true);
  EXPECT_EQ(graph->intermediateImageHandles(), handles);
  Random random(5);
  run([&](const auto& commands) {
    std::vector<ImageBatch> between;
    graph->encodeBatch(commands, {images(random, 1, 2, 2, 4), images(random, 1, 2, 2, 4)}, {}, &between, nullptr);
    ASSERT_EQ(between.size(), 2u);
    for (const auto& batch : between) {
      const auto temporary = std::dynamic_pointer_cast<TemporaryImage>(batch.at(0));
      ASSERT_TRUE(temporary);
      EXPECT_EQ(temporary->readCount(), 1u) << "the graph has read it once, the caller may once more";
      temporary->setReadCount(0);
    }
  });
}

TEST(Graph, SeveralResultsComeInOrder) {
  const auto source = named("source");
  const auto a = CNNNeuronAbsoluteNode::create(source);
  const auto b = CNNNeuronLinearNode::create(source, 2.f, 1.f);
  b->resultImage()->setImageAllocator(Image::defaultAllocator());  // further results follow their nodes
  const auto graph = NNGraph::graph(device(), {a->resultImage(), b->resultImage()}, {true, true});
  graph->setFormat(kFloat);
  Random random(4);
  const auto batch = images(random, 1, 2, 2, 3);
  ImageBatch first;
  std::vector<ImageBatch> others;
  run([&](const auto& c) { first = graph->encodeBatch(c, {batch}, {}, &others, nullptr); });
  const auto x = read(batch), y = read(first);
  ASSERT_EQ(others.size(), 1u);
  const auto z = read(others[0]);
  for (std::size_t i = 0; i < x.size(); ++i) {
    EXPECT_EQ(y[i], std::abs(x[i]));
    EXPECT_FLOAT_EQ(z[i], 2 * x[i] + 1);
  }
}

TEST(Graph, ExecuteAsyncHandsTheResultToItsHandler) {
  const auto graph = NNGraph::graph(device(), CNNNeuronAbsoluteNode::create(named("source"))->resultImage(), true);
  graph->setFormat(kFloat);
  Random random(6);
  const auto batch = images(random, 1, 4, 4, 4);
  std::promise<Ref<Image>> promise;
  const auto returned = graph->executeAsync({batch[0]}, [&](const Ref<Image>& result, const auto& error) {
    EXPECT_EQ(error, nullptr);
    promise.set_value(result);
  });
  const auto result = promise.get_future().get();
  EXPECT_EQ(result, returned);
  const auto x = read(batch), y = read(result);
  for (std::size_t i = 0; i < x.size(); ++i) EXPECT_EQ(y[i], std::abs(x[i]));
}

TEST(Graph, ReloadTakesTheSourcesNewValues) {
  SmallNet net;
  const auto graph = net.inference();
  const double before = net.lossOf(graph);
  for (float& w : net.full->weightValues()) w = 0;
  for (float& b : net.full->biasValues()) b = 0;
  ImageBatch stale;
  run([&](const auto& c) { stale = graph->encodeBatch(c, {net.batch}, {}); });
  EXPECT_NE(read(stale), std::vector<float>(15));
  const double after = net.lossOf(graph);  // reloads
  EXPECT_NE(before, after);
  EXPECT_NEAR(after, 3 * SmallNet::kWeight * std::log(5.0), 1e-6);
}

TEST(Graph, AnEncodeUsesUpOneReadOfATemporarySource) {
  const auto source = named("source");
  const auto a = CNNNeuronAbsoluteNode::create(source);
  const auto b = CNNNeuronTanHNode::create(source);
  const auto graph =
      NNGraph::graph(device(), NNAdditionNode::create(a->resultImage(), b->resultImage())->resultImage(), true);
  EXPECT_EQ(graph->readCountForSourceImage(0), 1u);
  run([&](const auto& commands) {
    const auto d = ImageDescriptor::imageDescriptor(kFloat, 2, 2, 4);
    const auto temporary = TemporaryImage::temporaryImage(commands, d);
    temporary->setReadCount(2);
    Random random(9);
    CNNNeuron copy(device(), NNNeuronDescriptor::cnnNeuronDescriptor(CNNNeuronType::None));
    copy.encode(commands, images(random, 1, 2, 2, 4)[0], temporary);
    graph->encode(commands, {temporary});
    EXPECT_EQ(temporary->readCount(), 1u);
    graph->encode(commands, {temporary});
    EXPECT_EQ(temporary->readCount(), 0u);
  });
}

TEST(Graph, SaysWhatIsWrongWithItsSources) {
  SmallNet net;
  const auto training = net.training();
  const auto commands = queue()->commandBuffer();
  Random random(1);
  EXPECT_EQ(messageOf([&] { training->encodeBatch(commands, {}, {}); }),
            "NNGraph.encodeBatch: 0 source images given, the graph reads 1; give them in the order of "
            "sourceImageHandles()");
  EXPECT_EQ(messageOf([&] { training->encodeBatch(commands, {net.batch}, {}); }),
            "NNGraph.encodeBatch: 0 source states given, the graph reads 1; give them in the order of "
            "sourceStateHandles()");
  const auto labels = labelsOf(2, 5);
  EXPECT_EQ(
      messageOf([&] { training->encodeBatch(commands, {net.batch}, {StateBatch(labels.begin(), labels.end())}); }),
      "NNGraph.encodeBatch: 2 source states for 3 images; give one per image");
  EXPECT_EQ(messageOf([&] { training->encodeBatch(commands, {ImageBatch{}}, {StateBatch{}}); }),
            "NNGraph.encodeBatch: source batches of 0 and 0 images; all must have the same number, at least 1");
  EXPECT_EQ(messageOf([&] { NNGraph::graph(device(), named("alone"), true); }),
            "NNGraph: a result image node is the result of no filter; give a filter node's resultImage()");
  EXPECT_EQ(messageOf([&] { NNGraph::graph(device(), nullptr, true); }), "NNGraph: a result image node is null");
  // Nothing was encoded by the failed calls: the buffer still works.
  EXPECT_NO_THROW(net.inference()->encodeBatch(commands, {net.batch}, {}));
  commands->commit();
  commands->waitUntilCompleted();
  EXPECT_EQ(commands->status(), MTL::CommandBufferStatus::Completed);
}

/// Half a graph is encoded and read counts are spent: nobody may run that.
TEST(Graph, AnErrorInTheMiddleSpoilsTheBufferAndNothingElse) {
  SmallNet net;
  const auto graph = net.inference();
  Random random(1);
  const auto wrong = images(random, 3, 6, 6, 3);  // the convolution wants 4 channels
  const auto commands = queue()->commandBuffer();
  commands->setLabel("step 7");
  const std::string message = messageOf([&] { graph->encodeBatch(commands, {wrong}, {}); });
  EXPECT_THAT(message,
              testing::AllOf(testing::HasSubstr("CNNConvolution"), testing::HasSubstr("3"), testing::HasSubstr("4")));
  EXPECT_EQ(commands->status(), MTL::CommandBufferStatus::Error);
  ASSERT_NE(commands->error(), nullptr);
  EXPECT_THAT(commands->error()->what(), testing::HasSubstr(message));
  EXPECT_THAT(messageOf([&] { graph->encodeBatch(commands, {net.batch}, {}); }),
              testing::StartsWith("CommandBuffer \"step 7\": encode after encoding failed; go on with a new command "
                                  "buffer. What failed: NNGraph.encode"));
  EXPECT_THAT(messageOf([&] { commands->commit(); }),
              testing::StartsWith("CommandBuffer \"step 7\": commit() after encoding failed: "));
  commands->waitUntilCompleted();  // returns at once
  ImageBatch after;
  run([&](const auto& c) { after = graph->encodeBatch(c, {net.batch}, {}); });
  EXPECT_EQ(after.size(), 3u);
}

}  // namespace
}  // namespace kovar
