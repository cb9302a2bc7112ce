// kovar classify and kovar devices.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "base/io/picture.hpp"
#include "kovar/digits/prepare.hpp"
#include "tools/program.hpp"

namespace kovar::tools {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct Digit {
  const char* file;
  std::size_t place;  ///< in MNIST's test set
  int digit;
};
// data/digits/README.md
constexpr Digit kDigitFiles[] = {{"zero.png", 3, 0},       {"one.png", 5, 1},        {"two.png", 35, 2},
                                 {"three.png", 30, 3},     {"four.png", 4, 4},       {"five.png", 15, 5},
                                 {"six.png", 21, 6},       {"seven.png", 34, 7},     {"seven_2.png", 75, 7},
                                 {"eight.png", 84, 8},     {"nine.png", 12, 9},      {"two_ink.png", 82, 2},
                                 {"five_blue.png", 23, 5}, {"four_photo.jpg", 33, 4}};

std::string pathOf(const Digit& d) { return std::string(KOVAR_SOURCE_DIR) + "/data/digits/" + d.file; }

/// A network that has learned the originals of data/digits by heart: it then must know them in any form.
class Classify : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    std::vector<std::size_t> places;
    for (const Digit& d : kDigitFiles) places.push_back(d.place);
    writeMnistOf(folder_->file("mnist"), places);
    const Outcome outcome = run({"train", "digits", "--data", folder_->file("mnist"), "--batch", "14", "--steps", "30",
                                 "--save", weights(), "--json", folder_->file("json")});
    ASSERT_EQ(outcome.status, 0) << outcome.err;
    ASSERT_EQ(jsonIn(folder_->file("json")).at("test_accuracy"), 1.0) << "not learned by heart";
  }
  static void TearDownTestSuite() {
    delete folder_;
    folder_ = nullptr;
  }
  static std::string weights() { return folder_->file("weights"); }
  static TemporaryFolder* folder_;
};
TemporaryFolder* Classify::folder_ = nullptr;

TEST_F(Classify, KnowsDigitsOfAnySizeColourAndFormat) {
  std::vector<std::string> arguments{"classify", "--weights", weights()};
  for (const Digit& d : kDigitFiles) arguments.push_back(pathOf(d));
  const Outcome outcome = run(arguments);
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.err, IsEmpty());
  std::istringstream lines(outcome.out);
  for (const Digit& d : kDigitFiles) {
    std::string file, rest;
    int said = -1;
    double probability = -1;
    std::getline(lines, file, '\t');
    lines >> said >> probability;
    std::getline(lines, rest);
    EXPECT_EQ(file, pathOf(d));
    EXPECT_EQ(said, d.digit) << d.file;
    EXPECT_GT(probability, 0.1) << d.file;
    EXPECT_LE(probability, 1) << d.file;
    EXPECT_THAT(rest, IsEmpty());
  }
  EXPECT_EQ(lines.peek(), EOF);
}

TEST_F(Classify, GoesOnAfterAPictureItCannotRead) {
  const std::string text = std::string(KOVAR_SOURCE_DIR) + "/data/digits/README.md";
  const Outcome outcome = run({"classify", "--weights", weights(), text, "--threads", "1", pathOf(kDigitFiles[1])});
  expectRefused(outcome, 1, {"README.md' as a picture: it is neither PNG nor JPEG"});
  EXPECT_THAT(outcome.out, HasSubstr("one.png\t1\t"));
}

TEST_F(Classify, TakesPicturesWithoutInk) {
  base::io::Picture blank{40, 30, 3, base::io::Bytes(40 * 30 * 3, 255)};
  ASSERT_TRUE(base::io::writePng(folder_->file("blank.png"), blank).ok());
  blank = {1, 1, 1, {7}};
  ASSERT_TRUE(base::io::writePng(folder_->file("dot.png"), blank).ok());
  const Outcome outcome =
      run({"classify", "--weights", weights(), folder_->file("blank.png"), folder_->file("dot.png")});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
}

TEST(PrepareDigit, TakesWhatMnistHasAsItIs) {
  const auto picture = base::io::readPicture(pathOf(kDigitFiles[0]));
  ASSERT_TRUE(picture.ok()) << picture.failure().text;
  EXPECT_EQ(prepareDigit(*picture).pixels, base::io::toGray(*picture).pixels);
}

TEST(PrepareDigit, NothingHasNoInk) {
  EXPECT_EQ(prepareDigit({}), (base::io::Picture{28, 28, 1, base::io::Bytes(28 * 28)}));
}

TEST(PrepareDigit, CentresAndScalesTheInk) {
  // A black bar of 6 x 30 somewhere on white paper of 100 x 80: 4 x 20 in the middle, bright on black.
  base::io::Picture paper{100, 80, 1, base::io::Bytes(8000, 255)};
  for (int y = 11; y < 41; ++y)
    for (int x = 70; x < 76; ++x) paper.pixels[paper.index(x, y)] = 0;
  const auto digit = prepareDigit(paper);
  ASSERT_EQ(digit.width, 28);
  ASSERT_EQ(digit.height, 28);
  for (int y = 0; y < 28; ++y)
    for (int x = 0; x < 28; ++x) {
      const bool ink = y >= 4 && y < 24 && x >= 12 && x < 16;
      ASSERT_EQ(digit.pixels[static_cast<std::size_t>(y * 28 + x)], ink ? 255 : 0) << x << ", " << y;
    }
}

TEST(PrepareDigit, SurvivesInkTooThinToScale) {
  base::io::Picture paper{4000, 4000, 1, base::io::Bytes(16'000'000, 0)};
  paper.pixels[4001] = paper.pixels[15'990'000] = 255;  // two dots far apart
  const auto digit = prepareDigit(paper);
  EXPECT_EQ(digit.pixels.size(), 784u);
}

TEST(Devices, AreListed) {
  const Outcome outcome = run({"devices"});
  EXPECT_EQ(outcome.status, 0);
  EXPECT_THAT(outcome.out, HasSubstr("cpu: "));
  const Outcome asJson = run({"devices", "--json"});
  EXPECT_EQ(asJson.status, 0);
  const auto json = nlohmann::json::parse(asJson.out);
  ASSERT_TRUE(json.is_array());
  ASSERT_GE(json.size(), 1u);
  const auto& cpu = json.back();
  EXPECT_EQ(cpu.at("device"), "cpu");
  EXPECT_FALSE(cpu.at("name").get<std::string>().empty());
  EXPECT_FALSE(cpu.at("instruction_set").get<std::string>().empty());
  EXPECT_GT(cpu.at("memory_bytes").get<std::uint64_t>(), 1u << 20);
  EXPECT_TRUE(cpu.at("libraries").contains("Highway"));
}

TEST(Devices, AreChosenByNameOrEnvironment) {
  const std::vector<std::string> classify{"classify", "--weights", "none", "none.png"};
  expectRefused(run(classify, {{}, 0, "zz"}), 1, {"device \"zz\"", "there are: cpu"});
  auto named = classify;
  named.insert(named.end(), {"--device", "cpu"});
  expectRefused(run(named, {{}, 0, "zz"}), 1, {"cannot read 'none'"});
}

}  // namespace
}  // namespace kovar::tools
