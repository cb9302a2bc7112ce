#include "tools/program.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <numeric>
#include <sstream>
#include <thread>

#include "base/io/idx.hpp"

namespace kovar::tools {
namespace {

void redirect(int descriptor, const std::string& path) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666);
  if (file < 0 || ::dup2(file, descriptor) < 0) ::_exit(126);
  ::close(file);
}

/// What the published files are: magic number, sizes as 32-bit big-endian numbers, bytes.
void writeIdx(const std::string& path, const std::vector<std::uint32_t>& sizes,
              const std::vector<std::uint8_t>& bytes) {
  std::ofstream file(path, std::ios::binary);
  const auto put = [&](std::uint32_t v) {
    for (int shift = 24; shift >= 0; shift -= 8) file.put(static_cast<char>(v >> shift & 0xffu));
  };
  put(0x0800u + static_cast<std::uint32_t>(sizes.size()));
  for (const std::uint32_t size : sizes) put(size);
  file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

void writePart(const std::string& folder, const std::string& name, const base::io::LabelledImages& from,
               const std::vector<std::size_t>& places) {
  constexpr std::size_t kPixels = 28 * 28;
  std::vector<std::uint8_t> pixels, labels;
  for (const std::size_t place : places) {
    const auto first = from.pixels.begin() + static_cast<std::ptrdiff_t>(place * kPixels);
    pixels.insert(pixels.end(), first, first + static_cast<std::ptrdiff_t>(kPixels));
    labels.push_back(from.labels[place]);
  }
  const auto count = static_cast<std::uint32_t>(places.size());
  writeIdx(folder + "/" + name + "-images-idx3-ubyte", {count, 28, 28}, pixels);
  writeIdx(folder + "/" + name + "-labels-idx1-ubyte", {count}, labels);
}

base::io::LabelledImages published(const std::string& part) {
  const std::string start = std::string(KOVAR_SOURCE_DIR) + "/data/mnist/" + part;
  auto read = base::io::readLabelledImages(start + "-images-idx3-ubyte.gz", start + "-labels-idx1-ubyte.gz", 10);
  EXPECT_TRUE(read.ok()) << read.failure().text;
  return *read;
}

}  // namespace

Program::Program(const std::vector<std::string>& arguments, const Surroundings& in)
    : outFile_(in.out.empty() ? output_.file("out") : in.out) {
  std::vector<char*> words{const_cast<char*>(KOVAR_PROGRAM)};
  for (const std::string& a : arguments) words.push_back(const_cast<char*>(a.c_str()));
  words.push_back(nullptr);
  process_ = ::fork();
  if (process_ != 0) return;
  redirect(STDERR_FILENO, output_.file("err"));
  redirect(STDOUT_FILENO, outFile_);
  if (!in.device.empty()) ::setenv("KOVAR_DEVICE", in.device.c_str(), 1);
  if (in.fileLimit > 0) {
    const rlimit limit{in.fileLimit, in.fileLimit};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ::execv(KOVAR_PROGRAM, words.data());
  ::_exit(127);
}

Program::~Program() {
  if (process_ <= 0) return;
  ::kill(process_, SIGKILL);
  ::waitpid(process_, nullptr, 0);
}

void Program::send(int signal) const { ::kill(process_, signal); }

bool Program::waitFor(const std::string& text) const {
  for (;;) {
    siginfo_t ended{};
    ::waitid(P_PID, static_cast<id_t>(process_), &ended, WEXITED | WNOHANG | WNOWAIT);
    if (contents(outFile_).find(text) != std::string::npos) return true;
    if (ended.si_pid != 0) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

Outcome Program::wait() {
  int status = 0;
  Outcome outcome;
  if (::waitpid(process_, &status, 0) == process_) {
    outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    outcome.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  }
  process_ = -1;
  outcome.err = contents(output_.file("err"));
  if (outFile_ == output_.file("out")) outcome.out = contents(outFile_);
  return outcome;
}

std::string contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

nlohmann::json jsonIn(const std::string& path) {
  auto json = nlohmann::json::parse(contents(path), nullptr, false);
  EXPECT_FALSE(json.is_discarded()) << path << " is not JSON";
  return json;
}

void writeSmallMnist(const std::string& folder, std::size_t train, std::size_t test) {
  std::vector<std::size_t> places(std::max(train, test));
  std::iota(places.begin(), places.end(), std::size_t{0});
  const auto first = [&](std::size_t n) {
    return std::vector<std::size_t>(places.begin(), places.begin() + static_cast<std::ptrdiff_t>(n));
  };
  std::filesystem::create_directories(folder);
  const auto pictures = published("t10k");
  writePart(folder, "train", pictures, first(train));
  writePart(folder, "t10k", pictures, first(test));
}

void writeMnistOf(const std::string& folder, const std::vector<std::size_t>& places) {
  std::filesystem::create_directories(folder);
  const auto pictures = published("t10k");
  writePart(folder, "train", pictures, places);
  writePart(folder, "t10k", pictures, places);
}

void expectRefused(const Outcome& outcome, int status, const std::vector<std::string>& parts) {
  EXPECT_EQ(outcome.signal, 0);
  EXPECT_EQ(outcome.status, status);
  EXPECT_THAT(outcome.err, ::testing::StartsWith("kovar"));
  EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
  for (const std::string& part : parts) EXPECT_THAT(outcome.err, ::testing::HasSubstr(part));
}

}  // namespace kovar::tools
