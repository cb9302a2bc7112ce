#include "base/io/picture.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include <cmath>
#include <cstdlib>
#include <random>

#include "io/temporary_folder.hpp"

namespace kovar::base::io {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;

// A PNG made by hand, so that the reader is not checked against the library it uses.
struct PngSpec {
  std::uint32_t width = 0;
  std::uint32_t height = 0;
  int bits = 8;
  int colourType = 0;  // 0 gray, 2 RGB, 3 palette, 4 gray and alpha, 6 RGBA
  Bytes palette = {};
  Bytes transparency = {};
  bool interlaced = false;
};

void put32(Bytes& out, std::uint64_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<std::uint8_t>(value >> shift));
}

void chunk(Bytes& out, const std::string& type, const Bytes& data) {
  put32(out, data.size());
  Bytes body(type.begin(), type.end());
  body.insert(body.end(), data.begin(), data.end());
  out.insert(out.end(), body.begin(), body.end());
  put32(out, crc32(0, body.data(), static_cast<uInt>(body.size())));
}

Bytes frame(const PngSpec& spec, const Bytes& lines) {
  Bytes out = {0x89, 'P', 'N', 'G', 13, 10, 26, 10};
  Bytes head;
  put32(head, spec.width);
  put32(head, spec.height);
  for (const int byte : {spec.bits, spec.colourType, 0, 0, spec.interlaced ? 1 : 0}) {
    head.push_back(static_cast<std::uint8_t>(byte));
  }
  chunk(out, "IHDR", head);
  if (!spec.palette.empty()) chunk(out, "PLTE", spec.palette);
  if (!spec.transparency.empty()) chunk(out, "tRNS", spec.transparency);
  Bytes packed(compressBound(lines.size()));
  uLongf size = packed.size();
  EXPECT_EQ(compress(packed.data(), &size, lines.data(), lines.size()), Z_OK);
  packed.resize(size);
  chunk(out, "IDAT", packed);
  chunk(out, "IEND", {});
  return out;
}

// Samples in reading order, each of spec.bits bits, become unfiltered lines; every seven passes for an interlaced one.
Bytes makePng(const PngSpec& spec, const std::vector<unsigned>& samples) {
  const unsigned perPixel = spec.colourType == 2 ? 3 : spec.colourType == 4 ? 2 : spec.colourType == 6 ? 4 : 1;
  struct Pass {
    unsigned x, y, dx, dy;
  };
  const std::vector<Pass> passes = spec.interlaced
                                       ? std::vector<Pass>{{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4},
                                                           {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}}
                                       : std::vector<Pass>{{0, 0, 1, 1}};
  Bytes lines;
  for (const Pass& pass : passes) {
    if (pass.x >= spec.width) continue;
    for (unsigned y = pass.y; y < spec.height; y += pass.dy) {
      lines.push_back(0);
      unsigned waiting = 0, held = 0;
      for (unsigned x = pass.x; x < spec.width; x += pass.dx) {
        for (unsigned c = 0; c < perPixel; ++c) {
          const unsigned sample = samples[(y * spec.width + x) * perPixel + c];
          if (spec.bits == 16) lines.push_back(static_cast<std::uint8_t>(sample >> 8));
          if (spec.bits >= 8) {
            lines.push_back(static_cast<std::uint8_t>(sample));
          } else {
            waiting = waiting << spec.bits | sample;
            held += static_cast<unsigned>(spec.bits);
            if (held == 8) lines.push_back(static_cast<std::uint8_t>(waiting)), held = waiting = 0;
          }
        }
      }
      if (held != 0) lines.push_back(static_cast<std::uint8_t>(waiting << (8 - held)));
    }
  }
  return frame(spec, lines);
}

std::string textOf(const Result<Picture>& picture) { return picture.ok() ? "decoded" : picture.failure().text; }

Bytes fileBytes(const std::string& name) {
  const Result<Bytes> bytes = readFile(KOVAR_SOURCE_DIR "/tests/data/pictures/" + name, 1 << 20);
  EXPECT_TRUE(bytes.ok());
  return bytes.ok() ? *bytes : Bytes{};
}

Picture randomPicture(std::mt19937& random, int channels) {
  Picture picture{static_cast<int>(1 + random() % 40), static_cast<int>(1 + random() % 40), channels, {}};
  picture.pixels.resize(picture.index(0, picture.height));
  for (auto& sample : picture.pixels) sample = static_cast<std::uint8_t>(random());
  return picture;
}

