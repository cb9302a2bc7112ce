#pragma once
// Random cases of image arithmetic, and kernels set up as a case says.

#include "kovar/MPS/NN/CNNMath.hpp"
#include "nn_case.hpp"
#include "oracle/arithmetic.hpp"

namespace kovar::test {

using oracle::ArithmeticOp;

inline Ref<MPS::CNNArithmetic> kernelOf(ArithmeticOp op) {
  switch (op) {
    case ArithmeticOp::Add:
      return std::make_shared<MPS::CNNAdd>(cpuDevice());
    case ArithmeticOp::Subtract:
      return std::make_shared<MPS::CNNSubtract>(cpuDevice());
    case ArithmeticOp::Multiply:
      return std::make_shared<MPS::CNNMultiply>(cpuDevice());
    case ArithmeticOp::Divide:
      return std::make_shared<MPS::CNNDivide>(cpuDevice());
    default:
      return std::make_shared<MPS::NNCompare>(cpuDevice());
  }
}

inline Ref<MPS::CNNArithmetic> kernelOf(const oracle::Arithmetic& a) {
  const auto k = kernelOf(a.op);
  const auto edge = [](oracle::EdgeMode e) { return static_cast<MPS::ImageEdgeMode>(e); };
  const auto stride = [](long s) { return static_cast<std::size_t>(s); };
  k->setPrimaryOffset(publicOffset(a.primary.offset));
  k->setSecondaryOffset(publicOffset(a.secondary.offset));
  k->setPrimaryEdgeMode(edge(a.primary.edge));
  k->setSecondaryEdgeMode(edge(a.secondary.edge));
  k->setPrimaryStrideInPixelsX(stride(a.primary.strideX));
  k->setPrimaryStrideInPixelsY(stride(a.primary.strideY));
  k->setSecondaryStrideInPixelsX(stride(a.secondary.strideX));
  k->setSecondaryStrideInPixelsY(stride(a.secondary.strideY));
  k->setPrimaryStrideInFeatureChannels(a.primary.strideC);
  k->setSecondaryStrideInFeatureChannels(a.secondary.strideC);
  k->setPrimarySourceFeatureChannelOffset(a.primary.channelOffset);
  k->setSecondarySourceFeatureChannelOffset(a.secondary.channelOffset);
  k->setPrimarySourceFeatureChannelMaxCount(a.primary.channelMaxCount);
  k->setSecondarySourceFeatureChannelMaxCount(a.secondary.channelMaxCount);
  k->setPrimaryScale(static_cast<float>(a.primary.scale));
  k->setSecondaryScale(static_cast<float>(a.secondary.scale));
  k->setBias(static_cast<float>(a.bias));
  k->setMinimumValue(static_cast<float>(a.minimum));
  k->setMaximumValue(static_cast<float>(a.maximum));
  if (const auto compare = std::dynamic_pointer_cast<MPS::NNCompare>(k)) {
    compare->setComparisonType(static_cast<MPS::NNComparisonType>(a.comparison));
    compare->setThreshold(static_cast<float>(a.threshold));
  }
  k->setClipRect(publicClip(a.clip));
  k->setDestinationFeatureChannelOffset(a.destinationChannelOffset);
  return k;
}

struct ArithmeticCase {
  oracle::Arithmetic op;
  Tensor primary, secondary, destination;
  Format primaryFormat = Format::Float32, secondaryFormat = Format::Float32, destinationFormat = Format::Float32;
  Arrangement arrangement = Arrangement::Array;

  std::string text() const {
    const auto side = [](const oracle::Operand& o, const Tensor& t) {
      return t.shape() + " o" + std::to_string(o.offset.x) + "," + std::to_string(o.offset.y) + "," +
             std::to_string(o.offset.z) + " s" + std::to_string(o.strideX) + std::to_string(o.strideY) +
             std::to_string(o.strideC) + " c" + std::to_string(o.channelOffset) + " edge" +
             std::to_string(static_cast<int>(o.edge)) + " *" + std::to_string(o.scale);
    };
    return std::string(op.name()) + " " + nameOf(arrangement) + " [" + side(op.primary, primary) + "] [" +
           side(op.secondary, secondary) + "] -> " + destination.shape();
  }
};

inline ArithmeticCase randomArithmetic(Random& r, ArithmeticOp op) {
  ArithmeticCase c;
  c.op.op = op;
  c.arrangement = randomArrangement(r);
  const ImageRange n = randomImageRange(r, c.arrangement, c.op.primary.offset.z, c.op.clip);
  const std::size_t h = r.size(1, 6), w = r.size(1, 6), channels = r.size(1, 9);
  const auto format = [&] { return r.pick({Format::Float32, Format::Float32, Format::Float16}); };
  const auto side = [&](oracle::Operand& o, Format& f, std::size_t images, const oracle::Domain& domain) {
    if (r.chance(0.5)) {
      o.strideX = r.integer(0, 1), o.strideY = r.integer(0, 1);
      o.strideC = r.size(0, 1);
    }
    if (r.chance(0.4)) o.offset.x = r.integer(-1, 2), o.offset.y = r.integer(-1, 2);
    if (r.chance(0.4)) o.edge = oracle::EdgeMode::Clamp;
    if (r.chance(0.4)) o.channelOffset = r.pick<std::size_t>({0, 4});
    if (r.chance(0.4)) o.scale = r.pick({2.0, -0.5});
    std::size_t have = o.channelOffset + (o.strideC ? channels : r.size(1, 3));
    if (o.strideC && r.chance(0.2)) {
      o.channelMaxCount = channels;
      have += r.size(0, 4);
    }
    f = format();
    return randomTensor(r, images, r.chance(0.7) ? h : r.size(1, 6), r.chance(0.7) ? w : r.size(1, 6), have, domain, f);
  };
  c.primary = side(c.op.primary, c.primaryFormat, n.source, oracle::Arithmetic::domain());
  // a divisor keeps away from 0, but for edge mode Zero, where infinities are meant
  c.op.secondary.offset.z = c.op.primary.offset.z;
  c.secondary = side(c.op.secondary, c.secondaryFormat, n.source,
                     c.op.op == ArithmeticOp::Divide ? oracle::Domain{0.5, 4, false} : oracle::Arithmetic::domain());
  if (r.chance(0.3)) c.op.bias = 0.75;
  if (r.chance(0.3)) c.op.minimum = -1, c.op.maximum = 2;
  if (r.chance(0.4)) c.op.destinationChannelOffset = r.pick<std::size_t>({0, 4, 8});
  if (r.chance(0.4)) randomClip(r, c.op.clip, w, h);
  c.destinationFormat = r.pick({Format::Float32, Format::Float32, Format::Float16, Format::Unorm8});
  const std::size_t written = oracle::arithmeticChannels(c.op, c.primary, c.secondary);
  c.destination = randomTensor(r, n.destination, h, w, aroundChannels(c.op.destinationChannelOffset, written, r),
                               {0, 1, false}, c.destinationFormat);
  return c;
}

inline void encodeAs(Arrangement a, MPS::CNNBinaryKernel& k, const Ref<MTL::CommandBuffer>& buffer,
                     const MPS::ImageBatch& primary, const MPS::ImageBatch& secondary,
                     const MPS::ImageBatch& destination) {
  if (a == Arrangement::Array)
    k.encode(buffer, primary[0], secondary[0], destination[0]);
  else
    k.encodeBatch(buffer, primary, secondary, destination);
}

}  // namespace kovar::test
