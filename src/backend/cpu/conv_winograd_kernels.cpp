#include "backend/cpu/conv_winograd_kernels.hpp"

#include <algorithm>

#include "backend/cpu/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/conv_winograd_kernels.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace kovar::cpu::winograd {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using Tag = hn::ScalableTag<float>;
using Vec = hn::Vec<Tag>;
constexpr Tag kTag{};
constexpr std::int64_t kLanes = static_cast<std::int64_t>(hn::MaxLanes(kTag));

// Accumulators fill the registers: 32 of them with AVX-512 and on Arm, 16 elsewhere.
#if HWY_TARGET <= HWY_AVX3 || HWY_ARCH_ARM_A64
constexpr int kPanelVectors = 4;
constexpr int rowsOf(int vectors) { return 24 / vectors > 12 ? 12 : 24 / vectors; }
#else
constexpr int kPanelVectors = 2;
constexpr int rowsOf(int vectors) { return vectors == 2 ? 6 : 8; }
#endif
constexpr std::int64_t kPanel = kPanelVectors * kLanes;

constexpr float kRoot2 = 1.41421356237309504880f, kHalfRoot2 = 0.70710678118654752440f;

HWY_INLINE Vec loadSome(const float* p, std::int64_t n) {
  if (n >= kLanes) return hn::LoadU(kTag, p);
#if HWY_TARGET <= HWY_AVX2
  return hn::MaskedLoad(hn::FirstN(kTag, static_cast<std::size_t>(n)), kTag, p);
#else
  HWY_ALIGN float lanes[kLanes] = {};
  for (std::int64_t i = 0; i < n; ++i) lanes[i] = p[i];
  return hn::Load(kTag, lanes);
#endif
}

HWY_INLINE void storeSome(Vec v, float* p, std::int64_t n) {
  if (n >= kLanes) return hn::StoreU(v, kTag, p);
#if HWY_TARGET <= HWY_AVX3
  hn::BlendedStore(v, hn::FirstN(kTag, static_cast<std::size_t>(n)), kTag, p);
#else
  HWY_ALIGN float lanes[kLanes];
  hn::Store(v, kTag, lanes);
  for (std::int64_t i = 0; i < n; ++i) p[i] = lanes[i];
#endif
}

HWY_INLINE Vec set(float v) { return hn::Set(kTag, v); }

/// One line of B' d.
HWY_INLINE void sourceLine(const Vec* d, Vec* o) {
  const Vec two = set(2.f), half = set(0.5f), both = set(2.5f);
  o[0] = hn::NegMulAdd(both, d[2], hn::Add(d[0], d[4]));
  const Vec evenA = hn::NegMulAdd(two, d[2], d[4]), oddA = hn::NegMulAdd(two, d[1], d[3]);
  o[1] = hn::MulAdd(set(kHalfRoot2), oddA, evenA), o[2] = hn::NegMulAdd(set(kHalfRoot2), oddA, evenA);
  const Vec evenB = hn::NegMulAdd(half, d[2], d[4]), oddB = hn::NegMulAdd(half, d[1], d[3]);
  o[3] = hn::MulAdd(set(kRoot2), oddB, evenB), o[4] = hn::NegMulAdd(set(kRoot2), oddB, evenB);
  o[5] = hn::NegMulAdd(both, d[3], hn::Add(d[1], d[5]));
}

