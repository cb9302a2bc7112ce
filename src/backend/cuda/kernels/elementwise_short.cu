// The commonest element-wise programs without the interpreter: one input or two of packed float32, at most one operation
// of two inputs, at most one neuron behind it. The formulas are the interpreter's.

#include "backend/cuda/kernels/four.cuh"
#include "backend/cuda/kernels/launch.cuh"
#include "maths/arithmetic-inl.hpp"

namespace kovar::cuda {
namespace {

using prim::EwOp;
using prim::EwStep;

/// Inputs and output of packed groups of four.
struct ShortParams {
  const Four* x = nullptr;
  const Four* y = nullptr;
  Four* out = nullptr;
  std::int64_t groups = 0, repeat = 0;  ///< y starts again after `repeat` groups
  EwStep neuron;
};

enum class Pair : std::uint8_t { None, Add, Sub, Mul };
enum class Tail : std::uint8_t { None, Relu, Neuron, Gradient };

template <Pair kPair, Tail kTail>
__global__ void __launch_bounds__(kBlockThreads) shortKernel(const __grid_constant__ ShortParams p) {
  const std::int64_t g = globalThread();
  if (g >= p.groups) return;
  Four v = p.x[g];
  if constexpr (kPair != Pair::None || kTail == Tail::Gradient) {
    std::int64_t at = g;
    if (p.repeat < p.groups) divide(at, g, p.repeat);
    const Four y = p.y[at];
    if constexpr (kPair == Pair::Add) v = each(v, y, [](float a, float b) { return m::Add{}.fwd(a, b); });
    if constexpr (kPair == Pair::Sub) v = each(v, y, [](float a, float b) { return m::Sub{}.fwd(a, b); });
    if constexpr (kPair == Pair::Mul) v = each(v, y, [](float a, float b) { return m::Mul{}.fwd(a, b); });
    if constexpr (kTail == Tail::Gradient) v = neuronOfFour(p.neuron, v, v, y, true);
  }
  if constexpr (kTail == Tail::Relu) v = each(v, v, [](float a, float) { return m::ReLUZero{}.fwd(a); });
  if constexpr (kTail == Tail::Neuron) v = neuronOfFour(p.neuron, v, v, v, false);
  p.out[g] = v;
}

/// Reads a program as a short one: input, then perhaps a pair, then perhaps a neuron, then the output.
class Short {
 public:
  explicit Short(const ElementwiseParams& p) : p_(p) {
    for (int& h : held_) h = kNothing;
    if (p.load) held_[0] = 0;
    for (std::size_t k = 0; k < p.program.count && fits_; ++k) take(p.program.steps[k]);
    if (p.store) finish(1, 0);
    fits_ = fits_ && out_ >= 0 && x_ >= 0 && whole(x_) && whole(out_) && place(y_);
  }

  bool fits() const { return fits_; }
  cudaError_t run(cudaStream_t stream) const {
    ShortParams s;
    s.x = reinterpret_cast<const Four*>(p_.data[x_]);
    s.out = reinterpret_cast<Four*>(p_.data[out_]);
    s.y = y_ < 0 ? nullptr : reinterpret_cast<const Four*>(p_.data[y_]);
    s.groups = p_.groups;
    s.repeat = repeat_;
    s.neuron = neuron_;
    const dim3 blocks(blocksFor(p_.groups, kBlockThreads, INT32_MAX));
    const auto go = [&](auto kernel) { return launch(kernel, blocks, dim3(kBlockThreads), stream, s); };
    switch (pair_) {
      case Pair::None:
        return tail_ == Tail::Gradient ? go(shortKernel<Pair::None, Tail::Gradient>) : withTail<Pair::None>(go);
      case Pair::Add:
        return withTail<Pair::Add>(go);
      case Pair::Sub:
        return withTail<Pair::Sub>(go);
      case Pair::Mul:
        break;
    }
    return withTail<Pair::Mul>(go);
  }

 private:
  template <Pair kPair, class Go>
  cudaError_t withTail(const Go& go) const {
    if (tail_ == Tail::Relu) return go(shortKernel<kPair, Tail::Relu>);
    return tail_ == Tail::None ? go(shortKernel<kPair, Tail::None>) : go(shortKernel<kPair, Tail::Neuron>);
  }

