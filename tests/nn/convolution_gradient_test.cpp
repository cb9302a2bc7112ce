// CNNConvolutionGradient: data, weight and bias gradients against the oracle, set by hand and from the state.

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <functional>
#include <span>

#include "convolution_support.hpp"
#include "kovar/MPS/Core/CommandBuffer.hpp"
#include "support/finite_difference.hpp"

namespace kovar::test {
namespace {

using Option = MPS::CNNConvolutionGradientOption;

/// A convolution, what it reads, and a gradient of its result.
struct GradientCase {
  ConvolutionCase k;
  Arrangement arrangement = Arrangement::Array;
  std::size_t images = 1, gradientChannels = 1;
  Tensor source, gradient,
      clipped;  ///< clipped: the gradient inside the forward clip rectangle, the convolution's channels
  std::vector<double> weights;
  Format sourceFormat = Format::Float32, gradientFormat = Format::Float32, resultFormat = Format::Float32;
  std::size_t resultChannelOffset = 0;
};

GradientCase randomGradientCase(Random& r) {
  GradientCase g;
  g.k = randomConvolution(r);
  oracle::Conv& conv = g.k.conv;
  g.arrangement = randomArrangement(r);
  g.images = r.size(1, 3);
  g.sourceFormat = r.pick({Format::Float32, Format::Float32, Format::Float16});
  g.gradientFormat = r.pick({Format::Float32, Format::Float32, Format::Float16});
  g.resultFormat = r.pick({Format::Float32, Format::Float32, Format::Float16});
  g.resultChannelOffset = r.pick<std::size_t>({0, 0, 4});
  g.source = g.k.randomSource(r, g.images, g.sourceFormat);
  g.gradient = g.k.randomDestination(r, g.images, g.gradientFormat);
  g.weights = g.k.randomWeights(r);
  const oracle::Region region = oracle::effectiveRegion(conv.at.clip, g.gradient, 0, g.images);
  g.clipped = oracle::slice(g.gradient, static_cast<std::size_t>(region.y), static_cast<std::size_t>(region.x),
                            static_cast<std::size_t>(region.h), static_cast<std::size_t>(region.w),
                            conv.at.destinationChannelOffset, conv.outputChannels);
  return g;
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

TEST(ConvolutionGradient, FromTheStateAgreesWithTheOracle) {
  forCases(250, [&](Case& c) {
    GradientCase g = randomGradientCase(c.random);
    oracle::Conv& conv = g.k.conv;
    c.text = g.k.text() + " " + nameOf(g.arrangement);
    auto forward = convolution(conv, g.weights, {});
    auto backward = std::make_shared<MPS::CNNConvolutionGradient>(cpuDevice(), sourceOf(conv, g.weights, {}));
    test::apply(conv.at, *forward);
    backward->setDestinationFeatureChannelOffset(g.resultChannelOffset);

    const auto src = imagesOf(g.source, g.sourceFormat, g.arrangement),
               gradient = imagesOf(g.gradient, g.gradientFormat, g.arrangement);
    const Tensor none(g.images, g.source.h, g.source.w, g.resultChannelOffset + conv.inputChannels);
    backward->setDestinationImageAllocator(MPS::Image::defaultAllocator());
    const auto forwardDst = imagesOf(g.gradient, Format::Float32, g.arrangement);
    MPS::StateBatch states;
    MPS::ImageBatch result;
    runOnCpu([&](const auto& commands) {
      if (g.arrangement == Arrangement::Array) {
        states = {forward->resultState(src[0], {}, forwardDst[0])};
        forward->encode(commands, src[0], states[0], forwardDst[0]);
        result = {backward->encode(commands, gradient[0], src[0], states[0])};
      } else {
        states = forward->resultStateBatch(src, {}, forwardDst);
        forward->encodeBatch(commands, src, states, forwardDst);
        result = backward->encodeBatch(commands, gradient, src, states);
      }
    });
    const auto& state = dynamic_cast<const MPS::CNNConvolutionGradientState&>(*states[0]);
    ASSERT_EQ(tensorOf(result).shape(), none.shape());
    const oracle::Result wanted = oracle::convDataGradient(conv, g.weights, g.clipped, none, 0, g.resultChannelOffset);
    EXPECT_TRUE(matches(tensorOf(result), wanted, Format::Float16, oracle::Conv::tolerance()));
    expectSums(state, oracle::convWeightGradient(conv, g.source, g.clipped));

    // The documented numbers are left behind.
    const auto kernelOffset = [](long offset, long extent) { return (extent % 2 == 0 ? 1 : 0) - offset; };
    EXPECT_EQ(backward->kernelOffsetX(), kernelOffset(conv.at.offset.x, conv.extentX()));
    EXPECT_EQ(backward->kernelOffsetY(), kernelOffset(conv.at.offset.y, conv.extentY()));
    EXPECT_EQ(backward->primaryOffset().x, 0);
    EXPECT_EQ(backward->secondaryOffset().x, conv.at.offset.x - conv.extentX() / 2);
    EXPECT_EQ(backward->secondaryOffset().y, conv.at.offset.y - conv.extentY() / 2);
  });
}

TEST(ConvolutionGradient, SetByHandAgreesWithTheOracle) {
  forCases(250, [&](Case& c) {
    Random& r = c.random;
    GradientCase g = randomGradientCase(r);
    oracle::Conv& conv = g.k.conv;
    c.text = g.k.text() + " " + nameOf(g.arrangement);
    // The gradient image holds the forward clip rectangle and nothing else.
    const Tensor before = randomTensor(r, g.images, g.source.h, g.source.w, g.resultChannelOffset + conv.inputChannels,
                                       oracle::Conv::domain(), g.resultFormat);
    auto forward = convolution(conv, g.weights, {});
    MPS::CNNConvolutionGradient backward(cpuDevice(), sourceOf(conv, g.weights, {}));
    backward.setKernelOffsetX((conv.extentX() % 2 == 0 ? 1 : 0) - conv.at.offset.x);
    backward.setKernelOffsetY((conv.extentY() % 2 == 0 ? 1 : 0) - conv.at.offset.y);
    backward.setSecondaryOffset({conv.at.offset.x - conv.extentX() / 2, conv.at.offset.y - conv.extentY() / 2, 0});
    backward.setSecondaryEdgeMode(static_cast<MPS::ImageEdgeMode>(conv.at.edge));
    backward.setSecondarySourceFeatureChannelOffset(conv.at.sourceChannelOffset);
    backward.setDestinationFeatureChannelOffset(g.resultChannelOffset);
    const auto src = imagesOf(g.source, g.sourceFormat, g.arrangement),
               gradient = imagesOf(g.clipped, g.gradientFormat, g.arrangement),
               result = imagesOf(before, g.resultFormat, g.arrangement);
    MPS::StateBatch states;
    runOnCpu([&](const auto& commands) {
      if (g.arrangement == Arrangement::Array)
        states = {forward->resultState(src[0], {}, nullptr)};
      else
        states = forward->resultStateBatch(src, {}, {});
      encodeAs(g.arrangement, backward, commands, gradient, src, states, result);
    });
    const oracle::Result wanted =
        oracle::convDataGradient(conv, g.weights, g.clipped, before, 0, g.resultChannelOffset);
    EXPECT_TRUE(matches(tensorOf(result), wanted, g.resultFormat, oracle::Conv::tolerance()));
    expectSums(dynamic_cast<const MPS::CNNConvolutionGradientState&>(*states[0]),
               oracle::convWeightGradient(conv, g.source, g.clipped));
  });
}

// Offsets, clip rectangle and result size as no forward kernel would set them.
TEST(ConvolutionGradient, AnyManualGeometryAgreesWithTheOracle) {
  forCases(200, [&](Case& c) {
    Random& r = c.random;
    GeometryLimits limits;
    limits.clampEdge = false;
    ConvolutionCase k = randomConvolution(r, limits);
    oracle::ConvManualGradient how;
    how.primaryOffset = {r.integer(-2, 2), r.integer(-2, 2), 0};
    how.kernelOffsetX = r.integer(-4, 4);
    how.kernelOffsetY = r.integer(-4, 4);
    how.gradientChannelOffset = r.pick<std::size_t>({0, 4});
    how.destinationChannelOffset = r.pick<std::size_t>({0, 4});
    const Tensor gradient = randomTensor(r, 2, r.size(1, 6), r.size(1, 6),
                                         how.gradientChannelOffset + k.conv.outputChannels, oracle::Conv::domain());
    const Tensor source = randomTensor(r, 2, 3, 3, k.conv.inputChannels, oracle::Conv::domain());
    const Tensor before = randomTensor(r, 2, r.size(1, 9), r.size(1, 9),
                                       how.destinationChannelOffset + k.conv.inputChannels, oracle::Conv::domain());
    if (r.chance(0.5)) randomClip(r, how.clip, before.w, before.h);
    const std::vector<double> weights = k.randomWeights(r);
    c.text = k.text() + " gradient " + gradient.shape() + " result " + before.shape();
    MPS::CNNConvolutionGradient backward(cpuDevice(), sourceOf(k.conv, weights, {}));
    backward.setGradientOption(Option::GradientWithData);
    backward.setPrimaryOffset(publicOffset(how.primaryOffset));
    backward.setKernelOffsetX(how.kernelOffsetX);
    backward.setKernelOffsetY(how.kernelOffsetY);
    backward.setClipRect(publicClip(how.clip));
    backward.setPrimarySourceFeatureChannelOffset(how.gradientChannelOffset);
    backward.setDestinationFeatureChannelOffset(how.destinationChannelOffset);
    const auto g = imageOf(gradient), s = imageOf(source), d = imageOf(before);
    runOnCpu([&](const auto& commands) { backward.encode(commands, g, s, nullptr, d); });
    EXPECT_TRUE(matches(tensorOf(*d), oracle::convDataGradientManual(k.conv, how, weights, gradient, before),
                        Format::Float32, oracle::Conv::tolerance()));
  });
}

// The loss sum(forward(source) * gradient) by the library itself, source, weights and biases moved one by one. Whole
// numbers and steps of 1/2 keep float32 exact: the loss is linear in each value.
TEST(ConvolutionGradient, IsTheNumericDerivative) {
  forCases(60, [&](Case& c) {
    Random& r = c.random;
    GeometryLimits limits;
    limits.source = 5;
    limits.kernel = 3;
    const ConvolutionCase k = randomConvolution(r, limits);
    c.text = k.text();
    const oracle::Conv& conv = k.conv;
    const std::size_t n = r.size(1, 2);
    Tensor source = integerTensor(r, n, k.geometry.sourceHeight, k.geometry.sourceWidth, k.sourceChannels);
    const Tensor gradient =
        integerTensor(r, n, k.geometry.destinationHeight, k.geometry.destinationWidth, k.destinationChannels);
    const auto data = sourceOf(conv, integerTensor(r, 1, 1, 1, conv.weightCount()).v,
                               integerTensor(r, 1, 1, 1, conv.outputChannels).v);
    auto forward = std::make_shared<MPS::CNNConvolution>(cpuDevice(), data);
    test::apply(conv.at, *forward);
    const auto src = imageOf(source), g = imageOf(gradient),
               dst = imageOf(Tensor(n, gradient.h, gradient.w, gradient.c));
    const auto loss = [&] {
      runOnCpu([&](const auto& commands) { forward->encode(commands, src, dst); });
      return dot(tensorOf(*dst).v, gradient.v);
    };
    MPS::CNNConvolutionGradient backward(cpuDevice(), data);
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
      const std::size_t image = r.size(0, n - 1), y = r.size(0, source.h - 1), x = r.size(0, source.w - 1),
                        ch = r.size(0, conv.inputChannels - 1), w = r.size(0, dWeights.size() - 1),
                        b = r.size(0, dBiases.size() - 1);
      EXPECT_EQ(dSource.at(image, y, x, ch), derivative([&](double by) {
                  source.at(image, y, x, conv.at.sourceChannelOffset + ch) += by;
                  writeImage(*src, source, Format::Float32, image, image);
                }));
      EXPECT_EQ(static_cast<double>(dWeights[w]), derivative(moveIn(data->weightValues(), w)));
      EXPECT_EQ(static_cast<double>(dBiases[b]), derivative(moveIn(data->biasValues(), b)));
    }
  });
}

TEST(ConvolutionGradient, AgreesWithPyTorch) {
  int compared = 0;
  for (const GoldenCase& g : goldenConvolutions()) {
    SCOPED_TRACE(g.name);
    const oracle::Conv conv = goldenConvolution(g);
    const Tensor &source = g.tensor("source"), &gradient = g.tensor("gradient");
    const std::vector<double>& weights = g.tensor("weights").v;
    auto forward = convolution(conv, weights, {});
    test::apply(conv.at, *forward);
    MPS::CNNConvolutionGradient backward(cpuDevice(), sourceOf(conv, weights, {}));
    const auto src = imageOf(source), grad = imageOf(gradient), result = imageOf(source);
    const auto state = forward->resultState(src, {}, grad);
    runOnCpu([&](const auto& commands) {
      backward.destinationImageDescriptor({grad, src}, {state});
      backward.encode(commands, grad, src, state, result);
    });
    const Tensor none(source.n, source.h, source.w, source.c);
    const oracle::Result scale = oracle::convDataGradient(conv, weights, gradient, none);
    EXPECT_TRUE(matches(tensorOf(*result), {g.tensor("sourceGradient"), scale.magnitude}, Format::Float32,
                        oracle::Conv::tolerance()));
    oracle::WeightGradient dw = oracle::convWeightGradient(conv, source, gradient);
    dw.weights = g.tensor("weightGradient").v;
    dw.bias = g.tensor("biasGradient").v;
    expectSums(*state, dw);
    ++compared;
  }
  EXPECT_GT(compared, 3);
}

// The same numbers where forward result and source are parts of larger images: a clip rectangle, channel offsets.
TEST(ConvolutionGradient, AgreesWithPyTorchInsideLargerImages) {
  Random r(suiteSeed());
  for (const GoldenCase& g : goldenConvolutions()) {
    SCOPED_TRACE(g.name);
    oracle::Conv conv = goldenConvolution(g);
    const Tensor &source = g.tensor("source"), &gradient = g.tensor("gradient");
    const std::vector<double>& weights = g.tensor("weights").v;
    const Tensor wideSource = within(r, source, 0, 0, 0, 0, 4, 3), wideGradient = within(r, gradient, 1, 2, 2, 1, 8, 2);
    auto forward = convolution(conv, weights, {});
    test::apply(conv.at, *forward);
    forward->setSourceFeatureChannelOffset(4);
    forward->setDestinationFeatureChannelOffset(8);
    forward->setClipRect({{2, 1, 0}, {gradient.w, gradient.h, source.n}});
    MPS::CNNConvolutionGradient backward(cpuDevice(), sourceOf(conv, weights, {}));
    backward.setDestinationImageAllocator(float32Images());
    const auto src = imageOf(wideSource), grad = imageOf(wideGradient);
    const auto state = forward->resultState(src, {}, grad);
    Ref<MPS::Image> result;
    runOnCpu([&](const auto& commands) { result = backward.encode(commands, grad, src, state); });
    const oracle::Result scale =
        oracle::convDataGradient(conv, weights, gradient, Tensor(source.n, source.h, source.w, source.c));
    EXPECT_TRUE(matches(tensorOf(*result), {g.tensor("sourceGradient"), scale.magnitude}, Format::Float32,
                        oracle::Conv::tolerance()));
    oracle::WeightGradient dw = oracle::convWeightGradient(conv, source, gradient);
    dw.weights = g.tensor("weightGradient").v;
    dw.bias = g.tensor("biasGradient").v;
    expectSums(*state, dw);
  }
}

// --- options, sums, read counts, predicates
// -----------------------------------------------------------------------------

struct Small {
  oracle::Conv conv;
  Tensor source, gradient;
  std::vector<double> weights;
  Ref<MPS::CNNConvolution> forward;
  Ref<MPS::CNNConvolutionGradient> backward;
  Ref<MPS::Image> src, grad, dst;

