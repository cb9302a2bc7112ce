#include <algorithm>
#include <string>
#include <utility>

#include "kovar/MPS/NN/CNNConvolution.hpp"
#include "nn/convolution_geometry.hpp"

namespace kovar::nn {

std::shared_ptr<WeightsCell> differentiable(std::shared_ptr<WeightsCell> cell, const char* who) {
  const bool neuron = cell->descriptor().fusedNeuronDescriptor()->neuronType() != MPS::CNNNeuronType::None;
  if (neuron || cell->foldsBatchNorm())
    base::raise(std::string(who) + (cell->label().empty() ? "" : " \"" + cell->label() + "\"") +
                ": the descriptor has a fused " + (neuron ? "neuron" : "batch normalisation") +
                ", which this kernel does not differentiate; take it out of the descriptor and encode " +
                (neuron ? "a CNNNeuron" : "a CNNBatchNormalization") + " after the convolution");
  return cell;
}

MPS::CNNConvolutionGradientOption knownOption(MPS::CNNConvolutionGradientOption option, const std::string& who) {
  if (static_cast<std::size_t>(option) == 0 || static_cast<std::size_t>(option) > 3)
    base::raise(who + ".gradientOption: " + std::to_string(static_cast<std::size_t>(option)) +
                " is not a CNNConvolutionGradientOption; use one of its names");
  return option;
}

}  // namespace kovar::nn

