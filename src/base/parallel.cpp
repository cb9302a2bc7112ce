#include "base/parallel.hpp"

#include <limits>

namespace kovar::base {
namespace {

// A waiting thread first looks around this often: jobs of one list follow each other within microseconds.
constexpr int kSpins = 2000;

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
  for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { workerLoop(); });
}

ThreadPool::~ThreadPool() {
  {
    std::scoped_lock lock(mutex_);
    stop_ = true;
    ticket_.fetch_add(std::uint64_t{1} << 32, std::memory_order_release);
  }
  wake_.notify_all();
  for (std::thread& t : workers_) t.join();
}

bool ThreadPool::take(std::uint32_t generation, std::size_t chunks, std::size_t& chunk) {
  std::uint64_t ticket = ticket_.load(std::memory_order_relaxed);
  for (;;) {
    chunk = static_cast<std::uint32_t>(ticket);
    if (generationOf(ticket) != generation || chunk >= chunks) return false;
    if (ticket_.compare_exchange_weak(ticket, ticket + 1, std::memory_order_relaxed)) return true;
  }
}

void ThreadPool::runJob(std::size_t chunks, Thunk thunk, void* fn) {
  std::unique_lock caller(callerMutex_, std::try_to_lock);
  if (!caller || chunks > std::numeric_limits<std::uint32_t>::max()) {
    for (std::size_t i = 0; i < chunks; ++i) thunk(fn, i);
    return;
  }
  std::uint32_t generation;
  {
    std::scoped_lock lock(mutex_);
    thunk_ = thunk;
    fn_ = fn;
    chunks_ = chunks;
    finished_.store(0, std::memory_order_relaxed);
    generation = generationOf(ticket_.load(std::memory_order_relaxed)) + 1;
    ticket_.store(std::uint64_t{generation} << 32, std::memory_order_release);
  }
  wake_.notify_all();
  for (std::size_t i; take(generation, chunks, i); finished_.fetch_add(1, std::memory_order_acq_rel)) thunk(fn, i);
  const auto over = [&] { return finished_.load(std::memory_order_acquire) == chunks; };
  for (int spin = 0; spin < kSpins; ++spin) {
    if (over()) return;
    pause();
  }
  std::unique_lock lock(mutex_);
  done_.wait(lock, over);
}

void ThreadPool::workerLoop() {
  std::uint32_t seen = 0;
  for (;;) {
    const auto isNew = [&] { return generationOf(ticket_.load(std::memory_order_acquire)) != seen; };
    for (int spin = 0; spin < kSpins && !isNew(); ++spin) pause();
    Thunk thunk;
    void* fn;
    std::size_t chunks;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, isNew);
      seen = generationOf(ticket_.load(std::memory_order_relaxed));
      if (stop_) return;
      thunk = thunk_;
      fn = fn_;
      chunks = chunks_;
    }
    for (std::size_t i; take(seen, chunks, i);) {
      thunk(fn, i);
      if (finished_.fetch_add(1, std::memory_order_acq_rel) + 1 != chunks) continue;
      std::scoped_lock lock(mutex_);
      done_.notify_one();
    }
  }
}

}  // namespace kovar::base
