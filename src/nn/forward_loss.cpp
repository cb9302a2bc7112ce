#include <algorithm>
#include <string>
#include <utility>

#include "base/edge.hpp"
#include "kovar/MPS/NN/NNLoss.hpp"
#include "nn/core/access.hpp"

namespace kovar::nn {
namespace {

/// What the forward kernel was set to, for its gradient.
struct LossRecord : ForwardRecord {
  MPS::NNLossScalars scalars;
};

MPS::NNLossScalars scalarsOf(const MPS::CNNLossDescriptor& d) {
  return {d.weight(), d.labelSmoothing(), d.epsilon(), d.delta()};
}

std::string text(const Tensor& t) {
  return std::to_string(t.w()) + " x " + std::to_string(t.h()) + " x " + std::to_string(t.c());
}

/// Labels or weights cut to what belongs to the source. stretches: a side of 1 serves all of the source's.
Tensor fitted(const std::string& where, const char* what, Tensor t, const Tensor& source, bool stretches) {
  for (int axis = 1; axis < 4; ++axis) {
    if (stretches && t.view.dim(axis) == 1) continue;
    if (t.view.dim(axis) < source.view.dim(axis))
      base::raise(where + what + " are " + text(t) + ", the prediction " + text(source) +
                  "; they must be at least as large");
    t.view.cut(axis, 0, source.view.dim(axis));
  }
  return t;
}

prim::Loss lossOf(const MPS::CNNLossDescriptor& d, const MPS::NNLossScalars& scalars, bool weighted) {
  prim::Loss l;
  l.type = static_cast<std::uint8_t>(d.lossType());
  l.reduction = static_cast<prim::LossReduction>(d.reductionType());
  l.acrossBatch = d.reduceAcrossBatch() && d.reductionType() != MPS::CNNReductionType::None;
  l.weights = weighted;
  l.labelSmoothing = scalars.labelSmoothing;
  l.epsilon = scalars.epsilon;
  l.delta = scalars.delta;
  l.numberOfClasses = static_cast<std::int32_t>(d.numberOfClasses());
  return l;
}

void checkSize(const std::string& where, const char* what, const Tensor& t, std::int64_t h, std::int64_t w,
               std::int64_t c) {
  if (t.h() == h && t.w() == w && t.c() == c) return;
  base::raise(where + what + " is " + text(t) + "; it must be " + std::to_string(w) + " x " + std::to_string(h) +
              " x " + std::to_string(c));
}

/// Lets a kernel read further images, of default properties, while it lives.
template <class Sources>
class MoreSources {
 public:
  MoreSources(Sources& sources, std::size_t count) : sources_(sources), before_(sources.size()) {
    sources_.resize(count);
  }
  ~MoreSources() { sources_.resize(before_); }
  MoreSources(const MoreSources&) = delete;
  MoreSources& operator=(const MoreSources&) = delete;

 private:
  Sources& sources_;
  std::size_t before_;
};

}  // namespace
}  // namespace kovar::nn

namespace kovar::MPS {

// --- the value

NNForwardLoss::NNForwardLoss(const Ref<MTL::Device>& device, const Ref<CNNLossDescriptor>& lossDescriptor)
    : CNNKernel(device) {
  if (!lossDescriptor) base::raise("NNForwardLoss: lossDescriptor is null");
  const CNNLoss rules(device, lossDescriptor);  // refuses the same descriptors
  descriptor_ = lossDescriptor->copy();
  scalars_ = nn::scalarsOf(*descriptor_);
}

void NNForwardLoss::encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& sourceImages,
                                const ImageBatch& labels, const ImageBatch& weights,
                                const StateBatch& destinationStates, const ImageBatch& destinationImages) {
  const nn::MoreSources more(sources_, weights.empty() ? 2 : 3);
  if (weights.empty())
    encodeTo(commandBuffer, {sourceImages, labels}, destinationStates, destinationImages, true);
  else
    encodeTo(commandBuffer, {sourceImages, labels, weights}, destinationStates, destinationImages, true);
}

