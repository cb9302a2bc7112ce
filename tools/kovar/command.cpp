#include "kovar/command.hpp"

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <exception>

#include "kovar/Version.hpp"

namespace kovar::tools {
namespace {

/// CLI11's texts may have several lines; ours have one.
std::string oneLine(const std::string& text) {
  std::string line;
  for (char c : text) {
    if (c != '\n')
      line += c;
    else if (!line.empty() && line.back() != ' ')
      line += ' ';
  }
  while (!line.empty() && line.back() == ' ') line.pop_back();
  return line;
}

/// The command that was given, as far as it was understood: "kovar train digits".
const CLI::App& innermost(const CLI::App& app) {
  const CLI::App* at = &app;
  for (auto given = at->get_subcommands(); !given.empty(); given = at->get_subcommands()) at = given.front();
  return *at;
}

std::string pathOf(const CLI::App& app) {
  return (app.get_parent() ? pathOf(*app.get_parent()) + ' ' : std::string()) + app.get_name();
}

bool everything(const CLI::App*) { return true; }

std::string namesOf(const std::vector<const CLI::App*>& commands) {
  std::string names;
  for (const CLI::App* command : commands) names += (names.empty() ? "" : ", ") + command->get_name();
  return names;
}

int fail(int status, const std::string& text) {
  std::fflush(stdout);
  std::fprintf(stderr, "%s\n", oneLine(text).c_str());
  return status;
}

std::string quoted(const std::string& argument) {
  const bool plain = !argument.empty() && argument.find_first_of(" \t'\"\\$&|;<>()*?[]#~`!{}") == std::string::npos;
  if (plain) return argument;
  std::string text = "'";
  for (char c : argument) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

}  // namespace

int run(int count, const char* const* arguments) {
  CLI::App app("The CNN kernels documented for Metal Performance Shaders, on Linux", "kovar");
  app.set_version_flag("--version", std::string("kovar ") + version());
  app.require_subcommand(1);
  Context context;
  context.typed = "kovar";
  for (int i = 1; i < count; ++i) context.typed += ' ' + quoted(arguments[i]);
  addTrain(app, context);
  addClassify(app, context);
  addDevices(app, context);
  addExplain(app, context);
  addBench(app, context);
  addGallery(app, context);
  // A file beyond the shell's limit is then a write that fails, with a message, instead of the end of the program.
  std::signal(SIGXFSZ, SIG_IGN);
  try {
    app.parse(count, arguments);
    const int status = context.work();
    if (std::fflush(stdout) != 0 || std::ferror(stdout))
      return fail(kFailed, "kovar: cannot write to standard output; give it somewhere to go, or free some space");
    return status;
  } catch (const CLI::Success& wish) {
    return app.exit(wish);  // --help, --version
  } catch (const CLI::ParseError& error) {
    const CLI::App& command = innermost(app);
    if (const auto unknown = command.remaining(); !unknown.empty() && !command.get_subcommands(everything).empty())
      return fail(kWrongCommandLine, pathOf(command) + ": there is no command '" + unknown.front() +
                                         "'; there are: " + namesOf(command.get_subcommands(everything)));
    return fail(kWrongCommandLine, pathOf(command) + ": " + error.what() + "; see " + pathOf(command) + " --help");
  } catch (const WrongCommandLine& error) {
    return fail(kWrongCommandLine, pathOf(innermost(app)) + ": " + error.what());
  } catch (const std::bad_alloc&) {
    return fail(kFailed, "kovar: not enough memory");
  } catch (const std::exception& error) {
    return fail(kFailed, std::string("kovar: ") + error.what());
  }
}

}  // namespace kovar::tools
