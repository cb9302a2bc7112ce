#include "kovar/Support/Pictures.hpp"

#include <cstring>
#include <vector>

#include "base/edge.hpp"
#include "base/io/picture.hpp"
#include "kovar/MTL/Device.hpp"
#include "maths/formats.hpp"

namespace kovar {
namespace {

using Format = MPS::ImageFeatureChannelFormat;
using base::io::Picture;

constexpr auto kLayout = MPS::DataLayout::HeightxWidthxFeatureChannels;

std::size_t bytesOf(Format format) {
  switch (format) {
    case Format::Unorm8:
      return 1;
    case Format::Unorm16:
    case Format::Float16:
      return 2;
    case Format::Float32:
      return 4;
    default:
      return 0;
  }
}

template <class T>
void put(std::byte* at, T value) {
  std::memcpy(at, &value, sizeof value);
}
template <class T>
T get(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

void store(std::byte* at, Format format, std::uint8_t sample) {
  const float value = maths::floatFromUnorm8(sample);
  switch (format) {
    case Format::Unorm8:
      return put(at, sample);
    case Format::Unorm16:
      return put(at, maths::unorm16FromFloat(value));
    case Format::Float16:
      return put(at, maths::halfFromFloat(value));
    default:
      return put(at, value);
  }
}

std::uint8_t load(const std::byte* at, Format format) {
  switch (format) {
    case Format::Unorm8:
      return get<std::uint8_t>(at);
    case Format::Unorm16:
      return maths::unorm8FromFloat(maths::floatFromUnorm16(get<std::uint16_t>(at)));
    case Format::Float16:
      return maths::unorm8FromFloat(maths::floatFromHalf(get<std::uint16_t>(at)));
    default:
      return maths::unorm8FromFloat(get<float>(at));
  }
}

/// The picture with other channels: 1 to 4.
Picture withChannels(const Picture& from, int channels) {
  if (from.channels == channels) return from;
  if (channels == 1) return base::io::toGray(from);
  const bool hadColour = from.channels >= 3, hadAlpha = from.channels % 2 == 0;
  const bool alpha = channels % 2 == 0;
  const Picture gray = channels == 2 ? base::io::toGray(from) : Picture{};
  Picture to{from.width, from.height, channels,
             base::io::Bytes(static_cast<std::size_t>(from.width) * static_cast<std::size_t>(from.height) *
                             static_cast<std::size_t>(channels))};
  const auto pixels = static_cast<std::size_t>(from.width) * static_cast<std::size_t>(from.height);
  const auto n = static_cast<std::size_t>(from.channels), m = static_cast<std::size_t>(channels);
  for (std::size_t i = 0; i < pixels; ++i) {
    const std::uint8_t* s = from.pixels.data() + i * n;
    std::uint8_t* d = to.pixels.data() + i * m;
    const unsigned a = hadAlpha ? s[n - 1] : 255u;
    for (std::size_t c = 0; c + (alpha ? 1 : 0) < m; ++c) {
      const unsigned v = m == 2 ? gray.pixels[i] : s[hadColour ? c : 0];
      d[c] = static_cast<std::uint8_t>(alpha ? v : (v * a + 255u * (255u - a) + 127u) / 255u);
    }
    if (alpha) d[m - 1] = static_cast<std::uint8_t>(m == 2 && !hadAlpha ? 255u : a);
  }
  return to;
}

}  // namespace

Ref<MPS::Image> readPicture(const Ref<MTL::Device>& device, const std::string& path, std::size_t channels,
                            Format format) {
  if (!device) base::raise("readPicture: device is null; take one from MTL::createSystemDefaultDevice()");
  if (channels > 4)
    base::raise("readPicture: " + std::to_string(channels) + " channels; give 1 to 4, or 0 for those of the file");
  if (bytesOf(format) == 0) base::raise("readPicture: format must be Unorm8, Unorm16, Float16 or Float32");
  Picture picture = base::unwrap(base::io::readPicture(path));
  if (channels != 0) picture = withChannels(picture, static_cast<int>(channels));
  std::vector<std::byte> elements(picture.pixels.size() * bytesOf(format));
  for (std::size_t i = 0; i < picture.pixels.size(); ++i)
    store(elements.data() + i * bytesOf(format), format, picture.pixels[i]);
  auto image = std::make_shared<MPS::Image>(
      device, MPS::ImageDescriptor::imageDescriptor(format, static_cast<std::size_t>(picture.width),
                                                    static_cast<std::size_t>(picture.height),
                                                    static_cast<std::size_t>(picture.channels)));
  image->writeBytes(elements.data(), kLayout, 0);
  return image;
}

void writePicture(const Ref<MPS::Image>& image, const std::string& path, std::size_t imageIndex) {
  if (!image) base::raise("writePicture: image is null");
  if (image->featureChannels() > 4)
    base::raise("writePicture: the image has " + std::to_string(image->featureChannels()) +
                " channels, a picture at most 4; choose some with subImage()");
  const Format format = image->featureChannelFormat();
  Picture picture{static_cast<int>(image->width()),
                  static_cast<int>(image->height()),
                  static_cast<int>(image->featureChannels()),
                  {}};
  picture.pixels.resize(image->width() * image->height() * image->featureChannels());
  std::vector<std::byte> elements(picture.pixels.size() * bytesOf(format));
  image->readBytes(elements.data(), kLayout, imageIndex);
  for (std::size_t i = 0; i < picture.pixels.size(); ++i)
    picture.pixels[i] = load(elements.data() + i * bytesOf(format), format);
  base::unwrap(base::io::writePng(path, picture));
}

}  // namespace kovar
