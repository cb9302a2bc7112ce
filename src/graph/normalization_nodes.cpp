// Normalization stages, and how a graph trains those that have values.

#include "kovar/MPS/NN/CNNNormalizationNode.hpp"

#include <utility>

#include "base/edge.hpp"
#include "graph/layer.hpp"
#include "kovar/MPS/NN/CNNNormalization.hpp"
#include "nn/normalization_access.hpp"

namespace kovar::MPS {
namespace {

using nn::GradientLayer;
using nn::GraphLayer;
using nn::LayerCall;
using nn::NormalizationAccess;
using nn::UnaryLayer;

Ref<NNGradientStateNode> gradientStateOf(const Ref<NNStateNode>& state) {
  return std::static_pointer_cast<NNGradientStateNode>(state);
}

/// CPU and GPU together: the GPU's way, which loses nothing.
bool updatesOnDevice(NNTrainingStyle style) {
  return (style & NNTrainingStyle::UpdateDeviceGPU) == NNTrainingStyle::UpdateDeviceGPU;
}

/// A forward stage over a kernel that its data source fills.
template <class K, class S>
class ValuesLayer : public UnaryLayer {
 public:
  ValuesLayer(const Ref<MTL::Device>& device, const Ref<S>& source)
      : ValuesLayer(std::make_shared<K>(device, source)) {}
  explicit ValuesLayer(Ref<K> kernel) : typed_(std::move(kernel)) { kernel_ = typed_; }
  void reload() override { typed_->reloadGammaAndBetaFromDataSource(); }
  std::unique_ptr<GraphLayer> copyFor(nn::GraphCopy& copy) const override {
    return std::make_unique<ValuesLayer>(copy.kernel(typed_));
  }

 protected:
  Ref<K> typed_;
};

class BatchLayer final : public ValuesLayer<CNNBatchNormalization, CNNBatchNormalizationDataSource> {
 public:
  BatchLayer(const Ref<CNNBatchNormalization>& kernel, CNNBatchNormalizationFlags flags)
      : ValuesLayer(kernel), flags_(flags & CNNBatchNormalizationFlags::CalculateStatisticsMask) {}
  std::unique_ptr<GraphLayer> copyFor(nn::GraphCopy& copy) const override {
    return std::make_unique<BatchLayer>(copy.kernel(typed_), flags_);
  }
  nn::LayerRecord record() const override {
    return {"batch normalization", typed_, {static_cast<std::size_t>(flags_)}};
  }
  void reload() override {
    typed_->reloadGammaAndBetaFromDataSource();
    typed_->reloadMeanAndVarianceFromDataSource();
  }
  ImageBatch encode(LayerCall& call) override {
    using Flags = CNNBatchNormalizationFlags;
    const bool always = flags_ == Flags::CalculateStatisticsAlways, wanted = call.wantStates;
    NormalizationAccess::setTakesStatistics(*typed_,
                                            always || (flags_ == Flags::CalculateStatisticsAutomatic && wanted));
    call.wantStates = wanted || always;
    ImageBatch result = UnaryLayer::encode(call);
    if (!wanted && always) {
      for (const auto& s : call.resultStates)
        if (s->readCount() > 0) s->setReadCount(0);
      call.resultStates = {};
      call.wantStates = false;
    }
    return result;
  }

 private:
  CNNBatchNormalizationFlags flags_;
};

/// The gradient, then the update. A derived class calls the data source.
template <class K>
class TrainedLayer : public GradientLayer {
 public:
  TrainedLayer(const Ref<MTL::Device>& device, NNTrainingStyle style) : style_(style) {
    if constexpr (std::is_same_v<K, CNNBatchNormalizationGradient>) {
      const auto kernel = std::make_shared<K>(device, nullptr);
      NormalizationAccess::setTakesSums(*kernel);
      kernel_ = kernel;
    } else {
      kernel_ = std::make_shared<K>(device);
    }
  }
  bool hasOtherEffects() const override { return trains(); }
  bool needsLastingState() const override { return trains() && !updatesOnDevice(style_); }
  nn::LayerRecord record() const override {
    if (trains()) nn::refuseTraining(*kernel_);
    return GradientLayer::record();
  }

