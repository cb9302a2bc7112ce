// Trains a digit classifier on MNIST through a graph: 5 x 5 convolution to 32 channels, ReLU, 2 x 2 max pooling, 5 x 5
// convolution to 64, ReLU, max pooling, fully connected to 1024, ReLU, dropout, fully connected to 10, softmax cross
// entropy, Adam.
//   digit_classifier [FOLDER of the four MNIST files] [STEPS]
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include <zlib.h>
#include <kovar/kovar.hpp>

using namespace kovar;

namespace {

constexpr std::size_t kSide = 28, kPixels = kSide * kSide, kDigits = 10, kBatch = 40;
constexpr auto kPixelOrder = MPS::DataLayout::HeightxWidthxFeatureChannels;

/// The bytes of an IDX file behind its header of `headerBytes`; zlib reads plain files too.
std::vector<std::uint8_t> readIdx(const std::string& path, std::size_t headerBytes) {
  gzFile_s* const file = gzopen(path.c_str(), "rb");
  if (!file) throw Error("cannot read '" + path + "'; give the folder of MNIST's four files");
  std::vector<std::uint8_t> bytes;
  std::array<std::uint8_t, 1 << 16> piece;
  int got = 0;
  while ((got = gzread(file, piece.data(), piece.size())) > 0)
    bytes.insert(bytes.end(), piece.data(), piece.data() + got);
  gzclose(file);
  if (got < 0 || bytes.size() < headerBytes) throw Error("'" + path + "' is no whole MNIST file");
  bytes.erase(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(headerBytes));
  return bytes;
}

struct Pictures {
  std::vector<std::uint8_t> pixels, labels;

  Pictures(const std::string& folder, const std::string& part)
      : pixels(readIdx(folder + "/" + part + "-images-idx3-ubyte.gz", 16)),
        labels(readIdx(folder + "/" + part + "-labels-idx1-ubyte.gz", 8)) {
    if (labels.empty() || pixels.size() != labels.size() * kPixels || *std::ranges::max_element(labels) >= kDigits)
      throw Error("pictures and labels of '" + folder + "' do not belong together");
  }
  std::size_t size() const { return labels.size(); }
};

/// Images for a batch and the labels beside them, filled again for every step.
struct Batch {
  Ref<MPS::Image> all, truth;
  MPS::CNNLossLabelsBatch labels;

  explicit Batch(const Ref<MTL::Device>& device)
      : all(std::make_shared<MPS::Image>(
            device, MPS::ImageDescriptor::imageDescriptor(MPS::ImageFeatureChannelFormat::Unorm8, kSide, kSide, 1,
                                                          kBatch, MTL::TextureUsage::ShaderRead))),
        truth(std::make_shared<MPS::Image>(
            device, MPS::ImageDescriptor::imageDescriptor(MPS::ImageFeatureChannelFormat::Float32, 1, 1, kDigits,
                                                          kBatch, MTL::TextureUsage::ShaderRead))),
        labels(lossLabels(truth)) {}
  MPS::ImageBatch images() const { return all->batchRepresentation(); }
  /// Of the step that has completed: each picture's share summed.
  double loss() const {
    std::array<float, kBatch> shares;
    labels[0]->lossImage()->parent()->readBytes(shares.data(), kPixelOrder, sizeof(float), {{0, 0, 0}, {1, 1, kBatch}},
                                                {0, 1}, 0);
    return static_cast<double>(std::accumulate(shares.begin(), shares.end(), 0.f));
  }

