// White where a picture is brighter than half, and what a product with one number per channel hands back.
//   arithmetic photo.png mask.png
#include <array>
#include <cstdio>
#include <memory>

#include <kovar/kovar.hpp>

using namespace kovar;

int main(int count, char** arguments) try {
  if (count != 3) {
    std::fprintf(stderr, "usage: arithmetic PICTURE MASK.png\n");
    return 2;
  }
  const auto device = MTL::createSystemDefaultDevice();
  const auto commands = device->newCommandQueue()->commandBuffer();
  const auto photo = readPicture(device, arguments[1], 3);  // values from 0 to 1
  const auto make = [&](std::size_t width, std::size_t height) {
    return std::make_shared<MPS::Image>(
        device, MPS::ImageDescriptor::imageDescriptor(MPS::ImageFeatureChannelFormat::Float32, width, height, 3));
  };

  // White where a channel is brighter than 0.5: a comparison with one number per channel, repeated over the picture.
  const std::array<float, 3> limit{0.5f, 0.5f, 0.5f}, gain{1.f, 0.5f, 0.25f};
  const auto bounds = make(1, 1), gains = make(1, 1);
  bounds->writeBytes(limit.data(), MPS::DataLayout::HeightxWidthxFeatureChannels, 0);
  gains->writeBytes(gain.data(), MPS::DataLayout::HeightxWidthxFeatureChannels, 0);
  MPS::NNCompare brighter(device);
  brighter.setComparisonType(MPS::NNComparisonType::Greater);
  brighter.setSecondaryStrideInPixelsX(0);
  brighter.setSecondaryStrideInPixelsY(0);
  const auto mask = make(photo->width(), photo->height());
  brighter.encode(commands, photo, bounds, mask);

  // dim = photo * gains. The gradient by the gains, for an incoming gradient of mask: the sum of mask * photo.
  MPS::CNNMultiply times(device);
  times.setSecondaryStrideInPixelsX(0);
  times.setSecondaryStrideInPixelsY(0);
  const auto dim = make(photo->width(), photo->height());
  const auto state = times.resultState(photo, gains, {}, dim);
  times.encode(commands, photo, gains, std::dynamic_pointer_cast<MPS::CNNArithmeticGradientState>(state), dim);
  MPS::CNNMultiplyGradient back(device, true);
  const auto gradient = make(1, 1);
  back.encode(commands, mask, photo, state, gradient);

  commands->commit();
  commands->waitUntilCompleted();
  if (commands->error()) throw *commands->error();
  std::array<float, 3> sums{};
  gradient->readBytes(sums.data(), MPS::DataLayout::HeightxWidthxFeatureChannels, 0);
  for (std::size_t c = 0; c < sums.size(); ++c) std::printf("channel %zu: %.2f\n", c, static_cast<double>(sums[c]));
  writePicture(mask, arguments[2]);
  return 0;
} catch (const Error& error) {
  std::fprintf(stderr, "arithmetic: %s\n", error.what());
  return 1;
}
