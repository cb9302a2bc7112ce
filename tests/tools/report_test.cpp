#include "kovar/report/report.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <limits>
#include <random>

#include "kovar/report/chart.hpp"
#include "kovar/report/html.hpp"

namespace kovar::tools {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// Text that would break the page, or worse, if one place forgot to escape it.
const std::string kNasty = "</style><script>alert('x')</script> \"&amp\" \x01\xff";

TrainingReport fullReport() {
  TrainingReport report;
  report.title = kNasty;
  report.subtitle = kNasty;
  report.testAccuracy = 0.98712;
  report.testPictures = 10'000;
  report.imagesPerSecond = 2718.2;
  report.trainingSeconds = 22.4;
  report.steps = 1500;
  report.batch = 40;
  report.peakMemoryBytes = 190u << 20;
  report.parameters = 3'274'634;
  for (int i = 0; i < 1500; ++i) report.losses.push_back(2.3f / static_cast<float>(1 + i));
  report.losses[7] = kNaN;
  for (int i = 0; i <= 15; ++i) report.trainAccuracy.push_back({100.0 * i, 0.9 + 0.006 * i});
  report.testAccuracies = {{750, 0.97}, {1500, 0.98712}};
  report.classes = {"cat", kNasty};
  report.confusion = {5, 0, 2, 7};
  report.wrong.push_back({{2, 2, 1, {0, 80, 160, 255}}, kNasty, kNasty, 0.61});
  report.wrong.push_back({{2, 2, 1, {}}, "4", "9", std::nan("")});  // a picture that is not consistent
  report.wrongTotal = 128;
  report.filters = filterPictures(std::vector<float>(50, 0.5f), 2, 5, 5, 1);
  report.phases = {{kNasty, 20}, {"test", 0.004}};
  report.arenaBytes = 2u << 20;
  report.intermediatesBytes = 7u << 20;
  report.memory = {{kNasty, 12'345, kNasty}};
  report.command = kNasty;
  report.configuration = {{kNasty, kNasty}};
  return report;
}

// Checks that every element is closed in order. Knows the elements without content that the page uses.
std::string unbalanced(const std::string& page) {
  std::vector<std::string> open;
  for (std::size_t at = page.find('<'); at != std::string::npos; at = page.find('<', at + 1)) {
    const std::size_t end = page.find('>', at);
    if (end == std::string::npos) return "a tag does not end";
    const std::string tag = page.substr(at + 1, end - at - 1);
    if (tag.starts_with('!') || tag.ends_with('/')) continue;
    if (tag.find('<') != std::string::npos) return "a tag inside a tag: " + tag;
    if (std::count(tag.begin(), tag.end(), '"') % 2 != 0) return "quotes do not match: " + tag;
    const std::string name = tag.substr(0, tag.find_first_of(" \n"));
    if (name == "meta" || name == "img" || name == "br") continue;
    if (name.starts_with('/')) {
      if (open.empty() || open.back() != name.substr(1)) return name + " closes " + (open.empty() ? "" : open.back());
      open.pop_back();
    } else {
      open.push_back(name);
    }
  }
  return open.empty() ? "" : open.back() + " stays open";
}

TEST(Report, IsOneWellFormedPageThatNeedsNothingElse) {
  const std::string page = writeTrainingReport(fullReport());
  EXPECT_THAT(page, StartsWith("<!DOCTYPE html>"));
  EXPECT_EQ(unbalanced(page), "");
  for (const char* outside : {"http:", "https:", "\"//", "url(", "@import", "<link", "<script", "<iframe", "srcset"}) {
    EXPECT_THAT(page, Not(HasSubstr(outside)));
  }
  for (std::size_t at = page.find("src="); at != std::string::npos; at = page.find("src=", at + 1)) {
    EXPECT_EQ(page.substr(at, 27), "src=\"data:image/png;base64,");
  }
}

TEST(Report, EscapesEveryText) {
  const std::string page = writeTrainingReport(fullReport());
  const std::string safe =
      "&lt;/style&gt;&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &quot;&amp;amp&quot; \xef\xbf\xbd\xef\xbf\xbd";
  EXPECT_EQ(escaped(kNasty), safe);
  std::size_t places = 0;
  for (std::size_t at = page.find(safe); at != std::string::npos; at = page.find(safe, at + 1)) ++places;
  // Title twice, subtitle, class as column, row and twice in tooltips, said and truth in caption and description,
  // phase, memory's name and note, command, configuration's name and value.
  EXPECT_GE(places, 16u);
}

TEST(Report, ShowsWhatItWasGiven) {
  const std::string page = writeTrainingReport(fullReport());
  for (const char* text : {"98.71\xc2\xa0%", ">2718<", "22.4\xc2\xa0s", "190.0\xc2\xa0MB", "3\u202f274\u202f634",
                           "1\u202f500 steps of 40", "2 of 128 are shown", "61\xc2\xa0%", "3.5 times smaller",
                           "1 values are not finite", "77.8\xc2\xa0%", "4.0\xc2\xa0ms"}) {
    EXPECT_THAT(page, HasSubstr(text));
  }
  EXPECT_EQ(page, writeTrainingReport(fullReport())) << "not the same bytes twice";
}

TEST(Report, LeavesOutWhatIsMissing) {
  const std::string page = writeTrainingReport({});
  EXPECT_EQ(unbalanced(page), "");
  EXPECT_THAT(page, Not(HasSubstr("<section>")));
  TrainingReport odd;
  odd.testAccuracy = std::nan("");
  odd.losses = {kNaN, kNaN};
  odd.classes = {"a", "b"};
  odd.confusion = {1, 2, 3};  // not a square of the classes
  odd.trainAccuracy = {{1, 0.5}};
  odd.phases = {{"none", 0}};
  const std::string other = writeTrainingReport(odd);
  EXPECT_EQ(unbalanced(other), "");
  EXPECT_THAT(other, Not(HasSubstr("nan")));
  EXPECT_THAT(other, Not(HasSubstr("<table class=\"matrix\">")));
}

TEST(ReportHtml, EscapesByCharacter) {
  EXPECT_EQ(escaped("a<b>&\"'"), "a&lt;b&gt;&amp;&quot;&#39;");
  EXPECT_EQ(escaped("\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"), "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80");
  const std::string bad = "\xef\xbf\xbd";
  EXPECT_EQ(escaped("\xc3"), bad);
  EXPECT_EQ(escaped("\xc0\xaf"), bad + bad);            // overlong
  EXPECT_EQ(escaped("\xed\xa0\x80"), bad + bad + bad);  // surrogate
  EXPECT_EQ(escaped("\xe2\x82<"), bad + bad + "&lt;");  // cut short
  EXPECT_EQ(escaped(std::string(1, '\0') + "\x7f\n\t"), bad + bad + "\n\t");
}

TEST(ReportHtml, WritesNumbersForPeople) {
  const std::string thin = "\xe2\x80\xaf";
  EXPECT_EQ(grouped(0), "0");
  EXPECT_EQ(grouped(999), "999");
  EXPECT_EQ(grouped(-1000), "-1" + thin + "000");
  EXPECT_EQ(grouped(1'234'567), "1" + thin + "234" + thin + "567");
  EXPECT_EQ(byteSize(0),
            "0\xc2\xa0"
            "B");
  EXPECT_EQ(byteSize(1023),
            "1023\xc2\xa0"
            "B");
  EXPECT_EQ(byteSize(1536), "1.5\xc2\xa0KB");
  EXPECT_EQ(byteSize((1u << 20) - 1), "1.0\xc2\xa0MB");
  EXPECT_EQ(duration(0.0123), "12.3\xc2\xa0ms");
  EXPECT_EQ(duration(59.96), "1\xc2\xa0min 0\xc2\xa0s");
  EXPECT_EQ(duration(95), "1\xc2\xa0min 35\xc2\xa0s");
  EXPECT_EQ(duration(3725), "1\xc2\xa0h 2\xc2\xa0min");
  EXPECT_EQ(percent(std::nan(""), 1), "\xe2\x80\x93");
  EXPECT_EQ(fixed(INFINITY, 1), "\xe2\x80\x93");
}

TEST(ReportHtml, EncodesBase64) {  // the examples of RFC 4648
  const auto of = [](const std::string& text) { return base64({text.begin(), text.end()}); };
  EXPECT_EQ(of(""), "");
  EXPECT_EQ(of("f"), "Zg==");
  EXPECT_EQ(of("fo"), "Zm8=");
  EXPECT_EQ(of("foo"), "Zm9v");
  EXPECT_EQ(of("foob"), "Zm9vYg==");
  EXPECT_EQ(of("fooba"), "Zm9vYmE=");
  EXPECT_EQ(of("foobar"), "Zm9vYmFy");
}

TEST(ReportChart, TicksAreRoundNumbersInsideTheRange) {
  EXPECT_THAT(linearTicks(0, 1, 5), ElementsAre(0, 0.2, 0.4, ::testing::DoubleEq(0.6), 0.8, 1));
  EXPECT_THAT(linearTicks(-3, 12, 5), ElementsAre(0, 5, 10));
  EXPECT_THAT(linearTicks(1, 1, 5), IsEmpty());
  EXPECT_THAT(logarithmicTicks(0.015, 0.6), ElementsAre(0.02, 0.05, 0.1, 0.2, 0.5));
  EXPECT_THAT(logarithmicTicks(0.001, 20), ElementsAre(0.001, 0.01, 0.1, 1, 10));
  EXPECT_THAT(logarithmicTicks(0, 1), IsEmpty());
  EXPECT_THAT(ninesTicks(0.75, 0.996), ElementsAre(0.8, 0.9, 0.95, 0.98, 0.99, 0.995));
  std::mt19937 random(3);
  for (int i = 0; i < 200; ++i) {
    const double low = std::pow(10.0, static_cast<double>(random() % 9) - 4);
    const double high = low * (1.01 + static_cast<double>(random() % 1000));
    const std::vector<double> ticks = linearTicks(low, high, 5);
    EXPECT_GE(ticks.size(), 2u) << low << " " << high;
    EXPECT_LE(ticks.size(), 7u) << low << " " << high;
  }
}

TEST(ReportChart, SummarisesRunsOfSteps) {
  const Summary summary = summarise({1, 3, 5, kNaN, kNaN, kNaN, 2}, 11, 4);
  ASSERT_EQ(summary.means.size(), 3u);  // the run of two NaN is left out
  EXPECT_EQ(summary.means[0].step, 11.5);
  EXPECT_EQ(summary.means[0].value, 2);
  EXPECT_EQ(summary.band[0].low, 1);
  EXPECT_EQ(summary.band[0].high, 3);
  EXPECT_EQ(summary.means[1].value, 5);
  EXPECT_EQ(summary.means[2].step, 17);
  EXPECT_THAT(summarise({}, 1, 4).means, IsEmpty());
}

TEST(ReportChart, DrawsOnlyFinitePointsInsideTheFrame) {
  for (const ChartScale scale : {ChartScale::Linear, ChartScale::Logarithmic, ChartScale::Nines}) {
    Chart chart;
    chart.scale = scale;
    chart.lastStep = 5;
    chart.lines.push_back({"a", "first", {{1, 1e30}, {2, -1e30}, {3, NAN}, {INFINITY, 1}, {4, 0}, {5, 1}}, true});
    const std::string drawn = chartElement(chart);
    EXPECT_EQ(unbalanced(drawn), "");
    EXPECT_THAT(drawn, Not(HasSubstr("nan")));
    EXPECT_THAT(drawn, Not(HasSubstr("inf")));
  }
  EXPECT_THAT(chartElement({}), IsEmpty());
}

TEST(ReportChart, PutsPointsWhereTheScaleSays) {
  Chart chart;
  chart.scale = ChartScale::Nines;
  chart.lines.push_back({"a", "first", {{0, 0.9}, {1, 0.99}, {2, 0.999}, {3, 1}}, false});
  std::string drawn = chartElement(chart);
  drawn = drawn.substr(drawn.find(" d=\"M") + 5);
  double x[4], y[4];
  ASSERT_EQ(std::sscanf(drawn.c_str(), "%lf %lfL%lf %lfL%lf %lfL%lf %lf", &x[0], &y[0], &x[1], &y[1], &x[2], &y[2],
                        &x[3], &y[3]),
            8);
  EXPECT_NEAR(x[1] - x[0], x[2] - x[1], 0.15);
  EXPECT_NEAR(y[1] - y[0], y[2] - y[1], 0.15);
  EXPECT_LT(y[1], y[0]) << "better is higher";
  EXPECT_EQ(y[3], y[2]) << "the scale ends at 99.9 %";
}

TEST(Report, FilterPicturesShareOneScale) {
  const std::vector<base::io::Picture> pictures = filterPictures({1, 0, -1, 0.5f, 0, 0, 0, 0}, 2, 1, 2, 2);
  ASSERT_EQ(pictures.size(), 2u);  // means 0.5, -0.25; 0, 0
  EXPECT_EQ(pictures[0].width, 2);
  EXPECT_THAT(pictures[0].pixels, ElementsAre(200, 84, 20, 142, 176, 208));
  EXPECT_THAT(pictures[1].pixels, ElementsAre(255, 255, 255, 255, 255, 255));
  EXPECT_THAT(filterPictures({1, 2}, 1, 3, 3, 1), IsEmpty());
  EXPECT_THAT(filterPictures({}, 0, 3, 3, 1), IsEmpty());
}

}  // namespace
}  // namespace kovar::tools