/// One line of A y (N = m) or, scaled, of G g (N = r): the values of the polynomial with coefficients y at the points.
template <int N, bool Scaled>
HWY_INLINE void spreadLine(const Vec* y, Vec* o) {
  const Vec two = set(2.f), half = set(0.5f);
  Vec evenA = y[0], evenB = y[0], oddA = y[1], oddB = y[1];
  if constexpr (N >= 3) evenA = hn::MulAdd(half, y[2], evenA), evenB = hn::MulAdd(two, y[2], evenB);
  if constexpr (N >= 4) oddA = hn::MulAdd(half, y[3], oddA), oddB = hn::MulAdd(two, y[3], oddB);
  if constexpr (N >= 5) evenA = hn::MulAdd(set(0.25f), y[4], evenA), evenB = hn::MulAdd(set(4.f), y[4], evenB);
  if constexpr (Scaled) {
    const Vec a = set(-2.f / 3.f), b = set(1.f / 6.f);
    evenA = hn::Mul(evenA, a), oddA = hn::Mul(oddA, a), evenB = hn::Mul(evenB, b), oddB = hn::Mul(oddB, b);
  }
  o[0] = y[0];
  o[1] = hn::MulAdd(set(kHalfRoot2), oddA, evenA), o[2] = hn::NegMulAdd(set(kHalfRoot2), oddA, evenA);
  o[3] = hn::MulAdd(set(kRoot2), oddB, evenB), o[4] = hn::NegMulAdd(set(kRoot2), oddB, evenB);
  o[5] = y[N - 1];
}

/// One line of A' p (N = m) or, scaled, of G' p (N = r): the adjoint of spreadLine().
template <int N, bool Scaled>
HWY_INLINE void collectLine(const Vec* p, Vec* y) {
  Vec sumA = hn::Add(p[1], p[2]), sumB = hn::Add(p[3], p[4]);
  Vec oddA = hn::Mul(set(kHalfRoot2), hn::Sub(p[1], p[2])), oddB = hn::Mul(set(kRoot2), hn::Sub(p[3], p[4]));
  if constexpr (Scaled) {
    const Vec a = set(-2.f / 3.f), b = set(1.f / 6.f);
    sumA = hn::Mul(sumA, a), oddA = hn::Mul(oddA, a), sumB = hn::Mul(sumB, b), oddB = hn::Mul(oddB, b);
  }
  const Vec two = set(2.f), half = set(0.5f);
  y[0] = hn::Add(p[0], hn::Add(sumA, sumB));
  y[1] = hn::Add(oddA, oddB);
  if constexpr (N >= 3) y[2] = hn::MulAdd(half, sumA, hn::Mul(two, sumB));
  if constexpr (N >= 4) y[3] = hn::MulAdd(half, oddA, hn::Mul(two, oddB));
  if constexpr (N >= 5) y[4] = hn::MulAdd(set(0.25f), sumA, hn::Mul(set(4.f), sumB));
  y[N - 1] = hn::Add(y[N - 1], p[5]);
}

/// Where the pixels of a tile lie: `zeros` outside the image.
template <int N>
void pixelsOf(const TileImage& image, const TileGrid& grid, std::int64_t tile, std::int64_t top, std::int64_t left,
              const float* zeros, const float** pixel) {
  const std::int64_t n = tile / grid.perImage, inImage = tile % grid.perImage;
  const std::int64_t y0 = inImage / grid.across * grid.results - top, x0 = inImage % grid.across * grid.results - left;
  for (int i = 0; i < N; ++i) {
    const std::int64_t y = y0 + i;
    const bool inside = y >= 0 && y < image.rows;
    const float* row = image.data + n * image.imageStride + (inside ? y : 0) * image.rowStride;
    for (int j = 0; j < N; ++j) {
      const std::int64_t x = x0 + j;
      pixel[i * N + j] = inside && x >= 0 && x < image.columns ? row + x * image.pixelStride : zeros;
    }
  }
}

/// Transforms N by N pixels to 6 by 6 points, columns first.
template <int N, class Line>
HWY_INLINE void tilesToPoints(const TileImage& image, const TileGrid& grid, std::int64_t top, std::int64_t left,
                              std::int64_t first, std::int64_t count, const float* zeros, const TilePoints& to,
                              const Line& line) {
  const float* pixel[N * N];
  for (std::int64_t t = 0; t < count; ++t) {
    pixelsOf<N>(image, grid, first + t, top, left, zeros, pixel);
    float* out = to.data + t * to.row;
    for (std::int64_t c = 0; c < image.channels; c += kLanes) {
      const std::int64_t rest = image.channels - c;
      Vec half[kSide][N];
      for (int j = 0; j < N; ++j) {
        Vec d[N], o[kSide];
        if (rest >= kLanes)
          for (int i = 0; i < N; ++i) d[i] = hn::LoadU(kTag, pixel[i * N + j] + c);
        else
          for (int i = 0; i < N; ++i) d[i] = loadSome(pixel[i * N + j] + c, rest);
        line(d, o);
        for (int i = 0; i < kSide; ++i) half[i][j] = o[i];
      }
      for (int i = 0; i < kSide; ++i) {
        Vec o[kSide];
        line(half[i], o);
        for (int j = 0; j < kSide; ++j) hn::Store(o[j], kTag, out + (i * kSide + j) * to.point + c);
      }
    }
  }
}