TEST(Png, DecodesEveryForm) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  struct Form {
    int colourType, bits, channels;
  };
  for (const Form& form : {Form{0, 1, 1}, Form{0, 2, 1}, Form{0, 4, 1}, Form{0, 8, 1}, Form{0, 16, 1}, Form{2, 8, 3},
                           Form{2, 16, 3}, Form{4, 8, 2}, Form{4, 16, 2}, Form{6, 8, 4}, Form{6, 16, 4}}) {
    for (const bool interlaced : {false, true}) {
      const PngSpec spec{static_cast<std::uint32_t>(1 + random() % 20),
                         static_cast<std::uint32_t>(1 + random() % 20),
                         form.bits,
                         form.colourType,
                         {},
                         {},
                         interlaced};
      std::vector<unsigned> samples(spec.width * spec.height * static_cast<unsigned>(form.channels));
      const unsigned most = (1u << form.bits) - 1;
      for (unsigned& sample : samples) sample = static_cast<unsigned>(random()) & most;
      const Result<Picture> picture = decodePng(makePng(spec, samples), "picture");
      ASSERT_TRUE(picture.ok()) << picture.failure().text;
      EXPECT_EQ(picture->width, static_cast<int>(spec.width));
      EXPECT_EQ(picture->height, static_cast<int>(spec.height));
      ASSERT_EQ(picture->channels, form.channels);
      for (std::size_t i = 0; i < samples.size(); ++i) {
        ASSERT_EQ(picture->pixels[i], std::lround(255.0 * samples[i] / most))
            << "colour type " << form.colourType << ", " << form.bits << " bits, interlaced " << interlaced;
      }
    }
  }
}

TEST(Png, ResolvesPalettesAndTransparency) {
  const Bytes colours = {1, 2, 3, 40, 50, 60, 250, 251, 252};
  const Result<Picture> plain = decodePng(makePng({3, 1, 2, 3, colours}, {2, 0, 1}), "picture");
  ASSERT_TRUE(plain.ok()) << plain.failure().text;
  EXPECT_EQ(plain->channels, 3);
  EXPECT_THAT(plain->pixels, ElementsAre(250, 251, 252, 1, 2, 3, 40, 50, 60));
  const Result<Picture> clear = decodePng(makePng({2, 1, 8, 3, colours, {0, 128}}, {1, 2}), "picture");
  ASSERT_TRUE(clear.ok()) << clear.failure().text;
  EXPECT_EQ(clear->channels, 4);
  EXPECT_THAT(clear->pixels, ElementsAre(40, 50, 60, 128, 250, 251, 252, 255));
  const Result<Picture> gray = decodePng(makePng({2, 1, 8, 0, {}, {0, 7}}, {7, 8}), "picture");
  ASSERT_TRUE(gray.ok()) << gray.failure().text;
  EXPECT_EQ(gray->channels, 2);
  EXPECT_THAT(gray->pixels, ElementsAre(7, 0, 8, 255));
  EXPECT_THAT(textOf(decodePng(makePng({1, 1, 8, 3, {}}, {0}), "picture")), HasSubstr("as PNG: IDAT: Missing PLTE"));
}

TEST(Png, WhatIsWrittenIsReadBack) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  const TemporaryFolder folder;
  for (int channels = 1; channels <= 4; ++channels) {
    const Picture picture = randomPicture(random, channels);
    ASSERT_TRUE(writePng(folder.file("a.png"), picture).ok());
    const Result<Picture> again = readPicture(folder.file("a.png"));
    ASSERT_TRUE(again.ok()) << again.failure().text;
    EXPECT_EQ(*again, picture);
  }
}

TEST(Png, RefusesToWriteNonsense) {
  const auto text = [](const Picture& picture) {
    const Result<Bytes> bytes = encodePng(picture);
    return bytes.ok() ? "encoded" : bytes.failure().text;
  };
  EXPECT_EQ(text({2, 2, 1, Bytes(4)}), "encoded");
  EXPECT_EQ(text({2, 2, 1, Bytes(5)}), "cannot write a picture of 2 x 2 pixels, 1 channels and 5 samples as PNG");
  EXPECT_THAT(text({0, 2, 1, {}}), HasSubstr("0 x 2 pixels"));
  EXPECT_THAT(text({-2, -2, 1, Bytes(4)}), HasSubstr("-2 x -2 pixels"));
  EXPECT_THAT(text({1, 1, 5, Bytes(5)}), HasSubstr("5 channels"));
  EXPECT_THAT(text({1, 1, 0, {}}), HasSubstr("0 channels"));
}

