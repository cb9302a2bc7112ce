#pragma once

#include "kovar/MPS/NN/CNNKernel.hpp"

namespace kovar::nn {
enum class ReducedAxis;
enum class ReductionKind;
}  // namespace kovar::nn

namespace kovar::MPS {

/// Base of the kernels that reduce one image along its rows, its columns or its feature channels. What is reduced is
/// clipRectSource of the source, cut at its borders, and the channels that sourceFeatureChannelOffset and
/// sourceFeatureChannelMaxCount leave; the result is written from clipRect.origin on, as far as clipRect reaches. The
/// padding policy is not asked: results that the kernel makes itself have the reduced size and the source's format.
/// Sums are formed in float32 in a fixed order; NaN loses against any number in minima and maxima. Implements
/// MPSNNReduceUnary.
///
/// Errors: a clipRectSource that holds no pixel of the source.
class NNReduceUnary : public CNNKernel {
 public:
  /// All of the source by default. Encodes of one image object read the images from its origin.z on.
  MTL::Region clipRectSource() const { return sources_[0].valid; }
  void setClipRectSource(MTL::Region clipRectSource);
  /// Deprecated: kept, and ignored.
  Offset offset() const { return offset_; }
  void setOffset(Offset offset) { offset_ = offset; }

 protected:
  NNReduceUnary(const Ref<MTL::Device>& device, nn::ReducedAxis axis, nn::ReductionKind kind);
  void doEncode(nn::Call& call) override;
  std::size_t doDestinationChannels(const std::vector<std::size_t>& used) override;
  Ref<ImageDescriptor> doDestinationImageDescriptor(const std::vector<Ref<Image>>& sourceImages,
                                                    const std::vector<Ref<State>>& sourceStates) override;
  void doCode(Archive& coder) override;
  /// Multiplies a sum or mean.
  virtual float factor() const { return 1.f; }

 private:
  Offset offset_;
  nn::ReducedAxis axis_;
  nn::ReductionKind kind_;
};

/// Smallest value of each row and feature channel: the result is 1 x H x C. Implements MPSNNReduceRowMin.
class NNReduceRowMin : public NNReduceUnary {
 public:
  explicit NNReduceRowMin(const Ref<MTL::Device>& device);
  /// As an archive holds it.
  NNReduceRowMin(Archive& coder, const Ref<MTL::Device>& device) : NNReduceRowMin(device) { decode(coder); }

 protected:
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  const char* className() const override { return "NNReduceRowMin"; }
  friend class Kernel;
};

/// Smallest value of each column and feature channel: the result is W x 1 x C. Implements MPSNNReduceColumnMin.
class NNReduceColumnMin : public NNReduceUnary {
 public:
  explicit NNReduceColumnMin(const Ref<MTL::Device>& device);
  /// As an archive holds it.
  NNReduceColumnMin(Archive& coder, const Ref<MTL::Device>& device) : NNReduceColumnMin(device) { decode(coder); }

 protected:
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  const char* className() const override { return "NNReduceColumnMin"; }
  friend class Kernel;
};

/// Smallest value of each pixel's feature channels: the result is W x H x 1. Implements MPSNNReduceFeatureChannelsMin.
class NNReduceFeatureChannelsMin : public NNReduceUnary {
 public:
  explicit NNReduceFeatureChannelsMin(const Ref<MTL::Device>& device);
  /// As an archive holds it.
  NNReduceFeatureChannelsMin(Archive& coder, const Ref<MTL::Device>& device) : NNReduceFeatureChannelsMin(device) {
    decode(coder);
  }

 protected:
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  const char* className() const override { return "NNReduceFeatureChannelsMin"; }
  friend class Kernel;
};

/// Which of each pixel's feature channels is smallest, counted from
/// sourceFeatureChannelOffset, the first of equal ones; 0 where all are NaN. The result is W x H x 1; float16 holds
/// numbers up to 2048 exactly, and results that the kernel makes itself are float16 where the source is unorm.
/// Implements MPSNNReduceFeatureChannelsArgumentMin.
class NNReduceFeatureChannelsArgumentMin : public NNReduceUnary {
 public:
  explicit NNReduceFeatureChannelsArgumentMin(const Ref<MTL::Device>& device);
  /// As an archive holds it.
  NNReduceFeatureChannelsArgumentMin(Archive& coder, const Ref<MTL::Device>& device)
      : NNReduceFeatureChannelsArgumentMin(device) {
    decode(coder);
  }

 protected:
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  const char* className() const override { return "NNReduceFeatureChannelsArgumentMin"; }
  friend class Kernel;
};

/// Largest value of each row and feature channel: the result is 1 x H x C. Implements MPSNNReduceRowMax.
class NNReduceRowMax : public NNReduceUnary {
 public:
  explicit NNReduceRowMax(const Ref<MTL::Device>& device);
  /// As an archive holds it.
  NNReduceRowMax(Archive& coder, const Ref<MTL::Device>& device) : NNReduceRowMax(device) { decode(coder); }

