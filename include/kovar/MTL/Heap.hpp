#pragma once

#include <atomic>

#include "kovar/MTL/Buffer.hpp"
#include "kovar/MTL/Texture.hpp"

namespace kovar::MTL {

/// Size and storage mode of a heap.
class HeapDescriptor final : public Object {
 public:
  std::size_t size() const { return size_; }
  void setSize(std::size_t v) { size_ = v; }
  StorageMode storageMode() const { return storageMode_; }
  void setStorageMode(StorageMode v) { storageMode_ = v; }
  CPUCacheMode cpuCacheMode() const { return cpuCacheMode_; }
  void setCpuCacheMode(CPUCacheMode v) { cpuCacheMode_ = v; }

 private:
  std::size_t size_ = 0;
  StorageMode storageMode_ = StorageMode::Private;
  CPUCacheMode cpuCacheMode_ = CPUCacheMode::DefaultCache;
};

/// A budget of memory that buffers and textures are made from. A resource's bytes count against the heap until it dies.
/// Implements MTLHeap.
class Heap final : public Object {
 public:
  Ref<Device> device() const { return device_; }
  std::string label() const { return label_; }
  void setLabel(std::string_view label) { label_ = label; }
  std::size_t size() const { return size_; }
  /// Bytes of the resources alive now.
  std::size_t usedSize() const;
  /// Largest resource that still fits, for an alignment in bytes (a power of two).
  std::size_t maxAvailableSize(std::size_t alignment) const;
  /// Throws Error when the heap has no room.
  Ref<Buffer> newBuffer(std::size_t length);
  Ref<Texture> newTexture(const Ref<TextureDescriptor>& descriptor);

 private:
  Heap(Ref<Device> device, std::size_t size, StorageMode mode);
  void charge(std::size_t bytes, const char* what);

  Ref<Device> device_;
  std::size_t size_;
  StorageMode storageMode_;
  std::string label_;
  std::shared_ptr<std::atomic<std::size_t>> used_;
  friend struct rt::Access;
};

}  // namespace kovar::MTL
