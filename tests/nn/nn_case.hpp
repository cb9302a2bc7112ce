#pragma once
// What the tests of the public kernels share: images from and to oracle tensors, the ways a batch can lie in memory,
// random attributes, and messages of errors.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "kovar/MPS/Core/CommandBuffer.hpp"
#include "kovar/MPS/NN/CNNKernel.hpp"
#include "kovar/MPS/NN/CNNNeuron.hpp"
#include "kovar/MTL/MTL.hpp"
#include "oracle/formats.hpp"
#include "support/compare.hpp"
#include "support/random.hpp"

namespace kovar::test {

using oracle::Format;
using oracle::Tensor;

inline const Ref<MTL::Device>& cpuDevice() {
  // KOVAR_TEST_DEVICE: the whole suite on another device.
  const char* other = std::getenv("KOVAR_TEST_DEVICE");
  static const Ref<MTL::Device> device = MTL::deviceNamed(other != nullptr ? other : "cpu");
  return device;
}

/// Another device, for errors.
inline const Ref<MTL::Device>& otherDevice() {
  static const Ref<MTL::Device> device = MTL::deviceNamed("null");
  return device;
}

inline const Ref<MTL::CommandQueue>& cpuQueue() {
  static const Ref<MTL::CommandQueue> queue = cpuDevice()->newCommandQueue();
  return queue;
}

/// Encodes with `body`, commits, waits, and expects that all went well.
inline void runOnCpu(const std::function<void(const Ref<MTL::CommandBuffer>&)>& body) {
  const Ref<MTL::CommandBuffer> buffer = cpuQueue()->commandBuffer();
  body(buffer);
  buffer->commit();
  buffer->waitUntilCompleted();
  ASSERT_EQ(buffer->status(), MTL::CommandBufferStatus::Completed)
      << (buffer->error() ? buffer->error()->what() : "no error text");
}

inline MPS::ImageFeatureChannelFormat publicFormat(Format f) { return static_cast<MPS::ImageFeatureChannelFormat>(f); }

inline std::size_t bytesOf(Format f) { return f == Format::Float32 ? 4 : f == Format::Unorm8 ? 1 : 2; }

inline void putElement(Format f, std::byte* at, double v) {
  const auto put = [&](auto bits) { std::memcpy(at, &bits, sizeof(bits)); };
  switch (f) {
    case Format::Float32:
      return put(static_cast<float>(v));
    case Format::Float16:
      return put(oracle::toHalfBits(v));
    case Format::Unorm8:
      return put(oracle::toUnorm8(v));
    case Format::Unorm16:
      return put(oracle::toUnorm16(v));
  }
}

inline double getElement(Format f, const std::byte* at) {
  const auto get = [&](auto bits) {
    std::memcpy(&bits, at, sizeof(bits));
    return bits;
  };
  switch (f) {
    case Format::Float32:
      return static_cast<double>(get(float{}));
    case Format::Float16:
      return oracle::fromHalfBits(get(std::uint16_t{}));
    case Format::Unorm8:
      return oracle::fromUnorm8(get(std::uint8_t{}));
    case Format::Unorm16:
      return oracle::fromUnorm16(get(std::uint16_t{}));
  }
  return 0;
}

inline Ref<MPS::ImageDescriptor> descriptorFor(const Tensor& t, Format f, std::size_t images) {
  return MPS::ImageDescriptor::imageDescriptor(publicFormat(f), t.w, t.h, t.c, images,
                                               MTL::TextureUsage::ShaderRead | MTL::TextureUsage::ShaderWrite);
}

/// Writes image `from` of the tensor as image `to` of `image`.
inline void writeImage(MPS::Image& image, const Tensor& t, Format f, std::size_t from, std::size_t to) {
  std::vector<std::byte> bytes(t.h * t.w * t.c * bytesOf(f));
  for (std::size_t i = 0; i < t.h * t.w * t.c; ++i)
    putElement(f, bytes.data() + i * bytesOf(f), t.v[from * t.h * t.w * t.c + i]);
  image.writeBytes(bytes.data(), MPS::DataLayout::HeightxWidthxFeatureChannels, to);
}

/// One image object that holds all images of the tensor.
inline Ref<MPS::Image> imageOf(const Tensor& t, Format f = Format::Float32) {
  auto image = std::make_shared<MPS::Image>(cpuDevice(), descriptorFor(t, f, t.n));
  for (std::size_t i = 0; i < t.n; ++i) writeImage(*image, t, f, i, i);
  return image;
}

inline Tensor tensorOf(MPS::Image& image) {
  const auto f = static_cast<Format>(image.featureChannelFormat());
  Tensor t(image.numberOfImages(), image.height(), image.width(), image.featureChannels());
  const std::size_t perImage = t.h * t.w * t.c;
  std::vector<std::byte> bytes(perImage * bytesOf(f));
  for (std::size_t n = 0; n < t.n; ++n) {
    image.readBytes(bytes.data(), MPS::DataLayout::HeightxWidthxFeatureChannels, n);
    for (std::size_t i = 0; i < perImage; ++i) t.v[n * perImage + i] = getElement(f, bytes.data() + i * bytesOf(f));
  }
  return t;
}

/// Makes ordinary images of float32, where kernels would pick float16. An allocator as users write them.
class Float32Images final : public MPS::ImageAllocator {
 public:
  Ref<MPS::Image> image(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<MPS::ImageDescriptor>& descriptor,
                        const Ref<MPS::Kernel>&) override {
    const auto d = descriptor->copy();
    d->setChannelFormat(MPS::ImageFeatureChannelFormat::Float32);
    return std::make_shared<MPS::Image>(commandBuffer->device(), d);
  }
};

inline const Ref<MPS::ImageAllocator>& float32Images() {
  static const Ref<MPS::ImageAllocator> allocator = std::make_shared<Float32Images>();
  return allocator;
}

/// How several images reach a kernel.
enum class Arrangement {
  Array,     ///< one image object of several images; encode
  Separate,  ///< a batch of image objects with memory of their own; encodeBatch
  Joined,    ///< a batch of views of one allocation; encodeBatch
};

inline const char* nameOf(Arrangement a) {
  return a == Arrangement::Array ? "array" : a == Arrangement::Separate ? "separate" : "joined";
}

inline Arrangement randomArrangement(Random& r) {
  return r.pick({Arrangement::Array, Arrangement::Separate, Arrangement::Joined});
}

/// The tensor as images in this arrangement; an Array is a batch of one object.
inline MPS::ImageBatch imagesOf(const Tensor& t, Format f, Arrangement arrangement) {
  if (arrangement == Arrangement::Array) return {imageOf(t, f)};
  if (arrangement == Arrangement::Joined) return imageOf(t, f)->batchRepresentation();
  MPS::ImageBatch batch;
  for (std::size_t i = 0; i < t.n; ++i) {
    batch.push_back(std::make_shared<MPS::Image>(cpuDevice(), descriptorFor(t, f, 1)));
    writeImage(*batch.back(), t, f, i, 0);
  }
  return batch;
}

inline Tensor tensorOf(const MPS::ImageBatch& batch) {
  Tensor all = tensorOf(*batch.front());
  for (std::size_t i = 1; i < batch.size(); ++i) {
    const Tensor one = tensorOf(*batch[i]);
    all.n += one.n;
    all.v.insert(all.v.end(), one.v.begin(), one.v.end());
  }
  return all;
}

/// The images as temporaries of the buffer with the same values, one read each.
inline MPS::ImageBatch temporariesOf(const Ref<MTL::CommandBuffer>& buffer, const MPS::ImageBatch& images) {
  const auto identity = std::make_shared<MPS::CNNNeuron>(
      cpuDevice(), MPS::NNNeuronDescriptor::cnnNeuronDescriptor(MPS::CNNNeuronType::None));
  MPS::ImageBatch temporaries;
  for (const auto& image : images) {
    auto d = MPS::ImageDescriptor::imageDescriptor(image->featureChannelFormat(), image->width(), image->height(),
                                                   image->featureChannels(), image->numberOfImages(),
                                                   MTL::TextureUsage::ShaderRead | MTL::TextureUsage::ShaderWrite);
    temporaries.push_back(MPS::TemporaryImage::temporaryImage(buffer, d));
    identity->encode(buffer, image, temporaries.back());
  }
  return temporaries;
}

/// Read count of each temporary.
inline std::vector<std::size_t> readCounts(const MPS::ImageBatch& images) {
  std::vector<std::size_t> counts;
  for (const auto& i : images) counts.push_back(dynamic_cast<const MPS::TemporaryImage&>(*i).readCount());
  return counts;
}

inline MTL::Region publicClip(const oracle::ClipRect& c) {
  const auto origin = [](long v) { return static_cast<std::size_t>(v); };
  const auto extent = [](long v) {
    return v == oracle::kNoClip ? MPS::RectNoClip.size.width : static_cast<std::size_t>(v);
  };
  return {{origin(c.x), origin(c.y), origin(c.z)}, {extent(c.width), extent(c.height), extent(c.depth)}};
}

inline MPS::Offset publicOffset(const oracle::Offset& o) { return {o.x, o.y, o.z}; }

inline void apply(const oracle::Attributes& at, MPS::CNNKernel& k) {
  k.setOffset(publicOffset(at.offset));
  k.setClipRect(publicClip(at.clip));
  k.setEdgeMode(static_cast<MPS::ImageEdgeMode>(at.edge));
  k.setSourceFeatureChannelOffset(at.sourceChannelOffset);
  k.setSourceFeatureChannelMaxCount(at.sourceChannelMaxCount);
  k.setDestinationFeatureChannelOffset(at.destinationChannelOffset);
}

inline void apply(const oracle::GradientAttributes& at, MPS::CNNGradientKernel& k) {
  k.setPrimaryOffset(publicOffset(at.primaryOffset));
  k.setSecondaryOffset(publicOffset(at.secondaryOffset));
  k.setClipRect(publicClip(at.clip));
  k.setPrimaryEdgeMode(static_cast<MPS::ImageEdgeMode>(at.primaryEdge));
  k.setSecondaryEdgeMode(static_cast<MPS::ImageEdgeMode>(at.secondaryEdge));
  k.setPrimarySourceFeatureChannelOffset(at.primaryChannelOffset);
  k.setSecondarySourceFeatureChannelOffset(at.secondaryChannelOffset);
  k.setPrimarySourceFeatureChannelMaxCount(at.channelMaxCount);
  k.setSecondarySourceFeatureChannelMaxCount(at.channelMaxCount);
  k.setDestinationFeatureChannelOffset(at.destinationChannelOffset);
}

/// A format whose values lie in the domain.
inline Format randomFormat(Random& r, const oracle::Domain& domain) {
  const bool unorm = domain.low <= 0 && domain.high >= 1 && !domain.tieFree;
  const Format f = r.pick({Format::Float32, Format::Float32, Format::Float16, Format::Unorm8, Format::Unorm16});
  return !unorm && (f == Format::Unorm8 || f == Format::Unorm16) ? Format::Float32 : f;
}

/// One case of a kernel whose destination pixel reads one source pixel.
struct PointCase {
  oracle::Attributes at;
  Tensor source, destination;
  Format sourceFormat = Format::Float32, destinationFormat = Format::Float32;
  Arrangement arrangement = Arrangement::Array;

