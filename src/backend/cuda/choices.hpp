#pragma once
// Which of several engines was the fastest for a problem, kept while the process runs and, if asked for, in a file.

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>

namespace kovar::cuda {

/// What the environment asks for, read once.
struct EngineSwitches {
  bool measure = false;   ///< KOVAR_CUDA_MEASURE is set and not 0: engines are timed and the fastest is taken
  std::string file;       ///< its value unless that is 1: choices are kept there
  bool anyOrder = false;  ///< KOVAR_CUDA_ANY_ORDER=1: sums may be formed in another order every time

  static EngineSwitches of(const char* measure, const char* anyOrder);
};
const EngineSwitches& engineSwitches();

/// Choices by problem. A problem is one line of text that names the library's version, the device and the operation.
class Choices {
 public:
  /// Reads the file if there is one; lines that are not choices are passed over. No path: nothing is kept on disk.
  explicit Choices(std::string path);
  std::optional<std::int64_t> find(const std::string& problem) const;
  /// Keeps a choice and appends it to the file; a problem that has one keeps it. A file that cannot be written is told
  /// once as a warning, and nothing else happens.
  void put(const std::string& problem, std::int64_t position);

 private:
  mutable std::mutex mutex_;
  std::string path_;
  std::map<std::string, std::int64_t> known_;
};

/// Those of this process, with the file that the environment names.
Choices& choices();

}  // namespace kovar::cuda
