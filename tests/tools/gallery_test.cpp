// kovar gallery: the sheet, and what it refuses.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "base/io/picture.hpp"
#include "kovar/gallery/font.hpp"
#include "kovar/gallery/tiles.hpp"
#include "tools/program.hpp"

namespace kovar::tools {
namespace {

using base::io::Bytes;
using base::io::Picture;

const std::string kCat = std::string(KOVAR_SOURCE_DIR) + "/data/pictures/cat.png";

TEST(Gallery, WritesASheetOfCaptionedTiles) {
  TemporaryFolder folder;
  const Outcome outcome = run({"gallery", kCat, "--output", folder.file("sheet.png"), "--device", "cpu"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.out, folder.file("sheet.png") + ": 19 kernels, 1416 x 1624 pixels\n");
  EXPECT_EQ(folder.names(), std::vector<std::string>{"sheet.png"});
  const auto sheet = base::io::readPicture(folder.file("sheet.png"));
  ASSERT_TRUE(sheet.ok()) << sheet.failure().text;
  // 4 columns of 320 pixels with gaps of 24 and margins of 32; the cat's 3:2 at 320 pixels, in whole eights: 216.
  EXPECT_EQ(sheet->width, 4 * 320 + 3 * 24 + 2 * 32);
  EXPECT_EQ(sheet->channels, 3);
  ASSERT_EQ(sheet->height, 1624);

  // Every tile shows something of its own: no two alike, none of one colour.
  std::set<std::string> seen;
  for (int row = 0; row < 5; ++row)
    for (int column = 0; column < 4; ++column) {
      std::string tile;
      for (int y = 0; y < 216; ++y) {
        const std::ptrdiff_t at = ((116 + row * (216 + 60 + 24) + y) * std::ptrdiff_t{1416} + 32 + column * 344) * 3;
        tile.insert(tile.end(), sheet->pixels.begin() + at, sheet->pixels.begin() + at + 320 * 3);
      }
      EXPECT_GT(std::set<char>(tile.begin(), tile.end()).size(), 1u) << row << ", " << column;
      EXPECT_TRUE(seen.insert(tile).second) << row << ", " << column << " is the same as another tile";
    }
}

TEST(Gallery, ShowsWhatTheKernelsCompute) {
  // Columns of black, white, and gray: the answers are known.
  Picture stripes{64, 64, 3, Bytes(64 * 64 * 3)};
  for (std::size_t i = 0; i < stripes.pixels.size(); ++i) stripes.pixels[i] = i / 3 % 64 < 32 ? 0 : 255;
  const auto tiles = tilesOf(MTL::deviceNamed("cpu"), stripes);
  const auto at = [&](const std::string& note, int x, int y) {
    for (const Tile& t : tiles)
      if (t.note == note) return static_cast<int>(t.picture.pixels[t.picture.index(x, y)]);
    ADD_FAILURE() << "no tile '" << note << "'";
    return -1;
  };
  EXPECT_EQ(at("as the kernels get it", 31, 20), 0);
  for (const int x : {10, 31, 32, 50}) {
    EXPECT_EQ(at("Sobel in 2 directions, the larger", x, 20), x == 31 || x == 32 ? 255 : 0) << x;
    EXPECT_EQ(at("7 x 7, at every pixel", x, 20), x < 29 ? 0 : 255) << x;
    EXPECT_EQ(at("8 x 8 of 1, from the same", x, 20), x < 32 ? 0 : 255) << x;
    EXPECT_EQ(at("read along waves", x, 0), x < 32 ? 0 : 255) << x;  // no shift of x in row 0
  }
  EXPECT_EQ(at("dilated: taps 3 pixels apart", 10, 20), 128);                // no slope: the middle
  EXPECT_EQ(at("dilated: taps 3 pixels apart", 30, 20), 0);                  // dark before light
  EXPECT_NEAR(at("each colour: mean 0.5, spread 0.2", 10, 20), 76.5, 0.6);   // 0.5 - 0.2
  EXPECT_NEAR(at("each colour: mean 0.5, spread 0.2", 50, 20), 178.5, 0.6);  // 0.5 + 0.2
  EXPECT_EQ(at("a dot for every eighth pixel", 32, 32), 0);                  // the corner of a dot
  EXPECT_EQ(at("a dot for every eighth pixel", 36, 36), 255);                // its middle
  EXPECT_EQ(at("half as large, between mirrors", 18, 30), 0);  // 16 mirrored pixels, then 32 of the picture
  EXPECT_EQ(at("half as large, between mirrors", 40, 30), 255);
  EXPECT_EQ(at("half as large, between mirrors", 60, 30), 255);
  EXPECT_EQ(at("half as large, between mirrors", 2, 30), 0);
}

TEST(Gallery, TakesPicturesOfAnySizeAndKind) {
  TemporaryFolder folder;
  const Picture pictures[] = {
      {1, 1, 1, {7}}, {2000, 3, 3, Bytes(18000, 90)}, {9, 400, 4, Bytes(14400, 128)}, {64, 64, 2, Bytes(8192, 200)}};
  for (const Picture& p : pictures) {
    SCOPED_TRACE(p.width);
    ASSERT_TRUE(base::io::writePng(folder.file("in.png"), p).ok());
    const Outcome outcome =
        run({"gallery", folder.file("in.png"), "--output", folder.file("out.png"), "--threads", "1"});
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_TRUE(base::io::readPicture(folder.file("out.png")).ok());
    const Picture prepared = preparedForTiles(p);
    EXPECT_EQ(std::max(prepared.width, prepared.height), 320);
    EXPECT_GE(std::min(prepared.width, prepared.height), 64);
    EXPECT_EQ(prepared.width % 8 + prepared.height % 8, 0);
  }
  // Half transparent black on white is gray.
  EXPECT_EQ(preparedForTiles({1, 1, 4, {0, 0, 0, 128}}).pixels[0], 127);
  EXPECT_EQ(preparedForTiles({1, 1, 2, {0, 128}}).pixels[2], 127);
}

TEST(Gallery, RefusesWhatItCannotReadOrWrite) {
  TemporaryFolder folder;
  const std::string out = folder.file("sheet.png"), text = std::string(KOVAR_SOURCE_DIR) + "/data/pictures/README.md";
  expectRefused(run({"gallery"}), 2, {"kovar gallery: ", "picture is required"});
  expectRefused(run({"gallery", kCat}), 2, {"kovar gallery: --output is required"});
  expectRefused(run({"gallery", kCat, "--output", ""}), 2, {"--output: the name is empty; give the PNG file to write"});
  expectRefused(run({"gallery", kCat, "--output", out, "--threads", "0"}), 2, {"--threads: Value 0 not in range"});
  expectRefused(run({"gallery", text, "--output", out}), 1, {"README.md' as a picture: it is neither PNG nor JPEG"});
  expectRefused(run({"gallery", "nowhere.png", "--output", out}), 1, {"cannot read 'nowhere.png'"});
  expectRefused(run({"gallery", kCat, "--output", folder.file("no/where.png")}), 1, {"cannot write", "no/where.png"});
  expectRefused(run({"gallery", kCat, "--output", folder.file("")}), 1, {"cannot write"});
  // A file may have 10 000 bytes only, as on a full disk: nothing is left behind.
  expectRefused(run({"gallery", kCat, "--output", out}, {{}, 10000, {}}), 1, {"cannot write '" + out + "'"});
  EXPECT_EQ(folder.names(), std::vector<std::string>{});
}

TEST(GalleryFont, DrawsProportionalLettersAndCutsWhatIsTooLong) {
  EXPECT_EQ(widthOfText("", 1), 0);
  EXPECT_EQ(widthOfText("i", 1), 1);
  EXPECT_EQ(widthOfText("im", 2), (1 + 1 + 5) * 2);
  EXPECT_EQ(widthOfText("\xc3\xa9", 1), 5) << "one box for one character";
  EXPECT_EQ(fittingText("wide", 1, 100), "wide");
  const std::string cut = fittingText("a long sentence", 1, 40);
  EXPECT_THAT(cut, ::testing::EndsWith("..."));
  EXPECT_LE(widthOfText(cut, 1), 40);

  Picture paper{6, 9, 3, Bytes(6 * 9 * 3, 255)};
  drawText(paper, 1, 1, "T", 1, {0, 0, 0});
  drawText(paper, -3, -3, "@", 1, {255, 255, 255});  // mostly outside
  std::string seen;
  for (int y = 1; y < 8; ++y) {
    for (int x = 1; x < 6; ++x) seen += paper.pixels[paper.index(x, y)] == 0 ? '#' : '.';
    seen += '/';
  }
  EXPECT_EQ(seen, "#####/..#../..#../..#../..#../..#../..#../");
}

}  // namespace
}  // namespace kovar::tools