template <int N>
void gradientTilesOf(const TileImage& image, const TileGrid& grid, std::int64_t first, std::int64_t count,
                     const float* zeros, const TilePoints& to) {
  tilesToPoints<N>(image, grid, 0, 0, first, count, zeros, to,
                   [](const Vec* y, Vec* o) HWY_ATTR { spreadLine<N, false>(y, o); });
}

template <int N>
void resultTilesOf(const TilePoints& from, const float* bias, const TileGrid& grid, std::int64_t first,
                   std::int64_t count, const TileImage& to) {
  for (std::int64_t t = 0; t < count; ++t) {
    const std::int64_t tile = first + t, n = tile / grid.perImage, inImage = tile % grid.perImage;
    const std::int64_t y0 = inImage / grid.across * N, x0 = inImage % grid.across * N;
    const std::int64_t rows = std::min<std::int64_t>(N, to.rows - y0),
                       columns = std::min<std::int64_t>(N, to.columns - x0);
    float* out = to.data + n * to.imageStride + y0 * to.rowStride + x0 * to.pixelStride;
    const float* in = from.data + t * from.row;
    for (std::int64_t c = 0; c < to.channels; c += kLanes) {
      const std::int64_t left = to.channels - c;
      Vec half[N][kSide];
      for (int j = 0; j < kSide; ++j) {
        Vec p[kSide], y[N];
        for (int i = 0; i < kSide; ++i) p[i] = hn::Load(kTag, in + (i * kSide + j) * from.point + c);
        collectLine<N, false>(p, y);
        for (int i = 0; i < N; ++i) half[i][j] = y[i];
      }
      const Vec add = bias != nullptr ? loadSome(bias + c, left) : hn::Zero(kTag);
      for (int i = 0; i < N; ++i) {
        if (i >= rows) break;
        Vec y[N];
        collectLine<N, false>(half[i], y);
        for (int j = 0; j < N; ++j)
          if (j < columns) storeSome(hn::Add(y[j], add), out + i * to.rowStride + j * to.pixelStride + c, left);
      }
    }
  }
}

/// R rows of C times V vectors, k of at least 1. `UnitRows`: rows of A lie beside each other. `Add`: to what C holds.
template <int R, int V, bool UnitRows, bool Add>
void productTile(const float* a, std::int64_t aRow, std::int64_t aStep, const float* b, std::int64_t bStep,
                 std::int64_t k, float* c, std::int64_t cRow) {
  Vec sum[R][V];
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v) sum[r][v] = Add ? hn::Load(kTag, c + r * cRow + v * kLanes) : hn::Zero(kTag);
  // Every third row has an address of its own: the others are within what an address can add.
  const float* rows[(R + 2) / 3];
  for (int g = 0; g < (R + 2) / 3; ++g) rows[g] = a + 3 * g * aRow;
  do {
    Vec y[V];
    for (int v = 0; v < V; ++v) y[v] = hn::Load(kTag, b + v * kLanes);
    for (int r = 0; r < R; ++r) {
      const Vec x = set(UnitRows ? a[r] : rows[r / 3][r % 3 * aRow]);
      for (int v = 0; v < V; ++v) sum[r][v] = hn::MulAdd(x, y[v], sum[r][v]);
    }
    b += bStep;
    if constexpr (UnitRows) {
      a += aStep;
    } else {
      for (int g = 0; g < (R + 2) / 3; ++g) rows[g] += aStep;
    }
  } while (--k > 0);
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v) hn::Store(sum[r][v], kTag, c + r * cRow + v * kLanes);
}

