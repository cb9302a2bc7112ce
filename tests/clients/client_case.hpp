#pragma once
// What the tests of the ready-made parts share; they see the library as a user's program does.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "kovar/kovar.hpp"

namespace kovar::test {

using Format = MPS::ImageFeatureChannelFormat;
constexpr auto kPixelOrder = MPS::DataLayout::HeightxWidthxFeatureChannels;

inline Ref<MTL::Device> device() { return MTL::deviceNamed("cpu"); }
inline Ref<MTL::CommandQueue> queue() {
  static const Ref<MTL::CommandQueue> made = device()->newCommandQueue();
  return made;
}

inline Ref<MPS::ImageDescriptor> shape(std::size_t width, std::size_t height, std::size_t channels,
                                       Format format = Format::Float32, std::size_t images = 1) {
  return MPS::ImageDescriptor::imageDescriptor(format, width, height, channels, images,
                                               MTL::TextureUsage::ShaderRead | MTL::TextureUsage::ShaderWrite);
}
inline Ref<MPS::Image> image(std::size_t width, std::size_t height, std::size_t channels,
                             const std::vector<float>& values = {}) {
  auto made = std::make_shared<MPS::Image>(device(), shape(width, height, channels));
  if (!values.empty()) made->writeBytes(values.data(), kPixelOrder, 0);
  return made;
}
inline std::vector<float> valuesOf(const Ref<MPS::Image>& image) {
  std::vector<float> values(image->width() * image->height() * image->featureChannels());
  image->readBytes(values.data(), kPixelOrder, 0);
  return values;
}

inline void run(const Ref<MTL::CommandBuffer>& commands) {
  commands->commit();
  commands->waitUntilCompleted();
  ASSERT_EQ(commands->error(), nullptr) << commands->error()->what();
}

/// a * x + b on every value.
inline Ref<MPS::CNNNeuron> linear(float a, float b) { return std::make_shared<MPS::CNNNeuronLinear>(device(), a, b); }

inline std::string messageOf(const std::function<void()>& use) {
  try {
    use();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace kovar::test
