#include "kovar/Support/LossLabels.hpp"

#include "base/edge.hpp"
#include "nn/core/access.hpp"

namespace kovar {

MPS::CNNLossLabelsBatch lossLabels(const Ref<MPS::Image>& labels, MTL::Size lossImageSize,
                                   const Ref<MPS::Image>& weights) {
  if (!labels) base::raise("lossLabels: labels is null; give an image array with one image per label");
  const std::size_t count = labels->numberOfImages();
  if (weights && weights->numberOfImages() != count)
    base::raise("lossLabels: " + std::to_string(count) + " images of labels, " +
                std::to_string(weights->numberOfImages()) + " of weights; give as many");
  if (lossImageSize.width == 0 || lossImageSize.height == 0 || lossImageSize.depth == 0)
    base::raise("lossLabels: lossImageSize has an extent of 0; use {1, 1, 1} or the size of the prediction");
  const auto losses = std::make_shared<MPS::Image>(
      labels->device(),
      MPS::ImageDescriptor::imageDescriptor(MPS::ImageFeatureChannelFormat::Float32, lossImageSize.width,
                                            lossImageSize.height, lossImageSize.depth, count,
                                            MTL::TextureUsage::ShaderRead | MTL::TextureUsage::ShaderWrite));
  const MPS::ImageBatch lossImages = losses->batchRepresentation(), labelImages = labels->batchRepresentation();
  const MPS::ImageBatch weightImages = weights ? weights->batchRepresentation() : MPS::ImageBatch(count);
  MPS::CNNLossLabelsBatch batch;
  for (std::size_t i = 0; i < count; ++i)
    batch.push_back(
        nn::Access::make<MPS::CNNLossLabels>(labels->device(), lossImages[i], labelImages[i], weightImages[i]));
  return batch;
}

}  // namespace kovar
