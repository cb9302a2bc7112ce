#include "kovar/MPS/NN/NNSlice.hpp"

#include <algorithm>

#include "base/edge.hpp"
#include "nn/core/access.hpp"

namespace kovar::MPS {

NNSlice::NNSlice(const Ref<MTL::Device>& device) : CNNKernel(device) {}

std::size_t NNSlice::doWrittenChannels(const std::vector<std::size_t>& used, const BatchView<State>&,
                                       const Image& destination, bool) {
  // Room for none: the encode's own message tells what is needed.
  const std::size_t room =
      destination.featureChannels() - std::min(destination.featureChannels(), destinationFeatureChannelOffset_);
  return room == 0 ? used[0] : std::min(used[0], room);
}

void NNSlice::doEncode(nn::Call& call) {
  const nn::SourceGeometry& g = call.geometry[0];
  nn::Tensor from = call.sources[0];
  from.view.dims[3] = call.destination.c();
  prim::Copy copy;
  copy.shift = {0, static_cast<std::int32_t>(g.offsetY), static_cast<std::int32_t>(g.offsetX), 0};
  copy.edge = static_cast<prim::Edge>(g.edgeMode);
  call.list.op(copy, {from.read(), call.destination.write()});
}

}  // namespace kovar::MPS
