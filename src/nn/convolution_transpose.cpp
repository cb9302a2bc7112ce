#include "kovar/MPS/NN/CNNConvolutionTranspose.hpp"

#include <string>
#include <utility>

#include "nn/convolution_transpose_geometry.hpp"
#include "nn/core/encoder.hpp"

namespace kovar::nn {

TransposeGeometry transposeGeometry(const WeightsCell& cell, std::int64_t centreY, std::int64_t centreX,
                                    MPS::ImageEdgeMode edge, const Tensor& source, std::int64_t height,
                                    std::int64_t width) {
  TransposeGeometry g;
  g.conv = convOf(cell);
  g.y0 = firstRow(g.conv, centreY);
  g.x0 = firstColumn(g.conv, centreX);
  // Tap k - 1 - p of the turned weights reads what tap p of the given ones does.
  g.conv.y.pad = static_cast<std::int32_t>(g.y0 + g.conv.y.extent() - 1);
  g.conv.x.pad = static_cast<std::int32_t>(g.x0 + g.conv.x.extent() - 1);
  const auto inside = [](std::int64_t first, std::int64_t results, const prim::Window& w, std::int64_t extent) {
    return first >= 0 && first + results - 1 + w.extent() <= spreadExtent(extent, w.stride);
  };
  g.spread = edge == MPS::ImageEdgeMode::Clamp &&
             !(inside(g.y0, height, g.conv.y, source.h()) && inside(g.x0, width, g.conv.x, source.w()));
  return g;
}

Tensor pixelsOf(const Tensor& spread, const Tensor& source, const TransposeGeometry& g) {
  prim::View pixels = spread.view;
  pixels.dims = source.view.dims;
  pixels.strides[1] *= g.conv.y.stride;
  pixels.strides[2] *= g.conv.x.stride;
  return spread.as(pixels);
}

Tensor spreadWindow(Recorder& list, const Tensor& source, const TransposeGeometry& g, std::int64_t height,
                    std::int64_t width) {
  Tensor spread = source;
  if (g.conv.y.stride > 1 || g.conv.x.stride > 1) {
    spread = list.temporaryImage(prim::DType::F32, source.n(), spreadExtent(source.h(), g.conv.y.stride),
                                 spreadExtent(source.w(), g.conv.x.stride), source.c());
    list.op(prim::Fill{}, {spread.write()});
    list.op(prim::Copy{}, {source.read(), pixelsOf(spread, source, g).write()});
  }
  Tensor window = list.temporaryImage(prim::DType::F32, source.n(), height + g.conv.y.extent() - 1,
                                      width + g.conv.x.extent() - 1, source.c());
  prim::Copy copy;
  copy.shift = {0, static_cast<std::int32_t>(g.y0), static_cast<std::int32_t>(g.x0), 0};
  copy.edge = prim::Edge::Clamp;
  list.op(copy, {spread.read(), window.write()});
  return window;
}

prim::Conv overSpread(const TransposeGeometry& g) {
  prim::Conv conv = g.conv;
  conv.y.stride = conv.x.stride = 1;
  conv.y.pad = conv.y.extent() - 1;
  conv.x.pad = conv.x.extent() - 1;
  return conv;
}

std::shared_ptr<WeightsCell> transposable(std::shared_ptr<WeightsCell> cell, const char* who) {
  if (cell->shape().subPixelScale != 1)
    base::raise(std::string(who) + (cell->label().empty() ? "" : " \"" + cell->label() + "\"") +
                ": the descriptor's subPixelScaleFactor is " + std::to_string(cell->shape().subPixelScale) +
                "; a transposed convolution enlarges by its stride, use a CNNConvolutionDescriptor");
  return cell;
}

namespace {

/// Checks convolution states that an encode takes.
void checkStates(const MPS::Kernel& who, const MPS::StateBatch& states, std::size_t images) {
  if (states.empty()) return;
  const auto refuse = [&](const std::string& text) { base::raise(Access::described(who) + ".encode: " + text); };
  if (states.size() != images)
    refuse(std::to_string(states.size()) + " convolution states for " + std::to_string(images) +
           " images; give one state per image");
  for (const auto& s : MPS::BatchView<MPS::State>(states).looks()) {
    if (!s) refuse("a convolution state is null; give all of the batch or none");
    checkReadable(*s, who, refuse);
  }
}

}  // namespace
}  // namespace kovar::nn

