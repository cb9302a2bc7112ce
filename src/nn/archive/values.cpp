#include "nn/archive/values.hpp"

#include <string>
#include <tuple>
#include <utility>

#include "base/edge.hpp"
#include "kovar/MPS/NN/CNNNeuron.hpp"
#include "kovar/MPS/NN/CNNYOLOLoss.hpp"
#include "nn/norm_values.hpp"
#include "nn/weights_cell.hpp"

namespace kovar::nn {
namespace {

template <class E>
constexpr E before(E count) {
  return static_cast<E>(static_cast<std::uint64_t>(count) - 1);
}

}  // namespace

void code(MPS::Archive& coder, Ref<MPS::NNNeuronDescriptor>& descriptor) {
  using MPS::CNNNeuronType;
  const auto d = coder.isReading() ? MPS::NNNeuronDescriptor::cnnNeuronDescriptor(CNNNeuronType::None) : descriptor;
  coder.object("NNNeuronDescriptor", [&] {
    CNNNeuronType type = d->neuronType();
    coder.code("neuronType", type, before(CNNNeuronType::Count));
    if (coder.isReading()) d->setNeuronType(type);
    codeProperty(coder, "a", d->a(), [&](float v) { d->setA(v); });
    codeProperty(coder, "b", d->b(), [&](float v) { d->setB(v); });
    codeProperty(coder, "c", d->c(), [&](float v) { d->setC(v); });
    codeProperty(coder, "data", d->data(), [&](const std::vector<std::byte>& v) { d->setData(v); });
    coder.require(d->data().size() % sizeof(float) == 0, "data", "must be whole floats");
    coder.require(type != CNNNeuronType::PReLU || !d->data().empty(), "data", "must hold the slopes of a PReLU");
  });
  descriptor = d;
}

void code(MPS::Archive& coder, Ref<MPS::CNNLossDescriptor>& descriptor) {
  const auto d = coder.isReading() ? std::make_shared<MPS::CNNLossDescriptor>() : descriptor;
  coder.object("CNNLossDescriptor", [&] {
    auto type = d->lossType();
    auto reduction = d->reductionType();
    coder.code("lossType", type, before(MPS::CNNLossType::Count));
    coder.code("reductionType", reduction, before(MPS::CNNReductionType::Count));
    if (coder.isReading()) {
      d->setLossType(type);
      d->setReductionType(reduction);
    }
    codeProperty(coder, "reduceAcrossBatch", d->reduceAcrossBatch(), [&](bool v) { d->setReduceAcrossBatch(v); });
    codeProperty(coder, "weight", d->weight(), [&](float v) { d->setWeight(v); });
    codeProperty(coder, "labelSmoothing", d->labelSmoothing(), [&](float v) { d->setLabelSmoothing(v); });
    codeProperty(coder, "numberOfClasses", d->numberOfClasses(), [&](std::size_t v) { d->setNumberOfClasses(v); });
    codeProperty(coder, "epsilon", d->epsilon(), [&](float v) { d->setEpsilon(v); });
    codeProperty(coder, "delta", d->delta(), [&](float v) { d->setDelta(v); });
  });
  descriptor = d;
}

void code(MPS::Archive& coder, Ref<MPS::CNNYOLOLossDescriptor>& descriptor) {
  const auto d = coder.isReading() ? std::make_shared<MPS::CNNYOLOLossDescriptor>() : descriptor;
  coder.object("CNNYOLOLossDescriptor", [&] {
    const auto term = [&](Ref<MPS::CNNLossDescriptor> v, auto set) {
      code(coder, v);
      if (coder.isReading()) set(v);
    };
    term(d->xyLossDescriptor(), [&](const auto& v) { d->setXYLossDescriptor(v); });
    term(d->whLossDescriptor(), [&](const auto& v) { d->setWHLossDescriptor(v); });
    term(d->confidenceLossDescriptor(), [&](const auto& v) { d->setConfidenceLossDescriptor(v); });
    term(d->classesLossDescriptor(), [&](const auto& v) { d->setClassesLossDescriptor(v); });
    auto reduction = d->reductionType();
    coder.code("reductionType", reduction, before(MPS::CNNReductionType::Count));
    if (coder.isReading()) d->setReductionType(reduction);
    codeProperty(coder, "reduceAcrossBatch", d->reduceAcrossBatch(), [&](bool v) { d->setReduceAcrossBatch(v); });
    codeProperty(coder, "rescore", d->rescore(), [&](bool v) { d->setRescore(v); });
    codeProperty(coder, "scaleXY", d->scaleXY(), [&](float v) { d->setScaleXY(v); });
    codeProperty(coder, "scaleWH", d->scaleWH(), [&](float v) { d->setScaleWH(v); });
    codeProperty(coder, "scaleNoObject", d->scaleNoObject(), [&](float v) { d->setScaleNoObject(v); });
    codeProperty(coder, "scaleObject", d->scaleObject(), [&](float v) { d->setScaleObject(v); });
    codeProperty(coder, "scaleClass", d->scaleClass(), [&](float v) { d->setScaleClass(v); });
    codeProperty(coder, "minIOUForObjectPresence", d->minIOUForObjectPresence(),
                 [&](float v) { d->setMinIOUForObjectPresence(v); });
    codeProperty(coder, "maxIOUForObjectAbsence", d->maxIOUForObjectAbsence(),
                 [&](float v) { d->setMaxIOUForObjectAbsence(v); });
    codeProperty(coder, "numberOfAnchorBoxes", d->numberOfAnchorBoxes(),
                 [&](std::size_t v) { d->setNumberOfAnchorBoxes(v); });
    codeProperty(coder, "anchorBoxes", d->anchorBoxes(),
                 [&](const std::vector<std::byte>& v) { d->setAnchorBoxes(v); });
  });
  descriptor = d;
}

void code(MPS::Archive& coder, Ref<MPS::CNNConvolutionDescriptor>& descriptor) {
  if (!coder.isReading()) {
    descriptor->copy()->encodeWithCoder(coder);
    return;
  }
  const std::string name = coder.nextClassName();
  if (name == "CNNDepthWiseConvolutionDescriptor")
    descriptor = std::make_shared<MPS::CNNDepthWiseConvolutionDescriptor>(coder);
  else if (name == "CNNSubPixelConvolutionDescriptor")
    descriptor = std::make_shared<MPS::CNNSubPixelConvolutionDescriptor>(coder);
  else
    descriptor = std::make_shared<MPS::CNNConvolutionDescriptor>(coder);
}

void code(MPS::Archive& coder, Ref<MPS::ImageAllocator>& allocator, const std::string& who) {
  bool temporary = allocator == MPS::TemporaryImage::defaultAllocator();
  if (!coder.isReading() && !temporary && allocator != MPS::Image::defaultAllocator())
    base::raise(who +
                ".encodeWithCoder: the image allocator is of the caller's own class, which is not written; set "
                "Image::defaultAllocator(), write, and set yours again, on what is read too");
  coder.code("imageAllocatorIsTemporary", temporary);
  if (coder.isReading())
    allocator = temporary ? MPS::TemporaryImage::defaultAllocator() : MPS::Image::defaultAllocator();
}

void code(MPS::Archive& coder, const Ref<MTL::Device>& device, std::shared_ptr<ChannelPair>& pair, std::size_t channels,
          const char* first, const char* second) {
  std::vector<float> a, b;
  if (!coder.isReading()) std::tie(a, b) = pair->values();
  coder.code(first, a);
  coder.code(second, b);
  if (!coder.isReading()) return;
  coder.require(a.size() == channels, first, "must have one value per feature channel");
  coder.require(b.size() == channels, second, "must have one value per feature channel");
  pair = std::make_shared<ChannelPair>(device, channels, 0.f, 0.f);
  pair->set(a.data(), b.data());
}

void requireDataSource(bool there, const std::string& who, const char* way) {
  if (!there)
    base::raise(who + ": it has no data source, as it was read from an archive; " +
                (way ? std::string("give it one with ") + way : "make a kernel over a data source instead"));
}

}  // namespace kovar::nn

