#include "kovar/MPS/NN/CNNConvolution.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "base/edge.hpp"
#include "kovar/MPS/NN/CNNNeuron.hpp"
#include "kovar/Support/DataSources.hpp"
#include "maths/geometry.hpp"
#include "nn/convolution_geometry.hpp"
#include "nn/core/access.hpp"
#include "nn/weights_cell.hpp"

namespace kovar::MPS {

CNNConvolution::CNNConvolution(const Ref<MTL::Device>& device, const Ref<CNNConvolutionDataSource>& weights)
    : CNNConvolution(nn::WeightsCell::load(device, weights, "CNNConvolution")) {}

CNNConvolution::CNNConvolution(const Ref<MTL::Device>& device,
                               const Ref<CNNConvolutionDescriptor>& convolutionDescriptor, const float* kernelWeights,
                               const float* biasTerms, CNNConvolutionFlags)
    : CNNConvolution(device, nn::sourceOver("CNNConvolution", convolutionDescriptor, kernelWeights, biasTerms)) {}

CNNConvolution::CNNConvolution(std::shared_ptr<nn::WeightsCell> cell)
    : CNNKernel(cell->device()), cell_(std::move(cell)) {
  nn::takeWindow(cell_->descriptor(), sources_[0]);
  setLabel(cell_->label());
}

std::size_t CNNConvolution::inputFeatureChannels() const { return cell_->descriptor().inputFeatureChannels(); }
std::size_t CNNConvolution::outputFeatureChannels() const { return cell_->descriptor().outputFeatureChannels(); }
std::size_t CNNConvolution::groups() const { return cell_->descriptor().groups(); }
std::size_t CNNConvolution::subPixelScaleFactor() const {
  return static_cast<std::size_t>(cell_->shape().subPixelScale);
}
std::size_t CNNConvolution::channelMultiplier() const {
  return static_cast<std::size_t>(cell_->shape().channelMultiplier);
}
Ref<CNNConvolutionDataSource> CNNConvolution::dataSource() const { return cell_->source(); }
Ref<NNNeuronDescriptor> CNNConvolution::fusedNeuronDescriptor() const {
  return cell_->descriptor().fusedNeuronDescriptor()->copy();
}
Ref<CNNNeuron> CNNConvolution::neuron() const { return cell_->descriptor().neuron(); }
CNNNeuronType CNNConvolution::neuronType() const { return cell_->descriptor().fusedNeuronDescriptor()->neuronType(); }
float CNNConvolution::neuronParameterA() const {
  return neuronType() == CNNNeuronType::None ? 1.f : cell_->descriptor().fusedNeuronDescriptor()->a();
}
float CNNConvolution::neuronParameterB() const {
  return neuronType() == CNNNeuronType::None ? 1.f : cell_->descriptor().fusedNeuronDescriptor()->b();
}
float CNNConvolution::neuronParameterC() const {
  return neuronType() == CNNNeuronType::None ? 1.f : cell_->descriptor().fusedNeuronDescriptor()->c();
}

// --- encode
// -----------------------------------------------------------------------------------------------------------

std::size_t CNNConvolution::doDestinationChannels(const std::vector<std::size_t>& used) {
  nn::requireChannels(*this, "source", used[0], inputFeatureChannels());
  return static_cast<std::size_t>(cell_->shape().writtenChannels());
}

Ref<ImageDescriptor> CNNConvolution::doDestinationImageDescriptor(const std::vector<Ref<Image>>& sourceImages,
                                                                  const std::vector<Ref<State>>& sourceStates) {
  Ref<ImageDescriptor> d = CNNKernel::doDestinationImageDescriptor(sourceImages, sourceStates);
  d->setWidth(d->width() * subPixelScaleFactor());
  d->setHeight(d->height() * subPixelScaleFactor());
  return d;
}

void CNNConvolution::doEncode(nn::Call& call) {
  const std::int64_t scale = cell_->shape().subPixelScale;
  if (scale == 1) return encodeConvolution(call, call.destination);
  // The convolution, then its channels as blocks of pixels.
  const nn::Tensor& dst = call.destination;
  const std::int64_t rows = (dst.h() + scale - 1) / scale, columns = (dst.w() + scale - 1) / scale;
  const nn::Tensor blocks = call.list.temporaryImage(prim::DType::F32, dst.n(), rows, columns, cell_->shape().outputs);
  encodeConvolution(call, blocks);
  nn::spreadBlocks(call.list, blocks, scale, dst);
}

void CNNConvolution::encodeConvolution(nn::Call& call, const nn::Tensor& result) {
  nn::Tensor src = call.sources[0].slice(3, 0, static_cast<std::int64_t>(inputFeatureChannels()));
  prim::Conv conv = nn::convOf(*cell_);
  const std::int64_t y0 = nn::firstRow(conv, nn::checkedOffset(call.geometry[0].offsetY, *this)),
                     x0 = nn::firstColumn(conv, nn::checkedOffset(call.geometry[0].offsetX, *this));
  if (call.geometry[0].edgeMode == ImageEdgeMode::Clamp) {
    // The whole area that the windows touch, with its border repeated.
    call.sources[0] = src;
    src = call.window(0, y0, x0, nn::touched(conv.y, result.h()), nn::touched(conv.x, result.w()));
  } else {
    conv.y.pad = static_cast<std::int32_t>(-y0);
    conv.x.pad = static_cast<std::int32_t>(-x0);
  }
  nn::WeightsInUse values = cell_->inUse();
  conv.bias = values.hasBiases;
  conv.reducedPrecision = nn::mayBeNarrow(options(), accumulatorPrecision_);
  const nn::FusedNeuron neuron = nn::fusedNeuron(*cell_, result.view);
  if (!neuron.post.empty()) conv.post = neuron.post;
  std::vector<rt::Operand> operands;
  operands.reserve(4 + neuron.arguments.size());
  operands.push_back(std::move(src).read());
  operands.push_back(std::move(values.weights).read());
  if (conv.bias) operands.push_back(std::move(values.biases).read());
  operands.push_back(result.write());
  operands.insert(operands.end(), neuron.arguments.begin(), neuron.arguments.end());
  call.list.op(conv, operands);
}

Ref<Kernel> CNNConvolution::doCopy(const Ref<MTL::Device>& device) {
  return nn::copyWithWeights(clone(*this, device), *this, device);
}

// --- states
// -----------------------------------------------------------------------------------------------------------

Ref<State> CNNConvolution::doResultState(const nn::StateRequest& request) {
  auto record = std::make_shared<nn::ForwardRecord>(request.record);
  record->channels = inputFeatureChannels();
  const std::size_t weightBytes = cell_->shape().weightBytes(), biasBytes = cell_->shape().biasBytes();
  if (request.commandBuffer)
    return nn::Access::make<CNNConvolutionGradientState>(request.commandBuffer, std::move(record),
                                                         self<CNNConvolution>(), weightBytes, biasBytes);
  return nn::Access::make<CNNConvolutionGradientState>(device(), std::move(record), self<CNNConvolution>(), weightBytes,
                                                       biasBytes);
}

namespace {

Ref<CNNConvolutionGradientState> firstOf(const StateBatch& states) {
  return states.empty() ? nullptr : std::static_pointer_cast<CNNConvolutionGradientState>(states[0]);
}

std::vector<StateBatch> wrap(const std::vector<Ref<State>>& states) {
  std::vector<StateBatch> batches;
  batches.reserve(states.size());
  for (const auto& s : states) batches.push_back(StateBatch{s});
  return batches;
}

}  // namespace

Ref<Image> CNNConvolution::encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Image>& sourceImage,
                                  Ref<CNNConvolutionGradientState>* destinationState,
                                  bool destinationStateIsTemporary) {
  Ref<State> state;
  Ref<Image> result =
      CNNKernel::encode(commandBuffer, sourceImage, destinationState ? &state : nullptr, destinationStateIsTemporary);
  if (destinationState) *destinationState = std::static_pointer_cast<CNNConvolutionGradientState>(state);
  return result;
}
ImageBatch CNNConvolution::encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& sourceImages,
                                       CNNConvolutionGradientStateBatch* destinationStates,
                                       bool destinationStateIsTemporary) {
  StateBatch states;
  ImageBatch result = CNNKernel::encodeBatch(commandBuffer, sourceImages, destinationStates ? &states : nullptr,
                                             destinationStateIsTemporary);
  if (destinationStates) *destinationStates = nn::batchOf<CNNConvolutionGradientState>(states);
  return result;
}
Ref<CNNConvolutionGradientState> CNNConvolution::resultState(const Ref<Image>& sourceImage,
                                                             const std::vector<Ref<State>>& sourceStates,
                                                             const Ref<Image>& destinationImage) {
  return firstOf(makeResultStates(nullptr, {one(sourceImage)}, wrap(sourceStates), one(destinationImage)));
}
CNNConvolutionGradientStateBatch CNNConvolution::resultStateBatch(const ImageBatch& sourceImage,
                                                                  const std::vector<StateBatch>& sourceStates,
                                                                  const ImageBatch& destinationImage) {
  return nn::batchOf<CNNConvolutionGradientState>(
      makeResultStates(nullptr, {sourceImage}, sourceStates, destinationImage));
}
Ref<CNNConvolutionGradientState> CNNConvolution::temporaryResultState(const Ref<MTL::CommandBuffer>& commandBuffer,
                                                                      const Ref<Image>& sourceImage,
                                                                      const std::vector<Ref<State>>& sourceStates,
                                                                      const Ref<Image>& destinationImage) {
  return firstOf(makeResultStates(commandBuffer, {one(sourceImage)}, wrap(sourceStates), one(destinationImage)));
}
CNNConvolutionGradientStateBatch CNNConvolution::temporaryResultStateBatch(const Ref<MTL::CommandBuffer>& commandBuffer,
                                                                           const ImageBatch& sourceImage,
                                                                           const std::vector<StateBatch>& sourceStates,
                                                                           const ImageBatch& destinationImage) {
  return nn::batchOf<CNNConvolutionGradientState>(
      makeResultStates(commandBuffer, {sourceImage}, sourceStates, destinationImage));
}

// --- weights
// ----------------------------------------------------------------------------------------------------------

void CNNConvolution::reloadWeightsAndBiasesFromDataSource() {
  cell_->reload(described() + ".reloadWeightsAndBiasesFromDataSource");
}
void CNNConvolution::reloadWeightsAndBiases(const Ref<CNNConvolutionDataSource>&) {
  reloadWeightsAndBiasesFromDataSource();
}
void CNNConvolution::reloadWeightsAndBiases(const Ref<MTL::CommandBuffer>& commandBuffer,
                                            const Ref<CNNConvolutionWeightsAndBiasesState>& state) {
  cell_->reload(commandBuffer, state, described() + ".reloadWeightsAndBiases");
}
Ref<CNNConvolutionWeightsAndBiasesState> CNNConvolution::exportWeightsAndBiases(
    const Ref<MTL::CommandBuffer>& commandBuffer, bool resultStateCanBeTemporary) {
  return cell_->exportState(commandBuffer, resultStateCanBeTemporary, described() + ".exportWeightsAndBiases");
}

}  // namespace kovar::MPS
