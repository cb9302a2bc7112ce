#include <algorithm>
#include <limits>
#include <numeric>

#include "runtime/passes/passes.hpp"

namespace kovar::rt {

Lives livesOf(const prim::OpList& list) {
  Lives lives;
  lives.first.assign(list.storages.size(), std::numeric_limits<std::uint32_t>::max());
  lives.last.assign(list.storages.size(), 0);
  for (std::uint32_t i = 0; i < list.ops.size(); ++i)
    for (const prim::Arg& a : list.argsOf(list.ops[i])) {
      lives.first[a.storage] = std::min(lives.first[a.storage], i);
      lives.last[a.storage] = i;
    }
  return lives;
}

MemoryPlan planMemory(const prim::OpList& list) {
  constexpr std::int64_t kAlign = 64;
  const Lives lives = livesOf(list);
  MemoryPlan plan;
  plan.place.assign(list.storages.size(), -1);
  plan.lastUse = lives.last;

  std::vector<std::uint32_t> order;
  for (std::uint32_t i = 0; i < list.storages.size(); ++i)
    if (list.storages[i].temporary && lives.first[i] <= lives.last[i]) order.push_back(i);
  auto sizeOf = [&](std::uint32_t i) {
    return (static_cast<std::int64_t>(list.storages[i].bytes) + kAlign - 1) / kAlign * kAlign;
  };
  // Largest first, each into the smallest gap among those alive at the same time.
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return sizeOf(a) > sizeOf(b); });
  std::vector<std::uint32_t> placed;
  for (std::uint32_t i : order) {
    std::vector<std::pair<std::int64_t, std::int64_t>> taken;
    for (std::uint32_t j : placed)
      if (lives.first[i] <= lives.last[j] && lives.first[j] <= lives.last[i])
        taken.emplace_back(plan.place[j], plan.place[j] + sizeOf(j));
    std::sort(taken.begin(), taken.end());
    std::int64_t best = -1, bestGap = std::numeric_limits<std::int64_t>::max(), end = 0;
    for (const auto& [from, to] : taken) {
      const std::int64_t gap = from - end;
      if (gap >= sizeOf(i) && gap < bestGap) {
        best = end;
        bestGap = gap;
      }
      end = std::max(end, to);
    }
    plan.place[i] = best >= 0 ? best : end;
    plan.bytes = std::max(plan.bytes, static_cast<std::size_t>(plan.place[i] + sizeOf(i)));
    plan.sum += static_cast<std::size_t>(sizeOf(i));
    placed.push_back(i);
  }
  return plan;
}

}  // namespace kovar::rt