  void fill(const Pictures& from, const std::uint32_t* which) {
    for (std::size_t i = 0; i < kBatch; ++i) {
      all->writeBytes(from.pixels.data() + which[i] * kPixels, kPixelOrder, i);
      std::array<float, kDigits> oneHot{};
      oneHot[from.labels[which[i]]] = 1.f;
      truth->writeBytes(oneHot.data(), kPixelOrder, i);
    }
  }
};

// --- The network ----------------------------------------------------------------------------------------------------

/// Weights that learn: the graph asks for an update after each gradient, on the device, in its own command buffer.
class Layer final : public Object, public MPS::CNNConvolutionDataSource {
 public:
  Layer(const Ref<MTL::Device>& device, const char* name, std::size_t window, std::size_t inputs, std::size_t outputs)
      : name_(name),
        shape_(MPS::CNNConvolutionDescriptor::cnnConvolutionDescriptor(window, window, inputs, outputs)),
        adam_(std::make_shared<MPS::NNOptimizerAdam>(device, 0.001f)),
        newest_(std::make_shared<MPS::CNNConvolutionWeightsAndBiasesState>(device, shape_)) {
    for (const auto& values : {newest_->weights(), newest_->biases()}) {
      const auto length =
          MPS::VectorDescriptor::vectorDescriptor(values->length() / sizeof(float), MPS::DataType::Float32);
      mean_.push_back(std::make_shared<MPS::Vector>(device, length));
      square_.push_back(std::make_shared<MPS::Vector>(device, length));
    }
    std::mt19937 random(static_cast<unsigned>(outputs));
    const float bound = std::sqrt(6.f / static_cast<float>(window * window * inputs));
    std::uniform_real_distribution<float> uniform(-bound, bound);
    auto* first = static_cast<float*>(newest_->weights()->contents());
    std::generate_n(first, newest_->weights()->length() / sizeof(float), [&] { return uniform(random); });
  }

  MPS::DataType dataType() override { return MPS::DataType::Float32; }
  MPS::DataType kernelWeightsDataType() override { return MPS::DataType::Float32; }
  Ref<MPS::CNNConvolutionDescriptor> descriptor() override { return shape_; }
  const void* weights() override { return newest_->weights()->contents(); }
  const float* biasTerms() override { return static_cast<const float*>(newest_->biases()->contents()); }
  bool load() override { return true; }
  void purge() override {}
  std::string label() override { return name_; }
  using CNNConvolutionDataSource::update;
  Ref<MPS::CNNConvolutionWeightsAndBiasesState> update(
      const Ref<MTL::CommandBuffer>& commands, const Ref<MPS::CNNConvolutionGradientState>& gradient,
      const Ref<MPS::CNNConvolutionWeightsAndBiasesState>& inUse) override {
    adam_->encode(commands, gradient, inUse, mean_, square_, newest_);
    return newest_;
  }

 private:
  std::string name_;
  Ref<MPS::CNNConvolutionDescriptor> shape_;
  Ref<MPS::NNOptimizerAdam> adam_;
  Ref<MPS::CNNConvolutionWeightsAndBiasesState> newest_;
  std::vector<Ref<MPS::Vector>> mean_, square_;
};

using Layers = std::array<Ref<Layer>, 4>;

/// The nodes that training and use share, up to the ten outputs.
Ref<MPS::NNImageNode> outputs(const Layers& layers, bool training) {
  Ref<MPS::NNImageNode> x = MPS::NNImageNode::create(std::make_shared<MPS::NamedHandle>("pictures"));
  for (const std::size_t i : {0, 1}) {
    const auto convolution = MPS::CNNConvolutionNode::create(x, layers[i]);
    convolution->setPaddingPolicy(MPS::NNDefaultPadding::padding(MPS::NNPaddingMethod::SizeSame));
    const auto active = MPS::CNNNeuronReLUNode::create(convolution->resultImage(), 0.f);
    const auto pool = MPS::CNNPoolingMaxNode::create(active->resultImage(), 2, 2);
    pool->setPaddingPolicy(MPS::NNDefaultPadding::paddingForTensorflowAveragePooling());
    x = pool->resultImage();
  }
  const auto wide = MPS::CNNFullyConnectedNode::create(x, layers[2]);
  x = MPS::CNNNeuronReLUNode::create(wide->resultImage(), 0.f)->resultImage();
  if (training) x = MPS::CNNDropoutNode::create(x, 0.5f, 1, {1, 1, 1})->resultImage();
  return MPS::CNNFullyConnectedNode::create(x, layers[3])->resultImage();
}

Ref<MPS::NNGraph> trainingGraph(const Ref<MTL::Device>& device, const Layers& layers) {
  const auto descriptor =
      MPS::CNNLossDescriptor::cnnLossDescriptor(MPS::CNNLossType::SoftMaxCrossEntropy, MPS::CNNReductionType::Sum);
  descriptor->setNumberOfClasses(kDigits);
  descriptor->setWeight(1.f / kBatch);
  const auto loss = MPS::CNNLossNode::create(outputs(layers, true), descriptor);
  const auto last = loss->trainingGraph(nullptr, nullptr);  // every gradient, in reverse
  auto graph = MPS::NNGraph::graph(device, last.front()->resultImage(), false);
  graph->setFormat(MPS::ImageFeatureChannelFormat::Float32);
  return graph;
}

Ref<MPS::NNGraph> inferenceGraph(const Ref<MTL::Device>& device, const Layers& layers) {
  const auto probabilities = MPS::CNNSoftMaxNode::create(outputs(layers, false));
  auto graph = MPS::NNGraph::graph(device, probabilities->resultImage(), true);
  graph->setFormat(MPS::ImageFeatureChannelFormat::Float32);
  return graph;
}

// --- The work -------------------------------------------------------------------------------------------------------

void waitFor(const Ref<MTL::CommandBuffer>& commands) {
  if (!commands) return;
  commands->waitUntilCompleted();
  if (commands->error()) throw *commands->error();
}

std::size_t countRight(const Ref<MTL::CommandQueue>& queue, const Ref<MPS::NNGraph>& graph, const Pictures& test) {
  graph->reloadFromDataSources();
  Batch batch(queue->device());
  std::size_t right = 0;
  std::vector<std::uint32_t> which(kBatch);
  for (std::size_t first = 0; first + kBatch <= test.size(); first += kBatch) {
    std::iota(which.begin(), which.end(), static_cast<std::uint32_t>(first));
    batch.fill(test, which.data());
    const auto commands = queue->commandBuffer();
    const MPS::ImageBatch said = graph->encodeBatch(commands, {batch.images()}, {});
    commands->commit();
    waitFor(commands);
    for (std::size_t i = 0; i < kBatch; ++i) {
      std::array<float, kDigits> p;
      said[i]->readBytes(p.data(), kPixelOrder, 0);
      right += std::max_element(p.begin(), p.end()) - p.begin() == test.labels[first + i];
    }
  }
  return right;
}

}  // namespace

