#include "backend/cpu/program_runner.hpp"

#include "backend/cpu/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/program_runner.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backend/cpu/pieces.hpp"
#include "backend/cpu/rows.hpp"
#include "maths/arithmetic-inl.hpp"
#include "maths/neuron-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace kovar::cpu {
namespace HWY_NAMESPACE {
namespace {

using prim::EwOp;
using prim::EwStep;

template <class F>
HWY_INLINE void unary(const float* a, float* d, std::int64_t n, F f) {
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) m::store(f(m::load<Floats>(a + i)), d + i);
  if (i < n) storePart(f(loadPart(a + i, n - i)), d + i, n - i);
}

template <class F>
HWY_INLINE void binary(const float* a, const float* b, float* d, std::int64_t n, F f) {
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) m::store(f(m::load<Floats>(a + i), m::load<Floats>(b + i)), d + i);
  if (i < n) storePart(f(loadPart(a + i, n - i), loadPart(b + i, n - i)), d + i, n - i);
}

template <class F>
HWY_INLINE void ternary(const float* a, const float* b, const float* c, float* d, std::int64_t n, F f) {
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    m::store(f(m::load<Floats>(a + i), m::load<Floats>(b + i), m::load<Floats>(c + i)), d + i);
  if (i < n) storePart(f(loadPart(a + i, n - i), loadPart(b + i, n - i), loadPart(c + i, n - i)), d + i, n - i);
}

template <class N>
struct NeuronForward {
  N neuron;
  HWY_INLINE Floats operator()(Floats x) const { return neuron.fwd(x); }
  HWY_INLINE Floats operator()(Floats x, Floats slope) const { return neuron.fwd(x, slope); }
};

template <class N>
struct NeuronBackward {
  N neuron;
  HWY_INLINE Floats operator()(Floats x, Floats g) const { return neuron.bwd(x, g); }
  HWY_INLINE Floats operator()(Floats x, Floats g, Floats slope) const { return neuron.bwd(x, g, slope); }
};

/// What visitNeuron() calls: the loop over one block, forward or backward.
struct NeuronLoop {
  const float *x, *slope, *gradient;
  float* d;
  std::int64_t n;
  bool backward;
  template <class N>
  HWY_NOINLINE void operator()(const N& f) const {
    if constexpr (N::kPerChannel) {
      if (backward) return ternary(x, gradient, slope, d, n, NeuronBackward<N>{f});
      return binary(x, slope, d, n, NeuronForward<N>{f});
    } else {
      if (backward) return binary(x, gradient, d, n, NeuronBackward<N>{f});
      return unary(x, d, n, NeuronForward<N>{f});
    }
  }
};

struct ArithmeticLoop {
  const float *a, *b;
  float* d;
  std::int64_t n;
  template <class Op>
  struct Forward {
    Op op;
    HWY_INLINE Floats operator()(Floats x, Floats y) const { return op.fwd(x, y); }
  };
  template <class Op>
  HWY_NOINLINE void operator()(const Op& op) const {
    binary(a, b, d, n, Forward<Op>{op});
  }
};

struct AffineLoop {
  m::Affine affine;
  HWY_INLINE Floats operator()(Floats x) const { return affine.fwd(x); }
};
struct ClampLoop {
  float low, high;
  HWY_INLINE Floats operator()(Floats x) const { return m::clamp(x, Floats(low), Floats(high)); }
};
struct InRangeLoop {
  float low, high;
  HWY_INLINE Floats operator()(Floats x) const { return m::insideRange(x, Floats(low), Floats(high)); }
};

maths::NeuronParams neuronOf(const EwStep& s) {
  return {static_cast<maths::NeuronType>(s.code), s.p[0], s.p[1], s.p[2]};
}

struct Registers {
  const float* at[prim::kMaxRegisters];  ///< where each register's values are now
  float* own[prim::kMaxRegisters];       ///< where it keeps values that it computes
};

/// Loads whose values are the same for every row: kept from block to block.
inline constexpr std::size_t kKept = ProgramRunner::kKeptLoads;
struct KeptLoads {
  float* buffer[kKept] = {};
  const std::byte* data[kKept] = {};
  std::int64_t elements[kKept] = {};
};

void fill(float* d, std::int64_t n, float value) {
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) m::store(Floats(value), d + i);
  for (; i < n; ++i) d[i] = value;
}

