#pragma once
// What the tests of the memory-bound families share: devices, random arguments of any rank and layout, and running one
// case by every implementation.

#include <cstdint>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "conformance/device_case.hpp"
#include "conformance/devices.hpp"
#include "support/compare.hpp"

namespace kovar::test {

using Dims = std::vector<std::int64_t>;

inline std::int64_t productOf(const Dims& dims) {
  return std::accumulate(dims.begin(), dims.end(), std::int64_t{1}, std::multiplies<>());
}

inline prim::DType randomType(Random& r) {
  using prim::DType;
  return r.chance(0.5) ? DType::F32 : r.pick({DType::F32, DType::F16, DType::F16, DType::Unorm8, DType::Unorm16});
}

/// A view with gaps between the elements of some axes, axes in another order in memory, and an offset, or none of
/// these.
inline prim::View randomView(Random& r, prim::DType t, const Dims& dims) {
  prim::View v;
  v.dtype = t;
  v.rank = static_cast<std::uint8_t>(dims.size());
  v.offset = r.chance(0.3) ? r.integer(1, 20) : 0;
  std::vector<std::size_t> order(dims.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  if (r.chance(0.2))
    for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[r.bits() % i]);
  const double gap = r.chance(0.5) ? 0.3 : 0.0;
  std::int64_t stride = 1;
  for (std::size_t i = order.size(); i-- > 0;) {
    v.dims[order[i]] = dims[order[i]];
    v.strides[order[i]] = stride;
    stride = stride * dims[order[i]] + (r.chance(gap) ? r.integer(1, 5) : 0);
  }
  return v;
}

/// An argument to read, with values from the domain; with `broadcast` some axes may have stride 0.
inline Argument readArgument(Random& r, prim::DType t, const Dims& dims, const oracle::Domain& domain,
                             bool broadcast = false) {
  Argument a{randomView(r, t, dims), {}, false};
  if (broadcast)
    for (std::size_t axis = 0; axis < dims.size(); ++axis)
      if (r.chance(0.25)) a.view.strides[axis] = 0;
  // Elements that share memory have one value.
  std::map<std::int64_t, double> held;
  const std::vector<double> values = randomValues(r, static_cast<std::size_t>(productOf(dims)), domain, formatOf(t));
  std::size_t next = 0;
  forElements(a.view, [&](std::int64_t at) {
    const auto [place, fresh] = held.try_emplace(at, values[next]);
    next += fresh ? 1 : 0;
    a.values.push_back(t == prim::DType::F32 ? static_cast<double>(static_cast<float>(place->second)) : place->second);
  });
  return a;
}

inline Argument writtenArgument(Random& r, prim::DType t, const Dims& dims, double before = 0.5) {
  return {randomView(r, t, dims), std::vector<double>(static_cast<std::size_t>(productOf(dims)), before), true};
}

/// What a type can hold of an expected value, in float32 as results are read.
inline double heldBy(prim::DType t, double v) {
  const bool unorm = t == prim::DType::Unorm8 || t == prim::DType::Unorm16;
  return unorm ? static_cast<double>(static_cast<float>(v > 0 ? std::min(v, 1.0) : 0.0)) : v;
}

/// Runs the case by every implementation, with an instruction set that follows from its number; each must take it.
inline void runEverywhere(const Devices& devices, Case& c, const DeviceCase& device,
                          const std::function<void(const std::vector<std::vector<float>>&)>& check) {
  c.text = device.text();
  const InstructionSet instructions(c.index % 3);
  for (const auto& [kind, name] : devices.implementations(device)) {
    SCOPED_TRACE(name);
    EXPECT_TRUE(device.run(kind, name, check));
  }
}

/// Compares an argument's values with what is expected, allowing for the rounding of its type.
inline testing::AssertionResult holds(const std::vector<float>& got, prim::DType t, std::vector<double> expected,
                                      const std::vector<double>& magnitude, oracle::Tolerance tolerance) {
  for (double& v : expected) v = heldBy(t, v);
  Compare how;
  how.tolerance = tolerance;
  how.storage = formatOf(t);
  how.maxZeroShare = 1.0;
  return compare(got, expected, magnitude, how);
}

}  // namespace kovar::test
