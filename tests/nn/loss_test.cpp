// CNNLoss against the oracle: every type and reduction, labels of any layout and size, weights, clip rectangles,
// batches.

#include "oracle/loss.hpp"

#include <cmath>

#include "kovar/MPS/NN/CNNLoss.hpp"
#include "kovar/Support/LossLabels.hpp"
#include "nn_case.hpp"
#include "runtime/access.hpp"
#include "support/finite_difference.hpp"

namespace kovar::test {
namespace {

using MPS::CNNLoss;
using MPS::CNNLossDataDescriptor;
using MPS::CNNLossDescriptor;
using MPS::CNNLossLabels;

Ref<CNNLossDescriptor> publicDescriptor(const oracle::Loss& l) {
  auto d = CNNLossDescriptor::cnnLossDescriptor(static_cast<MPS::CNNLossType>(l.type),
                                                static_cast<MPS::CNNReductionType>(l.reduction));
  d->setReduceAcrossBatch(l.reduceAcrossBatch);
  d->setWeight(static_cast<float>(l.weight));
  d->setLabelSmoothing(static_cast<float>(l.labelSmoothing));
  d->setNumberOfClasses(static_cast<std::size_t>(l.numberOfClasses));
  d->setEpsilon(static_cast<float>(l.epsilon));
  d->setDelta(static_cast<float>(l.delta));
  return d;
}

/// Image n of the tensor as a data descriptor: either layout, dense or with gaps.
Ref<CNNLossDataDescriptor> dataOf(const Tensor& t, std::size_t n, Random& r) {
  const bool last = r.chance(0.5);
  const std::size_t row = (last ? t.w * t.c : t.w) + (r.chance(0.3) ? r.size(1, 4) : 0);
  const std::size_t plane = row * t.h + (r.chance(0.3) && !last ? r.size(1, 4) : 0);
  const std::size_t needed = last ? row * t.h : plane * t.c;
  std::vector<float> values(needed, NAN);
  for (std::size_t y = 0; y < t.h; ++y)
    for (std::size_t x = 0; x < t.w; ++x)
      for (std::size_t c = 0; c < t.c; ++c)
        values[last ? y * row + x * t.c + c : c * plane + y * row + x] = static_cast<float>(t.at(n, y, x, c));
  auto d = CNNLossDataDescriptor::cnnLossDataDescriptor(
      std::as_bytes(std::span(values)),
      last ? MPS::DataLayout::HeightxWidthxFeatureChannels : MPS::DataLayout::FeatureChannelsxHeightxWidth,
      {t.w, t.h, t.c});
  d->setBytesPerRow(row * sizeof(float));
  d->setBytesPerImage(plane * sizeof(float));
  return d;
}

oracle::Loss randomLoss(Random& r) {
  oracle::Loss l;
  l.type = static_cast<oracle::LossType>(r.integer(0, oracle::kLossTypeCount - 1));
  l.reduction = static_cast<oracle::Reduction>(r.integer(0, 3));
  l.reduceAcrossBatch = r.chance(0.3);
  if (r.chance(0.5)) l.weight = static_cast<double>(static_cast<float>(r.real(-2, 2)));
  if (r.chance(0.4)) {
    l.labelSmoothing = 0.125;
    l.numberOfClasses = static_cast<double>(r.integer(1, 10));
  }
  if (r.chance(0.3)) l.epsilon = static_cast<double>(1e-3f);
  if (r.chance(0.5)) l.delta = 0.75;
  if (l.type == oracle::LossType::CosineDistance) l.reduction = oracle::Reduction::Sum;
  return l;
}

class CnnLoss : public testing::Test {};

TEST_F(CnnLoss, MatchesTheOracle) {
  forCases(300, [](Case& c) {
    Random& r = c.random;
    const oracle::Loss l = randomLoss(r);
    const bool cosine = l.type == oracle::LossType::CosineDistance;
    const std::size_t n = r.size(1, 4), h = r.size(1, 6), w = r.size(1, 6), channels = r.size(1, 9);
    const Arrangement arrangement =
        n == 1 ? randomArrangement(r) : r.pick({Arrangement::Separate, Arrangement::Joined});
    const Format sourceFormat = r.chance(0.7) ? Format::Float32 : Format::Float16;
    const Format gradientFormat = r.chance(0.7) ? Format::Float32 : Format::Float16;
    const auto before = r.pick<std::size_t>({0, 0, 4});
    const Tensor source = randomTensor(r, n, h, w, before + channels, l.predictions(), sourceFormat);
    // Labels may be larger than the prediction.
    const Tensor labels = randomTensor(r, n, h + (r.chance(0.2) ? 1 : 0), w + (r.chance(0.2) ? 2 : 0),
                                       channels + (r.chance(0.3) ? r.size(1, 3) : 0), l.labels());
    Tensor weights;
    if (!cosine && r.chance(0.5)) {
      const auto side = [&](std::size_t s) { return r.chance(0.3) ? std::size_t{1} : s; };
      weights = randomTensor(r, n, side(h), side(w), side(channels), {-1, 2, false});
      for (double& v : weights.v)
        if (r.chance(0.3)) v = 0;
    }
    // Pixels written, and the pixels of the source they are read from.
    oracle::ClipRect clip;
    std::size_t x0 = 0, y0 = 0, rw = w, rh = h;
    long ox = 0, oy = 0;
    if (r.chance(0.4)) {
      randomClip(r, clip, w, h);
      rw = std::min(static_cast<std::size_t>(clip.width), w - static_cast<std::size_t>(clip.x));
      rh = std::min(static_cast<std::size_t>(clip.height), h - static_cast<std::size_t>(clip.y));
      x0 = r.size(0, w - rw);
      y0 = r.size(0, h - rh);
      ox = static_cast<long>(x0);
      oy = static_cast<long>(y0);
    }
    const bool oneArray = r.chance(0.4);  // labels, weights and losses each in one allocation
    const bool elements = !cosine && r.chance(0.3) && h * w * channels > 1;
    c.text = std::string(l.name()) + " reduction " + std::to_string(static_cast<int>(l.reduction)) +
             (l.reduceAcrossBatch ? " across" : "") + " " + nameOf(arrangement) + " " + source.shape() + " labels " +
             labels.shape() + " weights " + weights.shape() + (elements ? " elements" : "") +
             (oneArray ? " one array" : "") + " clip " + std::to_string(clip.x) + "," + std::to_string(clip.y) + "+" +
             std::to_string(rw) + "x" + std::to_string(rh) + " at " + std::to_string(x0) + "," + std::to_string(y0);

    CNNLoss kernel(cpuDevice(), publicDescriptor(l));
    kernel.setSourceFeatureChannelOffset(before);
    kernel.setOffset({ox, oy, 0});
    kernel.setClipRect(publicClip(clip));
    const MTL::Size lossSize = elements ? MTL::Size{w, h, channels} : MTL::Size{1, 1, 1};
    MPS::CNNLossLabelsBatch states;
    if (oneArray) states = lossLabels(imageOf(labels), lossSize, weights.size() ? imageOf(weights) : nullptr);
    for (std::size_t i = 0; i < n && !oneArray; ++i)
      states.push_back(std::make_shared<CNNLossLabels>(cpuDevice(), lossSize, dataOf(labels, i, r),
                                                       weights.size() ? dataOf(weights, i, r) : nullptr));
    const Tensor untouched = randomTensor(r, n, h, w, channels, {0, 1, false}, gradientFormat);
    const MPS::ImageBatch sources = imagesOf(source, sourceFormat, arrangement);
    const MPS::ImageBatch gradients = imagesOf(untouched, gradientFormat, arrangement);
    runOnCpu([&](const auto& buffer) {
      if (arrangement == Arrangement::Array)
        kernel.encode(buffer, sources[0], states[0], gradients[0]);
      else
        kernel.encodeBatch(buffer, sources, states, gradients);
    });

    const auto part = [&](const Tensor& t) {
      if (!t.size()) return t;
      return oracle::slice(t, t.h == 1 ? 0 : y0, t.w == 1 ? 0 : x0, t.h == 1 ? 1 : rh, t.w == 1 ? 1 : rw, 0,
                           std::min(t.c, channels));
    };
    const oracle::LossInput in{oracle::slice(source, y0, x0, rh, rw, before, channels),
                               oracle::slice(labels, y0, x0, rh, rw, 0, channels), part(weights)};
    const oracle::Result inside = oracle::lossGradient(l, in);
    oracle::Result expected = oracle::Result::over(untouched);
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t y = 0; y < rh; ++y)
        for (std::size_t x = 0; x < rw; ++x)
          for (std::size_t f = 0; f < channels; ++f) {
            const std::size_t to =
                expected.value.index(i, y + static_cast<std::size_t>(clip.y), x + static_cast<std::size_t>(clip.x), f);
            expected.value.v[to] = inside.value.at(i, y, x, f);
            expected.magnitude.v[to] = inside.magnitude.at(i, y, x, f);
          }
    EXPECT_TRUE(matches(tensorOf(gradients), expected, gradientFormat, oracle::Loss::tolerance()));

    const oracle::Result value = elements ? oracle::lossElements(l, in) : oracle::lossReduced(l, in);
    for (std::size_t i = 0; i < n; ++i) {
      Tensor loss = tensorOf(*states[i]->lossImage());
      oracle::Result one{Tensor(1, value.value.h, value.value.w, value.value.c),
                         Tensor(1, value.value.h, value.value.w, value.value.c)};
      const std::size_t size = one.value.size();
      std::copy_n(value.value.v.begin() + static_cast<std::ptrdiff_t>(i * size), size, one.value.v.begin());
      std::copy_n(value.magnitude.v.begin() + static_cast<std::ptrdiff_t>(i * size), size, one.magnitude.v.begin());
      if (elements) loss = oracle::slice(loss, y0, x0, rh, rw, 0, channels);
      EXPECT_TRUE(matches(loss, one, Format::Float32, oracle::Loss::tolerance())) << "loss of image " << i;
    }
  });
}

// The reduction does not touch the gradient: it is the derivative of the sum.
TEST_F(CnnLoss, GradientIsTheDerivativeOfTheSummedValue) {
  forCases(60, [](Case& c) {
    Random& r = c.random;
    oracle::Loss l = randomLoss(r);
    // The documented gradients of these are not derivatives: softmax's holds for labels that sum to 1.
    if (l.type == oracle::LossType::SoftMaxCrossEntropy) l.type = oracle::LossType::SigmoidCrossEntropy;
    if (l.type == oracle::LossType::CosineDistance) l.type = oracle::LossType::MeanSquaredError;
    c.text = l.name();
    const Tensor y = randomTensor(r, 1, 2, 3, 5, l.predictions()), t = randomTensor(r, 1, 2, 3, 5, l.labels());
    CNNLoss kernel(cpuDevice(), publicDescriptor(l));
    auto labels = std::make_shared<CNNLossLabels>(cpuDevice(), dataOf(t, 0, r));
    auto gradient = imageOf(Tensor(1, 2, 3, 5));
    runOnCpu([&](const auto& buffer) { kernel.encode(buffer, imageOf(y), labels, gradient); });
    oracle::Loss sum = l;
    sum.reduction = oracle::Reduction::Sum;
    const std::vector<double> numeric = numericGradient(
        [&](const std::vector<double>& v) {
          oracle::LossInput in{y, t, {}};
          in.predictions.v = v;
          return oracle::lossReduced(sum, in).value.v[0];
        },
        y.v, 1e-6);
    const Tensor actual = tensorOf(*gradient);
    for (std::size_t i = 0; i < numeric.size(); ++i)
      EXPECT_NEAR(actual.v[i], numeric[i], 1e-3 * (1 + std::fabs(numeric[i]))) << i;
  });
}

TEST_F(CnnLoss, MakesItsOwnResult) {
  forCases(40, [](Case& c) {
    Random& r = c.random;
    const oracle::Loss l = randomLoss(r);
    c.text = l.name();
    const std::size_t n = r.size(1, 3);
    const Tensor y = randomTensor(r, n, 3, 4, 5, l.predictions()), t = randomTensor(r, n, 3, 4, 5, l.labels());
    CNNLoss kernel(cpuDevice(), publicDescriptor(l));
    kernel.setDestinationImageAllocator(MPS::Image::defaultAllocator());
    MPS::CNNLossLabelsBatch labels;
    for (std::size_t i = 0; i < n; ++i) labels.push_back(std::make_shared<CNNLossLabels>(cpuDevice(), dataOf(t, i, r)));
    const MPS::ImageBatch sources = imagesOf(y, Format::Float32, Arrangement::Separate);
    MPS::ImageBatch made, temporaries;
    runOnCpu([&](const auto& buffer) {
      temporaries = temporariesOf(buffer, sources);
      if (n == 1)
        made = {kernel.encode(buffer, temporaries[0], labels[0])};
      else
        made = kernel.encodeBatch(buffer, temporaries, labels);
    });
    EXPECT_EQ(readCounts(temporaries), std::vector<std::size_t>(n, 0));
    EXPECT_TRUE(
        matches(tensorOf(made), oracle::lossGradient(l, {y, t, {}}), Format::Float16, oracle::Loss::tolerance()));
  });
}

TEST_F(CnnLoss, ReadsLabelsWhenTheWorkRuns) {
  const float first = 1, second = 5;
  auto d = CNNLossDataDescriptor::cnnLossDataDescriptor(std::as_bytes(std::span(&first, 1)),
                                                        MPS::DataLayout::HeightxWidthxFeatureChannels, {1, 1, 1});
  auto labels = std::make_shared<CNNLossLabels>(cpuDevice(), d);
  CNNLoss kernel(cpuDevice(),
                 CNNLossDescriptor::cnnLossDescriptor(MPS::CNNLossType::MeanSquaredError, MPS::CNNReductionType::Sum));
  const auto source = imageOf(Tensor(1, 1, 1, 1, 2.0));
  const auto gradient = imageOf(Tensor(1, 1, 1, 1));
  auto buffer = cpuQueue()->commandBuffer();
  kernel.encode(buffer, source, labels, gradient);
  // Through the texture, as clients that keep one set of labels do.
  labels->labelsImage()->texture()->replaceRegion({{0, 0, 0}, {1, 1, 1}}, 0, &second, sizeof second);
  buffer->commit();
  buffer->waitUntilCompleted();
  EXPECT_EQ(tensorOf(*gradient).v[0], -6);
  EXPECT_EQ(tensorOf(*labels->lossImage()).v[0], 9);
}

TEST_F(CnnLoss, LabelsOverImagesAreUsedThemselves) {
  const auto t = imageOf(Tensor(1, 1, 2, 3, 0.5)), w = imageOf(Tensor(1, 1, 1, 1, 3.0));
  auto labels = std::make_shared<CNNLossLabels>(cpuDevice(), MTL::Size{1, 1, 1}, t, w);
  EXPECT_EQ(labels->labelsImage(), t);
  EXPECT_EQ(labels->weightsImage(), w);
  EXPECT_EQ(labels->lossImage()->featureChannelFormat(), MPS::ImageFeatureChannelFormat::Float32);
  EXPECT_FALSE(labels->isTemporary());
  EXPECT_EQ(labels->readCount(), 0u);
  CNNLoss kernel(cpuDevice(), CNNLossDescriptor::cnnLossDescriptor(MPS::CNNLossType::MeanAbsoluteError,
                                                                   MPS::CNNReductionType::Mean));
  const auto gradient = imageOf(Tensor(1, 1, 2, 3));
  runOnCpu([&](const auto& buffer) {
    kernel.encode(buffer, imageOf(Tensor(1, 1, 2, 3, 2.5)), labels, gradient);
    labels->synchronize(buffer);
  });
  EXPECT_EQ(tensorOf(*labels->lossImage()).v[0], 6);
  EXPECT_EQ(tensorOf(*gradient).v, std::vector<double>(6, 3.0));

  auto without = std::make_shared<CNNLossLabels>(cpuDevice(), MTL::Size{1, 1, 1}, t, nullptr);
  EXPECT_EQ(tensorOf(*without->weightsImage()).v, std::vector<double>{1.0});
}

TEST_F(CnnLoss, ImagesWithAndWithoutWeightsMix) {
  const auto mean = CNNLossDescriptor::cnnLossDescriptor(MPS::CNNLossType::MeanAbsoluteError,
                                                         MPS::CNNReductionType::SumByNonZeroWeights);
  CNNLoss kernel(cpuDevice(), mean);
  Tensor weights(1, 1, 2, 1);
  weights.v = {0, 4};
  const auto zero = imageOf(Tensor(1, 1, 2, 1));
  MPS::CNNLossLabelsBatch labels{
      std::make_shared<CNNLossLabels>(cpuDevice(), MTL::Size{1, 1, 1}, zero, nullptr),
      std::make_shared<CNNLossLabels>(cpuDevice(), MTL::Size{1, 1, 1}, zero, imageOf(weights))};
  const MPS::ImageBatch sources = imagesOf(Tensor(2, 1, 2, 1, 3.0), Format::Float32, Arrangement::Separate);
  runOnCpu([&](const auto& buffer) { kernel.encodeBatch(buffer, sources, labels); });
  EXPECT_EQ(tensorOf(*labels[0]->lossImage()).v[0], 3);
  EXPECT_EQ(tensorOf(*labels[1]->lossImage()).v[0], 12);
}

/// Operations that one encode of a batch of `labels` appends.
std::size_t operationsOf(const MPS::CNNLossLabelsBatch& labels) {
  CNNLoss kernel(cpuDevice(),
                 CNNLossDescriptor::cnnLossDescriptor(MPS::CNNLossType::MeanSquaredError, MPS::CNNReductionType::Sum));
  const auto commands = cpuQueue()->commandBuffer();
  kernel.encodeBatch(commands, imageOf(Tensor(labels.size(), 1, 1, 3))->batchRepresentation(), labels);
  return rt::Access::state(commands)->list().ops.size();
}

TEST_F(CnnLoss, LabelsInOneArrayAreReadAndWrittenWhereTheyLie) {
  const auto all = imageOf(Tensor(4, 1, 1, 3));
  MPS::CNNLossLabelsBatch labels = lossLabels(all);
  ASSERT_EQ(labels.size(), 4u);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(labels[i]->labelsImage()->parent(), all);
    EXPECT_EQ(labels[i]->lossImage()->parent(), labels[0]->lossImage()->parent());
  }
  EXPECT_EQ(labels[0]->lossImage()->parent()->numberOfImages(), 4u);
  EXPECT_EQ(operationsOf(labels), 1u);
  // Part of the array, at even distances: still one tensor.
  EXPECT_EQ(operationsOf({labels[1], labels[2], labels[3]}), 1u);
  EXPECT_EQ(operationsOf({labels[0], labels[2]}), 1u);
  // Neither in order nor in one array: copied together and apart.
  EXPECT_EQ(operationsOf({labels[2], labels[0]}), 5u);
  EXPECT_EQ(operationsOf({labels[0], labels[1], labels[3]}), 7u);
  EXPECT_EQ(operationsOf({labels[0], lossLabels(all)[1]}), 3u) << "one array of labels, two of losses";
}

