#pragma once
// How far a training run is: a bar that redraws itself on a terminal, a line now and then elsewhere.

#include <chrono>
#include <cstdint>
#include <string>

namespace kovar::tools {

class Progress {
 public:
  /// From `first` steps done to `total`. `batch` pictures a step. `lineEvery`: steps between lines where there is no
  /// terminal.
  Progress(std::uint64_t first, std::uint64_t total, std::uint64_t batch, std::uint64_t lineEvery);
  ~Progress();

  /// A step is over. Shown are running means of loss and share of pictures told right.
  void update(std::uint64_t step, float loss, double accuracy);
  /// A line of its own, above the bar.
  void say(const std::string& line);
  /// Time from here to resume() does not count.
  void pause();
  void resume();

 private:
  using Clock = std::chrono::steady_clock;
  void draw();
  void clear();
  double seconds() const;

  std::uint64_t first_, total_, batch_, lineEvery_, step_;
  bool terminal_, drawn_ = false, paused_ = false;
  double loss_ = 0, accuracy_ = 0;
  Clock::time_point started_ = Clock::now(), pausedAt_, drawnAt_;
};

}  // namespace kovar::tools
