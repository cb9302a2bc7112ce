#pragma once
// Shared by the oneDNN convolutions: descriptions of a piece, and images that are not dense.

#include <cstdint>

#include "backend/cpu/conv_pieces.hpp"
#include "backend/cpu/dnnl_calls.hpp"

namespace kovar::cpu {

/// A piece in oneDNN's terms. Images are dense NHWC; weights are as the caller's view has them, or any.
struct DnnlConvDescs {
  DnnlConvDescs(const ConvShape& s, const ConvPiece& p);
  dnnl::convolution_forward::primitive_desc forward(const dnnl::memory::desc& weights, bool bias) const;

  dnnl::memory::desc src, dst, plainWeights, anyWeights;
  dnnl::memory::dims strides, dilates, padLow, padHigh;
  std::int64_t weightOffset = 0;  ///< first weight of the piece, in floats
};

/// Whether oneDNN can compute a piece of this convolution.
base::Status onednnTakes(const ConvShape& s, const ConvPiece& piece);

/// Floats of a dense copy of an image view.
std::int64_t imageFloats(const prim::View& v);
/// Copies the elements of a view whose channels lie beside each other to dense memory, and back. `from`, `to`: first
/// element.
void gatherImage(const float* from, const prim::View& v, float* to);
void scatterImage(const float* from, float* to, const prim::View& v);

base::Status prepareConvWeightsOnednnF32(const prim::Conv& desc, std::span<const prim::View> views,
                                         const prim::PrepareOptions& options, CpuPlan& plan);

}  // namespace kovar::cpu
