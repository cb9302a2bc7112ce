#pragma once
// An activation behind a normalization.

#include <cstddef>
#include <memory>

#include "kovar/MPS/NN/CNNNeuronDescriptor.hpp"
#include "nn/core/call.hpp"

namespace kovar::nn {

/// The activation, and the slopes of a PReLU on the device.
struct FusedActivation {
  Ref<MTL::Device> device;
  Ref<MPS::NNNeuronDescriptor> neuron;
  rt::StorageRef slopes;
  std::size_t slopeCount = 0;
};

/// Null for no activation.
std::shared_ptr<const FusedActivation> activationOf(const Ref<MTL::Device>& device,
                                                    const Ref<MPS::NNNeuronDescriptor>& descriptor);
/// Those of a kernel that was copied from another device, with the slopes where the kernel is.
void bringTo(const Ref<MTL::Device>& device, std::shared_ptr<const FusedActivation>& activation);
/// Refuses a PReLU with fewer slopes than channels.
void checkSlopes(const FusedActivation* activation, std::size_t channels, const MPS::Kernel& who);

}  // namespace kovar::nn
