// Losses: value and gradient in one pass over pieces of an image; sums in double precision, piece after piece.

#include "backend/cuda/kernels/elements.cuh"
#include "backend/cuda/kernels/launch.cuh"
#include "backend/cuda/kernels/warp.cuh"
#include "maths/loss-inl.hpp"
#include "maths/softmax-inl.hpp"
#include "maths/yolo-inl.hpp"

namespace kovar::cuda {
namespace {

using maths::LossType;

struct Place4 {
  std::int64_t n, y, x, c;
  __device__ std::int64_t in(const Strided& s) const {
    return n * s.step[0] + y * s.step[1] + x * s.step[2] + c * s.step[3];
  }
};

__device__ float valueAt(const Strided& s, const Place4& at, float otherwise) {
  return s.data == nullptr ? otherwise : loadElement(s.type, s.data + at.in(s));
}

/// What this image's value is divided by; 0: the result is 0.
__device__ double divisorOf(const LossParamsDevice& p, std::int64_t image, float weight) {
  std::int64_t counted = -1;
  if (p.countsWeights) {
    counted = 0;
    for (std::int64_t n = p.acrossBatch ? 0 : image; n < (p.acrossBatch ? p.images : image + 1); ++n)
      counted += p.counts[n];
  }
  return static_cast<double>(maths::lossDivisor(p.loss.type, static_cast<maths::LossReductionType>(p.reduction),
                                                p.width, p.height, p.channels, p.images, p.acrossBatch, weight,
                                                counted));
}

/// Weights that are not 0, or pixels that have one: a block for each image.
__global__ void __launch_bounds__(kBlockThreads) countKernel(const __grid_constant__ LossParamsDevice p) {
  __shared__ double room[kBlockThreads];
  const float weight = scalarsOf(p.scalars).f[0];
  const bool pixels = maths::lossCountsPixels(p.loss.type);
  double found = 0;
  for (std::int64_t i = threadIdx.x; i < p.height * p.width; i += kBlockThreads) {
    Place4 at{blockIdx.x, 0, 0, 0};
    at.y = divide(at.x, i, p.width);
    std::int64_t inPixel = 0;
    for (at.c = 0; at.c < p.channels; ++at.c) inPixel += weight * valueAt(p.weights, at, 1.f) != 0.f ? 1 : 0;
    found += static_cast<double>(pixels ? (inPixel > 0 ? 1 : 0) : inPixel);
  }
  const double all = blockSum(found, room);
  if (threadIdx.x == 0) p.counts[blockIdx.x] = static_cast<std::int64_t>(all);
}

/// Factors of one image.
struct Scales {
  float weight, gradient;
};

__device__ Scales scalesOf(const LossParamsDevice& p, std::int64_t image) {
  Scales s{scalarsOf(p.scalars).f[0], 1.f};
  // A reduced loss has one incoming gradient an image.
  if (p.incoming.data != nullptr && p.reduced)
    s.gradient = loadElement(p.incoming.type, p.incoming.data + (p.acrossBatch ? 0 : image) * p.incoming.step[0]);
  if (p.divideGradient) {
    const double d = divisorOf(p, image, s.weight);
    s.gradient = d == 0 ? 0.f : static_cast<float>(s.gradient / d);
  }
  return s;
}

struct Element {
  const LossParamsDevice& p;
  const Place4& at;
  float y, t, weight, incoming;
  template <class L>
  __device__ float operator()(const L& loss) const {
    if (p.gradient.data != nullptr && !p.exactSoftmax) {
      const float g = (p.labelGradient ? loss.labelGradient(y, t) : loss.gradient(y, t)) * weight * incoming;
      storeElement(p.gradient.type, p.gradient.data + at.in(p.gradient), g);
    }
    const float v = loss.value(y, t) * weight;
    if (p.value.data != nullptr) storeElement(p.value.type, p.value.data + at.in(p.value), v);
    return v;
  }
};

__device__ float incomingAt(const LossParamsDevice& p, const Place4& at, const Scales& s) {
  return s.gradient * (p.reduced ? 1.f : valueAt(p.incoming, at, 1.f));
}

__global__ void __launch_bounds__(kBlockThreads) lossKernel(const __grid_constant__ LossParamsDevice p) {
  __shared__ double room[kBlockThreads];
  const std::int64_t image = blockIdx.y, chunk = blockIdx.x;
  const Scales scales = scalesOf(p, image);
  const std::int64_t pixels = p.height * p.width;
  const std::int64_t begin = chunk * p.perChunk * p.channels;
  const std::int64_t endPixel = (chunk + 1) * p.perChunk < pixels ? (chunk + 1) * p.perChunk : pixels;
  double sum = 0;
  for (std::int64_t i = begin + threadIdx.x; i < endPixel * p.channels; i += kBlockThreads) {
    Place4 at{image, 0, 0, 0};
    const std::int64_t pixel = divide(at.c, i, p.channels);
    at.y = divide(at.x, pixel, p.width);
    const Element element{p, at, valueAt(p.src, at, 0.f), valueAt(p.labels, at, 0.f),
                          scales.weight * valueAt(p.weights, at, 1.f), incomingAt(p, at, scales)};
    sum += static_cast<double>(m::visitLoss(p.loss, element));
  }
  const double all = blockSum(sum, room);
  if (threadIdx.x == 0 && p.sums != nullptr) p.sums[image * p.chunks + chunk] = all;
}

/// The softmax cross entropy: a warp for each pixel.
__global__ void __launch_bounds__(kBlockThreads) crossEntropyKernel(const __grid_constant__ LossParamsDevice p) {
  __shared__ double room[kBlockThreads];
  const std::int64_t image = blockIdx.y, chunk = blockIdx.x;
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  const Scales scales = scalesOf(p, image);
  const std::int64_t pixels = p.height * p.width;
  const std::int64_t begin = chunk * p.perChunk;
  const std::int64_t end = begin + p.perChunk < pixels ? begin + p.perChunk : pixels;
  const float s = p.loss.labelSmoothing > 0.f ? p.loss.labelSmoothing : 0.f;
  const m::SoftMaxCrossEntropy loss{{1.f - s, s / static_cast<float>(p.loss.numberOfClasses)}};
  double sum = 0;
  // All warps of a block take the same number of turns: shuffles need every lane.
  for (std::int64_t base = begin; base < end; base += kBlockThreads / kWarp) {
    const std::int64_t pixel = base + warp;
    const std::int64_t channels = pixel < end ? p.channels : 0;
    Place4 at{image, 0, 0, 0};
    at.y = divide(at.x, pixel < end ? pixel : 0, p.width);
    float most = -m::infinity<float>();
    for (at.c = lane; at.c < channels; at.c += kWarp) most = m::softmaxMax(most, valueAt(p.src, at, 0.f));
    most = warpAll(most, [](float a, float b) { return m::softmaxMax(a, b); });
    float total = 0.f;
    for (at.c = lane; at.c < channels; at.c += kWarp) total += m::softmaxTerm(valueAt(p.src, at, 0.f), most);
    total = warpAll(total, [](float a, float b) { return a + b; });
    const float logSum = m::log(total);
    const auto labelOf = [&](const Place4& place) {
      return incomingAt(p, place, scales) * (scales.weight * valueAt(p.weights, place, 1.f)) *
             loss.labels.smooth(valueAt(p.labels, place, 0.f));
    };
    // In place the gradient must not hide predictions that are still to be read.
    float labels = 0.f;
    if (p.exactSoftmax) {
      for (at.c = lane; at.c < channels; at.c += kWarp) labels += labelOf(at);
      labels = warpAll(labels, [](float a, float b) { return a + b; });
    }
    for (at.c = lane; at.c < channels; at.c += kWarp) {
      const float y = m::logSoftmax(valueAt(p.src, at, 0.f), most, logSum);
      const Element element{p, at, y, valueAt(p.labels, at, 0.f), scales.weight * valueAt(p.weights, at, 1.f),
                            incomingAt(p, at, scales)};
      const float exact = p.exactSoftmax ? m::softmaxGradient(y, labelOf(at), labels) : 0.f;
      sum += static_cast<double>(element(loss));
      if (p.exactSoftmax) storeElement(p.gradient.type, p.gradient.data + at.in(p.gradient), exact);
    }
  }
  const double all = blockSum(sum, room);
  if (threadIdx.x == 0 && p.sums != nullptr) p.sums[image * p.chunks + chunk] = all;
}

/// One thread: images are few and each has few sums.
__global__ void finishLossKernel(const __grid_constant__ LossParamsDevice p) {
  const float weight = scalarsOf(p.scalars).f[0];
  double total = 0;
  for (std::int64_t n = 0; n < p.images; ++n) {
    double value = p.loss.type == LossType::CosineDistance ? static_cast<double>(weight) : 0.0;
    for (std::int64_t c = 0; c < p.chunks; ++c) value += p.sums[n * p.chunks + c];
    const double d = divisorOf(p, n, weight);
    value = d == 0 ? 0 : value / d;
    std::byte* to = p.lossOut.data + n * p.lossOut.step[0];
    if (!p.acrossBatch) {
      storeElement(p.lossOut.type, to, static_cast<float>(value));
    } else {
      total += value;
      if (n > 0 && n < p.lossImages) storeElement(p.lossOut.type, to, 0.f);
    }
  }
  if (p.acrossBatch) storeElement(p.lossOut.type, p.lossOut.data, static_cast<float>(total));
}

/// The same with a thread for each image, where images do not meet.
__global__ void __launch_bounds__(kBlockThreads) finishEachKernel(const __grid_constant__ LossParamsDevice p) {
  const float weight = scalarsOf(p.scalars).f[0];
  for (std::int64_t n = globalThread(); n < p.images; n += globalThreads()) {
    double value = p.loss.type == LossType::CosineDistance ? static_cast<double>(weight) : 0.0;
    for (std::int64_t c = 0; c < p.chunks; ++c) value += p.sums[n * p.chunks + c];
    const double d = divisorOf(p, n, weight);
    storeElement(p.lossOut.type, p.lossOut.data + n * p.lossOut.step[0], static_cast<float>(d == 0 ? 0 : value / d));
  }
}

/// One cell of an image, its channels where they lie; the values that a thread puts add up in `sum`.
struct Cell {
  const LossParamsDevice& p;
  Place4 at;
  double& sum;

