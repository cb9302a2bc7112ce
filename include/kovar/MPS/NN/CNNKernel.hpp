#pragma once

#include <cstddef>
#include <initializer_list>
#include <limits>
#include <span>
#include <vector>

#include "kovar/MPS/Core/Image.hpp"
#include "kovar/MPS/Core/Kernel.hpp"
#include "kovar/MPS/Core/Padding.hpp"
#include "kovar/MPS/Core/State.hpp"

namespace kovar::nn {
struct Call;
struct ForwardRecord;
struct StateRequest;
struct KeptFloats;
struct Access;
class Encoder;
}  // namespace kovar::nn

namespace kovar::MPS {

/// What unary, binary, gradient and multiary kernels share: properties per source, the clip rectangle, and the one way
/// in which every encode goes. Not part of the documented API; use the classes below.
///
/// Coordinates: `offset` is the source position of the CENTRE tap (kernel size div 2) of the window of the destination
/// pixel at clipRect.origin; each destination pixel further moves it by the stride. Only the clip rectangle is written.
class CNNKernelBase : public Kernel {
 public:
  /// Part of the destination that is written, in pixels and images; RectNoClip: all of it.
  MTL::Region clipRect() const { return clipRect_; }
  void setClipRect(MTL::Region clipRect) { clipRect_ = clipRect; }
  /// First feature channel of the destination that is written; a multiple of 4.
  std::size_t destinationFeatureChannelOffset() const { return destinationFeatureChannelOffset_; }
  void setDestinationFeatureChannelOffset(std::size_t destinationFeatureChannelOffset);
  /// True where the result is larger than the source by the stride: transposed convolution, gradients, enlarging
  /// filters.
  bool isBackwards() const { return isBackwards_; }
  /// True where encode writes the state it is given.
  bool isStateModified() const { return isStateModified_; }
  /// Sizes results that the kernel makes itself. Centred, remainder top left, size same, unless a class says otherwise.
  Ref<NNPadding> padding() const { return padding_; }
  void setPadding(const Ref<NNPadding>& padding);
  /// Makes those results; temporary images by default.
  Ref<ImageAllocator> destinationImageAllocator() const { return allocator_; }
  void setDestinationImageAllocator(const Ref<ImageAllocator>& destinationImageAllocator);
  /// True where one result state serves all images of a batch.
  bool isResultStateReusedAcrossBatch() { return doIsResultStateReusedAcrossBatch(); }
  /// True where the whole batch must be encoded before the next kernel may start.
  bool appendBatchBarrier() { return doAppendBatchBarrier(); }
  /// Size and format of the result that an encode without destination would make. As the documented call, it CHANGES
  /// the kernel: offset, and for gradients the properties taken from the state.
  Ref<ImageDescriptor> destinationImageDescriptor(const std::vector<Ref<Image>>& sourceImages,
                                                  const std::vector<Ref<State>>& sourceStates);

 protected:
  struct Source {
    Offset offset;
    std::size_t featureChannelOffset = 0;
    std::size_t featureChannelMaxCount = std::numeric_limits<std::size_t>::max();
    ImageEdgeMode edgeMode = ImageEdgeMode::Zero;
    std::size_t kernelWidth = 1, kernelHeight = 1;
    std::size_t strideX = 1, strideY = 1;
    std::size_t dilationX = 1, dilationY = 1;
    MTL::Region valid = RectNoClip;  ///< the part that counts; pixels outside it are outside the source
    bool operator==(const Source&) const = default;
  };

  CNNKernelBase(const Ref<MTL::Device>& device, std::size_t sourceCount);
  CNNKernelBase(const CNNKernelBase&) = default;

