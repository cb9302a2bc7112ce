#pragma once

#include <memory>

#include "kovar/MPS/Core/State.hpp"

namespace kovar::nn {
struct ForwardRecord;
}

namespace kovar::MPS {

/// What a forward kernel was set to when it was encoded, for its gradient kernel. Made by the forward kernel, for one
/// batch. Implements MPSNNGradientState.
class NNGradientState : public State {
 public:
  ~NNGradientState() override;

 protected:
  NNGradientState(const Ref<MTL::Device>& device, std::shared_ptr<const nn::ForwardRecord> record);
  NNGradientState(const Ref<MTL::CommandBuffer>& commandBuffer, std::shared_ptr<const nn::ForwardRecord> record);
  const char* className() const override { return "NNGradientState"; }

  std::shared_ptr<const nn::ForwardRecord> record_;
  friend struct nn::Access;
};

/// The same for kernels with two and with many sources. Implement MPSNNBinaryGradientState and
/// MPSNNMultiaryGradientState.
class NNBinaryGradientState : public State {
 protected:
  using State::State;
  const char* className() const override { return "NNBinaryGradientState"; }
};
class NNMultiaryGradientState : public State {
 protected:
  using State::State;
  const char* className() const override { return "NNMultiaryGradientState"; }
};

using NNGradientStateBatch = Batch<NNGradientState>;
using NNBinaryGradientStateBatch = Batch<NNBinaryGradientState>;
using NNMultiaryGradientStateBatch = Batch<NNMultiaryGradientState>;

}  // namespace kovar::MPS
