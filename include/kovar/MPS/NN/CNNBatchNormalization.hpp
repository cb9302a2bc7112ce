#pragma once

#include <cfloat>
#include <cstdint>
#include <memory>
#include <string>

#include "kovar/MPS/NN/CNNKernel.hpp"
#include "kovar/MPS/NN/CNNNeuronDescriptor.hpp"
#include "kovar/MPS/NN/CNNNormalizationWeights.hpp"
#include "kovar/MPS/NN/GradientState.hpp"

namespace kovar::nn {
class ChannelPair;
struct NormalizationAccess;
struct FusedActivation;
}  // namespace kovar::nn

namespace kovar::MPS {

class CNNBatchNormalization;

/// Statistics of a batch and the gradients of gamma and beta; one state serves the whole batch, and all its parts where
/// it is encoded in several. Made by CNNBatchNormalization. Implements MPSCNNBatchNormalizationState.
///
/// Statistics add up from encode to encode until a normalization or a gradient has used them; the next ones start
/// again. Likewise the gradients, until CNNBatchNormalizationGradient has used them. Each encode lowers the read count
/// of a temporary state by one: set it to the number of encodes to come.
class CNNBatchNormalizationState : public NNGradientState {
 public:
  /// The kernel that made the state.
  Ref<CNNBatchNormalization> batchNormalization() const { return kernel_; }
  /// Forgets statistics and gradients, as if nothing had been encoded. gamma and beta stay.
  void reset();
  /// float32, one per feature channel. gamma and beta are the kernel's in force: a reload is seen here too. mean and
  /// variance (biased: divided by the number of pixels) hold the statistics of everything added up so far.
  Ref<MTL::Buffer> gamma();
  Ref<MTL::Buffer> beta();
  Ref<MTL::Buffer> mean() { return buffer(0); }
  Ref<MTL::Buffer> variance() { return buffer(1); }
  /// Null until CNNBatchNormalizationStatisticsGradient has been encoded.
  Ref<MTL::Buffer> gradientForGamma() { return hasSums_ ? buffer(2) : nullptr; }
  Ref<MTL::Buffer> gradientForBeta() { return hasSums_ ? buffer(3) : nullptr; }

 protected:
  template <class Owner>
  CNNBatchNormalizationState(const Ref<Owner>& owner, std::shared_ptr<const nn::ForwardRecord> record,
                             const Ref<CNNBatchNormalization>& kernel);
  const char* className() const override { return "CNNBatchNormalizationState"; }

 private:
  Ref<CNNBatchNormalization> kernel_;
  std::uint64_t count_ = 0;      // pixels that mean and variance come from; 0: none, or the kernel's constants
  bool hasStatistics_ = false;   // mean and variance are written
  bool statisticsUsed_ = false;  // the next statistics start again
  bool hasSums_ = false, sumsUsed_ = false;
  friend struct nn::Access;
  friend struct nn::NormalizationAccess;
};

/// Mean and variance of a normalization, one float32 each per feature channel: what updates of running values give.
/// Implements MPSCNNNormalizationMeanAndVarianceState.
///
/// Errors: a null buffer, buffers of different lengths or devices; numberOfFeatureChannels of 0.
class CNNNormalizationMeanAndVarianceState : public State {
 public:
  /// Over existing buffers.
  CNNNormalizationMeanAndVarianceState(const Ref<MTL::Buffer>& mean, const Ref<MTL::Buffer>& variance);
  static Ref<CNNNormalizationMeanAndVarianceState> temporaryState(const Ref<MTL::CommandBuffer>& commandBuffer,
                                                                  std::size_t numberOfFeatureChannels);
  Ref<MTL::Buffer> mean() const { return buffer(0); }
  Ref<MTL::Buffer> variance() const { return buffer(1); }

