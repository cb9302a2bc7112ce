#pragma once
// A block of memory with identity: what hazards, views, temporaries and derived weight forms are tracked by.

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>

#include "prim/backend.hpp"

namespace kovar::rt {

class CommandBufferState;
class DeviceState;

class Storage {
 public:
  enum class Kind { Persistent, External, Temporary };

  /// Allocated and zeroed when first used.
  Storage(std::shared_ptr<DeviceState> device, std::size_t bytes);
  /// The caller's memory; `deallocator` runs when the storage dies.
  Storage(std::shared_ptr<DeviceState> device, void* pointer, std::size_t bytes,
          std::function<void(void*, std::size_t)> deallocator);
  /// Memory of the device that the caller owns; `deallocator` runs when the storage dies.
  Storage(std::shared_ptr<DeviceState> device, prim::MemoryRef memory,
          std::function<void(void*, std::size_t)> deallocator);
  /// Lives in the arena of one command buffer's list.
  Storage(std::shared_ptr<DeviceState> device, std::size_t bytes, std::weak_ptr<CommandBufferState> owner,
          bool promotable);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  const std::shared_ptr<DeviceState>& device() const { return device_; }
  std::size_t bytes() const { return bytes_; }
  bool temporary() const { return kind_ == Kind::Temporary && !pinned_; }
  bool madeTemporary() const { return kind_ == Kind::Temporary; }
  bool promotable() const { return promotable_; }
  std::shared_ptr<CommandBufferState> owner() const { return owner_.lock(); }

  /// The bytes as the device sees them; allocates on first use. Fails when there is no memory.
  base::Result<std::byte*> data();

  // --- the host's side: the same bytes where the device's memory is the host's, else copies -------------------------
  /// Copies bytes out or in, now. The host must know that no list at work uses them.
  base::Status read(std::size_t offset, void* to, std::size_t bytes);
  base::Status write(std::size_t offset, const void* from, std::size_t bytes);
  /// An address that the host may keep: the bytes themselves, or a twin in host memory. Lists that use the storage
  /// upload the twin before they run and write it back if they wrote the storage.
  base::Result<std::byte*> hostData();
  /// The twin goes up (or comes back) in the stream's order; nothing without a twin.
  base::Status upload(prim::Stream& stream);
  base::Status writeBack(prim::Stream& stream);

  bool allocated() const { return data_.load(std::memory_order_acquire) != nullptr; }
  /// Drops the contents: the next use starts from zeroes.
  void discard();

  /// A temporary that outlives its list (commitAndContinue, a state that stays in use) gets memory of its own.
  void pin() { pinned_ = true; }

  /// How many images or states with a read count left look at this temporary.
  std::atomic<int> live{0};
  prim::Derived derived;
  std::shared_ptr<void> ticket;  ///< released with the storage (a heap's charge)

 private:
  std::shared_ptr<DeviceState> device_;
  Kind kind_;
  std::size_t bytes_;
  std::weak_ptr<CommandBufferState> owner_;
  bool promotable_ = false;
  std::atomic<bool> pinned_{false};
  std::mutex mutex_;
  base::Status inRange(const char* what, std::size_t offset, std::size_t bytes) const;

  prim::MemoryRef memory_, twinMemory_;
  std::atomic<std::byte*> data_{nullptr};
  std::atomic<std::byte*> twin_{nullptr};
  std::byte* external_ = nullptr;  // the caller's memory
  std::function<void(void*, std::size_t)> deallocator_;
};

using StorageRef = std::shared_ptr<Storage>;

}  // namespace kovar::rt
