// The nodes of the families: which kernel each stands for, and its gradient node.

#include <cmath>
#include <utility>

#include "base/edge.hpp"
#include "graph/layer.hpp"
#include "kovar/MPS/NN/CNNDropout.hpp"
#include "kovar/MPS/NN/CNNDropoutNode.hpp"
#include "kovar/MPS/NN/CNNLossNode.hpp"
#include "kovar/MPS/NN/CNNNeuron.hpp"
#include "kovar/MPS/NN/CNNNeuronNode.hpp"
#include "kovar/MPS/NN/CNNSoftMax.hpp"
#include "kovar/MPS/NN/CNNSoftMaxNode.hpp"

namespace kovar::MPS {
namespace {

using nn::GradientLayer;
using nn::GraphLayer;
using nn::UnaryLayer;

template <class K, class... A>
std::unique_ptr<GraphLayer> unary(A&&... args) {
  return std::make_unique<UnaryLayer>(std::make_shared<K>(std::forward<A>(args)...));
}
template <class K, class... A>
std::unique_ptr<GraphLayer> gradient(A&&... args) {
  return std::make_unique<GradientLayer>(std::make_shared<K>(std::forward<A>(args)...));
}

Ref<NNGradientStateNode> gradientStateOf(const Ref<NNStateNode>& state) {
  return std::static_pointer_cast<NNGradientStateNode>(state);
}

constexpr float kE = 2.718281828459045f;

Ref<NNNeuronDescriptor> neuron(CNNNeuronType type, float a, float b, float c) {
  return NNNeuronDescriptor::cnnNeuronDescriptor(type, a, b, c);
}

}  // namespace

// --- neurons
// ----------------------------------------------------------------------------------------------------------

CNNNeuronNode::CNNNeuronNode(const Ref<NNImageNode>& source, const Ref<NNNeuronDescriptor>& descriptor)
    : NNFilterNode({source}, {}), descriptor_(descriptor) {
  if (!descriptor) base::raise("CNNNeuronNode: descriptor is null");
  addResultState(std::make_unique<NNGradientStateNode>());
}

Ref<CNNNeuronNode> CNNNeuronNode::create(const Ref<NNImageNode>& source, const Ref<NNNeuronDescriptor>& descriptor) {
  return Ref<CNNNeuronNode>(new CNNNeuronNode(source, descriptor));
}
std::unique_ptr<GraphLayer> CNNNeuronNode::doMakeLayer(const Ref<MTL::Device>& device) {
  return unary<CNNNeuron>(device, descriptor_);
}
std::vector<Ref<NNGradientFilterNode>> CNNNeuronNode::doGradientFilters(const Ref<NNImageNode>& gradient) {
  return {CNNNeuronGradientNode::create(gradient, sources_[0], gradientStateOf(resultState()), descriptor_)};
}

CNNNeuronGradientNode::CNNNeuronGradientNode(const Ref<NNImageNode>& sourceGradient,
                                             const Ref<NNImageNode>& sourceImage,
                                             const Ref<NNGradientStateNode>& gradientState,
                                             const Ref<NNNeuronDescriptor>& descriptor)
    : NNGradientFilterNode({sourceGradient, sourceImage}, {gradientState}), descriptor_(descriptor) {
  if (!descriptor) base::raise("CNNNeuronGradientNode: descriptor is null");
}
Ref<CNNNeuronGradientNode> CNNNeuronGradientNode::create(const Ref<NNImageNode>& sourceGradient,
                                                         const Ref<NNImageNode>& sourceImage,
                                                         const Ref<NNGradientStateNode>& gradientState,
                                                         const Ref<NNNeuronDescriptor>& descriptor) {
  return std::make_shared<CNNNeuronGradientNode>(sourceGradient, sourceImage, gradientState, descriptor);
}
std::unique_ptr<GraphLayer> CNNNeuronGradientNode::doMakeLayer(const Ref<MTL::Device>& device) {
  return gradient<CNNNeuronGradient>(device, descriptor_);
}

CNNNeuronAbsoluteNode::CNNNeuronAbsoluteNode(const Ref<NNImageNode>& source)
    : CNNNeuronNode(source, neuron(CNNNeuronType::Absolute, 0.f, 0.f, 0.f)) {}
CNNNeuronELUNode::CNNNeuronELUNode(const Ref<NNImageNode>& source)
    : CNNNeuronNode(source, neuron(CNNNeuronType::ELU, 1.f, 0.f, 0.f)) {}
CNNNeuronELUNode::CNNNeuronELUNode(const Ref<NNImageNode>& source, float a)
    : CNNNeuronNode(source, neuron(CNNNeuronType::ELU, a, 0.f, 0.f)) {}
CNNNeuronReLUNNode::CNNNeuronReLUNNode(const Ref<NNImageNode>& source)
    : CNNNeuronNode(source, neuron(CNNNeuronType::ReLUN, 1.f, 6.f, 0.f)) {}
CNNNeuronReLUNNode::CNNNeuronReLUNNode(const Ref<NNImageNode>& source, float a, float b)
    : CNNNeuronNode(source, neuron(CNNNeuronType::ReLUN, a, b, 0.f)) {}
CNNNeuronLinearNode::CNNNeuronLinearNode(const Ref<NNImageNode>& source)
    : CNNNeuronNode(source, neuron(CNNNeuronType::Linear, 1.f, 0.f, 0.f)) {}
CNNNeuronLinearNode::CNNNeuronLinearNode(const Ref<NNImageNode>& source, float a, float b)
    : CNNNeuronNode(source, neuron(CNNNeuronType::Linear, a, b, 0.f)) {}
CNNNeuronReLUNode::CNNNeuronReLUNode(const Ref<NNImageNode>& source)
    : CNNNeuronNode(source, neuron(CNNNeuronType::ReLU, 0.f, 0.f, 0.f)) {}
CNNNeuronReLUNode::CNNNeuronReLUNode(const Ref<NNImageNode>& source, float a)
    : CNNNeuronNode(source, neuron(CNNNeuronType::ReLU, a, 0.f, 0.f)) {}
CNNNeuronSigmoidNode::CNNNeuronSigmoidNode(const Ref<NNImageNode>& source)
    : CNNNeuronNode(source, neuron(CNNNeuronType::Sigmoid, 0.f, 0.f, 0.f)) {}
CNNNeuronHardSigmoidNode::CNNNeuronHardSigmoidNode(const Ref<NNImageNode>& source)
    : CNNNeuronNode(source, neuron(CNNNeuronType::HardSigmoid, 0.2f, 0.5f, 0.f)) {}
CNNNeuronHardSigmoidNode::CNNNeuronHardSigmoidNode(const Ref<NNImageNode>& source, float a, float b)
    : CNNNeuronNode(source, neuron(CNNNeuronType::HardSigmoid, a, b, 0.f)) {}
CNNNeuronSoftPlusNode::CNNNeuronSoftPlusNode(const Ref<NNImageNode>& source)
    : CNNNeuronNode(source, neuron(CNNNeuronType::SoftPlus, 1.f, 1.f, 0.f)) {}
CNNNeuronSoftPlusNode::CNNNeuronSoftPlusNode(const Ref<NNImageNode>& source, float a, float b)
    : CNNNeuronNode(source, neuron(CNNNeuronType::SoftPlus, a, b, 0.f)) {}
CNNNeuronSoftSignNode::CNNNeuronSoftSignNode(const Ref<NNImageNode>& source)
    : CNNNeuronNode(source, neuron(CNNNeuronType::SoftSign, 0.f, 0.f, 0.f)) {}
CNNNeuronTanHNode::CNNNeuronTanHNode(const Ref<NNImageNode>& source)
    : CNNNeuronNode(source, neuron(CNNNeuronType::TanH, 1.f, 1.f, 0.f)) {}
CNNNeuronTanHNode::CNNNeuronTanHNode(const Ref<NNImageNode>& source, float a, float b)
    : CNNNeuronNode(source, neuron(CNNNeuronType::TanH, a, b, 0.f)) {}
CNNNeuronPReLUNode::CNNNeuronPReLUNode(const Ref<NNImageNode>& source, std::span<const std::byte> aData)
    : CNNNeuronNode(source, NNNeuronDescriptor::cnnNeuronPReLUDescriptor(aData, false)) {}
CNNNeuronPowerNode::CNNNeuronPowerNode(const Ref<NNImageNode>& source)
    : CNNNeuronNode(source, neuron(CNNNeuronType::Power, 1.f, 0.f, 1.f)) {}
CNNNeuronPowerNode::CNNNeuronPowerNode(const Ref<NNImageNode>& source, float a, float b, float c)
    : CNNNeuronNode(source, neuron(CNNNeuronType::Power, a, b, c)) {}
CNNNeuronExponentialNode::CNNNeuronExponentialNode(const Ref<NNImageNode>& source)
    : CNNNeuronNode(source, neuron(CNNNeuronType::Exponential, 1.f, 0.f, kE)) {}
CNNNeuronExponentialNode::CNNNeuronExponentialNode(const Ref<NNImageNode>& source, float a, float b, float c)
    : CNNNeuronNode(source, neuron(CNNNeuronType::Exponential, a, b, c)) {}
CNNNeuronLogarithmNode::CNNNeuronLogarithmNode(const Ref<NNImageNode>& source)
    : CNNNeuronNode(source, neuron(CNNNeuronType::Logarithm, 1.f, 0.f, kE)) {}
CNNNeuronLogarithmNode::CNNNeuronLogarithmNode(const Ref<NNImageNode>& source, float a, float b, float c)
    : CNNNeuronNode(source, neuron(CNNNeuronType::Logarithm, a, b, c)) {}
CNNNeuronGeLUNode::CNNNeuronGeLUNode(const Ref<NNImageNode>& source)
    : CNNNeuronNode(source, neuron(CNNNeuronType::GeLU, 0.f, 0.f, 0.f)) {}

// --- softmax
// ----------------------------------------------------------------------------------------------------------

CNNSoftMaxNode::CNNSoftMaxNode(const Ref<NNImageNode>& source) : NNFilterNode({source}, {}) {
  addResultState(std::make_unique<NNGradientStateNode>());
}
std::unique_ptr<GraphLayer> CNNSoftMaxNode::doMakeLayer(const Ref<MTL::Device>& d) { return unary<CNNSoftMax>(d); }
std::vector<Ref<NNGradientFilterNode>> CNNSoftMaxNode::doGradientFilters(const Ref<NNImageNode>& g) {
  return {CNNSoftMaxGradientNode::create(g, resultImage(), gradientStateOf(resultState()))};
}
CNNLogSoftMaxNode::CNNLogSoftMaxNode(const Ref<NNImageNode>& source) : NNFilterNode({source}, {}) {
  addResultState(std::make_unique<NNGradientStateNode>());
}
std::unique_ptr<GraphLayer> CNNLogSoftMaxNode::doMakeLayer(const Ref<MTL::Device>& d) {
  return unary<CNNLogSoftMax>(d);
}
std::vector<Ref<NNGradientFilterNode>> CNNLogSoftMaxNode::doGradientFilters(const Ref<NNImageNode>& g) {
  return {CNNLogSoftMaxGradientNode::create(g, resultImage(), gradientStateOf(resultState()))};
}
CNNSoftMaxGradientNode::CNNSoftMaxGradientNode(const Ref<NNImageNode>& g, const Ref<NNImageNode>& s,
                                               const Ref<NNGradientStateNode>& state)
    : NNGradientFilterNode({g, s}, {state}) {}
std::unique_ptr<GraphLayer> CNNSoftMaxGradientNode::doMakeLayer(const Ref<MTL::Device>& d) {
  return gradient<CNNSoftMaxGradient>(d);
}
CNNLogSoftMaxGradientNode::CNNLogSoftMaxGradientNode(const Ref<NNImageNode>& g, const Ref<NNImageNode>& s,
                                                     const Ref<NNGradientStateNode>& state)
    : NNGradientFilterNode({g, s}, {state}) {}
std::unique_ptr<GraphLayer> CNNLogSoftMaxGradientNode::doMakeLayer(const Ref<MTL::Device>& d) {
  return gradient<CNNLogSoftMaxGradient>(d);
}

// --- dropout
// ----------------------------------------------------------------------------------------------------------

CNNDropoutNode::CNNDropoutNode(const Ref<NNImageNode>& source) : CNNDropoutNode(source, 0.5f) {}
CNNDropoutNode::CNNDropoutNode(const Ref<NNImageNode>& source, float keepProbability)
    : CNNDropoutNode(source, keepProbability, 0, {1, 1, 1}) {}
CNNDropoutNode::CNNDropoutNode(const Ref<NNImageNode>& source, float keepProbability, std::size_t seed,
                               MTL::Size maskStrideInPixels)
    : NNFilterNode({source}, {}), keepProbability_(keepProbability), seed_(seed), maskStride_(maskStrideInPixels) {
  addResultState(std::make_unique<NNGradientStateNode>());
}
std::unique_ptr<GraphLayer> CNNDropoutNode::doMakeLayer(const Ref<MTL::Device>& d) {
  return unary<CNNDropout>(d, keepProbability_, seed_, maskStride_);
}
std::vector<Ref<NNGradientFilterNode>> CNNDropoutNode::doGradientFilters(const Ref<NNImageNode>& g) {
  return {CNNDropoutGradientNode::create(g, sources_[0], gradientStateOf(resultState()), keepProbability_, seed_,
                                         maskStride_)};
}
CNNDropoutGradientNode::CNNDropoutGradientNode(const Ref<NNImageNode>& g, const Ref<NNImageNode>& s,
                                               const Ref<NNGradientStateNode>& state, float keepProbability,
                                               std::size_t seed, MTL::Size maskStrideInPixels)
    : NNGradientFilterNode({g, s}, {state}),
      keepProbability_(keepProbability),
      seed_(seed),
      maskStride_(maskStrideInPixels) {}
std::unique_ptr<GraphLayer> CNNDropoutGradientNode::doMakeLayer(const Ref<MTL::Device>& d) {
  return gradient<CNNDropoutGradient>(d, keepProbability_, seed_, maskStride_);
}

// --- loss
// -------------------------------------------------------------------------------------------------------------

namespace {

/// K: CNNLoss or CNNYOLOLoss.
template <class K>
class LossLayer final : public GraphLayer {
 public:
  explicit LossLayer(Ref<K> kernel) : loss_(std::move(kernel)) {}
  void build(nn::GraphBuild&) override {}
  ImageBatch encode(nn::LayerCall& call) override {
    CNNLossLabelsBatch labels;
    for (const auto& s : call.states[0]) {
      auto l = std::dynamic_pointer_cast<CNNLossLabels>(s);
      if (!l)
        base::raise(
            "NNGraph: the source state of a loss stage is not a CNNLossLabels; give one per image, in sourceStates");
      labels.push_back(std::move(l));
    }
    if (call.batch) return loss_->encodeBatch(call.commandBuffer, call.sources[0], labels);
    return ImageBatch{loss_->encode(call.commandBuffer, call.sources[0][0], labels[0])};
  }
  bool hasOtherEffects() const override { return true; }
  std::unique_ptr<GraphLayer> copyFor(nn::GraphCopy& copy) const override {
    return std::make_unique<LossLayer>(copy.kernel(loss_));
  }
  bool takes(std::size_t images, std::size_t states) const override { return images >= 1 && states >= 1; }
  nn::LayerRecord record() const override { return {"labelled loss", loss_, {}}; }