  // --- what a class says about itself --------------------------------------------------------------------------------
  /// Appends the primitives. Throws Error for what only this class can check.
  virtual void doEncode(nn::Call& call) = 0;
  /// Channels written for the channels read from each source.
  virtual std::size_t doDestinationChannels(const std::vector<std::size_t>& used) { return used[0]; }
  /// The same for an encode into a given destination; for classes where it depends on the state or the destination.
  virtual std::size_t doWrittenChannels(const std::vector<std::size_t>& used, const BatchView<State>&, const Image&,
                                        bool /*automatic*/) {
    return doDestinationChannels(used);
  }
  /// Size, format and offsets of a result made by the kernel itself, before states and a custom policy have their say.
  virtual Ref<ImageDescriptor> doDestinationImageDescriptor(const std::vector<Ref<Image>>& sourceImages,
                                                            const std::vector<Ref<State>>& sourceStates);
  /// How many result images one source image gives.
  virtual std::size_t doImagesPerSource() const { return 1; }
  /// The result state of one encode, or null.
  virtual Ref<State> doResultState(const nn::StateRequest& request);
  virtual bool doIsResultStateReusedAcrossBatch() { return false; }
  virtual bool doAppendBatchBarrier() { return false; }
  /// True where reading a gradient state counts against its read count.
  virtual bool doReadsState() const { return !isStateModified_; }
  void doCode(Archive& coder) override;
  /// Edge modes other than Zero and Clamp.
  virtual bool doSupportsEdgeMode(ImageEdgeMode mode) const {
    return mode == ImageEdgeMode::Zero || mode == ImageEdgeMode::Clamp;
  }

  // --- the one way of encoding ---------------------------------------------------------------------------------------
  /// The images of a batch, or one image, without copying their references.
  using Images = BatchView<Image>;
  /// One batch per source.
  using Sources = std::span<const Images>;
  static Images one(const Ref<Image>& image) { return Images(image); }

  void encodeTo(const Ref<MTL::CommandBuffer>& commandBuffer, Sources sources, const StateBatch& states,
                Images destinations, bool batch);
  void encodeTo(const Ref<MTL::CommandBuffer>& commandBuffer, std::initializer_list<Images> sources,
                const StateBatch& states, Images destinations, bool batch) {
    encodeTo(commandBuffer, Sources(sources.begin(), sources.size()), states, destinations, batch);
  }
  ImageBatch encodeNew(const Ref<MTL::CommandBuffer>& commandBuffer, Sources sources, const StateBatch& gradientStates,
                       StateBatch* resultStates, bool resultStatesAreTemporary, bool batch);
  ImageBatch encodeNew(const Ref<MTL::CommandBuffer>& commandBuffer, std::initializer_list<Images> sources,
                       const StateBatch& gradientStates, StateBatch* resultStates, bool resultStatesAreTemporary,
                       bool batch) {
    return encodeNew(commandBuffer, Sources(sources.begin(), sources.size()), gradientStates, resultStates,
                     resultStatesAreTemporary, batch);
  }
  StateBatch makeResultStates(const Ref<MTL::CommandBuffer>& commandBufferIfTemporary, Sources sources,
                              const std::vector<StateBatch>& sourceStates, Images destinations);
  StateBatch makeResultStates(const Ref<MTL::CommandBuffer>& commandBufferIfTemporary,
                              std::initializer_list<Images> sources, const std::vector<StateBatch>& sourceStates,
                              Images destinations) {
    return makeResultStates(commandBufferIfTemporary, Sources(sources.begin(), sources.size()), sourceStates,
                            destinations);
  }

  /// What a gradient of an encode from `source` (to `destination`, or null) will have to know.
  nn::ForwardRecord forwardRecord(const Image& source, const Image* destination) const;

