#pragma once
// Arithmetic of two images and comparisons: types and parameters. arithmetic-inl.hpp has the functors:
//   Add Sub Mul Div Min Max       V fwd(V x, V y)
//   Affine{scale, shift}          V fwd(V x) = scale x + shift, rounded once
//   Compare<type>{threshold}      V fwd(V x, V y), 1 or 0
//   visitArithmetic(op, f), visitComparison(type, threshold, f)      call f with the functor
//   arithmetic(functor, params, x, y)    a whole kernel: op(primaryScale x, secondaryScale y) + bias, clamped
//   insideRange(r, lo, hi)               1 where lo < r < hi, else 0: the mask that a clamp leaves to the gradient

#include <cstdint>
#include <limits>

namespace kovar::maths {

enum class ArithmeticOp : std::uint8_t { Add, Sub, Mul, Div, Min, Max };

/// Numbers as documented for MPSNNComparisonType.
enum class ComparisonType : std::uint8_t { Equal = 0, NotEqual, Less, LessOrEqual, Greater, GreaterOrEqual };

struct ArithmeticParams {
  float primaryScale = 1.f, secondaryScale = 1.f, bias = 0.f;
  float minimum = -std::numeric_limits<float>::max(), maximum = std::numeric_limits<float>::max();
};

}  // namespace kovar::maths
