#pragma once
// Running a planned list on a queue's stream.

#include <memory>
#include <span>
#include <vector>

#include "prim/backend.hpp"
#include "runtime/list_plan.hpp"
#include "runtime/storage.hpp"

namespace kovar::rt {

class DeviceState;
class QueueState;

/// The plan for a list of this shape, from the device's cache or made now.
base::Result<std::shared_ptr<const ListPlan>> findOrPlan(DeviceState& device, const prim::OpList& list);

/// What a list that has been started leaves to be done.
struct Started {
  prim::FenceRef fence;                       ///< null: everything has run
  std::vector<prim::Derived::Forms> retired;  ///< forms that its work may still read: kept until the fence
  std::shared_ptr<const ListPlan> plan;       ///< likewise
  prim::ReplayRef replay;                     ///< likewise
};

/// Binds storages to memory and starts every operation. `encoded` gives this run's scalars.
base::Result<Started> executeList(QueueState& queue, const std::shared_ptr<const ListPlan>& plan,
                                  const prim::OpList& encoded, std::span<const StorageRef> storages,
                                  std::span<const prim::CallBody> calls);

}  // namespace kovar::rt
