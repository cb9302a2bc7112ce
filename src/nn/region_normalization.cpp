// Instance and group normalization: the same code, with other regions.

#include <utility>

#include "base/edge.hpp"
#include "kovar/MPS/NN/CNNGroupNormalization.hpp"
#include "kovar/MPS/NN/CNNInstanceNormalization.hpp"
#include "nn/archive/values.hpp"
#include "nn/convolution_geometry.hpp"
#include "nn/core/access.hpp"
#include "nn/normalization_access.hpp"

namespace kovar::nn {
namespace {

template <class S>
void checkSource(const Ref<MTL::Device>& device, const Ref<S>& source, const std::string& who) {
  if (!device) base::raise(who + ": device is null; take one from MTL::createSystemDefaultDevice()");
  if (!source) base::raise(who + ": dataSource is null; give a " + who + "DataSource");
  if (source->numberOfFeatureChannels() == 0)
    base::raise(who + ": the data source's numberOfFeatureChannels() is 0; a normalization has at least one channel");
}

/// The states given to an encode, as this class's.
template <class S>
std::vector<RegionState> statesOf(const MPS::BatchView<MPS::State>& states, const MPS::Kernel& who,
                                  const char* wanted) {
  std::vector<RegionState> found;
  for (const auto& s : states) {
    auto* state = dynamic_cast<S*>(s.get());
    if (!state)
      base::raise(Access::described(who) + ".encode: a state is not a " + wanted +
                  "; make it with the forward kernel's resultState");
    for (const RegionState& other : found)
      if (other.state == state)
        base::raise(Access::described(who) +
                    ".encode: one state is given for several images; each image needs its own, see "
                    "resultStateBatch");
    found.push_back({&NormalizationAccess::kept(*state), state, state->gradientForGamma(), state->gradientForBeta()});
  }
  return found;
}

template <class K>
void readValues(K& kernel, ChannelPair& values, const std::string& who) {
  auto& source = *kernel.dataSource();
  if (source.numberOfFeatureChannels() != values.channels())
    base::raise(who + ": the data source has " + std::to_string(source.numberOfFeatureChannels()) +
                " feature channels, the kernel " + std::to_string(values.channels()) + "; make a new kernel");
  values.set(source.gamma(), source.beta());
}

void reloadFrom(ChannelPair& values, const Ref<MTL::CommandBuffer>& commandBuffer,
                const Ref<MPS::CNNNormalizationGammaAndBetaState>& state, const std::string& who) {
  if (!commandBuffer) base::raise(who + ": commandBuffer is null");
  if (!state) base::raise(who + ": gammaAndBetaState is null; make one over buffers");
  values.reload(commandBuffer, state, state->gamma(), state->beta(), who, "gamma or beta");
}

}  // namespace

/// What the two kernels do alike; S is the class of their states.
struct NormalizationAccess::Region {
  template <class S, class K>
  static void encode(K& kernel, Call& call, const char* stateName) {
    const auto states = statesOf<S>(call.states, kernel, stateName);
    encodeRegions(
        call, kernel.values_, kernel.groups_, kernel.epsilon_, states, !states.empty() && temporary(*states[0].state),
        [&](std::size_t i, const rt::StorageRef& storage) { hold(static_cast<S&>(*states[i].state), storage); });
  }
  template <class S, class K>
  static Ref<MPS::State> resultState(const Ref<K>& kernel, const StateRequest& request) {
    auto record = std::make_shared<ForwardRecord>(request.record);
    record->channels = kernel->channels_;
    return request.commandBuffer ? Access::make<S>(request.commandBuffer, record, kernel)
                                 : Access::make<S>(kernel->device(), record, kernel);
  }
  /// Gives a copy its data source and values: shared until one changes, on another device those of the source.
  template <class K>
  static Ref<MPS::Kernel> ownValues(const K& original, const Ref<K>& copied, const Ref<MTL::Device>& device) {
    const auto source = original.source_ ? original.source_->copy(device) : nullptr;
    if (source) copied->source_ = source;
    if (device == original.device() || !original.source_) {
      copied->values_ = original.values_->copyFor(device);
    } else {
      copied->values_ = std::make_shared<ChannelPair>(device, original.channels_, 1.f, 0.f);
      copied->reloadGammaAndBetaFromDataSource();
    }
    return copied;
  }
};

}  // namespace kovar::nn

