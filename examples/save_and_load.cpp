// A small network is written to a file and read again: it draws the same picture without the weights it was made from.
//   save_and_load PICTURE NETWORK.kovar DRAWN.png
#include <cstddef>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <memory>
#include <span>
#include <vector>

#include <kovar/kovar.hpp>

using namespace kovar;

namespace {

/// Edges of a gray picture: what a 3 x 3 filter finds, at half the size.
Ref<MPS::NNGraph> network(const Ref<MTL::Device>& device) {
  const auto filter =
      std::make_shared<ConvolutionWeights>(MPS::CNNConvolutionDescriptor::cnnConvolutionDescriptor(3, 3, 1, 1),
                                           std::vector<float>{-1, -1, -1, -1, 8, -1, -1, -1, -1});
  const auto picture = std::make_shared<MPS::NNImageNode>(std::make_shared<MPS::NamedHandle>("picture"));
  const auto edges = MPS::CNNConvolutionNode::create(picture, filter);
  const auto strength = std::make_shared<MPS::CNNNeuronAbsoluteNode>(edges->resultImage());
  const auto strongest = MPS::CNNPoolingMaxNode::create(strength->resultImage(), 2);
  auto graph = MPS::NNGraph::graph(device, strongest->resultImage(), true);
  graph->setFormat(MPS::ImageFeatureChannelFormat::Float32);
  return graph;
}

void save(MPS::NNGraph& graph, const char* path) {
  MPS::Archive archive;
  graph.encodeWithCoder(archive);
  const std::vector<std::byte> bytes = archive.data();
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

Ref<MPS::NNGraph> load(const char* path, const Ref<MTL::Device>& device) {
  std::ifstream file(path, std::ios::binary);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
  MPS::Archive archive(std::as_bytes(std::span(bytes)));
  return std::make_shared<MPS::NNGraph>(archive, device);
}

std::vector<float> run(MPS::NNGraph& graph, const Ref<MPS::Image>& picture, Ref<MPS::Image>& drawn) {
  const auto commands = graph.device()->newCommandQueue()->commandBuffer();
  drawn = graph.encode(commands, {picture});
  commands->commit();
  commands->waitUntilCompleted();
  if (commands->error()) throw *commands->error();
  std::vector<float> values(drawn->width() * drawn->height());
  drawn->readBytes(values.data(), MPS::DataLayout::HeightxWidthxFeatureChannels, 0);
  return values;
}

}  // namespace

int main(int count, char** arguments) try {
  if (count != 4) {
    std::fprintf(stderr, "usage: save_and_load PICTURE NETWORK.kovar DRAWN.png\n");
    return 2;
  }
  const auto device = MTL::createSystemDefaultDevice();
  const auto photo = readPicture(device, arguments[1], 1);
  Ref<MPS::Image> drawn;
  const auto graph = network(device);
  const std::vector<float> before = run(*graph, photo, drawn);
  save(*graph, arguments[2]);
  const auto again = load(arguments[2], device);
  const std::vector<float> after = run(*again, photo, drawn);
  std::printf("read a graph of '%s'; %s\n", again->sourceImageHandles()[0]->label().c_str(),
              after == before ? "it computes the same" : "it computes something else");
  writePicture(drawn, arguments[3]);
  return after == before ? 0 : 1;
} catch (const Error& error) {
  std::fprintf(stderr, "save_and_load: %s\n", error.what());
  return 1;
}
