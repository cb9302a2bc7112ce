// One convolution on one picture: draws the edges of things.
//   first_convolution photo.png edges.png
#include <cstdio>
#include <memory>

#include <kovar/kovar.hpp>

using namespace kovar;

int main(int count, char** arguments) try {
  if (count != 3) {
    std::fprintf(stderr, "usage: first_convolution PICTURE EDGES.png\n");
    return 2;
  }
  const auto device = MTL::createSystemDefaultDevice();
  const auto queue = device->newCommandQueue();

  // One 3 x 3 filter from one channel to one: what a pixel has more than its eight neighbours, as an amount.
  const auto shape = MPS::CNNConvolutionDescriptor::cnnConvolutionDescriptor(3, 3, 1, 1);
  shape->setFusedNeuronDescriptor(MPS::NNNeuronDescriptor::cnnNeuronDescriptor(MPS::CNNNeuronType::Absolute));
  const auto weights = std::make_shared<ConvolutionWeights>(shape, std::vector<float>{-1, -1, -1,  //
                                                                                      -1, 8, -1,   //
                                                                                      -1, -1, -1});
  const auto convolution = std::make_shared<MPS::CNNConvolution>(device, weights);
  convolution->setEdgeMode(MPS::ImageEdgeMode::Clamp);  // beyond its border the picture goes on as it ends

  const auto picture = readPicture(device, arguments[1], 1);  // as gray, values from 0 to 1
  const auto edges = std::make_shared<MPS::Image>(
      device, MPS::ImageDescriptor::imageDescriptor(MPS::ImageFeatureChannelFormat::Float32, picture->width(),
                                                    picture->height(), 1));

  const auto commands = queue->commandBuffer();
  convolution->encode(commands, picture, edges);  // only written down
  commands->commit();                             // now it runs
  commands->waitUntilCompleted();
  if (commands->error()) throw *commands->error();

  writePicture(edges, arguments[2]);
  std::printf("%zu x %zu pixels on %s: see %s\n", edges->width(), edges->height(), device->name().c_str(),
              arguments[2]);
  return 0;
} catch (const Error& error) {
  std::fprintf(stderr, "first_convolution: %s\n", error.what());
  return 1;
}
