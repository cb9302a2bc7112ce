#include "nn/concatenation.hpp"

#include <string>
#include <utility>

#include "base/edge.hpp"
#include "nn/core/access.hpp"

namespace kovar::nn {
namespace {

struct ConcatenationRecord final : ForwardRecord {
  struct Part {
    std::size_t first = 0, channels = 0;
  };
  std::vector<Part> parts;
};

std::vector<ConcatenationRecord::Part> partsOf(const std::vector<std::size_t>& channels) {
  std::vector<ConcatenationRecord::Part> parts;
  std::size_t first = 0;
  for (const std::size_t c : channels) {
    parts.push_back({first, c});
    first += (c + 3) / 4 * 4;
  }
  return parts;
}

template <class Images>
std::vector<std::size_t> channelsOf(const Images& images) {
  std::vector<std::size_t> channels;
  channels.reserve(images.size());
  for (const auto& image : images) channels.push_back(image->featureChannels());
  return channels;
}

}  // namespace

std::size_t Concatenation::doDestinationChannels(const std::vector<std::size_t>& used) {
  const auto parts = partsOf(used);
  return parts.back().first + parts.back().channels;
}

Ref<MPS::ImageDescriptor> Concatenation::doDestinationImageDescriptor(const std::vector<Ref<MPS::Image>>& sourceImages,
                                                                      const std::vector<Ref<MPS::State>>&) {
  const MPS::Image& first = *sourceImages[0];
  for (std::size_t i = 1; i < sourceImages.size(); ++i)
    if (sourceImages[i]->width() != first.width() || sourceImages[i]->height() != first.height())
      base::raise(described() + ": source " + std::to_string(i) + " is " + std::to_string(sourceImages[i]->width()) +
                  " x " + std::to_string(sourceImages[i]->height()) + ", source 0 " + std::to_string(first.width()) +
                  " x " + std::to_string(first.height()) + "; concatenated images have one size");
  auto d = MPS::ImageDescriptor::imageDescriptor(MPS::ImageFeatureChannelFormat::None, first.width(), first.height(),
                                                 doDestinationChannels(channelsOf(sourceImages)));
  d->setNumberOfImages(first.numberOfImages());
  return d;
}

Ref<MPS::State> Concatenation::doResultState(const StateRequest& request) {
  auto record = std::make_shared<ConcatenationRecord>();
  static_cast<ForwardRecord&>(*record) = request.record;
  record->parts = partsOf(channelsOf(request.sources));
  auto state = Access::plainGradientState(request);
  Access::setRecord(static_cast<MPS::NNGradientState&>(*state), std::move(record));
  return state;
}

void Concatenation::doEncode(Call& call) {
  std::int64_t first = 0;
  for (std::size_t i = 0; i < call.sources.size(); ++i) {
    const Tensor& source = call.sources[i];
    call.list.op(prim::Copy{}, {source.read(), call.destination.slice(3, first, source.c()).write()});
    const std::int64_t next = first + roundUp4(source.c());
    if (i + 1 < call.sources.size() && first + source.c() < next)
      call.list.op(prim::Fill{}, {call.destination.slice(3, first + source.c(), next - first - source.c()).write()});
    first = next;
  }
}

Ref<MPS::ImageDescriptor> ConcatenationGradient::doDestinationImageDescriptor(
    const std::vector<Ref<MPS::Image>>& sourceImages, const std::vector<Ref<MPS::State>>& sourceStates) {
  const auto* state = sourceStates.empty() ? nullptr : dynamic_cast<const MPS::NNGradientState*>(sourceStates[0].get());
  const auto* r = state ? dynamic_cast<const ConcatenationRecord*>(Access::record(*state).get()) : nullptr;
  if (!r || index_ >= r->parts.size())
    base::raise(described() + ": the gradient state is not that of a concatenation with a source " +
                std::to_string(index_) + "; take it from the forward node");
  sources_[0].featureChannelOffset = r->parts[index_].first;
  sources_[0].featureChannelMaxCount = r->parts[index_].channels;
  return MPS::ImageDescriptor::imageDescriptor(MPS::ImageFeatureChannelFormat::None, r->sourceWidth, r->sourceHeight,
                                               r->parts[index_].channels, sourceImages[0]->numberOfImages(),
                                               MTL::TextureUsage::ShaderRead | MTL::TextureUsage::ShaderWrite);
}

void ConcatenationGradient::doEncode(Call& call) {
  call.list.op(prim::Copy{}, {call.sources[0].read(), call.destination.write()});
}

}  // namespace kovar::nn