TEST_F(CnnLoss, LabelsInOneArrayFitTogether) {
  const auto two = imageOf(Tensor(2, 1, 1, 3)), three = imageOf(Tensor(3, 1, 1, 3));
  expectError([&] { lossLabels(nullptr); }, {"lossLabels: labels is null"});
  expectError([&] { lossLabels(two, {1, 1, 1}, three); }, {"lossLabels: 2 images of labels, 3 of weights"});
  expectError([&] { lossLabels(two, {1, 0, 1}); }, {"lossLabels: lossImageSize has an extent of 0"});
  runOnCpu([&](const auto& buffer) {
    const auto temporary = temporariesOf(buffer, {two});
    expectError([&] { lossLabels(temporary[0]); }, {"labelsImage is a temporary image"});
  });
}

TEST_F(CnnLoss, CopyKeepsTheDescriptor) {
  auto d = CNNLossDescriptor::cnnLossDescriptor(MPS::CNNLossType::Huber, MPS::CNNReductionType::Mean);
  d->setDelta(3);
  CNNLoss kernel(cpuDevice(), d);
  d->setDelta(7);  // too late
  const auto copy = std::dynamic_pointer_cast<CNNLoss>(kernel.copy(nullptr));
  ASSERT_TRUE(copy);
  EXPECT_EQ(copy->delta(), 3);
  EXPECT_EQ(copy->lossType(), MPS::CNNLossType::Huber);
  EXPECT_EQ(copy->reductionType(), MPS::CNNReductionType::Mean);
}

}  // namespace
}  // namespace kovar::test
