#include <cstring>
#include <utility>

#include "base/edge.hpp"
#include "runtime/access.hpp"

namespace kovar::MTL {

using rt::Access;

Resource::Resource(Ref<Device> device, StorageMode mode, std::shared_ptr<rt::Storage> storage)
    : device_(std::move(device)), storageMode_(mode), storage_(std::move(storage)) {}

Resource::~Resource() = default;

PurgeableState Resource::setPurgeableState(PurgeableState state) {
  const PurgeableState before = purgeable_;
  if (state == PurgeableState::KeepCurrent) return before;
  if (state == PurgeableState::Empty) storage_->discard();
  purgeable_ = state;
  return before;
}

std::size_t Resource::allocatedSize() const { return storage_->allocated() ? storage_->bytes() : 0; }

Buffer::Buffer(Ref<Device> device, std::size_t length, StorageMode mode, std::shared_ptr<rt::Storage> storage)
    : Resource(std::move(device), mode, std::move(storage)), length_(length) {}

void* Buffer::contents() {
  if (storageMode_ == StorageMode::Private || storage_->temporary()) return nullptr;
  return base::unwrap(storage_->hostData());
}

void Buffer::didModifyRange(std::size_t location, std::size_t length) {
  if (location > length_ || length > length_ - location)
    base::raise("Buffer.didModifyRange: " + std::to_string(location) + " + " + std::to_string(length) +
                " lies beyond the length of " + std::to_string(length_) + " bytes");
  storage_->derived.clear();
}

Heap::Heap(Ref<Device> device, std::size_t size, StorageMode mode)
    : device_(std::move(device)),
      size_(size),
      storageMode_(mode),
      used_(std::make_shared<std::atomic<std::size_t>>(0)) {}

std::size_t Heap::usedSize() const { return used_->load(); }

std::size_t Heap::maxAvailableSize(std::size_t alignment) const {
  const std::size_t left = size_ - std::min(size_, usedSize());
  return alignment > 1 ? left / alignment * alignment : left;
}

namespace {

// Gives the bytes back to the heap when the storage dies, whoever held it last.
std::shared_ptr<void> ticketFor(const std::shared_ptr<std::atomic<std::size_t>>& used, std::size_t bytes) {
  return std::shared_ptr<void>(nullptr, [used, bytes](void*) { *used -= bytes; });
}

}  // namespace

void Heap::charge(std::size_t bytes, const char* what) {
  if (used_->fetch_add(bytes) + bytes <= size_) return;
  *used_ -= bytes;
  base::raise(std::string("Heap") + (label_.empty() ? "" : " \"" + label_ + "\"") + "." + what + ": needs " +
              std::to_string(bytes) + " bytes, " + std::to_string(maxAvailableSize(1)) + " of " +
              std::to_string(size_) + " are free; release resources or make a larger heap");
}

Ref<Buffer> Heap::newBuffer(std::size_t length) {
  charge(length, "newBuffer");
  auto ticket = ticketFor(used_, length);
  Ref<Buffer> buffer = device_->newBuffer(length, storageMode_);
  Access::storage(buffer)->ticket = std::move(ticket);
  Access::setHeap(*buffer, self<Heap>());
  return buffer;
}

Ref<Texture> Heap::newTexture(const Ref<TextureDescriptor>& descriptor) {
  Ref<Texture> texture = device_->newTexture(descriptor);
  const std::size_t bytes = Access::storage(texture)->bytes();
  charge(bytes, "newTexture");
  Access::storage(texture)->ticket = ticketFor(used_, bytes);
  Access::setHeap(*texture, self<Heap>());
  return texture;
}

}  // namespace kovar::MTL
