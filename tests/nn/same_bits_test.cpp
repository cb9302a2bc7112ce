// The same bits for any number of threads, for two runs, and for a batch and its images: a chain of all kernels,
// forward and backward, images large enough to be cut into many pieces.

#include <bit>
#include <cstdint>
#include <cstring>

#include "convolution_support.hpp"
#include "kovar/MPS/Core/MatrixRandom.hpp"
#include "kovar/MPS/NN/CNNDropout.hpp"
#include "kovar/MPS/NN/CNNLoss.hpp"
#include "kovar/MPS/NN/CNNMath.hpp"
#include "kovar/MPS/NN/CNNPooling.hpp"
#include "kovar/MPS/NN/CNNSoftMax.hpp"
#include "kovar/MPS/NN/NNOptimizers.hpp"
#include "kovar/Support/Threads.hpp"

namespace kovar::test {
namespace {

using Bits = std::vector<std::uint32_t>;

void add(Bits& bits, const std::vector<float>& values) {
  for (float v : values) bits.push_back(std::bit_cast<std::uint32_t>(v));
}
void add(Bits& bits, const MPS::ImageBatch& images) { add(bits, toFloat(tensorOf(images).v)); }

/// Sets the number of threads while it lives.
struct Threads {
  explicit Threads(int count) { setThreadCount(count); }
  ~Threads() { setThreadCount(0); }
};

oracle::Conv convOf(std::size_t inputs, std::size_t outputs, long kernel, std::size_t groups = 1, long dilation = 1) {
  oracle::Conv c;
  c.inputChannels = inputs, c.outputChannels = outputs;
  c.kernelWidth = c.kernelHeight = kernel;
  c.dilationX = c.dilationY = dilation;
  c.groups = groups;
  return c;
}

/// A kernel, its gradient, and what went in when it was encoded.
struct Layer {
  Ref<MPS::CNNKernel> forward;
  Ref<MPS::CNNGradientKernel> backward;
  bool secondaryIsResult = false;
  MPS::ImageBatch source = {}, result = {};
  MPS::StateBatch states = {};
};

/// One training step: everything that was computed on the way.
Bits trainingStep(int threads, bool keepAll) {
  const Threads set(threads);
  Random r(2026);
  std::vector<Layer> layers;
  const auto convolutional = [&](const oracle::Conv& c, bool fullyConnected = false) {
    const auto data =
        sourceOf(c, randomValues(r, c.weightCount(), {-0.2, 0.2}), randomValues(r, c.outputChannels, {-1, 1}));
    if (fullyConnected)
      layers.push_back({std::make_shared<MPS::CNNFullyConnected>(cpuDevice(), data),
                        std::make_shared<MPS::CNNFullyConnectedGradient>(cpuDevice(), data)});
    else
      layers.push_back({std::make_shared<MPS::CNNConvolution>(cpuDevice(), data),
                        std::make_shared<MPS::CNNConvolutionGradient>(cpuDevice(), data)});
  };
  const auto neuron = [&](MPS::CNNNeuronType type) {
    const auto d = MPS::NNNeuronDescriptor::cnnNeuronDescriptor(type);
    layers.push_back(
        {std::make_shared<MPS::CNNNeuron>(cpuDevice(), d), std::make_shared<MPS::CNNNeuronGradient>(cpuDevice(), d)});
  };
  convolutional(convOf(6, 16, 3));
  neuron(MPS::CNNNeuronType::GeLU);
  layers.push_back({std::make_shared<MPS::CNNPoolingMax>(cpuDevice(), 2, 2, 2, 2),
                    std::make_shared<MPS::CNNPoolingMaxGradient>(cpuDevice(), 2, 2, 2, 2)});
  layers.push_back({std::make_shared<MPS::CNNDropout>(cpuDevice(), 0.5f, 3, MTL::Size{1, 1, 1}),
                    std::make_shared<MPS::CNNDropoutGradient>(cpuDevice(), 0.5f, 3, MTL::Size{1, 1, 1})});
  convolutional(convOf(16, 24, 5, 2));
  neuron(MPS::CNNNeuronType::TanH);
  convolutional(convOf(24, 12, 3, 1, 2));
  layers.push_back({std::make_shared<MPS::CNNPoolingAverage>(cpuDevice(), 3, 3, 2, 2),
                    std::make_shared<MPS::CNNPoolingAverageGradient>(cpuDevice(), 3, 3, 2, 2)});
  layers.push_back(
      {std::make_shared<MPS::CNNSoftMax>(cpuDevice()), std::make_shared<MPS::CNNSoftMaxGradient>(cpuDevice()), true});
  convolutional(convOf(12, 10, 7), true);
  layers.push_back({std::make_shared<MPS::CNNLogSoftMax>(cpuDevice()),
                    std::make_shared<MPS::CNNLogSoftMaxGradient>(cpuDevice()), true});

  constexpr std::size_t kImages = 6;
  MPS::ImageBatch at = imagesOf(randomTensor(r, kImages, 28, 28, 6, {-1, 1}), Format::Float32, Arrangement::Joined);
  MPS::CNNLossLabelsBatch labels;
  for (std::size_t i = 0; i < kImages; ++i) {
    const std::vector<float> target = toFloat(randomValues(r, 10, {0, 1}));
    labels.push_back(std::make_shared<MPS::CNNLossLabels>(
        cpuDevice(), MPS::CNNLossDataDescriptor::cnnLossDataDescriptor(
                         std::as_bytes(std::span(target)), MPS::DataLayout::HeightxWidthxFeatureChannels, {1, 1, 10})));
  }
  MPS::CNNLoss loss(cpuDevice(), MPS::CNNLossDescriptor::cnnLossDescriptor(MPS::CNNLossType::MeanSquaredError,
                                                                           MPS::CNNReductionType::Mean));
  MPS::CNNAdd sum(cpuDevice());
  for (MPS::CNNKernelBase* k : std::initializer_list<MPS::CNNKernelBase*>{&loss, &sum})
    k->setDestinationImageAllocator(float32Images());
  MPS::ImageBatch gradient, both;
  std::vector<MPS::ImageBatch> gradients;
  std::vector<Ref<MPS::CNNConvolutionWeightsAndBiasesState>> weights;
  std::vector<Ref<MPS::Vector>> moments;
  runOnCpu([&](const auto& buffer) {
    for (Layer& l : layers) {
      if (keepAll || l.secondaryIsResult || &l == &layers.back())
        l.forward->setDestinationImageAllocator(float32Images());
      l.source = at;
      l.result = at = l.forward->encodeBatch(buffer, at, &l.states, false);
      MPS::imageBatchIncrementReadCount(at, 4);  // what comes next, gradients, the sum
    }
    both = sum.encodeBatch(buffer, layers[1].result, layers[1].result);
    gradient = loss.encodeBatch(buffer, at, labels);
    for (std::size_t i = layers.size(); i-- > 0;) {
      Layer& l = layers[i];
      if (keepAll || i == 0) l.backward->setDestinationImageAllocator(float32Images());
      gradient = l.backward->encodeBatch(buffer, gradient, l.secondaryIsResult ? l.result : l.source, l.states);
      gradients.push_back(gradient);
      const auto state = std::dynamic_pointer_cast<MPS::CNNConvolutionGradientState>(l.states[0]);
      if (!state) continue;
      const auto conv = std::dynamic_pointer_cast<MPS::CNNConvolution>(l.forward);
      weights.push_back(conv->exportWeightsAndBiases(buffer, false));
      const auto vectors = [&] {
        std::vector<Ref<MPS::Vector>> v;
        for (const auto& b : {state->gradientForWeights(), state->gradientForBiases()})
          v.push_back(std::make_shared<MPS::Vector>(
              cpuDevice(), MPS::VectorDescriptor::vectorDescriptor(b->length() / 4, MPS::DataType::Float32)));
        moments.insert(moments.end(), v.begin(), v.end());
        return v;
      };
      MPS::NNOptimizerAdam(cpuDevice(), 0.01f)
          .encode(buffer, state, weights.back(), vectors(), vectors(), weights.back());
    }
  });
  Bits bits;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    if (keepAll || i + 1 == layers.size()) add(bits, layers[i].result);
    if (const auto s = std::dynamic_pointer_cast<MPS::CNNConvolutionGradientState>(layers[i].states[0])) {
      add(bits, readFloats(s->gradientForWeights()));
      add(bits, readFloats(s->gradientForBiases()));
    }
  }
  if (keepAll)
    for (const auto& g : gradients) add(bits, g);
  add(bits, gradient);
  add(bits, both);
  for (const auto& l : labels) add(bits, MPS::ImageBatch{l->lossImage()});
  for (const auto& w : weights) add(bits, readFloats(w->weights())), add(bits, readFloats(w->biases()));
  for (const auto& m : moments) add(bits, readFloats(m->data()));
  return bits;
}

TEST(SameBits, ATrainingStepOfAllKernels) {
  for (const bool keepAll : {true, false}) {
    const Bits one = trainingStep(1, keepAll);
    std::size_t zeros = 0;
    for (std::uint32_t b : one) {
      zeros += b == 0;
      ASSERT_LT(b & 0x7fffffffu, 0x7f800000u) << "no infinity, no NaN";
    }
    EXPECT_LT(zeros, one.size() / 2) << "something must have been computed";
    for (const int threads : {2, 2, 3, 8}) EXPECT_TRUE(trainingStep(threads, keepAll) == one) << threads << " threads";
  }
}

TEST(SameBits, ConvolutionsOfAnyGeometry) {
  forCases(60, [](Case& c) {
    Random& r = c.random;
    GeometryLimits limits;
    limits.source = 24;
    limits.images = 6;
    const ConvolutionCase k = randomConvolution(r, limits);
    c.text = k.text();
    const std::vector<double> weights = k.randomWeights(r);
    const Tensor source = k.randomSource(r, k.geometry.images), gradient = k.randomDestination(r, k.geometry.images);
    const auto run = [&](int threads) {
      const Threads set(threads);
      const auto forward = convolution(k.conv, weights, {});
      test::apply(k.conv.at, *forward);
      MPS::CNNConvolutionGradient backward(cpuDevice(), sourceOf(k.conv, weights, {}));
      backward.setDestinationImageAllocator(float32Images());
      const auto s = imageOf(source)->batchRepresentation(), g = imageOf(gradient)->batchRepresentation(),
                 y = imageOf(Tensor(gradient.n, gradient.h, gradient.w, gradient.c))->batchRepresentation();
      MPS::ImageBatch d;
      const auto states = forward->resultStateBatch(s, {}, y);
      runOnCpu([&](const auto& buffer) {
        forward->encodeBatch(buffer, s, states, y);
        d = backward.encodeBatch(buffer, g, s, states);
      });
      Bits bits;
      add(bits, y);
      add(bits, d);
      add(bits, readFloats(states[0]->gradientForWeights()));
      add(bits, readFloats(states[0]->gradientForBiases()));
      return bits;
    };
    const Bits one = run(1);
    EXPECT_TRUE(run(2) == one);
    EXPECT_TRUE(run(5) == one);
  });
}

// Element-wise kernels and pooling: a batch has the bits of its images one by one.
TEST(SameBits, ABatchAndItsImages) {
  Random r(7);
  const Tensor s = randomTensor(r, 5, 33, 17, 11, {-3, 3});
  std::vector<Ref<MPS::CNNKernel>> kernels{std::make_shared<MPS::CNNPoolingMax>(cpuDevice(), 3, 3),
                                           std::make_shared<MPS::CNNPoolingAverage>(cpuDevice(), 3, 2, 2, 1),
                                           std::make_shared<MPS::CNNSoftMax>(cpuDevice()),
                                           std::make_shared<MPS::CNNLogSoftMax>(cpuDevice())};
  for (int type = 0; type < static_cast<int>(MPS::CNNNeuronType::Count); ++type)
    if (type != static_cast<int>(MPS::CNNNeuronType::PReLU))
      kernels.push_back(std::make_shared<MPS::CNNNeuron>(
          cpuDevice(),
          MPS::NNNeuronDescriptor::cnnNeuronDescriptor(static_cast<MPS::CNNNeuronType>(type), 0.5f, 4, 2)));
  for (const auto& k : kernels) {
    k->setDestinationImageAllocator(float32Images());
    const auto images = imagesOf(s, Format::Float32, Arrangement::Separate);
    MPS::ImageBatch together, single;
    runOnCpu([&](const auto& buffer) {
      together = k->encodeBatch(buffer, images);
      for (const auto& i : images) single.push_back(k->encode(buffer, i));
    });
    Bits a, b;
    add(a, together);
    add(b, single);
    EXPECT_TRUE(a == b);
  }
}

TEST(SameBits, RandomNumbers) {
  const auto run = [](int threads) {
    const Threads set(threads);
    const auto m = std::make_shared<MPS::Matrix>(
        cpuDevice(), MPS::MatrixDescriptor::matrixDescriptor(300, 517, 517 * 4, MPS::DataType::Float32));
    MPS::MatrixRandomPhilox kernel(cpuDevice(), MPS::DataType::Float32, 1,
                                   MPS::MatrixRandomDistributionDescriptor::normalDistributionDescriptor(0, 1));
    runOnCpu([&](const auto& buffer) { kernel.encode(buffer, m); });
    Bits bits;
    add(bits, readFloats(m->data()));
    return bits;
  };
  EXPECT_TRUE(run(1) == run(2));
}

}  // namespace
}  // namespace kovar::test
