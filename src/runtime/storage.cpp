#include "runtime/storage.hpp"

#include <cstring>
#include <string>
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
      external_(static_cast<std::byte*>(pointer)),
      deallocator_(std::move(deallocator)) {
  // A device that cannot reach the caller's memory works on a copy, whose twin it is.
  (device_->backend->caps().hostMemory ? data_ : twin_) = external_;
}

Storage::Storage(std::shared_ptr<DeviceState> device, prim::MemoryRef memory,
                 std::function<void(void*, std::size_t)> deallocator)
    : device_(std::move(device)),
      kind_(Kind::External),
      bytes_(memory->bytes()),
      memory_(std::move(memory)),
      data_(memory_->data()),
      external_(memory_->data()),
      deallocator_(std::move(deallocator)) {}

Storage::Storage(std::shared_ptr<DeviceState> device, std::size_t bytes, std::weak_ptr<CommandBufferState> owner,
                 bool promotable)
    : device_(std::move(device)),
      kind_(Kind::Temporary),
      bytes_(bytes),
      owner_(std::move(owner)),
      promotable_(promotable) {}

Storage::~Storage() {
  if (memory_ && memory_->data() != external_) device_->allocatedBytes -= memory_->bytes();
  if (kind_ == Kind::External && deallocator_) deallocator_(external_, bytes_);
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

base::Status Storage::inRange(const char* what, std::size_t offset, std::size_t bytes) const {
  if (offset <= bytes_ && bytes <= bytes_ - offset) return {};
  return base::Failure{std::string("Storage.") + what + ": bytes " + std::to_string(offset) + " + " +
                       std::to_string(bytes) + " of " + std::to_string(bytes_)};
}

base::Status Storage::read(std::size_t offset, void* to, std::size_t bytes) {
  KOVAR_TRY(inRange("read", offset, bytes));
  if (bytes == 0) return {};
  const bool hostMemory = device_->backend->caps().hostMemory;
  // A twin is as new as the device's bytes, or newer.
  const std::byte* from = twin_.load(std::memory_order_acquire);
  if (hostMemory) {
    KOVAR_TRY_ASSIGN(from, data());
  }
  if (from != nullptr) {
    std::memcpy(to, from + offset, bytes);
    return {};
  }
  KOVAR_TRY(data());
  return device_->backend->copyOut(to, *memory_, offset, bytes);
}

base::Status Storage::write(std::size_t offset, const void* from, std::size_t bytes) {
  KOVAR_TRY(inRange("write", offset, bytes));
  if (bytes == 0) return {};
  std::byte* to = twin_.load(std::memory_order_acquire);
  if (device_->backend->caps().hostMemory) {
    KOVAR_TRY_ASSIGN(to, data());
  }
  if (to != nullptr) {
    std::memcpy(to + offset, from, bytes);
  } else {
    KOVAR_TRY(data());
    KOVAR_TRY(device_->backend->copyIn(*memory_, offset, from, bytes));
  }
  derived.clear();
  return {};
}

base::Result<std::byte*> Storage::hostData() {
  derived.clear();  // the host may write through the pointer
  if (device_->backend->caps().hostMemory) return data();
  if (std::byte* p = twin_.load(std::memory_order_acquire)) return p;
  KOVAR_TRY(data());
  std::scoped_lock lock(mutex_);
  if (std::byte* p = twin_.load(std::memory_order_relaxed)) return p;
  KOVAR_TRY_ASSIGN(twinMemory_, device_->backend->allocateStaging(bytes_));
  KOVAR_TRY(device_->backend->copyOut(twinMemory_->data(), *memory_, 0, bytes_));
  twin_.store(twinMemory_->data(), std::memory_order_release);
  return twinMemory_->data();
}

base::Status Storage::upload(prim::Stream& stream) {
  const std::byte* twin = twin_.load(std::memory_order_acquire);
  if (twin == nullptr) return {};
  KOVAR_TRY_ASSIGN(std::byte* const device, data());
  derived.clear();
  return device_->backend->copyIn(stream, device, twin, bytes_);
}

base::Status Storage::writeBack(prim::Stream& stream) {
  std::byte* twin = twin_.load(std::memory_order_acquire);
  if (twin == nullptr) return {};
  KOVAR_TRY_ASSIGN(const std::byte* const device, data());
  return device_->backend->copyOut(stream, twin, device, bytes_);
}

void Storage::discard() {
  std::scoped_lock lock(mutex_);
  if (!memory_ || memory_->data() == external_) return;
  device_->allocatedBytes -= memory_->bytes();
  memory_.reset();
  data_.store(nullptr, std::memory_order_release);
  // Pointers that the host keeps stay good; what they point to starts from zeroes too.
  if (twinMemory_) std::memset(twinMemory_->data(), 0, bytes_);
  derived.clear();
}

}  // namespace kovar::rt
