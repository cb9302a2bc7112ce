#pragma once
// All that a device must offer. prepare() is both the answer to "can you?" and the dispatch: an ordered list of
// candidates per family, the first that says yes wins, and each refusal keeps its reason.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/result.hpp"
#include "prim/prim.hpp"

namespace kovar::prim {

/// A block of device memory; freed with the object.
class Memory {
 public:
  virtual ~Memory() = default;
  std::byte* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }

 protected:
  Memory(std::byte* data, std::size_t bytes) : data_(data), bytes_(bytes) {}
  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
};
using MemoryRef = std::shared_ptr<Memory>;

/// Forms of a storage that a plan derived from its contents (packed weights), kept until the contents change.
class Derived {
 public:
  std::shared_ptr<const void> find(std::uint64_t key) const {
    std::scoped_lock lock(mutex_);
    for (const auto& [k, v] : forms_)
      if (k == key) return v;
    return nullptr;
  }
  void put(std::uint64_t key, std::shared_ptr<const void> form) {
    std::scoped_lock lock(mutex_);
    forms_.emplace_back(key, std::move(form));
  }
  using Forms = std::vector<std::pair<std::uint64_t, std::shared_ptr<const void>>>;
  /// Forgets all forms; whoever has started work that uses them keeps what comes back until that work is done.
  Forms clear() {
    std::scoped_lock lock(mutex_);
    return std::exchange(forms_, {});
  }

 private:
  mutable std::mutex mutex_;
  Forms forms_;
};

/// One argument at run time: the storage's first byte (the view's offset is not yet applied) and its derived forms.
/// `derived` is null for memory whose contents change every run (temporaries).
struct Bound {
  std::byte* data = nullptr;
  Derived* derived = nullptr;
};

/// stream: what the device calls its stream, for Call::onDevice; else null.
using CallBody = std::function<base::Status(std::span<const Bound> args, void* stream)>;

struct Invocation {
  std::span<const Bound> args;
  const Scalars* scalars = nullptr;
  std::byte* scratch = nullptr;                      ///< Plan::scratchBytes() bytes, 64-byte aligned
  std::span<const std::uint32_t* const> predicates;  ///< device addresses; the work runs only if all are non-zero
  const CallBody* call = nullptr;                    ///< of a Call primitive
};

struct Refusal {
  std::string implementation;
  std::string reason;
};

/// The prepared form of one primitive for fixed views. Immutable and usable from several queues at once.
class Plan {
 public:
  virtual ~Plan() = default;
  std::string implementation;     ///< e.g. "cpu:conv:onednn"
  std::vector<Refusal> refusals;  ///< candidates that came earlier in the list and said no
  std::size_t scratchBytes = 0;
  std::size_t cacheBytes = 1024;  ///< what keeping this plan costs
};
using PlanRef = std::shared_ptr<const Plan>;

struct PrepareOptions {
  bool strictFormats = false;
  std::string only;      ///< tests and benchmarks: consider this implementation alone
  bool winograd = true;  ///< convolutions may sum in another order that needs fewer multiplications
};

class Stream {
 public:
  virtual ~Stream() = default;
};
using StreamRef = std::unique_ptr<Stream>;

/// One operation of a list, ready to start. Its spans stay valid until the call that takes it returns.
struct Work {
  const Plan* plan = nullptr;
  Invocation invocation;
};

/// What a device keeps of a list to start it faster the next time: a recorded graph. Used by one queue.
class Replay {
 public:
  virtual ~Replay() = default;
};
using ReplayRef = std::shared_ptr<Replay>;

/// A point of a stream's work that another thread can wait for.
class Fence {
 public:
  virtual ~Fence() = default;
  /// Returns when all work before this point has run; late faults come back here.
  virtual base::Status wait() = 0;
};
using FenceRef = std::unique_ptr<Fence>;

struct Caps {
  std::string name;               ///< for people, e.g. the processor's name
  std::string isa;                ///< instruction set or compute capability chosen at run time
  bool hostMemory = true;         ///< Memory::data() can be read and written by the host
  bool computes = true;           ///< false: the null device
  bool updatingProducts = false;  ///< takes Matmul::update
  bool rectifiedPools = false;    ///< takes Pool::rectified
  bool deviceCalls = false;       ///< takes Call::onDevice
  std::size_t memoryBytes = 0;
  std::vector<std::pair<std::string, std::string>> libraries;  ///< name, version
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual const Caps& caps() const = 0;
  /// 64-byte aligned, zero-filled when `zeroed`.
  virtual base::Result<MemoryRef> allocate(std::size_t bytes, bool zeroed) = 0;
  virtual base::Status copyIn(Memory& dst, std::size_t offset, const void* src, std::size_t bytes) = 0;
  virtual base::Status copyOut(void* dst, const Memory& src, std::size_t offset, std::size_t bytes) = 0;
  /// Device memory that somebody else owns, as a block. Refused by devices that work in host memory.
  virtual base::Result<MemoryRef> wrap(void* address, std::size_t bytes);
  /// Host memory, zero-filled, that the stream copies below are quick with.
  virtual base::Result<MemoryRef> allocateStaging(std::size_t bytes);
  /// The same copies in the order of a stream's work; they have run after synchronize(), until then the host's side
  /// must stay as it is. Addresses are those that Invocation has.
  virtual base::Status copyIn(Stream& stream, std::byte* device, const void* host, std::size_t bytes);
  virtual base::Status copyOut(Stream& stream, void* host, const std::byte* device, std::size_t bytes);
  virtual base::Result<PlanRef> prepare(const Prim& prim, std::span<const View> args,
                                        const PrepareOptions& options) = 0;
  /// Names of the implementations that prepare() would try, in order.
  virtual std::vector<std::string> candidates(const Prim& prim) const = 0;
  virtual base::Result<StreamRef> makeStream() = 0;
  virtual base::Status enqueue(Stream& stream, const Plan& plan, const Invocation& invocation) = 0;
  /// Starts a whole list that has neither calls nor predicates. `replay` is what this function left there when the same
  /// list ran before, null the first time; arguments and scalars may differ from run to run.
  virtual base::Status enqueueAll(Stream& stream, std::span<const Work> list, ReplayRef& replay);
  /// Null when everything enqueued has run already.
  virtual base::Result<FenceRef> fence(Stream& stream);
  /// Waits until everything enqueued has run; late faults come back here.
  virtual base::Status synchronize(Stream& stream) = 0;
  virtual void setThreadCount(int) {}
  virtual int threadCount() const { return 1; }
};

}  // namespace kovar::prim
