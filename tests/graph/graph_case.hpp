#pragma once
// A small network, its data sources and the ways the graph tests run it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <cstdlib>

#include <cmath>
#include <functional>
#include <span>
#include <vector>

#include "kovar/Support/DataSources.hpp"
#include "kovar/kovar.hpp"
#include "oracle/formats.hpp"
#include "support/random.hpp"

namespace kovar::test {

inline constexpr auto kHwc = MPS::DataLayout::HeightxWidthxFeatureChannels;
inline constexpr auto kFloat = MPS::ImageFeatureChannelFormat::Float32;

inline const Ref<MTL::Device>& device() {
  // KOVAR_TEST_DEVICE: the whole suite on another device.
  const char* other = std::getenv("KOVAR_TEST_DEVICE");
  static const Ref<MTL::Device> d = MTL::deviceNamed(other != nullptr ? other : "cpu");
  return d;
}
inline const Ref<MTL::CommandQueue>& queue() {
  static const Ref<MTL::CommandQueue> q = device()->newCommandQueue();
  return q;
}

inline std::vector<float> values(Random& random, std::size_t n, double scale = 1) {
  std::vector<float> v(n);
  for (float& x : v) x = static_cast<float>(random.real(-scale, scale));
  return v;
}

inline std::span<float> floatsOf(const Ref<MTL::Buffer>& buffer) {
  return {static_cast<float*>(buffer->contents()), buffer->length() / sizeof(float)};
}

/// Weights trained by plain descent, in the graph (GPU style) or on the host (CPU style). `latest` are the weights
/// after the last step of either.
class Trained : public ConvolutionWeights {
 public:
  using ConvolutionWeights::ConvolutionWeights;
  float rate = 0.1f;
  int updates = 0;

  Ref<MPS::CNNConvolutionWeightsAndBiasesState> update(
      const Ref<MTL::CommandBuffer>& commands, const Ref<MPS::CNNConvolutionGradientState>& gradients,
      const Ref<MPS::CNNConvolutionWeightsAndBiasesState>& source) override {
    ++updates;
    if (!kept_) kept_ = std::make_shared<MPS::CNNConvolutionWeightsAndBiasesState>(device(), descriptor());
    MPS::NNOptimizerStochasticGradientDescent(device(), rate).encode(commands, gradients, source, {}, kept_);
    return kept_;
  }
  bool update(const Ref<MPS::CNNConvolutionGradientState>& gradients,
              const Ref<MPS::CNNConvolutionWeightsAndBiasesState>& source) override {
    ++updates;
    // What the graph trains is what it says it used.
    EXPECT_THAT(floatsOf(source->weights()), testing::ElementsAreArray(weightValues()));
    const auto descend = [&](std::span<float> v, std::span<const float> g) {
      for (std::size_t i = 0; i < v.size(); ++i) v[i] -= rate * g[i];
    };
    descend(weightValues(), floatsOf(gradients->gradientForWeights()));
    descend(biasValues(), floatsOf(gradients->gradientForBiases()));
    return true;
  }

  /// Trains as this one does, with the values that lie here.
  Ref<MPS::CNNConvolutionDataSource> copy(const Ref<MTL::Device>&) override {
    Ref<Trained> same(new Trained(*this));
    same->kept_ = nullptr;
    return same;
  }

  std::span<const float> latestWeights() { return kept_ ? floatsOf(kept_->weights()) : weightValues(); }
  std::span<const float> latestBiases() { return kept_ ? floatsOf(kept_->biases()) : biasValues(); }

