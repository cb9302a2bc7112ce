#pragma once

#include "kovar/MPS/NN/CNNBatchNormalization.hpp"
#include "kovar/MPS/NN/CNNGroupNormalization.hpp"
#include "kovar/MPS/NN/CNNInstanceNormalization.hpp"
#include "kovar/MPS/NN/NNFilterNode.hpp"
#include "kovar/MPS/NN/Types.hpp"

namespace kovar::MPS {

// --- windows of neighbours ---

/// Base of the stages that normalize by neighbours. Computes nothing itself. Implements MPSCNNNormalizationNode.
class CNNNormalizationNode : public NNFilterNode {
 public:
  explicit CNNNormalizationNode(const Ref<NNImageNode>& source);
  static Ref<CNNNormalizationNode> create(const Ref<NNImageNode>& source);
  /// 1 by default.
  float alpha() const { return alpha_; }
  void setAlpha(float alpha) { alpha_ = alpha; }
  /// 5 by default; 0.5 for local contrast.
  float beta() const { return beta_; }
  void setBeta(float beta) { beta_ = beta; }
  /// 1 by default; 1/1024 for local contrast.
  float delta() const { return delta_; }
  void setDelta(float delta) { delta_ = delta; }

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  const char* className() const override { return "CNNNormalizationNode"; }

  float alpha_ = 1.f, beta_ = 5.f, delta_ = 1.f;
};

/// Graph stage of CNNSpatialNormalization. Implements MPSCNNSpatialNormalizationNode.
class CNNSpatialNormalizationNode : public CNNNormalizationNode {
 public:
  CNNSpatialNormalizationNode(const Ref<NNImageNode>& source, std::size_t kernelSize);
  /// A window of 5 x 5.
  explicit CNNSpatialNormalizationNode(const Ref<NNImageNode>& source);
  static Ref<CNNSpatialNormalizationNode> create(const Ref<NNImageNode>& source, std::size_t kernelSize);
  std::size_t kernelWidth() const { return kernelWidth_; }
  void setKernelWidth(std::size_t kernelWidth) { kernelWidth_ = kernelWidth; }
  std::size_t kernelHeight() const { return kernelHeight_; }
  void setKernelHeight(std::size_t kernelHeight) { kernelHeight_ = kernelHeight; }

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  std::vector<Ref<NNGradientFilterNode>> doGradientFilters(const Ref<NNImageNode>& gradient) override;
  const char* className() const override { return "CNNSpatialNormalizationNode"; }

 private:
  std::size_t kernelWidth_, kernelHeight_;
};

/// Graph stage of CNNSpatialNormalizationGradient. The forward stage's parameters come with its state. Implements
/// MPSCNNSpatialNormalizationGradientNode.
class CNNSpatialNormalizationGradientNode : public NNGradientFilterNode {
 public:
  CNNSpatialNormalizationGradientNode(const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
                                      const Ref<NNGradientStateNode>& gradientState, std::size_t kernelSize);
  static Ref<CNNSpatialNormalizationGradientNode> create(const Ref<NNImageNode>& sourceGradient,
                                                         const Ref<NNImageNode>& sourceImage,
                                                         const Ref<NNGradientStateNode>& gradientState,
                                                         std::size_t kernelSize);
  std::size_t kernelWidth() const { return kernelWidth_; }
  void setKernelWidth(std::size_t kernelWidth) { kernelWidth_ = kernelWidth; }
  std::size_t kernelHeight() const { return kernelHeight_; }
  void setKernelHeight(std::size_t kernelHeight) { kernelHeight_ = kernelHeight; }
  float alpha() const { return alpha_; }
  void setAlpha(float alpha) { alpha_ = alpha; }
  float beta() const { return beta_; }
  void setBeta(float beta) { beta_ = beta; }
  float delta() const { return delta_; }
  void setDelta(float delta) { delta_ = delta; }

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  const char* className() const override { return "CNNSpatialNormalizationGradientNode"; }

 private:
  std::size_t kernelWidth_, kernelHeight_;
  float alpha_ = 1.f, beta_ = 5.f, delta_ = 1.f;
};

/// Graph stage of CNNLocalContrastNormalization; alpha is 1 here, 0 for the bare kernel. Implements
/// MPSCNNLocalContrastNormalizationNode.
class CNNLocalContrastNormalizationNode : public CNNNormalizationNode {
 public:
  CNNLocalContrastNormalizationNode(const Ref<NNImageNode>& source, std::size_t kernelSize);
  /// A window of 5 x 5.
  explicit CNNLocalContrastNormalizationNode(const Ref<NNImageNode>& source);
  static Ref<CNNLocalContrastNormalizationNode> create(const Ref<NNImageNode>& source, std::size_t kernelSize);
  /// 0 by default.
  float pm() const { return pm_; }
  void setPm(float pm) { pm_ = pm; }
  /// 1 by default.
  float ps() const { return ps_; }
  void setPs(float ps) { ps_ = ps; }
  /// 1 by default.
  float p0() const { return p0_; }
  void setP0(float p0) { p0_ = p0; }
  std::size_t kernelWidth() const { return kernelWidth_; }
  void setKernelWidth(std::size_t kernelWidth) { kernelWidth_ = kernelWidth; }
  std::size_t kernelHeight() const { return kernelHeight_; }
  void setKernelHeight(std::size_t kernelHeight) { kernelHeight_ = kernelHeight; }

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  std::vector<Ref<NNGradientFilterNode>> doGradientFilters(const Ref<NNImageNode>& gradient) override;
  const char* className() const override { return "CNNLocalContrastNormalizationNode"; }

