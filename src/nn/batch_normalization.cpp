#include "kovar/MPS/NN/CNNBatchNormalization.hpp"

#include <utility>

#include "base/edge.hpp"
#include "nn/archive/values.hpp"
#include "nn/convolution_geometry.hpp"
#include "nn/core/access.hpp"
#include "nn/core/encoder.hpp"
#include "nn/core/pointwise.hpp"
#include "nn/fused_activation.hpp"
#include "nn/normalization_access.hpp"

namespace kovar::nn {

namespace {

using BatchState = MPS::CNNBatchNormalizationState;

prim::EwStep neuronStep(const FusedActivation& a, prim::EwOp op, std::uint8_t x, std::uint8_t slopes, std::uint8_t g) {
  prim::EwStep s;
  s.op = op;
  s.a = x, s.b = slopes, s.c = g;
  s.code = static_cast<std::uint8_t>(a.neuron->neuronType());
  s.p = {a.neuron->a(), a.neuron->b(), a.neuron->c()};
  return s;
}

prim::EwStep transfer(prim::EwOp op, std::uint8_t reg, std::uint8_t arg) {
  prim::EwStep s;
  s.op = op;
  if (op == prim::EwOp::Load)
    s.dst = reg;
  else
    s.a = reg;
  s.arg = arg;
  return s;
}

/// The vectors that an encode normalizes with.
struct Moments {
  Tensor mean, variance;
};

/// One normalization of `source` into `destination`, with the activation unless it is null.
void apply(Recorder& list, prim::Norm d, const Tensor& source, const Moments& m, bool writesMoments,
           const ChannelPair& values, const Tensor& destination, const FusedActivation* activation) {
  std::vector<rt::Operand> operands{source.read(),
                                    writesMoments ? m.mean.write() : m.mean.read(),
                                    writesMoments ? m.variance.write() : m.variance.read(),
                                    values.first().read(),
                                    values.second().read(),
                                    destination.write()};
  if (activation) {
    if (activation->slopes) {
      d.post.push(transfer(prim::EwOp::Load, 1, 0));
      operands.push_back(
          channelVector(activation->slopes, destination.n(), destination.h(), destination.w(), destination.c()).read());
    }
    d.post.push(neuronStep(*activation, prim::EwOp::Neuron, 0, 1, 0));
  }
  list.op(d, operands);
}

/// The gradient in front of the activation: g f'(gamma xh + beta), in float32.
Tensor throughActivation(Recorder& list, const FusedActivation* activation, float epsilon, const Tensor& g,
                         const Tensor& source, const Moments& m, const ChannelPair& values) {
  if (!activation) return g;
  const Tensor before = list.temporaryImage(prim::DType::F32, g.n(), g.h(), g.w(), g.c());
  Tensor h = list.temporaryImage(prim::DType::F32, g.n(), g.h(), g.w(), g.c());
  prim::Norm d;
  d.task = prim::NormTask::Apply;
  d.epsilon = epsilon;
  apply(list, d, source, m, false, values, before, nullptr);
  prim::Elementwise ew;
  std::vector<rt::Operand> operands{before.read(), g.read()};
  ew.program.push(transfer(prim::EwOp::Load, 0, 0));
  ew.program.push(transfer(prim::EwOp::Load, 1, 1));
  if (activation->slopes) {
    ew.program.push(transfer(prim::EwOp::Load, 2, 2));
    operands.push_back(channelVector(activation->slopes, g.n(), g.h(), g.w(), g.c()).read());
  }
  ew.program.push(neuronStep(*activation, prim::EwOp::NeuronGrad, 0, 2, 1));
  ew.program.push(transfer(prim::EwOp::Store, 0, static_cast<std::uint8_t>(operands.size())));
  operands.push_back(h.write());
  list.op(ew, operands);
  return h;
}

BatchState& batchState(const Ref<MPS::State>& state, const MPS::Kernel& who, const char* method) {
  auto* s = dynamic_cast<BatchState*>(state.get());
  if (!s)
    base::raise(Access::described(who) + method +
                (state ? ": the state is not a CNNBatchNormalizationState" : ": batchNormalizationState is null") +
                std::string("; make one with the CNNBatchNormalization's resultState"));
  return *s;
}

/// Refuses a state that this kernel cannot use.
void checkState(const BatchState& state, const MPS::Kernel& who, const char* method) {
  if (Access::device(state) != who.device())
    base::raise(Access::described(who) + method + ": the state " + Access::described(state) +
                " belongs to another device");
  if (state.isTemporary() && state.readCount() == 0)
    base::raise(Access::described(who) + method + ": the state " + Access::described(state) +
                " is used up: its readCount is 0; a temporary state needs a count of all encodes that use it");
}

/// Lends a state to a kernel's doEncode for one encode.
class Lent {
 public:
  Lent(Ref<BatchState>& slot, const Ref<BatchState>& state) : slot_(slot) { slot_ = state; }
  ~Lent() { slot_ = nullptr; }
  Lent(const Lent&) = delete;
  Lent& operator=(const Lent&) = delete;

