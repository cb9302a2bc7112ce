#include <algorithm>

#include "runtime/passes/passes.hpp"

namespace kovar::rt {

void dropDead(prim::OpList& list) {
  // Backwards: a temporary matters once something that stays reads it.
  std::vector<bool> wanted(list.storages.size());
  for (std::size_t i = 0; i < wanted.size(); ++i) wanted[i] = !list.storages[i].temporary;
  for (const auto& set : list.predicateSets)
    for (const prim::PredicateWord& w : set) wanted[w.storage] = true;
  std::vector<prim::Op> kept;
  for (auto op = list.ops.rbegin(); op != list.ops.rend(); ++op) {
    const auto args = list.argsOf(*op);
    const bool stays = std::holds_alternative<prim::Call>(op->prim) ||
                       std::any_of(args.begin(), args.end(),
                                   [&](const prim::Arg& a) { return prim::writes(a.access) && wanted[a.storage]; });
    if (!stays) continue;
    for (const prim::Arg& a : args)
      if (prim::reads(a.access)) wanted[a.storage] = true;
    kept.push_back(*op);
  }
  list.ops.assign(kept.rbegin(), kept.rend());
}

}  // namespace kovar::rt