using ProductTile = void (*)(const float*, std::int64_t, std::int64_t, const float*, std::int64_t, std::int64_t, float*,
                             std::int64_t);

template <int R, int V, bool UnitRows, bool Add>
ProductTile productTileOf(std::int64_t rows) {
  if constexpr (R > 1) {
    if (rows < R) return productTileOf<R - 1, V, UnitRows, Add>(rows);
  }
  return productTile<R, V, UnitRows, Add>;
}

/// Columns of one panel. Products of a block's tiles start at zero and read rows of A; sums of the weight gradient go
/// on and read its columns.
template <int V, bool UnitRows, bool Add>
void panelProduct(const TileProduct& p, const float* a, const float* b, std::int64_t bStep, float* c) {
  constexpr int kRows = rowsOf(V);
  for (std::int64_t i = 0; i < p.m; i += kRows)
    productTileOf<kRows, V, UnitRows, Add>(p.m - i)(a + i * p.aRow, p.aRow, p.aStep, b, bStep, p.k, c + i * p.cRow,
                                                    p.cRow);
}

template <int V, bool UnitRows, bool Add>
void panelProductOf(std::int64_t vectors, const TileProduct& p, const float* a, const float* b, std::int64_t bStep,
                    float* c) {
  if constexpr (V > 1) {
    if (vectors < V) return panelProductOf<V - 1, UnitRows, Add>(vectors, p, a, b, bStep, c);
  }
  panelProduct<V, UnitRows, Add>(p, a, b, bStep, c);
}

/// G g G' of one output channel and a vector of input channels; `turned` by 180 degrees.
template <int N>
HWY_INLINE void weightPoints(const TileWeights& w, std::int64_t output, std::int64_t input, bool turned, float* to,
                             std::int64_t point) {
  const std::int64_t left = w.inputs - input;
  const float* from = w.data + output * w.output + input;
  Vec half[kSide][N];
  for (int j = 0; j < N; ++j) {
    Vec g[N], o[kSide];
    for (int i = 0; i < N; ++i) {
      const int y = turned ? N - 1 - i : i, x = turned ? N - 1 - j : j;
      g[i] = loadSome(from + y * w.y + x * w.x, left);
    }
    spreadLine<N, true>(g, o);
    for (int i = 0; i < kSide; ++i) half[i][j] = o[i];
  }
  for (int i = 0; i < kSide; ++i) {
    Vec o[kSide];
    spreadLine<N, true>(half[i], o);
    for (int j = 0; j < kSide; ++j) hn::Store(o[j], kTag, to + (i * kSide + j) * point);
  }
}

/// First float of a column within a point's packed weights, and floats between steps there.
struct Column {
  std::int64_t start, step;
  Column(const PackedShape& s, std::int64_t n)
      : start(n / kPanel * kPanel * s.steps + n % kPanel), step(std::min(kPanel, s.columns - n / kPanel * kPanel)) {}
};

template <int N>
void packForwardOf(const TileWeights& w, std::int64_t first, std::int64_t last, const PackedShape& s, float* packed,
                   float* room) {
  constexpr std::int64_t kPoint = kLanes * kLanes;
  for (std::int64_t o = first; o < last; o += kLanes) {
    const Column column(s, o);
    const std::int64_t outputs = std::min(kLanes, w.outputs - o);
    if (outputs < kLanes) std::fill_n(room, kPoints * kPoint, 0.f);
    for (std::int64_t i = 0; i < w.inputs; i += kLanes) {
      for (std::int64_t k = 0; k < outputs; ++k) weightPoints<N>(w, o + k, i, false, room + k * kLanes, kPoint);
      const std::int64_t inputs = std::min(kLanes, w.inputs - i);
      for (int p = 0; p < kPoints; ++p)
        for (std::int64_t j = 0; j < inputs; ++j) {
          float* to = packed + p * s.pointFloats() + column.start + (i + j) * column.step;
          for (std::int64_t k = 0; k < kLanes; ++k) to[k] = room[p * kPoint + k * kLanes + j];
        }
    }
  }
}

