#include <string>
#include <utility>

#include "kovar/MPS/NN/CNNConvolutionTranspose.hpp"
#include "nn/convolution_transpose_geometry.hpp"

namespace kovar::nn {
namespace {

/// The gradient of the spread source's part that was read, handed back to the source: `y0`, `x0` the source pixel of
/// the destination's first one.
void gatherSpread(Recorder& list, const Tensor& window, const TransposeGeometry& g, const Tensor& source,
                  std::int64_t y0, std::int64_t x0, const Tensor& destination) {
  const Tensor spread = list.temporaryImage(prim::DType::F32, source.n(), spreadExtent(source.h(), g.conv.y.stride),
                                            spreadExtent(source.w(), g.conv.x.stride), source.c());
  prim::Copy back;
  back.direction = prim::Direction::Data;
  back.edge = prim::Edge::Clamp;
  back.shift = {0, static_cast<std::int32_t>(g.y0), static_cast<std::int32_t>(g.x0), 0};
  list.op(back, {window.read(), spread.write()});
  prim::Copy part;  // what lies beside the source gets 0
  part.shift = {0, static_cast<std::int32_t>(y0), static_cast<std::int32_t>(x0), 0};
  list.op(part, {pixelsOf(spread, source, g).read(), destination.write()});
}

}  // namespace
}  // namespace kovar::nn

