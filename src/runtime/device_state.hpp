#pragma once
// What all handles of one device share: its back end, plan caches and the thread that runs handlers.

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "prim/backend.hpp"
#include "runtime/plan_cache.hpp"

namespace kovar::MTL {
class Device;
}

namespace kovar::rt {

struct ListPlan;

/// Runs closures one after the other on a thread of its own, started with the first one.
class HandlerThread {
 public:
  HandlerThread() : state_(std::make_shared<State>()) {}
  /// Finishes what was posted.
  ~HandlerThread();
  void post(std::function<void()> work);
  bool isCurrent() const { return state_->id.load(std::memory_order_relaxed) == std::this_thread::get_id(); }

 private:
  struct State {
    std::mutex mutex;
    std::condition_variable wake;
    std::deque<std::function<void()>> work;
    std::atomic<std::thread::id> id{};
    bool stop = false;
  };
  static void loop(const std::shared_ptr<State>& state);
  std::shared_ptr<State> state_;  // shared with the thread: the owner may die inside a handler
  std::thread thread_;
};

/// Blocks of host memory that the device copies quickly, kept from transfer to transfer: making one is slow.
class StagingPool {
 public:
  explicit StagingPool(prim::Backend& backend) : backend_(backend) {}
  /// Contents are anything.
  base::Result<prim::MemoryRef> take(std::size_t bytes);
  void giveBack(prim::MemoryRef block);

 private:
  prim::Backend& backend_;
  std::mutex mutex_;
  std::vector<prim::MemoryRef> free_;  // the smallest first
};

class DeviceState {
 public:
  DeviceState(std::string identifier, std::unique_ptr<prim::Backend> backend);

  const std::string identifier;
  const std::unique_ptr<prim::Backend> backend;
  std::atomic<std::size_t> allocatedBytes{0};
  std::weak_ptr<MTL::Device> handle;

  PlanCache<std::shared_ptr<const ListPlan>> lists;
  StagingPool staging;

  /// A plan for one primitive, from the cache or prepared now.
  base::Result<prim::PlanRef> prepare(const prim::Prim& prim, std::span<const prim::View> args);

  bool strictFormats = false;      ///< KOVAR_STRICT_FORMATS=1
  bool winograd = true;            ///< KOVAR_WINOGRAD=0 turns it off
  bool poisonTemporaries = false;  ///< KOVAR_POISON=1, on in debug builds: recycled temporaries are filled with NaN
  HandlerThread handlers;

 private:
  struct CachedPlan {
    prim::Prim prim;
    std::vector<prim::View> views;
    prim::PlanRef plan;
  };
  PlanCache<std::shared_ptr<const CachedPlan>> plans_;
};

}  // namespace kovar::rt
