#pragma once

#include <cfloat>
#include <memory>
#include <string>

#include "kovar/MPS/NN/CNNKernel.hpp"
#include "kovar/MPS/NN/CNNNormalizationWeights.hpp"
#include "kovar/MPS/NN/GradientState.hpp"

namespace kovar::nn {
struct RegionRecord;
struct NormalizationAccess;
class ChannelPair;
}  // namespace kovar::nn

namespace kovar::MPS {

class CNNInstanceNormalization;

/// What the forward encode of one image (or of one image object) kept, and its gradients. Not shared over a batch: each
/// image has a state of its own, with its own contribution to the gradients; add them up over the batch. Implements
/// MPSCNNInstanceNormalizationGradientState.
class CNNInstanceNormalizationGradientState : public NNGradientState {
 public:
  ~CNNInstanceNormalizationGradientState() override;
  /// The kernel that made the state.
  Ref<CNNInstanceNormalization> instanceNormalization() const { return kernel_; }
  /// The kernel's values in force: a reload is seen here too.
  Ref<MTL::Buffer> gamma() const;
  Ref<MTL::Buffer> beta() const;
  /// float32, one per feature channel: sum of g * (S - mean) / deviation, and sum of g. Written by the gradient kernel.
  Ref<MTL::Buffer> gradientForGamma() const { return buffer(0); }
  Ref<MTL::Buffer> gradientForBeta() const { return buffer(1); }

 protected:
  template <class Owner>
  CNNInstanceNormalizationGradientState(const Ref<Owner>& owner, std::shared_ptr<const nn::ForwardRecord> record,
                                        const Ref<CNNInstanceNormalization>& kernel);
  const char* className() const override { return "CNNInstanceNormalizationGradientState"; }

 private:
  Ref<CNNInstanceNormalization> kernel_;
  std::unique_ptr<nn::RegionRecord> kept_;
  friend struct nn::Access;
  friend struct nn::NormalizationAccess;
};
using CNNInstanceNormalizationGradientStateBatch = Batch<CNNInstanceNormalizationGradientState>;

/// Where an instance normalization gets its values. Derive from it and from Object. Implements
/// MPSCNNInstanceNormalizationDataSource.
class CNNInstanceNormalizationDataSource {
 public:
  CNNInstanceNormalizationDataSource() = default;
  /// For sources that read what their encodeWithCoder wrote. The protocol itself holds nothing.
  explicit CNNInstanceNormalizationDataSource(Archive& coder);
  virtual ~CNNInstanceNormalizationDataSource() = default;
  /// For applications that archive their sources: kernels write their parameters themselves and do not call it. Writes
  /// nothing unless overridden.
  virtual void encodeWithCoder(Archive& coder);
  /// One float per feature channel; null: all 1, all 0.
  virtual const float* gamma() = 0;
  virtual const float* beta() = 0;
  virtual std::size_t numberOfFeatureChannels() const = 0;
  /// For messages.
  virtual std::string label() = 0;
  /// Added to the variance.
  virtual float epsilon() { return FLT_MIN; }
  /// Makes the values available. False: the kernel cannot be made.
  virtual bool load() { return true; }
  /// The values are not needed any more. Called once per load() that returned true.
  virtual void purge() {}
  /// A training graph's update on the device, called while it encodes, right after the layer's gradient: read the
  /// gradients of each state, lower each state's read count by one, and return the new values. Null: no update.
  virtual Ref<CNNNormalizationGammaAndBetaState> updateGammaAndBeta(
      const Ref<MTL::CommandBuffer>& commandBuffer,
      const CNNInstanceNormalizationGradientStateBatch& instanceNormalizationStateBatch);
  /// A training graph's update on the host, called when the work has completed: change what gamma() and beta() give and
  /// return true; the kernel is then reloaded. False: no update.
  virtual bool updateGammaAndBeta(const CNNInstanceNormalizationGradientStateBatch& instanceNormalizationStateBatch);
  /// The source for a copy of the kernel on `device`. Null: the copy uses this object.
  virtual Ref<CNNInstanceNormalizationDataSource> copy(const Ref<MTL::Device>& device);
};

/// D = (S - mean) * gamma / sqrt(variance + epsilon) + beta, with mean and (biased) variance over the pixels of one
/// channel of one image. Offset and clip rectangle move and limit what is written; the moments are always those of the
/// whole image. Where all values are equal the result is exactly beta. Implements MPSCNNInstanceNormalization.
///
/// Errors: a data source that does not load or has no channels; an epsilon below 0; at encode a
/// source with fewer feature channels.
class CNNInstanceNormalization : public CNNKernel {
 public:
  CNNInstanceNormalization(const Ref<MTL::Device>& device, const Ref<CNNInstanceNormalizationDataSource>& dataSource);
  /// As an archive holds it.
  CNNInstanceNormalization(Archive& coder, const Ref<MTL::Device>& device) : CNNKernel(device) { decode(coder); }
  /// The data source's, FLT_MIN where it has none.
  float epsilon() const { return epsilon_; }
  void setEpsilon(float epsilon);
  Ref<CNNInstanceNormalizationDataSource> dataSource() const { return source_; }

