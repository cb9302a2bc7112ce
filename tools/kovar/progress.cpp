#include "kovar/progress.hpp"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace kovar::tools {
namespace {

constexpr int kBarWidth = 24;
constexpr auto kRedraw = std::chrono::milliseconds(80);
/// Weight of the newest step in the means that are shown.
constexpr double kNewest = 0.05;

std::string duration(double seconds) {
  const auto s = std::lround(seconds);
  return s < 100 ? fmt::format("{} s", s) : fmt::format("{} min {:02} s", s / 60, s % 60);
}

}  // namespace

Progress::Progress(std::uint64_t first, std::uint64_t total, std::uint64_t batch, std::uint64_t lineEvery)
    : first_(first),
      total_(total),
      batch_(batch),
      lineEvery_(std::max<std::uint64_t>(lineEvery, 1)),
      step_(first),
      terminal_(isatty(STDOUT_FILENO) != 0) {}

Progress::~Progress() {
  if (drawn_) {
    draw();
    std::fputc('\n', stdout);
    std::fflush(stdout);
  }
}

double Progress::seconds() const {
  return std::chrono::duration<double>((paused_ ? pausedAt_ : Clock::now()) - started_).count();
}

void Progress::update(std::uint64_t step, float loss, double accuracy) {
  // The first steps count fully, later ones flow in.
  const double weight = std::max(kNewest, 1.0 / static_cast<double>(step - first_));
  loss_ += weight * (static_cast<double>(loss) - loss_);
  accuracy_ += weight * (accuracy - accuracy_);
  step_ = step;
  if (terminal_) {
    if (!drawn_ || Clock::now() - drawnAt_ > kRedraw || step == total_) draw();
    return;
  }
  if (step % lineEvery_ == 0 || step == total_) {
    const double rate = static_cast<double>((step_ - first_) * batch_) / std::max(seconds(), 1e-9);
    fmt::print("step {}/{}  loss {:.4f}  accuracy {:.2f} %  {:.0f} images/s\n", step_, total_, loss_, 100 * accuracy_,
               rate);
    std::fflush(stdout);
  }
}

void Progress::draw() {
  const double share = total_ > 0 ? static_cast<double>(step_) / static_cast<double>(total_) : 1.0;
  const double rate = static_cast<double>((step_ - first_) * batch_) / std::max(seconds(), 1e-9);
  const int full = static_cast<int>(share * kBarWidth);
  std::string bar;
  for (int i = 0; i < kBarWidth; ++i) bar += i < full ? "\u2588" : "\u2591";
  const double left = rate > 0 ? static_cast<double>((total_ - step_) * batch_) / rate : 0;
  fmt::print("\r{} {}/{}  loss {:.4f}  accuracy {:5.2f} %  {:.0f} images/s  {} left\033[K", bar, step_, total_, loss_,
             100 * accuracy_, rate, duration(left));
  std::fflush(stdout);
  drawn_ = true;
  drawnAt_ = Clock::now();
}

void Progress::clear() {
  if (!drawn_) return;
  fmt::print("\r\033[K");
  drawn_ = false;
}

void Progress::say(const std::string& line) {
  clear();
  fmt::print("{}\n", line);
  std::fflush(stdout);
}

void Progress::pause() {
  paused_ = true;
  pausedAt_ = Clock::now();
}

void Progress::resume() {
  paused_ = false;
  started_ += Clock::now() - pausedAt_;
}

}  // namespace kovar::tools
