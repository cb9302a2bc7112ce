#include "kovar/MPS/NN/CNNUpsampling.hpp"

#include <algorithm>

#include "base/edge.hpp"
#include "maths/resample.hpp"
#include "nn/core/access.hpp"

namespace kovar::nn {
namespace {

/// What the gradient needs beyond the common record.
struct UpsamplingRecord : ForwardRecord {
  bool alignCorners = false;
};

constexpr std::size_t kLargestFactor = std::size_t{1} << 20;

void checkFactors(const char* who, std::size_t x, std::size_t y) {
  for (const std::size_t v : {x, y})
    if (v == 0 || v > kLargestFactor)
      base::raise(std::string(who) + ": scale factors " + std::to_string(x) + ", " + std::to_string(y) +
                  (v == 0 ? "; each must be at least 1" : "; each may be at most " + std::to_string(kLargestFactor)));
}

/// Along an axis of `extent` source pixels.
maths::Sampling samplingOf(bool aligned, std::int64_t extent, std::size_t factor, std::int64_t offset) {
  const auto f = static_cast<std::int64_t>(factor);
  maths::Sampling s = aligned ? maths::enlargingAligned(extent, f) : maths::enlarging(f);
  s.start = static_cast<std::int32_t>(offset);
  return s;
}

std::size_t enlarged(const MPS::Kernel& who, const char* what, std::size_t extent, std::size_t factor) {
  constexpr std::size_t kMost = (std::size_t{1} << 31) - 1;
  if (extent > kMost / factor)
    base::raise(Access::described(who) + ": a source of " + std::to_string(extent) + " " + what + " enlarged " +
                std::to_string(factor) + " times is larger than any image");
  return extent * factor;
}

prim::ResampleKind kindOf(bool bilinear) {
  return bilinear ? prim::ResampleKind::Bilinear : prim::ResampleKind::Nearest;
}

}  // namespace
}  // namespace kovar::nn

