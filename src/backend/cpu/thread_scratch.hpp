#pragma once
// Working memory of one thread, for what a chunk needs only while it runs: it stays in that thread's cache from chunk
// to chunk, and its size does not depend on the number of chunks.

#include <cstddef>

namespace kovar::cpu {

/// At least `bytes` bytes, 64-byte aligned, of the calling thread; null when there is no memory. Contents are left over
/// from earlier uses. Valid until this thread's next call: ask once per chunk for all it needs.
std::byte* threadScratch(std::size_t bytes) noexcept;

/// The same, counted in floats.
inline float* threadFloats(std::size_t count) noexcept {
  return reinterpret_cast<float*>(threadScratch(count * sizeof(float)));
}

}  // namespace kovar::cpu
