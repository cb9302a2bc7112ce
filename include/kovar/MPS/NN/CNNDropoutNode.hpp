#pragma once

#include <cstddef>

#include "kovar/MPS/NN/NNFilterNode.hpp"

namespace kovar::MPS {

/// Graph stage of CNNDropout. It drops in every graph that contains it; leave it out of an inference graph.
/// Defaults: keepProbability 0.5, seed 0, mask strides {1, 1, 1}. Implements MPSCNNDropoutNode.
class CNNDropoutNode : public NNFilterNode {
 public:
  explicit CNNDropoutNode(const Ref<NNImageNode>& source);
  CNNDropoutNode(const Ref<NNImageNode>& source, float keepProbability);
  CNNDropoutNode(const Ref<NNImageNode>& source, float keepProbability, std::size_t seed, MTL::Size maskStrideInPixels);
  static Ref<CNNDropoutNode> create(const Ref<NNImageNode>& source) { return std::make_shared<CNNDropoutNode>(source); }
  static Ref<CNNDropoutNode> create(const Ref<NNImageNode>& source, float keepProbability) {
    return std::make_shared<CNNDropoutNode>(source, keepProbability);
  }
  static Ref<CNNDropoutNode> create(const Ref<NNImageNode>& source, float keepProbability, std::size_t seed,
                                    MTL::Size maskStrideInPixels) {
    return std::make_shared<CNNDropoutNode>(source, keepProbability, seed, maskStrideInPixels);
  }
  float keepProbability() const { return keepProbability_; }
  std::size_t seed() const { return seed_; }
  MTL::Size maskStrideInPixels() const { return maskStride_; }

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  std::vector<Ref<NNGradientFilterNode>> doGradientFilters(const Ref<NNImageNode>& gradient) override;
  const char* className() const override { return "CNNDropoutNode"; }

 private:
  float keepProbability_;
  std::size_t seed_;
  MTL::Size maskStride_;
};

/// Graph stage of CNNDropoutGradient. Implements MPSCNNDropoutGradientNode.
class CNNDropoutGradientNode : public NNGradientFilterNode {
 public:
  CNNDropoutGradientNode(const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
                         const Ref<NNGradientStateNode>& gradientState, float keepProbability, std::size_t seed,
                         MTL::Size maskStrideInPixels);
  static Ref<CNNDropoutGradientNode> create(const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
                                            const Ref<NNGradientStateNode>& gradientState, float keepProbability,
                                            std::size_t seed, MTL::Size maskStrideInPixels) {
    return std::make_shared<CNNDropoutGradientNode>(sourceGradient, sourceImage, gradientState, keepProbability, seed,
                                                    maskStrideInPixels);
  }
  float keepProbability() const { return keepProbability_; }
  std::size_t seed() const { return seed_; }
  MTL::Size maskStrideInPixels() const { return maskStride_; }

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  const char* className() const override { return "CNNDropoutGradientNode"; }

 private:
  float keepProbability_;
  std::size_t seed_;
  MTL::Size maskStride_;
};

}  // namespace kovar::MPS
