#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "kovar/MPS/NN/CNNKernel.hpp"

namespace kovar::MPS {

/// Bilinear resize to a fixed size, channel by channel. Destination pixel x reads at x * width / resizeWidth, with
/// alignCorners at x * (width - 1) / (resizeWidth - 1), in pixels of the source from offset on; reads beyond the border
/// repeat it, whatever the edge mode. A result made here has the size given. Has no gradient. Implements
/// MPSNNResizeBilinear.
///
/// Errors: a size of 0.
class NNResizeBilinear final : public CNNKernel {
 public:
  NNResizeBilinear(const Ref<MTL::Device>& device, std::size_t resizeWidth, std::size_t resizeHeight,
                   bool alignCorners);
  /// As an archive holds it.
  NNResizeBilinear(Archive& coder, const Ref<MTL::Device>& device) : NNResizeBilinear(device, 1, 1, false) {
    decode(coder);
  }
  std::size_t resizeWidth() const { return width_; }
  std::size_t resizeHeight() const { return height_; }
  bool alignCorners() const { return alignCorners_; }

 protected:
  void doEncode(nn::Call& call) override;
  Ref<ImageDescriptor> doDestinationImageDescriptor(const std::vector<Ref<Image>>& sourceImages,
                                                    const std::vector<Ref<State>>& sourceStates) override;
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  void doCode(Archive& coder) override;
  const char* className() const override { return "NNResizeBilinear"; }

 private:
  std::size_t width_, height_;
  bool alignCorners_;
  friend class Kernel;
};

/// Bilinear resize of regions of an image. A region is a box in units of the image: origin 0 is the first pixel, origin
/// + size = 1 the last. Result pixel x reads at origin.x * (width - 1) + x * size.width * (width - 1) / (resizeWidth -
/// 1), a single result pixel at the middle of the box; pixels that fall outside the image are 0. The result holds one
/// image for each region, for each source image in turn, so a destination of the caller's holds numberOfRegions times
/// as many images. Has no gradient. Implements MPSNNCropAndResizeBilinear.
///
/// Errors: no regions, a size of 0, an offset, a destination region or image count that does not fit, a batch.
class NNCropAndResizeBilinear final : public CNNKernel {
 public:
  /// `regions` points at the first of numberOfRegions regions that follow one another (Ref<Region>(vector,
  /// vector->data()) or one object); they are copied.
  NNCropAndResizeBilinear(const Ref<MTL::Device>& device, std::size_t resizeWidth, std::size_t resizeHeight,
                          std::size_t numberOfRegions, const Ref<Region>& regions);
  NNCropAndResizeBilinear(const Ref<MTL::Device>& device, std::size_t resizeWidth, std::size_t resizeHeight,
                          const std::vector<Region>& regions);
  /// As an archive holds it.
  NNCropAndResizeBilinear(Archive& coder, const Ref<MTL::Device>& device) : CNNKernel(device), width_(1), height_(1) {
    decode(coder);
  }
  std::size_t resizeWidth() const { return width_; }
  std::size_t resizeHeight() const { return height_; }
  std::size_t numberOfRegions() const { return regions_->size(); }
  /// The first of numberOfRegions() regions, which follow one another.
  Ref<Region> regions() const { return Ref<Region>(regions_, regions_->data()); }

 protected:
  void doEncode(nn::Call& call) override;
  std::size_t doImagesPerSource() const override { return regions_->size(); }
  Ref<ImageDescriptor> doDestinationImageDescriptor(const std::vector<Ref<Image>>& sourceImages,
                                                    const std::vector<Ref<State>>& sourceStates) override;
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  void doCode(Archive& coder) override;
  const char* className() const override { return "NNCropAndResizeBilinear"; }

 private:
  std::size_t width_, height_;
  std::shared_ptr<std::vector<Region>> regions_;
  std::shared_ptr<const nn::KeptFloats> coordinatesOnDevice_;
  friend class Kernel;
};

}  // namespace kovar::MPS
