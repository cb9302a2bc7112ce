#pragma once
// Runs the cases of cuda/lane_bits_cases.hpp on each set of lanes that this machine can run.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace kovar::test {

/// Work on one set of lanes. Spans may have any length; a last partial vector is padded.
struct LaneSet {
  std::string name;
  bool fused;  ///< fma() rounds once
  /// out[i] = case `id` of (x[i], y[i])
  std::function<void(int id, const float* x, const float* y, float* out, std::size_t n)> run;
  /// The same through V = float of the same set.
  std::function<void(int id, const float* x, const float* y, float* out, std::size_t n)> runSingly;
  /// Element by element: uniform and standard normal numbers of elements 0 ... n-1 of a stream.
  std::function<void(std::uint64_t seed, std::uint32_t item, std::uint64_t sequence, bool normal, float* out,
                     std::size_t n)>
      random;
  /// Through memory: float to half to float, unorm8, unorm16 codes.
  std::function<void(const float* x, std::uint16_t* half, float* back, std::uint8_t* u8, std::uint16_t* u16,
                     std::size_t n)>
      formats;
};

/// Plain floats first, then Highway's targets of this machine.
const std::vector<LaneSet>& laneSets();

namespace scalar_lanes {
LaneSet set();
}

}  // namespace kovar::test
