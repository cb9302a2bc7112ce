#pragma once
// Random pooling kernels, and kernels made from the oracle's description of one.

#include <memory>
#include <string>
#include <vector>

#include "kovar/MPS/NN/CNNPooling.hpp"
#include "nn_case.hpp"
#include "oracle/pooling.hpp"
#include "support/geometry.hpp"
#include "support/golden.hpp"

namespace kovar::test {

using oracle::PoolKind;

/// One forward encode: what it reads, where it writes.
struct PoolCase {
  Geometry geometry;
  oracle::Pool pool;
  Tensor source, destination;
  Format sourceFormat = Format::Float32, destinationFormat = Format::Float32;
  Arrangement arrangement = Arrangement::Array;
  std::size_t channels = 1;  ///< read and written

  std::string text() const {
    return describe(geometry, pool, channels) + " " + nameOf(arrangement) + " " + source.shape() + " f" +
           std::to_string(static_cast<int>(sourceFormat)) + " -> " + destination.shape() + " f" +
           std::to_string(static_cast<int>(destinationFormat)) + " z" + std::to_string(pool.at.offset.z) + "," +
           std::to_string(pool.at.clip.z);
  }
};

/// Values with many ties (whole numbers) or none. 0 is never among those without ties.
inline Tensor poolSource(Random& r, std::size_t n, std::size_t h, std::size_t w, std::size_t c, Format f, bool ties) {
  if (ties) return integerTensor(r, n, h, w, c, -2, 2);
  return randomTensor(r, n, h, w, c, {-4.13, 4, true}, f);
}

/// `dilation`: the largest rate drawn; above 1 for maxima only.
inline PoolCase randomPoolCase(Random& r, PoolKind kind, bool imageRanges, long dilation = 1) {
  PoolCase p;
  GeometryLimits limits;
  limits.dilation = dilation;
  p.geometry = randomGeometry(r, limits);
  p.arrangement = randomArrangement(r);
  p.pool.kind = kind;
  p.geometry.applyTo(p.pool);
  if (kind == PoolKind::Average && r.chance(0.6)) {
    p.pool.zeroPadSizeX = r.integer(0, 2);
    p.pool.zeroPadSizeY = r.integer(0, 2);
  }
  p.channels = r.size(1, 9);
  std::size_t sourceChannels = p.pool.at.sourceChannelOffset + p.channels;
  if (r.chance(0.3)) {
    p.pool.at.sourceChannelMaxCount = p.channels;
    sourceChannels += r.size(0, 5);
  }
  ImageRange n{p.geometry.images, p.geometry.images};
  if (imageRanges) n = randomImageRange(r, p.arrangement, p.pool.at.offset.z, p.pool.at.clip);
  p.sourceFormat = r.pick({Format::Float32, Format::Float32, Format::Float16});
  p.destinationFormat = r.pick({Format::Float32, Format::Float32, Format::Float16, Format::Unorm8, Format::Unorm16});
  p.source = poolSource(r, n.source, p.geometry.sourceHeight, p.geometry.sourceWidth, sourceChannels, p.sourceFormat,
                        r.chance(0.3));
  p.destination = randomTensor(r, n.destination, p.geometry.destinationHeight, p.geometry.destinationWidth,
                               aroundChannels(p.pool.at.destinationChannelOffset, p.channels, r), {0, 1, false},
                               p.destinationFormat);
  return p;
}

/// The kernel that an oracle's description stands for; a maximum with gaps is a dilated one.
inline Ref<MPS::CNNPooling> poolingOf(const oracle::Pool& p) {
  const auto size = [](long v) { return static_cast<std::size_t>(v); };
  const auto make = [&](auto type) {
    using T = typename decltype(type)::type;
    return std::make_shared<T>(cpuDevice(), size(p.kernelWidth), size(p.kernelHeight), size(p.strideX),
                               size(p.strideY));
  };
  if (p.dilationX != 1 || p.dilationY != 1)
    return std::make_shared<MPS::CNNDilatedPoolingMax>(cpuDevice(), size(p.kernelWidth), size(p.kernelHeight),
                                                       size(p.dilationX), size(p.dilationY), size(p.strideX),
                                                       size(p.strideY));
  if (p.kind == PoolKind::Max) return make(std::type_identity<MPS::CNNPoolingMax>{});
  if (p.kind == PoolKind::L2Norm) return make(std::type_identity<MPS::CNNPoolingL2Norm>{});
  auto average = make(std::type_identity<MPS::CNNPoolingAverage>{});
  average->setZeroPadSizeX(size(p.zeroPadSizeX));
  average->setZeroPadSizeY(size(p.zeroPadSizeY));
  return average;
}

inline Ref<MPS::CNNPoolingGradient> poolingGradientOf(const oracle::Pool& p, bool withZeroPad = true) {
  const auto size = [](long v) { return static_cast<std::size_t>(v); };
  const auto make = [&](auto type) {
    using T = typename decltype(type)::type;
    return std::make_shared<T>(cpuDevice(), size(p.kernelWidth), size(p.kernelHeight), size(p.strideX),
                               size(p.strideY));
  };
  if (p.dilationX != 1 || p.dilationY != 1)
    return std::make_shared<MPS::CNNDilatedPoolingMaxGradient>(cpuDevice(), size(p.kernelWidth), size(p.kernelHeight),
                                                               size(p.dilationX), size(p.dilationY), size(p.strideX),
                                                               size(p.strideY));
  if (p.kind == PoolKind::Max) return make(std::type_identity<MPS::CNNPoolingMaxGradient>{});
  if (p.kind == PoolKind::L2Norm) return make(std::type_identity<MPS::CNNPoolingL2NormGradient>{});
  auto average = make(std::type_identity<MPS::CNNPoolingAverageGradient>{});
  if (withZeroPad) {
    average->setZeroPadSizeX(size(p.zeroPadSizeX));
    average->setZeroPadSizeY(size(p.zeroPadSizeY));
  }
  return average;
}

/// PyTorch's cases.
inline std::vector<GoldenCase> goldenPoolings() { return readGolden(KOVAR_SOURCE_DIR "/tests/golden/ops/pooling.txt"); }

inline oracle::Pool goldenPool(const GoldenCase& g) {
  oracle::Pool p;
  p.kind = g.word("kind") == "max" ? PoolKind::Max : g.word("kind") == "l2" ? PoolKind::L2Norm : PoolKind::Average;
  p.dilationX = g.integer("dilationX");
  p.dilationY = g.integer("dilationY");
  p.kernelWidth = g.integer("kernelWidth");
  p.kernelHeight = g.integer("kernelHeight");
  p.strideX = g.integer("strideX");
  p.strideY = g.integer("strideY");
  p.at.edge = g.word("edge") == "Clamp" ? oracle::EdgeMode::Clamp : oracle::EdgeMode::Zero;
  p.at.offset.x = p.extentX() / 2 - g.integer("paddingX");
  p.at.offset.y = p.extentY() / 2 - g.integer("paddingY");
  p.zeroPadSizeX = g.integer("zeroPadSizeX");
  p.zeroPadSizeY = g.integer("zeroPadSizeY");
  return p;
}

}  // namespace kovar::test
