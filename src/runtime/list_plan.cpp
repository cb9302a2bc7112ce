#include "runtime/list_plan.hpp"

#include <algorithm>
#include <utility>

#include "base/log.hpp"
#include "runtime/device_state.hpp"
#include "runtime/passes/passes.hpp"

namespace kovar::rt {
namespace {

void traceDispatch(const prim::OpList& list, std::size_t op, const prim::Plan& plan) {
  std::string line = "#" + std::to_string(op) + ' ' + prim::textOf(list.ops[op].prim) + " -> " + plan.implementation;
  for (const prim::Refusal& r : plan.refusals) line += "; not " + r.implementation + ": " + r.reason;
  base::trace("dispatch", line);
}

}  // namespace

base::Result<std::shared_ptr<const ListPlan>> planList(DeviceState& device, const prim::OpList& list) {
  KOVAR_TRY(verify(list));
  auto plan = std::make_shared<ListPlan>();
  plan->key = list;
  plan->list = list;
  for (const prim::StorageInfo& s : list.storages)
    if (s.temporary) plan->stats.temporaryBytes += s.bytes;

  elideCopies(plan->list);
  if (!device.strictFormats) promoteTemporaries(plan->list);
  if (device.backend->caps().updatingProducts) updateInProducts(plan->list);
  if (device.backend->caps().rectifiedPools) rectifyPools(plan->list);
  fuseElementwise(plan->list);
  dropDead(plan->list);

  MemoryPlan memory = planMemory(plan->list);
  plan->place = std::move(memory.place);
  plan->lastUse = std::move(memory.lastUse);
  plan->scratchOffset = memory.bytes;

  std::size_t scratch = 0;
  std::vector<prim::View> views;
  plan->written.resize(plan->list.storages.size());
  for (std::size_t i = 0; i < plan->list.ops.size(); ++i) {
    views.clear();
    for (const prim::Arg& a : plan->list.argsOf(plan->list.ops[i])) {
      views.push_back(a.view);
      if (prim::writes(a.access)) plan->written[a.storage] = true;
    }
    auto prepared = device.prepare(plan->list.ops[i].prim, views);
    if (!prepared.ok())
      return base::Failure{"operation #" + std::to_string(i) + " (" + prim::textOf(plan->list.ops[i].prim) +
                           ") cannot run on device " + device.identifier + ": " + prepared.failure().text +
                           (device.identifier == "cpu" ? "" : "; use another device (the cpu runs every operation)")};
    scratch = std::max(scratch, (*prepared)->scratchBytes);
    if (base::traceEnabled("dispatch")) traceDispatch(plan->list, i, **prepared);
    plan->plans.push_back(std::move(*prepared));
  }
  plan->stats.arenaBytes = memory.bytes + scratch;
  plan->stats.encoded = list.ops.size();
  plan->stats.run = plan->list.ops.size();
  if (base::traceEnabled("plan"))
    base::trace("plan", std::to_string(list.ops.size()) + " operations encoded, " +
                            std::to_string(plan->list.ops.size()) + " run; temporaries " +
                            std::to_string(plan->stats.temporaryBytes) + " bytes in an arena of " +
                            std::to_string(plan->stats.arenaBytes) + " (" + std::to_string(scratch) + " scratch)");
  return std::shared_ptr<const ListPlan>(std::move(plan));
}

}  // namespace kovar::rt
