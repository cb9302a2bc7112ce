#include "kovar/MPS/NN/NNGraph.hpp"

#include <utility>

#include "base/edge.hpp"
#include "graph/graph_plan.hpp"
#include "kovar/MPS/Core/Archive.hpp"

namespace kovar::MPS {

NNGraph::NNGraph(const Ref<MTL::Device>& device, const std::vector<Ref<NNImageNode>>& resultImages,
                 const std::vector<bool>& resultsAreNeeded)
    : Kernel(device) {
  if (resultImages.empty()) base::raise("NNGraph: no result image nodes given; give at least one");
  plan_ = std::make_unique<nn::GraphPlan>(device, resultImages, resultsAreNeeded);
}
NNGraph::NNGraph(const Ref<MTL::Device>& device, const Ref<NNImageNode>& resultImage, bool resultImageIsNeeded)
    : NNGraph(device, std::vector<Ref<NNImageNode>>{resultImage}, std::vector<bool>{resultImageIsNeeded}) {}
NNGraph::NNGraph(const Ref<MTL::Device>& device, const Ref<NNImageNode>& resultImage)
    : NNGraph(device, resultImage, true) {}
NNGraph::NNGraph(Archive& coder, const Ref<MTL::Device>& device) : Kernel(device) { decode(coder); }
NNGraph::NNGraph(const NNGraph& original, const Ref<MTL::Device>& device)
    : Kernel(original), plan_(original.plan_->copyFor(device)) {
  device_ = device;
}
NNGraph::~NNGraph() = default;

Ref<Kernel> NNGraph::doCopy(const Ref<MTL::Device>& device) { return Ref<Kernel>(new NNGraph(*this, device)); }
void NNGraph::doCode(Archive& coder) {
  Kernel::doCode(coder);
  if (coder.isReading())
    plan_ = std::make_unique<nn::GraphPlan>(coder, device());
  else
    plan_->write(coder, described());
}

Ref<NNGraph> NNGraph::graph(const Ref<MTL::Device>& d, const Ref<NNImageNode>& r, bool needed) {
  return std::make_shared<NNGraph>(d, r, needed);
}
Ref<NNGraph> NNGraph::graph(const Ref<MTL::Device>& d, const std::vector<Ref<NNImageNode>>& r,
                            const std::vector<bool>& needed) {
  return std::make_shared<NNGraph>(d, r, needed);
}
Ref<NNGraph> NNGraph::graph(const Ref<MTL::Device>& d, const Ref<NNImageNode>& r) {
  return std::make_shared<NNGraph>(d, r);
}

std::vector<Ref<Handle>> NNGraph::sourceImageHandles() const { return plan_->sourceImageHandles(); }
std::vector<Ref<Handle>> NNGraph::sourceStateHandles() const { return plan_->sourceStateHandles(); }
std::vector<Ref<Handle>> NNGraph::intermediateImageHandles() const { return plan_->intermediateHandles(); }
std::vector<Ref<Handle>> NNGraph::resultStateHandles() const { return plan_->resultStateHandles(); }
Ref<Handle> NNGraph::resultHandle() const { return plan_->resultHandle(); }
bool NNGraph::outputStateIsTemporary() const { return plan_->outputStateIsTemporary; }
void NNGraph::setOutputStateIsTemporary(bool v) { plan_->outputStateIsTemporary = v; }
Ref<ImageAllocator> NNGraph::destinationImageAllocator() const { return plan_->destinationAllocator; }
void NNGraph::setDestinationImageAllocator(const Ref<ImageAllocator>& allocator) {
  if (!allocator) base::raise(described() + ".destinationImageAllocator: null; use Image::defaultAllocator()");
  plan_->destinationAllocator = allocator;
}
ImageFeatureChannelFormat NNGraph::format() const { return plan_->format; }
void NNGraph::setFormat(ImageFeatureChannelFormat format) {
  if (format == ImageFeatureChannelFormat::None || format > ImageFeatureChannelFormat::Float32)
    base::raise(described() + ".format: use Unorm8, Unorm16, Float16 or Float32");
  plan_->format = format;
}
bool NNGraph::resultImageIsNeeded() const { return plan_->resultNeeded; }
void NNGraph::reloadFromDataSources() { plan_->reload(); }

ImageBatch NNGraph::encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer,
                                const std::vector<ImageBatch>& sourceImages,
                                const std::vector<StateBatch>& sourceStates,
                                std::vector<ImageBatch>* intermediateImages,
                                std::vector<StateBatch>* destinationStates) {
  return plan_->encode({commandBuffer, sourceImages, sourceStates, intermediateImages, destinationStates, true},
                       described() + ".encodeBatch");
}

ImageBatch NNGraph::encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer,
                                const std::vector<ImageBatch>& sourceImages,
                                const std::vector<StateBatch>& sourceStates) {
  return encodeBatch(commandBuffer, sourceImages, sourceStates, nullptr, nullptr);
}

Ref<Image> NNGraph::encode(const Ref<MTL::CommandBuffer>& commandBuffer, const std::vector<Ref<Image>>& sourceImages,
                           const std::vector<Ref<State>>& sourceStates, std::vector<Ref<Image>>* intermediateImages,
                           std::vector<Ref<State>>* destinationStates) {
  std::vector<ImageBatch> images, intermediates;
  std::vector<StateBatch> states, made;
  for (const auto& i : sourceImages) images.push_back(ImageBatch{i});
  for (const auto& s : sourceStates) states.push_back(StateBatch{s});
  const ImageBatch result =
      plan_->encode({commandBuffer, images, states, &intermediates, &made, false}, described() + ".encode");
  if (intermediateImages)
    for (const auto& b : intermediates) intermediateImages->push_back(b.empty() ? nullptr : b[0]);
  if (destinationStates)
    for (const auto& b : made) destinationStates->push_back(b.empty() ? nullptr : b[0]);
  return result.empty() ? nullptr : result[0];
}

Ref<Image> NNGraph::encode(const Ref<MTL::CommandBuffer>& commandBuffer, const std::vector<Ref<Image>>& sourceImages) {
  return encode(commandBuffer, sourceImages, {}, nullptr, nullptr);
}

Ref<Image> NNGraph::executeAsync(const std::vector<Ref<Image>>& sourceImages,
                                 NNGraphCompletionHandler completionHandler) {
  if (!ownQueue_) ownQueue_ = device()->newCommandQueue();
  const Ref<MTL::CommandBuffer> commandBuffer = ownQueue_->commandBuffer();
  Ref<Image> result = encode(commandBuffer, sourceImages);
  if (completionHandler)
    commandBuffer->addCompletedHandler(
        [completionHandler = std::move(completionHandler), result](const Ref<MTL::CommandBuffer>& done) {
          completionHandler(done->error() ? nullptr : result, done->error());
        });
  commandBuffer->commit();
  return result;
}

std::size_t NNGraph::readCountForSourceImage(std::size_t index) {
  if (index >= plan_->sourceCount())
    base::raise(described() + ".readCountForSourceImage: index " + std::to_string(index) + " of " +
                std::to_string(plan_->sourceCount()));
  return 1;
}
std::size_t NNGraph::readCountForSourceState(std::size_t index) {
  if (index >= plan_->stateCount())
    base::raise(described() + ".readCountForSourceState: index " + std::to_string(index) + " of " +
                std::to_string(plan_->stateCount()));
  return 1;
}

}  // namespace kovar::MPS
