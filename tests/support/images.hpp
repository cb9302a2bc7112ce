#pragma once
// Oracle tensors to and from images, and running what a test encodes.

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "kovar/MPS/Core/Image.hpp"
#include "kovar/MTL/MTL.hpp"
#include "oracle/formats.hpp"
#include "oracle/tensor.hpp"

namespace kovar::test {

inline MPS::ImageFeatureChannelFormat channelFormat(oracle::Format format) {
  return static_cast<MPS::ImageFeatureChannelFormat>(format);  // both have the documented numbers
}

/// An image array of n images.
inline Ref<MPS::Image> newImage(const Ref<MTL::Device>& device, size_t n, size_t h, size_t w, size_t c,
                                oracle::Format format = oracle::Format::Float32) {
  auto d = MPS::ImageDescriptor::imageDescriptor(channelFormat(format), w, h, c);
  d->setNumberOfImages(n);
  return std::make_shared<MPS::Image>(device, d);
}

/// Image `index` of an array from image `from` of a tensor.
inline void writeImage(MPS::Image& image, const oracle::Tensor& t, size_t from, size_t index) {
  const size_t count = t.h * t.w * t.c, element = image.featureChannelFormat() == MPS::ImageFeatureChannelFormat::Float32  ? 4
                                                  : image.featureChannelFormat() == MPS::ImageFeatureChannelFormat::Unorm8 ? 1
                                                                                                                           : 2;
  std::vector<std::byte> bytes(count * element);
  for (size_t i = 0; i < count; ++i) {
    const double v = t.v[from * count + i];
    const auto put = [&](auto code) { std::memcpy(bytes.data() + i * sizeof(code), &code, sizeof(code)); };
    switch (image.featureChannelFormat()) {
      case MPS::ImageFeatureChannelFormat::Unorm8: put(oracle::toUnorm8(v)); break;
      case MPS::ImageFeatureChannelFormat::Unorm16: put(oracle::toUnorm16(v)); break;
      case MPS::ImageFeatureChannelFormat::Float16: put(oracle::toHalfBits(v)); break;
      default: put(static_cast<float>(v));
    }
  }
  image.writeBytes(bytes.data(), MPS::DataLayout::HeightxWidthxFeatureChannels, index);
}

inline void readImage(MPS::Image& image, size_t index, std::vector<float>& into) {
  const size_t count = image.height() * image.width() * image.featureChannels();
  std::vector<std::byte> bytes(count * 4);
  image.readBytes(bytes.data(), MPS::DataLayout::HeightxWidthxFeatureChannels, index);
  for (size_t i = 0; i < count; ++i) {
    const auto get = [&](auto code) {
      std::memcpy(&code, bytes.data() + i * sizeof(code), sizeof(code));
      return code;
    };
    switch (image.featureChannelFormat()) {
      case MPS::ImageFeatureChannelFormat::Unorm8: into.push_back(static_cast<float>(oracle::fromUnorm8(get(uint8_t{})))); break;
      case MPS::ImageFeatureChannelFormat::Unorm16: into.push_back(static_cast<float>(oracle::fromUnorm16(get(uint16_t{})))); break;
      case MPS::ImageFeatureChannelFormat::Float16: into.push_back(static_cast<float>(oracle::fromHalfBits(get(uint16_t{})))); break;
      default: into.push_back(get(0.f));
    }
  }
}

/// How n images are held.
enum class Holding {
  Array,     ///< one object with n images; encode()
  Separate,  ///< n objects; encodeBatch()
  Views,     ///< n objects over one storage; encodeBatch()
};

/// n images, held in one of the three ways.
struct Images {
  Holding holding = Holding::Array;
  MPS::ImageBatch batch;  ///< one object for Array

  const Ref<MPS::Image>& image() const { return batch[0]; }
  std::vector<float> read() const {
    std::vector<float> v;
    for (const auto& image : batch)
      for (size_t i = 0; i < image->numberOfImages(); ++i) readImage(*image, i, v);
    return v;
  }
  void write(const oracle::Tensor& t) const {
    size_t from = 0;
    for (const auto& image : batch)
      for (size_t i = 0; i < image->numberOfImages(); ++i) writeImage(*image, t, from++, i);
  }
};

inline Images newImages(const Ref<MTL::Device>& device, const oracle::Tensor& t, Holding holding = Holding::Array,
                        oracle::Format format = oracle::Format::Float32) {
  Images images{holding, {}};
  if (holding == Holding::Separate) {
    for (size_t i = 0; i < t.n; ++i) images.batch.push_back(newImage(device, 1, t.h, t.w, t.c, format));
  } else {
    auto all = newImage(device, t.n, t.h, t.w, t.c, format);
    images.batch = holding == Holding::Views ? all->batchRepresentation() : MPS::ImageBatch{all};
  }
  images.write(t);
  return images;
}

/// Encodes, commits and waits; work that failed fails the test.
inline void run(const Ref<MTL::CommandQueue>& queue, const std::function<void(const Ref<MTL::CommandBuffer>&)>& encode) {
  auto commands = queue->commandBuffer();
  encode(commands);
  commands->commit();
  commands->waitUntilCompleted();
  if (commands->error()) ADD_FAILURE() << commands->error()->what();
}

/// The text of the Error that `call` throws; fails the test when it throws none.
inline std::string errorOf(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& e) {
    return e.what();
  }
  ADD_FAILURE() << "no Error was thrown";
  return {};
}

}  // namespace kovar::test
