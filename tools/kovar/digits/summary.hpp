#pragma once
// What a training run leaves behind besides its weights: figures as JSON, a report as a page.

#include <string>
#include <vector>

#include "kovar/digits/checkpoint.hpp"
#include "kovar/digits/evaluate.hpp"
#include "kovar/digits/trainer.hpp"

namespace kovar::tools {

struct RunSummary {
  RunState state;
  std::uint64_t firstStep = 0;  ///< done before this program went on
  bool interrupted = false;
  std::vector<StepResult> results;                      ///< of the steps of this program
  std::vector<std::pair<std::uint64_t, double>> tests;  ///< steps done, accuracy
  Evaluation last;                                      ///< the last look at the test pictures; none: pictures is 0
  double loadSeconds = 0, trainSeconds = 0, testSeconds = 0, saveSeconds = 0;
  StepMemory stepMemory;
  Ref<MTL::Device> device;
  int threads = 0;
  std::string data, command;

  double imagesPerSecond() const {
    return trainSeconds > 0 ? static_cast<double>(results.size() * state.batch) / trainSeconds : 0;
  }
};

/// The most memory this process has had, in bytes.
std::uint64_t peakMemory();

/// Each writes its file whole or not at all, or throws Error.
void writeJson(const std::string& path, const RunSummary& run);
void writeReport(const std::string& path, const RunSummary& run, const DigitNetwork& network,
                 const base::io::LabelledImages& test);

}  // namespace kovar::tools
