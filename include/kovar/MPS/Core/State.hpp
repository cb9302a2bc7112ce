#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "kovar/MPS/Core/Batch.hpp"
#include "kovar/MPS/Core/Types.hpp"

namespace kovar::rt {
class Storage;
}
namespace kovar::nn {
struct Access;
}
namespace kovar::MTL {
class Buffer;
class CommandBuffer;
class Device;
class Resource;
class TextureDescriptor;
}  // namespace kovar::MTL

namespace kovar::MPS {

class Image;
class ImageDescriptor;
class Kernel;
class State;
using StateBatch = Batch<State>;

/// Sizes of the buffers and textures that a state should have. Textures come first, then buffers, each in the order
/// appended. Implements MPSStateResourceList.
class StateResourceList final : public Object {
 public:
  static Ref<StateResourceList> resourceList() { return std::make_shared<StateResourceList>(); }
  /// One texture, or one buffer, for each argument.
  template <class... D>
  requires(sizeof...(D) > 0 && (std::is_convertible_v<D, Ref<MTL::TextureDescriptor>> &&
                                ...)) static Ref<StateResourceList> resourceList(const D&... textureDescriptors) {
    auto list = resourceList();
    (list->appendTexture(textureDescriptors), ...);
    return list;
  }
  template <class... N>
  requires(sizeof...(N) > 0 &&
           (std::is_integral_v<N> && ...)) static Ref<StateResourceList> resourceList(N... bufferSizes) {
    auto list = resourceList();
    (list->appendBuffer(static_cast<std::size_t>(bufferSizes)), ...);
    return list;
  }
  StateResourceList() = default;
  void appendTexture(const Ref<MTL::TextureDescriptor>& descriptor) { textures_.push_back(descriptor); }
  void appendBuffer(std::size_t size) { buffers_.push_back(size); }

 private:
  std::vector<Ref<MTL::TextureDescriptor>> textures_;
  std::vector<std::size_t> buffers_;
  friend class State;
};

/// What a kernel keeps for another kernel or for the caller: a bag of buffers and textures, made when first used.
/// Temporary states live as temporary images do: one command buffer, a read count that each reading encode lowers.
/// Implements MPSState.
class State : public Object {
 public:
  static Ref<State> temporaryState(const Ref<MTL::CommandBuffer>& commandBuffer, std::size_t bufferSize);
  static Ref<State> temporaryState(const Ref<MTL::CommandBuffer>& commandBuffer,
                                   const Ref<MTL::TextureDescriptor>& textureDescriptor);
  static Ref<State> temporaryState(const Ref<MTL::CommandBuffer>& commandBuffer);
  static Ref<State> temporaryState(const Ref<MTL::CommandBuffer>& commandBuffer,
                                   const Ref<StateResourceList>& resourceList);
  State(const Ref<MTL::Device>& device, std::size_t bufferSize);
  State(const Ref<MTL::Device>& device, const Ref<MTL::TextureDescriptor>& textureDescriptor);
  State(const Ref<MTL::Device>& device, const Ref<StateResourceList>& resourceList);
  /// Over existing resources (null entries are left out).
  explicit State(const Ref<MTL::Resource>& resource);
  explicit State(const std::vector<Ref<MTL::Resource>>& resources);
  ~State() override;

  std::size_t resourceCount() const { return slots_.size(); }
  /// The resource; null when it does not exist yet and allocateMemory is false, or the index is out of range.
  Ref<MTL::Resource> resource(std::size_t index, bool allocateMemory);
  /// The first resource. Deprecated in the documented API.
  Ref<MTL::Resource> resource() const;
  /// 1 for a new temporary state, 0 and unchangeable for others. Setting it once it has reached 0 is an error.
  std::size_t readCount() const { return readCount_; }
  void setReadCount(std::size_t readCount);
  bool isTemporary() const { return temporary_ && !slots_.empty(); }
  std::string label() const { return label_; }
  void setLabel(std::string_view label) { label_ = label; }
  /// Bytes of a buffer resource, 0 for others.
  std::size_t bufferSize(std::size_t index);
  StateTextureInfo textureInfo(std::size_t index);
  StateResourceType resourceType(std::size_t index);
  /// Makes the contents readable by the host once the command buffer has completed.
  void synchronize(const Ref<MTL::CommandBuffer>& commandBuffer);
  /// Bytes of all resources; allocates nothing.
  std::size_t resourceSize();
  /// Lets a state size the result of the kernel that reads it. Returns `suggestedDescriptor` unless a class says
  /// otherwise.
  Ref<ImageDescriptor> destinationImageDescriptor(const std::vector<Ref<Image>>& sourceImages,
                                                  const std::vector<Ref<State>>& sourceStates,
                                                  const Ref<Kernel>& kernel,
                                                  const Ref<ImageDescriptor>& suggestedDescriptor);

 protected:
  struct Slot {
    StateResourceType type = StateResourceType::None;
    std::size_t bytes = 0;
    Ref<MTL::TextureDescriptor> texture;
    Ref<MTL::Resource> resource;
  };
  /// A state without resources; those of a derived class are added by addBuffer and addResource.
  explicit State(const Ref<MTL::Device>& device);
  /// A temporary state without resources yet.
  explicit State(const Ref<MTL::CommandBuffer>& commandBuffer);
  std::size_t addBuffer(std::size_t bytes);
  std::size_t addResource(const Ref<MTL::Resource>& resource);
  Ref<MTL::Buffer> buffer(std::size_t index) const;
  /// Keeps temporary storage in use until the read count reaches 0.
  void hold(const std::shared_ptr<rt::Storage>& storage);
  virtual Ref<ImageDescriptor> doDestinationImageDescriptor(const std::vector<Ref<Image>>& sourceImages,
                                                            const std::vector<Ref<State>>& sourceStates,
                                                            const Ref<Kernel>& kernel,
                                                            const Ref<ImageDescriptor>& suggestedDescriptor);
  /// True where this state is that of a batch's first image and those of the others follow from it.
  virtual bool doHasSiblings() const { return false; }
  /// The state of image `index` (from 1 on) of that batch.
  virtual Ref<State> doSibling(std::size_t index) const;
  virtual const char* className() const { return "State"; }
  void release();
  std::string described() const;

  Ref<MTL::Device> device_;
  Ref<MTL::CommandBuffer> commandBuffer_;  // of a temporary state, until its memory exists
  mutable std::vector<Slot> slots_;
  std::vector<std::shared_ptr<rt::Storage>> held_;
  bool temporary_ = false;
  std::size_t readCount_ = 0;
  std::string label_;
  friend struct nn::Access;
};

/// A state that knows the size of the forward kernel's source. Implements MPSImageSizeEncodingState.
class ImageSizeEncodingState {
 public:
  virtual ~ImageSizeEncodingState() = default;
  virtual std::size_t sourceWidth() const { return sourceWidth_; }
  virtual std::size_t sourceHeight() const { return sourceHeight_; }

 protected:
  std::size_t sourceWidth_ = 0, sourceHeight_ = 0;
};

/// As their image counterparts, for states.
std::size_t stateBatchIncrementReadCount(const StateBatch& batch, std::ptrdiff_t amount);
void stateBatchSynchronize(const StateBatch& batch, const Ref<MTL::CommandBuffer>& commandBuffer);
std::size_t stateBatchResourceSize(const StateBatch& batch);

}  // namespace kovar::MPS
