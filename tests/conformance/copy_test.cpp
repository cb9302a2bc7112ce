// Copies: conversion, layouts, shifts with every edge mode, their adjoints; fills.

#include <gtest/gtest.h>

#include "conformance/memory_case.hpp"

namespace kovar::test {
namespace {

using prim::DType;
using prim::Edge;

/// The source position that `position` falls on, walking step by step from the nearest one inside; -1 outside.
std::int64_t walkTo(std::int64_t position, std::int64_t extent, Edge edge) {
  if (position >= 0 && position < extent) return position;
  if (edge == Edge::Zero || edge == Edge::Constant) return -1;
  std::int64_t at = position < 0 ? 0 : extent - 1;
  if (edge == Edge::Clamp || extent == 1) return at;
  const std::int64_t steps = position < 0 ? -position : position - (extent - 1);
  int direction = position < 0 ? 1 : -1;  // back into the image
  for (std::int64_t i = 0; i < steps; ++i) {
    const bool first = edge == Edge::MirrorWithEdge && i == 0;
    if (first) continue;  // the edge pixel once more
    if (at + direction < 0 || at + direction >= extent) {
      direction = -direction;
      if (edge == Edge::MirrorWithEdge) continue;
    }
    at += direction;
  }
  return at;
}

std::vector<std::int64_t> indexOf(std::int64_t i, const Dims& dims) {
  std::vector<std::int64_t> index(dims.size());
  for (std::size_t a = dims.size(); a-- > 0;) index[a] = i % dims[a], i /= dims[a];
  return index;
}

std::int64_t flat(const std::vector<std::int64_t>& index, const Dims& dims) {
  std::int64_t i = 0;
  for (std::size_t a = 0; a < dims.size(); ++a) i = i * dims[a] + index[a];
  return i;
}

Dims randomDims(Random& r, int rank) {
  Dims dims;
  for (int a = 0; a < rank; ++a) dims.push_back(r.integer(1, a + 1 == rank ? 40 : rank > 4 ? 5 : 10));
  return dims;
}

DType anyType(Random& r) { return r.chance(0.2) ? r.pick({DType::U8, DType::U32}) : randomType(r); }

oracle::Domain valuesFor(DType t) { return {t == DType::F32 || t == DType::F16 ? -1.0 : 0.0, 1, false}; }

TEST(CopyConformance, Plain) {
  const Devices devices;
  forCases(300, [&](Case& c) {
    Random& r = c.random;
    const Dims dims = r.chance(0.1) ? Dims{r.integer(1, 2), r.integer(20, 40), r.integer(20, 40), r.integer(1, 33)}
                                    : randomDims(r, static_cast<int>(r.integer(1, 6)));
    const DType from = anyType(r), to = r.chance(0.4) ? from : anyType(r);
    prim::Copy copy;
    copy.accumulate = from != DType::U32 && to != DType::U32 && from != DType::U8 && to != DType::U8 && r.chance(0.3);
    std::vector<Argument> args{readArgument(r, from, dims, valuesFor(from), true),
                               writtenArgument(r, to, dims, copy.accumulate ? 0.25 : 0)};
    if (from == DType::U8 || from == DType::U32)
      for (double& v : args[0].values) v = std::floor(v * (from == DType::U8 ? 255 : 16777215));
    if (from == to && from == DType::U32)
      for (double& v : args[0].values) v += 4000000000.0;
    std::vector<double> expected, magnitude;
    for (const double v : args[0].values) {
      double e = copy.accumulate ? heldBy(to, oracle::stored(formatOf(to), 0.25)) + v : v;
      if (to == DType::U8) e = std::clamp(std::nearbyint(e), 0.0, 255.0);
      if (to == DType::U32) e = std::max(0.0, std::nearbyint(e));
      expected.push_back(e);
      magnitude.push_back(std::fabs(e) + (copy.accumulate ? 1 : 0));
    }
    const DeviceCase device(copy, args);
    runEverywhere(devices, c, device, [&](const std::vector<std::vector<float>>& got) {
      EXPECT_TRUE(holds(got[1], to, expected, magnitude, {copy.accumulate ? 2e-7 : 0.0, 1e-37}));
    });
  });
}

/// A copy without conversion moves bits: a signalling NaN and every payload come through.
TEST(CopyConformance, SameTypeKeepsBits) {
  const auto device = cpu::makeCpuBackend(1);
  for (const DType t : {DType::F32, DType::F16, DType::U32}) {
    const prim::View src = prim::View::image(t, 1, 3, 5, 3, 4), dst = prim::View::contiguous(t, {1, 3, 5, 3});
    const std::array<prim::View, 2> views{src, dst};
    auto plan = device->prepare(prim::Copy{}, views, {});
    ASSERT_TRUE(plan.ok());
    std::vector<std::uint8_t> from(3 * 5 * 4 * sizeOf(t), 0xa5), to(3 * 5 * 3 * sizeOf(t), 0);
    for (std::size_t i = 0; i < from.size(); ++i) from[i] = static_cast<std::uint8_t>(i % 2 == 0 ? 0x01 + i : 0x7f);
    const prim::Bound bound[2] = {{reinterpret_cast<std::byte*>(from.data())},
                                  {reinterpret_cast<std::byte*>(to.data())}};
    prim::Invocation inv;
    inv.args = bound;
    ASSERT_TRUE(device->enqueue(**device->makeStream(), **plan, inv).ok());
    for (std::size_t p = 0; p < 15; ++p)
      EXPECT_EQ(std::memcmp(&to[p * 3 * sizeOf(t)], &from[p * 4 * sizeOf(t)], 3 * sizeOf(t)), 0)
          << nameOf(t) << " pixel " << p;
  }
}

struct Shifted {
  prim::Copy copy;
  Dims src, dst;
};

Shifted randomShift(Random& r) {
  Shifted s;
  const int rank = static_cast<int>(r.integer(1, 4));
  s.src = randomDims(r, rank);
  s.dst = s.src;
  s.copy.edge = r.pick({Edge::Zero, Edge::Clamp, Edge::Mirror, Edge::MirrorWithEdge, Edge::Constant});
  s.copy.fill = 0.75f;
  for (std::size_t a = 0; a < s.src.size(); ++a) {
    if (r.chance(0.4)) continue;
    s.dst[a] = r.integer(1, s.src[a] + 9);
    s.copy.shift[a] = static_cast<std::int32_t>(r.integer(-7, s.src[a] + 3));
  }
  return s;
}

TEST(CopyConformance, Shifted) {
  const Devices devices;
  forCases(300, [&](Case& c) {
    Random& r = c.random;
    const Shifted s = randomShift(r);
    const DType from = randomType(r), to = r.chance(0.5) ? from : randomType(r);
    std::vector<Argument> args{readArgument(r, from, s.src, valuesFor(from)), writtenArgument(r, to, s.dst)};
    std::vector<double> expected;
    for (std::int64_t i = 0; i < productOf(s.dst); ++i) {
      std::vector<std::int64_t> index = indexOf(i, s.dst);
      bool outside = false;
      for (std::size_t a = 0; a < index.size(); ++a) {
        index[a] = walkTo(index[a] + s.copy.shift[a], s.src[a], s.copy.edge);
        outside = outside || index[a] < 0;
      }
      expected.push_back(outside ? (s.copy.edge == Edge::Constant ? 0.75 : 0.0)
                                 : args[0].values[static_cast<std::size_t>(flat(index, s.src))]);
    }
    const DeviceCase device(s.copy, args);
    runEverywhere(devices, c, device, [&](const std::vector<std::vector<float>>& got) {
      EXPECT_TRUE(holds(got[1], to, expected, std::vector<double>(expected.size(), 1.0), {0.0, 1e-37}));
    });
  });
}

TEST(CopyConformance, Adjoint) {
  const Devices devices;
  forCases(300, [&](Case& c) {
    Random& r = c.random;
    Shifted s = randomShift(r);
    s.copy.direction = prim::Direction::Data;
    const DType from = r.pick({DType::F32, DType::F16}), to = randomType(r);
    std::vector<Argument> args{readArgument(r, from, s.dst, {-1, 1, false}), writtenArgument(r, to, s.src)};
    std::vector<double> expected(static_cast<std::size_t>(productOf(s.src)), 0.0), magnitude = expected;
    for (std::int64_t i = 0; i < productOf(s.dst); ++i) {
      std::vector<std::int64_t> index = indexOf(i, s.dst);
      bool outside = false;
      for (std::size_t a = 0; a < index.size(); ++a) {
        index[a] = walkTo(index[a] + s.copy.shift[a], s.src[a], s.copy.edge);
        outside = outside || index[a] < 0;
      }
      if (outside) continue;
      expected[static_cast<std::size_t>(flat(index, s.src))] += args[0].values[static_cast<std::size_t>(i)];
      magnitude[static_cast<std::size_t>(flat(index, s.src))] += std::fabs(args[0].values[static_cast<std::size_t>(i)]);
    }
    for (double& m : magnitude) m += 1e-30;
    const DeviceCase device(s.copy, args);
    runEverywhere(devices, c, device, [&](const std::vector<std::vector<float>>& got) {
      EXPECT_TRUE(holds(got[1], to, expected, magnitude, {1e-5, 1e-37}));
    });
  });
}

TEST(CopyConformance, PublishedPads) {
  const auto device = cpu::makeCpuBackend(1);
  const auto pad = [&](Edge edge, int before, std::vector<float> src, std::size_t out) {
    prim::Copy copy;
    copy.edge = edge;
    copy.shift[0] = -before;
    const std::array<prim::View, 2> views{prim::View::contiguous(DType::F32, {static_cast<std::int64_t>(src.size())}),
                                          prim::View::contiguous(DType::F32, {static_cast<std::int64_t>(out)})};
    auto plan = device->prepare(copy, views, {});
    EXPECT_TRUE(plan.ok());
    std::vector<float> dst(out);
    const prim::Bound bound[2] = {{reinterpret_cast<std::byte*>(src.data())},
                                  {reinterpret_cast<std::byte*>(dst.data())}};
    prim::Invocation inv;
    inv.args = bound;
    EXPECT_TRUE(device->enqueue(**device->makeStream(), **plan, inv).ok());
    return dst;
  };
  EXPECT_EQ(pad(Edge::MirrorWithEdge, 2, {1, 2, 3}, 8), (std::vector<float>{2, 1, 1, 2, 3, 3, 2, 1}));
  EXPECT_EQ(pad(Edge::Mirror, 4, {1, 2, 3}, 8), (std::vector<float>{1, 2, 3, 2, 1, 2, 3, 2}));
  EXPECT_EQ(pad(Edge::Clamp, 2, {1, 2, 3}, 8), (std::vector<float>{1, 1, 1, 2, 3, 3, 3, 3}));
  EXPECT_EQ(pad(Edge::Zero, 1, {1, 2}, 4), (std::vector<float>{0, 1, 2, 0}));
}

TEST(FillConformance, EveryTypeAndLayout) {
  const Devices devices;
  forCases(200, [&](Case& c) {
    Random& r = c.random;
    const Dims dims = randomDims(r, static_cast<int>(r.integer(1, 6)));
    const DType t = anyType(r);
    const prim::Fill fill{static_cast<float>(t == DType::U8 || t == DType::U32 ? r.integer(0, 200) : r.real(0, 1))};
    std::vector<Argument> args{writtenArgument(r, t, dims, 0)};
    const DeviceCase device(fill, args);
    const std::vector<double> expected(args[0].values.size(), static_cast<double>(fill.value));
    runEverywhere(devices, c, device, [&](const std::vector<std::vector<float>>& got) {
      EXPECT_TRUE(holds(got[0], t, expected, expected, {0.0, 1e-37}));
    });
  });
}

}  // namespace
}  // namespace kovar::test