 private:
  std::size_t kernelWidth_, kernelHeight_;
  float pm_ = 0.f, ps_ = 1.f, p0_ = 1.f;
};

/// Graph stage of CNNLocalContrastNormalizationGradient. The forward stage's parameters come with its state. Implements
/// MPSCNNLocalContrastNormalizationGradientNode.
class CNNLocalContrastNormalizationGradientNode : public NNGradientFilterNode {
 public:
  CNNLocalContrastNormalizationGradientNode(const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
                                            const Ref<NNGradientStateNode>& gradientState, std::size_t kernelWidth,
                                            std::size_t kernelHeight);
  static Ref<CNNLocalContrastNormalizationGradientNode> create(const Ref<NNImageNode>& sourceGradient,
                                                               const Ref<NNImageNode>& sourceImage,
                                                               const Ref<NNGradientStateNode>& gradientState,
                                                               std::size_t kernelWidth, std::size_t kernelHeight);
  float alpha() const { return alpha_; }
  void setAlpha(float alpha) { alpha_ = alpha; }
  float beta() const { return beta_; }
  void setBeta(float beta) { beta_ = beta; }
  float delta() const { return delta_; }
  void setDelta(float delta) { delta_ = delta; }
  float p0() const { return p0_; }
  void setP0(float p0) { p0_ = p0; }
  float pm() const { return pm_; }
  void setPm(float pm) { pm_ = pm; }
  float ps() const { return ps_; }
  void setPs(float ps) { ps_ = ps; }
  std::size_t kernelWidth() const { return kernelWidth_; }
  std::size_t kernelHeight() const { return kernelHeight_; }

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  const char* className() const override { return "CNNLocalContrastNormalizationGradientNode"; }

 private:
  std::size_t kernelWidth_, kernelHeight_;
  float alpha_ = 0.f, beta_ = 0.5f, delta_ = 1.f / 1024.f, p0_ = 1.f, pm_ = 0.f, ps_ = 1.f;
};

/// Graph stage of CNNCrossChannelNormalization. Implements MPSCNNCrossChannelNormalizationNode.
class CNNCrossChannelNormalizationNode : public CNNNormalizationNode {
 public:
  CNNCrossChannelNormalizationNode(const Ref<NNImageNode>& source, std::size_t kernelSize);
  /// A window of 5 channels.
  explicit CNNCrossChannelNormalizationNode(const Ref<NNImageNode>& source);
  static Ref<CNNCrossChannelNormalizationNode> create(const Ref<NNImageNode>& source, std::size_t kernelSize);
  std::size_t kernelSizeInFeatureChannels() const { return kernelSize_; }
  void setKernelSizeInFeatureChannels(std::size_t kernelSizeInFeatureChannels) {
    kernelSize_ = kernelSizeInFeatureChannels;
  }

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  std::vector<Ref<NNGradientFilterNode>> doGradientFilters(const Ref<NNImageNode>& gradient) override;
  const char* className() const override { return "CNNCrossChannelNormalizationNode"; }

 private:
  std::size_t kernelSize_;
};

/// Graph stage of CNNCrossChannelNormalizationGradient. The forward stage's parameters come with its state. Implements
/// MPSCNNCrossChannelNormalizationGradientNode.
class CNNCrossChannelNormalizationGradientNode : public NNGradientFilterNode {
 public:
  CNNCrossChannelNormalizationGradientNode(const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
                                           const Ref<NNGradientStateNode>& gradientState, std::size_t kernelSize);
  static Ref<CNNCrossChannelNormalizationGradientNode> create(const Ref<NNImageNode>& sourceGradient,
                                                              const Ref<NNImageNode>& sourceImage,
                                                              const Ref<NNGradientStateNode>& gradientState,
                                                              std::size_t kernelSize);
  std::size_t kernelSize() const { return kernelSize_; }

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  const char* className() const override { return "CNNCrossChannelNormalizationGradientNode"; }