  __device__ Place4 place(std::int64_t c) const { return {at.n, at.y, at.x, c}; }
  __device__ float prediction(std::int64_t c) const { return valueAt(p.src, place(c), 0.f); }
  __device__ float label(std::int64_t c) const { return valueAt(p.labels, place(c), 0.f); }
  __device__ float weight(std::int64_t c) const { return valueAt(p.weights, place(c), 1.f); }
  __device__ void put(std::int64_t c, float value, float gradient) const {
    const Place4 to = place(c);
    sum += static_cast<double>(value);
    if (p.value.data != nullptr) storeElement(p.value.type, p.value.data + to.in(p.value), value);
    storeElement(p.gradient.type, p.gradient.data + to.in(p.gradient), gradient);
  }
};

__global__ void __launch_bounds__(kBlockThreads) yoloKernel(const __grid_constant__ YoloParamsDevice q) {
  __shared__ double room[kBlockThreads];
  const LossParamsDevice& p = q.loss;
  const std::int64_t image = blockIdx.y, chunk = blockIdx.x, count = q.yolo.anchors, cells = p.height * p.width;
  const std::int64_t endCell = (chunk + 1) * p.perChunk < cells ? (chunk + 1) * p.perChunk : cells;
  double sum = 0;
  for (std::int64_t i = chunk * p.perChunk * count + threadIdx.x; i < endCell * count; i += kBlockThreads) {
    std::int64_t anchor = 0;
    Place4 at{image, 0, 0, 0};
    at.y = divide(at.x, divide(anchor, i, count), p.width);
    const Cell cell{p, at, sum};
    const std::int64_t per = p.channels / count;
    m::yoloAnchor(q.yolo, cell, q.anchors, per, m::yoloBestFit(q.yolo, cell, q.anchors, per), anchor);
  }
  const double all = blockSum(sum, room);
  if (threadIdx.x == 0 && p.sums != nullptr) p.sums[image * p.chunks + chunk] = all;
}

cudaError_t countWeights(const LossParamsDevice& p, cudaStream_t stream) {
  if (!p.countsWeights) return cudaSuccess;
  return launchBlocks(countKernel, dim3(static_cast<unsigned>(p.images)), dim3(kBlockThreads), stream, p);
}

cudaError_t finishLoss(const LossParamsDevice& p, cudaStream_t stream) {
  if (!p.reduced || p.lossOut.data == nullptr) return cudaSuccess;
  if (p.acrossBatch) return launch(finishLossKernel, dim3(1), dim3(1), stream, p);
  return launch(finishEachKernel, dim3(blocksFor(p.images, kBlockThreads)), dim3(kBlockThreads), stream, p);
}

dim3 chunksOf(const LossParamsDevice& p) {
  return dim3(static_cast<unsigned>(p.chunks), static_cast<unsigned>(p.images));
}

}  // namespace

cudaError_t runLoss(const LossParamsDevice& p, cudaStream_t stream) {
  if (const auto e = countWeights(p, stream)) return e;
  const auto kernel = p.loss.type == LossType::SoftMaxCrossEntropy ? crossEntropyKernel : lossKernel;
  if (const auto e = launchBlocks(kernel, chunksOf(p), dim3(kBlockThreads), stream, p)) return e;
  return finishLoss(p, stream);
}

cudaError_t runYolo(const YoloParamsDevice& p, cudaStream_t stream) {
  if (const auto e = countWeights(p.loss, stream)) return e;
  if (const auto e = launchBlocks(yoloKernel, chunksOf(p.loss), dim3(kBlockThreads), stream, p)) return e;
  return finishLoss(p.loss, stream);
}

}  // namespace kovar::cuda
