#pragma once
// Strided loops over several views at once: axes of one element are dropped and neighbouring axes merged where every
// view allows it, so that most loops become one or two long ones.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/parallel.hpp"
#include "prim/program.hpp"
#include "prim/view.hpp"

namespace kovar::cpu {

/// Most views one loop can walk: as many as an element-wise program can name, and a destination.
inline constexpr std::size_t kMaxLoopViews = prim::kMaxSteps + 1;

/// One axis of a merged loop: how often, and how many bytes each view moves per step.
struct LoopAxis {
  std::int64_t count = 1;
  std::array<std::int64_t, kMaxLoopViews> step{};
};

/// Merged loops over views of equal dims, outermost first; at least two axes (of count 1 where there are fewer).
struct Loops {
  std::array<LoopAxis, prim::kMaxRank + 2> axes;
  std::size_t rank = 0;
  std::size_t views = 0;
  std::array<std::int64_t, kMaxLoopViews> start{};  ///< byte offset of each view's first element
  std::size_t leadAxis = 0;                         ///< the merged axis that walks axis 0 of the views
  std::int64_t leadSteps = 1;                       ///< its steps per step of axis 0

  const LoopAxis& rows() const { return axes[rank - 2]; }
  const LoopAxis& columns() const { return axes[rank - 1]; }
  /// Positions of all axes but the last two.
  std::int64_t planes() const {
    std::int64_t n = 1;
    for (std::size_t i = 0; i + 2 < rank; ++i) n *= axes[i].count;
    return n;
  }
  /// Byte offsets of plane `index`.
  std::array<std::int64_t, kMaxLoopViews> plane(std::int64_t index) const { return position(index, rank - 2); }
  /// Byte offsets of position `index` of the first `count` axes, in row-major order.
  std::array<std::int64_t, kMaxLoopViews> position(std::int64_t index, std::size_t count) const {
    std::array<std::int64_t, kMaxLoopViews> at = start;
    for (std::size_t a = count; a-- > 0;) {
      const std::int64_t i = index % axes[a].count;
      index /= axes[a].count;
      for (std::size_t v = 0; v < views; ++v) at[v] += i * axes[a].step[v];
    }
    return at;
  }
  /// The part [begin, end) of axis 0 of the views.
  Loops part(std::int64_t begin, std::int64_t end) const {
    Loops p = *this;
    p.axes[leadAxis].count = (end - begin) * leadSteps;
    for (std::size_t v = 0; v < views; ++v) p.start[v] += begin * leadSteps * axes[leadAxis].step[v];
    return p;
  }
};

/// Merges the axes of views that have equal dims. With `lastAlone` the last axis stays by itself, as columns().
Loops mergeLoops(std::span<const prim::View> views, bool lastAlone = false);

constexpr std::int64_t divideUp(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

/// Elements that one chunk of a parallel loop handles. Fixed, so that the grid depends on the problem alone.
inline constexpr std::int64_t kChunkElements = 32768;

/// Floats of one block of a loop nest: a handful of such blocks stays in the first-level cache.
inline constexpr std::int64_t kBlock = 512;
inline constexpr std::int64_t kBlocksPerChunk = kChunkElements / kBlock;

/// A loop nest cut into blocks of the two innermost axes, each of `capacity` elements at most.
struct BlockGrid {
  std::int64_t capacity, columnBlocks, rowsPerBlock, perPlane, blocks;

  explicit BlockGrid(const Loops& loops, std::int64_t blockCapacity = kBlock)
      : capacity(blockCapacity),
        columnBlocks(divideUp(loops.columns().count, capacity)),
        rowsPerBlock(columnBlocks > 1 ? 1 : std::max<std::int64_t>(1, capacity / loops.columns().count)),
        perPlane(columnBlocks * divideUp(loops.rows().count, rowsPerBlock)),
        blocks(perPlane * loops.planes()) {}
};

/// Spreads [0, count) over the pool in chunks of `grain`: fn(begin, end).
template <class F>
void forRanges(base::ThreadPool& pool, std::int64_t count, std::int64_t grain, F&& fn) {
  if (count <= 0) return;
  const std::int64_t chunks = divideUp(count, grain);
  if (chunks == 1) return fn(std::int64_t{0}, count);
  pool.run(static_cast<std::size_t>(chunks), [&](std::size_t i) {
    const std::int64_t begin = static_cast<std::int64_t>(i) * grain;
    fn(begin, std::min(count, begin + grain));
  });
}

}  // namespace kovar::cpu
