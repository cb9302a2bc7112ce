// Spatial, local-contrast and cross-channel normalization: windows of neighbours, one primitive.

#include "kovar/MPS/NN/CNNNormalization.hpp"

#include "base/edge.hpp"
#include "maths/geometry.hpp"
#include "nn/core/access.hpp"
#include "nn/core/pointwise.hpp"

namespace kovar::nn {
namespace {

using prim::LocalNorm;
using prim::LocalNormKind;

constexpr std::size_t kLargest = 4096;  // a window's size

/// What a forward kernel computed, for its gradient.
struct LocalNormRecord : ForwardRecord {
  LocalNorm norm;
};

std::size_t checkedSize(const std::string& who, const char* property, std::size_t size) {
  if (size == 0 || size > kLargest)
    base::raise(who + ": " + property + " is " + std::to_string(size) + "; it must lie between 1 and " +
                std::to_string(kLargest));
  return size;
}

void checkWindow(const std::string& who, std::size_t kernelWidth, std::size_t kernelHeight) {
  if (kernelWidth != kernelHeight)
    base::raise(who + ": kernelWidth " + std::to_string(kernelWidth) + " and kernelHeight " +
                std::to_string(kernelHeight) + " differ; only square windows are defined");
  checkedSize(who, "kernelWidth", kernelWidth);
}

/// Parameters for which the formula has a value everywhere.
void checkParameters(const MPS::Kernel& who, const LocalNorm& d) {
  const auto refuse = [&](const char* name, float value, const char* wanted) {
    base::raise(Access::described(who) + ": " + name + " is " + std::to_string(value) + "; it must be " + wanted);
  };
  if (!(d.alpha >= 0.f)) refuse("alpha", d.alpha, "at least 0");
  if (d.beta != d.beta) refuse("beta", d.beta, "a number");
  if (!(d.delta >= 0.f)) refuse("delta", d.delta, "at least 0, above 0 wherever a window may hold zeros alone");
}

std::int32_t narrow(std::int64_t v, const MPS::Kernel& who) {
  if (v < -(std::int64_t{1} << 30) || v > (std::int64_t{1} << 30))
    base::raise(Access::described(who) + ": a window at " + std::to_string(v) + " pixels lies beyond any image");
  return static_cast<std::int32_t>(v);
}

LocalNorm square(LocalNormKind kind, std::size_t kernel) {
  LocalNorm d;
  d.kind = kind;
  d.y.kernel = d.x.kernel = static_cast<std::int32_t>(kernel);
  return d;
}

LocalNorm across(std::size_t kernelSize) {
  LocalNorm d;
  d.channels = static_cast<std::int32_t>(kernelSize);
  return d;
}

Ref<MPS::State> recordState(const StateRequest& request, const LocalNorm& d) {
  auto record = std::make_shared<LocalNormRecord>();
  static_cast<ForwardRecord&>(*record) = request.record;
  record->norm = d;
  return Access::plainGradientState(request, std::move(record));
}

/// The forward kernel's description, which must have the window of `own`.
const LocalNorm& adopted(const ForwardRecord& record, const LocalNorm& own, const MPS::Kernel& who) {
  const auto* r = dynamic_cast<const LocalNormRecord*>(&record);
  if (!r || r->norm.kind != own.kind)
    base::raise(Access::described(who) +
                ": the gradient state was made by a kernel of another class; use the state of this gradient's "
                "forward kernel");
  if (r->norm.y.kernel != own.y.kernel || r->norm.x.kernel != own.x.kernel || r->norm.channels != own.channels)
    base::raise(Access::described(who) +
                ": the forward kernel's window has another size; make the gradient kernel with the same");
  return r->norm;
}

const ForwardRecord* recordOf(const Call& call) {
  const auto* state = call.states.empty() ? nullptr : dynamic_cast<const MPS::NNGradientState*>(call.states[0].get());
  return state ? Access::record(*state).get() : nullptr;
}

void encodeWindows(Call& call, LocalNorm d, const MPS::Kernel& who) {
  checkParameters(who, d);
  const std::int64_t firstY = call.geometry[0].offsetY - d.y.kernel / 2,
                     firstX = call.geometry[0].offsetX - d.x.kernel / 2;
  Tensor src = call.sources[0];
  if (call.geometry[0].edgeMode == MPS::ImageEdgeMode::Clamp) {
    src = call.window(0, firstY, firstX, call.destination.h() + d.y.kernel - 1, call.destination.w() + d.x.kernel - 1);
  } else {
    d.y.pad = narrow(-firstY, who);
    d.x.pad = narrow(-firstX, who);
  }
  call.list.op(d, {src.read(), call.destination.write()});
}

/// The derivative by a part of the source that begins at (y0, x0) and is read under its edge mode, carried back to the
/// source's pixels.
Tensor throughEdges(Call& call, const LocalNorm& d, const Tensor& g, std::int64_t y0, std::int64_t x0,
                    std::int64_t height, std::int64_t width, const Tensor& to) {
  const Tensor& src = call.sources[1];
  const Tensor part = call.window(1, y0, x0, height, width);
  const Tensor gradient = call.list.temporaryImage(prim::DType::F32, src.n(), height, width, src.c());
  call.list.op(d, {g.read(), part.read(), gradient.write()});
  prim::Copy back;
  back.direction = prim::Direction::Data;
  back.shift = {0, static_cast<std::int32_t>(y0), static_cast<std::int32_t>(x0), 0};
  back.edge = static_cast<prim::Edge>(call.geometry[1].edgeMode);
  call.list.op(back, {gradient.read(), to.write()});
  return to;
}

void encodeWindowsGradient(Call& call, LocalNorm d, const MPS::Kernel& who) {
  checkParameters(who, d);
  d.direction = prim::Direction::Data;
  const Tensor& src = call.sources[1];
  const std::int64_t ky = d.y.kernel, kx = d.x.kernel;
  const auto sameExtents = [&](const Tensor& a, const Tensor& b) { return a.h() == b.h() && a.w() == b.w(); };
  const bool clamps = call.geometry[1].edgeMode == MPS::ImageEdgeMode::Clamp;
  const ForwardRecord* r = call.automatic ? recordOf(call) : nullptr;
  const bool untouched = call.geometry[0].offsetX == 0 && call.geometry[0].offsetY == 0 &&
                         call.geometry[1].offsetX == 0 && call.geometry[1].offsetY == 0 &&
                         sameExtents(call.sources[0], src) && sameExtents(call.destination, src);
  if (r || untouched) {
    // Windows lie as the forward kernel's did, the gradient is cut to the region that it wrote.
    const Tensor& g = call.sources[0];
    const std::int64_t y0 = (r ? r->offset.y : 0) - ky / 2, x0 = (r ? r->offset.x : 0) - kx / 2;
    narrow(y0, who), narrow(x0, who);
    if (clamps) {
      throughEdges(call, d, g, y0, x0, g.h() + ky - 1, g.w() + kx - 1, call.destination);
      return;
    }
    d.y.pad = static_cast<std::int32_t>(-y0);
    d.x.pad = static_cast<std::int32_t>(-x0);
    call.list.op(d, {g.read(), src.read(), call.destination.write()});
    return;
  }
  // By hand: destination pixel (y, x) is source pixel secondaryOffset + (y, x), its gradient lies at primaryOffset +
  // (y, x). All windows that hold the region's pixels take part.
  const std::int64_t h = call.destination.h(), w = call.destination.w();
  const Tensor g = call.window(0, call.geometry[0].offsetY - (ky - 1) / 2, call.geometry[0].offsetX - (kx - 1) / 2,
                               h + ky - 1, w + kx - 1);
  const Tensor all = call.list.temporaryImage(prim::DType::F32, src.n(), src.h(), src.w(), src.c());
  throughEdges(call, d, g, call.geometry[1].offsetY - (ky - 1), call.geometry[1].offsetX - (kx - 1), h + 2 * (ky - 1),
               w + 2 * (kx - 1), all);
  prim::Copy part;
  part.shift = {0, static_cast<std::int32_t>(call.geometry[1].offsetY),
                static_cast<std::int32_t>(call.geometry[1].offsetX), 0};
  call.list.op(part, {all.read(), call.destination.write()});
}

void encodeAcross(Call& call, const LocalNorm& d, const MPS::Kernel& who) {
  checkParameters(who, d);
  call.list.op(d, {call.aligned(0).read(), call.destination.write()});
}

void encodeAcrossGradient(Call& call, LocalNorm d, const MPS::Kernel& who) {
  checkParameters(who, d);
  d.direction = prim::Direction::Data;
  encodeThroughForward(call, [&](const Tensor& g, const Tensor& destination, bool translated) {
    const ForwardRecord* r = recordOf(call);
    const Tensor src = translated ? call.window(1, r->offset.y, r->offset.x, g.h(), g.w()) : call.aligned(1);
    call.list.op(d, {g.read(), src.read(), destination.write()});
  });
}

}  // namespace
}  // namespace kovar::nn

