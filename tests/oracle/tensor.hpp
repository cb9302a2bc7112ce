#pragma once
// What every oracle shares: a dense double tensor, the attributes kernels read their geometry from, and the result with
// the scale an error is judged by. The oracles are written from the documentation alone, in plain loops; nothing of the
// library may be included here, so that no mistake can be shared with the code under test.

#include <cstddef>
#include <limits>
#include <string>
#include <vector>

namespace kovar::oracle {

/// Logical values of n images, [n][y][x][c], channel fastest. Holds the true channel count, no padding lanes.
struct Tensor {
  size_t n = 0, h = 0, w = 0, c = 0;
  std::vector<double> v;

  Tensor() = default;
  Tensor(size_t images, size_t height, size_t width, size_t channels, double fill = 0.0)
      : n(images), h(height), w(width), c(channels), v(images * height * width * channels, fill) {}

  size_t size() const { return v.size(); }
  size_t index(size_t in, size_t y, size_t x, size_t ch) const { return ((in * h + y) * w + x) * c + ch; }
  double& at(size_t in, size_t y, size_t x, size_t ch) { return v[index(in, y, x, ch)]; }
  const double& at(size_t in, size_t y, size_t x, size_t ch) const { return v[index(in, y, x, ch)]; }
  bool sameShape(const Tensor& o) const { return n == o.n && h == o.h && w == o.w && c == o.c; }
  /// "NxHxWxC", for messages.
  std::string shape() const;
};

/// What a read outside the image gives. The values are the documented ones. Windowed kernels take Zero and Clamp only.
enum class EdgeMode { Zero = 0, Clamp = 1, Mirror = 2, MirrorWithEdge = 3, Constant = 4 };

/// Signed position in source pixels; z is the first source image.
struct Offset {
  long x = 0, y = 0, z = 0;
};

inline constexpr long kNoClip = std::numeric_limits<long>::max();

/// The part of the destination that may be written. Default: all of it.
struct ClipRect {
  long x = 0, y = 0, z = 0;
  long width = kNoClip, height = kNoClip, depth = kNoClip;
};

/// Properties of a kernel with one source. Defaults are the documented ones.
struct Attributes {
  Offset offset;  ///< centre tap of the first window
  ClipRect clip;
  EdgeMode edge = EdgeMode::Zero;
  size_t sourceChannelOffset = 0;
  size_t sourceChannelMaxCount = std::numeric_limits<size_t>::max();  ///< channels read at most
  size_t destinationChannelOffset = 0;
};

/// Properties of a gradient kernel: primary = incoming gradient, secondary = the forward source (or result) image.
struct GradientAttributes {
  Offset primaryOffset, secondaryOffset;
  ClipRect clip;
  EdgeMode primaryEdge = EdgeMode::Zero, secondaryEdge = EdgeMode::Zero;
  size_t primaryChannelOffset = 0, secondaryChannelOffset = 0;
  size_t channelMaxCount = std::numeric_limits<size_t>::max();
  size_t destinationChannelOffset = 0;
};

/// The clip rectangle after intersection with the destination. d images are written, from image z on.
struct Region {
  long x = 0, y = 0, z = 0, w = 0, h = 0, d = 0;
  bool empty() const { return w <= 0 || h <= 0 || d <= 0; }
};

/// Clamps a clip rectangle to the destination. An unbounded depth takes as many images as both sides have; an explicit
/// one must fit both, else std::invalid_argument.
Region effectiveRegion(const ClipRect& clip, const Tensor& destination, long sourceFirst, size_t sourceImages);

/// Source image at any pixel position under the given edge mode (Constant reads `constant`).
double readEdge(const Tensor& s, EdgeMode mode, size_t n, long y, long x, size_t c, double constant = 0.0);

/// Channels a channel-preserving kernel handles: min(max count, channels from the offset on).
size_t usedChannels(const Tensor& s, size_t channelOffset, size_t maxCount);

/// A copy of part of a tensor.
Tensor slice(const Tensor& s, size_t y0, size_t x0, size_t height, size_t width, size_t c0, size_t channels);

/// What an op should give. `magnitude` is the sum of the absolute terms each value is made of: an error is allowed up
/// to Tolerance::relative times it. It is 0 where the op must leave the destination as it was, to the bit.
struct Result {
  Tensor value, magnitude;
  /// Starts as the destination untouched.
  static Result over(const Tensor& destination) {
    return {destination, Tensor(destination.n, destination.h, destination.w, destination.c)};
  }
};

/// How far float32 arithmetic may be off: |error| <= relative * magnitude + absolute.
struct Tolerance {
  double relative = 1e-5;
  double absolute = 1e-37;  ///< room for flushed subnormals
};

/// Inputs for which the tolerance holds.
struct Domain {
  double low = -4.0, high = 4.0;
  bool tieFree = false;  ///< values that meet in one window must differ (a test picks distinct ones)
};

}  // namespace kovar::oracle
