// Ten training steps of the digit classifier against PyTorch's, weight by weight. What the numbers are and where the
// tolerances come from: tests/golden/digits_parity/README.md.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>

#include "golden/digits_parity/digits_parity.hpp"
#include "kovar/digits/mnist.hpp"
#include "kovar/digits/network.hpp"
#include "kovar/digits/picture_batch.hpp"
#include "support/golden.hpp"

namespace kovar::test {
namespace {

namespace parity = digits_parity;
using oracle::Tensor;

constexpr std::size_t kBatch = 40;
constexpr auto kHwc = MPS::DataLayout::HeightxWidthxFeatureChannels;

struct Deviation {
  double worst = 0;  ///< in units of the tolerance
  std::size_t at = 0;

  void see(double ours, double golden, double tolerance, std::size_t index) {
    // not (a <= b): NaN counts
    const double d = std::abs(ours - golden) / tolerance;
    if (!(d <= worst)) worst = d, at = index;
  }
};

class DigitsParity : public testing::Test {
 protected:
  void SetUp() override {
    for (GoldenCase& c : readGolden(std::string(KOVAR_SOURCE_DIR) + "/tests/golden/digits_parity/digits_parity.txt"))
      golden_.emplace(c.name, std::move(c));
    for (std::size_t i = 0; i < parity::kLayers.size(); ++i) {
      const auto start = parity::startWeights(parity::kLayers[i]);
      const Tensor& first = plan().tensor(std::string(parity::kLayers[i].name) + ".first");
      for (std::size_t k = 0; k < first.v.size(); ++k) ASSERT_EQ(start[k], static_cast<float>(first.v[k]));
      std::copy(start.begin(), start.end(), network_.layers[i]->weightValues().begin());
      std::ranges::fill(network_.layers[i]->biasValues(), parity::kBias);
    }
    graph_ = tools::makeTrainingGraph(device_, network_, kBatch, 1.f, 0);
  }

  const GoldenCase& plan() const { return golden_.at("plan"); }

  /// The loss of the batch before its update; logits of the batch go to `logits`.
  double step(std::size_t number, std::vector<float>& logits) {
    std::vector<std::uint64_t> which;
    std::vector<float> oneHot(kBatch * tools::kDigits);
    for (std::size_t i = 0; i < kBatch; ++i) {
      which.push_back(static_cast<std::uint64_t>(plan().tensor("images").v[number * kBatch + i]));
      oneHot[i * tools::kDigits + set_.labels[which.back()]] = 1.f;
    }
    pictures_.write(set_, which);
    MPS::CNNLossLabelsBatch labels;
    for (std::size_t i = 0; i < kBatch; ++i)
      labels.push_back(std::make_shared<MPS::CNNLossLabels>(
          device_, MPS::CNNLossDataDescriptor::cnnLossDataDescriptor(
                       std::as_bytes(std::span(oneHot).subspan(i * tools::kDigits, tools::kDigits)), kHwc,
                       {1, 1, tools::kDigits})));
    for (const auto& layer : network_.layers) layer->setKeep(true);
    const auto commands = queue_->commandBuffer();
    std::vector<MPS::ImageBatch> exported;
    graph_->encodeBatch(commands, {pictures_.images()}, {MPS::StateBatch(labels.begin(), labels.end())}, &exported,
                        nullptr);
    commands->commit();
    commands->waitUntilCompleted();
    EXPECT_EQ(commands->error(), nullptr) << commands->error()->what();
    double loss = 0;
    logits.resize(kBatch * tools::kDigits);
    for (std::size_t i = 0; i < kBatch; ++i) {
      float share = 0;
      labels[i]->lossImage()->readBytes(&share, kHwc, 0);
      loss += share;
      exported.at(0)[i]->readBytes(&logits[i * tools::kDigits], kHwc, 0);
    }
    return loss;
  }

