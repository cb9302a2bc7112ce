#pragma once
// Image arithmetic with broadcasting strides, its gradients, and comparison.

#include "oracle/tensor.hpp"

namespace kovar::oracle {

enum class ArithmeticOp { Add, Subtract, Multiply, Divide, Compare };
/// Numbers are the documented enum values.
enum class Comparison { Equal = 0, NotEqual = 1, Less = 2, LessOrEqual = 3, Greater = 4, GreaterOrEqual = 5 };

/// How one operand is read: pixel offset + relative pixel * stride; a stride of 0 repeats the element at the offset.
struct Operand {
  Offset offset;
  EdgeMode edge = EdgeMode::Zero;
  long strideX = 1, strideY = 1;
  size_t strideC = 1;
  size_t channelOffset = 0;
  size_t channelMaxCount = static_cast<size_t>(-1);
  double scale = 1;
};

struct Arithmetic {
  ArithmeticOp op = ArithmeticOp::Add;
  Operand primary, secondary;
  double bias = 0;
  double minimum = -3.4028234663852886e38, maximum = 3.4028234663852886e38;
  Comparison comparison = Comparison::Equal;
  double threshold = 0;
  ClipRect clip;
  size_t destinationChannelOffset = 0;

  const char* name() const;
  static Tolerance tolerance() { return {1e-6, 1e-37}; }
  static Domain domain() { return {-4, 4, false}; }
};

/// Channels written: of the operand that is not broadcast; both: the smaller count; none: 1.
size_t arithmeticChannels(const Arithmetic& op, const Tensor& primary, const Tensor& secondary);

Result arithmeticForward(const Arithmetic& op, const Tensor& primary, const Tensor& secondary,
                         const Tensor& destination);

/// Gradient by one operand of Add, Subtract, Multiply, from the forward properties. With a state (useMask) elements
/// whose unclamped result lay on or outside the clamp range give nothing. Broadcast axes are summed. `gradient` has the
/// size of the forward clip rectangle; the destination has the size of the operand, and its pixel is the operand's
/// pixel.
Result arithmeticGradient(const Arithmetic& forward, bool bySecondary, bool useMask, const Tensor& gradient,
                          const Tensor& primary, const Tensor& secondary, const Tensor& destination,
                          size_t destinationChannelOffset = 0);

}  // namespace kovar::oracle