 private:
  Ref<BatchState>& slot_;
};

MPS::StateBatch repeated(const Ref<BatchState>& state, std::size_t count) {
  MPS::StateBatch batch;
  for (std::size_t i = 0; state && i < count; ++i) batch.push_back(state);
  return batch;
}

}  // namespace

/// What the kernels of this file do to a state.
struct NormalizationAccess::Batch {
  BatchState& s;
  const ChannelPair& values;
  std::size_t channels;
  float epsilon;

  explicit Batch(BatchState& state)
      : s(state),
        values(*state.kernel_->values_),
        channels(state.kernel_->channels_),
        epsilon(state.kernel_->epsilon_) {}

  nn::Moments moments() const { return {channelBuffer(s.buffer(0), channels), channelBuffer(s.buffer(1), channels)}; }
  Tensor sumGX() const { return channelBuffer(s.buffer(2), channels); }
  Tensor sumG() const { return channelBuffer(s.buffer(3), channels); }

  /// Adds the source's pixels to the statistics.
  void addStatistics(Recorder& list, const Tensor& source) {
    if (s.statisticsUsed_) restart();
    prim::Norm d;
    d.task = prim::NormTask::Statistics;
    d.accumulate = s.hasStatistics_ && s.count_ > 0;
    prim::Scalars scalars;
    scalars.u[0] = s.count_;
    const nn::Moments m = moments();
    if (d.accumulate)
      list.op(d, {source.read(), m.mean.update(), m.variance.update()}, scalars);
    else
      list.op(d, {source.read(), m.mean.write(), m.variance.write()}, scalars);
    counted(source);
  }
  void counted(const Tensor& source) {
    s.count_ += static_cast<std::uint64_t>(source.n() * source.h() * source.w());
    s.hasStatistics_ = true;
  }
  void restart() {
    s.count_ = 0;
    s.hasStatistics_ = s.statisticsUsed_ = false;
    s.hasSums_ = s.sumsUsed_ = false;  // those of the batch before
  }
  /// A state without statistics gets the kernel's: they are constants to the gradient.
  void fill(Recorder& list, const ChannelPair& running) {
    if (s.hasStatistics_) return;
    const nn::Moments m = moments();
    list.op(prim::Copy{}, {running.first().read(), m.mean.write()});
    list.op(prim::Copy{}, {running.second().read(), m.variance.write()});
    s.hasStatistics_ = true;
    s.count_ = 0;
  }
  void used() { s.statisticsUsed_ = true; }
  bool hasStatistics() const { return s.hasStatistics_; }
  bool hasSums() const { return s.hasSums_; }
  bool constant() const { return s.count_ == 0; }
  std::uint64_t count() const { return s.count_; }

  void addSums(Recorder& list, const Tensor& h, const Tensor& source) {
    prim::Norm d;
    d.task = prim::NormTask::Sums;
    d.epsilon = epsilon;
    d.accumulate = s.hasSums_ && !s.sumsUsed_;
    const nn::Moments m = moments();
    const Tensor gx = sumGX(), g = sumG();
    list.op(d, {h.read(), source.read(), m.mean.read(), m.variance.read(), d.accumulate ? gx.update() : gx.write(),
                d.accumulate ? g.update() : g.write()});
    s.hasSums_ = true;
    s.sumsUsed_ = false;
  }
  void sumsWritten() { s.hasSums_ = true; }
  void sumsUsed() { s.sumsUsed_ = s.statisticsUsed_ = true; }
};

}  // namespace kovar::nn