namespace kovar::MPS {

CNNConvolutionTransposeGradientState::CNNConvolutionTransposeGradientState(
    const Ref<MTL::Device>& device, std::shared_ptr<const nn::ForwardRecord> record,
    const Ref<CNNConvolutionTranspose>& convolutionTranspose, const Ref<CNNConvolutionGradientState>& coupled,
    std::size_t weightBytes, std::size_t biasBytes)
    : CNNConvolutionGradientState(device, std::move(record), coupled ? coupled->convolution() : nullptr, weightBytes,
                                  biasBytes),
      convolutionTranspose_(convolutionTranspose),
      coupled_(coupled) {}

CNNConvolutionTransposeGradientState::CNNConvolutionTransposeGradientState(
    const Ref<MTL::CommandBuffer>& commandBuffer, std::shared_ptr<const nn::ForwardRecord> record,
    const Ref<CNNConvolutionTranspose>& convolutionTranspose, const Ref<CNNConvolutionGradientState>& coupled,
    std::size_t weightBytes, std::size_t biasBytes)
    : CNNConvolutionGradientState(commandBuffer, std::move(record), coupled ? coupled->convolution() : nullptr,
                                  weightBytes, biasBytes),
      convolutionTranspose_(convolutionTranspose),
      coupled_(coupled) {}

CNNConvolutionTranspose::CNNConvolutionTranspose(const Ref<MTL::Device>& device,
                                                 const Ref<CNNConvolutionDataSource>& weights)
    : CNNConvolutionTranspose(
          nn::WeightsCell::load(device, weights, "CNNConvolutionTranspose", nn::WeightsForm::Turned)) {}

CNNConvolutionTranspose::CNNConvolutionTranspose(std::shared_ptr<nn::WeightsCell> cell)
    : CNNKernel(cell->device()), cell_(nn::transposable(std::move(cell), "CNNConvolutionTranspose")) {
  isBackwards_ = true;
  nn::takeWindow(cell_->descriptor(), sources_[0]);
  setLabel(cell_->label());
}

std::size_t CNNConvolutionTranspose::inputFeatureChannels() const { return cell_->descriptor().inputFeatureChannels(); }
std::size_t CNNConvolutionTranspose::outputFeatureChannels() const {
  return cell_->descriptor().outputFeatureChannels();
}
std::size_t CNNConvolutionTranspose::groups() const { return cell_->descriptor().groups(); }
Ref<CNNConvolutionDataSource> CNNConvolutionTranspose::dataSource() const { return cell_->source(); }

// --- encode
// -----------------------------------------------------------------------------------------------------------

std::size_t CNNConvolutionTranspose::doDestinationChannels(const std::vector<std::size_t>& used) {
  nn::requireChannels(*this, "source", used[0], inputFeatureChannels());
  return outputFeatureChannels();
}

Ref<ImageDescriptor> CNNConvolutionTranspose::doDestinationImageDescriptor(
    const std::vector<Ref<Image>>& sourceImages, const std::vector<Ref<State>>& sourceStates) {
  Source& s = sources_[0];
  const Image& image = *sourceImages[0];
  std::size_t width = 0, height = 0;
  const auto state =
      sourceStates.empty() ? nullptr : std::dynamic_pointer_cast<CNNConvolutionGradientState>(sourceStates[0]);
  if (state) {
    const nn::ForwardRecord& r = *nn::Access::record(*state);
    const auto kernelOffset = [](std::ptrdiff_t offset, std::size_t kernel, std::size_t dilation) {
      return static_cast<std::ptrdiff_t>(((kernel - 1) * dilation + 1) % 2 == 0 ? 1 : 0) - offset;
    };
    kernelOffsetX_ = kernelOffset(r.offset.x, r.kernelWidth, r.dilationX);
    kernelOffsetY_ = kernelOffset(r.offset.y, r.kernelHeight, r.dilationY);
    width = state->sourceWidth();
    height = state->sourceHeight();
  } else {
    const auto method = static_cast<std::uint32_t>(padding_->paddingMethod());
    const auto fit = [&](std::size_t in, std::size_t k, std::size_t stride, std::size_t dilation, bool vertical) {
      const maths::AxisFit f =
          maths::fitReverse(static_cast<std::int64_t>(in),
                            maths::dilatedExtent(static_cast<std::int64_t>(k), static_cast<std::int64_t>(dilation)),
                            static_cast<std::int64_t>(stride), maths::paddingAxis(method, vertical));
      if (f.out < 1)
        base::raise(described() + ": a window of " + std::to_string(k) + (vertical ? " rows" : " columns") +
                    " finds no place in a source of " + std::to_string(in) + (vertical ? " rows" : " columns") +
                    " spread by " + std::to_string(stride) + " under the padding policy; use size same or full");
      return f;
    };
    const maths::AxisFit x = fit(image.width(), s.kernelWidth, s.strideX, s.dilationX, false);
    const maths::AxisFit y = fit(image.height(), s.kernelHeight, s.strideY, s.dilationY, true);
    kernelOffsetX_ = x.offset;
    kernelOffsetY_ = y.offset;
    width = static_cast<std::size_t>(x.out);
    height = static_cast<std::size_t>(y.out);
  }
  s.offset.x = s.offset.y = 0;
  const std::size_t channels = image.featureChannels(), first = std::min(s.featureChannelOffset, channels);
  auto d = ImageDescriptor::imageDescriptor(
      ImageFeatureChannelFormat::None, width, height,
      doDestinationChannels({std::min(s.featureChannelMaxCount, channels - first)}) + destinationFeatureChannelOffset_);
  d->setNumberOfImages(image.numberOfImages());
  return d;
}

void CNNConvolutionTranspose::doEncode(nn::Call& call) {
  const nn::Tensor src = call.sources[0].slice(3, 0, static_cast<std::int64_t>(inputFeatureChannels()));
  const nn::Tensor& dst = call.destination;
  const Source& s = sources_[0];
  const auto centre = [&](std::int64_t offset, std::size_t stride, std::ptrdiff_t kernelOffset) {
    return nn::checkedOffset(offset * static_cast<std::int64_t>(stride) + nn::checkedOffset(kernelOffset, *this),
                             *this);
  };
  const nn::TransposeGeometry g = nn::transposeGeometry(
      *cell_, centre(call.geometry[0].offsetY, s.strideY, kernelOffsetY_),
      centre(call.geometry[0].offsetX, s.strideX, kernelOffsetX_), call.geometry[0].edgeMode, src, dst.h(), dst.w());
  prim::Conv conv = g.spread ? nn::overSpread(g) : g.conv;
  conv.direction = prim::Direction::Data;
  conv.reducedPrecision = nn::mayBeNarrow(options(), accumulatorPrecision_);

  // The bias comes after the sum, as the first step of what follows it.
  const nn::WeightsInUse values = cell_->inUse();
  std::vector<rt::Operand> arguments;
  if (values.hasBiases) {
    prim::View perChannel = dst.view;
    perChannel.dtype = prim::DType::F32;
    perChannel.offset = 0;
    perChannel.strides = {0, 0, 0, 1};
    arguments.push_back(values.biases.as(perChannel).read());
    prim::EwStep step;
    step.op = prim::EwOp::Load;
    step.dst = 1;
    conv.post.push(step);
    step = {};
    step.op = prim::EwOp::Add;
    step.b = 1;
    conv.post.push(step);
  }
  const nn::FusedNeuron neuron = nn::fusedNeuron(*cell_, dst.view);
  for (std::size_t i = 0; i < neuron.post.count; ++i) {
    prim::EwStep step = neuron.post.steps[i];
    if (step.op == prim::EwOp::Load) step.arg = static_cast<std::uint8_t>(step.arg + arguments.size());
    conv.post.push(step);
  }
  arguments.insert(arguments.end(), neuron.arguments.begin(), neuron.arguments.end());

  const nn::Tensor read = g.spread ? nn::spreadWindow(call.list, src, g, dst.h(), dst.w()) : src;
  std::vector<rt::Operand> operands{read.read(), values.weights.read(), dst.write()};
  operands.insert(operands.end(), arguments.begin(), arguments.end());
  call.list.op(conv, operands);
}

Ref<Kernel> CNNConvolutionTranspose::doCopy(const Ref<MTL::Device>& device) {
  return nn::copyWithWeights(clone(*this, device), *this, device);
}

ImageBatch CNNConvolutionTranspose::encodeWith(const Ref<MTL::CommandBuffer>& commandBuffer, Images sources,
                                               const StateBatch& convolutions, StateBatch* destinationStates,
                                               bool destinationStateIsTemporary, bool batch) {
  nn::checkStates(*this, convolutions, sources.size());
  ImageBatch result =
      encodeNew(commandBuffer, {sources}, convolutions, destinationStates, destinationStateIsTemporary, batch);
  nn::Access::chargeRead(convolutions);
  return result;
}
void CNNConvolutionTranspose::encodeInto(const Ref<MTL::CommandBuffer>& commandBuffer, Images sources,
                                         const StateBatch& convolutions, Images destinations, bool batch) {
  nn::checkStates(*this, convolutions, sources.size());
  encodeTo(commandBuffer, {sources}, {}, destinations, batch);
  nn::Access::chargeRead(convolutions);
}

namespace {

using TransposeState = CNNConvolutionTransposeGradientState;

template <class S>
StateBatch oneOrNone(const Ref<S>& state) {
  return state ? StateBatch{state} : StateBatch{};
}

/// The convolution states inside states of transposed convolutions.
StateBatch coupledStates(const StateBatch& states) {
  StateBatch coupled;
  for (const auto& s : states) {
    const auto transpose = std::dynamic_pointer_cast<TransposeState>(s);
    if (transpose && nn::ConvolutionAccess::coupled(*transpose))
      coupled.push_back(nn::ConvolutionAccess::coupled(*transpose));
  }
  return coupled;
}

std::vector<StateBatch> wrap(const std::vector<Ref<CNNConvolutionGradientState>>& states) {
  std::vector<StateBatch> batches;
  batches.reserve(states.size());
  for (const auto& s : states) batches.push_back(StateBatch{s});
  return batches;
}
std::vector<StateBatch> wrap(const std::vector<CNNConvolutionGradientStateBatch>& states) {
  return {states.begin(), states.end()};
}

Ref<TransposeState> firstOf(const StateBatch& states) {
  return states.empty() ? nullptr : std::static_pointer_cast<TransposeState>(states[0]);
}

}  // namespace

Ref<Image> CNNConvolutionTranspose::encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Image>& sourceImage,
                                           const Ref<CNNConvolutionGradientState>& convolutionGradientState) {
  return encodeWith(commandBuffer, one(sourceImage), oneOrNone(convolutionGradientState), nullptr, false, false)[0];
}
ImageBatch CNNConvolutionTranspose::encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer,
                                                const ImageBatch& sourceImages,
                                                const CNNConvolutionGradientStateBatch& convolutionGradientStates) {
  return encodeWith(commandBuffer, sourceImages, convolutionGradientStates, nullptr, false, true);
}
void CNNConvolutionTranspose::encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Image>& sourceImage,
                                     const Ref<CNNConvolutionGradientState>& convolutionGradientState,
                                     const Ref<Image>& destinationImage) {
  encodeInto(commandBuffer, one(sourceImage), oneOrNone(convolutionGradientState), one(destinationImage), false);
}
void CNNConvolutionTranspose::encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& sourceImages,
                                          const CNNConvolutionGradientStateBatch& convolutionGradientStates,
                                          const ImageBatch& destinationImages) {
  encodeInto(commandBuffer, sourceImages, convolutionGradientStates, destinationImages, true);
}
void CNNConvolutionTranspose::encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Image>& sourceImage,
                                     const Ref<TransposeState>& destinationState, const Ref<Image>& destinationImage) {
  const StateBatch states = oneOrNone(destinationState);
  encodeTo(commandBuffer, {one(sourceImage)}, states, one(destinationImage), false);
  nn::Access::chargeRead(coupledStates(states));
}
void CNNConvolutionTranspose::encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& sourceImages,
                                          const CNNConvolutionTransposeGradientStateBatch& destinationStates,
                                          const ImageBatch& destinationImages) {
  encodeTo(commandBuffer, {sourceImages}, destinationStates, destinationImages, true);
  nn::Access::chargeRead(coupledStates(destinationStates));
}
Ref<Image> CNNConvolutionTranspose::encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Image>& sourceImage,
                                           const Ref<CNNConvolutionGradientState>& convolutionGradientState,
                                           Ref<TransposeState>* destinationState, bool destinationStateIsTemporary) {
  StateBatch states;
  Ref<Image> result = encodeWith(commandBuffer, one(sourceImage), oneOrNone(convolutionGradientState),
                                 destinationState ? &states : nullptr, destinationStateIsTemporary, false)[0];
  if (destinationState) *destinationState = firstOf(states);
  return result;
}
ImageBatch CNNConvolutionTranspose::encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer,
                                                const ImageBatch& sourceImages,
                                                const CNNConvolutionGradientStateBatch& convolutionGradientStates,
                                                CNNConvolutionTransposeGradientStateBatch* destinationStates,
                                                bool destinationStateIsTemporary) {
  StateBatch states;
  ImageBatch result = encodeWith(commandBuffer, sourceImages, convolutionGradientStates,
                                 destinationStates ? &states : nullptr, destinationStateIsTemporary, true);
  if (destinationStates) *destinationStates = nn::batchOf<TransposeState>(states);
  return result;
}