 protected:
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  const char* className() const override { return "NNReduceRowMax"; }
  friend class Kernel;
};

/// Largest value of each column and feature channel: the result is W x 1 x C. Implements MPSNNReduceColumnMax.
class NNReduceColumnMax : public NNReduceUnary {
 public:
  explicit NNReduceColumnMax(const Ref<MTL::Device>& device);
  /// As an archive holds it.
  NNReduceColumnMax(Archive& coder, const Ref<MTL::Device>& device) : NNReduceColumnMax(device) { decode(coder); }

 protected:
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  const char* className() const override { return "NNReduceColumnMax"; }
  friend class Kernel;
};

/// Largest value of each pixel's feature channels: the result is W x H x 1. Implements MPSNNReduceFeatureChannelsMax.
class NNReduceFeatureChannelsMax : public NNReduceUnary {
 public:
  explicit NNReduceFeatureChannelsMax(const Ref<MTL::Device>& device);
  /// As an archive holds it.
  NNReduceFeatureChannelsMax(Archive& coder, const Ref<MTL::Device>& device) : NNReduceFeatureChannelsMax(device) {
    decode(coder);
  }

 protected:
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  const char* className() const override { return "NNReduceFeatureChannelsMax"; }
  friend class Kernel;
};

/// Which of each pixel's feature channels is largest, counted from
/// sourceFeatureChannelOffset, the first of equal ones; 0 where all are NaN. The result is W x H x 1; float16 holds
/// numbers up to 2048 exactly, and results that the kernel makes itself are float16 where the source is unorm.
/// Implements MPSNNReduceFeatureChannelsArgumentMax.
class NNReduceFeatureChannelsArgumentMax : public NNReduceUnary {
 public:
  explicit NNReduceFeatureChannelsArgumentMax(const Ref<MTL::Device>& device);
  /// As an archive holds it.
  NNReduceFeatureChannelsArgumentMax(Archive& coder, const Ref<MTL::Device>& device)
      : NNReduceFeatureChannelsArgumentMax(device) {
    decode(coder);
  }

 protected:
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  const char* className() const override { return "NNReduceFeatureChannelsArgumentMax"; }
  friend class Kernel;
};

/// Mean of each row and feature channel: the result is 1 x H x C. Implements MPSNNReduceRowMean.
class NNReduceRowMean : public NNReduceUnary {
 public:
  explicit NNReduceRowMean(const Ref<MTL::Device>& device);
  /// As an archive holds it.
  NNReduceRowMean(Archive& coder, const Ref<MTL::Device>& device) : NNReduceRowMean(device) { decode(coder); }

 protected:
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  const char* className() const override { return "NNReduceRowMean"; }
  friend class Kernel;
};

/// Mean of each column and feature channel: the result is W x 1 x C. Implements MPSNNReduceColumnMean.
class NNReduceColumnMean : public NNReduceUnary {
 public:
  explicit NNReduceColumnMean(const Ref<MTL::Device>& device);
  /// As an archive holds it.
  NNReduceColumnMean(Archive& coder, const Ref<MTL::Device>& device) : NNReduceColumnMean(device) { decode(coder); }

 protected:
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  const char* className() const override { return "NNReduceColumnMean"; }
  friend class Kernel;
};

/// Mean of each pixel's feature channels: the result is W x H x 1. Implements MPSNNReduceFeatureChannelsMean.
class NNReduceFeatureChannelsMean : public NNReduceUnary {
 public:
  explicit NNReduceFeatureChannelsMean(const Ref<MTL::Device>& device);
  /// As an archive holds it.
  NNReduceFeatureChannelsMean(Archive& coder, const Ref<MTL::Device>& device) : NNReduceFeatureChannelsMean(device) {
    decode(coder);
  }

 protected:
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  const char* className() const override { return "NNReduceFeatureChannelsMean"; }
  friend class Kernel;
};

/// Sum of each row and feature channel: the result is 1 x H x C. Implements MPSNNReduceRowSum.
class NNReduceRowSum : public NNReduceUnary {
 public:
  explicit NNReduceRowSum(const Ref<MTL::Device>& device);
  /// As an archive holds it.
  NNReduceRowSum(Archive& coder, const Ref<MTL::Device>& device) : NNReduceRowSum(device) { decode(coder); }

 protected:
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  const char* className() const override { return "NNReduceRowSum"; }
  friend class Kernel;
};

/// Sum of each column and feature channel: the result is W x 1 x C. Implements MPSNNReduceColumnSum.
class NNReduceColumnSum : public NNReduceUnary {
 public:
  explicit NNReduceColumnSum(const Ref<MTL::Device>& device);
  /// As an archive holds it.
  NNReduceColumnSum(Archive& coder, const Ref<MTL::Device>& device) : NNReduceColumnSum(device) { decode(coder); }

