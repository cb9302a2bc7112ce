#pragma once
// What arithmetic kernels and their gradients share.

#include <array>
#include <cstdint>
#include <limits>
#include <string>

#include "nn/core/call.hpp"
#include "prim/program.hpp"

namespace kovar::nn {

enum class ArithmeticOp { Add, Subtract, Multiply, Divide, Compare };

/// What the gradients must know of a forward encode.
struct ArithmeticRecord {
  struct Operand {
    MPS::Offset offset;
    MPS::ImageEdgeMode edgeMode = MPS::ImageEdgeMode::Zero;
    std::size_t strideX = 1, strideY = 1, strideC = 1;
    std::size_t channelOffset = 0, channels = 0;  ///< the channels read
    std::size_t width = 0, height = 0;
    float scale = 1;
  };
  ArithmeticOp op = ArithmeticOp::Add;
  std::array<Operand, 2> operands;
  MTL::Region clip;  ///< as it took effect
  std::size_t destinationFeatureChannelOffset = 0;
  bool clamps = false;  ///< a mask comes with the state
};

/// 0 or 1; throws Error otherwise.
std::size_t checkedStride(const std::string& who, const char* property, std::size_t stride);

/// One operand as large as `height` x `width` x `channels`, read from its offset (moved by dy, dx) on and repeated
/// along the axes with stride 0.
Tensor operandOf(const Call& call, std::size_t index, std::array<std::size_t, 3> strideYXC,
                 std::array<std::int64_t, 3> extentYXC, std::int64_t dy = 0, std::int64_t dx = 0);

/// Limits that change finite values: others keep no mask.
inline bool clampsAnything(float minimum, float maximum) {
  constexpr float kMost = std::numeric_limits<float>::max();
  return minimum > -kMost || maximum < kMost;
}

inline prim::EwStep ewStep(prim::EwOp op, std::uint8_t dst, std::uint8_t a, std::uint8_t b = 0) {
  prim::EwStep s;
  s.op = op;
  s.dst = dst;
  s.a = a;
  s.b = b;
  return s;
}
inline prim::EwStep ewLoad(std::uint8_t dst, std::uint8_t arg) {
  prim::EwStep s = ewStep(prim::EwOp::Load, dst, 0);
  s.arg = arg;
  return s;
}
inline prim::EwStep ewStore(std::uint8_t a, std::uint8_t arg) {
  prim::EwStep s = ewStep(prim::EwOp::Store, 0, a);
  s.arg = arg;
  return s;
}
/// r = r * scale + shift. A shift of -0 keeps the sign of a zero product.
inline prim::EwStep ewAffine(std::uint8_t r, float scale, float shift = -0.f) {
  prim::EwStep s = ewStep(prim::EwOp::Affine, r, r);
  s.p = {scale, shift, 0.f};
  return s;
}

}  // namespace kovar::nn
