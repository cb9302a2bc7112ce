// The documented faces of unary, binary, gradient and multiary kernels: every method ends in CNNKernelBase.

#include "kovar/MPS/NN/CNNKernel.hpp"

#include <utility>

#include "base/edge.hpp"
#include "nn/core/access.hpp"

namespace kovar::MPS {
namespace {

std::size_t multipleOf4(const std::string& who, const char* property, std::size_t value) {
  if (value % 4 != 0) base::raise(who + "." + property + ": " + std::to_string(value) + " is not a multiple of 4");
  return value;
}

ImageEdgeMode known(const std::string& who, ImageEdgeMode mode) {
  if (mode > ImageEdgeMode::Constant)
    base::raise(who + ".edgeMode: " + std::to_string(static_cast<std::size_t>(mode)) + " is not an ImageEdgeMode");
  return mode;
}

StateBatch oneState(const Ref<State>& state) { return state ? StateBatch{state} : StateBatch{}; }
Ref<State> firstOf(const StateBatch& states) { return states.empty() ? nullptr : states.front(); }

std::vector<nn::Images> each(const std::vector<Ref<Image>>& images) {
  std::vector<nn::Images> batches;
  batches.reserve(images.size());
  for (const auto& i : images) batches.emplace_back(i);
  return batches;
}

std::vector<nn::Images> views(const std::vector<ImageBatch>& batches) { return {batches.begin(), batches.end()}; }

std::vector<StateBatch> wrap(const std::vector<Ref<State>>& states) {
  std::vector<StateBatch> batches;
  batches.reserve(states.size());
  for (const auto& s : states) batches.push_back(StateBatch{s});
  return batches;
}

}  // namespace

// --- CNNKernel ------------------------------------------------------------------------------------------------------

void CNNKernel::setSourceFeatureChannelOffset(std::size_t offset) {
  sources_[0].featureChannelOffset = multipleOf4(described(), "sourceFeatureChannelOffset", offset);
}
void CNNKernel::setSourceFeatureChannelMaxCount(std::size_t count) { sources_[0].featureChannelMaxCount = count; }
void CNNKernel::setEdgeMode(ImageEdgeMode mode) { sources_[0].edgeMode = known(described(), mode); }

void CNNKernel::encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Image>& sourceImage,
                       const Ref<Image>& destinationImage) {
  encodeTo(commandBuffer, {one(sourceImage)}, {}, one(destinationImage), false);
}
void CNNKernel::encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Image>& sourceImage,
                       const Ref<State>& destinationState, const Ref<Image>& destinationImage) {
  encodeTo(commandBuffer, {one(sourceImage)}, oneState(destinationState), one(destinationImage), false);
}
void CNNKernel::encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& sourceImages,
                            const ImageBatch& destinationImages) {
  encodeTo(commandBuffer, {sourceImages}, {}, destinationImages, true);
}
void CNNKernel::encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& sourceImages,
                            const StateBatch& destinationStates, const ImageBatch& destinationImages) {
  encodeTo(commandBuffer, {sourceImages}, destinationStates, destinationImages, true);
}
Ref<Image> CNNKernel::encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Image>& sourceImage) {
  return encodeNew(commandBuffer, {one(sourceImage)}, {}, nullptr, false, false)[0];
}
Ref<Image> CNNKernel::encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Image>& sourceImage,
                             Ref<State>* destinationState, bool destinationStateIsTemporary) {
  StateBatch states;
  Ref<Image> result = encodeNew(commandBuffer, {one(sourceImage)}, {}, destinationState ? &states : nullptr,
                                destinationStateIsTemporary, false)[0];
  if (destinationState) *destinationState = firstOf(states);
  return result;
}
ImageBatch CNNKernel::encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& sourceImages) {
  return encodeNew(commandBuffer, {sourceImages}, {}, nullptr, false, true);
}
ImageBatch CNNKernel::encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& sourceImages,
                                  StateBatch* destinationStates, bool destinationStateIsTemporary) {
  return encodeNew(commandBuffer, {sourceImages}, {}, destinationStates, destinationStateIsTemporary, true);
}
Ref<State> CNNKernel::resultState(const Ref<Image>& sourceImage, const std::vector<Ref<State>>& sourceStates,
                                  const Ref<Image>& destinationImage) {
  return firstOf(makeResultStates(nullptr, {one(sourceImage)}, wrap(sourceStates), one(destinationImage)));
}
StateBatch CNNKernel::resultStateBatch(const ImageBatch& sourceImage, const std::vector<StateBatch>& sourceStates,
                                       const ImageBatch& destinationImage) {
  return makeResultStates(nullptr, {sourceImage}, sourceStates, destinationImage);
}
Ref<State> CNNKernel::temporaryResultState(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Image>& sourceImage,
                                           const std::vector<Ref<State>>& sourceStates,
                                           const Ref<Image>& destinationImage) {
  return firstOf(makeResultStates(commandBuffer, {one(sourceImage)}, wrap(sourceStates), one(destinationImage)));
}
StateBatch CNNKernel::temporaryResultStateBatch(const Ref<MTL::CommandBuffer>& commandBuffer,
                                                const ImageBatch& sourceImage,
                                                const std::vector<StateBatch>& sourceStates,
                                                const ImageBatch& destinationImage) {
  return makeResultStates(commandBuffer, {sourceImage}, sourceStates, destinationImage);
}
std::size_t CNNKernel::encodingStorageSize(const Ref<Image>&, const std::vector<Ref<State>>&, const Ref<Image>&) {
  return 0;
}
std::size_t CNNKernel::batchEncodingStorageSize(const ImageBatch&, const std::vector<StateBatch>&, const ImageBatch&) {
  return 0;
}

