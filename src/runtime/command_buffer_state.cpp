#include "runtime/command_buffer_state.hpp"

#include <algorithm>
#include <chrono>
#include <exception>
#include <utility>

#include "base/edge.hpp"
#include "runtime/device_state.hpp"
#include "runtime/execute.hpp"
#include "runtime/queue_state.hpp"

namespace kovar::rt {
namespace {

using Status = MTL::CommandBufferStatus;

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

std::string named(const std::string& label) {
  return label.empty() ? "CommandBuffer" : "CommandBuffer \"" + label + "\"";
}

}  // namespace

CommandBufferState::CommandBufferState(Ref<MTL::CommandQueue> handle, std::shared_ptr<QueueState> queue)
    : handle_(std::move(handle)), queue_(std::move(queue)) {}

CommandBufferState::~CommandBufferState() = default;

const std::shared_ptr<DeviceState>& CommandBufferState::device() const { return queue_->device(); }

std::uint32_t CommandBufferState::indexOf(const StorageRef& storage) {
  // Encoders mostly name what was named a moment ago.
  for (std::size_t i = storages_.size(); i-- > 0;)
    if (storages_[i] == storage) return static_cast<std::uint32_t>(i);
  storages_.push_back(storage);
  list_.storages.push_back({storage->bytes(), storage->temporary(), storage->promotable() && storage->temporary()});
  return static_cast<std::uint32_t>(storages_.size() - 1);
}

std::int32_t CommandBufferState::predicateSet(std::span<const PredicateRef> predicates) {
  if (predicates.empty()) return -1;
  std::vector<prim::PredicateWord> set;
  for (const PredicateRef& p : predicates) set.push_back({indexOf(p.storage), p.byteOffset});
  auto& sets = list_.predicateSets;
  auto known = std::find(sets.begin(), sets.end(), set);
  if (known == sets.end()) known = sets.insert(sets.end(), std::move(set));
  return static_cast<std::int32_t>(known - sets.begin());
}

base::Status CommandBufferState::append(const prim::Prim& prim, std::span<const Operand> operands,
                                        const prim::Scalars& scalars, std::span<const PredicateRef> predicates) {
  if (spoiled_)
    return base::Failure{
        named(label) +
        ": encode after encoding failed; go on with a new command buffer. What failed: " + error()->what()};
  if (status() >= Status::Committed)
    return base::Failure{named(label) + ": encode after commit(); encode into a new command buffer of the queue"};
  for (const Operand& o : operands) {
    if (o.storage->device() != device())
      return base::Failure{named(label) + ": memory of device " + o.storage->device()->identifier +
                           " given to a command buffer of device " + device()->identifier +
                           "; use one device's objects"};
    if (o.storage->temporary() && o.storage->owner().get() != this)
      return base::Failure{
          named(label) + ": a temporary of another command buffer; temporaries live in the buffer they were made for"};
  }
  // Operations are large: room for those of a usual list spares most of the moves.
  if (list_.ops.empty()) {
    list_.ops.reserve(32);
    list_.args.reserve(96);
  }
  const std::int32_t set = predicateSet(predicates);
  const auto firstArg = static_cast<std::uint32_t>(list_.args.size());
  for (const Operand& o : operands) list_.args.push_back({indexOf(o.storage), o.access, o.view});
  list_.ops.push_back({prim, scalars, firstArg, static_cast<std::uint32_t>(operands.size()), set,
                       static_cast<std::uint32_t>(list_.ops.size())});
  return {};
}

base::Status CommandBufferState::appendCall(std::span<const Operand> operands, bool onDevice, prim::CallBody body,
                                            std::span<const PredicateRef> predicates) {
  const std::uint64_t id = calls_.size();
  KOVAR_TRY(append(prim::Call{id, onDevice}, operands, {}, predicates));
  calls_.push_back(std::move(body));
  return {};
}

void CommandBufferState::rollBack(const Mark& mark) {
  list_.ops.resize(mark.ops);
  list_.args.resize(mark.args);
  calls_.resize(mark.calls);
}

StorageRef CommandBufferState::newTemporary(std::size_t bytes, bool promotable) {
  auto storage = std::make_shared<Storage>(device(), bytes, weak_from_this(), promotable);
  temporaries_.push_back(storage);
  return storage;
}

void CommandBufferState::addCompleted(std::function<void(CommandBufferState&)> fn) {
  completed_.push_back(std::move(fn));
}
void CommandBufferState::addScheduled(std::function<void(CommandBufferState&)> fn) {
  scheduled_.push_back(std::move(fn));
}

void CommandBufferState::popDebugGroup() {
  if (!debugGroups_.empty()) debugGroups_.pop_back();
}

void CommandBufferState::carryTemporariesTo(CommandBufferState& next) {
  for (const auto& weak : temporaries_) {
    StorageRef storage = weak.lock();
    if (!storage || storage->live.load() <= 0) continue;
    storage->pin();
    for (std::size_t i = 0; i < storages_.size(); ++i)
      if (storages_[i] == storage) list_.storages[i].temporary = list_.storages[i].promotable = false;
    next.temporaries_.push_back(storage);
  }
}

base::Status CommandBufferState::enqueue() {
  if (status() != Status::NotEnqueued) return {};
  queue_->enqueue(shared_from_this());
  status_ = Status::Enqueued;
  return {};
}

base::Status CommandBufferState::commit() {
  if (spoiled_) return base::Failure{named(label) + ": commit() after encoding failed: " + error()->what()};
  if (status() >= Status::Committed)
    return base::Failure{named(label) + ": commit() called twice; a command buffer runs once, make a new one"};
  hasHandlers_ = !scheduled_.empty() || !completed_.empty();
  status_ = Status::Committed;
  queue_->commit(shared_from_this());
  return {};
}

void CommandBufferState::fail(const std::string& text) {
  setError(text);
  std::scoped_lock lock(mutex_);
  spoiled_ = true;
  status_ = Status::Error;
  scheduledDone_ = ran_ = handled_ = true;
  changed_.notify_all();
}

std::shared_ptr<const Error> CommandBufferState::error() const {
  std::scoped_lock lock(mutex_);
  return error_;
}

void CommandBufferState::setError(const std::string& text) {
  std::scoped_lock lock(mutex_);
  if (!error_) error_ = std::make_shared<const Error>(text);
}

base::Status CommandBufferState::waitUntilScheduled() {
  if (status() < Status::Committed)
    return base::Failure{named(label) + ": waitUntilScheduled() before commit() would never return; commit first"};
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return scheduledDone_; });
  return {};
}

