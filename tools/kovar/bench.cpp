// kovar bench: how fast operators and models run, and how near that is to what the machine can do.

#include <fmt/core.h>
#include <unistd.h>
#include <CLI/CLI.hpp>

#include <memory>
#include <nlohmann/json.hpp>
#include <regex>

#include "base/edge.hpp"
#include "base/io/file.hpp"
#include "kovar/Support/Threads.hpp"
#include "kovar/Version.hpp"
#include "kovar/bench/measure.hpp"
#include "kovar/command.hpp"

namespace kovar::tools {
namespace {

struct BenchOptions {
  std::string filter, device, json;
  int threads = 0;
  bool list = false;
  BenchSettings settings;
};

std::vector<BenchCase> chosen(const std::string& filter) {
  std::vector<BenchCase> cases = benchCases();
  if (filter.empty()) return cases;
  try {
    const std::regex wanted(filter);
    std::erase_if(cases, [&](const BenchCase& c) { return !std::regex_search(c.title(), wanted); });
  } catch (const std::regex_error&) {
    throw WrongCommandLine("--filter: '" + filter + "' is not a regular expression; give one such as '^conv.*b16$'");
  }
  if (cases.empty())
    throw WrongCommandLine("--filter: no case matches '" + filter + "'; kovar bench --list names them");
  return cases;
}

/// GFLOP/s, or 0 for what is bound by memory.
double rateOf(const BenchResult& r) { return r.measured->flops / r.median() * 1e-9; }
double trafficOf(const BenchResult& r) { return r.measured->bytes / r.median() * 1e-9; }

nlohmann::ordered_json jsonOf(const BenchReport& report, const MTL::Device& device, int threads) {
  nlohmann::ordered_json json{{"version", version()},
                              {"device", device.identifier()},
                              {"name", device.name()},
                              {"instruction_set", device.instructionSet()},
                              {"threads", threads}};
  if (report.roof.gflops > 0)
    json["roof"] = {{"gflops", report.roof.gflops},
                    {"read_gb_per_second", report.roof.read},
                    {"copy_gb_per_second", report.roof.copy},
                    {"in_place_gb_per_second", report.roof.inPlace}};
  auto& cases = json["cases"] = nlohmann::ordered_json::array();
  for (const BenchResult& r : report.results) {
    nlohmann::ordered_json c{{"name", r.measured->name},  {"batch", r.measured->batch},  {"median_seconds", r.median()},
                             {"spread", r.spread()},      {"samples", r.seconds.size()}, {"flops", r.measured->flops},
                             {"bytes", r.measured->bytes}};
    if (!r.shares.empty()) c["share_of_roof"] = r.share();
    cases.push_back(std::move(c));
  }
  return json;
}

std::string figure(double value) { return value > 0 ? fmt::format("{:.1f}", value) : std::string("-"); }

void printTable(const BenchReport& report, const MTL::Device& device, int threads) {
  fmt::print("{} ({}), {} {}\n", device.name(), device.instructionSet(), threads, threads == 1 ? "thread" : "threads");
  if (report.roof.gflops > 0)
    fmt::print("at most {:.0f} GFLOP/s, {:.1f} GB/s read, {:.1f} copied, {:.1f} in place\n", report.roof.gflops,
               report.roof.read, report.roof.copy, report.roof.inPlace);
  fmt::print("\n{:<32} {:>12} {:>8} {:>9} {:>7} {:>8}\n", "case", "median us", "spread", "GFLOP/s", "GB/s", "of peak");
  for (const BenchResult& r : report.results)
    fmt::print("{:<32} {:>12.1f} {:>7.1f}% {:>9} {:>7} {:>8}\n", r.measured->title(), r.median() * 1e6,
               r.spread() * 100, figure(rateOf(r)), figure(trafficOf(r)),
               r.shares.empty() ? std::string("-") : fmt::format("{:.0f}%", r.share() * 100));
}

int bench(const BenchOptions& o) {
  const std::vector<BenchCase> cases = chosen(o.filter);
  if (o.list) {
    for (const BenchCase& c : cases) fmt::print("{}\n", c.title());
    return kDone;
  }
  if (!o.json.empty()) base::unwrap(base::io::AtomicFile::create(o.json));  // found out before the work
  if (o.threads > 0) setThreadCount(o.threads);
  const auto device = o.device.empty() ? MTL::createSystemDefaultDevice() : MTL::deviceNamed(o.device);
  const bool terminal = ::isatty(STDERR_FILENO) == 1;
  const BenchReport report = measureCases(device, threadCount(), cases, o.settings,
                                          [&](const std::string& title, std::size_t i, std::size_t n) {
                                            if (terminal) fmt::print(stderr, "\r\x1b[K{}/{} {}", i + 1, n, title);
                                          });
  if (terminal) fmt::print(stderr, "\r\x1b[K");
  printTable(report, *device, threadCount());
  if (o.json.empty()) return kDone;
  base::io::AtomicFile file = base::unwrap(base::io::AtomicFile::create(o.json));
  base::unwrap(file.write(jsonOf(report, *device, threadCount()).dump(1) + "\n"));
  base::unwrap(file.commit());
  return kDone;
}

}  // namespace

void addBench(CLI::App& app, Context& context) {
  CLI::App* command =
      app.add_subcommand("bench", "Time operators and models, and hold them against the machine's peak");
  const auto o = std::make_shared<BenchOptions>();
  command->add_option("--filter", o->filter, "Regular expression: cases that it finds (default: all)");
  command->add_option("--threads", o->threads, "Processor threads (default: all)")->check(CLI::Range(1, 4096));
  command->add_option("--device", o->device, "What kovar devices lists (default: the fastest)");
  command->add_option("--json", o->json, "Write the figures");
  command->add_option("--rounds", o->settings.rounds, "How often all cases are run in turns")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command->add_option("--seconds", o->settings.seconds, "Of each case in each round")
      ->check(CLI::Range(0.0, 3600.0))
      ->capture_default_str();
  command->add_flag("--list", o->list, "Only name the cases");
  command->callback([o, &context] { context.work = [o] { return bench(*o); }; });
}

}  // namespace kovar::tools
