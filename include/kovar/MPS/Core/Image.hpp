#pragma once

#include <functional>
#include <string>
#include <string_view>
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
class CommandBuffer;
class Device;
class Texture;
class TextureDescriptor;
}  // namespace kovar::MTL

namespace kovar::MPS {

class Image;
class Kernel;
using ImageBatch = Batch<Image>;

/// Shape, format and use of an image. Implements MPSImageDescriptor.
class ImageDescriptor final : public Object {
 public:
  std::size_t width() const { return width_; }
  void setWidth(std::size_t width) { width_ = width; }
  std::size_t height() const { return height_; }
  void setHeight(std::size_t height) { height_ = height; }
  std::size_t featureChannels() const { return featureChannels_; }
  void setFeatureChannels(std::size_t featureChannels) { featureChannels_ = featureChannels; }
  std::size_t numberOfImages() const { return numberOfImages_; }
  void setNumberOfImages(std::size_t numberOfImages) { numberOfImages_ = numberOfImages; }
  /// The texel format that channelFormat and featureChannels give: one lane for 1 channel, two for 2, else four.
  MTL::PixelFormat pixelFormat() const;
  /// None means "let the library pick" where a padding policy returns the descriptor: float16.
  ImageFeatureChannelFormat channelFormat() const { return channelFormat_; }
  void setChannelFormat(ImageFeatureChannelFormat channelFormat) { channelFormat_ = channelFormat; }
  MTL::CPUCacheMode cpuCacheMode() const { return cpuCacheMode_; }
  void setCpuCacheMode(MTL::CPUCacheMode cpuCacheMode) { cpuCacheMode_ = cpuCacheMode; }
  MTL::StorageMode storageMode() const { return storageMode_; }
  void setStorageMode(MTL::StorageMode storageMode) { storageMode_ = storageMode; }
  MTL::TextureUsage usage() const { return usage_; }
  void setUsage(MTL::TextureUsage usage) { usage_ = usage; }

  static Ref<ImageDescriptor> imageDescriptor(ImageFeatureChannelFormat channelFormat, std::size_t width,
                                              std::size_t height, std::size_t featureChannels);
  static Ref<ImageDescriptor> imageDescriptor(ImageFeatureChannelFormat channelFormat, std::size_t width,
                                              std::size_t height, std::size_t featureChannels,
                                              std::size_t numberOfImages, MTL::TextureUsage usage);
  Ref<ImageDescriptor> copy();

 private:
  std::size_t width_ = 1, height_ = 1, featureChannels_ = 1, numberOfImages_ = 1;
  ImageFeatureChannelFormat channelFormat_ = ImageFeatureChannelFormat::None;
  MTL::CPUCacheMode cpuCacheMode_ = MTL::CPUCacheMode::DefaultCache;
  MTL::StorageMode storageMode_ = MTL::StorageMode::Shared;
  MTL::TextureUsage usage_ = MTL::TextureUsage::ShaderRead | MTL::TextureUsage::ShaderWrite;
};

/// Makes the images that kernels and graphs need for their results. Users may derive their own. Implements
/// MPSImageAllocator.
class ImageAllocator {
 public:
  virtual ~ImageAllocator() = default;
  virtual Ref<Image> image(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<ImageDescriptor>& imageDescriptor,
                           const Ref<Kernel>& kernel) = 0;
  /// `count` images of one shape; by default image() is called for each.
  virtual ImageBatch imageBatch(const Ref<MTL::CommandBuffer>& commandBuffer,
                                const Ref<ImageDescriptor>& imageDescriptor, const Ref<Kernel>& kernel,
                                std::size_t count);
};

/// One or more pictures of `width` x `height` pixels with any number of feature channels. Kept channels-last, the
/// channels of a pixel together, rounded up to a multiple of 4 with lanes that hold 0; texture() shows the documented
/// slices of 4. Storage is made when first used and reads as 0 until written. Implements MPSImage.
///
/// Errors (kovar::Error): a zero extent, a format of None, a region or channel range outside, host access to private or
/// temporary storage.
class Image : public Object {
 public:
  /// Makes ordinary images. The same object each time.
  static Ref<ImageAllocator> defaultAllocator();

