#pragma once
// What the implementations of the convolution share: where the arguments are, and the extents under short names.

#include <cstdint>
#include <span>
#include <vector>

#include "backend/cpu/cpu.hpp"
#include "prim/desc.hpp"

namespace kovar::cpu {

/// A convolution with its extents. "src" and "dst" are the forward direction's whatever the direction is: in the
/// data gradient `src` is diffSrc, in the weight gradient `weights` is diffWeights.
struct ConvShape {
  prim::Conv desc;
  prim::View src, dst, weights, bias;  // bias only when desc.bias
  std::size_t srcArg = 0, dstArg = 0, weightsArg = 0, biasArg = 0;
  std::size_t ownArgs = 0;                     // post-op arguments follow
  std::int64_t n = 0, hs = 0, ws = 0, ci = 0;  // source images, rows, columns, channels
  std::int64_t hd = 0, wd = 0, co = 0;         // destination rows, columns, channels
  std::int64_t groups = 1, cig = 0, cog = 0;   // channels of one group
  std::int64_t kh = 1, kw = 1;

  std::int64_t taps() const { return kh * kw; }
  /// Multiply-adds of the whole operation, edges not considered.
  double work() const { return static_cast<double>(n * hd * wd * co) * static_cast<double>(cig * taps()); }
};

/// The arguments must have passed prim::validate().
ConvShape describe(const prim::Conv& desc, std::span<const prim::View> views);

/// How the operation's own arguments are used, in order.
std::vector<prim::Access> convAccess(const prim::Conv& desc);

/// Destination positions [first, last) of one axis for which tap `p` reads inside a source of `extent` positions.
struct TapRange {
  std::int64_t first = 0, last = 0;
};
TapRange tapRange(const prim::Window& window, std::int64_t p, std::int64_t extent, std::int64_t positions);

/// Bias gradient: sums dst's float32 pixels in a fixed order, images in order, each in rows. Adds when `accumulate`.
void biasGradient(Context& context, const ConvShape& s, const float* dst, float* diffBias);

/// Whether our code for one filter a channel is faster than oneDNN's: weight gradients, and images beyond the cache.
bool depthwiseIsFaster(const ConvShape& s);

#if KOVAR_HAS_ONEDNN
base::Status prepareConvOnednn(const prim::Conv& desc, std::span<const prim::View> views,
                               const prim::PrepareOptions& options, CpuPlan& plan);
#endif
base::Status prepareConvWinograd(const prim::Conv& desc, std::span<const prim::View> views,
                                 const prim::PrepareOptions& options, CpuPlan& plan);
base::Status prepareConvDepthwise(const prim::Conv& desc, std::span<const prim::View> views,
                                  const prim::PrepareOptions& options, CpuPlan& plan);
base::Status prepareConvGeneric(const prim::Conv& desc, std::span<const prim::View> views,
                                const prim::PrepareOptions& options, CpuPlan& plan);

}  // namespace kovar::cpu
