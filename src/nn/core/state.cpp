#include "kovar/MPS/Core/State.hpp"

#include <algorithm>
#include <utility>

#include "base/edge.hpp"
#include "nn/core/access.hpp"

namespace kovar::MPS {

State::State(const Ref<MTL::Device>& device) : device_(device) {
  if (!device) base::raise("State: device is null");
}

State::State(const Ref<MTL::CommandBuffer>& commandBuffer)
    : commandBuffer_(commandBuffer), temporary_(true), readCount_(1) {
  if (!commandBuffer) base::raise("State.temporaryState: commandBuffer is null");
  device_ = commandBuffer->device();
}

State::State(const Ref<MTL::Device>& device, std::size_t bufferSize) : State(device) { addBuffer(bufferSize); }

State::State(const Ref<MTL::Device>& device, const Ref<MTL::TextureDescriptor>& textureDescriptor) : State(device) {
  if (!textureDescriptor) base::raise("State: textureDescriptor is null");
  slots_.push_back({StateResourceType::Texture, 0, textureDescriptor->copy(), nullptr});
}

State::State(const Ref<MTL::Device>& device, const Ref<StateResourceList>& resourceList) : State(device) {
  if (!resourceList) base::raise("State: resourceList is null");
  for (const auto& t : resourceList->textures_) slots_.push_back({StateResourceType::Texture, 0, t->copy(), nullptr});
  for (std::size_t bytes : resourceList->buffers_) addBuffer(bytes);
}

State::State(const Ref<MTL::Resource>& resource) : State(std::vector<Ref<MTL::Resource>>{resource}) {}

State::State(const std::vector<Ref<MTL::Resource>>& resources) {
  for (const auto& r : resources)
    if (r) addResource(r);
  if (slots_.empty()) base::raise("State: no resource given; use State(device, ...) for one of its own");
  device_ = slots_.front().resource->device();
}

State::~State() { release(); }

void State::hold(const std::shared_ptr<rt::Storage>& storage) {
  if (!temporary_) return;
  ++storage->live;
  held_.push_back(storage);
}

void State::release() {
  for (const auto& storage : held_) --storage->live;
  held_.clear();
}

Ref<State> State::temporaryState(const Ref<MTL::CommandBuffer>& commandBuffer) {
  return nn::Access::make<State>(commandBuffer);
}

Ref<State> State::temporaryState(const Ref<MTL::CommandBuffer>& commandBuffer, std::size_t bufferSize) {
  Ref<State> s = temporaryState(commandBuffer);
  s->addBuffer(bufferSize);
  return s;
}

Ref<State> State::temporaryState(const Ref<MTL::CommandBuffer>& commandBuffer,
                                 const Ref<MTL::TextureDescriptor>& textureDescriptor) {
  return temporaryState(commandBuffer, StateResourceList::resourceList(textureDescriptor));
}

Ref<State> State::temporaryState(const Ref<MTL::CommandBuffer>& commandBuffer,
                                 const Ref<StateResourceList>& resourceList) {
  Ref<State> s = temporaryState(commandBuffer);
  if (!resourceList) base::raise("State.temporaryState: resourceList is null");
  for (const auto& t : resourceList->textures_)
    s->slots_.push_back({StateResourceType::Texture, 0, t->copy(), nullptr});
  for (std::size_t bytes : resourceList->buffers_) s->addBuffer(bytes);
  return s;
}

std::size_t State::addBuffer(std::size_t bytes) {
  if (bytes == 0) base::raise(described() + ": a buffer of 0 bytes; a resource holds at least one byte");
  slots_.push_back({StateResourceType::Buffer, bytes, nullptr, nullptr});
  return slots_.size() - 1;
}

std::size_t State::addResource(const Ref<MTL::Resource>& resource) {
  Slot slot;
  slot.resource = resource;
  if (auto b = std::dynamic_pointer_cast<MTL::Buffer>(resource)) {
    slot.type = StateResourceType::Buffer;
    slot.bytes = b->length();
  } else if (std::dynamic_pointer_cast<MTL::Texture>(resource)) {
    slot.type = StateResourceType::Texture;
  }
  slots_.push_back(std::move(slot));
  return slots_.size() - 1;
}

Ref<MTL::Resource> State::resource(std::size_t index, bool allocateMemory) {
  if (index >= slots_.size()) return nullptr;
  Slot& slot = slots_[index];
  if (slot.resource || !allocateMemory) return slot.resource;
  if (slot.type == StateResourceType::Buffer) {
    rt::StorageRef storage;
    if (temporary_) {
      storage = rt::Access::state(commandBuffer_)->newTemporary(slot.bytes, false);
      hold(storage);
    } else {
      storage = std::make_shared<rt::Storage>(rt::Access::state(device_), slot.bytes);
    }
    slot.resource = rt::Access::makeBuffer(device_, slot.bytes,
                                           temporary_ ? MTL::StorageMode::Private : MTL::StorageMode::Shared, storage);
  } else {
    slot.resource = device_->newTexture(slot.texture);
  }
  return slot.resource;
}

Ref<MTL::Resource> State::resource() const { return const_cast<State*>(this)->resource(0, true); }

Ref<MTL::Buffer> State::buffer(std::size_t index) const {
  return std::dynamic_pointer_cast<MTL::Buffer>(const_cast<State*>(this)->resource(index, true));
}

void State::setReadCount(std::size_t readCount) {
  if (!temporary_) base::raise(described() + ".setReadCount: only temporary states have a read count");
  if (readCount_ == 0)
    base::raise(described() +
                ".setReadCount: the state is used up (readCount 0); raise the count before the last read");
  readCount_ = readCount;
  if (readCount_ == 0) release();
}

std::size_t State::bufferSize(std::size_t index) {
  return index < slots_.size() && slots_[index].type == StateResourceType::Buffer ? slots_[index].bytes : 0;
}

StateTextureInfo State::textureInfo(std::size_t index) {
  StateTextureInfo info;
  if (resourceType(index) != StateResourceType::Texture) return info;
  const Slot& slot = slots_[index];
  const auto fill = [&](const auto& t) {
    info.width = t.width();
    info.height = t.height();
    info.depth = t.depth();
    info.arrayLength = t.arrayLength();
    info.pixelFormat = t.pixelFormat();
    info.textureType = t.textureType();
    info.usage = t.usage();
  };
  if (slot.texture)
    fill(*slot.texture);
  else
    fill(dynamic_cast<const MTL::Texture&>(*slot.resource));
  return info;
}

StateResourceType State::resourceType(std::size_t index) {
  return index < slots_.size() ? slots_[index].type : StateResourceType::None;
}

void State::synchronize(const Ref<MTL::CommandBuffer>& commandBuffer) {
  if (!commandBuffer) base::raise(described() + ".synchronize: commandBuffer is null");
  for (const Slot& s : slots_)
    if (s.resource) rt::Access::state(commandBuffer)->keepAlive(rt::Access::storage(s.resource));
}

std::size_t State::resourceSize() {
  std::size_t bytes = 0;
  for (const Slot& s : slots_) {
    if (s.type == StateResourceType::Buffer)
      bytes += s.bytes;
    else if (s.texture)
      bytes += s.texture->width() * s.texture->height() * s.texture->arrayLength() *
               MTL::bytesPerTexel(s.texture->pixelFormat());
    else if (s.resource)
      bytes += rt::Access::storage(s.resource)->bytes();
  }
  return bytes;
}

Ref<ImageDescriptor> State::destinationImageDescriptor(const std::vector<Ref<Image>>& sourceImages,
                                                       const std::vector<Ref<State>>& sourceStates,
                                                       const Ref<Kernel>& kernel,
                                                       const Ref<ImageDescriptor>& suggestedDescriptor) {
  return doDestinationImageDescriptor(sourceImages, sourceStates, kernel, suggestedDescriptor);
}

Ref<ImageDescriptor> State::doDestinationImageDescriptor(const std::vector<Ref<Image>>&, const std::vector<Ref<State>>&,
                                                         const Ref<Kernel>&,
                                                         const Ref<ImageDescriptor>& suggestedDescriptor) {
  return suggestedDescriptor;
}

Ref<State> State::doSibling(std::size_t) const { return nullptr; }

std::string State::described() const {
  return label_.empty() ? className() : std::string(className()) + " \"" + label_ + "\"";
}

NNGradientState::NNGradientState(const Ref<MTL::Device>& device, std::shared_ptr<const nn::ForwardRecord> record)
    : State(device), record_(std::move(record)) {}
NNGradientState::NNGradientState(const Ref<MTL::CommandBuffer>& commandBuffer,
                                 std::shared_ptr<const nn::ForwardRecord> record)
    : State(commandBuffer), record_(std::move(record)) {}
NNGradientState::~NNGradientState() = default;

std::size_t stateBatchIncrementReadCount(const StateBatch& batch, std::ptrdiff_t amount) {
  return nn::forEachDistinct(BatchView<State>(batch), [&](const Ref<State>& s, std::size_t) {
    if (s->readCount() != 0)
      s->setReadCount(
          static_cast<std::size_t>(std::max<std::ptrdiff_t>(0, static_cast<std::ptrdiff_t>(s->readCount()) + amount)));
    return true;
  });
}

void stateBatchSynchronize(const StateBatch& batch, const Ref<MTL::CommandBuffer>& commandBuffer) {
  nn::forEachDistinct(BatchView<State>(batch), [&](const Ref<State>& s, std::size_t) {
    s->synchronize(commandBuffer);
    return true;
  });
}

std::size_t stateBatchResourceSize(const StateBatch& batch) {
  std::size_t bytes = 0;
  nn::forEachDistinct(BatchView<State>(batch).all(), [&](const Ref<State>& s, std::size_t) {
    bytes += s->resourceSize();
    return true;
  });
  return bytes;
}

}  // namespace kovar::MPS

