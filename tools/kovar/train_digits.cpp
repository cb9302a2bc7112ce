#include "kovar/train_digits.hpp"

#include <fmt/core.h>

#include <array>
#include <chrono>
#include <cmath>
#include <utility>

#include "base/edge.hpp"
#include "base/io/file.hpp"
#include "kovar/Support/Threads.hpp"
#include "kovar/command.hpp"
#include "kovar/digits/mnist.hpp"
#include "kovar/digits/summary.hpp"
#include "kovar/interrupt.hpp"
#include "kovar/progress.hpp"

namespace kovar::tools {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::uint64_t kLines = 20;  ///< in a run without a terminal

double since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// Finds out before the work whether its results can be written; leaves nothing behind.
void checkOutputs(const TrainDigitsOptions& o) {
  const std::array<std::pair<const char*, const std::string&>, 3> outputs{
      {{"--save", o.save}, {"--report", o.report}, {"--json", o.json}}};
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const auto& [option, path] = outputs[i];
    if (path.empty()) continue;
    for (std::size_t k = 0; k < i; ++k)
      if (outputs[k].second == path)
        throw WrongCommandLine(
            fmt::format("{} and {} both write '{}'; give two files", outputs[k].first, option, path));
    base::unwrap(base::io::AtomicFile::create(path));
  }
}

/// The value of the file that is continued; giving another one is a mistake.
template <class T>
void mustAgree(const char* option, const std::optional<T>& given, T fromFile, const std::string& path) {
  if (given && *given != fromFile)
    throw WrongCommandLine(std::string(option) + " differs from the run in '" + path +
                           "', which goes on as it began; leave " + option + " out");
}

RunState startState(const TrainDigitsOptions& o) {
  RunState state;
  if (!o.resume.empty()) {
    state = readRunState(o.resume);
    mustAgree("--batch", o.batch, state.batch, o.resume);
    mustAgree("--seed", o.seed, state.seed, o.resume);
    mustAgree("--init", o.init, state.init, o.resume);
    state.learningRate = o.learningRate.value_or(state.learningRate);
    return state;
  }
  state.batch = o.batch.value_or(state.batch);
  state.seed = o.seed.value_or(0);
  state.learningRate = o.learningRate.value_or(state.learningRate);
  state.init = o.init.value_or(Init::He);
  state.order = state.init == Init::Apple && o.steps ? SampleOrder::Kind::Drawn : SampleOrder::Kind::Shuffled;
  return state;
}

/// One run: what it works with, and its phases.
class Run {
 public:
  explicit Run(const TrainDigitsOptions& options) : o_(options) {
    s_.command = o_.command;
    s_.state = startState(o_);
    s_.firstStep = s_.state.step;
    checkOutputs(o_);
    if (o_.threads > 0) setThreadCount(o_.threads);
    s_.threads = threadCount();
    s_.device = o_.device.empty() ? MTL::createSystemDefaultDevice() : MTL::deviceNamed(o_.device);
    queue_ = s_.device->newCommandQueue();
    readData();
  }

  int execute() {
    const InterruptGuard guard;
    network_.emplace(s_.device, static_cast<float>(s_.state.learningRate));
    if (o_.resume.empty())
      network_->initialise(queue_, s_.state.init, s_.state.seed);
    else
      loadRun(o_.resume, *network_);
    evaluator_.emplace(queue_, *network_);
    train();
    finish();
    return kDone;
  }

 private:
  void readData() {
    const auto start = Clock::now();
    s_.data = findMnist(o_.data);
    train_ = readMnist(s_.data, "train");
    test_ = readMnist(s_.data, "t10k");
    s_.loadSeconds = since(start);
    const auto pictures = static_cast<std::uint64_t>(train_.count);
    if (!o_.resume.empty() && s_.state.pictures != pictures)
      base::raise(fmt::format(
          "the run in '{}' is of a training set of {} pictures, '{}' has {}; give the same data with --data", o_.resume,
          s_.state.pictures, s_.data, pictures));
    s_.state.pictures = pictures;
    stepsPerEpoch_ = (pictures + s_.state.batch - 1) / s_.state.batch;
    total_ = o_.steps ? *o_.steps : (o_.epochs.value_or(1) * pictures + s_.state.batch - 1) / s_.state.batch;
    testEvery_ = o_.testEvery ? *o_.testEvery : o_.steps ? total_ : stepsPerEpoch_;
  }

