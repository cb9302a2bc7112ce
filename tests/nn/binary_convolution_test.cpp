// CNNBinaryConvolution and CNNBinaryFullyConnected against the oracle.

#include "kovar/MPS/NN/CNNBinaryConvolution.hpp"

#include <gtest/gtest.h>

#include <cstdint>

#include "convolution_support.hpp"
#include "oracle/binary_conv.hpp"

namespace kovar::test {
namespace {

using Type = MPS::CNNBinaryConvolutionType;
using Flags = MPS::CNNBinaryConvolutionFlags;

/// Bits in words, whatever stands beyond the channels.
class BitSource final : public Object, public MPS::CNNConvolutionDataSource {
 public:
  BitSource(const oracle::Conv& conv, const std::vector<int>& bits, Random& r) : descriptor_(descriptorOf(conv)) {
    const std::size_t inputs = conv.inputChannels;
    for (std::size_t tap = 0; tap < bits.size(); tap += inputs)
      for (std::size_t f = 0; f < inputs; f += 32) {
        auto word = static_cast<std::uint32_t>(r.bits());
        for (std::size_t b = 0; b < 32 && f + b < inputs; ++b)
          word = (word & ~(1u << b)) | static_cast<std::uint32_t>(bits[tap + f + b]) << b;
        words.push_back(word);
      }
  }
  std::vector<std::uint32_t> words;
  std::vector<float> biases;
  MPS::DataType type = MPS::DataType::UInt32;
  int loaded = 0, purged = 0;

  MPS::DataType dataType() override { return type; }
  Ref<MPS::CNNConvolutionDescriptor> descriptor() override { return descriptor_; }
  const void* weights() override { return words.data(); }
  const float* biasTerms() override { return biases.empty() ? nullptr : biases.data(); }
  bool load() override { return ++loaded > 0; }
  void purge() override { ++purged; }
  std::string label() override { return "bits"; }

