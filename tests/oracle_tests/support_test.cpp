// The comparator, the seeds and the golden reader themselves.

#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>

#include "support/compare.hpp"
#include "support/geometry.hpp"
#include "support/golden.hpp"

namespace kovar::test {
namespace {

using Values = std::vector<double>;

testing::AssertionResult check(const std::vector<float>& actual, const Values& expected, const Values& magnitude,
                               Compare how = {}) {
  return compare(actual, expected, magnitude, how);
}

TEST(Comparator, AllowsWhatTheMagnitudeAllows) {
  EXPECT_TRUE(check({1.00001f}, {1}, {1}, {{2e-5}}));
  EXPECT_FALSE(check({1.00005f}, {1}, {1}, {{2e-5}}));
  EXPECT_TRUE(check({1.00005f}, {1}, {10}, {{2e-5}}));
  EXPECT_FALSE(check({1.0f, 5.0f}, {1, 4}, {1, 0}));                     // magnitude 0: must stay
  EXPECT_FALSE(check({std::nextafter(1.0f, 2.0f)}, {1}, {1}, {{0.0}}));  // an exact op
}

TEST(Comparator, NamesThePlaceAndTheValues) {
  oracle::Result r{oracle::Tensor(2, 2, 2, 3, 1.0), oracle::Tensor(2, 2, 2, 3, 1.0)};
  std::vector<float> actual(24, 1.0f);
  actual[23] = 7;
  const auto result = compare(actual, r, {});
  EXPECT_FALSE(result);
  EXPECT_NE(std::string(result.message()).find("[23] image 1 y 1 x 1 channel 2: actual 7, expected 1"),
            std::string::npos)
      << result.message();
}

TEST(Comparator, RefusesEmptyProof) {
  EXPECT_FALSE(check({}, {}, {}));
  Compare how;
  how.allowEmpty = true;
  EXPECT_TRUE(check({}, {}, {}, how));
  EXPECT_FALSE(check({1}, {1, 2}, {1, 1}));
  EXPECT_FALSE(compare(std::vector<float>(100, 0.0f), Values(100, 0.0), Values(100, 1.0), {}));
  how.maxZeroShare = 1;
  EXPECT_TRUE(compare(std::vector<float>(100, 0.0f), Values(100, 0.0), Values(100, 1.0), how));
}

TEST(Comparator, NanAndInfinity) {
  EXPECT_TRUE(check({NAN}, {NAN}, {NAN}));
  EXPECT_FALSE(check({1}, {NAN}, {1}));
  EXPECT_FALSE(check({NAN}, {1}, {1}));
  EXPECT_TRUE(check({INFINITY}, {INFINITY}, {1}));
  EXPECT_FALSE(check({INFINITY}, {-INFINITY}, {1}));
  EXPECT_FALSE(check({FLT_MAX}, {INFINITY}, {INFINITY}));
  EXPECT_TRUE(check({INFINITY}, {1e39}, {1}));  // beyond float
  Compare how;
  how.nanIsAnything = true;
  EXPECT_TRUE(check({3}, {NAN}, {1}, how));
  how = {};
  how.storage = oracle::Format::Float16;
  EXPECT_TRUE(check({INFINITY}, {70000}, {70000}, how));
}

TEST(Comparator, StorageAddsItsRounding) {
  Compare how{{1e-7}};
  EXPECT_FALSE(check({1.0f}, {1.0008}, {1}, how));
  how.storage = oracle::Format::Float16;
  EXPECT_TRUE(check({1.0f}, {1.0008}, {1}, how));
  EXPECT_FALSE(check({1.0f}, {1.002}, {1}, how));
  how.storage = oracle::Format::Unorm8;
  EXPECT_TRUE(check({static_cast<float>(100 / 255.0)}, {101 / 255.0}, {1}, how));
  EXPECT_FALSE(check({static_cast<float>(100 / 255.0)}, {102 / 255.0}, {1}, how));
}

TEST(Seeds, SameSeedSameCaseAndTheLineToRunItAgain) {
  Random a(7), b(7), c(8);
  EXPECT_EQ(a.bits(), b.bits());
  EXPECT_NE(a.bits(), c.bits());
  EXPECT_EQ(reproducer(12, 3),
            "KOVAR_TEST_SEED=12 KOVAR_TEST_CASE=3 <test program> "
            "--gtest_filter='Seeds.SameSeedSameCaseAndTheLineToRunItAgain'");
  Random r(1);
  for (int i = 0; i < 1000; ++i) {
    const long v = r.integer(-2, 2);
    const double x = r.real(1, 3);
    EXPECT_TRUE(v >= -2 && v <= 2 && x >= 1 && x < 3) << v << " " << x;
  }
}

TEST(Seeds, TieFreeValuesDiffer) {
  Random r(1);
  Values v = randomValues(r, 500, {-4, 4, true});
  EXPECT_GE(*std::min_element(v.begin(), v.end()), -4);
  EXPECT_LE(*std::max_element(v.begin(), v.end()), 4);
  std::sort(v.begin(), v.end());
  EXPECT_EQ(std::unique(v.begin(), v.end()), v.end());
}

TEST(Seeds, GeometriesReachTheHardCases) {
  Random r(3);
  int clamp = 0, clip = 0, dilated = 0, channels = 0, even = 0, strided = 0;
  for (int i = 0; i < 500; ++i) {
    const Geometry g = randomGeometry(r);
    clamp += g.at.edge == oracle::EdgeMode::Clamp;
    clip += g.at.clip.width != oracle::kNoClip;
    dilated += g.dilationX > 1 && g.kernelWidth > 1;
    channels += g.at.sourceChannelOffset > 0;
    even += g.kernelWidth % 2 == 0;
    strided += g.strideX > 1 && g.destinationWidth > 1;
  }
  for (int count : {clamp, clip, dilated, channels, even, strided}) EXPECT_GT(count, 40);
}

TEST(GoldenReader, SaysWhatIsWrong) {
  const std::string path = testing::TempDir() + "/golden_reader.txt";
  auto failure = [&](const std::string& text) -> std::string {
    std::FILE* f = std::fopen(path.c_str(), "w");
    std::fputs(text.c_str(), f);
    std::fclose(f);
    try {
      readGolden(path);
    } catch (const std::runtime_error& e) {
      return e.what();
    }
    return "";
  };
  EXPECT_EQ(failure("# ok\ncase a\nword k v\nnumber n 2\ntensor t 1 1 1 3\n1 nan\n-inf\n"), "");
  EXPECT_NE(failure("").find("no cases"), std::string::npos);
  EXPECT_NE(failure("number n 2").find("before the first case"), std::string::npos);
  EXPECT_NE(failure("case a\ntensor t 1 1 1 3 1 2").find("values of t end early in case a"), std::string::npos);
  EXPECT_NE(failure("case a\nblob b 1").find("unknown entry blob in case a"), std::string::npos);
  EXPECT_NE(failure("case a\ntensor t 9999 9999 1 3 1 2").find("bad sizes of t"), std::string::npos);
  std::filesystem::remove(path);
  EXPECT_THROW(readGolden(path), std::runtime_error);
}

}  // namespace
}  // namespace kovar::test
