#include "nn/reduce.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/edge.hpp"
#include "maths/arithmetic.hpp"
#include "nn/core/access.hpp"

namespace kovar::nn {
namespace {

/// Where the mean was taken, for its gradient.
struct SpatialMeanRecord : ForwardRecord {
  MTL::Region part;
};

prim::ReduceKind kindOf(ReductionKind kind) {
  static constexpr prim::ReduceKind kKinds[] = {prim::ReduceKind::Min,    prim::ReduceKind::Max,
                                                prim::ReduceKind::Mean,   prim::ReduceKind::Sum,
                                                prim::ReduceKind::ArgMin, prim::ReduceKind::ArgMax};
  return kKinds[static_cast<std::size_t>(kind)];
}

bool reducesX(ReducedAxis axis) { return axis == ReducedAxis::Row || axis == ReducedAxis::Pixels; }
bool reducesY(ReducedAxis axis) { return axis == ReducedAxis::Column || axis == ReducedAxis::Pixels; }

/// The part of an extent that a range takes.
std::pair<std::size_t, std::size_t> cut(std::size_t origin, std::size_t size, std::size_t extent) {
  const std::size_t from = std::min(origin, extent);
  return {from, std::min(size, extent - from)};
}

/// The pixels and images of a source that a clip rectangle leaves.
MTL::Region partOf(const MPS::Kernel& who, const char* property, const MTL::Region& clip, const MPS::Image& image) {
  MTL::Region r;
  std::tie(r.origin.x, r.size.width) = cut(clip.origin.x, clip.size.width, image.width());
  std::tie(r.origin.y, r.size.height) = cut(clip.origin.y, clip.size.height, image.height());
  std::tie(r.origin.z, r.size.depth) = cut(clip.origin.z, clip.size.depth, image.numberOfImages());
  if (r.size.width == 0 || r.size.height == 0 || r.size.depth == 0)
    base::raise(Access::described(who) + "." + property + ": it holds no pixel of a source of " +
                std::to_string(image.width()) + " x " + std::to_string(image.height()) + " pixels and " +
                std::to_string(image.numberOfImages()) + " images");
  return r;
}

/// The same of a source that is a tensor already cut.
void checkPart(const MPS::Kernel& who, const char* property, const Tensor& t, const MTL::Region& clip) {
  if (t.w() < 1 || t.h() < 1 || clip.size.depth == 0)
    base::raise(Access::described(who) + "." + property + ": it holds no pixel of the source");
}

/// Descriptor of a result that a reduction makes itself.
Ref<MPS::ImageDescriptor> reduced(const MTL::Region& part, bool x, bool y, std::size_t channels,
                                  MPS::ImageFeatureChannelFormat format) {
  auto d = MPS::ImageDescriptor::imageDescriptor(format, x ? 1 : part.size.width, y ? 1 : part.size.height, channels);
  d->setNumberOfImages(part.size.depth);
  return d;
}

/// Cuts result and sources to the pixels and images that both have.
void alignWith(Tensor& dst, std::initializer_list<Tensor*> sources, bool x, bool y, std::size_t depth) {
  const Tensor& src = **sources.begin();
  const auto images = static_cast<std::int64_t>(std::min(depth, static_cast<std::size_t>(dst.n())));
  const std::int64_t w = std::min(dst.w(), x ? 1 : src.w()), h = std::min(dst.h(), y ? 1 : src.h());
  dst = dst.slice(0, 0, images).slice(1, 0, h).slice(2, 0, w);
  for (Tensor* s : sources) {
    *s = s->slice(0, 0, images);
    if (!y) *s = s->slice(1, 0, h);
    if (!x) *s = s->slice(2, 0, w);
  }
}

/// How many images of one image object a clip rectangle leaves. A batch has them in as many objects, and z means
/// nothing.
std::size_t imagesOf(const Call& call, const MTL::Region& clip) {
  const bool one = call.region.size.depth == static_cast<std::size_t>(call.destination.n());
  return one ? clip.size.depth : std::numeric_limits<std::size_t>::max();
}

std::size_t usedOf(const MPS::Kernel& who, std::size_t offset, std::size_t most, const MPS::Image& image) {
  if (offset >= image.featureChannels())
    base::raise(Access::described(who) + ": the source has " + std::to_string(image.featureChannels()) +
                " feature channels, reading starts at " + std::to_string(offset));
  return std::min(most, image.featureChannels() - offset);
}

prim::EwStep step(prim::EwOp op, std::uint8_t dst, std::uint8_t a, std::uint8_t b = 0, std::uint8_t arg = 0) {
  prim::EwStep s;
  s.op = op;
  s.dst = dst;
  s.a = a;
  s.b = b;
  s.arg = arg;
  return s;
}

}  // namespace

SpatialMean::SpatialMean(const Ref<MTL::Device>& device)
    : NNReduceUnary(device, ReducedAxis::Pixels, ReductionKind::Mean) {}

Ref<MPS::State> SpatialMean::doResultState(const StateRequest& request) {
  auto record = std::make_shared<SpatialMeanRecord>();
  static_cast<ForwardRecord&>(*record) = request.record;
  record->part = partOf(*this, "clipRectSource", clipRectSource(), *request.source);
  return Access::plainGradientState(request, std::move(record));
}

void SpatialMeanGradient::doAdopt(const ForwardRecord& record, const std::vector<Ref<MPS::Image>>& sourceImages) {
  CNNGradientKernel::doAdopt(record, sourceImages);
  sources_[0].offset = {};
  sources_[1].offset = {};
}

void SpatialMeanGradient::doEncode(Call& call) {
  const auto* state = call.states.empty() ? nullptr : dynamic_cast<const MPS::NNGradientState*>(call.states[0].get());
  const auto* record = state ? dynamic_cast<const SpatialMeanRecord*>(Access::record(*state).get()) : nullptr;
  if (!record) base::raise(described() + ": needs the state that the forward stage made");
  const MTL::Region& part = record->part;
  const auto signedOf = [](std::size_t v) { return static_cast<std::int64_t>(v); };
  const bool whole =
      signedOf(part.size.width) == call.destination.w() && signedOf(part.size.height) == call.destination.h();
  if (!whole) call.list.op(prim::Fill{0.f}, {call.destination.write()});
  const Tensor to = call.destination.slice(1, signedOf(part.origin.y), signedOf(part.size.height))
                        .slice(2, signedOf(part.origin.x), signedOf(part.size.width));
  Tensor g = call.sources[0];
  for (int axis = 1; axis < 3; ++axis) {
    const auto a = static_cast<std::size_t>(axis);
    g.view.dims[a] = to.view.dims[a];
    g.view.strides[a] = 0;
  }
  prim::Elementwise ew;
  ew.program.push(step(prim::EwOp::Load, 0, 0));
  prim::EwStep share = step(prim::EwOp::Affine, 0, 0);
  share.p = {static_cast<float>(1.0 / (static_cast<double>(part.size.width) * static_cast<double>(part.size.height))),
             0.f, 0.f};
  ew.program.push(share);
  ew.program.push(step(prim::EwOp::Store, 0, 0, 0, 1));
  call.list.op(ew, {g.read(), to.write()});
}

}  // namespace kovar::nn

