// CNNYOLOLoss against the oracle and PyTorch: terms, scales, reductions, weights, arrangements, formats.

#include "kovar/MPS/NN/CNNYOLOLoss.hpp"

#include "kovar/Support/LossLabels.hpp"
#include "nn_case.hpp"
#include "oracle/loss_yolo.hpp"
#include "support/finite_difference.hpp"
#include "support/golden.hpp"

namespace kovar::test {
namespace {

using oracle::LossType;

std::vector<float> floatsOf(const std::vector<oracle::Anchor>& anchors) {
  std::vector<float> v;
  for (const auto& a : anchors) v.push_back(static_cast<float>(a.width)), v.push_back(static_cast<float>(a.height));
  return v;
}

Ref<MPS::CNNYOLOLossDescriptor> publicDescriptor(const oracle::YoloLoss& l) {
  const auto type = [](const oracle::Loss& t) { return static_cast<MPS::CNNLossType>(t.type); };
  const std::vector<float> anchors = floatsOf(l.anchors);
  auto d = MPS::CNNYOLOLossDescriptor::cnnLossDescriptor(type(l.xy), type(l.wh), type(l.confidence), type(l.classes),
                                                         static_cast<MPS::CNNReductionType>(l.reduction),
                                                         std::as_bytes(std::span(anchors)), l.anchors.size());
  const auto fill = [](const Ref<MPS::CNNLossDescriptor>& to, const oracle::Loss& from) {
    to->setWeight(static_cast<float>(from.weight));
    to->setLabelSmoothing(static_cast<float>(from.labelSmoothing));
    to->setNumberOfClasses(static_cast<std::size_t>(from.numberOfClasses));
    to->setDelta(static_cast<float>(from.delta));
  };
  fill(d->xyLossDescriptor(), l.xy);
  fill(d->whLossDescriptor(), l.wh);
  fill(d->confidenceLossDescriptor(), l.confidence);
  fill(d->classesLossDescriptor(), l.classes);
  d->setReduceAcrossBatch(l.reduceAcrossBatch);
  d->setRescore(l.rescore);
  d->setScaleXY(static_cast<float>(l.scaleXY));
  d->setScaleWH(static_cast<float>(l.scaleWH));
  d->setScaleNoObject(static_cast<float>(l.scaleNoObject));
  d->setScaleObject(static_cast<float>(l.scaleObject));
  d->setScaleClass(static_cast<float>(l.scaleClass));
  d->setMinIOUForObjectPresence(static_cast<float>(l.minIouForObjectPresence));
  d->setMaxIOUForObjectAbsence(static_cast<float>(l.maxIouForObjectAbsence));
  return d;
}

/// Labels as a client writes them: boxes in some cells, the same for all anchors of a cell.
Tensor randomLabels(Random& r, std::size_t n, std::size_t h, std::size_t w, std::size_t anchors, std::size_t classes) {
  const std::size_t per = 5 + classes;
  Tensor t(n, h, w, anchors * per);
  for (std::size_t cell = 0; cell < n * h * w; ++cell) {
    const bool object = r.chance(0.4);
    const double box[4] = {r.real(0, 1), r.real(0, 1), r.real(0.3, 3), r.real(0.3, 3)};
    const std::size_t kind = r.size(0, classes - 1);
    for (std::size_t a = 0; a < anchors; ++a) {
      double* to = &t.v[(cell * anchors + a) * per];
      for (std::size_t i = 0; i < 4 && object; ++i) to[i] = static_cast<double>(static_cast<float>(box[i]));
      to[4] = object ? 1 : 0;
      for (std::size_t k = 0; k < classes; ++k)
        to[5 + k] = static_cast<double>(static_cast<float>(object ? (k == kind ? 1.0 : 0.0) : 1.0 / double(classes)));
    }
  }
  return t;
}

oracle::YoloLoss randomYolo(Random& r, std::size_t anchors) {
  std::vector<oracle::Anchor> boxes;
  for (std::size_t a = 0; a < anchors; ++a)
    boxes.push_back({static_cast<double>(static_cast<float>(r.real(0.4, 3))),
                     static_cast<double>(static_cast<float>(r.real(0.4, 3)))});
  oracle::YoloLoss l = oracle::YoloLoss::usual(boxes);
  if (r.chance(0.4)) {
    l.xy.type = r.pick({LossType::MeanAbsoluteError, LossType::Huber});
    l.wh.type = r.pick({LossType::MeanSquaredError, LossType::MeanAbsoluteError});
    l.confidence.type = r.pick({LossType::MeanSquaredError, LossType::SigmoidCrossEntropy});
    l.classes.type = r.pick({LossType::SigmoidCrossEntropy, LossType::SoftMaxCrossEntropy});
  }
  if (r.chance(0.4)) l.wh.delta = 0.5, l.xy.weight = 0.75, l.classes.weight = -1.5, l.confidence.weight = 2;
  if (r.chance(0.3)) l.classes.labelSmoothing = 0.125, l.classes.numberOfClasses = 4;
  l.reduction = static_cast<oracle::Reduction>(r.integer(0, 3));
  l.reduceAcrossBatch = r.chance(0.3);
  l.rescore = r.chance(0.6);
  if (r.chance(0.5)) {
    l.scaleXY = 2, l.scaleWH = 0.5, l.scaleNoObject = 1.5, l.scaleObject = 4, l.scaleClass = 3;
    l.minIouForObjectPresence = 0.5, l.maxIouForObjectAbsence = 0.4;
  }
  return l;
}

TEST(CnnYoloLoss, MatchesTheOracle) {
  forCases(300, [](Case& c) {
    Random& r = c.random;
    const std::size_t anchors = r.size(1, 4), classes = r.size(1, 5), channels = anchors * (5 + classes);
    oracle::YoloLoss l = randomYolo(r, anchors);
    const std::size_t n = r.size(1, 3), h = r.size(1, 4), w = r.size(1, 4);
    const Arrangement arrangement =
        n == 1 ? randomArrangement(r) : r.pick({Arrangement::Separate, Arrangement::Joined});
    const Format sourceFormat = r.pick({Format::Float32, Format::Float32, Format::Float16}),
                 gradientFormat = r.pick({Format::Float32, Format::Float32, Format::Float16});
    const Tensor source = randomTensor(r, n, h, w, channels, {-2, 2, false}, sourceFormat);
    Tensor labels = randomLabels(r, n, h, w, anchors, classes);
    while (oracle::yoloIsNearDecision(l, labels)) labels = randomLabels(r, n, h, w, anchors, classes);
    Tensor weights;
    if (r.chance(0.5)) {
      const auto side = [&](std::size_t s) { return r.chance(0.3) ? std::size_t{1} : s; };
      weights = randomTensor(r, n, side(h), side(w), side(channels), {0, 2, false});
      for (double& v : weights.v)
        if (r.chance(0.3)) v = 0;
    }
    const bool elements = r.chance(0.4);
    c.text = std::to_string(anchors) + " anchors, " + std::to_string(classes) + " classes, reduction " +
             std::to_string(static_cast<int>(l.reduction)) + (l.reduceAcrossBatch ? " across " : " ") +
             nameOf(arrangement) + " " + source.shape() + " weights " + weights.shape() + (elements ? " elements" : "");
    MPS::CNNYOLOLoss kernel(cpuDevice(), publicDescriptor(l));
    const auto states = lossLabels(imageOf(labels), elements ? MTL::Size{w, h, channels} : MTL::Size{1, 1, 1},
                                   weights.size() ? imageOf(weights) : nullptr);
    const auto gradients = imagesOf(Tensor(n, h, w, channels, 9.0), gradientFormat, arrangement);
    const auto sources = imagesOf(source, sourceFormat, arrangement);
    runOnCpu([&](const auto& buffer) {
      if (arrangement == Arrangement::Array)
        kernel.encode(buffer, sources[0], states[0], gradients[0]);
      else
        kernel.encodeBatch(buffer, sources, states, gradients);
    });
    const oracle::LossInput in{source, labels, weights};
    const oracle::YoloResult expected = oracle::yoloElements(l, in);
    EXPECT_TRUE(matches(tensorOf(gradients), expected.gradient, gradientFormat, oracle::YoloLoss::tolerance()));
    MPS::ImageBatch losses;
    for (const auto& s : states) losses.push_back(s->lossImage());
    EXPECT_TRUE(matches(tensorOf(losses), elements ? expected.elements : oracle::yoloReduced(l, in), Format::Float32,
                        oracle::YoloLoss::tolerance()));
  });
}

TEST(CnnYoloLoss, MatchesPyTorch) {
  int compared = 0;
  for (const GoldenCase& g : readGolden(KOVAR_SOURCE_DIR "/tests/golden/ops/yolo.txt")) {
    SCOPED_TRACE(g.name);
    std::vector<oracle::Anchor> anchors;
    for (std::size_t i = 0; i < g.tensor("anchors").size(); i += 2)
      anchors.push_back({g.tensor("anchors").v[i], g.tensor("anchors").v[i + 1]});
    oracle::YoloLoss l = oracle::YoloLoss::usual(anchors);
    l.rescore = g.number("rescore") != 0;
    const Tensor& p = g.tensor("predictions");
    const auto states = lossLabels(imageOf(g.tensor("labels")), {p.w, p.h, p.c}, imageOf(g.tensor("weights")));
    MPS::CNNYOLOLoss kernel(cpuDevice(), publicDescriptor(l));
    const auto gradients = imagesOf(Tensor(p.n, p.h, p.w, p.c), Format::Float32, Arrangement::Joined);
    runOnCpu([&](const auto& buffer) {
      kernel.encodeBatch(buffer, imagesOf(p, Format::Float32, Arrangement::Separate), states, gradients);
    });
    const oracle::YoloResult scale = oracle::yoloElements(l, {p, g.tensor("labels"), g.tensor("weights")});
    MPS::ImageBatch losses;
    for (const auto& s : states) losses.push_back(s->lossImage());
    EXPECT_TRUE(matches(tensorOf(gradients), {g.tensor("gradient"), scale.gradient.magnitude}, Format::Float32,
                        oracle::YoloLoss::tolerance()));
    EXPECT_TRUE(matches(tensorOf(losses), {g.tensor("elements"), scale.elements.magnitude}, Format::Float32,
                        oracle::YoloLoss::tolerance()));
    ++compared;
  }
  EXPECT_EQ(compared, 3);
}

// Without rescoring, with one class as probability 1 in all, the gradient is the derivative of the value.
TEST(CnnYoloLoss, TheGradientIsTheNumericDerivative) {
  forCases(40, [](Case& c) {
    Random& r = c.random;
    oracle::YoloLoss l = randomYolo(r, 2);
    l.rescore = false;
    l.reduction = oracle::Reduction::Sum;
    l.reduceAcrossBatch = false;
    for (oracle::Loss* t : {&l.xy, &l.wh})
      if (t->type == LossType::MeanAbsoluteError) t->type = LossType::MeanSquaredError;  // no kinks
    l.classes.labelSmoothing = 0;
    Tensor labels = randomLabels(r, 1, 2, 2, 2, 3);
    while (oracle::yoloIsNearDecision(l, labels)) labels = randomLabels(r, 1, 2, 2, 2, 3);
    const Tensor source = randomTensor(r, 1, 2, 2, 16, {-1, 1, false});
    MPS::CNNYOLOLoss kernel(cpuDevice(), publicDescriptor(l));
    const auto states = lossLabels(imageOf(labels));
    const auto gradient = imageOf(Tensor(1, 2, 2, 16));
    runOnCpu([&](const auto& buffer) { kernel.encode(buffer, imageOf(source), states[0], gradient); });
    const std::vector<double> numeric = numericGradient(
        [&](const std::vector<double>& v) {
          Tensor s = source;
          s.v = v;
          return oracle::yoloReduced(l, {s, labels, {}}).value.v[0];
        },
        source.v);
    const Tensor got = tensorOf(*gradient);
    for (std::size_t i = 0; i < numeric.size(); ++i)
      ASSERT_NEAR(got.v[i], numeric[i], 1e-3 * (1 + std::fabs(numeric[i]))) << i;
  });
}

TEST(CnnYoloLoss, WantsAClassForEveryAnchor) {
  MPS::CNNYOLOLoss kernel(cpuDevice(), publicDescriptor(oracle::YoloLoss::usual({{1, 2}, {3, 4}})));
  const auto commands = cpuDevice()->newCommandQueue()->commandBuffer();
  for (const std::size_t channels : {std::size_t{10}, std::size_t{13}}) {  // a box without classes; no whole number
    const Tensor t(1, 2, 2, channels);
    const auto states = lossLabels(imageOf(t));
    EXPECT_THROW(kernel.encode(commands, imageOf(t), states[0], imageOf(t)), Error) << channels;
  }
}

TEST(CnnYoloLoss, TellsWhatItWasGiven) {
  oracle::YoloLoss l = oracle::YoloLoss::usual({{1, 2}, {3, 4}});
  const auto d = publicDescriptor(l);
  const MPS::CNNYOLOLossDescriptor plain;
  EXPECT_EQ(plain.scaleXY(), 10.f);
  EXPECT_EQ(plain.scaleWH(), 10.f);
  EXPECT_EQ(plain.scaleNoObject(), 5.f);
  EXPECT_EQ(plain.scaleObject(), 100.f);
  EXPECT_EQ(plain.scaleClass(), 2.f);
  EXPECT_EQ(plain.minIOUForObjectPresence(), 0.7f);
  EXPECT_EQ(plain.maxIOUForObjectAbsence(), 0.3f);
  EXPECT_TRUE(plain.rescore());
  EXPECT_FALSE(plain.reduceAcrossBatch());
  const auto kernel = std::make_shared<MPS::CNNYOLOLoss>(cpuDevice(), d);
  d->setScaleXY(1.f);
  d->whLossDescriptor()->setDelta(7.f);
  EXPECT_EQ(kernel->scaleXY(), 10.f) << "the kernel copied it";
  EXPECT_EQ(kernel->lossWH()->delta(), 1.f);
  EXPECT_EQ(kernel->lossXY()->lossType(), MPS::CNNLossType::MeanSquaredError);
  EXPECT_EQ(kernel->lossConfidence()->lossType(), MPS::CNNLossType::SigmoidCrossEntropy);
  EXPECT_EQ(kernel->lossClasses()->lossType(), MPS::CNNLossType::SoftMaxCrossEntropy);
  EXPECT_EQ(kernel->numberOfAnchorBoxes(), 2u);
  EXPECT_EQ(kernel->anchorBoxes().size(), 16u);
  const auto copy = std::dynamic_pointer_cast<MPS::CNNYOLOLoss>(kernel->copy(cpuDevice()));
  ASSERT_TRUE(copy);
  EXPECT_EQ(copy->scaleObject(), 100.f);
  EXPECT_NE(copy->lossXY(), kernel->lossXY());
}

}  // namespace
}  // namespace kovar::test
