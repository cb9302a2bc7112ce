#pragma once

#include <string>
#include <string_view>

#include "kovar/MTL/Types.hpp"

namespace kovar::rt {
class Storage;
struct Access;
}  // namespace kovar::rt

namespace kovar::MTL {

class Device;
class Heap;

/// Memory that kernels read and write: the common part of Buffer and Texture. Implements MTLResource.
class Resource : public Object {
 public:
  Ref<Device> device() const { return device_; }
  std::string label() const { return label_; }
  void setLabel(std::string_view label) { label_ = label; }
  StorageMode storageMode() const { return storageMode_; }
  CPUCacheMode cpuCacheMode() const { return CPUCacheMode::DefaultCache; }
  /// Records the state and returns the one before; the contents are never dropped by this library on its own.
  /// Empty releases the contents: what is read afterwards is zero.
  PurgeableState setPurgeableState(PurgeableState state);
  /// Bytes held now; 0 before the first use.
  std::size_t allocatedSize() const;
  /// The heap it was made from, or null.
  Ref<Heap> heap() const { return heap_; }

 protected:
  Resource(Ref<Device> device, StorageMode mode, std::shared_ptr<rt::Storage> storage);
  ~Resource() override;

  Ref<Device> device_;
  Ref<Heap> heap_;
  StorageMode storageMode_;
  PurgeableState purgeable_ = PurgeableState::NonVolatile;
  std::string label_;
  std::shared_ptr<rt::Storage> storage_;
  friend struct rt::Access;
};

}  // namespace kovar::MTL
