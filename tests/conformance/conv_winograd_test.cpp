// How precise convolutions on tiles are, and when they are not used. KOVAR_PRINT_ERRORS=1 prints what docs/numerics.md
// states.

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <iostream>
#include <iterator>
#include <utility>

#include "conformance/device_case.hpp"
#include "oracle/conv.hpp"

namespace kovar::test {
namespace {

using oracle::Tensor;
using prim::Direction;
using prim::DType;
using prim::View;

/// Errors in units of 2^-24 of the sum of the absolute values of the products.
struct Errors {
  double rms = 0, largest = 0;
};

Errors errorsOf(const std::vector<float>& got, const std::vector<double>& value, const std::vector<double>& magnitude) {
  Errors e;
  for (size_t i = 0; i < value.size(); ++i) {
    const double d = std::fabs(static_cast<double>(got[i]) - value[i]) / magnitude[i] * 0x1p24;
    e.rms += d * d / static_cast<double>(value.size());
    e.largest = std::max(e.largest, d);
  }
  e.rms = std::sqrt(e.rms);
  return e;
}

/// 14x14 pixels, 32 to 64 channels, four images, values of [-1, 1]; as in the digit classifier.
Errors measure(long kernel, Direction direction, const std::string& name) {
  constexpr long kImages = 4, kSize = 14, kInputs = 32, kOutputs = 64;
  Random r(20261);
  oracle::Conv conv;
  conv.inputChannels = kInputs, conv.outputChannels = kOutputs;
  conv.kernelWidth = conv.kernelHeight = kernel;
  const auto random = [&](size_t channels) {
    return randomTensor(r, kImages, kSize, kSize, channels, {-1, 1, false}, oracle::Format::Float32);
  };
  const Tensor src = random(kInputs), dst = random(kOutputs);
  std::vector<double> weights = randomValues(r, conv.weightCount(), {-1, 1, false});
  for (double& w : weights) w = static_cast<float>(w);
  prim::Conv desc;
  desc.direction = direction;
  desc.y = desc.x = {static_cast<int>(kernel), 1, 1, static_cast<int>(kernel / 2)};
  const View srcView = View::image(DType::F32, kImages, kSize, kSize, kInputs, kInputs),
             dstView = View::image(DType::F32, kImages, kSize, kSize, kOutputs, kOutputs),
             weightView = View::contiguous(DType::F32, {kOutputs, kernel, kernel, kInputs});
  const Tensor noSrc(kImages, kSize, kSize, kInputs), noDst(kImages, kSize, kSize, kOutputs);
  oracle::Result result;
  std::vector<Argument> args;
  switch (direction) {
    case Direction::Forward:
      result = oracle::convForward(conv, src, weights, {}, noDst);
      args = {{srcView, src.v}, {weightView, weights}, {dstView, noDst.v, true}};
      break;
    case Direction::Data:
      result = oracle::convDataGradient(conv, weights, dst, noSrc);
      args = {{dstView, dst.v}, {weightView, weights}, {srcView, noSrc.v, true}};
      break;
    case Direction::Weights: {
      const oracle::WeightGradient g = oracle::convWeightGradient(conv, src, dst);
      result.value.v = g.weights, result.magnitude.v = g.weightsMagnitude;
      args = {{srcView, src.v}, {dstView, dst.v}, {weightView, weights, true}};
      break;
    }
  }
  Errors errors;
  const auto device = cpu::makeCpuBackend(1);
  EXPECT_TRUE(DeviceCase(desc, args).run({device.get()}, name, [&](const std::vector<std::vector<float>>& got) {
    errors = errorsOf(got[2], result.value.v, result.magnitude.v);
  }));
  return errors;
}

TEST(ConvWinograd, ErrorsAreAsStated) {
  // docs/numerics.md, "Convolutions on tiles", has these bounds.
  const struct {
    long kernel;
    Direction direction;
    double rms, largest;
  } stated[] = {{5, Direction::Forward, 0.7, 6},  {5, Direction::Data, 0.7, 6},  {5, Direction::Weights, 1.5, 24},
                {3, Direction::Forward, 1.1, 12}, {3, Direction::Data, 1.1, 12}, {3, Direction::Weights, 0.8, 8}};
  const char* names[] = {"forward", "data", "weights"};
  for (int i = 0; i < 3 * static_cast<int>(std::size(stated)); ++i) {
    const InstructionSet set(i % 3);
    const auto& s = stated[i / 3];
    const Errors e = measure(s.kernel, s.direction, "cpu:conv:winograd"),
                 direct = measure(s.kernel, s.direction, "cpu:conv:generic");
    EXPECT_LE(e.rms, s.rms) << s.kernel << " " << names[static_cast<int>(s.direction)];
    EXPECT_LE(e.largest, s.largest) << s.kernel << " " << names[static_cast<int>(s.direction)];
    EXPECT_GT(e.rms, 0.05) << "nothing was rounded: is this the implementation that was meant?";
    if (std::getenv("KOVAR_PRINT_ERRORS") != nullptr)
      std::cout << s.kernel << "x" << s.kernel << " " << names[static_cast<int>(s.direction)] << ": rms " << e.rms
                << ", largest " << e.largest << "; plain loops: rms " << direct.rms << ", largest " << direct.largest
                << "\n";
  }
}

/// Why the implementation of conv2's shape, with one thing changed, is not used; empty where it is.
template <class F>
std::string refusal(const prim::PrepareOptions& options, const F& change) {
  long n = 40, size = 14, ci = 32, co = 64;
  prim::Conv desc;
  desc.y = desc.x = {5, 1, 1, 2};
  change(desc, n, size, ci, co);
  const long out = (size + 2 * desc.y.pad - desc.y.extent()) / desc.y.stride + 1;
  const auto image = [&](long side, long c) { return View::image(DType::F32, n, side, side, c, (c + 3) / 4 * 4); };
  const std::vector<View> views{image(size, ci),
                                View::contiguous(DType::F32, {co, desc.y.kernel, desc.x.kernel, ci / desc.groups}),
                                image(out, co)};
  const auto device = cpu::makeCpuBackend(1);
  const auto plan = device->prepare(desc, views, options);
  if (!plan.ok()) return plan.failure().text;
  for (const prim::Refusal& r : (*plan)->refusals)
    if (r.implementation == "cpu:conv:winograd") return r.reason;
  EXPECT_EQ((*plan)->implementation, "cpu:conv:winograd");
  return {};
}

TEST(ConvWinograd, IsUsedWhereItGains) {
  const prim::PrepareOptions usual;
  EXPECT_EQ(refusal(usual, [](auto&...) {}), "");
  EXPECT_EQ(refusal(usual, [](prim::Conv& d, auto&...) { d.y = d.x = {3, 1, 1, 1}; }), "");
  EXPECT_EQ(refusal(usual, [](prim::Conv& d, auto&...) { d.y.kernel = 3, d.y.pad = 1; }),
            "kernels other than 3x3 and 5x5");
  EXPECT_EQ(refusal(usual, [](prim::Conv& d, auto&...) { d.y.stride = d.x.stride = 2; }), "a stride other than 1");
  EXPECT_EQ(refusal(usual, [](prim::Conv& d, auto&...) { d.y.dilation = d.x.dilation = 2, d.y.pad = d.x.pad = 4; }),
            "a dilation other than 1");
  EXPECT_EQ(refusal(usual, [](prim::Conv& d, auto&...) { d.groups = 2; }), "groups");
  EXPECT_EQ(refusal(usual, [](prim::Conv&, long&, long&, long& ci, long&) { ci = 3; }), "too few channels");
  EXPECT_EQ(
      refusal(usual, [](prim::Conv&, long& n, long& size, long& ci, long& co) { n = 1, size = 4, ci = co = 512; }),
      "too little work for the transforms");
}

TEST(ConvWinograd, CanBeSwitchedOff) {
  prim::PrepareOptions off, strict;
  off.winograd = false;
  strict.strictFormats = true;
  EXPECT_EQ(refusal(off, [](auto&...) {}), "switched off (KOVAR_WINOGRAD=0)");
  EXPECT_EQ(refusal(strict, [](auto&...) {}), "strict formats ask for direct sums");
}

}  // namespace
}  // namespace kovar::test