  static constexpr int kNothing = -1, kResult = -2;

  void take(const EwStep& s) {
    if (s.op == EwOp::Load) {
      held_[s.dst] = s.arg;
      return;
    }
    if (s.op == EwOp::Store) return finish(s.arg, s.a);
    fits_ = fits_ && out_ < 0 && tail_ == Tail::None;
    if (!fits_) return;
    switch (s.op) {
      case EwOp::Add:
        return pair(Pair::Add, s);
      case EwOp::Sub:
        return pair(Pair::Sub, s);
      case EwOp::Mul:
        return pair(Pair::Mul, s);
      case EwOp::Neuron: {
        const auto type = static_cast<maths::NeuronType>(s.code);
        // A slope of each channel is a second input.
        fits_ = type != maths::NeuronType::PReLU && isValue(s.a);
        tail_ = type == maths::NeuronType::ReLU && s.p[0] == 0.f ? Tail::Relu : Tail::Neuron;
        return become(s);
      }
      case EwOp::NeuronGrad: {
        const auto type = static_cast<maths::NeuronType>(s.code);
        fits_ = type != maths::NeuronType::PReLU && x_ == kNothing && held_[s.a] >= 0 && held_[s.c] >= 0;
        if (!fits_) return;
        x_ = held_[s.a], y_ = held_[s.c];
        tail_ = Tail::Gradient;
        return become(s);
      }
      default:
        fits_ = false;
    }
  }

  /// The step's result; what stood before it is nobody's any more.
  void become(const EwStep& s) {
    for (int& h : held_)
      if (h == kResult) h = kNothing;
    neuron_ = s;
    held_[s.dst] = kResult;
  }
  /// Whether a register holds the only input so far, or the result so far.
  bool isValue(int r) {
    if (held_[r] >= 0 && x_ == kNothing) x_ = held_[r], held_[r] = kResult;
    return held_[r] == kResult;
  }
  void pair(Pair kind, const EwStep& s) {
    fits_ = x_ == kNothing && held_[s.a] >= 0 && held_[s.b] >= 0;
    if (!fits_) return;
    x_ = held_[s.a], y_ = held_[s.b];
    pair_ = kind;
    held_[s.dst] = kResult;
  }
  void finish(int view, int r) {
    fits_ = fits_ && out_ < 0 && isValue(r);
    out_ = view;
  }

  /// The view's elements lie one behind the other in whole groups.
  bool whole(int view) const {
    if (p_.reach[view] != Reach::Floats || p_.columns % 4 != 0) return false;
    std::int64_t step = 16;
    for (int a = p_.nest.rank - 1; a >= 0; --a) {
      if (p_.nest.count[a] > 1 && p_.nest.step[a][view] != step) return false;
      step *= p_.nest.count[a];
    }
    return true;
  }
  /// The second input lies as the others do, or only its innermost axis does and all others repeat it.
  bool place(int view) {
    repeat_ = p_.groups;
    if (view < 0 || whole(view)) return true;
    if (p_.reach[view] != Reach::Floats || p_.columns % 4 != 0) return false;
    const int last = p_.nest.rank - 1;
    for (int a = 0; a < last; ++a)
      if (p_.nest.count[a] > 1 && p_.nest.step[a][view] != 0) return false;
    repeat_ = p_.nest.count[last];
    return p_.nest.step[last][view] == 16 || repeat_ == 1;
  }

  const ElementwiseParams& p_;
  bool fits_ = true;
  int held_[prim::kMaxRegisters];
  int x_ = kNothing, y_ = kNothing, out_ = kNothing;
  Pair pair_ = Pair::None;
  Tail tail_ = Tail::None;
  EwStep neuron_;
  std::int64_t repeat_ = 0;
};

}  // namespace

bool runShortProgram(const ElementwiseParams& p, cudaStream_t stream, cudaError_t& result) {
  const Short program(p);
  if (program.fits()) result = program.run(stream);
  return program.fits();
}

}  // namespace kovar::cuda
