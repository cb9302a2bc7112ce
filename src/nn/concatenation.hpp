#pragma once
// What concatenation stages of graphs run; the documented interface has nodes for it, no kernels.

#include <vector>

#include "kovar/MPS/NN/CNNKernel.hpp"
#include "kovar/MPS/NN/GradientState.hpp"

namespace kovar::nn {

/// Sources of one size behind one another along the channels, each but the last rounded up to 4 with zeros between.
class Concatenation final : public MPS::CNNMultiaryKernel {
 public:
  Concatenation(const Ref<MTL::Device>& device, std::size_t sourceCount) : CNNMultiaryKernel(device, sourceCount) {}
  Concatenation(MPS::Archive& coder, const Ref<MTL::Device>& device) : Concatenation(device, 1) { decode(coder); }

 protected:
  void doEncode(Call& call) override;
  std::size_t doDestinationChannels(const std::vector<std::size_t>& used) override;
  Ref<MPS::ImageDescriptor> doDestinationImageDescriptor(const std::vector<Ref<MPS::Image>>& sourceImages,
                                                         const std::vector<Ref<MPS::State>>& sourceStates) override;
  Ref<MPS::State> doResultState(const StateRequest& request) override;
  Ref<MPS::Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  const char* className() const override { return "NNConcatenationNode"; }
  friend class MPS::Kernel;
};

/// The channels of source `index` cut out of the gradient.
class ConcatenationGradient final : public MPS::CNNGradientKernel {
 public:
  ConcatenationGradient(const Ref<MTL::Device>& device, std::size_t index) : CNNGradientKernel(device), index_(index) {}
  ConcatenationGradient(MPS::Archive& coder, const Ref<MTL::Device>& device) : ConcatenationGradient(device, 0) {
    decode(coder);
  }

 protected:
  void doEncode(Call& call) override;
  std::size_t doDestinationChannels(const std::vector<std::size_t>& used) override { return used[0]; }
  Ref<MPS::ImageDescriptor> doDestinationImageDescriptor(const std::vector<Ref<MPS::Image>>& sourceImages,
                                                         const std::vector<Ref<MPS::State>>& sourceStates) override;
  Ref<MPS::Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  void doCode(MPS::Archive& coder) override;
  const char* className() const override { return "NNConcatenationGradientNode"; }

 private:
  std::size_t index_;
  friend class MPS::Kernel;
};

}  // namespace kovar::nn