namespace kovar::MPS {

CNNUpsampling::CNNUpsampling(const Ref<MTL::Device>& device, std::size_t scaleFactorX, std::size_t scaleFactorY,
                             bool alignCorners, const char* who)
    : CNNKernel(device), alignCorners_(alignCorners) {
  nn::checkFactors(who, scaleFactorX, scaleFactorY);
  sources_[0].strideX = scaleFactorX;
  sources_[0].strideY = scaleFactorY;
  isBackwards_ = true;
}

CNNUpsamplingNearest::CNNUpsamplingNearest(const Ref<MTL::Device>& device, std::size_t integerScaleFactorX,
                                           std::size_t integerScaleFactorY)
    : CNNUpsampling(device, integerScaleFactorX, integerScaleFactorY, false, "CNNUpsamplingNearest") {}
CNNUpsamplingBilinear::CNNUpsamplingBilinear(const Ref<MTL::Device>& device, std::size_t integerScaleFactorX,
                                             std::size_t integerScaleFactorY)
    : CNNUpsamplingBilinear(device, integerScaleFactorX, integerScaleFactorY, false) {}
CNNUpsamplingBilinear::CNNUpsamplingBilinear(const Ref<MTL::Device>& device, std::size_t integerScaleFactorX,
                                             std::size_t integerScaleFactorY, bool alignCorners)
    : CNNUpsampling(device, integerScaleFactorX, integerScaleFactorY, alignCorners, "CNNUpsamplingBilinear") {}

Ref<ImageDescriptor> CNNUpsampling::doDestinationImageDescriptor(const std::vector<Ref<Image>>& sourceImages,
                                                                 const std::vector<Ref<State>>& sourceStates) {
  Source& s = sources_[0];
  Ref<ImageDescriptor> d = CNNKernel::doDestinationImageDescriptor(sourceImages, sourceStates);
  d->setWidth(nn::enlarged(*this, "columns", sourceImages[0]->width(), s.strideX));
  d->setHeight(nn::enlarged(*this, "rows", sourceImages[0]->height(), s.strideY));
  s.offset.x = s.offset.y = 0;
  return d;
}

void CNNUpsampling::doEncode(nn::Call& call) {
  const Source& s = sources_[0];
  const nn::Tensor& src = call.sources[0];
  prim::Resample r;
  r.kind = nn::kindOf(bilinear());
  r.y = nn::samplingOf(alignCorners_, src.h(), s.strideY, call.geometry[0].offsetY);
  r.x = nn::samplingOf(alignCorners_, src.w(), s.strideX, call.geometry[0].offsetX);
  r.zeroEdge = s.edgeMode == ImageEdgeMode::Zero;
  call.list.op(r, {src.read(), call.destination.write()});
}

Ref<State> CNNUpsampling::doResultState(const nn::StateRequest& request) {
  auto record = std::make_shared<nn::UpsamplingRecord>();
  static_cast<nn::ForwardRecord&>(*record) = request.record;
  record->alignCorners = alignCorners_;
  return nn::Access::plainGradientState(request, std::move(record));
}

CNNUpsamplingGradient::CNNUpsamplingGradient(const Ref<MTL::Device>& device, std::size_t scaleFactorX,
                                             std::size_t scaleFactorY, const char* who)
    : CNNGradientKernel(device) {
  nn::checkFactors(who, scaleFactorX, scaleFactorY);
  sources_[1].strideX = scaleFactorX;
  sources_[1].strideY = scaleFactorY;
}

CNNUpsamplingNearestGradient::CNNUpsamplingNearestGradient(const Ref<MTL::Device>& device,
                                                           std::size_t integerScaleFactorX,
                                                           std::size_t integerScaleFactorY)
    : CNNUpsamplingGradient(device, integerScaleFactorX, integerScaleFactorY, "CNNUpsamplingNearestGradient") {}
CNNUpsamplingBilinearGradient::CNNUpsamplingBilinearGradient(const Ref<MTL::Device>& device,
                                                             std::size_t integerScaleFactorX,
                                                             std::size_t integerScaleFactorY)
    : CNNUpsamplingGradient(device, integerScaleFactorX, integerScaleFactorY, "CNNUpsamplingBilinearGradient") {}

void CNNUpsamplingGradient::doAdopt(const nn::ForwardRecord& record, const std::vector<Ref<Image>>& sourceImages) {
  CNNGradientKernel::doAdopt(record, sourceImages);
  sources_[0].offset = {static_cast<std::ptrdiff_t>(record.clip.origin.x),
                        static_cast<std::ptrdiff_t>(record.clip.origin.y), 0};
  sources_[1].offset = record.offset;
}

void CNNUpsamplingGradient::doEncode(nn::Call& call) {
  const Source& s = sources_[1];
  nn::Tensor g = call.sources[0];
  const nn::Tensor& src = call.sources[1];
  // Gradient pixels before primaryOffset do not count; where it lies left of the image the first ones are missing.
  const std::int64_t firstX = call.geometry[0].offsetX, firstY = call.geometry[0].offsetY;
  const std::int64_t beginX = std::max<std::int64_t>(0, firstX), beginY = std::max<std::int64_t>(0, firstY);
  if (beginX >= g.w() || beginY >= g.h()) {
    call.list.op(prim::Fill{0.f}, {call.destination.write()});
    return;
  }
  g = g.slice(1, beginY, g.h() - beginY).slice(2, beginX, g.w() - beginX);
  bool aligned = false;
  if (call.automatic && !call.states.empty())
    if (const auto* state = dynamic_cast<const NNGradientState*>(call.states[0].get()))
      if (const auto* record = dynamic_cast<const nn::UpsamplingRecord*>(nn::Access::record(*state).get()))
        aligned = record->alignCorners;
  prim::Resample r;
  r.direction = prim::Direction::Data;
  r.kind = nn::kindOf(bilinear());
  r.y = nn::samplingOf(aligned, src.h(), s.strideY, call.geometry[1].offsetY);
  r.x = nn::samplingOf(aligned, src.w(), s.strideX, call.geometry[1].offsetX);
  r.y.first = static_cast<std::int32_t>(beginY - firstY);
  r.x.first = static_cast<std::int32_t>(beginX - firstX);
  r.zeroEdge = s.edgeMode == ImageEdgeMode::Zero;
  const bool whole = call.destination.w() == src.w() && call.destination.h() == src.h();
  const nn::Tensor all =
      whole ? call.destination : call.list.temporaryImage(prim::DType::F32, src.n(), src.h(), src.w(), src.c());
  call.list.op(r, {g.read(), all.write()});
  // A destination of another size: its first pixel is the source's, what lies beyond the source is 0.
  if (!whole) call.list.op(prim::Copy{}, {all.read(), call.destination.write()});
}

}  // namespace kovar::MPS
