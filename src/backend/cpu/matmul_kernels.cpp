#include "backend/cpu/matmul_kernels.hpp"

#include <algorithm>

#include "backend/cpu/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/matmul_kernels.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace kovar::cpu {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using Tag = hn::ScalableTag<float>;
using Vec = hn::Vec<Tag>;
constexpr Tag kTag{};
constexpr std::int64_t kLanes = static_cast<std::int64_t>(hn::MaxLanes(kTag));

// Accumulators fill the registers: 32 of them with AVX-512 and on Arm, 16 elsewhere.
#if HWY_TARGET <= HWY_AVX3 || HWY_ARCH_ARM_A64
constexpr int kOuterRows = 8, kDotRows = 4, kDotColumns = 6;
#else
constexpr int kOuterRows = 4, kDotRows = 3, kDotColumns = 4;
#endif
constexpr int kOuterVectors = 3;
constexpr std::int64_t kOuterColumns = kOuterVectors * kLanes;
// Blocks of B that stay in the second-level cache, and of its columns in the first while dots run along them.
constexpr std::int64_t kBlockK = 256, kBlockN = 8 * kOuterColumns, kDotK = 4096;
// Floats between columns of A from which on they are packed.
constexpr std::int64_t kFarApart = 128;
// Rows of A whose unfinished sums wait while the next part of k is read.
constexpr std::int64_t kDotBlockM = 32 * kDotRows;

HWY_INLINE Vec loadSome(const float* p, std::int64_t n) {
  if (n >= kLanes) return hn::LoadU(kTag, p);
#if HWY_TARGET <= HWY_AVX2
  return n <= 0 ? hn::Zero(kTag) : hn::MaskedLoad(hn::FirstN(kTag, static_cast<std::size_t>(n)), kTag, p);
#else
  HWY_ALIGN float lanes[kLanes] = {};
  for (std::int64_t i = 0; i < n; ++i) lanes[i] = p[i];
  return hn::Load(kTag, lanes);
#endif
}

HWY_INLINE void storeSome(Vec v, float* p, std::int64_t n) {
  if (n >= kLanes) return hn::StoreU(v, kTag, p);
  HWY_ALIGN float lanes[kLanes];
  hn::Store(v, kTag, lanes);
  for (std::int64_t i = 0; i < n; ++i) p[i] = lanes[i];
}

/// How a tile of C begins.
enum class Start { Zero, Bias, Memory };

/// A tile's share of A, B and C. A's column of a step lies at a + step * aColumn, B's row at panel + step * V vectors.
struct OuterShare {
  const float* a;
  std::int64_t aColumn;
  float* panel;
  std::int64_t k;
  float* c;
  std::int64_t cRow, columns;
  Start start;
  const float* bias;
  const float* b;  ///< the rows that the panel is made from, where this tile is the first to use it
  std::int64_t bRow;
};

/// R rows of C times V vectors. The first tile of a panel also makes it: the stores cost nothing beside the arithmetic.
template <int R, int V, bool First>
void outerTile(const OuterShare& p) {
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v) __builtin_prefetch(p.c + r * p.cRow + v * kLanes, 1);
  Vec sum[R][V];
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v) sum[r][v] = hn::Zero(kTag);
  const float *a = p.a, *from = p.b;
  float* panel = p.panel;
  for (std::int64_t i = 0; i < p.k; ++i) {
    Vec b[V];
    for (int v = 0; v < V; ++v) {
      if constexpr (First) {
        b[v] = hn::LoadU(kTag, from + v * kLanes);
        hn::Store(b[v], kTag, panel + v * kLanes);
        // For the panel to the right; only into the second-level cache, the first is full of this panel.
        __builtin_prefetch(from + (V + v) * kLanes, 0, 2);
      } else {
        b[v] = hn::Load(kTag, panel + v * kLanes);
      }
    }
    for (int r = 0; r < R; ++r) {
      const Vec x = hn::Set(kTag, a[r]);
      for (int v = 0; v < V; ++v) sum[r][v] = hn::MulAdd(x, b[v], sum[r][v]);
    }
    a += p.aColumn;
    panel += V * kLanes;
    if constexpr (First) from += p.bRow;
  }
  for (int v = 0; v < V; ++v) {
    const std::int64_t left = p.columns - v * kLanes;
    const Vec add = p.start == Start::Bias ? loadSome(p.bias + v * kLanes, left) : hn::Zero(kTag);
    for (int r = 0; r < R; ++r) {
      float* to = p.c + r * p.cRow + v * kLanes;
      if (p.start == Start::Memory) sum[r][v] = hn::Add(sum[r][v], loadSome(to, left));
      if (p.start == Start::Bias) sum[r][v] = hn::Add(sum[r][v], add);
      storeSome(sum[r][v], to, left);
    }
  }
}