 private:
  Ref<MPS::CNNConvolutionDescriptor> descriptor_;
};

std::vector<int> randomBits(Random& r, std::size_t count) {
  std::vector<int> bits(count);
  for (int& b : bits) b = r.chance(0.5);
  return bits;
}

struct BinaryCase {
  ConvolutionCase k;
  oracle::BinaryConv op;
  std::vector<int> bits;
  bool simple = false;  ///< the constructor with one scale
  float scaleValue = 1;
};

BinaryCase randomBinary(Random& r) {
  BinaryCase b;
  b.k = randomConvolution(r);
  oracle::Conv& c = b.k.conv;
  c.depthwise = false;
  c.groups = 1;
  c.inputChannels = r.pick<std::size_t>({1, 3, 31, 32, 33, 64, 70});
  c.outputChannels = r.pick<std::size_t>({1, 3, 8, 33});
  b.k.sourceChannels = c.at.sourceChannelOffset + c.inputChannels;
  b.k.destinationChannels = c.at.destinationChannelOffset + c.outputChannels;
  addRandomNeuron(r, c);
  b.op.conv = c;
  b.op.type = r.pick({oracle::BinaryType::BinaryWeights, oracle::BinaryType::Xnor, oracle::BinaryType::And});
  b.op.beta = r.chance(0.3);
  b.simple = r.chance(0.4);
  // Powers of two: the transformed value's sign and the sums are exact.
  if (b.simple) {
    b.scaleValue = static_cast<float>(r.pick({1., 0.25, -0.5}));
    b.op.outputScale.assign(c.outputChannels, b.scaleValue);
    if (r.chance(0.6)) b.op.outputBias = randomValues(r, c.outputChannels, {-2, 2});
  } else {
    if (r.chance(0.6)) b.op.outputBias = randomValues(r, c.outputChannels, {-2, 2});
    if (r.chance(0.6)) b.op.outputScale = randomValues(r, c.outputChannels, {-2, 2});
    if (r.chance(0.5)) b.op.inputBias.assign(c.inputChannels, 0.5);
    if (r.chance(0.5))
      for (std::size_t f = 0; f < c.inputChannels; ++f) b.op.inputScale.push_back(r.pick({1., -1., 0.5}));
  }
  b.bits = randomBits(r, c.weightCount());
  return b;
}

template <class K>
Ref<K> kernelOf(const BinaryCase& b, Random& r) {
  auto source = std::make_shared<BitSource>(b.op.conv, b.bits, r);
  const auto type = static_cast<Type>(b.op.type);
  const Flags flags = b.op.beta ? Flags::UseBetaScaling : Flags::None;
  Ref<K> kernel;
  if (b.simple) {
    source->biases = toFloat(b.op.outputBias);
    kernel = std::make_shared<K>(cpuDevice(), source, b.scaleValue, type, flags);
  } else {
    source->biases.assign(b.op.conv.outputChannels, 77.f);  // of no use here
    const auto orNull = [](const std::vector<float>& v) { return v.empty() ? nullptr : v.data(); };
    const auto ob = toFloat(b.op.outputBias), os = toFloat(b.op.outputScale), ib = toFloat(b.op.inputBias),
               is = toFloat(b.op.inputScale);
    kernel = std::make_shared<K>(cpuDevice(), source, orNull(ob), orNull(os), orNull(ib), orNull(is), type, flags);
  }
  EXPECT_EQ(source->loaded, source->purged);
  return kernel;
}

/// Values on a grid of quarters, so that transformed signs are the oracle's.
Tensor quarters(Random& r, std::size_t n, std::size_t h, std::size_t w, std::size_t c) {
  Tensor t = integerTensor(r, n, h, w, c);
  for (double& v : t.v) v *= 0.25;
  return t;
}

TEST(BinaryConvolution, AgreesWithTheOracle) {
  forCases(300, [&](Case& c) {
    Random& r = c.random;
    BinaryCase b = randomBinary(r);
    const Arrangement arrangement = randomArrangement(r);
    const ImageRange n = randomImageRange(r, arrangement, b.op.conv.at.offset.z, b.op.conv.at.clip);
    c.text = b.k.text() + " type " + std::to_string(static_cast<int>(b.op.type)) + (b.op.beta ? " beta " : " ") +
             nameOf(arrangement);
    const Format sourceFormat = r.pick({Format::Float32, Format::Float16}),
                 resultFormat = r.pick({Format::Float32, Format::Float32, Format::Float16, Format::Unorm8});
    const Tensor source =
        quarters(r, n.source, b.k.geometry.sourceHeight, b.k.geometry.sourceWidth, b.k.sourceChannels);
    const Tensor before = b.k.randomDestination(r, n.destination, resultFormat);
    auto kernel = kernelOf<MPS::CNNBinaryConvolution>(b, r);
    test::apply(b.op.conv.at, *kernel);
    if (r.chance(0.2)) kernel = std::dynamic_pointer_cast<MPS::CNNBinaryConvolution>(kernel->copy(nullptr));
    const auto src = imagesOf(source, sourceFormat, arrangement), dst = imagesOf(before, resultFormat, arrangement);
    runOnCpu([&](const auto& commands) { encodeAs(arrangement, *kernel, commands, src, dst); });
    EXPECT_TRUE(matches(tensorOf(dst), oracle::binaryConvForward(b.op, source, b.bits, before), resultFormat,
                        oracle::Conv::tolerance()));
  });
}

TEST(BinaryConvolution, AgreesWithPyTorch) {
  for (const GoldenCase& g : readGolden(std::string(KOVAR_SOURCE_DIR) + "/tests/golden/ops/conv_binary.txt")) {
    SCOPED_TRACE(g.name);
    const std::string& type = g.word("type");
    BinaryCase b;
    b.op.conv = goldenSquareConvolution(g, g.tensor("outputScale").v.size());
    b.op.type = type == "XNOR"  ? oracle::BinaryType::Xnor
                : type == "AND" ? oracle::BinaryType::And
                                : oracle::BinaryType::BinaryWeights;
    b.op.beta = g.number("beta") != 0;
    b.op.inputBias = g.tensor("inputBias").v, b.op.inputScale = g.tensor("inputScale").v;
    b.op.outputBias = g.tensor("outputBias").v, b.op.outputScale = g.tensor("outputScale").v;
    for (const double bit : g.tensor("bits").v) b.bits.push_back(bit != 0);
    Random r(1);
    auto kernel = kernelOf<MPS::CNNBinaryConvolution>(b, r);
    test::apply(b.op.conv.at, *kernel);
    const auto src = imageOf(g.tensor("source")), dst = imageOf(g.tensor("result"));
    runOnCpu([&](const auto& commands) { kernel->encode(commands, src, dst); });
    const oracle::Result own = oracle::binaryConvForward(b.op, g.tensor("source"), b.bits, g.tensor("result"));
    EXPECT_TRUE(
        matches(tensorOf(*dst), {g.tensor("result"), own.magnitude}, Format::Float32, oracle::Conv::tolerance()));
    for (std::size_t i = 0; i < own.value.v.size(); ++i)  // the oracle itself
      EXPECT_NEAR(own.value.v[i], g.tensor("result").v[i], 2e-9 * own.magnitude.v[i] + 1e-12);
  }
}

TEST(BinaryConvolution, FullyConnectedAgreesWithTheOracle) {
  forCases(100, [&](Case& c) {
    Random& r = c.random;
    BinaryCase b = randomBinary(r);
    oracle::Conv& conv = b.op.conv;
    conv.kernelWidth = r.integer(1, 4), conv.kernelHeight = r.integer(1, 4);
    conv.strideX = conv.strideY = conv.dilationX = conv.dilationY = 1;
    conv.at.clip = {};
    conv.at.edge = oracle::EdgeMode::Zero;
    b.bits = randomBits(r, conv.weightCount());
    c.text = b.k.text() + " " + std::to_string(conv.kernelWidth) + "x" + std::to_string(conv.kernelHeight);
    const Tensor source = quarters(r, 1, static_cast<std::size_t>(conv.kernelHeight),
                                   static_cast<std::size_t>(conv.kernelWidth), b.k.sourceChannels);
    auto kernel = kernelOf<MPS::CNNBinaryFullyConnected>(b, r);
    test::apply(conv.at, *kernel);
    kernel->setOffset({5, -7, 0});  // ignored
    const Tensor before(1, 1, 1, b.k.destinationChannels);
    const auto dst = imageOf(before);
    Ref<MPS::Image> own;
    kernel->setDestinationImageAllocator(float32Images());
    runOnCpu([&](const auto& commands) {
      kernel->encode(commands, imageOf(source), dst);
      own = kernel->encode(commands, imageOf(source));
    });
    conv.at.offset = {conv.kernelWidth / 2, conv.kernelHeight / 2, 0};
    EXPECT_TRUE(matches(tensorOf(*dst), oracle::binaryConvForward(b.op, source, b.bits, before), Format::Float32,
                        oracle::Conv::tolerance()));
    EXPECT_EQ(own->width(), 1u);
    EXPECT_EQ(own->height(), 1u);
    EXPECT_EQ(tensorOf(*own).v, tensorOf(*dst).v);
  });
}

// 0, -0 and NaN count as 1; outside counts as 1; the bits beyond the channels do not count.
TEST(BinaryConvolution, WorkedExample) {
  oracle::Conv conv;
  conv.kernelWidth = 3, conv.kernelHeight = 1;
  Random r(1);
  const auto run = [&](Type type, const std::vector<int>& bits) {
    MPS::CNNBinaryConvolution kernel(cpuDevice(), std::make_shared<BitSource>(conv, bits, r), 1.f, type, Flags::None);
    Tensor source(1, 1, 4, 1);
    source.v = {0., -0., -1., std::numeric_limits<double>::quiet_NaN()};
    const auto dst = imageOf(Tensor(1, 1, 4, 1));
    runOnCpu([&](const auto& commands) { kernel.encode(commands, imageOf(source), dst); });
    return tensorOf(*dst).v;
  };
  // Bits 1 1 0 1, with 1 on both sides.
  EXPECT_EQ(run(Type::XNOR, {1, 1, 1}), (std::vector<double>{3, 1, 1, 1}));
  EXPECT_EQ(run(Type::XNOR, {0, 1, 0}), (std::vector<double>{-1, 1, -3, 1}));
  EXPECT_EQ(run(Type::AND, {1, 1, 1}), (std::vector<double>{3, 2, 2, 2}));
  EXPECT_EQ(run(Type::AND, {1, 0, 0}), (std::vector<double>{1, 1, 1, 0}));
}

TEST(BinaryConvolution, RefusesWhatItCannotDo) {
  Random r(1);
  const auto source = [&](const oracle::Conv& c) {
    return std::make_shared<BitSource>(c, std::vector<int>(c.weightCount()), r);
  };
  const auto refused = [&](const Ref<BitSource>& s, const std::vector<std::string>& texts, Type type = Type::XNOR,
                           Flags flags = Flags::None) {
    expectError([&] { MPS::CNNBinaryConvolution(cpuDevice(), s, 1.f, type, flags); }, texts);
    if (s) EXPECT_EQ(s->loaded, s->purged);
  };
  oracle::Conv conv;
  conv.inputChannels = conv.outputChannels = 8;
  refused(nullptr, {"CNNBinaryConvolution: convolutionData is null"});
  auto floats = source(conv);
  floats->type = MPS::DataType::Float32;
  refused(floats, {"CNNBinaryConvolution \"bits\": the data source's dataType() is Float32", "bits in UInt32 words"});
  refused(source(conv), {"type 7 is not a CNNBinaryConvolutionType"}, static_cast<Type>(7));
  refused(source(conv), {"flags 6 are not CNNBinaryConvolutionFlags"}, Type::XNOR, static_cast<Flags>(6));
  oracle::Conv grouped = conv;
  grouped.groups = 2;
  refused(source(grouped), {"the descriptor has 2 groups; a binary convolution has 1"});
  oracle::Conv folded = conv;
  addRandomBatchNorm(r, folded);
  refused(source(folded), {"the descriptor has a batch normalisation, which does not fold into bits"});
  oracle::Conv depthwise = conv;
  depthwise.depthwise = true;
  refused(source(depthwise), {"the descriptor is depthwise; a binary convolution takes a CNNConvolutionDescriptor"});
  oracle::Conv strided = conv;
  strided.strideX = 2;
  expectError([&] { MPS::CNNBinaryFullyConnected(cpuDevice(), source(strided), 1.f, Type::AND, Flags::None); },
              {"CNNBinaryFullyConnected: strides and dilation rates must be 1"});
  MPS::CNNBinaryFullyConnected full(cpuDevice(), source(conv), 1.f, Type::AND, Flags::None);
  const auto commands = cpuQueue()->commandBuffer();
  expectError([&] { full.encode(commands, imageOf(Tensor(1, 4, 4, 8)), imageOf(Tensor(1, 1, 1, 8))); },
              {"the source is 4 x 4 pixels, the kernel 3 x 3"});
  expectError([&] { full.encode(commands, imageOf(Tensor(1, 3, 3, 4)), imageOf(Tensor(1, 1, 1, 8))); },
              {"the source gives 4 feature channels, 8 are needed"});
}

}  // namespace
}  // namespace kovar::test
