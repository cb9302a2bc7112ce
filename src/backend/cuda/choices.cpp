#include "backend/cuda/choices.hpp"

#include <cstdlib>
#include <fstream>
#include <utility>

#include "base/log.hpp"

namespace kovar::cuda {

EngineSwitches EngineSwitches::of(const char* measure, const char* anyOrder) {
  EngineSwitches s;
  const std::string wanted = measure == nullptr ? "" : measure;
  s.measure = !wanted.empty() && wanted != "0";
  if (s.measure && wanted != "1") s.file = wanted;
  s.anyOrder = anyOrder != nullptr && std::string(anyOrder) == "1";
  return s;
}

const EngineSwitches& engineSwitches() {
  static const EngineSwitches switches =
      EngineSwitches::of(std::getenv("KOVAR_CUDA_MEASURE"), std::getenv("KOVAR_CUDA_ANY_ORDER"));
  return switches;
}

Choices::Choices(std::string path) : path_(std::move(path)) {
  if (path_.empty()) return;
  std::ifstream in(path_);
  for (std::string line; std::getline(in, line);) {
    const std::size_t space = line.find(' ');
    if (space == std::string::npos || space == 0 || space > 4 || space + 1 == line.size()) continue;
    if (line.find_first_not_of("0123456789") != space) continue;
    known_.emplace(line.substr(space + 1), std::stoll(line.substr(0, space)));
  }
}

std::optional<std::int64_t> Choices::find(const std::string& problem) const {
  std::scoped_lock lock(mutex_);
  const auto known = known_.find(problem);
  return known == known_.end() ? std::nullopt : std::optional(known->second);
}

void Choices::put(const std::string& problem, std::int64_t position) {
  std::scoped_lock lock(mutex_);
  if (!known_.emplace(problem, position).second || path_.empty()) return;
  std::ofstream out(path_, std::ios::app);
  out << (std::to_string(position) + ' ' + problem + '\n') << std::flush;
  if (out.good()) return;
  base::log(LogLevel::Warning, "KOVAR_CUDA_MEASURE: cannot write to '" + path_ +
                                   "'; engines are measured again in the next process. Name a file in a folder "
                                   "that exists and can be written");
  path_.clear();
}

Choices& choices() {
  static Choices all(engineSwitches().file);
  return all;
}

}  // namespace kovar::cuda
