// A caller's own work between kernels: its place in the order, what it sees, what becomes of its faults.
#include "kovar/Support/HostWork.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <iterator>
#include <stdexcept>

#include "clients/client_case.hpp"

namespace kovar::test {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

/// Calls body(in, out) for every value of two views of one shape.
template <class Body>
HostFunction valueByValue(Body body) {
  return [body](std::span<const HostView> in, std::span<HostView> out) {
    for (std::size_t n = 0; n < out[0].images; ++n)
      for (std::size_t y = 0; y < out[0].height; ++y)
        for (std::size_t x = 0; x < out[0].width; ++x)
          for (std::size_t c = 0; c < out[0].channels; ++c)
            out[0].pixel<float>(n, y, x)[c] = body(in[0].pixel<float>(n, y, x)[c]);
  };
}

TEST(HostWork, RunsBetweenTheKernelsAroundIt) {
  const auto source = image(3, 2, 5, std::vector<float>(30, 2.f));
  const auto result = image(3, 2, 5);
  const auto commands = queue()->commandBuffer();
  const auto before = MPS::TemporaryImage::temporaryImage(commands, shape(3, 2, 5));
  const auto after = MPS::TemporaryImage::temporaryImage(commands, shape(3, 2, 5));
  linear(3, 1)->encode(commands, source, before);                                        // 7
  encodeHost(commands, {before}, {after}, valueByValue([](float v) { return v * v; }));  // 49
  linear(1, -9)->encode(commands, after, result);
  EXPECT_EQ(before->readCount(), 0u);
  EXPECT_EQ(after->readCount(), 0u);
  run(commands);
  EXPECT_THAT(valuesOf(result), Each(40.f));
}

TEST(HostWork, RunsOncePerCommitWhenItsTurnComes) {
  std::atomic<int> runs{0};
  const auto target = image(1, 1, 1);
  const auto commands = queue()->commandBuffer();
  encodeHost(commands, {}, {target}, [&](auto, std::span<HostView> out) { *out[0].pixel<float>(0, 0, 0) = ++runs; });
  EXPECT_EQ(runs, 0) << "encoding computes nothing";
  run(commands);
  EXPECT_EQ(runs, 1);
  // A list of the same shape comes from the plan cache; the function is the new one.
  const auto again = queue()->commandBuffer();
  encodeHost(again, {}, {target}, [&](auto, std::span<HostView> out) { *out[0].pixel<float>(0, 0, 0) = 100; });
  run(again);
  EXPECT_EQ(runs, 1);
  EXPECT_THAT(valuesOf(target), ElementsAre(100.f));
}

TEST(HostWork, WhatItDoesNotWriteStays) {
  const auto source = image(4, 1, 1, {1, 2, 3, 4});
  const auto user = image(4, 1, 1), fromTemporary = image(4, 1, 1);
  const auto commands = queue()->commandBuffer();
  const auto temporary = MPS::TemporaryImage::temporaryImage(commands, shape(4, 1, 1));
  linear(10, 0)->encode(commands, source, user);
  linear(10, 0)->encode(commands, source, temporary);
  for (const Ref<MPS::Image>& target : {user, Ref<MPS::Image>(temporary)})
    encodeHost(commands, {}, {target}, [](auto, std::span<HostView> out) { *out[0].pixel<float>(0, 0, 2) = -1; });
  linear(1, 0)->encode(commands, temporary, fromTemporary);
  run(commands);
  EXPECT_THAT(valuesOf(user), ElementsAre(10, 20, -1, 40));
  EXPECT_THAT(valuesOf(fromTemporary), ElementsAre(10, 20, -1, 40));
}

TEST(HostWork, ReadsAndWritesOneImage) {
  const auto both = image(2, 1, 1, {3, 4});
  const auto commands = queue()->commandBuffer();
  encodeHost(commands, {both}, {both}, valueByValue([](float v) { return -v; }));
  encodeHost(commands, {both}, {both}, valueByValue([](float v) { return v - 1; }));
  run(commands);
  EXPECT_THAT(valuesOf(both), ElementsAre(-4, -5));
}

TEST(HostWork, SeesImagesInTheirOwnFormat) {
  // A temporary of float16, which the library may keep in float32 where nobody sees it.
  const auto source = image(2, 1, 1, {1.5f, -2});
  const auto commands = queue()->commandBuffer();
  const auto half = MPS::TemporaryImage::temporaryImage(commands, shape(2, 1, 1, Format::Float16));
  linear(1, 0)->encode(commands, source, half);
  std::uint16_t bits[2] = {};
  Format format = Format::None;
  encodeHost(commands, {half}, {image(1, 1, 1)}, [&](std::span<const HostView> in, auto) {
    format = in[0].format;
    for (std::size_t x = 0; x < 2; ++x) bits[x] = *in[0].pixel<std::uint16_t>(0, 0, x);
  });
  run(commands);
  EXPECT_EQ(format, Format::Float16);
  EXPECT_THAT(bits, ElementsAre(0x3e00, 0xc000));
}

TEST(HostWork, SeesShapesAndStrides) {
  const auto three = std::make_shared<MPS::Image>(device(), shape(5, 3, 6, Format::Unorm8, 2));
  const auto part = std::make_shared<MPS::Image>(device(), shape(2, 2, 12))->subImage({4, 8});
  const auto commands = queue()->commandBuffer();
  encodeHost(commands, {three, part, device()->newBuffer(24)}, {}, [](std::span<const HostView> in, auto) {
    EXPECT_EQ(in[0].images, 2u);
    EXPECT_EQ(in[0].height, 3u);
    EXPECT_EQ(in[0].width, 5u);
    EXPECT_EQ(in[0].channels, 6u);
    EXPECT_EQ(in[0].pixelStride, 8u) << "rounded up to a multiple of 4";
    EXPECT_EQ(in[0].rowStride, 40u);
    EXPECT_EQ(in[0].imageStride, 120u);
    EXPECT_EQ(in[1].channels, 8u);
    EXPECT_EQ(in[1].pixelStride, 12u);
    EXPECT_EQ(in[1].pixel<float>(0, 0, 0), in[1].data());
    EXPECT_EQ(in[2].format, Format::None);
    EXPECT_EQ(in[2].channels, 24u);
    EXPECT_EQ(in[2].width * in[2].height * in[2].images, 1u);
  });
  run(commands);
}

TEST(HostWork, SeesTheWindowOfAView) {
  const auto whole = image(1, 1, 8, {0, 1, 2, 3, 4, 5, 6, 7});
  const auto commands = queue()->commandBuffer();
  float first = 0;
  encodeHost(commands, {whole->subImage({4, 4})}, {},
             [&](std::span<const HostView> in, auto) { first = *in[0].pixel<float>(0, 0, 0); });
  run(commands);
  EXPECT_EQ(first, 4.f);
}

TEST(HostWork, MovesBuffers) {
  const float values[] = {1, 2, 3};
  const auto from = device()->newBuffer(values, sizeof(values)), to = device()->newBuffer(sizeof(values));
  const auto commands = queue()->commandBuffer();
  encodeHost(commands, {from}, {to}, [](std::span<const HostView> in, std::span<HostView> out) {
    ASSERT_EQ(in[0].channels, 12u);
    std::memcpy(out[0].data(), in[0].data(), in[0].channels);
  });
  run(commands);
  EXPECT_TRUE(std::equal(std::begin(values), std::end(values), static_cast<const float*>(to->contents())));
}

TEST(HostWork, AFaultBecomesTheErrorAndStopsTheRest) {
  for (const bool standard : {true, false}) {
    const auto target = image(1, 1, 1, {5});
    const auto commands = queue()->commandBuffer();
    encodeHost(commands, {}, {}, [standard](auto, auto) {
      if (standard) throw std::runtime_error("out of ink");
      throw 3;
    });
    linear(0, 7)->encode(commands, image(1, 1, 1), target);
    commands->commit();
    commands->waitUntilCompleted();
    EXPECT_EQ(commands->status(), MTL::CommandBufferStatus::Error);
    ASSERT_NE(commands->error(), nullptr);
    EXPECT_THAT(commands->error()->what(),
                ::testing::HasSubstr(standard ? "encodeHost: the function threw: out of ink"
                                              : "threw something that is no std::exception"));
    EXPECT_THAT(valuesOf(target), ElementsAre(5.f));
    // The queue goes on.
    const auto next = queue()->commandBuffer();
    linear(0, 7)->encode(next, image(1, 1, 1), target);
    run(next);
    EXPECT_THAT(valuesOf(target), ElementsAre(7.f));
  }
}

TEST(HostWork, ObeysThePredicate) {
  const auto flag = device()->newBuffer(8);
  static_cast<std::uint32_t*>(flag->contents())[1] = 1;
  std::atomic<int> runs{0};
  for (const std::size_t offset : {0u, 4u}) {
    const auto commands = MPS::CommandBuffer::commandBuffer(queue());
    commands->setPredicate(std::make_shared<MPS::Predicate>(flag, offset));
    encodeHost(commands, {}, {}, [&](auto, auto) { ++runs; });
    run(commands);
    EXPECT_EQ(runs, offset == 0 ? 0 : 1);
  }
}

TEST(HostWork, RefusesWhatCannotBeMeant) {
  const auto other = std::make_shared<MPS::Image>(MTL::deviceNamed("null"), shape(1, 1, 1));
  const auto nothing = [](auto, auto) {};
  EXPECT_EQ(messageOf([&] { encodeHost(nullptr, {}, {}, nothing); }), "encodeHost: commandBuffer is null");
  EXPECT_EQ(messageOf([&] { encodeHost(queue()->commandBuffer(), {}, {Ref<MTL::Buffer>()}, nothing); }),
            "encodeHost: an entry of writes is null");
  EXPECT_EQ(
      messageOf([&] { encodeHost(queue()->commandBuffer(), {other}, {}, nothing); }),
      "encodeHost: an entry of reads belongs to device null, the command buffer to cpu; use one device's objects");
  const auto commands = queue()->commandBuffer();
  const auto temporary = MPS::TemporaryImage::temporaryImage(commands, shape(1, 1, 1));
  encodeHost(commands, {}, {temporary}, nothing);
  encodeHost(commands, {temporary}, {}, nothing);
  EXPECT_EQ(
      messageOf([&] { encodeHost(commands, {temporary}, {}, nothing); }),
      "encodeHost: TemporaryImage in reads is used up: its readCount is 0; raise readCount before the encode that "
      "read it last");
}

}  // namespace
}  // namespace kovar::test
