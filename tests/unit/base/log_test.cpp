#include "base/log.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace kovar::base {
namespace {

struct Captured {
  LogLevel level;
  std::string text;
};

class LogTest : public ::testing::Test {
 protected:
  void SetUp() override { forget(); }
  void TearDown() override { forget(); }

  static void forget() {
    for (const char* name : {"KOVAR_LOG", "KOVAR_TRACE", "MPS_LOG_INFO"}) unsetenv(name);
    resetLogForTesting();
  }

  void capture() {
    setLogCallback([this](LogLevel level, std::string_view text) { lines_.push_back({level, std::string(text)}); });
  }

  std::vector<Captured> lines_;
};

TEST_F(LogTest, WarningsReachTheCallbackAndInfoDoesNotByDefault) {
  capture();
  log(LogLevel::Info, "chosen");
  log(LogLevel::Warning, "slow path");
  ASSERT_EQ(lines_.size(), 1u);
  EXPECT_EQ(lines_[0].level, LogLevel::Warning);
  EXPECT_EQ(lines_[0].text, "slow path");
}

TEST_F(LogTest, LevelComesFromTheEnvironment) {
  setenv("KOVAR_LOG", "debug", 1);
  EXPECT_EQ(logLevel(), LogLevel::Debug);
  resetLogForTesting();
  setenv("KOVAR_LOG", "off", 1);
  setenv("MPS_LOG_INFO", "1", 1);
  EXPECT_EQ(logLevel(), LogLevel::Off);  // the library's own variable is the stronger one
  EXPECT_FALSE(logEnabled(LogLevel::Error));
  resetLogForTesting();
  unsetenv("KOVAR_LOG");
  EXPECT_EQ(logLevel(), LogLevel::Info);
}

TEST_F(LogTest, UnknownLevelIsReportedAndWarningIsTaken) {
  capture();
  setenv("KOVAR_LOG", "loud", 1);
  EXPECT_EQ(logLevel(), LogLevel::Warning);
  ASSERT_EQ(lines_.size(), 1u);
  EXPECT_EQ(lines_[0].text, "KOVAR_LOG is 'loud', wanted off, error, warning, info or debug; taking warning");
}

TEST_F(LogTest, SetLevelWinsOverTheEnvironment) {
  setenv("KOVAR_LOG", "debug", 1);
  setLogLevel(LogLevel::Error);
  EXPECT_EQ(logLevel(), LogLevel::Error);
}

TEST_F(LogTest, MessagesAreOneLine) {
  capture();
  log(LogLevel::Error, "first\nsecond\tthird");
  ASSERT_EQ(lines_.size(), 1u);
  EXPECT_EQ(lines_[0].text, "first second third");
}

TEST_F(LogTest, DefaultGoesToStandardError) {
  testing::internal::CaptureStderr();
  log(LogLevel::Error, "lost");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "kovar: error: lost\n");
}

TEST_F(LogTest, ACallbackMayThrowLogAndReplaceItself) {
  testing::internal::CaptureStderr();
  setLogCallback([](LogLevel, std::string_view) -> void { throw std::runtime_error("user code"); });
  log(LogLevel::Error, "one");
  setLogCallback([](LogLevel, std::string_view) { log(LogLevel::Warning, "from inside"); });
  log(LogLevel::Error, "two");
  setLogCallback([](LogLevel, std::string_view) { setLogCallback({}); });
  log(LogLevel::Error, "three");
  log(LogLevel::Error, "four");
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "kovar: error: one\nkovar: warning: from inside\nkovar: error: four\n");
}

TEST_F(LogTest, TraceChannelsComeFromTheEnvironment) {
  EXPECT_FALSE(traceEnabled("dispatch"));
  resetLogForTesting();
  setenv("KOVAR_TRACE", "dispatch,,plan", 1);
  EXPECT_TRUE(traceEnabled("dispatch"));
  EXPECT_TRUE(traceEnabled("plan"));
  EXPECT_FALSE(traceEnabled("disp"));
  EXPECT_FALSE(traceEnabled("dispatch,"));
  setTraceChannels("all");
  EXPECT_TRUE(traceEnabled("anything"));
  setTraceChannels("");
  EXPECT_FALSE(traceEnabled("dispatch"));
}

TEST_F(LogTest, TraceIsReportedWhateverTheLevel) {
  capture();
  setLogLevel(LogLevel::Off);
  setTraceChannels("plan");
  trace("plan", "arena 4096 bytes");
  trace("dispatch", "not wanted");
  ASSERT_EQ(lines_.size(), 1u);
  EXPECT_EQ(lines_[0].level, LogLevel::Debug);
  EXPECT_EQ(lines_[0].text, "[plan] arena 4096 bytes");
}

TEST_F(LogTest, CallsNeverOverlapWhileCallbacksAreReplaced) {
  int running = 0;  // not atomic on purpose: the thread sanitizer sees an overlap
  int calls = 0;
  const auto count = [&](LogLevel, std::string_view) {
    EXPECT_EQ(++running, 1);
    ++calls;
    --running;
  };
  setLogCallback(count);
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([] {
      for (int i = 0; i < 500; ++i) {
        log(LogLevel::Warning, "busy");
        (void)traceEnabled("dispatch");
      }
    });
  }
  for (int i = 0; i < 50; ++i) setLogCallback(count);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(calls, 4 * 500);
}

}  // namespace
}  // namespace kovar::base
