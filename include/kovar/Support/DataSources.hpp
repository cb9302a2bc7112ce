#pragma once
// Ready-made data sources, so that nobody has to derive one for weights that lie in memory or in a file.

#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kovar/MPS/NN/CNNConvolutionDataSource.hpp"

namespace kovar {

/// Float32 weights and biases of a convolution in memory. The values may be changed between a kernel's loads: change
/// them, then call the kernel's reloadWeightsAndBiasesFromDataSource().
class ConvolutionWeights : public Object, public MPS::CNNConvolutionDataSource {
 public:
  /// weights: [outputFeatureChannels][kernelHeight][kernelWidth][inputFeatureChannels / groups]; biases: one per output
  /// channel, or none. Throws Error when the counts differ from the descriptor's.
  ConvolutionWeights(const Ref<MPS::CNNConvolutionDescriptor>& descriptor, std::vector<float> weights,
                     std::vector<float> biases = {}, std::string label = {});

  std::span<float> weightValues() { return weights_; }
  std::span<float> biasValues() { return biases_; }

  MPS::DataType dataType() override { return MPS::DataType::Float32; }
  Ref<MPS::CNNConvolutionDescriptor> descriptor() override { return descriptor_; }
  const void* weights() override { return weights_.data(); }
  const float* biasTerms() override { return biases_.empty() ? nullptr : biases_.data(); }
  bool load() override { return true; }
  void purge() override {}
  std::string label() override { return label_; }
  /// A source with a copy of the values.
  Ref<MPS::CNNConvolutionDataSource> copy(const Ref<MTL::Device>& device) override;

 protected:
  ConvolutionWeights(const ConvolutionWeights&) = default;

 private:
  Ref<MPS::CNNConvolutionDescriptor> descriptor_;
  std::vector<float> weights_, biases_;
  std::string label_;
};

/// A safetensors file: named tensors. Opening reads and checks the header only. May be used from several threads.
class SafetensorsFile final : public Object {
 public:
  /// Throws Error when the file cannot be read or is not well-formed.
  explicit SafetensorsFile(const std::string& path);
  ~SafetensorsFile() override;

  const std::string& path() const { return path_; }
  std::vector<std::string> tensorNames() const;
  bool contains(std::string_view tensor) const;
  /// Lengths of the dimensions. Throws Error when there is no such tensor.
  std::vector<std::size_t> shape(std::string_view tensor) const;
  /// The elements of a float32 tensor, or of a float16 or bfloat16 one, which are widened exactly. Throws Error when
  /// there is no such tensor or it holds something else.
  std::vector<float> floats(std::string_view tensor) const;

 private:
  struct Contents;
  std::string path_;
  std::unique_ptr<const Contents> contents_;
};

/// Weights and biases of a convolution in a safetensors file, read when a kernel loads them and dropped afterwards.
class SafetensorsConvolutionWeights final : public Object, public MPS::CNNConvolutionDataSource {
 public:
  /// How the file's weight tensor is laid out.
  enum class Layout {
    OHWI,  ///< [output][kernelHeight][kernelWidth][input / groups], as kernels take it
    OIHW,  ///< [output][input / groups][kernelHeight][kernelWidth], as PyTorch and ONNX have it; converted
  };
  /// The tensors must have the descriptor's sizes; a fully connected layer's weights may also be [output][everything
  /// else]. An empty biasTensor: no biases. What is wrong with the file is thrown as Error when a kernel loads the
  /// source.
  SafetensorsConvolutionWeights(const Ref<SafetensorsFile>& file, const Ref<MPS::CNNConvolutionDescriptor>& descriptor,
                                std::string weightTensor, std::string biasTensor = {}, Layout layout = Layout::OIHW);

  MPS::DataType dataType() override { return MPS::DataType::Float32; }
  Ref<MPS::CNNConvolutionDescriptor> descriptor() override { return descriptor_; }
  const void* weights() override { return weights_.data(); }
  const float* biasTerms() override { return biases_.empty() ? nullptr : biases_.data(); }
  bool load() override;
  void purge() override;
  /// The name of the weight tensor.
  std::string label() override { return weightTensor_; }
  /// A source that reads the same tensors.
  Ref<MPS::CNNConvolutionDataSource> copy(const Ref<MTL::Device>& device) override;

 private:
  void read();
  Ref<SafetensorsFile> file_;
  Ref<MPS::CNNConvolutionDescriptor> descriptor_;
  std::string weightTensor_, biasTensor_;
  Layout layout_;
  std::mutex mutex_;  // kernels on several threads may load at once
  std::vector<float> weights_, biases_;
  int loads_ = 0;
};

}  // namespace kovar
