#pragma once
// Philox4x32-10, the counter-based generator behind dropout and random matrices: the same numbers on every device, for
// any thread count, from (seed, position). philox-inl.hpp has it on lanes.
//
// Position of element e of item i in encode number q, under seed s:
//   key     = { low 32 bits of s, high 32 bits of s }
//   counter = { low 32 bits of (e div 4), i, low 32 bits of q, high 32 bits of q }       word e mod 4 of the result
// Dropout: e = index in the mask's own extents, row by row, channels fastest; i = image in the batch; q = how often the
// kernel object has encoded before. Random matrices: e = row * columns + column, i = 0, q = how many matrices the
// kernel object has filled before; the vectors of one object count as the rows of one matrix. There is one such stream
// for both documented generators: MTGP32's own sequence is not reproduced.

#include <array>
#include <cstdint>

namespace kovar::maths {

using PhiloxBlock = std::array<std::uint32_t, 4>;

/// One block of four random words.
constexpr PhiloxBlock philox(PhiloxBlock c, std::uint32_t key0, std::uint32_t key1) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * c[0], p1 = std::uint64_t{0xCD9E8D57u} * c[2];
    c = {static_cast<std::uint32_t>(p1 >> 32) ^ c[1] ^ key0, static_cast<std::uint32_t>(p1),
         static_cast<std::uint32_t>(p0 >> 32) ^ c[3] ^ key1, static_cast<std::uint32_t>(p0)};
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return c;
}

/// Everything of a position but the element.
struct RandomStream {
  std::uint64_t seed = 0;
  std::uint32_t item = 0;
  std::uint64_t sequence = 0;

  constexpr PhiloxBlock counter(std::uint64_t block) const {
    return {static_cast<std::uint32_t>(block), item, static_cast<std::uint32_t>(sequence),
            static_cast<std::uint32_t>(sequence >> 32)};
  }
  constexpr PhiloxBlock block(std::uint64_t index) const {
    return philox(counter(index), static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32));
  }
  constexpr std::uint32_t word(std::uint64_t element) const { return block(element / 4)[element % 4]; }
};

/// The upper 24 bits as a number in [0, 1).
constexpr float uniformFromWord(std::uint32_t word) { return static_cast<float>(word >> 8) * 0x1p-24f; }

/// Dropout's mask at one element: kept with probability `keep`.
constexpr bool dropoutKeeps(const RandomStream& stream, std::uint64_t element, float keep) {
  return uniformFromWord(stream.word(element)) < keep;
}

}  // namespace kovar::maths
