// A picture at a quarter of its size, upside down: a resize, then a grid that says where each pixel comes from.
//   resize photo.png small.png
#include <cstdio>
#include <memory>
#include <vector>

#include <kovar/kovar.hpp>

using namespace kovar;

int main(int count, char** arguments) try {
  if (count != 3) {
    std::fprintf(stderr, "usage: resize PICTURE SMALL.png\n");
    return 2;
  }
  const auto device = MTL::createSystemDefaultDevice();
  const auto commands = device->newCommandQueue()->commandBuffer();
  const auto photo = readPicture(device, arguments[1]);
  const std::size_t width = photo->width() / 4, height = photo->height() / 4;
  const auto make = [&](std::size_t channels) {
    return std::make_shared<MPS::Image>(device, MPS::ImageDescriptor::imageDescriptor(
                                                    MPS::ImageFeatureChannelFormat::Float32, width, height, channels));
  };

  const auto small = make(photo->featureChannels());
  MPS::NNResizeBilinear(device, width, height, true).encode(commands, photo, small);

  // Result pixel (x, y) reads pixel (x, height - 1 - y): channel 0 is x, channel 1 is y.
  std::vector<float> places;
  for (std::size_t y = 0; y < height; ++y)
    for (std::size_t x = 0; x < width; ++x) {
      places.push_back(static_cast<float>(x));
      places.push_back(static_cast<float>(height - 1 - y));
    }
  const auto grid = make(2), turned = make(photo->featureChannels());
  grid->writeBytes(places.data(), MPS::DataLayout::HeightxWidthxFeatureChannels, 0);
  MPS::NNGridSample(device).encode(commands, small, grid, turned);

  commands->commit();
  commands->waitUntilCompleted();
  if (commands->error()) throw *commands->error();
  std::printf("%zu x %zu\n", width, height);
  writePicture(turned, arguments[2]);
  return 0;
} catch (const Error& error) {
  std::fprintf(stderr, "resize: %s\n", error.what());
  return 1;
}
