#pragma once
// Kernels without a window: forward and gradient, with every offset, clip rectangle and edge mode.

#include <functional>

#include "nn/core/call.hpp"

namespace kovar::nn {

/// Builds the steps between "registers 0.. hold the sources" and "register 0 holds the result".
using BuildSteps = std::function<void(prim::Program& program)>;

/// destination = steps(source 0, source 1, ...), each source translated by its offset. `extra` arguments follow the
/// sources (channel vectors and the like, already shaped as views of [1|n, 1|h, 1|w, c]); they are loaded into the next
/// registers.
void encodePointwise(Call& call, const std::vector<Tensor>& extra, const BuildSteps& steps);

/// The same for a gradient whose sources are the gradient (0) and the forward source (1).
void encodePointwiseGradient(Call& call, const std::vector<Tensor>& extra, const BuildSteps& steps);

/// Runs `body(gradient, destination)` of a kernel without a window. On the automatic path of a forward kernel that was
/// translated or clipped, the body works on the forward kernel's region and its result is carried back to the source's
/// pixels (the adjoint of the translation); `translated` says so.
void encodeThroughForward(
    Call& call, const std::function<void(const Tensor& gradient, const Tensor& destination, bool translated)>& body);

/// A float32 vector on the device as a channel argument for `n` x `h` x `w` pixels: stride 0 but along channels.
Tensor channelVector(const rt::StorageRef& storage, std::int64_t n, std::int64_t h, std::int64_t w,
                     std::int64_t channels);

/// Copies floats to storage of the device.
rt::StorageRef uploadFloats(const Ref<MTL::Device>& device, const float* values, std::size_t count);

/// Values that a kernel computes at each encode and that seldom change.
struct KeptFloats;
/// The values on the device: those in `kept` when they are the same, else a new upload, which `kept` then holds. So an
/// encode repeated reads the same storage, and its plan can be replayed.
rt::StorageRef uploadedOnce(std::shared_ptr<const KeptFloats>& kept, const Ref<MTL::Device>& device,
                            const std::vector<float>& values);

}  // namespace kovar::nn
