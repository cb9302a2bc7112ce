#include "base/parallel.hpp"

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
    generation_.fetch_add(1, std::memory_order_release);
  }
  wake_.notify_all();
  for (std::thread& t : workers_) t.join();
}

void ThreadPool::runJob(std::size_t chunks, Thunk thunk, void* fn) {
  std::unique_lock caller(callerMutex_, std::try_to_lock);
  if (!caller) {
    for (std::size_t i = 0; i < chunks; ++i) thunk(fn, i);
    return;
  }
  {
    std::scoped_lock lock(mutex_);
    thunk_ = thunk;
    fn_ = fn;
    chunks_ = chunks;
    next_.store(0, std::memory_order_relaxed);
    busy_.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
    generation_.fetch_add(1, std::memory_order_release);
  }
  wake_.notify_all();
  for (std::size_t i; (i = next_.fetch_add(1, std::memory_order_relaxed)) < chunks;) thunk(fn, i);
  for (int spin = 0; spin < kSpins; ++spin) {
    if (busy_.load(std::memory_order_acquire) == 0) return;
    pause();
  }
  std::unique_lock lock(mutex_);
  done_.wait(lock, [&] { return busy_.load(std::memory_order_acquire) == 0; });
}

void ThreadPool::workerLoop() {
  std::uint64_t seen = 0;
  for (;;) {
    for (int spin = 0; spin < kSpins && generation_.load(std::memory_order_acquire) == seen; ++spin) pause();
    Thunk thunk;
    void* fn;
    std::size_t chunks;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] { return generation_.load(std::memory_order_relaxed) != seen; });
      seen = generation_.load(std::memory_order_relaxed);
      if (stop_) return;
      thunk = thunk_;
      fn = fn_;
      chunks = chunks_;
    }
    for (std::size_t i; (i = next_.fetch_add(1, std::memory_order_relaxed)) < chunks;) thunk(fn, i);
    if (busy_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      std::scoped_lock lock(mutex_);
      done_.notify_one();
    }
  }
}

}  // namespace kovar::base
