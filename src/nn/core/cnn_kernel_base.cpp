#include <algorithm>
#include <utility>

#include "base/edge.hpp"
#include "kovar/MPS/NN/CNNKernel.hpp"
#include "maths/geometry.hpp"
#include "nn/core/access.hpp"
#include "nn/core/encoder.hpp"

namespace kovar::MPS {
namespace {

std::vector<Ref<Image>> firstOf(std::span<const nn::Images> batches) {
  std::vector<Ref<Image>> firsts;
  firsts.reserve(batches.size());
  for (const auto& b : batches) firsts.push_back(b.empty() ? nullptr : b.front());
  return firsts;
}

/// The kernel for user code. One that no Ref holds (on the stack) is lent for the call.
Ref<Kernel> held(Kernel& kernel, Ref<Kernel> self) { return self ? std::move(self) : Ref<Kernel>(self, &kernel); }

/// Restores the properties that sizing a result changes, unless the encode went through.
template <class T>
class Restore {
 public:
  explicit Restore(T& value) : value_(value), before_(value) {}
  ~Restore() {
    if (!keep_) value_ = before_;
  }
  void keep() { keep_ = true; }

 private:
  T& value_;
  T before_;
  bool keep_ = false;
};

}  // namespace

CNNKernelBase::CNNKernelBase(const Ref<MTL::Device>& device, std::size_t sourceCount)
    : Kernel(device),
      sources_(sourceCount),
      padding_(NNDefaultPadding::padding(NNPaddingMethod::AlignCentered | NNPaddingMethod::AddRemainderToTopLeft |
                                         NNPaddingMethod::SizeSame)),
      allocator_(TemporaryImage::defaultAllocator()) {}

void CNNKernelBase::setDestinationFeatureChannelOffset(std::size_t offset) {
  if (offset % 4 != 0)
    base::raise(described() + ".destinationFeatureChannelOffset: " + std::to_string(offset) +
                " is not a multiple of 4");
  destinationFeatureChannelOffset_ = offset;
}

void CNNKernelBase::setPadding(const Ref<NNPadding>& padding) {
  if (!padding) base::raise(described() + ".padding: null; use NNDefaultPadding::padding(method)");
  padding_ = padding;
}

void CNNKernelBase::setDestinationImageAllocator(const Ref<ImageAllocator>& allocator) {
  if (!allocator)
    base::raise(
        described() +
        ".destinationImageAllocator: null; use Image::defaultAllocator() or TemporaryImage::defaultAllocator()");
  allocator_ = allocator;
}

Ref<ImageDescriptor> CNNKernelBase::destinationImageDescriptor(const std::vector<Ref<Image>>& sourceImages,
                                                               const std::vector<Ref<State>>& sourceStates) {
  if (sourceImages.size() != sources_.size())
    base::raise(described() + ".destinationImageDescriptor: " + std::to_string(sourceImages.size()) +
                " source images given, the kernel reads " + std::to_string(sources_.size()));
  for (const auto& image : sourceImages)
    if (!image) base::raise(described() + ".destinationImageDescriptor: a source image is null");
  const Ref<Kernel> me = held(*this, self<Kernel>());
  Ref<ImageDescriptor> d = doDestinationImageDescriptor(sourceImages, sourceStates);
  for (const auto& state : sourceStates)
    if (state) d = state->destinationImageDescriptor(sourceImages, sourceStates, me, d);
  if ((padding_->paddingMethod() & NNPaddingMethod::Custom) == NNPaddingMethod::Custom)
    d = padding_->destinationImageDescriptor(sourceImages, sourceStates, me, d);
  if (!d)
    base::raise(described() + ": the padding policy returned no descriptor; return the suggested one, changed or not");
  if (d->channelFormat() == ImageFeatureChannelFormat::None) d->setChannelFormat(ImageFeatureChannelFormat::Float16);
  return d;
}

Ref<ImageDescriptor> CNNKernelBase::doDestinationImageDescriptor(const std::vector<Ref<Image>>& sourceImages,
                                                                 const std::vector<Ref<State>>&) {
  Source& s = sources_[0];
  const Image& image = *sourceImages[0];
  const auto method = static_cast<std::uint32_t>(padding_->paddingMethod());
  const auto fit = [&](std::size_t in, std::size_t k, std::size_t stride, std::size_t dilation, bool vertical) {
    const maths::AxisFit f =
        maths::fitForward(static_cast<std::int64_t>(in),
                          maths::dilatedExtent(static_cast<std::int64_t>(k), static_cast<std::int64_t>(dilation)),
                          static_cast<std::int64_t>(stride), maths::paddingAxis(method, vertical));
    if (f.out < 1)
      base::raise(described() + ": a window of " + std::to_string(k) + (vertical ? " rows" : " columns") +
                  " finds no place in a source of " + std::to_string(in) + (vertical ? " rows" : " columns") +
                  " under the padding policy; use size same or a larger source");
    return f;
  };
  const maths::AxisFit x = fit(image.width(), s.kernelWidth, s.strideX, s.dilationX, false);
  const maths::AxisFit y = fit(image.height(), s.kernelHeight, s.strideY, s.dilationY, true);
  s.offset.x = x.offset;
  s.offset.y = y.offset;
  if (s.featureChannelOffset >= image.featureChannels())
    base::raise(described() + ": the source has " + std::to_string(image.featureChannels()) +
                " feature channels, reading starts at " + std::to_string(s.featureChannelOffset));
  const std::size_t used = std::min(s.featureChannelMaxCount, image.featureChannels() - s.featureChannelOffset);
  auto d = ImageDescriptor::imageDescriptor(ImageFeatureChannelFormat::None, static_cast<std::size_t>(x.out),
                                            static_cast<std::size_t>(y.out),
                                            doDestinationChannels({used}) + destinationFeatureChannelOffset_);
  d->setNumberOfImages(image.numberOfImages());
  return d;
}

Ref<State> CNNKernelBase::doResultState(const nn::StateRequest&) { return nullptr; }

void CNNKernelBase::encodeTo(const Ref<MTL::CommandBuffer>& commandBuffer, Sources sources, const StateBatch& states,
                             Images destinations, bool batch) {
  nn::Encoder(*this, commandBuffer, batch ? "encodeBatch" : "encode").encode(sources, states, destinations, batch);
}

ImageBatch CNNKernelBase::encodeNew(const Ref<MTL::CommandBuffer>& commandBuffer, Sources sources,
                                    const StateBatch& gradientStates, StateBatch* resultStates,
                                    bool resultStatesAreTemporary, bool batch) {
  nn::Encoder encoder(*this, commandBuffer, batch ? "encodeBatch" : "encode");
  for (const Images& b : sources)
    if (b.empty() || !b.front())
      base::raise(described() + (batch ? ".encodeBatch" : ".encode") + ": a source image is null or its batch empty");
  Restore sourcesBefore(sources_);
  Restore clipBefore(clipRect_);
  std::vector<Ref<State>> states;
  if (!gradientStates.empty())
    if (const Ref<State>& first = BatchView<State>(gradientStates).front()) states.push_back(first);
  const Ref<ImageDescriptor> descriptor = destinationImageDescriptor(firstOf(sources), states);
  const std::size_t count = sources[0].size();
  const Ref<Kernel> me = held(*this, self<Kernel>());
  ImageBatch destinations = batch ? allocator_->imageBatch(commandBuffer, descriptor, me, count)
                                  : ImageBatch{allocator_->image(commandBuffer, descriptor, me)};
  if (destinations.size() != count)
    base::raise(described() + ": the image allocator made " + std::to_string(destinations.size()) + " images of " +
                std::to_string(count));
  StateBatch made;
  if (resultStates)
    made = makeResultStates(
        resultStatesAreTemporary ? commandBuffer : nullptr, sources,
        gradientStates.empty() ? std::vector<StateBatch>() : std::vector<StateBatch>{gradientStates}, destinations);
  encoder.encode(sources, resultStates ? made : gradientStates, destinations, batch, true);
  if (resultStates) *resultStates = std::move(made);
  sourcesBefore.keep();
  clipBefore.keep();
  // The result lives at least until the work has run, as the documents promise.
  for (const auto& d : Images(destinations).looks())
    rt::Access::state(commandBuffer)->keepAlive(nn::Access::storage(*d));
  return destinations;
}

StateBatch CNNKernelBase::makeResultStates(const Ref<MTL::CommandBuffer>& commandBufferIfTemporary, Sources sources,
                                           const std::vector<StateBatch>& sourceStates, Images destinations) {
  const std::string where = described() + ".resultState: ";
  if (sources.size() != sources_.size())
    base::raise(where + std::to_string(sources.size()) + " source images given, the kernel reads " +
                std::to_string(sources_.size()));
  for (const Images& b : sources) {
    if (b.size() != sources[0].size()) base::raise(where + "batches of different sizes; counts must match");
    for (const auto& image : b.looks())
      if (!image) base::raise(where + "a source image is null");
  }
  for (const StateBatch& b : sourceStates)
    if (b.size() != sources[0].size())
      base::raise(where + std::to_string(b.size()) + " source states for " + std::to_string(sources[0].size()) +
                  " images; give one state per image");
  const std::size_t count = sources[0].size();
  const auto stateOf = [&](std::size_t i) {
    const auto imageOf = [i](const Images& b) { return i == 0 ? b.front() : b.all()[i]; };
    nn::StateRequest r;
    r.commandBuffer = commandBufferIfTemporary;
    for (const Images& b : sources) r.sources.push_back(imageOf(b));
    r.source = r.sources[0];
    for (const StateBatch& b : sourceStates) r.sourceStates.push_back(b.at(i));
    r.destination = i < destinations.size() ? imageOf(destinations) : nullptr;
    r.record = forwardRecord(*r.source, r.destination.get());
    return doResultState(r);
  };
  if (count == 0) return {};
  const Ref<State> first = stateOf(0);
  if (!first) return {};  // a class without states
  if (doIsResultStateReusedAcrossBatch()) return StateBatch::series(first, count, nullptr);
  const auto alike = [](const Images& b) { return b.empty() || b.isSeries(); };
  if (count > 1 && sourceStates.empty() && nn::Access::hasSiblings(*first) && alike(destinations) &&
      std::all_of(sources.begin(), sources.end(), alike))
    return StateBatch::series(first, count, nn::Access::sibling);
  StateBatch made{first};
  for (std::size_t i = 1; i < count; ++i) made.push_back(stateOf(i));
  return made;
}

nn::ForwardRecord CNNKernelBase::forwardRecord(const Image& source, const Image* destination) const {
  const Source& s = sources_[0];
  nn::ForwardRecord f;
  f.offset = s.offset;
  f.clip = clipRect_;
  if (destination) {
    f.clip.origin.x = std::min(clipRect_.origin.x, destination->width());
    f.clip.origin.y = std::min(clipRect_.origin.y, destination->height());
    f.clip.size.width = std::min(clipRect_.size.width, destination->width() - f.clip.origin.x);
    f.clip.size.height = std::min(clipRect_.size.height, destination->height() - f.clip.origin.y);
  }
  f.edgeMode = s.edgeMode;
  f.sourceFeatureChannelOffset = s.featureChannelOffset;
  f.destinationFeatureChannelOffset = destinationFeatureChannelOffset_;
  f.channels = std::min(s.featureChannelMaxCount,
                        source.featureChannels() - std::min(s.featureChannelOffset, source.featureChannels()));
  f.kernelWidth = s.kernelWidth;
  f.kernelHeight = s.kernelHeight;
  f.strideX = s.strideX;
  f.strideY = s.strideY;
  f.dilationX = s.dilationX;
  f.dilationY = s.dilationY;
  f.sourceWidth = source.width();
  f.sourceHeight = source.height();
  return f;
}

}  // namespace kovar::MPS
