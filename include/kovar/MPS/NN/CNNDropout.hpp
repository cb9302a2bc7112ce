#pragma once

#include <cstddef>
#include <vector>

#include "kovar/MPS/NN/CNNKernel.hpp"
#include "kovar/MPS/NN/GradientState.hpp"

namespace kovar::MPS {

/// Which elements one image's forward pass kept. Implements MPSCNNDropoutGradientState.
class CNNDropoutGradientState final : public NNGradientState {
 public:
  /// One byte per mask element, 1 kept, 0 dropped, in the order y, x, channel of the mask's extents (1 along broadcast
  /// axes). Defined once the command buffer of the forward encode has completed; for states that are not temporary.
  std::vector<std::byte> maskData();

 protected:
  using NNGradientState::NNGradientState;
  const char* className() const override { return "CNNDropoutGradientState"; }
  bool doHasSiblings() const override { return true; }
  Ref<State> doSibling(std::size_t index) const override;

 private:
  std::shared_ptr<rt::Storage> mask_;  // shared by the states of a batch
  std::size_t firstElement_ = 0, elements_ = 0;
  MTL::Size extents_;
  friend class CNNDropout;
  friend class CNNDropoutGradient;
  friend struct nn::Access;
};
using CNNDropoutGradientStateBatch = Batch<CNNDropoutGradientState>;

/// D = S / keepProbability where a random mask keeps the element, else 0. Elements are kept independently with
/// probability keepProbability; maskStrideInPixels {w, h, d} of 0 share one decision along that axis ({0, 0, 1} drops
/// whole channels). The mask depends on the seed, the image's place in the batch and how often this object has encoded,
/// and on nothing else: every device gives the same masks. Implements MPSCNNDropout.
///
/// Errors: keepProbability not strictly between 0 and 1, a mask stride other than 0 and 1.
class CNNDropout : public CNNKernel {
 public:
  CNNDropout(const Ref<MTL::Device>& device, float keepProbability, std::size_t seed, MTL::Size maskStrideInPixels);
  /// As an archive holds it.
  CNNDropout(Archive& coder, const Ref<MTL::Device>& device) : CNNDropout(device, 0.5f, 0, MTL::Size{1, 1, 1}) {
    decode(coder);
  }
  float keepProbability() const { return keepProbability_; }
  std::size_t seed() const { return seed_; }
  MTL::Size maskStrideInPixels() const { return maskStride_; }

  Ref<CNNDropoutGradientState> resultState(const Ref<Image>& sourceImage, const std::vector<Ref<State>>& sourceStates,
                                           const Ref<Image>& destinationImage);
  CNNDropoutGradientStateBatch resultStateBatch(const ImageBatch& sourceImage,
                                                const std::vector<StateBatch>& sourceStates,
                                                const ImageBatch& destinationImage);
  Ref<CNNDropoutGradientState> temporaryResultState(const Ref<MTL::CommandBuffer>& commandBuffer,
                                                    const Ref<Image>& sourceImage,
                                                    const std::vector<Ref<State>>& sourceStates,
                                                    const Ref<Image>& destinationImage);
  CNNDropoutGradientStateBatch temporaryResultStateBatch(const Ref<MTL::CommandBuffer>& commandBuffer,
                                                         const ImageBatch& sourceImage,
                                                         const std::vector<StateBatch>& sourceStates,
                                                         const ImageBatch& destinationImage);

 protected:
  void doEncode(nn::Call& call) override;
  Ref<State> doResultState(const nn::StateRequest& request) override;
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  void doCode(Archive& coder) override;
  const char* className() const override { return "CNNDropout"; }

 private:
  float keepProbability_;
  std::size_t seed_;
  MTL::Size maskStride_;
  std::uint64_t sequence_ = 0;  // one more for each encode: successive masks differ
  friend class Kernel;
  friend struct nn::Access;
};

/// dS = g / keepProbability where the forward mask kept the element, else 0. Parameters as the forward kernel's.
/// Implements MPSCNNDropoutGradient.
class CNNDropoutGradient : public CNNGradientKernel {
 public:
  CNNDropoutGradient(const Ref<MTL::Device>& device, float keepProbability, std::size_t seed,
                     MTL::Size maskStrideInPixels);
  /// As an archive holds it.
  CNNDropoutGradient(Archive& coder, const Ref<MTL::Device>& device)
      : CNNDropoutGradient(device, 0.5f, 0, MTL::Size{1, 1, 1}) {
    decode(coder);
  }
  float keepProbability() const { return keepProbability_; }
  std::size_t seed() const { return seed_; }
  MTL::Size maskStrideInPixels() const { return maskStride_; }

 protected:
  void doEncode(nn::Call& call) override;
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  void doCode(Archive& coder) override;
  const char* className() const override { return "CNNDropoutGradient"; }

 private:
  float keepProbability_;
  std::size_t seed_;
  MTL::Size maskStride_;
  friend class Kernel;
};

}  // namespace kovar::MPS
