// What is bright in a picture grows, by a maximum over taps with gaps; the light of its quarters is printed.
//   pooling PICTURE GROWN.png
#include <array>
#include <cstdio>
#include <memory>
#include <vector>

#include <kovar/kovar.hpp>

using namespace kovar;

int main(int count, char** arguments) try {
  if (count != 3) {
    std::fprintf(stderr, "usage: pooling PICTURE GROWN.png\n");
    return 2;
  }
  const auto device = MTL::createSystemDefaultDevice();
  const auto commands = device->newCommandQueue()->commandBuffer();
  const auto photo = readPicture(device, arguments[1], 1);  // gray, values from 0 to 1
  const auto like = [&](std::size_t width, std::size_t height) {
    return std::make_shared<MPS::Image>(
        device, MPS::ImageDescriptor::imageDescriptor(MPS::ImageFeatureChannelFormat::Float32, width, height, 1));
  };

  // 3 x 3 taps, two pixels apart: five pixels wide, at the price of nine.
  MPS::CNNDilatedPoolingMax grow(device, 3, 3, 2, 2, 1, 1);
  grow.setEdgeMode(MPS::ImageEdgeMode::Clamp);
  const auto grown = like(photo->width(), photo->height());
  grow.encode(commands, photo, grown);

  // Windows of half the picture, side by side. The offset is the centre of the first one.
  const std::size_t width = photo->width() / 2, height = photo->height() / 2;
  MPS::CNNPoolingL2Norm light(device, width, height, width, height);
  light.setOffset({static_cast<std::ptrdiff_t>(width / 2), static_cast<std::ptrdiff_t>(height / 2), 0});
  const auto quarters = like(2, 2);
  light.encode(commands, photo, quarters);

  commands->commit();
  commands->waitUntilCompleted();
  if (commands->error()) throw *commands->error();

  std::array<float, 4> norms{};
  quarters->readBytes(norms.data(), MPS::DataLayout::HeightxWidthxFeatureChannels, 0);
  std::printf("left: %.3f above, %.3f below; right: %.3f above, %.3f below\n", norms[0], norms[2], norms[1], norms[3]);
  writePicture(grown, arguments[2]);
  return 0;
} catch (const Error& error) {
  std::fprintf(stderr, "pooling: %s\n", error.what());
  return 1;
}
