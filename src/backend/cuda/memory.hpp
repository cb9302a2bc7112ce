#pragma once
// A device's memory: blocks that are kept when they are given back, since asking the driver costs a synchronisation.

#include <cuda_runtime_api.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "prim/backend.hpp"

namespace kovar::cuda {

/// Blocks of one GPU. Whoever gives a block back has waited for the work that used it.
class MemoryPool : public std::enable_shared_from_this<MemoryPool> {
 public:
  explicit MemoryPool(int ordinal) : ordinal_(ordinal) {}
  ~MemoryPool();
  MemoryPool(const MemoryPool&) = delete;
  MemoryPool& operator=(const MemoryPool&) = delete;

  /// 256-byte aligned. A block of 0 bytes is allowed. Contents are whatever was there.
  base::Result<prim::MemoryRef> allocate(std::size_t bytes);
  /// Gives what nobody uses back to the driver, small blocks excepted.
  void trim();

  struct Region {
    const std::byte* data = nullptr;
    std::size_t bytes = 0;
  };
  static constexpr std::size_t kSlab = std::size_t{64} << 10;
  /// What is worth copying in one go when `bytes` bytes of a block are read: its slab, or kSlab bytes of it at most.
  /// The bytes alone where they are many.
  Region around(const prim::Memory& block, std::size_t offset, std::size_t bytes);

 private:
  friend class PooledBlock;
  void giveBack(std::byte* data, std::size_t room) noexcept;
  base::Result<std::byte*> fromDriver(std::size_t room);
  base::Result<std::byte*> fromSlab(std::size_t room);

  int ordinal_;
  std::mutex mutex_;
  std::multimap<std::size_t, std::byte*> free_;  // by room
  std::vector<std::byte*> slabs_;  // each cut into small blocks of one size, in ascending order of address
};

/// Small parts of device memory as the host last saw them: a program that reads a hundred little images one after the
/// other waits for the device once. Out of date as soon as a list has run or the host has written.
class HostMirror {
 public:
  explicit HostMirror(std::shared_ptr<MemoryPool> pool) : pool_(std::move(pool)) {}
  /// Copies bytes of a block to the host; `stream` is used by nobody else meanwhile.
  base::Status read(cudaStream_t stream, void* to, const prim::Memory& block, std::size_t offset, std::size_t bytes);
  /// Device memory may have changed. May be called from any thread.
  void forget() { epoch_.fetch_add(1, std::memory_order_acq_rel); }

 private:
  struct Part {
    MemoryPool::Region region;
    std::uint64_t epoch = 0;
    prim::MemoryRef copy;
  };
  std::shared_ptr<MemoryPool> pool_;
  std::atomic<std::uint64_t> epoch_{1};
  std::array<Part, 4> parts_;
  std::size_t next_ = 0;
};

/// Memory of the device `ordinal` that a caller owns; it must start at a multiple of 16.
base::Result<prim::MemoryRef> wrapDevice(int ordinal, void* address, std::size_t bytes);
/// True for such memory: others may write it at any time, so no copy of it stays good.
bool isWrapped(const prim::Memory& memory);

/// Pinned host memory, zero-filled: the device copies from and to it while the processor does something else.
base::Result<prim::MemoryRef> allocatePinned(std::size_t bytes);

}  // namespace kovar::cuda
