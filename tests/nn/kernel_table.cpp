#include "kernel_table.hpp"

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "convolution_support.hpp"
#include "kovar/MPS/MPS.hpp"

namespace kovar::test {
namespace {

using Device = Ref<MTL::Device>;
using Kind = KernelRow;

Ref<MPS::Image> imageOn(const Device& device, const Tensor& t) {
  auto image = std::make_shared<MPS::Image>(device, descriptorFor(t, Format::Float32, t.n));
  for (std::size_t i = 0; i < t.n; ++i) writeImage(*image, t, Format::Float32, i, i);
  return image;
}

Tensor numbers(std::size_t n, std::size_t h, std::size_t w, std::size_t c, int seed) {
  Random r(static_cast<std::uint64_t>(seed));
  return randomTensor(r, n, h, w, c, {0.25, 2, false});
}
const Tensor& picture() {
  static const Tensor t = numbers(1, 5, 6, 8, 1);
  return t;
}
const Tensor& another() {
  static const Tensor t = numbers(1, 5, 6, 8, 2);
  return t;
}

Values runOn(const Device& device, const std::function<Ref<MPS::Image>(const Ref<MTL::CommandBuffer>&)>& body) {
  const auto buffer = device->newCommandQueue()->commandBuffer();
  const Ref<MPS::Image> y = body(buffer);
  buffer->commit();
  buffer->waitUntilCompleted();
  EXPECT_EQ(buffer->status(), MTL::CommandBufferStatus::Completed) << (buffer->error() ? buffer->error()->what() : "");
  return tensorOf(*y).v;
}

template <class K, class F>
Kind unary(const char* name, F make, std::function<void(K&)> set = {}) {
  return {name,
          [=](const Device& d) {
            Ref<K> k = make(d);
            if (set) set(*k);
            return k;
          },
          [](const Ref<MPS::Kernel>& kernel, const Device& d) {
            return runOn(d, [&](const auto& b) {
              return std::static_pointer_cast<MPS::CNNKernel>(kernel)->encode(b, imageOn(d, picture()));
            });
          }};
}

template <class K>
Kind binary(const char* name, std::function<Ref<K>(const Device&)> make, const Tensor& second = another()) {
  return {name, make, [&second](const Ref<MPS::Kernel>& kernel, const Device& d) {
            return runOn(d, [&](const auto& b) {
              return std::static_pointer_cast<MPS::CNNBinaryKernel>(kernel)->encode(b, imageOn(d, picture()),
                                                                                    imageOn(d, second));
            });
          }};
}

/// A gradient with the state of a forward kernel made on the same device.
template <class K>
Kind gradient(const char* name, std::function<Ref<K>(const Device&)> make,
              const std::function<Ref<MPS::CNNKernel>(const Device&)>& forward, bool ofResult = false) {
  return {name, make, [=](const Ref<MPS::Kernel>& kernel, const Device& d) {
            return runOn(d, [&](const auto& b) {
              const auto x = imageOn(d, picture());
              Ref<MPS::State> state;
              const auto f = forward(d);
              f->setDestinationImageAllocator(float32Images());
              const auto y = f->encode(b, x, &state, false);
              const auto g = imageOn(d, numbers(y->numberOfImages(), y->height(), y->width(), y->featureChannels(), 3));
              return std::static_pointer_cast<MPS::CNNGradientKernel>(kernel)->encode(b, g, ofResult ? y : x, state);
            });
          }};
}

template <class K, class... A>
std::function<Ref<K>(const Device&)> made(A... arguments) {
  return [=](const Device& d) {
    auto k = std::make_shared<K>(d, arguments...);
    if constexpr (std::is_base_of_v<MPS::CNNKernelBase, K>) k->setDestinationImageAllocator(float32Images());
    k->setLabel("labelled");
    return k;
  };
}

Ref<MPS::CNNConvolutionDataSource> weights(std::size_t k, std::size_t in, std::size_t out, bool slopes = false) {
  Random r(7);
  const auto d = MPS::CNNConvolutionDescriptor::cnnConvolutionDescriptor(k, k, in, out);
  const std::vector<float> a(out, 0.25f);
  if (slopes) d->setNeuronToPReLU(std::as_bytes(std::span(a)));
  std::vector<float> w(out * k * k * in), b(out);
  for (float& v : w) v = static_cast<float>(r.real(-1, 1));
  for (float& v : b) v = static_cast<float>(r.real(-1, 1));
  return std::make_shared<ConvolutionWeights>(d, w, b);
}

Ref<MPS::NNNeuronDescriptor> slopes() {
  static const std::vector<float> a{0.1f, 0.2f, 0.3f, 0.4f, 0.5f, 0.6f, 0.7f, 0.8f};
  return MPS::NNNeuronDescriptor::cnnNeuronPReLUDescriptor(std::as_bytes(std::span(a)), false);
}

class BatchValues final : public Object, public MPS::CNNBatchNormalizationDataSource {
 public:
  std::size_t numberOfFeatureChannels() override { return 8; }
  const float* gamma() override { return values_.data(); }
  const float* beta() override { return values_.data() + 8; }
  const float* mean() override { return values_.data() + 16; }
  const float* variance() override { return values_.data() + 24; }
  bool load() override { return true; }
  void purge() override {}
  std::string label() override { return "bn"; }
  float epsilon() override { return 0.01f; }

