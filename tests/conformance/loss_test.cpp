// Losses: value, gradient and label gradient of every type, with every reduction.

#include "oracle/loss.hpp"

#include <gtest/gtest.h>

#include "conformance/memory_case.hpp"

namespace kovar::test {
namespace {

using oracle::Tensor;
using prim::DType;
using prim::LossReduction;
using prim::View;

View viewOf(Random& r, DType t, const Tensor& s) {
  return randomImageView(r, t, static_cast<long>(s.n), static_cast<long>(s.h), static_cast<long>(s.w),
                         static_cast<long>(s.c));
}

struct Problem {
  prim::Loss desc;
  oracle::Loss loss;
  oracle::LossInput in;
  Tensor incoming;
};

Problem randomProblem(Random& r, int index) {
  Problem p;
  oracle::Loss& l = p.loss;
  l.type = static_cast<oracle::LossType>(index % oracle::kLossTypeCount);
  l.reduction = l.type == oracle::LossType::CosineDistance ? oracle::Reduction::Sum
                                                           : static_cast<oracle::Reduction>(r.integer(0, 3));
  l.reduceAcrossBatch = l.reduction != oracle::Reduction::None && r.chance(0.3);
  l.weight = static_cast<double>(static_cast<float>(r.pick({1.0, 0.25, 0.3, -2.0})));
  if (r.chance(0.4)) l.labelSmoothing = 0.125;
  l.numberOfClasses = static_cast<double>(r.integer(1, 10));
  if (r.chance(0.3)) l.delta = 0.5;
  l.epsilon = static_cast<double>(1e-7f);
  p.desc.type = static_cast<std::uint8_t>(l.type);
  p.desc.reduction = static_cast<LossReduction>(l.reduction);
  p.desc.acrossBatch = l.reduceAcrossBatch;
  p.desc.labelSmoothing = static_cast<float>(l.labelSmoothing);
  p.desc.numberOfClasses = static_cast<std::int32_t>(l.numberOfClasses);
  p.desc.delta = static_cast<float>(l.delta);

  const auto n = static_cast<size_t>(r.integer(1, 4)), h = static_cast<size_t>(r.integer(1, 9)),
             w = static_cast<size_t>(r.integer(1, 9));
  const auto c = static_cast<size_t>(r.chance(0.2) ? r.integer(500, 1100) : r.integer(1, 30));
  p.in.predictions = Tensor(n, c > 400 ? 1 : h, c > 400 ? 2 : w, c);
  p.in.labels = p.in.predictions;
  p.in.predictions.v = randomValues(r, p.in.labels.size(), l.predictions());
  p.in.labels.v = randomValues(r, p.in.labels.size(), l.labels());
  if (l.type == oracle::LossType::Hinge)
    for (double& t : p.in.labels.v) t = t < 0.5 ? 0 : 1;
  if (l.type == oracle::LossType::SoftMaxCrossEntropy && r.chance(0.5))
    for (double& t : p.in.labels.v) t = r.chance(0.1) ? 1 : 0;
  if (l.type != oracle::LossType::CosineDistance && r.chance(0.5)) {
    p.desc.weights = true;
    const Tensor& s = p.in.predictions;
    p.in.weights =
        Tensor(r.chance(0.3) ? 1 : s.n, r.chance(0.3) ? 1 : s.h, r.chance(0.3) ? 1 : s.w, r.chance(0.3) ? 1 : s.c);
    for (double& v : p.in.weights.v) v = r.chance(0.3) ? 0 : static_cast<double>(static_cast<float>(r.real(-1, 2)));
  }
  return p;
}

/// Rounds what the device gets, so that both compute from the same numbers.
void store(Tensor& t, DType type) {
  for (double& v : t.v) v = oracle::stored(formatOf(type), v);
}

View lossView(Random& r, const Problem& p) {
  const Tensor& s = p.in.predictions;
  if (p.desc.reduction == LossReduction::None) return viewOf(r, DType::F32, s);
  return View::image(DType::F32, static_cast<long>(s.n), 1, 1, 1, r.chance(0.5) ? 4 : 1);
}

void run(const Devices& devices, Case& c, Problem& p) {
  Random& r = c.random;
  // Differences of nearly equal numbers: half images would only test the rounding.
  const DType type = r.pick({DType::F32, DType::F32, DType::F16});
  store(p.in.predictions, type), store(p.in.labels, type);
  const Tensor& s = p.in.predictions;
  std::vector<Argument> args{{viewOf(r, type, s), s.v}, {viewOf(r, type, s), p.in.labels.v}};
  if (p.desc.weights) args.push_back({viewOf(r, DType::F32, p.in.weights), p.in.weights.v});
  std::size_t lossAt = 0, gradientAt = 0;
  const bool reduced = p.desc.reduction != LossReduction::None;
  if (p.desc.writeLoss) {
    lossAt = args.size();
    args.push_back({lossView(r, p), std::vector<double>(reduced ? s.n : s.size(), 0.5), true});
  }
  DType to = DType::F32;
  if (p.desc.writeGradient) {
    gradientAt = args.size();
    to = r.pick({DType::F32, DType::F16});
    args.push_back({viewOf(r, to, s), std::vector<double>(s.size(), 0.5), true});
  }
  if (p.desc.incoming) {
    p.incoming = reduced ? Tensor(s.n, 1, 1, 1) : s;
    p.incoming.v = randomValues(r, p.incoming.size(), {-2, 2, false});
    args.push_back({lossView(r, p), p.incoming.v});
  }
  DeviceCase device(p.desc, args);
  device.scalars.f[0] = static_cast<float>(p.loss.weight);
  const oracle::Result value = oracle::forwardLoss(p.loss, p.in);
  const oracle::Result gradient =
      p.desc.incoming
          ? oracle::forwardLossGradient(p.loss, p.in, p.incoming, p.desc.labelGradient, p.desc.divideGradient)
          : oracle::lossGradient(p.loss, p.in);
  runEverywhere(devices, c, device, [&](const std::vector<std::vector<float>>& got) {
    // Where a weight is 0, or nothing is left over, the expected value is 0 with magnitude 0: still a result.
    if (p.desc.writeLoss)
      EXPECT_TRUE(holds(got[lossAt], DType::F32, value.value.v, value.magnitude.v, {1e-5, 1e-30})) << p.loss.name();
    if (p.desc.writeGradient)
      EXPECT_TRUE(holds(got[gradientAt], to, gradient.value.v, gradient.magnitude.v, {1e-5, 1e-30})) << p.loss.name();
  });
}

/// As the two-in-one kernel: the gradient knows neither reduction nor incoming gradient.
TEST(LossConformance, ValueAndGradient) {
  const Devices devices;
  forCases(300, [&](Case& c) {
    Problem p = randomProblem(c.random, c.index);
    p.desc.writeLoss = c.random.chance(0.8);
    p.desc.writeGradient = !p.desc.writeLoss || c.random.chance(0.8);
    run(devices, c, p);
  });
}

/// As the gradient of the forward loss: exact derivative times the incoming gradient.
TEST(LossConformance, GradientOfTheForwardLoss) {
  const Devices devices;
  forCases(300, [&](Case& c) {
    Problem p = randomProblem(c.random, c.index);
    p.desc.writeLoss = false;
    p.desc.incoming = true;
    p.desc.labelGradient = c.random.chance(0.4);
    p.desc.divideGradient = c.random.chance(0.7);
    run(devices, c, p);
  });
}

TEST(LossConformance, CosineDistanceTakesSumOnly) {
  const auto device = cpu::makeCpuBackend(1);
  prim::Loss desc;
  desc.type = 7;
  desc.reduction = LossReduction::Mean;
  desc.writeGradient = false;
  const View image = View::image(DType::F32, 1, 1, 1, 4, 4);
  const std::array<View, 3> views{image, image, View::image(DType::F32, 1, 1, 1, 1, 1)};
  const auto plan = device->prepare(desc, views, {});
  ASSERT_FALSE(plan.ok());
  EXPECT_NE(plan.failure().text.find("only the reduction Sum applies"), std::string::npos) << plan.failure().text;
}

}  // namespace
}  // namespace kovar::test
