#include "nn/fused_activation.hpp"

#include <string>

#include "base/edge.hpp"
#include "nn/core/access.hpp"
#include "nn/core/pointwise.hpp"

namespace kovar::nn {

std::shared_ptr<const FusedActivation> activationOf(const Ref<MTL::Device>& device,
                                                    const Ref<MPS::NNNeuronDescriptor>& descriptor) {
  if (!descriptor || descriptor->neuronType() == MPS::CNNNeuronType::None || !device) return nullptr;
  auto a = std::make_shared<FusedActivation>();
  a->device = device;
  a->neuron = descriptor->copy();
  if (descriptor->neuronType() == MPS::CNNNeuronType::PReLU) {
    const std::vector<std::byte> slopes = descriptor->data();
    a->slopeCount = slopes.size() / sizeof(float);
    a->slopes = uploadFloats(device, reinterpret_cast<const float*>(slopes.data()), a->slopeCount);
  }
  return a;
}

void bringTo(const Ref<MTL::Device>& device, std::shared_ptr<const FusedActivation>& activation) {
  if (activation && activation->device != device) activation = activationOf(device, activation->neuron);
}

void checkSlopes(const FusedActivation* a, std::size_t channels, const MPS::Kernel& who) {
  if (a && a->slopes && a->slopeCount < channels)
    base::raise(Access::described(who) + ": the activation is a PReLU with " + std::to_string(a->slopeCount) +
                " slopes for " + std::to_string(channels) + " feature channels; give one per channel");
}

}  // namespace kovar::nn