ImageBatch NNForwardLoss::encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& sourceImages,
                                      const ImageBatch& labels, const ImageBatch& weights,
                                      StateBatch* destinationStates, bool destinationStateIsTemporary) {
  const nn::MoreSources more(sources_, weights.empty() ? 2 : 3);
  if (weights.empty())
    return encodeNew(commandBuffer, {sourceImages, labels}, {}, destinationStates, destinationStateIsTemporary, true);
  return encodeNew(commandBuffer, {sourceImages, labels, weights}, {}, destinationStates, destinationStateIsTemporary,
                   true);
}

std::size_t NNForwardLoss::doDestinationChannels(const std::vector<std::size_t>& used) {
  return reductionType() == CNNReductionType::None ? used[0] : 1;
}

Ref<ImageDescriptor> NNForwardLoss::doDestinationImageDescriptor(const std::vector<Ref<Image>>& sourceImages,
                                                                 const std::vector<Ref<State>>& sourceStates) {
  Ref<ImageDescriptor> d = CNNKernel::doDestinationImageDescriptor(sourceImages, sourceStates);
  if (reductionType() == CNNReductionType::None) return d;
  d->setWidth(1);
  d->setHeight(1);
  return d;
}

Ref<State> NNForwardLoss::doResultState(const nn::StateRequest& request) {
  auto record = std::make_shared<nn::LossRecord>();
  static_cast<nn::ForwardRecord&>(*record) = request.record;
  record->scalars = scalars_;
  return nn::Access::plainGradientState(request, std::move(record));
}

void NNForwardLoss::doEncode(nn::Call& call) {
  const std::string where = described() + ".encodeBatch: ";
  if (call.sources.size() < 2) base::raise(where + "needs labels; use the forms that take label images");
  const nn::Tensor& source = call.sources[0];
  const bool weighted = call.sources.size() > 2;
  if (weighted && lossType() == CNNLossType::CosineDistance)
    base::raise(where + "CosineDistance takes no weights; use the weight property");
  if (reductionType() == CNNReductionType::None)
    nn::checkSize(where, "the destination", call.destination, source.h(), source.w(), source.c());
  else
    nn::checkSize(where, "the destination", call.destination, 1, 1, 1);
  prim::Loss loss = nn::lossOf(*descriptor_, scalars_, weighted);
  loss.writeGradient = false;
  std::vector<rt::Operand> operands{source.read(), nn::fitted(where, "labels", call.sources[1], source, false).read()};
  if (weighted) operands.push_back(nn::fitted(where, "weights", call.sources[2], source, true).read());
  operands.push_back(call.destination.write());
  prim::Scalars scalars;
  scalars.f[0] = scalars_.weight;
  call.list.op(loss, operands, scalars);
}

// --- the gradient

NNLossGradient::NNLossGradient(const Ref<MTL::Device>& device, const Ref<CNNLossDescriptor>& lossDescriptor)
    : CNNBinaryKernel(device) {
  if (!lossDescriptor) base::raise("NNLossGradient: lossDescriptor is null");
  const CNNLoss rules(device, lossDescriptor);  // refuses the same descriptors
  descriptor_ = lossDescriptor->copy();
  scalars_ = nn::scalarsOf(*descriptor_);
  isBackwards_ = true;
}

ImageBatch NNLossGradient::encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& sourceGradients,
                                       const ImageBatch& sourceImages, const ImageBatch& labels,
                                       const ImageBatch& weights, const StateBatch& sourceStates) {
  const nn::MoreSources more(sources_, weights.empty() ? 3 : 4);
  ImageBatch result = weights.empty() ? encodeNew(commandBuffer, {sourceGradients, sourceImages, labels}, sourceStates,
                                                  nullptr, false, true)
                                      : encodeNew(commandBuffer, {sourceGradients, sourceImages, labels, weights},
                                                  sourceStates, nullptr, false, true);
  nn::Access::chargeRead(sourceStates);
  return result;
}

