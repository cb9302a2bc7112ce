#include "backend/cuda/nests.hpp"

#include <algorithm>

namespace kovar::cuda {

Loops loopsOf(std::span<const prim::View> views) {
  Loops loops;
  const prim::View& shape = views[0];
  for (int axis = 0; axis < shape.rank; ++axis) {
    if (shape.dim(axis) == 1) continue;
    std::array<std::int64_t, kMaxProgramViews> step{};
    for (std::size_t v = 0; v < views.size(); ++v) step[v] = views[v].stride(axis) * bytesOf(views[v]);
    if (loops.rank > 0) {
      const std::size_t before = loops.rank - 1;
      bool joins = true;
      for (std::size_t v = 0; v < views.size() && joins; ++v)
        joins = loops.step[before][v] == step[v] * shape.dim(axis);
      if (joins) {
        loops.count[before] *= shape.dim(axis);
        loops.step[before] = step;
        continue;
      }
    }
    loops.count[loops.rank] = shape.dim(axis);
    loops.step[loops.rank++] = step;
  }
  if (loops.rank == 0) {
    loops.rank = 1;
    loops.count[0] = 1;
  }
  return loops;
}

Strided stridedOf(const prim::View& view) {
  Strided s;
  s.type = view.dtype;
  for (int a = 0; a < view.rank && a < 4; ++a) s.step[a] = view.stride(a) * bytesOf(view);
  return s;
}

Strided stridedBack(const prim::View& view) {
  Strided s;
  s.type = view.dtype;
  for (int a = 0; a < view.rank; ++a) s.step[4 - view.rank + a] = view.stride(a) * bytesOf(view);
  return s;
}

bool channelsInFours(const prim::View& v) {
  return v.dim(3) % 4 == 0 && v.stride(3) == 1 && v.stride(0) % 4 == 0 && v.stride(1) % 4 == 0 &&
         v.stride(2) % 4 == 0 && v.offset % 4 == 0;
}

bool inFours(std::span<const prim::View> views) {
  return std::all_of(views.begin(), views.end(),
                     [](const prim::View& v) { return v.dtype == prim::DType::F32 && channelsInFours(v); });
}

bool alignedTo16(std::initializer_list<const std::byte*> addresses) {
  return std::all_of(addresses.begin(), addresses.end(),
                     [](const std::byte* a) { return reinterpret_cast<std::uintptr_t>(a) % 16 == 0; });
}

}  // namespace kovar::cuda
