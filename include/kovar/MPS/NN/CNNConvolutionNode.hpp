#pragma once

#include "kovar/MPS/NN/CNNConvolutionDataSource.hpp"
#include "kovar/MPS/NN/NNFilterNode.hpp"

namespace kovar::nn {
struct BinarySettings;
}

namespace kovar::MPS {

/// The gradient state of a convolution node. Implements MPSCNNConvolutionGradientStateNode.
class CNNConvolutionGradientStateNode : public NNGradientStateNode {};

/// Graph stage of CNNConvolution. The data source is loaded when the graph is made. Implements MPSCNNConvolutionNode.
class CNNConvolutionNode : public NNFilterNode, public NNTrainableNode {
 public:
  CNNConvolutionNode(const Ref<NNImageNode>& source, const Ref<CNNConvolutionDataSource>& weights);
  static Ref<CNNConvolutionNode> create(const Ref<NNImageNode>& source, const Ref<CNNConvolutionDataSource>& weights);
  NNConvolutionAccumulatorPrecisionOption accumulatorPrecision() const { return accumulatorPrecision_; }
  void setAccumulatorPrecision(NNConvolutionAccumulatorPrecisionOption accumulatorPrecision) {
    accumulatorPrecision_ = accumulatorPrecision;
  }
  Ref<CNNConvolutionGradientStateNode> convolutionGradientState() const;

 protected:
  /// Of a derived class: with its states, the result's null where it has none.
  CNNConvolutionNode(const Ref<NNImageNode>& source, const Ref<CNNConvolutionDataSource>& weights,
                     std::vector<Ref<NNStateNode>> sourceStates, std::unique_ptr<NNStateNode> resultState,
                     const char* who);
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  std::vector<Ref<NNGradientFilterNode>> doGradientFilters(const Ref<NNImageNode>& gradient) override;
  const char* className() const override { return "CNNConvolutionNode"; }

  Ref<CNNConvolutionDataSource> weights_;
  NNConvolutionAccumulatorPrecisionOption accumulatorPrecision_ = NNConvolutionAccumulatorPrecisionOption::Float;
  friend struct nn::NodeAccess;
};

/// Graph stage of CNNFullyConnected. Implements MPSCNNFullyConnectedNode.
class CNNFullyConnectedNode : public CNNConvolutionNode {
 public:
  using CNNConvolutionNode::CNNConvolutionNode;
  static Ref<CNNFullyConnectedNode> create(const Ref<NNImageNode>& source,
                                           const Ref<CNNConvolutionDataSource>& weights);

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  std::vector<Ref<NNGradientFilterNode>> doGradientFilters(const Ref<NNImageNode>& gradient) override;
  const char* className() const override { return "CNNFullyConnectedNode"; }
};

/// Graph stage of CNNConvolutionGradient. weights null: the forward node's. Implements MPSCNNConvolutionGradientNode.
class CNNConvolutionGradientNode : public NNGradientFilterNode, public NNTrainableNode {
 public:
  CNNConvolutionGradientNode(const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
                             const Ref<CNNConvolutionGradientStateNode>& convolutionGradientState,
                             const Ref<CNNConvolutionDataSource>& weights);
  static Ref<CNNConvolutionGradientNode> create(const Ref<NNImageNode>& sourceGradient,
                                                const Ref<NNImageNode>& sourceImage,
                                                const Ref<CNNConvolutionGradientStateNode>& convolutionGradientState,
                                                const Ref<CNNConvolutionDataSource>& weights);

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  const char* className() const override { return "CNNConvolutionGradientNode"; }

