// What all CNN kernels share: their attributes, what an encode writes, refusals that leave everything as it was.

#include <limits>

#include "kovar/MPS/NN/CNNMath.hpp"
#include "kovar/MPS/NN/CNNPooling.hpp"
#include "nn/core/pointwise.hpp"
#include "nn_case.hpp"
#include "oracle/neuron.hpp"

namespace kovar::test {
namespace {

constexpr std::size_t kAll = std::numeric_limits<std::size_t>::max();

Ref<MPS::CNNNeuron> identity() {
  return std::make_shared<MPS::CNNNeuron>(cpuDevice(),
                                          MPS::NNNeuronDescriptor::cnnNeuronDescriptor(MPS::CNNNeuronType::None));
}

TEST(CnnKernel, DefaultsAreTheDocumentedOnes) {
  const auto k = identity();
  EXPECT_EQ(k->offset(), MPS::Offset{});
  EXPECT_EQ(k->clipRect(), MPS::RectNoClip);
  EXPECT_EQ(k->sourceFeatureChannelOffset(), 0u);
  EXPECT_EQ(k->sourceFeatureChannelMaxCount(), kAll);
  EXPECT_EQ(k->destinationFeatureChannelOffset(), 0u);
  EXPECT_EQ(k->edgeMode(), MPS::ImageEdgeMode::Zero);
  EXPECT_EQ(k->kernelWidth() * k->kernelHeight() * k->strideInPixelsX() * k->strideInPixelsY(), 1u);
  EXPECT_EQ(k->dilationRateX() * k->dilationRateY(), 1u);
  EXPECT_FALSE(k->isBackwards());
  EXPECT_FALSE(k->isStateModified());
  EXPECT_EQ(k->padding(), MPS::NNDefaultPadding::padding(MPS::NNPaddingMethod::SizeSame));
  EXPECT_EQ(k->destinationImageAllocator(), MPS::TemporaryImage::defaultAllocator());
  EXPECT_EQ(k->label(), "");
  EXPECT_EQ(k->device(), cpuDevice());
}

TEST(CnnKernel, ACopyHasEveryAttribute) {
  const auto k = identity();
  k->setLabel("copied");
  k->setOptions(MPS::KernelOptions::SkipAPIValidation);
  k->setOffset({1, -2, 3});
  k->setClipRect({{1, 2, 3}, {4, 5, 6}});
  k->setSourceFeatureChannelOffset(4);
  k->setSourceFeatureChannelMaxCount(7);
  k->setDestinationFeatureChannelOffset(8);
  k->setEdgeMode(MPS::ImageEdgeMode::Clamp);
  k->setPadding(MPS::NNDefaultPadding::padding(MPS::NNPaddingMethod::SizeFull));
  k->setDestinationImageAllocator(float32Images());
  const auto c = std::dynamic_pointer_cast<MPS::CNNNeuron>(k->copy(cpuDevice()));
  ASSERT_TRUE(c);
  EXPECT_EQ(c->label(), "copied");
  EXPECT_EQ(c->options(), MPS::KernelOptions::SkipAPIValidation);
  EXPECT_EQ(c->offset(), (MPS::Offset{1, -2, 3}));
  EXPECT_EQ(c->clipRect(), (MTL::Region{{1, 2, 3}, {4, 5, 6}}));
  EXPECT_EQ(c->sourceFeatureChannelOffset(), 4u);
  EXPECT_EQ(c->sourceFeatureChannelMaxCount(), 7u);
  EXPECT_EQ(c->destinationFeatureChannelOffset(), 8u);
  EXPECT_EQ(c->edgeMode(), MPS::ImageEdgeMode::Clamp);
  EXPECT_EQ(c->padding(), k->padding());
  EXPECT_EQ(c->destinationImageAllocator(), float32Images());
  c->setOffset({});
  EXPECT_EQ(k->offset().x, 1) << "the original keeps its own";
  EXPECT_EQ(identity()->copy(otherDevice())->device(), otherDevice());
}

TEST(CnnBinaryKernel, EverySourceHasItsOwnAttributes) {
  MPS::CNNDivide k(cpuDevice());
  k.setPrimaryOffset({1, 2, 3});
  k.setSecondaryOffset({4, 5, 6});
  k.setPrimarySourceFeatureChannelOffset(4);
  k.setSecondarySourceFeatureChannelOffset(8);
  k.setPrimarySourceFeatureChannelMaxCount(2);
  k.setSecondarySourceFeatureChannelMaxCount(3);
  k.setPrimaryEdgeMode(MPS::ImageEdgeMode::Clamp);
  k.setPrimaryStrideInPixelsX(0);
  k.setPrimaryStrideInPixelsY(1);
  k.setSecondaryStrideInPixelsX(1);
  k.setSecondaryStrideInPixelsY(0);
  EXPECT_EQ(k.primaryOffset(), (MPS::Offset{1, 2, 3}));
  EXPECT_EQ(k.secondaryOffset(), (MPS::Offset{4, 5, 6}));
  EXPECT_EQ(k.primarySourceFeatureChannelOffset(), 4u);
  EXPECT_EQ(k.secondarySourceFeatureChannelOffset(), 8u);
  EXPECT_EQ(k.primarySourceFeatureChannelMaxCount(), 2u);
  EXPECT_EQ(k.secondarySourceFeatureChannelMaxCount(), 3u);
  EXPECT_EQ(k.primaryEdgeMode(), MPS::ImageEdgeMode::Clamp);
  EXPECT_EQ(k.secondaryEdgeMode(), MPS::ImageEdgeMode::Zero);
  EXPECT_EQ(k.primaryStrideInPixelsX(), 0u);
  EXPECT_EQ(k.primaryStrideInPixelsY(), 1u);
  EXPECT_EQ(k.secondaryStrideInPixelsX(), 1u);
  EXPECT_EQ(k.secondaryStrideInPixelsY(), 0u);
  EXPECT_EQ(k.primaryKernelWidth() * k.primaryKernelHeight() * k.secondaryKernelWidth() * k.secondaryKernelHeight(),
            1u);
  EXPECT_EQ(k.primaryDilationRateX() * k.primaryDilationRateY() * k.secondaryDilationRateX(), 1u);
  EXPECT_EQ(k.secondaryDilationRateY(), 1u);
  const auto image = imageOf(Tensor(1, 1, 1, 4));
  EXPECT_EQ(k.encodingStorageSize(image, image, {}, image), 0u);
  EXPECT_EQ(k.batchEncodingStorageSize({image}, {image}, {}, {image}), 0u);
  EXPECT_EQ(k.resultState(image, image, {}, image), nullptr) << "a class without states gives none";
  EXPECT_TRUE(k.resultStateBatch({image}, {image}, {}, {image}).empty());

  MPS::CNNPoolingMaxGradient g(cpuDevice(), 2, 2);
  g.setKernelOffsetX(-3);
  g.setKernelOffsetY(4);
  EXPECT_EQ(g.kernelOffsetX(), -3);
  EXPECT_EQ(g.kernelOffsetY(), 4);
  EXPECT_TRUE(g.isBackwards());
}

// Moving the clip rectangle moves the picture in the destination; what is read stays.
TEST(CnnKernel, OffsetCountsFromTheClipRectangle) {
  Tensor s(1, 1, 4, 1);
  s.v = {1, 2, 3, 4};
  const auto k = identity();
  k->setOffset({1, 0, 0});
  k->setClipRect({{2, 0, 0}, {9, 9, 1}});
  const auto y = imageOf(Tensor(1, 1, 5, 1, -1.0));
  runOnCpu([&](const auto& buffer) { k->encode(buffer, imageOf(s), y); });
  EXPECT_EQ(tensorOf(*y).v, (std::vector<double>{-1, -1, 2, 3, 4}));
}

// Properties are read at encode: what is set later does not reach work already encoded.
TEST(CnnKernel, EncodedWorkKeepsItsProperties) {
  const Tensor s(1, 1, 2, 1, 5.0);
  const auto one = imageOf(Tensor(1, 1, 2, 1)), two = imageOf(Tensor(1, 1, 2, 1));
  const auto k = identity();
  runOnCpu([&](const auto& buffer) {
    k->encode(buffer, imageOf(s), one);
    k->setOffset({1, 0, 0});
    k->encode(buffer, imageOf(s), two);
  });
  EXPECT_EQ(tensorOf(*one).v, (std::vector<double>{5, 5}));
  EXPECT_EQ(tensorOf(*two).v, (std::vector<double>{5, 0}));
}

/// A kernel with many sources: their sum, each read at its own offset.
class Sum final : public MPS::CNNMultiaryKernel {
 public:
  using CNNMultiaryKernel::CNNMultiaryKernel;

