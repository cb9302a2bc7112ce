#include "backend/cpu/buffer_pool.hpp"

#include <utility>

#include "prim/host_memory.hpp"

namespace kovar::cpu {

base::Result<std::shared_ptr<std::byte>> BufferPool::take() {
  prim::MemoryRef memory;
  {
    std::scoped_lock lock(mutex_);
    if (!free_.empty()) {
      memory = std::move(free_.back());
      free_.pop_back();
    }
  }
  if (memory == nullptr) {
    KOVAR_TRY_ASSIGN(memory, prim::allocateHost(bytes_, false));
  }
  std::byte* data = memory->data();
  return std::shared_ptr<std::byte>(data, [home = weak_from_this(), memory = std::move(memory)](std::byte*) mutable {
    // Two are enough for plans in use on two streams; more are the exception.
    constexpr std::size_t kKept = 2;
    if (const auto pool = home.lock()) {
      std::scoped_lock lock(pool->mutex_);
      if (pool->free_.size() < kKept) pool->free_.push_back(std::move(memory));
    }
  });
}

}  // namespace kovar::cpu