namespace kovar::MPS {

using BatchAccess = nn::NormalizationAccess::Batch;

// --- states

template <class Owner>
CNNBatchNormalizationState::CNNBatchNormalizationState(const Ref<Owner>& owner,
                                                       std::shared_ptr<const nn::ForwardRecord> record,
                                                       const Ref<CNNBatchNormalization>& kernel)
    : NNGradientState(owner, std::move(record)), kernel_(kernel) {
  for (int i = 0; i < 4; ++i) addBuffer(kernel->numberOfFeatureChannels() * sizeof(float));
}
void CNNBatchNormalizationState::reset() {
  count_ = 0;
  hasStatistics_ = statisticsUsed_ = hasSums_ = sumsUsed_ = false;
}
Ref<MTL::Buffer> CNNBatchNormalizationState::gamma() {
  return nn::NormalizationAccess::values(*kernel_)->firstBuffer();
}
Ref<MTL::Buffer> CNNBatchNormalizationState::beta() {
  return nn::NormalizationAccess::values(*kernel_)->secondBuffer();
}

namespace {

std::vector<Ref<MTL::Resource>> meanAndVariance(const Ref<MTL::Buffer>& mean, const Ref<MTL::Buffer>& variance) {
  const std::string who = "CNNNormalizationMeanAndVarianceState: ";
  if (!mean || !variance) base::raise(who + "mean or variance is null; give both buffers");
  if (mean->device() != variance->device()) base::raise(who + "mean and variance belong to different devices");
  if (mean->length() != variance->length())
    base::raise(who + "mean has " + std::to_string(mean->length()) + " bytes, variance " +
                std::to_string(variance->length()) + "; each holds a float32 per feature channel");
  return {mean, variance};
}

}  // namespace

CNNNormalizationMeanAndVarianceState::CNNNormalizationMeanAndVarianceState(const Ref<MTL::Buffer>& mean,
                                                                           const Ref<MTL::Buffer>& variance)
    : State(meanAndVariance(mean, variance)) {}
Ref<CNNNormalizationMeanAndVarianceState> CNNNormalizationMeanAndVarianceState::temporaryState(
    const Ref<MTL::CommandBuffer>& commandBuffer, std::size_t numberOfFeatureChannels) {
  auto state = nn::Access::make<CNNNormalizationMeanAndVarianceState>(commandBuffer);
  for (int i = 0; i < 2; ++i) state->addBuffer(numberOfFeatureChannels * sizeof(float));
  return state;
}

// --- data source

Ref<CNNNormalizationGammaAndBetaState> CNNBatchNormalizationDataSource::updateGammaAndBeta(
    const Ref<MTL::CommandBuffer>&, const Ref<CNNBatchNormalizationState>&) {
  return nullptr;
}
Ref<CNNNormalizationMeanAndVarianceState> CNNBatchNormalizationDataSource::updateMeanAndVariance(
    const Ref<MTL::CommandBuffer>&, const Ref<CNNBatchNormalizationState>&) {
  return nullptr;
}
bool CNNBatchNormalizationDataSource::updateGammaAndBeta(const Ref<CNNBatchNormalizationState>&) { return false; }
bool CNNBatchNormalizationDataSource::updateMeanAndVariance(const Ref<CNNBatchNormalizationState>&) { return false; }
Ref<CNNBatchNormalizationDataSource> CNNBatchNormalizationDataSource::copy(const Ref<MTL::Device>&) { return nullptr; }

// --- forward

namespace {

const Ref<MTL::Device>& checked(const Ref<MTL::Device>& device, const Ref<CNNBatchNormalizationDataSource>& source) {
  if (!device) base::raise("CNNBatchNormalization: device is null; take one from MTL::createSystemDefaultDevice()");
  if (!source) base::raise("CNNBatchNormalization: dataSource is null; give a CNNBatchNormalizationDataSource");
  return device;
}

}  // namespace

CNNBatchNormalization::CNNBatchNormalization(const Ref<MTL::Device>& device,
                                             const Ref<CNNBatchNormalizationDataSource>& dataSource)
    : CNNBatchNormalization(device, dataSource, nullptr) {}

CNNBatchNormalization::CNNBatchNormalization(const Ref<MTL::Device>& device,
                                             const Ref<CNNBatchNormalizationDataSource>& dataSource,
                                             const Ref<NNNeuronDescriptor>& fusedNeuronDescriptor)
    : CNNKernel(checked(device, dataSource)),
      source_(dataSource),
      activation_(nn::activationOf(device, fusedNeuronDescriptor)) {
  const nn::LoadedSource loaded(*source_, "CNNBatchNormalization");
  setLabel(source_->label());
  channels_ = source_->numberOfFeatureChannels();
  if (channels_ == 0)
    base::raise(described() +
                ": the data source's numberOfFeatureChannels() is 0; a normalization has at least one channel");
  epsilon_ = nn::checkedEpsilon(described(), source_->epsilon());
  nn::checkSlopes(activation_.get(), channels_, *this);
  values_ = std::make_shared<nn::ChannelPair>(device, channels_, 1.f, 0.f);
  running_ = std::make_shared<nn::ChannelPair>(device, channels_, 0.f, 1.f);
  values_->set(source_->gamma(), source_->beta());
  running_->set(source_->mean(), source_->variance());
}

void CNNBatchNormalization::setEpsilon(float epsilon) { epsilon_ = nn::checkedEpsilon(described(), epsilon); }

namespace {

void checkChannels(CNNBatchNormalizationDataSource& source, std::size_t channels, const std::string& who) {
  if (source.numberOfFeatureChannels() != channels)
    base::raise(who + ": the data source has " + std::to_string(source.numberOfFeatureChannels()) +
                " feature channels, the kernel " + std::to_string(channels) + "; make a new kernel");
}

}  // namespace

void CNNBatchNormalization::reloadDataSource(const Ref<CNNBatchNormalizationDataSource>& dataSource) {
  const std::string who = described() + ".reloadDataSource";
  if (!dataSource) base::raise(who + ": dataSource is null");
  const nn::LoadedSource loaded(*dataSource, who);
  checkChannels(*dataSource, channels_, who);
  source_ = dataSource;
  values_->set(source_->gamma(), source_->beta());
  running_->set(source_->mean(), source_->variance());
}
void CNNBatchNormalization::reloadGammaAndBetaFromDataSource() {
  const std::string who = described() + ".reloadGammaAndBetaFromDataSource";
  nn::requireDataSource(source_ != nullptr, who, "reloadDataSource");
  const nn::LoadedSource loaded(*source_, who);
  checkChannels(*source_, channels_, who);
  values_->set(source_->gamma(), source_->beta());
}
void CNNBatchNormalization::reloadMeanAndVarianceFromDataSource() {
  const std::string who = described() + ".reloadMeanAndVarianceFromDataSource";
  nn::requireDataSource(source_ != nullptr, who, "reloadDataSource");
  const nn::LoadedSource loaded(*source_, who);
  checkChannels(*source_, channels_, who);
  running_->set(source_->mean(), source_->variance());
}
void CNNBatchNormalization::reloadGammaAndBeta(const Ref<MTL::CommandBuffer>& commandBuffer,
                                               const Ref<CNNNormalizationGammaAndBetaState>& state) {
  const std::string who = described() + ".reloadGammaAndBeta";
  if (!commandBuffer) base::raise(who + ": commandBuffer is null");
  if (!state) base::raise(who + ": gammaAndBetaState is null; make one over buffers");
  values_->reload(commandBuffer, state, state->gamma(), state->beta(), who, "gamma or beta");
}
void CNNBatchNormalization::reloadMeanAndVariance(const Ref<MTL::CommandBuffer>& commandBuffer,
                                                  const Ref<CNNNormalizationMeanAndVarianceState>& state) {
  const std::string who = described() + ".reloadMeanAndVariance";
  if (!commandBuffer) base::raise(who + ": commandBuffer is null");
  if (!state) base::raise(who + ": meanAndVarianceState is null; make one over buffers");
  running_->reload(commandBuffer, state, state->mean(), state->variance(), who, "mean or variance");
}

std::size_t CNNBatchNormalization::doDestinationChannels(const std::vector<std::size_t>& used) {
  nn::requireChannels(*this, "source", used[0], channels_);
  return channels_;
}

void CNNBatchNormalization::doEncode(nn::Call& call) {
  const nn::Tensor source = call.sources[0] = call.sources[0].slice(3, 0, static_cast<std::int64_t>(channels_));
  prim::Norm d;
  d.task = prim::NormTask::Apply;
  d.epsilon = epsilon_;
  if (call.states.empty() || !call.states[0]) {
    nn::apply(call.list, d, call.aligned(0), {running_->first(), running_->second()}, false, *values_, call.destination,
              activation_.get());
    return;
  }
  CNNBatchNormalizationState& s = nn::batchState(call.states[0], *this, ".encode");
  if (s.batchNormalization()->numberOfFeatureChannels() != channels_)
    base::raise(
        described() + ".encode: the state is for " + std::to_string(s.batchNormalization()->numberOfFeatureChannels()) +
        " feature channels, the kernel for " + std::to_string(channels_) + "; use a state that this kernel made");
  BatchAccess state(s);
  const nn::Tensor aligned = call.aligned(0);
  if (takesStatistics_) {
    state.restart();
    if (aligned.storage == source.storage && aligned.view == source.view) {
      d.task = prim::NormTask::Normalize;
      state.counted(source);
    } else {
      state.addStatistics(call.list, source);
    }
  }
  if (!state.hasStatistics()) state.fill(call.list, *running_);
  nn::apply(call.list, d, aligned, state.moments(), d.task == prim::NormTask::Normalize, *values_, call.destination,
            activation_.get());
  state.used();
}

void CNNBatchNormalization::encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Image>& sourceImage,
                                   const Ref<CNNBatchNormalizationState>& state, const Ref<Image>& destinationImage) {
  encodeTo(commandBuffer, {one(sourceImage)}, nn::repeated(state, 1), one(destinationImage), false);
  nn::Access::chargeRead(nn::repeated(state, 1));
}
void CNNBatchNormalization::encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& sourceImages,
                                        const Ref<CNNBatchNormalizationState>& state,
                                        const ImageBatch& destinationImages) {
  encodeTo(commandBuffer, {sourceImages}, nn::repeated(state, destinationImages.size()), destinationImages, true);
  nn::Access::chargeRead(nn::repeated(state, 1));
}

