#pragma once

#include <cstddef>

#include "kovar/MPS/Core/State.hpp"

namespace kovar::MPS {

/// Scale (gamma) and shift (beta) of a normalization, one float32 each per feature channel: what updates give and
/// reloads take. Implements MPSCNNNormalizationGammaAndBetaState.
///
/// Errors: a null buffer, buffers of different lengths or devices; numberOfFeatureChannels of 0.
class CNNNormalizationGammaAndBetaState : public State {
 public:
  /// Over existing buffers.
  CNNNormalizationGammaAndBetaState(const Ref<MTL::Buffer>& gamma, const Ref<MTL::Buffer>& beta);
  static Ref<CNNNormalizationGammaAndBetaState> temporaryState(const Ref<MTL::CommandBuffer>& commandBuffer,
                                                               std::size_t numberOfFeatureChannels);
  Ref<MTL::Buffer> gamma() const { return buffer(0); }
  Ref<MTL::Buffer> beta() const { return buffer(1); }

 protected:
  explicit CNNNormalizationGammaAndBetaState(const Ref<MTL::CommandBuffer>& commandBuffer) : State(commandBuffer) {}
  const char* className() const override { return "CNNNormalizationGammaAndBetaState"; }
  friend struct nn::Access;
};

}  // namespace kovar::MPS
