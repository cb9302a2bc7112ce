#pragma once
// What binary convolutions hold: their weights on the device, and what the caller said about scales and biases.

#include <memory>
#include <string>
#include <vector>

#include "kovar/MPS/NN/CNNBinaryConvolution.hpp"
#include "nn/convolution_geometry.hpp"

namespace kovar::nn {

/// As the caller said. Empty arrays: biases of 0, scales of 1.
struct BinarySettings {
  std::vector<float> outputBias, outputScale, inputBias, inputScale;
  float scaleValue = 1;       ///< for all output channels, on top of outputScale
  bool sourceBiases = false;  ///< the data source's biases are the output's
  MPS::CNNBinaryConvolutionType type = MPS::CNNBinaryConvolutionType::BinaryWeights;
  MPS::CNNBinaryConvolutionFlags flags = MPS::CNNBinaryConvolutionFlags::None;
};

/// The settings of the constructor with arrays, whose lengths the source's descriptor tells.
BinarySettings binarySettings(MPS::CNNConvolutionDataSource* source, const char* who, const float* outputBias,
                              const float* outputScale, const float* inputBias, const float* inputScale,
                              MPS::CNNBinaryConvolutionType type, MPS::CNNBinaryConvolutionFlags flags);
/// Those of the constructor with one scale.
BinarySettings binarySettings(float scaleValue, MPS::CNNBinaryConvolutionType type,
                              MPS::CNNBinaryConvolutionFlags flags);

/// Never changes once made.
struct BinaryParts {
  Ref<MTL::Device> device;
  Ref<MPS::CNNConvolutionDescriptor> descriptor;
  std::string label;
  ConvolutionShape shape;
  BinarySettings settings;
  std::vector<std::uint32_t> words;        ///< of the weights
  rt::StorageRef weights;                  ///< words, or with BinaryWeights floats of -1 and 1
  rt::StorageRef outputBias, outputScale;  ///< null: 0, 1
  rt::StorageRef inputBias, inputScale;    ///< both or none
  rt::StorageRef slopes;                   ///< of a PReLU

  bool isBits() const { return settings.type != MPS::CNNBinaryConvolutionType::BinaryWeights; }
  std::int64_t wordsOfPixel() const { return (shape.inputs + 31) / 32; }
  /// The same on another device.
  std::shared_ptr<const BinaryParts> on(const Ref<MTL::Device>& other) const;
};

/// Loads the source. Throws Error; purges the source either way.
std::shared_ptr<const BinaryParts> loadBinary(const Ref<MTL::Device>& device,
                                              const Ref<MPS::CNNConvolutionDataSource>& source,
                                              const BinarySettings& settings, const char* who);

/// Writes the parts, or reads and checks them. `who` names the class.
void codeBinary(MPS::Archive& coder, const Ref<MTL::Device>& device, std::shared_ptr<const BinaryParts>& parts,
                const char* who);

/// Makes kernels from settings, for graph nodes.
struct BinaryAccess {
  static Ref<MPS::CNNBinaryConvolution> convolution(const Ref<MTL::Device>& device,
                                                    const Ref<MPS::CNNConvolutionDataSource>& source,
                                                    const BinarySettings& settings);
  static Ref<MPS::CNNBinaryConvolution> fullyConnected(const Ref<MTL::Device>& device,
                                                       const Ref<MPS::CNNConvolutionDataSource>& source,
                                                       const BinarySettings& settings);
};

}  // namespace kovar::nn
