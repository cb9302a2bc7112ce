#include <fmt/core.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <memory>

#include "kovar/Support/DataSources.hpp"
#include "kovar/Support/Threads.hpp"
#include "kovar/command.hpp"
#include "kovar/digits/network.hpp"
#include "kovar/digits/picture_batch.hpp"
#include "kovar/digits/prepare.hpp"

namespace kovar::tools {
namespace {

struct ClassifyOptions {
  std::string weights, device;
  std::vector<std::string> pictures;
  int threads = 0;
};

/// The network of a file, checked: whatever is wrong with the file is thrown here.
Ref<MPS::NNGraph> networkIn(const std::string& path, const Ref<MTL::Device>& device) {
  const auto file = std::make_shared<SafetensorsFile>(path);
  std::array<Ref<MPS::CNNConvolutionDataSource>, 4> layers;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const std::string name = kDigitLayers[i].name;
    if (!file->contains(name + ".weight"))
      base::raise(
          fmt::format("'{}' holds no tensor {}.weight; give a file that kovar train digits --save wrote", path, name));
    layers[i] =
        std::make_shared<SafetensorsConvolutionWeights>(file, descriptorOf(kDigitLayers[i]), name + ".weight",
                                                        name + ".bias", SafetensorsConvolutionWeights::Layout::OHWI);
  }
  return makeInferenceGraph(device, layers);
}

int classify(const ClassifyOptions& o) {
  if (o.threads > 0) setThreadCount(o.threads);
  const auto device = o.device.empty() ? MTL::createSystemDefaultDevice() : MTL::deviceNamed(o.device);
  const auto graph = networkIn(o.weights, device);
  const auto queue = device->newCommandQueue();
  PictureBatch batch(device, 1);
  // A picture that cannot be read does not keep the others from being classified.
  int status = kDone;
  for (const std::string& path : o.pictures) {
    const auto picture = base::io::readPicture(path);
    if (!picture.ok()) {
      std::fflush(stdout);
      fmt::print(stderr, "kovar: {}\n", picture.failure().text);
      status = kFailed;
      continue;
    }
    base::io::LabelledImages one{1, kDigitSide, kDigitSide, prepareDigit(*picture).pixels, {0}};
    batch.write(one, std::vector<std::uint64_t>{0});
    const auto commands = queue->commandBuffer();
    const auto result = graph->encodeBatch(commands, {batch.images()}, {});
    commands->commit();
    commands->waitUntilCompleted();
    if (const auto error = commands->error()) throw *error;
    std::array<float, kDigits> p;
    result[0]->readBytes(p.data(), MPS::DataLayout::HeightxWidthxFeatureChannels, 0);
    const auto said = std::max_element(p.begin(), p.end());
    fmt::print("{}\t{}\t{:.4f}\n", path, said - p.begin(), *said);
  }
  return status;
}

}  // namespace

void addClassify(CLI::App& app, Context& context) {
  CLI::App* command = app.add_subcommand("classify", "Tell the digit in each picture: file, digit, probability");
  const auto o = std::make_shared<ClassifyOptions>();
  command->add_option("--weights", o->weights, "What kovar train digits --save wrote")->required();
  command->add_option("pictures", o->pictures, "PNG or JPEG, any size, dark ink on bright paper or the other way round")
      ->required();
  command->add_option("--device", o->device, "What kovar devices lists (default: the fastest)");
  command->add_option("--threads", o->threads, "Processor threads (default: all)")->check(CLI::Range(1, 4096));
  command->callback([o, &context] { context.work = [o] { return classify(*o); }; });
}

}  // namespace kovar::tools