  ImageBatch encode(LayerCall& call) override {
    const StateBatch states = call.states.at(0);
    // The gradient's own read comes first; the hooks' are on top.
    if (trains() && updatesOnDevice(style_)) stateBatchIncrementReadCount(states, hookReads());
    ImageBatch result = GradientLayer::encode(call);
    if (!trains()) return result;
    if (updatesOnDevice(style_)) {
      updateNow(call.commandBuffer, states);
      return result;
    }
    stateBatchSynchronize(states, call.commandBuffer);
    rt::Access::state(call.commandBuffer)->addCompleted([update = laterUpdate(states)](rt::CommandBufferState& done) {
      if (!done.error()) update();
    });
    return result;
  }

 protected:
  virtual std::ptrdiff_t hookReads() const = 0;
  virtual void updateNow(const Ref<MTL::CommandBuffer>& commandBuffer, const StateBatch& states) = 0;
  virtual std::function<void()> laterUpdate(const StateBatch& states) = 0;

 private:
  bool trains() const { return style_ != NNTrainingStyle::UpdateDeviceNone; }
  NNTrainingStyle style_;
};

const Ref<CNNInstanceNormalization>& forwardOf(const Ref<CNNInstanceNormalizationGradientState>& s) {
  return NormalizationAccess::kernel(*s);
}
const Ref<CNNGroupNormalization>& forwardOf(const Ref<CNNGroupNormalizationGradientState>& s) {
  return NormalizationAccess::kernel(*s);
}

/// Instance and group normalization: the hook gets the states of all images.
template <class K, class S>
class RegionGradientLayer final : public TrainedLayer<K> {
 public:
  using TrainedLayer<K>::TrainedLayer;

  std::unique_ptr<GraphLayer> copyFor(nn::GraphCopy& copy) const override {
    auto copied = std::make_unique<RegionGradientLayer>(*this);
    copied->kernel_ = copy.kernel(this->kernel_);
    return copied;
  }

 protected:
  std::ptrdiff_t hookReads() const override { return 1; }
  void updateNow(const Ref<MTL::CommandBuffer>& commandBuffer, const StateBatch& states) override {
    const Batch<S> batch = nn::batchOf<S>(states);
    const auto kernel = forwardOf(batch[0]);
    if (const auto changed = kernel->dataSource()->updateGammaAndBeta(commandBuffer, batch))
      kernel->reloadGammaAndBeta(commandBuffer, changed);
  }
  std::function<void()> laterUpdate(const StateBatch& states) override {
    return [batch = nn::batchOf<S>(states)] {
      const auto kernel = forwardOf(batch[0]);
      if (kernel->dataSource()->updateGammaAndBeta(batch)) kernel->reloadGammaAndBetaFromDataSource();
    };
  }
};

class BatchGradientLayer final : public TrainedLayer<CNNBatchNormalizationGradient> {
 public:
  using TrainedLayer::TrainedLayer;

  std::unique_ptr<GraphLayer> copyFor(nn::GraphCopy& copy) const override {
    auto copied = std::make_unique<BatchGradientLayer>(*this);
    copied->kernel_ = copy.kernel(kernel_);
    return copied;
  }

