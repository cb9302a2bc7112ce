#pragma once
// What the processor can do at the moment, to hold measured kernels against.

#include <cstddef>
#include <vector>

#include "base/parallel.hpp"

namespace kovar::cpu {

/// Rates of all threads together.
struct Roof {
  double gflops = 0;   ///< multiply-adds that touch no memory, two operations each
  double read = 0;     ///< GB/s of a sum over memory
  double copy = 0;     ///< GB/s, read and written bytes together
  double inPlace = 0;  ///< GB/s of an update, read and written bytes together
};

/// Measures them on memory that no cache holds (64 MB an array).
class RoofProbe {
 public:
  explicit RoofProbe(int threads);
  /// Some 20 milliseconds' work.
  Roof measure();

 private:
  base::ThreadPool pool_;
  std::vector<float> from_, to_;
};

/// GFLOP/s of these threads that only multiply and add.
double multiplyAddRate(base::ThreadPool& pool);

}  // namespace kovar::cpu
