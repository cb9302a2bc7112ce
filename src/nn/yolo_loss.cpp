#include "kovar/MPS/NN/CNNYOLOLoss.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/edge.hpp"
#include "nn/core/pointwise.hpp"
#include "nn/labelled_loss.hpp"

namespace kovar::MPS {
namespace {

/// Checks a term and makes its kernel.
Ref<CNNLoss> termOf(const Ref<MTL::Device>& device, const char* property, const Ref<CNNLossDescriptor>& descriptor,
                    const std::vector<CNNLossType>& types, const char* names) {
  const std::string where = std::string("CNNYOLOLoss: ") + property;
  if (!descriptor) base::raise(where + " is null");
  if (std::find(types.begin(), types.end(), descriptor->lossType()) == types.end())
    base::raise(where + ": loss type " + std::to_string(static_cast<std::size_t>(descriptor->lossType())) +
                " does not apply to this term; use " + names);
  return std::make_shared<CNNLoss>(device, descriptor);
}

prim::YoloTerm primTerm(const CNNLoss& loss) {
  prim::YoloTerm t;
  t.type = static_cast<std::uint8_t>(loss.lossType());
  t.weight = loss.weight();
  t.labelSmoothing = loss.labelSmoothing();
  t.epsilon = loss.epsilon();
  t.delta = loss.delta();
  t.numberOfClasses = static_cast<std::int32_t>(loss.numberOfClasses());
  return t;
}

std::vector<float> anchorsOf(const CNNYOLOLossDescriptor& d) {
  constexpr std::size_t kMost = 65536;
  const std::size_t count = d.numberOfAnchorBoxes();
  if (count == 0 || count > kMost)
    base::raise("CNNYOLOLoss: numberOfAnchorBoxes is " + std::to_string(count) + "; it must lie between 1 and " +
                std::to_string(kMost));
  const std::vector<std::byte> bytes = d.anchorBoxes();
  std::vector<float> anchors(2 * count);
  if (bytes.size() < anchors.size() * sizeof(float))
    base::raise("CNNYOLOLoss: " + std::to_string(bytes.size()) + " bytes of anchorBoxes; " + std::to_string(count) +
                " pairs of float32 need " + std::to_string(anchors.size() * sizeof(float)));
  std::memcpy(anchors.data(), bytes.data(), anchors.size() * sizeof(float));
  for (std::size_t i = 0; i < anchors.size(); ++i)
    if (!(anchors[i] > 0.f) || !std::isfinite(anchors[i]))
      base::raise("CNNYOLOLoss: anchor box " + std::to_string(i / 2) + " is " + std::to_string(anchors[i / 2 * 2]) +
                  " x " + std::to_string(anchors[i / 2 * 2 + 1]) + " cells; both sides must be above 0");
  return anchors;
}

}  // namespace

Ref<CNNYOLOLossDescriptor> CNNYOLOLossDescriptor::cnnLossDescriptor(
    CNNLossType xyLossType, CNNLossType whLossType, CNNLossType confidenceLossType, CNNLossType classesLossType,
    CNNReductionType reductionType, std::span<const std::byte> anchorBoxes, std::size_t numberOfAnchorBoxes) {
  const auto term = [&](CNNLossType type) { return CNNLossDescriptor::cnnLossDescriptor(type, reductionType); };
  auto d = std::make_shared<CNNYOLOLossDescriptor>();
  d->xy_ = term(xyLossType);
  d->wh_ = term(whLossType);
  d->confidence_ = term(confidenceLossType);
  d->classes_ = term(classesLossType);
  d->reductionType_ = reductionType;
  d->setAnchorBoxes(anchorBoxes);
  d->numberOfAnchorBoxes_ = numberOfAnchorBoxes;
  return d;
}

Ref<CNNYOLOLossDescriptor> CNNYOLOLossDescriptor::copy() const {
  auto d = std::make_shared<CNNYOLOLossDescriptor>(*this);
  for (Ref<CNNLossDescriptor>* term : {&d->xy_, &d->wh_, &d->confidence_, &d->classes_})
    if (*term) *term = (*term)->copy();
  return d;
}

CNNYOLOLoss::CNNYOLOLoss(const Ref<MTL::Device>& device, const Ref<CNNYOLOLossDescriptor>& lossDescriptor)
    : CNNKernel(device) {
  if (!lossDescriptor) base::raise("CNNYOLOLoss: lossDescriptor is null");
  const CNNYOLOLossDescriptor& d = *lossDescriptor;
  if (d.reductionType() < CNNReductionType::None || d.reductionType() >= CNNReductionType::Count)
    base::raise("CNNYOLOLoss: reductionType " + std::to_string(static_cast<int>(d.reductionType())) +
                " is not a CNNReductionType");
  anchorsOf(d);
  using T = CNNLossType;
  const std::vector<T> box{T::MeanAbsoluteError, T::MeanSquaredError, T::Huber};
  constexpr const char* kBoxNames = "MeanAbsoluteError, MeanSquaredError or Huber";
  xy_ = termOf(device, "xyLossDescriptor", d.xyLossDescriptor(), box, kBoxNames);
  wh_ = termOf(device, "whLossDescriptor", d.whLossDescriptor(), box, kBoxNames);
  confidence_ = termOf(device, "confidenceLossDescriptor", d.confidenceLossDescriptor(),
                       {T::SigmoidCrossEntropy, T::MeanSquaredError}, "SigmoidCrossEntropy or MeanSquaredError");
  classes_ = termOf(device, "classesLossDescriptor", d.classesLossDescriptor(),
                    {T::SoftMaxCrossEntropy, T::SigmoidCrossEntropy}, "SoftMaxCrossEntropy or SigmoidCrossEntropy");
  descriptor_ = d.copy();
}

Ref<Kernel> CNNYOLOLoss::doCopy(const Ref<MTL::Device>& device) {
  const auto copied = std::static_pointer_cast<CNNYOLOLoss>(clone(*this, device));
  for (Ref<CNNLoss>* term : {&copied->xy_, &copied->wh_, &copied->confidence_, &copied->classes_})
    *term = std::static_pointer_cast<CNNLoss>((*term)->copy(device));
  return copied;
}

void CNNYOLOLoss::encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Image>& sourceImage,
                         const Ref<CNNLossLabels>& labels, const Ref<Image>& destinationImage) {
  encodeTo(commandBuffer, {one(sourceImage)}, nn::LabelAccess::checked(*this, "encode", {labels}, 1),
           one(destinationImage), false);
}
Ref<Image> CNNYOLOLoss::encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Image>& sourceImage,
                               const Ref<CNNLossLabels>& labels) {
  return encodeNew(commandBuffer, {one(sourceImage)}, nn::LabelAccess::checked(*this, "encode", {labels}, 1), nullptr,
                   false, false)[0];
}
void CNNYOLOLoss::encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& sourceImages,
                              const CNNLossLabelsBatch& labels, const ImageBatch& destinationImages) {
  encodeTo(commandBuffer, {sourceImages}, nn::LabelAccess::checked(*this, "encodeBatch", labels, sourceImages.size()),
           destinationImages, true);
}
ImageBatch CNNYOLOLoss::encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& sourceImages,
                                    const CNNLossLabelsBatch& labels) {
  return encodeNew(commandBuffer, {sourceImages},
                   nn::LabelAccess::checked(*this, "encodeBatch", labels, sourceImages.size()), nullptr, false, true);
}