  Image(const Ref<MTL::Device>& device, const Ref<ImageDescriptor>& imageDescriptor);
  /// A view of some slices (of 4 channels) of `parentImage`; the number of images follows from the range.
  Image(const Ref<Image>& parentImage, Range sliceRange, std::size_t featureChannels);
  /// Over the memory of a texture: a 2D texture for up to 4 channels, else an array.
  Image(const Ref<MTL::Texture>& texture, std::size_t featureChannels);
  ~Image() override;

  Ref<MTL::Device> device() const { return device_; }
  std::size_t width() const { return descriptor_->width(); }
  std::size_t height() const { return descriptor_->height(); }
  std::size_t featureChannels() const { return descriptor_->featureChannels(); }
  std::size_t numberOfImages() const { return descriptor_->numberOfImages(); }
  MTL::TextureType textureType() const;
  MTL::PixelFormat pixelFormat() const { return descriptor_->pixelFormat(); }
  /// Significant bits of a channel: 8, 16, 11 (float16), 24 (float32).
  std::size_t precision() const;
  MTL::TextureUsage usage() const { return descriptor_->usage(); }
  ImageFeatureChannelFormat featureChannelFormat() const { return descriptor_->channelFormat(); }
  /// Bytes from one pixel to the next within a slice.
  std::size_t pixelSize() const;
  /// The slices of 4 channels as a texture over the same memory. The same object each time.
  Ref<MTL::Texture> texture() const;
  std::string label() const { return label_; }
  void setLabel(std::string_view label) { label_ = label; }
  /// The image this one is a view of (which may be a view itself), or null.
  Ref<Image> parent() const { return parent_; }

  /// A view of each image on its own.
  ImageBatch batchRepresentation(Range subRange);
  ImageBatch batchRepresentation();
  /// A view of some channels; location and length are multiples of 4, a range too long is cut.
  Ref<Image> subImage(Range featureChannelRange);
  /// Bytes of storage; 0 for views and for images over a texture. Allocates nothing.
  std::size_t resourceSize();
  PurgeableState setPurgeableState(PurgeableState state);

  /// Copies pixels to or from memory without conversion: elements have the image's own type. `region.origin` and size
  /// choose pixels, `region.size.depth` how many images from imageIndex + region.origin.z on.
  /// HeightxWidthxFeatureChannels puts the channels of a pixel together, FeatureChannelsxHeightxWidth one plane after
  /// the other. bytesPerRow goes from one row of pixels (of one plane) to the next; bytesPerImage from one image to the
  /// next (default: tightly packed rows of bytesPerRow). The channel offset is a multiple of 4; so is the count unless
  /// the offset is 0.
  void readBytes(void* dataBytes, DataLayout dataLayout, std::size_t bytesPerRow, MTL::Region region,
                 ImageReadWriteParams featureChannelInfo, std::size_t imageIndex);
  void writeBytes(const void* dataBytes, DataLayout dataLayout, std::size_t bytesPerRow, MTL::Region region,
                  ImageReadWriteParams featureChannelInfo, std::size_t imageIndex);
  /// bytesPerColumn: from one pixel of a row to the next.
  void writeBytes(const void* dataBytes, DataLayout dataLayout, std::size_t bytesPerColumn, std::size_t bytesPerRow,
                  std::size_t bytesPerImage, MTL::Region region, ImageReadWriteParams featureChannelInfo,
                  std::size_t imageIndex);
  void readBytes(void* dataBytes, DataLayout dataLayout, std::size_t bytesPerRow, std::size_t bytesPerImage,
                 MTL::Region region, ImageReadWriteParams featureChannelInfo, std::size_t imageIndex);
  void writeBytes(const void* dataBytes, DataLayout dataLayout, std::size_t bytesPerRow, std::size_t bytesPerImage,
                  MTL::Region region, ImageReadWriteParams featureChannelInfo, std::size_t imageIndex);
  /// One whole image, all channels, tightly packed.
  void readBytes(void* dataBytes, DataLayout dataLayout, std::size_t imageIndex);
  void writeBytes(const void* dataBytes, DataLayout dataLayout, std::size_t imageIndex);

