// Every implementation of the convolution by name, against the double-precision oracle.

#include "oracle/conv.hpp"

#include <gtest/gtest.h>

#include "conformance/device_case.hpp"
#include "conformance/devices.hpp"
#include "support/compare.hpp"

namespace kovar::test {
namespace {

using oracle::Tensor;
using prim::Direction;
using prim::DType;
using prim::View;

struct Problem {
  prim::Conv desc;
  long n = 1, hs = 1, ws = 1, ci = 1, hd = 1, wd = 1, co = 1;
  DType srcType = DType::F32, dstType = DType::F32;
  bool broadcastPost = false;
};

oracle::Conv oracleOf(const Problem& p) {
  oracle::Conv c;
  c.inputChannels = static_cast<size_t>(p.ci), c.outputChannels = static_cast<size_t>(p.co);
  c.kernelHeight = p.desc.y.kernel, c.kernelWidth = p.desc.x.kernel;
  c.strideY = p.desc.y.stride, c.strideX = p.desc.x.stride;
  c.dilationY = p.desc.y.dilation, c.dilationX = p.desc.x.dilation;
  c.groups = static_cast<size_t>(p.desc.groups);
  // The oracle counts from the centre tap.
  c.at.offset.y = p.desc.y.extent() / 2 - p.desc.y.pad;
  c.at.offset.x = p.desc.x.extent() / 2 - p.desc.x.pad;
  return c;
}

Tensor randomOf(Random& r, DType t, long n, long h, long w, long c) {
  return randomTensor(r, static_cast<size_t>(n), static_cast<size_t>(h), static_cast<size_t>(w), static_cast<size_t>(c),
                      domainOf(t), formatOf(t));
}

/// The random problems: mostly what networks have, and always something odd.
Problem randomProblem(Random& r) {
  Problem p;
  p.desc.direction = r.pick({Direction::Forward, Direction::Data, Direction::Weights});
  p.n = r.chance(0.2) ? r.integer(8, 19) : r.integer(1, 3);
  const bool large = r.chance(0.2);
  p.desc.groups = 1;
  if (r.chance(0.25)) {  // depthwise
    p.desc.groups = static_cast<int>(r.chance(0.3)   ? 16 * r.integer(1, 2)
                                     : r.chance(0.5) ? r.integer(17, 50)
                                                     : r.integer(2, 9));
    p.ci = p.desc.groups;
    p.co = p.ci * r.pick({1L, 1L, 2L});
  } else if (r.chance(0.15)) {
    p.desc.groups = static_cast<int>(r.integer(2, 4));
    p.ci = p.desc.groups * r.pick({1L, 3L, 4L, 16L}), p.co = p.desc.groups * r.pick({1L, 2L, 4L, 16L});
  } else {
    p.ci = large ? r.pick({16L, 32L, 64L, 144L}) : r.chance(0.5) ? 4 * r.integer(1, 5) : r.integer(1, 19);
    p.co = large ? r.pick({16L, 48L, 64L, 160L}) : r.chance(0.5) ? 4 * r.integer(1, 9) : r.integer(1, 35);
  }
  for (prim::Window* w : {&p.desc.y, &p.desc.x}) {
    w->kernel = static_cast<int>(r.chance(0.3) ? 1 : r.pick({2L, 3L, 3L, 5L, 7L}));
    w->stride = static_cast<int>(r.chance(0.7) ? 1 : r.integer(2, 3));
    w->dilation = static_cast<int>(r.chance(0.85) ? 1 : 2);
  }
  if (r.chance(0.7)) {
    const prim::Window y = p.desc.y;
    p.desc.x = y;
  }
  if (p.desc.groups == 1 && !large && r.chance(0.25))
    p.desc.x = p.desc.y = {static_cast<int>(r.pick({3L, 5L})), 1, 1, 0};
  long* sizes[2][2] = {{&p.hs, &p.hd}, {&p.ws, &p.wd}};
  prim::Window* windows[2] = {&p.desc.y, &p.desc.x};
  for (int a = 0; a < 2; ++a) {
    prim::Window& w = *windows[a];
    long &s = *sizes[a][0], &d = *sizes[a][1];
    s = r.integer(1, large ? 20 : 11);
    if (r.chance(0.6)) {  // same
      d = (s + w.stride - 1) / w.stride;
      w.pad = static_cast<int>(std::max(0L, (d - 1) * w.stride + w.extent() - s) / 2);
    } else if (r.chance(0.5) && s >= w.extent()) {  // valid
      d = (s - w.extent()) / w.stride + 1;
      w.pad = 0;
    } else {  // wild
      d = r.integer(1, s + 4);
      w.pad = static_cast<int>(r.integer(-2, w.extent()));
    }
  }
  const bool plainTypes = r.chance(0.7);
  const auto type = [&] {
    return plainTypes ? DType::F32 : r.pick({DType::F32, DType::F16, DType::F16, DType::Unorm8, DType::Unorm16});
  };
  p.srcType = type(), p.dstType = type();
  p.desc.bias = p.desc.direction != Direction::Data && r.chance(0.6);
  p.desc.accumulate = p.desc.direction == Direction::Weights && r.chance(0.4);
  if (p.desc.direction != Direction::Weights && r.chance(0.4)) {
    p.desc.post = testProgram();
    p.broadcastPost = r.chance(0.5);
  }
  return p;
}

constexpr const char* kDepthwise = "cuda:conv:depthwise";

/// Of a sum on tiles, relative to what onTiles() says: the bound of docs/numerics.md.
constexpr double kTileTolerance = 1e-6;

bool onTiles(const std::string& name) { return name == "cpu:conv:winograd"; }

/// What errors of sums on tiles are judged by: a tile's largest values reach all its results (docs/numerics.md). Every
/// source channel of an image, and every kernel, at its largest absolute value.
oracle::Result onTiles(const Problem& p, oracle::Result r, const Tensor& source, const std::vector<double>& weights,
                       const std::vector<double>& bias) {
  const bool forward = p.desc.direction == Direction::Forward;
  const auto taps = static_cast<size_t>(p.desc.y.kernel) * static_cast<size_t>(p.desc.x.kernel);
  const auto ci = static_cast<size_t>(p.ci);
  if (p.desc.groups != 1) return r;
  const auto largestWeight = [&](size_t o, size_t i) {
    double most = 0;
    for (size_t t = 0; t < taps; ++t) most = std::max(most, std::fabs(weights[(o * taps + t) * ci + i]));
    return most;
  };
  for (size_t n = 0; n < source.n; ++n) {
    std::vector<double> largest(source.c);
    for (size_t i = 0, image = source.h * source.w * source.c; i < image; ++i)
      largest[i % source.c] = std::max(largest[i % source.c], std::fabs(source.v[n * image + i]));
    for (size_t c = 0; c < r.value.c; ++c) {
      double sum = bias.empty() ? 0.0 : std::fabs(bias[c]);
      for (size_t k = 0; k < source.c; ++k)
        sum += static_cast<double>(taps) * largest[k] * (forward ? largestWeight(c, k) : largestWeight(k, c));
      for (size_t i = 0; i < r.value.h * r.value.w; ++i)
        r.magnitude.v[(n * r.value.h * r.value.w + i) * r.value.c + c] = sum;
    }
  }
  return r;
}

/// The same of a weight gradient: every channel of both images at its largest, at every position.
std::vector<double> onTiles(const Problem& p, std::vector<double> magnitude, const Tensor& src, const Tensor& dst) {
  if (p.desc.groups != 1) return magnitude;
  const auto largestOf = [](const Tensor& t) {
    std::vector<double> largest(t.c);
    for (size_t i = 0; i < t.size(); ++i) largest[i % t.c] = std::max(largest[i % t.c], std::fabs(t.v[i]));
    return largest;
  };
  const std::vector<double> s = largestOf(src), d = largestOf(dst);
  const auto taps = static_cast<size_t>(p.desc.y.kernel) * static_cast<size_t>(p.desc.x.kernel);
  for (size_t i = 0; i < magnitude.size(); ++i)
    magnitude[i] += static_cast<double>(dst.n * dst.h * dst.w) * s[i % src.c] * d[i / (taps * src.c)];
  return magnitude;
}

View weightsView(const Problem& p) {
  return View::contiguous(DType::F32, {p.co, p.desc.y.kernel, p.desc.x.kernel, p.ci / p.desc.groups});
}

/// Applies testProgram() to the oracle's result; `other` as the view reads it.
oracle::Result afterProgram(oracle::Result v, const std::vector<double>& other, std::vector<double>& kept) {
  kept.clear();
  for (size_t i = 0; i < v.value.v.size(); ++i) {
    const double before = 0.5 * v.value.v[i] + 0.25;
    kept.push_back(before);
    v.value.v[i] = std::max(before + other[i], -0.75);
    v.magnitude.v[i] = 0.5 * v.magnitude.v[i] + 1.25 + std::fabs(other[i]);
  }
  return v;
}

std::vector<float> clampedTo(DType t, std::vector<double>& expected) {
  if (t == DType::Unorm8 || t == DType::Unorm16)
    for (double& v : expected) v = std::clamp(v, 0.0, 1.0);
  return {};
}

double workOf(const Problem& p) {
  return static_cast<double>(p.n * p.hd * p.wd * p.co) *
         (static_cast<double>(p.ci) / static_cast<double>(p.desc.groups)) * p.desc.y.kernel * p.desc.x.kernel;
}

/// Narrow multiplications: TF32 or float16 operands and a result rounded before its program, at most.
double toleranceOf(const Problem& p) { return p.desc.reducedPrecision ? 4e-3 : 1e-5; }

/// Runs forward or data: they have the same shape of test.
void runResult(const Problem& p, Case& c, const Devices& devices, std::map<std::string, int>& ran) {
  Random& r = c.random;
  const bool forward = p.desc.direction == Direction::Forward;
  const oracle::Conv conv = oracleOf(p);
  const Tensor src =
      forward ? randomOf(r, p.srcType, p.n, p.hs, p.ws, p.ci) : randomOf(r, p.dstType, p.n, p.hd, p.wd, p.co);
  const DType inType = forward ? p.srcType : p.dstType, outType = forward ? p.dstType : p.srcType;
  const Tensor zero = forward ? Tensor(static_cast<size_t>(p.n), static_cast<size_t>(p.hd), static_cast<size_t>(p.wd),
                                       static_cast<size_t>(p.co))
                              : Tensor(static_cast<size_t>(p.n), static_cast<size_t>(p.hs), static_cast<size_t>(p.ws),
                                       static_cast<size_t>(p.ci));
  std::vector<double> weights = randomValues(r, conv.weightCount(), {-1, 1, false});
  for (double& w : weights) w = static_cast<float>(w);
  std::vector<double> bias;
  if (p.desc.bias) bias = randomValues(r, conv.outputChannels, {-1, 1, false});
  oracle::Result expected = forward ? oracle::convForward(conv, src, weights, bias, zero)
                                    : oracle::convDataGradient(conv, weights, src, zero);
  oracle::Result tiled = onTiles(p, expected, src, weights, bias);
  const auto dims = [](const Tensor& t, DType type, Random& random) {
    return randomImageView(random, type, static_cast<long>(t.n), static_cast<long>(t.h), static_cast<long>(t.w),
                           static_cast<long>(t.c));
  };
  std::vector<Argument> args;
  args.push_back({dims(src, inType, r), src.v});
  args.push_back({weightsView(p), weights});
  if (p.desc.bias) args.push_back({View::contiguous(DType::F32, {p.co}), bias});
  const size_t out = args.size();
  args.push_back({dims(zero, outType, r), std::vector<double>(zero.size(), 0.5), true});
  std::vector<double> kept;
  if (!p.desc.post.empty()) {
    View other = View::image(DType::F32, static_cast<long>(zero.n), static_cast<long>(zero.h),
                             static_cast<long>(zero.w), static_cast<long>(zero.c), static_cast<long>(zero.c));
    std::vector<double> values = randomValues(r, zero.size(), {-1, 1, false});
    if (p.broadcastPost) {  // one value a channel
      other.strides = {0, 0, 0, 1};
      for (size_t i = 0; i < values.size(); ++i) values[i] = values[i % zero.c];
    }
    expected = afterProgram(std::move(expected), values, kept);
    tiled = afterProgram(std::move(tiled), values, kept);
    args.push_back({other, values});
    args.push_back({randomImageView(r, DType::F32, static_cast<long>(zero.n), static_cast<long>(zero.h),
                                    static_cast<long>(zero.w), static_cast<long>(zero.c)),
                    std::vector<double>(zero.size(), 0.5), true});
  }
  clampedTo(outType, expected.value.v);
  clampedTo(outType, tiled.value.v);
  const DeviceCase device(p.desc, args);
  c.text = device.text();
  for (const auto& [kind, name] : devices.implementations(device, workOf(p))) {
    const bool onTile = onTiles(name);
    const bool took = device.run(kind, name, [&, &name = name](const std::vector<std::vector<float>>& got) {
      const oracle::Result& wanted = onTile ? tiled : expected;
      Compare how;
      how.tolerance = {onTile ? kTileTolerance : toleranceOf(p), 1e-37};
      how.storage = formatOf(outType);
      how.maxZeroShare = 1.0;  // windows may lie outside
      EXPECT_TRUE(compare(got[out], wanted, how)) << name;
      if (!kept.empty()) {
        how.storage = oracle::Format::Float32;
        EXPECT_TRUE(compare(got[out + 2], kept, wanted.magnitude.v, how, &wanted.value))
            << name << ", stored before the end";
      }
    });
    ran[name] += took;
    EXPECT_TRUE(took || name != devices.last(kind, device)) << "the last candidate takes everything";
  }
}

void runWeights(const Problem& p, Case& c, const Devices& devices, std::map<std::string, int>& ran) {
  Random& r = c.random;
  const oracle::Conv conv = oracleOf(p);
  const Tensor src = randomOf(r, p.srcType, p.n, p.hs, p.ws, p.ci), dst = randomOf(r, p.dstType, p.n, p.hd, p.wd, p.co);
  oracle::WeightGradient expected = oracle::convWeightGradient(conv, src, dst);
  std::vector<double> before = randomValues(r, conv.weightCount(), {-1, 1, false}),
                      biasBefore(conv.outputChannels, 0.25);
  for (size_t i = 0; i < before.size(); ++i) {
    before[i] = static_cast<float>(before[i]);
    if (!p.desc.accumulate) continue;
    expected.weights[i] += before[i], expected.weightsMagnitude[i] += std::fabs(before[i]);
  }
  for (size_t i = 0; i < biasBefore.size() && p.desc.accumulate; ++i)
    expected.bias[i] += biasBefore[i], expected.biasMagnitude[i] += 0.25;
  const std::vector<double> tiled = onTiles(p, expected.weightsMagnitude, src, dst);
  std::vector<Argument> args;
  args.push_back({randomImageView(r, p.srcType, p.n, p.hs, p.ws, p.ci), src.v});
  args.push_back({randomImageView(r, p.dstType, p.n, p.hd, p.wd, p.co), dst.v});
  args.push_back({weightsView(p), before, true});
  if (p.desc.bias) args.push_back({View::contiguous(DType::F32, {p.co}), biasBefore, true});
  const DeviceCase device(p.desc, args);
  c.text = device.text();
  for (const auto& [kind, name] : devices.implementations(device, 64 * workOf(p))) {
    const bool onTile = onTiles(name);
    const bool took = device.run(kind, name, [&, &name = name](const std::vector<std::vector<float>>& got) {
      Compare how;
      how.maxZeroShare = 1.0;
      how.tolerance = {onTile ? kTileTolerance : toleranceOf(p), 1e-37};
      EXPECT_TRUE(compare(got[2], expected.weights, onTile ? tiled : expected.weightsMagnitude, how)) << name;
      if (!p.desc.bias) return;
      how.tolerance = {1e-5, 1e-37};
      EXPECT_TRUE(compare(got[3], expected.bias, expected.biasMagnitude, how)) << name << ", bias";
    });
    ran[name] += took;
    EXPECT_TRUE(took || name != devices.last(kind, device)) << "the last candidate takes everything";
  }
}

TEST(ConvConformance, RandomProblems) {
  const Devices devices;
  std::map<std::string, int> ran;
  constexpr int kCases = 400;
  forCases(kCases, [&](Case& c) {
    const InstructionSet set(c.index % 3);
    const Problem p = randomProblem(c.random);
    if (p.desc.direction == Direction::Weights)
      runWeights(p, c, devices, ran);
    else
      runResult(p, c, devices, ran);
  });
  if (!allCasesRun()) return;
  ran.erase(kDepthwise);  // has a test of its own
  for (const auto& [name, count] : ran) EXPECT_GE(count, kCases / 10) << name << " ran too rarely to be tested";
}

TEST(ConvConformance, DepthwiseDataGradients) {
  const Devices devices;
  std::map<std::string, int> ran;
  constexpr int kCases = 100;
  forCases(kCases, [&](Case& c) {
    Problem p = randomProblem(c.random);
    p.desc.direction = Direction::Data;
    p.desc.bias = p.desc.accumulate = false;
    p.desc.groups = static_cast<int>(4 * c.random.integer(1, 8));
    p.ci = p.co = p.desc.groups;
    if (c.index % 2 == 0) p.srcType = p.dstType = c.index % 4 == 0 ? DType::F32 : DType::F16;
    runResult(p, c, devices, ran);
  });
  if (allCasesRun() && ran.count(kDepthwise) != 0)
    EXPECT_GE(ran[kDepthwise], kCases / 4) << "ran too rarely to be tested";
}

TEST(ConvConformance, ReducedPrecision) {
  const Devices devices;
  std::map<std::string, int> ran;
  forCases(120, [&](Case& c) {
    Problem p = randomProblem(c.random);
    p.desc.reducedPrecision = true;
    p.srcType = p.dstType = c.index % 3 == 0 ? DType::F32 : DType::F16;
    if (p.desc.direction == Direction::Weights)
      runWeights(p, c, devices, ran);
    else
      runResult(p, c, devices, ran);
  });
}

// Shapes large enough that each way of sharing work between threads is taken: images, rows, channel blocks, batch
// parts.
TEST(ConvConformance, EveryGrid) {
  const Devices devices(Devices::Work::Large);
  std::map<std::string, int> ran;
  struct Shape {
    long n, size, ci, co;
    int kernel, stride, groups;
  };
  const Shape shapes[] = {{16, 14, 16, 32, 5, 1, 1}, {1, 28, 24, 32, 3, 1, 1}, {1, 7, 160, 192, 3, 1, 1},
                          {2, 9, 128, 256, 1, 1, 1}, {3, 33, 3, 16, 7, 2, 1},  {1, 40, 64, 64, 3, 2, 64},
                          {9, 15, 32, 32, 3, 1, 4},  {20, 12, 1, 32, 5, 1, 1}, {1, 16, 192, 130, 3, 2, 1},
                          {5, 10, 48, 40, 3, 1, 1}};
  const Direction directions[] = {Direction::Forward, Direction::Data, Direction::Weights};
  forCases(static_cast<int>(std::size(shapes)) * 3, [&](Case& c) {
    const InstructionSet set((c.index + c.index / 3) % 3);
    const Shape& s = shapes[c.index / 3];
    Problem p;
    p.desc.direction = directions[c.index % 3];
    p.n = s.n, p.hs = p.ws = s.size, p.ci = s.ci, p.co = s.co;
    p.desc.y = {s.kernel, s.stride, 1, (s.kernel - 1) / 2};
    p.desc.x = p.desc.y;
    p.desc.groups = s.groups;
    p.hd = p.wd = (s.size + 2 * p.desc.y.pad - s.kernel) / s.stride + 1;
    if (p.desc.direction == Direction::Weights) {
      p.desc.bias = true, p.desc.accumulate = c.index % 2 == 1;
      runWeights(p, c, devices, ran);
    } else {
      p.desc.bias = p.desc.direction == Direction::Forward;
      p.desc.post = testProgram();
      p.broadcastPost = c.index % 2 == 1;
      runResult(p, c, devices, ran);
    }
  });
}

}  // namespace
}  // namespace kovar::test