namespace kovar::MPS {

// --- instance

template <class Owner>
CNNInstanceNormalizationGradientState::CNNInstanceNormalizationGradientState(
    const Ref<Owner>& owner, std::shared_ptr<const nn::ForwardRecord> record,
    const Ref<CNNInstanceNormalization>& kernel)
    : NNGradientState(owner, std::move(record)), kernel_(kernel), kept_(std::make_unique<nn::RegionRecord>()) {
  kept_->values = nn::NormalizationAccess::values(*kernel);
  for (int i = 0; i < 2; ++i) addBuffer(kept_->values->channels() * sizeof(float));
}
CNNInstanceNormalizationGradientState::~CNNInstanceNormalizationGradientState() = default;
Ref<MTL::Buffer> CNNInstanceNormalizationGradientState::gamma() const { return kept_->values->firstBuffer(); }
Ref<MTL::Buffer> CNNInstanceNormalizationGradientState::beta() const { return kept_->values->secondBuffer(); }

Ref<CNNNormalizationGammaAndBetaState> CNNInstanceNormalizationDataSource::updateGammaAndBeta(
    const Ref<MTL::CommandBuffer>&, const CNNInstanceNormalizationGradientStateBatch&) {
  return nullptr;
}
bool CNNInstanceNormalizationDataSource::updateGammaAndBeta(const CNNInstanceNormalizationGradientStateBatch&) {
  return false;
}
Ref<CNNInstanceNormalizationDataSource> CNNInstanceNormalizationDataSource::copy(const Ref<MTL::Device>&) {
  return nullptr;
}

CNNInstanceNormalization::CNNInstanceNormalization(const Ref<MTL::Device>& device,
                                                   const Ref<CNNInstanceNormalizationDataSource>& dataSource)
    : CNNKernel((nn::checkSource(device, dataSource, "CNNInstanceNormalization"), device)),
      source_(dataSource),
      channels_(dataSource->numberOfFeatureChannels()),
      groups_(channels_) {
  setLabel(dataSource->label());
  epsilon_ = nn::checkedEpsilon(described(), dataSource->epsilon());
  values_ = std::make_shared<nn::ChannelPair>(device, channels_, 1.f, 0.f);
  reloadGammaAndBetaFromDataSource();
}
void CNNInstanceNormalization::setEpsilon(float epsilon) { epsilon_ = nn::checkedEpsilon(described(), epsilon); }
void CNNInstanceNormalization::reloadDataSource(const Ref<CNNInstanceNormalizationDataSource>& dataSource) {
  if (!dataSource) base::raise(described() + ".reloadDataSource: dataSource is null");
  const auto before = std::exchange(source_, dataSource);
  try {
    reloadGammaAndBetaFromDataSource();
  } catch (...) {
    source_ = before;
    throw;
  }
}
void CNNInstanceNormalization::reloadGammaAndBetaFromDataSource() {
  nn::requireDataSource(source_ != nullptr, described() + ".reloadGammaAndBetaFromDataSource", "reloadDataSource");
  const nn::LoadedSource loaded(*source_, described());
  nn::readValues(*this, *values_, described());
}
void CNNInstanceNormalization::reloadGammaAndBeta(const Ref<MTL::CommandBuffer>& commandBuffer,
                                                  const Ref<CNNNormalizationGammaAndBetaState>& state) {
  nn::reloadFrom(*values_, commandBuffer, state, described() + ".reloadGammaAndBeta");
}
std::size_t CNNInstanceNormalization::doDestinationChannels(const std::vector<std::size_t>& used) {
  nn::requireChannels(*this, "source", used[0], channels_);
  return channels_;
}
void CNNInstanceNormalization::doEncode(nn::Call& call) {
  nn::NormalizationAccess::Region::encode<CNNInstanceNormalizationGradientState>(
      *this, call, "CNNInstanceNormalizationGradientState");
}
Ref<State> CNNInstanceNormalization::doResultState(const nn::StateRequest& request) {
  return nn::NormalizationAccess::Region::resultState<CNNInstanceNormalizationGradientState>(
      self<CNNInstanceNormalization>(), request);
}
Ref<Kernel> CNNInstanceNormalization::doCopy(const Ref<MTL::Device>& device) {
  const auto copied = std::static_pointer_cast<CNNInstanceNormalization>(clone(*this, device));
  return nn::NormalizationAccess::Region::ownValues(*this, copied, device);
}

CNNInstanceNormalizationGradient::CNNInstanceNormalizationGradient(const Ref<MTL::Device>& device)
    : CNNGradientKernel(device) {}
void CNNInstanceNormalizationGradient::doEncode(nn::Call& call) {
  nn::encodeRegionsGradient(
      call,
      nn::statesOf<CNNInstanceNormalizationGradientState>(call.states, *this, "CNNInstanceNormalizationGradientState"),
      *this);
}

Ref<CNNInstanceNormalizationGradientState> CNNInstanceNormalization::resultState(
    const Ref<Image>& sourceImage, const std::vector<Ref<State>>& sourceStates, const Ref<Image>& destinationImage) {
  return std::static_pointer_cast<CNNInstanceNormalizationGradientState>(
      CNNKernel::resultState(sourceImage, sourceStates, destinationImage));
}
CNNInstanceNormalizationGradientStateBatch CNNInstanceNormalization::resultStateBatch(
    const ImageBatch& sourceImage, const std::vector<StateBatch>& sourceStates, const ImageBatch& destinationImage) {
  return nn::batchOf<CNNInstanceNormalizationGradientState>(
      CNNKernel::resultStateBatch(sourceImage, sourceStates, destinationImage));
}
Ref<CNNInstanceNormalizationGradientState> CNNInstanceNormalization::temporaryResultState(
    const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Image>& sourceImage,
    const std::vector<Ref<State>>& sourceStates, const Ref<Image>& destinationImage) {
  return std::static_pointer_cast<CNNInstanceNormalizationGradientState>(
      CNNKernel::temporaryResultState(commandBuffer, sourceImage, sourceStates, destinationImage));
}
CNNInstanceNormalizationGradientStateBatch CNNInstanceNormalization::temporaryResultStateBatch(
    const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& sourceImage,
    const std::vector<StateBatch>& sourceStates, const ImageBatch& destinationImage) {
  return nn::batchOf<CNNInstanceNormalizationGradientState>(
      CNNKernel::temporaryResultStateBatch(commandBuffer, sourceImage, sourceStates, destinationImage));
}

// --- group

template <class Owner>
CNNGroupNormalizationGradientState::CNNGroupNormalizationGradientState(const Ref<Owner>& owner,
                                                                       std::shared_ptr<const nn::ForwardRecord> record,
                                                                       const Ref<CNNGroupNormalization>& kernel)
    : NNGradientState(owner, std::move(record)), kernel_(kernel), kept_(std::make_unique<nn::RegionRecord>()) {
  kept_->values = nn::NormalizationAccess::values(*kernel);
  for (int i = 0; i < 2; ++i) addBuffer(kept_->values->channels() * sizeof(float));
}
CNNGroupNormalizationGradientState::~CNNGroupNormalizationGradientState() = default;
Ref<MTL::Buffer> CNNGroupNormalizationGradientState::gamma() const { return kept_->values->firstBuffer(); }
Ref<MTL::Buffer> CNNGroupNormalizationGradientState::beta() const { return kept_->values->secondBuffer(); }

Ref<CNNNormalizationGammaAndBetaState> CNNGroupNormalizationDataSource::updateGammaAndBeta(
    const Ref<MTL::CommandBuffer>&, const CNNGroupNormalizationGradientStateBatch&) {
  return nullptr;
}
bool CNNGroupNormalizationDataSource::updateGammaAndBeta(const CNNGroupNormalizationGradientStateBatch&) {
  return false;
}
Ref<CNNGroupNormalizationDataSource> CNNGroupNormalizationDataSource::copy(const Ref<MTL::Device>&) { return nullptr; }

CNNGroupNormalization::CNNGroupNormalization(const Ref<MTL::Device>& device,
                                             const Ref<CNNGroupNormalizationDataSource>& dataSource)
    : CNNKernel((nn::checkSource(device, dataSource, "CNNGroupNormalization"), device)),
      source_(dataSource),
      channels_(dataSource->numberOfFeatureChannels()),
      groups_(dataSource->numberOfGroups()) {
  setLabel(dataSource->label());
  if (groups_ == 0 || channels_ % groups_ != 0)
    base::raise(described() + ": " + std::to_string(groups_) + " groups for " + std::to_string(channels_) +
                " feature channels; the data source's numberOfGroups() must divide them");
  epsilon_ = nn::checkedEpsilon(described(), dataSource->epsilon());
  values_ = std::make_shared<nn::ChannelPair>(device, channels_, 1.f, 0.f);
  reloadGammaAndBetaFromDataSource();
}
void CNNGroupNormalization::setEpsilon(float epsilon) { epsilon_ = nn::checkedEpsilon(described(), epsilon); }
void CNNGroupNormalization::reloadGammaAndBetaFromDataSource() {
  nn::requireDataSource(source_ != nullptr, described() + ".reloadGammaAndBetaFromDataSource", nullptr);
  nn::readValues(*this, *values_, described());
}
void CNNGroupNormalization::reloadGammaAndBeta(const Ref<MTL::CommandBuffer>& commandBuffer,
                                               const Ref<CNNNormalizationGammaAndBetaState>& state) {
  nn::reloadFrom(*values_, commandBuffer, state, described() + ".reloadGammaAndBeta");
}
std::size_t CNNGroupNormalization::doDestinationChannels(const std::vector<std::size_t>& used) {
  nn::requireChannels(*this, "source", used[0], channels_);
  return channels_;
}
void CNNGroupNormalization::doEncode(nn::Call& call) {
  nn::NormalizationAccess::Region::encode<CNNGroupNormalizationGradientState>(*this, call,
                                                                              "CNNGroupNormalizationGradientState");
}
Ref<State> CNNGroupNormalization::doResultState(const nn::StateRequest& request) {
  return nn::NormalizationAccess::Region::resultState<CNNGroupNormalizationGradientState>(self<CNNGroupNormalization>(),
                                                                                          request);
}
Ref<Kernel> CNNGroupNormalization::doCopy(const Ref<MTL::Device>& device) {
  const auto copied = std::static_pointer_cast<CNNGroupNormalization>(clone(*this, device));
  return nn::NormalizationAccess::Region::ownValues(*this, copied, device);
}

CNNGroupNormalizationGradient::CNNGroupNormalizationGradient(const Ref<MTL::Device>& device)
    : CNNGradientKernel(device) {}
void CNNGroupNormalizationGradient::doEncode(nn::Call& call) {
  nn::encodeRegionsGradient(
      call, nn::statesOf<CNNGroupNormalizationGradientState>(call.states, *this, "CNNGroupNormalizationGradientState"),
      *this);
}

Ref<CNNGroupNormalizationGradientState> CNNGroupNormalization::resultState(const Ref<Image>& sourceImage,
                                                                           const std::vector<Ref<State>>& sourceStates,
                                                                           const Ref<Image>& destinationImage) {
  return std::static_pointer_cast<CNNGroupNormalizationGradientState>(
      CNNKernel::resultState(sourceImage, sourceStates, destinationImage));
}
CNNGroupNormalizationGradientStateBatch CNNGroupNormalization::resultStateBatch(
    const ImageBatch& sourceImage, const std::vector<StateBatch>& sourceStates, const ImageBatch& destinationImage) {
  return nn::batchOf<CNNGroupNormalizationGradientState>(
      CNNKernel::resultStateBatch(sourceImage, sourceStates, destinationImage));
}
Ref<CNNGroupNormalizationGradientState> CNNGroupNormalization::temporaryResultState(
    const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Image>& sourceImage,
    const std::vector<Ref<State>>& sourceStates, const Ref<Image>& destinationImage) {
  return std::static_pointer_cast<CNNGroupNormalizationGradientState>(
      CNNKernel::temporaryResultState(commandBuffer, sourceImage, sourceStates, destinationImage));
}
CNNGroupNormalizationGradientStateBatch CNNGroupNormalization::temporaryResultStateBatch(
    const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& sourceImage,
    const std::vector<StateBatch>& sourceStates, const ImageBatch& destinationImage) {
  return nn::batchOf<CNNGroupNormalizationGradientState>(
      CNNKernel::temporaryResultStateBatch(commandBuffer, sourceImage, sourceStates, destinationImage));
}

}  // namespace kovar::MPS