 private:
  std::size_t kernelSize_;
};

// --- mean and variance of a region ---

/// Graph stage of CNNInstanceNormalization. Implements MPSCNNInstanceNormalizationNode.
class CNNInstanceNormalizationNode : public NNFilterNode, public NNTrainableNode {
 public:
  CNNInstanceNormalizationNode(const Ref<NNImageNode>& source,
                               const Ref<CNNInstanceNormalizationDataSource>& dataSource);
  static Ref<CNNInstanceNormalizationNode> create(const Ref<NNImageNode>& source,
                                                  const Ref<CNNInstanceNormalizationDataSource>& dataSource);

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  std::vector<Ref<NNGradientFilterNode>> doGradientFilters(const Ref<NNImageNode>& gradient) override;
  const char* className() const override { return "CNNInstanceNormalizationNode"; }

 private:
  Ref<CNNInstanceNormalizationDataSource> dataSource_;
};

/// Graph stage of CNNInstanceNormalizationGradient, and of the update of gamma and beta by the data source. Implements
/// MPSCNNInstanceNormalizationGradientNode.
class CNNInstanceNormalizationGradientNode : public NNGradientFilterNode, public NNTrainableNode {
 public:
  CNNInstanceNormalizationGradientNode(const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
                                       const Ref<NNGradientStateNode>& gradientState);
  static Ref<CNNInstanceNormalizationGradientNode> create(const Ref<NNImageNode>& sourceGradient,
                                                          const Ref<NNImageNode>& sourceImage,
                                                          const Ref<NNGradientStateNode>& gradientState);

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  const char* className() const override { return "CNNInstanceNormalizationGradientNode"; }
};

/// Graph stage of CNNGroupNormalization. Implements MPSCNNGroupNormalizationNode.
class CNNGroupNormalizationNode : public NNFilterNode, public NNTrainableNode {
 public:
  CNNGroupNormalizationNode(const Ref<NNImageNode>& source, const Ref<CNNGroupNormalizationDataSource>& dataSource);
  static Ref<CNNGroupNormalizationNode> create(const Ref<NNImageNode>& source,
                                               const Ref<CNNGroupNormalizationDataSource>& dataSource);

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  std::vector<Ref<NNGradientFilterNode>> doGradientFilters(const Ref<NNImageNode>& gradient) override;
  const char* className() const override { return "CNNGroupNormalizationNode"; }

 private:
  Ref<CNNGroupNormalizationDataSource> dataSource_;
};

/// Graph stage of CNNGroupNormalizationGradient, and of the update of gamma and beta by the data source. Implements
/// MPSCNNGroupNormalizationGradientNode.
class CNNGroupNormalizationGradientNode : public NNGradientFilterNode, public NNTrainableNode {
 public:
  CNNGroupNormalizationGradientNode(const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
                                    const Ref<NNGradientStateNode>& gradientState);
  static Ref<CNNGroupNormalizationGradientNode> create(const Ref<NNImageNode>& sourceGradient,
                                                       const Ref<NNImageNode>& sourceImage,
                                                       const Ref<NNGradientStateNode>& gradientState);

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  const char* className() const override { return "CNNGroupNormalizationGradientNode"; }
};

/// Graph stage of CNNBatchNormalization. In a training graph it takes the statistics of the batch, in an inference
/// graph the data source's; flags say otherwise. Implements MPSCNNBatchNormalizationNode.
class CNNBatchNormalizationNode : public NNFilterNode, public NNTrainableNode {
 public:
  CNNBatchNormalizationNode(const Ref<NNImageNode>& source, const Ref<CNNBatchNormalizationDataSource>& dataSource);
  static Ref<CNNBatchNormalizationNode> create(const Ref<NNImageNode>& source,
                                               const Ref<CNNBatchNormalizationDataSource>& dataSource);
  /// Statistics of the batch: automatic (where a gradient stage uses them), always or never.
  CNNBatchNormalizationFlags flags() const { return flags_; }
  void setFlags(CNNBatchNormalizationFlags flags) { flags_ = flags; }

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  std::vector<Ref<NNGradientFilterNode>> doGradientFilters(const Ref<NNImageNode>& gradient) override;
  const char* className() const override { return "CNNBatchNormalizationNode"; }

 private:
  Ref<CNNBatchNormalizationDataSource> dataSource_;
  CNNBatchNormalizationFlags flags_ = CNNBatchNormalizationFlags::Default;
};

/// Graph stage of both batch normalization gradients, and of the updates of gamma, beta and the running values by the
/// data source. Implements MPSCNNBatchNormalizationGradientNode.
class CNNBatchNormalizationGradientNode : public NNGradientFilterNode, public NNTrainableNode {
 public:
  CNNBatchNormalizationGradientNode(const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
                                    const Ref<NNGradientStateNode>& gradientState);
  static Ref<CNNBatchNormalizationGradientNode> create(const Ref<NNImageNode>& sourceGradient,
                                                       const Ref<NNImageNode>& sourceImage,
                                                       const Ref<NNGradientStateNode>& gradientState);

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  const char* className() const override { return "CNNBatchNormalizationGradientNode"; }
};

}  // namespace kovar::MPS
