#include "oracle/conv_transpose.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace kovar::oracle {

namespace {

// Source pixel behind position z of the spread-out axis; -1 = a zero between or outside.
long behind(EdgeMode mode, long z, long stride, size_t extent) {
  const long length = (static_cast<long>(extent) - 1) * stride + 1;
  if (z < 0 || z >= length) {
    if (mode == EdgeMode::Zero) return -1;
    z = std::clamp(z, 0L, length - 1);
  }
  return z % stride == 0 ? z / stride : -1;
}

struct Position {
  long x, y;
};

Position tap(const ConvTranspose& op, long x, long y, long p, long q) {
  const Conv& c = op.conv;
  return {c.at.offset.x * c.strideX + op.kernelOffsetX + x - c.extentX() / 2 + p * c.dilationX,
          c.at.offset.y * c.strideY + op.kernelOffsetY + y - c.extentY() / 2 + q * c.dilationY};
}

}  // namespace

Result convTransposeForward(const ConvTranspose& op, const Tensor& source, const std::vector<double>& weights,
                            const std::vector<double>& bias, const Tensor& destination) {
  // The spread-out source as an image of its own, then the ordinary convolution over it at unit stride.
  const Conv& c = op.conv;
  Tensor spread(source.n, (source.h - 1) * static_cast<size_t>(c.strideY) + 1,
                (source.w - 1) * static_cast<size_t>(c.strideX) + 1, source.c);
  for (size_t n = 0; n < source.n; ++n)
    for (size_t y = 0; y < source.h; ++y)
      for (size_t x = 0; x < source.w; ++x)
        for (size_t k = 0; k < source.c; ++k)
          spread.at(n, y * static_cast<size_t>(c.strideY), x * static_cast<size_t>(c.strideX), k) =
              source.at(n, y, x, k);
  Conv unit = c;
  unit.at.offset.x = c.at.offset.x * c.strideX + op.kernelOffsetX;
  unit.at.offset.y = c.at.offset.y * c.strideY + op.kernelOffsetY;
  unit.strideX = unit.strideY = 1;
  return convForward(unit, spread, weights, bias, destination);
}

Result convTransposeDataGradient(const ConvTranspose& forward, const std::vector<double>& weights,
                                 const Tensor& gradient, const Tensor& destination, size_t gradientChannelOffset,
                                 size_t destinationChannelOffset) {
  const Conv& c = forward.conv;
  Result out = Result::over(destination);
  for (size_t n = 0; n < destination.n; ++n)
    for (size_t y = 0; y < destination.h; ++y)
      for (size_t x = 0; x < destination.w; ++x)
        for (size_t i = 0; i < c.inputChannels; ++i) out.value.at(n, y, x, destinationChannelOffset + i) = 0.0;
  for (size_t n = 0; n < gradient.n; ++n)
    for (size_t y = 0; y < gradient.h; ++y)
      for (size_t x = 0; x < gradient.w; ++x)
        for (long q = 0; q < c.kernelHeight; ++q)
          for (long p = 0; p < c.kernelWidth; ++p) {
            const Position z = tap(forward, static_cast<long>(x), static_cast<long>(y), p, q);
            const long sx = behind(c.at.edge, z.x, c.strideX, destination.w);
            const long sy = behind(c.at.edge, z.y, c.strideY, destination.h);
            if (sx < 0 || sy < 0) continue;
            for (size_t o = 0; o < c.outputChannels; ++o)
              for (size_t k = 0; k < c.inputsPerFilter(); ++k) {
                const double product =
                    weights.at(c.weightIndex(o, q, p, k)) * gradient.at(n, y, x, gradientChannelOffset + o);
                const size_t at = destination.index(n, static_cast<size_t>(sy), static_cast<size_t>(sx),
                                                    destinationChannelOffset + c.firstInput(o) + k);
                out.value.v[at] += product;
                out.magnitude.v[at] += std::fabs(product);
              }
          }
  return out;
}

WeightGradient convTransposeWeightGradient(const ConvTranspose& forward, const Tensor& source, const Tensor& gradient,
                                           size_t gradientChannelOffset) {
  const Conv& c = forward.conv;
  const size_t count = c.weightCount();
  WeightGradient d{std::vector<double>(count), std::vector<double>(c.outputChannels), std::vector<double>(count),
                   std::vector<double>(c.outputChannels)};
  for (size_t n = 0; n < gradient.n; ++n)
    for (size_t y = 0; y < gradient.h; ++y)
      for (size_t x = 0; x < gradient.w; ++x)
        for (size_t o = 0; o < c.outputChannels; ++o) {
          const double g = gradient.at(n, y, x, gradientChannelOffset + o);
          d.bias[o] += g;
          d.biasMagnitude[o] += std::fabs(g);
          for (long q = 0; q < c.kernelHeight; ++q)
            for (long p = 0; p < c.kernelWidth; ++p) {
              const Position z = tap(forward, static_cast<long>(x), static_cast<long>(y), p, q);
              const long sx = behind(c.at.edge, z.x, c.strideX, source.w);
              const long sy = behind(c.at.edge, z.y, c.strideY, source.h);
              if (sx < 0 || sy < 0) continue;
              for (size_t k = 0; k < c.inputsPerFilter(); ++k) {
                const double product = g * source.at(n, static_cast<size_t>(sy), static_cast<size_t>(sx),
                                                     c.at.sourceChannelOffset + c.firstInput(o) + k);
                d.weights[c.weightIndex(o, q, p, k)] += product;
                d.weightsMagnitude[c.weightIndex(o, q, p, k)] += std::fabs(product);
              }
            }
        }
  return d;
}

void configureFromForward(const Conv& forward, ConvTranspose& transpose) {
  transpose.conv.at.offset.x = transpose.conv.at.offset.y = 0;
  transpose.kernelOffsetX = -forward.at.offset.x + (forward.extentX() % 2 == 0 ? 1 : 0);
  transpose.kernelOffsetY = -forward.at.offset.y + (forward.extentY() % 2 == 0 ? 1 : 0);
}

std::vector<double> rotateFrameworkWeights(const Conv& conv, const std::vector<double>& weights) {
  if (conv.depthwise) throw std::invalid_argument("oracle: framework weights of a depthwise kernel are not handled");
  std::vector<double> out(conv.weightCount());
  if (weights.size() != out.size()) throw std::invalid_argument("oracle: wrong count of weights");
  const size_t perGroup = conv.outputChannels / conv.groups;
  const auto kh = static_cast<size_t>(conv.kernelHeight), kw = static_cast<size_t>(conv.kernelWidth);
  for (size_t o = 0; o < conv.outputChannels; ++o)
    for (size_t q = 0; q < kh; ++q)
      for (size_t p = 0; p < kw; ++p)
        for (size_t k = 0; k < conv.inputsPerFilter(); ++k) {
          const size_t input = conv.firstInput(o) + k;
          out[conv.weightIndex(o, static_cast<long>(q), static_cast<long>(p), k)] =
              weights[((input * perGroup + o % perGroup) * kh + (kh - 1 - q)) * kw + (kw - 1 - p)];
        }
  return out;
}

}  // namespace kovar::oracle
