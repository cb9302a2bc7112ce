#include "kovar/bench/measure.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>

namespace kovar::tools {
namespace {

constexpr double kShortestSample = 5e-4;  // seconds; shorter runs are put into one command buffer together
constexpr int kMostTogether = 256, kLeastSamples = 5;

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

/// The value below which this part of the sorted values lies.
double quantile(const std::vector<double>& sorted, double part) {
  if (sorted.empty()) return 0;
  return sorted[static_cast<std::size_t>(std::lround(part * static_cast<double>(sorted.size() - 1)))];
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return quantile(values, 0.5);
}

/// Seconds of one run among `together` of one command buffer, encoding included.
double timeRuns(const Ref<MTL::CommandQueue>& queue, const BenchRun& run, int together) {
  const double start = now();
  const auto commands = queue->commandBuffer();
  for (int i = 0; i < together; ++i) run(commands);
  commands->commit();
  commands->waitUntilCompleted();
  const double seconds = (now() - start) / together;
  if (const auto error = commands->error()) throw *error;
  return seconds;
}

/// The samples of one round.
std::vector<double> sample(const Ref<MTL::CommandQueue>& queue, const BenchRun& run, double budget) {
  timeRuns(queue, run, 1);  // plans, packs weights, touches memory
  const double once = timeRuns(queue, run, 1);
  const int together = std::clamp(static_cast<int>(kShortestSample / once), 1, kMostTogether);
  if (together > 1) timeRuns(queue, run, together);  // another list, planned anew
  std::vector<double> seconds;
  for (const double end = now() + budget; now() < end || seconds.size() < kLeastSamples;)
    seconds.push_back(timeRuns(queue, run, together));
  return seconds;
}

}  // namespace

double BenchResult::median() const { return quantile(seconds, 0.5); }
double BenchResult::spread() const {
  return seconds.empty() ? 0 : (quantile(seconds, 0.75) - quantile(seconds, 0.25)) / median();
}
double BenchResult::share() const { return tools::median(shares); }

double roofSeconds(const BenchCase& c, const cpu::Roof& roof) {
  const double bandwidth = c.traffic == Traffic::Read   ? roof.read
                           : c.traffic == Traffic::Copy ? roof.copy
                                                        : roof.inPlace;
  return std::max(c.flops * 1e-9 / roof.gflops, c.bytes * 1e-9 / bandwidth);
}

BenchReport measureCases(const Ref<MTL::Device>& device, int threads, const std::vector<BenchCase>& cases,
                         const BenchSettings& settings,
                         const std::function<void(const std::string&, std::size_t, std::size_t)>& progress) {
  const bool here = device->identifier() == "cpu";
  const auto probe = here ? std::make_unique<cpu::RoofProbe>(threads) : nullptr;
  const auto queue = device->newCommandQueue();
  BenchReport report;
  for (const BenchCase& c : cases) report.results.push_back({&c, {}, {}});
  std::vector<double> gflops, read, copy, inPlace;
  std::size_t done = 0;
  for (int round = 0; round < settings.rounds; ++round)
    for (BenchResult& result : report.results) {
      progress(result.measured->title(), done++, cases.size() * static_cast<std::size_t>(settings.rounds));
      const cpu::Roof roof = probe ? probe->measure() : cpu::Roof{};
      const BenchRun run = result.measured->make(device);
      const std::vector<double> seconds = sample(queue, run, settings.seconds);
      result.seconds.insert(result.seconds.end(), seconds.begin(), seconds.end());
      if (!probe) continue;
      gflops.push_back(roof.gflops), read.push_back(roof.read), copy.push_back(roof.copy);
      inPlace.push_back(roof.inPlace);
      result.shares.push_back(roofSeconds(*result.measured, roof) / tools::median(seconds));
    }
  for (BenchResult& result : report.results) std::sort(result.seconds.begin(), result.seconds.end());
  report.roof = {tools::median(gflops), tools::median(read), tools::median(copy), tools::median(inPlace)};
  return report;
}

}  // namespace kovar::tools
