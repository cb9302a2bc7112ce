// readBytes and writeBytes: one walk over pixels serves both directions and both layouts.

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "base/edge.hpp"
#include "base/range.hpp"
#include "kovar/MPS/Core/Image.hpp"
#include "nn/core/access.hpp"

namespace kovar::MPS {
namespace {

/// Strides of the caller's buffer, in bytes.
struct HostLayout {
  std::size_t image = 0, plane = 0, row = 0, column = 0, channel = 0;
};

struct Transfer {
  const Image& image;
  const char* what;
  DataLayout layout;
  MTL::Region region;
  ImageReadWriteParams channels;
  std::size_t imageIndex;
  std::size_t firstImage = imageIndex + region.origin.z;
};

[[noreturn]] void refuse(const Transfer& t, const std::string& text) {
  base::raise(nn::Access::described(t.image) + "." + t.what + ": " + text);
}

void check(const Transfer& t, const void* bytes) {
  const Image& image = t.image;
  const auto& storage = nn::Access::storage(image);
  const std::size_t f0 = t.channels.featureChannelOffset, count = t.channels.numberOfFeatureChannelsToReadWrite;
  if (!bytes) refuse(t, "dataBytes is null");
  if (storage->madeTemporary())
    refuse(t, "the host cannot reach a temporary image; encode into an Image of your own and read that");
  if (!base::fits(t.region.origin.x, t.region.size.width, image.width()) ||
      !base::fits(t.region.origin.y, t.region.size.height, image.height()))
    refuse(t, "region (" + std::to_string(t.region.origin.x) + ", " + std::to_string(t.region.origin.y) + ") + " +
                  std::to_string(t.region.size.width) + " x " + std::to_string(t.region.size.height) +
                  " reaches beyond the image of " + std::to_string(image.width()) + " x " +
                  std::to_string(image.height()));
  if (!base::fits(t.imageIndex, t.region.origin.z, image.numberOfImages()) ||
      !base::fits(t.firstImage, t.region.size.depth, image.numberOfImages()))
    refuse(t, "images " + std::to_string(t.firstImage) + " + " + std::to_string(t.region.size.depth) + " of " +
                  std::to_string(image.numberOfImages()) + "; region.size.depth counts images");
  const std::size_t rounded = (image.featureChannels() + 3) / 4 * 4;
  if (count == 0 || f0 % 4 != 0 || (f0 != 0 && count % 4 != 0 && f0 + count != image.featureChannels()) ||
      !base::fits(f0, count, f0 == 0 ? rounded : image.featureChannels()))
    refuse(t, "channels " + std::to_string(f0) + " + " + std::to_string(count) + " of " +
                  std::to_string(image.featureChannels()) +
                  "; the offset must be a multiple of 4, the count too unless the offset is 0, both within the image");
}

HostLayout hostLayout(const Transfer& t, std::size_t elementBytes, std::size_t bytesPerColumn, std::size_t bytesPerRow,
                      std::size_t bytesPerImage) {
  const std::size_t count = t.channels.numberOfFeatureChannelsToReadWrite;
  HostLayout l;
  l.row = bytesPerRow;
  if (t.layout == DataLayout::HeightxWidthxFeatureChannels) {
    l.channel = elementBytes;
    l.column = bytesPerColumn ? bytesPerColumn : count * elementBytes;
    l.image = bytesPerImage ? bytesPerImage : bytesPerRow * t.region.size.height;
  } else {
    l.channel = bytesPerRow * t.region.size.height;
    l.column = bytesPerColumn ? bytesPerColumn : elementBytes;
    l.image = bytesPerImage ? bytesPerImage : l.channel * count;
  }
  const std::size_t row =
      (t.region.size.width - 1) * l.column + (l.channel == elementBytes ? count * elementBytes : elementBytes);
  if (t.region.size.width > 0 && t.region.size.height > 1 && bytesPerRow < row)
    refuse(t, "bytesPerRow is " + std::to_string(bytesPerRow) + ", a row of " + std::to_string(t.region.size.width) +
                  " pixels needs " + std::to_string(row));
  return l;
}

/// The image's bytes as the host sees them: where they lie, or a copy of the images of the transfer.
class Staging {
 public:
  Staging(const Transfer& t, bool reads) : storage_(*nn::Access::storage(t.image)) {
    if (storage_.device()->backend->caps().hostMemory) {
      base_ = base::unwrap(storage_.data());
      return;
    }
    const prim::View view = nn::Access::view(t.image);
    const std::size_t element = prim::sizeOf(view.dtype);
    prim::View part = view;
    if (t.region.size.depth > 0)
      part = view.slice(0, static_cast<std::int64_t>(t.firstImage), static_cast<std::int64_t>(t.region.size.depth));
    offset_ = static_cast<std::size_t>(part.offset) * element;
    // A transfer may name the lanes behind the last pixel's channels.
    const std::size_t channels = static_cast<std::size_t>(view.dim(3)),
                      lanes = std::max(channels, t.channels.numberOfFeatureChannelsToReadWrite) - channels;
    bytes_ = (static_cast<std::size_t>(part.end()) + lanes) * element - offset_;
    block_ = base::unwrap(storage_.device()->staging.take(bytes_));
    if (reads)
      base::unwrap(storage_.read(offset_, block_->data(), bytes_));
    else if (view.stride(2) > view.dim(3))
      std::memset(block_->data(), 0, bytes_);  // what nobody writes: the lanes behind the channels
    base_ = block_->data() - offset_;
  }
  ~Staging() {
    if (block_) storage_.device()->staging.giveBack(std::move(block_));
  }
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;
  /// Such that base() + the offset in the storage is where a byte lies.
  std::byte* base() const { return base_; }
  void bringBack() {
    if (block_) base::unwrap(storage_.write(offset_, block_->data(), bytes_));
  }

