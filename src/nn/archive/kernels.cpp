// What kernels without weights write and read. Whatever a constructor refuses is refused here too: sizes that were read
// go through the public constructor once more.

#include <string>

#include "base/edge.hpp"
#include "kovar/MPS/Core/Archive.hpp"
#include "kovar/MPS/Core/MatrixRandom.hpp"
#include "kovar/MPS/NN/CNNDropout.hpp"
#include "kovar/MPS/NN/CNNMath.hpp"
#include "kovar/MPS/NN/CNNNormalization.hpp"
#include "kovar/MPS/NN/CNNPooling.hpp"
#include "kovar/MPS/NN/CNNUpsampling.hpp"
#include "kovar/MPS/NN/NNGramMatrix.hpp"
#include "kovar/MPS/NN/NNGridSample.hpp"
#include "kovar/MPS/NN/NNLocalCorrelation.hpp"
#include "kovar/MPS/NN/NNOptimizers.hpp"
#include "kovar/MPS/NN/NNReduce.hpp"
#include "kovar/MPS/NN/NNReshape.hpp"
#include "kovar/MPS/NN/NNResize.hpp"
#include "kovar/MTL/Device.hpp"
#include "nn/archive/values.hpp"
#include "nn/concatenation.hpp"

namespace kovar::MPS {

// --- all kernels

Kernel::Kernel(Archive& /*coder*/, const Ref<MTL::Device>& device) : Kernel(device) {}
Kernel::Kernel(Archive& coder) : Kernel(coder, MTL::createSystemDefaultDevice()) {}

void Kernel::encodeWithCoder(Archive& coder) {
  if (coder.isReading())
    base::raise(described() + ".encodeWithCoder: the archive is being read; write into an empty one");
  coder.object(className(), [&] { doCode(coder); });
}

void Kernel::decode(Archive& coder) {
  if (!coder.isReading())
    base::raise(described() + ": the archive is being written; make one over its data() and read that");
  coder.object(className(), [&] { doCode(coder); });
}

void Kernel::doCode(Archive& coder) {
  constexpr auto kAll = static_cast<KernelOptions>(2 * static_cast<std::size_t>(KernelOptions::Verbose) - 1);
  coder.code("options", options_, kAll);
  coder.code("label", label_);
}

namespace {

/// Of ours only: a caller's own policy is a class that the archive does not know.
void codePadding(Archive& coder, const std::string& who, Ref<NNPadding>& padding) {
  if (!coder.isReading() && !std::dynamic_pointer_cast<NNDefaultPadding>(padding))
    base::raise(who +
                ".encodeWithCoder: the padding policy is of the caller's own class, which is not written; set a "
                "NNDefaultPadding, write, and set yours again, on the kernel that is read too");
  auto method = static_cast<std::uint64_t>(padding->paddingMethod());
  coder.code("padding", method);
  if (coder.isReading()) padding = NNDefaultPadding::padding(static_cast<NNPaddingMethod>(method));
}

}  // namespace

void CNNKernelBase::doCode(Archive& coder) {
  Kernel::doCode(coder);
  for (Source& s : sources_) {
    coder.code("offset", s.offset);
    coder.code("featureChannelOffset", s.featureChannelOffset);
    coder.code("featureChannelMaxCount", s.featureChannelMaxCount);
    coder.code("edgeMode", s.edgeMode, ImageEdgeMode::Constant);
    coder.code("kernelWidth", s.kernelWidth);
    coder.code("kernelHeight", s.kernelHeight);
    coder.code("strideX", s.strideX);
    coder.code("strideY", s.strideY);
    coder.code("dilationX", s.dilationX);
    coder.code("dilationY", s.dilationY);
    coder.code("valid", s.valid);
  }
  coder.code("clipRect", clipRect_);
  coder.code("destinationFeatureChannelOffset", destinationFeatureChannelOffset_);
  coder.require(destinationFeatureChannelOffset_ % 4 == 0, "destinationFeatureChannelOffset",
                "must be a multiple of 4");
  codePadding(coder, described(), padding_);
  nn::code(coder, allocator_, described());
}

void CNNGradientKernel::doCode(Archive& coder) {
  CNNBinaryKernel::doCode(coder);
  coder.code("kernelOffsetX", kernelOffsetX_);
  coder.code("kernelOffsetY", kernelOffsetY_);
}

void CNNMultiaryKernel::doCode(Archive& coder) {
  std::size_t count = sources_.size();
  coder.code("sourceCount", count);
  // Every source takes more than a byte.
  coder.require(count >= 1 && (!coder.isReading() || count <= coder.remaining()), "sourceCount",
                "must be at least 1, and the archive hold as many sources");
  sources_.resize(count);
  CNNKernelBase::doCode(coder);
}

// --- windows

void CNNPooling::doCode(Archive& coder) {
  CNNKernel::doCode(coder);
  const Source& s = sources_[0];
  CNNDilatedPoolingMax(device_, s.kernelWidth, s.kernelHeight, s.dilationX, s.dilationY, s.strideX, s.strideY);
}
void CNNPoolingAverage::doCode(Archive& coder) {
  CNNPooling::doCode(coder);
  coder.code("zeroPadSizeX", zeroPadSizeX_);
  coder.code("zeroPadSizeY", zeroPadSizeY_);
}
void CNNPoolingGradient::doCode(Archive& coder) {
  CNNGradientKernel::doCode(coder);
  coder.code("sourceSize", sourceSize_);
  for (const Source& s : sources_)
    CNNDilatedPoolingMax(device_, s.kernelWidth, s.kernelHeight, s.dilationX, s.dilationY, s.strideX, s.strideY);
}
void CNNPoolingAverageGradient::doCode(Archive& coder) {
  CNNPoolingGradient::doCode(coder);
  coder.code("zeroPadSizeX", zeroPadSizeX_);
  coder.code("zeroPadSizeY", zeroPadSizeY_);
}

void CNNUpsampling::doCode(Archive& coder) {
  CNNKernel::doCode(coder);
  coder.code("alignCorners", alignCorners_);
  CNNUpsamplingNearest(device_, sources_[0].strideX, sources_[0].strideY);
}
void CNNUpsamplingGradient::doCode(Archive& coder) {
  CNNGradientKernel::doCode(coder);
  CNNUpsamplingNearest(device_, sources_[1].strideX, sources_[1].strideY);
}

// --- windows of neighbours

namespace {

void codeEnergy(Archive& coder, float& alpha, float& beta, float& delta) {
  coder.code("alpha", alpha);
  coder.code("beta", beta);
  coder.code("delta", delta);
}
void codeContrast(Archive& coder, float& p0, float& pm, float& ps) {
  coder.code("p0", p0);
  coder.code("pm", pm);
  coder.code("ps", ps);
}

}  // namespace

void CNNSpatialNormalization::doCode(Archive& coder) {
  CNNKernel::doCode(coder);
  codeEnergy(coder, alpha_, beta_, delta_);
  CNNSpatialNormalization(device_, kernelWidth(), kernelHeight());
}
void CNNSpatialNormalizationGradient::doCode(Archive& coder) {
  CNNGradientKernel::doCode(coder);
  codeEnergy(coder, alpha_, beta_, delta_);
  CNNSpatialNormalization(device_, secondaryKernelWidth(), secondaryKernelHeight());
}
void CNNLocalContrastNormalization::doCode(Archive& coder) {
  CNNKernel::doCode(coder);
  codeEnergy(coder, alpha_, beta_, delta_);
  codeContrast(coder, p0_, pm_, ps_);
  CNNLocalContrastNormalization(device_, kernelWidth(), kernelHeight());
}
void CNNLocalContrastNormalizationGradient::doCode(Archive& coder) {
  CNNGradientKernel::doCode(coder);
  codeEnergy(coder, alpha_, beta_, delta_);
  codeContrast(coder, p0_, pm_, ps_);
  CNNLocalContrastNormalization(device_, secondaryKernelWidth(), secondaryKernelHeight());
}
void CNNCrossChannelNormalization::doCode(Archive& coder) {
  CNNKernel::doCode(coder);
  codeEnergy(coder, alpha_, beta_, delta_);
  coder.code("kernelSize", kernelSize_);
  CNNCrossChannelNormalization(device_, std::size_t{kernelSize_});
}
void CNNCrossChannelNormalizationGradient::doCode(Archive& coder) {
  CNNGradientKernel::doCode(coder);
  codeEnergy(coder, alpha_, beta_, delta_);
  coder.code("kernelSize", kernelSize_);
  CNNCrossChannelNormalization(device_, std::size_t{kernelSize_});
}

// --- element by element

void CNNArithmetic::doCode(Archive& coder) {
  CNNBinaryKernel::doCode(coder);
  coder.code("comparisonType", comparison_, NNComparisonType::GreaterOrEqual);
  coder.code("threshold", threshold_);
  coder.code("primaryScale", primaryScale_);
  coder.code("secondaryScale", secondaryScale_);
  coder.code("bias", bias_);
  coder.code("minimumValue", minimum_);
  coder.code("maximumValue", maximum_);
  coder.code("primaryStrideInFeatureChannels", primaryChannelStride_);
  coder.code("secondaryStrideInFeatureChannels", secondaryChannelStride_);
  setPrimaryStrideInFeatureChannels(primaryChannelStride_);
  setSecondaryStrideInFeatureChannels(secondaryChannelStride_);
}
void CNNArithmeticGradient::doCode(Archive& coder) {
  CNNGradientKernel::doCode(coder);
  coder.code("isSecondarySourceFilter", isSecondary_);
  coder.code("primaryScale", primaryScale_);
  coder.code("secondaryScale", secondaryScale_);
  coder.code("bias", bias_);
  coder.code("minimumValue", minimum_);
  coder.code("maximumValue", maximum_);
  coder.code("secondaryStrideInFeatureChannels", secondaryChannelStride_);
  setSecondaryStrideInFeatureChannels(secondaryChannelStride_);
}

void CNNDropout::doCode(Archive& coder) {
  CNNKernel::doCode(coder);
  coder.code("keepProbability", keepProbability_);
  coder.code("seed", seed_);
  coder.code("maskStrideInPixels", maskStride_);
  CNNDropout(device_, keepProbability_, seed_, maskStride_);
}
void CNNDropoutGradient::doCode(Archive& coder) {
  CNNGradientKernel::doCode(coder);
  coder.code("keepProbability", keepProbability_);
  coder.code("seed", seed_);
  coder.code("maskStrideInPixels", maskStride_);
  CNNDropout(device_, keepProbability_, seed_, maskStride_);
}

// --- reductions and products

void NNReduceUnary::doCode(Archive& coder) {
  CNNKernel::doCode(coder);
  coder.code("ignoredOffset", offset_);
}
void NNReduceFeatureChannelsSum::doCode(Archive& coder) {
  NNReduceUnary::doCode(coder);
  coder.code("weight", weight_);
}
void NNReduceBinary::doCode(Archive& coder) {
  CNNBinaryKernel::doCode(coder);
  coder.code("ignoredPrimaryOffset", primaryOffset_);
  coder.code("ignoredSecondaryOffset", secondaryOffset_);
}
void NNReduceFeatureChannelsAndWeightsSum::doCode(Archive& coder) {
  NNReduceBinary::doCode(coder);
  coder.code("doWeightedSumByNonZeroWeights", byNonZeroWeights_);
}
void NNGramMatrixCalculation::doCode(Archive& coder) {
  CNNKernel::doCode(coder);
  coder.code("alpha", alpha_);
}
void NNGramMatrixCalculationGradient::doCode(Archive& coder) {
  CNNGradientKernel::doCode(coder);
  coder.code("alpha", alpha_);
}
void NNLocalCorrelation::doCode(Archive& coder) {
  CNNBinaryKernel::doCode(coder);
  coder.code("windowInX", windowX_);
  coder.code("windowInY", windowY_);
  coder.code("strideInX", strideX_);
  coder.code("strideInY", strideY_);
}

// --- moves

void NNPad::doCode(Archive& coder) {
  CNNKernel::doCode(coder);
  coder.code("paddingSizeBefore", before_);
  coder.code("paddingSizeAfter", after_);
  coder.code("fillValue", fillValue_);
  coder.code("fillValueArray", fillValues_);
}
void NNGridSample::doCode(Archive& coder) {
  CNNBinaryKernel::doCode(coder);
  coder.code("useGridValueAsInputCoordinate", absolute_);
}
void NNResizeBilinear::doCode(Archive& coder) {
  CNNKernel::doCode(coder);
  coder.code("resizeWidth", width_);
  coder.code("resizeHeight", height_);
  coder.code("alignCorners", alignCorners_);
  NNResizeBilinear(device_, width_, height_, alignCorners_);
}
void NNCropAndResizeBilinear::doCode(Archive& coder) {
  CNNKernel::doCode(coder);
  coder.code("resizeWidth", width_);
  coder.code("resizeHeight", height_);
  std::vector<double> boxes;  // six numbers each
  if (!coder.isReading())
    for (const Region& r : *regions_)
      boxes.insert(boxes.end(), {r.origin.x, r.origin.y, r.origin.z, r.size.width, r.size.height, r.size.depth});
  coder.code("regions", boxes);
  if (!coder.isReading()) return;
  coder.require(boxes.size() % 6 == 0, "regions", "must have six numbers each");
  std::vector<Region> regions;
  for (std::size_t i = 0; i < boxes.size(); i += 6)
    regions.push_back({{boxes[i], boxes[i + 1], boxes[i + 2]}, {boxes[i + 3], boxes[i + 4], boxes[i + 5]}});
  regions_ = NNCropAndResizeBilinear(device_, width_, height_, regions).regions_;
}

// --- not on images

void MatrixRandom::doCode(Archive& coder) {
  Kernel::doCode(coder);
  coder.code("destinationDataType", dataType_, DataType::Float32);
  coder.code("seed", seed_);
  coder.code("batchStart", batchStart_);
  coder.code("batchSize", batchSize_);
  const auto d = std::make_shared<MatrixRandomDistributionDescriptor>(*distribution_);
  coder.code("distributionType", d->type_, MatrixRandomDistribution::Normal);
  coder.require(d->type_ >= MatrixRandomDistribution::Default, "distributionType", "is not a value of its enumeration");
  coder.code("minimum", d->minimum_);
  coder.code("maximum", d->maximum_);
  coder.code("mean", d->mean_);
  coder.code("standardDeviation", d->standardDeviation_);
  coder.code("lowest", d->lowest_);
  coder.code("highest", d->highest_);
  const MatrixRandomPhilox checked(device_, dataType_, seed_, d);  // refuses what no kernel can have
  distribution_ = d;
}

void NNOptimizer::doCode(Archive& coder) {
  Kernel::doCode(coder);
  coder.code("learningRate", learningRate_);
  coder.code("gradientRescale", gradientRescale_);
  coder.code("applyGradientClipping", applyGradientClipping_);
  coder.code("gradientClipMax", gradientClipMax_);
  coder.code("gradientClipMin", gradientClipMin_);
  coder.code("regularizationType", regularizationType_, NNRegularizationType::L2);
  coder.code("regularizationScale", regularizationScale_);
}

namespace {

/// What the constructors of optimizers refuse.
Ref<NNOptimizerDescriptor> asDescriptor(const NNOptimizer& o) {
  return NNOptimizerDescriptor::optimizerDescriptor(o.learningRate(), o.gradientRescale(), o.applyGradientClipping(),
                                                    o.gradientClipMax(), o.gradientClipMin(), o.regularizationType(),
                                                    o.regularizationScale());
}

}  // namespace

void NNOptimizerStochasticGradientDescent::doCode(Archive& coder) {
  NNOptimizer::doCode(coder);
  coder.code("momentumScale", momentumScale_);
  coder.code("useNesterovMomentum", useNesterovMomentum_);
  NNOptimizerStochasticGradientDescent(device_, momentumScale_, useNesterovMomentum_, asDescriptor(*this));
}
void NNOptimizerRMSProp::doCode(Archive& coder) {
  NNOptimizer::doCode(coder);
  coder.code("decay", decay_);
  coder.code("epsilon", epsilon_);
  NNOptimizerRMSProp(device_, decay_, epsilon_, asDescriptor(*this));
}
void NNOptimizerAdam::doCode(Archive& coder) {
  NNOptimizer::doCode(coder);
  coder.code("beta1", beta1_);
  coder.code("beta2", beta2_);
  coder.code("epsilon", epsilon_);
  coder.code("timeStep", timeStep_);
  NNOptimizerAdam(device_, beta1_, beta2_, epsilon_, timeStep_, asDescriptor(*this));
}

}  // namespace kovar::MPS

namespace kovar::nn {

void ConcatenationGradient::doCode(MPS::Archive& coder) {
  CNNGradientKernel::doCode(coder);
  coder.code("index", index_);
}

}  // namespace kovar::nn
