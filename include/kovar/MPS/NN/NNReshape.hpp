#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "kovar/MPS/NN/CNNKernel.hpp"
#include "kovar/MPS/NN/GradientState.hpp"

namespace kovar::MPS {

/// The same values in another shape. Element (y * width + x) * channels + c of the source becomes the element of the
/// same number of the result, image by image: rows, columns, channels fastest. Shapes have the same number of elements.
/// Into a destination of the caller's the shape is that of the destination, from destinationFeatureChannelOffset on.
/// Implements MPSNNReshape.
///
/// Errors: numbers of elements that differ; an offset or a clip rectangle, as whole images are reshaped.
class NNReshape final : public CNNKernel {
 public:
  explicit NNReshape(const Ref<MTL::Device>& device);
  /// As an archive holds it.
  NNReshape(Archive& coder, const Ref<MTL::Device>& device) : NNReshape(device) { decode(coder); }

  /// Without a shape the result has the source's, unless the padding policy says otherwise.
  using CNNKernel::encode;
  using CNNKernel::encodeBatch;
  /// Into a new image of this shape.
  Ref<Image> encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Image>& sourceImage,
                    std::size_t reshapedWidth, std::size_t reshapedHeight, std::size_t reshapedFeatureChannels);
  /// The same, with a state for NNReshapeGradient.
  Ref<Image> encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Image>& sourceImage,
                    Ref<State>* destinationState, bool destinationStateIsTemporary, std::size_t reshapedWidth,
                    std::size_t reshapedHeight, std::size_t reshapedFeatureChannels);
  ImageBatch encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& sourceImages,
                         std::size_t reshapedWidth, std::size_t reshapedHeight, std::size_t reshapedFeatureChannels);
  ImageBatch encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& sourceImages,
                         StateBatch* destinationStates, bool destinationStateIsTemporary, std::size_t reshapedWidth,
                         std::size_t reshapedHeight, std::size_t reshapedFeatureChannels);

 protected:
  void doEncode(nn::Call& call) override;
  Ref<State> doResultState(const nn::StateRequest& request) override;
  std::size_t doWrittenChannels(const std::vector<std::size_t>& used, const BatchView<State>& states,
                                const Image& destination, bool automatic) override;
  Ref<ImageDescriptor> doDestinationImageDescriptor(const std::vector<Ref<Image>>& sourceImages,
                                                    const std::vector<Ref<State>>& sourceStates) override;
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  const char* className() const override { return "NNReshape"; }

 private:
  std::optional<MTL::Size> shape_;  // during an encode that names one: width, height, channels
  friend class Kernel;
};

/// The gradient in the shape of the forward source. Implements MPSNNReshapeGradient.
class NNReshapeGradient final : public CNNGradientKernel {
 public:
  explicit NNReshapeGradient(const Ref<MTL::Device>& device);
  /// As an archive holds it.
  NNReshapeGradient(Archive& coder, const Ref<MTL::Device>& device) : NNReshapeGradient(device) { decode(coder); }

 protected:
  void doEncode(nn::Call& call) override;
  std::size_t doWrittenChannels(const std::vector<std::size_t>& used, const BatchView<State>& states,
                                const Image& destination, bool automatic) override;
  void doAdopt(const nn::ForwardRecord& record, const std::vector<Ref<Image>>& sourceImages) override;
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  const char* className() const override { return "NNReshapeGradient"; }
  friend class Kernel;
};

/// Grows an image along x, y and the feature channels; what is added follows the edge mode, any of the five, axis by
/// axis: zeros, the border repeated, mirrored without or with the border, or a constant. A mirror goes on through as
/// many reflections as the padding needs. Implements MPSNNPad.
///
/// A result made here has the source's size plus both paddings, and offset becomes minus paddingSizeBefore. Into a
/// destination of the caller's, pixels are placed by offset and clipRect alone; channels always by the paddings:
/// before + channels read + after are written. Channel offsets of the source may be any number here.
class NNPad final : public CNNKernel {
 public:
  explicit NNPad(const Ref<MTL::Device>& device);
  NNPad(const Ref<MTL::Device>& device, ImageCoordinate paddingSizeBefore, ImageCoordinate paddingSizeAfter);
  /// fillValueArray: one float for each channel written, in place of fillValue. Throws Error for a broken float.
  NNPad(const Ref<MTL::Device>& device, ImageCoordinate paddingSizeBefore, ImageCoordinate paddingSizeAfter,
        std::span<const std::byte> fillValueArray);
  /// As an archive holds it.
  NNPad(Archive& coder, const Ref<MTL::Device>& device) : NNPad(device) { decode(coder); }

  ImageCoordinate paddingSizeBefore() const { return before_; }
  void setPaddingSizeBefore(ImageCoordinate paddingSizeBefore) { before_ = paddingSizeBefore; }
  ImageCoordinate paddingSizeAfter() const { return after_; }
  void setPaddingSizeAfter(ImageCoordinate paddingSizeAfter) { after_ = paddingSizeAfter; }
  /// Of edge mode Constant; 0 by default.
  float fillValue() const { return fillValue_; }
  void setFillValue(float fillValue) { fillValue_ = fillValue; }
  /// First channel that is read; any number.
  void setSourceFeatureChannelOffset(std::size_t sourceFeatureChannelOffset) {
    sources_[0].featureChannelOffset = sourceFeatureChannelOffset;
  }

 protected:
  void doEncode(nn::Call& call) override;
  Ref<State> doResultState(const nn::StateRequest& request) override;
  std::size_t doDestinationChannels(const std::vector<std::size_t>& used) override;
  Ref<ImageDescriptor> doDestinationImageDescriptor(const std::vector<Ref<Image>>& sourceImages,
                                                    const std::vector<Ref<State>>& sourceStates) override;
  bool doSupportsEdgeMode(ImageEdgeMode) const override { return true; }
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override;
  void doCode(Archive& coder) override;
  const char* className() const override { return "NNPad"; }

 private:
  ImageCoordinate before_, after_;
  float fillValue_ = 0;
  std::vector<float> fillValues_;
  std::shared_ptr<const nn::KeptFloats> fillValuesOnDevice_;
  friend class Kernel;
};

/// Each pixel of the forward source gets the sum of the gradients of its copies; added zeros and constants drop theirs.
/// With the forward kernel's state everything comes from it. Without one, into a destination of the caller's, it cuts
/// out the part at primaryOffset and primarySourceFeatureChannelOffset, the gradient of added zeros and constants.
/// Implements MPSNNPadGradient.
class NNPadGradient final : public CNNGradientKernel {
 public:
  explicit NNPadGradient(const Ref<MTL::Device>& device);
  /// As an archive holds it.
  NNPadGradient(Archive& coder, const Ref<MTL::Device>& device) : NNPadGradient(device) { decode(coder); }

 protected:
  void doEncode(nn::Call& call) override;
  std::size_t doWrittenChannels(const std::vector<std::size_t>& used, const BatchView<State>& states,
                                const Image& destination, bool automatic) override;
  void doAdopt(const nn::ForwardRecord& record, const std::vector<Ref<Image>>& sourceImages) override;
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  const char* className() const override { return "NNPadGradient"; }
  friend class Kernel;
};

}  // namespace kovar::MPS
