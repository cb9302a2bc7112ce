#include "kovar/MPS/Core/Kernel.hpp"

#include <cstdlib>

#include "base/edge.hpp"
#include "base/range.hpp"
#include "kovar/MPS/Core/CommandBuffer.hpp"
#include "nn/core/access.hpp"

namespace kovar::MPS {

Kernel::Kernel(const Ref<MTL::Device>& device) : device_(device) {
  if (!device) base::raise("Kernel: device is null; take one from MTL::createSystemDefaultDevice()");
  if (std::getenv("MPS_LOG_INFO")) options_ = KernelOptions::Verbose;
}

Kernel::~Kernel() = default;

Ref<Kernel> Kernel::copy(const Ref<MTL::Device>& device) { return doCopy(device ? device : device_); }

Ref<Kernel> Kernel::doCopy(const Ref<MTL::Device>&) {
  base::raise(described() + ".copy: objects of this class cannot be copied");
}

std::string Kernel::described() const {
  return label_.empty() ? className() : std::string(className()) + " \"" + label_ + "\"";
}

std::size_t sizeofMPSDataType(DataType type) {
  constexpr std::uint32_t kBits = 0xffff;
  return (static_cast<std::uint32_t>(type) & kBits) / 8;
}

Predicate::Predicate(const Ref<MTL::Buffer>& buffer, std::size_t offset) : buffer_(buffer), offset_(offset) {
  if (!buffer) base::raise("Predicate: buffer is null");
  if (offset % 4 != 0 || !base::fits(offset, 4, buffer->length()))
    base::raise("Predicate: offset " + std::to_string(offset) + " in a buffer of " + std::to_string(buffer->length()) +
                " bytes; it must be a multiple of 4 with 4 bytes behind it");
}

Predicate::Predicate(const Ref<MTL::Device>& device) {
  if (!device) base::raise("Predicate: device is null");
  buffer_ = device->newBuffer(4);
}

Ref<Predicate> Predicate::predicate(const Ref<MTL::Buffer>& buffer, std::size_t offset) {
  return std::make_shared<Predicate>(buffer, offset);
}

namespace {

const std::shared_ptr<rt::CommandBufferState>& stateOf(const Ref<MTL::CommandBuffer>& commandBuffer) {
  if (!commandBuffer) base::raise("CommandBuffer: commandBuffer is null");
  return rt::Access::state(commandBuffer);
}

}  // namespace

CommandBuffer::CommandBuffer(const Ref<MTL::CommandBuffer>& commandBuffer)
    : MTL::CommandBuffer(stateOf(commandBuffer)), wrapped_(commandBuffer), root_(commandBuffer) {
  if (auto inner = std::dynamic_pointer_cast<CommandBuffer>(commandBuffer)) root_ = inner->root_;
}

Ref<CommandBuffer> CommandBuffer::commandBuffer(const Ref<MTL::CommandBuffer>& commandBuffer) {
  return std::make_shared<CommandBuffer>(commandBuffer);
}

Ref<CommandBuffer> CommandBuffer::commandBuffer(const Ref<MTL::CommandQueue>& commandQueue) {
  if (!commandQueue) base::raise("CommandBuffer: commandQueue is null");
  return std::make_shared<CommandBuffer>(commandQueue->commandBuffer());
}

void CommandBuffer::collectPredicates(std::vector<rt::PredicateRef>& into) const {
  if (auto inner = std::dynamic_pointer_cast<CommandBuffer>(wrapped_)) inner->collectPredicates(into);
  if (predicate_) into.push_back({rt::Access::storage(predicate_->predicateBuffer()), predicate_->predicateOffset()});
}

void CommandBuffer::commitAndContinue() {
  if (auto inner = std::dynamic_pointer_cast<CommandBuffer>(wrapped_)) {
    inner->commitAndContinue();
    root_ = inner->root_;
  } else {
    Ref<MTL::CommandBuffer> next = commandQueue()->commandBuffer();
    next->setLabel(label());
    state_->carryTemporariesTo(*rt::Access::state(next));
    root_->commit();
    root_ = std::move(next);
  }
  state_ = rt::Access::state(root_);
}

void CommandBuffer::prefetchHeap(std::size_t) {}

bool supportsMTLDevice(const Ref<MTL::Device>& device) { return device != nullptr; }
Ref<MTL::Device> getPreferredDevice(DeviceOptions options) {
  const bool lowPower = (options & DeviceOptions::LowPower) != DeviceOptions::Default;
  return lowPower ? MTL::deviceNamed("cpu") : MTL::createSystemDefaultDevice();
}
void hintTemporaryMemoryHighWaterMark(const Ref<MTL::CommandBuffer>&, std::size_t) {}
void setHeapCacheDuration(const Ref<MTL::CommandBuffer>&, double) {}

}  // namespace kovar::MPS
