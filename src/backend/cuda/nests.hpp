#pragma once
// From views to what kernels walk.

#include <array>
#include <initializer_list>
#include <span>

#include "backend/cuda/kernels/params.hpp"
#include "prim/view.hpp"

namespace kovar::cuda {

/// Loops over views of equal dims: axes of one element dropped, neighbouring axes merged where every view allows it.
/// Steps are bytes.
struct Loops {
  std::size_t rank = 0;
  std::array<std::int64_t, prim::kMaxRank> count{};
  std::array<std::array<std::int64_t, kMaxProgramViews>, prim::kMaxRank> step{};
};
Loops loopsOf(std::span<const prim::View> views);

template <int V>
Nest<V> nestOf(std::span<const prim::View> views) {
  const Loops loops = loopsOf(views);
  Nest<V> n;
  n.rank = static_cast<std::int32_t>(loops.rank);
  for (std::size_t a = 0; a < loops.rank; ++a) {
    n.count[a] = loops.count[a];
    for (std::size_t v = 0; v < views.size(); ++v) n.step[a][v] = loops.step[a][v];
  }
  return n;
}

/// A view of rank 4 at most, its axes in front (missing ones: step 0); data still null.
Strided stridedOf(const prim::View& view);
/// The same with its axes at the end, so that a rank-2 view has steps in places 2 and 3.
Strided stridedBack(const prim::View& view);

inline std::int64_t bytesOf(const prim::View& v) { return static_cast<std::int64_t>(sizeOf(v.dtype)); }

/// The channels of a rank-4 view lie together, in groups of four that start at multiples of four elements.
bool channelsInFours(const prim::View& view);
/// All rank-4 views are float32 and their channels come in aligned groups of four.
bool inFours(std::span<const prim::View> views);
/// Memory that a caller owns may start anywhere. A null address is aligned.
bool alignedTo16(std::initializer_list<const std::byte*> addresses);

}  // namespace kovar::cuda
