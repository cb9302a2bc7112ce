#pragma once

#include <string>

#include "kovar/MPS/Core/Types.hpp"
#include "kovar/MPS/NN/CNNConvolutionDescriptor.hpp"

namespace kovar::MTL {
class CommandBuffer;
class Device;
}  // namespace kovar::MTL

namespace kovar::MPS {

class CNNConvolutionGradientState;
class CNNConvolutionWeightsAndBiasesState;

/// Where a convolution gets its weights. Derive from it and from Object, or use kovar/Support/DataSources.hpp.
/// Implements MPSCNNConvolutionDataSource.
///
/// A kernel calls load(), then everything it needs, then purge(), once when it is made and once per reload; pointers
/// must hold until purge(). A source used by several kernels on several threads is called from several threads.
class CNNConvolutionDataSource {
 public:
  virtual ~CNNConvolutionDataSource() = default;

  /// The type of weights(): Float32, Float16 or UInt8; Float32 for a transposed, UInt32 for a binary convolution.
  virtual DataType dataType() = 0;
  virtual Ref<CNNConvolutionDescriptor> descriptor() = 0;
  /// [outputFeatureChannels][kernelHeight][kernelWidth][inputFeatureChannels / groups]; for a fully connected layer
  /// too.
  virtual const void* weights() = 0;
  /// One float32 per output channel, whatever dataType() is; or null for none.
  virtual const float* biasTerms() = 0;
  /// Makes the values available. False: the kernel cannot be made.
  virtual bool load() = 0;
  /// The values are not needed any more. Called once per load() that returned true.
  virtual void purge() = 0;
  /// For messages.
  virtual std::string label() = 0;

  /// For UInt8 weights: minimum (x) and maximum (y) of each output channel, code u standing for
  /// x + u / 255 * (y - x); or a table of 256 values. weightsQuantizationType says which, and where it is None the one
  /// that is not null, the table before the ranges.
  virtual const Float2* rangesForUInt8Kernel() { return nullptr; }
  virtual const float* lookupTableForUInt8Kernel() { return nullptr; }
  virtual CNNWeightsQuantizationType weightsQuantizationType() { return CNNWeightsQuantizationType::None; }

  /// A training graph's update on the device, called while it encodes, right after the layer's gradient: encode an
  /// optimizer over gradientState and sourceState (the weights in use), lower the read count of both (optimizers do),
  /// and return the state that holds the new weights. Null: no update.
  virtual Ref<CNNConvolutionWeightsAndBiasesState> update(const Ref<MTL::CommandBuffer>& commandBuffer,
                                                          const Ref<CNNConvolutionGradientState>& gradientState,
                                                          const Ref<CNNConvolutionWeightsAndBiasesState>& sourceState);
  /// A training graph's update on the host, called when the work has completed: change the values behind weights() and
  /// biasTerms() and return true; the kernels are then reloaded from the source. False: no update.
  virtual bool update(const Ref<CNNConvolutionGradientState>& gradientState,
                      const Ref<CNNConvolutionWeightsAndBiasesState>& sourceState);
  /// The source for a copy of the kernel on `device`. Null: the copy uses this object.
  virtual Ref<CNNConvolutionDataSource> copy(const Ref<MTL::Device>& device);
  virtual CNNConvolutionWeightsLayout weightsLayout() { return CNNConvolutionWeightsLayout::OHWI; }
  /// Precision inside the kernel. Weights keep that of dataType() either way, unless KOVAR_STRICT_FORMATS=1: then
  /// Float16 rounds float32 weights to half, as the original does.
  virtual DataType kernelWeightsDataType() { return DataType::Float16; }
};

}  // namespace kovar::MPS
