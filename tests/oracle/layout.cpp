#include "oracle/layout.hpp"

namespace kovar::oracle {

Transfer Transfer::resolved() const {
  Transfer t = *this;
  const bool channelFastest = layout == DataLayout::HeightxWidthxFeatureChannels;
  if (t.bytesPerColumn == 0) t.bytesPerColumn = elementSize * (channelFastest ? channels : 1);
  if (t.bytesPerRow == 0) t.bytesPerRow = width * t.bytesPerColumn;
  if (t.bytesPerImage == 0) t.bytesPerImage = t.bytesPerRow * height * (channelFastest ? 1 : channels);
  return t;
}

size_t Transfer::address(size_t i, size_t y, size_t x, size_t f) const {
  const Transfer t = resolved();
  if (layout == DataLayout::HeightxWidthxFeatureChannels)
    return i * t.bytesPerImage + y * t.bytesPerRow + x * t.bytesPerColumn + f * elementSize;
  return i * t.bytesPerImage + (f * height + y) * t.bytesPerRow + x * t.bytesPerColumn;
}

size_t Transfer::length() const { return address(depth - 1, height - 1, width - 1, channels - 1) + elementSize; }

Transfer wholeImage(const Tensor& image, DataLayout layout, size_t elementSize, size_t imageIndex) {
  Transfer t;
  t.layout = layout;
  t.elementSize = elementSize;
  t.width = image.w;
  t.height = image.h;
  t.channels = image.c;
  t.imageIndex = imageIndex;
  return t;
}

std::vector<double> readBytes(const Transfer& t, const Tensor& image, std::vector<double> buffer) {
  for (size_t i = 0; i < t.depth; ++i)
    for (size_t y = 0; y < t.height; ++y)
      for (size_t x = 0; x < t.width; ++x)
        for (size_t f = 0; f < t.channels; ++f)
          buffer.at(t.address(i, y, x, f) / t.elementSize) =
              image.at(t.imageIndex + t.z0 + i, t.y0 + y, t.x0 + x, t.firstChannel + f);
  return buffer;
}

Tensor writeBytes(const Transfer& t, const std::vector<double>& buffer, Tensor image) {
  for (size_t i = 0; i < t.depth; ++i)
    for (size_t y = 0; y < t.height; ++y)
      for (size_t x = 0; x < t.width; ++x)
        for (size_t f = 0; f < t.channels; ++f)
          image.at(t.imageIndex + t.z0 + i, t.y0 + y, t.x0 + x, t.firstChannel + f) =
              buffer.at(t.address(i, y, x, f) / t.elementSize);
  return image;
}

}  // namespace kovar::oracle
