#pragma once
// The one way in which every encode of an image kernel goes: check, size, allocate, gather, lower, scatter, charge.

#include <string>
#include <vector>

#include "kovar/MPS/NN/CNNKernel.hpp"
#include "nn/core/call.hpp"

namespace kovar::nn {

class Encoder {
 public:
  Encoder(MPS::CNNKernelBase& kernel, const Ref<MTL::CommandBuffer>& commandBuffer, const char* method);

  /// Into given images. Nothing is appended unless everything fits.
  void encode(const std::vector<MPS::ImageBatch>& sources, const MPS::StateBatch& states,
              const MPS::ImageBatch& destinations, bool batch, bool automatic = false);

 private:
  [[noreturn]] void refuse(const std::string& text) const;
  void checkImage(const MPS::Image& image, const std::string& role, MTL::TextureUsage use) const;
  void checkBatch(const MPS::ImageBatch& images, const std::string& role, MTL::TextureUsage use) const;
  void checkStates(const MPS::StateBatch& states, std::size_t count) const;
  void checkAliasing(const std::vector<MPS::ImageBatch>& sources, const MPS::ImageBatch& destinations) const;
  MTL::Region effectiveRegion(const MPS::Image& destination, const MPS::Image& source, bool batch) const;
  Tensor gather(const MPS::ImageBatch& images, std::int64_t firstImage, std::int64_t count, bool batch);
  void addSource(Call& call, std::size_t index, const MPS::ImageBatch& images, const MTL::Region& region, bool batch);

  MPS::CNNKernelBase& kernel_;
  Ref<MTL::CommandBuffer> commandBuffer_;
  const char* method_;
  Recorder list_;
};

/// One tensor over images that lie one after the other in one storage; false when they do not.
bool joined(const MPS::ImageBatch& images, Tensor* tensor);

}  // namespace kovar::nn