Ref<State> CNNBatchNormalization::doResultState(const nn::StateRequest& request) {
  auto record = std::make_shared<nn::ForwardRecord>(request.record);
  record->channels = channels_;
  const auto me = self<CNNBatchNormalization>();
  using S = CNNBatchNormalizationState;
  return request.commandBuffer ? nn::Access::make<S>(request.commandBuffer, record, me)
                               : nn::Access::make<S>(device(), record, me);
}
Ref<CNNBatchNormalizationState> CNNBatchNormalization::resultState(const Ref<Image>& sourceImage,
                                                                   const std::vector<Ref<State>>& sourceStates,
                                                                   const Ref<Image>& destinationImage) {
  return std::static_pointer_cast<CNNBatchNormalizationState>(
      CNNKernel::resultState(sourceImage, sourceStates, destinationImage));
}
Ref<CNNBatchNormalizationState> CNNBatchNormalization::temporaryResultState(
    const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Image>& sourceImage,
    const std::vector<Ref<State>>& sourceStates, const Ref<Image>& destinationImage) {
  return std::static_pointer_cast<CNNBatchNormalizationState>(
      CNNKernel::temporaryResultState(commandBuffer, sourceImage, sourceStates, destinationImage));
}

Ref<Kernel> CNNBatchNormalization::doCopy(const Ref<MTL::Device>& device) {
  Ref<CNNBatchNormalizationDataSource> source = source_ ? source_->copy(device) : nullptr;
  if (!source) source = source_;
  const auto copied = std::static_pointer_cast<CNNBatchNormalization>(clone(*this, device));
  copied->source_ = source;
  if (device == device_ || !source) {
    copied->values_ = values_->copyFor(device);
    copied->running_ = running_->copyFor(device);
  }
  if (device == device_) return copied;
  nn::bringTo(device, copied->activation_);
  if (!source) return copied;
  const auto other = std::make_shared<CNNBatchNormalization>(device, source, nullptr);
  copied->values_ = other->values_;
  copied->running_ = other->running_;
  return copied;
}