TEST(Png, RefusesDamagedFiles) {
  const Bytes whole = fileBytes("cat.png");
  EXPECT_EQ(textOf(decodePng(whole, "cat.png")), "decoded");
  for (std::size_t size = 0; size + 12 < whole.size(); size += 97) {  // without IEND all pixels are there
    const std::string text = textOf(decodePng(std::span(whole).first(size), "cat.png"));
    EXPECT_THAT(text, HasSubstr("cannot read 'cat.png' as PNG: ")) << size << " bytes";
  }
  EXPECT_THAT(textOf(decodePng(std::span(whole).first(200), "cat.png")),
              EndsWith("the file ends too early; is it cut short?"));
  Bytes damaged = whole;
  damaged[damaged.size() / 2] ^= 0x40;
  EXPECT_THAT(textOf(decodePng(damaged, "cat.png")), HasSubstr("as PNG: "));
  damaged = whole;
  damaged[17] ^= 1;  // the width, so that the checksum of its chunk is wrong
  EXPECT_THAT(textOf(decodePng(damaged, "cat.png")), HasSubstr("CRC error"));
}

TEST(Png, RefusesBombsBeforeTakingMemory) {
  const Bytes line(1, 0);
  EXPECT_EQ(textOf(decodePng(frame({0x7fffffff, 1, 16, 6}, line), "big")),
            "cannot read 'big': the picture is 2147483647 x 1 pixels, wanted at most 16384 a side");
  EXPECT_EQ(textOf(decodePng(frame({16384, 16384, 8, 2}, line), "big")),
            "cannot read 'big': the picture needs 805306368 bytes, wanted at most 268435456");
  EXPECT_THAT(textOf(decodePng(frame({0, 1, 8, 0}, line), "none")), HasSubstr("as PNG: Invalid IHDR data"));
}