using OuterTile = void (*)(const OuterShare&);

template <int R, int V>
OuterTile outerTileOf(std::int64_t rows, std::int64_t vectors, bool first) {
  if constexpr (R > 1) {
    if (rows < R) return outerTileOf<R - 1, V>(rows, vectors, first);
  }
  if constexpr (V == kOuterVectors) {
    if (first) return outerTile<R, V, true>;
  }
  if constexpr (V > 1) {
    if (vectors < V) return outerTileOf<R, V - 1>(rows, vectors, first);
  }
  return outerTile<R, V, false>;
}

/// The columns right of the whole panels: a panel of as many vectors as they need, filled up with zeros.
void packTail(const float* b, std::int64_t bRow, std::int64_t k, std::int64_t columns, float* panel) {
  for (std::int64_t i = 0; i < k; ++i, b += bRow)
    for (std::int64_t j = 0; j < columns; j += kLanes, panel += kLanes)
      hn::Store(loadSome(b + j, columns - j), kTag, panel);
}

/// Columns of A [k][rows] beside each other, where the caller's lie so far apart that few of them fit the first-level
/// cache.
void packColumns(const float* a, std::int64_t aColumn, std::int64_t k, std::int64_t rows, float* packed) {
  if (rows == kOuterRows) {
    for (std::int64_t i = 0; i < k; ++i, a += aColumn, packed += kOuterRows) std::copy_n(a, kOuterRows, packed);
  } else {
    for (std::int64_t i = 0; i < k; ++i, a += aColumn, packed += rows) std::copy_n(a, rows, packed);
  }
}

void outerBlock(const MatmulBlock& p, float* scratch) {
  float* columns = scratch;
  float* panels = scratch + kBlockK * kOuterRows;
  const bool pack = p.aColumn >= kFarApart;
  // Tiles of equal height waste the least.
  const std::int64_t tiles = (p.m + kOuterRows - 1) / kOuterRows;
  for (std::int64_t n0 = 0; n0 < p.n; n0 += kBlockN) {
    const std::int64_t n = std::min(kBlockN, p.n - n0), whole = n / kOuterColumns * kOuterColumns;
    for (std::int64_t k0 = 0; k0 < p.k; k0 += kBlockK) {
      OuterShare s{};
      s.k = std::min(kBlockK, p.k - k0);
      s.bRow = p.bRow, s.cRow = p.cRow;
      s.start = k0 > 0 || p.accumulate ? Start::Memory : p.bias != nullptr ? Start::Bias : Start::Zero;
      const float* b = p.b + k0 * p.bRow + n0;
      if (whole < n) packTail(b + whole, p.bRow, s.k, n - whole, panels + whole * s.k);
      for (std::int64_t t = 0; t < tiles; ++t) {
        const std::int64_t m0 = t * p.m / tiles, rows = (t + 1) * p.m / tiles - m0;
        const float* a = p.a + m0 + k0 * p.aColumn;
        if (pack) packColumns(a, p.aColumn, s.k, rows, columns);
        s.a = pack ? columns : a, s.aColumn = pack ? rows : p.aColumn;
        for (std::int64_t j = 0; j < n; j += kOuterColumns) {
          s.columns = std::min(kOuterColumns, n - j);
          s.panel = panels + j * s.k, s.b = b + j, s.c = p.c + m0 * p.cRow + n0 + j;
          s.bias = p.bias == nullptr ? nullptr : p.bias + n0 + j;
          outerTileOf<kOuterRows, kOuterVectors>(rows, (s.columns + kLanes - 1) / kLanes, t == 0 && j < whole)(s);
        }
      }
    }
  }
  if (p.accumulate && p.bias != nullptr)
    for (std::int64_t i = 0; i < p.m; ++i)
      for (std::int64_t j = 0; j < p.n; ++j) p.c[i * p.cRow + j] += p.bias[j];
}

