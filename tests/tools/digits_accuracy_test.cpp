// The published plan, 300 steps of 40 pictures from wide weights with dropout, learns as PyTorch does.

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "kovar/command.hpp"
#include "kovar/train_digits.hpp"

namespace kovar::test {
namespace {

/// What docs/measurements/pytorch-digits.md gives as band of PyTorch's runs at step 300. At steps 100 and 200 single
/// runs of PyTorch itself leave the band, so those are told, not judged.
constexpr double kLowest = 0.9501, kHighest = 0.9698;

TEST(DigitsAccuracy, ThreeHundredStepsLieInPyTorchsBand) {
  for (const std::uint64_t seed : {0, 1}) {
    const auto json = std::filesystem::path(testing::TempDir()) / ("kovar_band_" + std::to_string(seed) + ".json");
    tools::TrainDigitsOptions options;
    options.data = std::string(KOVAR_SOURCE_DIR) + "/data/mnist";
    options.steps = 300;
    options.testEvery = 100;
    options.init = tools::Init::Apple;
    options.seed = seed;
    options.json = json.string();
    ASSERT_EQ(tools::trainDigits(options), tools::kDone);
    std::ifstream file(json);
    const auto figures = nlohmann::json::parse(file);
    ASSERT_EQ(figures.at("tests").size(), 3u);
    EXPECT_EQ(figures.at("tests")[2].at("step"), 300);
    const double accuracy = figures.at("test_accuracy");
    EXPECT_GE(accuracy, kLowest) << "seed " << seed;
    EXPECT_LE(accuracy, kHighest) << "seed " << seed;
    std::filesystem::remove(json);
  }
}

}  // namespace
}  // namespace kovar::test
