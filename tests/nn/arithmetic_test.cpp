// CNNAdd, CNNSubtract, CNNMultiply, CNNDivide against the oracle: repeated operands, scales, bias, limits, offsets,
// clip rectangles, channel windows, formats, arrangements.

#include "oracle/arithmetic.hpp"

#include <cmath>
#include <limits>

#include "kovar/MPS/NN/CNNMath.hpp"
#include "nn_case.hpp"

namespace kovar::test {
namespace {

using oracle::ArithmeticOp;

Ref<MPS::CNNArithmetic> kernelOf(ArithmeticOp op) {
  switch (op) {
    case ArithmeticOp::Add:
      return std::make_shared<MPS::CNNAdd>(cpuDevice());
    case ArithmeticOp::Subtract:
      return std::make_shared<MPS::CNNSubtract>(cpuDevice());
    case ArithmeticOp::Multiply:
      return std::make_shared<MPS::CNNMultiply>(cpuDevice());
    default:
      return std::make_shared<MPS::CNNDivide>(cpuDevice());
  }
}

Ref<MPS::CNNArithmetic> kernelOf(const oracle::Arithmetic& a) {
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

ArithmeticCase randomCase(Random& r) {
  ArithmeticCase c;
  c.op.op = r.pick({ArithmeticOp::Add, ArithmeticOp::Subtract, ArithmeticOp::Multiply, ArithmeticOp::Divide});
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

void encodeAs(Arrangement a, MPS::CNNBinaryKernel& k, const Ref<MTL::CommandBuffer>& buffer,
              const MPS::ImageBatch& primary, const MPS::ImageBatch& secondary, const MPS::ImageBatch& destination) {
  if (a == Arrangement::Array)
    k.encode(buffer, primary[0], secondary[0], destination[0]);
  else
    k.encodeBatch(buffer, primary, secondary, destination);
}

TEST(CnnArithmetic, MatchesTheOracle) {
  forCases(600, [](Case& k) {
    const ArithmeticCase c = randomCase(k.random);
    k.text = c.text();
    const auto kernel = kernelOf(c.op);
    const auto destination = imagesOf(c.destination, c.destinationFormat, c.arrangement);
    runOnCpu([&](const auto& buffer) {
      encodeAs(c.arrangement, *kernel, buffer, imagesOf(c.primary, c.primaryFormat, c.arrangement),
               imagesOf(c.secondary, c.secondaryFormat, c.arrangement), destination);
    });
    EXPECT_TRUE(matches(tensorOf(destination), oracle::arithmeticForward(c.op, c.primary, c.secondary, c.destination),
                        c.destinationFormat, oracle::Arithmetic::tolerance()));
  });
}

Tensor rowOf(std::initializer_list<double> values) {
  Tensor t(1, 1, values.size(), 1);
  t.v = values;
  return t;
}

TEST(CnnArithmetic, TheDefaultLimitsHoldInfinitiesBackAndLetNaNPass) {
  const double inf = std::numeric_limits<double>::infinity(), most = std::numeric_limits<float>::max();
  const auto y = imageOf(rowOf({0, 0, 0, 0, 0}));
  runOnCpu([&](const auto& buffer) {
    MPS::CNNDivide(cpuDevice())
        .encode(buffer, imageOf(rowOf({1, -1, 0, inf, 3})), imageOf(rowOf({0, 0, 0, 2, NAN})), y);
  });
  const std::vector<double> v = tensorOf(*y).v;
  EXPECT_EQ(v[0], most);
  EXPECT_EQ(v[1], -most);
  EXPECT_TRUE(std::isnan(v[2]));
  EXPECT_EQ(v[3], most);
  EXPECT_TRUE(std::isnan(v[4]));
}

// A scale may turn 0 into -0: the sign of the quotient is the sign of that zero.
TEST(CnnArithmetic, ScalesKeepTheSignOfZero) {
  MPS::CNNDivide divide(cpuDevice());
  divide.setSecondaryScale(-0.5f);
  const auto y = imageOf(rowOf({0, 0}));
  runOnCpu([&](const auto& buffer) { divide.encode(buffer, imageOf(rowOf({1, -1})), imageOf(rowOf({0, 0})), y); });
  const double most = std::numeric_limits<float>::max();
  EXPECT_EQ(tensorOf(*y).v, (std::vector<double>{-most, most}));
}

// A convolution's bias by hand: one value for each channel over the whole image, then a scalar for everything.
TEST(CnnArithmetic, StrideZeroRepeatsAnOperand) {
  const Tensor image(1, 2, 2, 3, 1.0);
  Tensor perChannel(1, 1, 1, 3), scalar(1, 1, 1, 1, 0.5);
  perChannel.v = {10, 20, 30};
  MPS::CNNAdd add(cpuDevice());
  add.setSecondaryStrideInPixelsX(0);
  add.setSecondaryStrideInPixelsY(0);
  Ref<MPS::Image> sum, more;
  MPS::CNNMultiply times(cpuDevice());
  times.setPrimaryStrideInPixelsX(0);
  times.setPrimaryStrideInPixelsY(0);
  times.setPrimaryStrideInFeatureChannels(0);
  add.setDestinationImageAllocator(float32Images());
  times.setDestinationImageAllocator(float32Images());
  runOnCpu([&](const auto& buffer) {
    sum = add.encode(buffer, imageOf(image), imageOf(perChannel));
    more = times.encode(buffer, imageOf(scalar), sum);
  });
  EXPECT_EQ(tensorOf(*sum).v, (std::vector<double>{11, 21, 31, 11, 21, 31, 11, 21, 31, 11, 21, 31}));
  ASSERT_TRUE(tensorOf(*more).sameShape(image)) << "sized by the operand that is not repeated";
  EXPECT_EQ(tensorOf(*more).v[2], 15.5);
}

TEST(CnnArithmetic, BothOperandsRepeatedAlongChannelsGiveOne) {
  MPS::CNNSubtract kernel(cpuDevice());
  kernel.setPrimaryStrideInFeatureChannels(0);
  kernel.setSecondaryStrideInFeatureChannels(0);
  kernel.setDestinationImageAllocator(float32Images());
  Ref<MPS::Image> y;
  runOnCpu([&](const auto& buffer) {
    y = kernel.encode(buffer, imageOf(Tensor(1, 1, 1, 6, 5.0)), imageOf(Tensor(1, 1, 1, 3, 2.0)));
  });
  EXPECT_EQ(y->featureChannels(), 1u);
  EXPECT_EQ(tensorOf(*y).v[0], 3);
}

TEST(CnnArithmetic, EachOperandIsReadOnce) {
  runOnCpu([](const auto& buffer) {
    MPS::CNNAdd add(cpuDevice());
    const auto t = temporariesOf(buffer, {imageOf(Tensor(1, 2, 2, 2, 1.0)), imageOf(Tensor(1, 2, 2, 2, 1.0))});
    const auto both = std::dynamic_pointer_cast<MPS::TemporaryImage>(t[0]);
    both->setReadCount(3);
    add.encode(buffer, t[0], t[1], imageOf(Tensor(1, 2, 2, 2)));
    EXPECT_EQ(readCounts(t), (std::vector<std::size_t>{2, 0}));
    // One image as both operands is read twice: each place of the kernel is a use.
    add.encode(buffer, both, both, imageOf(Tensor(1, 2, 2, 2)));
    EXPECT_EQ(both->readCount(), 0u);
  });
}

TEST(CnnArithmetic, DefaultsAreTheDocumentedOnes) {
  MPS::CNNSubtract k(cpuDevice());
  EXPECT_EQ(k.primaryScale(), 1.f);
  EXPECT_EQ(k.secondaryScale(), 1.f) << "the sign is in the kernel";
  EXPECT_EQ(k.bias(), 0.f);
  EXPECT_EQ(k.primaryStrideInFeatureChannels(), 1u);
  EXPECT_EQ(k.secondaryStrideInFeatureChannels(), 1u);
  EXPECT_EQ(k.primaryStrideInPixelsX(), 1u);
  EXPECT_EQ(k.secondaryStrideInPixelsY(), 1u);
  EXPECT_EQ(k.minimumValue(), -std::numeric_limits<float>::max());
  EXPECT_EQ(k.maximumValue(), std::numeric_limits<float>::max());
  k.setBias(3);
  const auto copy = std::dynamic_pointer_cast<MPS::CNNSubtract>(k.copy(nullptr));
  ASSERT_TRUE(copy);
  EXPECT_EQ(copy->bias(), 3.f);
}

TEST(CnnArithmetic, ErrorsTellWhatIsWrong) {
  MPS::CNNAdd k(cpuDevice());
  k.setLabel("sum");
  expectError([&] { k.setPrimaryStrideInFeatureChannels(2); },
              {"CNNAdd \"sum\".primaryStrideInFeatureChannels: 2", "a stride is 0 (repeat) or 1"});
  expectError([&] { k.setSecondaryStrideInFeatureChannels(4); }, {"secondaryStrideInFeatureChannels: 4"});
  const auto buffer = cpuQueue()->commandBuffer();
  const auto a = imageOf(Tensor(1, 2, 2, 3)), b = imageOf(Tensor(1, 2, 2, 4)), d = imageOf(Tensor(1, 2, 2, 4));
  expectError([&] { k.encode(buffer, a, b, d); },
              {"CNNAdd \"sum\".encode", "primary source has 3 feature channels, the secondary 4",
               "set a stride in feature channels to 0"});
  k.setSecondaryStrideInPixelsX(2);
  expectError([&] { k.encode(buffer, a, a, d); }, {"strideInPixelsX: 2; a stride is 0 (repeat) or 1"});
  k.setSecondaryStrideInPixelsX(1);
  expectError([&] { k.encode(buffer, a, a, a); }, {"the destination shares memory with a source"});
}

}  // namespace
}  // namespace kovar::test
