// Stages that move values: reshape, padding, concatenation, and their gradients.

#include "kovar/MPS/NN/NNReshapeNode.hpp"

#include <string>

#include "base/edge.hpp"
#include "graph/layer.hpp"
#include "kovar/MPS/NN/NNReshape.hpp"
#include "nn/concatenation.hpp"

namespace kovar::MPS {
namespace {

using nn::GraphLayer;

class ReshapeLayer final : public nn::UnaryLayer {
 public:
  ReshapeLayer(const Ref<NNReshape>& kernel, std::size_t width, std::size_t height, std::size_t channels)
      : typed_(kernel), width_(width), height_(height), channels_(channels) {
    kernel_ = typed_;
  }
  ImageBatch encode(nn::LayerCall& call) override {
    StateBatch* states = call.wantStates ? &call.resultStates : nullptr;
    if (call.batch)
      return typed_->encodeBatch(call.commandBuffer, call.sources[0], states, call.statesAreTemporary, width_, height_,
                                 channels_);
    Ref<State> state;
    ImageBatch result{typed_->encode(call.commandBuffer, call.sources[0][0], states ? &state : nullptr,
                                     call.statesAreTemporary, width_, height_, channels_)};
    if (state) *states = StateBatch{state};
    return result;
  }

  std::unique_ptr<GraphLayer> copyFor(nn::GraphCopy& copy) const override {
    return std::make_unique<ReshapeLayer>(copy.kernel(typed_), width_, height_, channels_);
  }
  nn::LayerRecord record() const override { return {"reshape", typed_, {width_, height_, channels_}}; }