  /// Takes another data source with as many channels. Deprecated in the documented API.
  void reloadDataSource(const Ref<CNNInstanceNormalizationDataSource>& dataSource);
  /// Reads gamma and beta again; encodes made after this call use them.
  void reloadGammaAndBetaFromDataSource();
  /// Takes the values of the state at this place of the command buffer's work. Lowers the state's read count by one.
  void reloadGammaAndBeta(const Ref<MTL::CommandBuffer>& commandBuffer,
                          const Ref<CNNNormalizationGammaAndBetaState>& gammaAndBetaState);

  using CNNKernel::encode;
  using CNNKernel::encodeBatch;
  Ref<CNNInstanceNormalizationGradientState> resultState(const Ref<Image>& sourceImage,
                                                         const std::vector<Ref<State>>& sourceStates,
                                                         const Ref<Image>& destinationImage);
  CNNInstanceNormalizationGradientStateBatch resultStateBatch(const ImageBatch& sourceImage,
                                                              const std::vector<StateBatch>& sourceStates,
                                                              const ImageBatch& destinationImage);
  Ref<CNNInstanceNormalizationGradientState> temporaryResultState(const Ref<MTL::CommandBuffer>& commandBuffer,
                                                                  const Ref<Image>& sourceImage,
                                                                  const std::vector<Ref<State>>& sourceStates,
                                                                  const Ref<Image>& destinationImage);
  CNNInstanceNormalizationGradientStateBatch temporaryResultStateBatch(const Ref<MTL::CommandBuffer>& commandBuffer,
                                                                       const ImageBatch& sourceImage,
                                                                       const std::vector<StateBatch>& sourceStates,
                                                                       const ImageBatch& destinationImage);

 protected:
  CNNInstanceNormalization(const CNNInstanceNormalization&) = default;
  void doEncode(nn::Call& call) override;
  std::size_t doDestinationChannels(const std::vector<std::size_t>& used) override;
  Ref<State> doResultState(const nn::StateRequest& request) override;
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override;
  void doCode(Archive& coder) override;
  const char* className() const override { return "CNNInstanceNormalization"; }

 private:
  Ref<CNNInstanceNormalizationDataSource> source_;
  std::shared_ptr<nn::ChannelPair> values_;
  std::size_t channels_ = 0, groups_ = 1;
  float epsilon_ = FLT_MIN;
  friend class Kernel;
  friend struct nn::NormalizationAccess;
};

/// The derivative of CNNInstanceNormalization by its source, and of gamma and beta into the states. Everything comes
/// from the forward kernel's states and its source image (the secondary source). Implements
/// MPSCNNInstanceNormalizationGradient.
///
/// Errors: at encode, states that are missing, foreign or not those of these images.
class CNNInstanceNormalizationGradient : public CNNGradientKernel {
 public:
  explicit CNNInstanceNormalizationGradient(const Ref<MTL::Device>& device);
  /// As an archive holds it.
  CNNInstanceNormalizationGradient(Archive& coder, const Ref<MTL::Device>& device)
      : CNNInstanceNormalizationGradient(device) {
    decode(coder);
  }

 protected:
  void doEncode(nn::Call& call) override;
  Ref<Kernel> doCopy(const Ref<MTL::Device>& device) override { return clone(*this, device); }
  const char* className() const override { return "CNNInstanceNormalizationGradient"; }
  friend class Kernel;
};

}  // namespace kovar::MPS
