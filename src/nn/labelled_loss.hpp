#pragma once
// What the losses over CNNLossLabels do alike: reading labels and weights of all images, writing their loss images.

#include <functional>
#include <string>
#include <vector>

#include "nn/core/call.hpp"

namespace kovar::nn {

/// A loss primitive, and what follows its arguments source, labels, weights, loss and gradient.
struct LabelledPrim {
  prim::Prim prim;
  std::vector<rt::Operand> further;
};

struct LabelAccess {
  /// Encodes the primitive that `make` gives. weighted: some of the labels have a weights image; single: the loss is
  /// one number an image, otherwise one per element. Throws Error, `where` first, when labels, weights or loss images
  /// do not fit the predictions.
  static void encode(Call& call, const std::string& where, const prim::Scalars& scalars,
                     const std::function<LabelledPrim(bool weighted, bool single)>& make);
};

}  // namespace kovar::nn