// --- statistics

CNNBatchNormalizationStatistics::CNNBatchNormalizationStatistics(const Ref<MTL::Device>& device) : CNNKernel(device) {}

void CNNBatchNormalizationStatistics::encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer,
                                                  const ImageBatch& sourceImages,
                                                  const Ref<CNNBatchNormalizationState>& state) {
  nn::Encoder encoder(*this, commandBuffer, "encodeBatch");
  nn::checkState(nn::batchState(state, *this, ".encodeBatch"), *this, ".encodeBatch");
  const nn::Lent lent(state_, state);
  encoder.encodeReading({sourceImages});
  nn::Access::chargeRead(StateBatch{state});
}

void CNNBatchNormalizationStatistics::doEncode(nn::Call& call) {
  BatchAccess state(*state_);
  nn::requireChannels(*this, "source", static_cast<std::size_t>(call.sources[0].c()), state.channels);
  state.addStatistics(call.list, call.sources[0].slice(3, 0, static_cast<std::int64_t>(state.channels)));
}

// --- gradients

CNNBatchNormalizationStatisticsGradient::CNNBatchNormalizationStatisticsGradient(
    const Ref<MTL::Device>& device, const Ref<NNNeuronDescriptor>& fusedNeuronDescriptor)
    : CNNGradientKernel(device), activation_(nn::activationOf(device, fusedNeuronDescriptor)) {}

