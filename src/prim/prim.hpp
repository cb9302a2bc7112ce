#pragma once
// The narrow waist: every class of the library lowers to a list of these.

#include <cstdint>
#include <span>
#include <string>
#include <variant>

#include "base/result.hpp"
#include "prim/desc.hpp"
#include "prim/view.hpp"

namespace kovar::prim {

using Prim = std::variant<Conv, Matmul, Pool, Softmax, Reduce, Elementwise, Copy, Resample, Fill, Random, Loss, Yolo,
                          Step, Norm, LocalNorm, Sample, BinaryConv, Call>;

/// Short name of the family, e.g. "conv".
const char* familyOf(const Prim& prim);
/// Everything in one line, for traces and error texts.
std::string textOf(const Prim& prim);
/// Hash of the shape part. Equal values hash equally; it covers every field (a test changes each in turn).
std::uint64_t hashOf(const Prim& prim);
std::uint64_t hashOf(const View& view);
inline std::uint64_t combine(std::uint64_t seed, std::uint64_t value) {
  seed ^= value + 0x9e3779b97f4a7c15ull + (seed << 12) + (seed >> 4);
  return seed * 0xff51afd7ed558ccdull;
}

/// Checks that the argument views fit the primitive (count, ranks, extents, element types that make sense).
/// The text of a failure names the family and the argument. Users never see it in correct programs: the classes check
/// first, with their own words.
base::Status validate(const Prim& prim, std::span<const View> args);

/// Which arguments a primitive writes, in order; the rest are read. `post` arguments are those named by Store steps.
enum class Access : std::uint8_t { Read = 1, Write = 2, ReadWrite = 3 };
inline bool reads(Access a) { return (static_cast<unsigned>(a) & 1u) != 0; }
inline bool writes(Access a) { return (static_cast<unsigned>(a) & 2u) != 0; }

}  // namespace kovar::prim
