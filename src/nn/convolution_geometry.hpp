#pragma once
// What the convolution classes share when they turn properties into primitives.

#include <algorithm>
#include <memory>
#include <string>

#include "base/edge.hpp"
#include "maths/geometry.hpp"
#include "nn/core/access.hpp"
#include "nn/weights_cell.hpp"

namespace kovar::nn {

/// Gives a kernel's source the window, stride and dilation of a descriptor.
template <class Source>
void takeWindow(const MPS::CNNConvolutionDescriptor& d, Source& s) {
  s.kernelWidth = d.kernelWidth();
  s.kernelHeight = d.kernelHeight();
  s.strideX = d.strideInPixelsX();
  s.strideY = d.strideInPixelsY();
  s.dilationX = d.dilationRateX();
  s.dilationY = d.dilationRateY();
}

/// Window, stride and dilation of a descriptor; no padding yet.
inline prim::Conv windowsOf(const MPS::CNNConvolutionDescriptor& d) {
  const auto axis = [](std::size_t kernel, std::size_t stride, std::size_t dilation) {
    return prim::Window{static_cast<std::int32_t>(kernel), static_cast<std::int32_t>(stride),
                        static_cast<std::int32_t>(dilation), 0};
  };
  prim::Conv conv;
  conv.y = axis(d.kernelHeight(), d.strideInPixelsY(), d.dilationRateY());
  conv.x = axis(d.kernelWidth(), d.strideInPixelsX(), d.dilationRateX());
  return conv;
}
/// The same with the groups of the cell.
inline prim::Conv convOf(const WeightsCell& cell) {
  prim::Conv conv = windowsOf(cell.descriptor());
  conv.groups = static_cast<std::int32_t>(cell.shape().groups);
  return conv;
}

/// Source position of the first tap of the first window, the kernel's offset naming its centre.
inline std::int64_t firstRow(const prim::Conv& conv, std::int64_t offset) {
  return maths::windowStart(offset, conv.y.extent());
}
inline std::int64_t firstColumn(const prim::Conv& conv, std::int64_t offset) {
  return maths::windowStart(offset, conv.x.extent());
}

/// Source pixels from the first tap of the first of `count` windows to the last tap of the last.
inline std::int64_t touched(const prim::Window& window, std::int64_t count) {
  return (count - 1) * window.stride + window.extent();
}

/// Whether the device may multiply and add in less than float32.
inline bool mayBeNarrow(MPS::KernelOptions options, MPS::NNConvolutionAccumulatorPrecisionOption accumulator) {
  return (options & MPS::KernelOptions::AllowReducedPrecision) != MPS::KernelOptions::None ||
         accumulator == MPS::NNConvolutionAccumulatorPrecisionOption::Half;
}

/// Convolutions read a fixed number of channels.
inline void requireChannels(const MPS::Kernel& who, const char* what, std::size_t used, std::size_t wanted) {
  if (used >= wanted) return;
  base::raise(Access::described(who) + ".encode: the " + what + " gives " + std::to_string(used) +
              " feature channels, " + std::to_string(wanted) +
              " are needed; check its size, the source channel offset and the source channel maximum");
}

/// Channel C * (scale * row + column) + c of `blocks` goes to channel c of pixel (column, row) of the block of
/// scale x scale pixels; blocks that reach beyond the destination are cut off.
void spreadBlocks(Recorder& list, const Tensor& blocks, std::int64_t scale, const Tensor& destination);

/// A fully connected layer's kernel is as large as its source, its result one pixel.
void requireWindow(const MPS::Kernel& who, const ConvolutionShape& shape, const Tensor& source);
void requireOnePixel(const MPS::Kernel& who, const char* what, const Tensor& t);

/// The buffers that weight gradients of one encode go into.
struct GradientSums {
  MPS::CNNConvolutionGradientState* state = nullptr;
  Tensor weights, biases;
  bool accumulate = false;  ///< they hold the sums of encodes before
  rt::Operand operand(const Tensor& part) const;
  /// The encode has been recorded: later ones add.
  void done() const;
};
/// Those of the call's state. Throws Error when there is none or it belongs to a convolution of other sizes.
GradientSums gradientSums(Call& call, const WeightsCell& cell, const std::string& who);

/// Puts turned weight gradients into the sums, or adds them.
void turnBack(Recorder& list, const ConvolutionShape& shape, const Tensor& turned, const GradientSums& sums);

/// Refuses what gradient kernels do not differentiate: an activation or batch normalisation in the descriptor.
std::shared_ptr<WeightsCell> differentiable(std::shared_ptr<WeightsCell> cell, const char* who);
/// The option, if it is one.
MPS::CNNConvolutionGradientOption knownOption(MPS::CNNConvolutionGradientOption option, const std::string& who);

/// Gives a cloned kernel weights of its own.
template <class K>
Ref<MPS::Kernel> copyWithWeights(Ref<MPS::Kernel> clone, const K& original, const Ref<MTL::Device>& device) {
  const std::string who = Access::described(original);
  ConvolutionAccess::setCell(static_cast<K&>(*clone), ConvolutionAccess::cell(original)->copyFor(device, who.c_str()));
  return clone;
}

/// A data source over copies of a caller's arrays, for the deprecated constructors.
Ref<MPS::CNNConvolutionDataSource> sourceOver(const char* who, const Ref<MPS::CNNConvolutionDescriptor>& descriptor,
                                              const float* weights, const float* biases);

}  // namespace kovar::nn
