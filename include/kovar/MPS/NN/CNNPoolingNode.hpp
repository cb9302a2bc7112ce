#pragma once

#include <cstddef>

#include "kovar/MPS/NN/NNFilterNode.hpp"

namespace kovar::MPS {

/// Base of the pooling stages. Unlike the bare kernels they start with edge mode Clamp. Implements MPSCNNPoolingNode.
class CNNPoolingNode : public NNFilterNode {
 public:
  CNNPoolingNode(const Ref<NNImageNode>& source, std::size_t kernelWidth, std::size_t kernelHeight,
                 std::size_t strideInPixelsX, std::size_t strideInPixelsY);
  CNNPoolingNode(const Ref<NNImageNode>& source, std::size_t filterSize, std::size_t stride);
  /// Stride = filterSize.
  CNNPoolingNode(const Ref<NNImageNode>& source, std::size_t filterSize);
  static Ref<CNNPoolingNode> create(const Ref<NNImageNode>& source, std::size_t filterSize);
  static Ref<CNNPoolingNode> create(const Ref<NNImageNode>& source, std::size_t filterSize, std::size_t stride);
  std::size_t kernelWidth() const { return kernelWidth_; }
  std::size_t kernelHeight() const { return kernelHeight_; }
  std::size_t strideInPixelsX() const { return strideX_; }
  std::size_t strideInPixelsY() const { return strideY_; }

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  const char* className() const override { return "CNNPoolingNode"; }

  std::size_t kernelWidth_, kernelHeight_, strideX_, strideY_;
};

/// Implements MPSCNNPoolingMaxNode.
class CNNPoolingMaxNode : public CNNPoolingNode {
 public:
  using CNNPoolingNode::CNNPoolingNode;
  static Ref<CNNPoolingMaxNode> create(const Ref<NNImageNode>& source, std::size_t filterSize);
  static Ref<CNNPoolingMaxNode> create(const Ref<NNImageNode>& source, std::size_t filterSize, std::size_t stride);

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  std::vector<Ref<NNGradientFilterNode>> doGradientFilters(const Ref<NNImageNode>& gradient) override;
  const char* className() const override { return "CNNPoolingMaxNode"; }
};

/// Implements MPSCNNPoolingAverageNode.
class CNNPoolingAverageNode : public CNNPoolingNode {
 public:
  using CNNPoolingNode::CNNPoolingNode;
  static Ref<CNNPoolingAverageNode> create(const Ref<NNImageNode>& source, std::size_t filterSize);
  static Ref<CNNPoolingAverageNode> create(const Ref<NNImageNode>& source, std::size_t filterSize, std::size_t stride);

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  std::vector<Ref<NNGradientFilterNode>> doGradientFilters(const Ref<NNImageNode>& gradient) override;
  const char* className() const override { return "CNNPoolingAverageNode"; }
};

/// Implements MPSCNNPoolingL2NormNode.
class CNNPoolingL2NormNode : public CNNPoolingNode {
 public:
  using CNNPoolingNode::CNNPoolingNode;
  static Ref<CNNPoolingL2NormNode> create(const Ref<NNImageNode>& source, std::size_t filterSize);
  static Ref<CNNPoolingL2NormNode> create(const Ref<NNImageNode>& source, std::size_t filterSize, std::size_t stride);

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  std::vector<Ref<NNGradientFilterNode>> doGradientFilters(const Ref<NNImageNode>& gradient) override;
  const char* className() const override { return "CNNPoolingL2NormNode"; }
};

/// Starts with edge mode Clamp, as the pooling stages do. Implements MPSCNNDilatedPoolingMaxNode.
class CNNDilatedPoolingMaxNode : public NNFilterNode {
 public:
  CNNDilatedPoolingMaxNode(const Ref<NNImageNode>& source, std::size_t kernelWidth, std::size_t kernelHeight,
                           std::size_t strideInPixelsX, std::size_t strideInPixelsY, std::size_t dilationRateX,
                           std::size_t dilationRateY);
  CNNDilatedPoolingMaxNode(const Ref<NNImageNode>& source, std::size_t filterSize, std::size_t stride,
                           std::size_t dilationRate);
  /// Stride and dilation rate = filterSize.
  CNNDilatedPoolingMaxNode(const Ref<NNImageNode>& source, std::size_t filterSize);
  static Ref<CNNDilatedPoolingMaxNode> create(const Ref<NNImageNode>& source, std::size_t filterSize);
  static Ref<CNNDilatedPoolingMaxNode> create(const Ref<NNImageNode>& source, std::size_t filterSize,
                                              std::size_t stride, std::size_t dilationRate);
  std::size_t dilationRateX() const { return dilationX_; }
  std::size_t dilationRateY() const { return dilationY_; }

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  std::vector<Ref<NNGradientFilterNode>> doGradientFilters(const Ref<NNImageNode>& gradient) override;
  const char* className() const override { return "CNNDilatedPoolingMaxNode"; }

