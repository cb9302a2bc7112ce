// A picture in blocks: a strided convolution takes the mean of every 4 x 4 pixels, the transposed convolution that
// undoes its geometry spreads each mean over the block it came from.
//   convolution PICTURE BLOCKS.png
#include <cstdio>
#include <memory>
#include <vector>

#include <kovar/kovar.hpp>

using namespace kovar;

int main(int count, char** arguments) try {
  if (count != 3) {
    std::fprintf(stderr, "usage: convolution PICTURE BLOCKS.png\n");
    return 2;
  }
  const auto device = MTL::createSystemDefaultDevice();
  const auto commands = device->newCommandQueue()->commandBuffer();
  const auto photo = readPicture(device, arguments[1], 3);

  // Depthwise: every colour has a filter of its own. Weights are [channel][kernelHeight][kernelWidth].
  constexpr std::size_t kBlock = 4, kColours = 3;
  const auto shape =
      MPS::CNNDepthWiseConvolutionDescriptor::cnnConvolutionDescriptor(kBlock, kBlock, kColours, kColours);
  shape->setStrideInPixelsX(kBlock);
  shape->setStrideInPixelsY(kBlock);
  const auto filters = [&](float weight) {
    return std::make_shared<ConvolutionWeights>(shape, std::vector<float>(kColours * kBlock * kBlock, weight));
  };
  MPS::CNNConvolution mean(device, filters(1.f / (kBlock * kBlock)));
  MPS::CNNConvolutionTranspose spread(device, filters(1.f));
  spread.setDestinationImageAllocator(MPS::Image::defaultAllocator());  // not temporary: it is read below

  // The state tells the transposed convolution how large the picture was and where the blocks lay.
  Ref<MPS::CNNConvolutionGradientState> state;
  const auto small = mean.encode(commands, photo, &state, true);
  const auto blocks = spread.encode(commands, small, state);
  commands->commit();
  commands->waitUntilCompleted();
  if (commands->error()) throw *commands->error();

  writePicture(blocks, arguments[2]);
  std::printf("%zu x %zu pixels in %zu x %zu blocks\n", blocks->width(), blocks->height(), small->width(),
              small->height());
  return 0;
} catch (const Error& error) {
  std::fprintf(stderr, "convolution: %s\n", error.what());
  return 1;
}
