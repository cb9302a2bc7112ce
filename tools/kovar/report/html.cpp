#include "kovar/report/html.hpp"

#include <fmt/format.h>

#include <cmath>
#include <optional>

namespace kovar::tools {
namespace {

constexpr std::string_view kReplacement = "\xef\xbf\xbd";
constexpr std::string_view kNoBreak = "\xc2\xa0";
constexpr std::string_view kThin = "\xe2\x80\xaf";
constexpr std::string_view kDash = "\xe2\x80\x93";

// Bytes of the well-formed character at the start of `text`, nothing if there is none.
std::optional<std::size_t> characterLength(std::string_view text) {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4) return std::nullopt;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return std::nullopt;
  }
  const bool tooLong = (first == 0xe0 && byte(1) < 0xa0) || (first == 0xf0 && byte(1) < 0x90);
  const bool surrogate = first == 0xed && byte(1) >= 0xa0;
  const bool beyond = first == 0xf4 && byte(1) >= 0x90;
  if (tooLong || surrogate || beyond) return std::nullopt;
  return length;
}

}  // namespace

std::string escaped(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::size_t length = characterLength(text).value_or(0);
    const char c = text[0];
    const bool control = (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t') || c == 0x7f;
    if (length == 0 || control) {
      out += kReplacement;
    } else if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else if (c == '>') {
      out += "&gt;";
    } else if (c == '"') {
      out += "&quot;";
    } else if (c == '\'') {
      out += "&#39;";
    } else {
      out += text.substr(0, length);
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return out;
}

std::string grouped(std::int64_t value) {
  std::string digits = fmt::format("{}", value);
  const std::size_t first = value < 0 ? 1 : 0;
  for (std::size_t at = digits.size(); at > first + 3;) {
    at -= 3;
    digits.insert(at, kThin);
  }
  return digits;
}

std::string fixed(double value, int digits) {
  return std::isfinite(value) ? fmt::format("{:.{}f}", value, digits) : std::string(kDash);
}

std::string percent(double fraction, int digits) {
  return std::isfinite(fraction) ? fmt::format("{:.{}f}{}%", 100 * fraction, digits, kNoBreak) : std::string(kDash);
}

std::string byteSize(std::uint64_t bytes) {
  constexpr const char* kUnits[] = {"B", "KB", "MB", "GB", "TB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1023.95 && unit + 1 < std::size(kUnits)) {
    value /= 1024;
    ++unit;
  }
  return fmt::format("{:.{}f}{}{}", value, unit == 0 ? 0 : 1, kNoBreak, kUnits[unit]);
}

std::string duration(double seconds) {
  if (!std::isfinite(seconds)) return std::string(kDash);
  if (seconds < 0.9995) return fmt::format("{:.1f}{}ms", 1000 * seconds, kNoBreak);
  if (seconds < 59.95) return fmt::format("{:.1f}{}s", seconds, kNoBreak);
  const long long whole = std::llround(seconds);
  if (whole < 3600) return fmt::format("{}{}min {}{}s", whole / 60, kNoBreak, whole % 60, kNoBreak);
  return fmt::format("{}{}h {}{}min", whole / 3600, kNoBreak, whole % 3600 / 60, kNoBreak);
}

std::string base64(const base::io::Bytes& bytes) {
  constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    for (std::size_t k = 0; k < 3; ++k) group = group << 8 | (i + k < bytes.size() ? bytes[i + k] : 0u);
    for (std::size_t k = 0; k < 4; ++k) out += i + k <= bytes.size() ? kAlphabet[group >> (18 - 6 * k) & 63] : '=';
  }
  return out;
}

std::string pictureElement(const base::io::Picture& picture, int width, std::string_view description) {
  const base::Result<base::io::Bytes> png = base::io::encodePng(picture);
  if (!png.ok()) return fmt::format(R"(<span class="empty" style="width:{0}px;height:{0}px"></span>)", width);
  const int height = static_cast<int>(std::lround(static_cast<double>(width) * picture.height / picture.width));
  return fmt::format(R"(<img class="pixels" width="{}" height="{}" alt="{}" src="data:image/png;base64,{}">)", width,
                     height, escaped(description), base64(*png));
}

}  // namespace kovar::tools
