#include "nn/norm_values.hpp"

#include <utility>
#include <vector>

#include "base/edge.hpp"
#include "nn/core/access.hpp"

namespace kovar::nn {

// --- pairs of vectors

ChannelPair::ChannelPair(const Ref<MTL::Device>& device, std::size_t channels, float firstDefault, float secondDefault)
    : device_(device), channels_(channels), firstDefault_(firstDefault), secondDefault_(secondDefault) {}

std::shared_ptr<ChannelPair::Version> ChannelPair::newVersion() const {
  auto v = std::make_shared<Version>();
  for (rt::StorageRef* s : {&v->first, &v->second})
    *s = std::make_shared<rt::Storage>(rt::Access::state(device_), channels_ * sizeof(float));
  return v;
}

void ChannelPair::set(const float* first, const float* second) {
  auto v = newVersion();
  const auto fill = [&](const rt::StorageRef& storage, const float* values, float otherwise) {
    const std::vector<float> same(values ? 0 : channels_, otherwise);
    base::unwrap(storage->write(0, values ? values : same.data(), channels_ * sizeof(float)));
  };
  fill(v->first, first, firstDefault_);
  fill(v->second, second, secondDefault_);
  std::scoped_lock lock(mutex_);
  current_ = std::move(v);
}

void ChannelPair::reload(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<MPS::State>& state,
                         const Ref<MTL::Buffer>& first, const Ref<MTL::Buffer>& second, const std::string& who,
                         const char* names) {
  if (commandBuffer->device() != device_ || Access::device(*state) != device_)
    base::raise(who + ": command buffer or state belongs to another device than the kernel's, " +
                device_->identifier());
  if (state->isTemporary() && state->readCount() == 0)
    base::raise(who +
                ": the state is used up: its readCount is 0; raise readCount before the encode that read it last");
  for (const Ref<MTL::Buffer>& b : {first, second})
    if (b->length() < channels_ * sizeof(float))
      base::raise(who + ": the state has " + std::to_string(b->length()) + " bytes of " + names +
                  ", the kernel needs " + std::to_string(channels_ * sizeof(float)) +
                  ", a float32 per feature channel");
  Recorder list(commandBuffer);
  auto v = current();
  if (v->shared) {
    // Another kernel goes on with these values: from here on this one has its own. Whatever the predicates say.
    auto own = newVersion();
    const auto keep = [&](const rt::StorageRef& from, const rt::StorageRef& to) {
      base::unwrap(list.state().append(prim::Copy{}, {tensorOf(from).read(), tensorOf(to).write()}));
    };
    keep(v->first, own->first);
    keep(v->second, own->second);
    v = own;
  }
  list.op(prim::Copy{}, {channelBuffer(first, channels_).read(), tensorOf(v->first).write()});
  list.op(prim::Copy{}, {channelBuffer(second, channels_).read(), tensorOf(v->second).write()});
  {
    std::scoped_lock lock(mutex_);
    current_ = std::move(v);
  }
  Access::chargeRead(MPS::StateBatch{state});
}

std::shared_ptr<ChannelPair> ChannelPair::copyFor(const Ref<MTL::Device>& device) const {
  auto pair = std::make_shared<ChannelPair>(device, channels_, firstDefault_, secondDefault_);
  if (device == device_) {
    pair->current_ = current();
    pair->current_->shared = true;
  } else {
    const auto [first, second] = values();
    pair->set(first.data(), second.data());
  }
  return pair;
}

std::pair<std::vector<float>, std::vector<float>> ChannelPair::values() const {
  const auto v = current();
  std::pair<std::vector<float>, std::vector<float>> all{std::vector<float>(channels_), std::vector<float>(channels_)};
  base::unwrap(v->first->read(0, all.first.data(), channels_ * sizeof(float)));
  base::unwrap(v->second->read(0, all.second.data(), channels_ * sizeof(float)));
  return all;
}

Tensor ChannelPair::tensorOf(const rt::StorageRef& storage) const {
  return {storage, prim::View::contiguous(prim::DType::F32, {1, 1, 1, static_cast<std::int64_t>(channels_)})};
}

Ref<MTL::Buffer> ChannelPair::bufferOf(const rt::StorageRef& storage) const {
  return rt::Access::makeBuffer(device_, channels_ * sizeof(float), MTL::StorageMode::Shared, storage);
}

void refuseLoad(const std::string& who) {
  base::raise(who + ": the data source's load() returned false; it must make its values available and return true");
}

Tensor channelBuffer(const Ref<MTL::Buffer>& buffer, std::size_t channels) {
  return {rt::Access::storage(buffer),
          prim::View::contiguous(prim::DType::F32, {1, 1, 1, static_cast<std::int64_t>(channels)})};
}

float checkedEpsilon(const std::string& who, float epsilon) {
  if (!(epsilon >= 0.f))
    base::raise(who + ".epsilon: " + std::to_string(epsilon) +
                "; it must be at least 0, above 0 where a variance may be");
  return epsilon;
}

// --- alignment

Alignment Alignment::of(Call& call, const ForwardRecord* record) {
  Alignment a;
  const Tensor& g = call.sources[0];
  const bool whole = record && record->offset.x == 0 && record->offset.y == 0 && g.h() == call.sources[1].h() &&
                     g.w() == call.sources[1].w();
  a.translated = call.automatic && record && !whole;
  a.record = record;
  if (a.translated) {
    a.given = g;
    a.source = call.window(1, record->offset.y, record->offset.x, g.h(), g.w());
  } else {
    a.given = call.aligned(0);
    a.source = call.aligned(1);
  }
  return a;
}

Tensor Alignment::carryBack(Call& call, const Tensor& h) const {
  if (!translated) return h;
  const Tensor& d = call.destination;
  Tensor to = call.list.temporaryImage(prim::DType::F32, d.n(), d.h(), d.w(), d.c());
  prim::Copy back;
  back.direction = prim::Direction::Data;
  back.shift = {0, static_cast<std::int32_t>(record->offset.y), static_cast<std::int32_t>(record->offset.x), 0};
  back.edge = static_cast<prim::Edge>(record->edgeMode);
  call.list.op(back, {h.read(), to.write()});
  return to;
}

// --- instance and group

namespace {

/// Means or variances of images in one storage.
Tensor momentsOf(const rt::StorageRef& storage, std::int64_t allImages, std::int64_t first, std::int64_t images,
                 std::int64_t groups, bool variance) {
  return {storage, prim::View::contiguous(prim::DType::F32, {images, 1, 1, groups},
                                          (first + (variance ? allImages : 0)) * groups)};
}

}  // namespace

void encodeRegions(Call& call, const std::shared_ptr<ChannelPair>& values, std::size_t groups, float epsilon,
                   const std::vector<RegionState>& states, bool temporary,
                   const std::function<void(std::size_t, const rt::StorageRef&)>& hold) {
  const auto channels = static_cast<std::int64_t>(values->channels()), regions = static_cast<std::int64_t>(groups);
  const Tensor source = call.sources[0] = call.sources[0].slice(3, 0, channels);
  const std::int64_t n = source.n();
  const auto bytes = static_cast<std::size_t>(2 * n * regions) * sizeof(float);
  const rt::StorageRef storage = states.empty() || temporary
                                     ? call.list.state().newTemporary(bytes, false)
                                     : std::make_shared<rt::Storage>(call.list.state().device(), bytes);
  const Tensor mean = momentsOf(storage, n, 0, n, regions, false),
               variance = momentsOf(storage, n, 0, n, regions, true);
  const Tensor aligned = call.aligned(0);
  prim::Norm d;
  d.epsilon = epsilon;
  if (aligned.view == source.view && aligned.storage == source.storage) {
    d.task = prim::NormTask::Normalize;
    call.list.op(d, {source.read(), mean.write(), variance.write(), values->first().read(), values->second().read(),
                     call.destination.write()});
  } else {
    d.task = prim::NormTask::Statistics;
    call.list.op(d, {source.read(), mean.write(), variance.write()});
    d.task = prim::NormTask::Apply;
    call.list.op(d, {aligned.read(), mean.read(), variance.read(), values->first().read(), values->second().read(),
                     call.destination.write()});
  }
  const auto perState = states.empty() ? 0 : n / static_cast<std::int64_t>(states.size());
  for (std::size_t i = 0; i < states.size(); ++i) {
    RegionRecord& r = *states[i].record;
    r.values = values;
    r.groups = groups;
    r.epsilon = epsilon;
    r.moments = storage;
    r.firstImage = static_cast<std::int64_t>(i) * perState;
    r.images = perState;
    r.allImages = n;
    r.count = static_cast<std::uint64_t>(source.h() * source.w() * channels / regions);
    hold(i, storage);
  }
}

void encodeRegionsGradient(Call& call, const std::vector<RegionState>& states, const MPS::Kernel& who) {
  if (states.empty())
    base::raise(
        Access::described(who) +
        ".encode: needs the state that the forward kernel's encode or resultState made; it holds mean, variance "
        "and gamma");
  for (const RegionState& s : states)
    if (!s.record->moments)
      base::raise(
          Access::described(who) +
          ".encode: the gradient state has not been through a forward encode; encode the forward kernel with it "
          "first");
  const RegionRecord& first = *states[0].record;
  const auto channels = static_cast<std::int64_t>(first.values->channels()),
             groups = static_cast<std::int64_t>(first.groups);
  const std::int64_t n = call.sources[1].n();
  std::int64_t covered = 0;
  bool together = true;
  for (const RegionState& s : states) {
    together = together && s.record->moments == first.moments && s.record->firstImage == first.firstImage + covered;
    covered += s.record->images;
  }
  if (covered != n)
    base::raise(Access::described(who) + ".encode: the gradient states hold " + std::to_string(covered) +
                " images, the source " + std::to_string(n) + "; give the states of the forward encode of these images");
  Tensor mean, variance;
  if (together) {
    mean = momentsOf(first.moments, first.allImages, first.firstImage, n, groups, false);
    variance = momentsOf(first.moments, first.allImages, first.firstImage, n, groups, true);
  } else {
    mean = call.list.temporary(prim::DType::F32, {n, 1, 1, groups});
    variance = call.list.temporary(prim::DType::F32, {n, 1, 1, groups});
    std::int64_t at = 0;
    for (const RegionState& s : states) {
      const RegionRecord& r = *s.record;
      for (const bool second : {false, true})
        call.list.op(prim::Copy{}, {momentsOf(r.moments, r.allImages, r.firstImage, r.images, groups, second).read(),
                                    (second ? variance : mean).slice(0, at, r.images).write()});
      at += r.images;
    }
  }
  const bool direct = n == 1;
  const Tensor sumGX = direct ? channelBuffer(states[0].gamma, first.values->channels())
                              : call.list.temporary(prim::DType::F32, {n, 1, 1, channels});
  const Tensor sumG = direct ? channelBuffer(states[0].beta, first.values->channels())
                             : call.list.temporary(prim::DType::F32, {n, 1, 1, channels});
  const auto* state = dynamic_cast<const MPS::NNGradientState*>(states[0].state);
  const Alignment a = Alignment::of(call, state ? Access::record(*state).get() : nullptr);
  const Tensor gamma = first.values->first();
  prim::Norm d;
  d.epsilon = first.epsilon;
  prim::Scalars scalars;
  scalars.u[0] = first.count;
  if (!a.translated) {
    d.task = prim::NormTask::Gradient;
    call.list.op(d,
                 {a.given.read(), a.source.read(), mean.read(), variance.read(), gamma.read(), sumGX.write(),
                  sumG.write(), call.destination.write()},
                 scalars);
  } else {
    d.task = prim::NormTask::Sums;
    call.list.op(d, {a.given.read(), a.source.read(), mean.read(), variance.read(), sumGX.write(), sumG.write()});
    d.task = prim::NormTask::Data;
    call.list.op(d,
                 {a.carryBack(call, a.given).read(), call.aligned(1).read(), mean.read(), variance.read(), gamma.read(),
                  sumGX.read(), sumG.read(), call.destination.write()},
                 scalars);
  }
  if (direct) return;
  std::int64_t at = 0;
  for (const RegionState& s : states) {
    const std::int64_t images = s.record->images;
    for (const bool second : {false, true}) {
      const Tensor from = (second ? sumG : sumGX).slice(0, at, images);
      const Tensor to = channelBuffer(second ? s.beta : s.gamma, first.values->channels());
      call.list.op(prim::Reduce{}, {from.read(), to.write()});
    }
    at += images;
  }
}

}  // namespace kovar::nn

