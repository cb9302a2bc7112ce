// Convolution and fully connected stages, and how a graph trains them.

#include <utility>

#include "base/edge.hpp"
#include "graph/layer.hpp"
#include "kovar/MPS/NN/CNNConvolutionNode.hpp"
#include "kovar/MPS/NN/CNNConvolutionTranspose.hpp"
#include "kovar/MPS/NN/CNNFullyConnected.hpp"

namespace kovar::MPS {
namespace {

using nn::ConvolutionAccess;
using nn::GraphBuild;
using nn::LayerCall;
using nn::WeightsCell;

template <class K>
class ConvolutionLayer final : public nn::UnaryLayer {
 public:
  ConvolutionLayer(Ref<CNNConvolutionDataSource> source, NNConvolutionAccumulatorPrecisionOption precision,
                   const char* who)
      : source_(std::move(source)), precision_(precision), who_(who) {}
  void build(GraphBuild& build) override {
    cell_ = build.cell(source_, who_);
    Ref<K> kernel = ConvolutionAccess::make<K>(cell_);
    kernel->setAccumulatorPrecisionOption(precision_);
    kernel_ = kernel;
  }
  void reload() override { cell_->reload(std::string(who_) + ".reloadFromDataSources"); }
  std::unique_ptr<nn::GraphLayer> copyFor(nn::GraphCopy& copy) const override {
    auto copied = std::make_unique<ConvolutionLayer>(*this);
    const Ref<K> kernel = copy.withWeights(static_cast<const K&>(*kernel_), who_);
    copied->cell_ = ConvolutionAccess::cell(*kernel);
    copied->kernel_ = kernel;
    return copied;
  }

 private:
  Ref<CNNConvolutionDataSource> source_;
  NNConvolutionAccumulatorPrecisionOption precision_;
  const char* who_;
  std::shared_ptr<WeightsCell> cell_;
};

/// The form in which a gradient kernel reads the weights.
template <class K>
constexpr nn::WeightsForm kFormOf = nn::WeightsForm::AsGiven;
template <>
constexpr nn::WeightsForm kFormOf<CNNConvolutionTransposeGradient> = nn::WeightsForm::Turned;

/// A transposed convolution, sized by the state of a convolution where the node has one.
class TransposeLayer final : public nn::UnaryLayer {
 public:
  TransposeLayer(Ref<CNNConvolutionDataSource> source, NNConvolutionAccumulatorPrecisionOption precision)
      : source_(std::move(source)), precision_(precision) {}
  explicit TransposeLayer(const Ref<CNNConvolutionTranspose>& kernel)
      : cell_(ConvolutionAccess::cell(*kernel)), transpose_(kernel) {
    kernel_ = kernel;
  }
  void build(GraphBuild& build) override {
    cell_ = build.cell(source_, kWho, nn::WeightsForm::Turned);
    transpose_ = ConvolutionAccess::make<CNNConvolutionTranspose>(cell_);
    transpose_->setAccumulatorPrecisionOption(precision_);
    kernel_ = transpose_;
  }
  void reload() override { cell_->reload(std::string(kWho) + ".reloadFromDataSources"); }
  std::unique_ptr<nn::GraphLayer> copyFor(nn::GraphCopy& copy) const override {
    return std::make_unique<TransposeLayer>(copy.withWeights(*transpose_, kWho));
  }
  nn::LayerRecord record() const override { return {"transpose", transpose_, {}}; }

  ImageBatch encode(LayerCall& call) override {
    const auto convolutions = call.states.empty() ? CNNConvolutionGradientStateBatch()
                                                  : nn::batchOf<CNNConvolutionGradientState>(call.states[0]);
    if (call.batch) {
      CNNConvolutionTransposeGradientStateBatch states;
      ImageBatch result = transpose_->encodeBatch(call.commandBuffer, call.sources[0], convolutions,
                                                  call.wantStates ? &states : nullptr, call.statesAreTemporary);
      call.resultStates = states;
      return result;
    }
    Ref<CNNConvolutionTransposeGradientState> state;
    ImageBatch result{transpose_->encode(call.commandBuffer, call.sources[0][0],
                                         convolutions.empty() ? nullptr : convolutions[0],
                                         call.wantStates ? &state : nullptr, call.statesAreTemporary)};
    if (state) call.resultStates = StateBatch{state};
    return result;
  }

