#pragma once
// Binary convolution, from its definition: weights as bits, values one by one.

#include "oracle/conv.hpp"

namespace kovar::oracle {

enum class BinaryType { BinaryWeights, Xnor, And };

struct BinaryConv {
  Conv conv;  ///< windows, attributes, channels, neuron
  BinaryType type = BinaryType::BinaryWeights;
  bool beta = false;
  std::vector<double> inputBias, inputScale;    ///< empty: 0, 1
  std::vector<double> outputBias, outputScale;  ///< empty: 0, 1
};

/// bits: 0 or 1, [output][ky][kx][input].
Result binaryConvForward(const BinaryConv& op, const Tensor& source, const std::vector<int>& bits,
                         const Tensor& destination);

}  // namespace kovar::oracle
