// NNResizeBilinear, NNCropAndResizeBilinear and NNGridSample against the oracle and PyTorch.

#include "kovar/MPS/NN/NNResize.hpp"

#include <cmath>
#include <limits>

#include "kovar/MPS/NN/NNGridSample.hpp"
#include "nn_case.hpp"
#include "oracle/sample.hpp"
#include "support/golden.hpp"

namespace kovar::test {
namespace {

/// Every value with room for its rounding.
oracle::Result all(const Tensor& t) {
  oracle::Result r{t, t};
  for (double& m : r.magnitude.v) m = 8;
  return r;
}
constexpr oracle::Tolerance kTolerance{1e-6, 1e-37};

TEST(ResizeBilinear, MatchesTheOracle) {
  forCases(250, [](Case& k) {
    Random& r = k.random;
    const Arrangement arrangement = randomArrangement(r);
    const std::size_t n = r.size(1, 3), h = r.size(1, 9), w = r.size(1, 9), c = r.size(1, 9),
                      before = r.chance(0.2) ? 4 : 0;
    const std::size_t rh = r.size(1, 14), rw = r.size(1, 14);
    const bool align = r.chance(0.5);
    const Format from = randomFormat(r, {0, 1, false}), to = r.pick({Format::Float32, Format::Float16, Format::Unorm8});
    k.text = std::string(nameOf(arrangement)) + " " + std::to_string(h) + "x" + std::to_string(w) + " -> " +
             std::to_string(rh) + "x" + std::to_string(rw) + (align ? " aligned" : "");
    const Tensor source = randomTensor(r, n, h, w, before + c, {0, 1, false}, from);
    MPS::NNResizeBilinear kernel(cpuDevice(), rw, rh, align);
    kernel.setSourceFeatureChannelOffset(before);
    kernel.setEdgeMode(r.pick({MPS::ImageEdgeMode::Zero, MPS::ImageEdgeMode::Clamp}));
    const auto destination = imagesOf(Tensor(n, rh, rw, c), to, arrangement);
    runOnCpu([&](const auto& buffer) {
      encodeAs(arrangement, kernel, buffer, imagesOf(source, from, arrangement), destination);
    });
    const Tensor wanted = oracle::resizeBilinear(oracle::slice(source, 0, 0, h, w, before, c), rh, rw, align);
    EXPECT_TRUE(matches(tensorOf(destination), all(wanted), to, kTolerance));
  });
}

TEST(ResizeBilinear, SizesItsResult) {
  MPS::NNResizeBilinear kernel(cpuDevice(), 5, 3, true);
  kernel.setDestinationImageAllocator(float32Images());
  Tensor x(1, 2, 2, 1);
  x.v = {0, 4, 8, 12};
  Ref<MPS::Image> y;
  runOnCpu([&](const auto& buffer) { y = kernel.encode(buffer, imageOf(x)); });
  EXPECT_EQ(tensorOf(*y).v, (std::vector<double>{0, 1, 2, 3, 4, 4, 5, 6, 7, 8, 8, 9, 10, 11, 12}));
  EXPECT_EQ(kernel.resizeWidth(), 5u);
  EXPECT_EQ(kernel.resizeHeight(), 3u);
  EXPECT_TRUE(kernel.alignCorners());
  EXPECT_TRUE(std::dynamic_pointer_cast<MPS::NNResizeBilinear>(kernel.copy(nullptr))->alignCorners());
  expectError([] { MPS::NNResizeBilinear(cpuDevice(), 0, 3, true); }, {"NNResizeBilinear.resizeWidth: 0", "between 1"});
}

MPS::Region regionOf(const oracle::Box& b) { return {{b.x, b.y, 0}, {b.width, b.height, 0}}; }

TEST(CropAndResize, MatchesTheOracle) {
  forCases(250, [](Case& k) {
    Random& r = k.random;
    const std::size_t n = r.size(1, 2), h = r.size(2, 9), w = r.size(2, 9), c = r.size(1, 9);
    const std::size_t rh = r.size(1, 6), rw = r.size(1, 6), count = r.size(1, 3);
    std::vector<oracle::Box> boxes;
    std::vector<MPS::Region> regions;
    // Multiples of 1/64 whose products are exact in float: no coordinate lies on the border by a rounding.
    const auto at = [&](double low, double high) { return std::round(r.real(low, high) * 64) / 64; };
    for (std::size_t i = 0; i < count; ++i) {
      boxes.push_back({at(-0.3, 0.8), at(-0.3, 0.8), at(0, 1.2), at(0, 1.2)});
      regions.push_back(regionOf(boxes.back()));
    }
    const Tensor source = randomTensor(r, n, h, w, c, {-4, 4, false});
    const bool automatic = r.chance(0.5);
    k.text = source.shape() + " -> " + std::to_string(rh) + "x" + std::to_string(rw) + ", " + std::to_string(count) +
             " boxes";
    MPS::NNCropAndResizeBilinear kernel(cpuDevice(), rw, rh, regions);
    kernel.setDestinationImageAllocator(float32Images());
    Ref<MPS::Image> y = imageOf(Tensor(n * count, rh, rw, c));
    runOnCpu([&](const auto& buffer) {
      if (automatic)
        y = kernel.encode(buffer, imageOf(source));
      else
        kernel.encode(buffer, imageOf(source), y);
    });
    const Tensor wanted = oracle::cropAndResize(source, boxes, rh, rw), got = tensorOf(*y);
    ASSERT_TRUE(got.sameShape(wanted)) << got.shape();
    // Where a coordinate lies on the border but for its rounding, either side is right.
    std::size_t apart = 0;
    for (std::size_t i = 0; i < wanted.size(); ++i) apart += std::fabs(got.v[i] - wanted.v[i]) > 1e-5;
    const auto onBorder = [&](const oracle::Box& b) {
      bool found = false;
      const auto check = [&](double origin, double size, std::size_t extent, std::size_t results) {
        const auto last = static_cast<double>(extent - 1);
        for (std::size_t i = 0; i < results; ++i) {
          const double u =
              results == 1 ? (origin + size / 2) * last
                           : origin * last + static_cast<double>(i) * size * last / static_cast<double>(results - 1);
          found = found || std::fabs(u) < 1e-5 || std::fabs(u - last) < 1e-5;
        }
      };
      check(b.y, b.height, h, rh);
      check(b.x, b.width, w, rw);
      return found;
    };
    if (std::none_of(boxes.begin(), boxes.end(), onBorder)) EXPECT_EQ(apart, 0u);
    EXPECT_LE(apart, wanted.size() / 2);
  });
}

TEST(CropAndResize, TheWholeImageIsAResizeWithAlignedCorners) {
  Random r(9);
  const Tensor x = randomTensor(r, 1, 5, 7, 3, {-2, 2, false});
  const auto whole = std::make_shared<MPS::Region>(MPS::Region{{0, 0, 0}, {1, 1, 0}});
  MPS::NNCropAndResizeBilinear crop(cpuDevice(), 4, 3, 1, whole);
  EXPECT_EQ(crop.numberOfRegions(), 1u);
  EXPECT_EQ(*crop.regions(), *whole);
  const auto y = imageOf(Tensor(1, 3, 4, 3));
  runOnCpu([&](const auto& buffer) { crop.encode(buffer, imageOf(x), y); });
  EXPECT_TRUE(matches(tensorOf(*y), all(oracle::resizeBilinear(x, 3, 4, true)), Format::Float32, kTolerance));
}

TEST(CropAndResize, ErrorsTellWhatIsWrong) {
  expectError([] { MPS::NNCropAndResizeBilinear(cpuDevice(), 4, 3, 0, nullptr); }, {"no regions given"});
  MPS::NNCropAndResizeBilinear crop(cpuDevice(), 4, 3, {MPS::Region{}, MPS::Region{}});
  const auto buffer = cpuQueue()->commandBuffer();
  expectError([&] { crop.encode(buffer, imageOf(Tensor(2, 4, 4, 1)), imageOf(Tensor(2, 3, 4, 1))); },
              {"each source image gives 2 images, the destination has 2 for 2; make it 4"});
  crop.setOffset({1, 0, 0});
  expectError([&] { crop.encode(buffer, imageOf(Tensor(1, 4, 4, 1)), imageOf(Tensor(2, 3, 4, 1))); },
              {"regions say where to read"});
}

TEST(GridSample, MatchesTheOracle) {
  forCases(250, [](Case& k) {
    Random& r = k.random;
    const Arrangement arrangement = randomArrangement(r);
    const std::size_t n = r.size(1, 3), h = r.size(1, 8), w = r.size(1, 8), c = r.size(1, 9);
    const std::size_t gh = r.size(1, 7), gw = r.size(1, 7);
    const bool relative = r.chance(0.5), clamp = r.chance(0.5);
    const Format from = r.pick({Format::Float32, Format::Float16});
    const Tensor source = randomTensor(r, n, h, w, c, {-4, 4, false}, from);
    const Tensor grid = randomTensor(r, n, gh, gw, 2, {-2.0, static_cast<double>(std::max(h, w)) + 1, false}, from);
    k.text = source.shape() + " at " + grid.shape() + (relative ? " relative" : "") + (clamp ? " clamp" : "") + " " +
             nameOf(arrangement);
    MPS::NNGridSample kernel(cpuDevice());
    kernel.setUseGridValueAsInputCoordinate(!relative);
    if (clamp) kernel.setPrimaryEdgeMode(MPS::ImageEdgeMode::Clamp);
    const auto y = imagesOf(Tensor(n, gh, gw, c), Format::Float32, arrangement);
    const auto a = imagesOf(source, from, arrangement), b = imagesOf(grid, from, arrangement);
    runOnCpu([&](const auto& buffer) {
      if (arrangement == Arrangement::Array)
        kernel.encode(buffer, a[0], b[0], y[0]);
      else
        kernel.encodeBatch(buffer, a, b, y);
    });
    const Tensor wanted =
        oracle::gridSample(source, grid, relative, clamp ? oracle::EdgeMode::Clamp : oracle::EdgeMode::Zero);
    EXPECT_TRUE(matches(tensorOf(y), all(wanted), Format::Float32, {2e-6, 1e-37}));
  });
}

TEST(GridSample, FarCoordinatesAndNaNLieOutside) {
  const double inf = std::numeric_limits<double>::infinity();
  Tensor x(1, 1, 2, 1), grid(1, 1, 5, 2);
  x.v = {3, 5};
  grid.v = {NAN, 0, inf, 0, -inf, 0, 1e30, 0, 0.5, 0};
  for (const bool clamp : {false, true}) {
    MPS::NNGridSample kernel(cpuDevice());
    kernel.setDestinationImageAllocator(float32Images());
    if (clamp) kernel.setPrimaryEdgeMode(MPS::ImageEdgeMode::Clamp);
    Ref<MPS::Image> y;
    runOnCpu([&](const auto& buffer) { y = kernel.encode(buffer, imageOf(x), imageOf(grid)); });
    EXPECT_EQ(tensorOf(*y).v, clamp ? (std::vector<double>{3, 5, 3, 5, 4}) : (std::vector<double>{0, 0, 0, 0, 4}));
  }
  MPS::NNGridSample kernel(cpuDevice());
  EXPECT_TRUE(kernel.useGridValueAsInputCoordinate());
  const auto buffer = cpuQueue()->commandBuffer();
  expectError([&] { kernel.encode(buffer, imageOf(x), imageOf(x)); }, {"it needs two, x and y"});
}

TEST(Resample, MatchesPyTorch) {
  int compared = 0;
  for (const GoldenCase& golden : readGolden(KOVAR_SOURCE_DIR "/tests/golden/ops/resample.txt")) {
    SCOPED_TRACE(golden.name);
    const std::string& kind = golden.word("kind");
    if (kind == "gram") continue;
    const Tensor &x = golden.tensor("source"), &wanted = golden.tensor("result");
    const auto y = imageOf(Tensor(wanted.n, wanted.h, wanted.w, wanted.c));
    runOnCpu([&](const auto& buffer) {
      if (kind == "grid") {
        MPS::NNGridSample kernel(cpuDevice());
        if (golden.integer("border")) kernel.setPrimaryEdgeMode(MPS::ImageEdgeMode::Clamp);
        kernel.encode(buffer, imageOf(x), imageOf(golden.tensor("grid")), y);
      } else {
        MPS::NNResizeBilinear(cpuDevice(), wanted.w, wanted.h, true).encode(buffer, imageOf(x), y);
      }
    });
    EXPECT_TRUE(matches(tensorOf(*y), all(wanted), Format::Float32, kTolerance));
    ++compared;
  }
  EXPECT_EQ(compared, 12);
}

}  // namespace
}  // namespace kovar::test
