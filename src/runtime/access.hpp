#pragma once
// The door between public objects and their states, for the layers above the runtime.

#include <memory>

#include "kovar/MTL/MTL.hpp"
#include "runtime/command_buffer_state.hpp"
#include "runtime/device_state.hpp"
#include "runtime/queue_state.hpp"
#include "runtime/storage.hpp"

namespace kovar::rt {

/// Values an event has reached.
class EventState {
 public:
  std::uint64_t value() const {
    std::scoped_lock lock(mutex_);
    return value_;
  }
  void raise(std::uint64_t value) {
    {
      std::scoped_lock lock(mutex_);
      if (value > value_) value_ = value;
    }
    changed_.notify_all();
  }
  void wait(std::uint64_t value) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return value_ >= value; });
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t value_ = 0;
};

struct Access {
  static const std::shared_ptr<DeviceState>& state(const Ref<MTL::Device>& device) { return device->state_; }
  static const std::shared_ptr<CommandBufferState>& state(const Ref<MTL::CommandBuffer>& buffer) {
    return buffer->state_;
  }
  static void setState(MTL::CommandBuffer& buffer, std::shared_ptr<CommandBufferState> state) {
    buffer.state_ = std::move(state);
  }
  static std::vector<PredicateRef> predicates(const Ref<MTL::CommandBuffer>& buffer) {
    std::vector<PredicateRef> p;
    buffer->collectPredicates(p);
    return p;
  }
  static const StorageRef& storage(const Ref<MTL::Resource>& resource) { return resource->storage_; }
  static const std::shared_ptr<EventState>& state(const Ref<MTL::Event>& event) { return event->state_; }

  static Ref<MTL::Device> makeDevice(std::shared_ptr<DeviceState> state);
  static Ref<MTL::CommandQueue> makeQueue(Ref<MTL::Device> device) {
    return Ref<MTL::CommandQueue>(new MTL::CommandQueue(std::move(device)));
  }
  static const std::shared_ptr<QueueState>& state(const Ref<MTL::CommandQueue>& queue) { return queue->state_; }
  static Ref<MTL::CommandBuffer> makeBuffer(std::shared_ptr<CommandBufferState> state) {
    return Ref<MTL::CommandBuffer>(new MTL::CommandBuffer(std::move(state)));
  }
  /// A buffer object over existing storage.
  static Ref<MTL::Buffer> makeBuffer(Ref<MTL::Device> device, std::size_t length, MTL::StorageMode mode,
                                     StorageRef storage) {
    return Ref<MTL::Buffer>(new MTL::Buffer(std::move(device), length, mode, std::move(storage)));
  }
  using TextureLayout = MTL::Texture::Layout;
  static const TextureLayout& layout(const MTL::Texture& t) { return t.layout_; }
  static Ref<MTL::Texture> makeTexture(Ref<MTL::Device> device, Ref<MTL::TextureDescriptor> descriptor,
                                       StorageRef storage, TextureLayout layout) {
    return Ref<MTL::Texture>(new MTL::Texture(std::move(device), std::move(descriptor), std::move(storage), layout));
  }
  static Ref<MTL::Event> makeEvent(Ref<MTL::Device> device) {
    return Ref<MTL::Event>(new MTL::Event(std::move(device)));
  }
  static Ref<MTL::Heap> makeHeap(Ref<MTL::Device> device, std::size_t size, MTL::StorageMode mode) {
    return Ref<MTL::Heap>(new MTL::Heap(std::move(device), size, mode));
  }
  static void setHeap(MTL::Resource& r, Ref<MTL::Heap> heap) { r.heap_ = std::move(heap); }
};

}  // namespace kovar::rt
