#pragma once
// The door to what a graph keeps to itself.

#include <vector>

#include "graph/graph_plan.hpp"
#include "kovar/MPS/NN/NNGraph.hpp"

namespace kovar::nn {

struct GraphAccess {
  /// The kernels that a graph runs, in order.
  static std::vector<MPS::CNNKernelBase*> kernels(MPS::NNGraph& graph) { return graph.plan_->kernels(); }
};

}  // namespace kovar::nn
