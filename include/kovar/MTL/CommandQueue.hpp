#pragma once

#include <string>
#include <string_view>

#include "kovar/MTL/Types.hpp"

namespace kovar::rt {
class QueueState;
struct Access;
}  // namespace kovar::rt

namespace kovar::MTL {

class CommandBuffer;
class Device;

/// Runs command buffers one after the other, in the order they were enqueued or committed. Several queues of a device
/// run at the same time; an Event orders work between them. Any thread may use a queue. Implements MTLCommandQueue.
class CommandQueue final : public Object {
 public:
  ~CommandQueue() override;
  Ref<Device> device() const { return device_; }
  std::string label() const { return label_; }
  void setLabel(std::string_view label) { label_ = label; }
  Ref<CommandBuffer> commandBuffer();

 private:
  explicit CommandQueue(Ref<Device> device);
  Ref<Device> device_;
  std::string label_;
  std::shared_ptr<rt::QueueState> state_;
  friend struct rt::Access;
};

}  // namespace kovar::MTL
