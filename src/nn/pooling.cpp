#include "kovar/MPS/NN/CNNPooling.hpp"

#include <algorithm>
#include <utility>

#include "base/edge.hpp"
#include "maths/geometry.hpp"
#include "nn/core/access.hpp"

namespace kovar::nn {

enum class PoolKind { Max, Average, L2 };

/// What the gradient needs beyond the common record.
struct PoolRecord : ForwardRecord {
  std::size_t zeroPadX = 0, zeroPadY = 0;
};

namespace {

constexpr std::size_t kLargest = std::size_t{1} << 24;     // a window's size or stride
constexpr std::int64_t kFarthest = std::int64_t{1} << 30;  // fits 32 bits with room for a window

std::int64_t signedOf(std::size_t v) { return static_cast<std::int64_t>(v); }

prim::Window windowOf(std::size_t kernel, std::size_t stride, std::size_t dilation, std::int64_t offset) {
  prim::Window w;
  w.kernel = static_cast<std::int32_t>(kernel);
  w.stride = static_cast<std::int32_t>(stride);
  w.dilation = static_cast<std::int32_t>(dilation);
  const std::int64_t pad = maths::windowPad(w.extent(), offset);
  if (pad < -kFarthest || pad > kFarthest)
    base::raise("CNNPooling: a window at " + std::to_string(offset) + " pixels lies beyond any image");
  w.pad = static_cast<std::int32_t>(pad);
  return w;
}

/// A zero pad size as a primitive takes it.
std::int32_t zeroPad(const MPS::Kernel& who, std::size_t size) {
  if (size > kLargest)
    base::raise(Access::described(who) + ".zeroPadSize: " + std::to_string(size) + " pixels; at most " +
                std::to_string(kLargest));
  return static_cast<std::int32_t>(size);
}

prim::PoolKind primKind(PoolKind k) {
  switch (k) {
    case PoolKind::Max:
      return prim::PoolKind::Max;
    case PoolKind::Average:
      return prim::PoolKind::Average;
    case PoolKind::L2:
      break;
  }
  return prim::PoolKind::L2;
}

/// Rates, and that the windows they stretch stay within reach.
void checkDilation(const char* who, std::size_t kw, std::size_t kh, std::size_t dx, std::size_t dy) {
  for (const auto& [kernel, rate] : {std::pair(kw, dx), std::pair(kh, dy)}) {
    if (rate == 0 || rate > kLargest)
      base::raise(std::string(who) + ": dilation rates " + std::to_string(dx) + ", " + std::to_string(dy) +
                  (rate == 0 ? "; each must be at least 1" : "; each may be at most " + std::to_string(kLargest)));
    if ((kernel - 1) * rate >= kLargest)
      base::raise(std::string(who) + ": " + std::to_string(kernel) + " taps that lie " + std::to_string(rate) +
                  " pixels apart reach over " + std::to_string((kernel - 1) * rate + 1) + " pixels; at most " +
                  std::to_string(kLargest));
  }
}

void checkWindow(const char* who, std::size_t kw, std::size_t kh, std::size_t sx, std::size_t sy) {
  for (const std::size_t v : {kw, kh, sx, sy})
    if (v == 0 || v > kLargest)
      base::raise(std::string(who) + ": window of " + std::to_string(kw) + " x " + std::to_string(kh) +
                  " with strides " + std::to_string(sx) + ", " + std::to_string(sy) +
                  (v == 0 ? "; each must be at least 1" : "; each may be at most " + std::to_string(kLargest)));
}

}  // namespace
}  // namespace kovar::nn

