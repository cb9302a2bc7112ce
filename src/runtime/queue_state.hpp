#pragma once
// A queue: a worker thread that runs command buffers in order, with one arena for all their temporaries.

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>

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

 private:
  struct Place {
    std::weak_ptr<CommandBufferState> waiting;
    std::shared_ptr<CommandBufferState> committed;
  };
  static void loop(QueueState* queue);

  std::shared_ptr<DeviceState> device_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Place> places_;
  std::thread worker_;
  bool stop_ = false;
  prim::StreamRef stream_;
  prim::MemoryRef arena_;
};

}  // namespace kovar::rt
