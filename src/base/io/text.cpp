#include "base/io/text.hpp"

namespace kovar::base::io {

std::string inQuotes(std::string_view text) {
  constexpr std::size_t kLongest = 240;
  std::string out = "'";
  if (text.size() <= kLongest) {
    out += text;
  } else {
    out += text.substr(0, kLongest / 2);
    out += "...";
    out += text.substr(text.size() - kLongest / 2);
  }
  for (char& c : out) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  out += '\'';
  return out;
}

}  // namespace kovar::base::io
