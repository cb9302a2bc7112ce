#include "backend/cpu/thread_scratch.hpp"

#include <new>

#include "prim/host_memory.hpp"

namespace kovar::cpu {
namespace {

thread_local prim::MemoryRef block;

}  // namespace

std::byte* threadScratch(std::size_t bytes) noexcept {
  if (block == nullptr || block->bytes() < bytes) {
    block = nullptr;
    auto allocated = prim::allocateHost(bytes + bytes / 4 + 64, false);
    if (!allocated.ok()) return nullptr;
    block = std::move(*allocated);
  }
  return block->data();
}

}  // namespace kovar::cpu
