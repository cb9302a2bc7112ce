#pragma once

#include <cstddef>
#include <vector>

#include "kovar/MPS/NN/NNFilterNode.hpp"

namespace kovar::MPS {

/// Graph stage of NNReshape. Implements MPSNNReshapeNode.
class NNReshapeNode final : public NNFilterNode {
 public:
  NNReshapeNode(const Ref<NNImageNode>& source, std::size_t resultWidth, std::size_t resultHeight,
                std::size_t resultFeatureChannels);
  static Ref<NNReshapeNode> create(const Ref<NNImageNode>& source, std::size_t resultWidth, std::size_t resultHeight,
                                   std::size_t resultFeatureChannels);

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  std::vector<Ref<NNGradientFilterNode>> doGradientFilters(const Ref<NNImageNode>& gradient) override;
  const char* className() const override { return "NNReshapeNode"; }

 private:
  std::size_t width_, height_, channels_;
};

/// Graph stage of NNReshapeGradient. Implements MPSNNReshapeGradientNode.
class NNReshapeGradientNode final : public NNGradientFilterNode {
 public:
  NNReshapeGradientNode(const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
                        const Ref<NNGradientStateNode>& gradientState);
  static Ref<NNReshapeGradientNode> create(const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
                                           const Ref<NNGradientStateNode>& gradientState);

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  const char* className() const override { return "NNReshapeGradientNode"; }
};

/// Graph stage of NNPad. Implements MPSNNPadNode.
class NNPadNode final : public NNFilterNode {
 public:
  NNPadNode(const Ref<NNImageNode>& source, ImageCoordinate paddingSizeBefore, ImageCoordinate paddingSizeAfter,
            ImageEdgeMode edgeMode);
  static Ref<NNPadNode> create(const Ref<NNImageNode>& source, ImageCoordinate paddingSizeBefore,
                               ImageCoordinate paddingSizeAfter, ImageEdgeMode edgeMode);
  /// Of edge mode Constant; 0 by default.
  float fillValue() const { return fillValue_; }
  void setFillValue(float fillValue) { fillValue_ = fillValue; }

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  std::vector<Ref<NNGradientFilterNode>> doGradientFilters(const Ref<NNImageNode>& gradient) override;
  const char* className() const override { return "NNPadNode"; }

 private:
  ImageCoordinate before_, after_;
  ImageEdgeMode edgeMode_;
  float fillValue_ = 0;
};

/// Graph stage of NNPadGradient. Implements MPSNNPadGradientNode.
class NNPadGradientNode final : public NNGradientFilterNode {
 public:
  NNPadGradientNode(const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
                    const Ref<NNGradientStateNode>& gradientState);
  static Ref<NNPadGradientNode> create(const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
                                       const Ref<NNGradientStateNode>& gradientState);

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  const char* className() const override { return "NNPadGradientNode"; }
};

/// Images of one size after one another along the feature channels. Every image but the last takes a multiple of four
/// channels: 23 channels take 24, the one between is 0. Implements MPSNNConcatenationNode.
class NNConcatenationNode final : public NNFilterNode {
 public:
  /// Throws Error without a source.
  explicit NNConcatenationNode(const std::vector<Ref<NNImageNode>>& sources);
  static Ref<NNConcatenationNode> create(const std::vector<Ref<NNImageNode>>& sources);

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  std::vector<Ref<NNGradientFilterNode>> doGradientFilters(const Ref<NNImageNode>& gradient) override;
  const char* className() const override { return "NNConcatenationNode"; }
};

/// One source's channels of the gradient of a concatenation. Implements MPSNNConcatenationGradientNode.
class NNConcatenationGradientNode final : public NNGradientFilterNode {
 public:
  /// Which source is found by `sourceImage`, the first of them if it was concatenated more than once. Throws Error when
  /// the state is not that of a concatenation of this image.
  NNConcatenationGradientNode(const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
                              const Ref<NNGradientStateNode>& gradientState);
  /// The same for source number `sourceIndex`.
  NNConcatenationGradientNode(const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
                              const Ref<NNGradientStateNode>& gradientState, std::size_t sourceIndex);
  static Ref<NNConcatenationGradientNode> create(const Ref<NNImageNode>& sourceGradient,
                                                 const Ref<NNImageNode>& sourceImage,
                                                 const Ref<NNGradientStateNode>& gradientState);

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  const char* className() const override { return "NNConcatenationGradientNode"; }

 private:
  std::size_t index_;
};

}  // namespace kovar::MPS
