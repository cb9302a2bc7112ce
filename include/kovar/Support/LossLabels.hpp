#pragma once
// Labels for a batch, without copies.

#include "kovar/MPS/NN/CNNLoss.hpp"

namespace kovar {

/// One CNNLossLabels for each image of `labels`, in order; weights: null, or as many images. Labels and weights are
/// used where they lie, and the loss images are views of one array too, so that CNNLoss::encodeBatch over the result
/// reads and writes all images at once; labels that are made one by one are copied together and the losses apart. Every
/// lossImage()->parent() is that array: one readBytes of it gives the losses of the batch. lossImageSize as
/// CNNLossLabels takes it. Throws Error when `labels` is null or temporary, or the numbers of images differ.
MPS::CNNLossLabelsBatch lossLabels(const Ref<MPS::Image>& labels, MTL::Size lossImageSize = {1, 1, 1},
                                   const Ref<MPS::Image>& weights = nullptr);

}  // namespace kovar
