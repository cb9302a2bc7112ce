// Softmax and log-softmax over the last axis of any rank.

#include "oracle/softmax.hpp"

#include <gtest/gtest.h>

#include "conformance/memory_case.hpp"

namespace kovar::test {
namespace {

using oracle::Tensor;
using prim::DType;

Dims randomDims(Random& r) {
  const long channels = r.chance(0.3) ? r.pick({1L, 10L, 16L, 64L, 1000L}) : r.integer(1, 70);
  switch (r.integer(0, 3)) {
    case 0:
      return {channels};
    case 1:
      return {r.integer(1, 50), channels};
    case 2:
      return {r.integer(1, 3), r.integer(1, 8), r.integer(1, 8), channels};
    default:
      return {2, 1, 3, r.integer(1, 5), channels};
  }
}

Tensor tensorOf(const Dims& dims, std::vector<double> values) {
  Tensor t(1, 1, static_cast<size_t>(productOf(dims) / dims.back()), static_cast<size_t>(dims.back()));
  t.v = std::move(values);
  return t;
}

TEST(SoftmaxConformance, Forward) {
  const Devices devices;
  forCases(200, [&](Case& c) {
    Random& r = c.random;
    const Dims dims = randomDims(r);
    const prim::Softmax desc{prim::Direction::Forward, r.chance(0.5)};
    const DType from = r.pick({DType::F32, DType::F32, DType::F16}), to = randomType(r);
    std::vector<Argument> args{
        readArgument(r, from, dims, r.chance(0.2) ? oracle::Domain{-1e4, 1e4} : oracle::Softmax::domain(), true),
        writtenArgument(r, to, dims)};
    const Tensor src = tensorOf(dims, args[0].values);
    const oracle::Result expected = oracle::softmaxForward({desc.log}, {}, src, src);
    const DeviceCase device(desc, args);
    runEverywhere(devices, c, device, [&](const std::vector<std::vector<float>>& got) {
      EXPECT_TRUE(holds(got[1], to, expected.value.v, expected.magnitude.v, oracle::Softmax::tolerance()));
    });
  });
}

TEST(SoftmaxConformance, Gradient) {
  const Devices devices;
  forCases(200, [&](Case& c) {
    Random& r = c.random;
    const Dims dims = randomDims(r);
    const prim::Softmax desc{prim::Direction::Data, r.chance(0.5)};
    const DType from = r.pick({DType::F32, DType::F32, DType::F16}), to = randomType(r);
    std::vector<Argument> args{readArgument(r, from, dims, {-1, 1, false}, true),
                               readArgument(r, from, dims, desc.log ? oracle::Domain{-8, 0} : oracle::Domain{0, 1}),
                               writtenArgument(r, to, dims)};
    const Tensor g = tensorOf(dims, args[0].values), y = tensorOf(dims, args[1].values);
    const oracle::Result expected = oracle::softmaxGradient({desc.log}, {}, g, y, y);
    const DeviceCase device(desc, args);
    runEverywhere(devices, c, device, [&](const std::vector<std::vector<float>>& got) {
      EXPECT_TRUE(holds(got[2], to, expected.value.v, expected.magnitude.v, {4e-6, 1e-37}));
    });
  });
}

TEST(SoftmaxConformance, Extremes) {
  const auto device = cpu::makeCpuBackend(1);
  const auto run = [&](std::vector<float> x, bool log) {
    const prim::View v = prim::View::contiguous(DType::F32, {static_cast<std::int64_t>(x.size())});
    const std::array<prim::View, 2> views{v, v};
    auto plan = device->prepare(prim::Softmax{prim::Direction::Forward, log}, views, {});
    EXPECT_TRUE(plan.ok());
    const prim::Bound bound[2] = {{reinterpret_cast<std::byte*>(x.data())},
                                  {reinterpret_cast<std::byte*>(x.data())}};  // in place
    prim::Invocation inv;
    inv.args = bound;
    EXPECT_TRUE(device->enqueue(**device->makeStream(), **plan, inv).ok());
    return x;
  };
  const float inf = INFINITY;
  EXPECT_EQ(run({-inf, 3.f}, false), (std::vector<float>{0, 1}));
  EXPECT_EQ(run({3e38f, -3e38f}, false), (std::vector<float>{1, 0}));
  EXPECT_EQ(run({3e38f, -3e38f}, true)[0], 0.f);
  EXPECT_TRUE(std::isnan(run({-inf, -inf}, false)[0]));
  for (const std::size_t at : {0u, 20u, 39u}) {
    std::vector<float> x(40, 1.f);
    x[at] = std::nanf("");
    for (const float v : run(x, false)) EXPECT_TRUE(std::isnan(v)) << "NaN at " << at;
  }
}

}  // namespace
}  // namespace kovar::test