void CNNBatchNormalizationStatisticsGradient::encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer,
                                                          const ImageBatch& sourceGradients,
                                                          const ImageBatch& sourceImages,
                                                          const Ref<CNNBatchNormalizationState>& state) {
  nn::Encoder encoder(*this, commandBuffer, "encodeBatch");
  nn::checkState(nn::batchState(state, *this, ".encodeBatch"), *this, ".encodeBatch");
  if (!BatchAccess(*state).hasStatistics())
    base::raise(described() +
                ".encodeBatch: the state has been through no forward encode; encode the "
                "CNNBatchNormalization with it first");
  nn::checkSlopes(activation_.get(), BatchAccess(*state).channels, *this);
  const auto before = sources_;
  if (const auto& record = nn::Access::record(*state)) doAdopt(*record, {});
  const nn::Lent lent(state_, state);
  try {
    encoder.encodeReading({sourceGradients, sourceImages});
  } catch (...) {
    sources_ = before;
    throw;
  }
  nn::Access::chargeRead(StateBatch{state});
}

Ref<Kernel> CNNBatchNormalizationStatisticsGradient::doCopy(const Ref<MTL::Device>& device) {
  const auto copied = std::static_pointer_cast<CNNBatchNormalizationStatisticsGradient>(clone(*this, device));
  nn::bringTo(device, copied->activation_);
  return copied;
}

void CNNBatchNormalizationStatisticsGradient::doEncode(nn::Call& call) {
  BatchAccess state(*state_);
  const nn::ForwardRecord& r = *nn::Access::record(*state_);
  const nn::Tensor& g = call.sources[0];
  nn::requireChannels(*this, "source gradient", static_cast<std::size_t>(g.c()), state.channels);
  nn::requireChannels(*this, "source", static_cast<std::size_t>(call.sources[1].c()), state.channels);
  const nn::Tensor source = call.window(1, r.offset.y, r.offset.x, g.h(), g.w());
  state.addSums(
      call.list,
      nn::throughActivation(call.list, activation_.get(), state.epsilon, g, source, state.moments(), state.values),
      source);
}

CNNBatchNormalizationGradient::CNNBatchNormalizationGradient(const Ref<MTL::Device>& device,
                                                             const Ref<NNNeuronDescriptor>& fusedNeuronDescriptor)
    : CNNGradientKernel(device), activation_(nn::activationOf(device, fusedNeuronDescriptor)) {}

