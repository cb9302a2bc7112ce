#include "oracle/padding.hpp"

namespace kovar::oracle {

namespace {

long style(uint32_t method) { return static_cast<long>((method >> 4) & 3) - 1; }

long nearSide(uint32_t method, bool vertical, long extra) {
  switch (method & 3) {
    case padding::kAlignTopLeft:
      return extra;
    case padding::kAlignBottomRight:
      return 0;
    default:
      break;
  }
  const bool far = (method & (vertical ? padding::kRemainderBottom : padding::kRemainderRight)) != 0;
  return far ? extra / 2 : (extra + 1) / 2;  // C division: towards zero, for negative extra too
}

}  // namespace

AxisPadding forwardPadding(uint32_t method, bool vertical, long in, long stride, long extent) {
  AxisPadding a;
  const long span = in + style(method) * (extent - 1) + stride - 1;
  a.size = span >= 0 ? span / stride : -((-span + stride - 1) / stride);
  const long extra = (a.size - 1) * stride + extent - in;
  a.left = nearSide(method, vertical, extra);
  a.offset = extent / 2 - a.left;
  return a;
}

AxisPadding reversePadding(uint32_t method, bool vertical, long in, long stride, long extent) {
  AxisPadding a;
  const long spread = (in - 1) * stride + 1;
  a.size = spread + style(method) * (extent - 1);
  a.left = nearSide(method, vertical, a.size - 1 + extent - spread);
  a.kernelOffset = extent / 2 - a.left;
  return a;
}

}  // namespace kovar::oracle
