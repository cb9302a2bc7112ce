#pragma once
// One command buffer: the list being recorded, then its life on the queue.

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "kovar/Error.hpp"
#include "kovar/MTL/Types.hpp"
#include "prim/op_list.hpp"
#include "runtime/storage.hpp"

namespace kovar::MTL {
class CommandQueue;
}

namespace kovar::rt {

class QueueState;
struct Started;

struct PredicateRef {
  StorageRef storage;
  std::size_t byteOffset = 0;
};

/// One argument as an encoder names it.
struct Operand {
  StorageRef storage;
  prim::Access access = prim::Access::Read;
  prim::View view;
};

/// What a list keeps alive until it has run.
using KeptAlive = std::shared_ptr<const void>;

class CommandBufferState : public std::enable_shared_from_this<CommandBufferState> {
 public:
  CommandBufferState(Ref<MTL::CommandQueue> handle, std::shared_ptr<QueueState> queue);
  ~CommandBufferState();

  const std::shared_ptr<QueueState>& queue() const { return queue_; }
  const Ref<MTL::CommandQueue>& queueHandle() const { return handle_; }
  const std::shared_ptr<DeviceState>& device() const;

  // --- recording; the encoding thread only -------------------------------------------------------------------------
  /// Appends one primitive. Fails when the list is committed, a storage belongs to another device or another buffer's
  /// temporaries, or the views do not fit the primitive.
  base::Status append(const prim::Prim& prim, std::span<const Operand> operands, const prim::Scalars& scalars,
                      std::span<const PredicateRef> predicates);
  base::Status append(const prim::Prim& prim, std::initializer_list<Operand> operands,
                      const prim::Scalars& scalars = {}, std::span<const PredicateRef> predicates = {}) {
    return append(prim, std::span(operands.begin(), operands.size()), scalars, predicates);
  }
  /// Appends a caller's function; it runs in its place with the operands' bytes (offset 0 of each storage).
  base::Status appendCall(std::span<const Operand> operands, bool onDevice, prim::CallBody body,
                          std::span<const PredicateRef> predicates);
  /// Memory that lives while the list runs. `promotable`: a float16 image that may be kept in float32.
  StorageRef newTemporary(std::size_t bytes, bool promotable);
  void keepAlive(KeptAlive object) { keptAlive_.push_back(std::move(object)); }
  /// Runs on the handler thread after the work, before handlers added later.
  void addCompleted(std::function<void(CommandBufferState&)> fn);
  void addScheduled(std::function<void(CommandBufferState&)> fn);
  void pushDebugGroup(std::string_view name) { debugGroups_.emplace_back(name); }
  void popDebugGroup();
  bool committed() const { return status() >= MTL::CommandBufferStatus::Committed; }
  /// Temporaries with a read count left get memory of their own and become the given buffer's.
  void carryTemporariesTo(CommandBufferState& next);
  /// Ends the buffer without running it (user code threw inside an encode).
  void fail(const std::string& text);
  const prim::OpList& list() const { return list_; }
  /// Where the list ends now; rollBack() forgets what was appended since.
  struct Mark {
    std::size_t ops = 0, args = 0, calls = 0;
  };
  Mark mark() const { return {list_.ops.size(), list_.args.size(), calls_.size()}; }
  void rollBack(const Mark& mark);

  base::Status enqueue();
  base::Status commit();

  // --- any thread ---------------------------------------------------------------------------------------------------
  MTL::CommandBufferStatus status() const { return status_.load(std::memory_order_acquire); }
  std::shared_ptr<const Error> error() const;
  base::Status waitUntilScheduled();
  base::Status waitUntilCompleted();

  std::string label;
  struct Times {
    double kernelStart = 0, kernelEnd = 0, gpuStart = 0, gpuEnd = 0;
  };
  Times times() const;

  // --- the queue's worker -------------------------------------------------------------------------------------------
  void run(QueueState& queue);

 private:
  std::uint32_t indexOf(const StorageRef& storage);
  std::int32_t predicateSet(std::span<const PredicateRef> predicates);
  void setError(const std::string& text);
  void finish();
  base::Result<Started> execute(QueueState& queue);
  void ended(const base::Status& result);

  Ref<MTL::CommandQueue> handle_;  // a buffer retains its queue
  std::shared_ptr<QueueState> queue_;
  prim::OpList list_;
  std::vector<StorageRef> storages_;
  std::vector<prim::CallBody> calls_;
  std::vector<KeptAlive> keptAlive_;
  std::vector<std::weak_ptr<Storage>> temporaries_;
  std::vector<std::string> debugGroups_;
  std::vector<std::function<void(CommandBufferState&)>> scheduled_, completed_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::atomic<MTL::CommandBufferStatus> status_{MTL::CommandBufferStatus::NotEnqueued};
  bool hasHandlers_ = false;  // fixed at commit
  bool scheduledDone_ = false, ran_ = false, handled_ = false;
  bool spoiled_ = false;  // by fail(); only the encoding thread asks
  std::shared_ptr<const Error> error_;
  Times times_;
};

}  // namespace kovar::rt
