#include "kovar/MPS/NN/CNNFullyConnected.hpp"

#include <string>
#include <utility>

#include "nn/convolution_geometry.hpp"

namespace kovar::nn {

void requireWindow(const MPS::Kernel& who, const ConvolutionShape& shape, const Tensor& source) {
  if (source.h() == shape.kernelHeight && source.w() == shape.kernelWidth) return;
  base::raise(Access::described(who) + ".encode: the source is " + std::to_string(source.w()) + " x " +
              std::to_string(source.h()) + " pixels, the kernel " + std::to_string(shape.kernelWidth) + " x " +
              std::to_string(shape.kernelHeight) + "; a fully connected layer's kernel is as large as its source");
}

void requireOnePixel(const MPS::Kernel& who, const char* what, const Tensor& t) {
  if (t.h() == 1 && t.w() == 1) return;
  base::raise(Access::described(who) + ".encode: the " + what + " is " + std::to_string(t.w()) + " x " +
              std::to_string(t.h()) +
              " pixels; a fully connected layer has one result pixel, set clipRect or make the image 1 x 1");
}

}  // namespace kovar::nn

namespace kovar::MPS {
namespace {

std::shared_ptr<nn::WeightsCell> checked(std::shared_ptr<nn::WeightsCell> cell, const char* who) {
  const CNNConvolutionDescriptor& d = cell->descriptor();
  const auto one = [&](std::size_t value, const char* name) {
    if (value != 1)
      base::raise(std::string(who) + (cell->label().empty() ? "" : " \"" + cell->label() + "\"") +
                  ": the descriptor's " + name + " is " + std::to_string(value) +
                  "; a fully connected layer has 1, its window covers the whole source");
  };
  one(d.strideInPixelsX(), "strideInPixelsX");
  one(d.strideInPixelsY(), "strideInPixelsY");
  one(d.dilationRateX(), "dilationRateX");
  one(d.dilationRateY(), "dilationRateY");
  one(d.groups(), "groups");
  one(static_cast<std::size_t>(cell->shape().subPixelScale), "subPixelScaleFactor");
  if (cell->shape().channelMultiplier != 0)
    base::raise(std::string(who) + (cell->label().empty() ? "" : " \"" + cell->label() + "\"") +
                ": the descriptor is depthwise; a fully connected layer's filters read all channels, give a "
                "CNNConvolutionDescriptor");
  return cell;
}

/// True where all pixels and channels of an image lie one after the other.
bool pixelsTogether(const prim::View& v) {
  return (v.dim(2) == 1 || v.stride(2) == v.dim(3)) && (v.dim(1) == 1 || v.stride(1) == v.dim(2) * v.dim(3));
}

/// An image tensor as a matrix of one row per image.
nn::Tensor rows(const nn::Tensor& t) {
  prim::View m;
  m.dtype = t.view.dtype;
  m.rank = 2;
  m.dims = {t.n(), t.h() * t.w() * t.c()};
  m.strides = {t.view.stride(0), 1};
  m.offset = t.view.offset;
  return t.as(m);
}

/// The same for any source: copied together first where it has gaps.
nn::Tensor sourceRows(nn::Recorder& list, const nn::Tensor& source) {
  if (pixelsTogether(source.view)) return rows(source);
  const nn::Tensor dense = list.temporary(source.view.dtype, {source.n(), source.h(), source.w(), source.c()});
  list.op(prim::Copy{}, {source.read(), dense.write()});
  return rows(dense);
}

nn::Tensor weightRows(const nn::Tensor& weights, const nn::ConvolutionShape& s) {
  return weights.as(prim::View::contiguous(prim::DType::F32, {s.outputs, s.taps()}));
}

bool reduced(KernelOptions options) { return (options & KernelOptions::AllowReducedPrecision) != KernelOptions::None; }

}  // namespace

CNNFullyConnected::CNNFullyConnected(const Ref<MTL::Device>& device, const Ref<CNNConvolutionDataSource>& weights)
    : CNNFullyConnected(nn::WeightsCell::load(device, weights, "CNNFullyConnected")) {}

CNNFullyConnected::CNNFullyConnected(const Ref<MTL::Device>& device,
                                     const Ref<CNNConvolutionDescriptor>& convolutionDescriptor,
                                     const float* kernelWeights, const float* biasTerms, CNNConvolutionFlags)
    : CNNFullyConnected(device, nn::sourceOver("CNNFullyConnected", convolutionDescriptor, kernelWeights, biasTerms)) {}

CNNFullyConnected::CNNFullyConnected(std::shared_ptr<nn::WeightsCell> cell)
    : CNNConvolution(checked(std::move(cell), "CNNFullyConnected")) {
  padding_ = NNDefaultPadding::padding(NNPaddingMethod::AlignCentered | NNPaddingMethod::AddRemainderToTopLeft |
                                       NNPaddingMethod::SizeValidOnly);
}

void CNNFullyConnected::doEncode(nn::Call& call) {
  const nn::ConvolutionShape& shape = cell_->shape();
  const nn::Tensor src = call.sources[0].slice(3, 0, shape.inputs);
  nn::requireWindow(*this, shape, src);
  nn::requireOnePixel(*this, "destination", call.destination);
  const nn::Tensor dst = rows(call.destination);
  prim::Matmul product;
  product.transposeB = true;
  const nn::WeightsInUse values = cell_->inUse();
  product.bias = values.hasBiases;
  product.reducedPrecision = nn::mayBeNarrow(options(), accumulatorPrecisionOption());
  nn::FusedNeuron neuron = nn::fusedNeuron(*cell_, dst.view);
  product.post = neuron.post;
  std::vector<rt::Operand> operands{sourceRows(call.list, src).read(), weightRows(values.weights, shape).read()};
  if (product.bias) operands.push_back(values.biases.read());
  operands.push_back(dst.write());
  operands.insert(operands.end(), neuron.arguments.begin(), neuron.arguments.end());
  call.list.op(product, operands);
}

Ref<Kernel> CNNFullyConnected::doCopy(const Ref<MTL::Device>& device) {
  return nn::copyWithWeights(clone(*this, device), *this, device);
}

// --- gradient
// ---------------------------------------------------------------------------------------------------------

CNNFullyConnectedGradient::CNNFullyConnectedGradient(const Ref<MTL::Device>& device,
                                                     const Ref<CNNConvolutionDataSource>& weights)
    : CNNFullyConnectedGradient(nn::WeightsCell::load(device, weights, "CNNFullyConnectedGradient")) {}

CNNFullyConnectedGradient::CNNFullyConnectedGradient(std::shared_ptr<nn::WeightsCell> cell)
    : CNNConvolutionGradient(checked(std::move(cell), "CNNFullyConnectedGradient"), "CNNFullyConnectedGradient") {}

void CNNFullyConnectedGradient::doEncode(nn::Call& call) {
  const nn::ConvolutionShape& shape = cell_->shape();
  nn::requireChannels(*this, "secondary source", static_cast<std::size_t>(call.sources[1].c()),
                      static_cast<std::size_t>(shape.inputs));
  const nn::Tensor gradient = call.sources[0].slice(3, 0, shape.outputs),
                   source = call.sources[1].slice(3, 0, shape.inputs);
  nn::requireOnePixel(*this, "source gradient", gradient);
  nn::requireWindow(*this, shape, source);
  const nn::Tensor g = rows(gradient);

  if (wants(CNNConvolutionGradientOption::GradientWithData)) {
    prim::Matmul product;
    product.reducedPrecision = reduced(options());
    const nn::Tensor weights = weightRows(cell_->inUse().rawWeights, shape);
    nn::Tensor& dst = call.destination;
    const auto y0 = static_cast<std::int64_t>(call.region.origin.y),
               x0 = static_cast<std::int64_t>(call.region.origin.x);
    const bool whole = y0 == 0 && x0 == 0 && dst.h() == shape.kernelHeight && dst.w() == shape.kernelWidth;
    if (whole && pixelsTogether(dst.view)) {
      call.list.op(product, {g.read(), weights.read(), rows(dst).write()});
    } else {
      const nn::Tensor all =
          call.list.temporary(prim::DType::F32, {g.n(), shape.kernelHeight, shape.kernelWidth, shape.inputs});
      call.list.op(product, {g.read(), weights.read(), rows(all).write()});
      prim::Copy part;  // pixels beside the source get 0
      part.shift = {0, static_cast<std::int32_t>(y0), static_cast<std::int32_t>(x0), 0};
      call.list.op(part, {all.read(), dst.write()});
    }
  } else {
    call.destinationWritten = false;
  }

  if (wants(CNNConvolutionGradientOption::GradientWithWeightsAndBias)) {
    const nn::GradientSums sums = nn::gradientSums(call, *cell_, described());
    prim::Matmul product;
    product.transposeA = true;
    product.rowSum = true;
    product.accumulate = sums.accumulate;
    product.reducedPrecision = reduced(options());
    call.list.op(product, {g.read(), sourceRows(call.list, source).read(),
                           sums.operand(weightRows(sums.weights, shape)), sums.operand(sums.biases)});
    sums.done();
  }
}

Ref<Kernel> CNNFullyConnectedGradient::doCopy(const Ref<MTL::Device>& device) {
  return nn::copyWithWeights(clone(*this, device), *this, device);
}

}  // namespace kovar::MPS
