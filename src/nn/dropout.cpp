#include "kovar/MPS/NN/CNNDropout.hpp"

#include <cmath>
#include <cstring>

#include "base/edge.hpp"
#include "nn/core/access.hpp"
#include "nn/core/pointwise.hpp"

namespace kovar::MPS {
namespace {

float checkedKeep(const char* who, float keep) {
  if (!(keep > 0.f && keep < 1.f))
    base::raise(std::string(who) + ": keepProbability is " + std::to_string(keep) +
                "; it must lie strictly between 0 and 1");
  return keep;
}

MTL::Size checkedStride(const char* who, MTL::Size s) {
  if (s.width > 1 || s.height > 1 || s.depth > 1)
    base::raise(std::string(who) + ": maskStrideInPixels is {" + std::to_string(s.width) + ", " +
                std::to_string(s.height) + ", " + std::to_string(s.depth) + "}; each must be 0 (shared) or 1");
  return s;
}

prim::Random describe(float keep, const MTL::Size& stride) {
  prim::Random d;
  d.kind = prim::RandomKind::Dropout;
  d.keep = keep;
  d.maskStride = {static_cast<std::uint8_t>(stride.height), static_cast<std::uint8_t>(stride.width),
                  static_cast<std::uint8_t>(stride.depth)};
  return d;
}

}  // namespace

std::vector<std::byte> CNNDropoutGradientState::maskData() {
  if (!mask_) return {};
  if (mask_->madeTemporary())
    base::raise(described() + ".maskData: the host cannot reach a temporary state; make the state with resultState");
  std::vector<std::byte> mask(elements_);
  base::unwrap(mask_->read(firstElement_, mask.data(), mask.size()));
  return mask;
}

CNNDropout::CNNDropout(const Ref<MTL::Device>& device, float keepProbability, std::size_t seed,
                       MTL::Size maskStrideInPixels)
    : CNNKernel(device),
      keepProbability_(checkedKeep("CNNDropout", keepProbability)),
      seed_(seed),
      maskStride_(checkedStride("CNNDropout", maskStrideInPixels)) {}

void CNNDropout::doEncode(nn::Call& call) {
  prim::Random d = describe(keepProbability_, maskStride_);
  prim::Scalars scalars;
  scalars.u = {seed_, sequence_};  // counted below, once nothing can be refused any more
  const nn::Tensor source = call.aligned(0);
  const nn::Tensor& dst = call.destination;
  if (call.states.empty()) {
    call.list.op(d, {source.read(), dst.write()}, scalars);
    ++sequence_;
    return;
  }
  d.writeMask = true;
  const std::int64_t my = maskStride_.height ? dst.h() : 1, mx = maskStride_.width ? dst.w() : 1,
                     mc = maskStride_.depth ? dst.c() : 1;
  const prim::View view = prim::View::contiguous(prim::DType::U8, {dst.n(), my, mx, mc});
  const auto bytes = static_cast<std::size_t>(view.elements());
  std::vector<CNNDropoutGradientState*> states;
  for (const auto& s : call.states.looks()) {
    states.push_back(dynamic_cast<CNNDropoutGradientState*>(s.get()));
    if (!states.back())
      base::raise(described() +
                  ".encode: a destination state is not a CNNDropoutGradientState; make it with resultState");
  }
  const nn::Tensor mask{states[0]->temporary_ ? call.list.state().newTemporary(bytes, false)
                                              : std::make_shared<rt::Storage>(rt::Access::state(device_), bytes),
                        view};
  call.list.op(d, {source.read(), dst.write(), mask.write()}, scalars);
  for (std::size_t i = 0; i < states.size(); ++i) {
    CNNDropoutGradientState& state = *states[i];
    state.mask_ = mask.storage;
    state.elements_ = bytes / call.states.size();
    state.firstElement_ = i * state.elements_;
    state.extents_ = {static_cast<std::size_t>(mx), static_cast<std::size_t>(my), static_cast<std::size_t>(mc)};
    state.hold(mask.storage);
  }
  ++sequence_;
}

Ref<State> CNNDropoutGradientState::doSibling(std::size_t index) const {
  const auto state = commandBuffer_ ? nn::Access::make<CNNDropoutGradientState>(commandBuffer_, record_)
                                    : nn::Access::make<CNNDropoutGradientState>(device_, record_);
  if (!mask_) return state;
  state->mask_ = mask_;
  state->elements_ = elements_;
  state->firstElement_ = firstElement_ + index * elements_;
  state->extents_ = extents_;
  state->hold(mask_);
  return state;
}

Ref<State> CNNDropout::doResultState(const nn::StateRequest& request) {
  auto record = std::make_shared<const nn::ForwardRecord>(request.record);
  if (request.commandBuffer) return nn::Access::make<CNNDropoutGradientState>(request.commandBuffer, record);
  return nn::Access::make<CNNDropoutGradientState>(request.source->device(), record);
}

Ref<CNNDropoutGradientState> CNNDropout::resultState(const Ref<Image>& sourceImage,
                                                     const std::vector<Ref<State>>& sourceStates,
                                                     const Ref<Image>& destinationImage) {
  return std::static_pointer_cast<CNNDropoutGradientState>(
      CNNKernel::resultState(sourceImage, sourceStates, destinationImage));
}
CNNDropoutGradientStateBatch CNNDropout::resultStateBatch(const ImageBatch& sourceImage,
                                                          const std::vector<StateBatch>& sourceStates,
                                                          const ImageBatch& destinationImage) {
  return nn::batchOf<CNNDropoutGradientState>(CNNKernel::resultStateBatch(sourceImage, sourceStates, destinationImage));
}
Ref<CNNDropoutGradientState> CNNDropout::temporaryResultState(const Ref<MTL::CommandBuffer>& commandBuffer,
                                                              const Ref<Image>& sourceImage,
                                                              const std::vector<Ref<State>>& sourceStates,
                                                              const Ref<Image>& destinationImage) {
  return std::static_pointer_cast<CNNDropoutGradientState>(
      CNNKernel::temporaryResultState(commandBuffer, sourceImage, sourceStates, destinationImage));
}
CNNDropoutGradientStateBatch CNNDropout::temporaryResultStateBatch(const Ref<MTL::CommandBuffer>& commandBuffer,
                                                                   const ImageBatch& sourceImage,
                                                                   const std::vector<StateBatch>& sourceStates,
                                                                   const ImageBatch& destinationImage) {
  return nn::batchOf<CNNDropoutGradientState>(
      CNNKernel::temporaryResultStateBatch(commandBuffer, sourceImage, sourceStates, destinationImage));
}

CNNDropoutGradient::CNNDropoutGradient(const Ref<MTL::Device>& device, float keepProbability, std::size_t seed,
                                       MTL::Size maskStrideInPixels)
    : CNNGradientKernel(device),
      keepProbability_(checkedKeep("CNNDropoutGradient", keepProbability)),
      seed_(seed),
      maskStride_(checkedStride("CNNDropoutGradient", maskStrideInPixels)) {}

void CNNDropoutGradient::doEncode(nn::Call& call) {
  const std::string where = described() + ".encode: ";
  if (call.states.empty())
    base::raise(where + "needs the state of the forward CNNDropout; encode that with destination states");
  std::vector<CNNDropoutGradientState*> states;
  for (const auto& s : call.states.looks()) {
    auto* state = dynamic_cast<CNNDropoutGradientState*>(s.get());
    if (!state || !state->mask_)
      base::raise(where + "a state without a mask; give the states that the forward CNNDropout's encode filled");
    states.push_back(state);
  }
  bool together = true;
  for (std::size_t i = 1; i < states.size(); ++i)
    together = together && states[i]->mask_ == states[0]->mask_ &&
               states[i]->firstElement_ == states[0]->firstElement_ + i * states[0]->elements_;
  const auto maskOf = [&](std::size_t first, std::int64_t n) {
    const auto& e = states[first]->extents_;
    prim::View v = prim::View::contiguous(prim::DType::U8,
                                          {n, static_cast<std::int64_t>(e.height), static_cast<std::int64_t>(e.width),
                                           static_cast<std::int64_t>(e.depth)});
    v.offset = static_cast<std::int64_t>(states[first]->firstElement_);
    return nn::Tensor{states[first]->mask_, v};
  };
  nn::encodeThroughForward(call, [&](const nn::Tensor& g, const nn::Tensor& destination, bool translated) {
    prim::Random d = describe(keepProbability_, maskStride_);
    d.direction = prim::Direction::Data;
    if (!translated) {
      d.maskOffsetY = static_cast<std::int32_t>(maskStride_.height ? sources_[1].offset.y : 0);
      d.maskOffsetX = static_cast<std::int32_t>(maskStride_.width ? sources_[1].offset.x : 0);
    }
    for (const auto* state : states) {
      const auto& e = state->extents_;
      const auto inside = [](std::size_t stride, std::int64_t from, std::int64_t size, std::size_t extent) {
        return stride == 0 || (from >= 0 && from + size <= static_cast<std::int64_t>(extent));
      };
      if (!inside(maskStride_.height, d.maskOffsetY, destination.h(), e.height) ||
          !inside(maskStride_.width, d.maskOffsetX, destination.w(), e.width))
        base::raise(where + "the destination region does not lie inside the mask of " + std::to_string(e.width) +
                    " x " + std::to_string(e.height) +
                    "; set secondaryOffset and clipRect as the forward kernel had them");
    }
    if (together && (call.states.size() == 1 || static_cast<std::int64_t>(call.states.size()) == g.n())) {
      call.list.op(d, {g.read(), maskOf(0, g.n()).read(), destination.write()});
      return;
    }
    for (std::size_t i = 0; i < states.size(); ++i) {
      const auto n = static_cast<std::int64_t>(i);
      call.list.op(d, {g.slice(0, n, 1).read(), maskOf(i, 1).read(), destination.slice(0, n, 1).write()});
    }
  });
}

}  // namespace kovar::MPS