namespace kovar::nn {

namespace {

/// Carries nothing but the record, which serves every image of a batch.
class PlainGradientState final : public MPS::NNGradientState {
 public:
  PlainGradientState(const Ref<MTL::Device>& device, std::shared_ptr<const ForwardRecord> record)
      : NNGradientState(device, std::move(record)) {}
  PlainGradientState(const Ref<MTL::CommandBuffer>& commandBuffer, std::shared_ptr<const ForwardRecord> record)
      : NNGradientState(commandBuffer, std::move(record)) {}

 private:
  bool doHasSiblings() const override { return true; }
  Ref<MPS::State> doSibling(std::size_t) const override {
    if (commandBuffer_) return std::make_shared<PlainGradientState>(commandBuffer_, record_);
    return std::make_shared<PlainGradientState>(device_, record_);
  }
};

}  // namespace

Ref<MPS::State> Access::plainGradientState(const StateRequest& request) {
  return plainGradientState(request, std::make_shared<const ForwardRecord>(request.record));
}

Ref<MPS::State> Access::plainGradientState(const StateRequest& request, std::shared_ptr<const ForwardRecord> record) {
  if (request.commandBuffer) return std::make_shared<PlainGradientState>(request.commandBuffer, std::move(record));
  return std::make_shared<PlainGradientState>(request.source->device(), std::move(record));
}

Ref<MPS::State> Access::sibling(const Ref<MPS::State>& first, std::size_t i) {
  Ref<MPS::State> state = first->doSibling(i);
  if (state->readCount() != first->readCount()) state->setReadCount(first->readCount());
  return state;
}

void Access::chargeRead(const MPS::StateBatch& batch) {
  const MPS::BatchView<MPS::State> states(batch);
  const auto looks = states.looks();
  if (std::none_of(looks.begin(), looks.end(), [](const auto& s) { return s && s->readCount() > 0; })) return;
  forEachDistinct(states, [](const Ref<MPS::State>& s, std::size_t) {
    if (s->readCount() > 0) s->setReadCount(s->readCount() - 1);
    return true;
  });
}

}  // namespace kovar::nn
