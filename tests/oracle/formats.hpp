#pragma once
// Storage formats of images: what a value becomes when it is written and read back.

#include <cstdint>

#include "oracle/tensor.hpp"

namespace kovar::oracle {

enum class Format { Unorm8 = 1, Unorm16 = 2, Float16 = 3, Float32 = 4 };

/// Nearest binary16, ties to even; from 65520 on infinite; subnormals kept; NaN stays NaN.
uint16_t toHalfBits(double v);
double fromHalfBits(uint16_t bits);
double roundToHalf(double v);

/// clamp(v,0,1) * 255 (65535), rounded half to even; NaN gives 0.
uint8_t toUnorm8(double v);
uint16_t toUnorm16(double v);
double fromUnorm8(uint8_t v);
double fromUnorm16(uint16_t v);

/// A value after a store to and a load from the format.
double stored(Format f, double v);
Tensor stored(Format f, const Tensor& t);

/// Extra error a store may add: one unit in the last place of binary16, one code of unorm, the rounding of float32.
double storeTolerance(Format f, double expected);

}  // namespace kovar::oracle
