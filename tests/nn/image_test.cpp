// MPS::Image: descriptors, formats, texture slices, views of images and of channels, images over textures.

#include <limits>

#include "kovar/MPS/NN/CNNMath.hpp"
#include "kovar/MPS/NN/CNNSoftMax.hpp"
#include "nn_case.hpp"

namespace kovar::test {
namespace {

using ChannelFormat = MPS::ImageFeatureChannelFormat;

Ref<MPS::Image> plainImage(const Ref<MPS::ImageDescriptor>& d) { return std::make_shared<MPS::Image>(cpuDevice(), d); }

TEST(ImageDescriptor, DefaultsAndCopies) {
  const auto d = std::make_shared<MPS::ImageDescriptor>();
  EXPECT_EQ(d->width() * d->height() * d->featureChannels() * d->numberOfImages(), 1u);
  EXPECT_EQ(d->channelFormat(), ChannelFormat::None);
  EXPECT_EQ(d->pixelFormat(), MTL::PixelFormat::Invalid);
  EXPECT_EQ(d->storageMode(), MTL::StorageMode::Shared);
  EXPECT_EQ(d->cpuCacheMode(), MTL::CPUCacheMode::DefaultCache);
  EXPECT_EQ(d->usage(), MTL::TextureUsage::ShaderRead | MTL::TextureUsage::ShaderWrite);
  const auto full =
      MPS::ImageDescriptor::imageDescriptor(ChannelFormat::Unorm8, 2, 3, 4, 5, MTL::TextureUsage::ShaderRead);
  full->setCpuCacheMode(MTL::CPUCacheMode::WriteCombined);
  full->setStorageMode(MTL::StorageMode::Managed);
  const auto copy = full->copy();
  full->setWidth(9);
  EXPECT_EQ(copy->width(), 2u);
  EXPECT_EQ(copy->height(), 3u);
  EXPECT_EQ(copy->featureChannels(), 4u);
  EXPECT_EQ(copy->numberOfImages(), 5u);
  EXPECT_EQ(copy->channelFormat(), ChannelFormat::Unorm8);
  EXPECT_EQ(copy->usage(), MTL::TextureUsage::ShaderRead);
  EXPECT_EQ(copy->cpuCacheMode(), MTL::CPUCacheMode::WriteCombined);
  EXPECT_EQ(copy->storageMode(), MTL::StorageMode::Managed);
}

TEST(Image, FormatDecidesPixels) {
  using F = MTL::PixelFormat;
  struct Row {
    ChannelFormat format;
    std::size_t precision, element;
    F one, two, four;
  };
  for (const Row& row : {Row{ChannelFormat::Unorm8, 8, 1, F::R8Unorm, F::RG8Unorm, F::RGBA8Unorm},
                         Row{ChannelFormat::Unorm16, 16, 2, F::R16Unorm, F::RG16Unorm, F::RGBA16Unorm},
                         Row{ChannelFormat::Float16, 11, 2, F::R16Float, F::RG16Float, F::RGBA16Float},
                         Row{ChannelFormat::Float32, 24, 4, F::R32Float, F::RG32Float, F::RGBA32Float}})
    for (std::size_t channels = 1; channels <= 9; ++channels) {
      const auto image = plainImage(MPS::ImageDescriptor::imageDescriptor(row.format, 3, 2, channels));
      EXPECT_EQ(image->pixelFormat(), channels == 1 ? row.one : channels == 2 ? row.two : row.four);
      EXPECT_EQ(image->precision(), row.precision);
      EXPECT_EQ(image->pixelSize(), row.element * (channels <= 2 ? channels : 4));
      EXPECT_EQ(image->textureType(), channels <= 4 ? MTL::TextureType::Type2D : MTL::TextureType::Type2DArray);
      EXPECT_EQ(image->texture()->arrayLength(), (channels + 3) / 4);
      EXPECT_EQ(image->resourceSize(), 3 * 2 * ((channels + 3) / 4 * 4) * row.element);
    }
  const auto two = plainImage(MPS::ImageDescriptor::imageDescriptor(
      ChannelFormat::Float16, 3, 2, 1, 2, MTL::TextureUsage::ShaderRead | MTL::TextureUsage::ShaderWrite));
  EXPECT_EQ(two->textureType(), MTL::TextureType::Type2DArray);
  EXPECT_EQ(two->texture()->arrayLength(), 2u);
}

// Image n owns slices n * L up to n * L + L - 1 with L = ceil(channels / 4); channel c is lane c mod 4 of slice c
// div 4.
TEST(Image, TextureShowsChannelsInSlicesOfFour) {
  forCases(60, [](Case& c) {
    Random& r = c.random;
    const Format f = r.pick({Format::Unorm8, Format::Unorm16, Format::Float16, Format::Float32});
    Tensor t = randomTensor(r, r.size(1, 3), r.size(1, 4), r.size(1, 4), r.size(1, 10), {0, 1, false}, f);
    c.text = t.shape();
    const auto image = imageOf(t, f);
    const auto texture = image->texture();
    EXPECT_EQ(texture, image->texture()) << "the same object each time";
    const std::size_t lanes = MTL::lanesOf(texture->pixelFormat()), perImage = (t.c + 3) / 4;
    std::vector<std::byte> bytes(t.w * t.h * lanes * bytesOf(f));
    const MTL::Region region{{0, 0, 0}, {t.w, t.h, 1}};
    for (std::size_t slice = 0; slice < t.n * perImage; ++slice) {
      texture->getBytes(bytes.data(), t.w * lanes * bytesOf(f), 0, region, 0, slice);
      for (std::size_t y = 0; y < t.h; ++y)
        for (std::size_t x = 0; x < t.w; ++x)
          for (std::size_t lane = 0; lane < lanes; ++lane) {
            const std::size_t channel = slice % perImage * 4 + lane;
            const double value = getElement(f, bytes.data() + ((y * t.w + x) * lanes + lane) * bytesOf(f));
            ASSERT_EQ(value, channel < t.c ? t.at(slice / perImage, y, x, channel) : 0.0);
          }
    }
    // And back: a slice written through the texture shows in the image.
    for (std::size_t i = 0; i < bytes.size() / bytesOf(f); ++i) putElement(f, bytes.data() + i * bytesOf(f), 1.0);
    const std::size_t slice = r.size(0, t.n * perImage - 1);
    texture->replaceRegion(region, 0, slice, bytes.data(), t.w * lanes * bytesOf(f), 0);
    for (std::size_t y = 0; y < t.h; ++y)
      for (std::size_t x = 0; x < t.w; ++x)
        for (std::size_t ch = slice % perImage * 4; ch < std::min(t.c, slice % perImage * 4 + 4); ++ch)
          t.at(slice / perImage, y, x, ch) = 1;
    EXPECT_EQ(tensorOf(*image).v, t.v);
  });
}

// A picture of three channels in a texture of four lanes: what the fourth holds is nobody's business.
TEST(Image, KernelsNeverLookAtTheLanesBehindTheLastChannel) {
  for (const float alpha : {1e30f, std::numeric_limits<float>::quiet_NaN()}) {
    const Tensor t(1, 2, 2, 3, 2.0);
    const auto picture = imageOf(t), soft = imageOf(t), sum = imageOf(t);
    std::vector<float> rgba(16, alpha);
    for (std::size_t i = 0; i < 16; ++i)
      if (i % 4 != 3) rgba[i] = 2;
    picture->texture()->replaceRegion({{0, 0, 0}, {2, 2, 1}}, 0, rgba.data(), 32);
    runOnCpu([&](const auto& buffer) {
      MPS::CNNSoftMax(cpuDevice()).encode(buffer, picture, soft);
      MPS::CNNAdd(cpuDevice()).encode(buffer, picture, soft, sum);
    });
    for (double v : tensorOf(*soft).v) EXPECT_NEAR(v, 1.0 / 3, 1e-6);
    for (double v : tensorOf(*sum).v) EXPECT_NEAR(v, 2 + 1.0 / 3, 1e-6);
  }
}

TEST(Image, ViewsSeeTheSameMemory) {
  Random r(5);
  const Tensor t = randomTensor(r, 3, 2, 3, 10, {-1, 1});
  const auto image = imageOf(t);
  const auto all = image->batchRepresentation();
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[1]->parent(), image);
  EXPECT_EQ(image->parent(), nullptr);
  EXPECT_EQ(all[1]->numberOfImages(), 1u);
  EXPECT_EQ(all[1]->resourceSize(), 0u);
  EXPECT_EQ(tensorOf(all).v, t.v);
  const auto last = image->batchRepresentation({2, 1});
  ASSERT_EQ(last.size(), 1u);
  EXPECT_TRUE(image->batchRepresentation({3, 0}).empty());

