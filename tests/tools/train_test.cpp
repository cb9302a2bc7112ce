// kovar train digits: what a run leaves behind, and that it is the same however it was cut up.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <cmath>

#include "base/io/safetensors.hpp"
#include "tools/program.hpp"

namespace kovar::tools {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// 90 pictures in batches of 8: an epoch ends inside a batch.
class Train : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    writeSmallMnist(data(), 90, 30);
  }
  static void TearDownTestSuite() {
    delete folder_;
    folder_ = nullptr;
  }
  static std::string data() { return folder_->file("mnist"); }
  static std::string file(const std::string& name) { return folder_->file(name); }

  /// Trains on the small set; the run must succeed.
  static Outcome train(std::vector<std::string> arguments, const Surroundings& in = {}) {
    arguments.insert(arguments.begin(), {"train", "digits", "--data", data()});
    Outcome outcome = run(arguments, in);
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_THAT(outcome.err, IsEmpty());
    return outcome;
  }
  static void expectSameFiles(const std::string& a, const std::string& b) {
    const std::string bytes = contents(file(a));
    EXPECT_GT(bytes.size(), 1000u);
    EXPECT_TRUE(bytes == contents(file(b))) << a << " differs from " << b;
  }

  static TemporaryFolder* folder_;
};
TemporaryFolder* Train::folder_ = nullptr;

TEST_F(Train, WritesWeightsFiguresAndReport) {
  const Outcome outcome = train({"--steps", "6", "--batch", "8", "--save", file("w.safetensors"), "--json",
                                 file("w.json"), "--report", file("w.html")});
  for (const char* said : {"step 6/6", "of 30 test pictures right", "6 steps in", "w.safetensors", "w.html"})
    EXPECT_THAT(outcome.out, HasSubstr(said));
  EXPECT_THAT(outcome.out, Not(HasSubstr("\033"))) << "no terminal, no bar";

  const auto saved = base::io::Safetensors::open(file("w.safetensors"));
  ASSERT_TRUE(saved.ok()) << saved.failure().text;
  const std::pair<const char*, base::io::TensorShape> layers[] = {
      {"conv1", {32, 5, 5, 1}}, {"conv2", {64, 5, 5, 32}}, {"fc1", {1024, 7, 7, 64}}, {"fc2", {10, 1, 1, 1024}}};
  for (const auto& [name, shape] : layers)
    for (const char* kind : {"", "adam.m.", "adam.v."}) {
      const std::string tensor = std::string(kind) + name;
      const auto weights = saved->floats(tensor + ".weight", shape);
      ASSERT_TRUE(weights.ok()) << weights.failure().text;
      const auto biases = saved->floats(tensor + ".bias", {shape[0]});
      ASSERT_TRUE(biases.ok()) << biases.failure().text;
      EXPECT_TRUE(std::any_of(biases->begin(), biases->end(), [](float v) { return v != 0.f; })) << tensor;
      EXPECT_TRUE(std::all_of(weights->begin(), weights->end(), [](float v) { return std::isfinite(v); })) << tensor;
    }
  EXPECT_EQ(saved->metadata().at("step"), "6");

  const auto json = jsonIn(file("w.json"));
  EXPECT_EQ(json.at("steps"), 6);
  EXPECT_EQ(json.at("test_images"), 30);
  EXPECT_EQ(json.at("train_images"), 90);
  EXPECT_EQ(json.at("interrupted"), false);
  EXPECT_EQ(json.at("losses").size(), 6u);
  for (const char* key : {"images_per_second", "seconds", "peak_rss_mb"})
    EXPECT_GT(json.at(key).get<double>(), 0) << key;
  // He's start weights on inputs of this kind: near the loss of a guess, not far above.
  EXPECT_GT(json.at("losses")[0].get<double>(), 1.5);
  EXPECT_LT(json.at("losses")[0].get<double>(), 8);
  const double accuracy = json.at("test_accuracy").get<double>() * 30;
  EXPECT_NEAR(accuracy, std::round(accuracy), 1e-9);

  const std::string page = contents(file("w.html"));
  EXPECT_THAT(page, ::testing::StartsWith("<!DOCTYPE html>"));
  EXPECT_THAT(page, HasSubstr("</html>"));
  for (const char* outside : {"http:", "https:", "<script", "<link", "url(", "@import"})
    EXPECT_THAT(page, Not(HasSubstr(outside)));
  EXPECT_THAT(page, HasSubstr("data:image/png;base64,"));

  struct stat mode {};
  ASSERT_EQ(::stat(file("w.safetensors").c_str(), &mode), 0);
  EXPECT_EQ(mode.st_mode & 0444u, 0444u) << "a result others may read";
}

