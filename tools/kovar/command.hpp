#pragma once
// What the commands of the program share: how they are offered, how they fail.

#include <functional>
#include <stdexcept>
#include <string>

#include "base/edge.hpp"

namespace CLI {
class App;
}

namespace kovar::tools {

/// Exit statuses of the program.
inline constexpr int kDone = 0, kFailed = 1, kWrongCommandLine = 2;

/// The command line asks for something that cannot be meant: exit status 2. One line, as kovar::Error, which is
/// status 1.
class WrongCommandLine : public std::runtime_error {
 public:
  explicit WrongCommandLine(const std::string& text) : std::runtime_error(text) {}
};

/// What runs once the whole command line has been read. Returns the exit status, or throws Error or WrongCommandLine.
using Work = std::function<int()>;

/// What the command line says besides the options of a command.
struct Context {
  std::string typed;  ///< the whole line, for reports
  Work work;          ///< set by the command that was given
};

/// Each adds one command to `app`; when that command is given, it sets the context's work.
void addTrain(CLI::App& app, Context& context);
void addClassify(CLI::App& app, Context& context);
void addDevices(CLI::App& app, Context& context);
void addExplain(CLI::App& app, Context& context);
void addBench(CLI::App& app, Context& context);
void addGallery(CLI::App& app, Context& context);

/// The whole program. `arguments` as main gets them.
int run(int count, const char* const* arguments);

}  // namespace kovar::tools
