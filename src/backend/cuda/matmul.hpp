#pragma once
// A matrix product as its candidates see it.

#include <cstddef>
#include <span>

#include "backend/cuda/cuda.hpp"
#include "prim/desc.hpp"

namespace kovar::cuda {

/// a is m by k and b is k by n: transposition is in their strides.
struct MatmulShape {
  prim::Matmul desc;
  prim::View a, b, c, bias, rowSum;
  std::size_t biasArg = 2, cArg = 2, rowSumArg = 3, own = 3;
  std::int64_t m = 0, n = 0, k = 0;
};
MatmulShape describe(const prim::Matmul& desc, std::span<const prim::View> views);

base::Status prepareMatmulCublas(Device& device, const prim::Matmul& desc, std::span<const prim::View> views,
                                 const prim::PrepareOptions& options, CudaPlan& plan);
base::Status prepareMatmulTiles(Device& device, const prim::Matmul& desc, std::span<const prim::View> views,
                                const prim::PrepareOptions& options, CudaPlan& plan);

/// The sum over k of a's rows, for Matmul::rowSum; null when the product has none.
class PreparedReduce;
std::shared_ptr<const PreparedReduce> prepareRowSum(Device& device, const MatmulShape& shape, CudaPlan& plan);

}  // namespace kovar::cuda
