#pragma once
// Seeded random cases. Every draw follows from (seed, case number), on every platform alike, so one printed line runs a
// failing case again.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <initializer_list>
#include <iostream>
#include <numeric>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "oracle/formats.hpp"
#include "oracle/tensor.hpp"

namespace kovar::test {

/// SplitMix64: small, and the same everywhere (the standard distributions are not).
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t bits() {
    uint64_t z = (state_ += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }
  /// An integer in [low, high], both included.
  long integer(long low, long high) { return low + static_cast<long>(bits() % static_cast<uint64_t>(high - low + 1)); }
  size_t size(size_t low, size_t high) {
    return static_cast<size_t>(integer(static_cast<long>(low), static_cast<long>(high)));
  }
  /// A real in [low, high).
  double real(double low, double high) { return low + (high - low) * static_cast<double>(bits() >> 11) * 0x1p-53; }
  bool chance(double probability) { return real(0, 1) < probability; }
  template <class T>
  T pick(std::initializer_list<T> of) {
    return of.begin()[bits() % of.size()];
  }

 private:
  uint64_t state_;
};

/// Numbers an image of this format can hold, inside the domain. With tieFree no two are equal.
inline std::vector<double> randomValues(Random& random, size_t count, const oracle::Domain& domain,
                                        oracle::Format format = oracle::Format::Float32) {
  std::vector<double> v(count);
  if (domain.tieFree) {
    // a shuffled grid; its step is coarse enough for half as long as the tensor is small
    std::iota(v.begin(), v.end(), 0.0);
    for (size_t i = count; i > 1; --i) std::swap(v[i - 1], v[random.bits() % i]);
    const double step = (domain.high - domain.low) / static_cast<double>(std::max<size_t>(count, 2) - 1);
    for (double& x : v) x = domain.low + x * step;
  } else {
    for (double& x : v) x = random.real(domain.low, domain.high);
  }
  for (double& x : v) x = oracle::stored(format, x);
  return v;
}

inline oracle::Tensor randomTensor(Random& random, size_t n, size_t h, size_t w, size_t c, const oracle::Domain& domain,
                                   oracle::Format format = oracle::Format::Float32) {
  oracle::Tensor t(n, h, w, c);
  t.v = randomValues(random, t.size(), domain, format);
  return t;
}

/// Small whole numbers: sums and products stay exact in float32, so results can be compared to the bit.
inline oracle::Tensor integerTensor(Random& random, size_t n, size_t h, size_t w, size_t c, long low = -4,
                                    long high = 4) {
  oracle::Tensor t(n, h, w, c);
  for (double& x : t.v) x = static_cast<double>(random.integer(low, high));
  return t;
}

inline std::vector<float> toFloat(const std::vector<double>& v) { return {v.begin(), v.end()}; }
inline std::vector<double> toDouble(const std::vector<float>& v) { return {v.begin(), v.end()}; }

/// Seed of the running suite: KOVAR_TEST_SEED (a number, or "random"), else a fixed one made from the suite's name.
inline uint64_t suiteSeed() {
  static const uint64_t fromEnvironment = [] {
    const char* text = std::getenv("KOVAR_TEST_SEED");
    if (!text || !*text) return uint64_t{0};
    if (std::string_view(text) == "random") return (uint64_t{std::random_device{}()} << 16) | 1;
    return std::max<uint64_t>(1, std::strtoull(text, nullptr, 0));
  }();
  if (fromEnvironment) return fromEnvironment;
  const testing::TestInfo* info = testing::UnitTest::GetInstance()->current_test_info();
  uint64_t hash = 1469598103934665603u;  // FNV-1a
  for (char ch : std::string_view(info ? info->test_suite_name() : "")) {
    hash ^= static_cast<unsigned char>(ch);
    hash *= 1099511628211u;
  }
  return hash >> 16 | 1;
}

/// The shell line that runs one case of the running test again.
inline std::string reproducer(uint64_t seed, int index) {
  const testing::TestInfo* info = testing::UnitTest::GetInstance()->current_test_info();
  const std::string filter = info ? std::string(info->test_suite_name()) + "." + info->name() : "";
  return "KOVAR_TEST_SEED=" + std::to_string(seed) + " KOVAR_TEST_CASE=" + std::to_string(index) +
         " <test program> --gtest_filter='" + filter + "'";
}

/// False when the environment picks some of the cases: then nothing can be said of all of them.
inline bool allCasesRun() { return !std::getenv("KOVAR_TEST_CASE") && !std::getenv("KOVAR_TEST_LIMIT"); }

/// One random case: draws, and a text that a body sets as soon as the case is known.
struct Case {
  int index;
  Random random;
  std::string text;
};

/// Runs body(Case&) for `count` cases and stops at the third failing one. Prints text and reproducer of each.
/// KOVAR_TEST_CASE=i runs case i alone, KOVAR_TEST_LIMIT=n the first n at most (for tools that slow programs down).
inline void forCases(int count, const std::function<void(Case&)>& body) {
  const uint64_t seed = suiteSeed();
  const char* only = std::getenv("KOVAR_TEST_CASE");
  auto failures = [] {
    const testing::TestInfo* info = testing::UnitTest::GetInstance()->current_test_info();
    int failed = 0;
    for (int i = 0; info && i < info->result()->total_part_count(); ++i)
      failed += info->result()->GetTestPartResult(i).failed();
    return failed;
  };
  int failed = 0;
  const char* limit = std::getenv("KOVAR_TEST_LIMIT");
  if (limit) count = std::min(count, std::atoi(limit));
  const int first = only ? std::atoi(only) : 0, last = only ? first + 1 : count;
  for (int i = first; i < last && failed < 3; ++i) {
    Case c{i, Random(Random(seed + static_cast<uint64_t>(i)).bits()), ""};
    const int before = failures();
    try {
      body(c);
    } catch (const std::exception& e) {
      ADD_FAILURE() << "the case threw: " << e.what();
    }
    if (failures() == before) continue;
    ++failed;
    std::cout << "failing case " << i << ": " << c.text << "\n  again: " << reproducer(seed, i) << std::endl;
  }
}

}  // namespace kovar::test
