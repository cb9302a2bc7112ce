#pragma once
// What the losses over CNNLossLabels do alike: reading labels and weights of all images, writing their loss images.

#include <functional>
#include <string>
#include <vector>

#include "kovar/MPS/NN/CNNLoss.hpp"
#include "nn/core/call.hpp"

namespace kovar::nn {

/// A loss primitive, and what follows its arguments source, labels, weights, loss and gradient.
struct LabelledPrim {
  prim::Prim prim;
  std::vector<rt::Operand> further;
};

struct LabelAccess {
  /// The labels of an encode's images as its states. Throws Error when one is missing.
  static MPS::StateBatch checked(const MPS::Kernel& who, const char* method, const MPS::CNNLossLabelsBatch& labels,
                                 std::size_t images);
  /// Encodes the primitive that `make` gives. weighted: some of the labels have a weights image; single: the loss is
  /// one number an image, otherwise one per element. Throws Error, `where` first, when labels, weights or loss images
  /// do not fit the predictions.
  static void encode(Call& call, const std::string& where, const prim::Scalars& scalars,
                     const std::function<LabelledPrim(bool weighted, bool single)>& make);
};

}  // namespace kovar::nn
