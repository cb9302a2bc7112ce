// The life of command buffers on the null device: order, handlers, errors, waits, leaks.

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <thread>
#include <vector>

#include "kovar/MPS/Core/CommandBuffer.hpp"
#include "kovar/MTL/MTL.hpp"
#include "runtime/access.hpp"

namespace kovar {
namespace {

class Lifecycle : public ::testing::Test {
 protected:
  Ref<MTL::Device> device = MTL::deviceNamed("null");
  Ref<MTL::CommandQueue> queue = device->newCommandQueue();

  static void encode(const Ref<MTL::CommandBuffer>& buffer, std::function<void()> fn) {
    ASSERT_TRUE(rt::Access::state(buffer)
                    ->appendCall({}, false,
                                 [fn = std::move(fn)](auto, void*) {
                                   fn();
                                   return base::Status{};
                                 },
                                 {})
                    .ok());
  }
};

TEST_F(Lifecycle, RunsInOrderAndCompletes) {
  std::vector<int> order;
  Ref<MTL::CommandBuffer> last;
  for (int i = 0; i < 10; ++i) {
    auto buffer = queue->commandBuffer();
    EXPECT_EQ(buffer->status(), MTL::CommandBufferStatus::NotEnqueued);
    encode(buffer, [&order, i] { order.push_back(i); });
    buffer->commit();
    last = buffer;
  }
  last->waitUntilCompleted();
  EXPECT_EQ(last->status(), MTL::CommandBufferStatus::Completed);
  EXPECT_EQ(last->error(), nullptr);
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
}

TEST_F(Lifecycle, EnqueueReservesThePlace) {
  std::vector<int> order;
  auto first = queue->commandBuffer(), second = queue->commandBuffer();
  first->enqueue();
  EXPECT_EQ(first->status(), MTL::CommandBufferStatus::Enqueued);
  encode(second, [&] { order.push_back(2); });
  second->commit();
  encode(first, [&] { order.push_back(1); });
  first->commit();
  second->waitUntilCompleted();
  EXPECT_EQ(order, (std::vector<int>{1, 2}));
}

TEST_F(Lifecycle, AnEnqueuedBufferThatDiesGivesItsPlaceUp) {
  auto second = queue->commandBuffer();
  {
    auto first = queue->commandBuffer();
    first->enqueue();
  }
  second->commit();
  second->waitUntilCompleted();
  EXPECT_EQ(second->status(), MTL::CommandBufferStatus::Completed);
}

TEST_F(Lifecycle, HandlersRunInOrderOnTheirOwnThread) {
  std::vector<std::string> seen;
  std::thread::id thread;
  auto buffer = queue->commandBuffer();
  buffer->addScheduledHandler([&](const auto&) { seen.emplace_back("scheduled"); });
  buffer->addCompletedHandler([&](const auto& b) {
    EXPECT_EQ(b->status(), MTL::CommandBufferStatus::Completed);
    thread = std::this_thread::get_id();
    seen.emplace_back("first");
  });
  buffer->addCompletedHandler([&](const auto&) { seen.emplace_back("second"); });
  buffer->commit();
  buffer->waitUntilCompleted();
  EXPECT_EQ(seen, (std::vector<std::string>{"scheduled", "first", "second"}));
  EXPECT_NE(thread, std::this_thread::get_id());
}

TEST_F(Lifecycle, AHandlerMayWaitForOtherWork) {
  std::atomic<bool> waited{false};
  auto buffer = queue->commandBuffer();
  buffer->addCompletedHandler([&](const auto&) {
    auto next = queue->commandBuffer();
    next->addCompletedHandler([](const auto&) {});
    next->commit();
    next->waitUntilCompleted();
    waited = true;
  });
  buffer->commit();
  buffer->waitUntilCompleted();
  EXPECT_TRUE(waited);
}

TEST_F(Lifecycle, AHandlerThatThrowsBecomesTheError) {
  auto buffer = queue->commandBuffer();
  buffer->setLabel("epoch 1");
  buffer->addCompletedHandler([](const auto&) { throw std::runtime_error("disk on fire"); });
  buffer->commit();
  buffer->waitUntilCompleted();
  EXPECT_EQ(buffer->status(), MTL::CommandBufferStatus::Error);
  ASSERT_NE(buffer->error(), nullptr);
  EXPECT_STREQ(buffer->error()->what(), "CommandBuffer \"epoch 1\": a completed handler threw: disk on fire");
}

TEST_F(Lifecycle, AFaultEndsTheBufferAndNotTheQueue) {
  auto bad = queue->commandBuffer(), good = queue->commandBuffer();
  encode(bad, [] { throw std::runtime_error("broken"); });
  bad->commit();
  good->commit();
  good->waitUntilCompleted();
  EXPECT_EQ(bad->status(), MTL::CommandBufferStatus::Error);
  EXPECT_NE(std::string(bad->error()->what()).find("broken"), std::string::npos);
  EXPECT_EQ(good->status(), MTL::CommandBufferStatus::Completed);
}

TEST_F(Lifecycle, MisuseIsRefused) {
  auto buffer = queue->commandBuffer();
  EXPECT_THROW(buffer->waitUntilCompleted(), Error);
  EXPECT_THROW(buffer->waitUntilScheduled(), Error);
  buffer->commit();
  EXPECT_THROW(buffer->commit(), Error);
  EXPECT_THROW(buffer->addCompletedHandler([](const auto&) {}), Error);
  EXPECT_FALSE(rt::Access::state(buffer)->appendCall({}, false, [](auto, void*) { return base::Status{}; }, {}).ok());
  buffer->waitUntilCompleted();
}

TEST_F(Lifecycle, EventsOrderTwoQueues) {
  auto other = device->newCommandQueue();
  auto event = device->newEvent();
  std::vector<int> order;
  auto waiter = queue->commandBuffer(), signaller = other->commandBuffer();
  waiter->encodeWait(event, 3);
  encode(waiter, [&] { order.push_back(2); });
  waiter->commit();
  encode(signaller, [&] { order.push_back(1); });
  signaller->encodeSignalEvent(event, 3);
  signaller->commit();
  waiter->waitUntilCompleted();
  EXPECT_EQ(order, (std::vector<int>{1, 2}));
  EXPECT_EQ(event->signaledValue(), 3u);
}

TEST_F(Lifecycle, BuffersNeverCommittedLeakNothing) {
  std::weak_ptr<rt::Storage> watched;
  {
    auto buffer = queue->commandBuffer();
    auto storage = rt::Access::state(buffer)->newTemporary(64, false);
    watched = storage;
    rt::Operand o{storage, prim::Access::Write, prim::View::contiguous(prim::DType::F32, {16})};
    ASSERT_TRUE(rt::Access::state(buffer)->append(prim::Fill{}, {o}).ok());
  }
  EXPECT_TRUE(watched.expired());
}

TEST_F(Lifecycle, WhatAListHoldsIsFreeWhenTheWaitReturns) {
  auto buffer = queue->commandBuffer();
  auto mine = device->newBuffer(64);
  std::weak_ptr<rt::Storage> watched = rt::Access::storage(mine);
  rt::Operand o{rt::Access::storage(mine), prim::Access::Write, prim::View::contiguous(prim::DType::F32, {16})};
  ASSERT_TRUE(rt::Access::state(buffer)->append(prim::Fill{}, {o}).ok());
  o.storage.reset();
  mine.reset();
  EXPECT_FALSE(watched.expired());
  buffer->commit();
  buffer->waitUntilCompleted();
  EXPECT_TRUE(watched.expired());
}

TEST_F(Lifecycle, CommitAndContinueMovesOn) {
  auto wrapper = MPS::CommandBuffer::commandBuffer(queue);
  const auto first = wrapper->rootCommandBuffer();
  wrapper->commitAndContinue();
  const auto second = wrapper->rootCommandBuffer();
  EXPECT_NE(first, second);
  first->waitUntilCompleted();
  EXPECT_EQ(first->status(), MTL::CommandBufferStatus::Completed);
  EXPECT_EQ(second->status(), MTL::CommandBufferStatus::NotEnqueued);
  wrapper->commit();
  wrapper->waitUntilCompleted();
  EXPECT_EQ(second->status(), MTL::CommandBufferStatus::Completed);
}

TEST_F(Lifecycle, HeapsCountWhatIsMadeFromThem) {
  auto descriptor = std::make_shared<MTL::HeapDescriptor>();
  descriptor->setSize(1024);
  auto heap = device->newHeap(descriptor);
  auto a = heap->newBuffer(1000);
  EXPECT_EQ(heap->usedSize(), 1000u);
  EXPECT_THROW(heap->newBuffer(100), Error);
  a.reset();
  EXPECT_EQ(heap->usedSize(), 0u);
  EXPECT_NO_THROW(heap->newBuffer(1024));
}

TEST_F(Lifecycle, NoCopyBuffersUseTheCallersMemory) {
  std::vector<float> mine(16, 1.f);
  bool released = false;
  {
    auto b = device->newBufferNoCopy(mine.data(), 64, MTL::StorageMode::Shared, [&](void* p, std::size_t n) {
      EXPECT_EQ(p, mine.data());
      EXPECT_EQ(n, 64u);
      released = true;
    });
    EXPECT_EQ(b->contents(), mine.data());
  }
  EXPECT_TRUE(released);
}

TEST_F(Lifecycle, ManyThreadsUseOneQueue) {
  std::atomic<int> ran{0};
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 25; ++i) {
        auto buffer = queue->commandBuffer();
        encode(buffer, [&] { ++ran; });
        buffer->commit();
        buffer->waitUntilCompleted();
      }
    });
  for (auto& t : threads) t.join();
  EXPECT_EQ(ran, 100);
}

}  // namespace
}  // namespace kovar
