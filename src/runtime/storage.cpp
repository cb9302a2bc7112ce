#include "runtime/storage.hpp"

#include <utility>

#include "runtime/device_state.hpp"

namespace kovar::rt {

Storage::Storage(std::shared_ptr<DeviceState> device, std::size_t bytes)
    : device_(std::move(device)), kind_(Kind::Persistent), bytes_(bytes) {}

Storage::Storage(std::shared_ptr<DeviceState> device, void* pointer, std::size_t bytes,
                 std::function<void(void*, std::size_t)> deallocator)
    : device_(std::move(device)),
      kind_(Kind::External),
      bytes_(bytes),
      data_(static_cast<std::byte*>(pointer)),
      deallocator_(std::move(deallocator)) {}

Storage::Storage(std::shared_ptr<DeviceState> device, std::size_t bytes, std::weak_ptr<CommandBufferState> owner,
                 bool promotable)
    : device_(std::move(device)),
      kind_(Kind::Temporary),
      bytes_(bytes),
      owner_(std::move(owner)),
      promotable_(promotable) {}

Storage::~Storage() {
  if (memory_) device_->allocatedBytes -= memory_->bytes();
  if (kind_ == Kind::External && deallocator_) deallocator_(data_.load(), bytes_);
}

base::Result<std::byte*> Storage::data() {
  if (std::byte* p = data_.load(std::memory_order_acquire)) return p;
  std::scoped_lock lock(mutex_);
  if (std::byte* p = data_.load(std::memory_order_relaxed)) return p;
  KOVAR_TRY_ASSIGN(memory_, device_->backend->allocate(bytes_, true));
  device_->allocatedBytes += memory_->bytes();
  data_.store(memory_->data(), std::memory_order_release);
  return memory_->data();
}

void Storage::discard() {
  std::scoped_lock lock(mutex_);
  if (!memory_) return;
  device_->allocatedBytes -= memory_->bytes();
  memory_.reset();
  data_.store(nullptr, std::memory_order_release);
  derived.clear();
}

}  // namespace kovar::rt
