#pragma once
// Storage formats to and from float, one value at a time. The rules are in formats-inl.hpp, for lanes of any width:
//   halfToFloat(B) -> V    floatToHalf(V) -> B        IEEE binary16, round to nearest even, subnormals kept, NaN quiet
//   unormToFloat<kBits>(B) -> V   floatToUnorm<kBits>(V) -> B        8 or 16 bits, round half to even, NaN -> 0
//     (without FMA the product is rounded first: one code off where it falls within 2^-9 of a half)
//   loadHalf<V>(p)  storeHalf(v, p)  loadUnorm<V>(p)  storeUnorm(v, p)       p: std::uint16_t* or std::uint8_t*
// loadHalf and storeHalf take the machine's own conversion where it has one; the bits are the same.

#include <cstdint>

namespace kovar::maths {

float floatFromHalf(std::uint16_t half);
/// |v| >= 65520 becomes infinity.
std::uint16_t halfFromFloat(float value);
float floatFromUnorm8(std::uint8_t code);
std::uint8_t unorm8FromFloat(float value);
float floatFromUnorm16(std::uint16_t code);
std::uint16_t unorm16FromFloat(float value);

}  // namespace kovar::maths
