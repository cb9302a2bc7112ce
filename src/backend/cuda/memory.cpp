#include "backend/cuda/memory.hpp"

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "backend/cuda/cuda.hpp"

namespace kovar::cuda {

class PooledBlock final : public prim::Memory {
 public:
  PooledBlock(std::shared_ptr<MemoryPool> pool, std::byte* data, std::size_t bytes, std::size_t room)
      : Memory(data, bytes), pool_(std::move(pool)), room_(room) {}
  ~PooledBlock() override { pool_->giveBack(data_, room_); }
  PooledBlock(const PooledBlock&) = delete;
  PooledBlock& operator=(const PooledBlock&) = delete;

 private:
  std::shared_ptr<MemoryPool> pool_;
  std::size_t room_;
};

namespace {

/// Memory that a caller owns.
class Wrapped final : public prim::Memory {
 public:
  Wrapped(std::byte* data, std::size_t bytes) : Memory(data, bytes) {}
};

class PinnedBlock final : public prim::Memory {
 public:
  PinnedBlock(std::byte* data, std::size_t bytes) : Memory(data, bytes) {}
  ~PinnedBlock() override { cudaFreeHost(data_); }
  PinnedBlock(const PinnedBlock&) = delete;
  PinnedBlock& operator=(const PinnedBlock&) = delete;
};

/// Blocks up to this size are cut from slabs.
constexpr std::size_t kMostSmall = 4096;

/// Sizes are rounded to eighths of a power of two, so that blocks find new users.
std::size_t roomFor(std::size_t bytes) {
  constexpr std::size_t kSmallest = 512;
  if (bytes <= kSmallest) return kSmallest;
  std::size_t power = kSmallest;
  while (power <= bytes / 2) power *= 2;
  const std::size_t step = power / 8;
  return (bytes + step - 1) / step * step;
}

}  // namespace

MemoryPool::~MemoryPool() {
  trim();
  if (slabs_.empty() || cudaSetDevice(ordinal_) != cudaSuccess) return;
  for (std::byte* slab : slabs_) cudaFree(slab);
}

void MemoryPool::trim() {
  std::vector<std::byte*> unused;
  {
    std::scoped_lock lock(mutex_);
    const auto first = free_.upper_bound(kMostSmall);
    for (auto block = first; block != free_.end(); ++block) unused.push_back(block->second);
    free_.erase(first, free_.end());
  }
  if (unused.empty() || cudaSetDevice(ordinal_) != cudaSuccess) return;
  for (std::byte* data : unused) cudaFree(data);
}

void MemoryPool::giveBack(std::byte* data, std::size_t room) noexcept {
  std::scoped_lock lock(mutex_);
  try {
    free_.emplace(room, data);
  } catch (...) {
    if (room > kMostSmall) cudaFree(data);
  }
}

base::Result<prim::MemoryRef> MemoryPool::allocate(std::size_t bytes) {
  if (bytes > SIZE_MAX / 2) return base::Failure{"cuda: no memory for " + std::to_string(bytes) + " bytes"};
  const std::size_t room = roomFor(bytes);
  std::byte* data = nullptr;
  {
    std::scoped_lock lock(mutex_);
    if (auto found = free_.find(room); found != free_.end()) {
      data = found->second;
      free_.erase(found);
    }
  }
  if (data == nullptr) {
    KOVAR_TRY_ASSIGN(data, room > kMostSmall ? fromDriver(room) : fromSlab(room));
  }
  return prim::MemoryRef(std::make_shared<PooledBlock>(shared_from_this(), data, bytes, room));
}

base::Result<std::byte*> MemoryPool::fromDriver(std::size_t room) {
  if (const cudaError_t e = cudaSetDevice(ordinal_); e != cudaSuccess)
    return base::Failure{std::string("cuda: the device cannot be used: ") + cudaGetErrorString(e)};
  void* fresh = nullptr;
  cudaError_t e = cudaMalloc(&fresh, room);
  if (e == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    trim();
    e = cudaMalloc(&fresh, room);
  }
  if (e == cudaSuccess) return static_cast<std::byte*>(fresh);
  cudaGetLastError();
  std::size_t left = 0, all = 0;
  if (cudaMemGetInfo(&left, &all) != cudaSuccess) cudaGetLastError();
  return base::Failure{"cuda: no memory for " + std::to_string(room) + " bytes: " + cudaGetErrorString(e) + "; " +
                       std::to_string(left) + " of " + std::to_string(all) +
                       " bytes are free; use smaller batches or release images"};
}

base::Result<std::byte*> MemoryPool::fromSlab(std::size_t room) {
  KOVAR_TRY_ASSIGN(std::byte* const slab, fromDriver(kSlab));
  // Neighbours are read along with what is asked for, written or not.
  KOVAR_TRY(check(cudaMemset(slab, 0, kSlab), "clearing memory"));
  std::scoped_lock lock(mutex_);
  slabs_.insert(std::upper_bound(slabs_.begin(), slabs_.end(), slab), slab);
  // In ascending order, so that images made one after the other lie together.
  for (std::size_t at = room; at + room <= kSlab; at += room) free_.emplace(room, slab + at);
  return slab;
}

MemoryPool::Region MemoryPool::around(const prim::Memory& block, std::size_t offset, std::size_t bytes) {
  if (bytes > kMostSmall) return {block.data() + offset, bytes};
  {
    std::scoped_lock lock(mutex_);
    const auto after = std::upper_bound(slabs_.begin(), slabs_.end(), block.data());
    if (after != slabs_.begin() && block.data() < after[-1] + kSlab) return {after[-1], kSlab};
  }
  const std::size_t start = offset / kSlab * kSlab;
  const std::size_t end = std::min(start + kSlab, block.bytes());
  if (offset + bytes > end) return {block.data() + offset, bytes};
  return {block.data() + start, end - start};
}

base::Status HostMirror::read(cudaStream_t stream, void* to, const prim::Memory& block, std::size_t offset,
                              std::size_t bytes) {
  const std::uint64_t epoch = epoch_.load(std::memory_order_acquire);
  const std::byte* from = block.data() + offset;
  const auto directly = [&]() -> base::Status {
    KOVAR_TRY(check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream), "copy to the host"));
    return check(cudaStreamSynchronize(stream), "copy to the host");
  };
  if (isWrapped(block)) return directly();
  for (const Part& part : parts_) {
    if (part.epoch != epoch || from < part.region.data || from + bytes > part.region.data + part.region.bytes) continue;
    std::memcpy(to, part.copy->data() + (from - part.region.data), bytes);
    return {};
  }
  const MemoryPool::Region region = pool_->around(block, offset, bytes);
  if (region.bytes == bytes || region.bytes > MemoryPool::kSlab) return directly();
  Part& part = parts_[next_];
  next_ = (next_ + 1) % parts_.size();
  part.epoch = 0;
  if (part.copy == nullptr) {
    KOVAR_TRY_ASSIGN(part.copy, allocatePinned(MemoryPool::kSlab));
  }
  KOVAR_TRY(check(cudaMemcpyAsync(part.copy->data(), region.data, region.bytes, cudaMemcpyDeviceToHost, stream),
                  "copy to the host"));
  KOVAR_TRY(check(cudaStreamSynchronize(stream), "copy to the host"));
  part.region = region;
  part.epoch = epoch;
  std::memcpy(to, part.copy->data() + (from - region.data), bytes);
  return {};
}

