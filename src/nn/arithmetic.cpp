#include <algorithm>
#include <string>

#include "base/edge.hpp"
#include "kovar/MPS/NN/CNNMath.hpp"
#include "nn/core/access.hpp"

namespace kovar::nn {

enum class ArithmeticOp { Add, Subtract, Multiply, Divide };

namespace {

std::size_t checkedStride(const std::string& who, const char* property, std::size_t stride) {
  if (stride > 1) base::raise(who + "." + property + ": " + std::to_string(stride) + "; a stride is 0 (repeat) or 1");
  return stride;
}

prim::EwStep step(prim::EwOp op, std::uint8_t dst, std::uint8_t a, std::uint8_t b = 0) {
  prim::EwStep s;
  s.op = op;
  s.dst = dst;
  s.a = a;
  s.b = b;
  return s;
}

prim::EwStep affine(std::uint8_t r, float scale, float shift) {
  prim::EwStep s = step(prim::EwOp::Affine, r, r);
  s.p = {scale, shift, 0.f};
  return s;
}

/// One operand as wide as the destination: read at its offset, repeated along axes with stride 0.
Tensor operand(const Call& call, std::size_t index, std::size_t strideX, std::size_t strideY,
               std::size_t channelStride) {
  const Tensor& dst = call.destination;
  const SourceGeometry& g = call.geometry[index];
  Tensor t = call.window(index, g.offsetY, g.offsetX, strideY ? dst.h() : 1, strideX ? dst.w() : 1);
  const std::int64_t dims[] = {dst.n(), dst.h(), dst.w(), dst.c()};
  const bool repeated[] = {false, strideY == 0, strideX == 0, channelStride == 0};
  for (std::size_t axis = 1; axis < 4; ++axis)
    if (repeated[axis]) {
      t.view.dims[axis] = dims[axis];
      t.view.strides[axis] = 0;
    }
  t.view.dims[3] = dst.c();
  return t;
}

}  // namespace
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
  nn::Tensor& dst = call.destination;
  prim::Elementwise ew;
  prim::Program& p = ew.program;
  for (std::uint8_t i = 0; i < 2; ++i) {
    prim::EwStep load = nn::step(prim::EwOp::Load, i, 0);
    load.arg = i;
    p.push(load);
  }
  // Adding -0 keeps the sign of a zero product, which decides the sign of a quotient's infinity.
  if (primaryScale_ != 1.f) p.push(nn::affine(0, primaryScale_, -0.f));
  if (secondaryScale_ != 1.f) p.push(nn::affine(1, secondaryScale_, -0.f));
  static constexpr prim::EwOp kOps[] = {prim::EwOp::Add, prim::EwOp::Sub, prim::EwOp::Mul, prim::EwOp::Div};
  p.push(nn::step(kOps[static_cast<std::size_t>(op_)], 0, 0, 1));
  if (bias_ != 0.f) p.push(nn::affine(0, 1.f, bias_));
  prim::EwStep clamp = nn::step(prim::EwOp::Clamp, 0, 0);
  clamp.p = {minimum_, maximum_, 0.f};
  p.push(clamp);
  prim::EwStep store = nn::step(prim::EwOp::Store, 0, 0);
  store.arg = 2;
  p.push(store);
  call.list.op(ew, {nn::operand(call, 0, sources_[0].strideX, sources_[0].strideY, primaryChannelStride_).read(),
                    nn::operand(call, 1, sources_[1].strideX, sources_[1].strideY, secondaryChannelStride_).read(),
                    dst.write()});
}

CNNAdd::CNNAdd(const Ref<MTL::Device>& device) : CNNArithmetic(device, ArithmeticOp::Add) {}
CNNSubtract::CNNSubtract(const Ref<MTL::Device>& device) : CNNArithmetic(device, ArithmeticOp::Subtract) {}
CNNMultiply::CNNMultiply(const Ref<MTL::Device>& device) : CNNArithmetic(device, ArithmeticOp::Multiply) {}
CNNDivide::CNNDivide(const Ref<MTL::Device>& device) : CNNArithmetic(device, ArithmeticOp::Divide) {}

}  // namespace kovar::MPS