 private:
  static constexpr const char* kWho = "CNNConvolutionTranspose";
  Ref<CNNConvolutionDataSource> source_;
  NNConvolutionAccumulatorPrecisionOption precision_ = NNConvolutionAccumulatorPrecisionOption::Float;
  std::shared_ptr<WeightsCell> cell_;
  Ref<CNNConvolutionTranspose> transpose_;
};

/// The gradient, then the update: the data source turns gradients into new weights, which every kernel of the source
/// takes.
template <class K>
class ConvolutionGradientLayer final : public nn::GradientLayer {
 public:
  ConvolutionGradientLayer(Ref<CNNConvolutionDataSource> source, NNTrainingStyle style, const char* who)
      : source_(std::move(source)), style_(style), who_(who) {}

  void build(GraphBuild& build) override {
    cell_ = build.cell(source_, who_, kFormOf<K>);
    gradient_ = ConvolutionAccess::make<K>(cell_);
    kernel_ = gradient_;
    setResultWanted(true);
  }
  void setResultWanted(bool wanted) override {
    using Option = CNNConvolutionGradientOption;
    gradient_->setGradientOption(!trains() ? Option::GradientWithData
                                 : wanted  ? Option::All
                                           : Option::GradientWithWeightsAndBias);
  }
  bool hasOtherEffects() const override { return trains(); }
  bool needsLastingState() const override { return style_ == NNTrainingStyle::UpdateDeviceCPU; }
  void reload() override { cell_->reload(std::string(who_) + ".reloadFromDataSources"); }

  std::unique_ptr<nn::GraphLayer> copyFor(nn::GraphCopy& copy) const override {
    auto copied = std::make_unique<ConvolutionGradientLayer>(*this);
    copied->kernel_ = copied->gradient_ = copy.withWeights(*gradient_, who_);
    copied->cell_ = ConvolutionAccess::cell(*copied->gradient_);
    return copied;
  }
  nn::LayerRecord record() const override {
    if (trains()) nn::refuseTraining(*gradient_);
    return nn::GradientLayer::record();
  }

  ImageBatch encode(LayerCall& call) override {
    ImageBatch result = nn::GradientLayer::encode(call);
    if (!trains()) return result;
    const auto state =
        std::dynamic_pointer_cast<CNNConvolutionGradientState>(BatchView<State>(call.states.at(0)).front());
    if (style_ == NNTrainingStyle::UpdateDeviceCPU)
      updateOnCompletion(call.commandBuffer, state);
    else
      updateNow(call.commandBuffer, state);
    return result;
  }

 private:
  bool trains() const { return style_ != NNTrainingStyle::UpdateDeviceNone; }

  void updateNow(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<CNNConvolutionGradientState>& gradients) {
    const auto weights = cell_->exportState(commandBuffer, true, who_);
    if (const auto changed = cell_->source()->update(commandBuffer, gradients, weights))
      cell_->reload(commandBuffer, changed, who_);
  }

  void updateOnCompletion(const Ref<MTL::CommandBuffer>& commandBuffer,
                          const Ref<CNNConvolutionGradientState>& gradients) {
    const auto weights = cell_->exportState(commandBuffer, false, who_);
    gradients->synchronize(commandBuffer);
    rt::Access::state(commandBuffer)
        ->addCompleted(
            [source = cell_->source(), cell = cell_, gradients, weights, who = who_](rt::CommandBufferState& done) {
              if (!done.error() && source->update(gradients, weights)) cell->reload(who);
            });
  }

