#pragma once
// A loss as its plan sees it.

#include <array>
#include <cstdint>
#include <vector>

#include "backend/cpu/loops.hpp"
#include "maths/loss.hpp"
#include "prim/desc.hpp"

namespace kovar::cpu {

/// Factors of one run and image.
struct LossScales {
  float weight = 1.f;    ///< of value and gradient
  float gradient = 1.f;  ///< of the gradient: incoming scalar, divisor
};

struct LossPlan {
  prim::Loss desc;
  maths::LossParams params;
  bool exactSoftmax =
      false;  ///< the gradient of the cross entropy is the exact derivative, not the documented short form
  std::int64_t images = 0, height = 0, width = 0, channels = 0;

  // One image of every argument that has elements to walk. Indices of the optional ones, or -1.
  Loops loops;
  std::array<prim::DType, kMaxLoopViews> types{};
  std::vector<std::size_t> arg;         ///< argument of each walked view
  std::vector<std::int64_t> imageStep;  ///< bytes from image to image
  int weights = -1, value = -1, gradient = -1, incoming = -1;
  std::int64_t capacity = 0;  ///< floats of one block

  // Arguments that are one number an image, and the weights for counting.
  prim::View weightsView, lossView, incomingView;
  std::size_t lossArg = 0;
};

}  // namespace kovar::cpu
