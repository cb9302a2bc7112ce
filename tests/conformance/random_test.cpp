// Dropout and random matrices: every number follows from seed, image and position.

#include <gtest/gtest.h>

#include "conformance/memory_case.hpp"
#include "oracle/dropout.hpp"

namespace kovar::test {
namespace {

using oracle::Tensor;
using prim::DType;
using prim::RandomKind;
using prim::View;

struct Problem {
  prim::Random desc;
  oracle::Dropout dropout;
  prim::Scalars scalars;
  long n, h, w, c;
};

Problem randomProblem(Random& r) {
  Problem p;
  p.n = r.integer(1, 4), p.h = r.integer(1, 12), p.w = r.integer(1, 12);
  p.c = r.chance(0.2) ? r.integer(1000, 3000) : r.integer(1, 40);
  if (p.c >= 1000) p.h = p.w = 1;
  if (r.chance(0.05)) p.n = 1, p.h = 40, p.w = 30, p.c = 33;  // several chunks
  p.desc.keep = static_cast<float>(r.pick({0.5, 0.25, 0.8, 0.97}));
  p.desc.writeMask = r.chance(0.5);
  p.dropout.keepProbability = static_cast<double>(p.desc.keep);
  p.dropout.seed = p.scalars.u[0] = r.bits();
  p.scalars.u[1] = r.chance(0.5) ? r.bits() : static_cast<std::uint64_t>(r.integer(0, 5));
  if (r.chance(0.4))
    for (auto& s : p.desc.maskStride) s = r.chance(0.5) ? 1 : 0;
  p.dropout.maskStrideY = p.desc.maskStride[0], p.dropout.maskStrideX = p.desc.maskStride[1],
  p.dropout.maskStrideC = p.desc.maskStride[2];
  return p;
}

Tensor masksOf(const Problem& p) {
  Tensor all;
  for (long n = 0; n < p.n; ++n) {
    const Tensor one = oracle::dropoutMask(p.dropout, static_cast<size_t>(p.h), static_cast<size_t>(p.w),
                                           static_cast<size_t>(p.c), static_cast<std::uint32_t>(n), p.scalars.u[1]);
    if (n == 0) all = Tensor(0, one.h, one.w, one.c);
    ++all.n;
    all.v.insert(all.v.end(), one.v.begin(), one.v.end());
  }
  return all;
}

Tensor imageOf(const Problem& p) {
  return Tensor(static_cast<size_t>(p.n), static_cast<size_t>(p.h), static_cast<size_t>(p.w), static_cast<size_t>(p.c));
}

View viewOf(Random& r, DType t, const Tensor& s) {
  return randomImageView(r, t, static_cast<long>(s.n), static_cast<long>(s.h), static_cast<long>(s.w),
                         static_cast<long>(s.c));
}

TEST(RandomConformance, DropoutForward) {
  const Devices devices;
  forCases(200, [&](Case& c) {
    Random& r = c.random;
    const Problem p = randomProblem(r);
    const DType from = randomType(r), to = randomType(r);
    Tensor src = imageOf(p);
    src.v = randomValues(r, src.size(), {0.1, 1, false}, formatOf(from));
    if (from == DType::F32) src.v[r.bits() % src.size()] = INFINITY;
    for (double& v : src.v) v = from == DType::F32 ? static_cast<double>(static_cast<float>(v)) : v;
    const Tensor mask = masksOf(p);
    const oracle::Result expected = oracle::dropoutApply(p.dropout, {}, src, mask, imageOf(p));
    std::vector<Argument> args{{viewOf(r, from, src), src.v},
                               {viewOf(r, to, src), std::vector<double>(src.size(), 0.5), true}};
    if (p.desc.writeMask)
      args.push_back(
          {randomView(r, DType::U8,
                      {p.n, static_cast<long>(mask.h), static_cast<long>(mask.w), static_cast<long>(mask.c)}),
           std::vector<double>(mask.size(), 7), true});
    DeviceCase device(p.desc, args);
    device.scalars = p.scalars;
    runEverywhere(devices, c, device, [&](const std::vector<std::vector<float>>& got) {
      EXPECT_TRUE(holds(got[1], to, expected.value.v, expected.magnitude.v, oracle::Dropout::tolerance()));
      if (p.desc.writeMask) EXPECT_EQ(got[2], toFloat(mask.v));
    });
  });
}

TEST(RandomConformance, DropoutGradient) {
  const Devices devices;
  forCases(200, [&](Case& c) {
    Random& r = c.random;
    Problem p = randomProblem(r);
    p.desc.direction = prim::Direction::Data;
    p.desc.writeMask = false;
    const Tensor mask = masksOf(p);
    // A part of the image the mask was made for.
    const long h = r.integer(1, p.h), w = r.integer(1, p.w);
    if (p.desc.maskStride[0] != 0) p.desc.maskOffsetY = static_cast<int>(r.integer(0, p.h - h));
    if (p.desc.maskStride[1] != 0) p.desc.maskOffsetX = static_cast<int>(r.integer(0, p.w - w));
    p.h = h, p.w = w;
    const DType from = r.pick({DType::F32, DType::F16}), to = randomType(r);
    Tensor g = imageOf(p);
    g.v = randomValues(r, g.size(), {-1, 1, false}, formatOf(from));
    const oracle::Result expected =
        oracle::dropoutApply(p.dropout, {}, g, mask, imageOf(p), p.desc.maskOffsetX, p.desc.maskOffsetY);
    std::vector<Argument> args{
        {viewOf(r, from, g), g.v},
        {randomView(r, DType::U8,
                    {p.n, static_cast<long>(mask.h), static_cast<long>(mask.w), static_cast<long>(mask.c)}),
         mask.v},
        {viewOf(r, to, g), std::vector<double>(g.size(), 0.5), true}};
    DeviceCase device(p.desc, args);
    runEverywhere(devices, c, device, [&](const std::vector<std::vector<float>>& got) {
      EXPECT_TRUE(holds(got[2], to, expected.value.v, expected.magnitude.v, oracle::Dropout::tolerance()));
    });
  });
}

TEST(RandomConformance, GradientOutsideTheMaskIsRefused) {
  const auto device = cpu::makeCpuBackend(1);
  prim::Random desc;
  desc.direction = prim::Direction::Data;
  desc.keep = 0.5f;
  desc.maskOffsetX = 1;
  const View image = View::image(DType::F32, 1, 2, 3, 4, 4);
  const std::array<View, 3> views{image, View::contiguous(DType::U8, {1, 2, 3, 4}), image};
  const auto plan = device->prepare(desc, views, {});
  ASSERT_FALSE(plan.ok());
  EXPECT_NE(plan.failure().text.find("reads outside the mask"), std::string::npos) << plan.failure().text;
}

/// Number e of a matrix: word e mod 4 of counter (e div 4, 0, sequence), its upper 24 bits as a fraction.
double uniformAt(const prim::Scalars& s, std::int64_t e) {
  const auto words = oracle::philox4x32({static_cast<std::uint32_t>(e / 4), 0, static_cast<std::uint32_t>(s.u[1]),
                                         static_cast<std::uint32_t>(s.u[1] >> 32)},
                                        {static_cast<std::uint32_t>(s.u[0]), static_cast<std::uint32_t>(s.u[0] >> 32)});
  return static_cast<double>(words[static_cast<std::size_t>(e % 4)] >> 8) / 16777216.0;
}

TEST(RandomConformance, Matrices) {
  const Devices devices;
  forCases(200, [&](Case& c) {
    Random& r = c.random;
    prim::Random desc;
    desc.kind = r.pick({RandomKind::Uniform, RandomKind::Normal});
    const Dims dims{r.integer(1, 30), r.chance(0.1) ? r.integer(20000, 70000) / 30 : r.integer(1, 300)};
    prim::Scalars scalars;
    scalars.u = {r.bits(), r.bits()};
    scalars.f[0] = static_cast<float>(r.real(-3, 0)), scalars.f[1] = static_cast<float>(r.real(0.5, 3));
    if (desc.kind == RandomKind::Normal && r.chance(0.5)) desc.minimum = -2.f, desc.maximum = 2.f;
    const DType t = r.pick({DType::F32, DType::F16});
    std::vector<double> expected, magnitude;
    for (std::int64_t e = 0; e < productOf(dims); ++e) {
      const auto a = static_cast<double>(scalars.f[0]), b = static_cast<double>(scalars.f[1]);
      if (desc.kind == RandomKind::Uniform) {
        expected.push_back(a + uniformAt(scalars, e) * (b - a));
        magnitude.push_back(std::fabs(a) + std::fabs(b));
        continue;
      }
      const double u = uniformAt(scalars, e / 2 * 2) + 1 / 16777216.0,
                   turn = 2 * M_PI * uniformAt(scalars, e / 2 * 2 + 1);
      const double z = std::sqrt(-2 * std::log(u)) * (e % 2 == 0 ? std::cos(turn) : std::sin(turn));
      expected.push_back(std::clamp(a + z * b, static_cast<double>(desc.minimum), static_cast<double>(desc.maximum)));
      magnitude.push_back(std::fabs(a) + 6 * b);
    }
    DeviceCase device(desc, {writtenArgument(r, t, dims)});
    device.scalars = scalars;
    runEverywhere(devices, c, device, [&](const std::vector<std::vector<float>>& got) {
      EXPECT_TRUE(holds(got[0], t, expected, magnitude, {1e-6, 1e-37}));
    });
  });
}

}  // namespace
}  // namespace kovar::test
