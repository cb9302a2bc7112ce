#pragma once
// Memory of devices whose memory is the host's.

#include "prim/backend.hpp"

namespace kovar::prim {

/// 64-byte aligned block, zero-filled when `zeroed`. Blocks of 4 MiB and more start on a huge page's boundary and ask
/// for huge pages. A block of 0 bytes is allowed.
base::Result<MemoryRef> allocateHost(std::size_t bytes, bool zeroed);

/// Copies between a block of host memory and other memory, after checking the range.
base::Status copyToHost(Memory& dst, std::size_t offset, const void* src, std::size_t bytes);
base::Status copyFromHost(void* dst, const Memory& src, std::size_t offset, std::size_t bytes);

}  // namespace kovar::prim
