#include "maths/formats.hpp"

#include "maths/formats-inl.hpp"

namespace kovar::maths {

float floatFromHalf(std::uint16_t half) { return scalar::halfToFloat(std::uint32_t{half}); }
std::uint16_t halfFromFloat(float value) { return static_cast<std::uint16_t>(scalar::floatToHalf(value)); }
float floatFromUnorm8(std::uint8_t code) { return scalar::unormToFloat<8>(std::uint32_t{code}); }
std::uint8_t unorm8FromFloat(float value) { return static_cast<std::uint8_t>(scalar::floatToUnorm<8>(value)); }
float floatFromUnorm16(std::uint16_t code) { return scalar::unormToFloat<16>(std::uint32_t{code}); }
std::uint16_t unorm16FromFloat(float value) { return static_cast<std::uint16_t>(scalar::floatToUnorm<16>(value)); }

}  // namespace kovar::maths
