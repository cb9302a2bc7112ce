#include "kovar/MPS/NN/CNNLoss.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "base/edge.hpp"
#include "nn/core/access.hpp"
#include "nn/labelled_loss.hpp"

namespace kovar::MPS {
namespace {

std::string text(const MTL::Size& s) {
  return std::to_string(s.width) + " x " + std::to_string(s.height) + " x " + std::to_string(s.depth);
}

Ref<Image> floatImage(const Ref<MTL::Device>& device, const MTL::Size& size) {
  return std::make_shared<Image>(device, ImageDescriptor::imageDescriptor(ImageFeatureChannelFormat::Float32,
                                                                          size.width, size.height, size.depth));
}

Ref<Image> imageOf(const Ref<MTL::Device>& device, const Ref<CNNLossDataDescriptor>& data, const char* what) {
  if (!data) base::raise(std::string("CNNLossLabels: ") + what + " is null");
  if (!device) base::raise("CNNLossLabels: device is null");
  Ref<Image> image = floatImage(device, data->size());
  image->writeBytes(data->denseValues().data(), DataLayout::HeightxWidthxFeatureChannels, 0);
  return image;
}

Ref<Image> lossImageOf(const Ref<MTL::Device>& device, const MTL::Size& size) {
  if (!device) base::raise("CNNLossLabels: device is null");
  if (size.width == 0 || size.height == 0 || size.depth == 0)
    base::raise("CNNLossLabels: lossImageSize is " + text(size) + "; use {1, 1, 1} or the size of the prediction");
  return floatImage(device, size);
}

void checkGiven(const Ref<MTL::Device>& device, const Ref<Image>& image, const char* what) {
  const std::string who = std::string("CNNLossLabels: ") + what;
  if (!image) base::raise(who + " is null");
  if (image->device() != device) base::raise(who + " belongs to another device");
  if (nn::Access::temporary(image.get()))
    base::raise(who + " is a temporary image; labels outlive a command buffer, use an Image");
  if (image->numberOfImages() != 1)
    base::raise(who + " holds " + std::to_string(image->numberOfImages()) +
                " images; give one CNNLossLabels per image, see batchRepresentation");
}

}  // namespace

// --- descriptors
// ------------------------------------------------------------------------------------------------------

Ref<CNNLossDescriptor> CNNLossDescriptor::cnnLossDescriptor(CNNLossType type, CNNReductionType reductionType) {
  auto d = std::make_shared<CNNLossDescriptor>();
  d->lossType_ = type;
  d->reductionType_ = reductionType;
  return d;
}

Ref<CNNLossDescriptor> CNNLossDescriptor::copy() const { return std::make_shared<CNNLossDescriptor>(*this); }

Ref<CNNLossDataDescriptor> CNNLossDataDescriptor::cnnLossDataDescriptor(std::span<const std::byte> data,
                                                                        DataLayout layout, MTL::Size size) {
  constexpr std::size_t kMost = std::size_t{1} << 40;
  if (size.width == 0 || size.height == 0 || size.depth == 0 ||
      double(size.width) * double(size.height) * double(size.depth) > double(kMost))
    base::raise("CNNLossDataDescriptor: size is " + text(size) +
                "; width, height and channels must each be at least 1");
  if (layout > DataLayout::FeatureChannelsxHeightxWidth)
    base::raise("CNNLossDataDescriptor: layout " + std::to_string(static_cast<std::size_t>(layout)) +
                " is not a DataLayout");
  const std::size_t need = size.width * size.height * size.depth * sizeof(float);
  if (data.size() < need)
    base::raise("CNNLossDataDescriptor: " + std::to_string(data.size()) + " bytes of data, " + text(size) +
                " float32 values need " + std::to_string(need));
  auto d = std::make_shared<CNNLossDataDescriptor>();
  d->data_.assign(data.begin(), data.end());
  d->layout_ = layout;
  d->size_ = size;
  const bool last = layout == DataLayout::HeightxWidthxFeatureChannels;
  d->bytesPerRow_ = size.width * (last ? size.depth : 1) * sizeof(float);
  d->bytesPerImage_ = d->bytesPerRow_ * size.height;
  return d;
}

Ref<CNNLossDataDescriptor> CNNLossDataDescriptor::copy() const {
  return std::make_shared<CNNLossDataDescriptor>(*this);
}

std::vector<float> CNNLossDataDescriptor::denseValues() const {
  const bool last = layout_ == DataLayout::HeightxWidthxFeatureChannels;
  const auto [w, h, c] = size_;
  const std::size_t pixel = last ? c * sizeof(float) : sizeof(float), channel = last ? sizeof(float) : bytesPerImage_;
  const std::size_t row = w * pixel;
  const std::size_t most = data_.size();  // the distances are bounded before they are multiplied
  const bool fits = bytesPerRow_ >= row && bytesPerRow_ <= most &&
                    (last || (bytesPerImage_ >= row && bytesPerImage_ <= most)) &&
                    (last ? 0 : (c - 1) * channel) + (h - 1) * bytesPerRow_ + row <= most;
  if (!fits)
    base::raise("CNNLossDataDescriptor: bytesPerRow " + std::to_string(bytesPerRow_) + " and bytesPerImage " +
                std::to_string(bytesPerImage_) + " do not fit " + text(size_) + " values in " + std::to_string(most) +
                " bytes of data; give more data or smaller distances");
  std::vector<float> dense(w * h * c);
  for (std::size_t y = 0, at = 0; y < h; ++y)
    for (std::size_t x = 0; x < w; ++x)
      for (std::size_t f = 0; f < c; ++f, ++at)
        std::memcpy(&dense[at], data_.data() + y * bytesPerRow_ + x * pixel + f * channel, sizeof(float));
  return dense;
}

// --- labels
// -----------------------------------------------------------------------------------------------------------

CNNLossLabels::CNNLossLabels(const Ref<MTL::Device>& device, const Ref<CNNLossDataDescriptor>& labelsDescriptor)
    : CNNLossLabels(device, {1, 1, 1}, labelsDescriptor, nullptr) {}

CNNLossLabels::CNNLossLabels(const Ref<MTL::Device>& device, MTL::Size lossImageSize,
                             const Ref<CNNLossDataDescriptor>& labelsDescriptor,
                             const Ref<CNNLossDataDescriptor>& weightsDescriptor)
    : CNNLossLabels(device, lossImageSize, imageOf(device, labelsDescriptor, "labelsDescriptor"),
                    weightsDescriptor ? imageOf(device, weightsDescriptor, "weightsDescriptor") : nullptr) {}

CNNLossLabels::CNNLossLabels(const Ref<MTL::Device>& device, MTL::Size lossImageSize, const Ref<Image>& labelsImage,
                             const Ref<Image>& weightsImage)
    : CNNLossLabels(device, lossImageOf(device, lossImageSize), labelsImage, weightsImage) {}

CNNLossLabels::CNNLossLabels(const Ref<MTL::Device>& device, Ref<Image> lossImage, const Ref<Image>& labelsImage,
                             const Ref<Image>& weightsImage)
    : State(device),
      lossImage_(std::move(lossImage)),
      labelsImage_(labelsImage),
      weightsImage_(weightsImage),
      hasWeights_(weightsImage != nullptr) {
  checkGiven(device, labelsImage, "labelsImage");
  if (hasWeights_) {
    checkGiven(device, weightsImage, "weightsImage");
  } else {
    const float one = 1.f;
    weightsImage_ = floatImage(device, {1, 1, 1});
    weightsImage_->writeBytes(&one, DataLayout::HeightxWidthxFeatureChannels, 0);
  }
  // As resources they are synchronised and counted like any state's.
  for (const auto& image : {lossImage_, labelsImage_, weightsImage_}) addResource(image->texture());
}

// --- kernel
// -----------------------------------------------------------------------------------------------------------

CNNLoss::CNNLoss(const Ref<MTL::Device>& device, const Ref<CNNLossDescriptor>& lossDescriptor) : CNNKernel(device) {
  if (!lossDescriptor) base::raise("CNNLoss: lossDescriptor is null");
  const CNNLossDescriptor& d = *lossDescriptor;
  if (d.lossType() >= CNNLossType::Count)
    base::raise("CNNLoss: lossType " + std::to_string(static_cast<std::size_t>(d.lossType())) +
                " is not a CNNLossType");
  if (d.reductionType() < CNNReductionType::None || d.reductionType() >= CNNReductionType::Count)
    base::raise("CNNLoss: reductionType " + std::to_string(static_cast<int>(d.reductionType())) +
                " is not a CNNReductionType");
  if (d.lossType() == CNNLossType::CosineDistance && d.reductionType() != CNNReductionType::Sum)
    base::raise("CNNLoss: CosineDistance is one number an image; its reductionType must be Sum");
  if (d.numberOfClasses() == 0 ||
      d.numberOfClasses() > static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max()))
    base::raise("CNNLoss: numberOfClasses is " + std::to_string(d.numberOfClasses()) +
                "; it must be from 1 to 2^31 - 1");
  descriptor_ = d.copy();
}

