#pragma once
// Pictures: 8-bit samples in memory, to and from PNG, from JPEG.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/io/file.hpp"
#include "base/result.hpp"

namespace kovar::base::io {

/// Rows from the top, samples of a pixel side by side: pixels[(y * width + x) * channels + c].
struct Picture {
  int width = 0;
  int height = 0;
  int channels = 0;  ///< 1 gray, 2 gray and alpha, 3 red green blue, 4 with alpha (not premultiplied)
  Bytes pixels;

  /// Where a sample lies in `pixels`.
  std::size_t index(int x, int y, int channel = 0) const {
    const auto w = static_cast<std::size_t>(width), c = static_cast<std::size_t>(channels);
    return (static_cast<std::size_t>(y) * w + static_cast<std::size_t>(x)) * c + static_cast<std::size_t>(channel);
  }

  friend bool operator==(const Picture&, const Picture&) = default;
};

/// What a decoder may cost. A picture beyond it is refused before memory is taken for its pixels.
struct PictureLimits {
  std::uint64_t fileBytes = std::uint64_t{256} << 20;
  int side = 16384;  ///< of width and of height
  std::uint64_t pixelBytes = std::uint64_t{256} << 20;
};

/// Decode bytes of the named form. `name` is what messages call them. PNG: palettes become colours, 1, 2 and 4 bits
/// become 8, 16 bits are rounded to 8, a transparent colour becomes an alpha channel, colour profiles are not applied.
/// JPEG: gray or RGB (CMYK is refused); a file cut short is refused.
Result<Picture> decodePng(std::span<const std::uint8_t> bytes, std::string_view name, const PictureLimits& = {});
Result<Picture> decodeJpeg(std::span<const std::uint8_t> bytes, std::string_view name, const PictureLimits& = {});
/// PNG or JPEG, by their first bytes.
Result<Picture> decodePicture(std::span<const std::uint8_t> bytes, std::string_view name, const PictureLimits& = {});
/// The same from a file, whatever its name ends in.
Result<Picture> readPicture(const std::string& path, const PictureLimits& = {});

/// The picture as a PNG file. Fails when sides, channels (1 to 4) and number of samples do not agree.
Result<Bytes> encodePng(const Picture& picture);
/// The same into a file, whole or not at all.
Status writePng(const std::string& path, const Picture& picture);

/// One channel: 0.299 R + 0.587 G + 0.114 B, rounded; alpha is laid over `background` first.
Picture toGray(const Picture& picture, std::uint8_t background = 255);

/// To another size. Smaller: the mean of the area each new pixel covers, in both directions on its own. Larger: linear
/// between the centres of pixels. Alpha is treated like a colour. Both sides must be positive.
Picture resize(const Picture& picture, int width, int height);

}  // namespace kovar::base::io