template <int N>
void packTurnedOf(const TileWeights& w, std::int64_t first, std::int64_t last, const PackedShape& s, float* packed) {
  for (std::int64_t i = 0; i < w.inputs; i += kLanes) {
    const Column column(s, i);
    for (std::int64_t o = first; o < last; ++o)
      weightPoints<N>(w, o, i, true, packed + column.start + o * column.step, s.pointFloats());
  }
}

template <int N>
void weightResultsOf(const TilePoints& sums, std::int64_t parts, std::int64_t partFloats, std::int64_t first,
                     std::int64_t last, bool accumulate, const TileWeights& w) {
  for (std::int64_t o = first; o < last; ++o)
    for (std::int64_t c = 0; c < w.inputs; c += kLanes) {
      const std::int64_t left = w.inputs - c;
      const float* in = sums.data + o * sums.row + c;
      Vec half[N][kSide];
      for (int j = 0; j < kSide; ++j) {
        Vec p[kSide], y[N];
        for (int i = 0; i < kSide; ++i) {
          const float* from = in + (i * kSide + j) * sums.point;
          p[i] = hn::Load(kTag, from);
          for (std::int64_t part = 1; part < parts; ++part)
            p[i] = hn::Add(p[i], hn::Load(kTag, from + part * partFloats));
        }
        collectLine<N, true>(p, y);
        for (int i = 0; i < N; ++i) half[i][j] = y[i];
      }
      for (int i = 0; i < N; ++i) {
        Vec y[N];
        collectLine<N, true>(half[i], y);
        for (int j = 0; j < N; ++j) {
          float* to = w.data + o * w.output + i * w.y + j * w.x + c;
          storeSome(accumulate ? hn::Add(loadSome(to, left), y[j]) : y[j], to, left);
        }
      }
    }
}

}  // namespace

void sourceTilesTarget(const TileImage& source, const TileGrid& grid, std::int64_t first, std::int64_t count,
                       const float* zeros, const TilePoints& to) {
  tilesToPoints<kSide>(source, grid, grid.padTop, grid.padLeft, first, count, zeros, to,
                       [](const Vec* d, Vec* o) HWY_ATTR { sourceLine(d, o); });
}

void gradientTilesTarget(const TileImage& gradient, const TileGrid& grid, std::int64_t first, std::int64_t count,
                         const float* zeros, const TilePoints& to) {
  if (grid.results == 2)
    gradientTilesOf<2>(gradient, grid, first, count, zeros, to);
  else
    gradientTilesOf<4>(gradient, grid, first, count, zeros, to);
}

void resultTilesTarget(const TilePoints& from, const float* bias, const TileGrid& grid, std::int64_t first,
                       std::int64_t count, const TileImage& to) {
  if (grid.results == 2)
    resultTilesOf<2>(from, bias, grid, first, count, to);
  else
    resultTilesOf<4>(from, bias, grid, first, count, to);
}

void multiplyPointsTarget(const TileProduct& p) {
  for (int point = 0; point < kPoints; ++point)
    for (std::int64_t n = 0; n < p.n; n += kPanel) {
      const std::int64_t width = std::min(kPanel, p.n - n);
      const float *a = p.a + point * p.aPoint, *b = p.b + point * p.bPoint + n / kPanel * p.bPanel;
      float* c = p.c + point * p.cPoint + n;
      const std::int64_t bStep = p.bStep == 0 ? width : p.bStep;
      if (p.aRow != 1)
        panelProductOf<kPanelVectors, false, false>(width / kLanes, p, a, b, bStep, c);
      else if (p.add)
        panelProductOf<kPanelVectors, true, true>(width / kLanes, p, a, b, bStep, c);
      else
        panelProductOf<kPanelVectors, true, false>(width / kLanes, p, a, b, bStep, c);
    }
}

