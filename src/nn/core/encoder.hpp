#pragma once
// The one way in which every encode of an image kernel goes: check, size, allocate, gather, lower, scatter, charge.

#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kovar/MPS/NN/CNNKernel.hpp"
#include "nn/core/access.hpp"
#include "nn/core/call.hpp"

namespace kovar::nn {

class Encoder {
 public:
  Encoder(MPS::CNNKernelBase& kernel, const Ref<MTL::CommandBuffer>& commandBuffer, const char* method);

  /// Into given images. Nothing is appended unless everything fits.
  void encode(std::span<const Images> sources, const MPS::StateBatch& states, Images destinations, bool batch,
              bool automatic = false);

  /// Of whole images, by a kernel that writes no image: its doEncode gets a call without destination.
  void encodeReading(std::span<const Images> sources);
  void encodeReading(std::initializer_list<Images> sources) {
    encodeReading(std::span(sources.begin(), sources.size()));
  }

 private:
  /// What an image is to the kernel; the words are only put together for a message.
  struct Role {
    const std::string& name;
    std::size_t index;
    bool ofSeveral;
    std::string text() const { return ofSeveral ? name + "[" + std::to_string(index) + "]" : name; }
  };
  void checkSources(std::span<const Images> sources, std::size_t count, const char* of) const;
  [[noreturn]] void refuse(const std::string& text) const;
  /// `knownStorage`: one that was found to be this command buffer's before.
  void checkImage(const MPS::Image& image, const Role& role, MTL::TextureUsage use,
                  const rt::Storage* knownStorage) const;
  void checkBatch(Images images, const std::string& role, MTL::TextureUsage use) const;
  void checkStates(const MPS::StateBatch& states, std::size_t count) const;
  void checkAliasing(std::span<const Images> sources, Images destinations) const;
  MTL::Region effectiveRegion(const MPS::Image& destination, const MPS::Image& source, bool batch) const;
  Tensor gather(Images images, std::int64_t firstImage, std::int64_t count, bool batch);
  void addSource(Call& call, std::size_t index, Images images, const MTL::Region& region, bool batch);

  MPS::CNNKernelBase& kernel_;
  const Ref<MTL::CommandBuffer>& commandBuffer_;
  const char* method_;
  Recorder list_;
};

/// Checks that a state of an encode can be read: of the kernel's device, and not used up. refuse(text) throws.
template <class Refuse>
void checkReadable(const MPS::State& state, const MPS::Kernel& kernel, const Refuse& refuse) {
  if (Access::device(state) != kernel.device())
    refuse("the state " + Access::described(state) + " belongs to another device");
  if (state.isTemporary() && state.readCount() == 0)
    refuse("the state " + Access::described(state) +
           " is used up: its readCount is 0; raise readCount before the encode that read it last");
}

/// A batch as one tensor: the image itself, or images that lie at even distances in one storage. Nothing when they do
/// not; they have to be gathered or scattered then. This is the only place that decides it.
std::optional<Tensor> joined(Images images);

}  // namespace kovar::nn
