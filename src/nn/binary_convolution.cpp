#include <string>
#include <utility>

#include "nn/binary_weights.hpp"

namespace kovar::nn {
namespace {

prim::EwStep load(std::uint8_t dst, std::size_t arg) {
  prim::EwStep s;
  s.op = prim::EwOp::Load;
  s.dst = dst;
  s.arg = static_cast<std::uint8_t>(arg);
  return s;
}
prim::EwStep combine(prim::EwOp op) {
  prim::EwStep s;
  s.op = op;
  s.b = 1;
  return s;
}

/// A value a channel, seen as an image of these extents.
Tensor perChannel(const rt::StorageRef& storage, const prim::View& image) {
  prim::View v = image;
  v.dtype = prim::DType::F32;
  v.offset = 0;
  v.strides = {0, 0, 0, 1};
  return {storage, v};
}

/// (source + inputBias) * inputScale, its absolute value where asked for.
Tensor transformed(Recorder& list, const BinaryParts& p, const Tensor& src, bool absolute) {
  if (!p.inputScale && !absolute) return src;
  Tensor to = list.temporaryImage(prim::DType::F32, src.n(), src.h(), src.w(), src.c());
  prim::Elementwise ew;
  std::vector<rt::Operand> arguments{src.read()};
  ew.program.push(load(0, 0));
  if (p.inputScale) {
    for (const auto& [storage, op] : {std::pair{p.inputBias, prim::EwOp::Add}, {p.inputScale, prim::EwOp::Mul}}) {
      ew.program.push(load(1, arguments.size()));
      ew.program.push(combine(op));
      arguments.push_back(perChannel(storage, src.view).read());
    }
  }
  if (absolute) {
    prim::EwStep s;
    s.op = prim::EwOp::Neuron;
    s.code = static_cast<std::uint8_t>(MPS::CNNNeuronType::Absolute);
    ew.program.push(s);
  }
  prim::EwStep s;
  s.op = prim::EwOp::Store;
  s.arg = static_cast<std::uint8_t>(arguments.size());
  ew.program.push(s);
  arguments.push_back(to.write());
  list.op(ew, arguments);
  return to;
}

/// The mean of abs(u) over channels and window: [n, rows, columns, 1].
Tensor betaImage(Recorder& list, const BinaryParts& p, const Tensor& src, const prim::Conv& windows,
                 const Tensor& destination) {
  const Tensor magnitudes = transformed(list, p, src, true);
  const Tensor means = list.temporary(prim::DType::F32, {src.n(), src.h(), src.w(), 1});
  prim::Reduce mean;
  mean.kind = prim::ReduceKind::Mean;
  list.op(mean, {magnitudes.read(), means.write()});
  Tensor beta = list.temporary(prim::DType::F32, {src.n(), destination.h(), destination.w(), 1});
  prim::Pool average;
  average.kind = prim::PoolKind::Average;
  average.y = windows.y;
  average.x = windows.x;
  list.op(average, {means.read(), beta.write()});
  return beta;
}

/// sum * scale * beta + bias, then the activation, and the arguments that takes.
FusedNeuron afterSum(const BinaryParts& p, const Tensor* beta, const prim::View& destination) {
  FusedNeuron f;
  const auto with = [&](const Tensor& t, prim::EwOp op) {
    f.post.push(load(1, f.arguments.size()));
    f.post.push(combine(op));
    f.arguments.push_back(t.read());
  };
  if (p.settings.scaleValue != 1.f) {
    prim::EwStep s;
    s.op = prim::EwOp::Affine;
    s.p = {p.settings.scaleValue, 0.f, 0.f};
    f.post.push(s);
  }
  if (p.outputScale) with(perChannel(p.outputScale, destination), prim::EwOp::Mul);
  if (beta) {
    prim::View v = beta->view;
    v.dims[3] = destination.dim(3);
    v.strides[3] = 0;
    with(beta->as(v), prim::EwOp::Mul);
  }
  if (p.outputBias) with(perChannel(p.outputBias, destination), prim::EwOp::Add);
  const MPS::NNNeuronDescriptor& d = *p.descriptor->fusedNeuronDescriptor();
  if (d.neuronType() == MPS::CNNNeuronType::None) return f;
  if (p.slopes) {
    f.post.push(load(1, f.arguments.size()));
    f.arguments.push_back(perChannel(p.slopes, destination).read());
  }
  prim::EwStep s;
  s.op = prim::EwOp::Neuron;
  s.b = 1;
  s.code = static_cast<std::uint8_t>(d.neuronType());
  s.p = {d.a(), d.b(), d.c()};
  f.post.push(s);
  return f;
}

/// As float32, which the counting of bits reads and writes.
Tensor asFloat(Recorder& list, const Tensor& t, bool copy) {
  const bool fits = t.view.dtype == prim::DType::F32;
  Tensor to = fits ? t : list.temporaryImage(prim::DType::F32, t.n(), t.h(), t.w(), t.c());
  if (copy && !fits) list.op(prim::Copy{}, {t.read(), to.write()});
  return to;
}

void encodeBits(Recorder& list, const BinaryParts& p, const Tensor& src, const prim::Conv& windows,
                const Tensor& destination, const Tensor* beta) {
  prim::BinaryConv conv;
  conv.kind = p.settings.type == MPS::CNNBinaryConvolutionType::AND ? prim::BinaryKind::And : prim::BinaryKind::Xnor;
  conv.y = windows.y;
  conv.x = windows.x;
  conv.transform = p.inputScale != nullptr;
  const Tensor dst = asFloat(list, destination, false);
  const FusedNeuron after = afterSum(p, beta, dst.view);
  conv.post = after.post;
  const ConvolutionShape& s = p.shape;
  const Tensor weights{p.weights, prim::View::contiguous(prim::DType::U32,
                                                         {s.outputs, s.kernelHeight, s.kernelWidth, p.wordsOfPixel()})};
  std::vector<rt::Operand> operands{asFloat(list, src, true).read(), weights.read()};
  if (conv.transform)
    for (const rt::StorageRef& storage : {p.inputBias, p.inputScale})
      operands.push_back(Tensor{storage, prim::View::contiguous(prim::DType::F32, {s.inputs})}.read());
  operands.push_back(dst.write());
  operands.insert(operands.end(), after.arguments.begin(), after.arguments.end());
  list.op(conv, operands);
  if (dst.storage != destination.storage) list.op(prim::Copy{}, {dst.read(), destination.write()});
}

}  // namespace

Ref<MPS::CNNBinaryConvolution> BinaryAccess::convolution(const Ref<MTL::Device>& device,
                                                         const Ref<MPS::CNNConvolutionDataSource>& source,
                                                         const BinarySettings& settings) {
  return Ref<MPS::CNNBinaryConvolution>(
      new MPS::CNNBinaryConvolution(device, source, settings, "CNNBinaryConvolution"));
}
Ref<MPS::CNNBinaryConvolution> BinaryAccess::fullyConnected(const Ref<MTL::Device>& device,
                                                            const Ref<MPS::CNNConvolutionDataSource>& source,
                                                            const BinarySettings& settings) {
  return Ref<MPS::CNNBinaryConvolution>(new MPS::CNNBinaryFullyConnected(device, source, settings));
}

}  // namespace kovar::nn