namespace kovar::MPS {
namespace {

std::vector<Ref<MTL::Resource>> bothOf(const Ref<MTL::Buffer>& gamma, const Ref<MTL::Buffer>& beta) {
  if (!gamma || !beta) base::raise("CNNNormalizationGammaAndBetaState: gamma or beta is null; give both buffers");
  if (gamma->device() != beta->device())
    base::raise("CNNNormalizationGammaAndBetaState: gamma and beta belong to different devices");
  if (gamma->length() != beta->length())
    base::raise("CNNNormalizationGammaAndBetaState: gamma has " + std::to_string(gamma->length()) + " bytes, beta " +
                std::to_string(beta->length()) + "; each holds a float32 per feature channel");
  return {gamma, beta};
}

}  // namespace

CNNNormalizationGammaAndBetaState::CNNNormalizationGammaAndBetaState(const Ref<MTL::Buffer>& gamma,
                                                                     const Ref<MTL::Buffer>& beta)
    : State(bothOf(gamma, beta)) {}

Ref<CNNNormalizationGammaAndBetaState> CNNNormalizationGammaAndBetaState::temporaryState(
    const Ref<MTL::CommandBuffer>& commandBuffer, std::size_t numberOfFeatureChannels) {
  auto state = nn::Access::make<CNNNormalizationGammaAndBetaState>(commandBuffer);
  state->addBuffer(numberOfFeatureChannels * sizeof(float));
  state->addBuffer(numberOfFeatureChannels * sizeof(float));
  return state;
}

}  // namespace kovar::MPS