namespace kovar::MPS {

CNNConvolutionDescriptor::CNNConvolutionDescriptor(Archive& coder) : CNNConvolutionDescriptor(1, 1, 1, 1) {
  coder.object(CNNConvolutionDescriptor::className(), [&] { CNNConvolutionDescriptor::doCode(coder); });
}
CNNDepthWiseConvolutionDescriptor::CNNDepthWiseConvolutionDescriptor(Archive& coder)
    : CNNConvolutionDescriptor(1, 1, 1, 1) {
  coder.object(CNNDepthWiseConvolutionDescriptor::className(), [&] { CNNConvolutionDescriptor::doCode(coder); });
}
CNNSubPixelConvolutionDescriptor::CNNSubPixelConvolutionDescriptor(Archive& coder)
    : CNNConvolutionDescriptor(1, 1, 1, 1) {
  coder.object(CNNSubPixelConvolutionDescriptor::className(), [&] { CNNSubPixelConvolutionDescriptor::doCode(coder); });
}

void CNNConvolutionDescriptor::encodeWithCoder(Archive& coder) {
  if (coder.isReading())
    base::raise(std::string(className()) + ".encodeWithCoder: the archive is being read; write into an empty one");
  coder.object(className(), [&] { doCode(coder); });
}

void CNNConvolutionDescriptor::doCode(Archive& coder) {
  coder.code("kernelWidth", kernelWidth_);
  coder.code("kernelHeight", kernelHeight_);
  coder.code("inputFeatureChannels", inputFeatureChannels_);
  coder.code("outputFeatureChannels", outputFeatureChannels_);
  coder.code("strideInPixelsX", strideInPixelsX_);
  coder.code("strideInPixelsY", strideInPixelsY_);
  coder.code("dilationRateX", dilationRateX_);
  coder.code("dilationRateY", dilationRateY_);
  coder.code("groups", groups_);
  nn::code(coder, fusedNeuron_);
  nn::BatchNormConstants bn = batchNorm_ ? *batchNorm_ : nn::BatchNormConstants{};
  coder.code("mean", bn.mean);
  coder.code("variance", bn.variance);
  coder.code("gamma", bn.gamma);
  coder.code("beta", bn.beta);
  coder.code("epsilon", bn.epsilon);
  if (!coder.isReading()) return;
  const auto fits = [&](const std::vector<float>& v, bool mayBeEmpty) {
    return v.size() == bn.mean.size() || (mayBeEmpty && v.empty());
  };
  coder.require(fits(bn.variance, false) && fits(bn.gamma, true) && fits(bn.beta, true), "mean",
                "must have as many values as variance, gamma and beta");
  neuron_ = nullptr;
  if (!bn.mean.empty()) batchNorm_ = std::make_shared<const nn::BatchNormConstants>(std::move(bn));
}

void CNNSubPixelConvolutionDescriptor::doCode(Archive& coder) {
  CNNConvolutionDescriptor::doCode(coder);
  coder.code("subPixelScaleFactor", subPixelScaleFactor_);
}

}  // namespace kovar::MPS