 private:
  std::vector<float> values_ = [] {
    std::vector<float> v;
    v.reserve(32);
    for (int i = 0; i < 32; ++i) v.push_back(0.5f + 0.05f * static_cast<float>(i));
    return v;
  }();
};
template <class Base>
class RegionValues final : public Object, public Base {
 public:
  std::size_t numberOfFeatureChannels() const override { return 8; }
  const float* gamma() override { return values_.data(); }
  const float* beta() override { return values_.data() + 8; }
  std::string label() override { return "norm"; }

 private:
  std::vector<float> values_ = std::vector<float>(16, 0.75f);
};

void addReductions(std::vector<Kind>& all) {
  using namespace MPS;  // NOLINT: a table reads better without the prefix
  const auto one = [&](const char* name, auto make) {
    using K = typename decltype(make(cpuDevice()))::element_type;
    all.push_back(unary<K>(name, make));
  };
  one("NNReduceRowMin", made<NNReduceRowMin>());
  one("NNReduceColumnMin", made<NNReduceColumnMin>());
  one("NNReduceFeatureChannelsMin", made<NNReduceFeatureChannelsMin>());
  one("NNReduceFeatureChannelsArgumentMin", made<NNReduceFeatureChannelsArgumentMin>());
  one("NNReduceRowMax", made<NNReduceRowMax>());
  one("NNReduceColumnMax", made<NNReduceColumnMax>());
  one("NNReduceFeatureChannelsMax", made<NNReduceFeatureChannelsMax>());
  one("NNReduceFeatureChannelsArgumentMax", made<NNReduceFeatureChannelsArgumentMax>());
  one("NNReduceRowMean", [](const Device& d) {
    auto k = made<NNReduceRowMean>()(d);
    k->setClipRectSource({{1, 1, 0}, {3, 4, 1}});
    return k;
  });
  one("NNReduceColumnMean", made<NNReduceColumnMean>());
  one("NNReduceFeatureChannelsMean", made<NNReduceFeatureChannelsMean>());
  one("NNReduceRowSum", made<NNReduceRowSum>());
  one("NNReduceColumnSum", made<NNReduceColumnSum>());
  one("NNReduceFeatureChannelsSum", [](const Device& d) {
    auto k = made<NNReduceFeatureChannelsSum>()(d);
    k->setWeight(0.25f);
    return k;
  });
  all.push_back(binary<NNReduceFeatureChannelsAndWeightsMean>("NNReduceFeatureChannelsAndWeightsMean",
                                                              made<NNReduceFeatureChannelsAndWeightsMean>()));
  all.push_back(binary<NNReduceFeatureChannelsAndWeightsSum>("NNReduceFeatureChannelsAndWeightsSum",
                                                             made<NNReduceFeatureChannelsAndWeightsSum>(true)));
}

/// Bits of 0x5a... as the weights of a binary convolution, with biases.
class Bits final : public Object, public MPS::CNNConvolutionDataSource {
 public:
  explicit Bits(const Ref<MPS::CNNConvolutionDescriptor>& descriptor) : descriptor_(descriptor) {}
  MPS::DataType dataType() override { return MPS::DataType::UInt32; }
  Ref<MPS::CNNConvolutionDescriptor> descriptor() override { return descriptor_; }
  const void* weights() override { return words_.data(); }
  const float* biasTerms() override { return biases_.data(); }
  bool load() override { return true; }
  void purge() override {}
  std::string label() override { return "bits"; }

