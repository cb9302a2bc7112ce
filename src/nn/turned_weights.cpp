// Weights as transposed convolutions read them, [inputs][kernelHeight][kernelWidth][outputs / groups], rotated by 180
// degrees: with them the class is the data gradient of a convolution, and its gradient that convolution.

#include "nn/convolution_transpose_geometry.hpp"

namespace kovar::nn {
namespace {

struct TapViews {
  prim::View given, turned;
};

/// One tap of both forms as [group][input of the group][output of the group].
TapViews tapOf(const ConvolutionShape& s, const prim::View& given, const prim::View& turned, std::int64_t y,
               std::int64_t x) {
  const std::int64_t inputs = s.inputsPerFilter(), outputs = s.outputsPerInput();
  const std::int64_t filter = s.taps(), turnedFilter = s.kernelHeight * s.kernelWidth * outputs;
  TapViews v{given, turned};
  v.given.rank = v.turned.rank = 3;
  v.given.dims = v.turned.dims = {s.groups, inputs, outputs};
  v.given.strides = {outputs * filter, 1, filter};
  v.given.offset += (y * s.kernelWidth + x) * inputs;
  v.turned.strides = {inputs * turnedFilter, turnedFilter, 1};
  v.turned.offset += ((s.kernelHeight - 1 - y) * s.kernelWidth + s.kernelWidth - 1 - x) * outputs;
  return v;
}

template <class F>
void forEachTap(const ConvolutionShape& s, F&& f) {
  for (std::int64_t y = 0; y < s.kernelHeight; ++y)
    for (std::int64_t x = 0; x < s.kernelWidth; ++x) f(y, x);
}

}  // namespace

void turn(Recorder& list, const ConvolutionShape& shape, const Tensor& given, const Tensor& turned) {
  forEachTap(shape, [&](std::int64_t y, std::int64_t x) {
    const TapViews v = tapOf(shape, given.view, turned.view, y, x);
    list.op(prim::Copy{}, {given.as(v.given).read(), turned.as(v.turned).write()});
  });
}

void turnBack(Recorder& list, const ConvolutionShape& shape, const Tensor& turned, const GradientSums& sums) {
  prim::Copy copy;
  copy.accumulate = sums.accumulate;
  forEachTap(shape, [&](std::int64_t y, std::int64_t x) {
    const TapViews v = tapOf(shape, sums.weights.view, turned.view, y, x);
    list.op(copy, {turned.as(v.turned).read(), sums.operand(sums.weights.as(v.given))});
  });
}

std::vector<float> turnedValues(const ConvolutionShape& shape, const std::vector<float>& given) {
  std::vector<float> turned(given.size());
  const prim::View dense = prim::View::contiguous(prim::DType::F32, {static_cast<std::int64_t>(given.size())});
  forEachTap(shape, [&](std::int64_t y, std::int64_t x) {
    const TapViews v = tapOf(shape, dense, dense, y, x);
    for (std::int64_t g = 0; g < v.given.dim(0); ++g)
      for (std::int64_t i = 0; i < v.given.dim(1); ++i)
        for (std::int64_t o = 0; o < v.given.dim(2); ++o) {
          const auto at = [&](const prim::View& t) {
            return static_cast<std::size_t>(t.offset + g * t.stride(0) + i * t.stride(1) + o * t.stride(2));
          };
          turned[at(v.turned)] = given[at(v.given)];
        }
  });
  return turned;
}

Tensor WeightsCell::turnedTensor(const rt::StorageRef& storage) const {
  return {storage, prim::View::contiguous(prim::DType::F32, {shape().inputs, shape().kernelHeight, shape().kernelWidth,
                                                             shape().outputsPerInput()})};
}

}  // namespace kovar::nn
