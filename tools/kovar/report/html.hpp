#pragma once
// Pieces of HTML: escaping, numbers for people, pictures inside the page.

#include <cstdint>
#include <string>
#include <string_view>

#include "base/io/picture.hpp"

namespace kovar::tools {

/// Text for element content and quoted attributes: & < > " ' are escaped, characters HTML does not allow and bytes that
/// are no UTF-8 become the replacement character.
std::string escaped(std::string_view text);

/// With thin spaces between groups of three: 1 663 370.
std::string grouped(std::int64_t value);
/// `digits` after the point, a dash when it is not finite.
std::string fixed(double value, int digits);
/// 0.9871 as 98.71 %.
std::string percent(double fraction, int digits);
/// 1536 as 1.5 KB; powers of 1024.
std::string byteSize(std::uint64_t bytes);
/// 95 as 1 min 35 s, 0.0123 as 12.3 ms.
std::string duration(double seconds);

std::string base64(const base::io::Bytes& bytes);

/// An img element that holds the picture as PNG, drawn `width` CSS pixels wide with visible pixels. A picture that is
/// not consistent gives an empty frame of the same width.
std::string pictureElement(const base::io::Picture& picture, int width, std::string_view description);

}  // namespace kovar::tools