 private:
  Ref<NNReshape> typed_;
  std::size_t width_, height_, channels_;
};

Ref<NNGradientStateNode> gradientStateOf(const Ref<NNStateNode>& state) {
  return std::static_pointer_cast<NNGradientStateNode>(state);
}

template <class N>
Ref<N> withPadding(Ref<N> node, const Ref<NNPadding>& padding) {
  node->setPaddingPolicy(padding);
  return node;
}

void checkState(const char* who, const Ref<NNGradientStateNode>& state) {
  if (!state) base::raise(std::string(who) + ": gradientState is null; take it from the forward node");
}

const std::vector<Ref<NNImageNode>>& some(const std::vector<Ref<NNImageNode>>& sources) {
  if (sources.empty()) base::raise("NNConcatenationNode: no source images given; give at least one");
  return sources;
}

std::size_t placeOf(const Ref<NNImageNode>& source, const Ref<NNGradientStateNode>& state) {
  checkState("NNConcatenationGradientNode", state);
  const auto* forward = dynamic_cast<const NNConcatenationNode*>(nn::NodeAccess::producer(*state));
  if (forward) {
    const auto& sources = nn::NodeAccess::sources(*forward);
    for (std::size_t i = 0; i < sources.size(); ++i)
      if (sources[i] == source) return i;
  }
  base::raise(
      "NNConcatenationGradientNode: the state is not that of a concatenation of sourceImage; take both from the "
      "forward "
      "node");
}

}  // namespace

NNReshapeNode::NNReshapeNode(const Ref<NNImageNode>& source, std::size_t resultWidth, std::size_t resultHeight,
                             std::size_t resultFeatureChannels)
    : NNFilterNode({source}, {}), width_(resultWidth), height_(resultHeight), channels_(resultFeatureChannels) {
  addResultState(std::make_unique<NNGradientStateNode>());
}
Ref<NNReshapeNode> NNReshapeNode::create(const Ref<NNImageNode>& source, std::size_t resultWidth,
                                         std::size_t resultHeight, std::size_t resultFeatureChannels) {
  return std::make_shared<NNReshapeNode>(source, resultWidth, resultHeight, resultFeatureChannels);
}
std::unique_ptr<GraphLayer> NNReshapeNode::doMakeLayer(const Ref<MTL::Device>& device) {
  return std::make_unique<ReshapeLayer>(std::make_shared<NNReshape>(device), width_, height_, channels_);
}
std::vector<Ref<NNGradientFilterNode>> NNReshapeNode::doGradientFilters(const Ref<NNImageNode>& gradient) {
  return {withPadding(NNReshapeGradientNode::create(gradient, sources_[0], gradientStateOf(resultState())), padding_)};
}

NNReshapeGradientNode::NNReshapeGradientNode(const Ref<NNImageNode>& sourceGradient,
                                             const Ref<NNImageNode>& sourceImage,
                                             const Ref<NNGradientStateNode>& gradientState)
    : NNGradientFilterNode({sourceGradient, sourceImage}, {gradientState}) {
  checkState("NNReshapeGradientNode", gradientState);
}
Ref<NNReshapeGradientNode> NNReshapeGradientNode::create(const Ref<NNImageNode>& sourceGradient,
                                                         const Ref<NNImageNode>& sourceImage,
                                                         const Ref<NNGradientStateNode>& gradientState) {
  return std::make_shared<NNReshapeGradientNode>(sourceGradient, sourceImage, gradientState);
}
std::unique_ptr<GraphLayer> NNReshapeGradientNode::doMakeLayer(const Ref<MTL::Device>& device) {
  return std::make_unique<nn::GradientLayer>(std::make_shared<NNReshapeGradient>(device));
}

NNPadNode::NNPadNode(const Ref<NNImageNode>& source, ImageCoordinate paddingSizeBefore,
                     ImageCoordinate paddingSizeAfter, ImageEdgeMode edgeMode)
    : NNFilterNode({source}, {}), before_(paddingSizeBefore), after_(paddingSizeAfter), edgeMode_(edgeMode) {
  addResultState(std::make_unique<NNGradientStateNode>());
}
Ref<NNPadNode> NNPadNode::create(const Ref<NNImageNode>& source, ImageCoordinate paddingSizeBefore,
                                 ImageCoordinate paddingSizeAfter, ImageEdgeMode edgeMode) {
  return std::make_shared<NNPadNode>(source, paddingSizeBefore, paddingSizeAfter, edgeMode);
}
std::unique_ptr<GraphLayer> NNPadNode::doMakeLayer(const Ref<MTL::Device>& device) {
  auto pad = std::make_shared<NNPad>(device, before_, after_);
  pad->setEdgeMode(edgeMode_);
  pad->setFillValue(fillValue_);
  return std::make_unique<nn::UnaryLayer>(pad);
}
std::vector<Ref<NNGradientFilterNode>> NNPadNode::doGradientFilters(const Ref<NNImageNode>& gradient) {
  return {withPadding(NNPadGradientNode::create(gradient, sources_[0], gradientStateOf(resultState())), padding_)};
}

NNPadGradientNode::NNPadGradientNode(const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
                                     const Ref<NNGradientStateNode>& gradientState)
    : NNGradientFilterNode({sourceGradient, sourceImage}, {gradientState}) {
  checkState("NNPadGradientNode", gradientState);
}
Ref<NNPadGradientNode> NNPadGradientNode::create(const Ref<NNImageNode>& sourceGradient,
                                                 const Ref<NNImageNode>& sourceImage,
                                                 const Ref<NNGradientStateNode>& gradientState) {
  return std::make_shared<NNPadGradientNode>(sourceGradient, sourceImage, gradientState);
}
std::unique_ptr<GraphLayer> NNPadGradientNode::doMakeLayer(const Ref<MTL::Device>& device) {
  return std::make_unique<nn::GradientLayer>(std::make_shared<NNPadGradient>(device));
}

NNConcatenationNode::NNConcatenationNode(const std::vector<Ref<NNImageNode>>& sources)
    : NNFilterNode(some(sources), {}) {
  addResultState(std::make_unique<NNGradientStateNode>());
}
Ref<NNConcatenationNode> NNConcatenationNode::create(const std::vector<Ref<NNImageNode>>& sources) {
  return std::make_shared<NNConcatenationNode>(sources);
}
std::unique_ptr<GraphLayer> NNConcatenationNode::doMakeLayer(const Ref<MTL::Device>& device) {
  return std::make_unique<nn::MultiaryLayer>(std::make_shared<nn::Concatenation>(device, sources_.size()));
}
std::vector<Ref<NNGradientFilterNode>> NNConcatenationNode::doGradientFilters(const Ref<NNImageNode>& gradient) {
  std::vector<Ref<NNGradientFilterNode>> nodes;
  for (std::size_t i = 0; i < sources_.size(); ++i)
    nodes.push_back(withPadding(
        std::make_shared<NNConcatenationGradientNode>(gradient, sources_[i], gradientStateOf(resultState()), i),
        padding_));
  return nodes;
}

NNConcatenationGradientNode::NNConcatenationGradientNode(const Ref<NNImageNode>& sourceGradient,
                                                         const Ref<NNImageNode>& sourceImage,
                                                         const Ref<NNGradientStateNode>& gradientState)
    : NNConcatenationGradientNode(sourceGradient, sourceImage, gradientState, placeOf(sourceImage, gradientState)) {}
NNConcatenationGradientNode::NNConcatenationGradientNode(const Ref<NNImageNode>& sourceGradient,
                                                         const Ref<NNImageNode>& sourceImage,
                                                         const Ref<NNGradientStateNode>& gradientState,
                                                         std::size_t sourceIndex)
    : NNGradientFilterNode({sourceGradient, sourceImage}, {gradientState}), index_(sourceIndex) {
  checkState("NNConcatenationGradientNode", gradientState);
}
Ref<NNConcatenationGradientNode> NNConcatenationGradientNode::create(const Ref<NNImageNode>& sourceGradient,
                                                                     const Ref<NNImageNode>& sourceImage,
                                                                     const Ref<NNGradientStateNode>& gradientState) {
  return std::make_shared<NNConcatenationGradientNode>(sourceGradient, sourceImage, gradientState);
}
std::unique_ptr<GraphLayer> NNConcatenationGradientNode::doMakeLayer(const Ref<MTL::Device>& device) {
  return std::make_unique<nn::GradientLayer>(std::make_shared<nn::ConcatenationGradient>(device, index_));
}

}  // namespace kovar::MPS

namespace kovar::nn {

std::unique_ptr<GraphLayer> reshapeLayer(const LayerRecord& record) {
  const auto kernel = std::dynamic_pointer_cast<MPS::NNReshape>(record.kernel);
  if (record.kind != "reshape" || !kernel || record.numbers.size() != 3) return nullptr;
  return std::make_unique<MPS::ReshapeLayer>(kernel, record.numbers[0], record.numbers[1], record.numbers[2]);
}

}  // namespace kovar::nn
