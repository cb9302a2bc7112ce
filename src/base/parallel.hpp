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
  /// Takes a chunk of the job of this generation; false when none is left or the job is over.
  bool take(std::uint32_t generation, std::size_t chunks, std::size_t& chunk);
  static std::uint32_t generationOf(std::uint64_t ticket) { return static_cast<std::uint32_t>(ticket >> 32); }

  std::vector<std::thread> workers_;
  std::mutex callerMutex_;  // one job at a time
  std::mutex mutex_;        // guards the job and the sleepers
  std::condition_variable wake_, done_;
  bool stop_ = false;
  Thunk thunk_ = nullptr;
  void* fn_ = nullptr;
  std::size_t chunks_ = 0;
  // Generation of the job in the upper half, its next chunk in the lower: a worker that comes late takes nothing of a
  // later job, and the caller never waits for workers that have taken nothing.
  std::atomic<std::uint64_t> ticket_{0};
  std::atomic<std::size_t> finished_{0};
};

}  // namespace kovar::base
