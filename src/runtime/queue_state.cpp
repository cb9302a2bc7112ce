#include "runtime/queue_state.hpp"

#include <algorithm>
#include <utility>

#include "runtime/command_buffer_state.hpp"

namespace kovar::rt {

QueueState::~QueueState() {
  if (arena_) device_->allocatedBytes -= arena_->bytes();
}

void QueueState::enqueue(const std::shared_ptr<CommandBufferState>& buffer) {
  std::scoped_lock lock(mutex_);
  places_.push_back({buffer, nullptr});
}

void QueueState::commit(const std::shared_ptr<CommandBufferState>& buffer) {
  {
    std::scoped_lock lock(mutex_);
    auto place = std::find_if(places_.begin(), places_.end(),
                              [&](const Place& p) { return !p.committed && p.waiting.lock() == buffer; });
    if (place != places_.end())
      place->committed = buffer;
    else
      places_.push_back({{}, buffer});
    // Buffers hold the queue, so the queue outlives its worker's work; close() ends the worker.
    if (!worker_.joinable()) worker_ = std::thread(loop, this);
  }
  wake_.notify_one();
}

void QueueState::close() {
  std::shared_ptr<QueueState> keep = shared_from_this();
  std::thread worker;
  {
    std::scoped_lock lock(mutex_);
    stop_ = true;
    worker = std::move(worker_);
  }
  wake_.notify_all();
  if (!worker.joinable()) return;
  if (worker.get_id() != std::this_thread::get_id() && !device_->handlers.isCurrent()) {
    worker.join();
    return;
  }
  // The last handle died inside a handler or on the worker: the worker ends by itself and must not outlive the state.
  device_->handlers.post([keep, w = std::make_shared<std::thread>(std::move(worker))] { w->join(); });
}

void QueueState::loop(QueueState* queue) {
  std::unique_lock lock(queue->mutex_);
  for (;;) {
    queue->wake_.wait(lock, [&] {
      while (!queue->places_.empty() && !queue->places_.front().committed && queue->places_.front().waiting.expired())
        queue->places_.pop_front();
      return (!queue->places_.empty() && queue->places_.front().committed) || (queue->stop_);
    });
    if (queue->places_.empty() || !queue->places_.front().committed) return;
    std::shared_ptr<CommandBufferState> buffer = std::move(queue->places_.front().committed);
    queue->places_.pop_front();
    lock.unlock();
    buffer->run(*queue);
    buffer.reset();
    lock.lock();
  }
}

base::Result<std::byte*> QueueState::arena(std::size_t bytes) {
  if (!stream_) {
    KOVAR_TRY_ASSIGN(stream_, device_->backend->makeStream());
  }
  if (bytes == 0) return static_cast<std::byte*>(nullptr);
  if (!arena_ || arena_->bytes() < bytes) {
    if (arena_) device_->allocatedBytes -= arena_->bytes();
    arena_.reset();
    KOVAR_TRY_ASSIGN(arena_, device_->backend->allocate(bytes, false));
    device_->allocatedBytes += arena_->bytes();
  }
  return arena_->data();
}

}  // namespace kovar::rt
