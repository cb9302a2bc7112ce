// Gradients of sums, differences and products: one element-wise program over the region that the forward kernel wrote,
// a sum along the axes where the operand was repeated, and the way back to the operand's pixels.

#include <algorithm>
#include <string>
#include <utility>

#include "base/edge.hpp"
#include "kovar/MPS/NN/CNNMath.hpp"
#include "nn/arithmetic_parts.hpp"
#include "nn/core/access.hpp"

namespace kovar::MPS {

using nn::ArithmeticOp;
using nn::ArithmeticRecord;

CNNArithmeticGradientState::CNNArithmeticGradientState(const Ref<MTL::Device>& device,
                                                       std::shared_ptr<const ArithmeticRecord> record)
    : NNBinaryGradientState(device), record_(std::move(record)) {}
CNNArithmeticGradientState::CNNArithmeticGradientState(const Ref<MTL::CommandBuffer>& commandBuffer,
                                                       std::shared_ptr<const ArithmeticRecord> record)
    : NNBinaryGradientState(commandBuffer), record_(std::move(record)) {}
CNNArithmeticGradientState::~CNNArithmeticGradientState() = default;

CNNArithmeticGradient::CNNArithmeticGradient(const Ref<MTL::Device>& device, ArithmeticOp op,
                                             bool isSecondarySourceFilter)
    : CNNGradientKernel(device), op_(op), isSecondary_(isSecondarySourceFilter) {}

void CNNArithmeticGradient::setSecondaryStrideInFeatureChannels(std::size_t stride) {
  secondaryChannelStride_ = nn::checkedStride(described(), "secondaryStrideInFeatureChannels", stride);
}

CNNArithmeticGradientState* CNNArithmeticGradient::stateOf(const Ref<State>& state) const {
  auto* typed = dynamic_cast<CNNArithmeticGradientState*>(state.get());
  if (!typed)
    base::raise(described() +
                ": the state is not a CNNArithmeticGradientState; give the one that the forward kernel recorded into");
  if (typed->record_->op != op_)
    base::raise(described() +
                ": the state was made by another arithmetic class; use that of this gradient's forward kernel");
  return typed;
}

Ref<ImageDescriptor> CNNArithmeticGradient::doDestinationImageDescriptor(const std::vector<Ref<Image>>& sourceImages,
                                                                         const std::vector<Ref<State>>& sourceStates) {
  if (sourceStates.empty() || !sourceStates[0])
    base::raise(described() +
                ": needs the state that the forward kernel's encode or resultState made; without one, set the "
                "properties and give a destination image");
  const ArithmeticRecord& r = *stateOf(sourceStates[0])->record_;
  const auto &own = r.operands[isSecondary_ ? 1 : 0], &other = r.operands[isSecondary_ ? 0 : 1];
  const auto& second = op_ == ArithmeticOp::Multiply ? other : own;
  Source &g = sources_[0], &s = sources_[1];
  g.offset = {};
  g.featureChannelOffset = r.destinationFeatureChannelOffset;
  g.featureChannelMaxCount = r.operands[0].strideC   ? r.operands[0].channels
                             : r.operands[1].strideC ? r.operands[1].channels
                                                     : 1;
  g.edgeMode = ImageEdgeMode::Zero;
  g.valid = r.clip;  // what lies beside the forward kernel's region is another's
  s.offset = second.offset;
  s.featureChannelOffset = second.channelOffset;
  s.featureChannelMaxCount = second.channels;
  s.edgeMode = second.edgeMode;
  s.strideX = second.strideX, s.strideY = second.strideY;
  secondaryChannelStride_ = second.strideC;
  clipRect_ = RectNoClip;
  return ImageDescriptor::imageDescriptor(
      ImageFeatureChannelFormat::None, own.width, own.height, own.channels + destinationFeatureChannelOffset_,
      sourceImages[1]->numberOfImages(), MTL::TextureUsage::ShaderRead | MTL::TextureUsage::ShaderWrite);
}

std::size_t CNNArithmeticGradient::doWrittenChannels(const std::vector<std::size_t>& used,
                                                     const BatchView<State>& states, const Image& destination,
                                                     bool automatic) {
  if (!states.empty() && states[0]) {
    const auto& own = stateOf(states[0])->record_->operands[isSecondary_ ? 1 : 0];
    if (automatic) return own.channels;
    return own.strideC ? used[0] : 1;
  }
  return destination.featureChannels() == destinationFeatureChannelOffset_ + 1 ? 1 : used[0];
}

void CNNArithmeticGradient::doEncode(nn::Call& call) {
  const std::string who = described() + ".encode: ";
  std::vector<CNNArithmeticGradientState*> states;
  for (const auto& s : call.states) states.push_back(stateOf(s));
  const ArithmeticRecord* r = states.empty() ? nullptr : states[0]->record_.get();
  const ArithmeticRecord::Operand* own = r ? &r->operands[isSecondary_ ? 1 : 0] : nullptr;
  const ArithmeticRecord::Operand* other = r ? &r->operands[isSecondary_ ? 0 : 1] : nullptr;
  const nn::Tensor &dst = call.destination, &incoming = call.sources[0];

  // Which axes are summed, and the part of the gradient that counts.
  const std::array<std::int64_t, 3> have{incoming.h(), incoming.w(), incoming.c()}, want{dst.h(), dst.w(), dst.c()};
  std::array<bool, 3> summed{};
  std::array<std::int64_t, 3> extent = have, from{};
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const std::size_t forwardStride = !own ? 1 : axis == 0 ? own->strideY : axis == 1 ? own->strideX : own->strideC;
    summed[axis] = own ? forwardStride == 0 : want[axis] == 1 && have[axis] > 1;
    if (call.automatic || axis == 2) continue;
    const std::int64_t offset = axis == 0 ? call.geometry[0].offsetY : call.geometry[0].offsetX;
    from[axis] = summed[axis] ? std::max<std::int64_t>(offset, 0) : offset;
    extent[axis] = summed[axis] ? have[axis] - from[axis] : want[axis];
    if (summed[axis] && (want[axis] != 1 || extent[axis] < 1))
      base::raise(who + "the forward kernel repeated this operand along " + (axis == 0 ? "y" : "x") +
                  ": the destination region must be 1 pixel there and primaryOffset lie inside the gradient");
  }
  const nn::Tensor g = call.automatic ? incoming : call.window(0, from[0], from[1], extent[0], extent[1]);

