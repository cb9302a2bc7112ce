#pragma once
// The only place where work is spread over threads. Work comes as a fixed grid of chunks that depends on the problem
// and never on the number of threads, so results have the same bits for any thread count.

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace kovar::base {

class ThreadPool {
 public:
  /// `threads` counts the caller of run(): 1 means no extra thread.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  /// Calls fn(chunk) once for every chunk in [0, chunks), on any of the threads, and returns when all are done.
  /// A second caller, or a call from inside fn, runs its chunks itself. fn must not throw.
  template <class F>
  void run(std::size_t chunks, F&& fn) {
    using Fn = std::remove_reference_t<F>;
    if (chunks <= 1 || workers_.empty()) {
      for (std::size_t i = 0; i < chunks; ++i) fn(i);
      return;
    }
    runJob(
        chunks, [](void* f, std::size_t i) { (*static_cast<Fn*>(f))(i); }, const_cast<std::remove_const_t<Fn>*>(&fn));
  }

 private:
  using Thunk = void (*)(void*, std::size_t);
  void runJob(std::size_t chunks, Thunk thunk, void* fn);
  void workerLoop();

  std::vector<std::thread> workers_;
  std::mutex callerMutex_;  // one job at a time
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  std::atomic<std::uint64_t> generation_{0};
  bool stop_ = false;
  Thunk thunk_ = nullptr;
  void* fn_ = nullptr;
  std::size_t chunks_ = 0;
  std::atomic<std::size_t> next_{0};
  std::atomic<int> busy_{0};
};

}  // namespace kovar::base
