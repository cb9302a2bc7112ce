#pragma once
// A caller's own work between kernels.

#include <cstddef>
#include <functional>
#include <span>
#include <variant>
#include <vector>

#include "kovar/MPS/Core/Image.hpp"
#include "kovar/MTL/Buffer.hpp"

namespace kovar {

/// The memory of one operand of encodeHost, while the function runs. An image is seen as it is stored: channels of a
/// pixel together, elements of `format` (Float16 as 16-bit patterns), lanes behind the last channel that must stay 0. A
/// buffer is seen as one row of bytes.
class HostView {
 public:
  /// What an element is; None for a buffer.
  MPS::ImageFeatureChannelFormat format = MPS::ImageFeatureChannelFormat::None;
  std::size_t images = 1, height = 1, width = 1, channels = 1;  ///< a buffer has as many channels as bytes
  std::size_t imageStride = 0, rowStride = 0, pixelStride = 0;  ///< in elements; channels are 1 apart

  /// The first channel of a pixel. T must have the size of an element.
  template <class T>
  const T* pixel(std::size_t image, std::size_t y, std::size_t x) const {
    return static_cast<const T*>(data_) + image * imageStride + y * rowStride + x * pixelStride;
  }
  template <class T>
  T* pixel(std::size_t image, std::size_t y, std::size_t x) {
    return static_cast<T*>(data_) + image * imageStride + y * rowStride + x * pixelStride;
  }
  const void* data() const { return data_; }
  void* data() { return data_; }

  /// For the library: a view of the same shape elsewhere.
  void setData(void* data) { data_ = data; }

 private:
  void* data_ = nullptr;
};

/// What encodeHost may read or write: a buffer or an image, temporary ones included.
using HostOperand = std::variant<Ref<MTL::Buffer>, Ref<MPS::Image>>;

/// The caller's function: views in the order of the operands. What it throws becomes the command buffer's error.
using HostFunction = std::function<void(std::span<const HostView> in, std::span<HostView> out)>;

/// Appends `function` to the work of the command buffer. It runs once, when its turn comes: after what was encoded
/// before has written its reads, before what is encoded after reads its writes. It runs on the queue's thread, so it
/// must not wait for the device. Uses up one read of each temporary image in `reads`. Predicates of the command buffer
/// hold for it too.
///
/// Errors: a null argument, objects of another device, a device whose memory the host cannot reach, a temporary image
/// that is used up.
void encodeHost(const Ref<MTL::CommandBuffer>& commandBuffer, const std::vector<HostOperand>& reads,
                const std::vector<HostOperand>& writes, HostFunction function);

}  // namespace kovar
