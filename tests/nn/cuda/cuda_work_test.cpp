// A caller's own work on a CUDA device, and memory that the caller owns: on a GPU in a CUDA build, else emulated.

#include "kovar/Support/CudaWork.hpp"

#include <cuda_runtime_api.h>

#include <stdexcept>

#include "nn/nn_case.hpp"

namespace kovar::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

#ifdef KOVAR_EMULATED_CUDA
constexpr const char* kDevice = "emulated";
#else
constexpr const char* kDevice = "cuda";
#endif

class CudaWork : public ::testing::Test {
 protected:
  void SetUp() override {
    int count = 0;
    if (cudaGetDeviceCount(&count) != cudaSuccess || count == 0) GTEST_SKIP() << "no CUDA device";
    device_ = MTL::deviceNamed(kDevice);
    queue_ = device_->newCommandQueue();
  }
  void TearDown() override {
    for (void* block : blocks_) cudaFree(block);
  }

  static Ref<MPS::ImageDescriptor> shape(std::size_t channels) {
    return MPS::ImageDescriptor::imageDescriptor(MPS::ImageFeatureChannelFormat::Float32, 2, 1, channels);
  }
  Ref<MPS::Image> image(const std::vector<float>& values) const {
    auto i = std::make_shared<MPS::Image>(device_, shape(4));
    i->writeBytes(values.data(), MPS::DataLayout::HeightxWidthxFeatureChannels, 0);
    return i;
  }
  static std::vector<float> valuesOf(const Ref<MPS::Image>& image) {
    std::vector<float> v(image->width() * image->height() * image->featureChannels());
    image->readBytes(v.data(), MPS::DataLayout::HeightxWidthxFeatureChannels, 0);
    return v;
  }
  Ref<MPS::CNNNeuron> linear(float a, float b) const { return std::make_shared<MPS::CNNNeuronLinear>(device_, a, b); }
  /// Device memory of the caller's.
  void* block(std::size_t bytes) {
    void* data = nullptr;
    EXPECT_EQ(cudaMalloc(&data, bytes), cudaSuccess);
    blocks_.push_back(data);
    return data;
  }
  void put(void* to, const std::vector<float>& values) const {
    cudaStream_t stream = nullptr;
    ASSERT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
    ASSERT_EQ(cudaMemcpyAsync(to, values.data(), values.size() * 4, cudaMemcpyHostToDevice, stream), cudaSuccess);
    ASSERT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
    cudaStreamDestroy(stream);
  }

  Ref<MTL::Device> device_;
  Ref<MTL::CommandQueue> queue_;
  std::vector<void*> blocks_;
};

/// Copies the first operand to the second on the stream.
void copy(CudaStream stream, std::span<const DeviceView> in, std::span<DeviceView> out) {
  if (cudaMemcpyAsync(out[0].data(), in[0].data(), in[0].imageStride * 4, cudaMemcpyDeviceToDevice, stream) !=
      cudaSuccess)
    throw std::runtime_error("the copy failed");
}

TEST_F(CudaWork, TakesItsPlaceBetweenKernels) {
  const auto source = image({1, 2, 3, 4, 5, 6, 7, 8}), result = image(std::vector<float>(8));
  const auto commands = queue_->commandBuffer();
  const auto before = MPS::TemporaryImage::temporaryImage(commands, shape(4));
  const auto after = MPS::TemporaryImage::temporaryImage(commands, shape(4));
  linear(2, 0)->encode(commands, source, before);
  int runs = 0;
  encodeCuda(commands, {before}, {after}, [&](CudaStream stream, auto in, auto out) {
    ++runs;
    EXPECT_NE(stream, nullptr);
    EXPECT_EQ(in[0].channels, 4u);
    copy(stream, in, out);
  });
  EXPECT_EQ(before->readCount(), 0u);
  linear(1, 1)->encode(commands, after, result);
  EXPECT_EQ(runs, 0) << "encoding computes nothing";
  commands->commit();
  commands->waitUntilCompleted();
  ASSERT_EQ(commands->status(), MTL::CommandBufferStatus::Completed) << commands->error()->what();
  EXPECT_EQ(runs, 1);
  EXPECT_THAT(valuesOf(result), ElementsAre(3, 5, 7, 9, 11, 13, 15, 17));
}

TEST_F(CudaWork, WhatItThrowsIsTheCommandBuffersError) {
  const auto commands = queue_->commandBuffer();
  encodeCuda(commands, {}, {image(std::vector<float>(8))},
             [](CudaStream, auto, auto) { throw std::runtime_error("no luck today"); });
  commands->commit();
  commands->waitUntilCompleted();
  EXPECT_EQ(commands->status(), MTL::CommandBufferStatus::Error);
  EXPECT_THAT(commands->error()->what(), HasSubstr("encodeCuda: the function threw: no luck today"));
}

