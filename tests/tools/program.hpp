#pragma once
// Runs bin/kovar as a user's shell would.

#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "unit/io/temporary_folder.hpp"

namespace kovar::tools {

using base::io::TemporaryFolder;

struct Outcome {
  int status = -1;  ///< of the exit; -1 when a signal ended the program
  int signal = 0;   ///< that ended the program; 0: none
  std::string out, err;
};

/// How a run differs from a plain one.
struct Surroundings {
  std::string out;            ///< where standard output goes; empty: into Outcome::out
  std::size_t fileLimit = 0;  ///< bytes a file may have (RLIMIT_FSIZE); 0: no limit
  std::string device;         ///< KOVAR_DEVICE; empty: not set
};

/// A running program; killed when it is destroyed before it has ended.
class Program {
 public:
  explicit Program(const std::vector<std::string>& arguments, const Surroundings& in = {});
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  void send(int signal) const;
  /// Waits until it has written `text` to standard output; false when it ended without.
  bool waitFor(const std::string& text) const;
  Outcome wait();

 private:
  TemporaryFolder output_;
  std::string outFile_;
  int process_ = -1;
};

inline Outcome run(const std::vector<std::string>& arguments, const Surroundings& in = {}) {
  return Program(arguments, in).wait();
}

std::string contents(const std::string& path);
nlohmann::json jsonIn(const std::string& path);

/// A folder with the first pictures of MNIST's test set, as training set and as test set, in the published format,
/// plain.
void writeSmallMnist(const std::string& folder, std::size_t train, std::size_t test);
/// A folder whose training and test set are the pictures of these places in MNIST's test set.
void writeMnistOf(const std::string& folder, const std::vector<std::size_t>& places);

/// A failure as the program must report it: this status, nothing but one line, and in it all of `parts`.
void expectRefused(const Outcome& outcome, int status, const std::vector<std::string>& parts);

}  // namespace kovar::tools