/// One step that is neither Load nor Store: result to d.
void compute(const EwStep& s, const Registers& r, float* d, std::int64_t n) {
  const float *a = r.at[s.a], *b = r.at[s.b], *c = r.at[s.c];
  const ArithmeticLoop arithmetic{a, b, d, n};
  switch (s.op) {
    case EwOp::Const:
      return fill(d, n, s.p[0]);
    case EwOp::Neuron:
      return m::visitNeuron(neuronOf(s), NeuronLoop{a, b, nullptr, d, n, false});
    case EwOp::NeuronGrad:
      return m::visitNeuron(neuronOf(s), NeuronLoop{a, b, c, d, n, true});
    case EwOp::Affine:
      return unary(a, d, n, AffineLoop{{s.p[0], s.p[1]}});
    case EwOp::Add:
      return arithmetic(m::Add{});
    case EwOp::Sub:
      return arithmetic(m::Sub{});
    case EwOp::Mul:
      return arithmetic(m::Mul{});
    case EwOp::Div:
      return arithmetic(m::Div{});
    case EwOp::Min:
      return arithmetic(m::Min{});
    case EwOp::Max:
      return arithmetic(m::Max{});
    case EwOp::Clamp:
      return unary(a, d, n, ClampLoop{s.p[0], s.p[1]});
    case EwOp::Compare:
      return m::visitComparison(static_cast<maths::ComparisonType>(s.code), s.p[0], arithmetic);
    case EwOp::InRange:
      return unary(a, d, n, InRangeLoop{s.p[0], s.p[1]});
    case EwOp::Load:
    case EwOp::Store:
      return;
  }
}

/// All steps on one block; registers live at r.
void runBlock(const ProgramRunner::Code& code, const Piece* pieces, std::int64_t rows, std::int64_t columns,
              Registers& r, KeptLoads& kept) {
  const std::int64_t n = rows * columns;
  const std::size_t count = code.instructions.size();
  for (std::size_t k = 0; k < count; ++k) {
    const ProgramRunner::Instruction& in = code.instructions[k];
    const EwStep& s = in.step;
    if (s.op == EwOp::Load) {
      const Piece& p = pieces[in.view];
      const float* lies = in.inPlace ? floatsOf(p, rows, columns) : nullptr;
      if (lies != nullptr) {
        r.at[s.dst] = lies;
      } else if (in.kept < kKept && p.rowStep == 0) {
        if (kept.data[in.kept] != p.data || kept.elements[in.kept] < n) {
          loadPiece(p, rows, columns, kept.buffer[in.kept]);
          kept.data[in.kept] = p.data;
          kept.elements[in.kept] = n;
        }
        r.at[s.dst] = kept.buffer[in.kept];
      } else {
        loadPiece(p, rows, columns, r.own[s.dst]);
        r.at[s.dst] = r.own[s.dst];
      }
    } else if (s.op == EwOp::Store) {
      storePiece(r.at[s.a], pieces[in.view], rows, columns);
    } else {
      float* d = r.own[s.dst];
      if (in.storesThrough) {
        if (float* lies = floatsOf(pieces[code.instructions[k + 1].view], rows, columns); lies != nullptr) {
          d = lies;
          ++k;
        }
      }
      compute(s, r, d, n);
      r.at[s.dst] = d;
    }
  }
}

struct RunBlock {
  const ProgramRunner::Code& code;
  Registers& registers;
  KeptLoads& kept;
  HWY_INLINE void operator()(const Piece* pieces, std::int64_t rows, std::int64_t columns) const {
    runBlock(code, pieces, rows, columns, registers, kept);
  }
};

void runBlocks(const ProgramRunner::Code& code, const Loops& loops, std::byte* const* storage, std::int64_t begin,
               std::int64_t end) {
  HWY_ALIGN float buffers[prim::kMaxRegisters][kBlock];
  Registers r;
  for (int i = 0; i < prim::kMaxRegisters; ++i) r.at[i] = r.own[i] = buffers[i];
  HWY_ALIGN float keptBuffers[kKept][kBlock];
  KeptLoads kept;
  for (std::size_t i = 0; i < kKept; ++i) kept.buffer[i] = keptBuffers[i];
  walkBlocks(loops, BlockGrid(loops), code.types.data(), storage, begin, end, RunBlock{code, r, kept});
}

