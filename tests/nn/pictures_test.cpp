// Pictures to and from images, and the number of threads.
#include "kovar/Support/Pictures.hpp"

#include <cmath>
#include <cstdint>

#include "base/io/picture.hpp"
#include "clients/client_case.hpp"
#include "kovar/Support/Threads.hpp"
#include "unit/io/temporary_folder.hpp"

namespace kovar::test {
namespace {

using base::io::Picture;
using base::io::TemporaryFolder;

class Pictures : public ::testing::Test {
 protected:
  /// A PNG with every sample different from its neighbours.
  std::string png(int channels) {
    Picture picture{7, 5, channels, base::io::Bytes(static_cast<std::size_t>(35 * channels))};
    for (std::size_t i = 0; i < picture.pixels.size(); ++i) picture.pixels[i] = static_cast<std::uint8_t>(i * 37 + 11);
    std::string path = folder_.file(std::to_string(channels) + ".png");
    EXPECT_TRUE(base::io::writePng(path, picture).ok());
    return path;
  }
  static Picture decoded(const std::string& path) {
    auto picture = base::io::readPicture(path);
    EXPECT_TRUE(picture.ok()) << picture.failure().text;
    return *picture;
  }
  TemporaryFolder folder_;
};

TEST_F(Pictures, ComeBackAsTheyWentForEveryChannelCount) {
  for (int channels = 1; channels <= 4; ++channels) {
    const std::string path = png(channels);
    for (const Format format : {Format::Unorm8, Format::Unorm16, Format::Float16, Format::Float32}) {
      const auto read = readPicture(device(), path, 0, format);
      EXPECT_EQ(read->featureChannels(), static_cast<std::size_t>(channels));
      EXPECT_EQ(read->featureChannelFormat(), format);
      EXPECT_EQ(read->width(), 7u);
      EXPECT_EQ(read->height(), 5u);
      writePicture(read, folder_.file("back.png"));
      EXPECT_EQ(decoded(folder_.file("back.png")), decoded(path)) << channels << " channels";
    }
  }
}

TEST_F(Pictures, GiveValuesFromZeroToOne) {
  const auto values = valuesOf(readPicture(device(), png(3)));
  const Picture picture = decoded(png(3));
  ASSERT_EQ(values.size(), picture.pixels.size());
  for (std::size_t i = 0; i < values.size(); ++i)
    ASSERT_FLOAT_EQ(values[i], static_cast<float>(picture.pixels[i]) / 255.f);
}

TEST_F(Pictures, BecomeGrayColourOrTransparent) {
  // Half-transparent red over white paper.
  Picture red{1, 1, 4, {200, 40, 10, 128}};
  const std::string path = folder_.file("red.png");
  ASSERT_TRUE(base::io::writePng(path, red).ok());
  const auto at = [&](std::size_t channels) {
    auto values = valuesOf(readPicture(device(), path, channels));
    for (float& v : values) v = std::round(v * 255.f);
    return values;
  };
  // (v * 128 + 255 * 127) / 255
  EXPECT_THAT(at(3), ::testing::ElementsAre(227, 147, 132));
  const double gray = 0.299 * 227.4 + 0.587 * 147.1 + 0.114 * 132.0;
  ASSERT_EQ(at(1).size(), 1u);
  EXPECT_NEAR(at(1)[0], gray, 1.5);
  EXPECT_THAT(at(4), ::testing::ElementsAre(200, 40, 10, 128));
  ASSERT_EQ(at(2).size(), 2u);
  EXPECT_EQ(at(2)[1], 128);
  // Gray paper becomes equal colours.
  const auto colours = valuesOf(readPicture(device(), png(1), 3)), one = valuesOf(readPicture(device(), png(1)));
  for (std::size_t i = 0; i < one.size(); ++i)
    for (std::size_t c = 0; c < 3; ++c) ASSERT_EQ(colours[3 * i + c], one[i]);
  const auto opaque = valuesOf(readPicture(device(), png(3), 4));
  for (std::size_t i = 3; i < opaque.size(); i += 4) ASSERT_EQ(opaque[i], 1.f);
}

TEST_F(Pictures, LimitWhatIsBeyondBlackAndWhite) {
  const auto odd = image(5, 1, 1, {-3, 2, std::nanf(""), INFINITY, 0.5f});
  writePicture(odd, folder_.file("odd.png"));
  EXPECT_THAT(decoded(folder_.file("odd.png")).pixels, ::testing::ElementsAre(0, 255, 0, 255, 128));
}

TEST_F(Pictures, WriteOneImageOfSeveralAndViews) {
  const auto two = std::make_shared<MPS::Image>(device(), shape(1, 1, 8, Format::Float32, 2));
  const std::vector<float> second{0, 0, 0, 0, 1, 0, 1, 1};
  two->writeBytes(second.data(), kPixelOrder, 1);
  writePicture(two->subImage({4, 4}), folder_.file("part.png"), 1);
  EXPECT_THAT(decoded(folder_.file("part.png")).pixels, ::testing::ElementsAre(255, 0, 255, 255));
  EXPECT_THAT(messageOf([&] {
                writePicture(two->subImage({4, 4}), folder_.file("x.png"), 2);
              }),
              ::testing::HasSubstr("images 2 + 1 of 2"));
  EXPECT_FALSE(std::filesystem::exists(folder_.file("x.png")));
}

TEST_F(Pictures, RefuseWhatTheyCannotHold) {
  EXPECT_THAT(messageOf([&] { readPicture(nullptr, png(1)); }), ::testing::StartsWith("readPicture: device is null"));
  EXPECT_EQ(messageOf([&] { readPicture(device(), png(1), 1, Format::None); }),
            "readPicture: format must be Unorm8, Unorm16, Float16 or Float32");
  EXPECT_EQ(messageOf([&] { writePicture(nullptr, folder_.file("x.png")); }), "writePicture: image is null");
}

TEST(Threads, AreAsManyAsAskedForAndChangeNoBits) {
  const int usual = threadCount();
  EXPECT_GE(usual, 1);
  std::vector<float> values(40 * 40 * 8);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = std::sin(static_cast<float>(i));
  const auto descriptor = MPS::CNNConvolutionDescriptor::cnnConvolutionDescriptor(5, 5, 8, 16);
  const auto weights =
      std::make_shared<ConvolutionWeights>(descriptor, std::vector<float>(values.begin(), values.begin() + 3200));
  std::vector<float> first;
  for (const int threads : {1, 2, 3, 7}) {
    setThreadCount(threads);
    EXPECT_EQ(threadCount(), threads);
    const auto commands = queue()->commandBuffer();
    const auto result = image(40, 40, 16);
    std::make_shared<MPS::CNNConvolution>(device(), weights)->encode(commands, image(40, 40, 8, values), result);
    run(commands);
    if (first.empty()) first = valuesOf(result);
    EXPECT_EQ(valuesOf(result), first) << threads << " threads";
  }
  setThreadCount(0);
  EXPECT_EQ(threadCount(), usual);
}

}  // namespace
}  // namespace kovar::test
