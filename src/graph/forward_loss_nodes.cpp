// The nodes of losses over images, and the start of a training graph.

#include <utility>

#include "base/edge.hpp"
#include "graph/layer.hpp"
#include "kovar/MPS/NN/NNLoss.hpp"
#include "kovar/MPS/NN/NNLossNode.hpp"

namespace kovar::MPS {
namespace {

/// Results of a kernel that the layer makes itself, so that a callback may see them.
template <class K>
ImageBatch resultsOf(K& kernel, const std::vector<Ref<Image>>& firsts, nn::LayerCall& call, std::size_t count) {
  const Ref<ImageDescriptor> descriptor = kernel.destinationImageDescriptor(firsts, {});
  const auto me = std::static_pointer_cast<Kernel>(kernel.shared_from_this());
  const Ref<ImageAllocator> allocator = kernel.destinationImageAllocator();
  if (call.batch) return allocator->imageBatch(call.commandBuffer, descriptor, me, count);
  return {allocator->image(call.commandBuffer, descriptor, me)};
}

class ForwardLossLayer final : public nn::GraphLayer {
 public:
  ForwardLossLayer(Ref<NNForwardLoss> kernel, Ref<NNLossCallback> callback)
      : kernel_(std::move(kernel)), callback_(std::move(callback)) {}
  void build(nn::GraphBuild&) override {}
  ImageBatch encode(nn::LayerCall& call) override {
    const ImageBatch &source = call.sources[0], weights = call.sources.size() > 2 ? call.sources[2] : ImageBatch{};
    ImageBatch results = resultsOf(*kernel_, {source[0]}, call, source.size());
    if (callback_) kernel_->setWeight(callback_->scalarWeight(source[0], results[0]));
    if (call.wantStates)
      call.resultStates = call.statesAreTemporary
                              ? kernel_->temporaryResultStateBatch(call.commandBuffer, source, {}, results)
                              : kernel_->resultStateBatch(source, {}, results);
    kernel_->encodeBatch(call.commandBuffer, source, call.sources[1], weights, call.resultStates, results);
    return results;
  }
  std::unique_ptr<nn::GraphLayer> copyFor(nn::GraphCopy& copy) const override {
    return std::make_unique<ForwardLossLayer>(copy.kernel(kernel_), callback_);
  }
  bool takes(std::size_t images, std::size_t) const override { return images >= 2; }
  nn::LayerRecord record() const override {
    if (callback_) nn::refuseCallback(*kernel_);
    return {"loss", kernel_, {}};
  }

 protected:
  CNNKernelBase* kernel() override { return kernel_.get(); }

 private:
  Ref<NNForwardLoss> kernel_;
  Ref<NNLossCallback> callback_;
};

class LossGradientLayer final : public nn::GraphLayer {
 public:
  LossGradientLayer(Ref<NNLossGradient> kernel, Ref<NNLossCallback> callback)
      : kernel_(std::move(kernel)), callback_(std::move(callback)) {}
  void build(nn::GraphBuild&) override {}
  ImageBatch encode(nn::LayerCall& call) override {
    const ImageBatch &gradient = call.sources[0], &source = call.sources[1],
                     weights = call.sources.size() > 3 ? call.sources[3] : ImageBatch{};
    ImageBatch results = resultsOf(*kernel_, {gradient[0], source[0]}, call, source.size());
    if (callback_) kernel_->setWeight(callback_->scalarWeight(source[0], results[0]));
    const StateBatch states = call.states.empty() ? StateBatch{} : call.states[0];
    kernel_->encodeBatch(call.commandBuffer, gradient, source, call.sources[2], weights, states, results);
    return results;
  }
  std::unique_ptr<nn::GraphLayer> copyFor(nn::GraphCopy& copy) const override {
    return std::make_unique<LossGradientLayer>(copy.kernel(kernel_), callback_);
  }
  bool takes(std::size_t images, std::size_t) const override { return images >= 3; }
  nn::LayerRecord record() const override {
    if (callback_) nn::refuseCallback(*kernel_);
    return {"loss", kernel_, {}};
  }

 protected:
  CNNKernelBase* kernel() override { return kernel_.get(); }

