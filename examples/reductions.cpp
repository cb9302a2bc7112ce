// The brightest row of a picture, and how many pixels are reddest, greenest and bluest.
//   reductions PICTURE
#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>
#include <vector>

#include <kovar/kovar.hpp>

using namespace kovar;

int main(int count, char** arguments) try {
  if (count != 2) {
    std::fprintf(stderr, "usage: reductions PICTURE\n");
    return 2;
  }
  const auto device = MTL::createSystemDefaultDevice();
  const auto commands = device->newCommandQueue()->commandBuffer();
  const auto photo = readPicture(device, arguments[1], 3);  // red, green, blue from 0 to 1
  const auto image = [&](std::size_t width, std::size_t height) {
    return std::make_shared<MPS::Image>(
        device, MPS::ImageDescriptor::imageDescriptor(MPS::ImageFeatureChannelFormat::Float32, width, height, 1));
  };
  const auto floats = [](const Ref<MPS::Image>& from) {
    std::vector<float> v(from->width() * from->height());
    from->readBytes(v.data(), MPS::DataLayout::HeightxWidthxFeatureChannels, 0);
    return v;
  };

  const auto gray = image(photo->width(), photo->height()), rows = image(1, photo->height()),
             strongest = image(photo->width(), photo->height());
  MPS::NNReduceFeatureChannelsMean(device).encode(commands, photo, gray);
  MPS::NNReduceRowMean(device).encode(commands, gray, rows);
  MPS::NNReduceFeatureChannelsArgumentMax(device).encode(commands, photo, strongest);
  commands->commit();
  commands->waitUntilCompleted();
  if (commands->error()) throw *commands->error();

  const std::vector<float> means = floats(rows);
  const auto best = std::max_element(means.begin(), means.end());
  std::printf("row %zu is the brightest: %.4f\n", static_cast<std::size_t>(best - means.begin()), double{*best});
  std::array<std::size_t, 3> pixels{};
  for (const float channel : floats(strongest)) ++pixels[static_cast<std::size_t>(channel)];
  std::printf("red %zu, green %zu, blue %zu\n", pixels[0], pixels[1], pixels[2]);
  return 0;
} catch (const Error& error) {
  std::fprintf(stderr, "reductions: %s\n", error.what());
  return 1;
}