namespace kovar::MPS {
namespace {

std::shared_ptr<nn::WeightsCell> checked(std::shared_ptr<nn::WeightsCell> given, const char* who) {
  std::shared_ptr<nn::WeightsCell> cell = nn::differentiable(std::move(given), who);
  if (cell->shape().subPixelScale != 1)
    base::raise(std::string(who) + (cell->label().empty() ? "" : " \"" + cell->label() + "\"") +
                ": a sub-pixel convolution (subPixelScaleFactor " + std::to_string(cell->shape().subPixelScale) +
                ") has no gradient; train with a transposed convolution or an upsampling and a convolution instead");
  return cell;
}

}  // namespace

CNNConvolutionGradient::CNNConvolutionGradient(const Ref<MTL::Device>& device,
                                               const Ref<CNNConvolutionDataSource>& weights)
    : CNNConvolutionGradient(nn::WeightsCell::load(device, weights, "CNNConvolutionGradient")) {}

CNNConvolutionGradient::CNNConvolutionGradient(std::shared_ptr<nn::WeightsCell> cell, const char* who)
    : CNNGradientKernel(cell->device()), cell_(checked(std::move(cell), who)) {
  isStateModified_ = true;
  for (Source& s : sources_) nn::takeWindow(cell_->descriptor(), s);
  setLabel(cell_->label());
}

std::size_t CNNConvolutionGradient::sourceGradientFeatureChannels() const {
  return cell_->descriptor().outputFeatureChannels();
}
std::size_t CNNConvolutionGradient::sourceImageFeatureChannels() const {
  return cell_->descriptor().inputFeatureChannels();
}
std::size_t CNNConvolutionGradient::groups() const { return cell_->descriptor().groups(); }
std::size_t CNNConvolutionGradient::channelMultiplier() const {
  return static_cast<std::size_t>(cell_->shape().channelMultiplier);
}
Ref<CNNConvolutionDataSource> CNNConvolutionGradient::dataSource() const { return cell_->source(); }

void CNNConvolutionGradient::setGradientOption(CNNConvolutionGradientOption option) {
  option_ = nn::knownOption(option, described());
}

// --- encode
// -----------------------------------------------------------------------------------------------------------

std::size_t CNNConvolutionGradient::doDestinationChannels(const std::vector<std::size_t>& used) {
  nn::requireChannels(*this, "source gradient", used[0], sourceGradientFeatureChannels());
  return sourceImageFeatureChannels();
}

void CNNConvolutionGradient::doAdopt(const nn::ForwardRecord& r, const std::vector<Ref<Image>>& sourceImages) {
  CNNGradientKernel::doAdopt(r, sourceImages);
  const prim::Conv conv = nn::convOf(*cell_);
  const auto kernelOffset = [](std::ptrdiff_t offset, std::int32_t extent) {
    return (extent % 2 == 0 ? 1 : 0) - offset;
  };
  sources_[0].offset = {};
  sources_[0].featureChannelMaxCount = sourceGradientFeatureChannels();
  kernelOffsetX_ = kernelOffset(r.offset.x, conv.x.extent());
  kernelOffsetY_ = kernelOffset(r.offset.y, conv.y.extent());
  sources_[1].offset = {nn::firstColumn(conv, r.offset.x), nn::firstRow(conv, r.offset.y), 0};
}

void CNNConvolutionGradient::doEncode(nn::Call& call) {
  nn::requireChannels(*this, "secondary source", static_cast<std::size_t>(call.sources[1].c()),
                      sourceImageFeatureChannels());
  call.sources[0] = call.sources[0].slice(3, 0, static_cast<std::int64_t>(sourceGradientFeatureChannels()));
  call.sources[1] = call.sources[1].slice(3, 0, static_cast<std::int64_t>(sourceImageFeatureChannels()));
  if (wants(CNNConvolutionGradientOption::GradientWithData))
    encodeData(call);
  else
    call.destinationWritten = false;
  if (wants(CNNConvolutionGradientOption::GradientWithWeightsAndBias)) encodeWeights(call);
}

void CNNConvolutionGradient::encodeData(nn::Call& call) {
  prim::Conv conv = nn::convOf(*cell_);
  conv.direction = prim::Direction::Data;
  conv.reducedPrecision = (options() & KernelOptions::AllowReducedPrecision) != KernelOptions::None;
  const nn::Tensor &g = call.sources[0], &dst = call.destination;
  struct Axis {
    std::int64_t offset;  ///< of the forward kernel, its source moved so that destination pixel 0 is source pixel 0
    std::int64_t moved;   ///< source pixel of destination pixel 0
  };
  const auto axis = [&](std::ptrdiff_t primary, std::ptrdiff_t kernelOffset, std::int64_t firstTap,
                        const prim::Window& w) {
    const std::int64_t centre = nn::checkedOffset(primary, *this) * w.stride + nn::checkedOffset(kernelOffset, *this);
    const std::int64_t offset = nn::checkedOffset((w.extent() % 2 == 0 ? 1 : 0) - centre, *this);
    return Axis{offset, nn::checkedOffset(firstTap, *this) + w.extent() / 2 - offset};
  };
  const Axis y = axis(sources_[0].offset.y, kernelOffsetY_, call.geometry[1].offsetY, conv.y);
  const Axis x = axis(sources_[0].offset.x, kernelOffsetX_, call.geometry[1].offsetX, conv.x);
  conv.y.pad = static_cast<std::int32_t>(-nn::firstRow(conv, y.offset));
  conv.x.pad = static_cast<std::int32_t>(-nn::firstColumn(conv, x.offset));

  const std::int64_t height = nn::touched(conv.y, g.h()), width = nn::touched(conv.x, g.w());
  const nn::Tensor& src = call.sources[1];
  const std::int64_t y0 = call.geometry[1].offsetY, x0 = call.geometry[1].offsetX;
  const bool inside = y0 >= 0 && x0 >= 0 && y0 + height <= src.h() && x0 + width <= src.w();
  if (call.geometry[1].edgeMode != ImageEdgeMode::Clamp || inside) {
    call.list.op(conv, {g.read(), cell_->inUse().rawWeights.read(), dst.write()});
    return;
  }
  // The gradient of the source with its border repeated, then each repeated pixel's share to the pixel it repeats.
  conv.y.pad = conv.x.pad = 0;
  const nn::Tensor padded = call.list.temporaryImage(prim::DType::F32, g.n(), height, width, src.c());
  call.list.op(conv, {g.read(), cell_->inUse().rawWeights.read(), padded.write()});
  prim::Copy back;
  back.direction = prim::Direction::Data;
  back.edge = prim::Edge::Clamp;
  back.shift = {0, static_cast<std::int32_t>(y0), static_cast<std::int32_t>(x0), 0};
  if (y.moved == 0 && x.moved == 0 && dst.h() == src.h() && dst.w() == src.w()) {
    call.list.op(back, {padded.read(), dst.write()});
    return;
  }
  const nn::Tensor whole = call.list.temporaryImage(prim::DType::F32, g.n(), src.h(), src.w(), src.c());
  call.list.op(back, {padded.read(), whole.write()});
  prim::Copy part;
  part.shift = {0, static_cast<std::int32_t>(y.moved), static_cast<std::int32_t>(x.moved), 0};
  call.list.op(part, {whole.read(), dst.write()});
}

void CNNConvolutionGradient::encodeWeights(nn::Call& call) {
  const nn::GradientSums sums = nn::gradientSums(call, *cell_, described());
  prim::Conv conv = nn::convOf(*cell_);
  conv.direction = prim::Direction::Weights;
  conv.bias = true;
  conv.accumulate = sums.accumulate;
  conv.reducedPrecision = (options() & KernelOptions::AllowReducedPrecision) != KernelOptions::None;
  const nn::Tensor& g = call.sources[0];
  nn::Tensor src = call.sources[1];
  const std::int64_t y0 = nn::checkedOffset(call.geometry[1].offsetY, *this),
                     x0 = nn::checkedOffset(call.geometry[1].offsetX, *this);
  if (call.geometry[1].edgeMode == ImageEdgeMode::Clamp) {
    src = call.window(1, y0, x0, nn::touched(conv.y, g.h()), nn::touched(conv.x, g.w()));
  } else {
    conv.y.pad = static_cast<std::int32_t>(-y0);
    conv.x.pad = static_cast<std::int32_t>(-x0);
  }
  call.list.op(conv, {src.read(), g.read(), sums.operand(sums.weights), sums.operand(sums.biases)});
  sums.done();
}

Ref<Kernel> CNNConvolutionGradient::doCopy(const Ref<MTL::Device>& device) {
  return nn::copyWithWeights(clone(*this, device), *this, device);
}

void CNNConvolutionGradient::reloadWeightsAndBiasesFromDataSource() {
  cell_->reload(described() + ".reloadWeightsAndBiasesFromDataSource");
}
void CNNConvolutionGradient::reloadWeightsAndBiases(const Ref<MTL::CommandBuffer>& commandBuffer,
                                                    const Ref<CNNConvolutionWeightsAndBiasesState>& state) {
  cell_->reload(commandBuffer, state, described() + ".reloadWeightsAndBiases");
}

}  // namespace kovar::MPS

