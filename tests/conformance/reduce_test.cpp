// Reductions over any set of axes.

#include <gtest/gtest.h>

#include "conformance/memory_case.hpp"

namespace kovar::test {
namespace {

using prim::DType;
using prim::ReduceKind;

struct Expected {
  std::vector<double> value, magnitude;
};

Expected reduce(const prim::Reduce& desc, const Dims& src, const Dims& dst, const std::vector<double>& values) {
  const auto count = static_cast<std::size_t>(productOf(dst));
  std::vector<std::vector<double>> taken(count);
  for (std::int64_t i = 0; i < productOf(src); ++i) {
    std::int64_t rest = i, to = 0, stride = 1;
    for (std::size_t a = src.size(); a-- > 0;) {
      if (dst[a] != 1) to += rest % src[a] * stride;
      rest /= src[a], stride *= dst[a];
    }
    taken[static_cast<std::size_t>(to)].push_back(values[static_cast<std::size_t>(i)]);
  }
  Expected e;
  for (const std::vector<double>& t : taken) {
    double sum = 0, size = 0, best = std::nan("");
    std::size_t at = 0;
    const bool least = desc.kind == ReduceKind::Min || desc.kind == ReduceKind::ArgMin;
    for (std::size_t k = 0; k < t.size(); ++k) {
      sum += t[k], size += std::fabs(t[k]);
      if (std::isnan(t[k]) || !(std::isnan(best) || (least ? t[k] < best : t[k] > best))) continue;
      best = t[k], at = k;
    }
    const auto s = static_cast<double>(desc.scale), n = static_cast<double>(t.size());
    switch (desc.kind) {
      case ReduceKind::Sum:
        e.value.push_back(sum * s), e.magnitude.push_back(size * std::fabs(s));
        break;
      case ReduceKind::Mean:
        e.value.push_back(sum * s / n), e.magnitude.push_back(size * std::fabs(s) / n);
        break;
      case ReduceKind::Min:
      case ReduceKind::Max:
        e.value.push_back(best * s), e.magnitude.push_back(0.1 * std::fabs(best * s));
        break;
      case ReduceKind::ArgMin:
      case ReduceKind::ArgMax:
        e.value.push_back(static_cast<double>(at)), e.magnitude.push_back(0);
        break;
    }
  }
  return e;
}

Dims randomDims(Random& r) {
  switch (r.integer(0, 4)) {
    case 0:
      return {r.integer(1, 40000)};
    case 1:
      return {r.integer(1, 600), r.integer(1, 70)};
    case 2:
      return {r.integer(1, 4), r.integer(1, 30), r.integer(1, 30), r.integer(1, 33)};
    case 3:
      return {r.integer(1, 4), r.integer(1, 3000)};
    default:
      return {r.integer(1, 4), r.integer(1, 5), r.integer(1, 6), r.integer(1, 5), r.integer(1, 6), r.integer(1, 5)};
  }
}

TEST(ReduceConformance, AnyAxes) {
  const Devices devices;
  forCases(400, [&](Case& c) {
    Random& r = c.random;
    const Dims src = randomDims(r);
    Dims dst = src;
    for (std::int64_t& d : dst)
      if (r.chance(0.5)) d = 1;
    prim::Reduce desc;
    desc.kind = static_cast<ReduceKind>(c.index % 6);
    const bool arg = desc.kind == ReduceKind::ArgMin || desc.kind == ReduceKind::ArgMax;
    if (!arg && r.chance(0.3)) desc.scale = 0.5f;
    desc.accumulate = desc.kind == ReduceKind::Sum && r.chance(0.3);
    const DType from = randomType(r),
                to = arg ? r.pick({DType::F32, DType::U32}) : r.pick({DType::F32, DType::F32, DType::F16});
    const bool unorm = from == DType::Unorm8 || from == DType::Unorm16;
    std::vector<Argument> args{readArgument(r, from, src, {unorm ? 0.0 : -1.0, 1, false}, true),
                               writtenArgument(r, to, dst, 0.25)};
    if (!unorm && !arg && desc.kind != ReduceKind::Sum && desc.kind != ReduceKind::Mean && r.chance(0.3))
      for (double& v : args[0].values)
        if (r.chance(0.2)) v = std::nan("");
    // Elements that share memory share the NaN: what is written last counts.
    std::map<std::int64_t, double> held;
    std::size_t k = 0;
    forElements(args[0].view, [&](std::int64_t at) { held[at] = args[0].values[k++]; });
    k = 0;
    forElements(args[0].view, [&](std::int64_t at) { args[0].values[k++] = held[at]; });
    Expected e = reduce(desc, src, dst, args[0].values);
    if (desc.accumulate)
      for (std::size_t i = 0; i < e.value.size(); ++i) e.value[i] += 0.25, e.magnitude[i] += 0.25;
    const DeviceCase device(desc, args);
    runEverywhere(devices, c, device, [&](const std::vector<std::vector<float>>& got) {
      EXPECT_TRUE(holds(got[1], to, e.value, e.magnitude, {2e-6, 1e-30}));
    });
  });
}

TEST(ReduceConformance, FirstOfEqualsAndNaN) {
  const Devices devices;
  const double nan = std::nan("");
  const std::vector<std::vector<double>> rows{{1, 3, 3, 1}, {nan, 2, nan, 2}, {nan, nan, nan, nan}, {nan, -5, -7, 0}};
  const std::map<ReduceKind, std::vector<double>> expected{{ReduceKind::ArgMax, {1, 1, 0, 3}},
                                                           {ReduceKind::ArgMin, {0, 1, 0, 2}},
                                                           {ReduceKind::Max, {3, 2, nan, 0}},
                                                           {ReduceKind::Min, {1, 2, nan, -7}}};
  int index = 0;
  forCases(1, [&](Case& c) {
    for (const auto& [kind, values] : expected)
      for (const bool transposed : {false, true}) {
        prim::View src = prim::View::contiguous(DType::F32, {4, 4}), dst = prim::View::contiguous(DType::F32, {4, 1});
        if (transposed) src.strides = {1, 4};
        std::vector<double> flat;
        for (const auto& row : rows) flat.insert(flat.end(), row.begin(), row.end());
        const DeviceCase device(prim::Reduce{kind}, {{src, flat}, {dst, std::vector<double>(4, 9), true}});
        runEverywhere(devices, c, device, [&, &kind = kind, &values = values](const auto& got) {
          EXPECT_TRUE(holds(got[1], DType::F32, values, std::vector<double>(4, 1), {0.0, 1e-37}))
              << "kind " << static_cast<int>(kind);
        });
        ++index;
      }
  });
}

}  // namespace
}  // namespace kovar::test