TEST_F(Train, GoesOnToTheBit) {
  for (const std::string init : {"he", "apple"}) {
    const auto one = [&](const char* name, std::vector<std::string> more) {
      more.insert(more.end(), {"--save", file(init + name), "--json", file(init + name + ".json")});
      train(more);
      return jsonIn(file(init + name + ".json")).at("losses").get<std::vector<double>>();
    };
    // Across the end of an epoch (step 11 or 12 of 8 pictures), with a learning rate that is not the default.
    const std::vector<std::string> start{"--batch", "8", "--init", init, "--seed", "5", "--lr", "0.0007"};
    const auto with = [&](std::vector<std::string> more) {
      more.insert(more.begin(), start.begin(), start.end());
      return more;
    };
    const auto whole = one("whole", with({"--steps", "13"}));
    auto parts = one("part1", with({"--steps", "10"}));
    const auto second = one("part2", {"--resume", file(init + "part1"), "--steps", "13"});
    parts.insert(parts.end(), second.begin(), second.end());
    EXPECT_EQ(parts, whole);
    expectSameFiles(init + "whole", init + "part2");
  }
}

TEST_F(Train, GivesTheSameBitsForAnyThreadsAndEveryRun) {
  const auto of = [&](const std::string& name, std::vector<std::string> more) {
    more.insert(more.end(), {"--steps", "3", "--batch", "13", "--save", file(name)});
    train(more);
  };
  of("t2", {"--threads", "2"});
  of("t2b", {"--threads", "2"});
  of("t1", {"--threads", "1"});
  of("t3", {"--threads", "3"});
  expectSameFiles("t2", "t2b");
  expectSameFiles("t2", "t1");
  expectSameFiles("t2", "t3");
  of("seed", {"--seed", "1"});
  EXPECT_NE(contents(file("t2")), contents(file("seed")));
}

TEST_F(Train, HasNothingLeftToDo) {
  train({"--steps", "2", "--batch", "8", "--save", file("done")});
  const Outcome again =
      train({"--resume", file("done"), "--steps", "2", "--save", file("again"), "--json", file("again.json")});
  EXPECT_THAT(again.out, HasSubstr("has 2 steps already"));
  expectSameFiles("done", "again");
  EXPECT_EQ(jsonIn(file("again.json")).at("steps"), 2);
  EXPECT_TRUE(jsonIn(file("again.json")).at("test_accuracy").is_number());
}

TEST_F(Train, EndsAfterTheEpochsGiven) {
  // 90 pictures, twice, in batches of 40: the fifth step has seen all of them.
  train({"--epochs", "2", "--json", file("epochs.json")});
  const auto json = jsonIn(file("epochs.json"));
  EXPECT_EQ(json.at("steps"), 5);
  ASSERT_EQ(json.at("tests").size(), 2u);
  EXPECT_EQ(json.at("tests")[0].at("step"), 3);
  EXPECT_EQ(json.at("tests")[1].at("step"), 5);
}

TEST_F(Train, ReplacesWhatALinkPointsAtAndKeepsItsMode) {
  std::filesystem::create_symlink("target", file("link"));
  train({"--steps", "1", "--batch", "1", "--save", file("target")});
  ASSERT_EQ(::chmod(file("target").c_str(), 0600), 0);
  train({"--steps", "2", "--batch", "1", "--save", file("link")});
  EXPECT_TRUE(std::filesystem::is_symlink(file("link")));
  EXPECT_EQ(base::io::Safetensors::open(file("target"))->metadata().at("step"), "2");
  struct stat mode {};
  ASSERT_EQ(::stat(file("target").c_str(), &mode), 0);
  EXPECT_EQ(mode.st_mode & 0777u, 0600u);
}

}  // namespace
}  // namespace kovar::tools
