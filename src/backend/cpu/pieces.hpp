// Blocks of a loop nest: where each argument's part lies, how it becomes floats, and back. Included once per
// instruction set.

#if defined(KOVAR_BACKEND_CPU_PIECES_HPP_) == defined(HWY_TARGET_TOGGLE)
#ifdef KOVAR_BACKEND_CPU_PIECES_HPP_
#undef KOVAR_BACKEND_CPU_PIECES_HPP_
#else
#define KOVAR_BACKEND_CPU_PIECES_HPP_
#endif

#include "backend/cpu/loops.hpp"
#include "backend/cpu/rows.hpp"

HWY_BEFORE_NAMESPACE();
namespace kovar::cpu {
namespace HWY_NAMESPACE {

/// A block of `rows` by `columns` elements of one argument.
struct Piece {
  std::byte* data;
  DType type;
  std::int64_t rowStep, columnStep;
};

HWY_INLINE bool isRun(const Piece& p, std::int64_t rows, std::int64_t columns) {
  const auto size = static_cast<std::int64_t>(prim::sizeOf(p.type));
  return (p.columnStep == size || columns == 1) && (rows == 1 || p.rowStep == columns * size);
}

inline void loadPiece(const Piece& p, std::int64_t rows, std::int64_t columns, float* d) {
  const auto size = static_cast<std::int64_t>(prim::sizeOf(p.type));
  if (isRun(p, rows, columns)) return loadRow(p.type, p.data, size, rows * columns, d);
  if (columns == 1) return loadRow(p.type, p.data, p.rowStep, rows, d);
  if (p.columnStep == 0 && p.rowStep == 0) return loadRow(p.type, p.data, 0, rows * columns, d);
  loadRow(p.type, p.data, p.columnStep, columns, d);
  for (std::int64_t i = 1; i < rows; ++i) {
    if (p.rowStep == 0)
      std::memcpy(d + i * columns, d, static_cast<std::size_t>(columns) * sizeof(float));
    else
      loadRow(p.type, p.data + i * p.rowStep, p.columnStep, columns, d + i * columns);
  }
}

inline void storePiece(const float* a, const Piece& p, std::int64_t rows, std::int64_t columns) {
  const auto size = static_cast<std::int64_t>(prim::sizeOf(p.type));
  if (isRun(p, rows, columns)) return storeRow(p.type, a, rows * columns, p.data, size);
  if (columns == 1) return storeRow(p.type, a, rows, p.data, p.rowStep);
  for (std::int64_t i = 0; i < rows; ++i)
    storeRow(p.type, a + i * columns, columns, p.data + i * p.rowStep, p.columnStep);
}

/// The piece where it lies if it is a run of floats, else nullptr.
HWY_INLINE float* floatsOf(const Piece& p, std::int64_t rows, std::int64_t columns) {
  return p.type == DType::F32 && isRun(p, rows, columns) ? reinterpret_cast<float*>(p.data) : nullptr;
}

/// Calls fn(pieces, rows, columns) for blocks [begin, end) of a grid over the loops.
template <class F>
HWY_INLINE void walkBlocks(const Loops& loops, const BlockGrid& grid, const DType* types, std::byte* const* storage,
                           std::int64_t begin, std::int64_t end, const F& fn) {
  const LoopAxis &rows = loops.rows(), &columns = loops.columns();
  std::int64_t plane = begin / grid.perPlane, inPlane = begin % grid.perPlane;
  std::array<std::int64_t, kMaxLoopViews> start = loops.plane(plane);
  Piece pieces[kMaxLoopViews];
  for (std::int64_t block = begin; block < end; ++block) {
    if (inPlane == grid.perPlane) {
      inPlane = 0;
      start = loops.plane(++plane);
    }
    const std::int64_t row = inPlane / grid.columnBlocks * grid.rowsPerBlock,
                       column = inPlane % grid.columnBlocks * grid.capacity;
    for (std::size_t v = 0; v < loops.views; ++v)
      pieces[v] = {storage[v] + start[v] + row * rows.step[v] + column * columns.step[v], types[v], rows.step[v],
                   columns.step[v]};
    fn(pieces, std::min(grid.rowsPerBlock, rows.count - row), std::min(grid.capacity, columns.count - column));
    ++inPlane;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace kovar::cpu
HWY_AFTER_NAMESPACE();

#endif
