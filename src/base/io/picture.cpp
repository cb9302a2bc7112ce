#include "base/io/picture.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/io/text.hpp"

namespace kovar::base::io {
namespace {

constexpr std::uint8_t kPngStart[] = {0x89, 'P', 'N', 'G', 0x0d, 0x0a, 0x1a, 0x0a};
constexpr std::uint8_t kJpegStart[] = {0xff, 0xd8, 0xff};

bool startsWith(std::span<const std::uint8_t> bytes, std::span<const std::uint8_t> start) {
  return bytes.size() >= start.size() && std::equal(start.begin(), start.end(), bytes.begin());
}

std::uint8_t blend(int value, int alpha, int background) {
  return static_cast<std::uint8_t>((value * alpha + background * (255 - alpha) + 127) / 255);
}

// One destination sample is a weighted sum of a run of source samples.
struct Taps {
  int first = 0;
  std::vector<double> weights;  // their sum is one
};

std::vector<Taps> tapsOf(int from, int to) {
  std::vector<Taps> all(static_cast<std::size_t>(to));
  const double scale = static_cast<double>(from) / to;
  for (int i = 0; i < to; ++i) {
    Taps& taps = all[static_cast<std::size_t>(i)];
    if (scale > 1) {
      const double begin = i * scale;
      const double end = std::min(begin + scale, static_cast<double>(from));
      taps.first = static_cast<int>(begin);
      for (int k = taps.first; k < end; ++k) {
        taps.weights.push_back((std::min(end, k + 1.0) - std::max(begin, static_cast<double>(k))) / (end - begin));
      }
    } else {
      const double centre = std::clamp((i + 0.5) * scale - 0.5, 0.0, from - 1.0);
      taps.first = std::min(static_cast<int>(centre), std::max(from - 2, 0));
      const double part = centre - taps.first;
      taps.weights.push_back(1 - part);
      if (from > 1) taps.weights.push_back(part);
    }
  }
  return all;
}

}  // namespace

Result<Picture> decodePicture(std::span<const std::uint8_t> bytes, std::string_view name, const PictureLimits& limits) {
  if (startsWith(bytes, kPngStart)) return decodePng(bytes, name, limits);
  if (startsWith(bytes, kJpegStart)) return decodeJpeg(bytes, name, limits);
  return Failure{concat("cannot read ", inQuotes(name),
                        " as a picture: ", bytes.empty() ? "it is empty" : "it is neither PNG nor JPEG")};
}

Result<Picture> readPicture(const std::string& path, const PictureLimits& limits) {
  KOVAR_TRY_ASSIGN(const Bytes bytes, readFile(path, limits.fileBytes));
  return decodePicture(bytes, path, limits);
}

Status writePng(const std::string& path, const Picture& picture) {
  KOVAR_TRY_ASSIGN(const Bytes bytes, encodePng(picture));
  return writeFile(path, bytes);
}

Picture toGray(const Picture& picture, std::uint8_t background) {
  Picture gray{picture.width, picture.height, 1, {}};
  if (picture.pixels.empty()) return gray;
  const auto channels = static_cast<std::size_t>(picture.channels);
  gray.pixels.reserve(picture.pixels.size() / channels);
  for (std::size_t i = 0; i + channels <= picture.pixels.size(); i += channels) {
    const std::uint8_t* sample = &picture.pixels[i];
    const int alpha = channels % 2 == 0 ? sample[channels - 1] : 255;
    const int value = channels < 3 ? sample[0] : (299 * sample[0] + 587 * sample[1] + 114 * sample[2] + 500) / 1000;
    gray.pixels.push_back(blend(value, alpha, background));
  }
  return gray;
}

Picture resize(const Picture& picture, int width, int height) {
  const std::vector<Taps> columns = tapsOf(picture.width, width);
  const std::vector<Taps> rows = tapsOf(picture.height, height);
  const auto channels = static_cast<std::size_t>(picture.channels);
  const std::size_t sourceRow = static_cast<std::size_t>(picture.width) * channels;
  const std::size_t row = static_cast<std::size_t>(width) * channels;
  Picture out{width, height, picture.channels, Bytes(static_cast<std::size_t>(height) * row)};
  std::vector<double> mixed(sourceRow);
  for (std::size_t y = 0; y < rows.size(); ++y) {
    std::fill(mixed.begin(), mixed.end(), 0.0);
    for (std::size_t k = 0; k < rows[y].weights.size(); ++k) {
      const std::uint8_t* source = &picture.pixels[(static_cast<std::size_t>(rows[y].first) + k) * sourceRow];
      for (std::size_t i = 0; i < sourceRow; ++i) mixed[i] += rows[y].weights[k] * source[i];
    }
    for (std::size_t x = 0; x < columns.size(); ++x) {
      for (std::size_t c = 0; c < channels; ++c) {
        double sum = 0;
        for (std::size_t k = 0; k < columns[x].weights.size(); ++k) {
          sum += columns[x].weights[k] * mixed[(static_cast<std::size_t>(columns[x].first) + k) * channels + c];
        }
        out.pixels[y * row + x * channels + c] = static_cast<std::uint8_t>(std::clamp(std::lround(sum), 0l, 255l));
      }
    }
  }
  return out;
}

}  // namespace kovar::base::io
