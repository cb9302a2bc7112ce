// Runs that are stopped: Ctrl-C, kill, a disk that fills up. What was saved stays whole.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <map>
#include <thread>

#include "base/io/safetensors.hpp"
#include "support/random.hpp"
#include "tools/program.hpp"

namespace kovar::tools {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Clock = std::chrono::steady_clock;

class Interrupt : public ::testing::Test {
 protected:
  Interrupt() { writeSmallMnist(file("mnist"), 60, 10); }
  std::string file(const std::string& name) const { return folder_.file(name); }
  std::vector<std::string> command(const std::vector<std::string>& more) const {
    std::vector<std::string> words{"train", "digits", "--data", file("mnist")};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }

  TemporaryFolder folder_;
};

TEST_F(Interrupt, CtrlCSavesAndTheRunGoesOnToTheBit) {
  for (const int signal : {SIGINT, SIGTERM}) {
    Program program(command({"--steps", "100000", "--batch", "4", "--test-every", "5", "--save", file("w"), "--json",
                             file("w.json"), "--report", file("w.html")}));
    ASSERT_TRUE(program.waitFor("after step 5:"));
    program.send(signal);
    const Outcome outcome = program.wait();
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_THAT(outcome.err, IsEmpty());
    EXPECT_THAT(outcome.out, HasSubstr("interrupted after step"));
    EXPECT_THAT(outcome.out, HasSubstr("go on with --resume " + file("w")));
    EXPECT_THAT(contents(file("w.html")), HasSubstr("ended early"));
    const auto json = jsonIn(file("w.json"));
    EXPECT_EQ(json.at("interrupted"), true);
    const int steps = json.at("steps").get<int>();
    ASSERT_GE(steps, 5);
    ASSERT_LT(steps, 100000);

    const std::string end = std::to_string(steps + 2);
    EXPECT_EQ(run(command({"--resume", file("w"), "--steps", end, "--save", file("parts")})).status, 0);
    EXPECT_EQ(run(command({"--batch", "4", "--steps", end, "--save", file("whole")})).status, 0);
    EXPECT_TRUE(contents(file("parts")) == contents(file("whole")));
  }
}

TEST_F(Interrupt, CtrlCWithoutSaveSaysSo) {
  Program program(command({"--steps", "100000", "--batch", "1", "--test-every", "2"}));
  ASSERT_TRUE(program.waitFor("after step 2:"));
  program.send(SIGINT);
  const Outcome outcome = program.wait();
  EXPECT_EQ(outcome.status, 0);
  EXPECT_THAT(outcome.out, HasSubstr("nothing was saved, as there was no --save"));
}

TEST_F(Interrupt, KilledWhileSavingTheOldOrTheNewFileIsWhole) {
  constexpr int kSteps = 4;
  // Saves after every step. What the file may hold: the run after so many steps.
  const auto every = [&](int steps, const std::string& to) {
    return command({"--steps", std::to_string(steps), "--batch", "1", "--test-every", "1", "--save", to});
  };
  std::map<std::string, std::string> whole;
  for (int step = 1; step <= kSteps; ++step) {
    const std::string name = file(std::to_string(step));
    ASSERT_EQ(run(every(step, name)).status, 0);
    whole[std::to_string(step)] = contents(name);
  }
  const auto start = Clock::now();
  ASSERT_EQ(run(every(kSteps, file("w"))).status, 0);
  const double length = std::chrono::duration<double>(Clock::now() - start).count();

  test::Random random(20261121);
  int killed = 0;
  for (int round = 0; round < 16; ++round) {
    Program program(every(kSteps, file("w")));
    std::this_thread::sleep_for(std::chrono::duration<double>(random.real(0.1, 1) * length));
    program.send(SIGKILL);
    killed += program.wait().signal == SIGKILL;
    const auto file = base::io::Safetensors::open(this->file("w"));
    ASSERT_TRUE(file.ok()) << "round " << round << ": " << file.failure().text;
    const std::string& step = file->metadata().at("step");
    ASSERT_TRUE(whole.contains(step)) << step;
    ASSERT_TRUE(contents(this->file("w")) == whole.at(step)) << "round " << round << ", step " << step;
  }
  EXPECT_GT(killed, 4) << "the rounds tested nothing";
}

TEST_F(Interrupt, AFullDiskLeavesTheOldFileWhole) {
  const auto train = [&](const std::vector<std::string>& more, const Surroundings& in) {
    auto words = command({"--steps", "2", "--batch", "2"});
    words.insert(words.end(), more.begin(), more.end());
    return run(words, in);
  };
  ASSERT_EQ(train({"--save", file("w")}, {}).status, 0);
  const std::string before = contents(file("w"));
  const auto names = folder_.names();
  expectRefused(train({"--save", file("w")}, {{}, 1'000'000, {}}), 1, {"cannot write", file("w"), "ulimit -f"});
  EXPECT_TRUE(contents(file("w")) == before);
  EXPECT_EQ(folder_.names(), names);

  expectRefused(train({"--save", "/dev/full"}, {}), 1, {"cannot write '/dev/full'", "disk is full"});
  expectRefused(train({"--json", "/dev/full"}, {}), 1, {"cannot write '/dev/full'", "disk is full"});
  expectRefused(train({"--report", "/dev/full"}, {}), 1, {"cannot write '/dev/full'", "disk is full"});
  EXPECT_EQ(folder_.names(), names);
  expectRefused(run({"devices"}, {"/dev/full", 0, {}}), 1, {"cannot write to standard output"});
}

TEST_F(Interrupt, ARunThatFailsLeavesNoFile) {
  const auto names = folder_.names();
  const Outcome outcome = run(command({"--steps", "50", "--batch", "8", "--lr", "1e30", "--save", file("w"), "--json",
                                       file("w.json"), "--report", file("w.html")}));
  expectRefused(outcome, 1, {"the loss of step ", "give a --lr below 1e+30"});
  EXPECT_EQ(folder_.names(), names);
}

}  // namespace
}  // namespace kovar::tools
