#pragma once

#include <functional>
#include <string>
#include <vector>

#include "kovar/MTL/Types.hpp"

namespace kovar::rt {
class DeviceState;
struct Access;
}  // namespace kovar::rt

namespace kovar::MTL {

class Buffer;
class CommandQueue;
class Event;
class Heap;
class HeapDescriptor;
class Texture;
class TextureDescriptor;

/// A processor that runs kernels: the CPU, an NVIDIA GPU, or the null device (plans, computes nothing). Implements
/// MTLDevice.
class Device final : public Object {
 public:
  /// For people: the processor's name.
  std::string name() const;
  /// "cpu", "cuda:0", "null": what KOVAR_DEVICE and --device take.
  std::string identifier() const;
  std::uint64_t registryID() const;
  bool hasUnifiedMemory() const;
  /// Bytes of memory that this process may sensibly use on the device.
  std::size_t recommendedMaxWorkingSetSize() const;
  /// Bytes held by buffers, images, arenas and packed weights.
  std::size_t currentAllocatedSize() const;
  /// Instruction set chosen at run time, e.g. "AVX3_ZEN4", or the compute capability.
  std::string instructionSet() const;
  /// Name and version of each vendor library in use.
  std::vector<std::pair<std::string, std::string>> libraries() const;

  Ref<CommandQueue> newCommandQueue();
  /// Zero-filled. Throws Error when length is 0 or there is no memory.
  Ref<Buffer> newBuffer(std::size_t length, StorageMode mode = StorageMode::Shared);
  /// Holds a copy of the bytes.
  Ref<Buffer> newBuffer(const void* bytes, std::size_t length, StorageMode mode = StorageMode::Shared);
  /// Uses the caller's memory itself; `deallocator(pointer, length)` is called when the buffer dies (may be empty).
  /// Throws Error when the pointer is null or no multiple of 16, or length is 0; the memory then stays the caller's.
  Ref<Buffer> newBufferNoCopy(void* pointer, std::size_t length, StorageMode mode,
                              std::function<void(void*, std::size_t)> deallocator);
  Ref<Texture> newTexture(const Ref<TextureDescriptor>& descriptor);
  Ref<Heap> newHeap(const Ref<HeapDescriptor>& descriptor);
  Ref<Event> newEvent();

 private:
  explicit Device(std::shared_ptr<rt::DeviceState> state);
  std::shared_ptr<rt::DeviceState> state_;
  friend struct rt::Access;
};

/// The device that a program should use: a CUDA GPU where there is one, else the CPU. KOVAR_DEVICE=cpu|cuda|cuda:1|null
/// overrides it. The same object each time. Throws Error when KOVAR_DEVICE names a device that this machine lacks.
Ref<Device> createSystemDefaultDevice();
/// All devices that compute, the default kind first.
std::vector<Ref<Device>> copyAllDevices();
/// The device of that identifier. Throws Error when there is none, naming those there are.
Ref<Device> deviceNamed(const std::string& identifier);

}  // namespace kovar::MTL
