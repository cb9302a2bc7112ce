// Optimizer updates: one pass over gradient, values and states, in place where they are float runs.

#include "backend/cpu/step.hpp"

#include <array>
#include <bit>

#include "backend/cpu/cpu.hpp"
#include "backend/cpu/loops.hpp"
#include "backend/cpu/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/step.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backend/cpu/pieces.hpp"
#include "maths/optimizer-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace kovar::cpu {
namespace HWY_NAMESPACE {
namespace {

using prim::StepKind;

template <StepKind kKind>
HWY_INLINE Floats stepOnce(const StepRule& rule, Floats d, Floats v, Floats (&state)[3]) {
  const Floats g = m::Preprocess{rule.preprocess}.apply(d, v);
  if constexpr (kKind == StepKind::Sgd)
    return m::Sgd{rule.learningRate}.step(v, g);
  else if constexpr (kKind == StepKind::SgdMomentum)
    return m::SgdMomentum{rule.learningRate, rule.momentum}.step(v, g, state[0]);
  else if constexpr (kKind == StepKind::SgdNesterov)
    return m::SgdNesterov{rule.learningRate, rule.momentum}.step(v, g, state[0]);
  else if constexpr (kKind == StepKind::RmsProp)
    return m::RmsProp{rule.learningRate, rule.first, rule.epsilon}.step(v, g, state[0]);
  else {
    const m::Adam adam{rule.learningRate, rule.first, rule.second, rule.epsilon};
    if constexpr (kKind == StepKind::Adam)
      return adam.step(v, g, state[0], state[1]);
    else
      return m::AmsGrad{adam}.step(v, g, state[0], state[1], state[2]);
  }
}

/// One run: gradient, values, states, result at at[].
template <StepKind kKind>
void stepFloats(const StepRule& rule, float* const* at, std::int64_t n) {
  constexpr int kStates = static_cast<int>(prim::statesOf(kKind));
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    Floats state[3];
    for (int k = 0; k < kStates; ++k) state[k] = m::load<Floats>(at[2 + k] + i);
    const Floats v = stepOnce<kKind>(rule, m::load<Floats>(at[0] + i), m::load<Floats>(at[1] + i), state);
    for (int k = 0; k < kStates; ++k) m::store(state[k], at[2 + k] + i);
    m::store(v, at[kStates + 2] + i);
  }
  if (i < n) {
    Floats state[3];
    for (int k = 0; k < kStates; ++k) state[k] = loadPart(at[2 + k] + i, n - i);
    const Floats v = stepOnce<kKind>(rule, loadPart(at[0] + i, n - i), loadPart(at[1] + i, n - i), state);
    for (int k = 0; k < kStates; ++k) storePart(state[k], at[2 + k] + i, n - i);
    storePart(v, at[kStates + 2] + i, n - i);
  }
}

template <StepKind kKind>
struct StepBlock {
  const StepRule& rule;
  float (*buffers)[kBlock];

