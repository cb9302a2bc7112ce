#include "base/parallel.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <numeric>
#include <set>
#include <thread>
#include <vector>

namespace kovar::base {
namespace {

TEST(ThreadPool, EveryChunkRunsOnce) {
  for (int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (std::size_t chunks : {0u, 1u, 2u, 7u, 1000u}) {
      std::vector<std::atomic<int>> seen(chunks);
      pool.run(chunks, [&](std::size_t i) { ++seen.at(i); });
      for (std::size_t i = 0; i < chunks; ++i) EXPECT_EQ(seen[i], 1) << threads << " threads, chunk " << i;
    }
  }
}

TEST(ThreadPool, WhatChunksWroteIsThereAfterwards) {
  ThreadPool pool(4);
  std::vector<int> values(4096);
  for (int round = 1; round <= 500; ++round) {
    // Plain ints: the pool itself must order these accesses.
    pool.run(64, [&](std::size_t c) {
      for (std::size_t i = c * 64; i < (c + 1) * 64; ++i) values[i] += round;
    });
    ASSERT_EQ(std::accumulate(values.begin(), values.end(), 0L), 4096L * round * (round + 1) / 2);
  }
}

TEST(ThreadPool, UsesItsThreads) {
  ThreadPool pool(3);
  std::mutex mutex;
  std::set<std::thread::id> ids;
  std::atomic<int> arrived{0};
  // Each chunk waits for the others, so three threads must take one each.
  pool.run(3, [&](std::size_t) {
    ++arrived;
    while (arrived < 3) std::this_thread::yield();
    std::scoped_lock lock(mutex);
    ids.insert(std::this_thread::get_id());
  });
  EXPECT_EQ(ids.size(), 3u);
}

TEST(ThreadPool, CallsFromInsideAndFromOtherThreadsAreServed) {
  ThreadPool pool(2);
  std::atomic<int> inner{0};
  pool.run(8, [&](std::size_t) { pool.run(5, [&](std::size_t) { ++inner; }); });
  EXPECT_EQ(inner, 40);
  std::atomic<int> count{0};
  std::vector<std::thread> callers;
  callers.reserve(4);
  for (int t = 0; t < 4; ++t)
    callers.emplace_back([&] {
      for (int i = 0; i < 200; ++i) pool.run(6, [&](std::size_t) { ++count; });
    });
  for (auto& t : callers) t.join();
  EXPECT_EQ(count, 4 * 200 * 6);
}

}  // namespace
}  // namespace kovar::base