 protected:
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  const char* className() const override { return "NNReduceColumnSum"; }
  friend class Kernel;
};

/// Sum of each pixel's feature channels times weight: the result is W x H x 1. Implements
/// MPSNNReduceFeatureChannelsSum.
class NNReduceFeatureChannelsSum : public NNReduceUnary {
 public:
  explicit NNReduceFeatureChannelsSum(const Ref<MTL::Device>& device);
  /// As an archive holds it.
  NNReduceFeatureChannelsSum(Archive& coder, const Ref<MTL::Device>& device) : NNReduceFeatureChannelsSum(device) {
    decode(coder);
  }
  /// 1 by default.
  float weight() const { return weight_; }
  void setWeight(float weight) { weight_ = weight; }

 protected:
  float factor() const override { return weight_; }
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  void doCode(Archive& coder) override;
  const char* className() const override { return "NNReduceFeatureChannelsSum"; }

 private:
  float weight_ = 1.f;
  friend class Kernel;
};

/// Base of the kernels that reduce the products of two images, values and weights, over the feature channels: the
/// result is W x H x 1. Each source is cut to its clip rectangle; what is left must have the same extents and channels,
/// nothing is broadcast. Implements MPSNNReduceBinary.
///
/// Errors: a clip rectangle without a pixel, parts of different extents or channel counts.
class NNReduceBinary : public CNNBinaryKernel {
 public:
  /// All of the source by default.
  MTL::Region primarySourceClipRect() const { return sources_[0].valid; }
  void setPrimarySourceClipRect(MTL::Region primarySourceClipRect);
  MTL::Region secondarySourceClipRect() const { return sources_[1].valid; }
  void setSecondarySourceClipRect(MTL::Region secondarySourceClipRect);
  /// Deprecated: kept, and ignored.
  Offset primaryOffset() const { return primaryOffset_; }
  void setPrimaryOffset(Offset primaryOffset) { primaryOffset_ = primaryOffset; }
  Offset secondaryOffset() const { return secondaryOffset_; }
  void setSecondaryOffset(Offset secondaryOffset) { secondaryOffset_ = secondaryOffset; }

 protected:
  explicit NNReduceBinary(const Ref<MTL::Device>& device);
  void doEncode(nn::Call& call) override;
  std::size_t doDestinationChannels(const std::vector<std::size_t>& used) override;
  Ref<ImageDescriptor> doDestinationImageDescriptor(const std::vector<Ref<Image>>& sourceImages,
                                                    const std::vector<Ref<State>>& sourceStates) override;
  void doCode(Archive& coder) override;
  /// Divides by the number of channels.
  virtual bool isMean() const = 0;
  /// Divides by the number of weights that are not 0.
  virtual bool countsWeights() const { return false; }

 private:
  Offset primaryOffset_, secondaryOffset_;
};

/// Sum of x w over the channels divided by their number. Implements MPSNNReduceFeatureChannelsAndWeightsMean.
class NNReduceFeatureChannelsAndWeightsMean : public NNReduceBinary {
 public:
  explicit NNReduceFeatureChannelsAndWeightsMean(const Ref<MTL::Device>& device);
  /// As an archive holds it.
  NNReduceFeatureChannelsAndWeightsMean(Archive& coder, const Ref<MTL::Device>& device)
      : NNReduceFeatureChannelsAndWeightsMean(device) {
    decode(coder);
  }

 protected:
  bool isMean() const override { return true; }
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  const char* className() const override { return "NNReduceFeatureChannelsAndWeightsMean"; }
  friend class Kernel;
};

/// Sum of x w over the channels, divided by the number of weights that are not 0 where doWeightedSumByNonZeroWeights
/// says so (0 where there are none). Implements MPSNNReduceFeatureChannelsAndWeightsSum.
class NNReduceFeatureChannelsAndWeightsSum : public NNReduceBinary {
 public:
  /// A plain sum.
  explicit NNReduceFeatureChannelsAndWeightsSum(const Ref<MTL::Device>& device);
  NNReduceFeatureChannelsAndWeightsSum(const Ref<MTL::Device>& device, bool doWeightedSumByNonZeroWeights);
  /// As an archive holds it.
  NNReduceFeatureChannelsAndWeightsSum(Archive& coder, const Ref<MTL::Device>& device)
      : NNReduceFeatureChannelsAndWeightsSum(device) {
    decode(coder);
  }
  bool doWeightedSumByNonZeroWeights() const { return byNonZeroWeights_; }

 protected:
  bool isMean() const override { return false; }
  bool countsWeights() const override { return byNonZeroWeights_; }
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  void doCode(Archive& coder) override;
  const char* className() const override { return "NNReduceFeatureChannelsAndWeightsSum"; }

 private:
  bool byNonZeroWeights_;
  friend class Kernel;
};

}  // namespace kovar::MPS
