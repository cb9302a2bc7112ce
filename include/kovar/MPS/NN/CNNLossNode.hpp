#pragma once

#include "kovar/MPS/NN/CNNLoss.hpp"
#include "kovar/MPS/NN/CNNYOLOLoss.hpp"
#include "kovar/MPS/NN/NNFilterNode.hpp"

namespace kovar::MPS {

/// Stands for the labels of a loss stage: one CNNLossLabels per image of the batch. Implements MPSNNLabelsNode.
class NNLabelsNode : public NNStateNode {};

/// Graph stage of CNNLoss: its result is the gradient, the loss goes into the labels' lossImage. Implements
/// MPSCNNLossNode.
class CNNLossNode : public NNFilterNode {
 public:
  CNNLossNode(const Ref<NNImageNode>& source, const Ref<CNNLossDescriptor>& lossDescriptor);
  static Ref<CNNLossNode> create(const Ref<NNImageNode>& source, const Ref<CNNLossDescriptor>& lossDescriptor) {
    return std::make_shared<CNNLossNode>(source, lossDescriptor);
  }
  /// Its handle is among the graph's sourceStateHandles.
  Ref<NNLabelsNode> inputLabels() const;

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  bool doIsItsOwnGradient() const override { return true; }
  const char* className() const override { return "CNNLossNode"; }

 private:
  Ref<CNNLossDescriptor> descriptor_;
};

/// Graph stage of CNNYOLOLoss: its result is the gradient, the loss goes into the labels' lossImage. Implements
/// MPSCNNYOLOLossNode.
class CNNYOLOLossNode : public NNFilterNode {
 public:
  CNNYOLOLossNode(const Ref<NNImageNode>& source, const Ref<CNNYOLOLossDescriptor>& lossDescriptor);
  static Ref<CNNYOLOLossNode> create(const Ref<NNImageNode>& source, const Ref<CNNYOLOLossDescriptor>& lossDescriptor);
  /// Its handle is among the graph's sourceStateHandles.
  Ref<NNLabelsNode> inputLabels() const;

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  bool doIsItsOwnGradient() const override { return true; }
  const char* className() const override { return "CNNYOLOLossNode"; }

 private:
  Ref<CNNYOLOLossDescriptor> descriptor_;
};

}  // namespace kovar::MPS
