#include "nn/weights_cell.hpp"

#include <cmath>
#include <cstring>
#include <utility>

#include "base/edge.hpp"
#include "maths/formats.hpp"
#include "nn/core/access.hpp"
#include "nn/core/pointwise.hpp"

namespace kovar::nn {
namespace {

/// Holds a data source loaded.
class Loaded {
 public:
  Loaded(MPS::CNNConvolutionDataSource& source, const std::string& who) : source_(source) {
    if (!source.load())
      base::raise(who + ": the data source's load() returned false; it must make weights() and biasTerms() available and return true");
  }
  ~Loaded() { source_.purge(); }
  Loaded(const Loaded&) = delete;
  Loaded& operator=(const Loaded&) = delete;

 private:
  MPS::CNNConvolutionDataSource& source_;
};

const char* nameOf(MPS::DataType type) {
  switch (type) {
    case MPS::DataType::UInt8: return "UInt8";
    case MPS::DataType::UInt32: return "UInt32";
    case MPS::DataType::Invalid: return "Invalid";
    default: return "another type";
  }
}

float* floatsOf(const rt::StorageRef& storage) { return reinterpret_cast<float*>(base::unwrap(storage->data())); }

float rounded(float v) { return maths::floatFromHalf(maths::halfFromFloat(v)); }

}  // namespace

std::shared_ptr<WeightsCell> WeightsCell::load(const Ref<MTL::Device>& device, const Ref<MPS::CNNConvolutionDataSource>& source,
                                               const char* who) {
  const std::string name = who;
  if (!device) base::raise(name + ": device is null; take one from MTL::createSystemDefaultDevice()");
  if (!source) base::raise(name + ": weights is null; give a CNNConvolutionDataSource");
  std::shared_ptr<WeightsCell> cell(new WeightsCell);
  cell->device_ = device;
  cell->source_ = source;
  Loaded loaded(*source, name);
  cell->label_ = source->label();
  const std::string described = cell->label_.empty() ? name : name + " \"" + cell->label_ + "\"";
  const Ref<MPS::CNNConvolutionDescriptor> d = source->descriptor();
  if (!d) base::raise(described + ": the data source's descriptor() is null; return a CNNConvolutionDescriptor");
  cell->descriptor_ = d->copy();
  cell->prepare(described);
  cell->current_ = cell->read(described);
  return cell;
}

void WeightsCell::prepare(const std::string& who) {
  shape_ = shapeOf(*descriptor_, who);
  roundsToHalf_ = rt::Access::state(device_)->strictFormats && source_->kernelWeightsDataType() != MPS::DataType::Float32;
  const auto outputs = static_cast<std::size_t>(shape_.outputs);
  if (const BatchNormConstants* bn = ConvolutionAccess::batchNorm(*descriptor_)) {
    scaleValues_.resize(outputs);
    shiftValues_.resize(outputs);
    for (std::size_t c = 0; c < outputs; ++c) {
      scaleValues_[c] = (bn->gamma.empty() ? 1.f : bn->gamma[c]) / std::sqrt(bn->variance[c] + bn->epsilon);
      shiftValues_[c] = (bn->beta.empty() ? 0.f : bn->beta[c]) - scaleValues_[c] * bn->mean[c];
    }
    scale_ = uploadFloats(device_, scaleValues_.data(), outputs);
    shift_ = uploadFloats(device_, shiftValues_.data(), outputs);
  }
  if (descriptor_->fusedNeuronDescriptor()->neuronType() == MPS::CNNNeuronType::PReLU) {
    const std::vector<std::byte> slopes = descriptor_->fusedNeuronDescriptor()->data();
    slopes_ = uploadFloats(device_, reinterpret_cast<const float*>(slopes.data()), outputs);
  }
}

std::shared_ptr<WeightsVersion> WeightsCell::newVersion() const {
  auto v = std::make_shared<WeightsVersion>();
  const auto make = [&](std::size_t bytes) { return std::make_shared<rt::Storage>(rt::Access::state(device_), bytes); };
  v->weights = v->rawWeights = make(shape_.weightBytes());
  v->biases = v->rawBiases = make(shape_.biasBytes());
  if (foldsBatchNorm()) {
    v->rawWeights = make(shape_.weightBytes());
    v->rawBiases = make(shape_.biasBytes());
  }
  return v;
}

std::shared_ptr<WeightsVersion> WeightsCell::read(const std::string& who) {
  const MPS::DataType type = source_->dataType();
  if (type != MPS::DataType::Float32 && type != MPS::DataType::Float16)
    base::raise(who + ": the data source's dataType() is " + nameOf(type) +
                "; Float32 and Float16 weights are supported, quantised and integer weights are not: give the values as floats");
  if (source_->weightsLayout() != MPS::CNNConvolutionWeightsLayout::OHWI)
    base::raise(who + ": the data source's weightsLayout() is not OHWI; give weights as [O][kernelHeight][kernelWidth][I / groups]");
  const void* weights = source_->weights();
  if (!weights) base::raise(who + ": the data source's weights() is null after load(); return the address of the weights");
  const float* biases = source_->biasTerms();

  auto v = newVersion();
  const auto outputs = static_cast<std::size_t>(shape_.outputs), taps = static_cast<std::size_t>(shape_.taps());
  float* raw = floatsOf(v->rawWeights);
  if (type == MPS::DataType::Float32) {
    std::memcpy(raw, weights, shape_.weightBytes());
  } else {
    const auto* half = static_cast<const std::uint16_t*>(weights);
    for (std::size_t i = 0; i < outputs * taps; ++i) raw[i] = maths::floatFromHalf(half[i]);
  }
  if (biases) std::memcpy(floatsOf(v->rawBiases), biases, shape_.biasBytes());
  v->hasBiases = biases != nullptr;

  float* used = floatsOf(v->weights);
  if (foldsBatchNorm()) {
    float* b = floatsOf(v->biases);
    const float* rawB = floatsOf(v->rawBiases);
    for (std::size_t c = 0; c < outputs; ++c) {
      for (std::size_t i = 0; i < taps; ++i) used[c * taps + i] = raw[c * taps + i] * scaleValues_[c];
      b[c] = rawB[c] * scaleValues_[c] + shiftValues_[c];
    }
  }
  if (roundsToHalf_)
    for (std::size_t i = 0; i < outputs * taps; ++i) used[i] = rounded(used[i]);
  return v;
}

void WeightsCell::reload(const std::string& who) {
  Loaded loaded(*source_, who);
  const Ref<MPS::CNNConvolutionDescriptor> d = source_->descriptor();
  if (!d || !(shapeOf(*d, who) == shape_))
    base::raise(who + ": the data source's descriptor has other sizes than when the kernel was made; make a new kernel");
  current_ = read(who);
}

void WeightsCell::move(Recorder& list, const Tensor& from, const Tensor& to) const {
  if (!roundsToHalf_ || to.view.rank == 1) {
    list.op(prim::Copy{}, {from.read(), to.write()});
    return;
  }
  const Tensor half = list.temporary(prim::DType::F16, {shape_.outputs, shape_.kernelHeight, shape_.kernelWidth, shape_.inputsPerFilter()});
  list.op(prim::Copy{}, {from.read(), half.write()});
  list.op(prim::Copy{}, {half.read(), to.write()});
}

void WeightsCell::fold(Recorder& list, const WeightsVersion& v) const {
  // Register 0 the values, 1 the factor, 2 the summand.
  const auto fma = [&](const Tensor& from, const Tensor& to, bool shifted) {
    prim::Elementwise ew;
    std::vector<rt::Operand> args{from.read()};
    const auto load = [&](const rt::StorageRef& storage) {
      prim::View view = from.view;
      view.offset = 0;
      view.strides = {};
      view.strides[0] = 1;
      args.push_back(Tensor{storage, view}.read());
    };
    load(scale_);
    if (shifted) load(shift_);
    for (std::uint8_t i = 0; i < args.size(); ++i) {
      prim::EwStep s;
      s.op = prim::EwOp::Load;
      s.dst = s.arg = i;
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
  const Tensor weights{v.weights, shape_.weightsView()};
  if (roundsToHalf_) {
    const Tensor folded = list.temporary(prim::DType::F32, {shape_.outputs, shape_.kernelHeight, shape_.kernelWidth, shape_.inputsPerFilter()});
    fma({v.rawWeights, shape_.weightsView()}, folded, false);
    move(list, folded, weights);
  } else {
    fma({v.rawWeights, shape_.weightsView()}, weights, false);
  }
  fma({v.rawBiases, shape_.biasView()}, {v.biases, shape_.biasView()}, true);
}

void WeightsCell::reload(const Ref<MTL::CommandBuffer>& commandBuffer,
                         const Ref<MPS::CNNConvolutionWeightsAndBiasesState>& state, const std::string& who) {
  if (!commandBuffer) base::raise(who + ": commandBuffer is null");
  if (!state) base::raise(who + ": state is null; take one from exportWeightsAndBiases or make one over buffers");
  if (commandBuffer->device() != device_ || Access::device(*state) != device_)
    base::raise(who + ": command buffer or state belongs to another device than the kernel's " + device_->identifier());
  if (state->isTemporary() && state->readCount() == 0)
    base::raise(who + ": the state is used up: its readCount is 0; raise readCount before the encode that read it last");
  const auto fits = [&](const char* what, std::size_t have, std::size_t wanted) {
    if (have != wanted)
      base::raise(who + ": the state has " + std::to_string(have) + " bytes of " + what + ", the kernel " + std::to_string(wanted) +
                  "; use a state of a kernel with the same descriptor");
  };
  fits("weights", ConvolutionAccess::weightBytes(*state), shape_.weightBytes());
  if (state->biases()) fits("biases", ConvolutionAccess::biasBytes(*state), shape_.biasBytes());

  Recorder list(commandBuffer);
  std::shared_ptr<WeightsVersion> v = current_;
  if (v->shared) {
    // Another cell goes on with these values: from here on this one has its own. Whatever the predicates say.
    v = newVersion();
    const auto keep = [&](const rt::StorageRef& from, const rt::StorageRef& to, const prim::View& view) {
      base::unwrap(list.state().append(prim::Copy{}, {Tensor{from, view}.read(), Tensor{to, view}.write()}));
    };
    keep(current_->weights, v->weights, shape_.weightsView());
    keep(current_->biases, v->biases, shape_.biasView());
    if (foldsBatchNorm()) {
      keep(current_->rawWeights, v->rawWeights, shape_.weightsView());
      keep(current_->rawBiases, v->rawBiases, shape_.biasView());
    }
  }
  const Tensor weights{rt::Access::storage(state->weights()), shape_.weightsView(state->weightsOffset())};
  const Tensor rawWeights{v->rawWeights, shape_.weightsView()};
  if (foldsBatchNorm()) list.op(prim::Copy{}, {weights.read(), rawWeights.write()});
  else move(list, weights, rawWeights);
  if (state->biases()) {
    const Tensor biases{rt::Access::storage(state->biases()), shape_.biasView(state->biasesOffset())};
    list.op(prim::Copy{}, {biases.read(), Tensor{v->rawBiases, shape_.biasView()}.write()});
  }
  if (foldsBatchNorm()) fold(list, *v);
  v->hasBiases = current_->hasBiases || state->biases() != nullptr;
  current_ = std::move(v);
  Access::chargeRead(MPS::StateBatch{state});
}

Ref<MPS::CNNConvolutionWeightsAndBiasesState> WeightsCell::exportState(const Ref<MTL::CommandBuffer>& commandBuffer,
                                                                       bool temporary, const std::string& who) const {
  if (!commandBuffer) base::raise(who + ": commandBuffer is null");
  if (commandBuffer->device() != device_)
    base::raise(who + ": the kernel belongs to device " + device_->identifier() + ", the command buffer to " + commandBuffer->device()->identifier());
  using State = MPS::CNNConvolutionWeightsAndBiasesState;
  const std::size_t biasBytes = current_->hasBiases ? shape_.biasBytes() : 0;
  Ref<State> state = temporary ? Access::make<State>(commandBuffer, shape_.weightBytes(), biasBytes)
                               : Access::make<State>(device_, shape_.weightBytes(), biasBytes);
  Recorder list(commandBuffer);
  list.op(prim::Copy{}, {rawWeights().read(), Tensor{rt::Access::storage(state->weights()), shape_.weightsView()}.write()});
  if (biasBytes > 0)
    list.op(prim::Copy{}, {Tensor{current_->rawBiases, shape_.biasView()}.read(),
                           Tensor{rt::Access::storage(state->biases()), shape_.biasView()}.write()});
  return state;
}

std::shared_ptr<WeightsCell> WeightsCell::copyFor(const Ref<MTL::Device>& device, const char* who) const {
  Ref<MPS::CNNConvolutionDataSource> source = source_->copy(device);
  if (!source) source = source_;
  if (device != device_) return load(device, source, who);
  std::shared_ptr<WeightsCell> cell(new WeightsCell(*this));
  cell->source_ = std::move(source);
  current_->shared = true;
  return cell;
}

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

std::int64_t checkedOffset(std::ptrdiff_t offset, const std::string& who) {
  constexpr std::ptrdiff_t kLimit = 1 << 28;
  if (offset < -kLimit || offset > kLimit)
    base::raise(who + ": an offset of " + std::to_string(offset) + " pixels lies beyond any image");
  return offset;
}

}  // namespace kovar::nn
