// The table of classes by name, for reading a kernel of any class.

#include <string>
#include <string_view>
#include <vector>

#include "base/edge.hpp"
#include "kovar/MPS/Core/Archive.hpp"
#include "kovar/MPS/Core/MatrixRandom.hpp"
#include "kovar/MPS/NN/CNNBatchNormalization.hpp"
#include "kovar/MPS/NN/CNNBinaryConvolution.hpp"
#include "kovar/MPS/NN/CNNConvolution.hpp"
#include "kovar/MPS/NN/CNNConvolutionTranspose.hpp"
#include "kovar/MPS/NN/CNNDropout.hpp"
#include "kovar/MPS/NN/CNNFullyConnected.hpp"
#include "kovar/MPS/NN/CNNGroupNormalization.hpp"
#include "kovar/MPS/NN/CNNInstanceNormalization.hpp"
#include "kovar/MPS/NN/CNNLoss.hpp"
#include "kovar/MPS/NN/CNNMath.hpp"
#include "kovar/MPS/NN/CNNNeuron.hpp"
#include "kovar/MPS/NN/CNNNormalization.hpp"
#include "kovar/MPS/NN/CNNPooling.hpp"
#include "kovar/MPS/NN/CNNSoftMax.hpp"
#include "kovar/MPS/NN/CNNUpsampling.hpp"
#include "kovar/MPS/NN/CNNYOLOLoss.hpp"
#include "kovar/MPS/NN/NNGramMatrix.hpp"
#include "kovar/MPS/NN/NNGridSample.hpp"
#include "kovar/MPS/NN/NNLocalCorrelation.hpp"
#include "kovar/MPS/NN/NNLoss.hpp"
#include "kovar/MPS/NN/NNOptimizers.hpp"
#include "kovar/MPS/NN/NNReduce.hpp"
#include "kovar/MPS/NN/NNReshape.hpp"
#include "kovar/MPS/NN/NNResize.hpp"
#include "kovar/MPS/NN/NNSlice.hpp"
#include "nn/concatenation.hpp"
#include "nn/reduce.hpp"