  Small() {
    Random r(11);
    conv.inputChannels = 3, conv.outputChannels = 5;
    source = integerTensor(r, 1, 5, 6, 3);
    gradient = integerTensor(r, 1, 5, 6, 5);
    weights = integerTensor(r, 1, 1, 1, conv.weightCount()).v;
    forward = convolution(conv, weights, {});
    backward = std::make_shared<MPS::CNNConvolutionGradient>(cpuDevice(), sourceOf(conv, weights, {}));
    src = imageOf(source);
    grad = imageOf(gradient);
    dst = imageOf(Tensor(1, 5, 6, 3, 77.0));
  }
  Ref<MPS::CNNConvolutionGradientState> state() const { return forward->resultState(src, {}, grad); }
  void configure(const Ref<MPS::State>& s) const { backward->destinationImageDescriptor({grad, src}, {s}); }
  oracle::WeightGradient sums() const { return oracle::convWeightGradient(conv, source, gradient); }
};

TEST(ConvolutionGradient, ComputesWhatTheOptionAsksFor) {
  const Small k;
  const auto state = k.state();
  k.configure(state);
  k.backward->setGradientOption(Option::GradientWithWeightsAndBias);
  runOnCpu([&](const auto& commands) { k.backward->encode(commands, k.grad, k.src, state, k.dst); });
  for (double v : tensorOf(*k.dst).v) ASSERT_EQ(v, 77.0) << "the image must stay as it was";
  expectSums(*state, k.sums());

  const auto untouched = k.state();
  k.backward->setGradientOption(Option::GradientWithData);
  runOnCpu([&](const auto& commands) { k.backward->encode(commands, k.grad, k.src, untouched, k.dst); });
  for (float v : readFloats(untouched->gradientForWeights())) ASSERT_EQ(v, 0.f);
  const oracle::Result wanted = oracle::convDataGradient(k.conv, k.weights, k.gradient, Tensor(1, 5, 6, 3));
  EXPECT_TRUE(matches(tensorOf(*k.dst), wanted, Format::Float32, oracle::Conv::tolerance()));
  expectError([&] { k.backward->setGradientOption(static_cast<Option>(0)); },
              {"gradientOption: 0 is not a CNNConvolutionGradientOption"});

  // Weights only, into separate images of a batch: nothing is scattered into them.
  k.backward->setGradientOption(Option::GradientWithWeightsAndBias);
  const auto batchState = k.state();
  const auto grads = imagesOf(k.gradient, Format::Float32, Arrangement::Separate),
             sources = imagesOf(k.source, Format::Float32, Arrangement::Separate);
  MPS::ImageBatch g2{grads[0], k.grad}, s2{sources[0], k.src},
      d2{imageOf(Tensor(1, 5, 6, 3, 5.0)), imageOf(Tensor(1, 5, 6, 3, 5.0))};
  runOnCpu([&](const auto& commands) { k.backward->encodeBatch(commands, g2, s2, {batchState, batchState}, d2); });
  for (double v : tensorOf(d2).v) ASSERT_EQ(v, 5.0);
  expectSums(*batchState, k.sums(), 2);
}

TEST(ConvolutionGradient, LaterEncodesAddToTheSums) {
  const Small k;
  const auto state = k.state();
  k.configure(state);
  runOnCpu([&](const auto& commands) {
    k.backward->encode(commands, k.grad, k.src, state, k.dst);
    k.backward->encode(commands, k.grad, k.src, state, k.dst);
  });
  runOnCpu([&](const auto& commands) { k.backward->encode(commands, k.grad, k.src, state, k.dst); });
  expectSums(*state, k.sums(), 3);
}

TEST(ConvolutionGradient, LeavesTheReadCountOfAStateItWritesAlone) {
  const Small k;
  runOnCpu([&](const auto& commands) {
    const auto state = k.forward->temporaryResultState(commands, k.src, {}, k.grad);
    ASSERT_TRUE(state->isTemporary());
    const auto temporaries = temporariesOf(commands, {k.grad, k.src});
    k.backward->encode(commands, temporaries[0], temporaries[1], state);
    EXPECT_EQ(state->readCount(), 1u);
    EXPECT_EQ(readCounts(temporaries), (std::vector<std::size_t>{0, 0}));
    state->setReadCount(0);
    expectError([&] { k.backward->encode(commands, k.grad, k.src, state); },
                {"CNNConvolutionGradientState", "is used up"});
  });
}

TEST(ConvolutionGradient, SkippedWorkLeavesZeros) {
  const Small k;
  for (const std::uint32_t runs : {0u, 1u}) {
    const auto state = k.state();
    k.configure(state);
    const auto flag = std::make_shared<MPS::Predicate>(cpuDevice());
    std::memcpy(flag->predicateBuffer()->contents(), &runs, sizeof(runs));
    runOnCpu([&](const auto& commands) {
      const auto conditional = MPS::CommandBuffer::commandBuffer(commands);
      conditional->setPredicate(flag);
      k.backward->encode(conditional, k.grad, k.src, state, k.dst);
      conditional->setPredicate(nullptr);
      k.backward->encode(conditional, k.grad, k.src, state, k.dst);
    });
    expectSums(*state, k.sums(), 1.0 + runs);
  }
}

TEST(ConvolutionGradient, TellsWhatItIs) {
  const Small k;
  EXPECT_EQ(k.backward->sourceGradientFeatureChannels(), 5u);
  EXPECT_EQ(k.backward->sourceImageFeatureChannels(), 3u);
  EXPECT_EQ(k.backward->groups(), 1u);
  EXPECT_EQ(k.backward->channelMultiplier(), 0u);
  EXPECT_EQ(k.backward->gradientOption(), Option::All);
  EXPECT_FALSE(k.backward->serializeWeightsAndBiases());
  EXPECT_TRUE(k.backward->isBackwards());
  EXPECT_TRUE(k.backward->isStateModified());
  EXPECT_EQ(k.backward->secondaryKernelWidth(), 3u);
  const auto state = k.state();
  EXPECT_EQ(state->gradientForWeights()->length(), 5u * 9 * 3 * 4);
  EXPECT_EQ(state->gradientForBiases()->length(), 5u * 4);
  EXPECT_EQ(state->resourceCount(), 2u);
  EXPECT_EQ(state->sourceWidth(), 6u);
  EXPECT_EQ(state->sourceHeight(), 5u);
  EXPECT_EQ(state->gradientForWeightsLayout(), MPS::CNNConvolutionWeightsLayout::OHWI);
  EXPECT_FALSE(state->isTemporary());
}

TEST(ConvolutionGradient, RefusesWhatItCannotDifferentiate) {
  oracle::Conv conv;
  conv.neuron = oracle::Neuron::plain(oracle::NeuronType::ReLU);
  expectError(
      [&] { MPS::CNNConvolutionGradient(cpuDevice(), sourceOf(conv, std::vector<double>(9), {})); },
      {"CNNConvolutionGradient: the descriptor has a fused neuron", "encode a CNNNeuron after the convolution"});
  conv.neuron = {};
  Random r(3);
  addRandomBatchNorm(r, conv);
  expectError([&] { MPS::CNNConvolutionGradient(cpuDevice(), sourceOf(conv, std::vector<double>(9), {})); },
              {"fused batch normalisation"});

  const Small k;
  const auto commands = cpuQueue()->commandBuffer();
  expectError([&] { k.backward->encode(commands, k.grad, k.src, Ref<MPS::State>()); },
              {"needs the state that the forward kernel"});
  expectError([&] { k.backward->encode(commands, k.grad, k.src, nullptr, k.dst); },
              {"CNNConvolutionGradient.encode: gradientOption asks for weight gradients",
               "set gradientOption to GradientWithData"});
  oracle::Conv other = k.conv;
  other.kernelWidth = 5;
  const auto foreign = convolution(other, std::vector<double>(other.weightCount()), {})->resultState(k.src, {}, k.grad);
  expectError([&] { k.backward->encode(commands, k.grad, k.src, foreign, k.dst); },
              {"the state holds 900 bytes of weight gradients, the kernel's weights are 540"});
  expectError([&] { k.backward->encode(commands, k.src, k.grad, k.state(), k.dst); },
              {"the source gradient gives 3 feature channels, 5 are needed"});
  const auto twoChannels = imageOf(Tensor(1, 5, 6, 2));
  expectError([&] { k.backward->encode(commands, k.grad, twoChannels, k.state(), k.dst); },
              {"the secondary source gives 2 feature channels, 3 are needed"});
  const auto grads = MPS::ImageBatch{k.grad, imageOf(k.gradient)}, sources = MPS::ImageBatch{k.src, imageOf(k.source)};
  expectError(
      [&] {
        k.backward->encodeBatch(commands, grads, sources, {k.state(), k.state()}, {k.dst, imageOf(k.source)});
      },
      {"the states of a batch differ"});
}

}  // namespace
}  // namespace kovar::test
