#pragma once
// Pooling: divisors of the average, one axis at a time. pool-inl.hpp has what happens to the values:
//   MaxPool      start()  combine(acc, tap)  finish(acc)      better(tap, best) -> M, which tap the gradient goes to
//   AveragePool  start()  combine(acc, tap)  finish(acc, divisor)      bwd(g, divisor)
//   L2Pool       start()  combine(acc, tap)  finish(acc)      bwd(g, tap, result)
// Taps are combined in row-major order, so that every implementation gives the same bits.

#include <algorithm>
#include <cstdint>

namespace kovar::maths {

/// Positions of the window [start, start + kernel) that lie in [-zeroPad, in + zeroPad): the average's divisor, one
/// factor of it for each axis, when the edge mode is Clamp. 0 when the window misses the image altogether.
constexpr std::int64_t shrunkCount(std::int64_t start, std::int64_t kernel, std::int64_t in, std::int64_t zeroPad) {
  const std::int64_t first = std::max(start, -zeroPad), last = std::min(start + kernel, in + zeroPad);
  return std::max<std::int64_t>(0, last - first);
}

/// The average's divisor. zeroEdge: the whole window counts, whatever part of it lies outside. Otherwise the two shrunk
/// counts; 0 there means that the result is 0.
constexpr std::int64_t averageDivisor(bool zeroEdge, std::int64_t kernelY, std::int64_t kernelX, std::int64_t countY,
                                      std::int64_t countX) {
  return zeroEdge ? kernelY * kernelX : countY * countX;
}

}  // namespace kovar::maths
