#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "base/edge.hpp"
#include "kovar/MPS/NN/NNReshape.hpp"
#include "nn/core/access.hpp"
#include "nn/core/pointwise.hpp"

namespace kovar::MPS {
namespace {

struct PadRecord final : nn::ForwardRecord {
  std::size_t channelsBefore = 0, channelsAfter = 0;
};

const PadRecord* recordOf(const BatchView<State>& states) {
  const auto* state = states.empty() ? nullptr : dynamic_cast<const NNGradientState*>(states[0].get());
  return state ? dynamic_cast<const PadRecord*>(nn::Access::record(*state).get()) : nullptr;
}

/// Paddings of more than this are refused: sizes computed from one stay far from the limits of their types.
constexpr std::size_t kLargest = std::size_t{1} << 24;

void checkPadding(const std::string& who, const ImageCoordinate& p) {
  if (p.x > kLargest || p.y > kLargest || p.channel > kLargest)
    base::raise(who + ": a padding of " + std::to_string(p.x) + " x " + std::to_string(p.y) + " x " +
                std::to_string(p.channel) + "; each may be " + std::to_string(kLargest) + " at most");
}

std::int32_t narrow(std::int64_t v) { return static_cast<std::int32_t>(v); }

}  // namespace

NNPad::NNPad(const Ref<MTL::Device>& device) : CNNKernel(device) {}
NNPad::NNPad(const Ref<MTL::Device>& device, ImageCoordinate paddingSizeBefore, ImageCoordinate paddingSizeAfter)
    : CNNKernel(device), before_(paddingSizeBefore), after_(paddingSizeAfter) {}
NNPad::NNPad(const Ref<MTL::Device>& device, ImageCoordinate paddingSizeBefore, ImageCoordinate paddingSizeAfter,
             std::span<const std::byte> fillValueArray)
    : NNPad(device, paddingSizeBefore, paddingSizeAfter) {
  if (fillValueArray.size() % sizeof(float) != 0)
    base::raise("NNPad: fillValueArray has " + std::to_string(fillValueArray.size()) +
                " bytes; give one float of 4 bytes for each channel written");
  fillValues_.resize(fillValueArray.size() / sizeof(float));
  if (!fillValues_.empty()) std::memcpy(fillValues_.data(), fillValueArray.data(), fillValueArray.size());
}

Ref<Kernel> NNPad::doCopy(const Ref<MTL::Device>& device) { return clone(*this, device); }

std::size_t NNPad::doDestinationChannels(const std::vector<std::size_t>& used) {
  checkPadding(described(), before_);
  checkPadding(described(), after_);
  return before_.channel + used[0] + after_.channel;
}

Ref<ImageDescriptor> NNPad::doDestinationImageDescriptor(const std::vector<Ref<Image>>& sourceImages,
                                                         const std::vector<Ref<State>>& sourceStates) {
  Ref<ImageDescriptor> d = CNNKernel::doDestinationImageDescriptor(sourceImages, sourceStates);
  const Image& source = *sourceImages[0];
  d->setWidth(before_.x + source.width() + after_.x);
  d->setHeight(before_.y + source.height() + after_.y);
  sources_[0].offset.x = -static_cast<std::ptrdiff_t>(before_.x);
  sources_[0].offset.y = -static_cast<std::ptrdiff_t>(before_.y);
  return d;
}

Ref<State> NNPad::doResultState(const nn::StateRequest& request) {
  auto record = std::make_shared<PadRecord>();
  static_cast<nn::ForwardRecord&>(*record) = request.record;
  record->channelsBefore = before_.channel;
  record->channelsAfter = after_.channel;
  auto state = nn::Access::plainGradientState(request);
  nn::Access::setRecord(static_cast<NNGradientState&>(*state), std::move(record));
  return state;
}

void NNPad::doEncode(nn::Call& call) {
  const nn::Tensor &src = call.sources[0], &dst = call.destination;
  const nn::SourceGeometry& g = call.geometry[0];
  prim::Copy copy;
  copy.shift = {0, narrow(g.offsetY), narrow(g.offsetX), -narrow(static_cast<std::int64_t>(before_.channel))};
  copy.edge = static_cast<prim::Edge>(g.edgeMode);
  copy.fill = fillValue_;
  if (g.edgeMode != ImageEdgeMode::Constant || fillValues_.empty()) {
    call.list.op(copy, {src.read(), dst.write()});
    return;
  }
  if (static_cast<std::int64_t>(fillValues_.size()) != dst.c())
    base::raise(described() + ".encode: fillValueArray has " + std::to_string(fillValues_.size()) + " values, " +
                std::to_string(dst.c()) + " channels are written; give one for each");
  // The whole from the values, then the image into it.
  const auto values = nn::uploadedOnce(fillValuesOnDevice_, device_, fillValues_);
  call.list.op(prim::Copy{}, {nn::channelVector(values, dst.n(), dst.h(), dst.w(), dst.c()).read(), dst.write()});
  nn::Tensor from = src, to = dst;
  const std::int64_t shifts[] = {0, g.offsetY, g.offsetX, -static_cast<std::int64_t>(before_.channel)};
  for (int axis = 1; axis < 4; ++axis) {
    const std::int64_t first = std::max<std::int64_t>(0, -shifts[axis]);
    const std::int64_t last = std::min(dst.view.dim(axis), src.view.dim(axis) - shifts[axis]);
    if (last <= first) return;
    to.view.cut(axis, first, last - first);
    from.view.cut(axis, first + shifts[axis], last - first);
  }
  call.list.op(prim::Copy{}, {from.read(), to.update()});
}

NNPadGradient::NNPadGradient(const Ref<MTL::Device>& device) : CNNGradientKernel(device) {}

void NNPadGradient::doAdopt(const nn::ForwardRecord& r, const std::vector<Ref<Image>>& sourceImages) {
  const auto* pad = dynamic_cast<const PadRecord*>(&r);
  if (!pad)
    base::raise(described() +
                ": the gradient state was made by a kernel of another class; use the state of the forward NNPad");
  CNNGradientKernel::doAdopt(r, sourceImages);
  sources_[0].offset = {};
  sources_[1].edgeMode = ImageEdgeMode::Zero;  // the forward source is not looked at
  sources_[0].featureChannelMaxCount = pad->channelsBefore + pad->channels + pad->channelsAfter;
}

std::size_t NNPadGradient::doWrittenChannels(const std::vector<std::size_t>& used, const BatchView<State>& states,
                                             const Image& destination, bool automatic) {
  const PadRecord* r = recordOf(states);
  if (automatic || r) return r->channels;
  const std::size_t room =
      destination.featureChannels() - std::min(destination.featureChannels(), destinationFeatureChannelOffset_);
  return std::max<std::size_t>(1, std::min(used[0], room));
}

void NNPadGradient::doEncode(nn::Call& call) {
  const nn::Tensor &g = call.sources[0], &dst = call.destination;
  const PadRecord* r = recordOf(call.states);
  if (!call.states.empty() && call.states[0] && !r)
    base::raise(
        described() +
        ".encode: the gradient state was made by a kernel of another class; use the state of the forward NNPad");
  prim::Copy copy;
  if (!r) {
    copy.shift = {0, narrow(call.geometry[0].offsetY), narrow(call.geometry[0].offsetX), 0};
    nn::Tensor from = g;
    from.view.dims[3] = dst.c();
    call.list.op(copy, {from.read(), dst.write()});
    return;
  }
  copy.direction = prim::Direction::Data;
  copy.edge = static_cast<prim::Edge>(r->edgeMode);
  copy.shift = {0, narrow(r->offset.y), narrow(r->offset.x), -narrow(static_cast<std::int64_t>(r->channelsBefore))};
  if (!call.automatic) {
    const bool whole =
        dst.h() == static_cast<std::int64_t>(r->sourceHeight) && dst.w() == static_cast<std::int64_t>(r->sourceWidth);
    const auto channels = static_cast<std::int64_t>(r->channelsBefore + r->channels + r->channelsAfter);
    if (!whole || g.c() != channels)
      base::raise(described() + ".encode: with a state the destination region must be the forward source's " +
                  std::to_string(r->sourceWidth) + " x " + std::to_string(r->sourceHeight) + " and the gradient have " +
                  std::to_string(channels) + " feature channels; without one parts can be cut out");
    copy.shift[1] = -narrow(call.geometry[0].offsetY);
    copy.shift[2] = -narrow(call.geometry[0].offsetX);
  }
  call.list.op(copy, {g.read(), dst.write()});
}

}  // namespace kovar::MPS
