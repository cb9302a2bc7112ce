#pragma once
// A small bitmap font for captions: proportional, seven pixels high, the printable characters of ASCII.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/io/picture.hpp"

namespace kovar::tools {

using Colour = std::array<std::uint8_t, 3>;

/// Pixels above the line that letters stand on, at scale 1; letters such as g reach two pixels below it.
inline constexpr int kLetterHeight = 7;

/// Pixels that the text takes in width, without a gap behind it. `scale`: pixels a side of one dot.
int widthOfText(std::string_view text, int scale);
/// The text itself, or its start and three dots where it would be wider than `width`.
std::string fittingText(std::string_view text, int scale, int width);
/// Draws on a picture of 3 channels; what lies outside of it is left out. Characters without a glyph are boxes.
void drawText(base::io::Picture& on, int left, int top, std::string_view text, int scale, Colour colour);
/// Fills a rectangle of a picture of 3 channels, as far as it lies inside.
void fill(base::io::Picture& on, int left, int top, int width, int height, Colour colour);

}  // namespace kovar::tools