  prim::Elementwise ew;
  prim::Program& p = ew.program;
  std::vector<rt::Operand> operands{g.read()};
  p.push(nn::ewLoad(0, 0));
  float scale = primaryScale_ ? *primaryScale_ : own ? own->scale : 1.f;
  if (op_ == ArithmeticOp::Subtract && isSecondary_ && !primaryScale_) scale = -scale;
  bool plain = true;
  if (op_ == ArithmeticOp::Multiply) {
    plain = false;
    const std::array<std::size_t, 3> strides =
        other ? std::array<std::size_t, 3>{other->strideY, other->strideX, other->strideC}
              : std::array<std::size_t, 3>{
                    nn::checkedStride(described(), "secondaryStrideInPixelsY", sources_[1].strideY),
                    nn::checkedStride(described(), "secondaryStrideInPixelsX", sources_[1].strideX),
                    secondaryChannelStride_};
    if (strides[2] && call.sources[1].c() != extent[2])
      base::raise(who + "the gradient gives " + std::to_string(extent[2]) + " feature channels, the other operand " +
                  std::to_string(call.sources[1].c()) +
                  "; both must be those of the forward kernel, see the source channel offsets and maximums");
    const auto moved = [&](std::size_t axis, std::int64_t offset) {
      return call.automatic || !summed[axis] ? 0 : from[axis] - offset;
    };
    operands.push_back(
        nn::operandOf(call, 1, strides, extent, moved(0, call.geometry[0].offsetY), moved(1, call.geometry[0].offsetX))
            .read());
    p.push(nn::ewLoad(1, 1));
    scale *= secondaryScale_ ? *secondaryScale_ : other ? other->scale : 1.f;
    p.push(nn::ewStep(prim::EwOp::Mul, 0, 0, 1));
  }
  if (r && r->clamps) {
    plain = false;
    const std::array<std::int64_t, 2> first{call.automatic ? 0 : from[0] - static_cast<std::int64_t>(r->clip.origin.y),
                                            call.automatic ? 0 : from[1] - static_cast<std::int64_t>(r->clip.origin.x)};
    std::vector<nn::Tensor> parts;
    bool together = true;
    for (std::size_t i = 0; i < states.size(); ++i) {
      const CNNArithmeticGradientState& s = *states[i];
      const auto h = static_cast<std::int64_t>(s.maskExtents_.height),
                 w = static_cast<std::int64_t>(s.maskExtents_.width),
                 c = static_cast<std::int64_t>(s.maskExtents_.depth);
      if (!s.mask_)
        base::raise(who +
                    "the forward kernel's limits change values, but the state has no mask of them yet; encode the "
                    "forward kernel with this state first");
      if (first[0] < 0 || first[1] < 0 || first[0] + extent[0] > h || first[1] + extent[1] > w || extent[2] != c)
        base::raise(who + "the gradient's region does not lie inside the " + std::to_string(w) + " x " +
                    std::to_string(h) + " x " + std::to_string(c) +
                    " that the forward kernel wrote; set primaryOffset, clipRect and channels as it had them");
      const std::int64_t images = g.n() / static_cast<std::int64_t>(states.size());
      prim::View v = prim::View::contiguous(prim::DType::U8, {images, h, w, c});
      v.offset = static_cast<std::int64_t>(s.firstElement_);
      v.cut(1, first[0], extent[0]);
      v.cut(2, first[1], extent[1]);
      parts.push_back({s.mask_, v});
      together =
          together && s.mask_ == states[0]->mask_ && s.firstElement_ == states[0]->firstElement_ + i * s.elements_;
    }
    nn::Tensor mask = parts[0];
    if (together) {
      mask.view.dims[0] = g.n();
    } else {
      mask = call.list.temporary(prim::DType::U8, {g.n(), extent[0], extent[1], extent[2]});
      for (std::size_t i = 0; i < parts.size(); ++i)
        call.list.op(prim::Copy{}, {parts[i].read(), mask.slice(0, static_cast<std::int64_t>(i), 1).write()});
    }
    p.push(nn::ewLoad(2, static_cast<std::uint8_t>(operands.size())));
    operands.push_back(mask.read());
    p.push(nn::ewStep(prim::EwOp::Mul, 0, 0, 2));
  }

