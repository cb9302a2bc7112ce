#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "base/edge.hpp"
#include "runtime/access.hpp"
#include "runtime/device_registry.hpp"

namespace kovar::rt {

Ref<MTL::Device> Access::makeDevice(std::shared_ptr<DeviceState> state) {
  Ref<MTL::Device> device(new MTL::Device(std::move(state)));
  device->state_->handle = device;
  return device;
}

}  // namespace kovar::rt

namespace kovar::MTL {

using rt::Access;

Device::Device(std::shared_ptr<rt::DeviceState> state) : state_(std::move(state)) {}

std::string Device::name() const { return state_->backend->caps().name; }
std::string Device::identifier() const { return state_->identifier; }
std::uint64_t Device::registryID() const { return std::hash<std::string>{}(state_->identifier); }
bool Device::hasUnifiedMemory() const { return state_->backend->caps().hostMemory; }
std::size_t Device::recommendedMaxWorkingSetSize() const { return state_->backend->caps().memoryBytes; }
std::size_t Device::currentAllocatedSize() const { return state_->allocatedBytes.load(); }
std::string Device::instructionSet() const { return state_->backend->caps().isa; }
std::vector<std::pair<std::string, std::string>> Device::libraries() const { return state_->backend->caps().libraries; }

Ref<CommandQueue> Device::newCommandQueue() { return Access::makeQueue(self<Device>()); }

Ref<Buffer> Device::newBuffer(std::size_t length, StorageMode mode) {
  if (length == 0) base::raise("Device.newBuffer: length is 0; a buffer holds at least one byte");
  return Access::makeBuffer(self<Device>(), length, mode, std::make_shared<rt::Storage>(state_, length));
}

Ref<Buffer> Device::newBuffer(const void* bytes, std::size_t length, StorageMode mode) {
  if (!bytes) base::raise("Device.newBuffer: bytes is null; give the bytes to copy or use newBuffer(length)");
  Ref<Buffer> buffer = newBuffer(length, mode);
  base::unwrap(Access::storage(buffer)->write(0, bytes, length));
  return buffer;
}

Ref<Buffer> Device::newBufferNoCopy(void* pointer, std::size_t length, StorageMode mode,
                                    std::function<void(void*, std::size_t)> deallocator) {
  if (!pointer || length == 0) base::raise("Device.newBufferNoCopy: needs a pointer and a length of at least 1 byte");
  // What malloc and new give; kernels read any element type from a buffer's first byte.
  constexpr std::size_t kAlignment = 16;
  if (const std::size_t beyond = reinterpret_cast<std::uintptr_t>(pointer) % kAlignment; beyond != 0)
    base::raise("Device.newBufferNoCopy: the pointer lies " + std::to_string(beyond) + " bytes beyond a multiple of " +
                std::to_string(kAlignment) +
                "; give memory aligned to 16 bytes, or copy it with newBuffer(bytes, length)");
  return Access::makeBuffer(self<Device>(), length, mode,
                            std::make_shared<rt::Storage>(state_, pointer, length, std::move(deallocator)));
}

Ref<Texture> Device::newTexture(const Ref<TextureDescriptor>& descriptor) {
  if (!descriptor) base::raise("Device.newTexture: descriptor is null");
  if (bytesPerTexel(descriptor->pixelFormat()) == 0)
    base::raise("Device.newTexture: pixelFormat is Invalid; set a format");
  if (descriptor->width() == 0 || descriptor->height() == 0 || descriptor->arrayLength() == 0)
    base::raise("Device.newTexture: width, height and arrayLength must be at least 1");
  const std::size_t elementBytes = bytesPerTexel(descriptor->pixelFormat()) / lanesOf(descriptor->pixelFormat());
  const std::size_t bytes = descriptor->width() * descriptor->height() * descriptor->arrayLength() * 4 * elementBytes;
  rt::Access::TextureLayout layout;
  layout.pixelLanes = 4 * descriptor->arrayLength();
  layout.slicesPerImage = descriptor->arrayLength();
  return Access::makeTexture(self<Device>(), descriptor->copy(), std::make_shared<rt::Storage>(state_, bytes), layout);
}

Ref<Heap> Device::newHeap(const Ref<HeapDescriptor>& descriptor) {
  if (!descriptor || descriptor->size() == 0)
    base::raise("Device.newHeap: needs a descriptor with a size of at least 1 byte");
  return Access::makeHeap(self<Device>(), descriptor->size(), descriptor->storageMode());
}

Ref<Event> Device::newEvent() { return Access::makeEvent(self<Device>()); }

CommandQueue::CommandQueue(Ref<Device> device)
    : device_(std::move(device)), state_(std::make_shared<rt::QueueState>(Access::state(device_))) {}

CommandQueue::~CommandQueue() { state_->close(); }

Ref<CommandBuffer> CommandQueue::commandBuffer() {
  return Access::makeBuffer(std::make_shared<rt::CommandBufferState>(self<CommandQueue>(), state_));
}

Event::Event(Ref<Device> device) : device_(std::move(device)), state_(std::make_shared<rt::EventState>()) {}
std::uint64_t Event::signaledValue() const { return state_->value(); }
void Event::setSignaledValue(std::uint64_t value) { state_->raise(value); }

}  // namespace kovar::MTL