  std::vector<Source> sources_;
  MTL::Region clipRect_ = RectNoClip;
  std::size_t destinationFeatureChannelOffset_ = 0;
  bool isBackwards_ = false, isStateModified_ = false;
  Ref<NNPadding> padding_;
  Ref<ImageAllocator> allocator_;
  friend class nn::Encoder;
  friend struct nn::Access;
};

/// A kernel that reads one image. Implements MPSCNNKernel.
class CNNKernel : public CNNKernelBase {
 public:
  Offset offset() const { return sources_[0].offset; }
  void setOffset(Offset offset) { sources_[0].offset = offset; }
  /// First feature channel that is read; a multiple of 4.
  std::size_t sourceFeatureChannelOffset() const { return sources_[0].featureChannelOffset; }
  void setSourceFeatureChannelOffset(std::size_t sourceFeatureChannelOffset);
  /// At most this many channels are read.
  std::size_t sourceFeatureChannelMaxCount() const { return sources_[0].featureChannelMaxCount; }
  void setSourceFeatureChannelMaxCount(std::size_t sourceFeatureChannelMaxCount);
  /// What lies outside the source.
  ImageEdgeMode edgeMode() const { return sources_[0].edgeMode; }
  void setEdgeMode(ImageEdgeMode edgeMode);
  std::size_t kernelWidth() const { return sources_[0].kernelWidth; }
  std::size_t kernelHeight() const { return sources_[0].kernelHeight; }
  std::size_t strideInPixelsX() const { return sources_[0].strideX; }
  std::size_t strideInPixelsY() const { return sources_[0].strideY; }
  std::size_t dilationRateX() const { return sources_[0].dilationX; }
  std::size_t dilationRateY() const { return sources_[0].dilationY; }

  /// Into an image of the caller's, at offset and clipRect; the padding policy is not asked.
  void encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Image>& sourceImage,
              const Ref<Image>& destinationImage);
  /// The same, recording into a state made by resultState.
  void encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Image>& sourceImage,
              const Ref<State>& destinationState, const Ref<Image>& destinationImage);
  void encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& sourceImages,
                   const ImageBatch& destinationImages);
  void encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& sourceImages,
                   const StateBatch& destinationStates, const ImageBatch& destinationImages);
  /// Into a new image, sized by the padding policy, which also sets offset.
  Ref<Image> encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Image>& sourceImage);
  Ref<Image> encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Image>& sourceImage,
                    Ref<State>* destinationState, bool destinationStateIsTemporary);
  ImageBatch encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& sourceImages);
  ImageBatch encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& sourceImages,
                         StateBatch* destinationStates, bool destinationStateIsTemporary);

  /// The state that a gradient kernel will want, or null for classes without one. Call it when all properties are
  /// final.
  Ref<State> resultState(const Ref<Image>& sourceImage, const std::vector<Ref<State>>& sourceStates,
                         const Ref<Image>& destinationImage);
  StateBatch resultStateBatch(const ImageBatch& sourceImage, const std::vector<StateBatch>& sourceStates,
                              const ImageBatch& destinationImage);
  Ref<State> temporaryResultState(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Image>& sourceImage,
                                  const std::vector<Ref<State>>& sourceStates, const Ref<Image>& destinationImage);
  StateBatch temporaryResultStateBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& sourceImage,
                                       const std::vector<StateBatch>& sourceStates, const ImageBatch& destinationImage);
  /// Bytes of temporary memory an encode needs beyond its images; planned at commit, so 0 here.
  std::size_t encodingStorageSize(const Ref<Image>& sourceImage, const std::vector<Ref<State>>& sourceStates,
                                  const Ref<Image>& destinationImage);
  std::size_t batchEncodingStorageSize(const ImageBatch& sourceImage, const std::vector<StateBatch>& sourceStates,
                                       const ImageBatch& destinationImage);

 protected:
  /// Not set yet: the derived class reads its members.
  CNNKernel(Archive& /*coder*/, const Ref<MTL::Device>& device) : CNNKernelBase(device, 1) {}
  explicit CNNKernel(const Ref<MTL::Device>& device) : CNNKernelBase(device, 1) {}
};

