#pragma once
// What the library tells a person while it runs. Failures of a call are not logged: they travel as values.

#include <atomic>
#include <string_view>

#include "kovar/Support/Log.hpp"

namespace kovar::base {

/// True when a message of `level` would be reported. Costs one relaxed load: ask before building an expensive text.
bool logEnabled(LogLevel level);

/// Reports one line, if `level` is enabled. Line feeds and other control characters in it become spaces.
void log(LogLevel level, std::string_view message);

namespace detail {
enum TraceState : int { kTraceUnknown, kTraceOff, kTraceOn };
extern std::atomic<int> traceState;
bool traceChannelEnabled(std::string_view channel);
}  // namespace detail

/// True when `channel` is listed in the environment variable KOVAR_TRACE, a comma-separated list such as
/// `dispatch,plan`; `all` stands for every channel. When no channel is on this is one load and one comparison.
inline bool traceEnabled(std::string_view channel) {
  return detail::traceState.load(std::memory_order_acquire) != detail::kTraceOff &&
         detail::traceChannelEnabled(channel);
}

/// Reports `[channel] message` if the channel is on, whatever the log level is: who names a channel wants to see it.
void trace(std::string_view channel, std::string_view message);

/// Replaces the list of trace channels for the rest of the process, in the form of KOVAR_TRACE; empty turns all off.
void setTraceChannels(std::string_view channels);

/// Forgets callback, level and channels, so that the environment is read again. For tests.
void resetLogForTesting();

}  // namespace kovar::base
