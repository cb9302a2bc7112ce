#include <memory>
#include <string>
#include <utility>

#include "base/edge.hpp"
#include "kovar/Support/CudaWork.hpp"
#include "nn/core/access.hpp"
#include "runtime/access.hpp"
#include "runtime/device_state.hpp"

namespace kovar {
namespace {

rt::StorageRef wrapped(const char* who, const Ref<MTL::Device>& device, void* address, std::size_t bytes,
                       std::function<void(void*, std::size_t)> deallocator) {
  if (address == nullptr || bytes == 0)
    base::raise(std::string(who) + ": needs an address and a length of at least 1 byte");
  const auto& state = rt::Access::state(device);
  auto memory = state->backend->wrap(address, bytes);
  if (!memory.ok())
    base::raise(std::string(who) + ": on device " + device->identifier() + ": " + memory.failure().text);
  return std::make_shared<rt::Storage>(state, std::move(*memory), std::move(deallocator));
}

}  // namespace

Ref<MTL::Buffer> newBufferOverCudaMemory(const Ref<MTL::Device>& device, void* address, std::size_t length,
                                         std::function<void(void*, std::size_t)> deallocator) {
  constexpr const char* kWho = "newBufferOverCudaMemory";
  if (!device) base::raise(std::string(kWho) + ": device is null");
  return rt::Access::makeBuffer(device, length, MTL::StorageMode::Shared,
                                wrapped(kWho, device, address, length, std::move(deallocator)));
}

Ref<MPS::Image> newImageOverCudaMemory(const Ref<MTL::Device>& device, const Ref<MPS::ImageDescriptor>& descriptor,
                                       void* address, std::function<void(void*, std::size_t)> deallocator) {
  constexpr const char* kWho = "newImageOverCudaMemory";
  if (!device) base::raise(std::string(kWho) + ": device is null");
  return nn::Access::imageOver(device, descriptor, kWho, [&](std::size_t bytes) {
    return wrapped(kWho, device, address, bytes, std::move(deallocator));
  });
}

}  // namespace kovar
