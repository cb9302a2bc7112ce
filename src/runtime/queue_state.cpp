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
  // The worker first: what it still starts is the completer's to finish.
  const auto end = [keep](std::thread& w) {
    if (w.joinable()) w.join();
    std::thread completer;
    {
      std::scoped_lock lock(keep->pendingMutex_);
      keep->completerStops_ = true;
      completer = std::move(keep->completer_);
    }
    keep->pendingWake_.notify_all();
    if (completer.joinable()) completer.join();
  };
  const bool ours = worker.get_id() == std::this_thread::get_id() || device_->handlers.isCurrent() || onCompleter();
  if (!ours) return end(worker);
  if (!worker.joinable()) return;
  // The last handle died inside a handler or on a thread of the queue: they end by themselves and must not outlive the
  // state.
  device_->handlers.post([end, w = std::make_shared<std::thread>(std::move(worker))] { end(*w); });
}

bool QueueState::onCompleter() {
  std::scoped_lock lock(pendingMutex_);
  return completer_.get_id() == std::this_thread::get_id();
}

bool QueueState::completesLater() {
  std::scoped_lock lock(pendingMutex_);
  return completer_.joinable();
}

base::Status QueueState::synchronize() {
  if (!stream_) return {};
  return device_->backend->synchronize(*stream_);
}

void QueueState::completeLater(prim::FenceRef fence, std::function<void(base::Status)> done) {
  constexpr std::size_t kMost = 8;
  std::unique_lock lock(pendingMutex_);
  pendingRoom_.wait(lock, [&] { return underway_ < kMost; });
  ++underway_;
  pending_.push_back({std::move(fence), std::move(done)});
  if (!completer_.joinable()) completer_ = std::thread(completeLoop, this);
  lock.unlock();
  pendingWake_.notify_one();
}

void QueueState::completeLoop(QueueState* queue) {
  std::unique_lock lock(queue->pendingMutex_);
  for (;;) {
    queue->pendingWake_.wait(lock, [&] { return queue->completerStops_ || !queue->pending_.empty(); });
    if (queue->pending_.empty()) return;
    Pending next = std::move(queue->pending_.front());
    queue->pending_.pop_front();
    lock.unlock();
    base::Status status;
    if (next.fence != nullptr) status = next.fence->wait();
    // The buffer that `done` holds may own the queue: it must not end before this loop has let go of it.
    const std::shared_ptr<QueueState> keep = queue->shared_from_this();
    next.done(std::move(status));
    next = {};
    lock.lock();
    --queue->underway_;
    queue->pendingRoom_.notify_one();
  }
}

prim::ReplayRef& QueueState::replayOf(const std::shared_ptr<const ListPlan>& plan) {
  constexpr std::size_t kMost = 32;
  for (auto entry = replays_.begin(); entry != replays_.end(); ++entry)
    if (entry->first == plan) {
      replays_.splice(replays_.begin(), replays_, entry);
      return replays_.front().second;
    }
  replays_.emplace_front(plan, nullptr);
  if (replays_.size() > kMost) replays_.pop_back();
  return replays_.front().second;
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
    if (arena_) {
      // Work under way still uses the old one.
      KOVAR_TRY(device_->backend->synchronize(*stream_));
      device_->allocatedBytes -= arena_->bytes();
    }
    arena_.reset();
    KOVAR_TRY_ASSIGN(arena_, device_->backend->allocate(bytes, false));
    device_->allocatedBytes += arena_->bytes();
  }
  return arena_->data();
}

}  // namespace kovar::rt
