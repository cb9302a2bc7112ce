#pragma once
// A convolution as its candidates see it: which argument is what, in every direction.

#include <cstddef>
#include <span>

#include "backend/cuda/cuda.hpp"
#include "prim/desc.hpp"

namespace kovar::cuda {

struct ConvShape {
  prim::Conv desc;
  prim::View src, dst, weights, bias;
  std::size_t srcArg = 0, dstArg = 0, weightsArg = 1, biasArg = 0;
  std::size_t own = 3;        ///< arguments before those of the post-op program
  std::size_t resultArg = 0;  ///< what the direction computes
};
ConvShape describe(const prim::Conv& desc, std::span<const prim::View> views);

/// Whether there is a candidate of cuDNN's to leave a convolution to.
bool hasCudnn();

base::Status prepareConvCudnn(Device& device, const prim::Conv& desc, std::span<const prim::View> views,
                              const prim::PrepareOptions& options, CudaPlan& plan);
base::Status prepareConvTiles(Device& device, const prim::Conv& desc, std::span<const prim::View> views,
                              const prim::PrepareOptions& options, CudaPlan& plan);
base::Status prepareConvThreads(Device& device, const prim::Conv& desc, std::span<const prim::View> views,
                                const prim::PrepareOptions& options, CudaPlan& plan);

}  // namespace kovar::cuda
