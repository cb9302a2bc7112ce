// The C++ side of docs/porting.md, word for word.
#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "clients/client_case.hpp"
#include "kovar/kovar.hpp"

namespace kovar::test {
namespace {

TEST(Porting, TheExampleOfTheGuide) {
  const std::vector<float> pixels = {1, 5, -1, -2, 3, 4, -3, -4};
  const auto picture = std::make_shared<MPS::Image>(MTL::createSystemDefaultDevice(), shape(4, 2, 1));
  picture->writeBytes(pixels.data(), kPixelOrder, 0);

  const auto device = MTL::createSystemDefaultDevice();
  const auto queue = device->newCommandQueue();
  const auto pool = std::make_shared<MPS::CNNPoolingMax>(device, 2, 2, 2, 2);
  pool->setEdgeMode(MPS::ImageEdgeMode::Clamp);
  pool->setDestinationImageAllocator(MPS::Image::defaultAllocator());  // else the result is a temporary image
  const auto commands = queue->commandBuffer();
  const auto smaller = pool->encode(commands, picture);
  commands->commit();
  commands->waitUntilCompleted();
  if (commands->error()) throw *commands->error();

  ASSERT_EQ(smaller->width(), 2u);
  ASSERT_EQ(smaller->height(), 1u);
  ASSERT_EQ(smaller->pixelFormat(), MTL::PixelFormat::R16Float);  // what an encode makes by itself
  std::vector<std::uint16_t> halves(2);
  smaller->readBytes(halves.data(), kPixelOrder, 0);
  EXPECT_EQ(halves, (std::vector<std::uint16_t>{0x4500, 0xBC00}));  // 5 and -1
}

}  // namespace
}  // namespace kovar::test
