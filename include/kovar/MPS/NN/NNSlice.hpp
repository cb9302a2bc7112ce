#pragma once

#include <cstddef>
#include <vector>

#include "kovar/MPS/NN/CNNKernel.hpp"

namespace kovar::MPS {

/// Copies a part: pixels from offset on, as many as the clip rectangle has, channels from sourceFeatureChannelOffset
/// on, as many as sourceFeatureChannelMaxCount, the source and the destination have, to
/// destinationFeatureChannelOffset. Outside the source the edge mode counts. A result made here has the source's size
/// and the channels read. A view of the image (Image::subImage) needs no copy at all. Implements MPSNNSlice.
class NNSlice final : public CNNKernel {
 public:
  explicit NNSlice(const Ref<MTL::Device>& device);
  /// As an archive holds it.
  NNSlice(Archive& coder, const Ref<MTL::Device>& device) : NNSlice(device) { decode(coder); }

 protected:
  void doEncode(nn::Call& call) override;
  std::size_t doWrittenChannels(const std::vector<std::size_t>& used, const BatchView<State>& states,
                                const Image& destination, bool automatic) override;
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  const char* className() const override { return "NNSlice"; }
  friend class Kernel;
};

}  // namespace kovar::MPS