/// A kernel that reads two images. Implements MPSCNNBinaryKernel.
class CNNBinaryKernel : public CNNKernelBase {
 public:
  Offset primaryOffset() const { return sources_[0].offset; }
  void setPrimaryOffset(Offset primaryOffset) { sources_[0].offset = primaryOffset; }
  Offset secondaryOffset() const { return sources_[1].offset; }
  void setSecondaryOffset(Offset secondaryOffset) { sources_[1].offset = secondaryOffset; }
  std::size_t primarySourceFeatureChannelOffset() const { return sources_[0].featureChannelOffset; }
  void setPrimarySourceFeatureChannelOffset(std::size_t primarySourceFeatureChannelOffset);
  std::size_t secondarySourceFeatureChannelOffset() const { return sources_[1].featureChannelOffset; }
  void setSecondarySourceFeatureChannelOffset(std::size_t secondarySourceFeatureChannelOffset);
  std::size_t primarySourceFeatureChannelMaxCount() const { return sources_[0].featureChannelMaxCount; }
  void setPrimarySourceFeatureChannelMaxCount(std::size_t primarySourceFeatureChannelMaxCount);
  std::size_t secondarySourceFeatureChannelMaxCount() const { return sources_[1].featureChannelMaxCount; }
  void setSecondarySourceFeatureChannelMaxCount(std::size_t secondarySourceFeatureChannelMaxCount);
  ImageEdgeMode primaryEdgeMode() const { return sources_[0].edgeMode; }
  void setPrimaryEdgeMode(ImageEdgeMode primaryEdgeMode);
  ImageEdgeMode secondaryEdgeMode() const { return sources_[1].edgeMode; }
  void setSecondaryEdgeMode(ImageEdgeMode secondaryEdgeMode);
  std::size_t primaryKernelWidth() const { return sources_[0].kernelWidth; }
  std::size_t primaryKernelHeight() const { return sources_[0].kernelHeight; }
  std::size_t secondaryKernelWidth() const { return sources_[1].kernelWidth; }
  std::size_t secondaryKernelHeight() const { return sources_[1].kernelHeight; }
  std::size_t primaryStrideInPixelsX() const { return sources_[0].strideX; }
  void setPrimaryStrideInPixelsX(std::size_t primaryStrideInPixelsX) { sources_[0].strideX = primaryStrideInPixelsX; }
  std::size_t primaryStrideInPixelsY() const { return sources_[0].strideY; }
  void setPrimaryStrideInPixelsY(std::size_t primaryStrideInPixelsY) { sources_[0].strideY = primaryStrideInPixelsY; }
  std::size_t secondaryStrideInPixelsX() const { return sources_[1].strideX; }
  void setSecondaryStrideInPixelsX(std::size_t secondaryStrideInPixelsX) {
    sources_[1].strideX = secondaryStrideInPixelsX;
  }
  std::size_t secondaryStrideInPixelsY() const { return sources_[1].strideY; }
  void setSecondaryStrideInPixelsY(std::size_t secondaryStrideInPixelsY) {
    sources_[1].strideY = secondaryStrideInPixelsY;
  }
  std::size_t primaryDilationRateX() const { return sources_[0].dilationX; }
  std::size_t primaryDilationRateY() const { return sources_[0].dilationY; }
  std::size_t secondaryDilationRateX() const { return sources_[1].dilationX; }
  std::size_t secondaryDilationRateY() const { return sources_[1].dilationY; }

  void encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Image>& primaryImage,
              const Ref<Image>& secondaryImage, const Ref<Image>& destinationImage);
  void encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& primaryImages,
                   const ImageBatch& secondaryImages, const ImageBatch& destinationImages);
  Ref<Image> encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Image>& primaryImage,
                    const Ref<Image>& secondaryImage);
  ImageBatch encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& primaryImages,
                         const ImageBatch& secondaryImages);
  Ref<Image> encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Image>& primaryImage,
                    const Ref<Image>& secondaryImage, Ref<State>* destinationState, bool destinationStateIsTemporary);
  ImageBatch encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& primaryImages,
                         const ImageBatch& secondaryImages, StateBatch* destinationStates,
                         bool destinationStateIsTemporary);
  Ref<State> resultState(const Ref<Image>& primaryImage, const Ref<Image>& secondaryImage,
                         const std::vector<Ref<State>>& sourceStates, const Ref<Image>& destinationImage);
  StateBatch resultStateBatch(const ImageBatch& primaryImage, const ImageBatch& secondaryImage,
                              const std::vector<StateBatch>& sourceStates, const ImageBatch& destinationImage);
  Ref<State> temporaryResultState(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Image>& primaryImage,
                                  const Ref<Image>& secondaryImage, const std::vector<Ref<State>>& sourceStates,
                                  const Ref<Image>& destinationImage);
  StateBatch temporaryResultStateBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& primaryImage,
                                       const ImageBatch& secondaryImage, const std::vector<StateBatch>& sourceStates,
                                       const ImageBatch& destinationImage);
  std::size_t encodingStorageSize(const Ref<Image>& primaryImage, const Ref<Image>& secondaryImage,
                                  const std::vector<Ref<State>>& sourceStates, const Ref<Image>& destinationImage);
  std::size_t batchEncodingStorageSize(const ImageBatch& primaryImage, const ImageBatch& secondaryImage,
                                       const std::vector<StateBatch>& sourceStates, const ImageBatch& destinationImage);

 protected:
  /// Not set yet: the derived class reads its members.
  CNNBinaryKernel(Archive& /*coder*/, const Ref<MTL::Device>& device) : CNNKernelBase(device, 2) {}
  explicit CNNBinaryKernel(const Ref<MTL::Device>& device) : CNNKernelBase(device, 2) {}
};