namespace kovar::MPS {

using nn::PoolKind;

CNNPooling::CNNPooling(const Ref<MTL::Device>& device, std::size_t kernelWidth, std::size_t kernelHeight)
    : CNNPooling(device, kernelWidth, kernelHeight, 1, 1) {}

CNNPooling::CNNPooling(const Ref<MTL::Device>& device, std::size_t kernelWidth, std::size_t kernelHeight,
                       std::size_t strideInPixelsX, std::size_t strideInPixelsY)
    : CNNKernel(device) {
  nn::checkWindow("CNNPooling", kernelWidth, kernelHeight, strideInPixelsX, strideInPixelsY);
  Source& s = sources_[0];
  s.kernelWidth = kernelWidth;
  s.kernelHeight = kernelHeight;
  s.strideX = strideInPixelsX;
  s.strideY = strideInPixelsY;
}

PoolKind CNNPooling::poolKind() const {
  base::raise(described() + ": the base class computes nothing; use a subclass, such as CNNPoolingMax");
}
PoolKind CNNPoolingMax::poolKind() const { return PoolKind::Max; }
PoolKind CNNPoolingAverage::poolKind() const { return PoolKind::Average; }
PoolKind CNNPoolingL2Norm::poolKind() const { return PoolKind::L2; }
PoolKind CNNDilatedPoolingMax::poolKind() const { return PoolKind::Max; }

CNNDilatedPoolingMax::CNNDilatedPoolingMax(const Ref<MTL::Device>& device, std::size_t kernelWidth,
                                           std::size_t kernelHeight, std::size_t dilationRateX,
                                           std::size_t dilationRateY, std::size_t strideInPixelsX,
                                           std::size_t strideInPixelsY)
    : CNNPooling(device, kernelWidth, kernelHeight, strideInPixelsX, strideInPixelsY) {
  nn::checkDilation("CNNDilatedPoolingMax", kernelWidth, kernelHeight, dilationRateX, dilationRateY);
  sources_[0].dilationX = dilationRateX;
  sources_[0].dilationY = dilationRateY;
}

void CNNPoolingAverage::doSetZeroPad(std::size_t x, std::size_t y) {
  zeroPadSizeX_ = x;
  zeroPadSizeY_ = y;
}

Ref<ImageDescriptor> CNNPooling::doDestinationImageDescriptor(const std::vector<Ref<Image>>& sourceImages,
                                                              const std::vector<Ref<State>>& sourceStates) {
  Ref<ImageDescriptor> d = CNNKernel::doDestinationImageDescriptor(sourceImages, sourceStates);
  if ((padding_->paddingMethod() & NNPaddingMethod::ExcludeEdges) == NNPaddingMethod::ExcludeEdges &&
      poolKind() == PoolKind::Average) {
    // The divisor counts the policy's padding and nothing beyond it.
    Source& s = sources_[0];
    const auto pad = [](std::size_t kernel, std::ptrdiff_t offset) {
      return static_cast<std::size_t>(std::max<std::int64_t>(0, maths::windowPad(nn::signedOf(kernel), offset)));
    };
    s.edgeMode = ImageEdgeMode::Clamp;
    doSetZeroPad(pad(s.kernelWidth, s.offset.x), pad(s.kernelHeight, s.offset.y));
  }
  return d;
}

void CNNPooling::doEncode(nn::Call& call) {
  const Source& s = sources_[0];
  prim::Pool pool;
  pool.kind = nn::primKind(poolKind());
  pool.y = nn::windowOf(s.kernelHeight, s.strideY, s.dilationY, call.geometry[0].offsetY);
  pool.x = nn::windowOf(s.kernelWidth, s.strideX, s.dilationX, call.geometry[0].offsetX);
  pool.zeroEdge = s.edgeMode == ImageEdgeMode::Zero;
  pool.zeroPadY = nn::zeroPad(*this, zeroPadY());
  pool.zeroPadX = nn::zeroPad(*this, zeroPadX());
  call.list.op(pool, {call.sources[0].read(), call.destination.write()});
}

Ref<State> CNNPooling::doResultState(const nn::StateRequest& request) {
  auto record = std::make_shared<nn::PoolRecord>();
  static_cast<nn::ForwardRecord&>(*record) = request.record;
  record->zeroPadX = zeroPadX();
  record->zeroPadY = zeroPadY();
  return nn::Access::plainGradientState(request, std::move(record));
}

CNNPoolingGradient::CNNPoolingGradient(const Ref<MTL::Device>& device, std::size_t kernelWidth,
                                       std::size_t kernelHeight)
    : CNNPoolingGradient(device, kernelWidth, kernelHeight, 1, 1) {}

CNNPoolingGradient::CNNPoolingGradient(const Ref<MTL::Device>& device, std::size_t kernelWidth,
                                       std::size_t kernelHeight, std::size_t strideInPixelsX,
                                       std::size_t strideInPixelsY)
    : CNNGradientKernel(device) {
  nn::checkWindow("CNNPoolingGradient", kernelWidth, kernelHeight, strideInPixelsX, strideInPixelsY);
  for (Source* s : {&sources_[0], &sources_[1]}) {
    s->kernelWidth = kernelWidth;
    s->kernelHeight = kernelHeight;
    s->strideX = strideInPixelsX;
    s->strideY = strideInPixelsY;
  }
}

PoolKind CNNPoolingGradient::poolKind() const {
  base::raise(described() + ": the base class computes nothing; use a subclass, such as CNNPoolingMaxGradient");
}
PoolKind CNNPoolingMaxGradient::poolKind() const { return PoolKind::Max; }
PoolKind CNNPoolingAverageGradient::poolKind() const { return PoolKind::Average; }
PoolKind CNNPoolingL2NormGradient::poolKind() const { return PoolKind::L2; }
PoolKind CNNDilatedPoolingMaxGradient::poolKind() const { return PoolKind::Max; }

CNNDilatedPoolingMaxGradient::CNNDilatedPoolingMaxGradient(const Ref<MTL::Device>& device, std::size_t kernelWidth,
                                                           std::size_t kernelHeight, std::size_t dilationRateX,
                                                           std::size_t dilationRateY, std::size_t strideInPixelsX,
                                                           std::size_t strideInPixelsY)
    : CNNPoolingGradient(device, kernelWidth, kernelHeight, strideInPixelsX, strideInPixelsY) {
  nn::checkDilation("CNNDilatedPoolingMaxGradient", kernelWidth, kernelHeight, dilationRateX, dilationRateY);
  for (Source* s : {&sources_[0], &sources_[1]}) {
    s->dilationX = dilationRateX;
    s->dilationY = dilationRateY;
  }
}

void CNNPoolingAverageGradient::doSetZeroPad(std::size_t x, std::size_t y) {
  zeroPadSizeX_ = x;
  zeroPadSizeY_ = y;
}

void CNNPoolingGradient::doAdopt(const nn::ForwardRecord& record, const std::vector<Ref<Image>>& sourceImages) {
  CNNGradientKernel::doAdopt(record, sourceImages);
  sources_[0].valid = RectNoClip;  // sourceSize says which gradient pixels count
  sources_[0].offset = {static_cast<std::ptrdiff_t>(record.clip.origin.x),
                        static_cast<std::ptrdiff_t>(record.clip.origin.y), 0};
  sources_[1].offset = record.offset;
  sourceSize_ = record.clip.size;
  if (const auto* pool = dynamic_cast<const nn::PoolRecord*>(&record)) doSetZeroPad(pool->zeroPadX, pool->zeroPadY);
}

void CNNPoolingGradient::doEncode(nn::Call& call) {
  const Source& s = sources_[1];
  nn::Tensor g = call.sources[0];
  const nn::Tensor& src = call.sources[1];
  // The gradient pixels that count. A primaryOffset left of the image moves the first window instead.
  std::int64_t firstX = call.geometry[0].offsetX, firstY = call.geometry[0].offsetY;
  const auto endOf = [](std::int64_t first, std::size_t size, std::int64_t extent) {
    return size >= static_cast<std::size_t>(std::max<std::int64_t>(0, extent - first)) ? extent
                                                                                       : first + nn::signedOf(size);
  };
  const std::int64_t endX = endOf(firstX, sourceSize_.width, g.w()), endY = endOf(firstY, sourceSize_.height, g.h());
  std::int64_t centreX = call.geometry[1].offsetX, centreY = call.geometry[1].offsetY;
  const std::int64_t cutX = std::max<std::int64_t>(0, -firstX), cutY = std::max<std::int64_t>(0, -firstY);
  firstX += cutX;
  firstY += cutY;
  const std::int64_t originalX = centreX, originalY = centreY;
  centreX += cutX * nn::signedOf(s.strideX);
  centreY += cutY * nn::signedOf(s.strideY);

  // By hand the destination starts at the first pixel of the first window; from a state it lies as the source does.
  const std::int64_t extentX = maths::dilatedExtent(nn::signedOf(s.kernelWidth), nn::signedOf(s.dilationX));
  const std::int64_t extentY = maths::dilatedExtent(nn::signedOf(s.kernelHeight), nn::signedOf(s.dilationY));
  const std::int64_t p0x = call.automatic ? 0 : maths::firstPooledPixel(originalX, extentX);
  const std::int64_t p0y = call.automatic ? 0 : maths::firstPooledPixel(originalY, extentY);

  const bool whole = p0x == 0 && p0y == 0 && call.destination.w() == src.w() && call.destination.h() == src.h();
  const nn::Tensor all =
      whole ? call.destination : call.list.temporaryImage(prim::DType::F32, src.n(), src.h(), src.w(), src.c());
  if (endX <= firstX || endY <= firstY) {
    call.list.op(prim::Fill{0.f}, {call.destination.write()});
    return;
  }
  g = g.slice(1, firstY, endY - firstY).slice(2, firstX, endX - firstX);
  prim::Pool pool;
  pool.direction = prim::Direction::Data;
  pool.kind = nn::primKind(poolKind());
  pool.y = nn::windowOf(s.kernelHeight, s.strideY, s.dilationY, centreY);
  pool.x = nn::windowOf(s.kernelWidth, s.strideX, s.dilationX, centreX);
  pool.zeroEdge = s.edgeMode == ImageEdgeMode::Zero;
  pool.zeroPadY = nn::zeroPad(*this, zeroPadY());
  pool.zeroPadX = nn::zeroPad(*this, zeroPadX());
  call.list.op(pool, {g.read(), src.read(), all.write()});
  if (whole) return;
  prim::Copy place;
  place.shift = {0, static_cast<std::int32_t>(p0y), static_cast<std::int32_t>(p0x), 0};
  call.list.op(place, {all.read(), call.destination.write()});
}

}  // namespace kovar::MPS
