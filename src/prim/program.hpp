#pragma once
// A program of element-wise steps over float registers: the Elementwise primitive's body, and what fusion appends to a
// convolution, product or pooling (post-ops). Register 0 holds the producer's value when the program is a post-op.

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace kovar::prim {

enum class EwOp : std::uint8_t {
  Load,        ///< r[dst] = argument `arg`, converted to float
  Const,       ///< r[dst] = p[0]
  Neuron,      ///< r[dst] = f(r[a]); `code` is the neuron type, p its a, b, c; PReLU takes its slopes from r[b]
  NeuronGrad,  ///< r[dst] = f'(r[a]) * r[c]; as Neuron, r[c] is the incoming gradient
  Affine,      ///< r[dst] = r[a] * p[0] + p[1]
  Add,         ///< r[dst] = r[a] + r[b]
  Sub,
  Mul,
  Div,
  Min,
  Max,
  Clamp,    ///< r[dst] = r[a] clamped to [p[0], p[1]]; NaN stays NaN
  Compare,  ///< r[dst] = 1 or 0; `code` is the comparison type, p[0] its threshold
  InRange,  ///< r[dst] = 1 where p[0] < r[a] < p[1], else 0 (mask of a clamp)
  Store,    ///< argument `arg` = r[a], converted to its element type
};

struct EwStep {
  EwOp op = EwOp::Load;
  std::uint8_t dst = 0, a = 0, b = 0, c = 0;
  std::uint8_t arg = 0;   ///< index into the operation's arguments (post-ops: after the producer's own)
  std::uint8_t code = 0;  ///< neuron or comparison type
  std::array<float, 3> p{};
  bool operator==(const EwStep&) const = default;
};

inline constexpr std::size_t kMaxSteps = 24;
inline constexpr int kMaxRegisters = 8;

struct Program {
  std::uint8_t count = 0;
  std::array<EwStep, kMaxSteps> steps{};

  bool empty() const { return count == 0; }
  bool operator==(const Program& o) const {
    if (count != o.count) return false;
    for (std::size_t i = 0; i < count; ++i)
      if (!(steps[i] == o.steps[i])) return false;
    return true;
  }
  /// False when the program is full; the caller then keeps the operations apart.
  bool push(const EwStep& s) {
    if (count == kMaxSteps) return false;
    steps[count++] = s;
    return true;
  }
  std::string text() const;
};

}  // namespace kovar::prim