  const auto middle = image->subImage({4, 4});
  EXPECT_EQ(middle->featureChannels(), 4u);
  EXPECT_EQ(tensorOf(*middle).v, oracle::slice(t, 0, 0, 2, 3, 4, 4).v);
  const auto end = image->subImage({8, 400});
  EXPECT_EQ(end->featureChannels(), 2u) << "a range too long is cut";
  EXPECT_EQ(tensorOf(*end).v, oracle::slice(t, 0, 0, 2, 3, 8, 2).v);
  // A view of a view: its parent is the view.
  const auto nested = last[0]->subImage({4, 8})->subImage({4, 4});
  EXPECT_EQ(nested->parent()->parent(), last[0]);
  EXPECT_EQ(nested->featureChannels(), 2u);
  writeImage(*nested, Tensor(1, 2, 3, 2, 7.0), Format::Float32, 0, 0);
  Tensor wanted = t;
  for (std::size_t p = 0; p < 6; ++p) wanted.v[(12 + p) * 10 + 8] = wanted.v[(12 + p) * 10 + 9] = 7;
  EXPECT_EQ(tensorOf(*image).v, wanted.v);

  // The general form counts slices; the number of images follows.
  const auto two = std::make_shared<MPS::Image>(image, MPS::Range{3, 6}, 10);
  EXPECT_EQ(two->numberOfImages(), 2u);
  EXPECT_EQ(two->parent(), image);
  EXPECT_EQ(tensorOf(*two).v, (std::vector<double>(wanted.v.begin() + 60, wanted.v.end())));
  const auto slice = std::make_shared<MPS::Image>(image, MPS::Range{4, 1}, 3);
  EXPECT_EQ(slice->numberOfImages(), 1u);
  EXPECT_EQ(slice->featureChannels(), 3u);
  EXPECT_EQ(tensorOf(*slice).v, oracle::slice(tensorOf(*all[1]), 0, 0, 2, 3, 4, 3).v);
}

// Two kernels write the halves of one image, one reads the whole: the usual way to join channels.
TEST(Image, KernelsWriteAndReadViews) {
  const auto joined = imageOf(Tensor(1, 1, 1, 8));
  const auto one = imageOf(Tensor(1, 1, 1, 4, 1.0)), two = imageOf(Tensor(1, 1, 1, 4, 2.0)),
             y = imageOf(Tensor(1, 1, 1, 8));
  const auto identity = MPS::NNNeuronDescriptor::cnnNeuronDescriptor(MPS::CNNNeuronType::Linear, 10);
  runOnCpu([&](const auto& buffer) {
    MPS::CNNNeuron times10(cpuDevice(), identity);
    times10.encode(buffer, one, joined->subImage({0, 4}));
    times10.encode(buffer, two, joined->subImage({4, 4}));
    times10.encode(buffer, joined, y);
    // within one image, from channels to other channels
    times10.encode(buffer, joined->subImage({0, 4}), joined->subImage({4, 4}));
  });
  EXPECT_EQ(tensorOf(*y).v, (std::vector<double>{100, 100, 100, 100, 200, 200, 200, 200}));
  EXPECT_EQ(tensorOf(*joined).v, (std::vector<double>{10, 10, 10, 10, 100, 100, 100, 100}));
}

TEST(Image, LiesOverATexture) {
  const auto d = MTL::TextureDescriptor::texture2DDescriptor(MTL::PixelFormat::RGBA8Unorm, 2, 1, false);
  d->setUsage(MTL::TextureUsage::ShaderRead | MTL::TextureUsage::ShaderWrite);
  const auto texture = cpuDevice()->newTexture(d);
  const MPS::Image rgb(texture, 3);
  EXPECT_EQ(rgb.featureChannelFormat(), ChannelFormat::Unorm8);
  EXPECT_EQ(rgb.numberOfImages(), 1u);
  EXPECT_EQ(rgb.texture(), texture);
  EXPECT_EQ(MPS::Image(texture, 3).resourceSize(), 0u);
  d->setPixelFormat(MTL::PixelFormat::RGBA16Float);
  d->setArrayLength(6);
  d->setTextureType(MTL::TextureType::Type2DArray);
  const MPS::Image deep(cpuDevice()->newTexture(d), 23);
  EXPECT_EQ(deep.numberOfImages(), 1u);
  EXPECT_EQ(deep.featureChannels(), 23u);
  EXPECT_EQ(deep.featureChannelFormat(), ChannelFormat::Float16);
  // An image over the texture of an image is that image's memory.
  const auto image = imageOf(Tensor(2, 2, 2, 6, 3.0));
  MPS::Image again(image->texture(), 6);
  EXPECT_EQ(again.numberOfImages(), 2u);
  EXPECT_EQ(tensorOf(again).v, tensorOf(*image).v);
}

TEST(Image, PurgingDropsTheContents) {
  const auto d = MPS::ImageDescriptor::imageDescriptor(ChannelFormat::Float32, 1, 1, 1);
  const auto unused = plainImage(d);
  EXPECT_EQ(unused->setPurgeableState(MPS::PurgeableState::KeepCurrent), MPS::PurgeableState::AllocationDeferred);
  const auto image = imageOf(Tensor(1, 1, 1, 1, 5.0));
  EXPECT_EQ(image->setPurgeableState(MPS::PurgeableState::KeepCurrent), MPS::PurgeableState::NonVolatile);
  EXPECT_EQ(tensorOf(*image).v[0], 5);
  image->setPurgeableState(MPS::PurgeableState::Empty);
  EXPECT_EQ(tensorOf(*image).v[0], 0);
}

TEST(Image, ErrorsTellWhatIsWrong) {
  const std::size_t most = std::numeric_limits<std::size_t>::max();
  const auto make = [](std::size_t w, std::size_t h, std::size_t c, std::size_t n, ChannelFormat f) {
    plainImage(MPS::ImageDescriptor::imageDescriptor(f, w, h, c, n, MTL::TextureUsage::ShaderRead));
  };
  const auto f32 = ChannelFormat::Float32;
  expectError([&] { make(0, 1, 1, 1, f32); }, {"Image: 0 x 1 pixels", "each must be at least 1"});
  expectError([&] { make(1, 1, 0, 1, f32); }, {"0 channels"});
  expectError([&] { make(1, 1, 1, 0, f32); }, {"0 images"});
  expectError([&] { make(1, 1, 1, 1, ChannelFormat::None); }, {"channelFormat is not set; use Unorm8"});
  expectError([&] { make(1, 1, 1, 1, ChannelFormat::Reserved0); }, {"channelFormat is not set"});
  expectError([&] { make(most, most, 4, 1, f32); }, {"more than 2^40 bytes"});
  expectError([&] { make(1, 1, most, 1, f32); }, {"more than 2^40 bytes"});
  expectError([&] { plainImage(nullptr); }, {"Image: imageDescriptor is null"});
  expectError([&] { MPS::Image(Ref<MTL::Device>(), MPS::ImageDescriptor::imageDescriptor(f32, 1, 1, 1)); },
              {"Image: device is null"});
  const auto image = imageOf(Tensor(2, 1, 1, 6));
  image->setLabel("maps");
  expectError([&] { image->batchRepresentation({1, 2}); }, {"Image \"maps\".batchRepresentation: images 1 + 2 of 2"});
  expectError([&] { image->batchRepresentation({1, most}); }, {"of 2"});
  expectError([&] { image->subImage({2, 4}); }, {"Image \"maps\".subImage: channels 2 + 4 of 6", "multiples of 4"});
  expectError([&] { image->subImage({8, 4}); }, {"channels 8 + 4 of 6"});
  expectError([&] { image->subImage({0, 3}); }, {"channels 0 + 3 of 6"});
  MPS::Image onTheStack(cpuDevice(), MPS::ImageDescriptor::imageDescriptor(f32, 1, 1, 4));
  expectError([&] { onTheStack.subImage({0, 4}); }, {"a view of an image that no Ref holds", "std::make_shared"});
  const auto view = [&](MPS::Range slices, std::size_t channels) { MPS::Image(image, slices, channels); };
  expectError([&] { view({0, 3}, 6); }, {"slices 0 + 3 for 6 channels", "whole images of 2 slices within 4"});
  expectError([&] { view({4, 2}, 6); }, {"slices 4 + 2"});
  expectError([&] { view({2, most - 1}, 6); }, {"slices 2 + "});
  expectError([&] { view({0, 2}, 3); }, {"a view of several images needs all 2 slices"});
  expectError([&] { view({1, 2}, 6); }, {"slices 1 + 2 reach into the next image", "an image has 2 slices"});
  expectError([&] { view({0, 1}, most); }, {"slices 0 + 1"});
  expectError([&] { MPS::Image(Ref<MPS::Image>(), MPS::Range{0, 1}, 1); }, {"parentImage is null"});
  expectError([&] { MPS::Image(image->texture(), 12); }, {"12 channels over a texture of 4 slices"});
  expectError([&] { MPS::Image(image->texture(), 3); }, {"the texture keeps 2 slices together"});
  expectError([&] { MPS::Image(Ref<MTL::Texture>(), 3); }, {"Image: texture is null"});
}

}  // namespace
}  // namespace kovar::test
