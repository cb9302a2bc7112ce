#pragma once
// What the files of the CPU back end share: the plan type that runs a function, and the ordered candidate lists.

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/parallel.hpp"
#include "prim/backend.hpp"

namespace kovar::cpu {

/// What a plan may use while it runs.
struct Context {
  base::ThreadPool& pool;
};

/// A prepared primitive is a function of the bound arguments. It captures what it needs by value.
class CpuPlan : public prim::Plan {
 public:
  std::function<base::Status(Context&, const prim::Invocation&)> body;
};

/// Start of an argument's elements: storage start plus the view's offset.
template <class T>
T* at(const prim::Invocation& inv, std::size_t index, const prim::View& view) {
  return reinterpret_cast<T*>(inv.args[index].data) + view.offset;
}

/// A candidate either fills the plan's body (and scratchBytes) or says in a few words why it cannot.
/// `views` stay valid during the call only: capture copies.
template <class D>
struct Candidate {
  const char* name;
  base::Status (*prepare)(const D& desc, std::span<const prim::View> views, const prim::PrepareOptions& options,
                          CpuPlan& plan);
};

/// Ordered lists, best first; the last one takes everything valid. Each family's file defines its own.
std::span<const Candidate<prim::Conv>> convCandidates();
std::span<const Candidate<prim::Matmul>> matmulCandidates();
std::span<const Candidate<prim::Pool>> poolCandidates();
std::span<const Candidate<prim::Softmax>> softmaxCandidates();
std::span<const Candidate<prim::Reduce>> reduceCandidates();
std::span<const Candidate<prim::Elementwise>> elementwiseCandidates();
std::span<const Candidate<prim::Copy>> copyCandidates();
std::span<const Candidate<prim::Resample>> resampleCandidates();
std::span<const Candidate<prim::Sample>> sampleCandidates();
std::span<const Candidate<prim::Fill>> fillCandidates();
std::span<const Candidate<prim::Random>> randomCandidates();
std::span<const Candidate<prim::Loss>> lossCandidates();
std::span<const Candidate<prim::Yolo>> yoloCandidates();
std::span<const Candidate<prim::Step>> stepCandidates();
std::span<const Candidate<prim::Norm>> normCandidates();
std::span<const Candidate<prim::LocalNorm>> localNormCandidates();
std::span<const Candidate<prim::BinaryConv>> binaryConvCandidates();

}  // namespace kovar::cpu
