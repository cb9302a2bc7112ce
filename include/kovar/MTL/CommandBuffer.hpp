#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kovar/Error.hpp"
#include "kovar/MTL/Types.hpp"

namespace kovar::rt {
class CommandBufferState;
struct Access;
struct PredicateRef;
}  // namespace kovar::rt

namespace kovar::MTL {

class CommandBuffer;
class CommandQueue;
class Device;
class Event;

/// Called with the command buffer it was added to.
using CommandBufferHandler = std::function<void(const Ref<CommandBuffer>&)>;

/// A list of work for one queue. Encoding only records; commit() hands the whole list over, where it is checked, fused,
/// planned and run. Not for two threads at once until committed; then any thread may wait or ask. Implements
/// MTLCommandBuffer.
class CommandBuffer : public Object {
 public:
  ~CommandBuffer() override;
  Ref<Device> device() const;
  Ref<CommandQueue> commandQueue() const;
  std::string label() const;
  void setLabel(std::string_view label);

  CommandBufferStatus status() const;
  /// What went wrong, or null. Set before the completed handlers run.
  std::shared_ptr<const Error> error() const;

  /// Takes the next place in the queue's order; the work starts once committed.
  void enqueue();
  /// Ends encoding and starts the work in queue order. Throws Error when called twice.
  void commit();
  /// Runs `handler` once the list is planned and about to run; on the device's handler thread, in the order added.
  /// Throws Error after commit.
  void addScheduledHandler(CommandBufferHandler handler);
  /// Runs `handler` after the work has run or failed; on the device's handler thread, in the order added. It may wait
  /// for other work of the device. An exception it throws becomes the buffer's error. Throws Error after commit.
  void addCompletedHandler(CommandBufferHandler handler);
  void waitUntilScheduled();
  /// Returns when the work has run or failed and the completed handlers have returned (from inside a handler: when the
  /// work has run). Throws Error when the buffer was not committed.
  void waitUntilCompleted();

  /// Work encoded after this waits until the event reaches the value.
  void encodeWait(const Ref<Event>& event, std::uint64_t value);
  /// Raises the event to the value once the work encoded before has run.
  void encodeSignalEvent(const Ref<Event>& event, std::uint64_t value);

  /// Names a stretch of the work in traces.
  void pushDebugGroup(std::string_view name);
  void popDebugGroup();

  /// Seconds on a steady clock: when planning began and ended, when the work ran. 0 before.
  double kernelStartTime() const;
  double kernelEndTime() const;
  double GPUStartTime() const;
  double GPUEndTime() const;

 protected:
  explicit CommandBuffer(std::shared_ptr<rt::CommandBufferState> state);
  /// The predicates that work encoded through this object obeys; the base class has none.
  virtual void collectPredicates(std::vector<rt::PredicateRef>& into) const;

  std::shared_ptr<rt::CommandBufferState> state_;
  friend struct rt::Access;
};

}  // namespace kovar::MTL
