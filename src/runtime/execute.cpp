#include "runtime/execute.hpp"

#include <cstring>
#include <vector>

#include "base/log.hpp"
#include "runtime/device_state.hpp"
#include "runtime/queue_state.hpp"

namespace kovar::rt {
namespace {

// NaN in every float format; as an integer a value that stands out.
constexpr int kPoison = 0xff;

struct Bindings {
  std::vector<prim::Bound> storages;
  std::byte* arena = nullptr;
};

base::Result<Bindings> bind(QueueState& queue, const ListPlan& plan, std::span<const StorageRef> storages) {
  Bindings b;
  KOVAR_TRY_ASSIGN(b.arena, queue.arena(plan.stats.arenaBytes));
  b.storages.resize(storages.size());
  for (std::size_t i = 0; i < storages.size(); ++i) {
    if (plan.place[i] >= 0) {
      b.storages[i].data = b.arena + plan.place[i];
    } else if (!plan.list.storages[i].temporary) {
      KOVAR_TRY_ASSIGN(b.storages[i].data, storages[i]->data());
      b.storages[i].derived = &storages[i]->derived;
    }
  }
  return b;
}

// Contents of dead temporaries must not be read again; in debug builds nobody gets away with it.
void poisonDead(const ListPlan& plan, std::size_t op, const Bindings& b) {
  for (const prim::Arg& a : plan.list.argsOf(plan.list.ops[op]))
    if (plan.place[a.storage] >= 0 && plan.lastUse[a.storage] == op)
      std::memset(b.storages[a.storage].data, kPoison, plan.list.storages[a.storage].bytes);
}

}  // namespace

base::Result<std::shared_ptr<const ListPlan>> findOrPlan(DeviceState& device, const prim::OpList& list) {
  const std::uint64_t hash = list.hash();
  auto plan = device.lists.find(hash, [&](const auto& p) { return p->key.sameShape(list); });
  if (plan) return plan;
  KOVAR_TRY_ASSIGN(plan, planList(device, list));
  const std::size_t bytes = 2 * (list.ops.size() * sizeof(prim::Op) + list.args.size() * sizeof(prim::Arg));
  device.lists.put(hash, plan, bytes + sizeof(ListPlan));
  return plan;
}

base::Status executeList(QueueState& queue, const ListPlan& plan, const prim::OpList& encoded,
                         std::span<const StorageRef> storages, std::span<const prim::CallBody> calls) {
  DeviceState& device = *queue.device();
  KOVAR_TRY_ASSIGN(Bindings b, bind(queue, plan, storages));
  std::vector<prim::Bound> args;
  std::vector<const std::uint32_t*> predicates;
  for (std::size_t i = 0; i < plan.list.ops.size(); ++i) {
    const prim::Op& op = plan.list.ops[i];
    args.clear();
    for (const prim::Arg& a : plan.list.argsOf(op)) args.push_back(b.storages[a.storage]);
    predicates.clear();
    if (op.predicates >= 0)
      for (const prim::PredicateWord& w : plan.list.predicateSets[static_cast<std::size_t>(op.predicates)])
        predicates.push_back(reinterpret_cast<const std::uint32_t*>(b.storages[w.storage].data + w.byteOffset));
    prim::Invocation inv;
    inv.args = args;
    inv.scalars = &encoded.ops[op.origin].scalars;
    inv.scratch = b.arena ? b.arena + plan.scratchOffset : nullptr;
    inv.predicates = predicates;
    if (const auto* call = std::get_if<prim::Call>(&op.prim)) inv.call = &calls[call->id];
    KOVAR_TRY(device.backend->enqueue(queue.stream(), *plan.plans[i], inv));
    for (const prim::Arg& a : plan.list.argsOf(op))
      if (prim::writes(a.access) && b.storages[a.storage].derived) b.storages[a.storage].derived->clear();
    if (device.poisonTemporaries && device.backend->caps().hostMemory) poisonDead(plan, i, b);
  }
  return device.backend->synchronize(queue.stream());
}

}  // namespace kovar::rt
