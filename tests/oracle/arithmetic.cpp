#include "oracle/arithmetic.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace kovar::oracle {

namespace {

double readOperand(const Operand& o, const Tensor& t, long n, long y, long x, size_t c) {
  return readEdge(t, o.edge, static_cast<size_t>(o.offset.z + n), o.offset.y + y * o.strideY,
                  o.offset.x + x * o.strideX, o.channelOffset + c * o.strideC);
}

// Result before the clamp range, and its absolute terms.
void combine(const Arithmetic& op, double x, double y, double& value, double& terms) {
  const double px = op.primary.scale * x, sy = op.secondary.scale * y;
  switch (op.op) {
    case ArithmeticOp::Add:
      value = px + sy + op.bias, terms = std::fabs(px) + std::fabs(sy) + std::fabs(op.bias);
      return;
    case ArithmeticOp::Subtract:
      value = px - sy + op.bias, terms = std::fabs(px) + std::fabs(sy) + std::fabs(op.bias);
      return;
    case ArithmeticOp::Multiply:
      value = px * sy + op.bias, terms = std::fabs(px * sy) + std::fabs(op.bias);
      return;
    case ArithmeticOp::Divide:
      value = px / sy + op.bias, terms = std::fabs(px / sy) + std::fabs(op.bias);
      return;
    case ArithmeticOp::Compare:
      break;
  }
  const bool equal = std::fabs(x - y) <= op.threshold;
  bool yes = false;
  switch (op.comparison) {
    case Comparison::Equal:
      yes = equal;
      break;
    case Comparison::NotEqual:
      yes = !equal;
      break;
    case Comparison::Less:
      yes = x < y && !equal;
      break;
    case Comparison::LessOrEqual:
      yes = x < y || equal;
      break;
    case Comparison::Greater:
      yes = x > y && !equal;
      break;
    case Comparison::GreaterOrEqual:
      yes = x > y || equal;
      break;
  }
  value = terms = yes ? 1.0 : 0.0;
}

}  // namespace

const char* Arithmetic::name() const {
  static const char* const kNames[] = {"Add", "Subtract", "Multiply", "Divide", "Compare"};
  return kNames[static_cast<int>(op)];
}

size_t arithmeticChannels(const Arithmetic& op, const Tensor& primary, const Tensor& secondary) {
  const size_t a = usedChannels(primary, op.primary.channelOffset, op.primary.channelMaxCount);
  const size_t b = usedChannels(secondary, op.secondary.channelOffset, op.secondary.channelMaxCount);
  if (op.primary.strideC == 0 && op.secondary.strideC == 0) return 1;
  if (op.primary.strideC == 0) return b;
  if (op.secondary.strideC == 0) return a;
  return std::min(a, b);
}

Result arithmeticForward(const Arithmetic& op, const Tensor& primary, const Tensor& secondary,
                         const Tensor& destination) {
  Result out = Result::over(destination);
  const Region r = effectiveRegion(op.clip, destination, op.primary.offset.z, primary.n);
  const size_t channels = arithmeticChannels(op, primary, secondary);
  for (long i = 0; i < r.d; ++i)
    for (long y = 0; y < r.h; ++y)
      for (long x = 0; x < r.w; ++x)
        for (size_t c = 0; c < channels; ++c) {
          double value = 0, terms = 0;
          combine(op, readOperand(op.primary, primary, i, y, x, c), readOperand(op.secondary, secondary, i, y, x, c),
                  value, terms);
          const size_t k = destination.index(static_cast<size_t>(r.z + i), static_cast<size_t>(r.y + y),
                                             static_cast<size_t>(r.x + x), op.destinationChannelOffset + c);
          out.value.v[k] = std::isnan(value) ? value : std::min(std::max(value, op.minimum), op.maximum);
          out.magnitude.v[k] = terms;
        }
  return out;
}

Result arithmeticGradient(const Arithmetic& forward, bool bySecondary, bool useMask, const Tensor& gradient,
                          const Tensor& primary, const Tensor& secondary, const Tensor& destination,
                          size_t destinationChannelOffset) {
  if (forward.op == ArithmeticOp::Divide || forward.op == ArithmeticOp::Compare)
    throw std::invalid_argument("oracle: Divide and Compare have no gradient");
  const Operand& own = bySecondary ? forward.secondary : forward.primary;
  const Operand& other = bySecondary ? forward.primary : forward.secondary;
  const size_t channels = arithmeticChannels(forward, primary, secondary);
  const size_t ownChannels = own.strideC == 0 ? 1 : channels;
  Result out = Result::over(destination);
  for (size_t n = 0; n < destination.n; ++n)
    for (size_t y = 0; y < destination.h; ++y)
      for (size_t x = 0; x < destination.w; ++x)
        for (size_t c = 0; c < ownChannels; ++c) out.value.at(n, y, x, destinationChannelOffset + c) = 0.0;
  for (size_t n = 0; n < gradient.n; ++n)
    for (size_t y = 0; y < gradient.h; ++y)
      for (size_t x = 0; x < gradient.w; ++x)
        for (size_t c = 0; c < channels; ++c) {
          const long ni = static_cast<long>(n), yi = static_cast<long>(y), xi = static_cast<long>(x);
          const double a = readOperand(forward.primary, primary, ni, yi, xi, c);
          const double b = readOperand(forward.secondary, secondary, ni, yi, xi, c);
          if (useMask) {
            double value = 0, terms = 0;
            combine(forward, a, b, value, terms);
            if (!(value > forward.minimum && value < forward.maximum)) continue;
          }
          double factor = own.scale;
          if (forward.op == ArithmeticOp::Subtract && bySecondary) factor = -factor;
          if (forward.op == ArithmeticOp::Multiply) factor *= other.scale * (bySecondary ? a : b);
          long sy = own.offset.y + yi * own.strideY, sx = own.offset.x + xi * own.strideX;
          const long h = static_cast<long>(destination.h), w = static_cast<long>(destination.w);
          if (sy < 0 || sy >= h || sx < 0 || sx >= w) {
            if (own.edge == EdgeMode::Zero) continue;
            sy = std::clamp(sy, 0L, h - 1);
            sx = std::clamp(sx, 0L, w - 1);
          }
          const size_t at = destination.index(n, static_cast<size_t>(sy), static_cast<size_t>(sx),
                                              destinationChannelOffset + c * own.strideC);
          const double product = factor * gradient.at(n, y, x, c);
          out.value.v[at] += product;
          out.magnitude.v[at] += std::fabs(product);
        }
  return out;
}

}  // namespace kovar::oracle
