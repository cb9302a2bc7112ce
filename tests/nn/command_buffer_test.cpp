// MPS::CommandBuffer: commitAndContinue with temporaries that live on, predicates (nested, decided when the work's turn
// comes), wrappers around wrappers.

#include "kovar/MPS/Core/CommandBuffer.hpp"

#include <atomic>
#include <cstring>

#include "kovar/MPS/NN/CNNDropout.hpp"
#include "kovar/MPS/NN/CNNMath.hpp"
#include "kovar/MPS/NN/CNNPooling.hpp"
#include "kovar/Support/HostWork.hpp"
#include "nn_case.hpp"

namespace kovar::test {
namespace {

Ref<MPS::CNNNeuron> plus(float shift) {
  return std::make_shared<MPS::CNNNeuron>(
      cpuDevice(), MPS::NNNeuronDescriptor::cnnNeuronDescriptor(MPS::CNNNeuronType::Linear, 1, shift));
}

Ref<MPS::TemporaryImage> temporary(const Ref<MPS::Image>& image) {
  return std::dynamic_pointer_cast<MPS::TemporaryImage>(image);
}

void finish(const Ref<MTL::CommandBuffer>& buffer) {
  buffer->commit();
  buffer->waitUntilCompleted();
  ASSERT_EQ(buffer->status(), MTL::CommandBufferStatus::Completed)
      << (buffer->error() ? buffer->error()->what() : "no error text");
}

Ref<MPS::Predicate> flag(std::uint32_t word) {
  auto p = std::make_shared<MPS::Predicate>(cpuDevice());
  std::memcpy(p->predicateBuffer()->contents(), &word, sizeof word);
  return p;
}

const Tensor kOnes(1, 2, 2, 4, 1.0);

TEST(MpsCommandBuffer, WrapsABufferOrMakesOneOfAQueue) {
  const auto inner = cpuQueue()->commandBuffer();
  const auto outer = MPS::CommandBuffer::commandBuffer(inner);
  EXPECT_EQ(outer->commandBuffer(), inner);
  EXPECT_EQ(outer->rootCommandBuffer(), inner);
  EXPECT_EQ(outer->commandQueue(), cpuQueue());
  EXPECT_EQ(outer->device(), cpuDevice());
  EXPECT_EQ(outer->predicate(), nullptr);
  EXPECT_EQ(outer->heapProvider(), nullptr);
  const auto twice = MPS::CommandBuffer::commandBuffer(outer);
  EXPECT_EQ(twice->commandBuffer(), outer);
  EXPECT_EQ(twice->rootCommandBuffer(), inner);
  const auto y = imageOf(kOnes), z = imageOf(kOnes);
  plus(1)->encode(twice, imageOf(kOnes), y);
  plus(2)->encode(inner, imageOf(kOnes), z);
  outer->prefetchHeap(1000);
  MPS::hintTemporaryMemoryHighWaterMark(outer, 1000);
  MPS::setHeapCacheDuration(outer, 1.0);
  finish(outer);
  EXPECT_EQ(inner->status(), MTL::CommandBufferStatus::Completed);
  EXPECT_EQ(tensorOf(*y).v[0], 2);
  EXPECT_EQ(tensorOf(*z).v[0], 3);
  const auto own = MPS::CommandBuffer::commandBuffer(cpuQueue());
  plus(3)->encode(own, imageOf(kOnes), y);
  finish(own);
  EXPECT_EQ(tensorOf(*y).v[0], 4);
  expectError([] { MPS::CommandBuffer::commandBuffer(Ref<MTL::CommandBuffer>()); }, {"commandBuffer is null"});
  expectError([] { MPS::CommandBuffer::commandBuffer(Ref<MTL::CommandQueue>()); }, {"commandQueue is null"});
}

// A long computation cut into pieces that are committed as they are encoded. Whatever is still to be read goes along.
TEST(MpsCommandBuffer, TemporariesLiveOnAcrossCommitAndContinue) {
  forCases(25, [](Case& c) {
    Random& r = c.random;
    const auto buffer = MPS::CommandBuffer::commandBuffer(cpuQueue());
    const bool batch = r.chance(0.5);
    const MPS::ImageBatch start = imagesOf(Tensor(3, 2, 2, 4, 1.0), Format::Float32, Arrangement::Separate);
    MPS::ImageBatch at = start;
    double value = 1;
    std::vector<Ref<MTL::CommandBuffer>> roots{buffer->rootCommandBuffer()};
    const std::size_t steps = r.size(2, 8);
    for (std::size_t i = 0; i < steps; ++i) {
      const long by = r.integer(1, 5);
      const auto k = plus(static_cast<float>(by));
      if (batch)
        at = k->encodeBatch(buffer, at);
      else
        at = {k->encode(buffer, at[0])};
      value += static_cast<double>(by);
      if (!r.chance(0.6)) continue;
      buffer->commitAndContinue();
      EXPECT_NE(buffer->rootCommandBuffer(), roots.back());
      roots.push_back(buffer->rootCommandBuffer());
    }
    const MPS::ImageBatch results = imagesOf(Tensor(batch ? 3 : 1, 2, 2, 4), Format::Float32, Arrangement::Separate);
    plus(0)->encodeBatch(buffer, at, results);
    finish(buffer);
    for (const auto& root : roots) EXPECT_EQ(root->status(), MTL::CommandBufferStatus::Completed);
    EXPECT_EQ(tensorOf(results).v, std::vector<double>(results.size() * 16, value));
  });
}

TEST(MpsCommandBuffer, StatesLiveOnToo) {
  const auto buffer = MPS::CommandBuffer::commandBuffer(cpuQueue());
  MPS::CNNDropout forward(cpuDevice(), 0.5f, 9, {1, 1, 1});
  MPS::CNNDropoutGradient backward(cpuDevice(), 0.5f, 9, {1, 1, 1});
  const Tensor s(1, 8, 8, 4, 1.0);
  const auto source = imageOf(s), y = imageOf(s), d = imageOf(s);
  const auto state = forward.temporaryResultState(buffer, source, {}, y);
  forward.encode(buffer, source, state, y);
  buffer->commitAndContinue();
  backward.encode(buffer, imageOf(s), source, state, d);
  finish(buffer);
  EXPECT_EQ(tensorOf(*d).v, tensorOf(*y).v) << "the mask of the first piece";
}

TEST(MpsCommandBuffer, HandlersStayWithTheirPiece) {
  const auto buffer = MPS::CommandBuffer::commandBuffer(cpuQueue());
  std::atomic<int> first{0}, second{0};
  buffer->addCompletedHandler([&](const auto&) { ++first; });
  const auto root = buffer->rootCommandBuffer();
  plus(1)->encode(buffer, imageOf(kOnes), imageOf(kOnes));
  buffer->commitAndContinue();
  root->waitUntilCompleted();
  EXPECT_EQ(first, 1);
  buffer->addCompletedHandler([&](const auto&) { ++second; });
  expectError([&] { buffer->waitUntilCompleted(); }, {"waitUntilCompleted() before commit()"});
  finish(buffer);
  EXPECT_EQ(first, 1);
  EXPECT_EQ(second, 1);
}

TEST(Predicate, DecidesWhenTheWorksTurnComes) {
  const auto p = flag(1);
  const auto skipped = imageOf(Tensor(1, 2, 2, 4, 7.0)), done = imageOf(Tensor(1, 2, 2, 4, 7.0)),
             after = imageOf(Tensor(1, 2, 2, 4, 7.0));
  const auto buffer = MPS::CommandBuffer::commandBuffer(cpuQueue());
  const auto set = [&](std::uint32_t word) {
    encodeHost(buffer->rootCommandBuffer(), {}, {p->predicateBuffer()},
               [word](std::span<const HostView>, std::span<HostView> out) { std::memcpy(out[0].data(), &word, 4); });
  };
  buffer->setPredicate(p);
  EXPECT_EQ(buffer->predicate(), p);
  set(0);
  plus(1)->encode(buffer, imageOf(kOnes), skipped);
  set(0x80000000u);  // any bit counts
  plus(1)->encode(buffer, imageOf(kOnes), done);
  set(0);
  buffer->setPredicate(nullptr);
  plus(5)->encode(buffer, imageOf(kOnes), after);
  finish(buffer);
  EXPECT_EQ(tensorOf(*skipped).v[0], 7) << "what is skipped writes nothing";
  EXPECT_EQ(tensorOf(*done).v[0], 2);
  EXPECT_EQ(tensorOf(*after).v[0], 6);
}

TEST(Predicate, NestedWrappersMustAllAgree) {
  for (const std::uint32_t outerWord : {0u, 1u})
    for (const std::uint32_t innerWord : {0u, 2u}) {
      const auto inner = MPS::CommandBuffer::commandBuffer(cpuQueue());
      const auto outer = MPS::CommandBuffer::commandBuffer(inner);
      inner->setPredicate(flag(innerWord));
      outer->setPredicate(flag(outerWord));
      const auto both = imageOf(Tensor(1, 2, 2, 4, 7.0)), one = imageOf(Tensor(1, 2, 2, 4, 7.0));
      plus(1)->encode(outer, imageOf(kOnes), both);
      plus(1)->encode(inner, imageOf(kOnes), one);
      finish(outer);
      EXPECT_EQ(tensorOf(*both).v[0], outerWord && innerWord ? 2 : 7);
      EXPECT_EQ(tensorOf(*one).v[0], innerWord ? 2 : 7);
    }
}

// Every kernel of a chain under a predicate, its images temporary: encode-time effects happen regardless.
TEST(Predicate, ReadCountsDoNotAskIt) {
  for (const std::uint32_t word : {0u, 1u}) {
    const auto buffer = MPS::CommandBuffer::commandBuffer(cpuQueue());
    const auto base = plus(1)->encode(buffer, imageOf(kOnes));
    temporary(base)->setReadCount(2);
    buffer->setPredicate(flag(word));
    const auto pooled = MPS::CNNPoolingMax(cpuDevice(), 2, 2, 2, 2).encode(buffer, base);
    EXPECT_EQ(temporary(base)->readCount(), 1u);
    const auto y = imageOf(Tensor(1, 1, 1, 4, 7.0)), z = imageOf(Tensor(1, 2, 2, 4));
    plus(10)->encode(buffer, pooled, y);
    EXPECT_EQ(temporary(pooled)->readCount(), 0u);
    buffer->setPredicate(nullptr);
    plus(0)->encode(buffer, base, z);
    finish(buffer);
    EXPECT_EQ(tensorOf(*y).v[0], word ? 12 : 7);
    EXPECT_EQ(tensorOf(*z).v[0], 2);
  }
}

// Partial writes, batches gathered from separate images, offsets into the predicate's buffer.
TEST(Predicate, CoversWholeEncodes) {
  forCases(40, [](Case& c) {
    Random& r = c.random;
    const std::uint32_t words[3] = {static_cast<std::uint32_t>(r.integer(0, 1)), 5, 0};
    const auto memory = cpuDevice()->newBuffer(words, sizeof words);
    const std::size_t index = r.size(0, 2);
    const auto p = MPS::Predicate::predicate(memory, 4 * index);
    EXPECT_EQ(p->predicateOffset(), 4 * index);
    EXPECT_EQ(p->predicateBuffer(), memory);
    const Arrangement arrangement = randomArrangement(r);
    const Tensor s = integerTensor(r, 2, 3, 3, 4), before = integerTensor(r, 2, 4, 4, 8);
    const auto destination = imagesOf(before, Format::Float32, arrangement);
    const auto k = plus(2);
    k->setClipRect({{1, 0, 0}, {2, 3, 2}});
    k->setDestinationFeatureChannelOffset(4);
    const auto buffer = MPS::CommandBuffer::commandBuffer(cpuQueue());
    buffer->setPredicate(p);
    encodeAs(arrangement, *k, buffer, imagesOf(s, Format::Float32, arrangement), destination);
    finish(buffer);
    Tensor expected = before;
    for (std::size_t n = 0; words[index] && n < 2; ++n)
      for (std::size_t y = 0; y < 3; ++y)
        for (std::size_t x = 0; x < 2; ++x)
          for (std::size_t ch = 0; ch < 4; ++ch) expected.at(n, y, x + 1, 4 + ch) = s.at(n, y, x, ch) + 2;
    EXPECT_EQ(tensorOf(destination).v, expected.v);
  });
}

TEST(Predicate, ErrorsTellWhatIsWrong) {
  const auto memory = cpuDevice()->newBuffer(8);
  expectError([&] { MPS::Predicate(memory, 2); }, {"Predicate: offset 2 in a buffer of 8 bytes", "multiple of 4"});
  expectError([&] { MPS::Predicate(memory, 8); }, {"offset 8 in a buffer of 8 bytes"});
  expectError([&] { MPS::Predicate(memory, ~std::size_t{3}); }, {"in a buffer of 8 bytes"});
  expectError([] { MPS::Predicate(Ref<MTL::Buffer>(), 0); }, {"Predicate: buffer is null"});
  expectError([] { MPS::Predicate(Ref<MTL::Device>()); }, {"Predicate: device is null"});
}

}  // namespace
}  // namespace kovar::test