// A text chunk whose length says 1.9 GB (found by the fuzzer), and one that unpacks to far more than it has.
TEST(Png, SkipsTextChunks) {
  Bytes claimed = makePng({1, 1, 8, 0}, {9});
  Bytes head;
  put32(head, 0x7700000f);
  head.insert(head.end(), {'z', 'T', 'X', 't', 'k', 0, 0});
  claimed.insert(claimed.begin() + 33, head.begin(), head.end());  // after IHDR
  rusage before = {};
  ASSERT_EQ(::getrusage(RUSAGE_SELF, &before), 0);
  const pid_t child = ::fork();
  if (child == 0)
    ::_exit(textOf(decodePng(claimed, "text")).ends_with("the file ends too early; is it cut short?") ? 0 : 1);
  int status = -1;
  rusage used = {};
  ASSERT_EQ(::wait4(child, &status, 0, &used), child);
  EXPECT_EQ(status, 0);
  EXPECT_LT(used.ru_maxrss, before.ru_maxrss + (1 << 20)) << "kilobytes: it believed the length";

  Bytes packed(100'000);
  uLongf size = packed.size();
  const Bytes zeros(20'000'000);
  ASSERT_EQ(compress(packed.data(), &size, zeros.data(), zeros.size()), Z_OK);
  Bytes text = {'k', 0, 0};
  text.insert(text.end(), packed.begin(), packed.begin() + static_cast<std::ptrdiff_t>(size));
  Bytes extra;
  for (int i = 0; i < 300; ++i) chunk(extra, "zTXt", text);
  Bytes bytes = makePng({1, 1, 8, 0}, {9});
  bytes.insert(bytes.begin() + 33, extra.begin(), extra.end());
  EXPECT_EQ(textOf(decodePng(bytes, "text")), "decoded");
}

TEST(Jpeg, DecodesGrayPlainAndProgressive) {
  const Result<Picture> original = decodePng(fileBytes("cat.png"), "cat.png");
  ASSERT_TRUE(original.ok());
  const auto meanDifference = [](const Picture& a, const Picture& b) {
    double sum = 0;
    for (std::size_t i = 0; i < a.pixels.size(); ++i) sum += std::abs(a.pixels[i] - b.pixels[i]);
    return sum / static_cast<double>(a.pixels.size());
  };
  for (const char* name : {"cat.jpg", "cat_progressive.jpg", "cat_gray.jpg"}) {
    const Result<Picture> picture = decodeJpeg(fileBytes(name), name);
    ASSERT_TRUE(picture.ok()) << picture.failure().text;
    const Picture wanted = picture->channels == 1 ? toGray(*original) : *original;
    ASSERT_EQ(picture->width, wanted.width);
    ASSERT_EQ(picture->height, wanted.height);
    ASSERT_EQ(picture->channels, wanted.channels);
    EXPECT_LT(meanDifference(*picture, wanted), 4.0) << name;  // what quality 92 and halved colours lose
  }
}

TEST(Jpeg, RefusesDamagedAndUnusualFiles) {
  EXPECT_EQ(textOf(decodeJpeg(fileBytes("cat_cmyk.jpg"), "cmyk")),
            "cannot read 'cmyk' as JPEG: it has 4 colour components, wanted gray or RGB; convert it first");
  EXPECT_EQ(textOf(decodeJpeg({}, "none")), "cannot read 'none' as JPEG: it is empty");
  for (const char* name : {"cat.jpg", "cat_progressive.jpg"}) {
    const Bytes whole = fileBytes(name);
    for (std::size_t size = 1; size < whole.size(); size += 61) {
      const std::string text = textOf(decodeJpeg(std::span(whole).first(size), name));
      EXPECT_THAT(text, HasSubstr("' as JPEG: ")) << size << " bytes of " << name;
    }
  }
  PictureLimits small;
  small.side = 63;
  EXPECT_EQ(textOf(decodeJpeg(fileBytes("cat.jpg"), "cat", small)),
            "cannot read 'cat': the picture is 64 x 48 pixels, wanted at most 63 a side");
  small = {};
  small.pixelBytes = 64 * 48 * 3 - 1;
  EXPECT_EQ(textOf(decodeJpeg(fileBytes("cat.jpg"), "cat", small)),
            "cannot read 'cat': the picture needs 9216 bytes, wanted at most 9215");
}

TEST(Picture, FormIsKnownByContent) {
  const TemporaryFolder folder;
  ASSERT_TRUE(writeFile(folder.file("really_jpeg.png"), fileBytes("cat.jpg")).ok());
  EXPECT_EQ(textOf(readPicture(folder.file("really_jpeg.png"))), "decoded");
  EXPECT_EQ(textOf(decodePicture(fileBytes("README.md"), "README.md")),
            "cannot read 'README.md' as a picture: it is neither PNG nor JPEG");
  EXPECT_EQ(textOf(decodePicture({}, "x")), "cannot read 'x' as a picture: it is empty");
  EXPECT_THAT(textOf(readPicture(folder.path())), EndsWith("is a folder, wanted a file"));
}

TEST(Picture, GrayWeighsColoursAndLaysAlphaOverTheBackground) {
  EXPECT_THAT(toGray({3, 1, 3, {255, 0, 0, 0, 255, 0, 0, 0, 255}}).pixels, ElementsAre(76, 150, 29));
  EXPECT_THAT(toGray({3, 1, 1, {1, 2, 255}}).pixels, ElementsAre(1, 2, 255));
  EXPECT_THAT(toGray({3, 1, 2, {10, 255, 10, 0, 10, 51}}).pixels, ElementsAre(10, 255, 206));
  EXPECT_THAT(toGray({1, 1, 4, {200, 200, 200, 0}}, 0).pixels, ElementsAre(0));
}

TEST(Picture, ResizeAveragesAndInterpolates) {
  EXPECT_THAT(resize({4, 2, 1, {0, 10, 20, 30, 40, 50, 60, 70}}, 2, 1).pixels, ElementsAre(25, 45));
  EXPECT_THAT(resize({3, 1, 1, {0, 30, 60}}, 2, 1).pixels, ElementsAre(10, 50));  // 1.5 pixels each
  EXPECT_THAT(resize({2, 1, 1, {0, 100}}, 4, 1).pixels, ElementsAre(0, 25, 75, 100));
  EXPECT_THAT(resize({1, 1, 3, {1, 2, 3}}, 2, 2).pixels, ElementsAre(1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3));
  std::mt19937 random(7);
  const Picture picture = randomPicture(random, 3);
  EXPECT_EQ(resize(picture, picture.width, picture.height), picture);
}

}  // namespace
}  // namespace kovar::base::io
