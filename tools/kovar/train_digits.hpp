#pragma once
// kovar train digits

#include <cstdint>
#include <optional>
#include <string>

#include "kovar/digits/network.hpp"

namespace kovar::tools {

struct TrainDigitsOptions {
  std::string data;                            ///< empty: where MNIST usually lies
  std::optional<std::uint64_t> epochs, steps;  ///< at most one is set; neither: one epoch
  std::optional<std::uint64_t> batch, seed;    ///< of a run that is continued: those of its file
  std::optional<Init> init;
  std::optional<double> learningRate;      ///< of a run that is continued: may differ from its file's
  std::optional<std::uint64_t> testEvery;  ///< steps between looks at the test pictures; not set: every epoch
  std::string device;                      ///< empty: the default
  int threads = 0;                         ///< 0: the default
  std::string save, resume, report, json;
  std::string command;  ///< as it was typed
};

/// Trains, tests, saves and reports. Returns the exit status; throws Error or WrongCommandLine.
int trainDigits(const TrainDigitsOptions& options);

}  // namespace kovar::tools
