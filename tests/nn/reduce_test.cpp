// The reductions against plain loops in double: any part of the source, channels, arrangement, format, destination.

#include <cmath>
#include <map>

#include "kovar/MPS/NN/NNReduce.hpp"
#include "nn_case.hpp"
#include "support/golden.hpp"

namespace kovar::test {
namespace {

enum class Axis { Row, Column, Channels };
enum class Kind { Min, Max, Mean, Sum, ArgumentMin, ArgumentMax };

Ref<MPS::NNReduceUnary> kernelOf(Axis axis, Kind kind) {
  using namespace MPS;  // NOLINT: sixteen of them
  const auto& d = cpuDevice();
  const std::map<std::pair<Axis, Kind>, std::function<Ref<NNReduceUnary>()>> all{
      {{Axis::Row, Kind::Min}, [&] { return std::make_shared<NNReduceRowMin>(d); }},
      {{Axis::Row, Kind::Max}, [&] { return std::make_shared<NNReduceRowMax>(d); }},
      {{Axis::Row, Kind::Mean}, [&] { return std::make_shared<NNReduceRowMean>(d); }},
      {{Axis::Row, Kind::Sum}, [&] { return std::make_shared<NNReduceRowSum>(d); }},
      {{Axis::Column, Kind::Min}, [&] { return std::make_shared<NNReduceColumnMin>(d); }},
      {{Axis::Column, Kind::Max}, [&] { return std::make_shared<NNReduceColumnMax>(d); }},
      {{Axis::Column, Kind::Mean}, [&] { return std::make_shared<NNReduceColumnMean>(d); }},
      {{Axis::Column, Kind::Sum}, [&] { return std::make_shared<NNReduceColumnSum>(d); }},
      {{Axis::Channels, Kind::Min}, [&] { return std::make_shared<NNReduceFeatureChannelsMin>(d); }},
      {{Axis::Channels, Kind::Max}, [&] { return std::make_shared<NNReduceFeatureChannelsMax>(d); }},
      {{Axis::Channels, Kind::Mean}, [&] { return std::make_shared<NNReduceFeatureChannelsMean>(d); }},
      {{Axis::Channels, Kind::Sum}, [&] { return std::make_shared<NNReduceFeatureChannelsSum>(d); }},
      {{Axis::Channels, Kind::ArgumentMin}, [&] { return std::make_shared<NNReduceFeatureChannelsArgumentMin>(d); }},
      {{Axis::Channels, Kind::ArgumentMax}, [&] { return std::make_shared<NNReduceFeatureChannelsArgumentMax>(d); }}};
  return all.at({axis, kind})();
}

struct Value {
  double value, magnitude;
};
Value reduced(Kind kind, const std::vector<double>& v, double factor) {
  double sum = 0, size = 0, best = v[0];
  std::size_t at = 0;
  for (std::size_t i = 0; i < v.size(); ++i) {
    sum += v[i], size += std::fabs(v[i]);
    const bool less = kind == Kind::Min || kind == Kind::ArgumentMin;
    if (less ? v[i] < best : v[i] > best) best = v[i], at = i;
  }
  const auto n = static_cast<double>(v.size());
  switch (kind) {
    case Kind::Mean:
      return {sum / n, size / n};
    case Kind::Sum:
      return {sum * factor, size * std::fabs(factor)};
    case Kind::ArgumentMin:
    case Kind::ArgumentMax:
      return {static_cast<double>(at), static_cast<double>(at)};
    case Kind::Min:
    case Kind::Max:
      break;
  }
  return {best, std::fabs(best)};
}

/// A range of an axis that may reach over its end.
void randomRange(Random& r, std::size_t extent, long& first, long& size) {
  first = r.integer(0, static_cast<long>(extent) - 1);
  size = r.integer(1, static_cast<long>(extent));
}

struct Part {
  oracle::ClipRect clip;  ///< of the source
  std::size_t x = 0, y = 0, w = 0, h = 0;
};
Part randomPart(Random& r, const Tensor& s) {
  Part p;
  if (r.chance(0.5)) randomRange(r, s.w, p.clip.x, p.clip.width), randomRange(r, s.h, p.clip.y, p.clip.height);
  p.x = static_cast<std::size_t>(p.clip.x), p.y = static_cast<std::size_t>(p.clip.y);
  p.w = static_cast<std::size_t>(std::min(p.clip.width, static_cast<long>(s.w - p.x)));
  p.h = static_cast<std::size_t>(std::min(p.clip.height, static_cast<long>(s.h - p.y)));
  return p;
}

TEST(NnReduceUnary, MatchesPlainLoops) {
  forCases(600, [](Case& c) {
    Random& r = c.random;
    const Axis axis = r.pick({Axis::Row, Axis::Column, Axis::Channels});
    const Kind kind = axis == Axis::Channels
                          ? r.pick({Kind::Min, Kind::Max, Kind::Mean, Kind::Sum, Kind::ArgumentMin, Kind::ArgumentMax})
                          : r.pick({Kind::Min, Kind::Max, Kind::Mean, Kind::Sum});
    const auto arrangement = randomArrangement(r);
    const std::size_t n = r.size(1, 3), offset = r.pick<std::size_t>({0, 0, 4}), used = r.size(1, 9),
                      to = r.pick<std::size_t>({0, 0, 4});
    const Format from = r.pick({Format::Float32, Format::Float32, Format::Float16, Format::Unorm8}),
                 into = r.pick({Format::Float32, Format::Float32, Format::Float16, Format::Unorm8});
    const oracle::Domain domain{from == Format::Unorm8 ? 0.0 : -2.0, from == Format::Unorm8 ? 1.0 : 2.0, false};
    const Tensor source = randomTensor(r, n, r.size(1, 9), r.size(1, 9), offset + used + r.size(0, 3), domain, from);
    Part part = randomPart(r, source);
    // Of one object with several images; the objects of a batch are all reduced.
    if (r.chance(0.2)) part.clip.depth = 1;
    const std::size_t images = arrangement == Arrangement::Array && part.clip.depth == 1 ? 1 : n;
    const std::size_t rw = axis == Axis::Row ? 1 : part.w, rh = axis == Axis::Column ? 1 : part.h,
                      rc = axis == Axis::Channels ? 1 : used;
    const bool other = r.chance(0.4);  // a destination smaller or larger than the result
    const Tensor before = randomTensor(r, n, other ? r.size(1, rh + 2) : rh, other ? r.size(1, rw + 2) : rw,
                                       aroundChannels(to, rc, r), {0, 1, false}, into);
    oracle::ClipRect clip;
    if (r.chance(0.3)) randomClip(r, clip, before.w, before.h);
    const auto kernel = kernelOf(axis, kind);
    double factor = 1;
    if (const auto sum = std::dynamic_pointer_cast<MPS::NNReduceFeatureChannelsSum>(kernel); sum && r.chance(0.5)) {
      EXPECT_EQ(sum->weight(), 1.f);
      sum->setWeight(-0.75f);
      factor = -0.75;
    }
    c.text = "axis " + std::to_string(static_cast<int>(axis)) + " kind " + std::to_string(static_cast<int>(kind)) +
             " " + nameOf(arrangement) + " " + source.shape() + " part " + std::to_string(part.x) + "," +
             std::to_string(part.y) + " " + std::to_string(part.w) + "x" + std::to_string(part.h) + " -> " +
             before.shape() + " clip " + std::to_string(clip.x) + "," + std::to_string(clip.y) + " f" +
             std::to_string(static_cast<int>(from)) + "," + std::to_string(static_cast<int>(into));
    kernel->setClipRectSource(publicClip(part.clip));
    kernel->setOffset({3, -2, 0});  // deprecated: means nothing
    kernel->setClipRect(publicClip(clip));
    kernel->setSourceFeatureChannelOffset(offset);
    kernel->setSourceFeatureChannelMaxCount(used);
    kernel->setDestinationFeatureChannelOffset(to);
    const auto destination = imagesOf(before, into, arrangement);
    runOnCpu([&](const auto& buffer) {
      encodeAs(arrangement, *kernel, buffer, imagesOf(source, from, arrangement), destination);
    });
    const oracle::Region region = oracle::effectiveRegion(clip, before, 0, n);
    oracle::Result expected = oracle::Result::over(before);
    for (std::size_t i = 0; i < images; ++i)
      for (std::size_t y = 0; y < std::min<std::size_t>(rh, static_cast<std::size_t>(region.h)); ++y)
        for (std::size_t x = 0; x < std::min<std::size_t>(rw, static_cast<std::size_t>(region.w)); ++x)
          for (std::size_t k = 0; k < rc; ++k) {
            std::vector<double> v;
            for (std::size_t j = 0; j < (axis == Axis::Row ? part.w : axis == Axis::Column ? part.h : used); ++j)
              v.push_back(source.at(i, part.y + (axis == Axis::Column ? j : y), part.x + (axis == Axis::Row ? j : x),
                                    offset + (axis == Axis::Channels ? j : k)));
            const Value e = reduced(kind, v, factor);
            const auto yy = static_cast<std::size_t>(region.y) + y, xx = static_cast<std::size_t>(region.x) + x;
            expected.value.at(i, yy, xx, to + k) = e.value;
            expected.magnitude.at(i, yy, xx, to + k) = e.magnitude + 1e-30;
          }
    EXPECT_TRUE(matches(tensorOf(destination), expected, into, {2e-6, 1e-37}));
  });
}

TEST(NnReduceUnary, ResultsOfItsOwnHaveTheReducedSizeAndTheSourcesFormat) {
  const auto source = imageOf(Tensor(3, 4, 5, 6), Format::Unorm8);
  const auto sized = [&](MPS::NNReduceUnary& k) {
    const auto d = k.destinationImageDescriptor({source}, {});
    return std::vector<std::size_t>{d->width(), d->height(), d->featureChannels(), d->numberOfImages(),
                                    static_cast<std::size_t>(d->channelFormat())};
  };
  const auto unorm = static_cast<std::size_t>(MPS::ImageFeatureChannelFormat::Unorm8),
             half = static_cast<std::size_t>(MPS::ImageFeatureChannelFormat::Float16);
  MPS::NNReduceRowMean row(cpuDevice());
  MPS::NNReduceColumnMax column(cpuDevice());
  MPS::NNReduceFeatureChannelsSum channels(cpuDevice());
  MPS::NNReduceFeatureChannelsArgumentMax index(cpuDevice());
  EXPECT_EQ(sized(row), (std::vector<std::size_t>{1, 4, 6, 3, unorm}));
  EXPECT_EQ(sized(column), (std::vector<std::size_t>{5, 1, 6, 3, unorm}));
  EXPECT_EQ(sized(channels), (std::vector<std::size_t>{5, 4, 1, 3, unorm}));
  EXPECT_EQ(sized(index), (std::vector<std::size_t>{5, 4, 1, 3, half})) << "an index does not fit a unorm";
  row.setClipRectSource({{1, 2, 1}, {2, 9, 1}});
  EXPECT_EQ(sized(row), (std::vector<std::size_t>{1, 2, 6, 1, unorm}));
}

TEST(NnReduceUnary, ReadsTheImagesThatTheClipRectangleNames) {
  Tensor s(3, 1, 2, 1);
  s.v = {1, 2, 3, 4, 5, 6};
  MPS::NNReduceRowSum kernel(cpuDevice());
  kernel.setClipRectSource({{0, 0, 1}, {2, 1, 1}});
  const auto y = imageOf(Tensor(2, 1, 1, 1, 9.0));
  runOnCpu([&](const auto& buffer) { kernel.encode(buffer, imageOf(s), y); });
  EXPECT_EQ(tensorOf(*y).v, (std::vector<double>{7, 9})) << "one image, the second";
  const auto copy = std::dynamic_pointer_cast<MPS::NNReduceRowSum>(kernel.copy(cpuDevice()));
  ASSERT_TRUE(copy);
  EXPECT_EQ(copy->clipRectSource(), kernel.clipRectSource());
  EXPECT_EQ(copy->offset(), (MPS::Offset{0, 0, 0}));
}

TEST(NnReduceUnary, NaNLosesAndTheFirstOfEqualsIsNamed) {
  Tensor s(1, 1, 1, 5);
  s.v = {NAN, 3, 1, 3, 1};
  const auto of = [&](Kind kind) {
    const auto y = imageOf(Tensor(1, 1, 1, 1));
    runOnCpu([&](const auto& buffer) { kernelOf(Axis::Channels, kind)->encode(buffer, imageOf(s), y); });
    return tensorOf(*y).v[0];
  };
  EXPECT_EQ(of(Kind::Max), 3);
  EXPECT_EQ(of(Kind::Min), 1);
  EXPECT_EQ(of(Kind::ArgumentMax), 1);
  EXPECT_EQ(of(Kind::ArgumentMin), 2);
  s.v.assign(5, NAN);
  EXPECT_EQ(of(Kind::ArgumentMax), 0);
  EXPECT_TRUE(std::isnan(of(Kind::Max)));
}

TEST(NnReduceBinary, MatchesPlainLoops) {
  forCases(300, [](Case& c) {
    Random& r = c.random;
    const std::size_t n = r.size(1, 3), used = r.size(1, 9);
    const auto arrangement = randomArrangement(r);
    const int kind = static_cast<int>(r.integer(0, 2));  // mean, sum, sum by weights that are not 0
    std::size_t offsets[2];
    for (std::size_t& o : offsets) o = r.pick<std::size_t>({0, 0, 4});
    const Tensor x = randomTensor(r, n, r.size(1, 7), r.size(1, 7), offsets[0] + used + r.size(0, 2), {-2, 2, false});
    const Part part = randomPart(r, x);
    // The weights' part lies elsewhere in an image of another size.
    const std::size_t wx = r.size(0, 2), wy = r.size(0, 2);
    Tensor w =
        randomTensor(r, n, wy + part.h + r.size(0, 1), wx + part.w + r.size(0, 1), offsets[1] + used, {-1, 1, false});
    for (double& v : w.v)
      if (r.chance(0.4)) v = 0;
    const Tensor before = randomTensor(r, n, part.h, part.w, aroundChannels(4, 1, r), {0, 1, false});
    std::shared_ptr<MPS::NNReduceBinary> kernel;
    if (kind == 0)
      kernel = std::make_shared<MPS::NNReduceFeatureChannelsAndWeightsMean>(cpuDevice());
    else
      kernel = std::make_shared<MPS::NNReduceFeatureChannelsAndWeightsSum>(cpuDevice(), kind == 2);
    kernel->setPrimarySourceClipRect(publicClip(part.clip));
    kernel->setSecondarySourceClipRect({{wx, wy, 0}, {part.w, part.h, MPS::RectNoClip.size.depth}});
    kernel->setPrimarySourceFeatureChannelOffset(offsets[0]);
    kernel->setSecondarySourceFeatureChannelOffset(offsets[1]);
    kernel->setPrimarySourceFeatureChannelMaxCount(used);
    kernel->setDestinationFeatureChannelOffset(4);
    c.text = "kind " + std::to_string(kind) + " " + x.shape() + " weights " + w.shape();
    const auto destination = imagesOf(before, Format::Float32, arrangement);
    const auto values = imagesOf(x, Format::Float32, arrangement), weights = imagesOf(w, Format::Float32, arrangement);
    runOnCpu([&](const auto& buffer) {
      if (arrangement == Arrangement::Array)
        kernel->encode(buffer, values[0], weights[0], destination[0]);
      else
        kernel->encodeBatch(buffer, values, weights, destination);
    });
    oracle::Result expected = oracle::Result::over(before);
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t y = 0; y < part.h; ++y)
        for (std::size_t k = 0; k < part.w; ++k) {
          double sum = 0, size = 1e-30, count = 0;
          for (std::size_t ch = 0; ch < used; ++ch) {
            const double weight = w.at(i, wy + y, wx + k, offsets[1] + ch),
                         v = x.at(i, part.y + y, part.x + k, offsets[0] + ch) * weight;
            sum += v, size += std::fabs(v), count += weight != 0;
          }
          const double divisor = kind == 0 ? static_cast<double>(used) : kind == 1 ? 1 : std::max(count, 1.0);
          expected.value.at(i, y, k, 4) = sum / divisor;
          expected.magnitude.at(i, y, k, 4) = size / divisor;
        }
    EXPECT_TRUE(matches(tensorOf(destination), expected, Format::Float32, {2e-6, 1e-37}));
  });
}

TEST(NnReduce, MatchesPyTorch) {
  int compared = 0;
  for (const GoldenCase& g : readGolden(KOVAR_SOURCE_DIR "/tests/golden/ops/reductions.txt")) {
    SCOPED_TRACE(g.name);
    const Tensor& s = g.tensor("source");
    const auto expect = [&](MPS::CNNKernel& kernel, const char* what) {
      const Tensor& wanted = g.tensor(what);
      const auto y = imageOf(Tensor(wanted.n, wanted.h, wanted.w, wanted.c, 9.0));
      runOnCpu([&](const auto& buffer) { kernel.encode(buffer, imageOf(s), y); });
      const Tensor got = tensorOf(*y);
      for (std::size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got.v[i], wanted.v[i], 2e-6) << what << i;
      ++compared;
    };
    const Axis axis = g.word("axis") == "row" ? Axis::Row : g.word("axis") == "column" ? Axis::Column : Axis::Channels;
    expect(*kernelOf(axis, Kind::Min), "min");
    expect(*kernelOf(axis, Kind::Max), "max");
    expect(*kernelOf(axis, Kind::Mean), "mean");
    expect(*kernelOf(axis, Kind::Sum), "sum");
    if (axis != Axis::Channels) continue;
    expect(*kernelOf(axis, Kind::ArgumentMin), "argmin");
    expect(*kernelOf(axis, Kind::ArgumentMax), "argmax");
    const auto weighted = [&](MPS::NNReduceBinary& kernel, const char* what) {
      const Tensor& wanted = g.tensor(what);
      const auto y = imageOf(Tensor(wanted.n, wanted.h, wanted.w, 1, 9.0));
      runOnCpu([&](const auto& buffer) { kernel.encode(buffer, imageOf(s), imageOf(g.tensor("weights")), y); });
      const Tensor got = tensorOf(*y);
      for (std::size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got.v[i], wanted.v[i], 4e-6) << what << i;
      ++compared;
    };
    MPS::NNReduceFeatureChannelsAndWeightsMean mean(cpuDevice());
    MPS::NNReduceFeatureChannelsAndWeightsSum sum(cpuDevice()), byNonZero(cpuDevice(), true);
    weighted(mean, "weightedMean");
    weighted(sum, "weightedSum");
    weighted(byNonZero, "byNonZero");
  }
  EXPECT_EQ(compared, 12 * 4 + 4 * 5);
}

TEST(NnReduceBinary, TellsWhatItIs) {
  MPS::NNReduceFeatureChannelsAndWeightsSum kernel(cpuDevice());
  EXPECT_FALSE(kernel.doWeightedSumByNonZeroWeights());
  EXPECT_TRUE(MPS::NNReduceFeatureChannelsAndWeightsSum(cpuDevice(), true).doWeightedSumByNonZeroWeights());
  EXPECT_EQ(kernel.primarySourceClipRect(), MPS::RectNoClip);
  EXPECT_EQ(kernel.secondarySourceClipRect(), MPS::RectNoClip);
  kernel.setPrimaryOffset({1, 2, 3});
  EXPECT_EQ(kernel.primaryOffset(), (MPS::Offset{1, 2, 3}));
  const auto d = kernel.destinationImageDescriptor({imageOf(Tensor(2, 3, 4, 5)), imageOf(Tensor(2, 3, 4, 5))}, {});
  EXPECT_EQ(d->width() * 100 + d->height() * 10 + d->featureChannels(), 431u);
}

}  // namespace
}  // namespace kovar::test
