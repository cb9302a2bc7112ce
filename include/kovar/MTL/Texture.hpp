#pragma once

#include <cstddef>

#include "kovar/MTL/Resource.hpp"

namespace kovar::MTL {

/// Shape and format of a texture. Plain properties; defaults as documented for MTLTextureDescriptor.
class TextureDescriptor final : public Object {
 public:
  static Ref<TextureDescriptor> texture2DDescriptor(PixelFormat format, std::size_t width, std::size_t height,
                                                    bool mipmapped);
  Ref<TextureDescriptor> copy() const;

  TextureType textureType() const { return textureType_; }
  void setTextureType(TextureType v) { textureType_ = v; }
  PixelFormat pixelFormat() const { return pixelFormat_; }
  void setPixelFormat(PixelFormat v) { pixelFormat_ = v; }
  std::size_t width() const { return width_; }
  void setWidth(std::size_t v) { width_ = v; }
  std::size_t height() const { return height_; }
  void setHeight(std::size_t v) { height_ = v; }
  std::size_t depth() const { return depth_; }
  void setDepth(std::size_t v) { depth_ = v; }
  std::size_t arrayLength() const { return arrayLength_; }
  void setArrayLength(std::size_t v) { arrayLength_ = v; }
  StorageMode storageMode() const { return storageMode_; }
  void setStorageMode(StorageMode v) { storageMode_ = v; }
  CPUCacheMode cpuCacheMode() const { return cpuCacheMode_; }
  void setCpuCacheMode(CPUCacheMode v) { cpuCacheMode_ = v; }
  TextureUsage usage() const { return usage_; }
  void setUsage(TextureUsage v) { usage_ = v; }

 private:
  TextureType textureType_ = TextureType::Type2D;
  PixelFormat pixelFormat_ = PixelFormat::RGBA8Unorm;
  std::size_t width_ = 1, height_ = 1, depth_ = 1, arrayLength_ = 1;
  StorageMode storageMode_ = StorageMode::Shared;
  CPUCacheMode cpuCacheMode_ = CPUCacheMode::DefaultCache;
  TextureUsage usage_ = TextureUsage::ShaderRead;
};

/// Pixels seen as slices of up to 4 channels, the documented storage of images: channel c of an image lies in lane c
/// mod 4 of slice c div 4. The bytes themselves are kept channels-last; this class translates. Implements MTLTexture.
class Texture final : public Resource {
 public:
  TextureType textureType() const { return descriptor_->textureType(); }
  PixelFormat pixelFormat() const { return descriptor_->pixelFormat(); }
  std::size_t width() const { return descriptor_->width(); }
  std::size_t height() const { return descriptor_->height(); }
  std::size_t depth() const { return descriptor_->depth(); }
  std::size_t arrayLength() const { return descriptor_->arrayLength(); }
  TextureUsage usage() const { return descriptor_->usage(); }

  /// Copies the region of one slice to memory: rows of `bytesPerRow` bytes, a pixel's lanes together. bytesPerImage and
  /// mipmapLevel (0) are there for the documented form. Throws Error for a region outside, a private texture.
  void getBytes(void* pixelBytes, std::size_t bytesPerRow, std::size_t bytesPerImage, Region region,
                std::size_t mipmapLevel, std::size_t slice);
  void getBytes(void* pixelBytes, std::size_t bytesPerRow, Region region, std::size_t mipmapLevel);
  /// Copies memory into the region of one slice. The counterpart of getBytes.
  void replaceRegion(Region region, std::size_t mipmapLevel, std::size_t slice, const void* pixelBytes,
                     std::size_t bytesPerRow, std::size_t bytesPerImage);
  void replaceRegion(Region region, std::size_t mipmapLevel, const void* pixelBytes, std::size_t bytesPerRow);

 private:
  /// Where the slices lie in the storage, in lanes (elements of one channel).
  struct Layout {
    std::size_t pixelLanes = 4;  ///< from one pixel to the next
    std::size_t firstImage = 0;  ///< image of the storage that holds slice 0
    std::size_t firstLane = 0;   ///< lane of a pixel where slice 0 of an image begins
    std::size_t slicesPerImage = 1;
  };
  Texture(Ref<Device> device, Ref<TextureDescriptor> descriptor, std::shared_ptr<rt::Storage> storage, Layout layout);
  std::size_t texel(std::size_t slice, std::size_t x, std::size_t y) const;
  void check(const char* what, const Region& region, std::size_t mipmapLevel, std::size_t slice) const;

  Ref<TextureDescriptor> descriptor_;
  Layout layout_;
  friend struct rt::Access;
};

/// Bytes of one texel, 0 for Invalid.
std::size_t bytesPerTexel(PixelFormat format);
/// Lanes of one texel: 1, 2 or 4.
std::size_t lanesOf(PixelFormat format);

}  // namespace kovar::MTL
