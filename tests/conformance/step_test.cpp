// Optimizer updates against the oracle; the result may be the values' own memory.

#include <gtest/gtest.h>

#include <bit>

#include "conformance/memory_case.hpp"
#include "oracle/optimizer.hpp"

namespace kovar::test {
namespace {

using prim::DType;
using prim::StepKind;

constexpr std::size_t kStates[] = {0, 1, 1, 1, 2, 3};

std::vector<double> asFloats(std::vector<double> v) {
  for (double& x : v) x = static_cast<double>(static_cast<float>(x));
  return v;
}

TEST(StepConformance, EveryOptimizer) {
  const Devices devices;
  forCases(300, [&](Case& c) {
    Random& r = c.random;
    prim::Step desc;
    desc.kind = static_cast<StepKind>(c.index % 6);
    oracle::Optimizer o;
    o.learningRate = static_cast<double>(static_cast<float>(r.pick({0.01, 0.1, -0.25, 1e-3})));
    o.gradientRescale = static_cast<double>(static_cast<float>(r.pick({1.0, 0.125, 3.0})));
    o.applyGradientClipping = desc.clip = r.chance(0.4);
    o.gradientClipMin = -0.5, o.gradientClipMax = 0.75;
    desc.regularization = static_cast<std::uint8_t>(r.integer(0, 2));
    o.regularization = static_cast<oracle::Regularization>(desc.regularization);
    o.regularizationScale =
        desc.regularization == 0 ? 0 : static_cast<double>(static_cast<float>(r.pick({0.01, -1.0, 0.3})));
    const double first = desc.kind == StepKind::RmsProp                                  ? 0.9
                         : desc.kind == StepKind::Adam || desc.kind == StepKind::AmsGrad ? 0.9
                                                                                         : 0.875;
    oracle::Adam adam;
    adam.epsilon = static_cast<double>(1e-8f);
    adam.timeStep = static_cast<size_t>(r.integer(0, 1000));

    const Dims dims = r.chance(0.5) ? Dims{r.chance(0.1) ? r.integer(40000, 70000) : r.integer(1, 2000)}
                                    : Dims{r.integer(1, 40), r.integer(1, 60)};
    const DType type = r.pick({DType::F32, DType::F32, DType::F16});
    std::vector<Argument> args{readArgument(r, type, dims, oracle::Optimizer::domain()),
                               readArgument(r, type, dims, oracle::Optimizer::domain())};
    if (desc.regularization == 1) args[1].values[0] = 0;
    for (std::size_t k = 0; k < kStates[c.index % 6]; ++k) {
      const bool square = desc.kind == StepKind::RmsProp || k > 0;
      args.push_back(readArgument(r, DType::F32, dims, {square ? 0.01 : -1.0, 1, false}));
      args.back().written = true;
    }
    args.push_back(writtenArgument(r, type, dims));

    const std::vector<double>&g = args[0].values, &v = args[1].values;
    oracle::StepResult expected;
    prim::Scalars s;
    s.f = {static_cast<float>(o.learningRate),
           static_cast<float>(first),
           0.999f,
           1e-8f,
           static_cast<float>(o.gradientRescale),
           static_cast<float>(o.gradientClipMin),
           static_cast<float>(o.gradientClipMax),
           static_cast<float>(o.regularizationScale)};
    switch (desc.kind) {
      case StepKind::Sgd:
        expected = oracle::sgdStep(o, 0, false, g, v, {});
        break;
      case StepKind::SgdMomentum:
        expected = oracle::sgdStep(o, first, false, g, v, args[2].values);
        break;
      case StepKind::SgdNesterov:
        expected = oracle::sgdStep(o, first, true, g, v, args[2].values);
        break;
      case StepKind::RmsProp:
        expected = oracle::rmsPropStep(o, first, adam.epsilon, g, v, args[2].values);
        s.u[0] = std::bit_cast<std::uint64_t>(first);
        break;
      case StepKind::Adam:
      case StepKind::AmsGrad: {
        const auto k = static_cast<double>(adam.timeStep + 1);
        s.f[0] =
            static_cast<float>(o.learningRate * std::sqrt(1 - std::pow(adam.beta2, k)) / (1 - std::pow(adam.beta1, k)));
        s.u = {std::bit_cast<std::uint64_t>(adam.beta1), std::bit_cast<std::uint64_t>(adam.beta2)};
        const bool amsGrad = desc.kind == StepKind::AmsGrad;
        expected = oracle::adamStep(o, adam, g, v, args[2].values, args[3].values,
                                    amsGrad ? args[4].values : std::vector<double>{});
        break;
      }
    }
    s.f[3] = 1e-8f;
    DeviceCase device(desc, args);
    device.scalars = s;
    runEverywhere(devices, c, device, [&](const std::vector<std::vector<float>>& got) {
      EXPECT_TRUE(holds(got.back(), type, expected.values, expected.valuesMagnitude, oracle::Optimizer::tolerance()));
      if (kStates[c.index % 6] > 0)
        EXPECT_TRUE(holds(got[2], DType::F32, expected.state, expected.stateMagnitude, oracle::Optimizer::tolerance()))
            << "first state";
      if (kStates[c.index % 6] > 1)
        EXPECT_TRUE(holds(got[3], DType::F32, expected.secondState, expected.secondStateMagnitude,
                          oracle::Optimizer::tolerance()))
            << "second state";
      if (kStates[c.index % 6] > 2) {
        for (std::size_t i = 0; i < g.size(); ++i)
          EXPECT_EQ(got[4][i], std::max(static_cast<float>(args[4].values[i]), got[3][i])) << "element " << i;
      }
    });
  });
}

TEST(StepConformance, InPlaceGivesTheSameBits) {
  const auto device = cpu::makeCpuBackend(2);
  Random r(17);
  const prim::View view = prim::View::contiguous(DType::F32, {50001});
  const std::array<prim::View, 5> views{view, view, view, view, view};
  const auto bits = [&](std::size_t count) { return toFloat(asFloats(randomValues(r, count, {0.01, 1, false}))); };
  std::vector<float> g = bits(50001), v = bits(50001), m = bits(50001), u = bits(50001), out(50001), m2 = m, u2 = u;
  auto plan = device->prepare(prim::Step{StepKind::Adam}, views, {});
  ASSERT_TRUE(plan.ok());
  prim::Scalars s;
  s.f = {0.01f, 0.9f, 0.999f, 1e-8f, 1.f};
  const auto run = [&](std::vector<float>& mm, std::vector<float>& uu, std::vector<float>& result) {
    prim::Bound bound[5];
    int i = 0;
    for (std::vector<float>* a : {&g, &v, &mm, &uu, &result}) bound[i++].data = reinterpret_cast<std::byte*>(a->data());
    prim::Invocation inv;
    inv.args = bound;
    inv.scalars = &s;
    ASSERT_TRUE(device->enqueue(**device->makeStream(), **plan, inv).ok());
  };
  run(m, u, out);
  run(m2, u2, v);
  EXPECT_EQ(out, v);
  EXPECT_EQ(m, m2);
}

}  // namespace
}  // namespace kovar::test