  Ref<CNNConvolutionDataSource> weights_;
};

/// The gradient state of a transposed convolution node. Implements MPSCNNConvolutionTransposeGradientStateNode.
class CNNConvolutionTransposeGradientStateNode : public CNNConvolutionGradientStateNode {};

/// Graph stage of CNNConvolutionTranspose: the result has the size of the source of the convolution node whose state is
/// given; null: what the padding policy says. Implements MPSCNNConvolutionTransposeNode.
class CNNConvolutionTransposeNode : public CNNConvolutionNode {
 public:
  CNNConvolutionTransposeNode(const Ref<NNImageNode>& source,
                              const Ref<CNNConvolutionGradientStateNode>& convolutionGradientState,
                              const Ref<CNNConvolutionDataSource>& weights);
  static Ref<CNNConvolutionTransposeNode> create(const Ref<NNImageNode>& source,
                                                 const Ref<CNNConvolutionGradientStateNode>& convolutionGradientState,
                                                 const Ref<CNNConvolutionDataSource>& weights);

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  std::vector<Ref<NNGradientFilterNode>> doGradientFilters(const Ref<NNImageNode>& gradient) override;
  const char* className() const override { return "CNNConvolutionTransposeNode"; }
};

/// Graph stage of CNNConvolutionTransposeGradient. weights null: the forward node's. Implements
/// MPSCNNConvolutionTransposeGradientNode.
class CNNConvolutionTransposeGradientNode : public CNNConvolutionGradientNode {
 public:
  CNNConvolutionTransposeGradientNode(
      const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
      const Ref<CNNConvolutionTransposeGradientStateNode>& convolutionTransposeGradientState,
      const Ref<CNNConvolutionDataSource>& weights);
  static Ref<CNNConvolutionTransposeGradientNode> create(
      const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
      const Ref<CNNConvolutionTransposeGradientStateNode>& convolutionTransposeGradientState,
      const Ref<CNNConvolutionDataSource>& weights);

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  const char* className() const override { return "CNNConvolutionTransposeGradientNode"; }
};

/// Graph stage of CNNBinaryConvolution. It has no gradient: training stops before it. The arrays are copied here, the
/// data source is loaded for their lengths. Implements MPSCNNBinaryConvolutionNode.
class CNNBinaryConvolutionNode : public CNNConvolutionNode {
 public:
  CNNBinaryConvolutionNode(const Ref<NNImageNode>& source, const Ref<CNNConvolutionDataSource>& weights,
                           float scaleValue, CNNBinaryConvolutionType type, CNNBinaryConvolutionFlags flags);
  CNNBinaryConvolutionNode(const Ref<NNImageNode>& source, const Ref<CNNConvolutionDataSource>& weights,
                           const float* outputBiasTerms, const float* outputScaleTerms, const float* inputBiasTerms,
                           const float* inputScaleTerms, CNNBinaryConvolutionType type,
                           CNNBinaryConvolutionFlags flags);
  static Ref<CNNBinaryConvolutionNode> create(const Ref<NNImageNode>& source,
                                              const Ref<CNNConvolutionDataSource>& weights, float scaleValue,
                                              CNNBinaryConvolutionType type, CNNBinaryConvolutionFlags flags);
  static Ref<CNNBinaryConvolutionNode> create(const Ref<NNImageNode>& source,
                                              const Ref<CNNConvolutionDataSource>& weights,
                                              const float* outputBiasTerms, const float* outputScaleTerms,
                                              const float* inputBiasTerms, const float* inputScaleTerms,
                                              CNNBinaryConvolutionType type, CNNBinaryConvolutionFlags flags);

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  std::vector<Ref<NNGradientFilterNode>> doGradientFilters(const Ref<NNImageNode>&) override { return {}; }
  const char* className() const override { return "CNNBinaryConvolutionNode"; }

  std::shared_ptr<const nn::BinarySettings> settings_;
};

/// Graph stage of CNNBinaryFullyConnected. Implements MPSCNNBinaryFullyConnectedNode.
class CNNBinaryFullyConnectedNode : public CNNBinaryConvolutionNode {
 public:
  using CNNBinaryConvolutionNode::CNNBinaryConvolutionNode;
  static Ref<CNNBinaryFullyConnectedNode> create(const Ref<NNImageNode>& source,
                                                 const Ref<CNNConvolutionDataSource>& weights, float scaleValue,
                                                 CNNBinaryConvolutionType type, CNNBinaryConvolutionFlags flags);
  static Ref<CNNBinaryFullyConnectedNode> create(const Ref<NNImageNode>& source,
                                                 const Ref<CNNConvolutionDataSource>& weights,
                                                 const float* outputBiasTerms, const float* outputScaleTerms,
                                                 const float* inputBiasTerms, const float* inputScaleTerms,
                                                 CNNBinaryConvolutionType type, CNNBinaryConvolutionFlags flags);

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  const char* className() const override { return "CNNBinaryFullyConnectedNode"; }
};

/// Graph stage of CNNFullyConnectedGradient. Implements MPSCNNFullyConnectedGradientNode.
class CNNFullyConnectedGradientNode : public CNNConvolutionGradientNode {
 public:
  using CNNConvolutionGradientNode::CNNConvolutionGradientNode;
  static Ref<CNNFullyConnectedGradientNode> create(const Ref<NNImageNode>& sourceGradient,
                                                   const Ref<NNImageNode>& sourceImage,
                                                   const Ref<CNNConvolutionGradientStateNode>& convolutionGradientState,
                                                   const Ref<CNNConvolutionDataSource>& weights);

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  const char* className() const override { return "CNNFullyConnectedGradientNode"; }
};

}  // namespace kovar::MPS