 private:
  Ref<MPS::CNNConvolutionDescriptor> descriptor_;
  std::vector<std::uint32_t> words_ = std::vector<std::uint32_t>(1024, 0x5a5a5a5a);
  std::vector<float> biases_ = std::vector<float>(16, 0.125f);
};

void addConvolutions(std::vector<Kind>& all) {
  using namespace MPS;  // NOLINT: a table reads better without the prefix
  const auto source = [](std::size_t w, std::size_t h, std::size_t out) -> Ref<CNNConvolutionDataSource> {
    return std::make_shared<Bits>(CNNConvolutionDescriptor::cnnConvolutionDescriptor(w, h, 8, out));
  };
  all.push_back(unary<CNNBinaryConvolution>(
      "CNNBinaryConvolution", made<CNNBinaryConvolution>(source(3, 3, 4), 0.5f, CNNBinaryConvolutionType::XNOR,
                                                         CNNBinaryConvolutionFlags::UseBetaScaling)));
  all.push_back(unary<CNNBinaryFullyConnected>(
      "CNNBinaryFullyConnected",
      made<CNNBinaryFullyConnected>(source(6, 5, 3), 2.f, CNNBinaryConvolutionType::BinaryWeights,
                                    CNNBinaryConvolutionFlags::None)));
  all.push_back(
      unary<CNNConvolutionTranspose>("CNNConvolutionTranspose", made<CNNConvolutionTranspose>(weights(3, 8, 4, true))));
  const auto gradientOf = [&](const char* name, auto make, auto forward) {
    using K = typename decltype(make(cpuDevice()))::element_type;
    all.push_back(gradient<K>(name, make, forward));
  };
  gradientOf("CNNConvolutionTransposeGradient", made<CNNConvolutionTransposeGradient>(weights(3, 8, 4)),
             made<CNNConvolutionTranspose>(weights(3, 8, 4)));
  Random r(9);
  std::vector<float> w(3 * 5 * 6 * 8);
  for (float& v : w) v = static_cast<float>(r.real(-1, 1));
  const Ref<CNNConvolutionDataSource> dense =
      std::make_shared<ConvolutionWeights>(CNNConvolutionDescriptor::cnnConvolutionDescriptor(6, 5, 8, 3), w);
  gradientOf("CNNFullyConnectedGradient", made<CNNFullyConnectedGradient>(dense), made<CNNFullyConnected>(dense));
}

Ref<MPS::CNNBatchNormalizationDataSource> batchValues() { return std::make_shared<BatchValues>(); }

/// A forward and a backward pass of a batch normalization, with one of its four kernels given.
Values batchPass(const Ref<MPS::Kernel>& kernel, const Device& d) {
  using namespace MPS;  // NOLINT
  return runOn(d, [&](const auto& b) -> Ref<Image> {
    const auto given = [&](auto made) {
      const auto same = std::dynamic_pointer_cast<typename decltype(made)::element_type>(kernel);
      return same ? same : made;
    };
    const auto neuron = slopes();
    const auto forward = std::make_shared<CNNBatchNormalization>(d, batchValues(), neuron);
    const auto statistics = given(std::make_shared<CNNBatchNormalizationStatistics>(d));
    const auto sums = given(std::make_shared<CNNBatchNormalizationStatisticsGradient>(d, neuron));
    const auto back = given(std::make_shared<CNNBatchNormalizationGradient>(d, neuron));
    back->setDestinationImageAllocator(float32Images());
    const auto x = imageOn(d, picture()), y = imageOn(d, another()), g = imageOn(d, numbers(1, 5, 6, 8, 4));
    const auto state = forward->resultState(x, {}, y);
    statistics->encodeBatch(b, {x}, state);
    forward->encode(b, x, state, y);
    sums->encodeBatch(b, {g}, {x}, state);
    return back->encode(b, g, x, state);
  });
}

void addStatistics(std::vector<Kind>& all) {
  using namespace MPS;  // NOLINT: a table reads better without the prefix
  const auto neuron = slopes();
  all.push_back({"CNNBatchNormalizationStatistics", made<CNNBatchNormalizationStatistics>(), batchPass});
  all.push_back(
      {"CNNBatchNormalizationStatisticsGradient", made<CNNBatchNormalizationStatisticsGradient>(neuron), batchPass});
  all.push_back({"CNNBatchNormalizationGradient", made<CNNBatchNormalizationGradient>(neuron), batchPass});
}

void addLosses(std::vector<Kind>& all) {
  using namespace MPS;  // NOLINT: a table reads better without the prefix
  const auto descriptor = CNNLossDescriptor::cnnLossDescriptor(CNNLossType::Huber, CNNReductionType::Mean);
  descriptor->setDelta(0.75f);
  descriptor->setWeight(0.5f);
  const auto labelled = [](const Ref<Kernel>& kernel, const Device& d) {
    return runOn(d, [&](const auto& b) -> Ref<Image> {
      const auto labels = std::make_shared<CNNLossLabels>(d, MTL::Size{1, 1, 1}, imageOn(d, another()), nullptr);
      if (const auto loss = std::dynamic_pointer_cast<CNNLoss>(kernel))
        return loss->encode(b, imageOn(d, picture()), labels);
      return std::static_pointer_cast<CNNYOLOLoss>(kernel)->encode(b, imageOn(d, picture()), labels);
    });
  };
  all.push_back({"CNNLoss", made<CNNLoss>(descriptor), labelled});
  const std::vector<float> anchors{1.5f, 0.75f};
  const auto yolo = CNNYOLOLossDescriptor::cnnLossDescriptor(
      CNNLossType::MeanSquaredError, CNNLossType::Huber, CNNLossType::SigmoidCrossEntropy,
      CNNLossType::SoftMaxCrossEntropy, CNNReductionType::Sum, std::as_bytes(std::span(anchors)), 1);
  yolo->setScaleWH(3.f);
  yolo->whLossDescriptor()->setDelta(0.5f);
  all.push_back({"CNNYOLOLoss", made<CNNYOLOLoss>(yolo), labelled});
  all.push_back({"NNForwardLoss",
                 [=](const Device& d) {
                   auto k = made<NNForwardLoss>(descriptor)(d);
                   k->setWeight(3.f);
                   return k;
                 },
                 [](const Ref<Kernel>& kernel, const Device& d) {
                   return runOn(d, [&](const auto& b) -> Ref<Image> {
                     return std::static_pointer_cast<NNForwardLoss>(kernel)->encodeBatch(
                         b, {imageOn(d, picture())}, {imageOn(d, another())}, {}, nullptr, false)[0];
                   });
                 }});
  all.push_back({"NNLossGradient",
                 [=](const Device& d) {
                   auto k = made<NNLossGradient>(descriptor)(d);
                   k->setLossMeanInGradient(false);
                   k->setComputeLabelGradients(true);
                   return k;
                 },
                 [](const Ref<Kernel>& kernel, const Device& d) {
                   return runOn(d, [&](const auto& b) -> Ref<Image> {
                     return std::static_pointer_cast<NNLossGradient>(kernel)->encodeBatch(
                         b, {imageOn(d, numbers(1, 1, 1, 1, 6))}, {imageOn(d, picture())}, {imageOn(d, another())}, {},
                         {})[0];
                   });
                 }});
  all.push_back(unary<NNInitialGradient>("NNInitialGradient", made<NNInitialGradient>()));
}

constexpr std::size_t kLength = 13;

Ref<MPS::Vector> vectorOn(const Device& d, int seed) {
  auto v = std::make_shared<MPS::Vector>(d, MPS::VectorDescriptor::vectorDescriptor(kLength, MPS::DataType::Float32));
  auto* values = static_cast<float*>(v->data()->contents());
  for (std::size_t i = 0; i < kLength; ++i)
    values[i] = seed == 0 ? 0.f : 0.1f * static_cast<float>((static_cast<std::size_t>(seed) * 7 + i * 5) % 11);
  return v;
}

Values filled(const Device& d,
              const std::function<void(const Ref<MTL::CommandBuffer>&, const Ref<MPS::Vector>&)>& body) {
  const auto result = vectorOn(d, 0);
  const auto buffer = d->newCommandQueue()->commandBuffer();
  body(buffer, result);
  result->synchronize(buffer);
  buffer->commit();
  buffer->waitUntilCompleted();
  EXPECT_EQ(buffer->status(), MTL::CommandBufferStatus::Completed) << (buffer->error() ? buffer->error()->what() : "");
  const auto* f = static_cast<const float*>(result->data()->contents());
  return {f, f + kLength};
}

void addUpdates(std::vector<Kind>& all) {
  using namespace MPS;  // NOLINT: a table reads better without the prefix
  const auto descriptor =
      NNOptimizerDescriptor::optimizerDescriptor(0.125f, 2.f, true, 0.75f, -0.5f, NNRegularizationType::L2, 0.25f);
  all.push_back({"NNOptimizerStochasticGradientDescent",
                 made<NNOptimizerStochasticGradientDescent>(0.5f, true, descriptor),
                 [](const Ref<Kernel>& kernel, const Device& d) {
                   return filled(d, [&](const auto& b, const auto& result) {
                     std::static_pointer_cast<NNOptimizerStochasticGradientDescent>(kernel)->encode(
                         b, vectorOn(d, 1), vectorOn(d, 2), vectorOn(d, 3), result);
                   });
                 }});
  all.push_back({"NNOptimizerRMSProp", made<NNOptimizerRMSProp>(0.75, 0.001f, descriptor),
                 [](const Ref<Kernel>& kernel, const Device& d) {
                   return filled(d, [&](const auto& b, const auto& result) {
                     std::static_pointer_cast<NNOptimizerRMSProp>(kernel)->encode(b, vectorOn(d, 1), vectorOn(d, 2),
                                                                                  vectorOn(d, 3), result);
                   });
                 }});
  all.push_back({"NNOptimizerAdam", made<NNOptimizerAdam>(0.5, 0.75, 0.001f, std::size_t{3}, descriptor),
                 [](const Ref<Kernel>& kernel, const Device& d) {
                   const auto adam = std::static_pointer_cast<NNOptimizerAdam>(kernel);
                   const std::size_t step = adam->timeStep();
                   Values values = filled(d, [&](const auto& b, const auto& result) {
                     adam->encode(b, vectorOn(d, 1), vectorOn(d, 2), vectorOn(d, 3), vectorOn(d, 4), result);
                   });
                   adam->setTimeStep(step);  // so that each run is the same one
                   return values;
                 }});
  const auto distribution = MatrixRandomDistributionDescriptor::normalDistributionDescriptor(1.f, 2.f, -1.f, 1.5f);
  const auto random = [](const Ref<Kernel>& kernel, const Device& d) {
    // Each run counts: the copy of a copy goes on where its original stood.
    const auto one = std::static_pointer_cast<MatrixRandom>(kernel->copy(nullptr));
    return filled(d, [&](const auto& b, const auto& result) { one->encode(b, result); });
  };
  all.push_back(
      {"MatrixRandomPhilox", made<MatrixRandomPhilox>(DataType::Float32, std::size_t{17}, distribution), random});
  all.push_back(
      {"MatrixRandomMTGP32", made<MatrixRandomMTGP32>(DataType::Float32, std::size_t{18}, distribution), random});
}

}  // namespace

const Device& distantDevice() {
  static const Device d = MTL::deviceNamed("distant");
  return d;
}

std::vector<KernelRow> kernelTable() {
  using namespace MPS;  // NOLINT: a table reads better without the prefix
  std::vector<Kind> all;
  const auto one = [&](const char* name, auto make) {
    using K = typename decltype(make(cpuDevice()))::element_type;
    all.push_back(unary<K>(name, make));
  };
  one("CNNConvolution", made<CNNConvolution>(weights(3, 8, 4, true)));
  one("CNNFullyConnected", [](const Device& d) {
    Random r(7);
    std::vector<float> w(3 * 5 * 6 * 8);
    for (float& v : w) v = static_cast<float>(r.real(-1, 1));
    const auto descriptor = CNNConvolutionDescriptor::cnnConvolutionDescriptor(6, 5, 8, 3);
    return made<CNNFullyConnected>(Ref<CNNConvolutionDataSource>(std::make_shared<ConvolutionWeights>(descriptor, w)))(
        d);
  });
  one("CNNPoolingMax", made<CNNPoolingMax>(3, 2, 2, 1));
  one("CNNPoolingAverage", made<CNNPoolingAverage>(3, 3, 2, 2));
  one("CNNPoolingL2Norm", made<CNNPoolingL2Norm>(2, 3, 1, 2));
  one("CNNDilatedPoolingMax", made<CNNDilatedPoolingMax>(2, 2, 1, 1, 2, 2));
  one("CNNUpsamplingNearest", made<CNNUpsamplingNearest>(std::size_t{2}, std::size_t{3}));
  one("CNNUpsamplingBilinear", made<CNNUpsamplingBilinear>(std::size_t{2}, std::size_t{3}, true));
  one("CNNNeuron", made<CNNNeuron>(NNNeuronDescriptor::cnnNeuronDescriptor(CNNNeuronType::ELU, 0.5f)));
  one("CNNNeuron", made<CNNNeuron>(slopes()));
  one("CNNNeuronLinear", made<CNNNeuronLinear>(2.f, 0.5f));
  one("CNNNeuronReLU", made<CNNNeuronReLU>(0.25f));
  one("CNNNeuronPReLU", made<CNNNeuronPReLU>(slopes()));
  one("CNNNeuronSigmoid", made<CNNNeuronSigmoid>());
  one("CNNNeuronHardSigmoid", made<CNNNeuronHardSigmoid>(0.25f, 0.5f));
  one("CNNNeuronTanH", made<CNNNeuronTanH>(2.f, 0.5f));
  one("CNNNeuronAbsolute", made<CNNNeuronAbsolute>());
  one("CNNNeuronSoftPlus", made<CNNNeuronSoftPlus>(2.f, 0.5f));
  one("CNNNeuronSoftSign", made<CNNNeuronSoftSign>());
  one("CNNNeuronELU", made<CNNNeuronELU>(0.5f));
  one("CNNNeuronReLUN", made<CNNNeuronReLUN>(0.5f, 1.f));
  one("CNNNeuronPower", made<CNNNeuronPower>(1.f, 0.f, 2.f));
  one("CNNNeuronExponential", made<CNNNeuronExponential>(0.5f, 0.f, 2.f));
  one("CNNNeuronLogarithm", made<CNNNeuronLogarithm>(1.f, 1.f, 2.f));
  one("CNNSoftMax", made<CNNSoftMax>());
  one("CNNLogSoftMax", made<CNNLogSoftMax>());
  one("CNNSpatialNormalization", made<CNNSpatialNormalization>(3, 3));
  one("CNNLocalContrastNormalization", made<CNNLocalContrastNormalization>(3, 3));
  one("CNNCrossChannelNormalization", made<CNNCrossChannelNormalization>(3));
  one("CNNBatchNormalization",
      made<CNNBatchNormalization>(Ref<CNNBatchNormalizationDataSource>(std::make_shared<BatchValues>())));
  one("CNNInstanceNormalization", made<CNNInstanceNormalization>(Ref<CNNInstanceNormalizationDataSource>(
                                      std::make_shared<RegionValues<CNNInstanceNormalizationDataSource>>())));
  one("CNNGroupNormalization", made<CNNGroupNormalization>(Ref<CNNGroupNormalizationDataSource>(
                                   std::make_shared<RegionValues<CNNGroupNormalizationDataSource>>())));
  one("CNNDropout", made<CNNDropout>(0.5f, std::size_t{3}, MTL::Size{1, 1, 1}));
  one("NNPad", made<NNPad>(ImageCoordinate{1, 2, 0}, ImageCoordinate{0, 1, 3}));
  one("NNReshape", made<NNReshape>());
  one("NNSlice", made<NNSlice>());
  one("NNResizeBilinear", made<NNResizeBilinear>(std::size_t{9}, std::size_t{4}, true));
  one("NNCropAndResizeBilinear",
      made<NNCropAndResizeBilinear>(std::size_t{4}, std::size_t{3},
                                    std::vector<Region>{{{0.1, 0.2, 0}, {0.5, 0.5, 0}}, {{0, 0, 0}, {1, 1, 0}}}));
  one("NNGramMatrixCalculation", made<NNGramMatrixCalculation>(0.5f));

  all.push_back(binary<CNNAdd>("CNNAdd", made<CNNAdd>()));
  all.push_back(binary<CNNSubtract>("CNNSubtract", made<CNNSubtract>()));
  all.push_back(binary<CNNMultiply>("CNNMultiply", [](const Device& d) {
    auto k = made<CNNMultiply>()(d);
    k->setPrimaryScale(2.f);
    k->setBias(0.25f);
    k->setMaximumValue(3.f);
    return k;
  }));
  all.push_back(binary<CNNDivide>("CNNDivide", made<CNNDivide>()));
  all.push_back(binary<NNCompare>("NNCompare", [](const Device& d) {
    auto k = made<NNCompare>()(d);
    k->setComparisonType(NNComparisonType::Less);
    return k;
  }));
  static const Tensor grid = numbers(1, 3, 4, 2, 5);
  all.push_back(binary<NNGridSample>("NNGridSample", made<NNGridSample>(), grid));
  all.push_back(binary<NNLocalCorrelation>(
      "NNLocalCorrelation", made<NNLocalCorrelation>(std::size_t{1}, std::size_t{2}, std::size_t{1}, std::size_t{1})));

  const auto back = [&](const char* name, auto make, auto forward, bool ofResult = false) {
    using K = typename decltype(make(cpuDevice()))::element_type;
    all.push_back(gradient<K>(name, make, forward, ofResult));
  };
  back("CNNConvolutionGradient", made<CNNConvolutionGradient>(weights(3, 8, 4)),
       made<CNNConvolution>(weights(3, 8, 4)));
  back("CNNPoolingMaxGradient", made<CNNPoolingMaxGradient>(3, 2, 2, 1), made<CNNPoolingMax>(3, 2, 2, 1));
  back("CNNPoolingAverageGradient", made<CNNPoolingAverageGradient>(3, 3, 2, 2), made<CNNPoolingAverage>(3, 3, 2, 2));
  back("CNNPoolingL2NormGradient", made<CNNPoolingL2NormGradient>(2, 3, 1, 2), made<CNNPoolingL2Norm>(2, 3, 1, 2));
  back("CNNDilatedPoolingMaxGradient", made<CNNDilatedPoolingMaxGradient>(2, 2, 2, 2, 1, 1),
       made<CNNDilatedPoolingMax>(2, 2, 1, 1, 2, 2));
  back("CNNUpsamplingNearestGradient", made<CNNUpsamplingNearestGradient>(std::size_t{2}, std::size_t{3}),
       made<CNNUpsamplingNearest>(std::size_t{2}, std::size_t{3}));
  back("CNNUpsamplingBilinearGradient", made<CNNUpsamplingBilinearGradient>(std::size_t{2}, std::size_t{3}),
       made<CNNUpsamplingBilinear>(std::size_t{2}, std::size_t{3}, true));
  back("CNNNeuronGradient", made<CNNNeuronGradient>(slopes()), made<CNNNeuron>(slopes()));
  back("CNNSoftMaxGradient", made<CNNSoftMaxGradient>(), made<CNNSoftMax>(), true);
  back("CNNLogSoftMaxGradient", made<CNNLogSoftMaxGradient>(), made<CNNLogSoftMax>(), true);
  back("CNNSpatialNormalizationGradient", made<CNNSpatialNormalizationGradient>(3, 3),
       made<CNNSpatialNormalization>(3, 3));
  back("CNNLocalContrastNormalizationGradient", made<CNNLocalContrastNormalizationGradient>(3, 3),
       made<CNNLocalContrastNormalization>(3, 3));
  back("CNNCrossChannelNormalizationGradient", made<CNNCrossChannelNormalizationGradient>(3),
       made<CNNCrossChannelNormalization>(3));
  back("CNNInstanceNormalizationGradient", made<CNNInstanceNormalizationGradient>(),
       made<CNNInstanceNormalization>(Ref<CNNInstanceNormalizationDataSource>(
           std::make_shared<RegionValues<CNNInstanceNormalizationDataSource>>())));
  back("CNNGroupNormalizationGradient", made<CNNGroupNormalizationGradient>(),
       made<CNNGroupNormalization>(
           Ref<CNNGroupNormalizationDataSource>(std::make_shared<RegionValues<CNNGroupNormalizationDataSource>>())));
  back("CNNDropoutGradient", made<CNNDropoutGradient>(0.5f, std::size_t{3}, MTL::Size{1, 1, 1}),
       made<CNNDropout>(0.5f, std::size_t{3}, MTL::Size{1, 1, 1}));
  back("NNPadGradient", made<NNPadGradient>(), made<NNPad>(ImageCoordinate{1, 2, 0}, ImageCoordinate{0, 1, 3}));
  back("NNReshapeGradient", made<NNReshapeGradient>(), made<NNReshape>());
  back("NNGramMatrixCalculationGradient", made<NNGramMatrixCalculationGradient>(), made<NNGramMatrixCalculation>(0.5f));

  const auto arithmetic = [&](const char* name, auto make, auto forward) {
    all.push_back({name, make, [=](const Ref<Kernel>& kernel, const Device& d) {
                     return runOn(d, [&](const auto& b) {
                       const auto x = imageOn(d, picture()), y = imageOn(d, another());
                       const auto state = forward(d)->resultState(x, y, {}, x);
                       return std::static_pointer_cast<CNNGradientKernel>(kernel)->encode(b, y, x, state);
                     });
                   }});
  };
  arithmetic("CNNAddGradient", made<CNNAddGradient>(true), made<CNNAdd>());
  arithmetic("CNNSubtractGradient", made<CNNSubtractGradient>(true), made<CNNSubtract>());
  arithmetic("CNNMultiplyGradient", made<CNNMultiplyGradient>(false), made<CNNMultiply>());

  addReductions(all);
  addConvolutions(all);
  addStatistics(all);
  addLosses(all);
  addUpdates(all);
  return all;
}

}  // namespace kovar::test
