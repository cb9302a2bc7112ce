#pragma once
// Optimizer updates of runs of floats, for whoever has a piece of a gradient at hand.

#include <cstddef>
#include <cstdint>

#include "maths/optimizer.hpp"
#include "prim/desc.hpp"

namespace kovar::cpu {

/// The update of one run, with this run's scalars.
struct StepRule {
  prim::StepKind kind = prim::StepKind::Sgd;
  maths::PreprocessParams preprocess;
  float learningRate = 0.f, momentum = 0.f, epsilon = 0.f;
  maths::Decay first{}, second{};
};

inline constexpr std::size_t kMaxStepArgs = 6;

StepRule stepRuleOf(const prim::Step& desc, const prim::Scalars& scalars);

/// Updates `count` parameters: at[] holds gradient, values, the states of the rule's optimizer, result.
void stepRun(const StepRule& rule, float* const* at, std::int64_t count);

}  // namespace kovar::cpu
