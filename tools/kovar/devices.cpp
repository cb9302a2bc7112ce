#include <fmt/core.h>
#include <CLI/CLI.hpp>

#include <memory>
#include <nlohmann/json.hpp>

#include "kovar/command.hpp"
#include "kovar/kovar.hpp"

namespace kovar::tools {
namespace {

int listDevices(bool asJson) {
  const auto devices = MTL::copyAllDevices();
  if (asJson) {
    auto json = nlohmann::ordered_json::array();
    for (const auto& device : devices) {
      nlohmann::ordered_json libraries = nlohmann::ordered_json::object();
      for (const auto& [name, libraryVersion] : device->libraries()) libraries[name] = libraryVersion;
      json.push_back({{"device", device->identifier()},
                      {"name", device->name()},
                      {"instruction_set", device->instructionSet()},
                      {"memory_bytes", device->recommendedMaxWorkingSetSize()},
                      {"libraries", libraries}});
    }
    fmt::print("{}\n", json.dump(1));
    return kDone;
  }
  for (const auto& device : devices) {
    fmt::print("{}: {}, {}, {:.1f} GB", device->identifier(), device->name(), device->instructionSet(),
               static_cast<double>(device->recommendedMaxWorkingSetSize()) / 1e9);
    for (const auto& [name, libraryVersion] : device->libraries()) fmt::print(", {} {}", name, libraryVersion);
    fmt::print("\n");
  }
  return kDone;
}

}  // namespace

void addDevices(CLI::App& app, Context& context) {
  CLI::App* devices = app.add_subcommand("devices", "List the devices that compute, the default one first");
  const auto json = std::make_shared<bool>(false);
  devices->add_flag("--json", *json, "As JSON");
  devices->callback([json, &context] { context.work = [json] { return listDevices(*json); }; });
}

}  // namespace kovar::tools
