// Wrong uses of normalizations, for the table of errors_test.cpp.

#include "errors/misuse.hpp"

namespace kovar::test {
namespace {

/// Values of normalizations: gamma 1, beta 0.
class BatchValues final : public Object, public MPS::CNNBatchNormalizationDataSource {
 public:
  explicit BatchValues(std::size_t channels, bool loads = true, float epsilon = 1e-5f)
      : channels_(channels), loads_(loads), epsilon_(epsilon) {}
  std::size_t numberOfFeatureChannels() override { return channels_; }
  const float* gamma() override { return nullptr; }
  const float* beta() override { return nullptr; }
  const float* mean() override { return nullptr; }
  const float* variance() override { return nullptr; }
  bool load() override { return loads_; }
  void purge() override {}
  std::string label() override { return "bn"; }
  float epsilon() override { return epsilon_; }

 private:
  std::size_t channels_;
  bool loads_;
  float epsilon_;
};
template <class Base>
class RegionValues final : public Object, public Base {
 public:
  explicit RegionValues(std::size_t channels) : channels_(channels) {}
  std::size_t numberOfFeatureChannels() const override { return channels_; }
  const float* gamma() override { return nullptr; }
  const float* beta() override { return nullptr; }
  std::string label() override { return "norm"; }

 private:
  std::size_t channels_;
};
Ref<MPS::CNNBatchNormalization> batchNorm(std::size_t channels = 4) {
  return std::make_shared<MPS::CNNBatchNormalization>(device(), std::make_shared<BatchValues>(channels));
}
Ref<MPS::CNNInstanceNormalization> instanceNorm(std::size_t channels = 4) {
  return std::make_shared<MPS::CNNInstanceNormalization>(
      device(), std::make_shared<RegionValues<MPS::CNNInstanceNormalizationDataSource>>(channels));
}

}  // namespace

std::vector<Misuse> normalizationMisuses() {
  return {
      {"no channels to normalize across", [] { MPS::CNNCrossChannelNormalization(device(), 0); },
       "CNNCrossChannelNormalization: kernelSize is 0; it must lie between 1 and 4096"},
      {"normalization window not square", [] { MPS::CNNSpatialNormalization(device(), 3, 5); },
       "CNNSpatialNormalization: kernelWidth 3 and kernelHeight 5 differ; only square windows are defined"},
      {"normalization window too large", [] { MPS::CNNLocalContrastNormalizationGradient(device(), 5000, 5000); },
       "CNNLocalContrastNormalizationGradient: kernelWidth is 5000; it must lie between 1 and 4096"},
      {"negative alpha",
       [] {
         MPS::CNNCrossChannelNormalization k(device(), 5);
         k.setAlpha(-1.f);
         k.encode(commands(), image(4, 4, 4), image(4, 4, 4));
       },
       "CNNCrossChannelNormalization: alpha is -1.000000; it must be at least 0"},
      {"negative delta",
       [] {
         MPS::CNNSpatialNormalization k(device(), 3, 3);
         k.setDelta(-0.5f);
         k.encode(commands(), image(4, 4, 4), image(4, 4, 4));
       },
       "CNNSpatialNormalization: delta is -0.500000; it must be at least 0, above 0 wherever a window may hold zeros "
       "alone"},
      {"state of another normalization",
       [] {
         const auto source = image(4, 4, 4);
         const auto state = MPS::CNNSpatialNormalization(device(), 3, 3).resultState(source, {}, source);
         MPS::CNNLocalContrastNormalizationGradient(device(), 3, 3).encode(commands(), source, source, state);
       },
       "CNNLocalContrastNormalizationGradient: the gradient state was made by a kernel of another class; use the state "
       "of this gradient's forward kernel"},
      {"batch normalization without a source", [] { MPS::CNNBatchNormalization(device(), nullptr); },
       "CNNBatchNormalization: dataSource is null; give a CNNBatchNormalizationDataSource"},
      {"batch normalization of no channels", [] { batchNorm(0); },
       "CNNBatchNormalization \"bn\": the data source's numberOfFeatureChannels() is 0; a normalization has at least "
       "one "
       "channel"},
      {"values that do not load", [] { MPS::CNNBatchNormalization(device(), std::make_shared<BatchValues>(4, false)); },
       "CNNBatchNormalization: the data source's load() returned false; it must make its values available and return "
       "true"},
      {"negative epsilon", [] { MPS::CNNBatchNormalization(device(), std::make_shared<BatchValues>(4, true, -1.f)); },
       "CNNBatchNormalization \"bn\".epsilon: -1.000000; it must be at least 0, above 0 where a variance may be"},
      {"too few channels to normalize", [] { batchNorm(8)->encode(commands(), image(4, 4, 4), image(4, 4, 8)); },
       "CNNBatchNormalization \"bn\".encode: the source gives 4 feature channels, 8 are needed; check its size, the "
       "source channel offset and the source channel maximum"},
      {"statistics without a state",
       [] { MPS::CNNBatchNormalizationStatistics(device()).encodeBatch(commands(), {image(4, 4, 4)}, nullptr); },
       "CNNBatchNormalizationStatistics.encodeBatch: batchNormalizationState is null; make one with the "
       "CNNBatchNormalization's resultState"},
      {"gradient of a batch normalization that was not encoded",
       [] {
         const auto a = image(4, 4, 4);
         const auto state = batchNorm()->resultState(a, {}, a);
         MPS::CNNBatchNormalizationGradient(device(), nullptr)
             .encode(commands(), a, image(4, 4, 4), state, image(4, 4, 4));
       },
       "CNNBatchNormalizationGradient.encode: the state has been through no forward encode; encode the "
       "CNNBatchNormalization with it first"},
      {"gradient without the sums",
       [] {
         const auto a = image(4, 4, 4), b = image(4, 4, 4);
         const auto c = commands();
         const auto kernel = batchNorm();
         const auto state = kernel->resultState(a, {}, b);
         MPS::CNNBatchNormalizationStatistics(device()).encodeBatch(c, {a}, state);
         kernel->encode(c, a, state, b);
         MPS::CNNBatchNormalizationGradient(device(), nullptr).encode(c, b, a, state, image(4, 4, 4));
       },
       "CNNBatchNormalizationGradient.encode: the state has no gradients of gamma and beta yet; encode "
       "CNNBatchNormalizationStatisticsGradient for the whole batch first"},
      {"a temporary state with too few reads",
       [] {
         const auto a = image(4, 4, 4), b = image(4, 4, 4);
         const auto c = commands();
         const auto kernel = batchNorm();
         const auto state = kernel->temporaryResultState(c, a, {}, b);
         MPS::CNNBatchNormalizationStatistics statistics(device());
         statistics.encodeBatch(c, {a}, state);
         statistics.encodeBatch(c, {a}, state);
       },
       "CNNBatchNormalizationStatistics.encodeBatch: the state CNNBatchNormalizationState is used up: its readCount is "
       "0; a temporary state needs a count of all encodes that use it"},
      {"groups that do not divide the channels",
       [] {
         const auto values = std::make_shared<RegionValues<MPS::CNNGroupNormalizationDataSource>>(6);
         values->setNumberOfGroups(4);
         MPS::CNNGroupNormalization(device(), values);
       },
       "CNNGroupNormalization \"norm\": 4 groups for 6 feature channels; the data source's numberOfGroups() must "
       "divide "
       "them"},
      {"instance gradient without a state",
       [] {
         MPS::CNNInstanceNormalizationGradient(device()).encode(commands(), image(4, 4, 4), image(4, 4, 4),
                                                                image(4, 4, 4));
       },
       "CNNInstanceNormalizationGradient.encode: needs the state that the forward kernel's encode or resultState made; "
       "it holds mean, variance and gamma"},
      {"instance gradient with a fresh state",
       [] {
         const auto a = image(4, 4, 4);
         const auto state = instanceNorm()->resultState(a, {}, a);
         MPS::CNNInstanceNormalizationGradient(device()).encode(commands(), image(4, 4, 4), a, state, image(4, 4, 4));
       },
       "CNNInstanceNormalizationGradient.encode: the gradient state has not been through a forward encode; encode the "
       "forward kernel with it first"},
      {"one instance state for two images",
       [] {
         const auto kernel = instanceNorm();
         const MPS::ImageBatch a{image(4, 4, 4), image(4, 4, 4)}, b{image(4, 4, 4), image(4, 4, 4)};
         const auto state = kernel->resultState(a[0], {}, b[0]);
         kernel->encodeBatch(commands(), a, MPS::StateBatch{state, state}, b);
       },
       "CNNInstanceNormalization \"norm\".encode: one state is given for several images; each image needs its own, see "
       "resultStateBatch"},
      {"gamma without beta", [] { MPS::CNNNormalizationGammaAndBetaState(device()->newBuffer(16), nullptr); },
       "CNNNormalizationGammaAndBetaState: gamma or beta is null; give both buffers"},
      {"mean and variance of different lengths",
       [] { MPS::CNNNormalizationMeanAndVarianceState(device()->newBuffer(16), device()->newBuffer(8)); },
       "CNNNormalizationMeanAndVarianceState: mean has 16 bytes, variance 8; each holds a float32 per feature channel"},
      {"reload of too few values",
       [] {
         batchNorm()->reloadGammaAndBeta(commands(), std::make_shared<MPS::CNNNormalizationGammaAndBetaState>(
                                                         device()->newBuffer(8), device()->newBuffer(8)));
       },
       "CNNBatchNormalization \"bn\".reloadGammaAndBeta: the state has 8 bytes of gamma or beta, the kernel needs 16, "
       "a "
       "float32 per feature channel"},
      {"optimizer before the gradients",
       [] {
         const auto a = image(4, 4, 4);
         const auto state = batchNorm()->resultState(a, {}, a);
         MPS::NNOptimizerStochasticGradientDescent(device(), 0.1f)
             .encode(commands(), state, {},
                     std::make_shared<MPS::CNNNormalizationGammaAndBetaState>(device()->newBuffer(16),
                                                                              device()->newBuffer(16)));
       },
       "NNOptimizerStochasticGradientDescent.encode: the batch normalization state has no gradients yet; encode "
       "CNNBatchNormalizationStatisticsGradient first"},
  };
}

}  // namespace kovar::test
