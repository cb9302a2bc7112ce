// What the CUDA back end remembers of engines it measured.

#include "backend/cuda/choices.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "kovar/Support/Log.hpp"

namespace kovar::cuda {
namespace {

TEST(CudaChoices, AreFoundAgain) {
  Choices c{""};
  EXPECT_FALSE(c.find("9.1 GPU conv a"));
  c.put("9.1 GPU conv a", 3);
  EXPECT_EQ(c.find("9.1 GPU conv a"), 3);
  c.put("9.1 GPU conv a", 4);
  EXPECT_EQ(c.find("9.1 GPU conv a"), 3) << "the first choice stays";
  EXPECT_FALSE(c.find("9.1 GPU conv b"));
}

TEST(CudaChoices, OutliveTheProcessInAFile) {
  std::string folder = (std::filesystem::temp_directory_path() / "kovar-choices-XXXXXX").string();
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  const std::string path = folder + "/engines.txt";
  {
    Choices c{path};
    c.put("9.1 GPU conv a", 12);
    c.put("9.1 GPU conv b", 0);
  }
  std::ofstream(path, std::ios::app) << "no number\n-1 negative\n12\n7 \n99999999999 too long\n";
  Choices c{path};
  EXPECT_EQ(c.find("9.1 GPU conv a"), 12);
  EXPECT_EQ(c.find("9.1 GPU conv b"), 0);
  EXPECT_FALSE(c.find("number"));
  EXPECT_FALSE(c.find("negative"));
  EXPECT_FALSE(c.find("too long"));
  std::filesystem::remove_all(folder);
}

TEST(CudaChoices, AFileThatCannotBeWrittenIsToldOnce) {
  std::vector<std::string> told;
  setLogCallback([&](LogLevel, std::string_view text) { told.emplace_back(text); });
  Choices c{"/nowhere/engines.txt"};
  c.put("a", 1);
  c.put("b", 2);
  setLogCallback(nullptr);
  ASSERT_EQ(told.size(), 1u);
  EXPECT_THAT(told[0], testing::HasSubstr("KOVAR_CUDA_MEASURE: cannot write to '/nowhere/engines.txt'"));
  EXPECT_EQ(c.find("b"), 2);
}

TEST(CudaChoices, TheEnvironmentSaysWhatIsMeasured) {
  EXPECT_FALSE(EngineSwitches::of(nullptr, nullptr).measure);
  EXPECT_FALSE(EngineSwitches::of("", "0").measure);
  EXPECT_FALSE(EngineSwitches::of("0", nullptr).measure);
  const EngineSwitches kept = EngineSwitches::of("/tmp/x", "1");
  EXPECT_TRUE(kept.measure);
  EXPECT_EQ(kept.file, "/tmp/x");
  EXPECT_TRUE(kept.anyOrder);
  const EngineSwitches plain = EngineSwitches::of("1", "");
  EXPECT_TRUE(plain.measure);
  EXPECT_EQ(plain.file, "");
  EXPECT_FALSE(plain.anyOrder);
}

}  // namespace
}  // namespace kovar::cuda