  void train() {
    const std::uint64_t first = s_.firstStep;
    fmt::print("{} of {}, {} training pictures, {} parameters, {} {}\n",
               first > 0 ? fmt::format("Continuing after step {}", first) : std::string("Training"),
               "the digit classifier", train_.count, network_->parameters(), s_.device->name(),
               s_.threads == 1 ? "(1 thread)" : fmt::format("({} threads)", s_.threads));
    if (first >= total_) {
      fmt::print("The run has {} steps already; more is a larger --epochs or --steps.\n", first);
      save();
      test(nullptr);
      return;
    }
    Progress progress(first, total_, s_.state.batch, (total_ - first) / kLines);
    Trainer trainer(
        queue_, *network_, train_, {s_.state.batch, 0.5f, s_.state.seed, s_.state.order, first},
        [&](const StepResult& r) {
          if (!std::isfinite(r.loss))
            base::raise(fmt::format("the loss of step {} is {}: the weights have run away; give a --lr below {}",
                                    r.step, r.loss, s_.state.learningRate));
          s_.results.push_back(r);
          progress.update(r.step, r.loss, static_cast<double>(r.correct) / static_cast<double>(s_.state.batch));
        });
    while (trainer.encoded() < total_ && !s_.interrupted) {
      const auto start = Clock::now();
      // Up to the next look at the test pictures, whose weights the step before it keeps. Ctrl-C: one step more, to
      // keep them.
      bool keep = false;
      while (!keep) {
        const std::uint64_t next = trainer.encoded() + 1;
        s_.interrupted = next < total_ && InterruptGuard::requested();
        keep = s_.interrupted || next == total_ || next % testEvery_ == 0;
        trainer.step(keep);
      }
      trainer.finish();
      s_.trainSeconds += since(start);
      s_.state.step = trainer.encoded();
      s_.stepMemory = trainer.memory();
      progress.pause();
      save();
      if (!s_.interrupted) test(&progress);
      progress.resume();
    }
  }

  void test(Progress* progress) {
    const auto start = Clock::now();
    s_.last = evaluator_->evaluate(test_);
    s_.testSeconds += since(start);
    s_.tests.emplace_back(s_.state.step, s_.last.accuracy());
    const std::string line = fmt::format("after step {}: {:.2f} % of {} test pictures right", s_.state.step,
                                         100 * s_.last.accuracy(), s_.last.pictures);
    if (progress)
      progress->say(line);
    else
      fmt::print("{}\n", line);
  }

  void save() {
    if (o_.save.empty()) return;
    const auto start = Clock::now();
    saveRun(o_.save, *network_, s_.state);
    s_.saveSeconds += since(start);
  }

  void finish() {
    if (s_.trainSeconds > 0)
      fmt::print("{} steps in {:.1f} s, {:.0f} images/s, {:.0f} MB at most\n", s_.results.size(), s_.trainSeconds,
                 s_.imagesPerSecond(), static_cast<double>(peakMemory()) / 1e6);
    if (!o_.json.empty()) writeJson(o_.json, s_);
    if (!o_.report.empty()) writeReport(o_.report, s_, *network_, test_);
    if (!o_.save.empty()) fmt::print("run saved to {}\n", o_.save);
    if (!o_.report.empty()) fmt::print("report in {}\n", o_.report);
    if (s_.interrupted)
      fmt::print("interrupted after step {} of {}; {}\n", s_.state.step, total_,
                 o_.save.empty() ? "nothing was saved, as there was no --save" : "go on with --resume " + o_.save);
  }

  const TrainDigitsOptions& o_;
  RunSummary s_;
  Ref<MTL::CommandQueue> queue_;
  base::io::LabelledImages train_, test_;
  std::uint64_t stepsPerEpoch_ = 0, total_ = 0, testEvery_ = 0;
  std::optional<DigitNetwork> network_;
  std::optional<Evaluator> evaluator_;
};

}  // namespace

int trainDigits(const TrainDigitsOptions& options) { return Run(options).execute(); }

}  // namespace kovar::tools
