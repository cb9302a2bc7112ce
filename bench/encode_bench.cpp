// What a program pays on its own thread: encoding and committing a list of 20 kernels that the device has planned
// before. The null device computes nothing, so the caller is alone with the encoder. Counter median_us is the figure;
// the mean beside it also holds what the machine did meanwhile.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <vector>

#include "kovar/MPS/Core/CommandBuffer.hpp"
#include "kovar/MPS/NN/CNNConvolution.hpp"
#include "kovar/MPS/NN/CNNNeuron.hpp"
#include "kovar/MPS/NN/CNNPooling.hpp"
#include "kovar/MPS/NN/CNNSoftMax.hpp"
#include "kovar/MTL/MTL.hpp"
#include "kovar/Support/DataSources.hpp"

namespace kovar {
namespace {

constexpr std::size_t kChannels = 16, kSize = 32, kKernels = 20;

/// Five times convolution, ReLU, pooling, softmax.
std::vector<Ref<MPS::CNNKernel>> makeKernels(const Ref<MTL::Device>& device) {
  const auto descriptor = MPS::CNNConvolutionDescriptor::cnnConvolutionDescriptor(3, 3, kChannels, kChannels);
  std::vector<Ref<MPS::CNNKernel>> kernels;
  while (kernels.size() < kKernels) {
    const auto weights = std::make_shared<ConvolutionWeights>(
        descriptor, std::vector<float>(kChannels * 9 * kChannels, 0.1f), std::vector<float>(kChannels, 0.f));
    kernels.push_back(std::make_shared<MPS::CNNConvolution>(device, weights));
    kernels.push_back(std::make_shared<MPS::CNNNeuronReLU>(device, 0.f));
    kernels.push_back(std::make_shared<MPS::CNNPoolingMax>(device, 3, 3));
    kernels.push_back(std::make_shared<MPS::CNNSoftMax>(device));
  }
  return kernels;
}

Ref<MPS::Image> makeImage(const Ref<MTL::Device>& device) {
  return std::make_shared<MPS::Image>(
      device, MPS::ImageDescriptor::imageDescriptor(MPS::ImageFeatureChannelFormat::Float32, kSize, kSize, kChannels));
}

/// temporaries: each kernel makes its result, as in inference code; otherwise images that exist already.
void encodeAndCommit(benchmark::State& state, bool temporaries) {
  const Ref<MTL::Device> device = MTL::deviceNamed("null");
  const Ref<MTL::CommandQueue> queue = device->newCommandQueue();
  const auto kernels = makeKernels(device);
  std::vector<Ref<MPS::Image>> images;
  for (std::size_t i = 0; i <= kKernels; ++i) images.push_back(makeImage(device));
  std::vector<double> times;
  for (auto _ : state) {
    const auto start = std::chrono::steady_clock::now();
    const Ref<MTL::CommandBuffer> commands = queue->commandBuffer();
    Ref<MPS::Image> image = images[0];
    for (std::size_t i = 0; i < kKernels; ++i) {
      if (temporaries && i + 1 < kKernels)
        image = kernels[i]->encode(commands, image);
      else {
        kernels[i]->encode(commands, image, images[i + 1]);
        image = images[i + 1];
      }
    }
    commands->commit();
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    state.SetIterationTime(seconds);
    times.push_back(seconds);
    commands->waitUntilCompleted();
    if (commands->error()) return state.SkipWithError(commands->error()->what());
  }
  std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2), times.end());
  state.counters["median_us"] = times[times.size() / 2] * 1e6;
}

BENCHMARK_CAPTURE(encodeAndCommit, images, false)->UseManualTime()->Iterations(20000);
BENCHMARK_CAPTURE(encodeAndCommit, temporaries, true)->UseManualTime()->Iterations(20000);

}  // namespace
}  // namespace kovar

BENCHMARK_MAIN();