// --- states
// -----------------------------------------------------------------------------------------------------------

Ref<State> CNNConvolutionTranspose::doResultState(const nn::StateRequest& request) {
  auto record = std::make_shared<nn::TransposeRecord>();
  static_cast<nn::ForwardRecord&>(*record) = request.record;
  record->channels = inputFeatureChannels();
  record->kernelOffsetX = kernelOffsetX_;
  record->kernelOffsetY = kernelOffsetY_;
  const std::size_t weightBytes = cell_->shape().weightBytes(), biasBytes = cell_->shape().biasBytes();
  const auto coupled = request.sourceStates.empty()
                           ? nullptr
                           : std::dynamic_pointer_cast<CNNConvolutionGradientState>(request.sourceStates[0]);
  if (request.commandBuffer)
    return nn::Access::make<TransposeState>(request.commandBuffer, std::move(record), self<CNNConvolutionTranspose>(),
                                            coupled, weightBytes, biasBytes);
  return nn::Access::make<TransposeState>(device(), std::move(record), self<CNNConvolutionTranspose>(), coupled,
                                          weightBytes, biasBytes);
}

Ref<TransposeState> CNNConvolutionTranspose::resultState(
    const Ref<Image>& sourceImage, const std::vector<Ref<CNNConvolutionGradientState>>& sourceStates,
    const Ref<Image>& destinationImage) {
  return firstOf(makeResultStates(nullptr, {one(sourceImage)}, wrap(sourceStates), one(destinationImage)));
}
CNNConvolutionTransposeGradientStateBatch CNNConvolutionTranspose::resultStateBatch(
    const ImageBatch& sourceImage, const std::vector<CNNConvolutionGradientStateBatch>& sourceStates,
    const ImageBatch& destinationImage) {
  return nn::batchOf<TransposeState>(makeResultStates(nullptr, {sourceImage}, wrap(sourceStates), destinationImage));
}
Ref<TransposeState> CNNConvolutionTranspose::temporaryResultState(
    const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Image>& sourceImage,
    const std::vector<Ref<CNNConvolutionGradientState>>& sourceStates, const Ref<Image>& destinationImage) {
  return firstOf(makeResultStates(commandBuffer, {one(sourceImage)}, wrap(sourceStates), one(destinationImage)));
}
CNNConvolutionTransposeGradientStateBatch CNNConvolutionTranspose::temporaryResultStateBatch(
    const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& sourceImage,
    const std::vector<CNNConvolutionGradientStateBatch>& sourceStates, const ImageBatch& destinationImage) {
  return nn::batchOf<TransposeState>(
      makeResultStates(commandBuffer, {sourceImage}, wrap(sourceStates), destinationImage));
}

// --- weights
// ----------------------------------------------------------------------------------------------------------

void CNNConvolutionTranspose::reloadWeightsAndBiasesFromDataSource() {
  cell_->reload(described() + ".reloadWeightsAndBiasesFromDataSource");
}
void CNNConvolutionTranspose::reloadWeightsAndBiases(const Ref<MTL::CommandBuffer>& commandBuffer,
                                                     const Ref<CNNConvolutionWeightsAndBiasesState>& state) {
  cell_->reload(commandBuffer, state, described() + ".reloadWeightsAndBiases");
}
Ref<CNNConvolutionWeightsAndBiasesState> CNNConvolutionTranspose::exportWeightsAndBiases(
    const Ref<MTL::CommandBuffer>& commandBuffer, bool resultStateCanBeTemporary) {
  return cell_->exportState(commandBuffer, resultStateCanBeTemporary, described() + ".exportWeightsAndBiases");
}

}  // namespace kovar::MPS
