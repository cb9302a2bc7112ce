#pragma once
// Blocks of one plan that come and go with every change of the weights: kept for the next time instead of returned.

#include <memory>
#include <mutex>
#include <vector>

#include "prim/backend.hpp"

namespace kovar::cpu {

/// Hands out blocks of one size. A block goes back to the pool with its last reference, or is freed when the pool is
/// gone.
class BufferPool : public std::enable_shared_from_this<BufferPool> {
 public:
  explicit BufferPool(std::size_t bytes) : bytes_(bytes) {}
  base::Result<std::shared_ptr<std::byte>> take();

 private:
  std::size_t bytes_;
  std::mutex mutex_;
  std::vector<prim::MemoryRef> free_;
};

}  // namespace kovar::cpu
