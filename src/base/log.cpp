#include "base/log.hpp"

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace kovar::base {
namespace {

constexpr int kLevelUnknown = -1;

// Constant initialisation: messages may come from constructors that run before main.
std::atomic<int> threshold{kLevelUnknown};

struct Sink {
  // Recursive, so that a callback may replace itself; held during a call, so that calls never overlap.
  std::recursive_mutex mutex;
  std::shared_ptr<LogCallback> callback;
  std::vector<std::string> channels;
};

// Never destroyed: threads that outlive main may still log.
Sink& sink() {
  static Sink* const instance = new Sink;
  return *instance;
}

thread_local bool insideCallback = false;

const char* levelName(LogLevel level) {
  switch (level) {
    case LogLevel::Off:
      return "off";
    case LogLevel::Error:
      return "error";
    case LogLevel::Warning:
      return "warning";
    case LogLevel::Info:
      return "info";
    case LogLevel::Debug:
      return "debug";
  }
  return "unknown";
}

std::optional<LogLevel> levelFromName(std::string_view name) {
  for (LogLevel level : {LogLevel::Off, LogLevel::Error, LogLevel::Warning, LogLevel::Info, LogLevel::Debug}) {
    if (name == levelName(level)) return level;
  }
  return std::nullopt;
}

void writeToStandardError(LogLevel level, std::string_view message) {
  std::string line = "kovar: ";
  line += levelName(level);
  line += ": ";
  line += message;
  line += '\n';
  // One call, so that lines of different processes do not mix.
  std::fwrite(line.data(), 1, line.size(), stderr);
}

void deliver(LogLevel level, std::string_view message) {
  std::string line(message);
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  Sink& target = sink();
  const std::lock_guard lock(target.mutex);
  const std::shared_ptr<LogCallback> callback = target.callback;  // keeps it alive if it replaces itself
  if (!callback || insideCallback) {
    writeToStandardError(level, line);
    return;
  }
  insideCallback = true;
  try {
    (*callback)(level, line);
  } catch (...) {  // a user's callback must not break the work that logs
    writeToStandardError(level, line);
  }
  insideCallback = false;
}

LogLevel levelFromEnvironment() {
  const char* name = std::getenv("KOVAR_LOG");
  if (name == nullptr) return std::getenv("MPS_LOG_INFO") != nullptr ? LogLevel::Info : LogLevel::Warning;
  if (const std::optional<LogLevel> level = levelFromName(name)) return *level;
  deliver(LogLevel::Warning,
          std::string("KOVAR_LOG is '") + name + "', wanted off, error, warning, info or debug; taking warning");
  return LogLevel::Warning;
}

std::vector<std::string> splitChannels(std::string_view list) {
  std::vector<std::string> channels;
  while (!list.empty()) {
    const std::size_t comma = list.find(',');
    const std::string_view name = list.substr(0, comma);
    if (!name.empty()) channels.emplace_back(name);
    if (comma == std::string_view::npos) break;
    list.remove_prefix(comma + 1);
  }
  return channels;
}

// The caller holds the sink's mutex.
void installChannels(std::string_view list) {
  sink().channels = splitChannels(list);
  detail::traceState.store(sink().channels.empty() ? detail::kTraceOff : detail::kTraceOn, std::memory_order_release);
}

}  // namespace

namespace detail {

std::atomic<int> traceState{kTraceUnknown};

bool traceChannelEnabled(std::string_view channel) {
  Sink& target = sink();
  const std::lock_guard lock(target.mutex);
  if (traceState.load(std::memory_order_relaxed) == kTraceUnknown) {
    const char* list = std::getenv("KOVAR_TRACE");
    installChannels(list == nullptr ? std::string_view() : std::string_view(list));
  }
  for (const std::string& name : target.channels) {
    if (name == channel || name == "all") return true;
  }
  return false;
}

}  // namespace detail

bool logEnabled(LogLevel level) { return level != LogLevel::Off && level <= logLevel(); }

void log(LogLevel level, std::string_view message) {
  if (logEnabled(level)) deliver(level, message);
}

void trace(std::string_view channel, std::string_view message) {
  if (!traceEnabled(channel)) return;
  std::string line = "[";
  line += channel;
  line += "] ";
  line += message;
  deliver(LogLevel::Debug, line);
}

void setTraceChannels(std::string_view channels) {
  const std::lock_guard lock(sink().mutex);
  installChannels(channels);
}

void resetLogForTesting() {
  setLogCallback({});
  const std::lock_guard lock(sink().mutex);
  sink().channels.clear();
  threshold.store(kLevelUnknown, std::memory_order_relaxed);
  detail::traceState.store(detail::kTraceUnknown, std::memory_order_release);
}

}  // namespace kovar::base

namespace kovar {

void setLogCallback(LogCallback callback) {
  auto next = callback ? std::make_shared<LogCallback>(std::move(callback)) : nullptr;
  base::Sink& target = base::sink();
  {
    const std::lock_guard lock(target.mutex);
    target.callback.swap(next);
  }
  // The old callback dies here, outside the lock: what its captures do on the way out may log.
}

void setLogLevel(LogLevel level) { base::threshold.store(static_cast<int>(level), std::memory_order_relaxed); }

LogLevel logLevel() {
  int level = base::threshold.load(std::memory_order_relaxed);
  if (level == base::kLevelUnknown) {
    int expected = base::kLevelUnknown;
    level = static_cast<int>(base::levelFromEnvironment());
    // A level set meanwhile by setLogLevel wins over the environment.
    if (!base::threshold.compare_exchange_strong(expected, level, std::memory_order_relaxed)) level = expected;
  }
  return static_cast<LogLevel>(level);
}

}  // namespace kovar
