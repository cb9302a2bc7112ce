// Image::readBytes and writeBytes against the oracle: every form, layout, format, region, channel range and stride.

#include <limits>

#include "nn_case.hpp"
#include "oracle/layout.hpp"

namespace kovar::test {
namespace {

using oracle::Transfer;

std::vector<std::byte> encoded(const std::vector<double>& values, Format f) {
  std::vector<std::byte> bytes(values.size() * bytesOf(f));
  for (std::size_t i = 0; i < values.size(); ++i) putElement(f, bytes.data() + i * bytesOf(f), values[i]);
  return bytes;
}

std::vector<double> decoded(const std::vector<std::byte>& bytes, Format f) {
  std::vector<double> values(bytes.size() / bytesOf(f));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = getElement(f, bytes.data() + i * bytesOf(f));
  return values;
}

Format anyFormat(Random& r) { return r.pick({Format::Unorm8, Format::Unorm16, Format::Float16, Format::Float32}); }

/// A transfer that lies inside the image. `columns`: may leave gaps between pixels.
Transfer randomTransfer(Random& r, const Tensor& image, Format f, bool columns) {
  Transfer t;
  t.layout =
      r.pick({oracle::DataLayout::HeightxWidthxFeatureChannels, oracle::DataLayout::FeatureChannelsxHeightxWidth});
  t.elementSize = bytesOf(f);
  t.x0 = r.size(0, image.w - 1);
  t.y0 = r.size(0, image.h - 1);
  t.width = r.size(1, image.w - t.x0);
  t.height = r.size(1, image.h - t.y0);
  t.imageIndex = r.size(0, image.n - 1);
  t.z0 = r.size(0, image.n - 1 - t.imageIndex);
  t.depth = r.size(1, image.n - t.imageIndex - t.z0);
  const std::size_t groups = image.c / 4;
  t.firstChannel = groups > 0 && r.chance(0.5) ? 4 * r.size(0, groups - 1) : 0;
  t.channels = t.firstChannel == 0 ? r.size(1, image.c) : 4 * r.size(1, groups - t.firstChannel / 4);
  if (columns && r.chance(0.5)) t.bytesPerColumn = t.resolved().bytesPerColumn + t.elementSize * r.size(0, 3);
  t.bytesPerRow = t.resolved().bytesPerRow + t.elementSize * r.size(0, 3);
  if (r.chance(0.5)) t.bytesPerImage = t.resolved().bytesPerImage + t.elementSize * r.size(0, 5);
  return t;
}

MTL::Region regionOf(const Transfer& t) { return {{t.x0, t.y0, t.z0}, {t.width, t.height, t.depth}}; }
MPS::DataLayout layoutOf(const Transfer& t) { return static_cast<MPS::DataLayout>(t.layout); }

std::string textOf(const Transfer& t, const Tensor& image, Format f) {
  return image.shape() + " f" + std::to_string(static_cast<int>(f)) + " layout" +
         std::to_string(static_cast<int>(t.layout)) + " at " + std::to_string(t.x0) + "," + std::to_string(t.y0) + "," +
         std::to_string(t.z0) + "+" + std::to_string(t.imageIndex) + " size " + std::to_string(t.width) + "x" +
         std::to_string(t.height) + "x" + std::to_string(t.depth) + " channels " + std::to_string(t.firstChannel) +
         "+" + std::to_string(t.channels) + " strides " + std::to_string(t.bytesPerColumn) + "," +
         std::to_string(t.bytesPerRow) + "," + std::to_string(t.bytesPerImage);
}

Tensor randomImage(Random& r, Format f) {
  return randomTensor(r, r.size(1, 3), r.size(1, 6), r.size(1, 6), r.size(1, 11), {0, 1, false}, f);
}

TEST(ImageBytes, ReadAgreesWithTheOracle) {
  forCases(400, [](Case& c) {
    Random& r = c.random;
    const Format f = anyFormat(r);
    const Tensor image = randomImage(r, f);
    const Transfer t = randomTransfer(r, image, f, false);
    c.text = textOf(t, image, f);
    const std::vector<double> before(t.length() / t.elementSize, 1.0);
    std::vector<std::byte> bytes = encoded(before, f);
    const auto source = imageOf(image, f);
    if (t.bytesPerImage)
      source->readBytes(bytes.data(), layoutOf(t), t.bytesPerRow, t.bytesPerImage, regionOf(t),
                        {t.firstChannel, t.channels}, t.imageIndex);
    else
      source->readBytes(bytes.data(), layoutOf(t), t.bytesPerRow, regionOf(t), {t.firstChannel, t.channels},
                        t.imageIndex);
    EXPECT_EQ(decoded(bytes, f), oracle::readBytes(t, image, before));
  });
}

TEST(ImageBytes, WriteAgreesWithTheOracle) {
  forCases(400, [](Case& c) {
    Random& r = c.random;
    const Format f = anyFormat(r);
    const Tensor image = randomImage(r, f);
    const Transfer t = randomTransfer(r, image, f, true);
    c.text = textOf(t, image, f);
    const std::vector<double> values = randomValues(r, t.length() / t.elementSize, {0, 1, false}, f);
    const std::vector<std::byte> bytes = encoded(values, f);
    const auto destination = imageOf(image, f);
    const MPS::ImageReadWriteParams channels{t.firstChannel, t.channels};
    if (t.bytesPerColumn)
      destination->writeBytes(bytes.data(), layoutOf(t), t.bytesPerColumn, t.bytesPerRow, t.bytesPerImage, regionOf(t),
                              channels, t.imageIndex);
    else if (t.bytesPerImage)
      destination->writeBytes(bytes.data(), layoutOf(t), t.bytesPerRow, t.bytesPerImage, regionOf(t), channels,
                              t.imageIndex);
    else
      destination->writeBytes(bytes.data(), layoutOf(t), t.bytesPerRow, regionOf(t), channels, t.imageIndex);
    EXPECT_EQ(tensorOf(*destination).v, oracle::writeBytes(t, values, image).v);
  });
}

TEST(ImageBytes, TheShortFormsMoveOneWholeImage) {
  forCases(60, [](Case& c) {
    Random& r = c.random;
    const Format f = anyFormat(r);
    const Tensor image = randomImage(r, f);
    const auto layout =
        r.pick({oracle::DataLayout::HeightxWidthxFeatureChannels, oracle::DataLayout::FeatureChannelsxHeightxWidth});
    const Transfer t = oracle::wholeImage(image, layout, bytesOf(f), r.size(0, image.n - 1));
    c.text = textOf(t, image, f);
    const auto object = imageOf(image, f);
    std::vector<std::byte> bytes(t.length());
    object->readBytes(bytes.data(), layoutOf(t), t.imageIndex);
    EXPECT_EQ(decoded(bytes, f), oracle::readBytes(t, image, std::vector<double>(t.length() / t.elementSize)));
    const std::vector<double> values = randomValues(r, t.length() / t.elementSize, {0, 1, false}, f);
    object->writeBytes(encoded(values, f).data(), layoutOf(t), t.imageIndex);
    EXPECT_EQ(tensorOf(*object).v, oracle::writeBytes(t, values, image).v);
  });
}

// From channel 0 on a caller may name whole slices of 4: lanes behind the last channel read 0 and stay 0.
TEST(ImageBytes, LanesBehindTheLastChannelStayZero) {
  const auto image = imageOf(Tensor(1, 1, 2, 3));
  const float pixels[] = {1, 2, 3, 99, 4, 5, 6, 99};
  const MTL::Region region{{0, 0, 0}, {2, 1, 1}};
  image->writeBytes(pixels, MPS::DataLayout::HeightxWidthxFeatureChannels, 32, region, {0, 4}, 0);
  float back[8] = {};
  image->readBytes(back, MPS::DataLayout::HeightxWidthxFeatureChannels, 32, region, {0, 4}, 0);
  EXPECT_EQ(std::vector<float>(back, back + 8), (std::vector<float>{1, 2, 3, 0, 4, 5, 6, 0}));
}

TEST(ImageBytes, NothingIsConverted) {
  const auto image = std::make_shared<MPS::Image>(
      cpuDevice(), MPS::ImageDescriptor::imageDescriptor(MPS::ImageFeatureChannelFormat::Float16, 1, 1, 2));
  const std::uint16_t bits[] = {0x7e01, 0x0001};  // a NaN with a payload, the smallest subnormal
  image->writeBytes(bits, MPS::DataLayout::HeightxWidthxFeatureChannels, 0);
  std::uint16_t back[2] = {};
  image->readBytes(back, MPS::DataLayout::FeatureChannelsxHeightxWidth, 0);
  EXPECT_EQ(back[0], 0x7e01);
  EXPECT_EQ(back[1], 0x0001);
}

TEST(ImageBytes, ANewImageReadsZero) {
  for (const Format f : {Format::Unorm8, Format::Unorm16, Format::Float16, Format::Float32}) {
    const auto image = std::make_shared<MPS::Image>(cpuDevice(), descriptorFor(Tensor(2, 3, 4, 5), f, 2));
    EXPECT_EQ(tensorOf(*image).v, Tensor(2, 3, 4, 5).v);
  }
}

TEST(ImageBytes, ErrorsTellWhatIsWrong) {
  const auto image = imageOf(Tensor(2, 3, 4, 10, 1.0));
  image->setLabel("photo");
  std::vector<float> bytes(1000, 5.f);
  using Region = MTL::Region;
  const auto read = [&](Region region, MPS::ImageReadWriteParams channels, std::size_t index = 0,
                        std::size_t bytesPerRow = 160) {
    image->readBytes(bytes.data(), MPS::DataLayout::HeightxWidthxFeatureChannels, bytesPerRow, region, channels, index);
  };
  const Region all{{0, 0, 0}, {4, 3, 1}};
  const std::size_t most = std::numeric_limits<std::size_t>::max();
  expectError([&] { image->readBytes(nullptr, MPS::DataLayout::HeightxWidthxFeatureChannels, 0); },
              {"Image \"photo\".readBytes: dataBytes is null"});
  expectError(
      [&] {
        read({{1, 0, 0}, {4, 3, 1}}, {0, 10});
      },
      {"region (1, 0) + 4 x 3 reaches beyond the image of 4 x 3"});
  expectError([&] { read({{1, 1, 0}, {most, most, 1}}, {0, 10}); }, {"reaches beyond the image of 4 x 3"});
  expectError([&] { read(MPS::RectNoClip, {0, 10}); }, {"reaches beyond the image"});
  expectError([&] { read(all, {0, 10}, 2); }, {"images 2 + 1 of 2", "region.size.depth counts images"});
  expectError([&] { read({{0, 0, 1}, {4, 3, most}}, {0, 10}); }, {"images 1 + ", " of 2"});
  expectError([&] { read({{0, 0, most}, {4, 3, 1}}, {0, 10}, 1); }, {" of 2", "region.size.depth counts images"});
  expectError([&] { read(all, {0, 0}); }, {"channels 0 + 0 of 10"});
  expectError([&] { read(all, {2, 4}); }, {"channels 2 + 4 of 10", "the offset must be a multiple of 4"});
  expectError([&] { read(all, {4, 3}); }, {"channels 4 + 3 of 10"});
  expectError([&] { read(all, {8, 4}); }, {"channels 8 + 4 of 10"});
  expectError([&] { read(all, {4, most - 3}); }, {"of 10"});
  expectError([&] { read(all, {0, 13}); }, {"channels 0 + 13 of 10"});
  expectError([&] { read(all, {0, 10}, 0, 159); }, {"bytesPerRow is 159, a row of 4 pixels needs 160"});
  expectError(
      [&] {
        image->writeBytes(bytes.data(), MPS::DataLayout::FeatureChannelsxHeightxWidth, 8, 27, 0, all, {0, 10}, 0);
      },
      {"Image \"photo\".writeBytes: bytesPerRow is 27"});
  EXPECT_EQ(bytes, std::vector<float>(1000, 5.f)) << "nothing was read";
  EXPECT_EQ(tensorOf(*image).v, Tensor(2, 3, 4, 10, 1.0).v) << "nothing was written";

  const auto buffer = cpuQueue()->commandBuffer();
  const auto temporary = MPS::TemporaryImage::temporaryImage(
      buffer, MPS::ImageDescriptor::imageDescriptor(MPS::ImageFeatureChannelFormat::Float32, 1, 1, 1));
  expectError([&] { temporary->readBytes(bytes.data(), MPS::DataLayout::HeightxWidthxFeatureChannels, 0); },
              {"TemporaryImage.readBytes", "the host cannot reach a temporary image"});
  expectError([&] { temporary->writeBytes(bytes.data(), MPS::DataLayout::HeightxWidthxFeatureChannels, 0); },
              {"TemporaryImage.writeBytes", "the host cannot reach a temporary image"});
}

}  // namespace
}  // namespace kovar::test
