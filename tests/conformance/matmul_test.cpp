// Every implementation of the matrix product by name, against sums in double precision.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "conformance/memory_case.hpp"

namespace kovar::test {
namespace {

using prim::DType;
using prim::View;

struct Problem {
  prim::Matmul desc;
  long m = 1, n = 1, k = 1;
  DType aType = DType::F32, bType = DType::F32, cType = DType::F32;
  bool broadcastPost = false;
};

Problem randomProblem(Random& r) {
  Problem p;
  const auto extent = [&] {
    return r.chance(0.15) ? 1L : r.chance(0.6) ? r.integer(1, 40) : r.pick({48L, 63L, 64L, 96L, 130L, 257L});
  };
  p.m = extent(), p.n = extent(), p.k = extent();
  if (r.chance(0.05)) p.k = r.integer(4000, 5000), p.m = r.integer(1, 9);
  p.desc.transposeA = r.chance(0.5), p.desc.transposeB = r.chance(0.5);
  p.desc.bias = r.chance(0.5), p.desc.rowSum = r.chance(0.3), p.desc.accumulate = r.chance(0.3);
  if (r.chance(0.3)) {
    p.aType = r.pick({DType::F32, DType::F16, DType::Unorm8});
    p.bType = r.pick({DType::F32, DType::F16, DType::Unorm8});
    p.cType = r.pick({DType::F32, DType::F16, DType::Unorm8});
  }
  if (r.chance(0.3)) {
    p.desc.post = testProgram();
    p.broadcastPost = r.chance(0.5);
  }
  return p;
}

/// A matrix as a product reads it: rows by columns after the transpose.
struct Matrix {
  Argument argument;
  bool transposed = false;
  long rows = 0, columns = 0;

