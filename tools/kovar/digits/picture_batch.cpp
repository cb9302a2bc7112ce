#include "kovar/digits/picture_batch.hpp"

#include <cstring>

#include "kovar/digits/network.hpp"

namespace kovar::tools {

constexpr std::size_t kPixels = std::size_t{kDigitSide} * kDigitSide;

PictureBatch::PictureBatch(const Ref<MTL::Device>& device, std::size_t count)
    : all_(std::make_shared<MPS::Image>(
          device, MPS::ImageDescriptor::imageDescriptor(MPS::ImageFeatureChannelFormat::Unorm8, kDigitSide, kDigitSide,
                                                        1, count, MTL::TextureUsage::ShaderRead))),
      images_(all_->batchRepresentation()),
      staging_(count * kPixels) {}

void PictureBatch::write(const base::io::LabelledImages& set, std::span<const std::uint64_t> which) {
  for (std::size_t i = 0; i < which.size(); ++i)
    std::memcpy(staging_.data() + i * kPixels, set.pixels.data() + which[i] * kPixels, kPixels);
  all_->writeBytes(staging_.data(), MPS::DataLayout::HeightxWidthxFeatureChannels, kDigitSide, kPixels,
                   {{0, 0, 0}, {kDigitSide, kDigitSide, which.size()}}, {0, 1}, 0);
}

}  // namespace kovar::tools