namespace kovar::MPS {

using nn::ReducedAxis;
using nn::ReductionKind;

NNReduceUnary::NNReduceUnary(const Ref<MTL::Device>& device, ReducedAxis axis, ReductionKind kind)
    : CNNKernel(device), axis_(axis), kind_(kind) {}

void NNReduceUnary::setClipRectSource(MTL::Region clipRectSource) {
  sources_[0].valid = clipRectSource;
  sources_[0].offset.z = static_cast<std::ptrdiff_t>(std::min<std::size_t>(clipRectSource.origin.z, 1u << 30));
}

std::size_t NNReduceUnary::doDestinationChannels(const std::vector<std::size_t>& used) {
  return axis_ == ReducedAxis::Channels ? 1 : used[0];
}

Ref<ImageDescriptor> NNReduceUnary::doDestinationImageDescriptor(const std::vector<Ref<Image>>& sourceImages,
                                                                 const std::vector<Ref<State>>&) {
  const Image& image = *sourceImages[0];
  const Source& s = sources_[0];
  const MTL::Region part = nn::partOf(*this, "clipRectSource", s.valid, image);
  const std::size_t used = nn::usedOf(*this, s.featureChannelOffset, s.featureChannelMaxCount, image);
  ImageFeatureChannelFormat format = image.featureChannelFormat();
  const bool index = kind_ == ReductionKind::ArgumentMin || kind_ == ReductionKind::ArgumentMax;
  if (index && (format == ImageFeatureChannelFormat::Unorm8 || format == ImageFeatureChannelFormat::Unorm16))
    format = ImageFeatureChannelFormat::Float16;
  return nn::reduced(part, nn::reducesX(axis_), nn::reducesY(axis_),
                     doDestinationChannels({used}) + destinationFeatureChannelOffset_, format);
}

void NNReduceUnary::doEncode(nn::Call& call) {
  nn::checkPart(*this, "clipRectSource", call.sources[0], sources_[0].valid);
  nn::Tensor src = call.sources[0], &dst = call.destination;
  nn::alignWith(dst, {&src}, nn::reducesX(axis_), nn::reducesY(axis_), nn::imagesOf(call, sources_[0].valid));
  prim::Reduce reduce;
  reduce.kind = nn::kindOf(kind_);
  reduce.scale = factor();
  call.list.op(reduce, {src.read(), dst.write()});
}

NNReduceRowMin::NNReduceRowMin(const Ref<MTL::Device>& device)
    : NNReduceUnary(device, ReducedAxis::Row, ReductionKind::Min) {}
NNReduceColumnMin::NNReduceColumnMin(const Ref<MTL::Device>& device)
    : NNReduceUnary(device, ReducedAxis::Column, ReductionKind::Min) {}
NNReduceFeatureChannelsMin::NNReduceFeatureChannelsMin(const Ref<MTL::Device>& device)
    : NNReduceUnary(device, ReducedAxis::Channels, ReductionKind::Min) {}
NNReduceFeatureChannelsArgumentMin::NNReduceFeatureChannelsArgumentMin(const Ref<MTL::Device>& device)
    : NNReduceUnary(device, ReducedAxis::Channels, ReductionKind::ArgumentMin) {}
NNReduceRowMax::NNReduceRowMax(const Ref<MTL::Device>& device)
    : NNReduceUnary(device, ReducedAxis::Row, ReductionKind::Max) {}
NNReduceColumnMax::NNReduceColumnMax(const Ref<MTL::Device>& device)
    : NNReduceUnary(device, ReducedAxis::Column, ReductionKind::Max) {}
NNReduceFeatureChannelsMax::NNReduceFeatureChannelsMax(const Ref<MTL::Device>& device)
    : NNReduceUnary(device, ReducedAxis::Channels, ReductionKind::Max) {}
NNReduceFeatureChannelsArgumentMax::NNReduceFeatureChannelsArgumentMax(const Ref<MTL::Device>& device)
    : NNReduceUnary(device, ReducedAxis::Channels, ReductionKind::ArgumentMax) {}
NNReduceRowMean::NNReduceRowMean(const Ref<MTL::Device>& device)
    : NNReduceUnary(device, ReducedAxis::Row, ReductionKind::Mean) {}
NNReduceColumnMean::NNReduceColumnMean(const Ref<MTL::Device>& device)
    : NNReduceUnary(device, ReducedAxis::Column, ReductionKind::Mean) {}
NNReduceFeatureChannelsMean::NNReduceFeatureChannelsMean(const Ref<MTL::Device>& device)
    : NNReduceUnary(device, ReducedAxis::Channels, ReductionKind::Mean) {}
NNReduceRowSum::NNReduceRowSum(const Ref<MTL::Device>& device)
    : NNReduceUnary(device, ReducedAxis::Row, ReductionKind::Sum) {}
NNReduceColumnSum::NNReduceColumnSum(const Ref<MTL::Device>& device)
    : NNReduceUnary(device, ReducedAxis::Column, ReductionKind::Sum) {}
NNReduceFeatureChannelsSum::NNReduceFeatureChannelsSum(const Ref<MTL::Device>& device)
    : NNReduceUnary(device, ReducedAxis::Channels, ReductionKind::Sum) {}

NNReduceBinary::NNReduceBinary(const Ref<MTL::Device>& device) : CNNBinaryKernel(device) {}

void NNReduceBinary::setPrimarySourceClipRect(MTL::Region primarySourceClipRect) {
  sources_[0].valid = primarySourceClipRect;
  sources_[0].offset.z = static_cast<std::ptrdiff_t>(std::min<std::size_t>(primarySourceClipRect.origin.z, 1u << 30));
}
void NNReduceBinary::setSecondarySourceClipRect(MTL::Region secondarySourceClipRect) {
  sources_[1].valid = secondarySourceClipRect;
  sources_[1].offset.z = static_cast<std::ptrdiff_t>(std::min<std::size_t>(secondarySourceClipRect.origin.z, 1u << 30));
}

std::size_t NNReduceBinary::doDestinationChannels(const std::vector<std::size_t>& used) {
  if (used.size() > 1 && used[0] != used[1])
    base::raise(described() + ".encode: the primary source gives " + std::to_string(used[0]) +
                " feature channels, the secondary " + std::to_string(used[1]) + "; each value takes one weight");
  return 1;
}

Ref<ImageDescriptor> NNReduceBinary::doDestinationImageDescriptor(const std::vector<Ref<Image>>& sourceImages,
                                                                  const std::vector<Ref<State>>&) {
  const Image& image = *sourceImages[0];
  const MTL::Region part = nn::partOf(*this, "primarySourceClipRect", sources_[0].valid, image);
  nn::usedOf(*this, sources_[0].featureChannelOffset, sources_[0].featureChannelMaxCount, image);
  return nn::reduced(part, false, false, 1 + destinationFeatureChannelOffset_, image.featureChannelFormat());
}

void NNReduceBinary::doEncode(nn::Call& call) {
  using prim::EwOp;
  nn::Tensor x = call.sources[0], w = call.sources[1], &dst = call.destination;
  nn::checkPart(*this, "primarySourceClipRect", x, sources_[0].valid);
  nn::checkPart(*this, "secondarySourceClipRect", w, sources_[1].valid);
  if (x.w() != w.w() || x.h() != w.h())
    base::raise(described() + ".encode: " + std::to_string(x.w()) + " x " + std::to_string(x.h()) + " values and " +
                std::to_string(w.w()) + " x " + std::to_string(w.h()) + " weights; their parts must be of one size");
  nn::alignWith(dst, {&x, &w}, false, false,
                std::min(nn::imagesOf(call, sources_[0].valid), nn::imagesOf(call, sources_[1].valid)));
  // The products, and where wanted which weights count, summed afterwards.
  prim::Elementwise ew;
  prim::Program& p = ew.program;
  p.push(nn::step(EwOp::Load, 0, 0, 0, 0));
  p.push(nn::step(EwOp::Load, 1, 0, 0, 1));
  p.push(nn::step(EwOp::Mul, 0, 0, 1));
  p.push(nn::step(EwOp::Store, 0, 0, 0, 2));
  const nn::Tensor products = call.list.temporaryImage(prim::DType::F32, x.n(), x.h(), x.w(), x.c());
  prim::Reduce sum;
  if (!countsWeights()) {
    call.list.op(ew, {x.read(), w.read(), products.write()});
    if (isMean()) sum.kind = prim::ReduceKind::Mean;
    call.list.op(sum, {products.read(), dst.write()});
    return;
  }
  p.push(nn::step(EwOp::Const, 2, 0));
  prim::EwStep counts = nn::step(EwOp::Compare, 1, 1, 2);
  counts.code = static_cast<std::uint8_t>(maths::ComparisonType::NotEqual);
  p.push(counts);
  p.push(nn::step(EwOp::Store, 0, 1, 0, 3));
  const nn::Tensor counted = call.list.temporaryImage(prim::DType::F32, x.n(), x.h(), x.w(), x.c());
  call.list.op(ew, {x.read(), w.read(), products.write(), counted.write()});
  const nn::Tensor total = call.list.temporaryImage(prim::DType::F32, x.n(), x.h(), x.w(), 1);
  const nn::Tensor count = call.list.temporaryImage(prim::DType::F32, x.n(), x.h(), x.w(), 1);
  call.list.op(sum, {products.read(), total.write()});
  call.list.op(sum, {counted.read(), count.write()});
  // Without a weight the sum is 0, and stays so.
  prim::Elementwise divide;
  divide.program.push(nn::step(EwOp::Load, 0, 0, 0, 0));
  divide.program.push(nn::step(EwOp::Load, 1, 0, 0, 1));
  prim::EwStep one = nn::step(EwOp::Const, 2, 0);
  one.p = {1.f, 0.f, 0.f};
  divide.program.push(one);
  divide.program.push(nn::step(EwOp::Max, 1, 1, 2));
  divide.program.push(nn::step(EwOp::Div, 0, 0, 1));
  divide.program.push(nn::step(EwOp::Store, 0, 0, 0, 2));
  call.list.op(divide, {total.read(), count.read(), dst.write()});
}

NNReduceFeatureChannelsAndWeightsMean::NNReduceFeatureChannelsAndWeightsMean(const Ref<MTL::Device>& device)
    : NNReduceBinary(device) {}
NNReduceFeatureChannelsAndWeightsSum::NNReduceFeatureChannelsAndWeightsSum(const Ref<MTL::Device>& device)
    : NNReduceFeatureChannelsAndWeightsSum(device, false) {}
NNReduceFeatureChannelsAndWeightsSum::NNReduceFeatureChannelsAndWeightsSum(const Ref<MTL::Device>& device,
                                                                           bool doWeightedSumByNonZeroWeights)
    : NNReduceBinary(device), byNonZeroWeights_(doWeightedSumByNonZeroWeights) {}

}  // namespace kovar::MPS
