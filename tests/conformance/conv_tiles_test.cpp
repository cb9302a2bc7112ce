// Float32 convolutions on tensor cores: how precise they are, what they make of numbers that are none, and when they
// are not used. KOVAR_PRINT_ERRORS=1 prints what docs/numerics.md states.

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <iostream>
#include <limits>
#include <utility>

#include "conformance/conv_errors.hpp"
#include "conformance/devices.hpp"

namespace kovar::test {
namespace {

using prim::Direction;
using prim::DType;
using prim::View;

constexpr const char* kTiles = "cuda:conv:tiles";

/// Where a convolution may run on tensor cores: at most one device.
prim::Backend* tensorDevice(const Devices& devices) {
  for (const Devices::Kind& kind : devices.kinds())
    if (kind != devices.processor()) return kind.front();
  return nullptr;
}

TEST(ConvTiles, ErrorsAreAsStated) {
  const Devices devices;
  prim::Backend* device = tensorDevice(devices);
  if (device == nullptr) GTEST_SKIP() << "KOVAR_DEVICE leaves out the devices that it is about";
  // docs/numerics.md, "Convolutions on tensor cores", has these bounds.
  const char* names[] = {"forward", "data", "weights"};
  for (const long kernel : {1L, 3L, 5L})
    for (const Direction direction : {Direction::Forward, Direction::Data, Direction::Weights}) {
      const ConvSize size{2, 6, 32, 16, kernel};
      const Errors e = errorsOf(*device, kTiles, size, direction),
                   plain = errorsOf(*device, "cuda:conv:threads", size, direction);
      EXPECT_LE(e.rms, 0.8) << kernel << " " << names[static_cast<int>(direction)];
      EXPECT_LE(e.largest, 6) << kernel << " " << names[static_cast<int>(direction)];
      EXPECT_GT(e.rms, 0.02) << "nothing was rounded: is this the implementation that was meant?";
      if (std::getenv("KOVAR_PRINT_ERRORS") != nullptr)
        std::cout << kernel << "x" << kernel << " " << names[static_cast<int>(direction)] << ": rms " << e.rms
                  << ", largest " << e.largest << "; plain loops: rms " << plain.rms << ", largest " << plain.largest
                  << "\n";
    }
}

/// What kind of a number it is; finite ones with their sign's weight left out.
std::string kindOf(float v) { return v != v ? "nan" : std::isinf(v) ? (v > 0 ? "inf" : "-inf") : "number"; }

TEST(ConvTiles, InfinitiesAreWhatPlainSumsMakeOfThem) {
  const Devices devices;
  prim::Backend* device = tensorDevice(devices);
  if (device == nullptr) GTEST_SKIP() << "KOVAR_DEVICE leaves out the devices that it is about";
  constexpr long kSide = 7, kChannels = 16;
  const double infinity = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  const View image = View::image(DType::F32, 1, kSide, kSide, kChannels, kChannels),
             weights = View::contiguous(DType::F32, {kChannels, 3, 3, kChannels});
  Random r(7);
  const auto count = static_cast<size_t>(image.elements());
  std::vector<double> a = randomValues(r, count, {-1, 1, false}), b = randomValues(r, count, {-1, 1, false});
  std::vector<double> w = randomValues(r, static_cast<size_t>(weights.elements()), {-1, 1, false});
  a[3] = infinity, a[count / 2] = -infinity, a[count - 5] = nan, a[200] = std::numeric_limits<float>::max();
  b[9] = infinity, b[count / 3] = nan;
  w[0] = 1, w[5] = 0;  // products that are exact, and one that is not a number
  for (const Direction direction : {Direction::Forward, Direction::Data, Direction::Weights}) {
    prim::Conv desc;
    desc.direction = direction;
    desc.y = desc.x = {3, 1, 1, 1};
    const std::vector<double> none(count, 0.5);
    std::vector<Argument> args{{image, a}, {weights, w}, {image, none, true}};
    if (direction == Direction::Weights)
      args = {{image, a}, {image, b}, {weights, std::vector<double>(w.size(), 0.5), true}};
    const auto resultOf = [&](const char* name) {
      std::vector<float> result;
      EXPECT_TRUE(DeviceCase(desc, args).run({device}, name, [&](const auto& got) { result = got[2]; }));
      return result;
    };
    const std::vector<float> tiles = resultOf(kTiles), plain = resultOf("cuda:conv:threads");
    ASSERT_EQ(tiles.size(), plain.size());
    int special = 0;
    for (size_t i = 0; i < tiles.size(); ++i) {
      EXPECT_EQ(kindOf(tiles[i]), kindOf(plain[i])) << "direction " << static_cast<int>(direction) << ", result " << i;
      special += std::isfinite(plain[i]) ? 0 : 1;
    }
    EXPECT_GT(special, 50) << "the case has lost its point";
  }
}

TEST(ConvTiles, StrictFormatsLeaveThemOut) {
  const Devices devices;
  prim::Backend* device = tensorDevice(devices);
  if (device == nullptr) GTEST_SKIP() << "KOVAR_DEVICE leaves out the devices that it is about";
  prim::Conv desc;
  desc.y = desc.x = {1, 1, 1, 0};
  const View image = View::image(DType::F32, 1, 4, 4, 16, 16), weights = View::contiguous(DType::F32, {16, 1, 1, 16});
  prim::PrepareOptions strict;
  strict.strictFormats = true;
  const auto usual = device->prepare(desc, std::vector<View>{image, weights, image}, {}),
             other = device->prepare(desc, std::vector<View>{image, weights, image}, strict);
  ASSERT_TRUE(usual.ok() && other.ok());
  EXPECT_EQ((*usual)->implementation, kTiles);
  EXPECT_NE((*other)->implementation, kTiles);
}

}  // namespace
}  // namespace kovar::test
