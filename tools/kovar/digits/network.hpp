#pragma once
// The digit classifier: 28 x 28 gray, 5x5 convolution to 32 channels, ReLU, 2x2 max pooling, 5x5 convolution to 64,
// ReLU, max pooling, fully connected to 1024, ReLU, dropout 0.5 (training only), fully connected to 10.

#include <array>
#include <cstdint>
#include <string>

#include "kovar/digits/adam_layer.hpp"

namespace kovar::tools {

inline constexpr int kDigitSide = 28;
inline constexpr int kDigits = 10;

/// How the weights start.
enum class Init {
  He,     ///< uniform in +-sqrt(6 / fan-in), biases 0
  Apple,  ///< uniform in +-0.2, biases 0.1: as the published sample does, which learns more slowly
};

struct DigitNetwork {
  std::array<Ref<AdamLayer>, 4> layers;  ///< conv1, conv2, fc1, fc2

  DigitNetwork(const Ref<MTL::Device>& device, float learningRate);
  /// Fills the weights from the seed, on the device.
  void initialise(const Ref<MTL::CommandQueue>& queue, Init init, std::uint64_t seed);
  std::size_t parameters() const;
};

/// One graph that runs a training step. Sources: a batch of pictures and one CNNLossLabels per picture, whose lossImage
/// receives the picture's share of the mean cross entropy. Intermediate images: the ten logits of each, all in one
/// array. dropoutKeep 1 leaves the dropout out.
Ref<MPS::NNGraph> makeTrainingGraph(const Ref<MTL::Device>& device, const DigitNetwork& network, std::size_t batch,
                                    float dropoutKeep, std::size_t dropoutSeed);

/// One graph that turns pictures into ten probabilities each.
Ref<MPS::NNGraph> makeInferenceGraph(const Ref<MTL::Device>& device,
                                     const std::array<Ref<MPS::CNNConvolutionDataSource>, 4>& layers);
Ref<MPS::NNGraph> makeInferenceGraph(const Ref<MTL::Device>& device, const DigitNetwork& network);

/// Window and channels of each of the four layers, and their names.
struct LayerShape {
  const char* name;
  std::size_t kernel, inputs, outputs;
};
inline constexpr std::array<LayerShape, 4> kDigitLayers{
    {{"conv1", 5, 1, 32}, {"conv2", 5, 32, 64}, {"fc1", 7, 64, 1024}, {"fc2", 1, 1024, kDigits}}};
Ref<MPS::CNNConvolutionDescriptor> descriptorOf(const LayerShape& shape);

}  // namespace kovar::tools