/// The derivative of a unary kernel: primary is the incoming gradient (of the forward result), secondary the forward
/// source image, the result the gradient of the forward source. Implements MPSCNNGradientKernel.
class CNNGradientKernel : public CNNBinaryKernel {
 public:
  /// Position in the zero-filled gradient = primaryOffset * stride + kernelOffset.
  std::ptrdiff_t kernelOffsetX() const { return kernelOffsetX_; }
  void setKernelOffsetX(std::ptrdiff_t kernelOffsetX) { kernelOffsetX_ = kernelOffsetX; }
  std::ptrdiff_t kernelOffsetY() const { return kernelOffsetY_; }
  void setKernelOffsetY(std::ptrdiff_t kernelOffsetY) { kernelOffsetY_ = kernelOffsetY; }

  /// With everything taken from the forward kernel's state; the result has the size of the forward source.
  Ref<Image> encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Image>& sourceGradient,
                    const Ref<Image>& sourceImage, const Ref<State>& gradientState);
  /// With the properties as the caller set them; the state gives what only the class itself needs.
  void encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Image>& sourceGradient,
              const Ref<Image>& sourceImage, const Ref<State>& gradientState, const Ref<Image>& destinationGradient);
  ImageBatch encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& sourceGradients,
                         const ImageBatch& sourceImages, const StateBatch& gradientStates);
  void encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& sourceGradients,
                   const ImageBatch& sourceImages, const StateBatch& gradientStates,
                   const ImageBatch& destinationGradients);
  using CNNBinaryKernel::encode;
  using CNNBinaryKernel::encodeBatch;

 protected:
  /// Not set yet: the derived class reads its members.
  CNNGradientKernel(Archive& /*coder*/, const Ref<MTL::Device>& device) : CNNGradientKernel(device) {}
  explicit CNNGradientKernel(const Ref<MTL::Device>& device);
  Ref<ImageDescriptor> doDestinationImageDescriptor(const std::vector<Ref<Image>>& sourceImages,
                                                    const std::vector<Ref<State>>& sourceStates) override;
  /// As many as the gradient has; the default asks the source for the same number.
  std::size_t doDestinationChannels(const std::vector<std::size_t>& used) override;
  /// Sets the properties from the forward kernel's record. The default does it for kernels without a window:
  /// destination pixel X is source pixel X, its gradient lies where the forward kernel wrote that pixel.
  virtual void doAdopt(const nn::ForwardRecord& record, const std::vector<Ref<Image>>& sourceImages);
  void doCode(Archive& coder) override;

  std::ptrdiff_t kernelOffsetX_ = 0, kernelOffsetY_ = 0;
};