  std::string text() const {
    std::string s = std::string(nameOf(arrangement)) + " " + source.shape() + " f" +
                    std::to_string(static_cast<int>(sourceFormat)) + " -> " + destination.shape() + " f" +
                    std::to_string(static_cast<int>(destinationFormat)) + " o" + std::to_string(at.offset.x) + "," +
                    std::to_string(at.offset.y) + "," + std::to_string(at.offset.z) + " edge" +
                    std::to_string(static_cast<int>(at.edge)) + " cs" + std::to_string(at.sourceChannelOffset) + " cd" +
                    std::to_string(at.destinationChannelOffset);
    if (at.clip.width != oracle::kNoClip)
      s += " clip" + std::to_string(at.clip.x) + "," + std::to_string(at.clip.y) + "," + std::to_string(at.clip.z) +
           "+" + std::to_string(at.clip.width) + "x" + std::to_string(at.clip.height);
    return s;
  }
};

/// What lies before the first and behind the last channel used.
inline std::size_t aroundChannels(std::size_t offset, std::size_t used, Random& r) {
  return offset + used + (r.chance(0.3) ? r.size(1, 5) : 0);
}

inline void randomClip(Random& r, oracle::ClipRect& clip, std::size_t width, std::size_t height) {
  clip.x = r.integer(0, static_cast<long>(width) - 1);
  clip.y = r.integer(0, static_cast<long>(height) - 1);
  clip.width = r.integer(1, static_cast<long>(width));  // may reach over the border
  clip.height = r.integer(1, static_cast<long>(height));
}

/// Images before offset.z and the clip rectangle's, for arrays. Changes the image counts of both tensors' shapes.
struct ImageRange {
  std::size_t source = 1, destination = 1;
};
inline ImageRange randomImageRange(Random& r, Arrangement arrangement, long& offsetZ, oracle::ClipRect& clip) {
  const std::size_t n = r.size(1, 3);
  if (arrangement != Arrangement::Array || r.chance(0.5)) return {n, n};
  offsetZ = r.integer(0, 2);
  clip.z = r.integer(0, 2);
  if (r.chance(0.5)) clip.depth = static_cast<long>(n);
  return {n + static_cast<std::size_t>(offsetZ) + r.size(0, 1), n + static_cast<std::size_t>(clip.z) + r.size(0, 1)};
}

inline PointCase randomPointCase(Random& r, const oracle::Domain& domain, bool withEdgeModes = true) {
  PointCase c;
  c.arrangement = randomArrangement(r);
  const ImageRange n = randomImageRange(r, c.arrangement, c.at.offset.z, c.at.clip);
  const std::size_t h = r.size(1, 7), w = r.size(1, 7), used = r.size(1, 9);
  if (r.chance(0.4)) {
    c.at.sourceChannelOffset = r.pick<std::size_t>({0, 4, 8});
    c.at.destinationChannelOffset = r.pick<std::size_t>({0, 4, 8});
  }
  std::size_t sourceChannels = c.at.sourceChannelOffset + used;
  if (r.chance(0.3)) {
    c.at.sourceChannelMaxCount = used;
    sourceChannels += r.size(0, 5);
  }
  const std::size_t destinationChannels = aroundChannels(c.at.destinationChannelOffset, used, r);
  std::size_t dh = h, dw = w;
  if (r.chance(0.4)) {
    c.at.offset.x = r.integer(-2, 2);
    c.at.offset.y = r.integer(-2, 2);
    dh = r.size(1, h + 2);
    dw = r.size(1, w + 2);
  }
  if (r.chance(0.4)) randomClip(r, c.at.clip, dw, dh);
  if (withEdgeModes && r.chance(0.4)) c.at.edge = oracle::EdgeMode::Clamp;
  c.sourceFormat = randomFormat(r, domain);
  c.destinationFormat = r.pick({Format::Float32, Format::Float32, Format::Float16, Format::Unorm8, Format::Unorm16});
  c.source = randomTensor(r, n.source, h, w, sourceChannels, domain, c.sourceFormat);
  c.destination = randomTensor(r, n.destination, dh, dw, destinationChannels, {0, 1, false}, c.destinationFormat);
  return c;
}

/// The tensor as part of a larger one, random values around it: pixels above, left, below, right, channels before and
/// behind.
inline Tensor within(Random& r, const Tensor& t, std::size_t above, std::size_t left, std::size_t below,
                     std::size_t right, std::size_t before, std::size_t behind) {
  Tensor all = randomTensor(r, t.n, above + t.h + below, left + t.w + right, before + t.c + behind, {-9, 9, false});
  for (std::size_t n = 0; n < t.n; ++n)
    for (std::size_t y = 0; y < t.h; ++y)
      for (std::size_t x = 0; x < t.w; ++x)
        for (std::size_t c = 0; c < t.c; ++c) all.at(n, above + y, left + x, before + c) = t.at(n, y, x, c);
  return all;
}

/// Reads a value expected in float from what a format can hold (unorm formats clamp).
inline oracle::Result held(Format f, oracle::Result r) {
  if (f == Format::Unorm8 || f == Format::Unorm16)
    for (double& v : r.value.v) v = v > 0 ? std::min(v, 1.0) : 0.0;
  return r;
}

/// Compares a tensor read from images of format `f` with an oracle's result.
inline testing::AssertionResult matches(const Tensor& actual, const oracle::Result& expected, Format f,
                                        oracle::Tolerance tolerance) {
  if (!actual.sameShape(expected.value))
    return testing::AssertionFailure() << "shape " << actual.shape() << ", wanted " << expected.value.shape();
  Compare how;
  how.tolerance = tolerance;
  how.storage = f;
  how.maxZeroShare = 1.0;  // small cases of clamping formats are often all 0
  return compare(toFloat(actual.v), held(f, expected), how);
}

/// Encodes source into destination, batch or array as arranged; states may be empty.
inline void encodeAs(Arrangement a, MPS::CNNKernel& k, const Ref<MTL::CommandBuffer>& buffer,
                     const MPS::ImageBatch& source, const MPS::ImageBatch& destination,
                     const MPS::StateBatch& states = {}) {
  if (a != Arrangement::Array)
    k.encodeBatch(buffer, source, states, destination);
  else
    k.encode(buffer, source[0], states.empty() ? nullptr : states[0], destination[0]);
}

inline void encodeAs(Arrangement a, MPS::CNNGradientKernel& k, const Ref<MTL::CommandBuffer>& buffer,
                     const MPS::ImageBatch& gradient, const MPS::ImageBatch& source, const MPS::StateBatch& states,
                     const MPS::ImageBatch& destination) {
  if (a != Arrangement::Array)
    k.encodeBatch(buffer, gradient, source, states, destination);
  else
    k.encode(buffer, gradient[0], source[0], states.empty() ? nullptr : states[0], destination[0]);
}

/// Runs `body` and expects an Error whose text has all fragments, on one line.
inline void expectError(const std::function<void()>& body, const std::vector<std::string>& fragments) {
  try {
    body();
  } catch (const Error& e) {
    for (const std::string& f : fragments) EXPECT_THAT(e.what(), testing::HasSubstr(f));
    EXPECT_EQ(std::string(e.what()).find('\n'), std::string::npos) << e.what();
    return;
  } catch (const std::exception& e) {
    ADD_FAILURE() << "threw something else: " << e.what();
    return;
  }
  ADD_FAILURE() << "nothing was thrown; wanted: " << fragments.front();
}

}  // namespace kovar::test
