// Normalizations: by neighbours, and by the mean and variance of regions.

#include <gtest/gtest.h>

#include "conformance/memory_case.hpp"
#include "oracle/normalization.hpp"

namespace kovar::test {
namespace {

using oracle::Tensor;
using prim::DType;
using prim::LocalNormKind;
using prim::NormTask;

Argument imageArgument(Random& r, DType t, const Tensor& like, const oracle::Domain& domain, bool written = false) {
  const auto dim = [](std::size_t v) { return static_cast<std::int64_t>(v); };
  Argument a{randomImageView(r, t, dim(like.n), dim(like.h), dim(like.w), dim(like.c)), {}, written};
  a.values = randomValues(r, like.size(), domain, formatOf(t));
  if (t == DType::F32)
    for (double& v : a.values) v = static_cast<double>(static_cast<float>(v));
  return a;
}

Tensor with(const Tensor& like, const std::vector<double>& values) {
  Tensor t(like.n, like.h, like.w, like.c);
  t.v = values;
  return t;
}

DType anySource(Random& r) { return r.pick({DType::F32, DType::F32, DType::F32, DType::F16, DType::Unorm8}); }

struct LocalCase {
  prim::LocalNorm desc;
  oracle::LocalNorm op;
  Tensor source, windows;
};

LocalCase randomLocalCase(Random& r) {
  LocalCase c;
  const auto kind = r.pick({LocalNormKind::CrossChannel, LocalNormKind::Spatial, LocalNormKind::Contrast});
  c.desc.kind = kind;
  c.op.kind = static_cast<oracle::LocalNormKind>(kind);
  const std::size_t n = r.size(1, 2);
  std::size_t h = r.size(1, 9), w = r.size(1, 9);
  const std::size_t channels = r.chance(0.2) ? r.size(30, 70) : r.size(1, 20);
  c.source = Tensor(n, h, w, channels);
  if (kind == LocalNormKind::CrossChannel) {
    c.desc.channels = static_cast<std::int32_t>(r.integer(1, 11));
    c.op.kernelSize = c.desc.channels;
  } else {
    for (prim::Window* axis : {&c.desc.y, &c.desc.x}) {
      axis->kernel = static_cast<std::int32_t>(r.integer(1, 6));
      axis->pad = static_cast<std::int32_t>(r.integer(-2, 5));
    }
    c.op.kernelHeight = c.desc.y.kernel, c.op.kernelWidth = c.desc.x.kernel;
    c.op.at.offset = {c.desc.x.kernel / 2 - c.desc.x.pad, c.desc.y.kernel / 2 - c.desc.y.pad, 0};
    if (r.chance(0.6)) h = r.size(1, 12), w = r.size(1, 12);
  }
  c.windows = Tensor(n, h, w, channels);
  c.desc.alpha = static_cast<float>(r.pick({0.0, 1e-4, 0.5, 1.0, 2.5}));
  c.desc.beta = static_cast<float>(r.pick({0.75, 0.5, 5.0, 1.0, 0.25, 2.25, 0.0, 0.6, -0.5, 9.0}));
  c.desc.delta = static_cast<float>(r.pick({1.0, 2.0, 0.125, 1.0 / 1024}));
  c.desc.p0 = static_cast<float>(r.pick({1.0, 0.5}));
  c.desc.pm = static_cast<float>(r.pick({0.0, 0.25}));
  c.desc.ps = static_cast<float>(r.pick({1.0, -2.0}));
  c.op.alpha = static_cast<double>(c.desc.alpha), c.op.beta = static_cast<double>(c.desc.beta);
  c.op.delta = static_cast<double>(c.desc.delta);
  c.op.p0 = static_cast<double>(c.desc.p0), c.op.pm = static_cast<double>(c.desc.pm);
  c.op.ps = static_cast<double>(c.desc.ps);
  return c;
}

TEST(LocalNormConformance, Forward) {
  const Devices devices;
  forCases(300, [&](Case& c) {
    Random& r = c.random;
    const LocalCase l = randomLocalCase(r);
    const DType from = anySource(r), to = randomType(r);
    std::vector<Argument> args{imageArgument(r, from, l.source, {from == DType::Unorm8 ? 0.0 : -2.0, 2, false}),
                               imageArgument(r, to, l.windows, {0, 1, false}, true)};
    const oracle::Result expected = oracle::localNormForward(l.op, with(l.source, args[0].values), l.windows);
    runEverywhere(devices, c, DeviceCase(l.desc, args), [&](const std::vector<std::vector<float>>& got) {
      EXPECT_TRUE(holds(got[1], to, expected.value.v, expected.magnitude.v, oracle::LocalNorm::tolerance()));
    });
  });
}

TEST(LocalNormConformance, Gradient) {
  const Devices devices;
  forCases(300, [&](Case& c) {
    Random& r = c.random;
    LocalCase l = randomLocalCase(r);
    l.desc.direction = prim::Direction::Data;
    const DType from = anySource(r), to = r.pick({DType::F32, DType::F32, DType::F16});
    std::vector<Argument> args{imageArgument(r, r.pick({DType::F32, DType::F16}), l.windows, {-1, 1, false}),
                               imageArgument(r, from, l.source, {from == DType::Unorm8 ? 0.0 : -2.0, 2, false}),
                               imageArgument(r, to, l.source, {0, 1, false}, true)};
    const oracle::Result expected =
        oracle::localNormGradient(l.op, with(l.source, args[1].values), with(l.windows, args[0].values));
    runEverywhere(devices, c, DeviceCase(l.desc, args), [&](const std::vector<std::vector<float>>& got) {
      EXPECT_TRUE(holds(got[2], to, expected.value.v, expected.magnitude.v, {6e-6, 1e-37}));
    });
  });
}

// Bands of rows and parts of the channels, as large images are cut.
TEST(LocalNormConformance, LargeImages) {
  const Devices devices;
  forCases(6, [&](Case& c) {
    Random& r = c.random;
    LocalCase l = randomLocalCase(r);
    const auto [h, w, ch] = r.pick<std::array<std::size_t, 3>>({{40, 300, 40}, {70, 60, 24}, {300, 11, 3}});
    l.source = Tensor(1, h, w, ch);
    l.windows = l.source;
    const bool gradient = c.index % 2 == 1;
    const Argument source = imageArgument(r, DType::F32, l.source, {-2, 2, false});
    const Argument given = imageArgument(r, DType::F32, l.windows, {-1, 1, false});
    std::vector<Argument> args{source, imageArgument(r, DType::F32, l.windows, {0, 1, false}, true)};
    oracle::Result expected;
    if (gradient) {
      l.desc.direction = prim::Direction::Data;
      args.insert(args.begin(), given);
      expected = oracle::localNormGradient(l.op, with(l.source, source.values), with(l.windows, given.values));
    } else {
      expected = oracle::localNormForward(l.op, with(l.source, source.values), l.windows);
    }
    runEverywhere(devices, c, DeviceCase(l.desc, args), [&](const std::vector<std::vector<float>>& got) {
      EXPECT_TRUE(holds(got.back(), DType::F32, expected.value.v, expected.magnitude.v, {6e-6, 1e-37}));
    });
  });
}

struct RegionCase {
  Tensor source;
  bool perImage = true;
  std::size_t groups = 1;
  oracle::Affine affine;
  std::size_t regions() const { return perImage ? source.n : 1; }
};

RegionCase randomRegionCase(Random& r) {
  RegionCase c;
  c.perImage = r.chance(0.6);
  const std::size_t n = r.size(1, 4);
  if (r.chance(0.15))
    c.source = Tensor(n, r.size(20, 60), r.size(20, 40), r.size(1, 12));
  else
    c.source = Tensor(n, r.size(1, 12), r.size(1, 14), r.chance(0.2) ? r.size(30, 140) : r.size(1, 20));
  c.groups = c.source.c;
  if (r.chance(0.4)) {
    c.groups = r.size(1, c.source.c);
    while (c.source.c % c.groups != 0) --c.groups;
  }
  c.affine.epsilon = static_cast<double>(r.pick({1e-5f, 1e-3f, 0.5f}));
  for (std::size_t i = 0; i < c.source.c; ++i) {
    c.affine.gamma.push_back(static_cast<double>(static_cast<float>(r.real(-2, 2))));
    c.affine.beta.push_back(static_cast<double>(static_cast<float>(r.real(-1, 1))));
  }
  return c;
}

/// A float32 argument [first, 1, 1, last].
Argument vectorArgument(Random& r, std::size_t first, std::size_t last, std::vector<double> values, bool written) {
  prim::View v = prim::View::contiguous(
      DType::F32, {static_cast<std::int64_t>(first), 1, 1, static_cast<std::int64_t>(last)}, r.chance(0.3) ? 5 : 0);
  if (r.chance(0.3)) v.strides[0] += r.integer(1, 5);
  if (values.empty()) values.assign(first * last, 0.5);
  for (double& x : values) x = static_cast<double>(static_cast<float>(x));
  return {v, std::move(values), written};
}

/// As float32 holds them: what a run with stored moments sees.
oracle::Moments rounded(oracle::Moments m) {
  for (auto* v : {&m.mean, &m.variance})
    for (double& x : *v) x = static_cast<double>(static_cast<float>(x));
  return m;
}

/// Scale of rounding of the moments themselves.
std::vector<double> sizes(const Tensor& source, const oracle::Moments& m, bool squared) {
  std::vector<double> out(m.mean.size(), 0.0);
  for (std::size_t i = 0; i < source.size(); ++i) {
    const std::size_t k = m.index(i / (source.c * source.w * source.h), i % source.c, source.c);
    const double d = std::fabs(source.v[i]);
    out[k] += (squared ? m.variance[k] + std::fabs(source.v[i] - m.mean[k]) : d) / m.count;
  }
  return out;
}

TEST(NormConformance, Statistics) {
  const Devices devices;
  forCases(200, [&](Case& c) {
    Random& r = c.random;
    const RegionCase k = randomRegionCase(r);
    const DType from = anySource(r);
    const double shift = from == DType::F32 && r.chance(0.3) ? 100 : 0;  // a large mean, little variance
    Argument source = imageArgument(r, from, k.source, {from == DType::Unorm8 ? 0.0 : shift - 2, shift + 2, false});
    const Tensor s = with(k.source, source.values);
    const oracle::Moments m = oracle::momentsOf(s, k.perImage, k.groups);
    prim::Norm desc;
    desc.task = NormTask::Statistics;
    const std::vector<Argument> args{source, vectorArgument(r, k.regions(), k.groups, {}, true),
                                     vectorArgument(r, k.regions(), k.groups, {}, true)};
    runEverywhere(devices, c, DeviceCase(desc, args), [&](const std::vector<std::vector<float>>& got) {
      EXPECT_TRUE(holds(got[1], DType::F32, m.mean, sizes(s, m, false), {1e-6, 1e-37}));
      EXPECT_TRUE(holds(got[2], DType::F32, m.variance, sizes(s, m, true), {2e-5, 1e-12}));
    });
  });
}

// However a batch is split, its statistics are those of the whole.
TEST(NormConformance, SplitStatistics) {
  const Devices devices;
  forCases(100, [&](Case& c) {
    Random& r = c.random;
    RegionCase k = randomRegionCase(r);
    k.perImage = false;
    Tensor whole = randomTensor(r, k.source.n + 2, k.source.h, k.source.w, k.source.c, {-3, 5, false});
    for (double& v : whole.v) v = static_cast<double>(static_cast<float>(v));
    const std::size_t perImage = whole.h * whole.w * whole.c;
    Tensor first(2, whole.h, whole.w, whole.c), second = k.source;
    std::copy_n(whole.v.begin(), 2 * perImage, first.v.begin());
    std::copy(whole.v.begin() + static_cast<std::ptrdiff_t>(2 * perImage), whole.v.end(), second.v.begin());
    const oracle::Moments before = rounded(oracle::momentsOf(first, false, k.groups));
    const oracle::Moments all = oracle::momentsOf(whole, false, k.groups);
    Argument source = imageArgument(r, DType::F32, second, {-1, 1, false});
    source.values = second.v;
    prim::Norm desc;
    desc.task = NormTask::Statistics;
    desc.accumulate = true;
    DeviceCase device(desc, {source, vectorArgument(r, 1, k.groups, before.mean, true),
                             vectorArgument(r, 1, k.groups, before.variance, true)});
    device.scalars.u[0] = static_cast<std::uint64_t>(before.count);
    runEverywhere(devices, c, device, [&](const std::vector<std::vector<float>>& got) {
      EXPECT_TRUE(holds(got[1], DType::F32, all.mean, sizes(whole, all, false), {1e-6, 1e-37}));
      EXPECT_TRUE(holds(got[2], DType::F32, all.variance, sizes(whole, all, true), {2e-5, 1e-12}));
    });
  });
}

TEST(NormConformance, Forward) {
  const Devices devices;
  forCases(200, [&](Case& c) {
    Random& r = c.random;
    const RegionCase k = randomRegionCase(r);
    const DType from = anySource(r), to = randomType(r);
    Argument source = imageArgument(r, from, k.source, {from == DType::Unorm8 ? 0.0 : -2.0, 2, false});
    const Tensor s = with(k.source, source.values);
    oracle::Moments m = oracle::momentsOf(s, k.perImage, k.groups);
    prim::Norm desc;
    desc.epsilon = static_cast<float>(k.affine.epsilon);
    desc.task = r.chance(0.5) ? NormTask::Normalize : NormTask::Apply;
    const bool own = desc.task == NormTask::Normalize;
    if (!own) m = rounded(m);
    std::vector<Argument> args{source,
                               vectorArgument(r, k.regions(), k.groups, own ? std::vector<double>{} : m.mean, own),
                               vectorArgument(r, k.regions(), k.groups, own ? std::vector<double>{} : m.variance, own),
                               vectorArgument(r, 1, k.source.c, k.affine.gamma, false),
                               vectorArgument(r, 1, k.source.c, k.affine.beta, false),
                               imageArgument(r, to, k.source, {0, 1, false}, true)};
    oracle::Result expected = oracle::normalize(k.affine, m, s);
    if (r.chance(0.3)) {
      desc.post = testProgram();
      args.push_back(imageArgument(r, DType::F32, k.source, {-1, 1, false}));
      args.push_back(imageArgument(r, DType::F32, k.source, {0, 1, false}, true));
      for (std::size_t i = 0; i < expected.value.v.size(); ++i) {
        const double half = 0.5 * expected.value.v[i] + 0.25;
        expected.value.v[i] = std::max(half + args[6].values[i], -0.75);
        expected.magnitude.v[i] += 1.25;
      }
    }
    runEverywhere(devices, c, DeviceCase(desc, args), [&](const std::vector<std::vector<float>>& got) {
      EXPECT_TRUE(holds(got[5], to, expected.value.v, expected.magnitude.v, {own ? 1e-5 : 1e-6, 1e-37}));
    });
  });
}

TEST(NormConformance, Gradient) {
  const Devices devices;
  forCases(300, [&](Case& c) {
    Random& r = c.random;
    const RegionCase k = randomRegionCase(r);
    const DType from = anySource(r), to = r.pick({DType::F32, DType::F32, DType::F16});
    Argument source = imageArgument(r, from, k.source, {from == DType::Unorm8 ? 0.0 : -2.0, 2, false});
    const Argument given = imageArgument(r, r.pick({DType::F32, DType::F16}), k.source, {-1, 1, false});
    const Tensor s = with(k.source, source.values), g = with(k.source, given.values);
    const oracle::Moments m = rounded(oracle::momentsOf(s, k.perImage, k.groups));
    const oracle::NormSums sums = oracle::normSums(k.affine, m, g, s);
    prim::Norm desc;
    desc.epsilon = static_cast<float>(k.affine.epsilon);
    desc.task = r.pick({NormTask::Sums, NormTask::Data, NormTask::Gradient});
    const bool writes = desc.task != NormTask::Data, constant = writes ? false : r.chance(0.3);
    std::vector<Argument> args{given, source, vectorArgument(r, k.regions(), k.groups, m.mean, false),
                               vectorArgument(r, k.regions(), k.groups, m.variance, false)};
    if (desc.task != NormTask::Sums) args.push_back(vectorArgument(r, 1, k.source.c, k.affine.gamma, false));
    const std::size_t at = args.size();
    std::vector<double> gamma = sums.gamma, beta = sums.beta;
    if (desc.task == NormTask::Sums && r.chance(0.4)) {
      desc.accumulate = true;
      for (auto* v : {&gamma, &beta})
        for (double& x : *v) x += 0.5;
    }
    args.push_back(vectorArgument(r, k.regions(), k.source.c, writes ? std::vector<double>{} : sums.gamma, writes));
    args.push_back(vectorArgument(r, k.regions(), k.source.c, writes ? std::vector<double>{} : sums.beta, writes));
    if (desc.task != NormTask::Sums) args.push_back(imageArgument(r, to, k.source, {0, 1, false}, true));
    const oracle::Result expected = oracle::normGradient(k.affine, m, sums, g, s, constant);
    DeviceCase device(desc, args);
    device.scalars.u[0] = constant ? 0 : static_cast<std::uint64_t>(m.count);
    runEverywhere(devices, c, device, [&](const std::vector<std::vector<float>>& got) {
      if (writes) {
        std::vector<double> gammaSize = sums.gammaMagnitude, betaSize = sums.betaMagnitude;
        for (auto* v : {&gammaSize, &betaSize})
          for (double& x : *v) x += 0.5;
        EXPECT_TRUE(holds(got[at], DType::F32, gamma, gammaSize, {3e-6, 1e-37}));
        EXPECT_TRUE(holds(got[at + 1], DType::F32, beta, betaSize, {3e-6, 1e-37}));
      }
      if (desc.task != NormTask::Sums)
        EXPECT_TRUE(holds(got[at + 2], to, expected.value.v, expected.magnitude.v, {4e-6, 1e-37}));
    });
  });
}

// Equal values have a variance of exactly 0: with the smallest epsilon the result is still exactly beta.
TEST(NormConformance, EqualValuesGiveBeta) {
  const auto device = cpu::makeCpuBackend(2);
  const std::int64_t c = 5, pixels = 1000;
  std::vector<float> x(static_cast<std::size_t>(3 * pixels * 8), 0.1f), y(x.size(), 7.f), mean(16), variance(16, 9.f);
  std::vector<float> gamma(8, 3.f), beta(8, 0.3f);
  const prim::View image = prim::View::image(DType::F32, 3, 10, 100, c, 8);
  for (const bool perImage : {false, true}) {
    const prim::View moments = prim::View::contiguous(DType::F32, {perImage ? 3 : 1, 1, 1, c});
    const prim::View vector = prim::View::contiguous(DType::F32, {1, 1, 1, c});
    prim::Norm desc;
    desc.task = NormTask::Normalize;
    desc.epsilon = 1.17549435e-38f;
    const std::array<prim::View, 6> views{image, moments, moments, vector, vector, image};
    auto plan = device->prepare(desc, views, {});
    ASSERT_TRUE(plan.ok()) << plan.failure().text;
    std::vector<prim::Bound> bound;
    for (auto* v : {&x, &mean, &variance, &gamma, &beta, &y})
      bound.push_back({reinterpret_cast<std::byte*>(v->data()), nullptr});
    std::vector<std::byte> scratch((*plan)->scratchBytes);
    prim::Invocation inv;
    inv.args = bound;
    inv.scratch = scratch.data();
    ASSERT_TRUE(device->enqueue(**device->makeStream(), **plan, inv).ok());
    for (std::int64_t p = 0; p < 3 * pixels; ++p)
      for (std::int64_t k = 0; k < c; ++k) ASSERT_EQ(y[static_cast<std::size_t>(p * 8 + k)], 0.3f);
  }
}

}  // namespace
}  // namespace kovar::test
