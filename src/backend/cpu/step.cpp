// Optimizer updates: one pass over gradient, values and states, in place where they are float runs.

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

#ifndef KOVAR_BACKEND_CPU_STEP_ONCE
#define KOVAR_BACKEND_CPU_STEP_ONCE
namespace kovar::cpu {

/// The update of one run, with this run's scalars.
struct StepRule {
  prim::StepKind kind = prim::StepKind::Sgd;
  maths::PreprocessParams preprocess;
  float learningRate = 0.f, momentum = 0.f, epsilon = 0.f;
  maths::Decay first{}, second{};
};

inline constexpr std::size_t kMaxStepArgs = 6;

}  // namespace kovar::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace kovar::cpu {
namespace HWY_NAMESPACE {
namespace {

using prim::StepKind;

/// Number of states beside gradient, values and result.
template <StepKind kKind>
constexpr int kStates = kKind == StepKind::Sgd       ? 0
                        : kKind == StepKind::Adam    ? 2
                        : kKind == StepKind::AmsGrad ? 3
                                                     : 1;

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

template <StepKind kKind>
struct StepBlock {
  const StepRule& rule;
  float (*buffers)[kBlock];

  void operator()(const Piece* pieces, std::int64_t rows, std::int64_t columns) const {
    constexpr int kArgs = kStates<kKind> + 3;
    const std::int64_t n = rows * columns;
    float* at[kArgs];
    for (int i = 0; i < kArgs; ++i) {
      at[i] = floatsOf(pieces[i], rows, columns);
      if (at[i] != nullptr) continue;
      at[i] = buffers[i];
      if (i + 1 < kArgs) loadPiece(pieces[i], rows, columns, at[i]);
    }
    std::int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) {
      Floats state[3];
      for (int k = 0; k < kStates<kKind>; ++k) state[k] = m::load<Floats>(at[2 + k] + i);
      const Floats v = stepOnce<kKind>(rule, m::load<Floats>(at[0] + i), m::load<Floats>(at[1] + i), state);
      for (int k = 0; k < kStates<kKind>; ++k) m::store(state[k], at[2 + k] + i);
      m::store(v, at[kArgs - 1] + i);
    }
    if (i < n) {
      Floats state[3];
      for (int k = 0; k < kStates<kKind>; ++k) state[k] = loadPart(at[2 + k] + i, n - i);
      const Floats v = stepOnce<kKind>(rule, loadPart(at[0] + i, n - i), loadPart(at[1] + i, n - i), state);
      for (int k = 0; k < kStates<kKind>; ++k) storePart(state[k], at[2 + k] + i, n - i);
      storePart(v, at[kArgs - 1] + i, n - i);
    }
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

void runStep(const StepRule& rule, const Loops& loops, const DType* types, std::byte* const* storage,
             std::int64_t begin, std::int64_t end) {
  switch (rule.kind) {
    case StepKind::Sgd:
      return stepBlocks<StepKind::Sgd>(rule, loops, types, storage, begin, end);
    case StepKind::SgdMomentum:
      return stepBlocks<StepKind::SgdMomentum>(rule, loops, types, storage, begin, end);
    case StepKind::SgdNesterov:
      return stepBlocks<StepKind::SgdNesterov>(rule, loops, types, storage, begin, end);
    case StepKind::RmsProp:
      return stepBlocks<StepKind::RmsProp>(rule, loops, types, storage, begin, end);
    case StepKind::Adam:
      return stepBlocks<StepKind::Adam>(rule, loops, types, storage, begin, end);
    case StepKind::AmsGrad:
      return stepBlocks<StepKind::AmsGrad>(rule, loops, types, storage, begin, end);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace kovar::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace kovar::cpu {
namespace {

HWY_EXPORT(runStep);

maths::Decay decayOf(float rate, std::uint64_t exact) {
  return maths::Decay::of(exact == 0 ? static_cast<double>(rate) : std::bit_cast<double>(exact));
}

StepRule ruleOf(const prim::Step& desc, const prim::Scalars& s) {
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

base::Status prepareStep(const prim::Step& desc, std::span<const prim::View> views, const prim::PrepareOptions&,
                         CpuPlan& plan) {
  std::array<prim::DType, kMaxStepArgs> types{};
  for (std::size_t i = 0; i < views.size(); ++i) types[i] = views[i].dtype;
  plan.body = [desc, types, loops = mergeLoops(views)](Context& context, const prim::Invocation& inv) -> base::Status {
    const StepRule rule = ruleOf(desc, *inv.scalars);
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

std::span<const Candidate<prim::Step>> stepCandidates() { return kCandidates; }

}  // namespace kovar::cpu
#endif
