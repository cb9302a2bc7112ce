// MPS::State: resources, temporary states and their read counts, batches; states of kernels.

#include "kovar/MPS/Core/State.hpp"

#include <cstring>

#include "convolution_support.hpp"
#include "kovar/MPS/NN/CNNDropout.hpp"
#include "kovar/MPS/NN/CNNPooling.hpp"
#include "kovar/MPS/NN/CNNSoftMax.hpp"

namespace kovar::test {
namespace {

using Resource = MPS::StateResourceType;

Ref<MTL::TextureDescriptor> textureDescriptor() {
  auto d = MTL::TextureDescriptor::texture2DDescriptor(MTL::PixelFormat::RGBA32Float, 3, 2, false);
  d->setTextureType(MTL::TextureType::Type2DArray);
  d->setArrayLength(5);
  return d;
}

TEST(State, MakesItsResourcesWhenAsked) {
  MPS::State state(cpuDevice(), 12);
  state.setLabel("sums");
  EXPECT_EQ(state.label(), "sums");
  EXPECT_EQ(state.resourceCount(), 1u);
  EXPECT_FALSE(state.isTemporary());
  EXPECT_EQ(state.readCount(), 0u);
  EXPECT_EQ(state.resourceType(0), Resource::Buffer);
  EXPECT_EQ(state.bufferSize(0), 12u);
  EXPECT_EQ(state.resourceSize(), 12u);
  EXPECT_EQ(state.resource(0, false), nullptr) << "nothing has asked for memory yet";
  const auto buffer = std::dynamic_pointer_cast<MTL::Buffer>(state.resource(0, true));
  ASSERT_TRUE(buffer);
  EXPECT_EQ(buffer->length(), 12u);
  EXPECT_EQ(state.resource(0, false), buffer);
  EXPECT_EQ(state.resource(), buffer);
  EXPECT_EQ(state.resource(1, true), nullptr);
  EXPECT_EQ(state.resourceType(1), Resource::None);
  EXPECT_EQ(state.bufferSize(1), 0u);
  EXPECT_EQ(state.textureInfo(0).width, 0u);
}

TEST(State, TexturesComeFirstThenBuffers) {
  const auto list = MPS::StateResourceList::resourceList(4, 8u, 16l);
  list->appendTexture(textureDescriptor());
  list->appendBuffer(32);
  MPS::State state(cpuDevice(), list);
  ASSERT_EQ(state.resourceCount(), 5u);
  EXPECT_EQ(state.resourceType(0), Resource::Texture);
  EXPECT_EQ(state.bufferSize(0), 0u);
  const std::size_t sizes[] = {4, 8, 16, 32};
  for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(state.bufferSize(1 + i), sizes[i]);
  const MPS::StateTextureInfo info = state.textureInfo(0);
  EXPECT_EQ(info.width, 3u);
  EXPECT_EQ(info.height, 2u);
  EXPECT_EQ(info.arrayLength, 5u);
  EXPECT_EQ(info.pixelFormat, MTL::PixelFormat::RGBA32Float);
  EXPECT_EQ(info.textureType, MTL::TextureType::Type2DArray);
  EXPECT_EQ(state.resourceSize(), 3u * 2 * 5 * 16 + 60);
  EXPECT_EQ(state.resource(0, false), nullptr);
  EXPECT_TRUE(std::dynamic_pointer_cast<MTL::Texture>(state.resource(0, true)));
  const auto textures = MPS::StateResourceList::resourceList(textureDescriptor(), textureDescriptor());
  EXPECT_EQ(MPS::State(cpuDevice(), textures).resourceCount(), 2u);
  EXPECT_EQ(MPS::State(cpuDevice(), textureDescriptor()).resourceType(0), Resource::Texture);
  EXPECT_EQ(MPS::State(cpuDevice(), MPS::StateResourceList::resourceList()).resourceCount(), 0u);
}

TEST(State, TakesResourcesOfTheCallers) {
  const auto buffer = cpuDevice()->newBuffer(20);
  const auto texture = cpuDevice()->newTexture(textureDescriptor());
  MPS::State state(std::vector<Ref<MTL::Resource>>{nullptr, buffer, texture});
  ASSERT_EQ(state.resourceCount(), 2u);
  EXPECT_EQ(state.resource(0, false), buffer);
  EXPECT_EQ(state.bufferSize(0), 20u);
  EXPECT_EQ(state.textureInfo(1).height, 2u);
  EXPECT_EQ(MPS::State(Ref<MTL::Resource>(texture)).resource(), texture);
  expectError([] { MPS::State(Ref<MTL::Resource>()); }, {"State: no resource given"});
}

TEST(State, TemporaryOnesCountTheirReads) {
  const auto buffer = cpuQueue()->commandBuffer();
  const auto state = MPS::State::temporaryState(buffer, 64);
  EXPECT_TRUE(state->isTemporary());
  EXPECT_EQ(state->readCount(), 1u);
  state->setReadCount(3);
  EXPECT_EQ(state->readCount(), 3u);
  const auto memory = std::dynamic_pointer_cast<MTL::Buffer>(state->resource(0, true));
  ASSERT_TRUE(memory);
  EXPECT_EQ(memory->contents(), nullptr) << "the host cannot reach it";
  EXPECT_EQ(memory->storageMode(), MTL::StorageMode::Private);
  state->setReadCount(0);
  state->setLabel("gone");
  expectError([&] { state->setReadCount(1); }, {"State \"gone\".setReadCount: the state is used up"});
  MPS::State plain(cpuDevice(), 4);
  expectError([&] { plain.setReadCount(2); }, {"only temporary states have a read count"});
  // Without a resource there is nothing temporary about it.
  EXPECT_FALSE(MPS::State::temporaryState(buffer)->isTemporary());
  EXPECT_EQ(MPS::State::temporaryState(buffer, textureDescriptor())->resourceType(0), Resource::Texture);
  EXPECT_EQ(MPS::State::temporaryState(buffer, MPS::StateResourceList::resourceList(1, 2))->resourceCount(), 2u);
}

TEST(State, BatchFunctionsVisitEachObjectOnce) {
  const auto buffer = cpuQueue()->commandBuffer();
  const auto a = MPS::State::temporaryState(buffer, 8), spent = MPS::State::temporaryState(buffer, 8);
  spent->setReadCount(0);
  const auto plain = std::make_shared<MPS::State>(cpuDevice(), 100);
  const MPS::StateBatch batch{a, a, plain, spent, a};
  EXPECT_EQ(MPS::stateBatchIncrementReadCount(batch, 2), 3u);
  EXPECT_EQ(a->readCount(), 3u);
  EXPECT_EQ(spent->readCount(), 0u);
  EXPECT_EQ(plain->readCount(), 0u);
  MPS::stateBatchIncrementReadCount(batch, -1);
  EXPECT_EQ(a->readCount(), 2u);
  EXPECT_EQ(MPS::stateBatchResourceSize(batch), 116u);
  MPS::stateBatchSynchronize(batch, buffer);
  MPS::stateBatchIncrementReadCount({a}, -5);
  EXPECT_EQ(a->readCount(), 0u);
}

TEST(State, ErrorsTellWhatIsWrong) {
  expectError([] { MPS::State(cpuDevice(), std::size_t{0}); }, {"State: a buffer of 0 bytes"});
  expectError([] { MPS::State(Ref<MTL::Device>(), std::size_t{4}); }, {"State: device is null"});
  expectError([] { MPS::State(cpuDevice(), Ref<MTL::TextureDescriptor>()); }, {"textureDescriptor is null"});
  expectError([] { MPS::State(cpuDevice(), Ref<MPS::StateResourceList>()); }, {"resourceList is null"});
  expectError([] { MPS::State::temporaryState(nullptr); }, {"State.temporaryState: commandBuffer is null"});
  MPS::State state(cpuDevice(), 4);
  expectError([&] { state.synchronize(nullptr); }, {"State.synchronize: commandBuffer is null"});
}

TEST(State, ByDefaultAStateLeavesADescriptorAlone) {
  MPS::State state(cpuDevice(), 4);
  const auto d = MPS::ImageDescriptor::imageDescriptor(MPS::ImageFeatureChannelFormat::Float32, 1, 2, 3);
  EXPECT_EQ(state.destinationImageDescriptor({}, {}, nullptr, d), d);
}

/// Per kernel: how its states behave.
TEST(KernelStates, OnePerImageOrOneForTheBatch) {
  oracle::Conv conv;
  conv.inputChannels = conv.outputChannels = 4;
  const std::vector<double> weights(conv.weightCount(), 0.5);
  const std::vector<std::pair<Ref<MPS::CNNKernel>, bool>> kernels{
      {convolution(conv, weights, {}), true},
      {std::make_shared<MPS::CNNPoolingMax>(cpuDevice(), 2, 2), false},
      {std::make_shared<MPS::CNNPoolingAverage>(cpuDevice(), 2, 2), false},
      {std::make_shared<MPS::CNNNeuronSigmoid>(cpuDevice()), false},
      {std::make_shared<MPS::CNNSoftMax>(cpuDevice()), false},
      {std::make_shared<MPS::CNNLogSoftMax>(cpuDevice()), false},
      {std::make_shared<MPS::CNNDropout>(cpuDevice(), 0.5f, 1, MTL::Size{1, 1, 1}), false}};
  const auto images = imagesOf(Tensor(3, 4, 4, 4, 1.0), Format::Float32, Arrangement::Separate);
  for (std::size_t i = 0; i < kernels.size(); ++i) {
    SCOPED_TRACE(i);
    const auto& [kernel, reused] = kernels[i];
    EXPECT_EQ(kernel->isResultStateReusedAcrossBatch(), reused);
    EXPECT_FALSE(kernel->appendBatchBarrier());
    const auto states = kernel->resultStateBatch(images, {}, images);
    ASSERT_EQ(states.size(), 3u);
    EXPECT_EQ(states[0] == states[1], reused);
    EXPECT_EQ(states[0] == states[2], reused);
    EXPECT_EQ(states[0]->readCount(), 0u);
    EXPECT_EQ(kernel->encodingStorageSize(images[0], {}, images[1]), 0u);
    EXPECT_EQ(kernel->batchEncodingStorageSize(images, {}, images), 0u);
    runOnCpu([&, k = kernel](const auto& buffer) {
      EXPECT_EQ(k->temporaryResultState(buffer, images[0], {}, images[1])->readCount(), 1u);
      MPS::StateBatch made;
      const auto results = k->encodeBatch(buffer, images, &made, true);
      EXPECT_EQ(made.size(), 3u);
      Ref<MPS::State> one;
      k->encode(buffer, results[0], &one, false);
      EXPECT_TRUE(one);
    });
  }
}

TEST(KernelStates, MustFitTheBatchAndTheDevice) {
  const auto images = imagesOf(Tensor(2, 4, 4, 4, 1.0), Format::Float32, Arrangement::Separate),
             results = imagesOf(Tensor(2, 4, 4, 4), Format::Float32, Arrangement::Separate);
  MPS::CNNSoftMax kernel(cpuDevice());
  MPS::CNNSoftMaxGradient gradient(cpuDevice());
  const auto buffer = cpuQueue()->commandBuffer();
  const auto states = kernel.resultStateBatch(images, {}, results);
  expectError([&] { kernel.encodeBatch(buffer, images, {states[0]}, results); },
              {"CNNSoftMax.encodeBatch: 1 states for 2 images", "give one state per image"});
  expectError(
      [&] {
        gradient.encode(buffer, images[0], images[1], std::make_shared<MPS::State>(otherDevice(), 4), results[0]);
      },
      {"the state State belongs to another device"});
}

}  // namespace
}  // namespace kovar::test
