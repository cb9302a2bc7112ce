// TemporaryImage: read counts from birth to reuse, views, batches, and the functions over batches of images.

#include <cstring>
#include <limits>

#include "kovar/MPS/NN/CNNMath.hpp"
#include "kovar/MTL/Texture.hpp"
#include "nn_case.hpp"

namespace kovar::test {
namespace {

Ref<MPS::ImageDescriptor> smallDescriptor(std::size_t images = 1) {
  return MPS::ImageDescriptor::imageDescriptor(MPS::ImageFeatureChannelFormat::Float32, 2, 2, 4, images,
                                               MTL::TextureUsage::ShaderRead | MTL::TextureUsage::ShaderWrite);
}

Ref<MPS::CNNNeuron> times(float factor) {
  return std::make_shared<MPS::CNNNeuron>(
      cpuDevice(), MPS::NNNeuronDescriptor::cnnNeuronDescriptor(MPS::CNNNeuronType::Linear, factor));
}

Ref<MPS::TemporaryImage> temporary(const Ref<MPS::Image>& image) {
  return std::dynamic_pointer_cast<MPS::TemporaryImage>(image);
}

TEST(TemporaryImage, EachReadingEncodeCountsDown) {
  const auto source = imageOf(Tensor(1, 2, 2, 4, 1.0)), y = imageOf(Tensor(1, 2, 2, 4)),
             z = imageOf(Tensor(1, 2, 2, 4));
  runOnCpu([&](const auto& buffer) {
    const auto t = MPS::TemporaryImage::temporaryImage(buffer, smallDescriptor());
    EXPECT_EQ(t->readCount(), 1u);
    EXPECT_EQ(t->parent(), nullptr);
    times(2)->encode(buffer, source, t);
    EXPECT_EQ(t->readCount(), 1u) << "a write is no read";
    t->setReadCount(2);
    times(3)->encode(buffer, t, y);
    EXPECT_EQ(t->readCount(), 1u);
    times(5)->encode(buffer, t, z);
    EXPECT_EQ(t->readCount(), 0u);
    expectError([&] { times(5)->encode(buffer, t, z); },
                {"CNNNeuron.encode: source (TemporaryImage) is used up", "raise readCount before"});
    expectError([&] { times(5)->encode(buffer, source, t); }, {"destination (TemporaryImage) is used up"});
    t->setLabel("hidden");
    expectError([&] { t->setReadCount(1); }, {"TemporaryImage \"hidden\".setReadCount: the image is used up"});
  });
  EXPECT_EQ(tensorOf(*y).v[0], 6);
  EXPECT_EQ(tensorOf(*z).v[0], 10);
}

TEST(TemporaryImage, SettingTheCountToZeroGivesItBack) {
  runOnCpu([&](const auto& buffer) {
    const auto t = MPS::TemporaryImage::temporaryImage(buffer, smallDescriptor());
    t->setReadCount(0);
    expectError([&] { times(1)->encode(buffer, t, imageOf(Tensor(1, 2, 2, 4))); }, {"is used up"});
  });
}

TEST(TemporaryImage, AnUnlimitedCountNeverRunsOut) {
  const auto y = imageOf(Tensor(1, 2, 2, 4));
  runOnCpu([&](const auto& buffer) {
    const auto t = times(4)->encode(buffer, imageOf(Tensor(1, 2, 2, 4, 1.0)));
    temporary(t)->setReadCount(std::numeric_limits<std::size_t>::max());
    for (int i = 0; i < 5; ++i) times(2)->encode(buffer, t, y);
    EXPECT_EQ(temporary(t)->readCount(), std::numeric_limits<std::size_t>::max());
  });
  EXPECT_EQ(tensorOf(*y).v[0], 8);
}

TEST(TemporaryImage, LivesInOneCommandBuffer) {
  const auto first = cpuQueue()->commandBuffer(), second = cpuQueue()->commandBuffer();
  const auto t = times(1)->encode(first, imageOf(Tensor(1, 2, 2, 4)));
  expectError([&] { times(1)->encode(second, t, imageOf(Tensor(1, 2, 2, 4))); },
              {"source is a temporary image of another command buffer", "temporaries live in the buffer"});
}

// A refused encode leaves counts as they were.
TEST(TemporaryImage, ARefusedEncodeCountsNothing) {
  runOnCpu([&](const auto& buffer) {
    const auto t = times(1)->encode(buffer, imageOf(Tensor(1, 2, 2, 4)));
    expectError([&] { times(1)->encode(buffer, t, imageOf(Tensor(1, 2, 2, 3))); },
                {"the destination has 3 feature channels, the kernel writes 4"});
    EXPECT_EQ(temporary(t)->readCount(), 1u);
  });
}

TEST(TemporaryImage, AnEmptyRegionStillReads) {
  const auto y = imageOf(Tensor(1, 2, 2, 4, 3.0));
  runOnCpu([&](const auto& buffer) {
    const auto t = times(1)->encode(buffer, imageOf(Tensor(1, 2, 2, 4)));
    const auto k = times(1);
    k->setClipRect({{2, 0, 0}, {5, 5, 1}});
    k->encode(buffer, t, y);
    EXPECT_EQ(temporary(t)->readCount(), 0u);
  });
  EXPECT_EQ(tensorOf(*y).v, std::vector<double>(16, 3.0));
}

TEST(TemporaryImage, AViewHoldsOneReadOfItsParent) {
  const auto y = imageOf(Tensor(1, 2, 2, 4));
  runOnCpu([&](const auto& buffer) {
    const auto t = MPS::TemporaryImage::temporaryImage(buffer, smallDescriptor(2));
    times(7)->encode(buffer, imageOf(Tensor(2, 2, 2, 4, 1.0)), t);
    const auto views = t->batchRepresentation();
    ASSERT_EQ(views.size(), 2u);
    EXPECT_EQ(views[0]->parent(), t);
    EXPECT_EQ(t->readCount(), 3u);
    EXPECT_EQ(temporary(views[0])->readCount(), 1u);
    const auto nested = views[1]->subImage({0, 4});
    EXPECT_EQ(readCounts({t, views[1], nested}), (std::vector<std::size_t>{3, 2, 1}));
    times(1)->encode(buffer, views[0], y);
    EXPECT_EQ(readCounts({t, views[0]}), (std::vector<std::size_t>{2, 0}));
    times(1)->encode(buffer, nested, y);
    EXPECT_EQ(readCounts({t, views[1], nested}), (std::vector<std::size_t>{2, 1, 0}));
    temporary(views[1])->setReadCount(0);
    EXPECT_EQ(t->readCount(), 1u);
    {
      const auto dropped = t->batchRepresentation({1, 1});
      EXPECT_EQ(t->readCount(), 2u);
    }
    EXPECT_EQ(t->readCount(), 1u) << "a view that goes unread gives its read back";
    expectError([&] { MPS::Image(t, MPS::Range{0, 1}, 4); }, {"an ordinary view of a temporary image"});
  });
  EXPECT_EQ(tensorOf(*y).v[0], 7);
}

// Hundreds of temporaries alive one after the other fit into the memory of a few.
TEST(TemporaryImage, StorageIsUsedAgain) {
  const Tensor big(1, 256, 256, 4, 1.0);
  const auto source = imageOf(big), y = imageOf(big);
  std::size_t during = 0;
  const std::size_t before = cpuDevice()->currentAllocatedSize();
  runOnCpu([&](const auto& buffer) {
    Ref<MPS::Image> t = source;
    const auto k = times(1), shifted = times(1);
    for (int i = 0; i < 40; ++i) {
      const auto next = MPS::TemporaryImage::temporaryImage(
          buffer, MPS::ImageDescriptor::imageDescriptor(MPS::ImageFeatureChannelFormat::Float32, 256, 256, 4));
      shifted->setOffset({i % 3 - 1, 0, 0});  // keeps neighbours from being joined into one pass
      shifted->setEdgeMode(MPS::ImageEdgeMode::Clamp);
      shifted->encode(buffer, t, next);
      t = next;
    }
    k->encode(buffer, t, y);
    buffer->addCompletedHandler([&](const auto&) { during = cpuDevice()->currentAllocatedSize(); });
  });
  EXPECT_EQ(tensorOf(*y).v, big.v);
  EXPECT_LT(during - std::min(during, before), 12u * 256 * 256 * 16) << "40 images alive one after the other";
}

TEST(TemporaryImage, OneAllocationServesABatch) {
  runOnCpu([&](const auto& buffer) {
    const auto sources = imagesOf(Tensor(3, 2, 2, 4, 1.0), Format::Float32, Arrangement::Separate);
    const auto made = times(2)->encodeBatch(buffer, sources);
    ASSERT_EQ(made.size(), 3u);
    EXPECT_EQ(readCounts(made), (std::vector<std::size_t>{1, 1, 1}));
    const auto y = imagesOf(Tensor(3, 2, 2, 4), Format::Float32, Arrangement::Separate);
    // One by one: each element has a count of its own.
    times(1)->encode(buffer, made[1], y[1]);
    EXPECT_EQ(readCounts(made), (std::vector<std::size_t>{1, 0, 1}));
  });
}

TEST(TemporaryImage, TakesATexturesShape) {
  const auto buffer = cpuQueue()->commandBuffer();
  const auto d = MTL::TextureDescriptor::texture2DDescriptor(MTL::PixelFormat::RG16Float, 3, 2, false);
  const auto two = MPS::TemporaryImage::temporaryImage(buffer, d);
  EXPECT_EQ(two->featureChannels(), 2u);
  EXPECT_EQ(two->width(), 3u);
  EXPECT_EQ(two->featureChannelFormat(), MPS::ImageFeatureChannelFormat::Float16);
  d->setPixelFormat(MTL::PixelFormat::RGBA32Float);
  d->setTextureType(MTL::TextureType::Type2DArray);
  d->setArrayLength(3);
  EXPECT_EQ(MPS::TemporaryImage::temporaryImage(buffer, d)->featureChannels(), 12u);
  EXPECT_EQ(MPS::TemporaryImage::temporaryImage(buffer, d, 10)->featureChannels(), 10u);
  expectError([&] { MPS::TemporaryImage::temporaryImage(nullptr, smallDescriptor()); }, {"commandBuffer is null"});
  expectError([&] { MPS::TemporaryImage::temporaryImage(buffer, Ref<MPS::ImageDescriptor>()); },
              {"TemporaryImage: imageDescriptor is null"});
  expectError([&] { MPS::TemporaryImage::temporaryImage(buffer, Ref<MTL::TextureDescriptor>()); },
              {"textureDescriptor is null"});
  MPS::TemporaryImage::prefetchStorage(buffer, {smallDescriptor()});
}

TEST(ImageBatchFunctions, VisitEachObjectOnce) {
  runOnCpu([](const auto& buffer) {
    const auto plain = imageOf(Tensor(1, 2, 2, 4));
    const auto t = MPS::TemporaryImage::temporaryImage(buffer, smallDescriptor()),
               spent = MPS::TemporaryImage::temporaryImage(buffer, smallDescriptor());
    spent->setReadCount(0);
    const MPS::ImageBatch batch{t, plain, t, spent, plain};
    EXPECT_EQ(MPS::imageBatchIncrementReadCount(batch, 3), 3u);
    EXPECT_EQ(readCounts({t, spent}), (std::vector<std::size_t>{4, 0}));
    EXPECT_EQ(MPS::imageBatchIncrementReadCount(batch, -2), 3u);
    EXPECT_EQ(t->readCount(), 2u);
    EXPECT_EQ(MPS::imageBatchIncrementReadCount({t}, -10), 1u);
    EXPECT_EQ(t->readCount(), 0u);
    EXPECT_EQ(MPS::imageBatchResourceSize(batch), 3u * 2 * 2 * 16);
    MPS::imageBatchSynchronize(batch, buffer);

    constexpr std::ptrdiff_t kGoOn = std::numeric_limits<std::ptrdiff_t>::min();
    std::vector<std::size_t> seen;
    EXPECT_EQ(MPS::imageBatchIterate(batch,
                                     [&](const Ref<MPS::Image>& image, std::size_t index) {
                                       EXPECT_EQ(image, batch[index]);
                                       seen.push_back(index);
                                       return kGoOn;
                                     }),
              kGoOn);
    EXPECT_EQ(seen, (std::vector<std::size_t>{0, 1, 3}));
    EXPECT_EQ(MPS::imageBatchIterate(
                  batch, [](const Ref<MPS::Image>&, std::size_t i) { return i == 1 ? std::ptrdiff_t{42} : kGoOn; }),
              42);
  });
}

// One image object twice in a batch of temporaries: one read.
TEST(ImageBatchFunctions, ABatchReadsADoubleEntryOnce) {
  runOnCpu([](const auto& buffer) {
    const auto t = times(1)->encode(buffer, imageOf(Tensor(1, 2, 2, 4)));
    temporary(t)->setReadCount(2);
    times(1)->encodeBatch(buffer, {t, t}, {imageOf(Tensor(1, 2, 2, 4)), imageOf(Tensor(1, 2, 2, 4))});
    EXPECT_EQ(temporary(t)->readCount(), 1u);
  });
}

}  // namespace
}  // namespace kovar::test