namespace kovar::MPS {

CNNBinaryConvolution::CNNBinaryConvolution(const Ref<MTL::Device>& device,
                                           const Ref<CNNConvolutionDataSource>& convolutionData, float scaleValue,
                                           CNNBinaryConvolutionType type, CNNBinaryConvolutionFlags flags)
    : CNNBinaryConvolution(device, convolutionData, nn::binarySettings(scaleValue, type, flags),
                           "CNNBinaryConvolution") {}

CNNBinaryConvolution::CNNBinaryConvolution(const Ref<MTL::Device>& device,
                                           const Ref<CNNConvolutionDataSource>& convolutionData,
                                           const float* outputBiasTerms, const float* outputScaleTerms,
                                           const float* inputBiasTerms, const float* inputScaleTerms,
                                           CNNBinaryConvolutionType type, CNNBinaryConvolutionFlags flags)
    : CNNBinaryConvolution(device, convolutionData,
                           nn::binarySettings(convolutionData.get(), "CNNBinaryConvolution", outputBiasTerms,
                                              outputScaleTerms, inputBiasTerms, inputScaleTerms, type, flags),
                           "CNNBinaryConvolution") {}

CNNBinaryConvolution::CNNBinaryConvolution(const Ref<MTL::Device>& device,
                                           const Ref<CNNConvolutionDataSource>& convolutionData,
                                           const nn::BinarySettings& settings, const char* who)
    : CNNKernel(device), parts_(nn::loadBinary(device, convolutionData, settings, who)) {
  nn::takeWindow(*parts_->descriptor, sources_[0]);
  setLabel(parts_->label);
}

std::size_t CNNBinaryConvolution::inputFeatureChannels() const { return parts_->descriptor->inputFeatureChannels(); }
std::size_t CNNBinaryConvolution::outputFeatureChannels() const { return parts_->descriptor->outputFeatureChannels(); }

std::size_t CNNBinaryConvolution::doDestinationChannels(const std::vector<std::size_t>& used) {
  nn::requireChannels(*this, "source", used[0], inputFeatureChannels());
  return outputFeatureChannels();
}

void CNNBinaryConvolution::doEncode(nn::Call& call) {
  nn::Tensor src = call.sources[0].slice(3, 0, static_cast<std::int64_t>(inputFeatureChannels()));
  const nn::Tensor& dst = call.destination;
  prim::Conv conv = nn::windowsOf(*parts_->descriptor);
  const std::int64_t y0 = nn::firstRow(conv, nn::checkedOffset(call.geometry[0].offsetY, *this)),
                     x0 = nn::firstColumn(conv, nn::checkedOffset(call.geometry[0].offsetX, *this));
  if (call.geometry[0].edgeMode == ImageEdgeMode::Clamp) {
    call.sources[0] = src;
    src = call.window(0, y0, x0, nn::touched(conv.y, dst.h()), nn::touched(conv.x, dst.w()));
  } else {
    conv.y.pad = static_cast<std::int32_t>(-y0);
    conv.x.pad = static_cast<std::int32_t>(-x0);
  }
  const bool scaled =
      (parts_->settings.flags & CNNBinaryConvolutionFlags::UseBetaScaling) == CNNBinaryConvolutionFlags::UseBetaScaling;
  nn::Tensor beta;
  if (scaled) beta = nn::betaImage(call.list, *parts_, src, conv, dst);
  const nn::Tensor* betaIfAny = scaled ? &beta : nullptr;
  if (parts_->isBits()) return nn::encodeBits(call.list, *parts_, src, conv, dst, betaIfAny);

  // Real inputs: a convolution with weights of -1 and 1.
  conv.reducedPrecision = (options() & KernelOptions::AllowReducedPrecision) != KernelOptions::None;
  const nn::FusedNeuron after = nn::afterSum(*parts_, betaIfAny, dst.view);
  conv.post = after.post;
  const nn::Tensor weights{parts_->weights, parts_->shape.weightsView()};
  std::vector<rt::Operand> operands{nn::transformed(call.list, *parts_, src, false).read(), weights.read(),
                                    dst.write()};
  operands.insert(operands.end(), after.arguments.begin(), after.arguments.end());
  call.list.op(conv, operands);
}

Ref<Kernel> CNNBinaryConvolution::doCopy(const Ref<MTL::Device>& device) {
  Ref<Kernel> copy = clone(*this, device);
  if (device != this->device()) static_cast<CNNBinaryConvolution&>(*copy).parts_ = parts_->on(device);
  return copy;
}

// --- fully connected
// --------------------------------------------------------------------------------------------------

CNNBinaryFullyConnected::CNNBinaryFullyConnected(const Ref<MTL::Device>& device,
                                                 const Ref<CNNConvolutionDataSource>& convolutionData, float scaleValue,
                                                 CNNBinaryConvolutionType type, CNNBinaryConvolutionFlags flags)
    : CNNBinaryFullyConnected(device, convolutionData, nn::binarySettings(scaleValue, type, flags)) {}

CNNBinaryFullyConnected::CNNBinaryFullyConnected(const Ref<MTL::Device>& device,
                                                 const Ref<CNNConvolutionDataSource>& convolutionData,
                                                 const float* outputBiasTerms, const float* outputScaleTerms,
                                                 const float* inputBiasTerms, const float* inputScaleTerms,
                                                 CNNBinaryConvolutionType type, CNNBinaryConvolutionFlags flags)
    : CNNBinaryFullyConnected(device, convolutionData,
                              nn::binarySettings(convolutionData.get(), "CNNBinaryFullyConnected", outputBiasTerms,
                                                 outputScaleTerms, inputBiasTerms, inputScaleTerms, type, flags)) {}

CNNBinaryFullyConnected::CNNBinaryFullyConnected(const Ref<MTL::Device>& device,
                                                 const Ref<CNNConvolutionDataSource>& convolutionData,
                                                 const nn::BinarySettings& settings)
    : CNNBinaryConvolution(device, convolutionData, settings, "CNNBinaryFullyConnected") {
  const Source& s = sources_[0];
  if (s.strideX != 1 || s.strideY != 1 || s.dilationX != 1 || s.dilationY != 1)
    base::raise("CNNBinaryFullyConnected: strides and dilation rates must be 1, the window covers the whole source");
  padding_ = NNDefaultPadding::padding(NNPaddingMethod::AlignCentered | NNPaddingMethod::AddRemainderToTopLeft |
                                       NNPaddingMethod::SizeValidOnly);
}

void CNNBinaryFullyConnected::doEncode(nn::Call& call) {
  nn::requireWindow(*this, parts_->shape, call.sources[0]);
  nn::requireOnePixel(*this, "destination", call.destination);
  call.geometry[0].offsetX = parts_->shape.kernelWidth / 2;
  call.geometry[0].offsetY = parts_->shape.kernelHeight / 2;
  CNNBinaryConvolution::doEncode(call);
}

Ref<Kernel> CNNBinaryFullyConnected::doCopy(const Ref<MTL::Device>& device) {
  Ref<Kernel> copy = clone(*this, device);
  if (device != this->device()) static_cast<CNNBinaryFullyConnected&>(*copy).parts_ = parts_->on(device);
  return copy;
}

}  // namespace kovar::MPS
