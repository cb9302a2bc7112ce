#pragma once

#include "kovar/MTL/Resource.hpp"

namespace kovar::MTL {

/// A run of bytes shared by the host and the device's kernels. Made by Device::newBuffer or Heap::newBuffer,
/// zero-filled unless made from bytes. Implements MTLBuffer.
class Buffer final : public Resource {
 public:
  /// Bytes.
  std::size_t length() const { return length_; }
  /// The bytes, for the host. Null for StorageMode::Private and for buffers of temporary states. Defined once the
  /// command buffers that write it have completed; writing while one that uses it runs is the caller's race.
  void* contents();
  /// Tells that the host wrote this range (StorageMode::Managed). Needed for managed buffers, harmless for others.
  void didModifyRange(std::size_t location, std::size_t length);

 private:
  Buffer(Ref<Device> device, std::size_t length, StorageMode mode, std::shared_ptr<rt::Storage> storage);
  std::size_t length_;
  friend struct rt::Access;
};

}  // namespace kovar::MTL
