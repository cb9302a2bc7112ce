#include <fmt/core.h>
#include <CLI/CLI.hpp>
#include <cmath>
#include <map>
#include <memory>

#include "kovar/command.hpp"
#include "kovar/digits/checkpoint.hpp"
#include "kovar/train_digits.hpp"

namespace kovar::tools {
namespace {

struct Given {
  TrainDigitsOptions options;
  std::uint64_t epochs = 1, steps = 0, batch = 40, seed = 0, testEvery = 0;
  std::string init = "he";
  double learningRate = 1e-3;
};

/// The value where the option was given.
template <class T>
std::optional<T> given(const CLI::App& app, const char* option, T value) {
  return app.count(option) > 0 ? std::optional<T>(value) : std::nullopt;
}

const CLI::Range kPositive(std::uint64_t{1}, kMostSteps);
// CLI11 reads -1 as the largest number there is.
const CLI::Range kNotNegative(std::uint64_t{0}, ~std::uint64_t{0} >> 1);

}  // namespace

void addTrain(CLI::App& app, Context& context) {
  CLI::App* train = app.add_subcommand("train", "Train a network");
  train->require_subcommand(1);
  CLI::App* digits = train->add_subcommand("digits", "Train the digit classifier on MNIST");
  const auto g = std::make_shared<Given>();
  TrainDigitsOptions& o = g->options;
  digits->add_option("--data", o.data, "Folder of the four MNIST files (default: data/mnist of the source tree)");
  auto* epochs = digits->add_option("--epochs", g->epochs, "Train until the run has seen all pictures so often")
                     ->check(kPositive)
                     ->capture_default_str();
  digits->add_option("--steps", g->steps, "Train until the run has done so many steps")
      ->check(kPositive)
      ->excludes(epochs);
  digits->add_option("--batch", g->batch, "Pictures a step")
      ->check(CLI::Range(std::uint64_t{1}, kMostPicturesAStep))
      ->capture_default_str();
  digits->add_option("--lr", g->learningRate, "Learning rate of Adam")->capture_default_str();
  digits
      ->add_option(
          "--init", g->init,
          "Start weights: he, uniform in +-sqrt(6 / fan-in); apple, uniform in +-0.2 with biases 0.1, which with "
          "--steps also draws each picture from all")
      ->check(CLI::IsMember({"he", "apple"}))
      ->capture_default_str();
  digits->add_option("--seed", g->seed, "Of start weights, order of pictures and dropout")
      ->check(kNotNegative)
      ->capture_default_str();
  digits->add_option("--test-every", g->testEvery, "Steps between looks at the test pictures (default: every epoch)")
      ->check(kPositive);
  digits->add_option("--device", o.device, "What kovar devices lists (default: the fastest)");
  digits->add_option("--threads", o.threads, "Processor threads (default: all)")->check(CLI::Range(1, 4096));
  digits->add_option("--save", o.save, "Write the run to this safetensors file: at every test, at the end, at Ctrl-C");
  digits->add_option("--resume", o.resume, "Go on with the run in this file, to the bit as if it had not stopped");
  digits->add_option("--report", o.report, "Write a page with curves, mistakes, filters, time and memory");
  digits->add_option("--json", o.json, "Write the figures");
  digits->footer(
      "Ctrl-C ends the run early: it is saved (with --save) and the exit status is 0. With --resume, --epochs and "
      "--steps count from the start of the run.");
  // An unset variable of a shell: meant was a file.
  for (const char* path : {"--data", "--save", "--resume", "--report", "--json"})
    digits->get_option(path)->check([](const std::string& value) {
      return value.empty() ? std::string("the name is empty; leave the option out or give a file") : std::string();
    });
  digits->callback([g, digits, &context] {
    TrainDigitsOptions& opt = g->options;
    opt.epochs = given(*digits, "--epochs", g->epochs);
    opt.steps = given(*digits, "--steps", g->steps);
    opt.batch = given(*digits, "--batch", g->batch);
    opt.seed = given(*digits, "--seed", g->seed);
    opt.testEvery = given(*digits, "--test-every", g->testEvery);
    opt.init = given(*digits, "--init", g->init == "he" ? Init::He : Init::Apple);
    opt.learningRate = given(*digits, "--lr", g->learningRate);
    if (!std::isfinite(g->learningRate) || g->learningRate <= 0)
      throw WrongCommandLine(fmt::format("--lr is {}; give a finite number above 0", g->learningRate));
    opt.command = context.typed;
    context.work = [g] { return trainDigits(g->options); };
  });
}

}  // namespace kovar::tools