namespace kovar::nn {

rt::Operand GradientSums::operand(const Tensor& part) const { return accumulate ? part.update() : part.write(); }

void GradientSums::done() const { ConvolutionAccess::setHoldsSums(*state); }

GradientSums gradientSums(Call& call, const WeightsCell& cell, const std::string& who) {
  const auto state =
      call.states.empty() ? nullptr : std::dynamic_pointer_cast<MPS::CNNConvolutionGradientState>(call.states[0]);
  if (!state)
    base::raise(who +
                ".encode: gradientOption asks for weight gradients, which go into a CNNConvolutionGradientState; give "
                "the one that the "
                "convolution's encode or resultState made, or set gradientOption to GradientWithData");
  for (const auto& other : call.states.looks())
    if (other != call.states[0])
      base::raise(who + ".encode: the states of a batch differ; a convolution has one state for the whole batch");
  const ConvolutionShape& shape = cell.shape();
  if (state->bufferSize(0) != shape.weightBytes() || state->bufferSize(1) != shape.biasBytes())
    base::raise(who + ".encode: the state holds " + std::to_string(state->bufferSize(0)) +
                " bytes of weight gradients, the kernel's weights are " + std::to_string(shape.weightBytes()) +
                "; use the state of the convolution with the same data source");
  GradientSums sums;
  sums.state = state.get();
  sums.weights = {rt::Access::storage(state->gradientForWeights()), shape.weightsView()};
  sums.biases = {rt::Access::storage(state->gradientForBiases()), shape.biasView()};
  sums.accumulate = ConvolutionAccess::holdsSums(*state);
  if (!sums.accumulate && !call.list.predicates().empty()) {
    // Skipped work must leave zeros behind.
    for (const Tensor& t : {sums.weights, sums.biases})
      base::unwrap(call.list.state().append(prim::Fill{}, {t.write()}));
    sums.accumulate = true;
  }
  return sums;
}

}  // namespace kovar::nn
