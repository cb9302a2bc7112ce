#include <cstring>
#include <utility>
#include <vector>

#include "base/edge.hpp"
#include "base/range.hpp"
#include "runtime/access.hpp"

namespace kovar::MTL {

std::size_t lanesOf(PixelFormat format) {
  switch (format) {
    case PixelFormat::R8Unorm:
    case PixelFormat::R16Unorm:
    case PixelFormat::R16Float:
    case PixelFormat::R32Float:
      return 1;
    case PixelFormat::RG8Unorm:
    case PixelFormat::RG16Unorm:
    case PixelFormat::RG16Float:
    case PixelFormat::RG32Float:
      return 2;
    default:
      return 4;
  }
}

std::size_t bytesPerTexel(PixelFormat format) {
  switch (format) {
    case PixelFormat::Invalid:
      return 0;
    case PixelFormat::R8Unorm:
      return 1;
    case PixelFormat::R16Unorm:
    case PixelFormat::R16Float:
    case PixelFormat::RG8Unorm:
      return 2;
    case PixelFormat::RG16Unorm:
    case PixelFormat::RG16Float:
    case PixelFormat::R32Float:
      return 4;
    case PixelFormat::RG32Float:
    case PixelFormat::RGBA16Unorm:
    case PixelFormat::RGBA16Float:
      return 8;
    case PixelFormat::RGBA32Float:
      return 16;
    default:
      return 4;
  }
}

Ref<TextureDescriptor> TextureDescriptor::texture2DDescriptor(PixelFormat format, std::size_t width, std::size_t height,
                                                              bool mipmapped) {
  if (mipmapped) base::raise("TextureDescriptor.texture2DDescriptor: mipmapped textures are not supported; pass false");
  auto d = std::make_shared<TextureDescriptor>();
  d->pixelFormat_ = format;
  d->width_ = width;
  d->height_ = height;
  return d;
}

Ref<TextureDescriptor> TextureDescriptor::copy() const {
  auto d = std::make_shared<TextureDescriptor>();
  d->textureType_ = textureType_;
  d->pixelFormat_ = pixelFormat_;
  d->width_ = width_;
  d->height_ = height_;
  d->depth_ = depth_;
  d->arrayLength_ = arrayLength_;
  d->storageMode_ = storageMode_;
  d->cpuCacheMode_ = cpuCacheMode_;
  d->usage_ = usage_;
  return d;
}

Texture::Texture(Ref<Device> device, Ref<TextureDescriptor> descriptor, std::shared_ptr<rt::Storage> storage,
                 Layout layout)
    : Resource(std::move(device), descriptor->storageMode(), std::move(storage)),
      descriptor_(std::move(descriptor)),
      layout_(layout) {}

void Texture::check(const char* what, const Region& region, std::size_t mipmapLevel, std::size_t slice) const {
  const std::string where = std::string("Texture") + (label_.empty() ? "" : " \"" + label_ + "\"") + "." + what + ": ";
  if (storage_->temporary() || storageMode_ == StorageMode::Private || storageMode_ == StorageMode::Memoryless)
    base::raise(where + "the host cannot reach private or temporary storage; copy it to a shared image first");
  if (mipmapLevel != 0)
    base::raise(where + "mipmapLevel is " + std::to_string(mipmapLevel) + "; there is only level 0");
  if (slice >= arrayLength())
    base::raise(where + "slice is " + std::to_string(slice) + " of " + std::to_string(arrayLength()));
  if (!base::fits(region.origin.x, region.size.width, width()) ||
      !base::fits(region.origin.y, region.size.height, height()))
    base::raise(where + "the region reaches beyond the texture of " + std::to_string(width()) + " x " +
                std::to_string(height()));
}

std::size_t Texture::texel(std::size_t slice, std::size_t x, std::size_t y) const {
  const std::size_t elementBytes = bytesPerTexel(pixelFormat()) / lanesOf(pixelFormat());
  const std::size_t image = layout_.firstImage + slice / layout_.slicesPerImage;
  const std::size_t lane = layout_.firstLane + 4 * (slice % layout_.slicesPerImage);
  const std::size_t pixel = (image * height() + y) * width() + x;
  return (pixel * layout_.pixelLanes + lane) * elementBytes;
}

void Texture::getBytes(void* pixelBytes, std::size_t bytesPerRow, std::size_t, Region region, std::size_t mipmapLevel,
                       std::size_t slice) {
  check("getBytes", region, mipmapLevel, slice);
  if (region.size.width == 0) return;
  const std::size_t texelBytes = bytesPerTexel(pixelFormat());
  std::vector<std::byte> row;
  for (std::size_t y = 0; y < region.size.height; ++y) {
    const std::size_t first = texel(slice, region.origin.x, region.origin.y + y),
                      last = texel(slice, region.origin.x + region.size.width - 1, region.origin.y + y);
    row.resize(last - first + texelBytes);
    base::unwrap(storage_->read(first, row.data(), row.size()));
    for (std::size_t x = 0; x < region.size.width; ++x)
      std::memcpy(static_cast<std::byte*>(pixelBytes) + y * bytesPerRow + x * texelBytes,
                  row.data() + texel(slice, region.origin.x + x, region.origin.y + y) - first, texelBytes);
  }
}

void Texture::getBytes(void* pixelBytes, std::size_t bytesPerRow, Region region, std::size_t mipmapLevel) {
  getBytes(pixelBytes, bytesPerRow, 0, region, mipmapLevel, 0);
}

void Texture::replaceRegion(Region region, std::size_t mipmapLevel, std::size_t slice, const void* pixelBytes,
                            std::size_t bytesPerRow, std::size_t) {
  check("replaceRegion", region, mipmapLevel, slice);
  if (region.size.width == 0) return;
  const std::size_t texelBytes = bytesPerTexel(pixelFormat());
  std::vector<std::byte> row;
  for (std::size_t y = 0; y < region.size.height; ++y) {
    const std::size_t first = texel(slice, region.origin.x, region.origin.y + y),
                      last = texel(slice, region.origin.x + region.size.width - 1, region.origin.y + y);
    row.resize(last - first + texelBytes);
    // Other slices of the pixels lie between.
    if (layout_.pixelLanes * bytesPerTexel(pixelFormat()) / lanesOf(pixelFormat()) != texelBytes)
      base::unwrap(storage_->read(first, row.data(), row.size()));
    for (std::size_t x = 0; x < region.size.width; ++x)
      std::memcpy(row.data() + texel(slice, region.origin.x + x, region.origin.y + y) - first,
                  static_cast<const std::byte*>(pixelBytes) + y * bytesPerRow + x * texelBytes, texelBytes);
    base::unwrap(storage_->write(first, row.data(), row.size()));
  }
}

void Texture::replaceRegion(Region region, std::size_t mipmapLevel, const void* pixelBytes, std::size_t bytesPerRow) {
  replaceRegion(region, mipmapLevel, 0, pixelBytes, bytesPerRow, 0);
}

}  // namespace kovar::MTL