  void operator()(const Piece* pieces, std::int64_t rows, std::int64_t columns) const {
    constexpr int kArgs = static_cast<int>(prim::statesOf(kKind)) + 3;
    const std::int64_t n = rows * columns;
    float* at[kArgs];
    for (int i = 0; i < kArgs; ++i) {
      at[i] = floatsOf(pieces[i], rows, columns);
      if (at[i] != nullptr) continue;
      at[i] = buffers[i];
      if (i + 1 < kArgs) loadPiece(pieces[i], rows, columns, at[i]);
    }
    stepFloats<kKind>(rule, at, n);
    for (int k = 2; k < kArgs; ++k)
      if (at[k] == buffers[k]) storePiece(at[k], pieces[k], rows, columns);
  }
};

template <StepKind kKind>
void stepBlocks(const StepRule& rule, const Loops& loops, const DType* types, std::byte* const* storage,
                std::int64_t begin, std::int64_t end) {
  HWY_ALIGN float buffers[kMaxStepArgs][kBlock];
  walkBlocks(loops, BlockGrid(loops), types, storage, begin, end, StepBlock<kKind>{rule, buffers});
}

/// Calls fn(kind) with the optimizer as a type.
template <class F>
void withKind(StepKind kind, const F& fn) {
  switch (kind) {
    case StepKind::Sgd:
      return fn(std::integral_constant<StepKind, StepKind::Sgd>{});
    case StepKind::SgdMomentum:
      return fn(std::integral_constant<StepKind, StepKind::SgdMomentum>{});
    case StepKind::SgdNesterov:
      return fn(std::integral_constant<StepKind, StepKind::SgdNesterov>{});
    case StepKind::RmsProp:
      return fn(std::integral_constant<StepKind, StepKind::RmsProp>{});
    case StepKind::Adam:
      return fn(std::integral_constant<StepKind, StepKind::Adam>{});
    case StepKind::AmsGrad:
      return fn(std::integral_constant<StepKind, StepKind::AmsGrad>{});
  }
}

void runStep(const StepRule& rule, const Loops& loops, const DType* types, std::byte* const* storage,
             std::int64_t begin, std::int64_t end) {
  withKind(rule.kind, [&](auto kind) { stepBlocks<kind()>(rule, loops, types, storage, begin, end); });
}

void runRow(const StepRule& rule, float* const* at, std::int64_t n) {
  withKind(rule.kind, [&](auto kind) { stepFloats<kind()>(rule, at, n); });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace kovar::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace kovar::cpu {
namespace {

HWY_EXPORT(runStep);
HWY_EXPORT(runRow);

maths::Decay decayOf(float rate, std::uint64_t exact) {
  return maths::Decay::of(exact == 0 ? static_cast<double>(rate) : std::bit_cast<double>(exact));
}

base::Status prepareStep(const prim::Step& desc, std::span<const prim::View> views, const prim::PrepareOptions&,
                         CpuPlan& plan) {
  std::array<prim::DType, kMaxStepArgs> types{};
  for (std::size_t i = 0; i < views.size(); ++i) types[i] = views[i].dtype;
  plan.body = [desc, types, loops = mergeLoops(views)](Context& context, const prim::Invocation& inv) -> base::Status {
    const StepRule rule = stepRuleOf(desc, *inv.scalars);
    std::array<std::byte*, kMaxStepArgs> storage{};
    for (std::size_t i = 0; i < inv.args.size(); ++i) storage[i] = inv.args[i].data;
    forRanges(context.pool, BlockGrid(loops).blocks, kBlocksPerChunk, [&](std::int64_t begin, std::int64_t end) {
      HWY_DYNAMIC_DISPATCH(runStep)(rule, loops, types.data(), storage.data(), begin, end);
    });
    return {};
  };
  return {};
}

constexpr Candidate<prim::Step> kCandidates[] = {{"cpu:step:blocks", prepareStep}};

}  // namespace

StepRule stepRuleOf(const prim::Step& desc, const prim::Scalars& s) {
  StepRule rule;
  rule.kind = desc.kind;
  rule.learningRate = s.f[0];
  rule.momentum = s.f[1];
  rule.first = decayOf(s.f[1], s.u[0]);
  rule.second = decayOf(s.f[2], s.u[1]);
  rule.epsilon = s.f[3];
  rule.preprocess.rescale = s.f[4];
  rule.preprocess.clip = desc.clip;
  rule.preprocess.clipMin = s.f[5];
  rule.preprocess.clipMax = s.f[6];
  rule.preprocess.regularization = static_cast<maths::RegularizationType>(desc.regularization);
  rule.preprocess.regularizationScale = s.f[7];
  return rule;
}

void stepRun(const StepRule& rule, float* const* at, std::int64_t count) {
  HWY_DYNAMIC_DISPATCH(runRow)(rule, at, count);
}

std::span<const Candidate<prim::Step>> stepCandidates() { return kCandidates; }

}  // namespace kovar::cpu
#endif
