#include "oracle/formats.hpp"

#include <algorithm>
#include <cmath>

namespace kovar::oracle {

namespace {

// Independent of the rounding mode: rounds a non-negative finite value to an integer, ties to even.
double roundHalfEven(double v) {
  const double whole = std::floor(v), rest = v - whole;
  if (rest < 0.5) return whole;
  if (rest > 0.5) return whole + 1;
  return std::fmod(whole, 2.0) == 0.0 ? whole : whole + 1;
}

}  // namespace

uint16_t toHalfBits(double v) {
  const uint16_t sign = std::signbit(v) ? 0x8000 : 0;
  if (std::isnan(v)) return static_cast<uint16_t>(sign | 0x7e00);
  const double m = std::fabs(v);
  if (m >= 65520.0) return static_cast<uint16_t>(sign | 0x7c00);
  // unit in the last place: 2^(e-10), never below the subnormal step 2^-24
  int e = 0;
  if (m > 0) {
    std::frexp(m, &e);
    --e;
  }
  const int exponent = m > 0 ? std::max(e, -14) : -14;
  const double units = roundHalfEven(std::ldexp(m, 10 - exponent));  // in [0, 2048]
  // a carry into 2048 is the next exponent's 1024: adding does both
  return static_cast<uint16_t>(sign | (static_cast<uint32_t>(exponent + 14) * 1024u + static_cast<uint32_t>(units)));
}

double fromHalfBits(uint16_t bits) {
  const int exponent = (bits >> 10) & 31, fraction = bits & 1023;
  const double sign = bits & 0x8000 ? -1.0 : 1.0;
  if (exponent == 31) return fraction ? std::nan("") : sign * INFINITY;
  if (exponent == 0) return sign * std::ldexp(fraction, -24);
  return sign * std::ldexp(1024 + fraction, exponent - 25);
}

double roundToHalf(double v) { return fromHalfBits(toHalfBits(v)); }

uint8_t toUnorm8(double v) {
  return std::isnan(v) ? uint8_t{0} : static_cast<uint8_t>(roundHalfEven(std::clamp(v, 0.0, 1.0) * 255.0));
}

uint16_t toUnorm16(double v) {
  return std::isnan(v) ? uint16_t{0} : static_cast<uint16_t>(roundHalfEven(std::clamp(v, 0.0, 1.0) * 65535.0));
}

double fromUnorm8(uint8_t v) { return v / 255.0; }
double fromUnorm16(uint16_t v) { return v / 65535.0; }

double stored(Format f, double v) {
  switch (f) {
    case Format::Unorm8:
      return fromUnorm8(toUnorm8(v));
    case Format::Unorm16:
      return fromUnorm16(toUnorm16(v));
    case Format::Float16:
      return roundToHalf(v);
    case Format::Float32:
      return static_cast<double>(static_cast<float>(v));
  }
  return v;
}

Tensor stored(Format f, const Tensor& t) {
  Tensor out = t;
  for (double& v : out.v) v = stored(f, v);
  return out;
}

double storeTolerance(Format f, double expected) {
  switch (f) {
    case Format::Unorm8:
      return 1.0001 / 255.0;
    case Format::Unorm16:
      return 1.0001 / 65535.0;
    case Format::Float16: {
      int e = 0;
      std::frexp(expected, &e);
      return std::ldexp(1.0, std::max(e - 1, -14) - 10);
    }
    case Format::Float32:
      return std::fabs(expected) * 0x1p-23;
  }
  return 0;
}

}  // namespace kovar::oracle
