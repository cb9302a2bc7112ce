#pragma once
// How far an implementation of a convolution is from double precision.

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "conformance/device_case.hpp"
#include "oracle/conv.hpp"

namespace kovar::test {

/// Errors in units of 2^-24 of the sum of the absolute values of the products.
struct Errors {
  double rms = 0, largest = 0;
};

inline Errors errorsOf(const std::vector<float>& got, const std::vector<double>& value,
                       const std::vector<double>& magnitude) {
  Errors e;
  for (size_t i = 0; i < value.size(); ++i) {
    const double d = std::fabs(static_cast<double>(got[i]) - value[i]) / magnitude[i] * 0x1p24;
    e.rms += d * d / static_cast<double>(value.size());
    e.largest = std::max(e.largest, d);
  }
  e.rms = std::sqrt(e.rms);
  return e;
}

struct ConvSize {
  long images, size, inputs, outputs, kernel;
};

/// Square images, values of [-1, 1].
inline Errors errorsOf(prim::Backend& device, const std::string& name, const ConvSize& size,
                       prim::Direction direction) {
  using oracle::Tensor;
  using prim::Direction;
  using prim::DType;
  using prim::View;
  const long images = size.images, side = size.size, inputs = size.inputs, outputs = size.outputs, kernel = size.kernel;
  Random r(20261);
  oracle::Conv conv;
  conv.inputChannels = inputs, conv.outputChannels = outputs;
  conv.kernelWidth = conv.kernelHeight = kernel;
  const auto random = [&](size_t channels) {
    return randomTensor(r, images, side, side, channels, {-1, 1, false}, oracle::Format::Float32);
  };
  const Tensor src = random(inputs), dst = random(outputs);
  std::vector<double> weights = randomValues(r, conv.weightCount(), {-1, 1, false});
  for (double& w : weights) w = static_cast<float>(w);
  prim::Conv desc;
  desc.direction = direction;
  desc.y = desc.x = {static_cast<int>(kernel), 1, 1, static_cast<int>(kernel / 2)};
  const View srcView = View::image(DType::F32, images, side, side, inputs, inputs),
             dstView = View::image(DType::F32, images, side, side, outputs, outputs),
             weightView = View::contiguous(DType::F32, {outputs, kernel, kernel, inputs});
  const Tensor noSrc(images, side, side, inputs), noDst(images, side, side, outputs);
  oracle::Result result;
  std::vector<Argument> args;
  switch (direction) {
    case Direction::Forward:
      result = oracle::convForward(conv, src, weights, {}, noDst);
      args = {{srcView, src.v}, {weightView, weights}, {dstView, noDst.v, true}};
      break;
    case Direction::Data:
      result = oracle::convDataGradient(conv, weights, dst, noSrc);
      args = {{dstView, dst.v}, {weightView, weights}, {srcView, noSrc.v, true}};
      break;
    case Direction::Weights: {
      const oracle::WeightGradient g = oracle::convWeightGradient(conv, src, dst);
      result.value.v = g.weights, result.magnitude.v = g.weightsMagnitude;
      args = {{srcView, src.v}, {dstView, dst.v}, {weightView, weights, true}};
      break;
    }
  }
  Errors errors;
  EXPECT_TRUE(DeviceCase(desc, args).run({&device}, name, [&](const std::vector<std::vector<float>>& got) {
    errors = errorsOf(got[2], result.value.v, result.magnitude.v);
  }));
  return errors;
}

}  // namespace kovar::test
