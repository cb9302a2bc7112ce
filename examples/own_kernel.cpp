// A function of your own between two kernels of the library, in one command buffer: keeps the strongest edges of a
// picture. How strong "strongest" is depends on all pixels at once, which no kernel of a network looks at.
//   own_kernel photo.png drawing.png [share of pixels to keep, default 0.1]
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <vector>

#include <kovar/kovar.hpp>

using namespace kovar;

namespace {

/// 1 where a pixel belongs to the strongest `share` of all, else 0. Runs on the queue's thread when its turn comes.
void keepStrongest(double share, std::span<const HostView> in, std::span<HostView> out) {
  const HostView& edges = in[0];
  std::vector<float> sorted;
  for (std::size_t y = 0; y < edges.height; ++y)
    for (std::size_t x = 0; x < edges.width; ++x) sorted.push_back(*edges.pixel<float>(0, y, x));
  const auto kept = static_cast<std::ptrdiff_t>(share * static_cast<double>(sorted.size() - 1));
  std::nth_element(sorted.begin(), sorted.begin() + kept, sorted.end(), std::greater<>());
  const float least = sorted[static_cast<std::size_t>(kept)];
  for (std::size_t y = 0; y < edges.height; ++y)
    for (std::size_t x = 0; x < edges.width; ++x)
      *out[0].pixel<float>(0, y, x) = *edges.pixel<float>(0, y, x) >= least ? 1.f : 0.f;
}

}  // namespace

int main(int count, char** arguments) try {
  if (count != 3 && count != 4) {
    std::fprintf(stderr, "usage: own_kernel PICTURE DRAWING.png [SHARE]\n");
    return 2;
  }
  const double share = count == 4 ? std::clamp(std::atof(arguments[3]), 0.0, 1.0) : 0.1;
  const auto device = MTL::createSystemDefaultDevice();
  const auto commands = device->newCommandQueue()->commandBuffer();

  const auto shape = MPS::CNNConvolutionDescriptor::cnnConvolutionDescriptor(3, 3, 1, 1);
  shape->setFusedNeuronDescriptor(MPS::NNNeuronDescriptor::cnnNeuronDescriptor(MPS::CNNNeuronType::Absolute));
  const auto findEdges = std::make_shared<MPS::CNNConvolution>(
      device, std::make_shared<ConvolutionWeights>(shape, std::vector<float>{-1, -1, -1, -1, 8, -1, -1, -1, -1}));
  findEdges->setEdgeMode(MPS::ImageEdgeMode::Clamp);
  const auto thicken = std::make_shared<MPS::CNNPoolingMax>(device, 3, 3, 1, 1);

  const auto picture = readPicture(device, arguments[1], 1);
  const auto gray = MPS::ImageDescriptor::imageDescriptor(MPS::ImageFeatureChannelFormat::Float32, picture->width(),
                                                          picture->height(), 1);
  const auto drawing = std::make_shared<MPS::Image>(device, gray);

  // What lies between the kernels lives in temporary images: memory of this command buffer only.
  const auto edges = MPS::TemporaryImage::temporaryImage(commands, gray);
  const auto strongest = MPS::TemporaryImage::temporaryImage(commands, gray);
  findEdges->encode(commands, picture, edges);
  encodeHost(commands, {edges}, {strongest}, [share](auto in, auto out) { keepStrongest(share, in, out); });
  thicken->encode(commands, strongest, drawing);
  commands->commit();
  commands->waitUntilCompleted();
  if (commands->error()) throw *commands->error();

  writePicture(drawing, arguments[2]);
  std::printf("the strongest %.0f %% of the edges: see %s\n", 100 * share, arguments[2]);
  return 0;
} catch (const Error& error) {
  std::fprintf(stderr, "own_kernel: %s\n", error.what());
  return 1;
}