void CNNLoss::encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Image>& sourceImage,
                     const Ref<CNNLossLabels>& labels, const Ref<Image>& destinationImage) {
  encodeTo(commandBuffer, {one(sourceImage)}, nn::LabelAccess::checked(*this, "encode", {labels}, 1),
           one(destinationImage), false);
}
Ref<Image> CNNLoss::encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Image>& sourceImage,
                           const Ref<CNNLossLabels>& labels) {
  return encodeNew(commandBuffer, {one(sourceImage)}, nn::LabelAccess::checked(*this, "encode", {labels}, 1), nullptr,
                   false, false)[0];
}
void CNNLoss::encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& sourceImages,
                          const CNNLossLabelsBatch& labels, const ImageBatch& destinationImages) {
  encodeTo(commandBuffer, {sourceImages}, nn::LabelAccess::checked(*this, "encodeBatch", labels, sourceImages.size()),
           destinationImages, true);
}
ImageBatch CNNLoss::encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& sourceImages,
                                const CNNLossLabelsBatch& labels) {
  return encodeNew(commandBuffer, {sourceImages},
                   nn::LabelAccess::checked(*this, "encodeBatch", labels, sourceImages.size()), nullptr, false, true);
}

void CNNLoss::doEncode(nn::Call& call) {
  const std::string where = described() + ".encode: ";
  prim::Scalars scalars;
  scalars.f[0] = weight();
  nn::LabelAccess::encode(call, where, scalars, [&](bool weighted, bool single) {
    const bool cosine = lossType() == CNNLossType::CosineDistance;
    if (cosine && weighted) base::raise(where + "CosineDistance takes no weights image; use the descriptor's weight");
    if (cosine && !single)
      base::raise(where + "CosineDistance is one number an image; use a lossImageSize of {1, 1, 1}");
    prim::Loss d;
    d.type = static_cast<std::uint8_t>(lossType());
    if (single) d.reduction = static_cast<prim::LossReduction>(std::max(reductionType(), CNNReductionType::Sum));
    d.acrossBatch = single && reduceAcrossBatch() && reductionType() != CNNReductionType::None;
    d.weights = weighted;
    d.labelSmoothing = labelSmoothing();
    d.epsilon = epsilon();
    d.delta = delta();
    d.numberOfClasses = static_cast<std::int32_t>(numberOfClasses());
    return nn::LabelledPrim{d, {}};
  });
}

}  // namespace kovar::MPS
