// The product by our register-blocked kernels: parts of C on the threads, an operand transposed first where the kernels
// cannot read it as it lies.

#include <algorithm>

#include "backend/cpu/failure_flag.hpp"
#include "backend/cpu/matmul.hpp"
#include "backend/cpu/matmul_kernels.hpp"
#include "backend/cpu/post_ops.hpp"
#include "backend/cpu/thread_scratch.hpp"
#include "backend/cpu/via_f32.hpp"

namespace kovar::cpu {
namespace {

using base::Failure;
using base::Status;
using prim::Invocation;

/// Multiply-adds that a part of C should be worth: enough to hide the start of a part, few enough to share well.
constexpr std::int64_t kPartWork = std::int64_t{1} << 20;
/// Parts are made of this many columns and rows: a multiple of what any kernel takes at a time.
constexpr std::int64_t kColumnUnit = 48, kRowUnit = 24;
/// Rows of an operand that are transposed at a time.
constexpr std::int64_t kTransposeRows = 64;

constexpr std::int64_t ceilDiv(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

/// A part of a gradient that an update takes: it stays near the core, and the step streams through whole rows.
constexpr std::int64_t kUpdateRows = 32, kUpdateColumns = 4096;

/// How C is cut: depends on the extents only.
struct Grid {
  std::int64_t rows = 0, columns = 0;  // of a part
  std::int64_t partsDown = 0, partsAcross = 0;
  std::size_t parts() const { return static_cast<std::size_t>(partsDown * partsAcross); }
};

Grid gridOf(std::int64_t m, std::int64_t n, std::int64_t k, bool update) {
  Grid g;
  if (update) {
    g.rows = std::min(m, kUpdateRows), g.columns = std::min(n, kUpdateColumns);
    g.partsDown = ceilDiv(m, g.rows), g.partsAcross = ceilDiv(n, g.columns);
    return g;
  }
  // Columns first: a part of them reads its share of B once. Rows too where few columns leave work for many parts.
  const std::int64_t wantedColumns = kPartWork / std::max<std::int64_t>(m * k, 1);
  g.columns = std::min(n, std::max(wantedColumns / kColumnUnit, std::int64_t{1}) * kColumnUnit);
  const std::int64_t wantedRows = kPartWork / std::max<std::int64_t>(g.columns * k, 1);
  g.rows = ceilDiv(n, g.columns) >= 8 ? m : std::min(m, std::max(wantedRows / kRowUnit, std::int64_t{1}) * kRowUnit);
  g.partsDown = ceilDiv(m, g.rows), g.partsAcross = ceilDiv(n, g.columns);
  return g;
}

/// A matrix as the kernels see it, after an operand was transposed where that was needed.
struct Layout {
  MatmulBlock block;  // the whole product, without addresses
  bool packA = false, packB = false;
  std::size_t scratchBytes = 0;
};

base::Result<Layout> layoutOf(const MatmulShape& s) {
  if (s.n > 1 && s.c.stride(1) != 1) return Failure{"the columns of C do not lie beside each other"};
  Layout l;
  MatmulBlock& b = l.block;
  b.m = s.m, b.n = s.n, b.k = s.k;
  b.aRow = s.a.stride(0), b.aColumn = s.a.stride(1), b.bRow = s.b.stride(0), b.bColumn = s.b.stride(1);
  b.cRow = s.c.stride(0);
  b.accumulate = s.desc.accumulate;
  if (b.dots() || b.outers()) return l;
  const bool aRuns = b.aRow == 1 || b.aColumn == 1, bRuns = b.bRow == 1 || b.bColumn == 1;
  if (!aRuns && !bRuns) return Failure{"neither A nor B has runs of elements"};
  // The smaller operand is turned to the way in which the other one lies.
  l.packA = bRuns && (!aRuns || s.m <= s.n);
  l.packB = !l.packA;
  if (l.packA) {
    const bool rows = b.bRow == 1;
    b.aRow = rows ? s.k : 1, b.aColumn = rows ? 1 : s.m;
  } else {
    const bool columns = b.aColumn == 1;
    b.bRow = columns ? 1 : s.n, b.bColumn = columns ? s.k : 1;
  }
  l.scratchBytes = static_cast<std::size_t>(l.packA ? s.m * s.k : s.k * s.n) * sizeof(float);
  return l;
}

/// Copies a [rows][columns] matrix to where each element lies at to[r * toRow + c * toColumn]; one of these is 1.
void turn(Context& context, const float* from, const prim::View& v, float* to, std::int64_t toRow,
          std::int64_t toColumn) {
  // transpose() writes runs of what it calls rows.
  const int run = toRow == 1 ? 0 : 1;
  const std::int64_t count = v.dim(1 - run), step = run == 0 ? toColumn : toRow;
  context.pool.run(static_cast<std::size_t>(ceilDiv(count, kTransposeRows)), [&](std::size_t chunk) {
    const std::int64_t first = static_cast<std::int64_t>(chunk) * kTransposeRows;
    transpose(from + first * v.stride(1 - run), v.dim(run), std::min(kTransposeRows, count - first), v.stride(run),
              v.stride(1 - run), to + first * step, step);
  });
}

Status prepareF32(const prim::Matmul& desc, std::span<const prim::View> views, const prim::PrepareOptions&,
                  CpuPlan& plan) {
  const MatmulShape s = describe(desc, views);
  KOVAR_TRY_ASSIGN(const Layout layout, layoutOf(s));
  if (desc.bias && s.bias.stride(0) != 1 && s.n > 1) return Failure{"the bias is not a run of elements"};
  const PostOps post(desc.post, s.c, views, s.ownArgs);
  const Grid grid = gridOf(s.m, s.n, s.k, desc.update);
  const MatmulUpdate update = desc.update ? MatmulUpdate(s, views) : MatmulUpdate();
  plan.scratchBytes = layout.scratchBytes;
  plan.body = [s, post, layout, grid, update](Context& context, const Invocation& inv) -> Status {
    MatmulBlock whole = layout.block;
    whole.a = at<const float>(inv, 0, s.a), whole.b = at<const float>(inv, 1, s.b);
    whole.c = at<float>(inv, s.cArg, s.c);
    if (s.desc.bias) whole.bias = at<const float>(inv, s.biasArg, s.bias);
    auto* packed = reinterpret_cast<float*>(inv.scratch);
    if (layout.packA) {
      turn(context, whole.a, s.a, packed, whole.aRow, whole.aColumn);
      whole.a = packed;
    } else if (layout.packB) {
      turn(context, whole.b, s.b, packed, whole.bRow, whole.bColumn);
      whole.b = packed;
    }
    const StepRule rule = s.desc.update ? stepRuleOf(s.desc.step, *inv.scalars) : StepRule();
    FailureFlag failure;
    context.pool.run(grid.parts(), [&](std::size_t part) {
      const std::int64_t row = static_cast<std::int64_t>(part) / grid.partsAcross * grid.rows,
                         column = static_cast<std::int64_t>(part) % grid.partsAcross * grid.columns;
      MatmulBlock b = whole;
      b.m = std::min(grid.rows, s.m - row), b.n = std::min(grid.columns, s.n - column);
      b.a += row * b.aRow, b.b += column * b.bColumn, b.c += row * b.cRow + column;
      if (b.bias != nullptr) b.bias += column;
      const std::size_t own = s.desc.update ? roundUp(static_cast<std::size_t>(b.m * b.n) * sizeof(float), 64) : 0;
      std::byte* room = threadScratch(own + matmulScratchBytes(b.m, b.n, b.k));
      if (room == nullptr) return failure.raise(FailureFlag::kMemory);
      if (s.desc.update) b.c = reinterpret_cast<float*>(room), b.cRow = b.n;
      multiplyBlock(b, room + own);
      for (std::int64_t i = 0; i < b.m && s.desc.update; ++i)
        update.run(rule, inv, b.c + i * b.cRow, row + i, column, b.n);
      for (std::int64_t i = 0; i < b.m && !post.empty(); ++i) {
        const std::int64_t index[1] = {row + i};
        float* c = b.c + i * b.cRow;
        post.apply(inv, index, column, b.n, c, c);
      }
    });
    if (s.desc.rowSum) rowSums(context, s, at<const float>(inv, 0, s.a), at<float>(inv, s.rowSumArg, s.rowSum));
    return failure.status("cpu:matmul:blocked");
  };
  return {};
}

}  // namespace

Status prepareMatmulBlocked(const prim::Matmul& desc, std::span<const prim::View> views,
                            const prim::PrepareOptions& options, CpuPlan& plan) {
  return viaF32(desc, views, options, plan, matmulAccess(desc), prepareF32);
}

}  // namespace kovar::cpu
