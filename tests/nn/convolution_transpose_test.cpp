// CNNConvolutionTranspose and its gradient against the oracle, PyTorch, worked examples and differences.

#include "kovar/MPS/NN/CNNConvolutionTranspose.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <span>

#include "convolution_support.hpp"
#include "kovar/MPS/Core/CommandBuffer.hpp"
#include "oracle/conv_transpose.hpp"
#include "support/finite_difference.hpp"

namespace kovar::test {
namespace {

using Option = MPS::CNNConvolutionGradientOption;
using oracle::ConvTranspose;

struct TransposeCase {
  ConvolutionCase k;
  ConvTranspose op;
  std::string text() const {
    return k.text() + " ko" + std::to_string(op.kernelOffsetX) + "," + std::to_string(op.kernelOffsetY);
  }
};

TransposeCase randomTranspose(Random& r, GeometryLimits limits = {}) {
  limits.source = 6;
  TransposeCase t;
  t.k = randomConvolution(r, limits);
  oracle::Conv& c = t.k.conv;
  c.at.offset.x = r.chance(0.3) ? r.integer(-2, 2) : 0;
  c.at.offset.y = r.chance(0.3) ? r.integer(-2, 2) : 0;
  const auto resultOf = [&](std::size_t source, long stride) {
    return r.size(1, (source - 1) * static_cast<std::size_t>(stride) + 4);
  };
  t.k.geometry.destinationWidth = resultOf(t.k.geometry.sourceWidth, c.strideX);
  t.k.geometry.destinationHeight = resultOf(t.k.geometry.sourceHeight, c.strideY);
  c.at.clip = {};
  if (limits.clip && r.chance(0.3))
    randomClip(r, c.at.clip, t.k.geometry.destinationWidth, t.k.geometry.destinationHeight);
  t.op.conv = c;
  t.op.kernelOffsetX = r.integer(-4, 3);
  t.op.kernelOffsetY = r.integer(-4, 3);
  return t;
}

Ref<MPS::CNNConvolutionTranspose> transposeOf(const ConvTranspose& t, const std::vector<double>& weights,
                                              const std::vector<double>& bias) {
  auto kernel = std::make_shared<MPS::CNNConvolutionTranspose>(cpuDevice(), sourceOf(t.conv, weights, bias));
  test::apply(t.conv.at, *kernel);
  kernel->setKernelOffsetX(t.kernelOffsetX);
  kernel->setKernelOffsetY(t.kernelOffsetY);
  return kernel;
}

void expectSums(const MPS::CNNConvolutionGradientState& state, const oracle::WeightGradient& wanted, double times = 1) {
  const auto check = [&](const Ref<MTL::Buffer>& buffer, std::vector<double> value, std::vector<double> magnitude) {
    for (double& v : value) v *= times;
    for (double& v : magnitude) v *= times;
    Compare how;
    how.tolerance = oracle::Conv::tolerance();
    how.maxZeroShare = 1;
    EXPECT_TRUE(compare(readFloats(buffer), value, magnitude, how));
  };
  check(state.gradientForWeights(), wanted.weights, wanted.weightsMagnitude);
  check(state.gradientForBiases(), wanted.bias, wanted.biasMagnitude);
}

TEST(ConvolutionTranspose, AgreesWithTheOracle) {
  forCases(300, [&](Case& c) {
    Random& r = c.random;
    TransposeCase t = randomTranspose(r);
    const Arrangement arrangement = randomArrangement(r);
    const ImageRange n = randomImageRange(r, arrangement, t.op.conv.at.offset.z, t.op.conv.at.clip);
    addRandomNeuron(r, t.op.conv);
    if (r.chance(0.2)) addRandomBatchNorm(r, t.op.conv);
    const Format sourceFormat = randomFormat(r, oracle::Conv::domain());
    const Format resultFormat = r.pick({Format::Float32, Format::Float32, Format::Float16, Format::Unorm8});
    c.text = t.text() + " " + nameOf(arrangement);
    const Tensor source = t.k.randomSource(r, n.source, sourceFormat),
                 before = t.k.randomDestination(r, n.destination, resultFormat);
    const std::vector<double> weights = t.k.randomWeights(r);
    const std::vector<double> bias = r.chance(0.7) ? t.k.randomBiases(r) : std::vector<double>();
    auto kernel = transposeOf(t.op, weights, bias);
    const auto src = imagesOf(source, sourceFormat, arrangement), dst = imagesOf(before, resultFormat, arrangement);
    runOnCpu([&](const auto& commands) { encodeAs(arrangement, *kernel, commands, src, dst); });
    EXPECT_TRUE(matches(tensorOf(dst), oracle::convTransposeForward(t.op, source, weights, bias, before), resultFormat,
                        oracle::Conv::tolerance()));
  });
}

TEST(ConvolutionTranspose, GradientsFromTheStateAgreeWithTheOracle) {
  forCases(300, [&](Case& c) {
    Random& r = c.random;
    TransposeCase t = randomTranspose(r);
    const oracle::Conv& conv = t.op.conv;
    const Arrangement arrangement = randomArrangement(r);
    const std::size_t n = r.size(1, 3), channelOffset = r.pick<std::size_t>({0, 0, 4});
    c.text = t.text() + " " + nameOf(arrangement);
    const Format sourceFormat = r.pick({Format::Float32, Format::Float16}),
                 gradientFormat = r.pick({Format::Float32, Format::Float16});
    const Tensor source = t.k.randomSource(r, n, sourceFormat), gradient = t.k.randomDestination(r, n, gradientFormat);
    const oracle::Region region = oracle::effectiveRegion(conv.at.clip, gradient, 0, n);
    const Tensor clipped =
        oracle::slice(gradient, static_cast<std::size_t>(region.y), static_cast<std::size_t>(region.x),
                      static_cast<std::size_t>(region.h), static_cast<std::size_t>(region.w),
                      conv.at.destinationChannelOffset, conv.outputChannels);
    const std::vector<double> weights = t.k.randomWeights(r);
    auto forward = transposeOf(t.op, weights, {});
    MPS::CNNConvolutionTransposeGradient backward(cpuDevice(), sourceOf(conv, weights, {}));
    backward.setDestinationFeatureChannelOffset(channelOffset);
    backward.setDestinationImageAllocator(MPS::Image::defaultAllocator());
    const auto src = imagesOf(source, sourceFormat, arrangement), g = imagesOf(gradient, gradientFormat, arrangement),
               dst = imagesOf(gradient, Format::Float32, arrangement);
    MPS::CNNConvolutionTransposeGradientStateBatch states;
    MPS::ImageBatch result;
    const int times = r.chance(0.3) ? 2 : 1;
    runOnCpu([&](const auto& commands) {
      if (arrangement == Arrangement::Array) {
        states = {forward->resultState(src[0], {}, dst[0])};
        forward->encode(commands, src[0], states[0], dst[0]);
        for (int i = 0; i < times; ++i) result = {backward.encode(commands, g[0], src[0], states[0])};
      } else {
        states = forward->resultStateBatch(src, {}, dst);
        forward->encodeBatch(commands, src, states, dst);
        for (int i = 0; i < times; ++i) result = backward.encodeBatch(commands, g, src, states);
      }
    });
    EXPECT_EQ(states[0]->convolutionTranspose(), forward);
    EXPECT_EQ(states[0]->convolution(), nullptr);
    EXPECT_EQ(states[0]->sourceWidth(), source.w);
    EXPECT_EQ(states[0]->sourceHeight(), source.h);
    const Tensor none(n, source.h, source.w, channelOffset + conv.inputChannels);
    ASSERT_EQ(tensorOf(result).shape(), none.shape());
    const oracle::Result wanted = oracle::convTransposeDataGradient(t.op, weights, clipped, none, 0, channelOffset);
    EXPECT_TRUE(matches(tensorOf(result), wanted, Format::Float16, oracle::Conv::tolerance()));
    expectSums(*states[0], oracle::convTransposeWeightGradient(t.op, source, clipped), times);
    EXPECT_EQ(backward.kernelOffsetX(), t.op.kernelOffsetX);
    EXPECT_EQ(backward.primaryOffset().y, conv.at.offset.y);
  });
}

// A part of the source's gradient, and more than the source has, as the caller sets it.
TEST(ConvolutionTranspose, GradientsSetByHandAgreeWithTheOracle) {
  forCases(120, [&](Case& c) {
    Random& r = c.random;
    GeometryLimits limits;
    limits.clip = false;
    TransposeCase t = randomTranspose(r, limits);
    const oracle::Conv& conv = t.op.conv;
    c.text = t.text();
    const Tensor source = t.k.randomSource(r, 1);
    const Tensor gradient = randomTensor(r, 1, t.k.geometry.destinationHeight, t.k.geometry.destinationWidth,
                                         conv.outputChannels, oracle::Conv::domain());
    const std::vector<double> weights = t.k.randomWeights(r);
    auto forward = transposeOf(t.op, weights, {});
    MPS::CNNConvolutionTransposeGradient backward(cpuDevice(), sourceOf(conv, weights, {}));
    const long y0 = r.integer(-2, 2), x0 = r.integer(-2, 2);
    const std::size_t h = r.size(1, source.h + 2), w = r.size(1, source.w + 2);
    backward.setPrimaryOffset({conv.at.offset.x, conv.at.offset.y, 0});
    backward.setKernelOffsetX(t.op.kernelOffsetX);
    backward.setKernelOffsetY(t.op.kernelOffsetY);
    backward.setSecondaryOffset({x0, y0, 0});
    backward.setSecondaryEdgeMode(static_cast<MPS::ImageEdgeMode>(conv.at.edge));
    backward.setSecondarySourceFeatureChannelOffset(conv.at.sourceChannelOffset);
    const auto src = imageOf(source), dst = imageOf(Tensor(1, h, w, conv.inputChannels));
    const auto state = forward->resultState(src, {}, imageOf(gradient));
    runOnCpu([&](const auto& commands) { backward.encode(commands, imageOf(gradient), src, state, dst); });
    const oracle::Result whole =
        oracle::convTransposeDataGradient(t.op, weights, gradient, Tensor(1, source.h, source.w, conv.inputChannels));
    oracle::Result wanted{Tensor(1, h, w, conv.inputChannels), Tensor(1, h, w, conv.inputChannels)};
    for (std::size_t y = 0; y < h; ++y)
      for (std::size_t x = 0; x < w; ++x) {
        const long sy = static_cast<long>(y) + y0, sx = static_cast<long>(x) + x0;
        if (sy < 0 || sx < 0 || sy >= static_cast<long>(source.h) || sx >= static_cast<long>(source.w)) continue;
        for (std::size_t i = 0; i < conv.inputChannels; ++i) {
          wanted.value.at(0, y, x, i) =
              whole.value.at(0, static_cast<std::size_t>(sy), static_cast<std::size_t>(sx), i);
          wanted.magnitude.at(0, y, x, i) =
              whole.magnitude.at(0, static_cast<std::size_t>(sy), static_cast<std::size_t>(sx), i);
        }
      }
    EXPECT_TRUE(matches(tensorOf(*dst), wanted, Format::Float32, oracle::Conv::tolerance()));
    expectSums(*state, oracle::convTransposeWeightGradient(t.op, source, gradient));
  });
}

// Size, offset and kernelOffset from the state of a convolution: the geometry of that convolution's data gradient.
TEST(ConvolutionTranspose, UndoesTheConvolutionWhoseStateItIsGiven) {
  forCases(100, [&](Case& c) {
    Random& r = c.random;
    GeometryLimits limits;
    limits.clip = limits.channelOffsets = false;
    const ConvolutionCase k = randomConvolution(r, limits);
    c.text = k.text();
    const Tensor source = k.randomSource(r, 1);
    auto forward = convolution(k.conv, k.randomWeights(r), {});
    test::apply(k.conv.at, *forward);
    const auto image = imageOf(source);
    ConvTranspose t;
    t.conv = k.conv;
    t.conv.depthwise = false;
    t.conv.groups = 1;
    t.conv.at = {};
    std::swap(t.conv.inputChannels, t.conv.outputChannels);
    const std::vector<double> weights = randomValues(r, t.conv.weightCount(), {-2, 2}),
                              bias = randomValues(r, t.conv.outputChannels, {-1, 1});
    auto transpose = transposeOf(t, weights, bias);
    transpose->setDestinationImageAllocator(MPS::Image::defaultAllocator());
    const Tensor gradient = randomTensor(r, 1, k.geometry.destinationHeight, k.geometry.destinationWidth,
                                         t.conv.inputChannels, oracle::Conv::domain());
    Ref<MPS::Image> result;
    Ref<MPS::CNNConvolutionTransposeGradientState> transposeState;
    const auto state = forward->resultState(image, {}, nullptr);
    runOnCpu([&](const auto& commands) {
      result = transpose->encode(commands, imageOf(gradient), state, &transposeState, false);
    });
    ASSERT_EQ(result->width(), source.w);
    ASSERT_EQ(result->height(), source.h);
    EXPECT_EQ(transposeState->convolution(), forward);
    EXPECT_EQ(transposeState->sourceWidth(), gradient.w);
    oracle::configureFromForward(k.conv, t);
    EXPECT_EQ(transpose->kernelOffsetX(), t.kernelOffsetX);
    EXPECT_EQ(transpose->kernelOffsetY(), t.kernelOffsetY);
    EXPECT_EQ(transpose->offset().x, 0);
    const Tensor none(1, source.h, source.w, t.conv.outputChannels);
    EXPECT_TRUE(matches(tensorOf(*result), oracle::convTransposeForward(t, gradient, weights, bias, none),
                        Format::Float16, oracle::Conv::tolerance()));
  });
}

// Sizes and kernelOffset that the padding policy gives a filter that runs backwards, and the numbers worked out by
// hand.
TEST(ConvolutionTranspose, WorkedExamples) {
  struct Row {
    MPS::NNPaddingMethod size;
    std::ptrdiff_t kernelOffset;
    std::vector<double> result;
  };
  ConvTranspose t;
  t.conv.kernelWidth = 3, t.conv.kernelHeight = 1, t.conv.strideX = 2;
  Tensor source(1, 1, 3, 1);
  source.v = {1, 2, 3};
  for (const Row& row : std::initializer_list<Row>{{MPS::NNPaddingMethod::SizeSame, 0, {10, 201, 20, 302, 30}},
                                                   {MPS::NNPaddingMethod::SizeFull, -1, {100, 10, 201, 20, 302, 30, 3}},
                                                   {MPS::NNPaddingMethod::SizeValidOnly, 1, {201, 20, 302}}}) {
    auto kernel = transposeOf(t, {1, 10, 100}, {});
    kernel->setPadding(MPS::NNDefaultPadding::padding(row.size));
    kernel->setDestinationImageAllocator(float32Images());
    Ref<MPS::Image> dst;
    runOnCpu([&](const auto& commands) { dst = kernel->encode(commands, imageOf(source)); });
    EXPECT_EQ(tensorOf(*dst).v, row.result);
    EXPECT_EQ(kernel->kernelOffsetX(), row.kernelOffset);
  }
}

TEST(ConvolutionTranspose, AgreesWithPyTorch) {
  int compared = 0;
  for (const GoldenCase& g : readGolden(std::string(KOVAR_SOURCE_DIR) + "/tests/golden/ops/conv_transpose.txt")) {
    SCOPED_TRACE(g.name);
    ConvTranspose t;
    oracle::Conv& c = t.conv;
    c.kernelWidth = g.integer("kernelWidth"), c.kernelHeight = g.integer("kernelHeight");
    c.strideX = g.integer("strideX"), c.strideY = g.integer("strideY");
    c.dilationX = g.integer("dilationX"), c.dilationY = g.integer("dilationY");
    c.groups = g.count("groups");
    const Tensor &source = g.tensor("source"), &gradient = g.tensor("gradient"), &result = g.tensor("result");
    c.inputChannels = source.c, c.outputChannels = gradient.c;
    t.kernelOffsetX = c.extentX() / 2 - c.extentX() + 1 + g.integer("paddingX");
    t.kernelOffsetY = c.extentY() / 2 - c.extentY() + 1 + g.integer("paddingY");
    // The file's weights are [input][ky][kx][output of the group].
    const auto framework = [&](const Tensor& w) {
      std::vector<double> v(w.v.size());
      const std::size_t kh = w.h, kw = w.w, per = w.c;
      for (std::size_t i = 0; i < w.n; ++i)
        for (std::size_t o = 0; o < per; ++o)
          for (std::size_t y = 0; y < kh; ++y)
            for (std::size_t x = 0; x < kw; ++x) v[((i * per + o) * kh + y) * kw + x] = w.at(i, y, x, o);
      return oracle::rotateFrameworkWeights(c, v);
    };
    const std::vector<double> weights = framework(g.tensor("weights")), bias = g.tensor("bias").v;
    auto kernel = transposeOf(t, weights, bias);
    MPS::CNNConvolutionTransposeGradient backward(cpuDevice(), sourceOf(c, weights, {}));
    backward.setDestinationImageAllocator(float32Images());
    const auto src = imageOf(source), dst = imageOf(Tensor(result.n, result.h, result.w, result.c));
    const auto state = kernel->resultState(src, {}, dst);
    Ref<MPS::Image> dSource;
    runOnCpu([&](const auto& commands) {
      kernel->encode(commands, src, state, dst);
      dSource = backward.encode(commands, imageOf(gradient), src, state);
    });
    const oracle::Result scale = oracle::convTransposeForward(t, source, weights, bias, result);
    EXPECT_TRUE(matches(tensorOf(*dst), {result, scale.magnitude}, Format::Float32, oracle::Conv::tolerance()));
    const oracle::Result dScale =
        oracle::convTransposeDataGradient(t, weights, gradient, Tensor(source.n, source.h, source.w, source.c));
    EXPECT_TRUE(matches(tensorOf(*dSource), {g.tensor("sourceGradient"), dScale.magnitude}, Format::Float32,
                        oracle::Conv::tolerance()));
    oracle::WeightGradient dw = oracle::convTransposeWeightGradient(t, source, gradient);
    dw.weights = framework(g.tensor("weightGradient"));
    dw.bias = g.tensor("biasGradient").v;
    expectSums(*state, dw);
    ++compared;
  }
  EXPECT_GT(compared, 10);
}

TEST(ConvolutionTranspose, GradientIsTheNumericDerivative) {
  forCases(40, [&](Case& c) {
    Random& r = c.random;
    GeometryLimits limits;
    limits.kernel = 3;
    const TransposeCase t = randomTranspose(r, limits);
    const oracle::Conv& conv = t.op.conv;
    c.text = t.text();
    Tensor source = integerTensor(r, 1, t.k.geometry.sourceHeight, t.k.geometry.sourceWidth, t.k.sourceChannels);
    const Tensor gradient =
        integerTensor(r, 1, t.k.geometry.destinationHeight, t.k.geometry.destinationWidth, t.k.destinationChannels);
    const auto data = sourceOf(conv, integerTensor(r, 1, 1, 1, conv.weightCount()).v,
                               integerTensor(r, 1, 1, 1, conv.outputChannels).v);
    auto forward = std::make_shared<MPS::CNNConvolutionTranspose>(cpuDevice(), data);
    test::apply(conv.at, *forward);
    forward->setKernelOffsetX(t.op.kernelOffsetX);
    forward->setKernelOffsetY(t.op.kernelOffsetY);
    const auto src = imageOf(source), g = imageOf(gradient),
               dst = imageOf(Tensor(1, gradient.h, gradient.w, gradient.c));
    const auto loss = [&] {
      runOnCpu([&](const auto& commands) { forward->encode(commands, src, dst); });
      return dot(tensorOf(*dst).v, gradient.v);
    };
    MPS::CNNConvolutionTransposeGradient backward(cpuDevice(), data);
    backward.setDestinationImageAllocator(float32Images());
    const auto state = forward->resultState(src, {}, dst);
    Ref<MPS::Image> result;
    runOnCpu([&](const auto& commands) { result = backward.encode(commands, g, src, state); });
    const Tensor dSource = tensorOf(*result);
    const std::vector<float> dWeights = readFloats(state->gradientForWeights()),
                             dBiases = readFloats(state->gradientForBiases());
    const auto derivative = [&](const std::function<void(double)>& move) {
      move(0.5);
      const double up = loss();
      move(-1);
      const double down = loss();
      move(0.5);
      return up - down;
    };
    const auto moveIn = [&](std::span<float> values, std::size_t i) {
      return [values, &forward, i](double by) {
        values[i] += static_cast<float>(by);
        forward->reloadWeightsAndBiasesFromDataSource();
      };
    };
    for (int i = 0; i < 4; ++i) {
      const std::size_t y = r.size(0, source.h - 1), x = r.size(0, source.w - 1),
                        ch = r.size(0, conv.inputChannels - 1), w = r.size(0, dWeights.size() - 1),
                        b = r.size(0, dBiases.size() - 1);
      EXPECT_EQ(dSource.at(0, y, x, ch), derivative([&](double by) {
                  source.at(0, y, x, conv.at.sourceChannelOffset + ch) += by;
                  writeImage(*src, source, Format::Float32, 0, 0);
                }));
      EXPECT_EQ(static_cast<double>(dWeights[w]), derivative(moveIn(data->weightValues(), w)));
      EXPECT_EQ(static_cast<double>(dBiases[b]), derivative(moveIn(data->biasValues(), b)));
    }
  });
}

// Weights given, replaced by a state on the device, copied with the kernel, exported: always in the source's layout.
TEST(ConvolutionTranspose, ReloadsAndExportsInTheLayoutOfTheSource) {
  forCases(60, [&](Case& c) {
    Random& r = c.random;
    TransposeCase t = randomTranspose(r);
    if (r.chance(0.4)) addRandomBatchNorm(r, t.op.conv);
    const oracle::Conv& conv = t.op.conv;
    c.text = t.text();
    const Tensor source = t.k.randomSource(r, 1), before = t.k.randomDestination(r, 1);
    const std::vector<double> first = t.k.randomWeights(r), firstBias = t.k.randomBiases(r),
                              second = t.k.randomWeights(r), secondBias = t.k.randomBiases(r);
    auto kernel = transposeOf(t.op, first, firstBias);
    auto copied = std::dynamic_pointer_cast<MPS::CNNConvolutionTranspose>(kernel->copy(nullptr));
    ASSERT_TRUE(copied);
    auto state = std::make_shared<MPS::CNNConvolutionWeightsAndBiasesState>(cpuDevice(), descriptorOf(conv));
    const auto fill = [](const Ref<MTL::Buffer>& buffer, const std::vector<double>& values) {
      std::copy(values.begin(), values.end(), static_cast<float*>(buffer->contents()));
    };
    fill(state->weights(), second);
    fill(state->biases(), secondBias);
    const auto src = imageOf(source), a = imageOf(before), b = imageOf(before), d = imageOf(before);
    Ref<MPS::CNNConvolutionWeightsAndBiasesState> exported;
    runOnCpu([&](const auto& commands) {
      kernel->encode(commands, src, a);
      kernel->reloadWeightsAndBiases(commands, state);
      kernel->encode(commands, src, b);
      copied->encode(commands, src, d);
      exported = kernel->exportWeightsAndBiases(commands, false);
    });
    const oracle::Result old = oracle::convTransposeForward(t.op, source, first, firstBias, before),
                         now = oracle::convTransposeForward(t.op, source, second, secondBias, before);
    EXPECT_TRUE(matches(tensorOf(*a), old, Format::Float32, oracle::Conv::tolerance()));
    EXPECT_TRUE(matches(tensorOf(*b), now, Format::Float32, oracle::Conv::tolerance()));
    EXPECT_TRUE(matches(tensorOf(*d), old, Format::Float32, oracle::Conv::tolerance())) << "the copy stands alone";
    EXPECT_EQ(readFloats(exported->weights()), toFloat(second));
    EXPECT_EQ(readFloats(exported->biases()), toFloat(secondBias));
  });
}

TEST(ConvolutionTranspose, LowersReadCountsAndTellsWhatItIs) {
  oracle::Conv conv;
  conv.inputChannels = 2, conv.outputChannels = 3, conv.strideX = 2;
  ConvTranspose t;
  t.conv = conv;
  auto kernel = transposeOf(t, std::vector<double>(conv.weightCount(), 1), {});
  EXPECT_TRUE(kernel->isBackwards());
  EXPECT_TRUE(kernel->isResultStateReusedAcrossBatch());
  EXPECT_EQ(kernel->inputFeatureChannels(), 2u);
  EXPECT_EQ(kernel->outputFeatureChannels(), 3u);
  EXPECT_EQ(kernel->groups(), 1u);
  EXPECT_EQ(kernel->strideInPixelsX(), 2u);
  EXPECT_TRUE(kernel->dataSource());
  EXPECT_EQ(kernel->accumulatorPrecisionOption(), MPS::NNConvolutionAccumulatorPrecisionOption::Float);
  oracle::Conv forwardConv;
  forwardConv.inputChannels = 3, forwardConv.outputChannels = 2;
  auto forward = convolution(forwardConv, std::vector<double>(forwardConv.weightCount(), 1), {});
  const auto image = imageOf(Tensor(1, 4, 4, 3, 1.0)), small = imageOf(Tensor(1, 4, 4, 2, 1.0)),
             dst = imageOf(Tensor(1, 4, 4, 3));
  runOnCpu([&](const auto& commands) {
    const auto state = forward->temporaryResultState(commands, image, {}, nullptr);
    state->setReadCount(4);
    const auto result = std::dynamic_pointer_cast<MPS::TemporaryImage>(kernel->encode(commands, small, state));
    ASSERT_TRUE(result);
    result->setReadCount(0);
    EXPECT_EQ(state->readCount(), 3u);
    kernel->encode(commands, small, state, dst);
    EXPECT_EQ(state->readCount(), 2u);
    const auto own = kernel->resultState(small, {state}, dst);
    EXPECT_EQ(state->readCount(), 2u);
    kernel->encode(commands, small, own, dst);
    EXPECT_EQ(state->readCount(), 1u) << "through the state of the transposed convolution";
    kernel->encodeBatch(commands, {small}, MPS::CNNConvolutionGradientStateBatch{state}, {dst});
    EXPECT_EQ(state->readCount(), 0u);
    expectError([&] { kernel->encode(commands, small, state, dst); },
                {"CNNConvolutionTranspose.encode: the state", "is used up: its readCount is 0"});
  });
}

TEST(ConvolutionTranspose, ComputesWhatTheOptionAsksFor) {
  oracle::Conv conv;
  conv.inputChannels = 2, conv.outputChannels = 3;
  ConvTranspose t;
  t.conv = conv;
  const std::vector<double> weights(conv.weightCount(), 1);
  auto forward = transposeOf(t, weights, {});
  MPS::CNNConvolutionTransposeGradient backward(cpuDevice(), sourceOf(conv, weights, {}));
  EXPECT_EQ(backward.gradientOption(), Option::All);
  EXPECT_EQ(backward.sourceGradientFeatureChannels(), 3u);
  EXPECT_EQ(backward.sourceImageFeatureChannels(), 2u);
  EXPECT_EQ(backward.groups(), 1u);
  const Tensor source(1, 3, 3, 2, 1.0), gradient(1, 3, 3, 3, 1.0), before(1, 3, 3, 2, 7.0);
  for (const Option option : {Option::GradientWithData, Option::GradientWithWeightsAndBias}) {
    backward.setGradientOption(option);
    const auto src = imageOf(source), dst = imageOf(before);
    const auto state = forward->resultState(src, {}, nullptr);
    runOnCpu([&](const auto& commands) { backward.encode(commands, imageOf(gradient), src, state, dst); });
    EXPECT_EQ(tensorOf(*dst).v == before.v, option == Option::GradientWithWeightsAndBias);
    EXPECT_EQ(readFloats(state->gradientForBiases())[0], option == Option::GradientWithData ? 0.f : 9.f);
  }
  expectError([&] { backward.setGradientOption(static_cast<Option>(7)); }, {"7 is not a CNNConvolutionGradientOption"});
}

TEST(ConvolutionTranspose, RefusesWhatItCannotDo) {
  oracle::Conv conv;
  conv.inputChannels = 4, conv.outputChannels = 4;
  const std::vector<double> weights(conv.weightCount());
  auto half = std::make_shared<AnySource>();
  half->type = MPS::DataType::Float16;
  half->halves = {0};
  expectError([&] { MPS::CNNConvolutionTranspose(cpuDevice(), half); },
              {"CNNConvolutionTranspose \"layer\": the data source's dataType() is Float16",
               "a transposed convolution takes Float32 weights only"});
  oracle::Conv sub = conv;
  sub.subPixelScale = 2;
  expectError([&] { MPS::CNNConvolutionTranspose(cpuDevice(), sourceOf(sub, weights, {})); },
              {"subPixelScaleFactor is 2; a transposed convolution enlarges by its stride"});
  oracle::Conv active = conv;
  active.neuron = oracle::Neuron::plain(oracle::NeuronType::ReLU);
  expectError([&] { MPS::CNNConvolutionTransposeGradient(cpuDevice(), sourceOf(active, weights, {})); },
              {"CNNConvolutionTransposeGradient: the descriptor has a fused neuron"});
  MPS::CNNConvolutionTransposeGradient backward(cpuDevice(), sourceOf(conv, weights, {}));
  auto other = convolution(conv, weights, {});
  const auto image = imageOf(Tensor(1, 3, 3, 4));
  const auto commands = cpuQueue()->commandBuffer();
  const Ref<MPS::State> foreign = other->resultState(image, {}, nullptr);
  expectError([&] { backward.encode(commands, image, image, foreign); },
              {"the state is not one of a transposed convolution"});
  ConvTranspose t;
  t.conv = conv;
  auto forward = transposeOf(t, weights, {});
  const auto states = other->resultStateBatch({image, image}, {}, {});
  expectError([&] { forward->encodeBatch(commands, {image}, states, {imageOf(Tensor(1, 3, 3, 4))}); },
              {"2 convolution states for 1 images"});
  forward->setKernelOffsetX(std::ptrdiff_t{1} << 40);
  expectError([&] { forward->encode(commands, image, imageOf(Tensor(1, 3, 3, 4))); },
              {"an offset of 1099511627776 pixels lies beyond any image"});
}

}  // namespace
}  // namespace kovar::test