/// A kernel that reads any fixed number of images. Implements MPSCNNMultiaryKernel.
class CNNMultiaryKernel : public CNNKernelBase {
 public:
  CNNMultiaryKernel(const Ref<MTL::Device>& device, std::size_t sourceCount);
  std::size_t sourceCount() const { return sources_.size(); }
  Offset offset(std::size_t index) { return source(index).offset; }
  void setOffset(Offset offset, std::size_t index) { source(index).offset = offset; }
  std::size_t sourceFeatureChannelOffset(std::size_t index) { return source(index).featureChannelOffset; }
  void setSourceFeatureChannelOffset(std::size_t offset, std::size_t index);
  std::size_t sourceFeatureChannelMaxCount(std::size_t index) { return source(index).featureChannelMaxCount; }
  void setSourceFeatureChannelMaxCount(std::size_t count, std::size_t index);
  ImageEdgeMode edgeMode(std::size_t index) { return source(index).edgeMode; }
  void setEdgeMode(ImageEdgeMode edgeMode, std::size_t index);
  std::size_t kernelWidth(std::size_t index) { return source(index).kernelWidth; }
  void setKernelWidth(std::size_t width, std::size_t index) { source(index).kernelWidth = width; }
  std::size_t kernelHeight(std::size_t index) { return source(index).kernelHeight; }
  void setKernelHeight(std::size_t height, std::size_t index) { source(index).kernelHeight = height; }
  std::size_t strideInPixelsX(std::size_t index) { return source(index).strideX; }
  void setStrideInPixelsX(std::size_t stride, std::size_t index) { source(index).strideX = stride; }
  std::size_t strideInPixelsY(std::size_t index) { return source(index).strideY; }
  void setStrideInPixelsY(std::size_t stride, std::size_t index) { source(index).strideY = stride; }
  std::size_t dilationRateX(std::size_t index) { return source(index).dilationX; }
  void setDilationRateX(std::size_t dilationRate, std::size_t index) { source(index).dilationX = dilationRate; }
  std::size_t dilationRateY(std::size_t index) { return source(index).dilationY; }
  void setDilationRateY(std::size_t dilationRate, std::size_t index) { source(index).dilationY = dilationRate; }

  void encode(const Ref<MTL::CommandBuffer>& commandBuffer, const std::vector<Ref<Image>>& sourceImages,
              const Ref<Image>& destinationImage);
  void encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const std::vector<ImageBatch>& sourceImages,
                   const ImageBatch& destinationImages);
  Ref<Image> encode(const Ref<MTL::CommandBuffer>& commandBuffer, const std::vector<Ref<Image>>& sourceImages);
  ImageBatch encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const std::vector<ImageBatch>& sourceImages);
  Ref<Image> encode(const Ref<MTL::CommandBuffer>& commandBuffer, const std::vector<Ref<Image>>& sourceImages,
                    Ref<State>* destinationState, bool destinationStateIsTemporary);
  ImageBatch encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const std::vector<ImageBatch>& sourceImages,
                         StateBatch* destinationStates, bool destinationStateIsTemporary);
  Ref<State> resultState(const std::vector<Ref<Image>>& sourceImages, const std::vector<Ref<State>>& sourceStates,
                         const Ref<Image>& destinationImage);
  StateBatch resultStateBatch(const std::vector<ImageBatch>& sourceImages, const std::vector<StateBatch>& sourceStates,
                              const ImageBatch& destinationImage);
  Ref<State> temporaryResultState(const Ref<MTL::CommandBuffer>& commandBuffer,
                                  const std::vector<Ref<Image>>& sourceImages,
                                  const std::vector<Ref<State>>& sourceStates, const Ref<Image>& destinationImage);
  StateBatch temporaryResultStateBatch(const Ref<MTL::CommandBuffer>& commandBuffer,
                                       const std::vector<ImageBatch>& sourceImages,
                                       const std::vector<StateBatch>& sourceStates, const ImageBatch& destinationImage);

 protected:
  /// Not set yet: the derived class reads its members.
  CNNMultiaryKernel(Archive& /*coder*/, const Ref<MTL::Device>& device) : CNNMultiaryKernel(device, 1) {}
  void doCode(Archive& coder) override;
  Source& source(std::size_t index);
};

}  // namespace kovar::MPS
