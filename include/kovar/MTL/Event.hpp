#pragma once

#include <cstdint>

#include "kovar/MTL/Types.hpp"

namespace kovar::rt {
class EventState;
struct Access;
}  // namespace kovar::rt

namespace kovar::MTL {

class Device;

/// Orders work between queues: one signals a value, another waits until the value is reached. Values only grow.
/// Implements MTLEvent, with the host side of MTLSharedEvent.
class Event final : public Object {
 public:
  Ref<Device> device() const { return device_; }
  /// The value reached so far.
  std::uint64_t signaledValue() const;
  /// Signals from the host.
  void setSignaledValue(std::uint64_t value);

 private:
  explicit Event(Ref<Device> device);
  Ref<Device> device_;
  std::shared_ptr<rt::EventState> state_;
  friend struct rt::Access;
};

}  // namespace kovar::MTL