void packForwardTarget(const TileWeights& w, std::int64_t first, std::int64_t last, const PackedShape& s, float* packed,
                       float* room) {
  if (w.taps == 3)
    packForwardOf<3>(w, first, last, s, packed, room);
  else
    packForwardOf<5>(w, first, last, s, packed, room);
}

void packTurnedTarget(const TileWeights& w, std::int64_t first, std::int64_t last, const PackedShape& s,
                      float* packed) {
  if (w.taps == 3)
    packTurnedOf<3>(w, first, last, s, packed);
  else
    packTurnedOf<5>(w, first, last, s, packed);
}

void weightResultsTarget(const TilePoints& sums, std::int64_t parts, std::int64_t partFloats, std::int64_t first,
                         std::int64_t last, bool accumulate, const TileWeights& to) {
  if (to.taps == 3)
    weightResultsOf<3>(sums, parts, partFloats, first, last, accumulate, to);
  else
    weightResultsOf<5>(sums, parts, partFloats, first, last, accumulate, to);
}

std::int64_t vectorFloatsTarget() { return kLanes; }
std::int64_t panelFloatsTarget() { return kPanel; }

}  // namespace HWY_NAMESPACE
}  // namespace kovar::cpu::winograd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kovar::cpu::winograd {

HWY_EXPORT(sourceTilesTarget);
HWY_EXPORT(gradientTilesTarget);
HWY_EXPORT(resultTilesTarget);
HWY_EXPORT(multiplyPointsTarget);
HWY_EXPORT(packForwardTarget);
HWY_EXPORT(packTurnedTarget);
HWY_EXPORT(weightResultsTarget);
HWY_EXPORT(vectorFloatsTarget);
HWY_EXPORT(panelFloatsTarget);

std::int64_t vectorFloats() { return HWY_DYNAMIC_DISPATCH(vectorFloatsTarget)(); }
std::int64_t panelFloats() { return HWY_DYNAMIC_DISPATCH(panelFloatsTarget)(); }
std::int64_t packRoomFloats() { return kPoints * vectorFloats() * vectorFloats(); }

void sourceTiles(const TileImage& source, const TileGrid& grid, std::int64_t first, std::int64_t count,
                 const float* zeros, const TilePoints& to) {
  HWY_DYNAMIC_DISPATCH(sourceTilesTarget)(source, grid, first, count, zeros, to);
}

void gradientTiles(const TileImage& gradient, const TileGrid& grid, std::int64_t first, std::int64_t count,
                   const float* zeros, const TilePoints& to) {
  HWY_DYNAMIC_DISPATCH(gradientTilesTarget)(gradient, grid, first, count, zeros, to);
}

void resultTiles(const TilePoints& from, const float* bias, const TileGrid& grid, std::int64_t first,
                 std::int64_t count, const TileImage& to) {
  HWY_DYNAMIC_DISPATCH(resultTilesTarget)(from, bias, grid, first, count, to);
}

void multiplyPoints(const TileProduct& product) { HWY_DYNAMIC_DISPATCH(multiplyPointsTarget)(product); }

void packForward(const TileWeights& weights, std::int64_t first, std::int64_t last, const PackedShape& shape,
                 float* packed, float* room) {
  HWY_DYNAMIC_DISPATCH(packForwardTarget)(weights, first, last, shape, packed, room);
}

void packTurned(const TileWeights& weights, std::int64_t first, std::int64_t last, const PackedShape& shape,
                float* packed) {
  HWY_DYNAMIC_DISPATCH(packTurnedTarget)(weights, first, last, shape, packed);
}

void weightResults(const TilePoints& sums, std::int64_t parts, std::int64_t partFloats, std::int64_t first,
                   std::int64_t last, bool accumulate, const TileWeights& to) {
  HWY_DYNAMIC_DISPATCH(weightResultsTarget)(sums, parts, partFloats, first, last, accumulate, to);
}

}  // namespace kovar::cpu::winograd
#endif  // HWY_ONCE
