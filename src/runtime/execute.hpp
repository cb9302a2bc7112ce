#pragma once
// Running a planned list on a queue's stream.

#include <memory>
#include <span>

#include "prim/backend.hpp"
#include "runtime/list_plan.hpp"
#include "runtime/storage.hpp"

namespace kovar::rt {

class DeviceState;
class QueueState;

/// The plan for a list of this shape, from the device's cache or made now.
base::Result<std::shared_ptr<const ListPlan>> findOrPlan(DeviceState& device, const prim::OpList& list);

/// Binds storages to memory and runs every operation. `encoded` gives this run's scalars.
base::Status executeList(QueueState& queue, const ListPlan& plan, const prim::OpList& encoded,
                         std::span<const StorageRef> storages, std::span<const prim::CallBody> calls);

}  // namespace kovar::rt
