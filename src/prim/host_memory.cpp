#include "prim/host_memory.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

namespace kovar::prim {
namespace {

constexpr std::size_t kAlignment = 64;
constexpr std::size_t kHugePage = std::size_t{2} << 20;
constexpr std::size_t kLarge = std::size_t{4} << 20;

class SmallBlock final : public Memory {
 public:
  SmallBlock(std::byte* data, std::size_t bytes) : Memory(data, bytes) {}
  ~SmallBlock() override { std::free(data_); }
  SmallBlock(const SmallBlock&) = delete;
  SmallBlock& operator=(const SmallBlock&) = delete;
};

class MappedBlock final : public Memory {
 public:
  MappedBlock(void* mapping, std::size_t mapped, std::byte* data, std::size_t bytes)
      : Memory(data, bytes), mapping_(mapping), mapped_(mapped) {}
  ~MappedBlock() override { munmap(mapping_, mapped_); }
  MappedBlock(const MappedBlock&) = delete;
  MappedBlock& operator=(const MappedBlock&) = delete;

 private:
  void* mapping_;
  std::size_t mapped_;
};

base::Failure outOfMemory(std::size_t bytes) {
  return base::Failure{"Backend::allocate: no memory for " + std::to_string(bytes) + " bytes"};
}

base::Status inRange(const char* what, const Memory& memory, std::size_t offset, std::size_t bytes) {
  if (offset <= memory.bytes() && bytes <= memory.bytes() - offset) return {};
  return base::Failure{std::string(what) + ": bytes " + std::to_string(offset) + " to " + std::to_string(offset) + "+" +
                       std::to_string(bytes) + " of a block of " + std::to_string(memory.bytes())};
}

}  // namespace

base::Result<MemoryRef> allocateHost(std::size_t bytes, bool zeroed) {
  if (bytes > SIZE_MAX / 2) return outOfMemory(bytes);
  try {
    if (bytes < kLarge) {
      const std::size_t rounded = std::max(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
      auto* data = static_cast<std::byte*>(std::aligned_alloc(kAlignment, rounded));
      if (data == nullptr) return outOfMemory(bytes);
      if (zeroed) std::memset(data, 0, rounded);
      return MemoryRef(std::make_shared<SmallBlock>(data, bytes));
    }
    // Fresh pages read as zero, so a large block needs no clearing. Room to start on a huge page's boundary.
    const std::size_t mapped = bytes + kHugePage;
    void* mapping = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapping == MAP_FAILED) return outOfMemory(bytes);
    const auto start = reinterpret_cast<std::uintptr_t>(mapping);
    auto* data = reinterpret_cast<std::byte*>((start + kHugePage - 1) / kHugePage * kHugePage);
    madvise(data, bytes, MADV_HUGEPAGE);
    return MemoryRef(std::make_shared<MappedBlock>(mapping, mapped, data, bytes));
  } catch (const std::bad_alloc&) {
    return outOfMemory(bytes);
  }
}

base::Status copyToHost(Memory& dst, std::size_t offset, const void* src, std::size_t bytes) {
  KOVAR_TRY(inRange("Backend::copyIn", dst, offset, bytes));
  if (bytes != 0) std::memcpy(dst.data() + offset, src, bytes);
  return {};
}

base::Status copyFromHost(void* dst, const Memory& src, std::size_t offset, std::size_t bytes) {
  KOVAR_TRY(inRange("Backend::copyOut", src, offset, bytes));
  if (bytes != 0) std::memcpy(dst, src.data() + offset, bytes);
  return {};
}

base::Status Backend::enqueueAll(Stream& stream, std::span<const Work> list, ReplayRef&) {
  for (const Work& work : list) KOVAR_TRY(enqueue(stream, *work.plan, work.invocation));
  return {};
}

base::Result<FenceRef> Backend::fence(Stream& stream) {
  KOVAR_TRY(synchronize(stream));
  return FenceRef();
}

base::Result<MemoryRef> Backend::wrap(void*, std::size_t) {
  return base::Failure{"the device works in host memory; wrap that with Device.newBufferNoCopy"};
}

base::Result<MemoryRef> Backend::allocateStaging(std::size_t bytes) { return allocateHost(bytes, true); }

base::Status Backend::copyIn(Stream&, std::byte* device, const void* host, std::size_t bytes) {
  if (bytes != 0) std::memcpy(device, host, bytes);
  return {};
}

base::Status Backend::copyOut(Stream&, void* host, const std::byte* device, std::size_t bytes) {
  if (bytes != 0) std::memcpy(host, device, bytes);
  return {};
}

}  // namespace kovar::prim
