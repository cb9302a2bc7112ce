// Pooling and its gradients against the oracle.

#include "oracle/pooling.hpp"

#include <gtest/gtest.h>

#include "conformance/memory_case.hpp"

namespace kovar::test {
namespace {

using oracle::Tensor;
using prim::DType;
using prim::PoolKind;
using prim::View;

struct Problem {
  prim::Pool desc;
  long n = 1, h = 1, w = 1, c = 1, hd = 1, wd = 1;
};

Problem randomProblem(Random& r) {
  Problem p;
  p.desc.kind = r.pick({PoolKind::Max, PoolKind::Max, PoolKind::Average, PoolKind::L2});
  p.desc.zeroEdge = r.chance(0.5);
  p.n = r.integer(1, 3);
  p.c = r.chance(0.3) ? r.pick({16L, 32L, 64L, 130L}) : r.integer(1, 20);
  const bool large = r.chance(0.15);
  long* sizes[2][2] = {{&p.h, &p.hd}, {&p.w, &p.wd}};
  prim::Window* windows[2] = {&p.desc.y, &p.desc.x};
  for (int a = 0; a < 2; ++a) {
    prim::Window& w = *windows[a];
    w.kernel = static_cast<int>(r.pick({1L, 2L, 2L, 3L, 3L, 5L}));
    w.stride = static_cast<int>(r.chance(0.4) ? w.kernel : r.integer(1, 3));
    w.dilation = static_cast<int>(p.desc.kind == PoolKind::Max && r.chance(0.2) ? r.integer(2, 3) : 1);
    *sizes[a][0] = r.integer(1, large ? 40 : 12);
    *sizes[a][1] = r.chance(0.7) ? (*sizes[a][0] + w.stride - 1) / w.stride : r.integer(1, *sizes[a][0] + 3);
    w.pad = static_cast<int>(r.chance(0.5) ? 0 : r.integer(-2, w.extent()));
  }
  p.desc.rectified = r.chance(0.4);
  if (p.desc.kind == PoolKind::Average && !p.desc.zeroEdge && r.chance(0.5))
    p.desc.zeroPadY = static_cast<int>(r.integer(0, 2)), p.desc.zeroPadX = static_cast<int>(r.integer(0, 2));
  return p;
}

oracle::Pool oracleOf(const Problem& p) {
  oracle::Pool o;
  o.kind = static_cast<oracle::PoolKind>(p.desc.kind);
  o.kernelHeight = p.desc.y.kernel, o.kernelWidth = p.desc.x.kernel;
  o.strideY = p.desc.y.stride, o.strideX = p.desc.x.stride;
  o.dilationY = p.desc.y.dilation, o.dilationX = p.desc.x.dilation;
  o.zeroPadSizeY = p.desc.zeroPadY, o.zeroPadSizeX = p.desc.zeroPadX;
  o.at.edge = p.desc.zeroEdge ? oracle::EdgeMode::Zero : oracle::EdgeMode::Clamp;
  o.at.offset.y = o.extentY() / 2 - p.desc.y.pad;
  o.at.offset.x = o.extentX() / 2 - p.desc.x.pad;
  return o;
}

Tensor imageOf(const Problem& p, bool source) {
  return Tensor(static_cast<size_t>(p.n), static_cast<size_t>(source ? p.h : p.hd),
                static_cast<size_t>(source ? p.w : p.wd), static_cast<size_t>(p.c));
}

View viewOf(Random& r, DType t, const Tensor& s) {
  return randomImageView(r, t, static_cast<long>(s.n), static_cast<long>(s.h), static_cast<long>(s.w),
                         static_cast<long>(s.c));
}

/// What is pooled of a source.
Tensor pooled(const Problem& p, Tensor src) {
  for (double& v : src.v)
    if (p.desc.rectified && v < 0) v = 0;
  return src;
}

/// Distinct values, also after rounding to the type.
Tensor distinct(Random& r, DType t, Tensor s) {
  const bool unorm = t == DType::Unorm8 || t == DType::Unorm16;
  s.v = randomValues(r, s.size(), {unorm ? 0.0 : -4.0, unorm ? 1.0 : 4.0, true}, formatOf(t));
  return s;
}

TEST(PoolConformance, Forward) {
  const Devices devices;
  forCases(300, [&](Case& c) {
    Random& r = c.random;
    Problem p = randomProblem(r);
    const DType from = randomType(r), to = randomType(r);
    const Tensor src = distinct(r, from, imageOf(p, true)), dst = imageOf(p, false);
    oracle::Result expected = oracle::poolForward(oracleOf(p), pooled(p, src), dst);
    std::vector<Argument> args{{viewOf(r, from, src), src.v},
                               {viewOf(r, to, dst), std::vector<double>(dst.size(), 0.5), true}};
    std::vector<double> kept;
    if (r.chance(0.3)) {
      p.desc.post = testProgram();
      View other = View::image(DType::F32, p.n, p.hd, p.wd, p.c, p.c);
      std::vector<double> values = randomValues(r, dst.size(), {-1, 1, false});
      if (r.chance(0.5)) {
        other.strides = {0, 0, 0, 1};
        for (size_t i = 0; i < values.size(); ++i) values[i] = values[i % dst.c];
      }
      for (size_t i = 0; i < values.size(); ++i) {
        kept.push_back(0.5 * expected.value.v[i] + 0.25);
        expected.value.v[i] = std::max(kept[i] + values[i], -0.75);
        expected.magnitude.v[i] = expected.magnitude.v[i] + 2;
      }
      args.push_back({other, values});
      args.push_back({viewOf(r, DType::F32, dst), std::vector<double>(dst.size(), 0.5), true});
    }
    const DeviceCase device(p.desc, args);
    const oracle::Tolerance tolerance = kept.empty() ? oracleOf(p).tolerance() : oracle::Tolerance{4e-6, 1e-37};
    runEverywhere(devices, c, device, [&](const std::vector<std::vector<float>>& got) {
      EXPECT_TRUE(holds(got[1], to, expected.value.v, expected.magnitude.v, tolerance));
      if (!kept.empty()) EXPECT_TRUE(holds(got[3], DType::F32, kept, expected.magnitude.v, tolerance));
    });
  });
}

TEST(PoolConformance, Gradient) {
  const Devices devices;
  forCases(300, [&](Case& c) {
    Random& r = c.random;
    Problem p = randomProblem(r);
    p.desc.direction = prim::Direction::Data;
    const DType image = r.pick({DType::F32, DType::F32, DType::F16, DType::Unorm16}),
                given = r.pick({DType::F32, DType::F16}), to = randomType(r);
    // Ties (unorm and half images have them) go to the first maximum in the oracle as well.
    const Tensor src = distinct(r, image, imageOf(p, true));
    const Tensor g = randomTensor(r, static_cast<size_t>(p.n), static_cast<size_t>(p.hd), static_cast<size_t>(p.wd),
                                  static_cast<size_t>(p.c), {-1, 1, false}, formatOf(given));
    oracle::Result expected = oracle::poolGradient(oracleOf(p), {}, g, pooled(p, src), src);
    for (size_t i = 0; i < src.size(); ++i) {
      expected.magnitude.v[i] += 1e-30;
      if (p.desc.rectified && src.v[i] < 0) expected.value.v[i] = 0;
    }
    std::vector<Argument> args{{viewOf(r, given, g), g.v},
                               {viewOf(r, image, src), src.v},
                               {viewOf(r, to, src), std::vector<double>(src.size(), 0.5), true}};
    const DeviceCase device(p.desc, args);
    runEverywhere(devices, c, device, [&](const std::vector<std::vector<float>>& got) {
      EXPECT_TRUE(holds(got[2], to, expected.value.v, expected.magnitude.v, {4e-6, 1e-37}));
    });
  });
}

/// Ties go to the first maximum, a zero outside drops the gradient only where it is larger, NaN loses.
TEST(PoolConformance, TiesAndNaN) {
  const auto device = cpu::makeCpuBackend(1);
  const auto run = [&](bool zeroEdge, int pad, std::vector<float> src, bool gradient) {
    prim::Pool pool;
    pool.zeroEdge = zeroEdge;
    pool.direction = gradient ? prim::Direction::Data : prim::Direction::Forward;
    pool.x = {3, 3, 1, pad};
    const auto n = static_cast<std::int64_t>(src.size()), windows = (n + 2 * pad) / 3;
    const View image = View::image(DType::F32, 1, 1, n, 1, 1), pooled = View::image(DType::F32, 1, 1, windows, 1, 1);
    std::vector<View> views = gradient ? std::vector<View>{pooled, image, image} : std::vector<View>{image, pooled};
    auto plan = device->prepare(pool, views, {});
    EXPECT_TRUE(plan.ok());
    std::vector<float> g(static_cast<size_t>(windows)), out(gradient ? src.size() : g.size(), -7.f);
    for (size_t i = 0; i < g.size(); ++i) g[i] = static_cast<float>(i + 1);
    std::vector<prim::Bound> bound;
    if (gradient) bound.push_back({reinterpret_cast<std::byte*>(g.data())});
    bound.push_back({reinterpret_cast<std::byte*>(src.data())});
    bound.push_back({reinterpret_cast<std::byte*>(out.data())});
    prim::Invocation inv;
    inv.args = bound;
    EXPECT_TRUE(device->enqueue(**device->makeStream(), **plan, inv).ok());
    return out;
  };
  const float nan = std::nanf("");
  EXPECT_EQ(run(false, 0, {2, 2, 1, 3, 3, 3}, true), (std::vector<float>{1, 0, 0, 2, 0, 0}));
  EXPECT_EQ(run(false, 0, {nan, 1, 2, 5, nan, 4}, true), (std::vector<float>{0, 0, 1, 2, 0, 0}));
  EXPECT_EQ(run(false, 0, {nan, 1, 2, 5, nan, 4}, false), (std::vector<float>{2, 5}));
  EXPECT_TRUE(std::isnan(run(false, 0, {nan, nan, nan}, false)[0]));
  // One tap outside: with zeros it wins over negative pixels and ties with 0.
  EXPECT_EQ(run(true, 1, {-1, -2, 1, 5}, true), (std::vector<float>{0, 0, 0, 2}));
  EXPECT_EQ(run(true, 1, {0, -2, 1, 5}, true), (std::vector<float>{1, 0, 0, 2}));
  EXPECT_EQ(run(false, 1, {-1, -2, 1, 5}, true), (std::vector<float>{1, 0, 0, 2}));
  EXPECT_EQ(run(true, 1, {-1, -2, 1, 5}, false), (std::vector<float>{0, 5}));
}

}  // namespace
}  // namespace kovar::test
