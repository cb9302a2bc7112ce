#pragma once
// Times the cases of kovar bench in rounds, the machine's roof beside them.

#include <vector>

#include "backend/cpu/roof.hpp"
#include "kovar/bench/cases.hpp"

namespace kovar::tools {

struct BenchSettings {
  int rounds = 3;
  double seconds = 0.1;  ///< of every case in every round
};

/// What came out of one case, all rounds together.
struct BenchResult {
  const BenchCase* measured = nullptr;
  std::vector<double> seconds;  ///< of one run, sorted
  std::vector<double> shares;   ///< of the roof beside each round: 1 would be as fast as the machine can; may be empty

  double median() const;
  /// Half of the runs differ by no more than this, as a share of the median.
  double spread() const;
  /// The median of the rounds; 0 without a roof.
  double share() const;
};

struct BenchReport {
  cpu::Roof roof;  ///< medians; zeros where the device is not this processor
  std::vector<BenchResult> results;
};

/// Runs every case in every round. `progress` is called before each with its title and how many there are. Throws
/// Error when a case cannot run.
BenchReport measureCases(const Ref<MTL::Device>& device, int threads, const std::vector<BenchCase>& cases,
                         const BenchSettings& settings,
                         const std::function<void(const std::string&, std::size_t, std::size_t)>& progress);

/// Seconds that the roof allows for a case: the longer one of arithmetic and traffic.
double roofSeconds(const BenchCase& c, const cpu::Roof& roof);

}  // namespace kovar::tools
