#include "kovar/MPS/Core/Image.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/edge.hpp"
#include "base/range.hpp"
#include "nn/core/access.hpp"

namespace kovar::nn {

prim::DType dtypeOf(MPS::ImageFeatureChannelFormat format) {
  switch (format) {
    case MPS::ImageFeatureChannelFormat::Unorm8:
      return prim::DType::Unorm8;
    case MPS::ImageFeatureChannelFormat::Unorm16:
      return prim::DType::Unorm16;
    case MPS::ImageFeatureChannelFormat::Float32:
      return prim::DType::F32;
    default:
      return prim::DType::F16;
  }
}

namespace {

std::size_t slices(std::size_t channels) { return channels / 4 + (channels % 4 != 0); }

std::size_t storageBytes(const MPS::ImageDescriptor& d, std::size_t images) {
  return images * d.width() * d.height() * slices(d.featureChannels()) * 4 * prim::sizeOf(dtypeOf(d.channelFormat()));
}

void checkDescriptor(const char* what, const Ref<MPS::ImageDescriptor>& d) {
  if (!d) base::raise(std::string(what) + ": imageDescriptor is null");
  if (d->width() == 0 || d->height() == 0 || d->featureChannels() == 0 || d->numberOfImages() == 0)
    base::raise(std::string(what) + ": " + std::to_string(d->width()) + " x " + std::to_string(d->height()) +
                " pixels, " + std::to_string(d->featureChannels()) + " channels, " +
                std::to_string(d->numberOfImages()) + " images; each must be at least 1");
  const auto format = d->channelFormat();
  if (format == MPS::ImageFeatureChannelFormat::None || format > MPS::ImageFeatureChannelFormat::Float32)
    base::raise(std::string(what) + ": channelFormat is not set; use Unorm8, Unorm16, Float16 or Float32");
  constexpr std::size_t kMost = std::size_t{1} << 40;
  const double bytes = double(d->width()) * double(d->height()) * double(slices(d->featureChannels())) * 16.0 *
                       double(d->numberOfImages());
  if (bytes > double(kMost)) base::raise(std::string(what) + ": the image would need more than 2^40 bytes");
}

class PlainAllocator final : public MPS::ImageAllocator {
 public:
  Ref<MPS::Image> image(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<MPS::ImageDescriptor>& descriptor,
                        const Ref<MPS::Kernel>&) override {
    return std::make_shared<MPS::Image>(commandBuffer->device(), descriptor);
  }
  MPS::ImageBatch imageBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<MPS::ImageDescriptor>& descriptor,
                             const Ref<MPS::Kernel>&, std::size_t count) override {
    return Access::imageBatch(commandBuffer->device(), descriptor, count);
  }
};

class TemporaryAllocator final : public MPS::ImageAllocator {
 public:
  Ref<MPS::Image> image(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<MPS::ImageDescriptor>& descriptor,
                        const Ref<MPS::Kernel>&) override {
    return MPS::TemporaryImage::temporaryImage(commandBuffer, descriptor);
  }
  MPS::ImageBatch imageBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<MPS::ImageDescriptor>& descriptor,
                             const Ref<MPS::Kernel>&, std::size_t count) override {
    return Access::temporaryBatch(commandBuffer, descriptor, count);
  }
};

}  // namespace

prim::View Access::view(const MPS::Image& image) {
  const auto& p = image.placement_;
  const auto lanes = static_cast<std::int64_t>(p.pixelLanes);
  const auto w = static_cast<std::int64_t>(image.width()), h = static_cast<std::int64_t>(image.height());
  return prim::View::image(
      dtypeOf(image.featureChannelFormat()), static_cast<std::int64_t>(image.numberOfImages()), h, w,
      static_cast<std::int64_t>(image.featureChannels()), lanes,
      static_cast<std::int64_t>(p.firstImage) * h * w * lanes + static_cast<std::int64_t>(p.firstLane));
}

