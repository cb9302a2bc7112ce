#include "kovar/digits/network.hpp"

#include <algorithm>
#include <cmath>

namespace kovar::tools {
namespace {

using Sources = std::array<Ref<MPS::CNNConvolutionDataSource>, 4>;

Sources sourcesOf(const DigitNetwork& network) {
  Sources sources;
  std::copy(network.layers.begin(), network.layers.end(), sources.begin());
  return sources;
}

/// Everything up to the activation before the last layer.
Ref<MPS::NNImageNode> features(const Sources& weights) {
  const auto same = MPS::NNDefaultPadding::padding(MPS::NNPaddingMethod::SizeSame);
  Ref<MPS::NNImageNode> x = MPS::NNImageNode::create(std::make_shared<MPS::NamedHandle>("pictures"));
  for (std::size_t i : {0, 1}) {
    const auto convolution = MPS::CNNConvolutionNode::create(x, weights[i]);
    convolution->setPaddingPolicy(same);
    const auto active = MPS::CNNNeuronReLUNode::create(convolution->resultImage(), 0.f);
    const auto pool = MPS::CNNPoolingMaxNode::create(active->resultImage(), 2, 2);
    pool->setPaddingPolicy(MPS::NNDefaultPadding::paddingForTensorflowAveragePooling());
    x = pool->resultImage();
  }
  const auto wide = MPS::CNNFullyConnectedNode::create(x, weights[2]);
  return MPS::CNNNeuronReLUNode::create(wide->resultImage(), 0.f)->resultImage();
}

/// The images of a batch lie in one array, their parent, which the host reads in one call.
class ArrayAllocator final : public MPS::ImageAllocator {
 public:
  Ref<MPS::Image> image(const Ref<MTL::CommandBuffer>& commands, const Ref<MPS::ImageDescriptor>& descriptor,
                        const Ref<MPS::Kernel>&) override {
    return std::make_shared<MPS::Image>(commands->device(), descriptor);
  }
  MPS::ImageBatch imageBatch(const Ref<MTL::CommandBuffer>& commands, const Ref<MPS::ImageDescriptor>& descriptor,
                             const Ref<MPS::Kernel>& kernel, std::size_t count) override {
    const auto array = descriptor->copy();
    array->setNumberOfImages(count);
    return image(commands, array, kernel)->batchRepresentation();
  }
};

}  // namespace

Ref<MPS::CNNConvolutionDescriptor> descriptorOf(const LayerShape& s) {
  return MPS::CNNConvolutionDescriptor::cnnConvolutionDescriptor(s.kernel, s.kernel, s.inputs, s.outputs);
}

DigitNetwork::DigitNetwork(const Ref<MTL::Device>& device, float learningRate) {
  for (std::size_t i = 0; i < layers.size(); ++i)
    layers[i] = std::make_shared<AdamLayer>(device, kDigitLayers[i].name, descriptorOf(kDigitLayers[i]), learningRate);
}

void DigitNetwork::initialise(const Ref<MTL::CommandQueue>& queue, Init init, std::uint64_t seed) {
  const auto commands = queue->commandBuffer();
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const float bound =
        init == Init::Apple ? 0.2f : static_cast<float>(std::sqrt(6.0 / static_cast<double>(layers[i]->fanIn())));
    const auto uniform = MPS::MatrixRandomDistributionDescriptor::uniformDistributionDescriptor(-bound, bound);
    // A seed of its own for every layer.
    MPS::MatrixRandomMTGP32(queue->device(), MPS::DataType::Float32, seed * layers.size() + i, uniform)
        .encode(commands, layers[i]->weightVector());
    std::ranges::fill(layers[i]->biasValues(), init == Init::Apple ? 0.1f : 0.f);
  }
  commands->commit();
  commands->waitUntilCompleted();
  if (const auto error = commands->error()) throw *error;
}

std::size_t DigitNetwork::parameters() const {
  std::size_t count = 0;
  for (const auto& layer : layers) count += layer->weightValues().size() + layer->biasValues().size();
  return count;
}

Ref<MPS::NNGraph> makeTrainingGraph(const Ref<MTL::Device>& device, const DigitNetwork& network, std::size_t batch,
                                    float dropoutKeep, std::size_t dropoutSeed) {
  const Sources weights = sourcesOf(network);
  Ref<MPS::NNImageNode> x = features(weights);
  if (dropoutKeep < 1.f) x = MPS::CNNDropoutNode::create(x, dropoutKeep, dropoutSeed, {1, 1, 1})->resultImage();
  const Ref<MPS::NNImageNode> logits = MPS::CNNFullyConnectedNode::create(x, weights[3])->resultImage();
  logits->setExportFromGraph(true);
  logits->setImageAllocator(std::make_shared<ArrayAllocator>());

  const auto descriptor =
      MPS::CNNLossDescriptor::cnnLossDescriptor(MPS::CNNLossType::SoftMaxCrossEntropy, MPS::CNNReductionType::Sum);
  descriptor->setWeight(1.f / static_cast<float>(batch));
  descriptor->setNumberOfClasses(kDigits);
  const auto loss = MPS::CNNLossNode::create(logits, descriptor);
  const auto last = loss->trainingGraph(nullptr, nullptr);
  auto graph = MPS::NNGraph::graph(device, last.front()->resultImage(), false);
  graph->setFormat(MPS::ImageFeatureChannelFormat::Float32);
  return graph;
}

Ref<MPS::NNGraph> makeInferenceGraph(const Ref<MTL::Device>& device, const Sources& weights) {
  const auto logits = MPS::CNNFullyConnectedNode::create(features(weights), weights[3]);
  auto graph = MPS::NNGraph::graph(device, MPS::CNNSoftMaxNode::create(logits->resultImage())->resultImage(), true);
  graph->setFormat(MPS::ImageFeatureChannelFormat::Float32);
  return graph;
}

Ref<MPS::NNGraph> makeInferenceGraph(const Ref<MTL::Device>& device, const DigitNetwork& network) {
  return makeInferenceGraph(device, sourcesOf(network));
}

}  // namespace kovar::tools