 protected:
  std::ptrdiff_t hookReads() const override { return 2; }
  static Ref<CNNBatchNormalizationState> typed(const StateBatch& states) {
    return std::static_pointer_cast<CNNBatchNormalizationState>(states[0]);
  }
  void updateNow(const Ref<MTL::CommandBuffer>& commandBuffer, const StateBatch& states) override {
    const auto state = typed(states);
    const auto kernel = state->batchNormalization();
    const auto source = kernel->dataSource();
    const auto values = source->updateGammaAndBeta(commandBuffer, state);
    const auto running = source->updateMeanAndVariance(commandBuffer, state);
    if (values) kernel->reloadGammaAndBeta(commandBuffer, values);
    if (running) kernel->reloadMeanAndVariance(commandBuffer, running);
  }
  std::function<void()> laterUpdate(const StateBatch& states) override {
    return [state = typed(states)] {
      const auto kernel = state->batchNormalization();
      const auto source = kernel->dataSource();
      if (source->updateGammaAndBeta(state)) kernel->reloadGammaAndBetaFromDataSource();
      if (source->updateMeanAndVariance(state)) kernel->reloadMeanAndVarianceFromDataSource();
    };
  }
};

template <class N>
Ref<N> mirrored(const NNTrainableNode& forward, const Ref<NNPadding>& padding, Ref<N> gradient) {
  gradient->setTrainingStyle(forward.trainingStyle());
  gradient->setPaddingPolicy(padding);
  return gradient;
}

template <class K>
Ref<K> withParameters(Ref<K> kernel, float alpha, float beta, float delta) {
  kernel->setAlpha(alpha);
  kernel->setBeta(beta);
  kernel->setDelta(delta);
  return kernel;
}

constexpr std::size_t kDefaultSize = 5;

template <class S>
void checkNode(const char* who, const Ref<S>& source) {
  if (!source) base::raise(std::string(who) + ": dataSource is null; give the data source of the normalization");
}
void checkState(const char* who, const Ref<NNGradientStateNode>& state) {
  if (!state) base::raise(std::string(who) + ": gradientState is null; take it from the forward node");
}

}  // namespace

// --- windows of neighbours

CNNNormalizationNode::CNNNormalizationNode(const Ref<NNImageNode>& source) : NNFilterNode({source}, {}) {
  addResultState(std::make_unique<NNGradientStateNode>());
}
Ref<CNNNormalizationNode> CNNNormalizationNode::create(const Ref<NNImageNode>& source) {
  return std::make_shared<CNNNormalizationNode>(source);
}
std::unique_ptr<GraphLayer> CNNNormalizationNode::doMakeLayer(const Ref<MTL::Device>&) {
  base::raise(described() +
              ": the base class computes nothing; use CNNCrossChannelNormalizationNode or one of its kin");
}

CNNSpatialNormalizationNode::CNNSpatialNormalizationNode(const Ref<NNImageNode>& source, std::size_t kernelSize)
    : CNNNormalizationNode(source), kernelWidth_(kernelSize), kernelHeight_(kernelSize) {}
CNNSpatialNormalizationNode::CNNSpatialNormalizationNode(const Ref<NNImageNode>& source)
    : CNNSpatialNormalizationNode(source, kDefaultSize) {}
Ref<CNNSpatialNormalizationNode> CNNSpatialNormalizationNode::create(const Ref<NNImageNode>& source,
                                                                     std::size_t kernelSize) {
  return std::make_shared<CNNSpatialNormalizationNode>(source, kernelSize);
}
std::unique_ptr<GraphLayer> CNNSpatialNormalizationNode::doMakeLayer(const Ref<MTL::Device>& d) {
  return std::make_unique<UnaryLayer>(
      withParameters(std::make_shared<CNNSpatialNormalization>(d, kernelWidth_, kernelHeight_), alpha_, beta_, delta_));
}
std::vector<Ref<NNGradientFilterNode>> CNNSpatialNormalizationNode::doGradientFilters(const Ref<NNImageNode>& g) {
  const auto node =
      CNNSpatialNormalizationGradientNode::create(g, sources_[0], gradientStateOf(resultState()), kernelWidth_);
  node->setKernelHeight(kernelHeight_);
  node->setPaddingPolicy(padding_);
  return {withParameters(node, alpha_, beta_, delta_)};
}

CNNSpatialNormalizationGradientNode::CNNSpatialNormalizationGradientNode(const Ref<NNImageNode>& sourceGradient,
                                                                         const Ref<NNImageNode>& sourceImage,
                                                                         const Ref<NNGradientStateNode>& gradientState,
                                                                         std::size_t kernelSize)
    : NNGradientFilterNode({sourceGradient, sourceImage}, {gradientState}),
      kernelWidth_(kernelSize),
      kernelHeight_(kernelSize) {
  checkState("CNNSpatialNormalizationGradientNode", gradientState);
}
Ref<CNNSpatialNormalizationGradientNode> CNNSpatialNormalizationGradientNode::create(
    const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
    const Ref<NNGradientStateNode>& gradientState, std::size_t kernelSize) {
  return std::make_shared<CNNSpatialNormalizationGradientNode>(sourceGradient, sourceImage, gradientState, kernelSize);
}
std::unique_ptr<GraphLayer> CNNSpatialNormalizationGradientNode::doMakeLayer(const Ref<MTL::Device>& d) {
  return std::make_unique<GradientLayer>(withParameters(
      std::make_shared<CNNSpatialNormalizationGradient>(d, kernelWidth_, kernelHeight_), alpha_, beta_, delta_));
}

CNNLocalContrastNormalizationNode::CNNLocalContrastNormalizationNode(const Ref<NNImageNode>& source,
                                                                     std::size_t kernelSize)
    : CNNNormalizationNode(source), kernelWidth_(kernelSize), kernelHeight_(kernelSize) {
  beta_ = 0.5f;
  delta_ = 1.f / 1024.f;
}
CNNLocalContrastNormalizationNode::CNNLocalContrastNormalizationNode(const Ref<NNImageNode>& source)
    : CNNLocalContrastNormalizationNode(source, kDefaultSize) {}
Ref<CNNLocalContrastNormalizationNode> CNNLocalContrastNormalizationNode::create(const Ref<NNImageNode>& source,
                                                                                 std::size_t kernelSize) {
  return std::make_shared<CNNLocalContrastNormalizationNode>(source, kernelSize);
}
std::unique_ptr<GraphLayer> CNNLocalContrastNormalizationNode::doMakeLayer(const Ref<MTL::Device>& d) {
  auto kernel = withParameters(std::make_shared<CNNLocalContrastNormalization>(d, kernelWidth_, kernelHeight_), alpha_,
                               beta_, delta_);
  kernel->setP0(p0_);
  kernel->setPm(pm_);
  kernel->setPs(ps_);
  return std::make_unique<UnaryLayer>(kernel);
}
std::vector<Ref<NNGradientFilterNode>> CNNLocalContrastNormalizationNode::doGradientFilters(const Ref<NNImageNode>& g) {
  const auto node = CNNLocalContrastNormalizationGradientNode::create(g, sources_[0], gradientStateOf(resultState()),
                                                                      kernelWidth_, kernelHeight_);
  node->setP0(p0_);
  node->setPm(pm_);
  node->setPs(ps_);
  node->setPaddingPolicy(padding_);
  return {withParameters(node, alpha_, beta_, delta_)};
}

CNNLocalContrastNormalizationGradientNode::CNNLocalContrastNormalizationGradientNode(
    const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
    const Ref<NNGradientStateNode>& gradientState, std::size_t kernelWidth, std::size_t kernelHeight)
    : NNGradientFilterNode({sourceGradient, sourceImage}, {gradientState}),
      kernelWidth_(kernelWidth),
      kernelHeight_(kernelHeight) {
  checkState("CNNLocalContrastNormalizationGradientNode", gradientState);
}
Ref<CNNLocalContrastNormalizationGradientNode> CNNLocalContrastNormalizationGradientNode::create(
    const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
    const Ref<NNGradientStateNode>& gradientState, std::size_t kernelWidth, std::size_t kernelHeight) {
  return std::make_shared<CNNLocalContrastNormalizationGradientNode>(sourceGradient, sourceImage, gradientState,
                                                                     kernelWidth, kernelHeight);
}
std::unique_ptr<GraphLayer> CNNLocalContrastNormalizationGradientNode::doMakeLayer(const Ref<MTL::Device>& d) {
  auto kernel = withParameters(std::make_shared<CNNLocalContrastNormalizationGradient>(d, kernelWidth_, kernelHeight_),
                               alpha_, beta_, delta_);
  kernel->setP0(p0_);
  kernel->setPm(pm_);
  kernel->setPs(ps_);
  return std::make_unique<GradientLayer>(kernel);
}

CNNCrossChannelNormalizationNode::CNNCrossChannelNormalizationNode(const Ref<NNImageNode>& source,
                                                                   std::size_t kernelSize)
    : CNNNormalizationNode(source), kernelSize_(kernelSize) {}
CNNCrossChannelNormalizationNode::CNNCrossChannelNormalizationNode(const Ref<NNImageNode>& source)
    : CNNCrossChannelNormalizationNode(source, kDefaultSize) {}
Ref<CNNCrossChannelNormalizationNode> CNNCrossChannelNormalizationNode::create(const Ref<NNImageNode>& source,
                                                                               std::size_t kernelSize) {
  return std::make_shared<CNNCrossChannelNormalizationNode>(source, kernelSize);
}
std::unique_ptr<GraphLayer> CNNCrossChannelNormalizationNode::doMakeLayer(const Ref<MTL::Device>& d) {
  return std::make_unique<UnaryLayer>(
      withParameters(std::make_shared<CNNCrossChannelNormalization>(d, kernelSize_), alpha_, beta_, delta_));
}
std::vector<Ref<NNGradientFilterNode>> CNNCrossChannelNormalizationNode::doGradientFilters(const Ref<NNImageNode>& g) {
  const auto node =
      CNNCrossChannelNormalizationGradientNode::create(g, sources_[0], gradientStateOf(resultState()), kernelSize_);
  node->setPaddingPolicy(padding_);
  return {node};
}

CNNCrossChannelNormalizationGradientNode::CNNCrossChannelNormalizationGradientNode(
    const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
    const Ref<NNGradientStateNode>& gradientState, std::size_t kernelSize)
    : NNGradientFilterNode({sourceGradient, sourceImage}, {gradientState}), kernelSize_(kernelSize) {
  checkState("CNNCrossChannelNormalizationGradientNode", gradientState);
}
Ref<CNNCrossChannelNormalizationGradientNode> CNNCrossChannelNormalizationGradientNode::create(
    const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
    const Ref<NNGradientStateNode>& gradientState, std::size_t kernelSize) {
  return std::make_shared<CNNCrossChannelNormalizationGradientNode>(sourceGradient, sourceImage, gradientState,
                                                                    kernelSize);
}
std::unique_ptr<GraphLayer> CNNCrossChannelNormalizationGradientNode::doMakeLayer(const Ref<MTL::Device>& d) {
  return std::make_unique<GradientLayer>(std::make_shared<CNNCrossChannelNormalizationGradient>(d, kernelSize_));
}

// --- mean and variance of a region

CNNInstanceNormalizationNode::CNNInstanceNormalizationNode(const Ref<NNImageNode>& source,
                                                           const Ref<CNNInstanceNormalizationDataSource>& dataSource)
    : NNFilterNode({source}, {}), dataSource_(dataSource) {
  checkNode("CNNInstanceNormalizationNode", dataSource);
  addResultState(std::make_unique<NNGradientStateNode>());
}
Ref<CNNInstanceNormalizationNode> CNNInstanceNormalizationNode::create(
    const Ref<NNImageNode>& source, const Ref<CNNInstanceNormalizationDataSource>& dataSource) {
  return std::make_shared<CNNInstanceNormalizationNode>(source, dataSource);
}
std::unique_ptr<GraphLayer> CNNInstanceNormalizationNode::doMakeLayer(const Ref<MTL::Device>& d) {
  return std::make_unique<ValuesLayer<CNNInstanceNormalization, CNNInstanceNormalizationDataSource>>(d, dataSource_);
}
std::vector<Ref<NNGradientFilterNode>> CNNInstanceNormalizationNode::doGradientFilters(const Ref<NNImageNode>& g) {
  return {mirrored(*this, padding_,
                   CNNInstanceNormalizationGradientNode::create(g, sources_[0], gradientStateOf(resultState())))};
}
CNNInstanceNormalizationGradientNode::CNNInstanceNormalizationGradientNode(
    const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
    const Ref<NNGradientStateNode>& gradientState)
    : NNGradientFilterNode({sourceGradient, sourceImage}, {gradientState}) {
  checkState("CNNInstanceNormalizationGradientNode", gradientState);
}
Ref<CNNInstanceNormalizationGradientNode> CNNInstanceNormalizationGradientNode::create(
    const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
    const Ref<NNGradientStateNode>& gradientState) {
  return std::make_shared<CNNInstanceNormalizationGradientNode>(sourceGradient, sourceImage, gradientState);
}
std::unique_ptr<GraphLayer> CNNInstanceNormalizationGradientNode::doMakeLayer(const Ref<MTL::Device>& d) {
  return std::make_unique<RegionGradientLayer<CNNInstanceNormalizationGradient, CNNInstanceNormalizationGradientState>>(
      d, trainingStyle());
}

CNNGroupNormalizationNode::CNNGroupNormalizationNode(const Ref<NNImageNode>& source,
                                                     const Ref<CNNGroupNormalizationDataSource>& dataSource)
    : NNFilterNode({source}, {}), dataSource_(dataSource) {
  checkNode("CNNGroupNormalizationNode", dataSource);
  addResultState(std::make_unique<NNGradientStateNode>());
}
Ref<CNNGroupNormalizationNode> CNNGroupNormalizationNode::create(
    const Ref<NNImageNode>& source, const Ref<CNNGroupNormalizationDataSource>& dataSource) {
  return std::make_shared<CNNGroupNormalizationNode>(source, dataSource);
}
std::unique_ptr<GraphLayer> CNNGroupNormalizationNode::doMakeLayer(const Ref<MTL::Device>& d) {
  return std::make_unique<ValuesLayer<CNNGroupNormalization, CNNGroupNormalizationDataSource>>(d, dataSource_);
}
std::vector<Ref<NNGradientFilterNode>> CNNGroupNormalizationNode::doGradientFilters(const Ref<NNImageNode>& g) {
  return {mirrored(*this, padding_,
                   CNNGroupNormalizationGradientNode::create(g, sources_[0], gradientStateOf(resultState())))};
}
CNNGroupNormalizationGradientNode::CNNGroupNormalizationGradientNode(const Ref<NNImageNode>& sourceGradient,
                                                                     const Ref<NNImageNode>& sourceImage,
                                                                     const Ref<NNGradientStateNode>& gradientState)
    : NNGradientFilterNode({sourceGradient, sourceImage}, {gradientState}) {
  checkState("CNNGroupNormalizationGradientNode", gradientState);
}
Ref<CNNGroupNormalizationGradientNode> CNNGroupNormalizationGradientNode::create(
    const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
    const Ref<NNGradientStateNode>& gradientState) {
  return std::make_shared<CNNGroupNormalizationGradientNode>(sourceGradient, sourceImage, gradientState);
}
std::unique_ptr<GraphLayer> CNNGroupNormalizationGradientNode::doMakeLayer(const Ref<MTL::Device>& d) {
  return std::make_unique<RegionGradientLayer<CNNGroupNormalizationGradient, CNNGroupNormalizationGradientState>>(
      d, trainingStyle());
}

CNNBatchNormalizationNode::CNNBatchNormalizationNode(const Ref<NNImageNode>& source,
                                                     const Ref<CNNBatchNormalizationDataSource>& dataSource)
    : NNFilterNode({source}, {}), dataSource_(dataSource) {
  checkNode("CNNBatchNormalizationNode", dataSource);
  addResultState(std::make_unique<NNGradientStateNode>());
}
Ref<CNNBatchNormalizationNode> CNNBatchNormalizationNode::create(
    const Ref<NNImageNode>& source, const Ref<CNNBatchNormalizationDataSource>& dataSource) {
  return std::make_shared<CNNBatchNormalizationNode>(source, dataSource);
}
std::unique_ptr<GraphLayer> CNNBatchNormalizationNode::doMakeLayer(const Ref<MTL::Device>& d) {
  return std::make_unique<BatchLayer>(std::make_shared<CNNBatchNormalization>(d, dataSource_), flags_);
}
std::vector<Ref<NNGradientFilterNode>> CNNBatchNormalizationNode::doGradientFilters(const Ref<NNImageNode>& g) {
  return {mirrored(*this, padding_,
                   CNNBatchNormalizationGradientNode::create(g, sources_[0], gradientStateOf(resultState())))};
}
CNNBatchNormalizationGradientNode::CNNBatchNormalizationGradientNode(const Ref<NNImageNode>& sourceGradient,
                                                                     const Ref<NNImageNode>& sourceImage,
                                                                     const Ref<NNGradientStateNode>& gradientState)
    : NNGradientFilterNode({sourceGradient, sourceImage}, {gradientState}) {
  checkState("CNNBatchNormalizationGradientNode", gradientState);
}
Ref<CNNBatchNormalizationGradientNode> CNNBatchNormalizationGradientNode::create(
    const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
    const Ref<NNGradientStateNode>& gradientState) {
  return std::make_shared<CNNBatchNormalizationGradientNode>(sourceGradient, sourceImage, gradientState);
}
std::unique_ptr<GraphLayer> CNNBatchNormalizationGradientNode::doMakeLayer(const Ref<MTL::Device>& d) {
  return std::make_unique<BatchGradientLayer>(d, trainingStyle());
}

}  // namespace kovar::MPS

namespace kovar::nn {

std::unique_ptr<GraphLayer> batchNormalizationLayer(const LayerRecord& record) {
  const auto kernel = std::dynamic_pointer_cast<MPS::CNNBatchNormalization>(record.kernel);
  if (record.kind != "batch normalization" || !kernel || record.numbers.size() != 1) return nullptr;
  return std::make_unique<MPS::BatchLayer>(kernel, static_cast<MPS::CNNBatchNormalizationFlags>(record.numbers[0]));
}

}  // namespace kovar::nn