/// R rows of A against N columns of B over k steps, sums per lane kept in `sums` between parts of k. Meanwhile brings a
/// column that comes later, `next`, nearer.
template <int R, int N>
void dotTile(const float* a, std::int64_t aRow, const float* b, std::int64_t bColumn, const float* next, std::int64_t k,
             bool first, float* sums) {
  Vec sum[R][N];
  for (int r = 0; r < R; ++r)
    for (int j = 0; j < N; ++j) sum[r][j] = first ? hn::Zero(kTag) : hn::Load(kTag, sums + (r * N + j) * kLanes);
  std::int64_t i = 0;
  for (; i + kLanes <= k; i += kLanes) {
    __builtin_prefetch(next + i);
    Vec x[R];
    for (int r = 0; r < R; ++r) x[r] = hn::LoadU(kTag, a + r * aRow + i);
    for (int j = 0; j < N; ++j) {
      const Vec y = hn::LoadU(kTag, b + j * bColumn + i);
      for (int r = 0; r < R; ++r) sum[r][j] = hn::MulAdd(x[r], y, sum[r][j]);
    }
  }
  if (i < k) {
    Vec x[R];
    for (int r = 0; r < R; ++r) x[r] = loadSome(a + r * aRow + i, k - i);
    for (int j = 0; j < N; ++j) {
      const Vec y = loadSome(b + j * bColumn + i, k - i);
      for (int r = 0; r < R; ++r) sum[r][j] = hn::MulAdd(x[r], y, sum[r][j]);
    }
  }
  for (int r = 0; r < R; ++r)
    for (int j = 0; j < N; ++j) hn::Store(sum[r][j], kTag, sums + (r * N + j) * kLanes);
}

using DotTile = void (*)(const float*, std::int64_t, const float*, std::int64_t, const float*, std::int64_t, bool,
                         float*);

template <int R, int N>
DotTile dotTileOf(std::int64_t rows, std::int64_t columns) {
  if constexpr (R > 1) {
    if (rows < R) return dotTileOf<R - 1, N>(rows, columns);
  }
  if constexpr (N > 1) {
    if (columns < N) return dotTileOf<R, N - 1>(rows, columns);
  }
  return dotTile<R, N>;
}

/// Each group of four vectors becomes one whose lanes hold their sums, by turns; the sum over its blocks is what is
/// wanted.
HWY_INLINE Vec addLanes(Vec v0, Vec v1, Vec v2, Vec v3) {
  const Vec v01 = hn::Add(hn::InterleaveLower(kTag, v0, v1), hn::InterleaveUpper(kTag, v0, v1));
  const Vec v23 = hn::Add(hn::InterleaveLower(kTag, v2, v3), hn::InterleaveUpper(kTag, v2, v3));
  const hn::Repartition<double, Tag> wide;
  const auto a = hn::BitCast(wide, v01), b = hn::BitCast(wide, v23);
  return hn::Add(hn::BitCast(kTag, hn::InterleaveLower(wide, a, b)),
                 hn::BitCast(kTag, hn::InterleaveUpper(wide, a, b)));
}

/// The lanes of a tile's sums added up, and on to C.
void finishDots(const MatmulBlock& p, const float* sums, std::int64_t m0, std::int64_t rows, std::int64_t n0,
                std::int64_t columns) {
  const std::int64_t count = rows * columns;
  HWY_ALIGN float total[kDotRows * kDotColumns + 3];
  const auto vector = [&](std::int64_t i) { return i < count ? hn::Load(kTag, sums + i * kLanes) : hn::Zero(kTag); };
  for (std::int64_t i = 0; i < count; i += 4) {
    HWY_ALIGN float lanes[kLanes];
    hn::Store(addLanes(vector(i), vector(i + 1), vector(i + 2), vector(i + 3)), kTag, lanes);
    for (std::int64_t j = 0; j < 4; ++j) {
      float v = lanes[j];
      for (std::int64_t block = 4; block < kLanes; block += 4) v += lanes[block + j];
      total[i + j] = v;
    }
  }
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t j = 0; j < columns; ++j) {
      float v = total[r * columns + j];
      if (p.bias != nullptr) v += p.bias[n0 + j];
      float& c = p.c[(m0 + r) * p.cRow + n0 + j];
      c = p.accumulate ? c + v : v;
    }
}