// --- CNNBinaryKernel ------------------------------------------------------------------------------------------------

void CNNBinaryKernel::setPrimarySourceFeatureChannelOffset(std::size_t offset) {
  sources_[0].featureChannelOffset = multipleOf4(described(), "primarySourceFeatureChannelOffset", offset);
}
void CNNBinaryKernel::setSecondarySourceFeatureChannelOffset(std::size_t offset) {
  sources_[1].featureChannelOffset = multipleOf4(described(), "secondarySourceFeatureChannelOffset", offset);
}
void CNNBinaryKernel::setPrimarySourceFeatureChannelMaxCount(std::size_t count) {
  sources_[0].featureChannelMaxCount = count;
}
void CNNBinaryKernel::setSecondarySourceFeatureChannelMaxCount(std::size_t count) {
  sources_[1].featureChannelMaxCount = count;
}
void CNNBinaryKernel::setPrimaryEdgeMode(ImageEdgeMode mode) { sources_[0].edgeMode = known(described(), mode); }
void CNNBinaryKernel::setSecondaryEdgeMode(ImageEdgeMode mode) { sources_[1].edgeMode = known(described(), mode); }

void CNNBinaryKernel::encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Image>& primaryImage,
                             const Ref<Image>& secondaryImage, const Ref<Image>& destinationImage) {
  encodeTo(commandBuffer, {one(primaryImage), one(secondaryImage)}, {}, one(destinationImage), false);
}
void CNNBinaryKernel::encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& primaryImages,
                                  const ImageBatch& secondaryImages, const ImageBatch& destinationImages) {
  encodeTo(commandBuffer, {primaryImages, secondaryImages}, {}, destinationImages, true);
}
Ref<Image> CNNBinaryKernel::encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Image>& primaryImage,
                                   const Ref<Image>& secondaryImage) {
  return encodeNew(commandBuffer, {one(primaryImage), one(secondaryImage)}, {}, nullptr, false, false)[0];
}
ImageBatch CNNBinaryKernel::encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& primaryImages,
                                        const ImageBatch& secondaryImages) {
  return encodeNew(commandBuffer, {primaryImages, secondaryImages}, {}, nullptr, false, true);
}
Ref<Image> CNNBinaryKernel::encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Image>& primaryImage,
                                   const Ref<Image>& secondaryImage, Ref<State>* destinationState,
                                   bool destinationStateIsTemporary) {
  StateBatch states;
  Ref<Image> result = encodeNew(commandBuffer, {one(primaryImage), one(secondaryImage)}, {},
                                destinationState ? &states : nullptr, destinationStateIsTemporary, false)[0];
  if (destinationState) *destinationState = firstOf(states);
  return result;
}
ImageBatch CNNBinaryKernel::encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& primaryImages,
                                        const ImageBatch& secondaryImages, StateBatch* destinationStates,
                                        bool destinationStateIsTemporary) {
  return encodeNew(commandBuffer, {primaryImages, secondaryImages}, {}, destinationStates, destinationStateIsTemporary,
                   true);
}
Ref<State> CNNBinaryKernel::resultState(const Ref<Image>& primaryImage, const Ref<Image>& secondaryImage,
                                        const std::vector<Ref<State>>& sourceStates,
                                        const Ref<Image>& destinationImage) {
  return firstOf(
      makeResultStates(nullptr, {one(primaryImage), one(secondaryImage)}, wrap(sourceStates), one(destinationImage)));
}
StateBatch CNNBinaryKernel::resultStateBatch(const ImageBatch& primaryImage, const ImageBatch& secondaryImage,
                                             const std::vector<StateBatch>& sourceStates,
                                             const ImageBatch& destinationImage) {
  return makeResultStates(nullptr, {primaryImage, secondaryImage}, sourceStates, destinationImage);
}
Ref<State> CNNBinaryKernel::temporaryResultState(const Ref<MTL::CommandBuffer>& commandBuffer,
                                                 const Ref<Image>& primaryImage, const Ref<Image>& secondaryImage,
                                                 const std::vector<Ref<State>>& sourceStates,
                                                 const Ref<Image>& destinationImage) {
  return firstOf(makeResultStates(commandBuffer, {one(primaryImage), one(secondaryImage)}, wrap(sourceStates),
                                  one(destinationImage)));
}
StateBatch CNNBinaryKernel::temporaryResultStateBatch(const Ref<MTL::CommandBuffer>& commandBuffer,
                                                      const ImageBatch& primaryImage, const ImageBatch& secondaryImage,
                                                      const std::vector<StateBatch>& sourceStates,
                                                      const ImageBatch& destinationImage) {
  return makeResultStates(commandBuffer, {primaryImage, secondaryImage}, sourceStates, destinationImage);
}
std::size_t CNNBinaryKernel::encodingStorageSize(const Ref<Image>&, const Ref<Image>&, const std::vector<Ref<State>>&,
                                                 const Ref<Image>&) {
  return 0;
}
std::size_t CNNBinaryKernel::batchEncodingStorageSize(const ImageBatch&, const ImageBatch&,
                                                      const std::vector<StateBatch>&, const ImageBatch&) {
  return 0;
}

