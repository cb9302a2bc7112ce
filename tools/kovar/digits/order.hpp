#pragma once
// Which picture comes when. The whole order follows from a seed, so a run can be continued anywhere.

#include <cstdint>
#include <vector>

namespace kovar::tools {

class SampleOrder {
 public:
  enum class Kind {
    Shuffled,  ///< every picture once an epoch, in an order of its own each epoch
    Drawn,     ///< each picture drawn from all, independently
  };

  SampleOrder(Kind kind, std::uint64_t pictures, std::uint64_t seed) : kind_(kind), count_(pictures), seed_(seed) {}

  /// The picture at a place of the endless sequence. Fast when places are asked for in order.
  std::uint64_t at(std::uint64_t place);

 private:
  void shuffle(std::uint64_t epoch);

  Kind kind_;
  std::uint64_t count_, seed_;
  std::uint64_t epoch_ = ~std::uint64_t{0};
  std::vector<std::uint32_t> permutation_;
};

}  // namespace kovar::tools
