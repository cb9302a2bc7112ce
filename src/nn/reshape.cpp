#include "kovar/MPS/NN/NNReshape.hpp"

#include <string>
#include <utility>

#include "base/edge.hpp"
#include "nn/core/access.hpp"

namespace kovar::MPS {
namespace {

/// True when the elements of each image lie one after another.
bool denseImages(const prim::View& v) {
  std::int64_t expected = 1;
  for (int axis = 3; axis > 0; --axis) {
    if (v.dim(axis) > 1 && v.stride(axis) != expected) return false;
    expected *= v.dim(axis);
  }
  return true;
}

/// Dense images seen with the extents of `like`.
nn::Tensor shapedAs(const nn::Tensor& t, const nn::Tensor& like) {
  prim::View v = t.view;
  v.dims = like.view.dims;
  v.strides = {t.view.stride(0), like.w() * like.c(), like.c(), 1};
  return t.as(v);
}

void reshape(nn::Call& call, const std::string& who) {
  const nn::Tensor &src = call.sources[0], &dst = call.destination;
  const auto text = [](const nn::Tensor& t) {
    return std::to_string(t.w()) + " x " + std::to_string(t.h()) + " x " + std::to_string(t.c());
  };
  if (src.h() * src.w() * src.c() != dst.h() * dst.w() * dst.c())
    base::raise(who + ".encode: " + text(src) + " values cannot become " + text(dst) +
                "; the numbers of elements must be equal");
  const auto copy = [&](const nn::Tensor& from, const nn::Tensor& to) {
    call.list.op(prim::Copy{}, {from.read(), to.write()});
  };
  if (denseImages(src.view)) return copy(shapedAs(src, dst), dst);
  if (denseImages(dst.view)) return copy(src, shapedAs(dst, src));
  const nn::Tensor dense = call.list.temporary(src.view.dtype, {src.n(), src.h(), src.w(), src.c()});
  copy(src, dense);
  copy(shapedAs(dense, dst), dst);
}

void checkWhole(const std::string& who, const Offset& offset, const MTL::Region& clip) {
  const MTL::Region& all = RectNoClip;
  if (offset.x != 0 || offset.y != 0 || clip.origin.x != 0 || clip.origin.y != 0 || clip.size.width != all.size.width ||
      clip.size.height != all.size.height)
    base::raise(who + ".encode: whole images are reshaped; leave offset and clipRect at their defaults");
}

std::size_t behind(const Image& destination, std::size_t offset) {
  return destination.featureChannels() > offset ? destination.featureChannels() - offset : 0;
}

/// Sets a value for the time of a call.
template <class T>
class During {
 public:
  During(T& at, T value) : at_(at), before_(std::exchange(at, std::move(value))) {}
  ~During() { at_ = std::move(before_); }

 private:
  T& at_;
  T before_;
};

}  // namespace

NNReshape::NNReshape(const Ref<MTL::Device>& device) : CNNKernel(device) {}

Ref<Image> NNReshape::encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Image>& sourceImage,
                             std::size_t reshapedWidth, std::size_t reshapedHeight,
                             std::size_t reshapedFeatureChannels) {
  return encode(commandBuffer, sourceImage, nullptr, false, reshapedWidth, reshapedHeight, reshapedFeatureChannels);
}
Ref<Image> NNReshape::encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Image>& sourceImage,
                             Ref<State>* destinationState, bool destinationStateIsTemporary, std::size_t reshapedWidth,
                             std::size_t reshapedHeight, std::size_t reshapedFeatureChannels) {
  const During shape(shape_, std::optional(MTL::Size{reshapedWidth, reshapedHeight, reshapedFeatureChannels}));
  return CNNKernel::encode(commandBuffer, sourceImage, destinationState, destinationStateIsTemporary);
}
ImageBatch NNReshape::encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& sourceImages,
                                  std::size_t reshapedWidth, std::size_t reshapedHeight,
                                  std::size_t reshapedFeatureChannels) {
  return encodeBatch(commandBuffer, sourceImages, nullptr, false, reshapedWidth, reshapedHeight,
                     reshapedFeatureChannels);
}
ImageBatch NNReshape::encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& sourceImages,
                                  StateBatch* destinationStates, bool destinationStateIsTemporary,
                                  std::size_t reshapedWidth, std::size_t reshapedHeight,
                                  std::size_t reshapedFeatureChannels) {
  const During shape(shape_, std::optional(MTL::Size{reshapedWidth, reshapedHeight, reshapedFeatureChannels}));
  return CNNKernel::encodeBatch(commandBuffer, sourceImages, destinationStates, destinationStateIsTemporary);
}

Ref<ImageDescriptor> NNReshape::doDestinationImageDescriptor(const std::vector<Ref<Image>>& sourceImages,
                                                             const std::vector<Ref<State>>& sourceStates) {
  Ref<ImageDescriptor> d = CNNKernel::doDestinationImageDescriptor(sourceImages, sourceStates);
  sources_[0].offset.x = sources_[0].offset.y = 0;
  const Image& source = *sourceImages[0];
  const MTL::Size size = shape_.value_or(MTL::Size{source.width(), source.height(), d->featureChannels()});
  if (size.width == 0 || size.height == 0 || size.depth == 0)
    base::raise(described() + ".encode: a shape of " + std::to_string(size.width) + " x " +
                std::to_string(size.height) + " x " + std::to_string(size.depth) + "; each must be at least 1");
  d->setWidth(size.width);
  d->setHeight(size.height);
  d->setFeatureChannels(shape_ ? size.depth + destinationFeatureChannelOffset_ : size.depth);
  return d;
}

std::size_t NNReshape::doWrittenChannels(const std::vector<std::size_t>&, const BatchView<State>&,
                                         const Image& destination, bool) {
  return behind(destination, destinationFeatureChannelOffset_);
}

Ref<State> NNReshape::doResultState(const nn::StateRequest& request) { return nn::Access::plainGradientState(request); }

void NNReshape::doEncode(nn::Call& call) {
  checkWhole(described(), sources_[0].offset, clipRect_);
  reshape(call, described());
}

NNReshapeGradient::NNReshapeGradient(const Ref<MTL::Device>& device) : CNNGradientKernel(device) {}

void NNReshapeGradient::doAdopt(const nn::ForwardRecord& r, const std::vector<Ref<Image>>& sourceImages) {
  CNNGradientKernel::doAdopt(r, sourceImages);
  sources_[0].offset = {};
  sources_[1].edgeMode = ImageEdgeMode::Zero;  // the forward source is not looked at
  sources_[0].featureChannelMaxCount = std::numeric_limits<std::size_t>::max();
  sources_[0].valid = RectNoClip;
}

std::size_t NNReshapeGradient::doWrittenChannels(const std::vector<std::size_t>&, const BatchView<State>&,
                                                 const Image& destination, bool) {
  return behind(destination, destinationFeatureChannelOffset_);
}

void NNReshapeGradient::doEncode(nn::Call& call) {
  checkWhole(described(), sources_[0].offset, clipRect_);
  reshape(call, described());
}

}  // namespace kovar::MPS
