#pragma once
// Reductions that no documented kernel but a graph stage computes.

#include "kovar/MPS/NN/NNReduce.hpp"

namespace kovar::nn {

enum class ReducedAxis { Row, Column, Channels, Pixels };
enum class ReductionKind { Min, Max, Mean, Sum, ArgumentMin, ArgumentMax };

/// The mean of all pixels of each channel: the result is 1 x 1 x C. Makes the state that its gradient takes.
class SpatialMean final : public MPS::NNReduceUnary {
 public:
  explicit SpatialMean(const Ref<MTL::Device>& device);
  SpatialMean(MPS::Archive& coder, const Ref<MTL::Device>& device) : SpatialMean(device) { decode(coder); }

 protected:
  Ref<MPS::State> doResultState(const StateRequest& request) override;
  Ref<MPS::Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  const char* className() const override { return "NNReductionSpatialMeanNode"; }
  friend class MPS::Kernel;
};

/// Spreads the gradient of a spatial mean over the pixels it was taken of; 0 elsewhere.
class SpatialMeanGradient final : public MPS::CNNGradientKernel {
 public:
  explicit SpatialMeanGradient(const Ref<MTL::Device>& device) : CNNGradientKernel(device) {}
  SpatialMeanGradient(MPS::Archive& coder, const Ref<MTL::Device>& device) : SpatialMeanGradient(device) {
    decode(coder);
  }

 protected:
  void doEncode(Call& call) override;
  void doAdopt(const ForwardRecord& record, const std::vector<Ref<MPS::Image>>& sourceImages) override;
  Ref<MPS::Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  const char* className() const override { return "NNReductionSpatialMeanGradientNode"; }
  friend class MPS::Kernel;
};

}  // namespace kovar::nn