// --- CNNGradientKernel ----------------------------------------------------------------------------------------------

CNNGradientKernel::CNNGradientKernel(const Ref<MTL::Device>& device) : CNNBinaryKernel(device) { isBackwards_ = true; }

Ref<Image> CNNGradientKernel::encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Image>& sourceGradient,
                                     const Ref<Image>& sourceImage, const Ref<State>& gradientState) {
  return encodeNew(commandBuffer, {one(sourceGradient), one(sourceImage)}, oneState(gradientState), nullptr, false,
                   false)[0];
}
void CNNGradientKernel::encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Image>& sourceGradient,
                               const Ref<Image>& sourceImage, const Ref<State>& gradientState,
                               const Ref<Image>& destinationGradient) {
  encodeTo(commandBuffer, {one(sourceGradient), one(sourceImage)}, oneState(gradientState), one(destinationGradient),
           false);
}
ImageBatch CNNGradientKernel::encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer,
                                          const ImageBatch& sourceGradients, const ImageBatch& sourceImages,
                                          const StateBatch& gradientStates) {
  return encodeNew(commandBuffer, {sourceGradients, sourceImages}, gradientStates, nullptr, false, true);
}
void CNNGradientKernel::encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& sourceGradients,
                                    const ImageBatch& sourceImages, const StateBatch& gradientStates,
                                    const ImageBatch& destinationGradients) {
  encodeTo(commandBuffer, {sourceGradients, sourceImages}, gradientStates, destinationGradients, true);
}

Ref<ImageDescriptor> CNNGradientKernel::doDestinationImageDescriptor(const std::vector<Ref<Image>>& sourceImages,
                                                                     const std::vector<Ref<State>>& sourceStates) {
  const auto state = sourceStates.empty() ? nullptr : std::dynamic_pointer_cast<NNGradientState>(sourceStates[0]);
  if (!state || !nn::Access::record(*state))
    base::raise(
        described() +
        ": needs the state that the forward kernel's encode or resultState made; without one, set the properties "
        "and give a destination image");
  const nn::ForwardRecord& r = *nn::Access::record(*state);
  doAdopt(r, sourceImages);
  return ImageDescriptor::imageDescriptor(
      ImageFeatureChannelFormat::None, r.sourceWidth, r.sourceHeight, r.channels + destinationFeatureChannelOffset_,
      sourceImages[1]->numberOfImages(), MTL::TextureUsage::ShaderRead | MTL::TextureUsage::ShaderWrite);
}

std::size_t CNNGradientKernel::doDestinationChannels(const std::vector<std::size_t>& used) {
  if (used.size() > 1 && used[0] != used[1])
    base::raise(described() + ".encode: the source gradient gives " + std::to_string(used[0]) +
                " feature channels, the source image " + std::to_string(used[1]) +
                "; both must be those of the forward kernel, see the source channel offsets and maximums");
  return used[0];
}

void CNNGradientKernel::doAdopt(const nn::ForwardRecord& r, const std::vector<Ref<Image>>&) {
  Source &g = sources_[0], &s = sources_[1];
  g.offset = {static_cast<std::ptrdiff_t>(r.clip.origin.x) - r.offset.x,
              static_cast<std::ptrdiff_t>(r.clip.origin.y) - r.offset.y, 0};
  g.featureChannelOffset = r.destinationFeatureChannelOffset;
  g.featureChannelMaxCount = r.channels;
  g.edgeMode = ImageEdgeMode::Zero;
  s.offset = {};
  s.featureChannelOffset = r.sourceFeatureChannelOffset;
  s.featureChannelMaxCount = r.channels;
  s.edgeMode = r.edgeMode;
  clipRect_ = RectNoClip;
  g.valid = r.clip;  // what lies beside the forward kernel's region is another's
}