 protected:
  explicit CNNNormalizationMeanAndVarianceState(const Ref<MTL::CommandBuffer>& commandBuffer) : State(commandBuffer) {}
  const char* className() const override { return "CNNNormalizationMeanAndVarianceState"; }
  friend struct nn::Access;
};

/// Where a batch normalization gets its values. Derive from it and from Object. Implements
/// MPSCNNBatchNormalizationDataSource.
class CNNBatchNormalizationDataSource {
 public:
  CNNBatchNormalizationDataSource() = default;
  /// For sources that read what their encodeWithCoder wrote. The protocol itself holds nothing.
  explicit CNNBatchNormalizationDataSource(Archive& coder);
  virtual ~CNNBatchNormalizationDataSource() = default;
  /// For applications that archive their sources: kernels write their parameters themselves and do not call it. Writes
  /// nothing unless overridden.
  virtual void encodeWithCoder(Archive& coder);
  virtual std::size_t numberOfFeatureChannels() = 0;
  /// One float per feature channel; null: 1, 0, 0, 1. mean and variance are the running values that inference uses.
  virtual const float* gamma() = 0;
  virtual const float* beta() = 0;
  virtual const float* mean() = 0;
  virtual const float* variance() = 0;
  /// Makes the values available. False: the kernel cannot be made.
  virtual bool load() = 0;
  /// The values are not needed any more. Called once per load() that returned true.
  virtual void purge() = 0;
  /// For messages.
  virtual std::string label() = 0;
  /// A training graph's updates on the device, called while it encodes, right after the layer's gradient: read the
  /// state, lower its read count by one each, and return the new values. Null: no update.
  virtual Ref<CNNNormalizationGammaAndBetaState> updateGammaAndBeta(
      const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<CNNBatchNormalizationState>& batchNormalizationState);
  virtual Ref<CNNNormalizationMeanAndVarianceState> updateMeanAndVariance(
      const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<CNNBatchNormalizationState>& batchNormalizationState);
  /// The same on the host, called when the work has completed: change what gamma() ... give and return true; the
  /// kernel is then reloaded. False: no update.
  virtual bool updateGammaAndBeta(const Ref<CNNBatchNormalizationState>& batchNormalizationState);
  virtual bool updateMeanAndVariance(const Ref<CNNBatchNormalizationState>& batchNormalizationState);
  /// Added to the variance.
  virtual float epsilon() { return FLT_MIN; }
  /// The source for a copy of the kernel on `device`. Null: the copy uses this object.
  virtual Ref<CNNBatchNormalizationDataSource> copy(const Ref<MTL::Device>& device);
};

/// D = neuron((S - mean) * gamma / sqrt(variance + epsilon) + beta), per feature channel. Without a state mean and
/// variance are the data source's (inference); with one they are those that CNNBatchNormalizationStatistics put there
/// (training), or the data source's where it has put none. Where all values are equal the result is exactly
/// neuron(beta). Implements MPSCNNBatchNormalization.
///
/// Errors: a data source that does not load or has no channels; an epsilon below 0; a PReLU with fewer slopes than
/// channels; at encode a source with fewer feature channels, or a state of another kernel's size.
class CNNBatchNormalization : public CNNKernel {
 public:
  CNNBatchNormalization(const Ref<MTL::Device>& device, const Ref<CNNBatchNormalizationDataSource>& dataSource);
  /// With an activation; null for none.
  CNNBatchNormalization(const Ref<MTL::Device>& device, const Ref<CNNBatchNormalizationDataSource>& dataSource,
                        const Ref<NNNeuronDescriptor>& fusedNeuronDescriptor);
  /// As an archive holds it.
  CNNBatchNormalization(Archive& coder, const Ref<MTL::Device>& device) : CNNKernel(device) { decode(coder); }
  std::size_t numberOfFeatureChannels() const { return channels_; }
  /// The data source's, FLT_MIN where it has none.
  float epsilon() const { return epsilon_; }
  void setEpsilon(float epsilon);
  Ref<CNNBatchNormalizationDataSource> dataSource() const { return source_; }

