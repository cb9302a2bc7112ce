// A picture is made four times smaller and as large as before again, by repeated pixels and by bilinear interpolation;
// what each way lost is printed.
//   upsampling PICTURE SMOOTH.png
#include <cmath>
#include <cstdio>
#include <memory>
#include <vector>

#include <kovar/kovar.hpp>

using namespace kovar;

int main(int count, char** arguments) try {
  if (count != 3) {
    std::fprintf(stderr, "usage: upsampling PICTURE SMOOTH.png\n");
    return 2;
  }
  const auto device = MTL::createSystemDefaultDevice();
  const auto commands = device->newCommandQueue()->commandBuffer();
  const auto photo = readPicture(device, arguments[1], 1);  // gray, values from 0 to 1
  const auto image = [&](std::size_t width, std::size_t height) {
    return std::make_shared<MPS::Image>(
        device, MPS::ImageDescriptor::imageDescriptor(MPS::ImageFeatureChannelFormat::Float32, width, height, 1));
  };

  const std::size_t width = photo->width() / 4, height = photo->height() / 4;
  const auto small = image(width, height), repeated = image(4 * width, 4 * height),
             smooth = image(4 * width, 4 * height);
  MPS::CNNPoolingAverage shrink(device, 4, 4, 4, 4);
  shrink.setOffset({2, 2, 0});  // the centre of the first window
  shrink.encode(commands, photo, small);
  MPS::CNNUpsamplingNearest(device, 4, 4).encode(commands, small, repeated);
  MPS::CNNUpsamplingBilinear bilinear(device, 4, 4, true);  // the corners stay where they are
  bilinear.encode(commands, small, smooth);
  commands->commit();
  commands->waitUntilCompleted();
  if (commands->error()) throw *commands->error();

  const auto values = [&](const Ref<MPS::Image>& from) {
    std::vector<float> v(from->width() * from->height());
    from->readBytes(v.data(), MPS::DataLayout::HeightxWidthxFeatureChannels, 0);
    return v;
  };
  const std::vector<float> before = values(photo);
  for (const auto& [name, after] : {std::pair("repeated", values(repeated)), std::pair("smooth", values(smooth))}) {
    double squares = 0;
    for (std::size_t y = 0; y < 4 * height; ++y)
      for (std::size_t x = 0; x < 4 * width; ++x) {
        const double d = double{before[y * photo->width() + x]} - double{after[y * 4 * width + x]};
        squares += d * d;
      }
    std::printf("%s: off by %.4f\n", name, std::sqrt(squares / static_cast<double>(after.size())));
  }
  writePicture(smooth, arguments[2]);
  return 0;
} catch (const Error& error) {
  std::fprintf(stderr, "upsampling: %s\n", error.what());
  return 1;
}
