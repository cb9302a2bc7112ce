#pragma once
// Pictures in files to and from images.

#include <string>

#include "kovar/MPS/Core/Image.hpp"

namespace kovar {

/// The PNG or JPEG file (told by its first bytes) as a new image with values from 0 to 1. channels: 1 gray, 2 gray and
/// alpha, 3 red green blue, 4 with alpha; 0: as the file has. Gray is 0.299 R + 0.587 G + 0.114 B; where alpha is
/// dropped the picture lies on white. Throws Error when the file cannot be read or is no such picture.
Ref<MPS::Image> readPicture(const Ref<MTL::Device>& device, const std::string& path, std::size_t channels = 0,
                            MPS::ImageFeatureChannelFormat format = MPS::ImageFeatureChannelFormat::Float32);

/// One image of 1 to 4 channels as a PNG file, whole or not at all. Values below 0 become black, above 1 white, NaN
/// black. Call it when the work that writes the image has completed. Throws Error when the file cannot be written.
void writePicture(const Ref<MPS::Image>& image, const std::string& path, std::size_t imageIndex = 0);

}  // namespace kovar
