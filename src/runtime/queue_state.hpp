#pragma once
// A queue: a worker thread that runs command buffers in order, with one arena for all their temporaries.

#include <condition_variable>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

#include "prim/backend.hpp"
#include "runtime/device_state.hpp"

namespace kovar::rt {

class CommandBufferState;

class QueueState : public std::enable_shared_from_this<QueueState> {
 public:
  explicit QueueState(std::shared_ptr<DeviceState> device) : device_(std::move(device)) {}
  ~QueueState();

  const std::shared_ptr<DeviceState>& device() const { return device_; }

  /// Takes the next place; it runs once committed. A buffer that dies before that gives its place up.
  void enqueue(const std::shared_ptr<CommandBufferState>& buffer);
  /// The buffer may run when its turn comes; takes a place if it has none.
  void commit(const std::shared_ptr<CommandBufferState>& buffer);
  /// Lets the worker finish what is committed, then ends it.
  void close();

  // --- the worker ---------------------------------------------------------------------------------------------------
  /// At least `bytes`, 64-byte aligned, valid until the next call.
  base::Result<std::byte*> arena(std::size_t bytes);
  prim::Stream& stream() { return *stream_; }
  /// Waits for what was started; nothing when nothing ever was.
  base::Status synchronize();
  /// Where the device keeps what it recorded of this list on this queue.
  prim::ReplayRef& replayOf(const std::shared_ptr<const ListPlan>& plan);
  /// Whether anything was ever handed to completeLater().
  bool completesLater();
  /// Calls `done` with the fence's result (a null fence has been passed), on a thread of its own, after those handed
  /// over before. Waits while many are on their way, so that nobody runs far ahead of the device.
  void completeLater(prim::FenceRef fence, std::function<void(base::Status)> done);

 private:
  struct Place {
    std::weak_ptr<CommandBufferState> waiting;
    std::shared_ptr<CommandBufferState> committed;
  };
  struct Pending {
    prim::FenceRef fence;
    std::function<void(base::Status)> done;
  };
  static void loop(QueueState* queue);
  static void completeLoop(QueueState* queue);
  bool onCompleter();

  std::shared_ptr<DeviceState> device_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Place> places_;
  std::thread worker_;
  bool stop_ = false;
  prim::StreamRef stream_;
  prim::MemoryRef arena_;
  std::list<std::pair<std::shared_ptr<const ListPlan>, prim::ReplayRef>> replays_;  // the latest first

  std::mutex pendingMutex_;
  std::condition_variable pendingWake_, pendingRoom_;
  std::deque<Pending> pending_;
  std::size_t underway_ = 0;  // handed over and not done
  std::thread completer_;
  bool completerStops_ = false;
};

}  // namespace kovar::rt
