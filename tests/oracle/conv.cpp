#include "oracle/conv.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "oracle/formats.hpp"

namespace kovar::oracle {

size_t Conv::firstInput(size_t c) const {
  if (depthwise) return c / (outputChannels / inputChannels);
  return c / (outputChannels / groups) * (inputChannels / groups);
}

size_t Conv::weightCount() const {
  return outputChannels * static_cast<size_t>(kernelHeight * kernelWidth) * inputsPerFilter();
}

size_t Conv::weightIndex(size_t c, long q, long p, size_t i) const {
  return ((c * static_cast<size_t>(kernelHeight) + static_cast<size_t>(q)) * static_cast<size_t>(kernelWidth) +
          static_cast<size_t>(p)) *
             inputsPerFilter() +
         i;
}

namespace {

void check(const Conv& conv, const Tensor& source, const std::vector<double>& weights,
           const std::vector<double>& bias) {
  if (weights.size() != conv.weightCount()) throw std::invalid_argument("oracle: wrong count of weights");
  if (!bias.empty() && bias.size() != conv.outputChannels) throw std::invalid_argument("oracle: wrong count of biases");
  if (source.c < conv.at.sourceChannelOffset + conv.inputChannels)
    throw std::invalid_argument("oracle: the source has too few channels");
}

struct Folded {
  std::vector<double> weights, bias, biasTerms;  // biasTerms: sum of absolute terms of the folded bias
};

Folded fold(const Conv& conv, const std::vector<double>& weights, const std::vector<double>& bias) {
  Folded f{weights, bias, {}};
  if (f.bias.empty()) f.bias.assign(conv.outputChannels, 0.0);
  f.biasTerms.resize(conv.outputChannels);
  const size_t perFilter = weights.size() / conv.outputChannels;
  for (size_t c = 0; c < conv.outputChannels; ++c) {
    f.biasTerms[c] = std::fabs(f.bias[c]);
    if (!conv.normalise) continue;
    const FoldedBatchNorm& bn = conv.batchNorm;
    const double gamma = bn.gamma.empty() ? 1.0 : bn.gamma.at(c);
    const double beta = bn.beta.empty() ? 0.0 : bn.beta.at(c);
    const double factor = gamma / std::sqrt(bn.variance.at(c) + bn.epsilon);
    for (size_t k = 0; k < perFilter; ++k) f.weights[c * perFilter + k] *= factor;
    f.biasTerms[c] = std::fabs(f.bias[c] * factor) + std::fabs(beta) + std::fabs(factor * bn.mean.at(c));
    f.bias[c] = f.bias[c] * factor + beta - factor * bn.mean.at(c);
  }
  if (conv.roundWeightsToHalf)
    for (double& w : f.weights) w = roundToHalf(w);
  return f;
}

// An edge-mode position: false when the read gives zero.
bool resolve(EdgeMode mode, long& p, size_t extent) {
  const long end = static_cast<long>(extent);
  if (p >= 0 && p < end) return true;
  if (mode == EdgeMode::Zero) return false;
  if (mode != EdgeMode::Clamp) throw std::invalid_argument("oracle: a window takes edge modes Zero and Clamp only");
  p = std::clamp(p, 0L, end - 1);
  return true;
}

}  // namespace

Result convForward(const Conv& conv, const Tensor& source, const std::vector<double>& weights,
                   const std::vector<double>& bias, const Tensor& destination) {
  check(conv, source, weights, bias);
  if (conv.at.sourceChannelMaxCount < conv.inputChannels)
    throw std::invalid_argument("oracle: sourceChannelMaxCount is below inputChannels");
  if (destination.c < conv.at.destinationChannelOffset + conv.writtenChannels())
    throw std::invalid_argument("oracle: the destination has too few channels");
  const Folded folded = fold(conv, weights, bias);
  Result out = Result::over(destination);
  const Region r = effectiveRegion(conv.at.clip, destination, conv.at.offset.z, source.n);
  const long scale = conv.subPixelScale;
  const size_t written = conv.writtenChannels();
  for (long i = 0; i < r.d; ++i)
    for (long y = 0; y < r.h; ++y)
      for (long x = 0; x < r.w; ++x)
        for (size_t c = 0; c < written; ++c) {
          // the filter that makes this pixel of the r x r block
          const size_t filter = written * static_cast<size_t>(scale * (y % scale) + x % scale) + c;
          const long left = conv.at.offset.x + (x / scale) * conv.strideX - conv.extentX() / 2;
          const long top = conv.at.offset.y + (y / scale) * conv.strideY - conv.extentY() / 2;
          double sum = folded.bias[filter], terms = folded.biasTerms[filter];
          for (long q = 0; q < conv.kernelHeight; ++q)
            for (long p = 0; p < conv.kernelWidth; ++p)
              for (size_t k = 0; k < conv.inputsPerFilter(); ++k) {
                const double s =
                    readEdge(source, conv.at.edge, static_cast<size_t>(conv.at.offset.z + i), top + q * conv.dilationY,
                             left + p * conv.dilationX, conv.at.sourceChannelOffset + conv.firstInput(filter) + k);
                const double product = folded.weights[conv.weightIndex(filter, q, p, k)] * s;
                sum += product;
                terms += std::fabs(product);
              }
          const size_t at = destination.index(static_cast<size_t>(r.z + i), static_cast<size_t>(r.y + y),
                                              static_cast<size_t>(r.x + x), conv.at.destinationChannelOffset + c);
          out.value.v[at] = conv.neuron.value(sum, filter);
          out.magnitude.v[at] = fusedMagnitude(conv.neuron, sum, terms, filter);
        }
  return out;
}

Result convDataGradient(const Conv& forward, const std::vector<double>& weights, const Tensor& gradient,
                        const Tensor& destination, size_t gradientChannelOffset, size_t destinationChannelOffset) {
  if (weights.size() != forward.weightCount()) throw std::invalid_argument("oracle: wrong count of weights");
  Result out = Result::over(destination);
  for (size_t n = 0; n < destination.n; ++n)
    for (size_t y = 0; y < destination.h; ++y)
      for (size_t x = 0; x < destination.w; ++x)
        for (size_t i = 0; i < forward.inputChannels; ++i) out.value.at(n, y, x, destinationChannelOffset + i) = 0.0;
  // scatter every product of the forward pass back to the pixel it read
  for (size_t n = 0; n < gradient.n; ++n)
    for (size_t y = 0; y < gradient.h; ++y)
      for (size_t x = 0; x < gradient.w; ++x)
        for (size_t c = 0; c < forward.outputChannels; ++c) {
          const double g = gradient.at(n, y, x, gradientChannelOffset + c);
          for (long q = 0; q < forward.kernelHeight; ++q)
            for (long p = 0; p < forward.kernelWidth; ++p) {
              long sx = forward.at.offset.x + static_cast<long>(x) * forward.strideX - forward.extentX() / 2 +
                        p * forward.dilationX;
              long sy = forward.at.offset.y + static_cast<long>(y) * forward.strideY - forward.extentY() / 2 +
                        q * forward.dilationY;
              if (!resolve(forward.at.edge, sx, destination.w) || !resolve(forward.at.edge, sy, destination.h))
                continue;
              for (size_t k = 0; k < forward.inputsPerFilter(); ++k) {
                const double product = weights[forward.weightIndex(c, q, p, k)] * g;
                const size_t at = destination.index(n, static_cast<size_t>(sy), static_cast<size_t>(sx),
                                                    destinationChannelOffset + forward.firstInput(c) + k);
                out.value.v[at] += product;
                out.magnitude.v[at] += std::fabs(product);
              }
            }
        }
  return out;
}

Result convDataGradientManual(const Conv& forward, const ConvManualGradient& how, const std::vector<double>& weights,
                              const Tensor& gradient, const Tensor& destination) {
  if (weights.size() != forward.weightCount()) throw std::invalid_argument("oracle: wrong count of weights");
  Result out = Result::over(destination);
  const Region r = effectiveRegion(how.clip, destination, how.primaryOffset.z, gradient.n);
  // gradient spread out by the stride
  auto spread = [&](size_t n, long y, long x, size_t c) {
    if (x < 0 || y < 0 || x % forward.strideX != 0 || y % forward.strideY != 0) return 0.0;
    return readEdge(gradient, EdgeMode::Zero, n, y / forward.strideY, x / forward.strideX,
                    how.gradientChannelOffset + c);
  };
  for (long n = 0; n < r.d; ++n)
    for (long y = 0; y < r.h; ++y)
      for (long x = 0; x < r.w; ++x) {
        const long left = how.primaryOffset.x * forward.strideX + how.kernelOffsetX + x - forward.extentX() / 2;
        const long top = how.primaryOffset.y * forward.strideY + how.kernelOffsetY + y - forward.extentY() / 2;
        for (size_t i = 0; i < forward.inputChannels; ++i)
          out.value.at(static_cast<size_t>(r.z + n), static_cast<size_t>(r.y + y), static_cast<size_t>(r.x + x),
                       how.destinationChannelOffset + i) = 0.0;
        for (size_t c = 0; c < forward.outputChannels; ++c)
          for (long q = 0; q < forward.kernelHeight; ++q)
            for (long p = 0; p < forward.kernelWidth; ++p) {
              const double g = spread(static_cast<size_t>(how.primaryOffset.z + n), top + q * forward.dilationY,
                                      left + p * forward.dilationX, c);
              for (size_t k = 0; k < forward.inputsPerFilter(); ++k) {
                const double product =
                    g * weights[forward.weightIndex(c, forward.kernelHeight - 1 - q, forward.kernelWidth - 1 - p, k)];
                const size_t at = destination.index(static_cast<size_t>(r.z + n), static_cast<size_t>(r.y + y),
                                                    static_cast<size_t>(r.x + x),
                                                    how.destinationChannelOffset + forward.firstInput(c) + k);
                out.value.v[at] += product;
                out.magnitude.v[at] += std::fabs(product);
              }
            }
      }
  return out;
}

WeightGradient convWeightGradient(const Conv& forward, const Tensor& source, const Tensor& gradient,
                                  size_t gradientChannelOffset) {
  const size_t count = forward.weightCount();
  WeightGradient d{std::vector<double>(count), std::vector<double>(forward.outputChannels), std::vector<double>(count),
                   std::vector<double>(forward.outputChannels)};
  const long firstX = forward.at.offset.x - forward.extentX() / 2, firstY = forward.at.offset.y - forward.extentY() / 2;
  for (size_t n = 0; n < gradient.n; ++n)
    for (size_t y = 0; y < gradient.h; ++y)
      for (size_t x = 0; x < gradient.w; ++x)
        for (size_t c = 0; c < forward.outputChannels; ++c) {
          const double g = gradient.at(n, y, x, gradientChannelOffset + c);
          d.bias[c] += g;
          d.biasMagnitude[c] += std::fabs(g);
          for (long q = 0; q < forward.kernelHeight; ++q)
            for (long p = 0; p < forward.kernelWidth; ++p)
              for (size_t k = 0; k < forward.inputsPerFilter(); ++k) {
                const double s = readEdge(source, forward.at.edge, n + static_cast<size_t>(forward.at.offset.z),
                                          firstY + static_cast<long>(y) * forward.strideY + q * forward.dilationY,
                                          firstX + static_cast<long>(x) * forward.strideX + p * forward.dilationX,
                                          forward.at.sourceChannelOffset + forward.firstInput(c) + k);
                const size_t at = forward.weightIndex(c, q, p, k);
                d.weights[at] += g * s;
                d.weightsMagnitude[at] += std::fabs(g * s);
              }
        }
  return d;
}

namespace {

// The convolution a fully connected layer stands for: its first tap on pixel (0,0).
Conv asConvolution(const Conv& conv, size_t sourceWidth, size_t sourceHeight) {
  if (conv.kernelWidth != static_cast<long>(sourceWidth) || conv.kernelHeight != static_cast<long>(sourceHeight))
    throw std::invalid_argument("oracle: a fully connected kernel is as large as its source");
  if (conv.strideX != 1 || conv.strideY != 1 || conv.groups != 1)
    throw std::invalid_argument("oracle: a fully connected layer has stride 1 and one group");
  Conv c = conv;
  c.at.offset.x = conv.kernelWidth / 2;
  c.at.offset.y = conv.kernelHeight / 2;
  return c;
}

}  // namespace

Result fullyConnectedForward(const Conv& conv, const Tensor& source, const std::vector<double>& weights,
                             const std::vector<double>& bias, const Tensor& destination) {
  const Region r = effectiveRegion(conv.at.clip, destination, conv.at.offset.z, source.n);
  if (r.w != 1 || r.h != 1) throw std::invalid_argument("oracle: a fully connected layer writes one pixel");
  return convForward(asConvolution(conv, source.w, source.h), source, weights, bias, destination);
}

Result fullyConnectedDataGradient(const Conv& forward, const std::vector<double>& weights, const Tensor& gradient,
                                  const Tensor& destination, size_t gradientChannelOffset,
                                  size_t destinationChannelOffset) {
  return convDataGradient(asConvolution(forward, destination.w, destination.h), weights, gradient, destination,
                          gradientChannelOffset, destinationChannelOffset);
}

WeightGradient fullyConnectedWeightGradient(const Conv& forward, const Tensor& source, const Tensor& gradient,
                                            size_t gradientChannelOffset) {
  return convWeightGradient(asConvolution(forward, source.w, source.h), source, gradient, gradientChannelOffset);
}

}  // namespace kovar::oracle
