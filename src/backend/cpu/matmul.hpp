#pragma once
// What the implementations of the matrix product share.

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "backend/cpu/cpu.hpp"
#include "backend/cpu/step.hpp"
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

/// The arguments of an update's optimizer step, for one run of parameters.
class MatmulUpdate {
 public:
  MatmulUpdate() = default;
  explicit MatmulUpdate(const MatmulShape& s, std::span<const prim::View> views);
  /// Feeds `count` gradients, those of C's row `row` from `column` on, to the step.
  void run(const StepRule& rule, const prim::Invocation& inv, float* gradient, std::int64_t row, std::int64_t column,
           std::int64_t count) const;

 private:
  std::size_t states_ = 0, valuesArg_ = 0, resultArg_ = 0;
  std::array<prim::View, kMaxStepArgs> views_{};  // as the step takes them, without the gradient
};

/// d[m] = sum over k of A[m,k], for all rows, in a fixed order; adds when `accumulate`.
void rowSums(Context& context, const MatmulShape& s, const float* a, float* d);

base::Status prepareMatmulBlocked(const prim::Matmul& desc, std::span<const prim::View> views,
                                  const prim::PrepareOptions& options, CpuPlan& plan);
base::Status prepareMatmulGeneric(const prim::Matmul& desc, std::span<const prim::View> views,
                                  const prim::PrepareOptions& options, CpuPlan& plan);

}  // namespace kovar::cpu
