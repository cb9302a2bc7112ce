#include "kovar/digits/order.hpp"

#include <numeric>
#include <utility>

namespace kovar::tools {
namespace {

/// Output `index` of the SplitMix64 generator started at `start`.
std::uint64_t splitMix(std::uint64_t start, std::uint64_t index) {
  std::uint64_t z = start + (index + 1) * 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

/// From 64 random bits to [0, count); count is small against 2^32.
std::uint64_t below(std::uint64_t bits, std::uint64_t count) { return ((bits >> 32) * count) >> 32; }

}  // namespace

void SampleOrder::shuffle(std::uint64_t epoch) {
  permutation_.resize(count_);
  std::iota(permutation_.begin(), permutation_.end(), 0u);
  const std::uint64_t start = splitMix(seed_, epoch);
  for (std::uint64_t i = count_ - 1; i > 0; --i)
    std::swap(permutation_[i], permutation_[below(splitMix(start, i), i + 1)]);
  epoch_ = epoch;
}

std::uint64_t SampleOrder::at(std::uint64_t place) {
  if (kind_ == Kind::Drawn) return below(splitMix(splitMix(seed_, 0), place), count_);
  if (place / count_ != epoch_) shuffle(place / count_);
  return permutation_[place % count_];
}

}  // namespace kovar::tools
