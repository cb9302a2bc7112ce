#pragma once
// What the directions of the Winograd convolution share: which convolutions it takes, and how they are cut.

#include "backend/cpu/conv.hpp"
#include "backend/cpu/conv_winograd_kernels.hpp"

namespace kovar::cpu::winograd {

/// A view of an image, without its address.
TileImage imageOf(const prim::View& v);
/// Weights as the view has them, without their address.
TileWeights weightsOf(const ConvShape& s);

/// Tiles over results of `rows` by `columns` for images that lie `padTop`, `padLeft` before them.
TileGrid gridOf(std::int64_t taps, std::int64_t rows, std::int64_t columns, std::int64_t padTop, std::int64_t padLeft);

/// Why this convolution cannot be done on tiles, or, unless the implementation was asked for by name, does not gain.
base::Status takes(const ConvShape& s, const prim::PrepareOptions& options);

/// Tiles of a block whose transforms, of `channels` channels in all, stay in a core's second-level cache.
std::int64_t blockTiles(std::int64_t channels);

/// Floats between the points of `rows` rows: a line more than they need, so that points do not meet in the cache.
constexpr std::int64_t pointFloats(std::int64_t rows, std::int64_t row) { return rows * row + 16; }

/// Channels rounded up to whole vectors.
std::int64_t wholeVectors(std::int64_t channels);

base::Status prepareWeightsF32(const prim::Conv& desc, std::span<const prim::View> views,
                               const prim::PrepareOptions& options, CpuPlan& plan);

}  // namespace kovar::cpu::winograd
