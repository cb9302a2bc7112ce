#pragma once

#include "kovar/MPS/NN/NNFilterNode.hpp"

namespace kovar::MPS {

/// Graph stage of CNNSoftMax. Implements MPSCNNSoftMaxNode.
class CNNSoftMaxNode : public NNFilterNode {
 public:
  explicit CNNSoftMaxNode(const Ref<NNImageNode>& source);
  static Ref<CNNSoftMaxNode> create(const Ref<NNImageNode>& source) { return std::make_shared<CNNSoftMaxNode>(source); }

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  std::vector<Ref<NNGradientFilterNode>> doGradientFilters(const Ref<NNImageNode>& gradient) override;
  const char* className() const override { return "CNNSoftMaxNode"; }
};

/// Graph stage of CNNLogSoftMax. Implements MPSCNNLogSoftMaxNode.
class CNNLogSoftMaxNode : public NNFilterNode {
 public:
  explicit CNNLogSoftMaxNode(const Ref<NNImageNode>& source);
  static Ref<CNNLogSoftMaxNode> create(const Ref<NNImageNode>& source) {
    return std::make_shared<CNNLogSoftMaxNode>(source);
  }

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  std::vector<Ref<NNGradientFilterNode>> doGradientFilters(const Ref<NNImageNode>& gradient) override;
  const char* className() const override { return "CNNLogSoftMaxNode"; }
};

/// Graph stage of CNNSoftMaxGradient; sourceImage is the forward RESULT. Implements MPSCNNSoftMaxGradientNode.
class CNNSoftMaxGradientNode : public NNGradientFilterNode {
 public:
  CNNSoftMaxGradientNode(const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
                         const Ref<NNGradientStateNode>& gradientState);
  static Ref<CNNSoftMaxGradientNode> create(const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
                                            const Ref<NNGradientStateNode>& gradientState) {
    return std::make_shared<CNNSoftMaxGradientNode>(sourceGradient, sourceImage, gradientState);
  }

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  const char* className() const override { return "CNNSoftMaxGradientNode"; }
};

/// Graph stage of CNNLogSoftMaxGradient; sourceImage is the forward RESULT. Implements MPSCNNLogSoftMaxGradientNode.
class CNNLogSoftMaxGradientNode : public NNGradientFilterNode {
 public:
  CNNLogSoftMaxGradientNode(const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
                            const Ref<NNGradientStateNode>& gradientState);
  static Ref<CNNLogSoftMaxGradientNode> create(const Ref<NNImageNode>& sourceGradient,
                                               const Ref<NNImageNode>& sourceImage,
                                               const Ref<NNGradientStateNode>& gradientState) {
    return std::make_shared<CNNLogSoftMaxGradientNode>(sourceGradient, sourceImage, gradientState);
  }

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  const char* className() const override { return "CNNLogSoftMaxGradientNode"; }
};

}  // namespace kovar::MPS
