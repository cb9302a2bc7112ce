#include <utility>

#include "base/edge.hpp"
#include "runtime/access.hpp"

namespace kovar::MTL {

using rt::Access;

CommandBuffer::CommandBuffer(std::shared_ptr<rt::CommandBufferState> state) : state_(std::move(state)) {}
CommandBuffer::~CommandBuffer() = default;

void CommandBuffer::collectPredicates(std::vector<rt::PredicateRef>&) const {}

Ref<CommandQueue> CommandBuffer::commandQueue() const { return state_->queueHandle(); }
Ref<Device> CommandBuffer::device() const { return commandQueue()->device(); }
std::string CommandBuffer::label() const { return state_->label; }
void CommandBuffer::setLabel(std::string_view label) { state_->label = label; }
CommandBufferStatus CommandBuffer::status() const { return state_->status(); }
std::shared_ptr<const Error> CommandBuffer::error() const { return state_->error(); }
void CommandBuffer::enqueue() { base::unwrap(state_->enqueue()); }
void CommandBuffer::commit() { base::unwrap(state_->commit()); }

namespace {

void requireOpen(const rt::CommandBufferState& state, const char* what) {
  if (state.committed())
    base::raise(std::string("CommandBuffer.") + what + ": the buffer is committed; add handlers before commit()");
}

}  // namespace

void CommandBuffer::addScheduledHandler(CommandBufferHandler handler) {
  requireOpen(*state_, "addScheduledHandler");
  state_->addScheduled(
      [h = std::move(handler)](rt::CommandBufferState& s) { h(Access::makeBuffer(s.shared_from_this())); });
}

void CommandBuffer::addCompletedHandler(CommandBufferHandler handler) {
  requireOpen(*state_, "addCompletedHandler");
  state_->addCompleted(
      [h = std::move(handler)](rt::CommandBufferState& s) { h(Access::makeBuffer(s.shared_from_this())); });
}

void CommandBuffer::waitUntilScheduled() { base::unwrap(state_->waitUntilScheduled()); }
void CommandBuffer::waitUntilCompleted() { base::unwrap(state_->waitUntilCompleted()); }

void CommandBuffer::encodeWait(const Ref<Event>& event, std::uint64_t value) {
  if (!event) base::raise("CommandBuffer.encodeWait: event is null");
  base::unwrap(state_->appendCall({}, false,
                                  [e = Access::state(event), value](auto, void*) {
                                    e->wait(value);
                                    return base::Status{};
                                  },
                                  {}));
}

void CommandBuffer::encodeSignalEvent(const Ref<Event>& event, std::uint64_t value) {
  if (!event) base::raise("CommandBuffer.encodeSignalEvent: event is null");
  base::unwrap(state_->appendCall({}, false,
                                  [e = Access::state(event), value](auto, void*) {
                                    e->raise(value);
                                    return base::Status{};
                                  },
                                  {}));
}

void CommandBuffer::pushDebugGroup(std::string_view name) { state_->pushDebugGroup(name); }
void CommandBuffer::popDebugGroup() { state_->popDebugGroup(); }
double CommandBuffer::kernelStartTime() const { return state_->times().kernelStart; }
double CommandBuffer::kernelEndTime() const { return state_->times().kernelEnd; }
double CommandBuffer::GPUStartTime() const { return state_->times().gpuStart; }
double CommandBuffer::GPUEndTime() const { return state_->times().gpuEnd; }

}  // namespace kovar::MTL
