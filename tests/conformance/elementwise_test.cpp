// Element-wise programs: every step and every neuron, in all formats, layouts and broadcasts.

#include <gtest/gtest.h>

#include "conformance/memory_case.hpp"
#include "oracle/neuron.hpp"

namespace kovar::test {
namespace {

using prim::DType;
using prim::EwOp;
using prim::EwStep;

Dims randomDims(Random& r) {
  switch (r.integer(0, 4)) {
    case 0:
      return {r.integer(1, 3000)};
    case 1:
      return {r.integer(1, 70), r.integer(1, 40)};
    case 2:
      return {r.integer(1, 3), r.integer(1, 9), r.integer(1, 9), r.integer(1, 40)};
    case 3:
      return {2, r.integer(20, 40), r.integer(20, 40), r.pick({1L, 3L, 16L, 32L})};  // several chunks
    default:
      return {r.integer(1, 4), r.integer(1, 4), r.integer(1, 3), r.integer(1, 3), r.integer(1, 3), r.integer(1, 5)};
  }
}

/// What one step does to whole numbers.
double valueOf(const EwStep& s, const std::array<double, prim::kMaxRegisters>& reg) {
  const double a = reg[s.a], b = reg[s.b], p = s.p[0], q = s.p[1];
  switch (s.op) {
    case EwOp::Const:
      return p;
    case EwOp::Affine:
      return a * p + q;
    case EwOp::Add:
      return a + b;
    case EwOp::Sub:
      return a - b;
    case EwOp::Mul:
      return a * b;
    case EwOp::Div:
      return a / b;
    case EwOp::Min:
      return std::min(a, b);
    case EwOp::Max:
      return std::max(a, b);
    case EwOp::Clamp:
      return std::clamp(a, p, q);
    case EwOp::InRange:
      return p < a && a < q ? 1 : 0;
    case EwOp::Neuron:
      return a >= 0 ? a : p * a;
    case EwOp::NeuronGrad:
      return a >= 0 ? reg[s.c] : p * reg[s.c];
    case EwOp::Compare: {
      const bool equal = std::fabs(a - b) <= p;
      const bool result[] = {equal, !equal, a < b && !equal, a < b || equal, a > b && !equal, a > b || equal};
      return result[s.code] ? 1 : 0;
    }
    case EwOp::Load:
    case EwOp::Store:
      break;
  }
  return 0;
}

/// A random program on whole numbers: results are exact, so the comparison is, too.
TEST(ElementwiseConformance, ProgramsOnWholeNumbers) {
  const Devices devices;
  forCases(300, [&](Case& c) {
    Random& r = c.random;
    const Dims dims = randomDims(r);
    const auto count = static_cast<std::size_t>(productOf(dims));
    prim::Program program;
    std::vector<Argument> args;
    std::array<std::vector<double>, prim::kMaxRegisters> registers;
    std::vector<std::pair<std::size_t, std::vector<double>>> stored;
    std::vector<int> defined;
    const auto isSmall = [](const std::vector<double>& v) {
      return std::all_of(v.begin(), v.end(), [](double x) { return std::fabs(x) < 1 << 20 && x == std::floor(x); });
    };
    const int steps = static_cast<int>(r.integer(2, 14));
    for (int i = 0; i < steps || stored.empty(); ++i) {
      EwStep s;
      s.dst = static_cast<std::uint8_t>(r.integer(0, prim::kMaxRegisters - 1));
      const auto some = [&] { return static_cast<std::uint8_t>(defined[r.bits() % defined.size()]); };
      if (defined.empty() || r.chance(0.25)) {
        s.op = EwOp::Load;
        s.arg = static_cast<std::uint8_t>(args.size());
        const DType t = r.pick({DType::F32, DType::F32, DType::F16, DType::U8, DType::U32});
        Argument a = readArgument(r, t, dims, {0, 1, false}, true);
        for (double& v : a.values) v = std::floor(v * 9) - (t == DType::F32 || t == DType::F16 ? 4 : 0);
        registers[s.dst] = a.values;
        args.push_back(std::move(a));
      } else if (r.chance(0.2) || (stored.empty() && program.count > 16)) {
        s.op = EwOp::Store;
        s.dst = 0;
        s.a = some();
        s.arg = static_cast<std::uint8_t>(args.size());
        args.push_back(writtenArgument(r, r.pick({DType::F32, DType::F32, DType::F16}), dims));
        stored.emplace_back(s.arg, registers[s.a]);
        program.push(s);
        continue;
      } else {
        s.op = static_cast<EwOp>(r.integer(static_cast<long>(EwOp::Const), static_cast<long>(EwOp::InRange)));
        s.a = some(), s.b = some(), s.c = some();
        s.p = {static_cast<float>(r.integer(-3, 3)), 0.f, 0.f};
        if (s.op == EwOp::Neuron || s.op == EwOp::NeuronGrad)
          s.code = 1;  // ReLU
        else if (s.op == EwOp::Compare)
          s.code = static_cast<std::uint8_t>(r.integer(0, 5)), s.p[0] = static_cast<float>(r.integer(0, 2));
        else
          s.p[1] = s.p[0] + static_cast<float>(r.integer(0, 5));
        std::vector<double> result(count);
        std::array<double, prim::kMaxRegisters> at{};
        for (std::size_t k = 0; k < count; ++k) {
          for (const int d : defined) at[static_cast<std::size_t>(d)] = registers[static_cast<std::size_t>(d)][k];
          result[k] = valueOf(s, at);
        }
        if (!isSmall(result)) continue;
        registers[s.dst] = std::move(result);
      }
      if (std::find(defined.begin(), defined.end(), s.dst) == defined.end()) defined.push_back(s.dst);
      if (!program.push(s)) break;
    }
    const DeviceCase device(prim::Elementwise{program}, args);
    runEverywhere(devices, c, device, [&](const std::vector<std::vector<float>>& got) {
      for (const auto& [arg, values] : stored)
        EXPECT_TRUE(holds(got[arg], args[arg].view.dtype, values, std::vector<double>(count, 1.0), {0.0, 1e-37}))
            << "argument " << arg;
    });
  });
}

/// Every neuron, forward or gradient, with PReLU's slopes read for each channel.
TEST(ElementwiseConformance, Neurons) {
  const Devices devices;
  forCases(oracle::kNeuronTypeCount * 20, [&](Case& c) {
    Random& r = c.random;
    oracle::Neuron neuron = oracle::Neuron::plain(static_cast<oracle::NeuronType>(c.index % oracle::kNeuronTypeCount));
    // The kinks must lie where float32 sees them, too.
    if (neuron.type == oracle::NeuronType::HardSigmoid) neuron.a = 0.25;
    const bool prelu = neuron.type == oracle::NeuronType::PReLU, gradient = r.chance(0.5);
    const Dims dims = randomDims(r);
    const auto count = static_cast<std::size_t>(productOf(dims));
    const auto channels = static_cast<std::size_t>(dims.back());
    neuron.a = static_cast<float>(neuron.a), neuron.b = static_cast<float>(neuron.b),
    neuron.c = static_cast<float>(neuron.c);
    if (prelu) neuron.data = randomValues(r, channels, {-1, 1, false}, oracle::Format::Float16);
    const DType in = r.pick({DType::F32, DType::F32, DType::F16}), out = randomType(r);
    std::vector<Argument> args;
    args.push_back(readArgument(r, in, dims, neuron.domain(), true));
    prim::Program program;
    program.push({.op = EwOp::Load, .dst = 0, .arg = 0});
    const std::array<float, 3> p{static_cast<float>(neuron.a), static_cast<float>(neuron.b),
                                 static_cast<float>(neuron.c)};
    const auto code = static_cast<std::uint8_t>(neuron.type);
    if (prelu) {
      Argument slopes{prim::View::contiguous(DType::F32, {}), {}, false};
      slopes.view.rank = static_cast<std::uint8_t>(dims.size());
      for (std::size_t a = 0; a < dims.size(); ++a) slopes.view.dims[a] = dims[a];
      slopes.view.strides[dims.size() - 1] = 1;
      for (std::size_t k = 0; k < count; ++k) slopes.values.push_back(neuron.data[k % channels]);
      args.push_back(std::move(slopes));
      program.push({.op = EwOp::Load, .dst = 1, .arg = 1});
    }
    if (gradient) {
      program.push({.op = EwOp::Load, .dst = 2, .arg = static_cast<std::uint8_t>(args.size())});
      program.push({.op = EwOp::NeuronGrad, .dst = 3, .a = 0, .b = 1, .c = 2, .code = code, .p = p});
      args.push_back(readArgument(r, in, dims, {-2, 2, false}, true));
    } else {
      program.push({.op = EwOp::Neuron, .dst = 3, .a = 0, .b = 1, .code = code, .p = p});
    }
    if (!prelu)
      for (EwStep& s : program.steps) s.b = 0;  // no slopes: register 1 is not set
    program.push({.op = EwOp::Store, .a = 3, .arg = static_cast<std::uint8_t>(args.size())});
    args.push_back(writtenArgument(r, out, dims));
    std::vector<double> expected, magnitude;
    for (std::size_t k = 0; k < count; ++k) {
      const double x = args[0].values[k], g = gradient ? args[args.size() - 2].values[k] : 1;
      expected.push_back(g * (gradient ? neuron.derivative(x, k % channels) : neuron.value(x, k % channels)));
      magnitude.push_back(std::fabs(g) * (gradient ? neuron.derivativeMagnitude(x, k % channels)
                                                   : neuron.valueMagnitude(x, k % channels)));
    }
    const DeviceCase device(prim::Elementwise{program}, args);
    runEverywhere(devices, c, device, [&](const std::vector<std::vector<float>>& got) {
      EXPECT_TRUE(holds(got.back(), out, expected, magnitude, neuron.tolerance())) << neuron.name();
    });
  });
}

/// In place: the result takes the place of an argument that is read.
TEST(ElementwiseConformance, InPlace) {
  const Devices devices;
  forCases(100, [&](Case& c) {
    Random& r = c.random;
    const Dims dims = randomDims(r);
    const DType t = r.pick({DType::F32, DType::F16});
    std::vector<Argument> args{readArgument(r, t, dims, {-4, 4, false}),
                               readArgument(r, DType::F32, dims, {-4, 4, false}, true),
                               writtenArgument(r, DType::F32, dims)};
    args[0].written = true;
    prim::Program program;
    program.push({.op = EwOp::Load, .dst = 0, .arg = 0});
    program.push({.op = EwOp::Load, .dst = 1, .arg = 1});
    program.push({.op = EwOp::Add, .dst = 2, .a = 0, .b = 1});
    program.push({.op = EwOp::Store, .a = 2, .arg = 0});
    // The old value is still in its register.
    program.push({.op = EwOp::Sub, .dst = 2, .a = 0, .b = 1});
    program.push({.op = EwOp::Store, .a = 2, .arg = 2});
    std::vector<double> sum, difference, magnitude;
    for (std::size_t k = 0; k < args[0].values.size(); ++k) {
      const double x = args[0].values[k], y = args[1].values[k];
      sum.push_back(x + y), difference.push_back(x - y), magnitude.push_back(std::fabs(x) + std::fabs(y));
    }
    const DeviceCase device(prim::Elementwise{program}, args);
    runEverywhere(devices, c, device, [&](const std::vector<std::vector<float>>& got) {
      EXPECT_TRUE(holds(got[0], t, sum, magnitude, {1e-7, 1e-37}));
      EXPECT_TRUE(holds(got[2], DType::F32, difference, magnitude, {1e-7, 1e-37}));
    });
  });
}

/// NaN stays NaN through a clamp, loses in minimum and maximum, and a store to unorm makes it 0.
TEST(ElementwiseConformance, NaN) {
  const Devices devices;
  const double nan = std::nan("");
  forCases(1, [&](Case& c) {
    const Dims dims{37};
    std::vector<Argument> args{{prim::View::contiguous(DType::F32, {37}), std::vector<double>(37, nan)},
                               {prim::View::contiguous(DType::F32, {37}), std::vector<double>(37, 0.25)},
                               {prim::View::contiguous(DType::F32, {37}), std::vector<double>(37, 0), true},
                               {prim::View::contiguous(DType::F16, {37}), std::vector<double>(37, 0), true},
                               {prim::View::contiguous(DType::Unorm8, {37}), std::vector<double>(37, 1), true}};
    prim::Program program;
    program.push({.op = EwOp::Load, .dst = 0, .arg = 0});
    program.push({.op = EwOp::Load, .dst = 1, .arg = 1});
    program.push({.op = EwOp::Clamp, .dst = 2, .a = 0, .p = {-1.f, 1.f}});
    program.push({.op = EwOp::Store, .a = 2, .arg = 3});
    program.push({.op = EwOp::Store, .a = 2, .arg = 4});
    program.push({.op = EwOp::Max, .dst = 3, .a = 0, .b = 1});
    program.push({.op = EwOp::Min, .dst = 3, .a = 3, .b = 0});
    program.push({.op = EwOp::Store, .a = 3, .arg = 2});
    const DeviceCase device(prim::Elementwise{program}, args);
    runEverywhere(devices, c, device, [&](const std::vector<std::vector<float>>& got) {
      for (std::size_t i = 0; i < 37; ++i) {
        EXPECT_EQ(got[2][i], 0.25f);
        EXPECT_TRUE(std::isnan(got[3][i]));
        EXPECT_EQ(got[4][i], 0.f);
      }
    });
  });
}

}  // namespace
}  // namespace kovar::test