namespace kovar::MPS {
namespace {

struct Row {
  std::string_view name;
  Ref<Kernel> (*read)(Archive& coder, const Ref<MTL::Device>& device);
};

template <class K>
constexpr Row row(std::string_view name) {
  return {name, [](Archive& coder, const Ref<MTL::Device>& device) -> Ref<Kernel> {
            return std::make_shared<K>(coder, device);
          }};
}

constexpr Row kRows[] = {
    row<CNNAdd>("CNNAdd"),
    row<CNNAddGradient>("CNNAddGradient"),
    row<CNNBatchNormalization>("CNNBatchNormalization"),
    row<CNNBatchNormalizationGradient>("CNNBatchNormalizationGradient"),
    row<CNNBatchNormalizationStatistics>("CNNBatchNormalizationStatistics"),
    row<CNNBatchNormalizationStatisticsGradient>("CNNBatchNormalizationStatisticsGradient"),
    row<CNNBinaryConvolution>("CNNBinaryConvolution"),
    row<CNNBinaryFullyConnected>("CNNBinaryFullyConnected"),
    row<CNNConvolution>("CNNConvolution"),
    row<CNNConvolutionGradient>("CNNConvolutionGradient"),
    row<CNNConvolutionTranspose>("CNNConvolutionTranspose"),
    row<CNNConvolutionTransposeGradient>("CNNConvolutionTransposeGradient"),
    row<CNNCrossChannelNormalization>("CNNCrossChannelNormalization"),
    row<CNNCrossChannelNormalizationGradient>("CNNCrossChannelNormalizationGradient"),
    row<CNNDilatedPoolingMax>("CNNDilatedPoolingMax"),
    row<CNNDilatedPoolingMaxGradient>("CNNDilatedPoolingMaxGradient"),
    row<CNNDivide>("CNNDivide"),
    row<CNNDropout>("CNNDropout"),
    row<CNNDropoutGradient>("CNNDropoutGradient"),
    row<CNNFullyConnected>("CNNFullyConnected"),
    row<CNNFullyConnectedGradient>("CNNFullyConnectedGradient"),
    row<CNNGroupNormalization>("CNNGroupNormalization"),
    row<CNNGroupNormalizationGradient>("CNNGroupNormalizationGradient"),
    row<CNNInstanceNormalization>("CNNInstanceNormalization"),
    row<CNNInstanceNormalizationGradient>("CNNInstanceNormalizationGradient"),
    row<CNNLocalContrastNormalization>("CNNLocalContrastNormalization"),
    row<CNNLocalContrastNormalizationGradient>("CNNLocalContrastNormalizationGradient"),
    row<CNNLogSoftMax>("CNNLogSoftMax"),
    row<CNNLogSoftMaxGradient>("CNNLogSoftMaxGradient"),
    row<CNNLoss>("CNNLoss"),
    row<CNNMultiply>("CNNMultiply"),
    row<CNNMultiplyGradient>("CNNMultiplyGradient"),
    row<CNNNeuron>("CNNNeuron"),
    row<CNNNeuronAbsolute>("CNNNeuronAbsolute"),
    row<CNNNeuronELU>("CNNNeuronELU"),
    row<CNNNeuronExponential>("CNNNeuronExponential"),
    row<CNNNeuronGradient>("CNNNeuronGradient"),
    row<CNNNeuronHardSigmoid>("CNNNeuronHardSigmoid"),
    row<CNNNeuronLinear>("CNNNeuronLinear"),
    row<CNNNeuronLogarithm>("CNNNeuronLogarithm"),
    row<CNNNeuronPReLU>("CNNNeuronPReLU"),
    row<CNNNeuronPower>("CNNNeuronPower"),
    row<CNNNeuronReLU>("CNNNeuronReLU"),
    row<CNNNeuronReLUN>("CNNNeuronReLUN"),
    row<CNNNeuronSigmoid>("CNNNeuronSigmoid"),
    row<CNNNeuronSoftPlus>("CNNNeuronSoftPlus"),
    row<CNNNeuronSoftSign>("CNNNeuronSoftSign"),
    row<CNNNeuronTanH>("CNNNeuronTanH"),
    row<CNNPooling>("CNNPooling"),
    row<CNNPoolingAverage>("CNNPoolingAverage"),
    row<CNNPoolingAverageGradient>("CNNPoolingAverageGradient"),
    row<CNNPoolingGradient>("CNNPoolingGradient"),
    row<CNNPoolingL2Norm>("CNNPoolingL2Norm"),
    row<CNNPoolingL2NormGradient>("CNNPoolingL2NormGradient"),
    row<CNNPoolingMax>("CNNPoolingMax"),
    row<CNNPoolingMaxGradient>("CNNPoolingMaxGradient"),
    row<CNNSoftMax>("CNNSoftMax"),
    row<CNNSoftMaxGradient>("CNNSoftMaxGradient"),
    row<CNNSpatialNormalization>("CNNSpatialNormalization"),
    row<CNNSpatialNormalizationGradient>("CNNSpatialNormalizationGradient"),
    row<CNNSubtract>("CNNSubtract"),
    row<CNNSubtractGradient>("CNNSubtractGradient"),
    row<CNNUpsamplingBilinear>("CNNUpsamplingBilinear"),
    row<CNNUpsamplingBilinearGradient>("CNNUpsamplingBilinearGradient"),
    row<CNNUpsamplingNearest>("CNNUpsamplingNearest"),
    row<CNNUpsamplingNearestGradient>("CNNUpsamplingNearestGradient"),
    row<CNNYOLOLoss>("CNNYOLOLoss"),
    row<MatrixRandomMTGP32>("MatrixRandomMTGP32"),
    row<MatrixRandomPhilox>("MatrixRandomPhilox"),
    row<NNCompare>("NNCompare"),
    row<NNCropAndResizeBilinear>("NNCropAndResizeBilinear"),
    row<NNForwardLoss>("NNForwardLoss"),
    row<NNGramMatrixCalculation>("NNGramMatrixCalculation"),
    row<NNGramMatrixCalculationGradient>("NNGramMatrixCalculationGradient"),
    row<NNGridSample>("NNGridSample"),
    row<NNInitialGradient>("NNInitialGradient"),
    row<NNLocalCorrelation>("NNLocalCorrelation"),
    row<NNLossGradient>("NNLossGradient"),
    row<NNOptimizerAdam>("NNOptimizerAdam"),
    row<NNOptimizerRMSProp>("NNOptimizerRMSProp"),
    row<NNOptimizerStochasticGradientDescent>("NNOptimizerStochasticGradientDescent"),
    row<NNPad>("NNPad"),
    row<NNPadGradient>("NNPadGradient"),
    row<NNReduceColumnMax>("NNReduceColumnMax"),
    row<NNReduceColumnMean>("NNReduceColumnMean"),
    row<NNReduceColumnMin>("NNReduceColumnMin"),
    row<NNReduceColumnSum>("NNReduceColumnSum"),
    row<NNReduceFeatureChannelsAndWeightsMean>("NNReduceFeatureChannelsAndWeightsMean"),
    row<NNReduceFeatureChannelsAndWeightsSum>("NNReduceFeatureChannelsAndWeightsSum"),
    row<NNReduceFeatureChannelsArgumentMax>("NNReduceFeatureChannelsArgumentMax"),
    row<NNReduceFeatureChannelsArgumentMin>("NNReduceFeatureChannelsArgumentMin"),
    row<NNReduceFeatureChannelsMax>("NNReduceFeatureChannelsMax"),
    row<NNReduceFeatureChannelsMean>("NNReduceFeatureChannelsMean"),
    row<NNReduceFeatureChannelsMin>("NNReduceFeatureChannelsMin"),
    row<NNReduceFeatureChannelsSum>("NNReduceFeatureChannelsSum"),
    row<NNReduceRowMax>("NNReduceRowMax"),
    row<NNReduceRowMean>("NNReduceRowMean"),
    row<NNReduceRowMin>("NNReduceRowMin"),
    row<NNReduceRowSum>("NNReduceRowSum"),
    row<NNReshape>("NNReshape"),
    row<NNReshapeGradient>("NNReshapeGradient"),
    row<NNResizeBilinear>("NNResizeBilinear"),
    row<NNSlice>("NNSlice"),
    // Stages of graphs that have no class in the documented interface.
    row<nn::Concatenation>("NNConcatenationNode"),
    row<nn::ConcatenationGradient>("NNConcatenationGradientNode"),
    row<nn::SpatialMean>("NNReductionSpatialMeanNode"),
    row<nn::SpatialMeanGradient>("NNReductionSpatialMeanGradientNode"),
};

}  // namespace

std::vector<std::string> Archive::kernelClasses() {
  std::vector<std::string> names;
  for (const Row& r : kRows) names.emplace_back(r.name);
  return names;
}

Ref<Kernel> Archive::decodeKernel(const Ref<MTL::Device>& device) {
  if (!reading_) base::raise("Archive.decodeKernel: the archive is being written; make one over its data()");
  const std::string name = nextClassName();
  if (name.empty()) base::raise("Archive.decodeKernel: the archive is at its end; nothing is left to read");
  for (const Row& r : kRows)
    if (r.name == name) return r.read(*this, device);
  base::raise("Archive.decodeKernel: the archive holds a " + name +
              " here, which is not in the table of kernels; read descriptors and graphs with the constructors of "
              "their classes");
}

}  // namespace kovar::MPS