  double at(long i, long j) const {
    return argument.values[static_cast<size_t>(transposed ? j * rows + i : i * columns + j)];
  }
};

Matrix randomMatrix(Random& r, DType t, long rows, long columns, bool transposed) {
  Matrix m{{}, transposed, rows, columns};
  m.argument.view = randomMatrixView(r, t, transposed ? columns : rows, transposed ? rows : columns);
  m.argument.values = randomValues(r, static_cast<size_t>(rows * columns), domainOf(t), formatOf(t));
  return m;
}

void run(const Problem& p, Case& c, const Devices& devices, std::map<std::string, int>& ran) {
  Random& r = c.random;
  const Matrix a = randomMatrix(r, p.aType, p.m, p.k, p.desc.transposeA),
               b = randomMatrix(r, p.bType, p.k, p.n, p.desc.transposeB);
  const auto size = static_cast<size_t>(p.m * p.n);
  std::vector<double> bias(static_cast<size_t>(p.n), 0.0), before(size, 0.0), other(size, 0.0);
  if (p.desc.bias) bias = randomValues(r, bias.size(), {-1, 1, false});
  if (p.desc.accumulate) before = randomValues(r, size, domainOf(p.cType), formatOf(p.cType));
  if (!p.desc.post.empty()) {
    other = randomValues(r, size, {-1, 1, false});
    for (size_t i = 0; i < size && p.broadcastPost; ++i) other[i] = other[i % static_cast<size_t>(p.n)];
  }
  std::vector<double> expected(size), magnitude(size), kept(size), sums(static_cast<size_t>(p.m), 0.0),
      sumsMagnitude(static_cast<size_t>(p.m), 0.0);
  for (long i = 0; i < p.m; ++i)
    for (long j = 0; j < p.n; ++j) {
      const auto at = static_cast<size_t>(i * p.n + j);
      double sum = bias[static_cast<size_t>(j)] + before[at];
      double parts = std::fabs(bias[static_cast<size_t>(j)]) + std::fabs(before[at]);
      for (long k = 0; k < p.k; ++k) {
        sum += a.at(i, k) * b.at(k, j);
        parts += std::fabs(a.at(i, k) * b.at(k, j));
      }
      if (!p.desc.post.empty()) {
        kept[at] = 0.5 * sum + 0.25;
        sum = std::max(kept[at] + other[at], -0.75);
        parts = 0.5 * parts + 1.25 + std::fabs(other[at]);
      }
      expected[at] = sum, magnitude[at] = parts;
    }
  for (long i = 0; i < p.m; ++i)
    for (long k = 0; k < p.k; ++k) {
      sums[static_cast<size_t>(i)] += a.at(i, k);
      sumsMagnitude[static_cast<size_t>(i)] += std::fabs(a.at(i, k));
    }
  std::vector<Argument> args = {a.argument, b.argument};
  if (p.desc.bias) args.push_back({View::contiguous(DType::F32, {p.n}), bias});
  const size_t out = args.size(), own = out + (p.desc.rowSum ? 2 : 1);
  args.push_back(
      {randomMatrixView(r, p.cType, p.m, p.n), p.desc.accumulate ? before : std::vector<double>(size, 0.5), true});
  if (p.desc.rowSum) {
    args.push_back({View::contiguous(DType::F32, {p.m}), std::vector<double>(sums.size(), 0.25), true});
    for (size_t i = 0; i < sums.size() && p.desc.accumulate; ++i) sums[i] += 0.25, sumsMagnitude[i] += 0.25;
  }
  if (!p.desc.post.empty()) {
    View view = View::contiguous(DType::F32, {p.m, p.n});
    if (p.broadcastPost) view.strides[0] = 0;
    args.push_back({view, other});
    args.push_back({randomMatrixView(r, DType::F32, p.m, p.n), std::vector<double>(size, 0.5), true});
  }
  const DeviceCase device(p.desc, args);
  c.text = device.text();
  const InstructionSet instructions(c.index % 3);
  for (const auto& [kind, name] :
       devices.implementations(device, static_cast<double>(p.m * p.n) * static_cast<double>(p.k))) {
    SCOPED_TRACE(name);
    const bool took = device.run(kind, name, [&](const std::vector<std::vector<float>>& got) {
      EXPECT_TRUE(holds(got[out], p.cType, expected, magnitude, {1e-5, 1e-37}));
      if (p.desc.rowSum) EXPECT_TRUE(holds(got[out + 1], DType::F32, sums, sumsMagnitude, {1e-5, 1e-37})) << "row sums";
      if (!p.desc.post.empty())
        EXPECT_TRUE(holds(got[own + 1], DType::F32, kept, magnitude, {1e-5, 1e-37})) << "stored";
    });
    ran[name] += took;
    EXPECT_TRUE(took || name != devices.last(kind, device)) << "the last candidate takes everything";
  }
}

TEST(MatmulConformance, RandomProblems) {
  const Devices devices;
  std::map<std::string, int> ran;
  constexpr int kCases = 400;
  forCases(kCases, [&](Case& c) { run(randomProblem(c.random), c, devices, ran); });
  if (!allCasesRun()) return;
  for (const auto& [name, count] : ran) EXPECT_GE(count, kCases / 2) << name << " ran too rarely to be tested";
}

// A product that updates parameters is the product and then the step.
TEST(MatmulConformance, Update) {
  // Only the processor's device has Caps::updatingProducts.
  const Devices devices;
  const Devices::Kind processor = devices.processor();
  if (processor.empty()) GTEST_SKIP() << "the processor is left out";
  std::map<std::string, int> ran;
  constexpr int kCases = 90;
  forCases(kCases, [&](Case& c) {
    Random& r = c.random;
    prim::Matmul product;
    product.transposeA = true, product.rowSum = r.chance(0.5);
    product.step.kind = static_cast<prim::StepKind>(c.index % 6);
    product.step.clip = r.chance(0.3), product.step.regularization = static_cast<std::uint8_t>(r.integer(0, 2));
    const long m = r.integer(1, 70), k = r.integer(1, 40), n = c.index % 10 == 0 ? 4500 : r.integer(1, 200);
    const Matrix a = randomMatrix(r, DType::F32, m, k, true), b = randomMatrix(r, DType::F32, k, n, false);
    const View whole = View::contiguous(DType::F32, {m, n});
    const auto size = static_cast<size_t>(m * n);
    Argument values{whole, randomValues(r, size, {-1, 1, false})}, result{whole, std::vector<double>(size, 0.5), true};
    std::vector<Argument> states;
    for (size_t i = 0; i < prim::statesOf(product.step.kind); ++i)
      states.push_back({whole, randomValues(r, size, {0.01, 1, false}), true});
    prim::Scalars scalars;
    scalars.f = {0.125f, 0.875f, 0.75f, 1e-3f, 0.5f, -0.5f, 0.75f, 0.25f};

    // In two operations.
    const Argument sums{View::contiguous(DType::F32, {m}), std::vector<double>(static_cast<size_t>(m), 0.25), true};
    std::vector<std::vector<float>> gradient, stepped;
    std::vector<Argument> args = {a.argument, b.argument, result};
    if (product.rowSum) args.push_back(sums);
    ASSERT_TRUE(
        DeviceCase(product, args).run(processor, "cpu:matmul:generic", [&](const auto& got) { gradient = got; }));
    args = {{whole, toDouble(gradient[2])}, values};
    args.insert(args.end(), states.begin(), states.end());
    args.push_back(result);
    DeviceCase step(product.step, args);
    step.scalars = scalars;
    ASSERT_TRUE(step.run(processor, "cpu:step:blocks", [&](const auto& got) { stepped = got; }));

    product.update = true;
    args = {a.argument, b.argument, result};
    if (product.rowSum) args.push_back(sums);
    args.push_back(values);
    args.insert(args.end(), states.begin(), states.end());
    DeviceCase device(product, args);
    device.scalars = scalars;
    c.text = device.text();
    const InstructionSet instructions(c.index % 3);
    for (const std::string& name : device.candidates(*processor.front())) {
      SCOPED_TRACE(name);
      ran[name] += device.run(processor, name, [&](const std::vector<std::vector<float>>& got) {
        const std::vector<double> magnitude(size, 4.0);
        EXPECT_TRUE(holds(got[2], DType::F32, toDouble(stepped.back()), magnitude, {1e-5, 1e-37}));
        const size_t firstState = product.rowSum ? 5 : 4;
        for (size_t i = 0; i < states.size(); ++i)
          EXPECT_TRUE(holds(got[firstState + i], DType::F32, toDouble(stepped[2 + i]), magnitude, {1e-5, 1e-37}));
        if (product.rowSum) EXPECT_EQ(got[3], gradient[3]);
      });
    }
  });
  if (std::getenv("KOVAR_TEST_CASE") != nullptr) return;
  for (const auto& [name, count] : ran) EXPECT_EQ(count, kCases) << name;
}

// The products of fully connected layers, large enough that C is cut both ways.
TEST(MatmulConformance, EveryGrid) {
  const Devices devices(Devices::Work::Large);
  std::map<std::string, int> ran;
  const long shapes[][3] = {{40, 130, 700}, {200, 17, 300}, {130, 700, 40}, {1, 900, 300}, {300, 1, 200}, {64, 64, 1}};
  forCases(static_cast<int>(std::size(shapes)) * 4, [&](Case& c) {
    Problem p;
    const auto& shape = shapes[c.index / 4];
    p.m = shape[0], p.n = shape[1], p.k = shape[2];
    p.desc.transposeA = c.index % 2 == 1, p.desc.transposeB = c.index / 2 % 2 == 1;
    p.desc.bias = p.desc.rowSum = true;
    p.desc.accumulate = c.index % 3 == 0;
    run(p, c, devices, ran);
  });
}

}  // namespace
}  // namespace kovar::test
