#include "kovar/MPS/NN/CNNLoss.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

#include "base/edge.hpp"
#include "nn/core/access.hpp"
#include "nn/core/encoder.hpp"

namespace kovar::MPS {
namespace {

std::string text(const MTL::Size& s) {
  return std::to_string(s.width) + " x " + std::to_string(s.height) + " x " + std::to_string(s.depth);
}
MTL::Size sizeOf(const Image& image) { return {image.width(), image.height(), image.featureChannels()}; }

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

StateBatch CNNLoss::checked(const char* method, const CNNLossLabelsBatch& labels, std::size_t images) const {
  const std::string where = described() + "." + method + ": ";
  if (labels.size() != images)
    base::raise(where + std::to_string(labels.size()) + " labels for " + std::to_string(images) +
                " images; give one CNNLossLabels per image");
  for (const auto& l : labels)
    if (!l) base::raise(where + "labels are null");
  return labels;
}

void CNNLoss::encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Image>& sourceImage,
                     const Ref<CNNLossLabels>& labels, const Ref<Image>& destinationImage) {
  encodeTo(commandBuffer, {one(sourceImage)}, checked("encode", {labels}, 1), one(destinationImage), false);
}
Ref<Image> CNNLoss::encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Image>& sourceImage,
                           const Ref<CNNLossLabels>& labels) {
  return encodeNew(commandBuffer, {one(sourceImage)}, checked("encode", {labels}, 1), nullptr, false, false)[0];
}
void CNNLoss::encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& sourceImages,
                          const CNNLossLabelsBatch& labels, const ImageBatch& destinationImages) {
  encodeTo(commandBuffer, {sourceImages}, checked("encodeBatch", labels, sourceImages.size()), destinationImages, true);
}
ImageBatch CNNLoss::encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& sourceImages,
                                const CNNLossLabelsBatch& labels) {
  return encodeNew(commandBuffer, {sourceImages}, checked("encodeBatch", labels, sourceImages.size()), nullptr, false,
                   true);
}

namespace {

using nn::Tensor;

Tensor whole(const Image& image) { return {nn::Access::storage(image), nn::Access::view(image)}; }

/// The tensors of all images copied into one. Sides of 1 stay 1 where all have them.
Tensor together(nn::Recorder& list, const std::vector<Tensor>& parts) {
  std::array<std::int64_t, 4> dims{static_cast<std::int64_t>(parts.size()), 1, 1, 1};
  for (const Tensor& p : parts)
    for (int axis = 1; axis < 4; ++axis)
      dims[static_cast<std::size_t>(axis)] = std::max(dims[static_cast<std::size_t>(axis)], p.view.dim(axis));
  const Tensor all = list.temporaryImage(prim::DType::F32, dims[0], dims[1], dims[2], dims[3]);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    Tensor p = parts[i];
    for (std::size_t axis = 1; axis < 4; ++axis)
      if (p.view.dims[axis] != dims[axis]) {
        p.view.dims[axis] = dims[axis];
        p.view.strides[axis] = 0;
      }
    list.op(prim::Copy{}, {p.read(), all.slice(0, static_cast<std::int64_t>(i), 1).write()});
  }
  return all;
}

}  // namespace

