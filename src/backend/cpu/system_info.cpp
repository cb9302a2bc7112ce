#include "backend/cpu/system_info.hpp"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <thread>

namespace kovar::cpu {
namespace {

/// The first line of a small system file, or nothing.
std::string firstLine(const char* path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

double number(const std::string& text) {
  char* end = nullptr;
  const double v = std::strtod(text.c_str(), &end);
  return end == text.c_str() ? 0.0 : v;
}

/// Processors' worth of time that the cgroup grants, 0 when it sets no limit.
double cgroupProcessors() {
  const std::string v2 = firstLine("/sys/fs/cgroup/cpu.max");
  if (const auto space = v2.find(' '); space != std::string::npos) {
    const double quota = number(v2.substr(0, space)), period = number(v2.substr(space + 1));
    return quota > 0 && period > 0 ? quota / period : 0.0;
  }
  const double quota = number(firstLine("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"));
  const double period = number(firstLine("/sys/fs/cgroup/cpu/cpu.cfs_period_us"));
  return quota > 0 && period > 0 ? quota / period : 0.0;
}

}  // namespace

std::string processorName() {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);) {
    if (line.rfind("model name", 0) != 0) continue;
    const auto colon = line.find(": ");
    if (colon != std::string::npos) return line.substr(colon + 2);
  }
#if defined(__x86_64__)
  return "x86-64 processor";
#elif defined(__aarch64__)
  return "AArch64 processor";
#else
  return "processor";
#endif
}

std::size_t memoryBytes() {
  const auto pages = static_cast<double>(sysconf(_SC_PHYS_PAGES)), page = static_cast<double>(sysconf(_SC_PAGE_SIZE));
  double bytes = std::max(0.0, pages * page);
  for (const char* path : {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"})
    if (const double limit = number(firstLine(path)); limit > 0) bytes = std::min(bytes, limit);
  return static_cast<std::size_t>(bytes);
}

int usableProcessors() {
  int processors = static_cast<int>(std::thread::hardware_concurrency());
  cpu_set_t set;
  CPU_ZERO(&set);
  // Fails on machines with more processors than the set has bits; then the count above stands.
  if (sched_getaffinity(0, sizeof(set), &set) == 0) processors = CPU_COUNT(&set);
  if (const double quota = cgroupProcessors(); quota > 0)
    processors = std::min(processors, static_cast<int>(std::ceil(quota)));
  return std::max(1, processors);
}

}  // namespace kovar::cpu
