// CNNAdd, CNNSubtract, CNNMultiply, CNNDivide, NNCompare against the oracle: repeated operands, scales, bias, limits,
// offsets, clip rectangles, channel windows, formats, arrangements.

#include "arithmetic_case.hpp"

#include <cmath>
#include <limits>

namespace kovar::test {
namespace {

TEST(CnnArithmetic, MatchesTheOracle) {
  forCases(800, [](Case& k) {
    ArithmeticCase c =
        randomArithmetic(k.random, k.random.pick({ArithmeticOp::Add, ArithmeticOp::Subtract, ArithmeticOp::Multiply,
                                                  ArithmeticOp::Divide, ArithmeticOp::Compare}));
    c.op.comparison = static_cast<oracle::Comparison>(k.random.integer(0, 5));
    if (k.random.chance(0.5)) c.op.threshold = k.random.pick({0.5, 1.0});
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
// Small whole numbers, where ties and distances of exactly the threshold are frequent.
TEST(CnnArithmetic, ComparisonsOfWholeNumbers) {
  for (int type = 0; type < 6; ++type)
    for (const double threshold : {0.0, 1.0}) {
      oracle::Arithmetic op;
      op.op = ArithmeticOp::Compare;
      op.comparison = static_cast<oracle::Comparison>(type);
      op.threshold = threshold;
      Tensor x(1, 5, 5, 1), y(1, 5, 5, 1);
      for (std::size_t i = 0; i < 5; ++i)
        for (std::size_t j = 0; j < 5; ++j)
          x.v[5 * i + j] = static_cast<double>(i) - 2, y.v[5 * i + j] = static_cast<double>(j) - 2;
      const auto d = imageOf(Tensor(1, 5, 5, 1));
      runOnCpu([&](const auto& buffer) { kernelOf(op)->encode(buffer, imageOf(x), imageOf(y), d); });
      EXPECT_EQ(tensorOf(*d).v, oracle::arithmeticForward(op, x, y, Tensor(1, 5, 5, 1)).value.v)
          << "type " << type << " threshold " << threshold;
    }
}

TEST(CnnArithmetic, AgainstNaNOnlyNotEqualHolds) {
  for (std::size_t type = 0; type < 6; ++type) {
    MPS::NNCompare k(cpuDevice());
    k.setComparisonType(static_cast<MPS::NNComparisonType>(type));
    const auto d = imageOf(rowOf({0, 0}));
    runOnCpu([&](const auto& buffer) { k.encode(buffer, imageOf(rowOf({NAN, 1})), imageOf(rowOf({1, NAN})), d); });
    const double wanted = k.comparisonType() == MPS::NNComparisonType::NotEqual ? 1 : 0;
    EXPECT_EQ(tensorOf(*d).v, (std::vector<double>{wanted, wanted})) << type;
  }
}

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
  MPS::NNCompare compare(cpuDevice());
  EXPECT_EQ(compare.comparisonType(), MPS::NNComparisonType::Equal);
  EXPECT_EQ(compare.threshold(), 0.f);
  expectError([&] { compare.setComparisonType(static_cast<MPS::NNComparisonType>(6)); },
              {"NNCompare.comparisonType: 6 is not an NNComparisonType"});
}

}  // namespace
}  // namespace kovar::test
