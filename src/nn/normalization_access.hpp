#pragma once
// The door to what normalizations by region keep to themselves.

#include "kovar/MPS/NN/CNNBatchNormalization.hpp"
#include "kovar/MPS/NN/CNNGroupNormalization.hpp"
#include "kovar/MPS/NN/CNNInstanceNormalization.hpp"
#include "nn/norm_values.hpp"

namespace kovar::nn {

struct NormalizationAccess {
  template <class S>
  static RegionRecord& kept(S& state) {
    return *state.kept_;
  }
  template <class K>
  static const std::shared_ptr<ChannelPair>& values(const K& kernel) {
    return kernel.values_;
  }
  /// The forward kernel that made a state.
  template <class S>
  static const auto& kernel(const S& state) {
    return state.kernel_;
  }
  static bool temporary(const MPS::State& state) { return state.isTemporary(); }
  template <class S>
  static void hold(S& state, const rt::StorageRef& storage) {
    state.hold(storage);
  }
  /// A graph's batch normalization takes the statistics in its forward encode, and the gradients of gamma and beta
  /// where that of the source is encoded.
  static void setTakesStatistics(MPS::CNNBatchNormalization& kernel, bool takes) { kernel.takesStatistics_ = takes; }
  static void setTakesSums(MPS::CNNBatchNormalizationGradient& kernel) { kernel.takesSums_ = true; }
  struct Batch;
  struct Region;
};

}  // namespace kovar::nn
