#pragma once

#include <cstddef>
#include <vector>

#include "kovar/MPS/NN/CNNKernel.hpp"

namespace kovar::MPS {

/// Dot products of the channels of a primary pixel with those of the secondary pixels around it: result channel n *
/// (2 * windowInX + 1) + m is the sum over the channels of A[y, x] * B[y + (n - windowInY) * strideInY, x + (m -
/// windowInX) * strideInX]. Outside B secondaryEdgeMode counts. Has no gradient. Implements MPSNNLocalCorrelation.
///
/// Errors: a stride of 0, a window beyond 64 in a direction, operands with different channel counts.
class NNLocalCorrelation final : public CNNBinaryKernel {
 public:
  /// Windows of 0, strides of 1: the dot product pixel by pixel.
  explicit NNLocalCorrelation(const Ref<MTL::Device>& device);
  NNLocalCorrelation(const Ref<MTL::Device>& device, std::size_t windowInX, std::size_t windowInY,
                     std::size_t strideInX, std::size_t strideInY);
  /// As an archive holds it.
  NNLocalCorrelation(Archive& coder, const Ref<MTL::Device>& device) : NNLocalCorrelation(device) { decode(coder); }
  std::size_t windowInX() const { return windowX_; }
  void setWindowInX(std::size_t windowInX) { windowX_ = windowInX; }
  std::size_t windowInY() const { return windowY_; }
  void setWindowInY(std::size_t windowInY) { windowY_ = windowInY; }
  std::size_t strideInX() const { return strideX_; }
  void setStrideInX(std::size_t strideInX) { strideX_ = strideInX; }
  std::size_t strideInY() const { return strideY_; }
  void setStrideInY(std::size_t strideInY) { strideY_ = strideInY; }

 protected:
  void doEncode(nn::Call& call) override;
  std::size_t doDestinationChannels(const std::vector<std::size_t>& used) override;
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  void doCode(Archive& coder) override;
  const char* className() const override { return "NNLocalCorrelation"; }

 private:
  std::size_t windowX_ = 0, windowY_ = 0, strideX_ = 1, strideY_ = 1;
  friend class Kernel;
};

}  // namespace kovar::MPS
