#pragma once

#include <cstddef>

#include "kovar/MPS/NN/NNFilterNode.hpp"

namespace kovar::MPS {

/// Implements MPSCNNUpsamplingNearestNode.
class CNNUpsamplingNearestNode : public NNFilterNode {
 public:
  CNNUpsamplingNearestNode(const Ref<NNImageNode>& source, std::size_t integerScaleFactorX,
                           std::size_t integerScaleFactorY);
  static Ref<CNNUpsamplingNearestNode> create(const Ref<NNImageNode>& source, std::size_t integerScaleFactorX,
                                              std::size_t integerScaleFactorY);
  double scaleFactorX() const { return static_cast<double>(scaleX_); }
  double scaleFactorY() const { return static_cast<double>(scaleY_); }

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  std::vector<Ref<NNGradientFilterNode>> doGradientFilters(const Ref<NNImageNode>& gradient) override;
  const char* className() const override { return "CNNUpsamplingNearestNode"; }

 private:
  std::size_t scaleX_, scaleY_;
};

/// Edge mode Zero, as the kernel's. Implements MPSCNNUpsamplingBilinearNode.
class CNNUpsamplingBilinearNode : public NNFilterNode {
 public:
  /// Corners are not aligned.
  CNNUpsamplingBilinearNode(const Ref<NNImageNode>& source, std::size_t integerScaleFactorX,
                            std::size_t integerScaleFactorY);
  CNNUpsamplingBilinearNode(const Ref<NNImageNode>& source, std::size_t integerScaleFactorX,
                            std::size_t integerScaleFactorY, bool alignCorners);
  static Ref<CNNUpsamplingBilinearNode> create(const Ref<NNImageNode>& source, std::size_t integerScaleFactorX,
                                               std::size_t integerScaleFactorY);
  static Ref<CNNUpsamplingBilinearNode> create(const Ref<NNImageNode>& source, std::size_t integerScaleFactorX,
                                               std::size_t integerScaleFactorY, bool alignCorners);
  double scaleFactorX() const { return static_cast<double>(scaleX_); }
  double scaleFactorY() const { return static_cast<double>(scaleY_); }
  bool alignCorners() const { return alignCorners_; }

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  std::vector<Ref<NNGradientFilterNode>> doGradientFilters(const Ref<NNImageNode>& gradient) override;
  const char* className() const override { return "CNNUpsamplingBilinearNode"; }

 private:
  std::size_t scaleX_, scaleY_;
  bool alignCorners_;
};

/// Implements MPSCNNUpsamplingNearestGradientNode. Errors: a scale factor that is no whole number from 1 to 2^20.
class CNNUpsamplingNearestGradientNode : public NNGradientFilterNode {
 public:
  CNNUpsamplingNearestGradientNode(const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
                                   const Ref<NNGradientStateNode>& gradientState, double scaleFactorX,
                                   double scaleFactorY);
  static Ref<CNNUpsamplingNearestGradientNode> create(const Ref<NNImageNode>& sourceGradient,
                                                      const Ref<NNImageNode>& sourceImage,
                                                      const Ref<NNGradientStateNode>& gradientState,
                                                      double scaleFactorX, double scaleFactorY);
  double scaleFactorX() const { return scaleX_; }
  double scaleFactorY() const { return scaleY_; }

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  const char* className() const override { return "CNNUpsamplingNearestGradientNode"; }

 private:
  double scaleX_, scaleY_;
};

/// Implements MPSCNNUpsamplingBilinearGradientNode. Errors: a scale factor that is no whole number from 1 to 2^20.
class CNNUpsamplingBilinearGradientNode : public NNGradientFilterNode {
 public:
  CNNUpsamplingBilinearGradientNode(const Ref<NNImageNode>& sourceGradient, const Ref<NNImageNode>& sourceImage,
                                    const Ref<NNGradientStateNode>& gradientState, double scaleFactorX,
                                    double scaleFactorY);
  static Ref<CNNUpsamplingBilinearGradientNode> create(const Ref<NNImageNode>& sourceGradient,
                                                       const Ref<NNImageNode>& sourceImage,
                                                       const Ref<NNGradientStateNode>& gradientState,
                                                       double scaleFactorX, double scaleFactorY);
  double scaleFactorX() const { return scaleX_; }
  double scaleFactorY() const { return scaleY_; }

 protected:
  std::unique_ptr<nn::GraphLayer> doMakeLayer(const Ref<MTL::Device>& device) override;
  const char* className() const override { return "CNNUpsamplingBilinearGradientNode"; }

 private:
  double scaleX_, scaleY_;
};

}  // namespace kovar::MPS
