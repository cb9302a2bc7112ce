#pragma once
// What the implementations of the matrix product share.

#include <cstdint>
#include <span>
#include <vector>

#include "backend/cpu/cpu.hpp"
#include "prim/desc.hpp"

namespace kovar::cpu {

/// A product C[M,N] = A[M,K] * B[K,N] with its extents; the transposes are already in the strides.
struct MatmulShape {
  prim::Matmul desc;
  prim::View a, b, c, bias, rowSum;  // as given; a and b with axes swapped where transposed
  std::size_t biasArg = 0, cArg = 0, rowSumArg = 0;
  std::size_t ownArgs = 0;  // post-op arguments follow
  std::int64_t m = 0, n = 0, k = 0;
};

/// The arguments must have passed prim::validate().
MatmulShape describe(const prim::Matmul& desc, std::span<const prim::View> views);

/// How the operation's own arguments are used, in order.
std::vector<prim::Access> matmulAccess(const prim::Matmul& desc);

/// d[m] = sum over k of A[m,k], for all rows, in a fixed order; adds when `accumulate`.
void rowSums(Context& context, const MatmulShape& s, const float* a, float* d);

base::Status prepareMatmulBlocked(const prim::Matmul& desc, std::span<const prim::View> views,
                                  const prim::PrepareOptions& options, CpuPlan& plan);
base::Status prepareMatmulGeneric(const prim::Matmul& desc, std::span<const prim::View> views,
                                  const prim::PrepareOptions& options, CpuPlan& plan);

}  // namespace kovar::cpu