  using CNNKernel::encode;
  using CNNKernel::encodeBatch;
  /// With the statistics of a state, which counts as one read of it. A null state: inference.
  void encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Image>& sourceImage,
              const Ref<CNNBatchNormalizationState>& batchNormalizationState, const Ref<Image>& destinationImage);
  void encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& sourceImages,
                   const Ref<CNNBatchNormalizationState>& batchNormalizationState, const ImageBatch& destinationImages);
  Ref<CNNBatchNormalizationState> resultState(const Ref<Image>& sourceImage,
                                              const std::vector<Ref<State>>& sourceStates,
                                              const Ref<Image>& destinationImage);
  Ref<CNNBatchNormalizationState> temporaryResultState(const Ref<MTL::CommandBuffer>& commandBuffer,
                                                       const Ref<Image>& sourceImage,
                                                       const std::vector<Ref<State>>& sourceStates,
                                                       const Ref<Image>& destinationImage);

  /// Takes another data source with as many channels, and everything from it. Deprecated in the documented API.
  void reloadDataSource(const Ref<CNNBatchNormalizationDataSource>& dataSource);
  /// Reads the values again; encodes made after these calls use them. gamma and beta, mean and variance are reloaded
  /// separately.
  void reloadGammaAndBetaFromDataSource();
  void reloadMeanAndVarianceFromDataSource();
  /// Take the values of the state at this place of the command buffer's work; lower its read count by one.
  void reloadGammaAndBeta(const Ref<MTL::CommandBuffer>& commandBuffer,
                          const Ref<CNNNormalizationGammaAndBetaState>& gammaAndBetaState);
  void reloadMeanAndVariance(const Ref<MTL::CommandBuffer>& commandBuffer,
                             const Ref<CNNNormalizationMeanAndVarianceState>& meanAndVarianceState);

 protected:
  CNNBatchNormalization(const CNNBatchNormalization&) = default;
  void doEncode(nn::Call& call) override;
  std::size_t doDestinationChannels(const std::vector<std::size_t>& used) override;
  Ref<State> doResultState(const nn::StateRequest& request) override;
  bool doIsResultStateReusedAcrossBatch() override { return true; }
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override;
  void doCode(Archive& coder) override;
  const char* className() const override { return "CNNBatchNormalization"; }

 private:
  Ref<CNNBatchNormalizationDataSource> source_;
  std::shared_ptr<nn::ChannelPair> values_, running_;  // gamma and beta; mean and variance
  std::shared_ptr<const nn::FusedActivation> activation_;
  std::size_t channels_ = 0;
  float epsilon_ = FLT_MIN;
  bool takesStatistics_ = false;  // a graph's: the forward encode takes the statistics as well
  friend class Kernel;
  friend struct nn::NormalizationAccess;
};

/// Mean and variance of a batch into a state: those of everything encoded since the state was last used, however it was
/// split. Reads whole images; offset and clip rectangle are ignored. Implements MPSCNNBatchNormalizationStatistics.
///
/// Errors: at encode a null state, or a source with fewer feature channels than the state's kernel.
class CNNBatchNormalizationStatistics : public CNNKernel {
 public:
  explicit CNNBatchNormalizationStatistics(const Ref<MTL::Device>& device);
  /// As an archive holds it.
  CNNBatchNormalizationStatistics(Archive& coder, const Ref<MTL::Device>& device)
      : CNNBatchNormalizationStatistics(device) {
    decode(coder);
  }
  void encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& sourceImages,
                   const Ref<CNNBatchNormalizationState>& batchNormalizationState);

 protected:
  void doEncode(nn::Call& call) override;
  bool doIsResultStateReusedAcrossBatch() override { return true; }
  bool doAppendBatchBarrier() override { return true; }
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  const char* className() const override { return "CNNBatchNormalizationStatistics"; }

 private:
  Ref<CNNBatchNormalizationState> state_;  // of the encode under way
  friend class Kernel;
};

