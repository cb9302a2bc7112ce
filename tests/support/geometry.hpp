#pragma once
// Random geometry for windowed kernels, and one-line descriptions of cases.

#include <sstream>
#include <string>

#include "oracle/conv.hpp"
#include "oracle/conv_transpose.hpp"
#include "oracle/pooling.hpp"
#include "support/random.hpp"

namespace kovar::test {

/// What a draw may contain.
struct GeometryLimits {
  long kernel = 5, stride = 3, dilation = 2;
  size_t source = 10, images = 3;
  bool clip = true;            ///< clip rectangles other than "all"
  bool channelOffsets = true;  ///< 0, 4, 8 on both sides
  bool clampEdge = true;
  bool wildOffset = true;  ///< windows that miss the image
};

/// Sizes and attributes of one windowed case. Source and destination of `images` images each.
struct Geometry {
  size_t images = 1, sourceWidth = 1, sourceHeight = 1, destinationWidth = 1, destinationHeight = 1;
  long kernelWidth = 1, kernelHeight = 1, strideX = 1, strideY = 1, dilationX = 1, dilationY = 1;
  oracle::Attributes at;

  std::string text() const {
    std::ostringstream s;
    s << "n" << images << " src" << sourceWidth << "x" << sourceHeight << " dst" << destinationWidth << "x"
      << destinationHeight << " k" << kernelWidth << "x" << kernelHeight << " s" << strideX << "x" << strideY << " d"
      << dilationX << "x" << dilationY << " o" << at.offset.x << "," << at.offset.y << " edge"
      << (at.edge == oracle::EdgeMode::Clamp ? "Clamp" : "Zero") << " cs" << at.sourceChannelOffset << " cd"
      << at.destinationChannelOffset;
    if (at.clip.width != oracle::kNoClip || at.clip.height != oracle::kNoClip || at.clip.x || at.clip.y)
      s << " clip" << at.clip.x << "," << at.clip.y << "+" << at.clip.width << "x" << at.clip.height;
    return s.str();
  }

  /// Copies the window into a kernel (Conv or Pool).
  template <class Kernel>
  void applyTo(Kernel& k) const {
    k.at = at;
    k.kernelWidth = kernelWidth;
    k.kernelHeight = kernelHeight;
    k.strideX = strideX;
    k.strideY = strideY;
    k.dilationX = dilationX;
    k.dilationY = dilationY;
  }
};

inline Geometry randomGeometry(Random& r, const GeometryLimits& limits = {}) {
  Geometry g;
  g.images = r.size(1, limits.images);
  g.sourceWidth = r.size(1, limits.source);
  g.sourceHeight = r.size(1, limits.source);
  g.kernelWidth = r.integer(1, limits.kernel);
  g.kernelHeight = r.integer(1, limits.kernel);
  g.strideX = r.integer(1, limits.stride);
  g.strideY = r.integer(1, limits.stride);
  g.dilationX = r.integer(1, limits.dilation);
  g.dilationY = r.integer(1, limits.dilation);
  if (limits.clampEdge && r.chance(0.4)) g.at.edge = oracle::EdgeMode::Clamp;
  auto offset = [&](long extent, size_t source) {
    if (limits.wildOffset && r.chance(0.1)) return r.integer(-2 * extent, static_cast<long>(source) + extent);
    return r.integer(-1, extent / 2 + 1);
  };
  g.at.offset.x = offset((g.kernelWidth - 1) * g.dilationX + 1, g.sourceWidth);
  g.at.offset.y = offset((g.kernelHeight - 1) * g.dilationY + 1, g.sourceHeight);
  auto result = [&](size_t source, long stride) {
    const size_t same = (source + static_cast<size_t>(stride) - 1) / static_cast<size_t>(stride);
    return r.chance(0.5) ? same : r.size(1, same + 3);
  };
  g.destinationWidth = result(g.sourceWidth, g.strideX);
  g.destinationHeight = result(g.sourceHeight, g.strideY);
  if (limits.clip && r.chance(0.3)) {
    g.at.clip.x = r.integer(0, static_cast<long>(g.destinationWidth) - 1);
    g.at.clip.y = r.integer(0, static_cast<long>(g.destinationHeight) - 1);
    g.at.clip.width = r.integer(1, static_cast<long>(g.destinationWidth));  // may reach over the border
    g.at.clip.height = r.integer(1, static_cast<long>(g.destinationHeight));
  }
  if (limits.channelOffsets && r.chance(0.4)) {
    g.at.sourceChannelOffset = r.pick<size_t>({0, 4, 8});
    g.at.destinationChannelOffset = r.pick<size_t>({0, 4, 8});
  }
  return g;
}

/// Channel counts and groups of a convolution: groups of 1 take any count, others multiples of 4 a group.
inline void randomChannels(Random& r, oracle::Conv& conv, size_t most = 9) {
  if (r.chance(0.25)) {
    conv.groups = r.size(2, 3);
    conv.inputChannels = conv.groups * 4 * r.size(1, 2);
    conv.outputChannels = conv.groups * 4;
  } else {
    conv.inputChannels = r.size(1, most);
    conv.outputChannels = r.size(1, most);
  }
}

inline std::string describe(const Geometry& g, const oracle::Conv& c) {
  std::ostringstream s;
  s << g.text() << " I" << c.inputChannels << " O" << c.outputChannels << " g" << c.groups;
  if (c.depthwise) s << " depthwise";
  if (c.subPixelScale != 1) s << " subpixel" << c.subPixelScale;
  if (c.neuron.type != oracle::NeuronType::None) s << " " << c.neuron.name();
  return s.str();
}

inline std::string describe(const Geometry& g, const oracle::Pool& p, size_t channels) {
  static const char* const kKinds[] = {"max", "average", "l2norm"};
  std::ostringstream s;
  s << kKinds[static_cast<int>(p.kind)] << " " << g.text() << " c" << channels << " zp" << p.zeroPadSizeX << ","
    << p.zeroPadSizeY;
  return s.str();
}

}  // namespace kovar::test