void runOneRow(const ProgramRunner::Code& code, std::size_t views, std::byte* const* first, const std::int64_t* step,
               std::int64_t length, const float* values, float* out) {
  HWY_ALIGN float buffers[prim::kMaxRegisters][kBlock];
  HWY_ALIGN float keptBuffers[kKept][kBlock];
  Piece pieces[kMaxLoopViews];
  for (std::int64_t begin = 0; begin < length; begin += kBlock) {
    const std::int64_t n = std::min(kBlock, length - begin);
    Registers r;
    KeptLoads kept;
    for (std::size_t i = 0; i < kKept; ++i) kept.buffer[i] = keptBuffers[i];
    for (int i = 1; i < prim::kMaxRegisters; ++i) r.at[i] = r.own[i] = buffers[i];
    r.at[0] = values + begin;
    r.own[0] = out + begin;
    for (std::size_t v = 0; v < views; ++v) pieces[v] = {first[v] + begin * step[v], code.types[v], 0, step[v]};
    runBlock(code, pieces, 1, n, r, kept);
    if (r.at[0] != out + begin) std::memmove(out + begin, r.at[0], static_cast<std::size_t>(n) * sizeof(float));
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace kovar::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kovar::cpu {
namespace {

HWY_EXPORT(runBlocks);
HWY_EXPORT(runOneRow);

bool readsRegister(const prim::EwStep& s, std::uint8_t r) {
  using prim::EwOp;
  switch (s.op) {
    case EwOp::Load:
    case EwOp::Const:
      return false;
    case EwOp::Neuron:
      return s.a == r || s.b == r;
    case EwOp::NeuronGrad:
      return s.a == r || s.b == r || s.c == r;
    case EwOp::Affine:
    case EwOp::Clamp:
    case EwOp::InRange:
    case EwOp::Store:
      return s.a == r;
    default:
      return s.a == r || s.b == r;
  }
}

}  // namespace

ProgramRunner::ProgramRunner(const prim::Program& program, std::span<const prim::View> views, Use use,
                             const prim::View& result) {
  using prim::EwOp;
  std::vector<prim::View> used;
  const auto viewOf = [&](std::size_t argument, const prim::View& view) {
    const auto found = std::find(arguments_.begin(), arguments_.end(), argument);
    if (found != arguments_.end()) return static_cast<std::uint8_t>(found - arguments_.begin());
    arguments_.push_back(argument);
    used.push_back(view);
    return static_cast<std::uint8_t>(used.size() - 1);
  };
  const auto add = [&](const prim::EwStep& s, std::uint8_t view) { code_.instructions.push_back({s, view}); };
  if (use == Use::InPlace) add({.op = EwOp::Load, .dst = 0}, viewOf(views.size(), result));
  for (std::size_t i = 0; i < program.count; ++i) {
    const prim::EwStep& s = program.steps[i];
    const bool named = s.op == EwOp::Load || s.op == EwOp::Store;
    add(s, named ? viewOf(s.arg, views[s.arg]) : std::uint8_t{0});
  }
  if (use == Use::InPlace) add({.op = EwOp::Store, .a = 0}, viewOf(views.size(), result));

  std::vector<Instruction>& code = code_.instructions;
  std::uint8_t keeps = 0;
  for (std::size_t k = 0; k < code.size(); ++k) {
    const prim::EwStep& s = code[k].step;
    if (s.op == EwOp::Store) continue;
    // The value made here is read up to `last`; a store before that could change memory the register stands for.
    std::size_t last = k, firstStore = code.size(), j = k + 1;
    for (; j < code.size(); ++j) {
      if (readsRegister(code[j].step, s.dst)) last = j;
      if (code[j].step.op == EwOp::Store)
        firstStore = std::min(firstStore, j);
      else if (code[j].step.dst == s.dst)
        break;
    }
    if (use == Use::Rows && s.dst == 0 && j == code.size()) last = j;
    const bool storedNext = k + 1 < code.size() && code[k + 1].step.op == EwOp::Store && code[k + 1].step.a == s.dst;
    if (s.op == EwOp::Load) {
      code[k].inPlace = last <= firstStore;
      // An argument that is written may change from block to block.
      const bool written = std::any_of(code.begin(), code.end(), [&](const Instruction& i) {
        return i.step.op == EwOp::Store && i.view == code[k].view;
      });
      if (!written && keeps < kKeptLoads) code[k].kept = keeps++;
    } else
      code[k].storesThrough = storedNext && last == k + 1;
  }
  if (used.empty()) return;
  for (std::size_t v = 0; v < used.size(); ++v) code_.types[v] = used[v].dtype;
  loops_ = mergeLoops(used);
}

void ProgramRunner::run(const Loops& loops, std::byte* const* storage, std::int64_t begin, std::int64_t end) const {
  HWY_DYNAMIC_DISPATCH(runBlocks)(code_, loops, storage, begin, end);
}

void ProgramRunner::runRow(std::byte* const* first, const std::int64_t* step, std::int64_t length, const float* values,
                           float* out) const {
  HWY_DYNAMIC_DISPATCH(runOneRow)(code_, arguments_.size(), first, step, length, values, out);
}

}  // namespace kovar::cpu
#endif