/// Gradients of gamma and beta into a state, for its forward encode: sum of h xh and sum of h over all pixels, where h
/// is the incoming gradient carried back through the activation and xh = (S - mean) / deviation. Adds up over the parts
/// of a batch. Takes the activation of the forward kernel. Implements MPSCNNBatchNormalizationStatisticsGradient.
class CNNBatchNormalizationStatisticsGradient : public CNNGradientKernel {
 public:
  CNNBatchNormalizationStatisticsGradient(const Ref<MTL::Device>& device,
                                          const Ref<NNNeuronDescriptor>& fusedNeuronDescriptor);
  /// As an archive holds it.
  CNNBatchNormalizationStatisticsGradient(Archive& coder, const Ref<MTL::Device>& device)
      : CNNBatchNormalizationStatisticsGradient(device, nullptr) {
    decode(coder);
  }
  void encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& sourceGradients,
                   const ImageBatch& sourceImages, const Ref<CNNBatchNormalizationState>& batchNormalizationState);

 protected:
  void doEncode(nn::Call& call) override;
  bool doIsResultStateReusedAcrossBatch() override { return true; }
  bool doAppendBatchBarrier() override { return true; }
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override;
  void doCode(Archive& coder) override;
  const char* className() const override { return "CNNBatchNormalizationStatisticsGradient"; }

 private:
  std::shared_ptr<const nn::FusedActivation> activation_;
  Ref<CNNBatchNormalizationState> state_;  // of the encode under way
  friend class Kernel;
};

/// The derivative by the source: gamma / deviation * (h - (gradientForBeta + xh gradientForGamma) / pixels), after
/// CNNBatchNormalizationStatisticsGradient has seen the whole batch; gamma / deviation * h where mean and variance were
/// the data source's. Takes the activation of the forward kernel. Implements MPSCNNBatchNormalizationGradient.
///
/// Errors: at encode a missing or foreign state, or one without the gradients of gamma and beta.
class CNNBatchNormalizationGradient : public CNNGradientKernel {
 public:
  CNNBatchNormalizationGradient(const Ref<MTL::Device>& device, const Ref<NNNeuronDescriptor>& fusedNeuronDescriptor);
  /// As an archive holds it.
  CNNBatchNormalizationGradient(Archive& coder, const Ref<MTL::Device>& device)
      : CNNBatchNormalizationGradient(device, nullptr) {
    decode(coder);
  }
  using CNNGradientKernel::encode;
  using CNNGradientKernel::encodeBatch;
  void encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Image>& sourceGradient,
              const Ref<Image>& sourceImage, const Ref<CNNBatchNormalizationState>& batchNormalizationState,
              const Ref<Image>& destinationGradient);
  void encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& sourceGradients,
                   const ImageBatch& sourceImages, const Ref<CNNBatchNormalizationState>& batchNormalizationState,
                   const ImageBatch& destinationGradients);
  Ref<Image> encode(const Ref<MTL::CommandBuffer>& commandBuffer, const Ref<Image>& sourceGradient,
                    const Ref<Image>& sourceImage, const Ref<CNNBatchNormalizationState>& batchNormalizationState);
  ImageBatch encodeBatch(const Ref<MTL::CommandBuffer>& commandBuffer, const ImageBatch& sourceGradients,
                         const ImageBatch& sourceImages,
                         const Ref<CNNBatchNormalizationState>& batchNormalizationState);

 protected:
  void doEncode(nn::Call& call) override;
  bool doIsResultStateReusedAcrossBatch() override { return true; }
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override;
  void doCode(Archive& coder) override;
  const char* className() const override { return "CNNBatchNormalizationGradient"; }

 private:
  std::shared_ptr<const nn::FusedActivation> activation_;
  bool takesSums_ = false;  // a graph's: the gradients of gamma and beta come from the same encode
  friend class Kernel;
  friend struct nn::NormalizationAccess;
};

}  // namespace kovar::MPS
