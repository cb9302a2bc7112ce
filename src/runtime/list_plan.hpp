#pragma once
// A list made ready to run: passes applied, temporaries placed in one arena, every primitive prepared.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "prim/backend.hpp"
#include "prim/op_list.hpp"

namespace kovar::rt {

class DeviceState;

struct PlanStats {
  std::size_t arenaBytes = 0;      ///< temporaries and scratch, as laid out
  std::size_t temporaryBytes = 0;  ///< the sum of all temporaries of the list as encoded
  std::size_t encoded = 0;         ///< operations as encoded
  std::size_t run = 0;             ///< operations left after fusion
  std::size_t fallbacks = 0;       ///< operations that run on a last-choice implementation
};

struct ListPlan {
  prim::OpList key;                    ///< the list as encoded: what a later list is compared with
  prim::OpList list;                   ///< after the passes
  std::vector<prim::PlanRef> plans;    ///< one per operation of `list`
  std::vector<std::int64_t> place;     ///< per storage: byte offset in the arena, or -1
  std::vector<std::uint32_t> lastUse;  ///< per storage: the last operation that touches it
  std::vector<bool> written;           ///< per storage: whether the list writes it
  std::size_t scratchOffset = 0;
  PlanStats stats;
};

/// Verifier, passes, memory plan, prepare(). A failure names the operation.
base::Result<std::shared_ptr<const ListPlan>> planList(DeviceState& device, const prim::OpList& list);

}  // namespace kovar::rt
