// NNForwardLoss, NNLossGradient and NNInitialGradient against the oracle: every type and reduction, weights, larger
// labels, scalars from the state.

#include "kovar/MPS/NN/NNLoss.hpp"

#include <cmath>

#include "nn_case.hpp"
#include "oracle/loss.hpp"
#include "support/finite_difference.hpp"

namespace kovar::test {
namespace {

using oracle::LossType;

Ref<MPS::CNNLossDescriptor> publicDescriptor(const oracle::Loss& l) {
  auto d = MPS::CNNLossDescriptor::cnnLossDescriptor(static_cast<MPS::CNNLossType>(l.type),
                                                     static_cast<MPS::CNNReductionType>(l.reduction));
  d->setReduceAcrossBatch(l.reduceAcrossBatch);
  d->setWeight(static_cast<float>(l.weight));
  d->setLabelSmoothing(static_cast<float>(l.labelSmoothing));
  d->setNumberOfClasses(static_cast<std::size_t>(l.numberOfClasses));
  d->setEpsilon(static_cast<float>(l.epsilon));
  d->setDelta(static_cast<float>(l.delta));
  return d;
}

struct LossCase {
  oracle::Loss loss;
  oracle::LossInput in;
  Arrangement arrangement = Arrangement::Joined;
  bool reduced() const { return loss.reduction != oracle::Reduction::None; }
};

LossCase randomLossCase(Random& r, Case& c) {
  LossCase k;
  oracle::Loss& l = k.loss;
  l.type = static_cast<LossType>(r.integer(0, oracle::kLossTypeCount - 1));
  l.reduction = static_cast<oracle::Reduction>(r.integer(0, 3));
  l.reduceAcrossBatch = r.chance(0.3);
  if (r.chance(0.5)) l.weight = static_cast<double>(static_cast<float>(r.real(-2, 2)));
  if (r.chance(0.4)) l.labelSmoothing = 0.125, l.numberOfClasses = static_cast<double>(r.integer(1, 10));
  if (r.chance(0.3)) l.epsilon = static_cast<double>(1e-3f);
  if (r.chance(0.5)) l.delta = 0.75;
  if (l.type == LossType::CosineDistance) l.reduction = oracle::Reduction::Sum;
  const std::size_t n = r.size(1, 3), h = r.size(1, 5), w = r.size(1, 5), channels = r.size(1, 9);
  k.arrangement = r.pick({Arrangement::Separate, Arrangement::Joined});
  k.in.predictions = randomTensor(r, n, h, w, channels, l.predictions());
  k.in.labels = randomTensor(r, n, h + (r.chance(0.2) ? 1 : 0), w + (r.chance(0.2) ? 2 : 0),
                             channels + (r.chance(0.3) ? r.size(1, 3) : 0), l.labels());
  if (l.type != LossType::CosineDistance && r.chance(0.5)) {
    const auto side = [&](std::size_t s) { return r.chance(0.3) ? std::size_t{1} : s; };
    k.in.weights = randomTensor(r, n, side(h), side(w), side(channels), {-1, 2, false});
    for (double& v : k.in.weights.v)
      if (r.chance(0.3)) v = 0;
  }
  c.text = std::string(l.name()) + " reduction " + std::to_string(static_cast<int>(l.reduction)) +
           (l.reduceAcrossBatch ? " across " : " ") + nameOf(k.arrangement) + " " + k.in.predictions.shape() +
           " labels " + k.in.labels.shape() + " weights " + k.in.weights.shape();
  return k;
}

MPS::ImageBatch imagesFor(const Tensor& t, Arrangement a) {
  return t.size() ? imagesOf(t, Format::Float32, a) : MPS::ImageBatch{};
}

TEST(NnForwardLoss, MatchesTheOracle) {
  forCases(400, [](Case& c) {
    Random& r = c.random;
    const LossCase k = randomLossCase(r, c);
    MPS::NNForwardLoss kernel(cpuDevice(), publicDescriptor(k.loss));
    kernel.setDestinationImageAllocator(float32Images());
    const bool automatic = r.chance(0.5);
    const Tensor& p = k.in.predictions;
    MPS::ImageBatch result;
    runOnCpu([&](const auto& buffer) {
      const auto source = imagesFor(p, k.arrangement), labels = imagesFor(k.in.labels, k.arrangement),
                 weights = imagesFor(k.in.weights, k.arrangement);
      if (automatic) {
        result = kernel.encodeBatch(buffer, source, labels, weights, nullptr, false);
        return;
      }
      result = imagesOf(k.reduced() ? Tensor(p.n, 1, 1, 1, 9.0) : Tensor(p.n, p.h, p.w, p.c, 9.0), Format::Float32,
                        k.arrangement);
      kernel.encodeBatch(buffer, source, labels, weights, MPS::StateBatch{}, result);
    });
    EXPECT_TRUE(
        matches(tensorOf(result), oracle::forwardLoss(k.loss, k.in), Format::Float32, oracle::Loss::tolerance()));
  });
}

TEST(NnLossGradient, MatchesTheOracle) {
  forCases(500, [](Case& c) {
    Random& r = c.random;
    const LossCase k = randomLossCase(r, c);
    const bool byLabel = r.chance(0.3), divides = r.chance(0.7), fromState = r.chance(0.4), one = r.chance(0.3);
    const Tensor& p = k.in.predictions;
    Tensor incoming =
        randomTensor(r, p.n, k.reduced() ? 1 : p.h, k.reduced() ? 1 : p.w, k.reduced() ? 1 : p.c, {-2, 2, false});
    Tensor given = incoming;
    if (!k.reduced() && one) {  // one number an image serves every element
      given = randomTensor(r, p.n, 1, 1, 1, {-2, 2, false});
      for (std::size_t i = 0; i < incoming.size(); ++i) incoming.v[i] = given.v[i / (p.h * p.w * p.c)];
    }
    oracle::Loss other = k.loss;
    if (fromState) other.weight = 3, other.labelSmoothing = 0.5, other.epsilon = 0.1, other.delta = 2;
    MPS::NNForwardLoss forward(cpuDevice(), publicDescriptor(k.loss));
    MPS::NNLossGradient kernel(cpuDevice(), publicDescriptor(other));
    kernel.setComputeLabelGradients(byLabel);
    kernel.setLossMeanInGradient(divides);
    kernel.setDestinationImageAllocator(float32Images());
    MPS::ImageBatch result;
    MPS::StateBatch states;
    runOnCpu([&](const auto& buffer) {
      const auto source = imagesFor(p, k.arrangement), labels = imagesFor(k.in.labels, k.arrangement),
                 weights = imagesFor(k.in.weights, k.arrangement);
      if (fromState) forward.encodeBatch(buffer, source, labels, weights, &states, true);
      result = kernel.encodeBatch(buffer, imagesFor(given, k.arrangement), source, labels, weights, states);
    });
    for (const auto& s : states) EXPECT_EQ(s->readCount(), 0u);
    oracle::Result expected = oracle::forwardLossGradient(k.loss, k.in, incoming, byLabel, divides);
    c.text += std::string(byLabel ? " by label" : "") + (divides ? "" : " undivided") + (fromState ? " state" : "");
    EXPECT_TRUE(matches(tensorOf(result), expected, Format::Float32, oracle::Loss::tolerance()));
  });
}

// By prediction and by label, every type and reduction: central differences of the value alone.
TEST(NnLossGradient, IsTheNumericDerivative) {
  forCases(120, [](Case& c) {
    Random& r = c.random;
    oracle::Loss l;
    l.type = static_cast<LossType>(r.integer(0, oracle::kLossTypeCount - 1));
    l.reduction =
        l.type == LossType::CosineDistance ? oracle::Reduction::Sum : static_cast<oracle::Reduction>(r.integer(0, 3));
    l.weight = 1.5, l.delta = 0.75, l.epsilon = static_cast<double>(1e-3f);
    if (r.chance(0.3)) l.labelSmoothing = 0.125, l.numberOfClasses = 4;
    const std::size_t n = r.size(1, 2), h = r.size(1, 3), w = r.size(1, 3), channels = r.size(1, 4);
    const bool byLabel = r.chance(0.4), reduced = l.reduction != oracle::Reduction::None;
    // Away from the ends, where logarithms grow without bound.
    const auto inner = [](const oracle::Domain& d) {
      return oracle::Domain{d.low + 0.2 * (d.high - d.low), d.high - 0.2 * (d.high - d.low), false};
    };
    const oracle::LossInput in{randomTensor(r, n, h, w, channels, inner(l.predictions())),
                               randomTensor(r, n, h, w, channels, {0.2, 0.8, false}),
                               {}};
    const Tensor incoming =
        randomTensor(r, n, reduced ? 1 : h, reduced ? 1 : w, reduced ? 1 : channels, {0.5, 2, false});
    c.text = std::string(l.name()) + " reduction " + std::to_string(static_cast<int>(l.reduction)) +
             (byLabel ? " by label " : " ") + in.predictions.shape();
    MPS::NNLossGradient kernel(cpuDevice(), publicDescriptor(l));
    kernel.setComputeLabelGradients(byLabel);
    kernel.setDestinationImageAllocator(float32Images());
    MPS::ImageBatch result;
    runOnCpu([&](const auto& buffer) {
      result = kernel.encodeBatch(buffer, imagesFor(incoming, Arrangement::Joined),
                                  imagesFor(in.predictions, Arrangement::Joined),
                                  imagesFor(in.labels, Arrangement::Joined), {}, MPS::StateBatch{});
    });
    const std::vector<double> numeric = numericGradient(
        [&](const std::vector<double>& v) {
          oracle::LossInput moved = in;
          (byLabel ? moved.labels : moved.predictions).v = v;
          return dot(oracle::forwardLoss(l, moved).value.v, incoming.v);
        },
        byLabel ? in.labels.v : in.predictions.v, 1e-6);
    const Tensor got = tensorOf(result);
    for (std::size_t i = 0; i < numeric.size(); ++i)
      EXPECT_NEAR(got.v[i], numeric[i], 2e-4 * (1 + std::fabs(numeric[i]))) << i;
  });
}

TEST(NnForwardLoss, ScalarsMayChangeBetweenEncodes) {
  MPS::NNForwardLoss kernel(cpuDevice(), publicDescriptor({}));
  EXPECT_EQ(kernel.weight(), 1.f);
  EXPECT_EQ(kernel.epsilon(), 1e-7f);
  kernel.setWeight(2.f), kernel.setLabelSmoothing(0.25f), kernel.setEpsilon(0.5f), kernel.setDelta(3.f);
  const auto copy = std::dynamic_pointer_cast<MPS::NNForwardLoss>(kernel.copy(cpuDevice()));
  ASSERT_TRUE(copy);
  EXPECT_EQ(copy->weight() + copy->labelSmoothing() + copy->epsilon() + copy->delta(), 5.75f);
  EXPECT_EQ(copy->numberOfClasses(), 1u);
  MPS::NNLossGradient back(cpuDevice(), publicDescriptor({}));
  EXPECT_FALSE(back.computeLabelGradients());
  EXPECT_TRUE(back.lossMeanInGradient());
  EXPECT_TRUE(back.isBackwards());
  const auto x = imageOf(Tensor(1, 1, 2, 1, 3.0)), t = imageOf(Tensor(1, 1, 2, 1, 1.0));
  const auto value = imageOf(Tensor(1, 1, 2, 1));
  runOnCpu([&](const auto& buffer) {
    kernel.encodeBatch(buffer, {x}, {t}, {}, MPS::StateBatch{}, {value});
    kernel.setWeight(5.f);  // what counts is the value when encoded
  });
  EXPECT_EQ(tensorOf(*value).v, (std::vector<double>{8, 8}));
}

TEST(NnInitialGradient, FillsWithOnes) {
  MPS::NNInitialGradient kernel(cpuDevice());
  kernel.setDestinationImageAllocator(float32Images());
  const auto source = imageOf(Tensor(2, 3, 4, 5, -1.0));
  Ref<MPS::Image> result;
  runOnCpu([&](const auto& buffer) { result = kernel.encode(buffer, source); });
  const Tensor t = tensorOf(*result);
  EXPECT_TRUE(t.sameShape(Tensor(2, 3, 4, 5)));
  EXPECT_EQ(t.v, std::vector<double>(120, 1.0));
}

}  // namespace
}  // namespace kovar::test
