// Resampling and its adjoint: any coordinates, types and views.

#include <gtest/gtest.h>

#include <cmath>

#include "conformance/memory_case.hpp"

namespace kovar::test {
namespace {

using prim::DType;
using prim::ResampleKind;
using prim::View;

struct Problem {
  prim::Resample desc;
  long n = 1, c = 1, h = 1, w = 1, hd = 1, wd = 1;
};

maths::Sampling randomSampling(Random& r, bool bilinear, long src, long& dst) {
  maths::Sampling s;
  const long factor = r.integer(1, 5);
  dst = r.chance(0.6) ? src * factor : r.integer(1, 3 * src + 2);
  s = bilinear && r.chance(0.4) ? maths::enlargingAligned(src, factor) : maths::enlarging(factor);
  if (bilinear && r.chance(0.2)) s.numerator = src, s.denominator = dst;  // a resize to any extent
  if (r.chance(0.3)) s.start = static_cast<int>(r.integer(-3, src + 1));
  if (r.chance(0.2)) s.first = static_cast<int>(r.integer(-3, 4));
  return s;
}

Problem randomProblem(Random& r) {
  Problem p;
  p.desc.kind = r.pick({ResampleKind::Nearest, ResampleKind::Bilinear, ResampleKind::Bilinear});
  p.desc.zeroEdge = r.chance(0.5);
  p.n = r.integer(1, 3);
  p.c = r.chance(0.2) ? r.pick({16L, 64L, 130L, 300L}) : r.integer(1, 20);
  const long most = r.chance(0.1) ? 40 : 9;
  p.h = r.integer(1, most), p.w = r.integer(1, most);
  const bool bilinear = p.desc.kind == ResampleKind::Bilinear;
  p.desc.y = randomSampling(r, bilinear, p.h, p.hd);
  p.desc.x = randomSampling(r, bilinear, p.w, p.wd);
  return p;
}

/// One-dimensional taps by the coordinate itself, in double.
std::vector<std::pair<long, double>> tapsOf(const Problem& p, const maths::Sampling& s, long i, long extent) {
  const double u = s.start + static_cast<double>((i + s.first) * s.numerator) / static_cast<double>(s.denominator);
  const double whole = std::floor(u + 1e-11);
  const double t = p.desc.kind == ResampleKind::Nearest ? 0 : std::max(0.0, u - whole);
  std::vector<std::pair<long, double>> taps;
  for (auto [at, weight] : {std::pair(static_cast<long>(whole), 1 - t), std::pair(static_cast<long>(whole) + 1, t)}) {
    if (weight < 1e-11) continue;
    if (p.desc.zeroEdge && (at < 0 || at >= extent)) continue;
    taps.emplace_back(std::clamp(at, 0L, extent - 1), weight);
  }
  return taps;
}

/// Calls fn(source index, destination index, weight) for every pair that meets.
void forPairs(const Problem& p, const std::function<void(std::size_t, std::size_t, double)>& fn) {
  for (long n = 0; n < p.n; ++n)
    for (long y = 0; y < p.hd; ++y)
      for (long x = 0; x < p.wd; ++x)
        for (const auto& [sy, wy] : tapsOf(p, p.desc.y, y, p.h))
          for (const auto& [sx, wx] : tapsOf(p, p.desc.x, x, p.w))
            for (long c = 0; c < p.c; ++c)
              fn(static_cast<std::size_t>(((n * p.h + sy) * p.w + sx) * p.c + c),
                 static_cast<std::size_t>(((n * p.hd + y) * p.wd + x) * p.c + c), wy * wx);
}

TEST(ResampleConformance, ForwardAndAdjoint) {
  const Devices devices;
  forCases(500, [&](Case& c) {
    Random& r = c.random;
    Problem p = randomProblem(r);
    const bool forward = r.chance(0.5);
    p.desc.direction = forward ? prim::Direction::Forward : prim::Direction::Data;
    const DType from = randomType(r), to = randomType(r);
    const auto small = static_cast<std::size_t>(p.n * p.h * p.w * p.c),
               large = static_cast<std::size_t>(p.n * p.hd * p.wd * p.c);
    const std::vector<double> given = randomValues(r, forward ? small : large, domainOf(from), formatOf(from));
    std::vector<double> value(forward ? large : small), size(value.size(), 1e-30);
    forPairs(p, [&](std::size_t s, std::size_t d, double weight) {
      const double v = weight * given[forward ? s : d];
      value[forward ? d : s] += v;
      size[forward ? d : s] += std::fabs(v);
    });
    const View src = randomImageView(r, forward ? from : to, p.n, p.h, p.w, p.c),
               dst = randomImageView(r, forward ? to : from, p.n, p.hd, p.wd, p.c);
    const DeviceCase device(
        p.desc, {{forward ? src : dst, given}, {forward ? dst : src, std::vector<double>(value.size(), 0.5), true}});
    runEverywhere(devices, c, device, [&](const std::vector<std::vector<float>>& got) {
      EXPECT_TRUE(holds(got[1], to, value, size, {1e-6, 1e-30}));
    });
  });
}

/// <g, A s> = <A' g, s> for one problem after the other: whole numbers, so that both sides are exact.
TEST(ResampleConformance, TheAdjointIsExact) {
  const auto device = cpu::makeCpuBackend(2);
  forCases(100, [&](Case& c) {
    Random& r = c.random;
    Problem p = randomProblem(r);
    p.desc.kind = ResampleKind::Nearest;
    p.n = 1, p.c = 3;
    const View src = View::image(DType::F32, 1, p.h, p.w, 3, 3), dst = View::image(DType::F32, 1, p.hd, p.wd, 3, 3);
    const auto whole = [&](const View& v) {
      std::vector<float> all(static_cast<std::size_t>(v.elements()));
      for (float& x : all) x = static_cast<float>(r.integer(-8, 8));
      return all;
    };
    const auto run = [&](prim::Direction direction, const View& from, const View& to, std::vector<float> in) {
      prim::Resample desc = p.desc;
      desc.direction = direction;
      const std::vector<View> views{from, to};
      auto plan = device->prepare(desc, views, {});
      EXPECT_TRUE(plan.ok());
      std::vector<float> out(static_cast<std::size_t>(to.elements()), 9.f);
      std::vector<prim::Bound> bound{{reinterpret_cast<std::byte*>(in.data())},
                                     {reinterpret_cast<std::byte*>(out.data())}};
      prim::Invocation inv;
      inv.args = bound;
      EXPECT_TRUE(device->enqueue(**device->makeStream(), **plan, inv).ok());
      return out;
    };
    const std::vector<float> s = whole(src), g = whole(dst);
    const std::vector<float> forward = run(prim::Direction::Forward, src, dst, s),
                             back = run(prim::Direction::Data, dst, src, g);
    double a = 0, b = 0;
    for (std::size_t i = 0; i < g.size(); ++i) a += double{g[i]} * double{forward[i]};
    for (std::size_t i = 0; i < s.size(); ++i) b += double{s[i]} * double{back[i]};
    EXPECT_EQ(a, b);
  });
}

}  // namespace
}  // namespace kovar::test
