// What the program refuses, with its words: one line on standard error, exit status 2 for a wrong command line, 1 for
// work that cannot be done.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <fstream>

#include "base/io/safetensors.hpp"
#include "tools/program.hpp"

namespace kovar::tools {
namespace {

using Words = std::vector<std::string>;

TEST(RefusedCommandLine, IsExplainedInOneLine) {
  const struct {
    Words given, said;
  } cases[] = {
      {{}, {"kovar: A subcommand is required; see kovar --help"}},
      {{"train"}, {"kovar train: A subcommand is required"}},
      {{"fly"}, {"kovar: there is no command 'fly'; there are: train, classify, devices, explain, bench, gallery"}},
      {{"train", "cats"}, {"kovar train: there is no command 'cats'; there are: digits"}},
      {{"train", "digits", "--fast"}, {"not expected: --fast; see kovar train digits --help"}},
      {{"train", "digits", "more"}, {"not expected: more"}},
      {{"train", "digits", "--lr", "nan"}, {"--lr is nan; give a finite number above 0"}},
      {{"train", "digits", "--lr", "inf"}, {"--lr is inf; give a finite number above 0"}},
      {{"train", "digits", "--lr", "1e999"}, {"--lr is inf; give a finite number above 0"}},
      {{"train", "digits", "--lr", "0"}, {"--lr is 0; give a finite number above 0"}},
      {{"train", "digits", "--lr=-0.1"}, {"--lr is -0.1; give a finite number above 0"}},
      {{"train", "digits", "--lr", "fast"}, {"--lr"}},
      {{"train", "digits", "--steps", "0"}, {"--steps: Value 0 not in range"}},
      {{"train", "digits", "--steps", "-5"}, {"--steps: Value -5 not in range"}},
      {{"train", "digits", "--steps", "1.5"}, {"--steps"}},
      {{"train", "digits", "--steps", "99999999999999999999"}, {"--steps"}},
      {{"train", "digits", "--steps", "5", "--epochs", "1"}, {"--epochs excludes --steps"}},
      {{"train", "digits", "--batch", "0"}, {"--batch: Value 0 not in range 1 to 10000"}},
      {{"train", "digits", "--batch", "10001"}, {"--batch: Value 10001 not in range 1 to 10000"}},
      {{"train", "digits", "--seed", "-1"}, {"--seed: Value -1 not in range"}},
      {{"train", "digits", "--init", "xavier"}, {"--init: xavier not in {he,apple}"}},
      {{"train", "digits", "--threads", "0"}, {"--threads: Value 0 not in range 1 to 4096"}},
      {{"train", "digits", "--save", "x", "--json", "x"}, {"--save and --json both write 'x'; give two files"}},
      {{"train", "digits", "--save", ""}, {"--save: the name is empty; leave the option out or give a file"}},
      {{"train", "digits", "--resume", ""}, {"--resume: the name is empty"}},
      {{"classify", "a.png"}, {"kovar classify: --weights is required"}},
      {{"classify", "--weights", "w"}, {"kovar classify: pictures is required"}},
      {{"devices", "all"}, {"kovar devices: ", "not expected: all"}},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(::testing::PrintToString(c.given));
    const Outcome outcome = run(c.given);
    expectRefused(outcome, 2, c.said);
    EXPECT_EQ(outcome.out, "");
  }
}

TEST(RefusedCommandLine, HelpAndVersionAreNoFailures) {
  for (const Words& words : {Words{"--help"}, Words{"train", "--help"}, Words{"train", "digits", "--help"},
                             Words{"classify", "--help"}, Words{"devices", "--help"}, Words{"--version"}}) {
    const Outcome outcome = run(words);
    EXPECT_EQ(outcome.status, 0);
    EXPECT_EQ(outcome.err, "");
    EXPECT_FALSE(outcome.out.empty());
  }
}

class RefusedWork : public ::testing::Test {
 protected:
  RefusedWork() { writeSmallMnist(file("mnist"), 20, 10); }
  std::string file(const std::string& name) const { return folder_.file(name); }
  Outcome train(const Words& more, const std::string& data = "mnist") const {
    Words words{"train", "digits", "--data", file(data)};
    words.insert(words.end(), more.begin(), more.end());
    return run(words);
  }
  /// Another copy of the data, to spoil.
  std::string copy(const std::string& name) const {
    std::filesystem::copy(file("mnist"), file(name));
    return file(name) + "/";
  }
  void cut(const std::string& path, std::size_t bytes) const {
    std::filesystem::resize_file(path, std::filesystem::file_size(path) - bytes);
  }
  static void write(const std::string& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary) << bytes;
  }