void NNLossGradient::encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& sourceGradients,
                                 const ImageBatch& sourceImages, const ImageBatch& labels, const ImageBatch& weights,
                                 const StateBatch& sourceStates, const ImageBatch& destinationGradients) {
  const nn::MoreSources more(sources_, weights.empty() ? 3 : 4);
  if (weights.empty())
    encodeTo(commandBuffer, {sourceGradients, sourceImages, labels}, sourceStates, destinationGradients, true);
  else
    encodeTo(commandBuffer, {sourceGradients, sourceImages, labels, weights}, sourceStates, destinationGradients, true);
  nn::Access::chargeRead(sourceStates);
}

std::size_t NNLossGradient::doDestinationChannels(const std::vector<std::size_t>& used) { return used.at(1); }

Ref<ImageDescriptor> NNLossGradient::doDestinationImageDescriptor(const std::vector<Ref<Image>>& sourceImages,
                                                                  const std::vector<Ref<State>>&) {
  const Image& image = *sourceImages[1];
  const std::size_t first = std::min(sources_[1].featureChannelOffset, image.featureChannels());
  auto d = ImageDescriptor::imageDescriptor(
      ImageFeatureChannelFormat::None, image.width(), image.height(),
      std::min(sources_[1].featureChannelMaxCount, image.featureChannels() - first) + destinationFeatureChannelOffset_);
  d->setNumberOfImages(image.numberOfImages());
  return d;
}

void NNLossGradient::doEncode(nn::Call& call) {
  const std::string where = described() + ".encodeBatch: ";
  if (call.sources.size() < 3) base::raise(where + "needs labels; use the forms that take label images");
  nn::Tensor incoming = call.sources[0];
  const nn::Tensor& source = call.sources[1];
  const bool weighted = call.sources.size() > 3;
  if (weighted && lossType() == CNNLossType::CosineDistance)
    base::raise(where + "CosineDistance takes no weights; use the weight property");
  nn::checkSize(where, "the destination", call.destination, source.h(), source.w(), source.c());
  const bool one = incoming.h() == 1 && incoming.w() == 1 && incoming.c() == 1;
  if (reductionType() != CNNReductionType::None) {
    nn::checkSize(where, "the incoming gradient", incoming, 1, 1, 1);
  } else if (one) {
    for (std::size_t axis = 1; axis < 4; ++axis) {
      incoming.view.dims[axis] = source.view.dims[axis];
      incoming.view.strides[axis] = 0;
    }
  } else {
    nn::checkSize(where, "the incoming gradient", incoming, source.h(), source.w(), source.c());
  }
  NNLossScalars own = scalars_;
  if (const auto* state = call.states.empty() ? nullptr : dynamic_cast<const NNGradientState*>(call.states[0].get())) {
    const auto* record = dynamic_cast<const nn::LossRecord*>(nn::Access::record(*state).get());
    if (!record) base::raise(where + "the state was made by a kernel of another class; use that of the NNForwardLoss");
    own = record->scalars;
  }
  prim::Loss loss = nn::lossOf(*descriptor_, own, weighted);
  loss.writeLoss = false;
  loss.incoming = true;
  loss.labelGradient = labelGradients_;
  loss.divideGradient = meanInGradient_ && reductionType() > CNNReductionType::Sum;
  std::vector<rt::Operand> operands{source.read(), nn::fitted(where, "labels", call.sources[2], source, false).read()};
  if (weighted) operands.push_back(nn::fitted(where, "weights", call.sources[3], source, true).read());
  operands.push_back(call.destination.write());
  operands.push_back(incoming.read());
  prim::Scalars scalars;
  scalars.f[0] = own.weight;
  call.list.op(loss, operands, scalars);
}

// --- the first gradient

NNInitialGradient::NNInitialGradient(const Ref<MTL::Device>& device) : CNNKernel(device) {}

void NNInitialGradient::doEncode(nn::Call& call) { call.list.op(prim::Fill{1.f}, {call.destination.write()}); }

}  // namespace kovar::MPS
