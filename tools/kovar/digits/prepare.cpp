#include "kovar/digits/prepare.hpp"

#include <algorithm>
#include <cmath>

#include "kovar/digits/network.hpp"

namespace kovar::tools {
namespace {

using base::io::Picture;

constexpr int kInk = 20;  ///< the longer side of the ink, as in MNIST

/// A digit without ink.
Picture empty() { return {kDigitSide, kDigitSide, 1, base::io::Bytes(std::size_t{kDigitSide} * kDigitSide)}; }

/// The mean of the outermost pixels; there must be some.
int border(const Picture& p) {
  std::int64_t sum = 0, count = 0;
  for (int y = 0; y < p.height; ++y)
    for (int x = 0; x < p.width; x += y == 0 || y == p.height - 1 ? 1 : std::max(1, p.width - 1)) {
      sum += p.pixels[p.index(x, y)];
      ++count;
    }
  return static_cast<int>(sum / count);
}

/// Stretches so that the background becomes 0 and the strongest ink 255. Paper is never even: what is near the
/// background counts as background.
void stretch(Picture& p, int background) {
  const int top = *std::ranges::max_element(p.pixels);
  const int floor = background + (top - background) / 5;
  for (auto& v : p.pixels)
    v = top <= floor ? std::uint8_t{0}
                     : static_cast<std::uint8_t>(std::clamp((v - floor) * 255 / (top - floor), 0, 255));
}

struct Box {
  int left, top, right, bottom;  ///< the last two one beyond
};

Box inkOf(const Picture& p) {
  Box box{p.width, p.height, 0, 0};
  for (int y = 0; y < p.height; ++y)
    for (int x = 0; x < p.width; ++x) {
      // Half of the full ink: speckles of a scan do not widen the box.
      if (p.pixels[p.index(x, y)] < 64) continue;
      box = {std::min(box.left, x), std::min(box.top, y), std::max(box.right, x + 1), std::max(box.bottom, y + 1)};
    }
  return box;
}

Picture cut(const Picture& p, const Box& box) {
  Picture part{box.right - box.left, box.bottom - box.top, 1, {}};
  for (int y = box.top; y < box.bottom; ++y) {
    const auto row = p.pixels.begin() + y * p.width;
    part.pixels.insert(part.pixels.end(), row + box.left, row + box.right);
  }
  return part;
}

/// Onto an empty square, the centre of mass in its middle as far as the ink stays inside.
Picture centred(const Picture& ink) {
  double sum = 0, sumX = 0, sumY = 0;
  for (int y = 0; y < ink.height; ++y)
    for (int x = 0; x < ink.width; ++x) {
      const double v = ink.pixels[ink.index(x, y)];
      sum += v;
      sumX += v * (x + 0.5);
      sumY += v * (y + 0.5);
    }
  const auto place = [&](double weighted, int size) {
    // Ink so thin that scaling swallowed it has no centre of mass.
    const double centre = sum > 0 ? weighted / sum : size / 2.0;
    return std::clamp(static_cast<int>(std::lround(kDigitSide / 2.0 - centre)), 0, kDigitSide - size);
  };
  const int left = place(sumX, ink.width), top = place(sumY, ink.height);
  Picture digit = empty();
  for (int y = 0; y < ink.height; ++y)
    std::copy_n(ink.pixels.begin() + y * ink.width, ink.width, digit.pixels.begin() + (top + y) * kDigitSide + left);
  return digit;
}

}  // namespace

Picture prepareDigit(const Picture& picture) {
  Picture gray = base::io::toGray(picture);
  if (gray.width < 1 || gray.height < 1) return empty();
  int background = border(gray);
  if (gray.width == kDigitSide && gray.height == kDigitSide && background < 8) return gray;
  std::int64_t sum = 0;
  for (const auto v : gray.pixels) sum += v;
  if (background * static_cast<std::int64_t>(gray.pixels.size()) > sum) {
    for (auto& v : gray.pixels) v = static_cast<std::uint8_t>(255 - v);
    background = 255 - background;
  }
  stretch(gray, background);
  const Box box = inkOf(gray);
  if (box.left >= box.right) return empty();
  const Picture ink = cut(gray, box);
  const double scale = static_cast<double>(kInk) / std::max(ink.width, ink.height);
  const auto side = [&](int length) { return std::clamp(static_cast<int>(std::lround(length * scale)), 1, kInk); };
  return centred(base::io::resize(ink, side(ink.width), side(ink.height)));
}

}  // namespace kovar::tools
