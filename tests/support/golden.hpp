#pragma once
// Reads the small golden files: results of other systems, written by tests/golden/make_*.py.
//
//   # comment
//   case NAME
//   word KEY VALUE               a name (edge mode, type)
//   number KEY VALUE
//   tensor KEY N H W C           followed by N*H*W*C values in [n][y][x][c] order, over any number of lines

#include <fstream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "oracle/tensor.hpp"

namespace kovar::test {

struct GoldenCase {
  std::string name;
  std::map<std::string, std::string> words;
  std::map<std::string, double> numbers;
  std::map<std::string, oracle::Tensor> tensors;

  const std::string& word(const std::string& key) const { return find(words, key); }
  double number(const std::string& key) const { return find(numbers, key); }
  long integer(const std::string& key) const { return static_cast<long>(find(numbers, key)); }
  size_t count(const std::string& key) const { return static_cast<size_t>(find(numbers, key)); }
  const oracle::Tensor& tensor(const std::string& key) const { return find(tensors, key); }
  bool has(const std::string& key) const { return tensors.count(key) != 0; }

 private:
  template <class Map>
  const typename Map::mapped_type& find(const Map& map, const std::string& key) const {
    const auto at = map.find(key);
    if (at == map.end()) throw std::runtime_error("golden case " + name + " has no " + key);
    return at->second;
  }
};

/// All cases of a file; throws std::runtime_error that names file and case where it is not well-formed or empty.
inline std::vector<GoldenCase> readGolden(const std::string& path) {
  std::ifstream file(path);
  // A program that runs on another machine than it was built on finds them from the repository's root.
  if (!file && path.find("/tests/") != std::string::npos) file.open(path.substr(path.rfind("/tests/") + 1));
  if (!file) throw std::runtime_error("cannot open golden file " + path);
  std::vector<GoldenCase> cases;
  std::string kind, key;
  auto bad = [&](const std::string& what) {
    return std::runtime_error(path + ": " + what + " in case " + (cases.empty() ? "(none)" : cases.back().name));
  };
  while (file >> kind) {
    if (kind[0] == '#') {
      std::getline(file, key);
      continue;
    }
    if (!(file >> key)) throw bad("a name is missing");
    if (kind == "case") {
      cases.emplace_back();
      cases.back().name = key;
      continue;
    }
    if (cases.empty()) throw bad("a value stands before the first case");
    std::string text;
    if (kind == "word") {
      if (!(file >> cases.back().words[key])) throw bad("no value for " + key);
    } else if (kind == "number") {
      if (!(file >> text)) throw bad("no value for " + key);
      cases.back().numbers[key] = std::stod(text);
    } else if (kind == "tensor") {
      size_t n = 0, h = 0, w = 0, c = 0;
      if (!(file >> n >> h >> w >> c) || n * h * w * c > 1000000) throw bad("bad sizes of " + key);
      oracle::Tensor t(n, h, w, c);
      for (double& v : t.v) {
        if (!(file >> text)) throw bad("values of " + key + " end early");
        v = std::stod(text);  // reads nan and inf, which >> does not
      }
      cases.back().tensors[key] = std::move(t);
    } else {
      throw bad("unknown entry " + kind);
    }
  }
  if (cases.empty()) throw std::runtime_error(path + ": no cases");
  return cases;
}

}  // namespace kovar::test