namespace kovar::MPS {
namespace {

std::shared_ptr<nn::WeightsCell> checked(std::shared_ptr<nn::WeightsCell> cell) {
  constexpr const char* kWho = "CNNConvolutionTransposeGradient";
  return nn::differentiable(nn::transposable(std::move(cell), kWho), kWho);
}

}  // namespace

CNNConvolutionTransposeGradient::CNNConvolutionTransposeGradient(const Ref<MTL::Device>& device,
                                                                 const Ref<CNNConvolutionDataSource>& weights)
    : CNNConvolutionTransposeGradient(
          nn::WeightsCell::load(device, weights, "CNNConvolutionTransposeGradient", nn::WeightsForm::Turned)) {}

CNNConvolutionTransposeGradient::CNNConvolutionTransposeGradient(std::shared_ptr<nn::WeightsCell> cell)
    : CNNGradientKernel(cell->device()), cell_(checked(std::move(cell))) {
  isStateModified_ = true;
  for (Source& s : sources_) nn::takeWindow(cell_->descriptor(), s);
  setLabel(cell_->label());
}

std::size_t CNNConvolutionTransposeGradient::sourceGradientFeatureChannels() const {
  return cell_->descriptor().outputFeatureChannels();
}
std::size_t CNNConvolutionTransposeGradient::sourceImageFeatureChannels() const {
  return cell_->descriptor().inputFeatureChannels();
}
std::size_t CNNConvolutionTransposeGradient::groups() const { return cell_->descriptor().groups(); }
Ref<CNNConvolutionDataSource> CNNConvolutionTransposeGradient::dataSource() const { return cell_->source(); }

void CNNConvolutionTransposeGradient::setGradientOption(CNNConvolutionGradientOption option) {
  option_ = nn::knownOption(option, described());
}

std::size_t CNNConvolutionTransposeGradient::doDestinationChannels(const std::vector<std::size_t>& used) {
  nn::requireChannels(*this, "source gradient", used[0], sourceGradientFeatureChannels());
  return sourceImageFeatureChannels();
}

void CNNConvolutionTransposeGradient::doAdopt(const nn::ForwardRecord& r, const std::vector<Ref<Image>>& sourceImages) {
  const auto* transpose = dynamic_cast<const nn::TransposeRecord*>(&r);
  if (!transpose)
    base::raise(described() +
                ".encode: the state is not one of a transposed convolution; use the state that the "
                "CNNConvolutionTranspose with the same data source made");
  CNNGradientKernel::doAdopt(r, sourceImages);
  sources_[0].offset = {r.offset.x, r.offset.y, 0};
  sources_[0].featureChannelMaxCount = sourceGradientFeatureChannels();
  kernelOffsetX_ = transpose->kernelOffsetX;
  kernelOffsetY_ = transpose->kernelOffsetY;
}

void CNNConvolutionTransposeGradient::doEncode(nn::Call& call) {
  nn::requireChannels(*this, "secondary source", static_cast<std::size_t>(call.sources[1].c()),
                      sourceImageFeatureChannels());
  const nn::Tensor g = call.sources[0].slice(3, 0, static_cast<std::int64_t>(sourceGradientFeatureChannels())),
                   src = call.sources[1].slice(3, 0, static_cast<std::int64_t>(sourceImageFeatureChannels()));
  const nn::Tensor& dst = call.destination;
  const auto centre = [&](std::ptrdiff_t offset, std::size_t stride, std::ptrdiff_t kernelOffset) {
    return nn::checkedOffset(
        static_cast<std::ptrdiff_t>(nn::checkedOffset(offset, *this)) * static_cast<std::ptrdiff_t>(stride) +
            nn::checkedOffset(kernelOffset, *this),
        *this);
  };
  const Source& s = sources_[0];
  const nn::TransposeGeometry at = nn::transposeGeometry(*cell_, centre(s.offset.y, s.strideY, kernelOffsetY_),
                                                         centre(s.offset.x, s.strideX, kernelOffsetX_),
                                                         call.geometry[1].edgeMode, src, g.h(), g.w());
  prim::Conv conv = at.spread ? nn::overSpread(at) : at.conv;
  conv.reducedPrecision = (options() & KernelOptions::AllowReducedPrecision) != KernelOptions::None;

  if (wants(CNNConvolutionGradientOption::GradientWithData)) {
    const nn::Tensor weights = cell_->inUse().weights;
    const std::int64_t y0 = nn::checkedOffset(call.geometry[1].offsetY, *this),
                       x0 = nn::checkedOffset(call.geometry[1].offsetX, *this);
    if (at.spread) {
      const nn::Tensor window = call.list.temporaryImage(prim::DType::F32, g.n(), g.h() + conv.y.extent() - 1,
                                                         g.w() + conv.x.extent() - 1, src.c());
      call.list.op(conv, {g.read(), weights.read(), window.write()});
      nn::gatherSpread(call.list, window, at, src, y0, x0, dst);
    } else if (y0 >= 0 && x0 >= 0 && y0 + dst.h() <= src.h() && x0 + dst.w() <= src.w()) {
      prim::Conv part = conv;
      part.y.pad -= static_cast<std::int32_t>(y0 * conv.y.stride);
      part.x.pad -= static_cast<std::int32_t>(x0 * conv.x.stride);
      call.list.op(part, {g.read(), weights.read(), dst.write()});
    } else {
      const nn::Tensor whole = call.list.temporaryImage(prim::DType::F32, g.n(), src.h(), src.w(), src.c());
      call.list.op(conv, {g.read(), weights.read(), whole.write()});
      prim::Copy part;  // pixels beside the source get 0
      part.shift = {0, static_cast<std::int32_t>(y0), static_cast<std::int32_t>(x0), 0};
      call.list.op(part, {whole.read(), dst.write()});
    }
  } else {
    call.destinationWritten = false;
  }

  if (!wants(CNNConvolutionGradientOption::GradientWithWeightsAndBias)) return;
  const nn::GradientSums sums = nn::gradientSums(call, *cell_, described());
  conv.direction = prim::Direction::Weights;
  if (at.spread) {
    // An ordinary convolution over the spread source, in the layout of the weights.
    conv.bias = true;
    conv.accumulate = sums.accumulate;
    conv.y.pad = conv.x.pad = 0;
    const nn::Tensor window = nn::spreadWindow(call.list, src, at, g.h(), g.w());
    call.list.op(conv, {window.read(), g.read(), sums.operand(sums.weights), sums.operand(sums.biases)});
  } else {
    const nn::ConvolutionShape& shape = cell_->shape();
    const nn::Tensor turned = call.list.temporary(
        prim::DType::F32, {shape.inputs, shape.kernelHeight, shape.kernelWidth, shape.outputsPerInput()});
    call.list.op(conv, {g.read(), src.read(), turned.write()});
    nn::turnBack(call.list, shape, turned, sums);
    prim::Reduce reduce;
    reduce.accumulate = sums.accumulate;
    const prim::View channels = prim::View::contiguous(prim::DType::F32, {1, 1, 1, shape.outputs});
    call.list.op(reduce, {g.read(), sums.operand(sums.biases.as(channels))});
  }
  sums.done();
}

Ref<Kernel> CNNConvolutionTransposeGradient::doCopy(const Ref<MTL::Device>& device) {
  return nn::copyWithWeights(clone(*this, device), *this, device);
}

void CNNConvolutionTransposeGradient::reloadWeightsAndBiasesFromDataSource() {
  cell_->reload(described() + ".reloadWeightsAndBiasesFromDataSource");
}
void CNNConvolutionTransposeGradient::reloadWeightsAndBiases(const Ref<MTL::CommandBuffer>& commandBuffer,
                                                             const Ref<CNNConvolutionWeightsAndBiasesState>& state) {
  cell_->reload(commandBuffer, state, described() + ".reloadWeightsAndBiases");
}

}  // namespace kovar::MPS