  TemporaryFolder folder_;
};

constexpr const char* kTrainImages = "train-images-idx3-ubyte";
constexpr const char* kTrainLabels = "train-labels-idx1-ubyte";
constexpr const char* kTestImages = "t10k-images-idx3-ubyte";
constexpr const char* kTestLabels = "t10k-labels-idx1-ubyte";

TEST_F(RefusedWork, SpoiledData) {
  expectRefused(train({}, "nowhere"), 1, {"nowhere' has no train-images-idx3-ubyte[.gz]; give the folder", "--data"});

  std::filesystem::remove(copy("missing") + kTestLabels);
  expectRefused(train({}, "missing"), 1, {"missing' has no t10k-labels-idx1-ubyte[.gz]"});

  cut(copy("short") + kTrainImages, 1);
  expectRefused(train({}, "short"), 1, {"short/train-images-idx3-ubyte'", "15679", "15680"});
  cut(copy("header") + kTestLabels, 13);
  expectRefused(train({}, "header"), 1, {"header/t10k-labels-idx1-ubyte'"});
  write(copy("long") + kTrainLabels, contents(file("mnist/") + kTrainLabels) + "x");
  expectRefused(train({}, "long"), 1, {"long/train-labels-idx1-ubyte'"});
  write(copy("empty") + kTrainLabels, "");
  expectRefused(train({}, "empty"), 1, {"empty/train-labels-idx1-ubyte'"});
  write(copy("text") + kTrainImages, "these are no pictures at all");
  expectRefused(train({}, "text"), 1, {"text/train-images-idx3-ubyte'"});

  const std::string swapped = copy("swapped");
  std::filesystem::rename(swapped + kTrainImages, swapped + "x");
  std::filesystem::rename(swapped + kTrainLabels, swapped + kTrainImages);
  std::filesystem::rename(swapped + "x", swapped + kTrainLabels);
  expectRefused(train({}, "swapped"), 1, {"swap"});

  const std::string other = copy("other");
  std::filesystem::copy_file(other + kTestLabels, other + kTrainLabels,
                             std::filesystem::copy_options::overwrite_existing);
  expectRefused(train({}, "other"), 1, {"20", "10"});

  std::string labels = contents(file("mnist/") + kTestLabels);
  labels.back() = 10;
  write(copy("ten") + kTestLabels, labels);
  expectRefused(train({}, "ten"), 1, {"ten/t10k-labels-idx1-ubyte'", "10"});

  // The sizes of 20 pictures of 28 x 28 written as 28 rows of 20 x 28.
  std::string pictures = contents(file("mnist/") + kTrainImages);
  std::swap(pictures[7], pictures[11]);
  std::string many = contents(file("mnist/") + kTrainLabels);
  many[7] = 28;
  many.resize(8 + 28, '\0');
  const std::string shape = copy("shape");
  write(shape + kTrainImages, pictures);
  write(shape + kTrainLabels, many);
  expectRefused(train({}, "shape"), 1, {"holds pictures of 28 x 20 pixels; the network takes 28 x 28"});

  write(copy("gz") + kTrainImages + std::string(".gz"), "ignored: the plain file comes first");
  const std::string packed = file("gz/");
  std::filesystem::remove(packed + kTrainImages);
  write(packed + kTrainImages + ".gz", "\x1f\x8b\x08");
  expectRefused(train({}, "gz"), 1, {"gz/train-images-idx3-ubyte.gz'"});
}

TEST_F(RefusedWork, OutputsThatCannotBeWritten) {
  const auto names = folder_.names();
  const Outcome early = train({"--save", file("no/where")});
  expectRefused(early, 1, {"cannot write '" + file("no/where") + "'"});
  EXPECT_EQ(early.out, "") << "found out before the training, not after it";
  expectRefused(train({"--json", file("mnist")}), 1, {"cannot write '" + file("mnist") + "': is a folder"});
  expectRefused(train({"--report", file("mnist/") + kTestLabels + "/x"}), 1, {"cannot write", "not a folder"});
  if (::geteuid() != 0) {
    std::filesystem::create_directory(file("locked"));
    ASSERT_EQ(::chmod(file("locked").c_str(), 0500), 0);
    expectRefused(train({"--save", file("locked/w")}), 1, {"permission denied"});
    std::filesystem::remove(file("locked"));
  }
  EXPECT_EQ(folder_.names(), names);
}

/// A safetensors file with tensors of the shapes given, and metadata.
void writeTensors(const std::string& path, const std::vector<std::pair<std::string, base::io::TensorShape>>& tensors,
                  const std::vector<std::pair<std::string, std::string>>& metadata) {
  base::io::SafetensorsWriter writer;
  for (const auto& [name, shape] : tensors) {
    std::size_t count = 1;
    for (const auto n : shape) count *= static_cast<std::size_t>(n);
    const std::vector<float> values(count, 0.5f);
    ASSERT_TRUE(writer.add(name, shape, std::span<const float>(values)).ok());
  }
  for (const auto& [key, value] : metadata) ASSERT_TRUE(writer.setMetadata(key, value).ok());
  ASSERT_TRUE(writer.save(path).ok());
}

TEST_F(RefusedWork, RunsThatAreNoRunsOfThisNetwork) {
  expectRefused(train({"--resume", file("none")}), 1, {"cannot read '" + file("none") + "': no such file"});
  write(file("text"), "not a file of tensors");
  expectRefused(train({"--resume", file("text")}), 1, {"cannot read '" + file("text") + "' as safetensors"});

  writeTensors(file("plain"), {{"conv1.weight", {2, 2}}}, {});
  expectRefused(
      train({"--resume", file("plain")}), 1,
      {"'" + file("plain") + "' is not a run of this program's digit classifier: it has no metadata 'network'",
       "give a file that kovar train digits --save wrote"});
  writeTensors(file("other"), {{"a", {2}}}, {{"network", "kovar cats 1"}});
  expectRefused(train({"--resume", file("other")}), 1, {"it is of the network 'kovar cats 1'"});

  const std::vector<std::pair<std::string, std::string>> good{
      {"network", "kovar digits 1"}, {"step", "3"},  {"seed", "0"},         {"batch", "8"},
      {"learning_rate", "0.001"},    {"init", "he"}, {"order", "shuffled"}, {"pictures", "20"}};
  const auto with = [&](const std::string& key, const std::string& value) {
    auto metadata = good;
    for (auto& [k, v] : metadata)
      if (k == key) v = value;
    writeTensors(file("w"), {{"conv1.weight", {32, 3, 3, 1}}}, metadata);
    return train({"--resume", file("w"), "--steps", "5"});
  };
  const std::pair<const char*, const char*> bad[] = {
      {"step", "-3"},           {"step", "x"},          {"step", "99999999999999"},
      {"batch", "0"},           {"batch", "10001"},     {"seed", ""},
      {"learning_rate", "nan"}, {"learning_rate", "0"}, {"pictures", "0"},
      {"learning_rate", "-1"},  {"init", "she"},        {"order", "sorted"}};
  for (const auto& [key, value] : bad) {
    SCOPED_TRACE(std::string(key) + " " + value);
    expectRefused(with(key, value), 1, {"is not a run of", std::string("metadata '") + key + "'"});
  }
  expectRefused(with("pictures", "60000"), 1, {"is of a training set of 60000 pictures", "has 20", "--data"});
  // Everything says it is this network; the tensors do not.
  expectRefused(with("", ""), 1, {"conv1.weight", "32", "3"});
}

TEST_F(RefusedWork, ARunGoesOnAsItBegan) {
  ASSERT_EQ(train({"--steps", "1", "--batch", "4", "--save", file("w")}).status, 0);
  for (const Words& given : {Words{"--batch", "5"}, Words{"--seed", "1"}, Words{"--init", "apple"}}) {
    Words words{"--resume", file("w"), "--steps", "2"};
    words.insert(words.end(), given.begin(), given.end());
    expectRefused(train(words), 2,
                  {given[0] + " differs from the run in '" + file("w") + "'", "leave " + given[0] + " out"});
  }
  EXPECT_EQ(train({"--resume", file("w"), "--steps", "2", "--batch", "4"}).status, 0) << "the same value is no mistake";

  const std::string bytes = contents(file("w"));
  write(file("cut"), bytes.substr(0, bytes.size() - 1));
  expectRefused(train({"--resume", file("cut"), "--steps", "2"}), 1, {"cut short"});
  expectRefused(run({"classify", "--weights", file("cut"), "x.png"}), 1, {"cut short"});
}

TEST_F(RefusedWork, WeightsThatClassifyCannotUse) {
  expectRefused(run({"classify", "--weights", file("none"), "x.png"}), 1, {"cannot read '" + file("none") + "'"});
  writeTensors(file("w"), {{"conv1.weight", {32, 5, 5, 1}}, {"conv1.bias", {32}}}, {});
  expectRefused(run({"classify", "--weights", file("w"), "x.png"}), 1,
                {"holds no tensor conv2.weight; give a file that kovar train digits --save wrote"});
  writeTensors(file("w"),
               {{"conv1.weight", {32, 5, 5, 1}},
                {"conv1.bias", {32}},
                {"conv2.weight", {64, 3, 3, 32}},
                {"conv2.bias", {64}},
                {"fc1.weight", {1024, 7, 7, 64}},
                {"fc1.bias", {1024}},
                {"fc2.weight", {10, 1, 1, 1024}},
                {"fc2.bias", {10}}},
               {});
  expectRefused(run({"classify", "--weights", file("w"), "x.png"}), 1, {"conv2.weight"});
  expectRefused(run({"classify", "--weights", std::string(KOVAR_SOURCE_DIR) + "/data/digits/one.png", "x.png"}), 1,
                {"one.png' as safetensors"});
}

}  // namespace
}  // namespace kovar::tools