 private:
  Ref<NNLossGradient> kernel_;
  Ref<NNLossCallback> callback_;
};

std::vector<Ref<NNImageNode>> withWeights(std::vector<Ref<NNImageNode>> sources, const Ref<NNImageNode>& weights) {
  if (weights) sources.push_back(weights);
  return sources;
}

const std::vector<Ref<NNImageNode>>& counted(const char* who, const std::vector<Ref<NNImageNode>>& sources,
                                             std::size_t least, const char* names) {
  if (sources.size() != least && sources.size() != least + 1)
    base::raise(std::string(who) + ": " + std::to_string(sources.size()) + " sources given; it reads " + names);
  return sources;
}

Ref<CNNLossDescriptor> given(const char* who, const Ref<CNNLossDescriptor>& descriptor) {
  if (!descriptor) base::raise(std::string(who) + ": lossDescriptor is null");
  return descriptor->copy();
}

std::vector<Ref<NNStateNode>> oneState(const Ref<NNGradientStateNode>& state) {
  return state ? std::vector<Ref<NNStateNode>>{state} : std::vector<Ref<NNStateNode>>{};
}

}  // namespace

// --- the value

NNForwardLossNode::NNForwardLossNode(const std::vector<Ref<NNImageNode>>& sources,
                                     const Ref<CNNLossDescriptor>& lossDescriptor)
    : NNFilterNode(counted("NNForwardLossNode", sources, 2, "predictions, labels and perhaps weights"), {}),
      descriptor_(given("NNForwardLossNode", lossDescriptor)) {
  addResultState(std::make_unique<NNGradientStateNode>());
}
NNForwardLossNode::NNForwardLossNode(const Ref<NNImageNode>& source, const Ref<NNImageNode>& labels,
                                     const Ref<NNImageNode>& weights, const Ref<CNNLossDescriptor>& lossDescriptor)
    : NNForwardLossNode(withWeights({source, labels}, weights), lossDescriptor) {}
NNForwardLossNode::NNForwardLossNode(const Ref<NNImageNode>& source, const Ref<NNImageNode>& labels,
                                     const Ref<CNNLossDescriptor>& lossDescriptor)
    : NNForwardLossNode(std::vector<Ref<NNImageNode>>{source, labels}, lossDescriptor) {}
Ref<NNForwardLossNode> NNForwardLossNode::create(const Ref<NNImageNode>& source, const Ref<NNImageNode>& labels,
                                                 const Ref<NNImageNode>& weights,
                                                 const Ref<CNNLossDescriptor>& lossDescriptor) {
  return std::make_shared<NNForwardLossNode>(source, labels, weights, lossDescriptor);
}
Ref<NNForwardLossNode> NNForwardLossNode::create(const Ref<NNImageNode>& source, const Ref<NNImageNode>& labels,
                                                 const Ref<CNNLossDescriptor>& lossDescriptor) {
  return std::make_shared<NNForwardLossNode>(source, labels, lossDescriptor);
}
Ref<NNForwardLossNode> NNForwardLossNode::create(const std::vector<Ref<NNImageNode>>& sources,
                                                 const Ref<CNNLossDescriptor>& lossDescriptor) {
  return std::make_shared<NNForwardLossNode>(sources, lossDescriptor);
}

std::unique_ptr<nn::GraphLayer> NNForwardLossNode::doMakeLayer(const Ref<MTL::Device>& device) {
  return std::make_unique<ForwardLossLayer>(std::make_shared<NNForwardLoss>(device, descriptor_), callback_);
}

std::vector<Ref<NNLossGradientNode>> NNForwardLossNode::gradientFilters(const Ref<NNImageNode>& source) {
  if (!source) base::raise(described() + ".gradientFilters: the gradient image node is null");
  std::vector<Ref<NNLossGradientNode>> made;
  for (const bool byLabels : {false, true}) {
    made.push_back(NNLossGradientNode::create(
        source, sources_[0], sources_[1], sources_.size() > 2 ? sources_[2] : Ref<NNImageNode>(),
        std::static_pointer_cast<NNGradientStateNode>(resultState()), descriptor_, byLabels));
    made.back()->setPropertyCallBack(callback_);
  }
  return made;
}
std::vector<Ref<NNLossGradientNode>> NNForwardLossNode::gradientFilters(const std::vector<Ref<NNImageNode>>& sources) {
  return gradientFilters(sources.empty() ? nullptr : sources[0]);
}
Ref<NNLossGradientNode> NNForwardLossNode::gradientFilter(const Ref<NNImageNode>& source) {
  return gradientFilters(source)[0];
}
Ref<NNLossGradientNode> NNForwardLossNode::gradientFilter(const std::vector<Ref<NNImageNode>>& sources) {
  return gradientFilters(sources)[0];
}
std::vector<Ref<NNGradientFilterNode>> NNForwardLossNode::doGradientFilters(const Ref<NNImageNode>& gradient) {
  const auto made = gradientFilters(gradient);
  // Labels that are data need no gradient.
  if (sources_[1]->stopGradient()) return {made[0]};
  return {made.begin(), made.end()};
}

// --- the gradient

NNLossGradientNode::NNLossGradientNode(const std::vector<Ref<NNImageNode>>& sources,
                                       const Ref<NNGradientStateNode>& gradientState,
                                       const Ref<CNNLossDescriptor>& lossDescriptor, bool isLabelsGradientFilter)
    : NNGradientFilterNode(
          counted("NNLossGradientNode", sources, 3, "the incoming gradient, predictions, labels and perhaps weights"),
          oneState(gradientState)),
      descriptor_(given("NNLossGradientNode", lossDescriptor)),
      byLabels_(isLabelsGradientFilter) {}
NNLossGradientNode::NNLossGradientNode(const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
                                       const Ref<NNImageNode>& labels, const Ref<NNImageNode>& weights,
                                       const Ref<NNGradientStateNode>& gradientState,
                                       const Ref<CNNLossDescriptor>& lossDescriptor, bool isLabelsGradientFilter)
    : NNLossGradientNode(withWeights({sourceGradient, sourceImage, labels}, weights), gradientState, lossDescriptor,
                         isLabelsGradientFilter) {}
NNLossGradientNode::NNLossGradientNode(const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
                                       const Ref<NNImageNode>& labels, const Ref<NNGradientStateNode>& gradientState,
                                       const Ref<CNNLossDescriptor>& lossDescriptor, bool isLabelsGradientFilter)
    : NNLossGradientNode(std::vector<Ref<NNImageNode>>{sourceGradient, sourceImage, labels}, gradientState,
                         lossDescriptor, isLabelsGradientFilter) {}
Ref<NNLossGradientNode> NNLossGradientNode::create(const Ref<NNImageNode>& sourceGradient,
                                                   const Ref<NNImageNode>& sourceImage, const Ref<NNImageNode>& labels,
                                                   const Ref<NNImageNode>& weights,
                                                   const Ref<NNGradientStateNode>& gradientState,
                                                   const Ref<CNNLossDescriptor>& lossDescriptor,
                                                   bool isLabelsGradientFilter) {
  return std::make_shared<NNLossGradientNode>(sourceGradient, sourceImage, labels, weights, gradientState,
                                              lossDescriptor, isLabelsGradientFilter);
}
Ref<NNLossGradientNode> NNLossGradientNode::create(const Ref<NNImageNode>& sourceGradient,
                                                   const Ref<NNImageNode>& sourceImage, const Ref<NNImageNode>& labels,
                                                   const Ref<NNGradientStateNode>& gradientState,
                                                   const Ref<CNNLossDescriptor>& lossDescriptor,
                                                   bool isLabelsGradientFilter) {
  return std::make_shared<NNLossGradientNode>(sourceGradient, sourceImage, labels, gradientState, lossDescriptor,
                                              isLabelsGradientFilter);
}
Ref<NNLossGradientNode> NNLossGradientNode::create(const std::vector<Ref<NNImageNode>>& sources,
                                                   const Ref<NNGradientStateNode>& gradientState,
                                                   const Ref<CNNLossDescriptor>& lossDescriptor,
                                                   bool isLabelsGradientFilter) {
  return std::make_shared<NNLossGradientNode>(sources, gradientState, lossDescriptor, isLabelsGradientFilter);
}
std::unique_ptr<nn::GraphLayer> NNLossGradientNode::doMakeLayer(const Ref<MTL::Device>& device) {
  auto kernel = std::make_shared<NNLossGradient>(device, descriptor_);
  kernel->setComputeLabelGradients(byLabels_);
  return std::make_unique<LossGradientLayer>(std::move(kernel), callback_);
}

// --- the first gradient

NNInitialGradientNode::NNInitialGradientNode(const Ref<NNImageNode>& source) : NNFilterNode({source}, {}) {}
Ref<NNInitialGradientNode> NNInitialGradientNode::create(const Ref<NNImageNode>& source) {
  return std::make_shared<NNInitialGradientNode>(source);
}
std::unique_ptr<nn::GraphLayer> NNInitialGradientNode::doMakeLayer(const Ref<MTL::Device>& device) {
  return std::make_unique<nn::UnaryLayer>(std::make_shared<NNInitialGradient>(device));
}

}  // namespace kovar::MPS

namespace kovar::nn {

std::unique_ptr<GraphLayer> lossLayer(const LayerRecord& record) {
  if (record.kind != "loss") return nullptr;
  if (auto loss = std::dynamic_pointer_cast<MPS::NNForwardLoss>(record.kernel))
    return std::make_unique<MPS::ForwardLossLayer>(loss, nullptr);
  if (auto loss = std::dynamic_pointer_cast<MPS::NNLossGradient>(record.kernel))
    return std::make_unique<MPS::LossGradientLayer>(loss, nullptr);
  return nullptr;
}

}  // namespace kovar::nn
