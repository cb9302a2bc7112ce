// kovar bench: its table, its file, what it refuses. Never how fast anything is.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "kovar/bench/measure.hpp"
#include "tools/program.hpp"

namespace kovar::tools {
namespace {

using ::testing::HasSubstr;

TEST(Bench, TimesTheCasesAskedFor) {
  TemporaryFolder folder;
  const Outcome outcome = run({"bench", "--filter", "^(softmax1000|maxpool.*)\\.b1$", "--rounds", "2", "--seconds", "0",
                               "--threads", "1", "--device", "cpu", "--json", folder.file("b.json")});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.err, "") << "no progress where there is no terminal";
  EXPECT_THAT(outcome.out, HasSubstr("1 thread\nat most "));
  EXPECT_THAT(outcome.out, HasSubstr("\nmaxpool3x3s2_64_112.b1 "));
  const auto json = jsonIn(folder.file("b.json"));
  EXPECT_EQ(json.at("device"), "cpu");
  EXPECT_EQ(json.at("threads"), 1);
  for (const char* rate : {"gflops", "read_gb_per_second", "copy_gb_per_second", "in_place_gb_per_second"})
    EXPECT_GT(json.at("roof").at(rate).get<double>(), 0.0) << rate;
  const auto& cases = json.at("cases");
  ASSERT_EQ(cases.size(), 2u);
  EXPECT_EQ(cases[0].at("name"), "maxpool3x3s2_64_112");
  EXPECT_EQ(cases[0].at("batch"), 1);
  EXPECT_EQ(cases[0].at("bytes"), 4.0 * 64 * (112 * 112 + 56 * 56));
  EXPECT_EQ(cases[0].at("flops"), 0.0);
  EXPECT_EQ(cases[1].at("name"), "softmax1000");
  for (const auto& c : cases) {
    EXPECT_GT(c.at("median_seconds").get<double>(), 0.0);
    EXPECT_GE(c.at("spread").get<double>(), 0.0);
    EXPECT_GE(c.at("samples").get<int>(), 10) << "five in each round";
    EXPECT_GT(c.at("share_of_roof").get<double>(), 0.0);
  }
}

TEST(Bench, NamesItsCases) {
  const Outcome outcome = run({"bench", "--list"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  std::string titles;
  std::set<std::string> different;
  for (const BenchCase& c : benchCases()) {
    titles += c.title() + "\n";
    EXPECT_TRUE(different.insert(c.title()).second) << c.title() << " occurs twice";
    EXPECT_GT(c.flops + c.bytes, 0.0) << c.title();
  }
  EXPECT_EQ(outcome.out, titles);
  EXPECT_EQ(run({"bench", "--list", "--filter", "conv3x3_128.*b1$"}).out, "conv3x3_128_128_28.b1\n");
}

TEST(Bench, CountsTheWorkOfACase) {
  const auto all = benchCases();
  const auto find = [&](const std::string& title) -> const BenchCase& {
    for (const BenchCase& c : all)
      if (c.title() == title) return c;
    ADD_FAILURE() << "no case " << title;
    return all[0];
  };
  EXPECT_EQ(find("conv3x3_128_128_28.b16").flops, 2.0 * 16 * 28 * 28 * 128 * 128 * 9);
  EXPECT_EQ(find("dw3x3s2_96_112.b1").flops, 2.0 * 56 * 56 * 96 * 9) << "each filter reads one channel";
  EXPECT_EQ(find("fc4096.b64").bytes, 4.0 * (4096 * 4096 + 2 * 64 * 4096));
  // 5 x 5 of 1 to 32 at 28 x 28, of 32 to 64 at 14 x 14, then 3136 to 1024 to 10; the first has no data gradient.
  const double layers[] = {25.0 * 32 * 28 * 28, 25.0 * 32 * 64 * 14 * 14, 3136.0 * 1024, 1024.0 * 10};
  const double forward = 2 * (layers[0] + layers[1] + layers[2] + layers[3]);
  EXPECT_EQ(find("digits_inference.b1").flops, forward);
  EXPECT_EQ(find("digits_training_step.b40").flops, 40 * (3 * forward - 2 * layers[0]));
}

TEST(Bench, EveryCaseRuns) {
  const auto device = MTL::deviceNamed("null");  // plans everything, computes nothing
  const auto queue = device->newCommandQueue();
  for (const BenchCase& c : benchCases()) {
    SCOPED_TRACE(c.title());
    const BenchRun once = c.make(device);
    const auto commands = queue->commandBuffer();
    once(commands);
    once(commands);
    commands->commit();
    commands->waitUntilCompleted();
    EXPECT_FALSE(commands->error()) << commands->error()->what();
  }
}

TEST(Bench, SharesAndMedians) {
  BenchResult r;
  r.seconds = {1, 2, 3, 5, 9};
  r.shares = {0.5, 0.25, 0.75};
  EXPECT_EQ(r.median(), 3);
  EXPECT_EQ(r.spread(), 1.0);  // (5 - 2) / 3
  EXPECT_EQ(r.share(), 0.5);
  EXPECT_EQ(BenchResult{}.share(), 0);
  const cpu::Roof roof{100, 10, 20, 40};
  BenchCase c;
  c.flops = 200e9;
  EXPECT_DOUBLE_EQ(roofSeconds(c, roof), 2);  // arithmetic alone
  c.bytes = 60e9;
  EXPECT_DOUBLE_EQ(roofSeconds(c, roof), 3);  // copied
  c.traffic = Traffic::Read;
  EXPECT_DOUBLE_EQ(roofSeconds(c, roof), 6);
  c.traffic = Traffic::InPlace;
  EXPECT_DOUBLE_EQ(roofSeconds(c, roof), 2);
}

TEST(Bench, RefusesWhatItCannotDo) {
  TemporaryFolder folder;
  expectRefused(run({"bench", "--filter", "("}), 2, {"--filter: '(' is not a regular expression"});
  expectRefused(run({"bench", "--filter", "zz"}), 2, {"no case matches 'zz'; kovar bench --list names them"});
  expectRefused(run({"bench", "--threads", "0"}), 2, {"--threads: Value 0 not in range"});
  expectRefused(run({"bench", "--rounds", "0"}), 2, {"--rounds: Value 0 not in range"});
  expectRefused(run({"bench", "--seconds", "-1"}), 2, {"--seconds: Value -1 not in range"});
  expectRefused(run({"bench", "--device", "zz", "--filter", "^softmax1000.b1$"}), 1, {"device \"zz\""});
  const Outcome early = run({"bench", "--json", folder.file("no/where")});
  expectRefused(early, 1, {"cannot write '" + folder.file("no/where") + "'"});
  EXPECT_EQ(early.out, "") << "found out before the work, not after it";
}

}  // namespace
}  // namespace kovar::tools