int main(int count, char** arguments) try {
  const std::string folder = count > 1 ? arguments[1] : "data/mnist";
  const int steps = count > 2 ? std::atoi(arguments[2]) : 1500;
  const Pictures train(folder, "train"), test(folder, "t10k");
  const auto device = MTL::createSystemDefaultDevice();
  const auto queue = device->newCommandQueue();
  const Layers layers{
      std::make_shared<Layer>(device, "conv1", 5, 1, 32), std::make_shared<Layer>(device, "conv2", 5, 32, 64),
      std::make_shared<Layer>(device, "fc1", 7, 64, 1024), std::make_shared<Layer>(device, "fc2", 1, 1024, kDigits)};
  const auto graph = trainingGraph(device, layers);

  // Two batches take turns: one is filled and encoded while the other is computed.
  std::array<Batch, 2> batches{Batch(device), Batch(device)};
  std::array<Ref<MTL::CommandBuffer>, 2> running;
  std::vector<std::uint32_t> order(train.size());
  std::iota(order.begin(), order.end(), 0u);
  std::mt19937 random(1);
  std::size_t next = order.size();
  for (int step = 0; step < steps; ++step) {
    if (next + kBatch > order.size()) {
      std::shuffle(order.begin(), order.end(), random);
      next = 0;
    }
    Batch& batch = batches[static_cast<std::size_t>(step) % 2];
    Ref<MTL::CommandBuffer>& commands = running[static_cast<std::size_t>(step) % 2];
    waitFor(commands);
    if (step % 100 == 2) std::printf("step %d: loss %.3f\n", step - 1, batch.loss());
    batch.fill(train, order.data() + next);
    next += kBatch;
    commands = queue->commandBuffer();
    graph->encodeBatch(commands, {batch.images()}, {batch.labels}, nullptr, nullptr);
    commands->commit();
  }
  for (const auto& commands : running) waitFor(commands);

  const std::size_t right = countRight(queue, inferenceGraph(device, layers), test);
  std::printf("%.2f %% of %zu test pictures right\n",
              100.0 * static_cast<double>(right) / static_cast<double>(test.size()), test.size());
  return 0;
} catch (const Error& error) {
  std::fprintf(stderr, "digit_classifier: %s\n", error.what());
  return 1;
}