  /// Makes what the command buffer's work wrote readable by the host once it has completed.
  void synchronize(const Ref<MTL::CommandBuffer>& commandBuffer);

 protected:
  /// Where the image lies in its storage.
  struct Placement {
    std::size_t pixelLanes = 4;  ///< channels from one pixel to the next
    std::size_t firstImage = 0;
    std::size_t firstLane = 0;
  };
  Image(Ref<MTL::Device> device, Ref<ImageDescriptor> descriptor, std::shared_ptr<rt::Storage> storage,
        Placement placement, Ref<Image> parent);
  /// Name for messages: class and label.
  std::string described() const;

  Ref<MTL::Device> device_;
  Ref<ImageDescriptor> descriptor_;
  std::shared_ptr<rt::Storage> storage_;
  Placement placement_;
  Ref<Image> parent_;
  bool overTexture_ = false;
  bool temporary_ = false;  // a TemporaryImage
  std::string label_;
  mutable Ref<MTL::Texture> texture_;
  friend struct nn::Access;
};

/// An image that lives only while one command buffer runs, in memory shared with others that live at other times. Each
/// encode that reads it lowers its read count; at 0 its storage is free for others and it must not be used any more.
/// The host cannot reach it. Implements MPSTemporaryImage.
class TemporaryImage final : public Image {
 public:
  static Ref<ImageAllocator> defaultAllocator();
  static Ref<TemporaryImage> temporaryImage(const Ref<MTL::CommandBuffer>& commandBuffer,
                                            const Ref<ImageDescriptor>& imageDescriptor);
  static Ref<TemporaryImage> temporaryImage(const Ref<MTL::CommandBuffer>& commandBuffer,
                                            const Ref<MTL::TextureDescriptor>& textureDescriptor);
  static Ref<TemporaryImage> temporaryImage(const Ref<MTL::CommandBuffer>& commandBuffer,
                                            const Ref<MTL::TextureDescriptor>& textureDescriptor,
                                            std::size_t featureChannels);
  /// A hint; memory is planned when the command buffer is committed, so nothing needs to be done.
  static void prefetchStorage(const Ref<MTL::CommandBuffer>& commandBuffer,
                              const std::vector<Ref<ImageDescriptor>>& imageDescriptorList);
  ~TemporaryImage() override;

  /// Reads left; 1 at first. Setting it once it has reached 0 is an error.
  std::size_t readCount() const { return readCount_; }
  void setReadCount(std::size_t readCount);

 private:
  TemporaryImage(Ref<MTL::Device> device, Ref<ImageDescriptor> descriptor, std::shared_ptr<rt::Storage> storage,
                 Placement placement, Ref<Image> parent);
  std::size_t readCount_ = 1;
  friend struct nn::Access;
};

/// Adds `amount` to the read count of each distinct temporary image whose count is not 0. Returns how many distinct
/// images the batch has.
std::size_t imageBatchIncrementReadCount(const ImageBatch& batch, std::ptrdiff_t amount);
/// Image::synchronize for each distinct image.
void imageBatchSynchronize(const ImageBatch& batch, const Ref<MTL::CommandBuffer>& commandBuffer);
/// Sum of resourceSize over the distinct images.
std::size_t imageBatchResourceSize(const ImageBatch& batch);
/// Calls iteratorBlock(image, first index) once per distinct image until it returns more than the least ptrdiff_t;
/// gives back the last value it returned.
std::ptrdiff_t imageBatchIterate(
    const ImageBatch& batch,
    const std::function<std::ptrdiff_t(const Ref<Image>& image, std::size_t index)>& iteratorBlock);

}  // namespace kovar::MPS
