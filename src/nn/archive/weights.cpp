// What kernels with weights write and read: the values in force, so that a kernel that was read needs no data source.

#include <string>
#include <utility>

#include "base/edge.hpp"
#include "kovar/MPS/NN/CNNFullyConnected.hpp"
#include "nn/archive/values.hpp"
#include "nn/binary_weights.hpp"
#include "nn/convolution_geometry.hpp"
#include "nn/fused_activation.hpp"
#include "nn/normalization_access.hpp"

namespace kovar::MPS {

// --- convolutions

void CNNConvolution::doCode(Archive& coder) {
  CNNKernel::doCode(coder);
  nn::WeightsCell::code(coder, device_, cell_, className(), nn::WeightsForm::AsGiven);
  coder.code("accumulatorPrecisionOption", accumulatorPrecision_, NNConvolutionAccumulatorPrecisionOption::Float);
  nn::takeWindow(cell_->descriptor(), sources_[0]);
}
void CNNFullyConnected::doCode(Archive& coder) {
  CNNConvolution::doCode(coder);
  const CNNFullyConnected rules(cell_);
}
void CNNConvolutionGradient::doCode(Archive& coder) {
  CNNGradientKernel::doCode(coder);
  nn::WeightsCell::code(coder, device_, cell_, className(), nn::WeightsForm::AsGiven);
  coder.code("gradientOption", option_, CNNConvolutionGradientOption::All);
  coder.code("serializeWeightsAndBiases", serializeWeightsAndBiases_);
  setGradientOption(option_);
  for (Source& s : sources_) nn::takeWindow(cell_->descriptor(), s);
  const CNNConvolutionGradient rules(cell_, className());
}
void CNNFullyConnectedGradient::doCode(Archive& coder) {
  CNNConvolutionGradient::doCode(coder);
  const CNNFullyConnectedGradient rules(cell_);
}
void CNNConvolutionTranspose::doCode(Archive& coder) {
  CNNKernel::doCode(coder);
  nn::WeightsCell::code(coder, device_, cell_, className(), nn::WeightsForm::Turned);
  coder.code("kernelOffsetX", kernelOffsetX_);
  coder.code("kernelOffsetY", kernelOffsetY_);
  coder.code("accumulatorPrecisionOption", accumulatorPrecision_, NNConvolutionAccumulatorPrecisionOption::Float);
  nn::takeWindow(cell_->descriptor(), sources_[0]);
  const CNNConvolutionTranspose rules(cell_);
}
void CNNConvolutionTransposeGradient::doCode(Archive& coder) {
  CNNGradientKernel::doCode(coder);
  nn::WeightsCell::code(coder, device_, cell_, className(), nn::WeightsForm::Turned);
  coder.code("gradientOption", option_, CNNConvolutionGradientOption::All);
  setGradientOption(option_);
  for (Source& s : sources_) nn::takeWindow(cell_->descriptor(), s);
  const CNNConvolutionTransposeGradient rules(cell_);
}

void CNNBinaryConvolution::doCode(Archive& coder) {
  CNNKernel::doCode(coder);
  nn::codeBinary(coder, device_, parts_, className());
  nn::takeWindow(*parts_->descriptor, sources_[0]);
}
void CNNBinaryFullyConnected::doCode(Archive& coder) {
  CNNBinaryConvolution::doCode(coder);
  const Source& s = sources_[0];
  coder.require(s.strideX == 1 && s.strideY == 1 && s.dilationX == 1 && s.dilationY == 1, "strideInPixelsX",
                "and the dilation rates must be 1");
}

// --- normalizations

namespace {

void codeChannels(Archive& coder, std::size_t& channels, std::size_t& groups, float& epsilon, const std::string& who) {
  coder.code("numberOfFeatureChannels", channels);
  coder.code("numberOfGroups", groups);
  coder.code("epsilon", epsilon);
  coder.require(channels > 0 && groups > 0 && channels % groups == 0, "numberOfGroups",
                "must divide the number of feature channels");
  nn::checkedEpsilon(who, epsilon);
}

void codeActivation(Archive& coder, const Ref<MTL::Device>& device,
                    std::shared_ptr<const nn::FusedActivation>& activation) {
  Ref<NNNeuronDescriptor> neuron = activation ? activation->neuron : NNNeuronDescriptor::cnnNeuronDescriptor({});
  nn::code(coder, neuron);
  if (coder.isReading()) activation = nn::activationOf(device, neuron);
}

}  // namespace

CNNBatchNormalizationDataSource::CNNBatchNormalizationDataSource(Archive& /*coder*/) {}
void CNNBatchNormalizationDataSource::encodeWithCoder(Archive&) {}
CNNGroupNormalizationDataSource::CNNGroupNormalizationDataSource(Archive& /*coder*/) {}
void CNNGroupNormalizationDataSource::encodeWithCoder(Archive&) {}
CNNInstanceNormalizationDataSource::CNNInstanceNormalizationDataSource(Archive& /*coder*/) {}
void CNNInstanceNormalizationDataSource::encodeWithCoder(Archive&) {}

void CNNBatchNormalization::doCode(Archive& coder) {
  CNNKernel::doCode(coder);
  std::size_t groups = 1;
  codeChannels(coder, channels_, groups, epsilon_, described());
  nn::code(coder, device_, values_, channels_, "gamma", "beta");
  nn::code(coder, device_, running_, channels_, "mean", "variance");
  codeActivation(coder, device_, activation_);
  coder.code("takesStatistics", takesStatistics_);
  nn::checkSlopes(activation_.get(), channels_, *this);
}
void CNNBatchNormalizationStatisticsGradient::doCode(Archive& coder) {
  CNNGradientKernel::doCode(coder);
  codeActivation(coder, device_, activation_);
}
void CNNBatchNormalizationGradient::doCode(Archive& coder) {
  CNNGradientKernel::doCode(coder);
  codeActivation(coder, device_, activation_);
  coder.code("takesSums", takesSums_);
}
void CNNInstanceNormalization::doCode(Archive& coder) {
  CNNKernel::doCode(coder);
  codeChannels(coder, channels_, groups_, epsilon_, described());
  nn::code(coder, device_, values_, channels_, "gamma", "beta");
}
void CNNGroupNormalization::doCode(Archive& coder) {
  CNNKernel::doCode(coder);
  codeChannels(coder, channels_, groups_, epsilon_, described());
  nn::code(coder, device_, values_, channels_, "gamma", "beta");
}

}  // namespace kovar::MPS