 private:
  rt::Storage& storage_;
  std::byte* base_ = nullptr;
  std::size_t offset_ = 0, bytes_ = 0;
  prim::MemoryRef block_;
};

/// Copies `count` runs of kBytes each; the steps go from one run to the next.
template <std::size_t kBytes>
void copyFixed(std::byte* to, std::size_t toStep, const std::byte* from, std::size_t fromStep, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) std::memcpy(to + i * toStep, from + i * fromStep, kBytes);
}

void copyRuns(std::byte* to, std::size_t toStep, const std::byte* from, std::size_t fromStep, std::size_t count,
              std::size_t bytes) {
  if (toStep == bytes && fromStep == bytes) {
    std::memcpy(to, from, count * bytes);
    return;
  }
  switch (bytes) {
    case 1:
      return copyFixed<1>(to, toStep, from, fromStep, count);
    case 2:
      return copyFixed<2>(to, toStep, from, fromStep, count);
    case 4:
      return copyFixed<4>(to, toStep, from, fromStep, count);
    default:
      for (std::size_t i = 0; i < count; ++i) std::memcpy(to + i * toStep, from + i * fromStep, bytes);
  }
}

/// Calls move(host offset, host step, device, device step, count, bytes) for rows of runs of bytes that lie together on
/// both sides.
template <class Move>
void walk(const Transfer& t, const HostLayout& host, std::byte* base, Move&& move) {
  const prim::View view = nn::Access::view(t.image);
  const std::size_t element = prim::sizeOf(view.dtype);
  const std::size_t pixel = static_cast<std::size_t>(view.stride(2)) * element;
  const std::size_t f0 = t.channels.featureChannelOffset, count = t.channels.numberOfFeatureChannelsToReadWrite;
  const bool together = host.channel == element;
  for (std::size_t n = 0; n < t.region.size.depth; ++n)
    for (std::size_t y = 0; y < t.region.size.height; ++y) {
      const std::int64_t at = view.offset + static_cast<std::int64_t>(t.firstImage + n) * view.stride(0) +
                              static_cast<std::int64_t>(t.region.origin.y + y) * view.stride(1) +
                              static_cast<std::int64_t>(t.region.origin.x) * view.stride(2) +
                              static_cast<std::int64_t>(f0);
      std::byte* device = base + static_cast<std::size_t>(at) * element;
      const std::size_t row = n * host.image + y * host.row;
      for (std::size_t f = 0; f < (together ? 1 : count); ++f)
        move(row + f * host.channel, host.column, device + f * element, pixel, t.region.size.width,
             together ? count * element : element);
    }
}

}  // namespace

