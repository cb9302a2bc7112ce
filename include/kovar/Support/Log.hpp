#pragma once

#include <functional>
#include <string_view>

namespace kovar {

/// How much a message matters. A lower value is more important.
enum class LogLevel {
  Off = 0,      ///< only as a threshold: nothing is reported
  Error = 1,    ///< work failed and nobody else was told
  Warning = 2,  ///< work went on in a way the caller may not want, for example on a slow path
  Info = 3,     ///< what was chosen: devices, implementations, sizes
  Debug = 4,    ///< for those who work on the library, trace channels included
};

/// Receives one message: one line without a line feed. The text is valid during the call only.
using LogCallback = std::function<void(LogLevel level, std::string_view message)>;

/// Sends all messages of the library to `callback`; an empty one restores the default, one line each on standard error.
///
/// May be called from any thread at any time. Calls of the callback never overlap, and once this function has returned
/// the previous callback is no longer running (unless the call comes from inside that callback). The callback may run
/// on any thread of the library, so it must not wait for a device. What it logs itself goes to standard error; what it
/// throws is dropped, and the message goes to standard error instead.
void setLogCallback(LogCallback callback);

/// Reports messages of `level` and more important ones.
/// Default: Warning, or what the environment says when the first message is considered: `KOVAR_LOG` is one of off,
/// error, warning, info, debug; without it `MPS_LOG_INFO`, with any value, stands for info.
void setLogLevel(LogLevel level);

/// The level in force.
LogLevel logLevel();

}  // namespace kovar
