#include "kovar/digits/mnist.hpp"

#include <filesystem>
#include <vector>

#include "base/edge.hpp"
#include "kovar/digits/network.hpp"

namespace kovar::tools {
namespace {

namespace fs = std::filesystem;

constexpr const char* kImages = "-images-idx3-ubyte";
constexpr const char* kLabels = "-labels-idx1-ubyte";

/// The file or its gzipped form; empty when neither is there.
std::string present(const fs::path& folder, const std::string& name) {
  std::error_code none;
  for (const fs::path& path : {folder / name, folder / (name + ".gz")})
    if (fs::exists(path, none)) return path.string();
  return {};
}

std::vector<fs::path> usualFolders() {
  std::error_code none;
  std::vector<fs::path> folders{fs::path("data") / "mnist"};
  const fs::path program = fs::read_symlink("/proc/self/exe", none);
  // build/release/bin/kovar lies in its source tree; bin/kovar beside its share folder.
  fs::path up = program.parent_path();
  folders.push_back(up.parent_path() / "share" / "kovar" / "mnist");
  for (int i = 0; i < 4 && up.has_relative_path(); ++i) {
    up = up.parent_path();
    folders.push_back(up / "data" / "mnist");
  }
  return folders;
}

}  // namespace

std::string findMnist(const std::string& given) {
  if (!given.empty()) return given;
  std::string looked;
  for (const fs::path& folder : usualFolders()) {
    if (!present(folder, std::string("train") + kImages).empty()) return folder.string();
    looked += (looked.empty() ? "" : ", ") + folder.string();
  }
  base::raise("MNIST is not in " + looked +
              "; give the folder that holds train-images-idx3-ubyte.gz and its kin with --data");
}

base::io::LabelledImages readMnist(const std::string& folder, const std::string& part) {
  const std::string images = present(folder, part + kImages), labels = present(folder, part + kLabels);
  if (images.empty() || labels.empty())
    base::raise("'" + folder + "' has no " + part + (images.empty() ? kImages : kLabels) +
                "[.gz]; give the folder of the four MNIST files with --data");
  auto read = base::unwrap(base::io::readLabelledImages(images, labels, kDigits));
  if (read.width != kDigitSide || read.height != kDigitSide)
    base::raise("'" + images + "' holds pictures of " + std::to_string(read.width) + " x " +
                std::to_string(read.height) + " pixels; the network takes " + std::to_string(kDigitSide) + " x " +
                std::to_string(kDigitSide));
  if (read.count == 0) base::raise("'" + images + "' holds no pictures");
  return read;
}

}  // namespace kovar::tools