 private:
  std::size_t kernelWidth_, kernelHeight_, strideX_, strideY_, dilationX_, dilationY_;
};

/// Base of the backward pooling stages. Implements MPSCNNPoolingGradientNode.
class CNNPoolingGradientNode : public NNGradientFilterNode {
 public:
  CNNPoolingGradientNode(const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
                         const Ref<NNGradientStateNode>& gradientState, std::size_t kernelWidth,
                         std::size_t kernelHeight, std::size_t strideInPixelsX, std::size_t strideInPixelsY,
                         const Ref<NNPadding>& paddingPolicy);
  std::size_t kernelWidth() const { return kernelWidth_; }
  std::size_t kernelHeight() const { return kernelHeight_; }
  std::size_t strideInPixelsX() const { return strideX_; }
  std::size_t strideInPixelsY() const { return strideY_; }

 protected:
  std::size_t kernelWidth_, kernelHeight_, strideX_, strideY_;
};

/// Implements MPSCNNPoolingMaxGradientNode.
class CNNPoolingMaxGradientNode : public CNNPoolingGradientNode {
 public:
  using CNNPoolingGradientNode::CNNPoolingGradientNode;

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  const char* className() const override { return "CNNPoolingMaxGradientNode"; }
};

/// Implements MPSCNNPoolingAverageGradientNode.
class CNNPoolingAverageGradientNode : public CNNPoolingGradientNode {
 public:
  using CNNPoolingGradientNode::CNNPoolingGradientNode;

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  const char* className() const override { return "CNNPoolingAverageGradientNode"; }
};

/// Implements MPSCNNPoolingL2NormGradientNode.
class CNNPoolingL2NormGradientNode : public CNNPoolingGradientNode {
 public:
  using CNNPoolingGradientNode::CNNPoolingGradientNode;

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  const char* className() const override { return "CNNPoolingL2NormGradientNode"; }
};

/// Implements MPSCNNDilatedPoolingMaxGradientNode.
class CNNDilatedPoolingMaxGradientNode : public CNNPoolingGradientNode {
 public:
  CNNDilatedPoolingMaxGradientNode(const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
                                   const Ref<NNGradientStateNode>& gradientState, std::size_t kernelWidth,
                                   std::size_t kernelHeight, std::size_t strideInPixelsX, std::size_t strideInPixelsY,
                                   std::size_t dilationRateX, std::size_t dilationRateY);
  static Ref<CNNDilatedPoolingMaxGradientNode> create(const Ref<NNImageNode>& sourceGradient,
                                                      const Ref<NNImageNode>& sourceImage,
                                                      const Ref<NNGradientStateNode>& gradientState,
                                                      std::size_t kernelWidth, std::size_t kernelHeight,
                                                      std::size_t strideInPixelsX, std::size_t strideInPixelsY,
                                                      std::size_t dilationRateX, std::size_t dilationRateY);
  std::size_t dilationRateX() const { return dilationX_; }
  std::size_t dilationRateY() const { return dilationY_; }

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  const char* className() const override { return "CNNDilatedPoolingMaxGradientNode"; }

 private:
  std::size_t dilationX_, dilationY_;
};

}  // namespace kovar::MPS