MPS::ImageBatch Access::temporaryBatch(const Ref<MTL::CommandBuffer>& commandBuffer,
                                       const Ref<MPS::ImageDescriptor>& descriptor, std::size_t count) {
  checkDescriptor("TemporaryImage", descriptor);
  auto d = descriptor->copy();
  d->setStorageMode(MTL::StorageMode::Private);
  const bool half = d->channelFormat() == MPS::ImageFeatureChannelFormat::Float16;
  auto storage = rt::Access::state(commandBuffer)->newTemporary(storageBytes(*d, d->numberOfImages() * count), half);
  Placement p;
  p.pixelLanes = slices(d->featureChannels()) * 4;
  const auto first = make<MPS::TemporaryImage>(commandBuffer->device(), d, std::move(storage), p, nullptr);
  return MPS::ImageBatch::series(first, count, [](const Ref<MPS::Image>& one, std::size_t i) {
    Placement at = one->placement_;
    at.firstImage += i * one->numberOfImages();
    auto image = make<MPS::TemporaryImage>(one->device_, one->descriptor_, one->storage_, at, nullptr);
    const std::size_t reads = temporary(one.get())->readCount();
    if (reads != image->readCount()) image->setReadCount(reads);
    return image;
  });
}

MPS::ImageBatch Access::imageBatch(const Ref<MTL::Device>& device, const Ref<MPS::ImageDescriptor>& descriptor,
                                   std::size_t count) {
  checkDescriptor("Image", descriptor);
  auto d = descriptor->copy();
  auto storage =
      std::make_shared<rt::Storage>(rt::Access::state(device), storageBytes(*d, d->numberOfImages() * count));
  Placement p;
  p.pixelLanes = slices(d->featureChannels()) * 4;
  const auto first = make<MPS::Image>(device, d, std::move(storage), p, nullptr);
  return MPS::ImageBatch::series(first, count, [](const Ref<MPS::Image>& one, std::size_t i) {
    Placement at = one->placement_;
    at.firstImage += i * one->numberOfImages();
    return make<MPS::Image>(one->device_, one->descriptor_, one->storage_, at, nullptr);
  });
}

Ref<MPS::Image> Access::imageOver(const Ref<MTL::Device>& device, const Ref<MPS::ImageDescriptor>& descriptor,
                                  const char* who, const std::function<rt::StorageRef(std::size_t bytes)>& storage) {
  checkDescriptor(who, descriptor);
  auto d = descriptor->copy();
  Placement p;
  p.pixelLanes = slices(d->featureChannels()) * 4;
  auto memory = storage(storageBytes(*d, d->numberOfImages()));
  return make<MPS::Image>(device, std::move(d), std::move(memory), p, nullptr);
}

Ref<MPS::Image> Access::makeView(const Ref<MPS::Image>& parent, Ref<MPS::ImageDescriptor> descriptor,
                                 Placement placement) {
  if (!parent) base::raise("Image: a view of an image that no Ref holds; make the image with std::make_shared");
  if (parent->temporary_)
    return make<MPS::TemporaryImage>(parent->device(), std::move(descriptor), parent->storage_, placement, parent);
  return make<MPS::Image>(parent->device(), std::move(descriptor), parent->storage_, placement, parent);
}

namespace {

/// Read counts are those of temporary images.
bool noneTemporary(const Images& batch) {
  const auto looks = batch.looks();
  return std::none_of(looks.begin(), looks.end(),
                      [](const Ref<MPS::Image>& image) { return Access::temporary(image.get()) != nullptr; });
}

}  // namespace

void Access::addReads(const MPS::ImageBatch& batch, std::ptrdiff_t amount) {
  if (amount != 0 && !noneTemporary(batch)) MPS::imageBatchIncrementReadCount(batch, amount);
}

void Access::chargeRead(Images batch) {
  if (noneTemporary(batch)) return;
  forEachDistinct(batch, [](const Ref<MPS::Image>& i, std::size_t) {
    MPS::TemporaryImage* image = temporary(i.get());
    if (image && image->readCount() > 0 && image->readCount() != std::numeric_limits<std::size_t>::max())
      image->setReadCount(image->readCount() - 1);
    return true;
  });
}

}  // namespace kovar::nn

