#pragma once
// Where readBytes and writeBytes put each value in the caller's buffer.

#include "oracle/tensor.hpp"

namespace kovar::oracle {

/// Numbers are the documented enum values.
enum class DataLayout { HeightxWidthxFeatureChannels = 0, FeatureChannelsxHeightxWidth = 1 };

/// A transfer between an image and a buffer. Strides are bytes; 0 = tightly packed.
struct Transfer {
  DataLayout layout = DataLayout::HeightxWidthxFeatureChannels;
  size_t elementSize = 4;
  size_t bytesPerColumn = 0;  ///< writes only: stride of X instead of the packed one
  size_t bytesPerRow = 0;     ///< channel-major: one row of ONE plane
  size_t bytesPerImage = 0;
  size_t x0 = 0, y0 = 0, z0 = 0;  ///< region origin; the first image is imageIndex + z0
  size_t width = 0, height = 0, depth = 1;
  size_t firstChannel = 0, channels = 0;
  size_t imageIndex = 0;

  /// Strides with the packed values filled in.
  Transfer resolved() const;
  /// Byte of value f (from firstChannel on) of pixel (X, Y) of image i, all relative to the region.
  size_t address(size_t i, size_t y, size_t x, size_t f) const;
  /// One past the last byte used.
  size_t length() const;
};

/// The whole of an image, every channel, tightly packed.
Transfer wholeImage(const Tensor& image, DataLayout layout, size_t elementSize, size_t imageIndex = 0);

/// Buffer after readBytes, one double for each element: element i is byte i * elementSize (strides must be multiples of
/// it). Elements between values keep what `buffer` held.
std::vector<double> readBytes(const Transfer& t, const Tensor& image, std::vector<double> buffer);

/// Image after writeBytes.
Tensor writeBytes(const Transfer& t, const std::vector<double>& buffer, Tensor image);

}  // namespace kovar::oracle