TEST_F(CudaWork, AnImageOverTheCallersMemory) {
  void* memory = block(8 * sizeof(float));
  put(memory, {1, 2, 3, 0, 4, 5, 6, 0});
  int released = 0;
  {
    const auto mine = newImageOverCudaMemory(device_, shape(3), memory, [&](void* at, std::size_t bytes) {
      EXPECT_EQ(at, memory);
      EXPECT_EQ(bytes, 32u);
      ++released;
    });
    EXPECT_THAT(valuesOf(mine), ElementsAre(1, 2, 3, 4, 5, 6));
    // The caller writes it by a stream of his own: nothing of before is remembered.
    put(memory, {7, 2, 3, 0, 4, 5, 9, 0});
    EXPECT_THAT(valuesOf(mine), ElementsAre(7, 2, 3, 4, 5, 9));
    const auto result = newImageOverCudaMemory(device_, shape(3), block(8 * sizeof(float)));
    const auto commands = queue_->commandBuffer();
    linear(-1, 0)->encode(commands, mine, result);
    commands->commit();
    commands->waitUntilCompleted();
    ASSERT_EQ(commands->status(), MTL::CommandBufferStatus::Completed) << commands->error()->what();
    EXPECT_THAT(valuesOf(result), ElementsAre(-7, -2, -3, -4, -5, -9));
    EXPECT_EQ(released, 0);
  }
  EXPECT_EQ(released, 1);
}

TEST_F(CudaWork, ABufferOverTheCallersMemory) {
  void* memory = block(4 * sizeof(float));
  put(memory, {1, 2, 3, 4});
  const auto mine = newBufferOverCudaMemory(device_, memory, 16);
  EXPECT_EQ(mine->length(), 16u);
  const auto result = device_->newBuffer(16, MTL::StorageMode::Shared);
  const auto commands = queue_->commandBuffer();
  encodeCuda(commands, {mine}, {result}, [](CudaStream stream, auto in, auto out) {
    if (cudaMemcpyAsync(out[0].data(), in[0].data(), 16, cudaMemcpyDeviceToDevice, stream) != cudaSuccess)
      throw std::runtime_error("the copy failed");
  });
  commands->commit();
  commands->waitUntilCompleted();
  const auto* values = static_cast<const float*>(result->contents());
  EXPECT_THAT(std::vector<float>(values, values + 4), ElementsAre(1, 2, 3, 4));
}

TEST_F(CudaWork, RefusesWhatItCannotReach) {
  void* memory = block(64);
  const auto message = [](const auto& body) -> std::string {
    try {
      body();
    } catch (const Error& e) {
      return e.what();
    }
    return "nothing was thrown";
  };
  EXPECT_THAT(message([&] { newBufferOverCudaMemory(device_, nullptr, 16); }),
              HasSubstr("newBufferOverCudaMemory: needs an address and a length of at least 1 byte"));
  EXPECT_THAT(message([&] { newBufferOverCudaMemory(device_, static_cast<std::byte*>(memory) + 4, 16); }),
              HasSubstr("the address lies 4 bytes beyond a multiple of 16"));
  alignas(16) std::byte host[16];
  EXPECT_THAT(message([&] { newBufferOverCudaMemory(device_, host, 16); }),
              HasSubstr("the address is no device memory; take it from cudaMalloc"));
  EXPECT_THAT(message([&] { newImageOverCudaMemory(device_, nullptr, memory); }),
              HasSubstr("newImageOverCudaMemory: imageDescriptor is null"));
  const auto cpu = MTL::deviceNamed("cpu");
  EXPECT_THAT(message([&] { newBufferOverCudaMemory(cpu, host, 16); }),
              HasSubstr("on device cpu: the device works in host memory; wrap that with Device.newBufferNoCopy"));
  EXPECT_THAT(message([&] { encodeCuda(cpu->newCommandQueue()->commandBuffer(), {}, {}, copy); }),
              HasSubstr("encodeCuda: device cpu has no CUDA streams; use encodeHost"));
  EXPECT_THAT(message([&] { encodeCuda(nullptr, {}, {}, copy); }), HasSubstr("encodeCuda: commandBuffer is null"));
  EXPECT_THAT(message([&] { encodeCuda(queue_->commandBuffer(), {}, {}, nullptr); }),
              HasSubstr("encodeCuda: function is empty"));
}

}  // namespace
}  // namespace kovar::test
