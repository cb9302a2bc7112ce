#include <algorithm>
#include <string>

#include "base/edge.hpp"
#include "kovar/MPS/NN/CNNMath.hpp"
#include "nn/arithmetic_parts.hpp"
#include "nn/core/access.hpp"

namespace kovar::nn {

std::size_t checkedStride(const std::string& who, const char* property, std::size_t stride) {
  if (stride > 1) base::raise(who + "." + property + ": " + std::to_string(stride) + "; a stride is 0 (repeat) or 1");
  return stride;
}

Tensor operandOf(const Call& call, std::size_t index, std::array<std::size_t, 3> strideYXC,
                 std::array<std::int64_t, 3> extentYXC, std::int64_t dy, std::int64_t dx) {
  const SourceGeometry& g = call.geometry[index];
  Tensor t = call.window(index, g.offsetY + (strideYXC[0] ? dy : 0), g.offsetX + (strideYXC[1] ? dx : 0),
                         strideYXC[0] ? extentYXC[0] : 1, strideYXC[1] ? extentYXC[1] : 1);
  for (std::size_t axis = 0; axis < 3; ++axis) {
    t.view.dims[axis + 1] = extentYXC[axis];
    if (strideYXC[axis] == 0) t.view.strides[axis + 1] = 0;
  }
  return t;
}

}  // namespace kovar::nn

namespace kovar::MPS {

using nn::ArithmeticOp;

CNNArithmetic::CNNArithmetic(const Ref<MTL::Device>& device, ArithmeticOp op) : CNNBinaryKernel(device), op_(op) {}

void CNNArithmetic::setPrimaryStrideInFeatureChannels(std::size_t stride) {
  primaryChannelStride_ = nn::checkedStride(described(), "primaryStrideInFeatureChannels", stride);
}
void CNNArithmetic::setSecondaryStrideInFeatureChannels(std::size_t stride) {
  secondaryChannelStride_ = nn::checkedStride(described(), "secondaryStrideInFeatureChannels", stride);
}

std::size_t CNNArithmetic::doDestinationChannels(const std::vector<std::size_t>& used) {
  return primaryChannelStride_ ? used[0] : secondaryChannelStride_ ? used[1] : 1;
}

Ref<ImageDescriptor> CNNArithmetic::doDestinationImageDescriptor(const std::vector<Ref<Image>>& sourceImages,
                                                                 const std::vector<Ref<State>>&) {
  const Image &a = *sourceImages[0], &b = *sourceImages[1];
  const auto extent = [](std::size_t strideA, std::size_t strideB, std::size_t sizeA, std::size_t sizeB) {
    return strideA ? sizeA : strideB ? sizeB : std::size_t{1};
  };
  const auto used = [](const Image& image, const Source& s) {
    return std::min(s.featureChannelMaxCount,
                    image.featureChannels() - std::min(s.featureChannelOffset, image.featureChannels()));
  };
  auto d = ImageDescriptor::imageDescriptor(
      ImageFeatureChannelFormat::None, extent(sources_[0].strideX, sources_[1].strideX, a.width(), b.width()),
      extent(sources_[0].strideY, sources_[1].strideY, a.height(), b.height()),
      doDestinationChannels({used(a, sources_[0]), used(b, sources_[1])}) + destinationFeatureChannelOffset_);
  d->setNumberOfImages(a.numberOfImages());
  return d;
}

Ref<State> CNNArithmetic::doResultState(const nn::StateRequest& request) {
  if (op_ == ArithmeticOp::Divide || op_ == ArithmeticOp::Compare) return nullptr;
  auto record = std::make_shared<nn::ArithmeticRecord>();
  record->op = op_;
  for (std::size_t i = 0; i < 2; ++i) {
    const Source& s = sources_[i];
    const Image& image = *request.sources[i];
    nn::ArithmeticRecord::Operand& o = record->operands[i];
    o.offset = s.offset;
    o.edgeMode = s.edgeMode;
    o.strideX = s.strideX, o.strideY = s.strideY;
    o.strideC = i == 0 ? primaryChannelStride_ : secondaryChannelStride_;
    o.channelOffset = s.featureChannelOffset;
    o.channels = std::min(s.featureChannelMaxCount,
                          image.featureChannels() - std::min(s.featureChannelOffset, image.featureChannels()));
    o.width = image.width(), o.height = image.height();
    o.scale = i == 0 ? primaryScale_ : secondaryScale_;
  }
  record->clip = request.record.clip;
  record->destinationFeatureChannelOffset = destinationFeatureChannelOffset_;
  record->clamps = nn::clampsAnything(minimum_, maximum_);
  if (request.commandBuffer) return nn::Access::make<CNNArithmeticGradientState>(request.commandBuffer, record);
  return nn::Access::make<CNNArithmeticGradientState>(request.source->device(), record);
}

void CNNArithmetic::encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Image>& primaryImage,
                           const Ref<Image>& secondaryImage, const Ref<CNNArithmeticGradientState>& destinationState,
                           const Ref<Image>& destinationImage) {
  encodeTo(commandBuffer, {one(primaryImage), one(secondaryImage)},
           destinationState ? StateBatch{destinationState} : StateBatch{}, one(destinationImage), false);
}
void CNNArithmetic::encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& primaryImages,
                                const ImageBatch& secondaryImages,
                                const CNNArithmeticGradientStateBatch& destinationStates,
                                const ImageBatch& destinationImages) {
  encodeTo(commandBuffer, {primaryImages, secondaryImages}, destinationStates, destinationImages, true);
}