  /// Kept elements, then sums and sums of squares over each output channel. `scale` of the layer's weights.
  static void expectWeights(const GoldenCase& golden, const parity::Layer& layer, std::span<const float> weights,
                            std::span<const float> biases) {
    const std::string name(layer.name), where = golden.name + " " + name;
    Deviation kept, sums, squares, bias;
    const Tensor& w = golden.tensor(name + ".weight");
    for (std::size_t k = 0; k < w.v.size(); ++k)
      kept.see(weights[k * layer.stride], w.v[k], 1e-4 * std::max<double>(std::abs(w.v[k]), layer.bound),
               k * layer.stride);
    const Tensor& b = golden.tensor(name + ".bias");
    ASSERT_EQ(b.v.size(), biases.size());
    for (std::size_t k = 0; k < b.v.size(); ++k)
      bias.see(biases[k], b.v[k], 1e-4 * std::max<double>(std::abs(b.v[k]), parity::kBias), k);
    if (golden.has(name + ".weight.rowsum")) {
      const std::size_t n = layer.count() / layer.shape[0];
      const double root = std::sqrt(static_cast<double>(n));
      for (std::size_t o = 0; o < layer.shape[0]; ++o) {
        double sum = 0, square = 0;
        for (double v : weights.subspan(o * n, n)) sum += v, square += v * v;
        sums.see(sum, golden.tensor(name + ".weight.rowsum").v[o], 1e-5 * layer.bound * root, o);
        squares.see(square, golden.tensor(name + ".weight.rowsquares").v[o], 1e-5 * layer.bound * layer.bound * root,
                    o);
      }
    } else {
      EXPECT_EQ(w.v.size(), layer.count()) << where;
    }
    EXPECT_LE(kept.worst, 1) << where << " weight " << kept.at;
    EXPECT_LE(sums.worst, 1) << where << " sum of channel " << sums.at;
    EXPECT_LE(squares.worst, 1) << where << " sum of squares of channel " << squares.at;
    EXPECT_LE(bias.worst, 1) << where << " bias " << bias.at;
  }

  /// After one step of Adam from zero, m = (1 - b1) g tells the gradient.
  static void expectGradient(const GoldenCase& golden, const std::string& tensor, std::span<const float> moment,
                             std::size_t stride) {
    const Tensor& g = golden.tensor(tensor);
    double largest = 0;
    for (double v : g.v) largest = std::max(largest, std::abs(v));
    ASSERT_GT(largest, 0) << tensor;
    Deviation deviation;
    for (std::size_t k = 0; k < g.v.size(); ++k)
      deviation.see(moment[k * stride] * 10.0, g.v[k], 2e-5 * largest, k * stride);
    EXPECT_LE(deviation.worst, 1) << tensor << " gradient " << deviation.at;
  }

  std::map<std::string, GoldenCase> golden_;
  Ref<MTL::Device> device_ = MTL::createSystemDefaultDevice();
  Ref<MTL::CommandQueue> queue_ = device_->newCommandQueue();
  tools::DigitNetwork network_{device_, 1e-3f};
  base::io::LabelledImages set_ = tools::readMnist(std::string(KOVAR_SOURCE_DIR) + "/data/mnist", "train");
  tools::PictureBatch pictures_{device_, kBatch};
  Ref<MPS::NNGraph> graph_;
};

TEST_F(DigitsParity, TenStepsOfAdamEndWithPyTorchsWeights) {
  ASSERT_EQ(plan().number("lr"), 1e-3);
  for (std::size_t k = 0; k < 10; ++k) {
    std::vector<float> logits;
    const double loss = step(k, logits), golden = plan().tensor("loss").v[k];
    EXPECT_NEAR(loss, golden, 1e-5 * golden) << "loss of step " << k + 1;
    if (k == 0) {
      const Tensor& forward = golden_.at("forward1").tensor("logits");
      ASSERT_EQ(forward.v.size(), logits.size());
      for (std::size_t i = 0; i < logits.size(); ++i) EXPECT_NEAR(logits[i], forward.v[i], 2e-5) << "logit " << i;
    }
    for (std::size_t i = 0; i < parity::kLayers.size(); ++i) {
      const parity::Layer& layer = parity::kLayers[i];
      const auto& ours = network_.layers[i];
      if (k == 0) {
        expectGradient(golden_.at("gradient1"), std::string(layer.name) + ".weight", ours->firstMoments(false),
                       layer.stride);
        expectGradient(golden_.at("gradient1"), std::string(layer.name) + ".bias", ours->firstMoments(true), 1);
      }
      const auto after = golden_.find("after" + std::to_string(k + 1));
      if (after != golden_.end()) expectWeights(after->second, layer, ours->weightValues(), ours->biasValues());
    }
  }
}

}  // namespace
}  // namespace kovar::test