 private:
  Ref<MPS::CNNConvolutionWeightsAndBiasesState> kept_;
};

inline Ref<Trained> trained(Random& random, std::size_t k, std::size_t in, std::size_t out, const char* name) {
  return std::make_shared<Trained>(MPS::CNNConvolutionDescriptor::cnnConvolutionDescriptor(k, k, in, out),
                                   values(random, out * k * k * in, 0.4), values(random, out, 0.2), name);
}

inline MPS::ImageBatch images(Random& random, std::size_t n, std::size_t w, std::size_t h, std::size_t c) {
  MPS::ImageBatch batch;
  for (std::size_t i = 0; i < n; ++i) {
    batch.push_back(std::make_shared<MPS::Image>(device(), MPS::ImageDescriptor::imageDescriptor(kFloat, w, h, c)));
    batch.back()->writeBytes(values(random, w * h * c).data(), kHwc, 0);
  }
  return batch;
}

inline std::vector<float> read(const Ref<MPS::Image>& image) {
  std::vector<float> v(image->width() * image->height() * image->featureChannels());
  if (image->featureChannelFormat() == kFloat) {
    image->readBytes(v.data(), kHwc, 0);
  } else {
    std::vector<std::uint16_t> half(v.size());
    image->readBytes(half.data(), kHwc, 0);
    for (std::size_t i = 0; i < v.size(); ++i) v[i] = static_cast<float>(oracle::fromHalfBits(half[i]));
  }
  return v;
}

inline std::vector<float> read(const MPS::ImageBatch& batch) {
  std::vector<float> all;
  for (const auto& image : batch) {
    const auto one = read(image);
    all.insert(all.end(), one.begin(), one.end());
  }
  return all;
}

inline void run(const std::function<void(const Ref<MTL::CommandBuffer>&)>& body) {
  const auto commands = queue()->commandBuffer();
  body(commands);
  commands->commit();
  commands->waitUntilCompleted();
  ASSERT_EQ(commands->status(), MTL::CommandBufferStatus::Completed)
      << (commands->error() ? commands->error()->what() : "");
}

/// Image i belongs to class i modulo the number of classes.
inline MPS::CNNLossLabelsBatch labelsOf(std::size_t n, std::size_t classes) {
  MPS::CNNLossLabelsBatch batch;
  for (std::size_t i = 0; i < n; ++i) {
    std::vector<float> oneHot(classes);
    oneHot[i % classes] = 1;
    batch.push_back(std::make_shared<MPS::CNNLossLabels>(
        device(),
        MPS::CNNLossDataDescriptor::cnnLossDataDescriptor(std::as_bytes(std::span(oneHot)), kHwc, {1, 1, classes})));
  }
  return batch;
}

/// 6 x 6 x 4 -> convolution 3 x 3 to 8 -> tanh -> average pooling 2 -> fully connected to 5: smooth everywhere, so that
/// differences tell the gradient.
struct SmallNet {
  static constexpr std::size_t kImages = 3, kClasses = 5;
  static constexpr float kWeight = 0.5f;

  Random random{7};
  Ref<Trained> conv = trained(random, 3, 4, 8, "conv"), full = trained(random, 3, 8, kClasses, "full");
  MPS::ImageBatch batch = images(random, kImages, 6, 6, 4);
  Ref<MPS::NNImageNode> source = MPS::NNImageNode::create(std::make_shared<MPS::NamedHandle>("source"));
  Ref<MPS::CNNConvolutionNode> convNode = MPS::CNNConvolutionNode::create(source, conv);
  Ref<MPS::CNNFullyConnectedNode> fullNode;
  Ref<MPS::NNImageNode> logits;

  SmallNet() {
    const auto active = MPS::CNNNeuronTanHNode::create(convNode->resultImage());
    const auto pool = MPS::CNNPoolingAverageNode::create(active->resultImage(), 2);
    pool->setPaddingPolicy(MPS::NNDefaultPadding::paddingForTensorflowAveragePooling());
    fullNode = MPS::CNNFullyConnectedNode::create(pool->resultImage(), full);
    logits = fullNode->resultImage();
  }

  Ref<MPS::CNNLossNode> loss() const {
    const auto d =
        MPS::CNNLossDescriptor::cnnLossDescriptor(MPS::CNNLossType::SoftMaxCrossEntropy, MPS::CNNReductionType::Sum);
    d->setWeight(kWeight);
    return MPS::CNNLossNode::create(logits, d);
  }

  Ref<MPS::NNGraph> training() const {
    const auto graph =
        MPS::NNGraph::graph(device(), loss()->trainingGraph(nullptr, nullptr).at(0)->resultImage(), false);
    graph->setFormat(kFloat);
    return graph;
  }

  Ref<MPS::NNGraph> inference() const {
    const auto graph = MPS::NNGraph::graph(device(), logits, true);
    graph->setFormat(kFloat);
    return graph;
  }

  /// One step; returns what the labels say the loss was.
  double step(const Ref<MPS::NNGraph>& training) const {
    const auto labels = labelsOf(kImages, kClasses);
    run([&](const auto& commands) {
      training->encodeBatch(commands, {batch}, {MPS::StateBatch(labels.begin(), labels.end())});
    });
    double sum = 0;
    for (const auto& l : labels) sum += read(l->lossImage()).at(0);
    return sum;
  }

  /// The loss of the weights as they lie in the sources, in double precision from the network's logits.
  double lossOf(const Ref<MPS::NNGraph>& inference) const {
    inference->reloadFromDataSources();
    MPS::ImageBatch out;
    run([&](const auto& commands) { out = inference->encodeBatch(commands, {batch}, {}); });
    double loss = 0;
    for (std::size_t i = 0; i < out.size(); ++i) {
      double sum = 0;
      const auto y = read(out[i]);
      for (float v : y) sum += std::exp(static_cast<double>(v));
      loss -= kWeight * (y[i % kClasses] - std::log(sum));
    }
    return loss;
  }
};

}  // namespace kovar::test
