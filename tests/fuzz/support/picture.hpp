#pragma once

#include "base/io/picture.hpp"
#include "fuzz/support/check.hpp"

namespace kovar::fuzz {

/// Small enough that one input takes milliseconds.
inline constexpr base::io::PictureLimits kPictureLimits{1 << 20, 1024, 1 << 20};

/// An accepted picture agrees with itself, and survives PNG, gray and resize.
inline void checkPicture(const base::Result<base::io::Picture>& picture) {
  requireOneLine(picture);
  if (!picture.ok()) return;
  const base::io::Picture& given = *picture;
  require(given.width > 0 && given.width <= kPictureLimits.side, "the width is within the limit");
  require(given.height > 0 && given.height <= kPictureLimits.side, "the height is within the limit");
  require(given.channels >= 1 && given.channels <= 4, "one to four channels");
  require(given.pixels.size() == static_cast<std::size_t>(given.width) * static_cast<std::size_t>(given.height) *
                                     static_cast<std::size_t>(given.channels),
          "sides, channels and samples agree");
  require(given.pixels.size() <= kPictureLimits.pixelBytes, "the limit is kept");
  const base::io::Picture gray = base::io::toGray(given);
  require(gray.pixels.size() * static_cast<std::size_t>(given.channels) == given.pixels.size(), "gray keeps the sides");
  require(base::io::resize(gray, 7, 5).pixels.size() == 35, "resize gives the wanted sides");
  if (given.pixels.size() > 4096) return;
  const base::Result<base::io::Bytes> bytes = base::io::encodePng(given);
  require(bytes.ok(), "an accepted picture can be written");
  const base::Result<base::io::Picture> again = base::io::decodePng(*bytes, "again", kPictureLimits);
  require(again.ok() && *again == given, "a written picture is read back");
}

}  // namespace kovar::fuzz
