// Every implementation of the binary convolution by name, on every instruction set, against bits counted one by one.

#include <gtest/gtest.h>

#include "conformance/device_case.hpp"
#include "conformance/devices.hpp"

namespace kovar::test {
namespace {

using prim::DType;
using prim::View;

TEST(BinaryConvConformance, RandomProblems) {
  const Devices devices;
  std::map<std::string, int> ran;
  forCases(240, [&](Case& c) {
    const InstructionSet set(c.index % 4);
    Random& r = c.random;
    prim::BinaryConv d;
    d.kind = r.pick({prim::BinaryKind::Xnor, prim::BinaryKind::And});
    d.transform = r.chance(0.3);
    const long n = r.integer(1, 2), hs = r.integer(1, 7), ws = r.integer(1, 9),
               ci = r.pick({1L, 31L, 32L, 33L, 64L, 260L}), co = r.pick({1L, 5L, 16L, 31L, 70L}), hd = r.integer(1, 6),
               wd = r.integer(1, 9);
    for (prim::Window* w : {&d.y, &d.x})
      *w = {static_cast<int>(r.integer(1, 4)), static_cast<int>(r.integer(1, 3)), static_cast<int>(r.integer(1, 2)),
            static_cast<int>(r.integer(-2, 4))};
    const long words = (ci + 31) / 32;
    std::vector<double> src = randomValues(r, static_cast<size_t>(n * hs * ws * ci), {-1, 1, false});
    for (double& v : src)
      v = r.chance(0.05) ? (r.chance(0.5) ? 0.0 : -0.0) : static_cast<double>(static_cast<float>(v));
    std::vector<double> weights(static_cast<size_t>(co * d.y.kernel * d.x.kernel * words));
    for (double& w : weights) w = static_cast<double>(static_cast<std::uint32_t>(r.bits()));
    std::vector<double> bias(static_cast<size_t>(ci), 0.0), scale(static_cast<size_t>(ci), 1.0);
    if (d.transform)
      for (size_t f = 0; f < bias.size(); ++f) bias[f] = r.pick({0.0, 0.25}), scale[f] = r.pick({1.0, -1.0});
    std::vector<double> wanted;
    for (long i = 0; i < n; ++i)
      for (long y = 0; y < hd; ++y)
        for (long x = 0; x < wd; ++x)
          for (long o = 0; o < co; ++o) {
            long sum = 0;
            for (long p = 0; p < d.y.kernel; ++p)
              for (long q = 0; q < d.x.kernel; ++q)
                for (long f = 0; f < ci; ++f) {
                  const long sy = y * d.y.stride - d.y.pad + p * d.y.dilation,
                             sx = x * d.x.stride - d.x.pad + q * d.x.dilation;
                  bool h = true;
                  if (sy >= 0 && sy < hs && sx >= 0 && sx < ws) {
                    const auto at = static_cast<size_t>(((i * hs + sy) * ws + sx) * ci + f);
                    const float u = (static_cast<float>(src[at]) + static_cast<float>(bias[static_cast<size_t>(f)])) *
                                    static_cast<float>(scale[static_cast<size_t>(f)]);
                    h = !(u < 0.f);
                  }
                  const auto word = static_cast<std::uint32_t>(
                      weights[static_cast<size_t>(((o * d.y.kernel + p) * d.x.kernel + q) * words + f / 32)]);
                  const bool b = (word >> (f % 32) & 1u) != 0;
                  sum += d.kind == prim::BinaryKind::And ? (h && b) : (h == b ? 1 : -1);
                }
            wanted.push_back(static_cast<double>(sum));
          }
    std::vector<Argument> args;
    args.push_back({randomImageView(r, DType::F32, n, hs, ws, ci), src});
    args.push_back({View::contiguous(DType::U32, {co, d.y.kernel, d.x.kernel, words}), weights});
    if (d.transform) {
      args.push_back({View::contiguous(DType::F32, {ci}), bias});
      args.push_back({View::contiguous(DType::F32, {ci}), scale});
    }
    const size_t out = args.size();
    args.push_back({randomImageView(r, DType::F32, n, hd, wd, co), std::vector<double>(wanted.size(), 0.5), true});
    if (r.chance(0.3)) {
      prim::EwStep s;
      s.op = prim::EwOp::Affine;
      s.p = {0.5f, 2.f, 0.f};
      d.post.push(s);
      for (double& w : wanted) w = 0.5 * w + 2.0;
    }
    const DeviceCase device(d, args);
    c.text = device.text();
    for (const auto& [kind, name] : devices.implementations(device)) {
      const bool took = device.run(kind, name, [&, &name = name](const std::vector<std::vector<float>>& got) {
        ASSERT_EQ(got[out].size(), wanted.size());
        for (size_t i = 0; i < wanted.size(); ++i)
          ASSERT_EQ(static_cast<double>(got[out][i]), wanted[i]) << name << " " << i;
      });
      ran[name] += took;
      EXPECT_TRUE(took) << name;
    }
  });
  if (!allCasesRun()) return;
  EXPECT_EQ(ran.count("cpu:binary:bits"), devices.processor().empty() ? 0u : 1u);
}

}  // namespace
}  // namespace kovar::test
