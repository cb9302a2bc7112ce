#pragma once
// A training run in a safetensors file: NAME.weight [outputs][kernelHeight][kernelWidth][inputs] and NAME.bias of the
// layers conv1, conv2, fc1 and fc2; Adam's moments as adam.m.NAME.weight, adam.v.NAME.weight and so on; the rest as
// metadata.

#include <cstdint>
#include <string>

#include "kovar/digits/network.hpp"
#include "kovar/digits/order.hpp"

namespace kovar::tools {

/// The most that is taken; more is a mistake.
inline constexpr std::uint64_t kMostPicturesAStep = 10'000, kMostSteps = std::uint64_t{1} << 40;

/// What a run needs besides weights and moments to go on to the bit.
struct RunState {
  /// Done so far: Adam's time step, the dropout's place and the place in the order of pictures.
  std::uint64_t step = 0;
  std::uint64_t seed = 0;
  std::uint64_t batch = 40;    ///< 1 to kMostPicturesAStep
  double learningRate = 1e-3;  ///< of Adam; finite, above 0
  Init init = Init::He;
  SampleOrder::Kind order = SampleOrder::Kind::Shuffled;
  std::uint64_t pictures = 0;  ///< in the training set
  bool operator==(const RunState&) const = default;
};

/// Writes the file whole or not at all. Throws Error.
void saveRun(const std::string& path, const DigitNetwork& network, const RunState& state);

/// The state in a file that saveRun wrote. Throws Error when the file is something else.
RunState readRunState(const std::string& path);
/// Weights and moments of that file into the network. Throws Error, the network then as it was.
void loadRun(const std::string& path, const DigitNetwork& network);

}  // namespace kovar::tools
