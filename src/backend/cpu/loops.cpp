#include "backend/cpu/loops.hpp"

namespace kovar::cpu {

Loops mergeLoops(std::span<const prim::View> views, bool lastAlone) {
  Loops loops;
  loops.views = views.size();
  for (std::size_t v = 0; v < views.size(); ++v)
    loops.start[v] = views[v].offset * static_cast<std::int64_t>(sizeOf(views[v].dtype));
  bool insideLead = true;
  for (int axis = 0; axis < views[0].rank; ++axis) {
    LoopAxis next;
    next.count = views[0].dim(axis);
    const bool alone = lastAlone && axis + 1 == views[0].rank;
    if (next.count == 1 && axis > 0 && !alone) continue;
    for (std::size_t v = 0; v < views.size(); ++v)
      next.step[v] = views[v].stride(axis) * static_cast<std::int64_t>(sizeOf(views[v].dtype));
    bool merges = loops.rank > 0 && !alone;
    for (std::size_t v = 0; merges && v < views.size(); ++v)
      merges = loops.axes[loops.rank - 1].count == 1 || loops.axes[loops.rank - 1].step[v] == next.step[v] * next.count;
    if (merges) {
      if (insideLead) loops.leadSteps *= next.count;
      LoopAxis& last = loops.axes[loops.rank - 1];
      last.count *= next.count;
      last.step = next.step;
    } else {
      insideLead = loops.rank == 0;
      loops.axes[loops.rank++] = next;
    }
  }
  if (loops.rank == 0) loops.axes[loops.rank++] = LoopAxis{};
  if (loops.rank == 1) {
    loops.axes[1] = loops.axes[0];
    loops.axes[0] = LoopAxis{};
    loops.rank = 2;
    loops.leadAxis = 1;
  }
  return loops;
}

}  // namespace kovar::cpu