void Image::readBytes(void* dataBytes, DataLayout dataLayout, std::size_t bytesPerRow, std::size_t bytesPerImage,
                      MTL::Region region, ImageReadWriteParams featureChannelInfo, std::size_t imageIndex) {
  const Transfer t{*this, "readBytes", dataLayout, region, featureChannelInfo, imageIndex};
  check(t, dataBytes);
  const HostLayout host =
      hostLayout(t, prim::sizeOf(nn::dtypeOf(featureChannelFormat())), 0, bytesPerRow, bytesPerImage);
  const Staging staging(t, true);
  walk(t, host, staging.base(),
       [&](std::size_t at, std::size_t hostStep, const std::byte* device, std::size_t deviceStep, std::size_t count,
           std::size_t bytes) {
         copyRuns(static_cast<std::byte*>(dataBytes) + at, hostStep, device, deviceStep, count, bytes);
       });
}

void Image::writeBytes(const void* dataBytes, DataLayout dataLayout, std::size_t bytesPerColumn,
                       std::size_t bytesPerRow, std::size_t bytesPerImage, MTL::Region region,
                       ImageReadWriteParams featureChannelInfo, std::size_t imageIndex) {
  const Transfer t{*this, "writeBytes", dataLayout, region, featureChannelInfo, imageIndex};
  check(t, dataBytes);
  const HostLayout host =
      hostLayout(t, prim::sizeOf(nn::dtypeOf(featureChannelFormat())), bytesPerColumn, bytesPerRow, bytesPerImage);
  // Lanes beyond the image's channels stay 0, whatever the caller's buffer holds there.
  Transfer kept = t;
  kept.channels.numberOfFeatureChannelsToReadWrite =
      std::min(featureChannelInfo.numberOfFeatureChannelsToReadWrite,
               featureChannels() - featureChannelInfo.featureChannelOffset);
  // What the transfer leaves alone must come back as it was; lanes beyond the channels are 0 anyway.
  const bool whole = region.size.width == width() && region.size.height == height() &&
                     kept.channels.featureChannelOffset == 0 &&
                     kept.channels.numberOfFeatureChannelsToReadWrite == featureChannels() && parent() == nullptr;
  Staging staging(kept, !whole);
  walk(kept, host, staging.base(),
       [&](std::size_t at, std::size_t hostStep, std::byte* device, std::size_t deviceStep, std::size_t count,
           std::size_t bytes) {
         // NOLINTNEXTLINE(readability-suspicious-call-argument): hostStep only sounds like toStep
         copyRuns(device, deviceStep, static_cast<const std::byte*>(dataBytes) + at, hostStep, count, bytes);
       });
  staging.bringBack();
  storage_->derived.clear();
}

void Image::readBytes(void* dataBytes, DataLayout dataLayout, std::size_t bytesPerRow, MTL::Region region,
                      ImageReadWriteParams featureChannelInfo, std::size_t imageIndex) {
  readBytes(dataBytes, dataLayout, bytesPerRow, 0, region, featureChannelInfo, imageIndex);
}

void Image::writeBytes(const void* dataBytes, DataLayout dataLayout, std::size_t bytesPerRow, std::size_t bytesPerImage,
                       MTL::Region region, ImageReadWriteParams featureChannelInfo, std::size_t imageIndex) {
  writeBytes(dataBytes, dataLayout, 0, bytesPerRow, bytesPerImage, region, featureChannelInfo, imageIndex);
}

void Image::writeBytes(const void* dataBytes, DataLayout dataLayout, std::size_t bytesPerRow, MTL::Region region,
                       ImageReadWriteParams featureChannelInfo, std::size_t imageIndex) {
  writeBytes(dataBytes, dataLayout, 0, bytesPerRow, 0, region, featureChannelInfo, imageIndex);
}

void Image::readBytes(void* dataBytes, DataLayout dataLayout, std::size_t imageIndex) {
  const std::size_t element = prim::sizeOf(nn::dtypeOf(featureChannelFormat()));
  const std::size_t perPixel = dataLayout == DataLayout::HeightxWidthxFeatureChannels ? featureChannels() : 1;
  readBytes(dataBytes, dataLayout, width() * perPixel * element, {{0, 0, 0}, {width(), height(), 1}},
            {0, featureChannels()}, imageIndex);
}

void Image::writeBytes(const void* dataBytes, DataLayout dataLayout, std::size_t imageIndex) {
  const std::size_t element = prim::sizeOf(nn::dtypeOf(featureChannelFormat()));
  const std::size_t perPixel = dataLayout == DataLayout::HeightxWidthxFeatureChannels ? featureChannels() : 1;
  writeBytes(dataBytes, dataLayout, width() * perPixel * element, {{0, 0, 0}, {width(), height(), 1}},
             {0, featureChannels()}, imageIndex);
}

}  // namespace kovar::MPS