base::Status CommandBufferState::waitUntilCompleted() {
  if (status() < Status::Committed)
    return base::Failure{named(label) + ": waitUntilCompleted() before commit() would never return; commit first"};
  const bool insideHandler = device()->handlers.isCurrent();
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return insideHandler ? ran_ : handled_; });
  return {};
}

CommandBufferState::Times CommandBufferState::times() const {
  std::scoped_lock lock(mutex_);
  return times_;
}

void CommandBufferState::run(QueueState& queue) {
  {
    std::scoped_lock lock(mutex_);
    times_.kernelStart = now();
  }
  base::Result<Started> started = base::Failure{};
  try {
    started = execute(queue);
  } catch (const std::exception& e) {
    started = base::Failure{named(label) + ": " + e.what()};
  }
  if (!started.ok()) {
    setError(started.failure().text);
    // What was started before the failure may still use the list's memory. A second error is the first one's echo.
    static_cast<void>(queue.synchronize());
    started = Started{};
  }
  // Buffers end in the order of the queue: behind those that the device has not finished.
  if ((*started).fence == nullptr && !queue.completesLater()) return ended({});
  // std::function wants what can be copied.
  auto kept = std::make_shared<Started>(std::move(*started));
  prim::FenceRef fence = std::move(kept->fence);
  queue.completeLater(std::move(fence),
                      [self = shared_from_this(), kept](const base::Status& status) { self->ended(status); });
}

void CommandBufferState::ended(const base::Status& result) {
  if (!result.ok()) setError(result.failure().text);
  {
    std::scoped_lock lock(mutex_);
    times_.gpuEnd = now();
  }
  finish();
}

base::Result<Started> CommandBufferState::execute(QueueState& queue) {
  KOVAR_TRY_ASSIGN(std::shared_ptr<const ListPlan> plan, findOrPlan(*device(), list_));
  {
    std::scoped_lock lock(mutex_);
    times_.kernelEnd = times_.gpuStart = now();
    status_ = Status::Scheduled;
    scheduledDone_ = true;
    changed_.notify_all();
  }
  if (hasHandlers_)
    device()->handlers.post([self = shared_from_this()] {
      for (auto& handler : std::exchange(self->scheduled_, {})) handler(*self);
    });
  return executeList(queue, plan, list_, storages_, calls_);
}

void CommandBufferState::finish() {
  // The list's references go before anybody is told: temporary storage is free again when a wait returns.
  list_ = {};
  storages_.clear();
  calls_.clear();
  temporaries_.clear();
  keptAlive_.clear();
  {
    std::scoped_lock lock(mutex_);
    status_ = error_ ? Status::Error : Status::Completed;
    scheduledDone_ = ran_ = true;
    handled_ = !hasHandlers_;
    changed_.notify_all();
    if (handled_) return;
  }
  device()->handlers.post([self = shared_from_this()] {
    for (auto& handler : std::exchange(self->completed_, {})) {
      try {
        handler(*self);
      } catch (const std::exception& e) {
        self->setError(named(self->label) + ": a completed handler threw: " + e.what());
        self->status_ = Status::Error;
      }
    }
    std::scoped_lock lock(self->mutex_);
    self->handled_ = true;
    self->changed_.notify_all();
  });
}

}  // namespace kovar::rt