void CNNLoss::doEncode(nn::Call& call) {
  const std::string where = described() + ".encode: ";
  const std::int64_t n = call.destination.n(), h = call.destination.h(), w = call.destination.w(),
                     c = call.destination.c();
  const auto y0 = call.geometry[0].offsetY, x0 = call.geometry[0].offsetX;
  if (call.states.empty()) base::raise(where + "needs labels; use the forms that take CNNLossLabels");
  if (static_cast<std::int64_t>(call.states.size()) != n)
    base::raise(where + std::to_string(n) +
                " images for one CNNLossLabels; encode them as a batch, see Image::batchRepresentation");
  if (y0 < 0 || x0 < 0 || y0 + h > call.sources[0].h() || x0 + w > call.sources[0].w())
    base::raise(where + "the region of " + std::to_string(w) + " x " + std::to_string(h) + " at (" +
                std::to_string(x0) + ", " + std::to_string(y0) + ") reaches outside the source of " +
                std::to_string(call.sources[0].w()) + " x " + std::to_string(call.sources[0].h()) +
                "; set clipRect and offset");

  std::vector<CNNLossLabels*> labels;
  for (const auto& s : call.states) {
    labels.push_back(dynamic_cast<CNNLossLabels*>(s.get()));
    if (!labels.back()) base::raise(where + "needs labels; the state given is not a CNNLossLabels");
  }
  const Tensor& source = call.sources[0];
  // The part of labels or weights that belongs to the pixels read.
  const auto cutToPart = [&](Tensor& t, const Image& image, const char* what, bool stretches) {
    const std::int64_t start[4] = {0, y0, x0, 0}, length[4] = {n, h, w, c};
    const std::int64_t need[4] = {n, source.h(), source.w(), c};
    for (int axis = 1; axis < 4; ++axis) {
      if (stretches && t.view.dim(axis) == 1) continue;
      if (t.view.dim(axis) < need[axis])
        base::raise(where + what + " are " + text(sizeOf(image)) + ", the prediction " + std::to_string(need[2]) +
                    " x " + std::to_string(need[1]) + " x " + std::to_string(need[3]) +
                    "; they must be at least as large");
      t.view.cut(axis, start[axis], length[axis]);
    }
  };
  const auto imagesOf = [&](Ref<Image> CNNLossLabels::*which) {
    std::vector<Ref<Image>> images;
    for (CNNLossLabels* l : labels) images.push_back(l->*which);
    return images;
  };
  // One tensor over those of all images: as they lie, or copied together.
  const auto read = [&](Ref<Image> CNNLossLabels::*which, const char* what, bool stretches) {
    const std::vector<Ref<Image>> images = imagesOf(which);
    if (std::optional<Tensor> all = nn::joined(images)) {
      cutToPart(*all, *images[0], what, stretches);
      return std::move(*all);
    }
    std::vector<Tensor> parts;
    for (const auto& image : images) cutToPart(parts.emplace_back(whole(*image)), *image, what, stretches);
    return together(call.list, parts);
  };

  const bool weighted =
      std::any_of(labels.begin(), labels.end(), [](const CNNLossLabels* l) { return l->hasWeights_; });
  const bool single = sizeOf(*labels[0]->lossImage_) == MTL::Size{1, 1, 1};
  const std::vector<Ref<Image>> lossImages = imagesOf(&CNNLossLabels::lossImage_);
  for (const auto& image : lossImages) {
    const MTL::Size wanted = single
                                 ? MTL::Size{1, 1, 1}
                                 : MTL::Size{static_cast<std::size_t>(source.w()), static_cast<std::size_t>(source.h()),
                                             static_cast<std::size_t>(source.c())};
    if (!(sizeOf(*image) == wanted))
      base::raise(where + "lossImageSize is " + text(sizeOf(*image)) + ", the prediction " +
                  std::to_string(source.w()) + " x " + std::to_string(source.h()) + " x " + std::to_string(source.c()) +
                  "; use {1, 1, 1} or the prediction's size, the same for all images");
  }
  const bool cosine = lossType() == CNNLossType::CosineDistance;
  if (cosine && weighted) base::raise(where + "CosineDistance takes no weights image; use the descriptor's weight");
  if (cosine && !single) base::raise(where + "CosineDistance is one number an image; use a lossImageSize of {1, 1, 1}");

  prim::Loss d;
  d.type = static_cast<std::uint8_t>(lossType());
  if (single) d.reduction = static_cast<prim::LossReduction>(std::max(reductionType(), CNNReductionType::Sum));
  d.acrossBatch = single && reduceAcrossBatch() && reductionType() != CNNReductionType::None;
  d.weights = weighted;
  d.labelSmoothing = labelSmoothing();
  d.epsilon = epsilon();
  d.delta = delta();
  d.numberOfClasses = static_cast<std::int32_t>(numberOfClasses());
  prim::Scalars scalars;
  scalars.f[0] = weight();

  const auto cutToRegion = [&](Tensor& t) {
    if (single) return;
    t.view.cut(1, y0, h);
    t.view.cut(2, x0, w);
  };
  std::vector<rt::Operand> operands{call.aligned(0).read(), read(&CNNLossLabels::labelsImage_, "labels", false).read()};
  if (weighted) operands.push_back(read(&CNNLossLabels::weightsImage_, "weights", true).read());
  std::optional<Tensor> inPlace = nn::joined(lossImages);
  if (inPlace) cutToRegion(*inPlace);
  const Tensor loss = inPlace  ? std::move(*inPlace)
                      : single ? call.list.temporary(prim::DType::F32, {n, 1, 1, 1})
                               : call.list.temporaryImage(prim::DType::F32, n, h, w, c);
  operands.push_back(loss.write());
  operands.push_back(call.destination.write());
  call.list.op(d, operands, scalars);
  for (std::int64_t i = 0; !inPlace && i < n; ++i) {
    Tensor to = whole(*lossImages[static_cast<std::size_t>(i)]);
    cutToRegion(to);
    call.list.op(prim::Copy{}, {loss.slice(0, i, 1).read(), to.write()});
  }
}

}  // namespace kovar::MPS
