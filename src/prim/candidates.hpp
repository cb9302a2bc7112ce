#pragma once
// How a back end chooses among its implementations of an operation: an ordered list, the first that says yes.

#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "prim/backend.hpp"

namespace kovar::prim {

/// Names of a list of candidates, best first.
template <class List>
std::vector<std::string> namesOf(const List& candidates) {
  std::vector<std::string> names;
  for (const auto& candidate : candidates) names.emplace_back(candidate.name);
  return names;
}

/// The plan of the first candidate that takes the operation; options.only considers that one alone. attempt(candidate)
/// is its plan (a Result of a shared pointer) or why it cannot. The plan gets the candidate's name and what those
/// before it said. Fails, in the name of `device`, with every refusal.
template <class D, class List, class Attempt>
base::Result<PlanRef> chooseCandidate(const char* device, const D& desc, std::span<const View> views,
                                      const PrepareOptions& options, const List& candidates, Attempt attempt) {
  std::vector<Refusal> refusals;
  bool known = options.only.empty();
  for (const auto& candidate : candidates) {
    if (!options.only.empty() && options.only != candidate.name) continue;
    known = true;
    auto plan = attempt(candidate);
    if (!plan.ok()) {
      refusals.push_back({candidate.name, plan.failure().text});
      continue;
    }
    (*plan)->implementation = candidate.name;
    (*plan)->refusals = std::move(refusals);
    return PlanRef(std::move(*plan));
  }
  std::string text = device;
  if (!known) {
    text += ": no implementation named '" + options.only + "'; there are";
    for (const std::string& name : namesOf(candidates)) text += " " + name;
    return base::Failure{std::move(text)};
  }
  text += ": nothing can run " + textOf(desc) + " on";
  for (const View& v : views) text += " " + v.text();
  for (const Refusal& r : refusals) text += "; " + r.implementation + ": " + r.reason;
  return base::Failure{std::move(text)};
}

}  // namespace kovar::prim
