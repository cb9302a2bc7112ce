// Several threads, queues and graphs at once, on the device that computes.

#include <thread>

#include "graph/graph_case.hpp"
#include "kovar/Support/Threads.hpp"

namespace kovar {
namespace {

using namespace kovar::MPS;  // NOLINT: a test reads better without the prefix
using namespace kovar::test;

/// What a network of its own sees in eight steps on a queue of its own, one batch of labels a step.
std::vector<double> lossesOfARun(const Ref<MTL::CommandQueue>& queue) {
  SmallNet net;
  const auto training = net.training();
  std::vector<CNNLossLabelsBatch> labels;
  std::vector<Ref<MTL::CommandBuffer>> running;
  for (int step = 0; step < 8; ++step) {
    labels.push_back(labelsOf(SmallNet::kImages, SmallNet::kClasses));
    running.push_back(queue->commandBuffer());
    training->encodeBatch(running.back(), {net.batch}, {StateBatch(labels.back().begin(), labels.back().end())});
    running.back()->commit();
  }
  std::vector<double> losses;
  for (std::size_t step = 0; step < labels.size(); ++step) {
    running[step]->waitUntilCompleted();
    EXPECT_EQ(running[step]->error(), nullptr);
    double sum = 0;
    for (const auto& l : labels[step]) sum += read(l->lossImage()).at(0);
    losses.push_back(sum);
  }
  return losses;
}

TEST(Queues, TwoAtOnceTrainAsEachAlone) {
  const auto alone = lossesOfARun(device()->newCommandQueue());
  EXPECT_LT(alone.back(), alone.front());
  for (int round = 0; round < 5; ++round) {
    std::vector<double> first, second;
    std::thread other([&] { second = lossesOfARun(device()->newCommandQueue()); });
    first = lossesOfARun(device()->newCommandQueue());
    other.join();
    EXPECT_EQ(first, alone);
    EXPECT_EQ(second, alone);
  }
}

TEST(Queues, ThreadsShareOneQueue) {
  const auto alone = lossesOfARun(queue());
  std::vector<double> seen[3];
  std::vector<std::thread> threads;
  for (auto& losses : seen) threads.emplace_back([&losses] { losses = lossesOfARun(queue()); });
  for (auto& t : threads) t.join();
  for (const auto& losses : seen) EXPECT_EQ(losses, alone);
}

TEST(Queues, AnyNumberOfThreadsGivesTheSameBits) {
  const int before = threadCount();
  std::vector<std::vector<double>> seen;
  for (int threads : {1, 2, 3, 7}) {
    setThreadCount(threads);
    EXPECT_EQ(threadCount(), threads);
    seen.push_back(lossesOfARun(queue()));
  }
  setThreadCount(0);
  EXPECT_EQ(threadCount(), before);
  for (const auto& losses : seen) EXPECT_EQ(losses, seen[0]);
}

/// What one queue makes another reads, ordered by an event; the consumer is committed first.
TEST(Queues, AnEventHandsImagesFromQueueToQueue) {
  const auto producer = device()->newCommandQueue(), consumer = device()->newCommandQueue();
  Random random(3);
  const auto source = images(random, 1, 9, 9, 8)[0];
  const auto d = ImageDescriptor::imageDescriptor(kFloat, 9, 9, 8);
  const auto between = std::make_shared<Image>(device(), d), result = std::make_shared<Image>(device(), d);
  CNNNeuron twice(device(), NNNeuronDescriptor::cnnNeuronDescriptor(CNNNeuronType::Linear, 2.f, 0.f));
  CNNNeuron minus(device(), NNNeuronDescriptor::cnnNeuronDescriptor(CNNNeuronType::Linear, 1.f, -3.f));
  const auto event = device()->newEvent();
  for (std::uint64_t turn = 1; turn <= 20; ++turn) {
    const auto reads = consumer->commandBuffer(), writes = producer->commandBuffer();
    reads->encodeWait(event, 2 * turn - 1);
    minus.encode(reads, between, result);
    reads->commit();
    twice.encode(writes, source, between);
    writes->encodeSignalEvent(event, 2 * turn - 1);
    writes->commit();
    reads->waitUntilCompleted();
    const auto x = read(source), y = read(result);
    for (std::size_t i = 0; i < x.size(); ++i) ASSERT_EQ(y[i], 2 * x[i] - 3) << "turn " << turn;
    // The next turn starts from other values.
    std::vector<float> next(x);
    for (float& v : next) v += 1;
    source->writeBytes(next.data(), kHwc, 0);
  }
}

}  // namespace
}  // namespace kovar
