// How precise convolutions on tiles are, and when they are not used. KOVAR_PRINT_ERRORS=1 prints what docs/numerics.md
// states.

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <iostream>
#include <iterator>
#include <utility>

#include "conformance/conv_errors.hpp"

namespace kovar::test {
namespace {

using prim::Direction;
using prim::DType;
using prim::View;

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
    // As in the digit classifier.
    const auto device = cpu::makeCpuBackend(1);
    const ConvSize size{4, 14, 32, 64, s.kernel};
    const Errors e = errorsOf(*device, "cpu:conv:winograd", size, s.direction),
                 direct = errorsOf(*device, "cpu:conv:generic", size, s.direction);
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