base::Result<prim::MemoryRef> wrapDevice(int ordinal, void* address, std::size_t bytes) {
  constexpr std::size_t kAlignment = 16;
  if (const std::size_t beyond = reinterpret_cast<std::uintptr_t>(address) % kAlignment; beyond != 0)
    return base::Failure{"the address lies " + std::to_string(beyond) + " bytes beyond a multiple of 16"};
  cudaPointerAttributes attributes{};
  KOVAR_TRY(check(cudaPointerGetAttributes(&attributes, address), "asking whose memory an address is"));
  if (attributes.type != cudaMemoryTypeDevice)
    return base::Failure{"the address is no device memory; take it from cudaMalloc"};
  if (attributes.device != ordinal)
    return base::Failure{"the memory belongs to cuda:" + std::to_string(attributes.device) +
                         ", not to cuda:" + std::to_string(ordinal)};
  return prim::MemoryRef(std::make_shared<Wrapped>(static_cast<std::byte*>(address), bytes));
}

bool isWrapped(const prim::Memory& memory) { return dynamic_cast<const Wrapped*>(&memory) != nullptr; }

base::Result<prim::MemoryRef> allocatePinned(std::size_t bytes) {
  void* data = nullptr;
  if (const cudaError_t e = cudaMallocHost(&data, std::max<std::size_t>(bytes, 1)); e != cudaSuccess) {
    cudaGetLastError();
    return base::Failure{"cuda: no pinned host memory for " + std::to_string(bytes) +
                         " bytes: " + cudaGetErrorString(e)};
  }
  std::memset(data, 0, bytes);
  return prim::MemoryRef(std::make_shared<PinnedBlock>(static_cast<std::byte*>(data), bytes));
}

}  // namespace kovar::cuda
