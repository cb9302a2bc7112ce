#pragma once
// Winograd's algorithm on 6 by 6 tiles, in vectors over the channels: the transforms, and the products between them.
// A kernel of r taps gives m = 7 - r results a tile and axis: F(4x4, 3x3) and F(2x2, 5x5). Points of interpolation:
// 0, +-sqrt(1/2), +-sqrt(2), infinity (docs/numerics.md says why these).

#include <cstdint>

namespace kovar::cpu::winograd {

inline constexpr int kSide = 6;
inline constexpr int kPoints = kSide * kSide;  ///< of a transformed tile

/// An image in NHWC; `data` is its first element.
struct TileImage {
  float* data = nullptr;
  std::int64_t imageStride = 0, rowStride = 0, pixelStride = 0;  // floats
  std::int64_t rows = 0, columns = 0, channels = 0;
};

/// How results are cut into tiles. Tile t of an image covers results from (y m, x m) on, y = t / across, x = t %
/// across.
struct TileGrid {
  std::int64_t across = 0, perImage = 0;
  std::int64_t padTop = 0, padLeft = 0;  ///< the window of tile (0, 0) starts at (-padTop, -padLeft)
  int results = 2;                       ///< m: results of a tile along an axis
};

/// Transformed tiles: channel c of point p of tile t lies at data[p * point + t * row + c]. Rows are whole vectors.
struct TilePoints {
  float* data = nullptr;
  std::int64_t point = 0, row = 0;
};

/// Weights [O][ky][kx][I], input channels beside each other.
struct TileWeights {
  float* data = nullptr;
  std::int64_t output = 0, y = 0, x = 0;  // strides
  std::int64_t outputs = 0, inputs = 0;
  int taps = 3;  ///< r: kernel rows and columns
};

/// One product a point: C[m][n] = A[m][k] B[k][n]. Columns of B and C are whole vectors, in panels of panelFloats().
struct TileProduct {
  const float* a = nullptr;
  const float* b = nullptr;
  float* c = nullptr;
  std::int64_t m = 0, n = 0, k = 0;
  std::int64_t aPoint = 0, bPoint = 0, cPoint = 0;  // floats between points
  std::int64_t aRow = 0, aStep = 0;                 // between rows, and along k
  std::int64_t bPanel = 0, bStep = 0;               // between panels, and along k; bStep 0: the width of the panel
  std::int64_t cRow = 0;
  bool add = false;  ///< to what C holds; only where aRow is 1
};

/// Floats of a vector, and of a panel of columns, on this machine.
std::int64_t vectorFloats();
std::int64_t panelFloats();

/// Packed weights: point p, step k of the sum, column n of `columns` (a multiple of vectorFloats()) in a sum of
/// `steps`.
struct PackedShape {
  std::int64_t steps = 0, columns = 0;
  std::int64_t pointFloats() const { return steps * columns; }
};

/// Source windows of tiles [first, first + count), counted over all images: B' d B. `zeros`: a whole row of zeros.
void sourceTiles(const TileImage& source, const TileGrid& grid, std::int64_t first, std::int64_t count,
                 const float* zeros, const TilePoints& to);
/// Gradients of the results of these tiles: A y A'. Positions outside the image count as 0.
void gradientTiles(const TileImage& gradient, const TileGrid& grid, std::int64_t first, std::int64_t count,
                   const float* zeros, const TilePoints& to);
/// Results of these tiles: A' p A plus the bias (a value a channel, or null).
void resultTiles(const TilePoints& from, const float* bias, const TileGrid& grid, std::int64_t first,
                 std::int64_t count, const TileImage& to);

/// All products of the points.
void multiplyPoints(const TileProduct& product);

/// G g G' of output channels [first, last), packed for the forward direction (sums over input channels; `first` is a
/// multiple of vectorFloats(), and the last columns are filled with zeros) or turned by 180 degrees for the data
/// gradient (sums over output channels). `room`: roomFloats() floats.
void packForward(const TileWeights& weights, std::int64_t first, std::int64_t last, const PackedShape& shape,
                 float* packed, float* room);
void packTurned(const TileWeights& weights, std::int64_t first, std::int64_t last, const PackedShape& shape,
                float* packed);
std::int64_t packRoomFloats();

/// G' p G of the sums over `parts` parts, `partFloats` apart, for output channels [first, last) (the rows of `sums`).
void weightResults(const TilePoints& sums, std::int64_t parts, std::int64_t partFloats, std::int64_t first,
                   std::int64_t last, bool accumulate, const TileWeights& to);

}  // namespace kovar::cpu::winograd