  Ref<CNNConvolutionDataSource> source_;
  NNTrainingStyle style_;
  const char* who_;
  std::shared_ptr<WeightsCell> cell_;
  Ref<K> gradient_;
};

/// CPU and GPU together: the GPU's way, which loses nothing.
NNTrainingStyle effective(NNTrainingStyle style) {
  return (style & NNTrainingStyle::UpdateDeviceGPU) == NNTrainingStyle::UpdateDeviceGPU
             ? NNTrainingStyle::UpdateDeviceGPU
             : style;
}

template <class N>
Ref<N> mirrored(const CNNConvolutionNode& forward, Ref<N> gradient) {
  gradient->setTrainingStyle(forward.trainingStyle());
  gradient->setPaddingPolicy(forward.paddingPolicy());
  return gradient;
}

}  // namespace

CNNConvolutionNode::CNNConvolutionNode(const Ref<NNImageNode>& source, const Ref<CNNConvolutionDataSource>& weights)
    : CNNConvolutionNode(source, weights, {}, std::make_unique<CNNConvolutionGradientStateNode>(),
                         "CNNConvolutionNode") {}
CNNConvolutionNode::CNNConvolutionNode(const Ref<NNImageNode>& source, const Ref<CNNConvolutionDataSource>& weights,
                                       std::vector<Ref<NNStateNode>> sourceStates,
                                       std::unique_ptr<NNStateNode> resultState, const char* who)
    : NNFilterNode({source}, std::move(sourceStates)), weights_(weights) {
  if (!weights) base::raise(std::string(who) + ": weights is null; give a CNNConvolutionDataSource");
  if (resultState) addResultState(std::move(resultState));
}
Ref<CNNConvolutionNode> CNNConvolutionNode::create(const Ref<NNImageNode>& source,
                                                   const Ref<CNNConvolutionDataSource>& weights) {
  return std::make_shared<CNNConvolutionNode>(source, weights);
}
Ref<CNNFullyConnectedNode> CNNFullyConnectedNode::create(const Ref<NNImageNode>& source,
                                                         const Ref<CNNConvolutionDataSource>& weights) {
  return std::make_shared<CNNFullyConnectedNode>(source, weights);
}
Ref<CNNConvolutionGradientStateNode> CNNConvolutionNode::convolutionGradientState() const {
  return std::static_pointer_cast<CNNConvolutionGradientStateNode>(resultState());
}
std::unique_ptr<nn::GraphLayer> CNNConvolutionNode::doMakeLayer(const Ref<MTL::Device>&) {
  return std::make_unique<ConvolutionLayer<CNNConvolution>>(weights_, accumulatorPrecision_, "CNNConvolution");
}
std::unique_ptr<nn::GraphLayer> CNNFullyConnectedNode::doMakeLayer(const Ref<MTL::Device>&) {
  return std::make_unique<ConvolutionLayer<CNNFullyConnected>>(weights_, accumulatorPrecision_, "CNNFullyConnected");
}
std::vector<Ref<NNGradientFilterNode>> CNNConvolutionNode::doGradientFilters(const Ref<NNImageNode>& g) {
  return {mirrored(*this, CNNConvolutionGradientNode::create(g, sources_[0], convolutionGradientState(), weights_))};
}
std::vector<Ref<NNGradientFilterNode>> CNNFullyConnectedNode::doGradientFilters(const Ref<NNImageNode>& g) {
  return {mirrored(*this, CNNFullyConnectedGradientNode::create(g, sources_[0], convolutionGradientState(), weights_))};
}

namespace {

/// Null weights: those of the node that made the state.
Ref<CNNConvolutionDataSource> weightsOr(const Ref<CNNConvolutionDataSource>& given,
                                        const Ref<CNNConvolutionGradientStateNode>& state) {
  if (given) return given;
  auto* forward = state ? dynamic_cast<CNNConvolutionNode*>(nn::NodeAccess::producer(*state)) : nullptr;
  if (!forward)
    base::raise(
        "CNNConvolutionGradientNode: weights is null and the state comes from no convolution node; give a data source");
  return nn::NodeAccess::weights(*forward);
}

}  // namespace

CNNConvolutionGradientNode::CNNConvolutionGradientNode(
    const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
    const Ref<CNNConvolutionGradientStateNode>& convolutionGradientState, const Ref<CNNConvolutionDataSource>& weights)
    : NNGradientFilterNode({sourceGradient, sourceImage}, {convolutionGradientState}),
      weights_(weightsOr(weights, convolutionGradientState)) {
  if (!convolutionGradientState)
    base::raise("CNNConvolutionGradientNode: convolutionGradientState is null; take it from the forward node");
}
Ref<CNNConvolutionGradientNode> CNNConvolutionGradientNode::create(
    const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
    const Ref<CNNConvolutionGradientStateNode>& convolutionGradientState,
    const Ref<CNNConvolutionDataSource>& weights) {
  return std::make_shared<CNNConvolutionGradientNode>(sourceGradient, sourceImage, convolutionGradientState, weights);
}
Ref<CNNFullyConnectedGradientNode> CNNFullyConnectedGradientNode::create(
    const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
    const Ref<CNNConvolutionGradientStateNode>& convolutionGradientState,
    const Ref<CNNConvolutionDataSource>& weights) {
  return std::make_shared<CNNFullyConnectedGradientNode>(sourceGradient, sourceImage, convolutionGradientState,
                                                         weights);
}
CNNConvolutionTransposeNode::CNNConvolutionTransposeNode(
    const Ref<NNImageNode>& source, const Ref<CNNConvolutionGradientStateNode>& convolutionGradientState,
    const Ref<CNNConvolutionDataSource>& weights)
    : CNNConvolutionNode(source, weights, {convolutionGradientState},
                         std::make_unique<CNNConvolutionTransposeGradientStateNode>(), "CNNConvolutionTransposeNode") {}
Ref<CNNConvolutionTransposeNode> CNNConvolutionTransposeNode::create(
    const Ref<NNImageNode>& source, const Ref<CNNConvolutionGradientStateNode>& convolutionGradientState,
    const Ref<CNNConvolutionDataSource>& weights) {
  return std::make_shared<CNNConvolutionTransposeNode>(source, convolutionGradientState, weights);
}
std::unique_ptr<nn::GraphLayer> CNNConvolutionTransposeNode::doMakeLayer(const Ref<MTL::Device>&) {
  return std::make_unique<TransposeLayer>(weights_, accumulatorPrecision_);
}
std::vector<Ref<NNGradientFilterNode>> CNNConvolutionTransposeNode::doGradientFilters(const Ref<NNImageNode>& g) {
  const auto state = std::static_pointer_cast<CNNConvolutionTransposeGradientStateNode>(resultState());
  return {mirrored(*this, CNNConvolutionTransposeGradientNode::create(g, sources_[0], state, weights_))};
}

CNNConvolutionTransposeGradientNode::CNNConvolutionTransposeGradientNode(
    const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
    const Ref<CNNConvolutionTransposeGradientStateNode>& convolutionTransposeGradientState,
    const Ref<CNNConvolutionDataSource>& weights)
    : CNNConvolutionGradientNode(sourceGradient, sourceImage, convolutionTransposeGradientState, weights) {}
Ref<CNNConvolutionTransposeGradientNode> CNNConvolutionTransposeGradientNode::create(
    const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
    const Ref<CNNConvolutionTransposeGradientStateNode>& convolutionTransposeGradientState,
    const Ref<CNNConvolutionDataSource>& weights) {
  return std::make_shared<CNNConvolutionTransposeGradientNode>(sourceGradient, sourceImage,
                                                               convolutionTransposeGradientState, weights);
}
std::unique_ptr<nn::GraphLayer> CNNConvolutionTransposeGradientNode::doMakeLayer(const Ref<MTL::Device>&) {
  return std::make_unique<ConvolutionGradientLayer<CNNConvolutionTransposeGradient>>(
      weights_, effective(trainingStyle()), "CNNConvolutionTransposeGradient");
}

std::unique_ptr<nn::GraphLayer> CNNConvolutionGradientNode::doMakeLayer(const Ref<MTL::Device>&) {
  return std::make_unique<ConvolutionGradientLayer<CNNConvolutionGradient>>(weights_, effective(trainingStyle()),
                                                                            "CNNConvolutionGradient");
}
std::unique_ptr<nn::GraphLayer> CNNFullyConnectedGradientNode::doMakeLayer(const Ref<MTL::Device>&) {
  return std::make_unique<ConvolutionGradientLayer<CNNFullyConnectedGradient>>(weights_, effective(trainingStyle()),
                                                                               "CNNFullyConnectedGradient");
}

}  // namespace kovar::MPS

namespace kovar::nn {

std::unique_ptr<GraphLayer> transposeLayer(const LayerRecord& record) {
  const auto kernel = std::dynamic_pointer_cast<MPS::CNNConvolutionTranspose>(record.kernel);
  if (record.kind != "transpose" || !kernel) return nullptr;
  return std::make_unique<MPS::TransposeLayer>(kernel);
}

}  // namespace kovar::nn