 protected:
  void doEncode(nn::Call& call) override {
    nn::encodePointwise(call, {}, [&](prim::Program& p) {
      for (std::size_t i = 1; i < call.sources.size(); ++i) {
        prim::EwStep add;
        add.op = prim::EwOp::Add;
        add.b = static_cast<std::uint8_t>(i);
        p.push(add);
      }
    });
  }
  const char* className() const override { return "Sum"; }
};

TEST(CnnMultiaryKernel, ReadsEachSourceAsItsAttributesSay) {
  forCases(150, [](Case& c) {
    Random& r = c.random;
    const std::size_t count = r.size(1, 4), channels = r.size(1, 6);
    const auto k = std::make_shared<Sum>(cpuDevice(), count);
    EXPECT_EQ(k->sourceCount(), count);
    const Arrangement arrangement = r.pick({Arrangement::Separate, Arrangement::Joined});
    const Tensor before = randomTensor(r, 2, r.size(1, 5), r.size(1, 5), channels + 4, {-1, 1});
    oracle::Attributes at;
    if (r.chance(0.5)) randomClip(r, at.clip, before.w, before.h);
    k->setClipRect(publicClip(at.clip));
    at.destinationChannelOffset = r.pick<std::size_t>({0, 4});
    k->setDestinationFeatureChannelOffset(at.destinationChannelOffset);
    Tensor expected;
    std::vector<MPS::ImageBatch> sources;
    c.text = std::to_string(count) + " sources -> " + before.shape();
    for (std::size_t i = 0; i < count; ++i) {
      at.offset = {r.integer(-2, 2), r.integer(-2, 2), 0};
      at.edge = r.pick({oracle::EdgeMode::Zero, oracle::EdgeMode::Clamp});
      at.sourceChannelOffset = r.pick<std::size_t>({0, 4});
      at.sourceChannelMaxCount = channels;
      k->setOffset(publicOffset(at.offset), i);
      k->setEdgeMode(static_cast<MPS::ImageEdgeMode>(at.edge), i);
      k->setSourceFeatureChannelOffset(at.sourceChannelOffset, i);
      k->setSourceFeatureChannelMaxCount(channels, i);
      EXPECT_EQ(k->offset(i), publicOffset(at.offset));
      EXPECT_EQ(k->sourceFeatureChannelOffset(i), at.sourceChannelOffset);
      const Tensor s = integerTensor(r, 2, r.size(1, 5), r.size(1, 5), 4 + channels);
      sources.push_back(imagesOf(s, Format::Float32, arrangement));
      const Tensor seen =
          oracle::neuronForward({}, at, s, i == 0 ? before : Tensor(2, before.h, before.w, before.c)).value;
      if (i == 0)
        expected = seen;
      else
        for (std::size_t v = 0; v < seen.size(); ++v) expected.v[v] += seen.v[v];
    }
    const auto destination = imagesOf(before, Format::Float32, arrangement);
    runOnCpu([&](const auto& buffer) { k->encodeBatch(buffer, sources, destination); });
    EXPECT_EQ(toFloat(tensorOf(destination).v), toFloat(expected.v));
  });
}

TEST(CnnMultiaryKernel, AttributesAreKeptPerSource) {
  Sum k(cpuDevice(), 3);
  k.setKernelWidth(2, 0);
  k.setKernelHeight(3, 1);
  k.setStrideInPixelsX(4, 2);
  k.setStrideInPixelsY(5, 2);
  k.setDilationRateX(6, 1);
  k.setDilationRateY(7, 0);
  EXPECT_EQ(k.kernelWidth(0), 2u);
  EXPECT_EQ(k.kernelWidth(1), 1u);
  EXPECT_EQ(k.kernelHeight(1), 3u);
  EXPECT_EQ(k.strideInPixelsX(2), 4u);
  EXPECT_EQ(k.strideInPixelsY(2), 5u);
  EXPECT_EQ(k.dilationRateX(1), 6u);
  EXPECT_EQ(k.dilationRateY(0), 7u);
  EXPECT_EQ(k.sourceFeatureChannelMaxCount(2), kAll);
  EXPECT_EQ(k.edgeMode(2), MPS::ImageEdgeMode::Zero);
  expectError([&] { k.setKernelWidth(1, 3); }, {"Sum: source index 3 of 3"});
  expectError([&] { k.setSourceFeatureChannelOffset(5, 1); },
              {"Sum.sourceFeatureChannelOffset: 5 is not a multiple of 4"});
  expectError([] { Sum(cpuDevice(), 0); }, {"CNNMultiaryKernel: sourceCount is 0"});
  const auto image = imageOf(Tensor(1, 1, 1, 4)), d = imageOf(Tensor(1, 1, 1, 4));
  const auto buffer = cpuQueue()->commandBuffer();
  expectError([&] { k.encode(buffer, {image, image}, d); }, {"Sum.encode", "2", "3"});
  EXPECT_EQ(k.resultState({image, image, image}, {}, d), nullptr);
}

TEST(CnnKernel, AFailedEncodeLeavesTheKernelAsItWas) {
  MPS::CNNPoolingMax k(cpuDevice(), 3, 3);
  k.setOffset({7, 8, 0});
  k.setDestinationImageAllocator(MPS::Image::defaultAllocator());
  const auto buffer = cpuQueue()->commandBuffer();
  const auto readOnly = std::make_shared<MPS::Image>(
      cpuDevice(), MPS::ImageDescriptor::imageDescriptor(MPS::ImageFeatureChannelFormat::Float32, 4, 4, 1, 1,
                                                         MTL::TextureUsage::ShaderWrite));
  expectError([&] { k.encode(buffer, readOnly); }, {"CNNPoolingMax.encode: source was made without ShaderRead"});
  EXPECT_EQ(k.offset(), (MPS::Offset{7, 8, 0}));
  // Without validation the usage is not looked at.
  k.setOptions(MPS::KernelOptions::SkipAPIValidation);
  k.encode(buffer, readOnly);
  EXPECT_EQ(k.offset(), MPS::Offset{});
  buffer->commit();
  buffer->waitUntilCompleted();
  EXPECT_EQ(buffer->status(), MTL::CommandBufferStatus::Completed);
}

TEST(CnnKernel, StatesAreMadeFromImagesThatExist) {
  MPS::CNNPoolingMax k(cpuDevice(), 2, 2);
  expectError([&] { k.resultState(nullptr, {}, nullptr); }, {"CNNPoolingMax.resultState: a source image is null"});
  const auto image = imageOf(Tensor(1, 2, 2, 1));
  EXPECT_TRUE(k.resultState(image, {}, nullptr)) << "a destination is not needed";
  expectError(
      [&] {
        k.resultStateBatch({image, image}, {MPS::StateBatch{nullptr}}, {});
      },
      {"1 source states for 2 images"});
  EXPECT_TRUE(k.resultStateBatch({}, {}, {}).empty());
  MPS::CNNAdd add(cpuDevice());
  expectError([&] { add.resultStateBatch({image, image}, {image}, {}, {}); }, {"batches of different sizes"});
  Sum sum(cpuDevice(), 2);
  expectError([&] { sum.resultState({image}, {}, image); }, {"1 source images given, the kernel reads 2"});
}

// Numbers that no image reaches are refused, not wrapped around.
TEST(CnnKernel, NumbersBeyondAnyImageAreRefused) {
  const auto s = imageOf(Tensor(3, 2, 2, 4, 1.0)), d = imageOf(Tensor(3, 2, 2, 4, 9.0));
  const auto buffer = cpuQueue()->commandBuffer();
  constexpr std::ptrdiff_t kFar[] = {std::numeric_limits<std::ptrdiff_t>::max(), std::ptrdiff_t{1} << 32,
                                     std::numeric_limits<std::ptrdiff_t>::min()};
  const auto k = identity();
  MPS::CNNPoolingMax pool(cpuDevice(), 2, 2);
  MPS::CNNAdd add(cpuDevice());
  for (const std::ptrdiff_t far : kFar) {
    k->setOffset({far, 0, 0});
    pool.setOffset({0, far, 0});
    add.setSecondaryOffset({far, 0, 0});
    expectError([&] { k->encode(buffer, s, d); }, {"CNNNeuron: an offset of", "lies beyond any image"});
    expectError([&] { pool.encode(buffer, s, d); }, {"CNNPoolingMax: an offset of"});
    expectError([&] { add.encode(buffer, s, s, d); }, {"CNNAdd: an offset of"});
  }
  k->setOffset({0, 0, 2});
  k->setClipRect({{0, 0, 0}, {2, 2, kAll - 1}});
  expectError([&] { k->encode(buffer, s, d); }, {"clipRect asks for", "the source has 1 from offset.z on"});
  k->setOffset({0, 0, -1});
  expectError([&] { k->encode(buffer, s, d); }, {"offset.z is -1"});
  k->setOffset({0, 0, 4});
  expectError([&] { k->encode(buffer, s, d); }, {"offset.z or clipRect.origin.z lies beyond the images"});
  k->setOffset({});
  k->setClipRect({{kAll, kAll, 0}, {kAll, kAll, 1}});
  k->encode(buffer, s, d);  // empty: writes nothing
  expectError([] { MPS::CNNPoolingMax(cpuDevice(), std::size_t{1} << 32, 1); },
              {"window of 4294967296 x 1", "each may be at most 16777216"});
  expectError([] { MPS::CNNPoolingMaxGradient(cpuDevice(), 1, 1, 1, kAll); }, {"each may be at most"});
  MPS::CNNPoolingAverage average(cpuDevice(), 2, 2);
  average.setZeroPadSizeX(kAll);
  expectError([&] { average.encode(buffer, s, d); }, {"CNNPoolingAverage.zeroPadSize: 18446744073709551615"});
  buffer->commit();
  buffer->waitUntilCompleted();
  EXPECT_EQ(tensorOf(*d).v, Tensor(3, 2, 2, 4, 9.0).v);
}

TEST(CnnKernel, AWindowMuchLargerThanTheImageIsTheWholeImage) {
  Tensor s(1, 2, 2, 1);
  s.v = {1, -2, 7, 4};
  MPS::CNNPoolingMax pool(cpuDevice(), 1 << 24, 1 << 24);
  const auto d = imageOf(s);
  runOnCpu([&](const auto& buffer) { pool.encode(buffer, imageOf(s), d); });
  EXPECT_EQ(tensorOf(*d).v, (std::vector<double>(4, 7)));
}

TEST(Kernel, PreferredDevices) {
  EXPECT_TRUE(MPS::supportsMTLDevice(cpuDevice()));
  EXPECT_FALSE(MPS::supportsMTLDevice(nullptr));
  EXPECT_EQ(MPS::getPreferredDevice(MPS::DeviceOptions::Default), MTL::createSystemDefaultDevice());
  EXPECT_EQ(MPS::getPreferredDevice(MPS::DeviceOptions::LowPower | MPS::DeviceOptions::SkipRemovable),
            MTL::deviceNamed("cpu"));
}

}  // namespace
}  // namespace kovar::test
