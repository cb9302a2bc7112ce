// Do all functions on lanes give the same bits on a GPU as on a CPU? Stands alone:
//   nvcc -arch=sm_90 -std=c++20 -cudart static -fmad=false -I src -I tests tests/cuda/lane_bits.cu -o lane_bits
//   ./lane_bits          exit status 0: all bits equal; 1: some differ, first ones printed; 2: no usable GPU
#include <cstdint>
#include <cstdio>
#include <vector>

#include "cuda/lane_bits_cases.hpp"

namespace {

using namespace kovar;
using namespace kovar::test;

__global__ void evaluate(int id, maths::NeuronParams neuron, const float* x, const float* y, float* out, int n) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < n) out[i] = maths::scalar::evaluateLaneCase(id, neuron, x[i], y[i]);
}

bool ok(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return true;
  std::fprintf(stderr, "lane_bits: %s: %s\n", what, cudaGetErrorString(status));
  return false;
}

std::uint32_t bits(float v) { return maths::scalar::bitsOf(v); }
bool same(float a, float b) { return (a != a && b != b) || bits(a) == bits(b); }

}  // namespace

int main() {
  const LaneInputs in = laneInputs();
  const int n = static_cast<int>(in.x.size());
  const std::size_t bytes = in.x.size() * sizeof(float);
  float *x = nullptr, *y = nullptr, *out = nullptr;
  if (!ok(cudaMalloc(&x, bytes), "cudaMalloc") || !ok(cudaMalloc(&y, bytes), "cudaMalloc") ||
      !ok(cudaMalloc(&out, bytes), "cudaMalloc") ||
      !ok(cudaMemcpy(x, in.x.data(), bytes, cudaMemcpyHostToDevice), "copy to the device") ||
      !ok(cudaMemcpy(y, in.y.data(), bytes, cudaMemcpyHostToDevice), "copy to the device"))
    return 2;

  std::vector<float> device(in.x.size());
  std::uint64_t deviceHash = 0xcbf29ce484222325u, hostHash = deviceHash;
  int wrongCases = 0;
  for (int id = 0; id < kLaneCases; ++id) {
    maths::NeuronParams neuron;
    if (id >= kSimpleCases && id < kSimpleCases + 2 * kNeuronCaseCount) neuron = kNeuronCases[(id - kSimpleCases) / 2];
    evaluate<<<(n + 255) / 256, 256>>>(id, neuron, x, y, out, n);
    if (!ok(cudaGetLastError(), "launch") || !ok(cudaMemcpy(device.data(), out, bytes, cudaMemcpyDeviceToHost), "run"))
      return 2;
    int wrong = 0;
    for (int i = 0; i < n; ++i) {
      const float host = maths::scalar::evaluateLaneCase(id, neuron, in.x[i], in.y[i]);
      hostHash = laneChecksum(&host, 1, hostHash);
      if (same(host, device[i])) continue;
      if (++wrong <= 3)
        std::printf("%s of %.9g (%08x), %.9g (%08x): device %.9g (%08x), host %.9g (%08x)\n", laneCaseName(id).c_str(),
                    in.x[i], bits(in.x[i]), in.y[i], bits(in.y[i]), device[i], bits(device[i]), host, bits(host));
    }
    deviceHash = laneChecksum(device.data(), device.size(), deviceHash);
    if (wrong) {
      std::printf("%s: %d of %d values differ\n", laneCaseName(id).c_str(), wrong, n);
      ++wrongCases;
    }
  }
  std::printf("%d cases, %d values each: %d cases differ; checksums: device %016llx, host %016llx, recorded %016llx\n",
              kLaneCases, n, wrongCases, static_cast<unsigned long long>(deviceHash),
              static_cast<unsigned long long>(hostHash), static_cast<unsigned long long>(kLaneChecksum));
  return wrongCases == 0 && deviceHash == kLaneChecksum && hostHash == kLaneChecksum ? 0 : 1;
}