  // The stages that there are: product, sum, way back. The last writes the destination.
  std::array<std::int64_t, 3> small = extent;
  for (std::size_t axis = 0; axis < 3; ++axis)
    if (summed[axis]) small[axis] = 1;
  const bool sums = small != extent;
  const bool moves = call.automatic && (own->offset.x != 0 || own->offset.y != 0 || small != want);
  const auto temporary = [&](const std::array<std::int64_t, 3>& e) {
    return call.list.temporaryImage(prim::DType::F32, g.n(), e[0], e[1], e[2]);
  };
  nn::Tensor value = g;
  if (!plain || (!sums && scale != 1.f)) {
    if (scale != 1.f) p.push(nn::ewAffine(0, scale));
    scale = 1.f;
    p.push(nn::ewStore(0, static_cast<std::uint8_t>(operands.size())));
    value = sums || moves ? temporary(extent) : dst;
    operands.push_back(value.write());
    call.list.op(ew, operands);
  } else if (!sums && !moves) {
    call.list.op(prim::Copy{}, {g.read(), dst.write()});
  }
  if (sums) {
    prim::Reduce sum;
    sum.scale = scale;
    const nn::Tensor total = moves ? temporary(small) : dst;
    call.list.op(sum, {value.read(), total.write()});
    value = total;
  }
  if (moves) {
    prim::Copy back;
    back.direction = prim::Direction::Data;
    back.shift = {0, static_cast<std::int32_t>(own->offset.y), static_cast<std::int32_t>(own->offset.x), 0};
    back.edge = static_cast<prim::Edge>(own->edgeMode);
    call.list.op(back, {value.read(), dst.write()});
  }
}

CNNAddGradient::CNNAddGradient(const Ref<MTL::Device>& device, bool isSecondarySourceFilter)
    : CNNArithmeticGradient(device, ArithmeticOp::Add, isSecondarySourceFilter) {}
CNNSubtractGradient::CNNSubtractGradient(const Ref<MTL::Device>& device, bool isSecondarySourceFilter)
    : CNNArithmeticGradient(device, ArithmeticOp::Subtract, isSecondarySourceFilter) {}
CNNMultiplyGradient::CNNMultiplyGradient(const Ref<MTL::Device>& device, bool isSecondarySourceFilter)
    : CNNArithmeticGradient(device, ArithmeticOp::Multiply, isSecondarySourceFilter) {}

}  // namespace kovar::MPS