namespace kovar::MPS {

using nn::LocalNormKind;

// --- spatial

CNNSpatialNormalization::CNNSpatialNormalization(const Ref<MTL::Device>& device, std::size_t kernelWidth,
                                                 std::size_t kernelHeight)
    : CNNKernel(device) {
  nn::checkWindow("CNNSpatialNormalization", kernelWidth, kernelHeight);
  sources_[0].kernelWidth = kernelWidth;
  sources_[0].kernelHeight = kernelHeight;
}
prim::LocalNorm CNNSpatialNormalization::describe() const {
  prim::LocalNorm d = nn::square(LocalNormKind::Spatial, kernelWidth());
  d.alpha = alpha_, d.beta = beta_, d.delta = delta_;
  return d;
}
void CNNSpatialNormalization::doEncode(nn::Call& call) { nn::encodeWindows(call, describe(), *this); }
Ref<State> CNNSpatialNormalization::doResultState(const nn::StateRequest& request) {
  return nn::recordState(request, describe());
}

CNNSpatialNormalizationGradient::CNNSpatialNormalizationGradient(const Ref<MTL::Device>& device,
                                                                 std::size_t kernelWidth, std::size_t kernelHeight)
    : CNNGradientKernel(device) {
  nn::checkWindow("CNNSpatialNormalizationGradient", kernelWidth, kernelHeight);
  for (Source& s : sources_) s.kernelWidth = s.kernelHeight = kernelWidth;
}
void CNNSpatialNormalizationGradient::doEncode(nn::Call& call) {
  prim::LocalNorm d = nn::square(LocalNormKind::Spatial, secondaryKernelWidth());
  d.alpha = alpha_, d.beta = beta_, d.delta = delta_;
  nn::encodeWindowsGradient(call, d, *this);
}
void CNNSpatialNormalizationGradient::doAdopt(const nn::ForwardRecord& record,
                                              const std::vector<Ref<Image>>& sourceImages) {
  const prim::LocalNorm& d = nn::adopted(record, nn::square(LocalNormKind::Spatial, secondaryKernelWidth()), *this);
  CNNGradientKernel::doAdopt(record, sourceImages);
  alpha_ = d.alpha, beta_ = d.beta, delta_ = d.delta;
}

// --- local contrast

CNNLocalContrastNormalization::CNNLocalContrastNormalization(const Ref<MTL::Device>& device, std::size_t kernelWidth,
                                                             std::size_t kernelHeight)
    : CNNKernel(device) {
  nn::checkWindow("CNNLocalContrastNormalization", kernelWidth, kernelHeight);
  sources_[0].kernelWidth = kernelWidth;
  sources_[0].kernelHeight = kernelHeight;
}
prim::LocalNorm CNNLocalContrastNormalization::describe() const {
  prim::LocalNorm d = nn::square(LocalNormKind::Contrast, kernelWidth());
  d.alpha = alpha_, d.beta = beta_, d.delta = delta_, d.p0 = p0_, d.pm = pm_, d.ps = ps_;
  return d;
}
void CNNLocalContrastNormalization::doEncode(nn::Call& call) { nn::encodeWindows(call, describe(), *this); }
Ref<State> CNNLocalContrastNormalization::doResultState(const nn::StateRequest& request) {
  return nn::recordState(request, describe());
}

CNNLocalContrastNormalizationGradient::CNNLocalContrastNormalizationGradient(const Ref<MTL::Device>& device,
                                                                             std::size_t kernelWidth,
                                                                             std::size_t kernelHeight)
    : CNNGradientKernel(device) {
  nn::checkWindow("CNNLocalContrastNormalizationGradient", kernelWidth, kernelHeight);
  for (Source& s : sources_) s.kernelWidth = s.kernelHeight = kernelWidth;
}
void CNNLocalContrastNormalizationGradient::doEncode(nn::Call& call) {
  prim::LocalNorm d = nn::square(LocalNormKind::Contrast, secondaryKernelWidth());
  d.alpha = alpha_, d.beta = beta_, d.delta = delta_, d.p0 = p0_, d.pm = pm_, d.ps = ps_;
  nn::encodeWindowsGradient(call, d, *this);
}
void CNNLocalContrastNormalizationGradient::doAdopt(const nn::ForwardRecord& record,
                                                    const std::vector<Ref<Image>>& sourceImages) {
  const prim::LocalNorm& d = nn::adopted(record, nn::square(LocalNormKind::Contrast, secondaryKernelWidth()), *this);
  CNNGradientKernel::doAdopt(record, sourceImages);
  alpha_ = d.alpha, beta_ = d.beta, delta_ = d.delta, p0_ = d.p0, pm_ = d.pm, ps_ = d.ps;
}

// --- cross channel

CNNCrossChannelNormalization::CNNCrossChannelNormalization(const Ref<MTL::Device>& device, std::size_t kernelSize)
    : CNNKernel(device), kernelSize_(nn::checkedSize("CNNCrossChannelNormalization", "kernelSize", kernelSize)) {}
prim::LocalNorm CNNCrossChannelNormalization::describe() const {
  prim::LocalNorm d = nn::across(kernelSize_);
  d.alpha = alpha_, d.beta = beta_, d.delta = delta_;
  return d;
}
void CNNCrossChannelNormalization::doEncode(nn::Call& call) { nn::encodeAcross(call, describe(), *this); }
Ref<State> CNNCrossChannelNormalization::doResultState(const nn::StateRequest& request) {
  return nn::recordState(request, describe());
}

CNNCrossChannelNormalizationGradient::CNNCrossChannelNormalizationGradient(const Ref<MTL::Device>& device,
                                                                           std::size_t kernelSize)
    : CNNGradientKernel(device),
      kernelSize_(nn::checkedSize("CNNCrossChannelNormalizationGradient", "kernelSize", kernelSize)) {}
void CNNCrossChannelNormalizationGradient::doEncode(nn::Call& call) {
  prim::LocalNorm d = nn::across(kernelSize_);
  d.alpha = alpha_, d.beta = beta_, d.delta = delta_;
  nn::encodeAcrossGradient(call, d, *this);
}
void CNNCrossChannelNormalizationGradient::doAdopt(const nn::ForwardRecord& record,
                                                   const std::vector<Ref<Image>>& sourceImages) {
  const prim::LocalNorm& d = nn::adopted(record, nn::across(kernelSize_), *this);
  CNNGradientKernel::doAdopt(record, sourceImages);
  alpha_ = d.alpha, beta_ = d.beta, delta_ = d.delta;
}

}  // namespace kovar::MPS
