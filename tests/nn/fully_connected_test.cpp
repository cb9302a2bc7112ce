// CNNFullyConnected and its gradient against the oracle.

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "convolution_support.hpp"

namespace kovar::test {
namespace {

struct LayerCase {
  oracle::Conv conv;
  Arrangement arrangement = Arrangement::Array;
  std::size_t sourceChannels = 1, resultChannels = 1, resultWidth = 1, resultHeight = 1;
  ImageRange images;
  std::string text;

  Tensor source(Random& r, Format f = Format::Float32) const {
    return randomTensor(r, images.source, static_cast<std::size_t>(conv.kernelHeight),
                        static_cast<std::size_t>(conv.kernelWidth), sourceChannels, oracle::Conv::domain(), f);
  }
  Tensor result(Random& r, Format f = Format::Float32) const {
    return randomTensor(r, images.destination, resultHeight, resultWidth, resultChannels, oracle::Conv::domain(), f);
  }
};

LayerCase randomLayer(Random& r, bool imageOffsets) {
  LayerCase l;
  oracle::Conv& c = l.conv;
  c.kernelWidth = r.integer(1, 5);
  c.kernelHeight = r.integer(1, 5);
  c.inputChannels = r.chance(0.4) ? 4 * r.size(1, 3) : r.size(1, 9);  // multiples of 4 lie together, others have gaps
  c.outputChannels = r.size(1, 12);
  if (r.chance(0.3)) {
    c.at.sourceChannelOffset = r.pick<std::size_t>({4, 8});
    c.at.destinationChannelOffset = r.pick<std::size_t>({4, 8});
  }
  c.at.offset = {r.integer(-3, 3), r.integer(-3, 3), 0};  // ignored
  if (r.chance(0.4)) {
    l.resultWidth = r.size(1, 4);
    l.resultHeight = r.size(1, 4);
    c.at.clip.x = r.integer(0, static_cast<long>(l.resultWidth) - 1);
    c.at.clip.y = r.integer(0, static_cast<long>(l.resultHeight) - 1);
    c.at.clip.width = c.at.clip.height = 1;
  }
  l.arrangement = randomArrangement(r);
  const std::size_t n = r.size(1, 3);
  l.images = imageOffsets ? randomImageRange(r, l.arrangement, c.at.offset.z, c.at.clip) : ImageRange{n, n};
  l.sourceChannels = aroundChannels(c.at.sourceChannelOffset, c.inputChannels, r);
  l.resultChannels = aroundChannels(c.at.destinationChannelOffset, c.outputChannels, r);
  l.text = std::string(nameOf(l.arrangement)) + " k" + std::to_string(c.kernelWidth) + "x" +
           std::to_string(c.kernelHeight) + " I" + std::to_string(c.inputChannels) + "/" +
           std::to_string(l.sourceChannels) + " O" + std::to_string(c.outputChannels) + "/" +
           std::to_string(l.resultChannels);
  return l;
}

TEST(FullyConnected, AgreesWithTheOracle) {
  forCases(250, [&](Case& c) {
    Random& r = c.random;
    LayerCase l = randomLayer(r, true);
    addRandomNeuron(r, l.conv);
    if (r.chance(0.2)) addRandomBatchNorm(r, l.conv);
    c.text = l.text;
    const Format sourceFormat = randomFormat(r, oracle::Conv::domain()),
                 resultFormat = r.pick({Format::Float32, Format::Float16});
    const Tensor source = l.source(r, sourceFormat), before = l.result(r, resultFormat);
    const std::vector<double> weights = randomValues(r, l.conv.weightCount(), {-2, 2});
    const std::vector<double> bias =
        r.chance(0.7) ? randomValues(r, l.conv.outputChannels, {-2, 2}) : std::vector<double>();
    auto kernel = std::make_shared<MPS::CNNFullyConnected>(cpuDevice(), sourceOf(l.conv, weights, bias));
    test::apply(l.conv.at, *kernel);
    const auto src = imagesOf(source, sourceFormat, l.arrangement), dst = imagesOf(before, resultFormat, l.arrangement);
    runOnCpu([&](const auto& commands) { encodeAs(l.arrangement, *kernel, commands, src, dst); });
    EXPECT_TRUE(matches(tensorOf(dst), oracle::fullyConnectedForward(l.conv, source, weights, bias, before),
                        resultFormat, oracle::Conv::tolerance()));
  });
}

TEST(FullyConnected, GradientsAgreeWithTheOracle) {
  forCases(250, [&](Case& c) {
    Random& r = c.random;
    const LayerCase l = randomLayer(r, false);
    c.text = l.text;
    const oracle::Conv& conv = l.conv;
    const Tensor source = l.source(r), gradient = l.result(r);
    const std::vector<double> weights = randomValues(r, conv.weightCount(), {-2, 2});
    auto data = sourceOf(conv, weights, {});
    auto forward = std::make_shared<MPS::CNNFullyConnected>(cpuDevice(), data);
    auto backward = std::make_shared<MPS::CNNFullyConnectedGradient>(cpuDevice(), data);
    test::apply(conv.at, *forward);
    const bool automatic = r.chance(0.5);
    const auto channelOffset = r.pick<std::size_t>({0, 4});
    backward->setDestinationFeatureChannelOffset(channelOffset);
    backward->setDestinationImageAllocator(MPS::Image::defaultAllocator());
    const Tensor pixel =
        oracle::slice(gradient, static_cast<std::size_t>(conv.at.clip.y), static_cast<std::size_t>(conv.at.clip.x), 1,
                      1, conv.at.destinationChannelOffset, conv.outputChannels);
    const Tensor before = automatic ? Tensor(source.n, source.h, source.w, channelOffset + conv.inputChannels)
                                    : randomTensor(r, source.n, source.h, source.w, channelOffset + conv.inputChannels,
                                                   oracle::Conv::domain());
    const auto src = imagesOf(source, Format::Float32, l.arrangement),
               grad = imagesOf(automatic ? gradient : pixel, Format::Float32, l.arrangement),
               forwardDst = imagesOf(gradient, Format::Float32, l.arrangement);
    MPS::ImageBatch dst = imagesOf(before, Format::Float32, l.arrangement);
    MPS::StateBatch states;
    runOnCpu([&](const auto& commands) {
      if (l.arrangement == Arrangement::Array)
        states = {forward->resultState(src[0], {}, forwardDst[0])};
      else
        states = forward->resultStateBatch(src, {}, forwardDst);
      encodeAs(l.arrangement, *forward, commands, src, forwardDst, states);
      if (!automatic) {
        backward->setSecondarySourceFeatureChannelOffset(conv.at.sourceChannelOffset);
        encodeAs(l.arrangement, *backward, commands, grad, src, states, dst);
      } else if (l.arrangement == Arrangement::Array) {
        dst = {backward->encode(commands, grad[0], src[0], states[0])};
      } else {
        dst = backward->encodeBatch(commands, grad, src, states);
      }
    });
    const oracle::Result wanted = oracle::fullyConnectedDataGradient(conv, weights, pixel, before, 0, channelOffset);
    EXPECT_TRUE(
        matches(tensorOf(dst), wanted, automatic ? Format::Float16 : Format::Float32, oracle::Conv::tolerance()));
    const oracle::WeightGradient sums = oracle::fullyConnectedWeightGradient(conv, source, pixel);
    const auto& state = dynamic_cast<const MPS::CNNConvolutionGradientState&>(*states[0]);
    Compare how;
    how.tolerance = oracle::Conv::tolerance();
    EXPECT_TRUE(compare(readFloats(state.gradientForWeights()), sums.weights, sums.weightsMagnitude, how));
    EXPECT_TRUE(compare(readFloats(state.gradientForBiases()), sums.bias, sums.biasMagnitude, how));
  });
}

// Source, weights and biases moved one by one through the library's own forward kernel; whole numbers stay exact.
TEST(FullyConnected, GradientIsTheNumericDerivative) {
  forCases(40, [&](Case& c) {
    Random& r = c.random;
    const LayerCase l = randomLayer(r, false);
    c.text = l.text;
    const oracle::Conv& conv = l.conv;
    Tensor source = l.source(r), gradient = l.result(r);
    for (Tensor* t : {&source, &gradient})
      for (double& v : t->v) v = std::round(v);
    const auto data = sourceOf(conv, integerTensor(r, 1, 1, 1, conv.weightCount()).v,
                               integerTensor(r, 1, 1, 1, conv.outputChannels).v);
    auto forward = std::make_shared<MPS::CNNFullyConnected>(cpuDevice(), data);
    test::apply(conv.at, *forward);
    MPS::CNNFullyConnectedGradient backward(cpuDevice(), data);
    backward.setDestinationImageAllocator(float32Images());
    const auto src = imageOf(source), g = imageOf(gradient),
               dst = imageOf(Tensor(gradient.n, gradient.h, gradient.w, gradient.c));
    const auto state = forward->resultState(src, {}, dst);
    Ref<MPS::Image> result;
    runOnCpu([&](const auto& commands) { result = backward.encode(commands, g, src, state); });
    const auto derivative = [&](const std::function<void(double)>& move) {
      double sides[2];
      for (double& side : sides) {
        move(&side == sides ? 0.5 : -1);
        runOnCpu([&](const auto& commands) { forward->encode(commands, src, dst); });
        side = 0;
        const Tensor y = tensorOf(*dst);
        for (std::size_t i = 0; i < y.size(); ++i) side += y.v[i] * gradient.v[i];
      }
      move(0.5);
      return sides[0] - sides[1];
    };
    const Tensor dSource = tensorOf(*result);
    const std::vector<float> dWeights = readFloats(state->gradientForWeights()),
                             dBiases = readFloats(state->gradientForBiases());
    for (int i = 0; i < 4; ++i) {
      const std::size_t n = r.size(0, source.n - 1), y = r.size(0, source.h - 1), x = r.size(0, source.w - 1),
                        ch = r.size(0, conv.inputChannels - 1), w = r.size(0, dWeights.size() - 1),
                        b = r.size(0, dBiases.size() - 1);
      EXPECT_EQ(dSource.at(n, y, x, ch), derivative([&](double by) {
                  source.at(n, y, x, conv.at.sourceChannelOffset + ch) += by;
                  writeImage(*src, source, Format::Float32, n, n);
                }));
      EXPECT_EQ(static_cast<double>(dWeights[w]), derivative([&](double by) {
                  data->weightValues()[w] += static_cast<float>(by);
                  forward->reloadWeightsAndBiasesFromDataSource();
                }));
      EXPECT_EQ(static_cast<double>(dBiases[b]), derivative([&](double by) {
                  data->biasValues()[b] += static_cast<float>(by);
                  forward->reloadWeightsAndBiasesFromDataSource();
                }));
    }
  });
}

TEST(FullyConnected, WritesPartOfTheGradientWhereClipped) {
  Random r(3);
  oracle::Conv conv;
  conv.kernelWidth = 3, conv.kernelHeight = 2, conv.inputChannels = 4, conv.outputChannels = 5;
  const Tensor gradient = integerTensor(r, 1, 1, 1, 5), before = integerTensor(r, 1, 4, 4, 4);
  const std::vector<double> weights = integerTensor(r, 1, 1, 1, conv.weightCount()).v;
  const Tensor whole = oracle::fullyConnectedDataGradient(conv, weights, gradient, Tensor(1, 2, 3, 4)).value;
  MPS::CNNFullyConnectedGradient backward(cpuDevice(), sourceOf(conv, weights, {}));
  backward.setGradientOption(MPS::CNNConvolutionGradientOption::GradientWithData);
  backward.setClipRect({{1, 1, 0}, {3, 2, 1}});
  const auto g = imageOf(gradient), s = imageOf(Tensor(1, 2, 3, 4)), d = imageOf(before);
  runOnCpu([&](const auto& commands) { backward.encode(commands, g, s, nullptr, d); });
  const Tensor after = tensorOf(*d);
  for (std::size_t y = 0; y < 4; ++y)
    for (std::size_t x = 0; x < 4; ++x)
      for (std::size_t c = 0; c < 4; ++c) {
        const bool written = x >= 1 && (y == 1 || y == 2);
        const double wanted = !written ? before.at(0, y, x, c) : y < 2 && x < 3 ? whole.at(0, y, x, c) : 0;
        EXPECT_EQ(after.at(0, y, x, c), wanted) << y << " " << x << " " << c;
      }
}

TEST(FullyConnected, AddsToTheSumsAndKeepsOptions) {
  oracle::Conv conv;
  conv.kernelWidth = conv.kernelHeight = 1, conv.inputChannels = 2, conv.outputChannels = 1;
  auto data = sourceOf(conv, {1, 2}, {});
  auto forward = std::make_shared<MPS::CNNFullyConnected>(cpuDevice(), data);
  MPS::CNNFullyConnectedGradient backward(cpuDevice(), data);
  backward.setGradientOption(MPS::CNNConvolutionGradientOption::GradientWithWeightsAndBias);
  Tensor source(1, 1, 1, 2), gradient(1, 1, 1, 1, 10.0);
  source.v = {3, 4};
  const auto src = imageOf(source), grad = imageOf(gradient), dst = imageOf(Tensor(1, 1, 1, 2, 9.0));
  const auto state = forward->resultState(src, {}, grad);
  runOnCpu([&](const auto& commands) {
    backward.encode(commands, grad, src, state, dst);
    backward.encode(commands, grad, src, state, dst);
  });
  EXPECT_EQ(readFloats(state->gradientForWeights()), (std::vector<float>{60, 80}));
  EXPECT_EQ(readFloats(state->gradientForBiases()), (std::vector<float>{20}));
  EXPECT_EQ(tensorOf(*dst).v, (std::vector<double>{9, 9}));
  const auto copy = std::dynamic_pointer_cast<MPS::CNNFullyConnectedGradient>(backward.copy(nullptr));
  ASSERT_TRUE(copy);
  EXPECT_EQ(copy->gradientOption(), backward.gradientOption());
  EXPECT_TRUE(std::dynamic_pointer_cast<MPS::CNNFullyConnected>(forward->copy(nullptr)));
}

TEST(FullyConnected, MakesOnePixel) {
  oracle::Conv conv;
  conv.kernelWidth = 7, conv.kernelHeight = 5, conv.inputChannels = 3, conv.outputChannels = 10;
  const std::vector<float> weights(conv.weightCount(), 1.f), biases(10, 0.5f);
  auto kernel = std::make_shared<MPS::CNNFullyConnected>(cpuDevice(), descriptorOf(conv), weights.data(), biases.data(),
                                                         MPS::CNNConvolutionFlags::None);
  EXPECT_EQ(kernel->padding()->paddingMethod() & MPS::NNPaddingMethod::SizeMask, MPS::NNPaddingMethod::SizeValidOnly);
  kernel->setDestinationImageAllocator(MPS::Image::defaultAllocator());
  const auto src = imageOf(Tensor(2, 5, 7, 3, 1.0));
  Ref<MPS::Image> dst;
  runOnCpu([&](const auto& commands) { dst = kernel->encode(commands, src); });
  EXPECT_EQ(tensorOf(*dst).shape(), Tensor(2, 1, 1, 10).shape());
  for (double v : tensorOf(*dst).v) EXPECT_EQ(v, 105.5);
}

TEST(FullyConnected, RefusesWhatIsNotAFullyConnectedLayer) {
  const auto refused = [](const std::function<void(oracle::Conv&)>& change, const std::string& text) {
    oracle::Conv conv;
    conv.inputChannels = conv.outputChannels = 8;
    change(conv);
    auto data = sourceOf(conv, std::vector<double>(conv.weightCount()), {});
    expectError([&] { MPS::CNNFullyConnected(cpuDevice(), data); }, {"CNNFullyConnected: " + text});
    expectError([&] { MPS::CNNFullyConnectedGradient(cpuDevice(), data); }, {"CNNFullyConnectedGradient: " + text});
  };
  refused([](oracle::Conv& c) { c.strideX = 2; },
          "the descriptor's strideInPixelsX is 2; a fully connected layer has 1");
  refused([](oracle::Conv& c) { c.strideY = 3; }, "the descriptor's strideInPixelsY is 3");
  refused([](oracle::Conv& c) { c.groups = 2; }, "the descriptor's groups is 2");
  refused([](oracle::Conv& c) { c.dilationX = 2; }, "the descriptor's dilationRateX is 2");

  auto data = sourceOf(oracle::Conv{}, std::vector<double>(9), {});
  MPS::CNNFullyConnected forward(cpuDevice(), data);
  MPS::CNNFullyConnectedGradient backward(cpuDevice(), data);
  backward.setGradientOption(MPS::CNNConvolutionGradientOption::GradientWithData);
  const auto commands = cpuQueue()->commandBuffer();
  const auto three = imageOf(Tensor(1, 3, 3, 1)), four = imageOf(Tensor(1, 4, 3, 1)), one = imageOf(Tensor(1, 1, 1, 1));
  expectError([&] { forward.encode(commands, four, one); },
              {"CNNFullyConnected.encode: the source is 3 x 4 pixels, the kernel 3 x 3"});
  expectError([&] { forward.encode(commands, three, four); },
              {"the destination is 3 x 4 pixels; a fully connected layer has one result pixel, set clipRect"});
  expectError([&] { backward.encode(commands, three, three, nullptr, imageOf(Tensor(1, 3, 3, 1))); },
              {"the source gradient is 3 x 3 pixels"});
  expectError([&] { backward.encode(commands, one, four, nullptr, three); }, {"the source is 3 x 4 pixels"});
}

}  // namespace
}  // namespace kovar::test
