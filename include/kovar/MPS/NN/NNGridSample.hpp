#pragma once

#include <cstddef>
#include <vector>

#include "kovar/MPS/NN/CNNKernel.hpp"

namespace kovar::MPS {

/// Reads the primary image between its pixels, where the secondary image says: its channel 0 is x, channel 1 is y, in
/// pixels of the primary image (0 is the centre of the first pixel). The result has the size of the secondary image and
/// the channels of the primary. Pixels outside follow primaryEdgeMode, zeros by default; a coordinate that is not a
/// number lies outside, with Clamp at the first pixel. Has no gradient. Implements MPSNNGridSample.
///
/// Errors: a secondary image without two channels.
class NNGridSample final : public CNNBinaryKernel {
 public:
  explicit NNGridSample(const Ref<MTL::Device>& device);
  /// As an archive holds it.
  NNGridSample(Archive& coder, const Ref<MTL::Device>& device) : NNGridSample(device) { decode(coder); }
  /// True (the default): the grid holds coordinates; false: what is added to the result pixel's own.
  bool useGridValueAsInputCoordinate() const { return absolute_; }
  void setUseGridValueAsInputCoordinate(bool useGridValueAsInputCoordinate) {
    absolute_ = useGridValueAsInputCoordinate;
  }

 protected:
  void doEncode(nn::Call& call) override;
  Ref<ImageDescriptor> doDestinationImageDescriptor(const std::vector<Ref<Image>>& sourceImages,
                                                    const std::vector<Ref<State>>& sourceStates) override;
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  void doCode(Archive& coder) override;
  const char* className() const override { return "NNGridSample"; }

 private:
  bool absolute_ = true;
  friend class Kernel;
};

}  // namespace kovar::MPS