void CNNYOLOLoss::doEncode(nn::Call& call) {
  const std::string where = described() + ".encode: ";
  const std::size_t count = numberOfAnchorBoxes(), channels = static_cast<std::size_t>(call.sources[0].c());
  if (channels % count != 0 || channels / count < 6)
    base::raise(where + "the source has " + std::to_string(channels) + " feature channels for " +
                std::to_string(count) + " anchor boxes; each takes 5 and one for every class");
  nn::LabelAccess::encode(call, where, {}, [&](bool weighted, bool single) {
    prim::Yolo d;
    d.xy = primTerm(*xy_);
    d.wh = primTerm(*wh_);
    d.confidence = primTerm(*confidence_);
    d.classes = primTerm(*classes_);
    d.reduction = single ? static_cast<prim::LossReduction>(std::max(reductionType(), CNNReductionType::Sum))
                         : prim::LossReduction::None;
    d.acrossBatch = single && reduceAcrossBatch() && reductionType() != CNNReductionType::None;
    d.weights = weighted;
    d.rescore = descriptor_->rescore();
    d.scaleXY = scaleXY();
    d.scaleWH = scaleWH();
    d.scaleNoObject = scaleNoObject();
    d.scaleObject = scaleObject();
    d.scaleClass = scaleClass();
    d.minForPresence = minIOUForObjectPresence();
    d.maxForAbsence = maxIOUForObjectAbsence();
    d.anchors = static_cast<std::int32_t>(count);
    const nn::Tensor sizes{nn::uploadedOnce(anchorsOnDevice_, device(), anchorsOf(*descriptor_)),
                           prim::View::contiguous(prim::DType::F32, {static_cast<std::int64_t>(count), 2})};
    return nn::LabelledPrim{d, {sizes.read()}};
  });
}

}  // namespace kovar::MPS
