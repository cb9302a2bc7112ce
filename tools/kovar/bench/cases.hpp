#pragma once
// What kovar bench measures: one table of operators and models, each through the public classes.

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "kovar/MTL/MTL.hpp"

namespace kovar::tools {

/// Which of the machine's bandwidths an operation can reach at most.
enum class Traffic {
  Read,     ///< it writes next to nothing
  Copy,     ///< it writes memory that it has not read
  InPlace,  ///< it writes where it has read
};

/// Encodes one run.
using BenchRun = std::function<void(const Ref<MTL::CommandBuffer>&)>;

struct BenchCase {
  std::string name;
  std::size_t batch = 1;
  double flops = 0;  ///< of direct sums, a multiply-add counts two; 0: bound by memory
  double bytes = 0;  ///< that must move at least: every argument once
  Traffic traffic = Traffic::Copy;
  std::function<BenchRun(const Ref<MTL::Device>&)> make;  ///< allocates and fills what the run needs

  /// "conv3x3_128_128_28.b16"; filters and files name cases by it.
  std::string title() const { return name + ".b" + std::to_string(batch); }
};

/// All of them. float32; images are laid out with the channels of a pixel together.
std::vector<BenchCase> benchCases();

}  // namespace kovar::tools