// --- CNNMultiaryKernel ----------------------------------------------------------------------------------------------

CNNMultiaryKernel::CNNMultiaryKernel(const Ref<MTL::Device>& device, std::size_t sourceCount)
    : CNNKernelBase(device, sourceCount) {
  if (sourceCount == 0) base::raise("CNNMultiaryKernel: sourceCount is 0; a kernel reads at least one image");
}

CNNKernelBase::Source& CNNMultiaryKernel::source(std::size_t index) {
  if (index >= sources_.size())
    base::raise(described() + ": source index " + std::to_string(index) + " of " + std::to_string(sources_.size()));
  return sources_[index];
}
void CNNMultiaryKernel::setSourceFeatureChannelOffset(std::size_t offset, std::size_t index) {
  source(index).featureChannelOffset = multipleOf4(described(), "sourceFeatureChannelOffset", offset);
}
void CNNMultiaryKernel::setSourceFeatureChannelMaxCount(std::size_t count, std::size_t index) {
  source(index).featureChannelMaxCount = count;
}
void CNNMultiaryKernel::setEdgeMode(ImageEdgeMode mode, std::size_t index) {
  source(index).edgeMode = known(described(), mode);
}

void CNNMultiaryKernel::encode(const Ref<MTL::CommandBuffer>& commandBuffer,
                               const std::vector<Ref<Image>>& sourceImages, const Ref<Image>& destinationImage) {
  encodeTo(commandBuffer, each(sourceImages), {}, one(destinationImage), false);
}
void CNNMultiaryKernel::encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer,
                                    const std::vector<ImageBatch>& sourceImages, const ImageBatch& destinationImages) {
  encodeTo(commandBuffer, views(sourceImages), {}, destinationImages, true);
}
Ref<Image> CNNMultiaryKernel::encode(const Ref<MTL::CommandBuffer>& commandBuffer,
                                     const std::vector<Ref<Image>>& sourceImages) {
  return encodeNew(commandBuffer, each(sourceImages), {}, nullptr, false, false)[0];
}
ImageBatch CNNMultiaryKernel::encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer,
                                          const std::vector<ImageBatch>& sourceImages) {
  return encodeNew(commandBuffer, views(sourceImages), {}, nullptr, false, true);
}
Ref<Image> CNNMultiaryKernel::encode(const Ref<MTL::CommandBuffer>& commandBuffer,
                                     const std::vector<Ref<Image>>& sourceImages, Ref<State>* destinationState,
                                     bool destinationStateIsTemporary) {
  StateBatch states;
  Ref<Image> result = encodeNew(commandBuffer, each(sourceImages), {}, destinationState ? &states : nullptr,
                                destinationStateIsTemporary, false)[0];
  if (destinationState) *destinationState = firstOf(states);
  return result;
}
ImageBatch CNNMultiaryKernel::encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer,
                                          const std::vector<ImageBatch>& sourceImages, StateBatch* destinationStates,
                                          bool destinationStateIsTemporary) {
  return encodeNew(commandBuffer, views(sourceImages), {}, destinationStates, destinationStateIsTemporary, true);
}
Ref<State> CNNMultiaryKernel::resultState(const std::vector<Ref<Image>>& sourceImages,
                                          const std::vector<Ref<State>>& sourceStates,
                                          const Ref<Image>& destinationImage) {
  return firstOf(makeResultStates(nullptr, each(sourceImages), wrap(sourceStates), one(destinationImage)));
}
StateBatch CNNMultiaryKernel::resultStateBatch(const std::vector<ImageBatch>& sourceImages,
                                               const std::vector<StateBatch>& sourceStates,
                                               const ImageBatch& destinationImage) {
  return makeResultStates(nullptr, views(sourceImages), sourceStates, destinationImage);
}
Ref<State> CNNMultiaryKernel::temporaryResultState(const Ref<MTL::CommandBuffer>& commandBuffer,
                                                   const std::vector<Ref<Image>>& sourceImages,
                                                   const std::vector<Ref<State>>& sourceStates,
                                                   const Ref<Image>& destinationImage) {
  return firstOf(makeResultStates(commandBuffer, each(sourceImages), wrap(sourceStates), one(destinationImage)));
}
StateBatch CNNMultiaryKernel::temporaryResultStateBatch(const Ref<MTL::CommandBuffer>& commandBuffer,
                                                        const std::vector<ImageBatch>& sourceImages,
                                                        const std::vector<StateBatch>& sourceStates,
                                                        const ImageBatch& destinationImage) {
  return makeResultStates(commandBuffer, views(sourceImages), sourceStates, destinationImage);
}

}  // namespace kovar::MPS
