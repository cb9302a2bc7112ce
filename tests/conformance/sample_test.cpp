// Bilinear reading at coordinates that are data: every edge, absolute and relative, types and views.

#include <gtest/gtest.h>

#include <cmath>

#include "conformance/memory_case.hpp"
#include "oracle/sample.hpp"

namespace kovar::test {
namespace {

using oracle::Tensor;
using prim::DType;
using prim::View;

struct Problem {
  prim::Sample desc;
  Tensor source, ys, xs;
};

Problem randomProblem(Random& r, DType from) {
  Problem p;
  p.desc.edge = r.pick({maths::SampleEdge::Zero, maths::SampleEdge::Clamp, maths::SampleEdge::Inside});
  p.desc.relative = r.chance(0.4);
  if (r.chance(0.3))
    p.desc.startY = static_cast<int>(r.integer(-2, 3)), p.desc.startX = static_cast<int>(r.integer(-2, 3));
  const auto n = r.size(1, 3), c = r.chance(0.2) ? r.size(16, 70) : r.size(1, 12);
  const auto extent = [&] { return r.chance(0.1) ? r.size(10, 40) : r.size(1, 8); };
  p.source = Tensor(n, extent(), extent(), c);
  p.source.v = randomValues(r, p.source.size(), domainOf(from), formatOf(from));
  const std::size_t h = extent(), w = extent();
  p.ys = p.xs = Tensor(n, h, w, 1);
  const auto fill = [&](Tensor& t, std::size_t size) {
    for (double& v : t.v) {
      v = std::round(r.real(-2.5, static_cast<double>(size) + 1.5) * 64) / 64;
      if (r.chance(0.03)) v = r.pick({1e30, -1e30, static_cast<double>(INFINITY)});
    }
  };
  fill(p.ys, p.source.h);
  fill(p.xs, p.source.w);
  return p;
}

TEST(SampleConformance, MatchesTheOracle) {
  const Devices devices;
  forCases(400, [&](Case& c) {
    Random& r = c.random;
    const DType from = randomType(r), to = randomType(r);
    const Problem p = randomProblem(r, from);
    const Tensor &s = p.source, &at = p.ys;
    std::vector<double> value, size;
    for (std::size_t n = 0; n < at.n; ++n)
      for (std::size_t y = 0; y < at.h; ++y)
        for (std::size_t x = 0; x < at.w; ++x) {
          const double v = at.at(n, y, x, 0) + p.desc.startY + (p.desc.relative ? static_cast<double>(y) : 0),
                       u = p.xs.at(n, y, x, 0) + p.desc.startX + (p.desc.relative ? static_cast<double>(x) : 0);
          const bool inside =
              v >= 0 && u >= 0 && v <= static_cast<double>(s.h - 1) && u <= static_cast<double>(s.w - 1);
          for (std::size_t k = 0; k < s.c; ++k) {
            const bool zero = p.desc.edge == maths::SampleEdge::Zero;
            const double e =
                p.desc.edge == maths::SampleEdge::Inside && !inside
                    ? 0
                    : oracle::bilinearAt(s, n, v, u, k, zero ? oracle::EdgeMode::Zero : oracle::EdgeMode::Clamp);
            value.push_back(e);
            size.push_back(1);
          }
        }
    const auto dim = [](std::size_t d) { return static_cast<std::int64_t>(d); };
    const auto coordinates = [&](const Tensor& t) {
      return View::contiguous(DType::F32, {dim(t.n), dim(t.h), dim(t.w), 1});
    };
    const DeviceCase device(p.desc, {{randomImageView(r, from, dim(s.n), dim(s.h), dim(s.w), dim(s.c)), s.v},
                                     {coordinates(p.ys), p.ys.v},
                                     {coordinates(p.xs), p.xs.v},
                                     {randomImageView(r, to, dim(at.n), dim(at.h), dim(at.w), dim(s.c)),
                                      std::vector<double>(value.size(), 0.5), true}});
    runEverywhere(devices, c, device, [&](const std::vector<std::vector<float>>& got) {
      EXPECT_TRUE(holds(got[3], to, value, size, {5e-7, 1e-30}));
    });
  });
}

// A pixel of weight 0 is not read: what is not a number there does not spread.
TEST(SampleConformance, PixelsOfWeightZeroAreNotRead) {
  const Devices devices;
  forCases(1, [&](Case& c) {
    const View image = View::contiguous(DType::F32, {1, 1, 3, 1});
    const DeviceCase device(
        prim::Sample{},
        {{image, {NAN, 2, NAN}}, {image, {0, 0, 0}}, {image, {1, 1, 7}}, {image, {0.5, 0.5, 0.5}, true}});
    runEverywhere(devices, c, device, [&](const std::vector<std::vector<float>>& got) {
      EXPECT_EQ(got[3], (std::vector<float>{2, 2, 0}));
    });
  });
}

}  // namespace
}  // namespace kovar::test
