// kovar gallery: kernels at work on a picture, on one sheet.

#include <fmt/core.h>
#include <CLI/CLI.hpp>

#include <filesystem>
#include <memory>

#include "base/edge.hpp"
#include "kovar/Support/Threads.hpp"
#include "kovar/command.hpp"
#include "kovar/gallery/tiles.hpp"

namespace kovar::tools {
namespace {

struct GalleryOptions {
  std::string picture, output, device;
  int threads = 0;
};

int gallery(const GalleryOptions& o) {
  if (o.output.empty()) throw WrongCommandLine("--output: the name is empty; give the PNG file to write");
  if (o.threads > 0) setThreadCount(o.threads);
  const auto device = o.device.empty() ? MTL::createSystemDefaultDevice() : MTL::deviceNamed(o.device);
  const auto picture = preparedForTiles(base::unwrap(base::io::readPicture(o.picture)));
  const auto tiles = tilesOf(device, picture);
  const auto sheet =
      sheetOf(fmt::format("{} kernels at work", tiles.size() - 1),
              fmt::format("of {}, on {}", std::filesystem::path(o.picture).filename().string(), device->name()), tiles);
  base::unwrap(base::io::writePng(o.output, sheet));
  fmt::print("{}: {} kernels, {} x {} pixels\n", o.output, tiles.size() - 1, sheet.width, sheet.height);
  return kDone;
}

}  // namespace

void addGallery(CLI::App& app, Context& context) {
  CLI::App* command = app.add_subcommand("gallery", "Show kernels at work on a picture, on one sheet");
  const auto o = std::make_shared<GalleryOptions>();
  command->add_option("picture", o->picture, "PNG or JPEG, any size")->required();
  command->add_option("--output", o->output, "The PNG file to write")->required();
  command->add_option("--device", o->device, "What kovar devices lists (default: the fastest)");
  command->add_option("--threads", o->threads, "Processor threads (default: all)")->check(CLI::Range(1, 4096));
  command->callback([o, &context] { context.work = [o] { return gallery(*o); }; });
}

}  // namespace kovar::tools
