#include "nn/core/encoder.hpp"

#include <algorithm>
#include <optional>
#include <tuple>
#include <utility>

#include "base/edge.hpp"
#include "base/range.hpp"
#include "nn/core/access.hpp"

namespace kovar::nn {
namespace {

std::string size2(std::size_t w, std::size_t h) { return std::to_string(w) + " x " + std::to_string(h); }

/// Offsets beyond this are refused: positions computed from one stay far from the limits of their types.
constexpr std::ptrdiff_t kFarthest = std::ptrdiff_t{1} << 28;

bool hasUse(MTL::TextureUsage usage, MTL::TextureUsage wanted) {
  return usage == MTL::TextureUsage::Unknown || (usage & wanted) == wanted;
}

/// Puts the list back as it was unless the encode went through.
class Transaction {
 public:
  explicit Transaction(rt::CommandBufferState& state) : state_(state), mark_(state.mark()) {}
  ~Transaction() {
    if (!done_) state_.rollBack(mark_);
  }
  void done() { done_ = true; }

 private:
  rt::CommandBufferState& state_;
  rt::CommandBufferState::Mark mark_;
  bool done_ = false;
};

}  // namespace

std::optional<Tensor> joined(Images images) {
  const std::span<const Ref<MPS::Image>> looks = images.looks();
  const rt::StorageRef& storage = Access::storage(*looks[0]);
  const prim::View first = Access::view(*looks[0]);
  Tensor all{storage, first};
  if (images.size() == 1) return all;
  if (looks.size() == 1) {  // a series: each right behind the one before
    all.view.dims[0] = static_cast<std::int64_t>(images.size());
    return all;
  }
  std::int64_t step = 0;
  for (std::size_t i = 1; i < looks.size(); ++i) {
    const prim::View v = Access::view(*looks[i]);
    if (Access::storage(*looks[i]) != storage || v.strides != first.strides || v.dims != first.dims) return {};
    if (i == 1) step = v.offset - first.offset;
    if (step <= 0 || v.offset != first.offset + static_cast<std::int64_t>(i) * step) return {};
  }
  if (first.dim(0) != 1) return {};
  all.view.dims[0] = static_cast<std::int64_t>(images.size());
  all.view.strides[0] = step;
  return all;
}

Encoder::Encoder(MPS::CNNKernelBase& kernel, const Ref<MTL::CommandBuffer>& commandBuffer, const char* method)
    : kernel_(kernel),
      commandBuffer_(commandBuffer),
      method_(method),
      list_(commandBuffer ? commandBuffer : (refuse("commandBuffer is null"), commandBuffer)) {
  if (list_.state().device() != rt::Access::state(kernel.device_))
    refuse("the kernel belongs to device " + kernel.device()->identifier() + ", the command buffer to " +
           commandBuffer->device()->identifier() + "; use copy(device) for a kernel of the other device");
}

void Encoder::refuse(const std::string& text) const {
  base::raise(Access::described(kernel_) + "." + method_ + ": " + text);
}

void Encoder::checkImage(const MPS::Image& image, const Role& role, MTL::TextureUsage use,
                         const rt::Storage* knownStorage) const {
  const rt::StorageRef& storage = Access::storage(image);
  if (storage->device() != rt::Access::state(kernel_.device_))
    refuse(role.text() + " belongs to device " + image.device()->identifier() + ", the kernel to " +
           kernel_.device()->identifier() + "; use one device's objects");
  if (const auto* t = Access::temporary(&image)) {
    if (t->readCount() == 0)
      refuse(role.text() + " (" + Access::described(image) +
             ") is used up: its readCount is 0 and its storage may be another's; raise "
             "readCount before the encode that read it last");
    if (storage.get() != knownStorage && storage->temporary() && storage->owner() != rt::Access::state(commandBuffer_))
      refuse(role.text() +
             " is a temporary image of another command buffer; temporaries live in the buffer they were made for");
  }
  if (!kernel_.skipsValidation() && !hasUse(image.usage(), use))
    refuse(role.text() + " was made without " + (use == MTL::TextureUsage::ShaderRead ? "ShaderRead" : "ShaderWrite") +
           " in its usage; set it in the ImageDescriptor");
}

void Encoder::checkBatch(Images images, const std::string& role, MTL::TextureUsage use) const {
  const rt::Storage* known = nullptr;
  const std::span<const Ref<MPS::Image>> looks = images.looks();
  for (std::size_t i = 0; i < looks.size(); ++i) {
    const Role name{role, i, images.size() > 1};
    if (!looks[i]) refuse(name.text() + " is null");
    checkImage(*looks[i], name, use, known);
    known = Access::storage(*looks[i]).get();
    if (images.size() == 1) continue;
    const MPS::Image &a = *looks[0], &b = *looks[i];
    if (b.numberOfImages() != 1)
      refuse(name.text() + " holds " + std::to_string(b.numberOfImages()) + " images; in a batch each holds one");
    if (a.width() != b.width() || a.height() != b.height() || a.featureChannels() != b.featureChannels() ||
        a.featureChannelFormat() != b.featureChannelFormat())
      refuse(name.text() + " is " + size2(b.width(), b.height()) + " x " + std::to_string(b.featureChannels()) +
             ", the first of the batch " + size2(a.width(), a.height()) + " x " + std::to_string(a.featureChannels()) +
             "; a batch has one size and format");
  }
}

void Encoder::checkStates(const MPS::StateBatch& states, std::size_t count) const {
  if (states.empty()) return;
  if (states.size() != count)
    refuse(std::to_string(states.size()) + " states for " + std::to_string(count) +
           " images; give one state per image");
  for (const auto& s : MPS::BatchView<MPS::State>(states).looks())
    if (s) checkReadable(*s, kernel_, [this](const std::string& text) { refuse(text); });
}

void Encoder::checkAliasing(std::span<const Images> sources, Images destinations) const {
  // Batches mostly lie in one storage each: then one look says that they are apart.
  const auto storageOf = [](Images images) -> const rt::Storage* {
    const rt::Storage* first = Access::storage(*images.front()).get();
    for (const auto& image : images.looks())
      if (Access::storage(*image).get() != first) return nullptr;
    return first;
  };
  const rt::Storage* written = storageOf(destinations);
  for (const Images& batch : sources) {
    const rt::Storage* read = storageOf(batch);
    if (written && read && written != read) continue;
    for (const auto& destination : destinations.all())
      for (const auto& s : batch.all()) {
        if (Access::storage(*s) != Access::storage(*destination)) continue;
        const prim::View a = Access::view(*s), b = Access::view(*destination);
        // Channel ranges of one image do not overlap when their lanes do not.
        const auto laneOf = [](const prim::View& v) { return v.stride(2) ? v.offset % v.stride(2) : 0; };
        const bool sameGrid = a.stride(2) == b.stride(2) && a.stride(1) == b.stride(1);
        const bool lanesApart = sameGrid && (laneOf(a) + a.dim(3) <= laneOf(b) || laneOf(b) + b.dim(3) <= laneOf(a));
        if (a.end() > b.offset && b.end() > a.offset && !lanesApart)
          refuse("the destination shares memory with a source; no kernel works in place, use another image");
      }
  }
}

MTL::Region Encoder::effectiveRegion(const MPS::Image& destination, const MPS::Image& source, bool batch) const {
  const MTL::Region& clip = kernel_.clipRect_;
  constexpr std::size_t kAll = MPS::RectNoClip.size.width;
  const auto limit = [](std::size_t origin, std::size_t size, std::size_t extent) {
    const std::size_t from = std::min(origin, extent);
    return std::pair{from, std::min(size, extent - from)};
  };
  MTL::Region r;
  std::tie(r.origin.x, r.size.width) = limit(clip.origin.x, clip.size.width, destination.width());
  std::tie(r.origin.y, r.size.height) = limit(clip.origin.y, clip.size.height, destination.height());
  r.size.depth = 1;
  if (batch) return r;
  const std::ptrdiff_t oz = kernel_.sources_[0].offset.z;
  if (oz < 0) refuse("offset.z is " + std::to_string(oz) + "; the first source image cannot be negative");
  const auto firstSource = static_cast<std::size_t>(oz);
  const std::size_t haveS = source.numberOfImages(), haveD = destination.numberOfImages();
  r.origin.z = clip.origin.z;
  if (const std::size_t each = kernel_.doImagesPerSource(); each > 1) {
    if (firstSource != 0 || clip.origin.z != 0 || clip.size.depth != kAll || haveD != haveS * each)
      refuse("each source image gives " + std::to_string(each) + " images, the destination has " +
             std::to_string(haveD) + " for " + std::to_string(haveS) + "; make it " + std::to_string(haveS * each) +
             " and leave offset.z and clipRect's images at their defaults");
    r.size.depth = haveS;
    return r;
  }
  if (firstSource > haveS || clip.origin.z > haveD)
    refuse("offset.z or clipRect.origin.z lies beyond the images there are");
  r.size.depth = clip.size.depth == kAll ? std::min(haveD - clip.origin.z, haveS - firstSource) : clip.size.depth;
  if (!base::fits(firstSource, r.size.depth, haveS) || !base::fits(clip.origin.z, r.size.depth, haveD))
    refuse("clipRect asks for " + std::to_string(r.size.depth) + " images, the source has " +
           std::to_string(haveS - firstSource) + " from offset.z on, the destination " +
           std::to_string(haveD - clip.origin.z));
  return r;
}

Tensor Encoder::gather(Images images, std::int64_t firstImage, std::int64_t count, bool batch) {
  if (std::optional<Tensor> all = joined(images)) {
    if (!batch) all->view.cut(0, firstImage, count);
    return std::move(*all);
  }
  const prim::View one = Access::view(*images.front());
  Tensor t =
      list_.temporaryImage(one.dtype, static_cast<std::int64_t>(images.size()), one.dim(1), one.dim(2), one.dim(3));
  for (std::size_t i = 0; i < images.size(); ++i) {
    const Tensor from{Access::storage(*images[i]), Access::view(*images[i])};
    list_.op(prim::Copy{}, {from.read(), t.slice(0, static_cast<std::int64_t>(i), 1).write()});
  }
  return t;
}

void Encoder::addSource(Call& call, std::size_t index, Images images, const MTL::Region& region, bool batch) {
  const auto& s = kernel_.sources_[index];
  const std::size_t channels = images.front()->featureChannels();
  if (s.featureChannelOffset >= channels)
    refuse("the source has " + std::to_string(channels) + " feature channels, reading starts at " +
           std::to_string(s.featureChannelOffset) + "; lower the source channel offset");
  const std::size_t used = std::min(s.featureChannelMaxCount, channels - s.featureChannelOffset);
  if (used == 0) refuse("sourceFeatureChannelMaxCount is 0; nothing would be read");
  Tensor t = gather(images, s.offset.z, static_cast<std::int64_t>(region.size.depth), batch);
  t.view.cut(3, static_cast<std::int64_t>(s.featureChannelOffset), static_cast<std::int64_t>(used));
  SourceGeometry g{s.offset.x, s.offset.y, s.edgeMode};
  if (!(s.valid == MPS::RectNoClip)) {
    const auto x0 = static_cast<std::int64_t>(std::min(s.valid.origin.x, images.front()->width()));
    const auto y0 = static_cast<std::int64_t>(std::min(s.valid.origin.y, images.front()->height()));
    const auto w =
        std::min(static_cast<std::int64_t>(std::min(s.valid.size.width, images.front()->width())), t.w() - x0);
    const auto h =
        std::min(static_cast<std::int64_t>(std::min(s.valid.size.height, images.front()->height())), t.h() - y0);
    t.view.cut(1, y0, h);
    t.view.cut(2, x0, w);
    g.offsetX -= x0;
    g.offsetY -= y0;
  }
  call.sources.push_back(std::move(t));
  call.geometry.push_back(g);
}

void Encoder::checkSources(std::span<const Images> sources, std::size_t count, const char* of) const {
  if (sources.size() != kernel_.sources_.size())
    refuse(std::to_string(sources.size()) + " source images given, the kernel reads " +
           std::to_string(kernel_.sources_.size()));
  if (count == 0 || sources[0].empty()) refuse("the batch is empty; give at least one image");
  for (std::size_t i = 0; i < sources.size(); ++i) {
    const std::string role = sources.size() == 1 ? "source"
                             : i == 0            ? "primary source"
                             : i == 1            ? "secondary source"
                                                 : "source " + std::to_string(i);
    if (sources[i].size() != count)
      refuse(std::to_string(sources[i].size()) + " images as " + role + ", " + std::to_string(count) + " " + of +
             "; counts must match");
    checkBatch(sources[i], role, MTL::TextureUsage::ShaderRead);
    for (const std::ptrdiff_t offset : {kernel_.sources_[i].offset.x, kernel_.sources_[i].offset.y})
      if (offset < -kFarthest || offset > kFarthest)
        base::raise(Access::described(kernel_) + ": an offset of " + std::to_string(offset) +
                    " pixels lies beyond any image");
    if (!kernel_.doSupportsEdgeMode(kernel_.sources_[i].edgeMode))
      refuse("edge mode " + std::to_string(static_cast<std::size_t>(kernel_.sources_[i].edgeMode)) +
             " is not one this kernel knows; use Zero or Clamp");
  }
}

void Encoder::encodeReading(std::span<const Images> sources) {
  checkSources(sources, sources.empty() ? 0 : sources[0].size(), "as first source");
  Transaction transaction(list_.state());
  const MPS::StateBatch states;
  Call call{list_, {}, {}, {}, states, {}, true};
  for (std::size_t i = 0; i < sources.size(); ++i) addSource(call, i, sources[i], {}, true);
  kernel_.doEncode(call);
  transaction.done();
  for (const auto& s : sources) Access::chargeRead(s);
}

void Encoder::encode(std::span<const Images> sources, const MPS::StateBatch& states, Images destinations, bool batch,
                     bool automatic) {
  const std::size_t count = destinations.size();
  checkSources(sources, count, "as destination");
  checkBatch(destinations, "destination", MTL::TextureUsage::ShaderWrite);
  checkStates(states, count);
  checkAliasing(sources, destinations);

  const MTL::Region region = effectiveRegion(*destinations.front(), *sources[0].front(), batch);
  const bool anything = region.size.width > 0 && region.size.height > 0 && region.size.depth > 0;
  if (anything) {
    Transaction transaction(list_.state());
    Call call{list_, {}, {}, {}, states, region, automatic};
    call.sources.reserve(sources.size());
    call.geometry.reserve(sources.size());
    for (std::size_t i = 0; i < sources.size(); ++i) addSource(call, i, sources[i], region, batch);
    std::vector<std::size_t> used;
    used.reserve(sources.size());
    for (const Tensor& t : call.sources) used.push_back(static_cast<std::size_t>(t.c()));
    const MPS::Image& one = *destinations.front();
    const auto written = static_cast<std::int64_t>(kernel_.doWrittenChannels(used, states, one, automatic));
    const auto first = static_cast<std::int64_t>(kernel_.destinationFeatureChannelOffset_);
    const auto channels = static_cast<std::int64_t>(one.featureChannels());
    if (first + written > channels)
      refuse("the destination has " + std::to_string(channels) + " feature channels, the kernel writes " +
             std::to_string(written) + " from channel " + std::to_string(first) + " on; make it at least " +
             std::to_string(first + written) + " channels");

    const auto cutToRegion = [&](prim::View& v) {
      v.cut(1, static_cast<std::int64_t>(region.origin.y), static_cast<std::int64_t>(region.size.height));
      v.cut(2, static_cast<std::int64_t>(region.origin.x), static_cast<std::int64_t>(region.size.width));
      v.cut(3, first, written);
    };
    if (std::optional<Tensor> whole = joined(destinations)) {
      cutToRegion(whole->view);
      if (!batch)
        whole->view.cut(0, static_cast<std::int64_t>(region.origin.z),
                        static_cast<std::int64_t>(region.size.depth * kernel_.doImagesPerSource()));
      call.destination = std::move(*whole);
      kernel_.doEncode(call);
    } else {
      call.destination = list_.temporaryImage(dtypeOf(one.featureChannelFormat()), static_cast<std::int64_t>(count),
                                              static_cast<std::int64_t>(region.size.height),
                                              static_cast<std::int64_t>(region.size.width), written);
      kernel_.doEncode(call);
      for (std::size_t i = 0; call.destinationWritten && i < count; ++i) {
        const MPS::Image& one = *destinations.all()[i];
        Tensor to{Access::storage(one), Access::view(one)};
        cutToRegion(to.view);
        // A kernel may leave the end of the region as it was.
        to.view.cut(1, 0, call.destination.h());
        to.view.cut(2, 0, call.destination.w());
        list_.op(prim::Copy{}, {call.destination.slice(0, static_cast<std::int64_t>(i), 1).read(), to.write()});
      }
    }
    transaction.done();
  }
  for (const auto& s : sources) Access::chargeRead(s);
  if (!states.empty() && kernel_.doReadsState() && dynamic_cast<MPS::CNNGradientKernel*>(&kernel_))
    Access::chargeRead(states);
}

}  // namespace kovar::nn