namespace kovar::MPS {

using nn::Access;

MTL::PixelFormat ImageDescriptor::pixelFormat() const {
  using F = MTL::PixelFormat;
  const std::size_t lanes = featureChannels_ == 1 ? 0 : featureChannels_ == 2 ? 1 : 2;
  static constexpr F kFormats[4][3] = {{F::R8Unorm, F::RG8Unorm, F::RGBA8Unorm},
                                       {F::R16Unorm, F::RG16Unorm, F::RGBA16Unorm},
                                       {F::R16Float, F::RG16Float, F::RGBA16Float},
                                       {F::R32Float, F::RG32Float, F::RGBA32Float}};
  const auto row = static_cast<std::size_t>(channelFormat_);
  return row >= 1 && row <= 4 ? kFormats[row - 1][lanes] : F::Invalid;
}

Ref<ImageDescriptor> ImageDescriptor::imageDescriptor(ImageFeatureChannelFormat channelFormat, std::size_t width,
                                                      std::size_t height, std::size_t featureChannels) {
  return imageDescriptor(channelFormat, width, height, featureChannels, 1,
                         MTL::TextureUsage::ShaderRead | MTL::TextureUsage::ShaderWrite);
}

Ref<ImageDescriptor> ImageDescriptor::imageDescriptor(ImageFeatureChannelFormat channelFormat, std::size_t width,
                                                      std::size_t height, std::size_t featureChannels,
                                                      std::size_t numberOfImages, MTL::TextureUsage usage) {
  auto d = std::make_shared<ImageDescriptor>();
  d->channelFormat_ = channelFormat;
  d->width_ = width;
  d->height_ = height;
  d->featureChannels_ = featureChannels;
  d->numberOfImages_ = numberOfImages;
  d->usage_ = usage;
  return d;
}

Ref<ImageDescriptor> ImageDescriptor::copy() {
  auto d = imageDescriptor(channelFormat_, width_, height_, featureChannels_, numberOfImages_, usage_);
  d->cpuCacheMode_ = cpuCacheMode_;
  d->storageMode_ = storageMode_;
  return d;
}

ImageBatch ImageAllocator::imageBatch(const Ref<MTL::CommandBuffer>& commandBuffer,
                                      const Ref<ImageDescriptor>& imageDescriptor, const Ref<Kernel>& kernel,
                                      std::size_t count) {
  ImageBatch batch;
  for (std::size_t i = 0; i < count; ++i) batch.push_back(image(commandBuffer, imageDescriptor, kernel));
  return batch;
}

Ref<ImageAllocator> Image::defaultAllocator() {
  static const Ref<ImageAllocator> allocator = std::make_shared<nn::PlainAllocator>();
  return allocator;
}

Image::Image(Ref<MTL::Device> device, Ref<ImageDescriptor> descriptor, std::shared_ptr<rt::Storage> storage,
             Placement placement, Ref<Image> parent)
    : device_(std::move(device)),
      descriptor_(std::move(descriptor)),
      storage_(std::move(storage)),
      placement_(placement),
      parent_(std::move(parent)) {}

Image::Image(const Ref<MTL::Device>& device, const Ref<ImageDescriptor>& imageDescriptor) : device_(device) {
  if (!device) base::raise("Image: device is null");
  nn::checkDescriptor("Image", imageDescriptor);
  descriptor_ = imageDescriptor->copy();
  placement_.pixelLanes = nn::slices(featureChannels()) * 4;
  storage_ = std::make_shared<rt::Storage>(rt::Access::state(device), nn::storageBytes(*descriptor_, numberOfImages()));
}

Image::Image(const Ref<Image>& parentImage, Range sliceRange, std::size_t featureChannels) : parent_(parentImage) {
  if (!parentImage) base::raise("Image: parentImage is null");
  if (parentImage->temporary_)
    base::raise(parentImage->described() +
                ": an ordinary view of a temporary image; use subImage or batchRepresentation");
  const std::size_t perImage = nn::slices(parentImage->featureChannels());
  const std::size_t wanted = nn::slices(featureChannels);
  if (featureChannels == 0 || sliceRange.length == 0 || sliceRange.length % wanted != 0 ||
      !base::fits(sliceRange.location, sliceRange.length, perImage * parentImage->numberOfImages()))
    base::raise(parentImage->described() + ": slices " + std::to_string(sliceRange.location) + " + " +
                std::to_string(sliceRange.length) + " for " + std::to_string(featureChannels) +
                " channels; the range must be whole images of " + std::to_string(wanted) + " slices within " +
                std::to_string(perImage * parentImage->numberOfImages()));
  const std::size_t images = sliceRange.length / wanted;
  const std::size_t firstSlice = sliceRange.location % perImage;
  if (images > 1 && (wanted != perImage || firstSlice != 0))
    base::raise(parentImage->described() + ": a view of several images needs all " + std::to_string(perImage) +
                " slices of each");
  if (firstSlice + wanted > perImage)
    base::raise(parentImage->described() + ": slices " + std::to_string(sliceRange.location) + " + " +
                std::to_string(wanted) + " reach into the next image; an image has " + std::to_string(perImage) +
                " slices");
  device_ = parentImage->device_;
  descriptor_ = parentImage->descriptor_->copy();
  descriptor_->setFeatureChannels(featureChannels);
  descriptor_->setNumberOfImages(images);
  storage_ = parentImage->storage_;
  placement_ = parentImage->placement_;
  placement_.firstImage += sliceRange.location / perImage;
  placement_.firstLane += firstSlice * 4;
}

Image::Image(const Ref<MTL::Texture>& texture, std::size_t featureChannels) : overTexture_(true), texture_(texture) {
  if (!texture) base::raise("Image: texture is null");
  const std::size_t wanted = nn::slices(featureChannels);
  if (featureChannels == 0 || texture->arrayLength() % wanted != 0)
    base::raise("Image: " + std::to_string(featureChannels) + " channels over a texture of " +
                std::to_string(texture->arrayLength()) + " slices; the slices must be whole images of " +
                std::to_string(wanted));
  const rt::Access::TextureLayout layout = rt::Access::layout(*texture);
  const std::size_t images = texture->arrayLength() / wanted;
  if (images > 1 && layout.slicesPerImage != wanted)
    base::raise("Image: the texture keeps " + std::to_string(layout.slicesPerImage) + " slices together, " +
                std::to_string(featureChannels) + " channels need " + std::to_string(wanted) +
                "; make the image first and take its texture()");
  ImageFeatureChannelFormat format;
  switch (MTL::bytesPerTexel(texture->pixelFormat()) / MTL::lanesOf(texture->pixelFormat())) {
    case 1:
      format = ImageFeatureChannelFormat::Unorm8;
      break;
    case 4:
      format = ImageFeatureChannelFormat::Float32;
      break;
    default:
      format = texture->pixelFormat() == MTL::PixelFormat::R16Unorm ||
                       texture->pixelFormat() == MTL::PixelFormat::RG16Unorm ||
                       texture->pixelFormat() == MTL::PixelFormat::RGBA16Unorm
                   ? ImageFeatureChannelFormat::Unorm16
                   : ImageFeatureChannelFormat::Float16;
  }
  device_ = texture->device();
  descriptor_ = ImageDescriptor::imageDescriptor(format, texture->width(), texture->height(), featureChannels, images,
                                                 texture->usage());
  descriptor_->setStorageMode(texture->storageMode());
  storage_ = rt::Access::storage(texture);
  placement_ = {layout.pixelLanes, layout.firstImage, layout.firstLane};
}

Image::~Image() = default;

MTL::TextureType Image::textureType() const {
  return featureChannels() <= 4 && numberOfImages() == 1 ? MTL::TextureType::Type2D : MTL::TextureType::Type2DArray;
}

std::size_t Image::precision() const {
  switch (featureChannelFormat()) {
    case ImageFeatureChannelFormat::Unorm8:
      return 8;
    case ImageFeatureChannelFormat::Unorm16:
      return 16;
    case ImageFeatureChannelFormat::Float16:
      return 11;
    case ImageFeatureChannelFormat::Float32:
      return 24;
    default:
      return 0;
  }
}

std::size_t Image::pixelSize() const { return MTL::bytesPerTexel(pixelFormat()); }

Ref<MTL::Texture> Image::texture() const {
  if (texture_) return texture_;
  auto d = std::make_shared<MTL::TextureDescriptor>();
  const std::size_t perImage = nn::slices(featureChannels());
  d->setTextureType(textureType());
  d->setPixelFormat(pixelFormat());
  d->setWidth(width());
  d->setHeight(height());
  d->setArrayLength(perImage * numberOfImages());
  d->setUsage(usage());
  d->setStorageMode(descriptor_->storageMode());
  texture_ = rt::Access::makeTexture(device_, d, storage_,
                                     {placement_.pixelLanes, placement_.firstImage, placement_.firstLane, perImage});
  return texture_;
}

std::string Image::described() const {
  const char* name = temporary_ ? "TemporaryImage" : "Image";
  return label_.empty() ? name : std::string(name) + " \"" + label_ + "\"";
}

ImageBatch Image::batchRepresentation(Range subRange) {
  if (!base::fits(subRange.location, subRange.length, numberOfImages()))
    base::raise(described() + ".batchRepresentation: images " + std::to_string(subRange.location) + " + " +
                std::to_string(subRange.length) + " of " + std::to_string(numberOfImages()));
  if (subRange.length == 0) return {};
  auto d = descriptor_->copy();
  d->setNumberOfImages(1);
  Placement p = placement_;
  p.firstImage += subRange.location;
  const Ref<Image> first = Access::makeView(self<Image>(), d, p);
  const auto next = [](const Ref<Image>& one, std::size_t i) {
    Placement at = one->placement_;
    at.firstImage += i;
    return Access::makeView(one->parent_, one->descriptor_, at);
  };
  if (!temporary_) return ImageBatch::series(first, subRange.length, next);
  // Each view counts as a reader of a temporary image from now on.
  ImageBatch batch{first};
  for (std::size_t i = 1; i < subRange.length; ++i) batch.push_back(next(first, i));
  return batch;
}

ImageBatch Image::batchRepresentation() { return batchRepresentation({0, numberOfImages()}); }

Ref<Image> Image::subImage(Range range) {
  if (range.location % 4 != 0 || range.length % 4 != 0 || range.length == 0 || range.location >= featureChannels())
    base::raise(described() + ".subImage: channels " + std::to_string(range.location) + " + " +
                std::to_string(range.length) + " of " + std::to_string(featureChannels()) +
                "; location and length must be multiples of 4 inside the image");
  auto d = descriptor_->copy();
  d->setFeatureChannels(std::min(range.length, featureChannels() - range.location));
  Placement p = placement_;
  p.firstLane += range.location;
  return Access::makeView(self<Image>(), d, p);
}

std::size_t Image::resourceSize() {
  return parent_ || overTexture_ ? 0 : nn::storageBytes(*descriptor_, numberOfImages());
}

PurgeableState Image::setPurgeableState(PurgeableState state) {
  if (!storage_->allocated() && !storage_->madeTemporary()) return PurgeableState::AllocationDeferred;
  if (state == PurgeableState::Empty) storage_->discard();
  return PurgeableState::NonVolatile;
}

void Image::synchronize(const Ref<MTL::CommandBuffer>& commandBuffer) {
  if (!commandBuffer) base::raise(described() + ".synchronize: commandBuffer is null");
  rt::Access::state(commandBuffer)->keepAlive(storage_);
}

TemporaryImage::TemporaryImage(Ref<MTL::Device> device, Ref<ImageDescriptor> descriptor,
                               std::shared_ptr<rt::Storage> storage, Placement placement, Ref<Image> parent)
    : Image(std::move(device), std::move(descriptor), std::move(storage), placement, std::move(parent)) {
  temporary_ = true;
  if (auto* p = Access::temporary(parent_.get()))
    p->setReadCount(p->readCount() + 1);
  else
    ++storage_->live;
}

TemporaryImage::~TemporaryImage() {
  if (readCount_ == 0) return;
  if (auto* p = Access::temporary(parent_.get())) {
    if (p->readCount_ > 0) p->setReadCount(p->readCount_ - 1);
  } else {
    --storage_->live;
  }
}

void TemporaryImage::setReadCount(std::size_t readCount) {
  if (readCount_ == 0)
    base::raise(described() +
                ".setReadCount: the image is used up (readCount 0), its storage may be another's by now; raise the "
                "count before the last read");
  readCount_ = readCount;
  if (readCount_ != 0) return;
  if (auto* p = Access::temporary(parent_.get()))
    p->setReadCount(p->readCount_ - 1);
  else
    --storage_->live;
}

Ref<ImageAllocator> TemporaryImage::defaultAllocator() {
  static const Ref<ImageAllocator> allocator = std::make_shared<nn::TemporaryAllocator>();
  return allocator;
}

Ref<TemporaryImage> TemporaryImage::temporaryImage(const Ref<MTL::CommandBuffer>& commandBuffer,
                                                   const Ref<ImageDescriptor>& imageDescriptor) {
  if (!commandBuffer) base::raise("TemporaryImage: commandBuffer is null");
  return std::static_pointer_cast<TemporaryImage>(Access::temporaryBatch(commandBuffer, imageDescriptor, 1)[0]);
}

Ref<TemporaryImage> TemporaryImage::temporaryImage(const Ref<MTL::CommandBuffer>& commandBuffer,
                                                   const Ref<MTL::TextureDescriptor>& textureDescriptor) {
  if (!textureDescriptor) base::raise("TemporaryImage: textureDescriptor is null");
  return temporaryImage(commandBuffer, textureDescriptor,
                        textureDescriptor->arrayLength() > 1 ? 4 * textureDescriptor->arrayLength()
                                                             : MTL::lanesOf(textureDescriptor->pixelFormat()));
}

Ref<TemporaryImage> TemporaryImage::temporaryImage(const Ref<MTL::CommandBuffer>& commandBuffer,
                                                   const Ref<MTL::TextureDescriptor>& textureDescriptor,
                                                   std::size_t featureChannels) {
  if (!commandBuffer || !textureDescriptor) base::raise("TemporaryImage: commandBuffer or textureDescriptor is null");
  const Image shape(commandBuffer->device()->newTexture(textureDescriptor), featureChannels);
  return temporaryImage(commandBuffer,
                        ImageDescriptor::imageDescriptor(shape.featureChannelFormat(), shape.width(), shape.height(),
                                                         featureChannels, shape.numberOfImages(), shape.usage()));
}

void TemporaryImage::prefetchStorage(const Ref<MTL::CommandBuffer>&, const std::vector<Ref<ImageDescriptor>>&) {}

std::size_t imageBatchIncrementReadCount(const ImageBatch& batch, std::ptrdiff_t amount) {
  return nn::forEachDistinct(nn::Images(batch), [&](const Ref<Image>& image, std::size_t) {
    auto* t = Access::temporary(image.get());
    if (t && t->readCount() != 0)
      t->setReadCount(
          static_cast<std::size_t>(std::max<std::ptrdiff_t>(0, static_cast<std::ptrdiff_t>(t->readCount()) + amount)));
    return true;
  });
}

void imageBatchSynchronize(const ImageBatch& batch, const Ref<MTL::CommandBuffer>& commandBuffer) {
  nn::forEachDistinct(nn::Images(batch), [&](const Ref<Image>& image, std::size_t) {
    image->synchronize(commandBuffer);
    return true;
  });
}

std::size_t imageBatchResourceSize(const ImageBatch& batch) {
  std::size_t bytes = 0;
  nn::forEachDistinct(nn::Images(batch).all(), [&](const Ref<Image>& image, std::size_t) {
    bytes += image->resourceSize();
    return true;
  });
  return bytes;
}

std::ptrdiff_t imageBatchIterate(
    const ImageBatch& batch,
    const std::function<std::ptrdiff_t(const Ref<Image>& image, std::size_t index)>& iteratorBlock) {
  constexpr std::ptrdiff_t kGoOn = std::numeric_limits<std::ptrdiff_t>::min();
  std::ptrdiff_t last = kGoOn;
  nn::forEachDistinct(nn::Images(batch).all(), [&](const Ref<Image>& image, std::size_t index) {
    last = iteratorBlock(image, index);
    return last == kGoOn;
  });
  return last;
}

}  // namespace kovar::MPS