void dotBlock(const MatmulBlock& p, float* sums) {
  constexpr std::int64_t kTileFloats = kDotRows * kDotColumns * kLanes;
  for (std::int64_t m0 = 0; m0 < p.m; m0 += kDotBlockM) {
    const std::int64_t m = std::min(kDotBlockM, p.m - m0), tiles = (m + kDotRows - 1) / kDotRows;
    for (std::int64_t n0 = 0; n0 < p.n; n0 += kDotColumns) {
      const std::int64_t columns = std::min<std::int64_t>(kDotColumns, p.n - n0);
      for (std::int64_t k0 = 0; k0 < p.k; k0 += kDotK) {
        const std::int64_t k = std::min(kDotK, p.k - k0);
        for (std::int64_t t = 0; t < tiles; ++t) {
          const std::int64_t row = m0 + t * kDotRows, rows = std::min<std::int64_t>(kDotRows, m0 + m - row);
          const std::int64_t later = std::min(p.n - 1, n0 + columns + t % kDotColumns);
          dotTileOf<kDotRows, kDotColumns>(rows, columns)(p.a + row * p.aRow + k0, p.aRow, p.b + n0 * p.bColumn + k0,
                                                          p.bColumn, p.b + later * p.bColumn + k0, k, k0 == 0,
                                                          sums + t * kTileFloats);
        }
      }
      for (std::int64_t t = 0; t < tiles; ++t) {
        const std::int64_t row = m0 + t * kDotRows;
        finishDots(p, sums + t * kTileFloats, row, std::min<std::int64_t>(kDotRows, m0 + m - row), n0, columns);
      }
    }
  }
}

void multiplyBlockHere(const MatmulBlock& p, float* scratch) {
  if (p.dots() && !(p.outers() && p.k < 4 * kLanes))
    dotBlock(p, scratch);
  else
    outerBlock(p, scratch);
}

std::size_t scratchFloatsHere(std::int64_t m, std::int64_t n, std::int64_t k) {
  const std::int64_t panels = std::min(kBlockK, k) * std::min(kBlockN, (n + kLanes - 1) / kLanes * kLanes);
  const std::int64_t sums = std::min(kDotBlockM, m + kDotRows) * kDotColumns * kLanes;
  return static_cast<std::size_t>(std::max(kBlockK * kOuterRows + panels, sums));
}

}  // namespace

void multiplyBlockTarget(const MatmulBlock& p, float* scratch) { multiplyBlockHere(p, scratch); }
std::size_t scratchFloatsTarget(std::int64_t m, std::int64_t n, std::int64_t k) { return scratchFloatsHere(m, n, k); }

}  // namespace HWY_NAMESPACE
}  // namespace kovar::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kovar::cpu {

HWY_EXPORT(multiplyBlockTarget);
HWY_EXPORT(scratchFloatsTarget);

std::size_t matmulScratchBytes(std::int64_t m, std::int64_t n, std::int64_t k) {
  return HWY_DYNAMIC_DISPATCH(scratchFloatsTarget)(m, n, k) * sizeof(float);
}

void multiplyBlock(const MatmulBlock& block, std::byte* scratch) {
  HWY_DYNAMIC_DISPATCH(multiplyBlockTarget)(block, reinterpret_cast<float*>(scratch));
}

void transpose(const float* from, std::int64_t rows, std::int64_t columns, std::int64_t fromRow,
               std::int64_t fromColumn, float* to, std::int64_t toRow) {
  constexpr std::int64_t kTile = 16;
  for (std::int64_t r0 = 0; r0 < rows; r0 += kTile)
    for (std::int64_t c0 = 0; c0 < columns; c0 += kTile)
      for (std::int64_t c = c0; c < std::min(columns, c0 + kTile); ++c)
        for (std::int64_t r = r0; r < std::min(rows, r0 + kTile); ++r)
          to[c * toRow + r] = from[r * fromRow + c * fromColumn];
}

}  // namespace kovar::cpu
#endif  // HWY_ONCE
