#pragma once
// The report of a training run: one HTML page that needs nothing else, neither network nor script.

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/io/picture.hpp"

namespace kovar::tools {

/// A value after so many steps.
struct StepValue {
  double step = 0;
  double value = 0;
};

/// A test picture that was told wrong.
struct WrongPicture {
  base::io::Picture picture;
  std::string said;
  std::string truth;
  double probability = 0;  ///< of what was said, 0 to 1
};

struct PhaseTime {
  std::string name;
  double seconds = 0;
};

struct MemoryUse {
  std::string name;
  std::uint64_t bytes = 0;
  std::string note;  ///< may be empty
};

/// Everything the page shows. Parts left empty are left out; numbers that are not finite are shown as a dash.
struct TrainingReport {
  std::string title;     ///< "Digit classifier on MNIST"
  std::string subtitle;  ///< a sentence on device and run

  double testAccuracy = 0;  ///< 0 to 1
  std::int64_t testPictures = 0;
  double imagesPerSecond = 0;
  double trainingSeconds = 0;
  std::int64_t steps = 0;
  std::int64_t batch = 0;
  std::uint64_t peakMemoryBytes = 0;
  std::int64_t parameters = 0;

  std::vector<float> losses;              ///< of each step, the first one first
  std::int64_t firstStep = 1;             ///< the number of that first step; above 1 after a resume
  std::vector<StepValue> trainAccuracy;   ///< 0 to 1
  std::vector<StepValue> testAccuracies;  ///< 0 to 1

  std::vector<std::string> classes;        ///< names, as many as the matrix has rows
  std::vector<std::int64_t> confusion;     ///< row: truth, column: what was said; classes x classes
  std::vector<WrongPicture> wrong;         ///< those to show
  std::int64_t wrongTotal = 0;             ///< how many there are in all
  std::vector<base::io::Picture> filters;  ///< of the first layer, see filterPictures()

  std::vector<PhaseTime> phases;
  std::uint64_t arenaBytes = 0;          ///< what the temporaries of a step take in their shared arena
  std::uint64_t intermediatesBytes = 0;  ///< what they would take side by side
  std::vector<MemoryUse> memory;         ///< further rows: weights, optimizer, data

  std::string command;  ///< as it was typed
  std::vector<std::pair<std::string, std::string>> configuration;
};

/// The page. Every text is escaped; the same report gives the same bytes.
std::string writeTrainingReport(const TrainingReport& report);

/// Weights as pictures: blue for negative, white for zero, orange for positive, one scale for all of them. `weights` is
/// count x height x width x channels; several channels are averaged. Fewer weights than that give no picture.
std::vector<base::io::Picture> filterPictures(const std::vector<float>& weights, int count, int height, int width,
                                              int channels);

}  // namespace kovar::tools
