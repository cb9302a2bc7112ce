#include "kovar/digits/summary.hpp"

#include <fmt/core.h>
#include <sys/resource.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/edge.hpp"
#include "kovar/Version.hpp"
#include "kovar/report/report.hpp"

namespace kovar::tools {
namespace {

constexpr std::size_t kShownMistakes = 60;
constexpr std::size_t kAccuracyPoints = 150;

/// Means over stretches of steps: single batches jump too much.
std::vector<StepValue> smoothed(const RunSummary& run) {
  std::vector<StepValue> values;
  const std::size_t stretch = std::max<std::size_t>(1, run.results.size() / kAccuracyPoints);
  for (std::size_t i = 0; i + stretch <= run.results.size(); i += stretch) {
    std::size_t correct = 0;
    for (std::size_t k = 0; k < stretch; ++k) correct += run.results[i + k].correct;
    values.push_back({static_cast<double>(run.results[i + stretch - 1].step),
                      static_cast<double>(correct) / static_cast<double>(stretch * run.state.batch)});
  }
  return values;
}

base::io::Picture pictureOf(const base::io::LabelledImages& set, std::uint64_t index) {
  const auto size = static_cast<std::size_t>(set.width * set.height);
  const auto first = set.pixels.begin() + static_cast<std::ptrdiff_t>(index * size);
  return {
      static_cast<int>(set.width), static_cast<int>(set.height), 1, {first, first + static_cast<std::ptrdiff_t>(size)}};
}

const char* nameOf(Init init) { return init == Init::He ? "he" : "apple"; }

}  // namespace

std::uint64_t peakMemory() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
}

void writeJson(const std::string& path, const RunSummary& run) {
  nlohmann::ordered_json json;
  if (run.last.pictures > 0)
    json["test_accuracy"] = run.last.accuracy();
  else
    json["test_accuracy"] = nullptr;
  json["images_per_second"] = run.imagesPerSecond();
  json["seconds"] = run.trainSeconds;
  json["steps"] = run.state.step;
  json["peak_rss_mb"] = static_cast<double>(peakMemory()) / 1e6;
  json["interrupted"] = run.interrupted;
  json["first_step"] = run.firstStep;
  json["batch"] = run.state.batch;
  json["seed"] = run.state.seed;
  json["init"] = nameOf(run.state.init);
  json["learning_rate"] = run.state.learningRate;
  json["device"] = run.device->identifier();
  json["device_name"] = run.device->name();
  json["instruction_set"] = run.device->instructionSet();
  json["threads"] = run.threads;
  json["load_seconds"] = run.loadSeconds;
  json["test_seconds"] = run.testSeconds;
  json["save_seconds"] = run.saveSeconds;
  json["arena_bytes"] = run.stepMemory.arena;
  json["intermediates_bytes"] = run.stepMemory.intermediates;
  json["train_images"] = run.state.pictures;
  json["test_images"] = run.last.pictures;
  auto& tests = json["tests"] = nlohmann::ordered_json::array();
  for (const auto& [step, accuracy] : run.tests) tests.push_back({{"step", step}, {"test_accuracy", accuracy}});
  auto& losses = json["losses"] = nlohmann::ordered_json::array();
  for (const StepResult& r : run.results) losses.push_back(r.loss);
  base::unwrap(base::io::writeFile(path, json.dump(1) + '\n'));
}

void writeReport(const std::string& path, const RunSummary& run, const DigitNetwork& network,
                 const base::io::LabelledImages& test) {
  TrainingReport report;
  report.title = "Digit classifier on MNIST";
  report.subtitle =
      fmt::format("{} ({}, {} threads), {} of {} pictures each{}", run.device->name(), run.device->instructionSet(),
                  run.threads, run.results.size() == 1 ? "1 step" : fmt::format("{} steps", run.results.size()),
                  run.state.batch, run.interrupted ? ", ended early" : "");
  report.testAccuracy = run.last.accuracy();
  report.testPictures = run.last.pictures;
  report.imagesPerSecond = run.imagesPerSecond();
  report.trainingSeconds = run.trainSeconds;
  report.steps = static_cast<std::int64_t>(run.state.step);
  report.batch = static_cast<std::int64_t>(run.state.batch);
  report.peakMemoryBytes = peakMemory();
  report.parameters = static_cast<std::int64_t>(network.parameters());
  for (const StepResult& r : run.results) report.losses.push_back(r.loss);
  report.firstStep = static_cast<std::int64_t>(run.firstStep) + 1;
  report.trainAccuracy = smoothed(run);
  for (const auto& [step, accuracy] : run.tests) report.testAccuracies.push_back({static_cast<double>(step), accuracy});

  if (run.last.pictures > 0) {
    for (int digit = 0; digit < kDigits; ++digit) report.classes.push_back(std::to_string(digit));
    for (const auto& row : run.last.confusion) report.confusion.insert(report.confusion.end(), row.begin(), row.end());
    report.wrongTotal = static_cast<std::int64_t>(run.last.mistakes.size());
    // The surest mistakes tell most.
    std::vector<Mistake> mistakes = run.last.mistakes;
    std::ranges::stable_sort(mistakes, std::greater<>(), &Mistake::probability);
    if (mistakes.size() > kShownMistakes) mistakes.resize(kShownMistakes);
    for (const Mistake& m : mistakes)
      report.wrong.push_back({pictureOf(test, m.picture), std::to_string(m.said), std::to_string(m.truth),
                              static_cast<double>(m.probability)});
  }
  const auto filters = network.layers[0]->weightValues();
  const LayerShape& first = kDigitLayers[0];
  report.filters =
      filterPictures({filters.begin(), filters.end()}, static_cast<int>(first.outputs), static_cast<int>(first.kernel),
                     static_cast<int>(first.kernel), static_cast<int>(first.inputs));

  report.phases = {{"reading the data", run.loadSeconds},
                   {"training", run.trainSeconds},
                   {"looking at the test pictures", run.testSeconds},
                   {"saving", run.saveSeconds}};
  report.arenaBytes = run.stepMemory.arena;
  report.intermediatesBytes = run.stepMemory.intermediates;
  const std::uint64_t values = network.parameters() * sizeof(float);
  report.memory = {{"weights", values, "float32"},
                   {"Adam's two moments", 2 * values, "float32"},
                   {"training pictures", run.state.pictures * kDigitSide * kDigitSide, "one byte a pixel"}};
  report.command = run.command;
  report.configuration = {
      {"device", run.device->identifier() + ": " + run.device->name()},
      {"instruction set", run.device->instructionSet()},
      {"threads", std::to_string(run.threads)},
      {"init", nameOf(run.state.init)},
      {"order of pictures", run.state.order == SampleOrder::Kind::Drawn ? "drawn from all, with replacement"
                                                                        : "every picture once an epoch"},
      {"seed", std::to_string(run.state.seed)},
      {"learning rate", fmt::format("{}", run.state.learningRate)},
      {"data", run.data},
      {"kovar", version()}};
  for (const auto& [name, libraryVersion] : run.device->libraries())
    report.configuration.emplace_back(name, libraryVersion);
  base::unwrap(base::io::writeFile(path, writeTrainingReport(report)));
}

}  // namespace kovar::tools
