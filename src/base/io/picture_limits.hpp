#pragma once
// Shared by the decoders: one sentence each for a picture that is too large.

#include <string>
#include <string_view>

#include "base/io/picture.hpp"
#include "base/io/text.hpp"

namespace kovar::base::io {

/// Fails when a picture of this size must not be decoded.
inline Status checkPictureSize(std::uint64_t width, std::uint64_t height, std::uint64_t bytesPerPixel,
                               std::string_view name, const PictureLimits& limits) {
  const auto side = static_cast<std::uint64_t>(limits.side);
  if (width == 0 || height == 0) {
    return Failure{concat("cannot read ", inQuotes(name), ": the picture has no pixels (", width, " x ", height, ")")};
  }
  if (width > side || height > side) {
    return Failure{concat("cannot read ", inQuotes(name), ": the picture is ", width, " x ", height,
                          " pixels, wanted at most ", side, " a side")};
  }
  if (width * height * bytesPerPixel > limits.pixelBytes) {
    return Failure{concat("cannot read ", inQuotes(name), ": the picture needs ", width * height * bytesPerPixel,
                          " bytes, wanted at most ", limits.pixelBytes)};
  }
  return {};
}

}  // namespace kovar::base::io