void CNNArithmetic::doEncode(nn::Call& call) {
  const std::string who = described() + ".encode";
  for (const Source& s : sources_) {
    nn::checkedStride(who, "strideInPixelsX", s.strideX);
    nn::checkedStride(who, "strideInPixelsY", s.strideY);
  }
  const std::int64_t a = call.sources[0].c(), b = call.sources[1].c();
  if (primaryChannelStride_ && secondaryChannelStride_ && a != b)
    base::raise(who + ": the primary source has " + std::to_string(a) + " feature channels, the secondary " +
                std::to_string(b) + "; make them equal or set a stride in feature channels to 0");
  std::vector<CNNArithmeticGradientState*> states;
  for (const auto& s : call.states) {
    if (op_ == ArithmeticOp::Divide || op_ == ArithmeticOp::Compare)
      base::raise(who + ": a destination state is given, but this class has no gradient; encode without one");
    states.push_back(dynamic_cast<CNNArithmeticGradientState*>(s.get()));
    if (!states.back())
      base::raise(who + ": a destination state is not a CNNArithmeticGradientState; make it with resultState");
  }

  const nn::Tensor& dst = call.destination;
  prim::Elementwise ew;
  prim::Program& p = ew.program;
  p.push(nn::ewLoad(0, 0));
  p.push(nn::ewLoad(1, 1));
  if (op_ == ArithmeticOp::Compare) {
    prim::EwStep compare = nn::ewStep(prim::EwOp::Compare, 0, 0, 1);
    compare.code = static_cast<std::uint8_t>(comparison_);
    compare.p = {threshold_, 0.f, 0.f};
    p.push(compare);
  } else {
    // The sign of a zero product decides the sign of a quotient's infinity.
    if (primaryScale_ != 1.f) p.push(nn::ewAffine(0, primaryScale_));
    if (secondaryScale_ != 1.f) p.push(nn::ewAffine(1, secondaryScale_));
    static constexpr prim::EwOp kOps[] = {prim::EwOp::Add, prim::EwOp::Sub, prim::EwOp::Mul, prim::EwOp::Div};
    p.push(nn::ewStep(kOps[static_cast<std::size_t>(op_)], 0, 0, 1));
    if (bias_ != 0.f) p.push(nn::ewAffine(0, 1.f, bias_));
  }
  const auto limited = [&](prim::EwOp op, std::uint8_t to) {
    prim::EwStep s = nn::ewStep(op, to, 0);
    s.p = {minimum_, maximum_, 0.f};
    return s;
  };
  const bool masked = !states.empty() && nn::clampsAnything(minimum_, maximum_);
  if (masked) {
    p.push(limited(prim::EwOp::InRange, 1));
    p.push(nn::ewStore(1, 3));
  }
  p.push(limited(prim::EwOp::Clamp, 0));
  p.push(nn::ewStore(0, 2));

  const auto operand = [&](std::size_t i, std::size_t strideC) {
    return nn::operandOf(call, i, {sources_[i].strideY, sources_[i].strideX, strideC}, {dst.h(), dst.w(), dst.c()});
  };
  std::vector<rt::Operand> operands{operand(0, primaryChannelStride_).read(),
                                    operand(1, secondaryChannelStride_).read(), dst.write()};
  if (masked) {
    const prim::View view = prim::View::contiguous(prim::DType::U8, {dst.n(), dst.h(), dst.w(), dst.c()});
    const auto bytes = static_cast<std::size_t>(view.elements());
    const nn::Tensor mask{states[0]->temporary_ ? call.list.state().newTemporary(bytes, false)
                                                : std::make_shared<rt::Storage>(rt::Access::state(device_), bytes),
                          view};
    operands.push_back(mask.write());
    for (std::size_t i = 0; i < states.size(); ++i) {
      CNNArithmeticGradientState& state = *states[i];
      state.mask_ = mask.storage;
      state.elements_ = bytes / states.size();
      state.firstElement_ = i * state.elements_;
      state.maskExtents_ = {static_cast<std::size_t>(dst.w()), static_cast<std::size_t>(dst.h()),
                            static_cast<std::size_t>(dst.c())};
      state.hold(mask.storage);
    }
  }
  call.list.op(ew, operands);
}

CNNAdd::CNNAdd(const Ref<MTL::Device>& device) : CNNArithmetic(device, ArithmeticOp::Add) {}
CNNSubtract::CNNSubtract(const Ref<MTL::Device>& device) : CNNArithmetic(device, ArithmeticOp::Subtract) {}
CNNMultiply::CNNMultiply(const Ref<MTL::Device>& device) : CNNArithmetic(device, ArithmeticOp::Multiply) {}
CNNDivide::CNNDivide(const Ref<MTL::Device>& device) : CNNArithmetic(device, ArithmeticOp::Divide) {}
NNCompare::NNCompare(const Ref<MTL::Device>& device) : CNNArithmetic(device, ArithmeticOp::Compare) {}

void NNCompare::setComparisonType(NNComparisonType comparisonType) {
  if (comparisonType > NNComparisonType::GreaterOrEqual)
    base::raise(described() + ".comparisonType: " + std::to_string(static_cast<std::size_t>(comparisonType)) +
                " is not an NNComparisonType");
  comparison_ = comparisonType;
}

}  // namespace kovar::MPS