 protected:
  CNNKernelBase* kernel() override { return loss_.get(); }

 private:
  Ref<K> loss_;
};

}  // namespace

CNNLossNode::CNNLossNode(const Ref<NNImageNode>& source, const Ref<CNNLossDescriptor>& lossDescriptor)
    : NNFilterNode({source}, {std::make_shared<NNLabelsNode>()}), descriptor_(lossDescriptor) {
  if (!lossDescriptor) base::raise("CNNLossNode: lossDescriptor is null");
}
Ref<NNLabelsNode> CNNLossNode::inputLabels() const { return std::static_pointer_cast<NNLabelsNode>(sourceStates_[0]); }
std::unique_ptr<GraphLayer> CNNLossNode::doMakeLayer(const Ref<MTL::Device>& d) {
  return std::make_unique<LossLayer<CNNLoss>>(std::make_shared<CNNLoss>(d, descriptor_));
}

CNNYOLOLossNode::CNNYOLOLossNode(const Ref<NNImageNode>& source, const Ref<CNNYOLOLossDescriptor>& lossDescriptor)
    : NNFilterNode({source}, {std::make_shared<NNLabelsNode>()}), descriptor_(lossDescriptor) {
  if (!lossDescriptor) base::raise("CNNYOLOLossNode: lossDescriptor is null");
}
Ref<CNNYOLOLossNode> CNNYOLOLossNode::create(const Ref<NNImageNode>& source,
                                             const Ref<CNNYOLOLossDescriptor>& lossDescriptor) {
  return std::make_shared<CNNYOLOLossNode>(source, lossDescriptor);
}
Ref<NNLabelsNode> CNNYOLOLossNode::inputLabels() const {
  return std::static_pointer_cast<NNLabelsNode>(sourceStates_[0]);
}
std::unique_ptr<GraphLayer> CNNYOLOLossNode::doMakeLayer(const Ref<MTL::Device>& d) {
  return std::make_unique<LossLayer<CNNYOLOLoss>>(std::make_shared<CNNYOLOLoss>(d, descriptor_));
}

}  // namespace kovar::MPS

namespace kovar::nn {

std::unique_ptr<GraphLayer> labelledLossLayer(const LayerRecord& record) {
  if (record.kind != "labelled loss") return nullptr;
  if (auto loss = std::dynamic_pointer_cast<MPS::CNNLoss>(record.kernel))
    return std::make_unique<MPS::LossLayer<MPS::CNNLoss>>(loss);
  if (auto loss = std::dynamic_pointer_cast<MPS::CNNYOLOLoss>(record.kernel))
    return std::make_unique<MPS::LossLayer<MPS::CNNYOLOLoss>>(loss);
  return nullptr;
}

}  // namespace kovar::nn
