#pragma once
// Data sources that the bench and the gallery share.

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <kovar/kovar.hpp>

namespace kovar::tools {

/// gamma and beta of an instance normalization, the same for each channel.
class UniformInstance final : public Object, public MPS::CNNInstanceNormalizationDataSource {
 public:
  UniformInstance(std::size_t channels, float gamma, float beta) : gamma_(channels, gamma), beta_(channels, beta) {}
  const float* gamma() override { return gamma_.data(); }
  const float* beta() override { return beta_.data(); }
  std::size_t numberOfFeatureChannels() const override { return gamma_.size(); }
  std::string label() override { return "uniform"; }

 private:
  std::vector<float> gamma_, beta_;
};

/// Weights of one bit for a binary convolution: for each filter and tap, words of 32 input channels.
class BitWeights final : public Object, public MPS::CNNConvolutionDataSource {
 public:
  BitWeights(Ref<MPS::CNNConvolutionDescriptor> descriptor, std::vector<std::uint32_t> words)
      : descriptor_(std::move(descriptor)), words_(std::move(words)) {}
  MPS::DataType dataType() override { return MPS::DataType::UInt32; }
  Ref<MPS::CNNConvolutionDescriptor> descriptor() override { return descriptor_; }
  const void* weights() override { return words_.data(); }
  const float* biasTerms() override { return nullptr; }
  bool load() override { return true; }
  void purge() override {}
  std::string label() override { return "bits"; }

 private:
  Ref<MPS::CNNConvolutionDescriptor> descriptor_;
  std::vector<std::uint32_t> words_;
};

}  // namespace kovar::tools