Ref<Kernel> CNNBatchNormalizationGradient::doCopy(const Ref<MTL::Device>& device) {
  const auto copied = std::static_pointer_cast<CNNBatchNormalizationGradient>(clone(*this, device));
  nn::bringTo(device, copied->activation_);
  return copied;
}

void CNNBatchNormalizationGradient::doEncode(nn::Call& call) {
  CNNBatchNormalizationState& s = nn::batchState(call.states.empty() ? nullptr : call.states[0], *this, ".encode");
  BatchAccess state(s);
  if (!state.hasStatistics())
    base::raise(described() +
                ".encode: the state has been through no forward encode; encode the "
                "CNNBatchNormalization with it first");
  if (!takesSums_ && !state.hasSums() && !state.constant())
    base::raise(
        described() +
        ".encode: the state has no gradients of gamma and beta yet; encode CNNBatchNormalizationStatisticsGradient "
        "for the whole batch first");
  nn::requireChannels(*this, "source gradient", static_cast<std::size_t>(call.sources[0].c()), state.channels);
  nn::checkSlopes(activation_.get(), state.channels, *this);
  const nn::Alignment a = nn::Alignment::of(call, nn::Access::record(s).get());
  const nn::Tensor h = nn::throughActivation(call.list, activation_.get(), state.epsilon, a.given, a.source,
                                             state.moments(), state.values);
  const nn::Moments m = state.moments();
  const nn::Tensor gamma = state.values.first();
  prim::Norm d;
  d.epsilon = state.epsilon;
  d.task = takesSums_ && !a.translated ? prim::NormTask::Gradient : prim::NormTask::Data;
  if (takesSums_ && a.translated) state.addSums(call.list, h, a.source);
  prim::Scalars scalars;
  scalars.u[0] = state.count();
  const nn::Tensor atSource = a.carryBack(call, h), source = a.translated ? call.aligned(1) : a.source;
  const bool writes = d.task == prim::NormTask::Gradient;
  call.list.op(d,
               {atSource.read(), source.read(), m.mean.read(), m.variance.read(), gamma.read(),
                writes ? state.sumGX().write() : state.sumGX().read(),
                writes ? state.sumG().write() : state.sumG().read(), call.destination.write()},
               scalars);
  if (writes) state.sumsWritten();
  state.sumsUsed();
}

void CNNBatchNormalizationGradient::encode(const Ref<MTL::CommandBuffer>& commandBuffer,
                                           const Ref<Image>& sourceGradient, const Ref<Image>& sourceImage,
                                           const Ref<CNNBatchNormalizationState>& state,
                                           const Ref<Image>& destinationGradient) {
  encodeTo(commandBuffer, {one(sourceGradient), one(sourceImage)}, nn::repeated(state, 1), one(destinationGradient),
           false);
}
void CNNBatchNormalizationGradient::encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer,
                                                const ImageBatch& sourceGradients, const ImageBatch& sourceImages,
                                                const Ref<CNNBatchNormalizationState>& state,
                                                const ImageBatch& destinationGradients) {
  encodeTo(commandBuffer, {sourceGradients, sourceImages}, nn::repeated(state, destinationGradients.size()),
           destinationGradients, true);
}
Ref<Image> CNNBatchNormalizationGradient::encode(const Ref<MTL::CommandBuffer>& commandBuffer,
                                                 const Ref<Image>& sourceGradient, const Ref<Image>& sourceImage,
                                                 const Ref<CNNBatchNormalizationState>& state) {
  return encodeNew(commandBuffer, {one(sourceGradient), one(sourceImage)}, nn::repeated(state, 1), nullptr, false,
                   false)[0];
}
ImageBatch CNNBatchNormalizationGradient::encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer,
                                                      const ImageBatch& sourceGradients, const ImageBatch& sourceImages,
                                                      const Ref<CNNBatchNormalizationState>& state) {
  return encodeNew(commandBuffer, {sourceGradients, sourceImages}, nn::repeated(state, sourceGradients.size()), nullptr,
                   false, true);
}

}  // namespace kovar::MPS
