// Every kernel class: its copy on another device is of the same class, has the same properties and computes the same
// bits; a copy of that copy on the first device too.

#include <functional>
#include <memory>
#include <string>
#include <typeinfo>
#include <vector>

#include "convolution_support.hpp"
#include "kovar/MPS/MPS.hpp"
#include "nn_case.hpp"

namespace kovar::test {
namespace {

using Device = Ref<MTL::Device>;
using Values = std::vector<double>;

/// The processor again, with memory of its own at a distance.
const Device& distant() {
  static const Device d = MTL::deviceNamed("distant");
  return d;
}

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

/// One class: how it is made, and what one of its objects computes on a device.
struct Kind {
  std::string name;
  std::function<Ref<MPS::Kernel>(const Device&)> make;
  std::function<Values(const Ref<MPS::Kernel>&, const Device&)> run;
};

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
              std::function<Ref<MPS::CNNKernel>(const Device&)> forward, bool ofResult = false) {
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

std::vector<Kind> kinds() {
  using namespace MPS;  // NOLINT: a table reads better without the prefix
  std::vector<Kind> all;
  const auto one = [&](const char* name, auto make) {
    using K = typename decltype(make(cpuDevice()))::element_type;
    all.push_back(unary<K>(name, make));
  };
  one("Convolution", made<CNNConvolution>(weights(3, 8, 4, true)));
  one("FullyConnected", [](const Device& d) {
    Random r(7);
    std::vector<float> w(3 * 5 * 6 * 8);
    for (float& v : w) v = static_cast<float>(r.real(-1, 1));
    const auto descriptor = CNNConvolutionDescriptor::cnnConvolutionDescriptor(6, 5, 8, 3);
    return made<CNNFullyConnected>(Ref<CNNConvolutionDataSource>(std::make_shared<ConvolutionWeights>(descriptor, w)))(
        d);
  });
  one("PoolingMax", made<CNNPoolingMax>(3, 2, 2, 1));
  one("PoolingAverage", made<CNNPoolingAverage>(3, 3, 2, 2));
  one("PoolingL2Norm", made<CNNPoolingL2Norm>(2, 3, 1, 2));
  one("DilatedPoolingMax", made<CNNDilatedPoolingMax>(2, 2, 1, 1, 2, 2));
  one("UpsamplingNearest", made<CNNUpsamplingNearest>(std::size_t{2}, std::size_t{3}));
  one("UpsamplingBilinear", made<CNNUpsamplingBilinear>(std::size_t{2}, std::size_t{3}, true));
  one("Neuron", made<CNNNeuron>(NNNeuronDescriptor::cnnNeuronDescriptor(CNNNeuronType::ELU, 0.5f)));
  one("Neuron of slopes", made<CNNNeuron>(slopes()));
  one("NeuronLinear", made<CNNNeuronLinear>(2.f, 0.5f));
  one("NeuronReLU", made<CNNNeuronReLU>(0.25f));
  one("NeuronPReLU", made<CNNNeuronPReLU>(slopes()));
  one("NeuronSigmoid", made<CNNNeuronSigmoid>());
  one("NeuronHardSigmoid", made<CNNNeuronHardSigmoid>(0.25f, 0.5f));
  one("NeuronTanH", made<CNNNeuronTanH>(2.f, 0.5f));
  one("NeuronAbsolute", made<CNNNeuronAbsolute>());
  one("NeuronSoftPlus", made<CNNNeuronSoftPlus>(2.f, 0.5f));
  one("NeuronSoftSign", made<CNNNeuronSoftSign>());
  one("NeuronELU", made<CNNNeuronELU>(0.5f));
  one("NeuronReLUN", made<CNNNeuronReLUN>(0.5f, 1.f));
  one("NeuronPower", made<CNNNeuronPower>(1.f, 0.f, 2.f));
  one("NeuronExponential", made<CNNNeuronExponential>(0.5f, 0.f, 2.f));
  one("NeuronLogarithm", made<CNNNeuronLogarithm>(1.f, 1.f, 2.f));
  one("SoftMax", made<CNNSoftMax>());
  one("LogSoftMax", made<CNNLogSoftMax>());
  one("SpatialNormalization", made<CNNSpatialNormalization>(3, 3));
  one("LocalContrastNormalization", made<CNNLocalContrastNormalization>(3, 3));
  one("CrossChannelNormalization", made<CNNCrossChannelNormalization>(3));
  one("BatchNormalization",
      made<CNNBatchNormalization>(Ref<CNNBatchNormalizationDataSource>(std::make_shared<BatchValues>())));
  one("InstanceNormalization", made<CNNInstanceNormalization>(Ref<CNNInstanceNormalizationDataSource>(
                                   std::make_shared<RegionValues<CNNInstanceNormalizationDataSource>>())));
  one("GroupNormalization", made<CNNGroupNormalization>(Ref<CNNGroupNormalizationDataSource>(
                                std::make_shared<RegionValues<CNNGroupNormalizationDataSource>>())));
  one("Dropout", made<CNNDropout>(0.5f, std::size_t{3}, MTL::Size{1, 1, 1}));
  one("Pad", made<NNPad>(ImageCoordinate{1, 2, 0}, ImageCoordinate{0, 1, 3}));
  one("Reshape", made<NNReshape>());
  one("Slice", made<NNSlice>());
  one("ResizeBilinear", made<NNResizeBilinear>(std::size_t{9}, std::size_t{4}, true));
  one("CropAndResizeBilinear",
      made<NNCropAndResizeBilinear>(std::size_t{4}, std::size_t{3},
                                    std::vector<Region>{{{0.1, 0.2, 0}, {0.5, 0.5, 0}}, {{0, 0, 0}, {1, 1, 0}}}));
  one("GramMatrixCalculation", made<NNGramMatrixCalculation>(0.5f));

  all.push_back(binary<CNNAdd>("Add", made<CNNAdd>()));
  all.push_back(binary<CNNSubtract>("Subtract", made<CNNSubtract>()));
  all.push_back(binary<CNNMultiply>("Multiply", [](const Device& d) {
    const auto k = made<CNNMultiply>()(d);
    k->setPrimaryScale(2.f);
    k->setBias(0.25f);
    k->setMaximumValue(3.f);
    return k;
  }));
  all.push_back(binary<CNNDivide>("Divide", made<CNNDivide>()));
  all.push_back(binary<NNCompare>("Compare", [](const Device& d) {
    const auto k = made<NNCompare>()(d);
    k->setComparisonType(NNComparisonType::Less);
    return k;
  }));
  static const Tensor grid = numbers(1, 3, 4, 2, 5);
  all.push_back(binary<NNGridSample>("GridSample", made<NNGridSample>(), grid));
  all.push_back(binary<NNLocalCorrelation>(
      "LocalCorrelation", made<NNLocalCorrelation>(std::size_t{1}, std::size_t{2}, std::size_t{1}, std::size_t{1})));

  const auto back = [&](const char* name, auto make, auto forward, bool ofResult = false) {
    using K = typename decltype(make(cpuDevice()))::element_type;
    all.push_back(gradient<K>(name, make, forward, ofResult));
  };
  back("ConvolutionGradient", made<CNNConvolutionGradient>(weights(3, 8, 4)), made<CNNConvolution>(weights(3, 8, 4)));
  back("PoolingMaxGradient", made<CNNPoolingMaxGradient>(3, 2, 2, 1), made<CNNPoolingMax>(3, 2, 2, 1));
  back("PoolingAverageGradient", made<CNNPoolingAverageGradient>(3, 3, 2, 2), made<CNNPoolingAverage>(3, 3, 2, 2));
  back("PoolingL2NormGradient", made<CNNPoolingL2NormGradient>(2, 3, 1, 2), made<CNNPoolingL2Norm>(2, 3, 1, 2));
  back("DilatedPoolingMaxGradient", made<CNNDilatedPoolingMaxGradient>(2, 2, 2, 2, 1, 1),
       made<CNNDilatedPoolingMax>(2, 2, 1, 1, 2, 2));
  back("UpsamplingNearestGradient", made<CNNUpsamplingNearestGradient>(std::size_t{2}, std::size_t{3}),
       made<CNNUpsamplingNearest>(std::size_t{2}, std::size_t{3}));
  back("UpsamplingBilinearGradient", made<CNNUpsamplingBilinearGradient>(std::size_t{2}, std::size_t{3}),
       made<CNNUpsamplingBilinear>(std::size_t{2}, std::size_t{3}, true));
  back("NeuronGradient", made<CNNNeuronGradient>(slopes()), made<CNNNeuron>(slopes()));
  back("SoftMaxGradient", made<CNNSoftMaxGradient>(), made<CNNSoftMax>(), true);
  back("LogSoftMaxGradient", made<CNNLogSoftMaxGradient>(), made<CNNLogSoftMax>(), true);
  back("SpatialNormalizationGradient", made<CNNSpatialNormalizationGradient>(3, 3),
       made<CNNSpatialNormalization>(3, 3));
  back("LocalContrastNormalizationGradient", made<CNNLocalContrastNormalizationGradient>(3, 3),
       made<CNNLocalContrastNormalization>(3, 3));
  back("CrossChannelNormalizationGradient", made<CNNCrossChannelNormalizationGradient>(3),
       made<CNNCrossChannelNormalization>(3));
  back("InstanceNormalizationGradient", made<CNNInstanceNormalizationGradient>(),
       made<CNNInstanceNormalization>(Ref<CNNInstanceNormalizationDataSource>(
           std::make_shared<RegionValues<CNNInstanceNormalizationDataSource>>())));
  back("GroupNormalizationGradient", made<CNNGroupNormalizationGradient>(),
       made<CNNGroupNormalization>(
           Ref<CNNGroupNormalizationDataSource>(std::make_shared<RegionValues<CNNGroupNormalizationDataSource>>())));
  back("DropoutGradient", made<CNNDropoutGradient>(0.5f, std::size_t{3}, MTL::Size{1, 1, 1}),
       made<CNNDropout>(0.5f, std::size_t{3}, MTL::Size{1, 1, 1}));
  back("PadGradient", made<NNPadGradient>(), made<NNPad>(ImageCoordinate{1, 2, 0}, ImageCoordinate{0, 1, 3}));
  back("ReshapeGradient", made<NNReshapeGradient>(), made<NNReshape>());
  back("GramMatrixCalculationGradient", made<NNGramMatrixCalculationGradient>(), made<NNGramMatrixCalculation>(0.5f));

  const auto arithmetic = [&](const char* name, auto make, auto forward) {
    all.push_back({name, make, [=](const Ref<Kernel>& kernel, const Device& d) {
                     return runOn(d, [&](const auto& b) {
                       const auto x = imageOn(d, picture()), y = imageOn(d, another());
                       const auto state = forward(d)->resultState(x, y, {}, x);
                       return std::static_pointer_cast<CNNGradientKernel>(kernel)->encode(b, y, x, state);
                     });
                   }});
  };
  arithmetic("AddGradient", made<CNNAddGradient>(true), made<CNNAdd>());
  arithmetic("SubtractGradient", made<CNNSubtractGradient>(true), made<CNNSubtract>());
  arithmetic("MultiplyGradient", made<CNNMultiplyGradient>(false), made<CNNMultiply>());
  return all;
}

TEST(Copies, OnAnotherDeviceComputeTheSameBits) {
  // The processor, whatever the suite runs on: both devices must compute the same bits.
  const Device here = MTL::deviceNamed("cpu");
  for (const Kind& kind : kinds()) {
    SCOPED_TRACE(kind.name);
    try {
      const Ref<MPS::Kernel> original = kind.make(here);
      const Ref<MPS::Kernel> there = original->copy(distant()), again = there->copy(here),
                             same = original->copy(nullptr);
      for (const auto& copy : {there, again, same}) {
        const MPS::Kernel &a = *original, &b = *copy;
        EXPECT_EQ(typeid(a), typeid(b)) << typeid(b).name();
        EXPECT_EQ(copy->label(), original->label());
        EXPECT_EQ(copy->options(), original->options());
      }
      EXPECT_EQ(there->device(), distant());
      EXPECT_EQ(again->device(), here);
      EXPECT_EQ(same->device(), here);
      const Values wanted = kind.run(original, here);
      EXPECT_EQ(kind.run(there, distant()), wanted);
      EXPECT_EQ(kind.run(again, here), wanted);
      EXPECT_EQ(kind.run(same, here), wanted);
    } catch (const std::exception& e) {
      ADD_FAILURE() << e.what();
    }
  }
}

}  // namespace
}  // namespace kovar::test
