#include "kovar/gallery/sheet.hpp"

#include <algorithm>

#include "kovar/gallery/font.hpp"

namespace kovar::tools {
namespace {

constexpr Colour kPaper{251, 250, 248}, kInk{29, 33, 39}, kSoft{102, 112, 128}, kRule{228, 226, 221};
constexpr int kColumns = 4, kMargin = 32, kGap = 24, kMinimumTileWidth = 320;  // narrower captions were cut
constexpr int kHeading = 4, kText = 2;                                         // scales of the font
constexpr int kLine = (kLetterHeight + 5) * kText;
constexpr int kTop = kMargin + kHeading * kLetterHeight + 16 + kLine + 16;  // of the first row
constexpr int kCaption = 12 + 2 * kLine;

void paste(base::io::Picture& on, int left, int top, const base::io::Picture& tile) {
  for (int y = 0; y < tile.height; ++y)
    for (int x = 0; x < tile.width; ++x) {
      const std::size_t from =
          (static_cast<std::size_t>(y) * static_cast<std::size_t>(tile.width) + static_cast<std::size_t>(x)) *
          static_cast<std::size_t>(tile.channels);
      const auto sample = [&](std::size_t c) { return tile.pixels[from + (tile.channels == 1 ? 0 : c)]; };
      fill(on, left + x, top + y, 1, 1, {sample(0), sample(1), sample(2)});
    }
}

}  // namespace

base::io::Picture sheetOf(const std::string& heading, const std::string& subheading, const std::vector<Tile>& tiles) {
  const int width = tiles.empty() ? 0 : tiles[0].picture.width, height = tiles.empty() ? 0 : tiles[0].picture.height;
  const int columns = std::min(kColumns, std::max(1, static_cast<int>(tiles.size())));
  const int rows = (static_cast<int>(tiles.size()) + columns - 1) / columns;
  const int pitch = std::max(width, kMinimumTileWidth) + kGap, rowHeight = height + kCaption + kGap;
  base::io::Picture sheet{2 * kMargin + columns * pitch - kGap, kTop + rows * rowHeight - kGap + kMargin, 3, {}};
  sheet.pixels.resize(static_cast<std::size_t>(sheet.width) * static_cast<std::size_t>(sheet.height) * 3);
  fill(sheet, 0, 0, sheet.width, sheet.height, kPaper);
  const int inside = sheet.width - 2 * kMargin;
  drawText(sheet, kMargin, kMargin, fittingText(heading, kHeading, inside), kHeading, kInk);
  drawText(sheet, kMargin, kMargin + kHeading * kLetterHeight + 16, fittingText(subheading, kText, inside), kText,
           kSoft);
  for (std::size_t i = 0; i < tiles.size(); ++i) {
    const int left = kMargin + static_cast<int>(i) % columns * pitch,
              top = kTop + static_cast<int>(i) / columns * rowHeight;
    fill(sheet, left - 1, top - 1, width + 2, height + 2, kRule);  // a frame
    paste(sheet, left, top, tiles[i].picture);
    const int room = pitch - kGap;
    drawText(sheet, left, top + height + 12, fittingText(tiles[i].title, kText, room), kText, kInk);
    drawText(sheet, left, top + height + 12 + kLine, fittingText(tiles[i].note, kText, room), kText, kSoft);
  }
  return sheet;
}

}  // namespace kovar::tools
