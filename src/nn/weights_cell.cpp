#include "nn/weights_cell.hpp"

#include <cmath>
#include <tuple>
#include <utility>

#include "base/edge.hpp"
#include "maths/formats.hpp"
#include "nn/archive/values.hpp"
#include "nn/core/access.hpp"
#include "nn/core/pointwise.hpp"

namespace kovar::nn {
namespace {

void writeFloats(const rt::StorageRef& storage, const std::vector<float>& values) {
  base::unwrap(storage->write(0, values.data(), values.size() * sizeof(float)));
}

}  // namespace

std::shared_ptr<WeightsCell> WeightsCell::load(const Ref<MTL::Device>& device,
                                               const Ref<MPS::CNNConvolutionDataSource>& source, const char* who,
                                               WeightsForm form) {
  const std::string name = who;
  if (!device) base::raise(name + ": device is null; take one from MTL::createSystemDefaultDevice()");
  if (!source) base::raise(name + ": weights is null; give a CNNConvolutionDataSource");
  std::shared_ptr<WeightsCell> cell(new WeightsCell);
  cell->source_ = source;
  WeightsConstants& k = cell->constants_;
  k.device = device;
  k.form = form;
  LoadedWeights loaded(*source, name);
  k.label = source->label();
  const std::string described = k.label.empty() ? name : name + " \"" + k.label + "\"";
  const Ref<MPS::CNNConvolutionDescriptor> d = source->descriptor();
  if (!d) base::raise(described + ": the data source's descriptor() is null; return a CNNConvolutionDescriptor");
  k.descriptor = d->copy();
  k.roundsToHalf =
      rt::Access::state(device)->strictFormats && source->kernelWeightsDataType() != MPS::DataType::Float32;
  cell->prepare(described);
  cell->current_ = cell->read(described);
  return cell;
}

void WeightsCell::prepare(const std::string& who) {
  WeightsConstants& k = constants_;
  k.shape = shapeOf(*k.descriptor, who);
  const auto outputs = static_cast<std::size_t>(k.shape.outputs);
  if (const BatchNormConstants* bn = ConvolutionAccess::batchNorm(*k.descriptor)) {
    k.scaleValues.resize(outputs);
    k.shiftValues.resize(outputs);
    for (std::size_t c = 0; c < outputs; ++c) {
      k.scaleValues[c] = (bn->gamma.empty() ? 1.f : bn->gamma[c]) / std::sqrt(bn->variance[c] + bn->epsilon);
      k.shiftValues[c] = (bn->beta.empty() ? 0.f : bn->beta[c]) - k.scaleValues[c] * bn->mean[c];
    }
    k.scale = uploadFloats(k.device, k.scaleValues.data(), outputs);
    k.shift = uploadFloats(k.device, k.shiftValues.data(), outputs);
  }
  if (k.descriptor->fusedNeuronDescriptor()->neuronType() == MPS::CNNNeuronType::PReLU) {
    const std::vector<std::byte> slopes = k.descriptor->fusedNeuronDescriptor()->data();
    k.slopes = uploadFloats(k.device, reinterpret_cast<const float*>(slopes.data()), outputs);
  }
}

std::shared_ptr<WeightsVersion> WeightsCell::current() const {
  std::scoped_lock lock(mutex_);
  return current_;
}

void WeightsCell::install(std::shared_ptr<WeightsVersion> version) {
  std::scoped_lock lock(mutex_);
  current_ = std::move(version);
}

WeightsInUse WeightsCell::inUse() const {
  const auto v = current();
  return {turned() ? turnedTensor(v->weights) : weightTensor(v->weights), biasTensor(v->biases),
          weightTensor(v->rawWeights), v->hasBiases || foldsBatchNorm()};
}

std::shared_ptr<WeightsVersion> WeightsCell::newVersion() const {
  auto v = std::make_shared<WeightsVersion>();
  const auto make = [&](std::size_t bytes) {
    return std::make_shared<rt::Storage>(rt::Access::state(device()), bytes);
  };
  v->weights = v->rawWeights = make(shape().weightBytes());
  v->biases = v->rawBiases = make(shape().biasBytes());
  if (keepsRawWeights()) v->rawWeights = make(shape().weightBytes());
  if (foldsBatchNorm()) v->rawBiases = make(shape().biasBytes());
  return v;
}

std::shared_ptr<WeightsVersion> WeightsCell::read(const std::string& who) const {
  if (turned() && source_->dataType() != MPS::DataType::Float32)
    base::raise(who + ": the data source's dataType() is " + nameOf(source_->dataType()) +
                "; a transposed convolution takes Float32 weights only");
  std::vector<float> weights = decodedWeights(*source_, shape(), who);
  const float* biases = source_->biasTerms();
  return versionOf(std::move(weights),
                   biases ? std::vector<float>(biases, biases + shape().outputs) : std::vector<float>());
}

std::shared_ptr<WeightsVersion> WeightsCell::versionOf(std::vector<float> raw, std::vector<float> rawBiases) const {
  auto v = newVersion();
  const auto outputs = static_cast<std::size_t>(shape().outputs), taps = static_cast<std::size_t>(shape().taps());
  v->hasBiases = !rawBiases.empty();
  rawBiases.resize(outputs);
  if (foldsBatchNorm()) {
    writeFloats(v->rawWeights, raw);
    writeFloats(v->rawBiases, rawBiases);
    const WeightsConstants& k = constants_;
    for (std::size_t c = 0; c < outputs; ++c) {
      for (std::size_t i = 0; i < taps; ++i) raw[c * taps + i] *= k.scaleValues[c];
      rawBiases[c] = rawBiases[c] * k.scaleValues[c] + k.shiftValues[c];
    }
  }
  if (constants_.roundsToHalf)
    for (float& w : raw) w = maths::floatFromHalf(maths::halfFromFloat(w));
  if (turned()) {
    if (!foldsBatchNorm()) writeFloats(v->rawWeights, raw);
    raw = turnedValues(shape(), raw);
  }
  writeFloats(v->weights, raw);
  writeFloats(v->biases, rawBiases);
  return v;
}

// --- reload and export
// --------------------------------------------------------------------------------------------------

std::pair<std::vector<float>, std::vector<float>> WeightsCell::values() const {
  const auto v = current();
  const auto back = [](const rt::StorageRef& storage, std::size_t bytes) {
    std::vector<float> values(bytes / sizeof(float));
    base::unwrap(storage->read(0, values.data(), bytes));
    return values;
  };
  return {back(v->rawWeights, shape().weightBytes()), back(v->rawBiases, v->hasBiases ? shape().biasBytes() : 0)};
}

void WeightsCell::code(MPS::Archive& coder, const Ref<MTL::Device>& device, std::shared_ptr<WeightsCell>& cell,
                       const char* who, WeightsForm form) {
  std::shared_ptr<WeightsCell> made(new WeightsCell);
  WeightsConstants& k = made->constants_;
  std::vector<float> weights, biases;
  if (!coder.isReading()) {
    k = cell->constants_;
    std::tie(weights, biases) = cell->values();
  }
  nn::code(coder, k.descriptor);
  coder.code("dataSourceLabel", k.label);
  coder.code("roundsToHalf", k.roundsToHalf);
  coder.code("weights", weights);
  coder.code("biases", biases);
  if (!coder.isReading()) return;
  k.device = device;
  k.form = form;
  k.shape = shapeOf(*k.descriptor, who);
  coder.require(weights.size() * sizeof(float) == k.shape.weightBytes(), "weights",
                "must be as many as the descriptor says");
  coder.require(biases.empty() || biases.size() * sizeof(float) == k.shape.biasBytes(), "biases",
                "must be one for each output channel, or none");
  made->prepare(who);
  made->current_ = made->versionOf(std::move(weights), std::move(biases));
  cell = std::move(made);
}

void WeightsCell::reload(const std::string& who) {
  requireDataSource(source_ != nullptr, who, nullptr);
  LoadedWeights loaded(*source_, who);
  const Ref<MPS::CNNConvolutionDescriptor> d = source_->descriptor();
  if (!d || !(shapeOf(*d, who) == shape()))
    base::raise(who +
                ": the data source's descriptor has other sizes than when the kernel was made; make a new kernel");
  install(read(who));
}

void WeightsCell::copyRounded(Recorder& list, const Tensor& from, const Tensor& to) const {
  if (!constants_.roundsToHalf) {
    list.op(prim::Copy{}, {from.read(), to.write()});
    return;
  }
  const Tensor half = list.temporary(
      prim::DType::F16, {shape().outputs, shape().kernelHeight, shape().kernelWidth, shape().inputsPerFilter()});
  list.op(prim::Copy{}, {from.read(), half.write()});
  list.op(prim::Copy{}, {half.read(), to.write()});
}

void WeightsCell::fold(Recorder& list, const WeightsVersion& v) const {
  // Register 0 the values, 1 the factor, 2 the summand; the constants have one value per output channel, the first
  // axis.
  const auto affine = [&](const Tensor& from, const Tensor& to, bool shifted) {
    prim::Elementwise ew;
    std::vector<rt::Operand> args{from.read()};
    for (const rt::StorageRef& storage : {constants_.scale, constants_.shift}) {
      if (storage == constants_.shift && !shifted) continue;
      prim::View view = from.view;
      view.offset = 0;
      view.strides = {};
      view.strides[0] = 1;
      args.push_back(Tensor{storage, view}.read());
    }
    for (std::size_t i = 0; i < args.size(); ++i) {
      prim::EwStep s;
      s.op = prim::EwOp::Load;
      s.dst = s.arg = static_cast<std::uint8_t>(i);
      ew.program.push(s);
    }
    prim::EwStep s;
    s.op = prim::EwOp::Mul;
    s.b = 1;
    ew.program.push(s);
    s.op = prim::EwOp::Add;
    s.b = 2;
    if (shifted) ew.program.push(s);
    s = {};
    s.op = prim::EwOp::Store;
    s.arg = static_cast<std::uint8_t>(args.size());
    ew.program.push(s);
    args.push_back(to.write());
    list.op(ew, args);
  };
  const auto room = [&] {
    return list.temporary(prim::DType::F32,
                          {shape().outputs, shape().kernelHeight, shape().kernelWidth, shape().inputsPerFilter()});
  };
  const Tensor folded = turned() ? room() : weightTensor(v.weights);
  if (constants_.roundsToHalf) {
    const Tensor exact = room();
    affine(weightTensor(v.rawWeights), exact, false);
    copyRounded(list, exact, folded);
  } else {
    affine(weightTensor(v.rawWeights), folded, false);
  }
  if (turned()) turn(list, shape(), folded, turnedTensor(v.weights));
  affine(biasTensor(v.rawBiases), biasTensor(v.biases), true);
}

std::shared_ptr<WeightsVersion> WeightsCell::ownVersion(Recorder& list) const {
  auto v = current();
  if (!v->shared) return v;
  // Another cell goes on with these values: from here on this one has its own. Whatever the predicates say.
  auto own = newVersion();
  own->hasBiases = v->hasBiases.load();
  const auto keep = [&](const Tensor& from, const Tensor& to) {
    base::unwrap(list.state().append(prim::Copy{}, {from.read(), to.write()}));
  };
  keep(weightTensor(v->weights), weightTensor(own->weights));
  keep(biasTensor(v->biases), biasTensor(own->biases));
  if (keepsRawWeights()) keep(weightTensor(v->rawWeights), weightTensor(own->rawWeights));
  if (foldsBatchNorm()) keep(biasTensor(v->rawBiases), biasTensor(own->rawBiases));
  return own;
}

void WeightsCell::reload(const Ref<MTL::CommandBuffer>& commandBuffer,
                         const Ref<MPS::CNNConvolutionWeightsAndBiasesState>& state, const std::string& who) {
  if (!commandBuffer) base::raise(who + ": commandBuffer is null");
  if (!state) base::raise(who + ": state is null; take one from exportWeightsAndBiases or make one over buffers");
  if (commandBuffer->device() != device() || Access::device(*state) != device())
    base::raise(who + ": command buffer or state belongs to another device than the kernel's, " +
                device()->identifier());
  if (state->isTemporary() && state->readCount() == 0)
    base::raise(who +
                ": the state is used up: its readCount is 0; raise readCount before the encode that read it last");
  const auto fits = [&](const char* what, std::size_t have, std::size_t wanted) {
    if (have != wanted)
      base::raise(who + ": the state has " + std::to_string(have) + " bytes of " + what + ", the kernel " +
                  std::to_string(wanted) + "; use a state of a kernel with the same descriptor");
  };
  const Ref<MTL::Buffer> biases = state->biases();
  fits("weights", ConvolutionAccess::weightBytes(*state), shape().weightBytes());
  if (biases) fits("biases", ConvolutionAccess::biasBytes(*state), shape().biasBytes());

  Recorder list(commandBuffer);
  const auto v = ownVersion(list);
  const Tensor weights = weightTensor(rt::Access::storage(state->weights()), state->weightsOffset());
  if (foldsBatchNorm())
    list.op(prim::Copy{}, {weights.read(), weightTensor(v->rawWeights).write()});
  else
    copyRounded(list, weights, weightTensor(v->rawWeights));
  if (turned() && !foldsBatchNorm()) turn(list, shape(), weightTensor(v->rawWeights), turnedTensor(v->weights));
  if (biases) {
    list.op(prim::Copy{},
            {biasTensor(rt::Access::storage(biases), state->biasesOffset()).read(), biasTensor(v->rawBiases).write()});
    v->hasBiases = true;
  }
  if (foldsBatchNorm()) fold(list, *v);
  install(v);
  Access::chargeRead(MPS::StateBatch{state});
}

Ref<MPS::CNNConvolutionWeightsAndBiasesState> WeightsCell::exportState(const Ref<MTL::CommandBuffer>& commandBuffer,
                                                                       bool temporary, const std::string& who) const {
  if (!commandBuffer) base::raise(who + ": commandBuffer is null");
  if (commandBuffer->device() != device())
    base::raise(who + ": the kernel belongs to device " + device()->identifier() + ", the command buffer to " +
                commandBuffer->device()->identifier());
  using State = MPS::CNNConvolutionWeightsAndBiasesState;
  const auto v = current();
  const std::size_t biasBytes = v->hasBiases ? shape().biasBytes() : 0;
  Ref<State> state = temporary ? Access::make<State>(commandBuffer, shape().weightBytes(), biasBytes)
                               : Access::make<State>(device(), shape().weightBytes(), biasBytes);
  Recorder list(commandBuffer);
  list.op(prim::Copy{},
          {weightTensor(v->rawWeights).read(), weightTensor(rt::Access::storage(state->weights())).write()});
  if (biasBytes > 0)
    list.op(prim::Copy{}, {biasTensor(v->rawBiases).read(), biasTensor(rt::Access::storage(state->biases())).write()});
  return state;
}

std::shared_ptr<WeightsCell> WeightsCell::copyFor(const Ref<MTL::Device>& device, const char* who) const {
  Ref<MPS::CNNConvolutionDataSource> source = source_ ? source_->copy(device) : nullptr;
  if (!source) source = source_;
  return copyFor(device, std::move(source), who);
}

std::shared_ptr<WeightsCell> WeightsCell::copyFor(const Ref<MTL::Device>& device,
                                                  Ref<MPS::CNNConvolutionDataSource> source, const char* who) const {
  if (device != constants_.device && source) return load(device, source, who, constants_.form);
  std::shared_ptr<WeightsCell> cell(new WeightsCell);
  cell->constants_ = constants_;
  if (device != constants_.device) {
    cell->constants_.device = device;
    cell->prepare(who);
    auto [weights, biases] = values();
    cell->current_ = cell->versionOf(std::move(weights), std::move(biases));
    return cell;
  }
  cell->source_ = std::move(source);
  cell->current_ = current();
  cell->current_->shared = true;
  return cell;
}

// ------------------------------------------------------------------------------------------------------------------------

FusedNeuron fusedNeuron(const WeightsCell& cell, const prim::View& destination) {
  FusedNeuron f;
  const MPS::NNNeuronDescriptor& d = *cell.descriptor().fusedNeuronDescriptor();
  if (d.neuronType() == MPS::CNNNeuronType::None) return f;
  prim::EwStep step;
  if (cell.slopes()) {
    step.op = prim::EwOp::Load;
    step.dst = 1;
    f.post.push(step);
    prim::View slopes = destination;
    slopes.dtype = prim::DType::F32;
    slopes.offset = 0;
    slopes.strides = {};
    slopes.strides[static_cast<std::size_t>(destination.rank - 1)] = 1;
    f.arguments.push_back(Tensor{cell.slopes(), slopes}.read());
  }
  step = {};
  step.op = prim::EwOp::Neuron;
  step.b = 1;
  step.code = static_cast<std::uint8_t>(d.neuronType());
  step.p = {d.a(), d.b(), d.c()};
  f.post.push(step);
  return f;
}

std::int64_t checkedOffset(std::ptrdiff_t offset, const MPS::Kernel& who) {
  constexpr std::ptrdiff_t kLimit = 1 << 28;
  if (offset < -kLimit || offset > kLimit)
    base::raise(Access::described(who) + ": an offset of " + std::to_string(offset) + " pixels lies beyond any image");
  return offset;
}

}  // namespace kovar::nn
