// Runs a fuzzer's function over files, for builds without libFuzzer. Each file is tried whole and cut short, so that a
// handful of good files also covers truncation.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

constexpr std::size_t kMaxCuts = 256;

std::size_t replay(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::vector<char> read{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  std::size_t runs = 0;
  const std::size_t step = std::max<std::size_t>(1, read.size() / kMaxCuts);
  for (std::size_t size = 0;; size = std::min(size + step, read.size())) {
    // A copy of exactly this size lets the address sanitizer see a read past its end.
    const std::vector<std::uint8_t> bytes(read.begin(), read.begin() + static_cast<std::ptrdiff_t>(size));
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
    ++runs;
    if (size == read.size()) return runs;
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::size_t files = 0;
  std::size_t runs = 0;
  for (int i = 1; i < argc; ++i) {
    if (!std::filesystem::is_directory(argv[i])) continue;
    for (const auto& entry : std::filesystem::directory_iterator(argv[i])) {
      if (!entry.is_regular_file()) continue;
      runs += replay(entry.path());
      ++files;
    }
  }
  std::printf("%zu files, %zu inputs\n", files, runs);
  if (files > 0) return 0;
  std::fprintf(stderr, "no file to replay: give a folder of inputs\n");
  return 1;
}
